//! What a load will do, decided and checked before anything is written: which statements run, which tables are loaded
//! from which parts, and how tables that exist are treated.

use super::schema::{self, Existing, Step, Target};
use super::{IfExists, LoadArgs};
use crate::cluster::Cluster;
use crate::cluster::describe::Schema;
use crate::ddl::rewrite::{Renames, Replication};
use crate::error::{Context, Error, Result};
use crate::manifest::{Manifest, TableEntry};
use crate::selector::{Mapping, Selection};
use crate::table::Table;
use crate::types::cql::Ident;
use std::collections::BTreeSet;

/// What the command line asks for.
pub struct Request {
    pub(super) selection: Selection,
    pub(super) mappings: Vec<Mapping>,
    pub(super) renames: Renames,
    pub(super) replication: Option<Replication>,
    pub(super) if_exists: IfExists,
    pub(super) schema: bool,
    pub(super) data: bool,
}

impl Request {
    /// Reads the flags.
    ///
    /// # Errors
    /// A usage error names the flag or selector that cannot be read.
    pub fn of(args: &LoadArgs) -> Result<Request> {
        let selection = crate::commands::selection(&args.selectors, &args.exclude)?;
        let mappings = crate::commands::mappings(&args.map)?;
        let renames = Mapping::renames(&mappings).map_err(|e| Error::usage(format!("--map: {e}")))?;
        let replication = match &args.replication {
            Some(text) => {
                Some(Replication::parse(text).map_err(|e| Error::usage(format!("--replication: {e}")))?)
            }
            None => None,
        };
        Ok(Request {
            selection,
            mappings,
            renames,
            replication,
            if_exists: args.if_exists,
            schema: !args.data_only,
            data: !args.schema_only,
        })
    }

    /// Checks that the dump holds what is asked for.
    ///
    /// # Errors
    /// A usage error names the selector or mapping that matches nothing.
    pub fn check(&self, manifest: &Manifest) -> Result<()> {
        crate::commands::check_selection(manifest, &self.selection, &self.mappings)
    }
}

/// What to do.
pub struct Plan {
    /// DDL in order: pre-data, then post-data.
    pub steps: Vec<Step>,
    /// Tables.
    pub loads: Vec<TableLoad>,
}

/// A table to load.
pub struct TableLoad {
    /// As dumped.
    pub table: Table,
    /// Keyspace and table to load into.
    pub target: (String, String),
    /// What the manifest says of it.
    pub entry: TableEntry,
    /// What to do with it.
    pub treatment: Treatment,
}

/// How a table is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Made by this load.
    Create,
    /// Exists, holds no rows.
    Fill,
    /// Exists, holds rows, which go first.
    Truncate,
    /// Exists, holds rows, which stay.
    Append,
    /// Exists, holds rows, is left alone.
    Skip,
    /// Only its schema is wanted.
    SchemaOnly,
}

impl Treatment {
    /// Whether nothing in it can be older than the load.
    pub fn is_fresh(self) -> bool {
        matches!(self, Treatment::Create | Treatment::Truncate)
    }

    /// Whether rows are loaded into it.
    pub fn loads(self) -> bool {
        !matches!(self, Treatment::Skip | Treatment::SchemaOnly)
    }
}

impl Plan {
    /// The plan for people, and for `--dry-run`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            match step.existing {
                Existing::No => text.push_str(&format!(
                    "{}

",
                    step.statement.cql.trim_end()
                )),
                _ => text.push_str(&format!(
                    "-- exists: {}

",
                    step.label()
                )),
            }
        }
        for load in &self.loads {
            let (keyspace, table) = &load.target;
            let how = match load.treatment {
                Treatment::Create => "into the new table",
                Treatment::Fill => "into the empty table",
                Treatment::Truncate => "after TRUNCATE into",
                Treatment::Append => "added to",
                Treatment::Skip | Treatment::SchemaOnly => continue,
            };
            text.push_str(&format!(
                "-- {} rows of {} {how} {}.{}
",
                load.entry.rows,
                load.table.cql_name(),
                Ident(keyspace),
                Ident(table)
            ));
        }
        text
    }
}

/// Makes the plan and checks it against the target.
///
/// # Errors
/// `Error` lists every table that stands in the way; nothing has been written then.
pub async fn plan(cluster: &Cluster, manifest: &Manifest, request: Request) -> Result<Plan> {
    let into = |(k, t): (&str, &str)| request.renames.table(k, t).0.to_owned();
    let mut keyspaces: BTreeSet<String> = BTreeSet::new();
    for keyspace in &manifest.keyspaces {
        keyspaces.insert(request.renames.keyspace(&keyspace.name).to_owned());
        keyspaces.extend(keyspace.tables.iter().map(|t| into((&keyspace.name, &t.name))));
    }
    let target_side = Target::read(cluster, &request, &keyspaces).await?;
    let schema = &target_side.schema;
    let mut loads = Vec::new();
    let mut problems = Problems::default();
    for keyspace in &manifest.keyspaces {
        for entry in &keyspace.tables {
            if !request.selection.wants_table(&keyspace.name, &entry.name) {
                continue;
            }
            let table = keyspace.table(entry).doing(|| "read the manifest")?;
            let (to_keyspace, to_table) = request.renames.table(&keyspace.name, &entry.name);
            let target = (to_keyspace.to_owned(), to_table.to_owned());
            let treatment = treat(cluster, schema, &request, &table, &target, &mut problems).await?;
            loads.push(TableLoad { table, target, entry: entry.clone(), treatment });
        }
    }
    two_into_one(&loads, &mut problems);
    let steps = if request.schema {
        schema::steps(manifest, &target_side, &request, &loads, &mut problems)?
    } else {
        Vec::new()
    };
    problems.finish()?;
    Ok(Plan { steps, loads })
}

/// What stands in the way of a load; told all at once.
#[derive(Default)]
pub(super) struct Problems {
    messages: Vec<String>,
    hints: BTreeSet<String>,
}

impl Problems {
    pub(super) fn add(&mut self, message: String, hint: &str) {
        self.messages.push(message);
        self.hints.insert(hint.to_owned());
    }

    fn finish(self) -> Result<()> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let failed = Error::failed(format!("{}; nothing was written", self.messages.join("\n")));
        Err(self.hints.into_iter().fold(failed, Error::hint))
    }
}

async fn treat(
    cluster: &Cluster,
    schema: &Schema,
    request: &Request,
    table: &Table,
    (keyspace, name): &(String, String),
    problems: &mut Problems,
) -> Result<Treatment> {
    if schema.keyspaces.get(keyspace).is_some_and(|k| k.views.contains_key(name)) {
        problems
            .add(format!("{keyspace}.{name} exists and is a materialized view"), "load elsewhere with --map");
        return Ok(Treatment::Skip);
    }
    if schema.keyspaces.get(keyspace).is_some_and(|k| k.compact.contains(name)) {
        problems.add(
            format!("the table {keyspace}.{name} exists and is WITH COMPACT STORAGE, which drops rows without a value"),
            "load under another name with --map",
        );
        return Ok(Treatment::Skip);
    }
    let Some(target) = schema.table(keyspace, name) else {
        if !request.schema {
            problems.add(
                format!("the table {keyspace}.{name} does not exist"),
                "leave --data-only away to have it created",
            );
        }
        return Ok(if request.data { Treatment::Create } else { Treatment::SchemaOnly });
    };
    let rows = request.data && cluster.holds_rows(target).await?;
    if rows && request.if_exists == IfExists::Skip {
        return Ok(Treatment::Skip);
    }
    if let Some(misfit) = table.misfit(target) {
        problems.add(
            format!("the table {keyspace}.{name} exists and does not fit the dump's: {misfit}"),
            "load under another name with --map, or drop the table first",
        );
    }
    if !request.data {
        return Ok(Treatment::SchemaOnly);
    }
    if !rows {
        return Ok(Treatment::Fill);
    }
    match request.if_exists {
        IfExists::Truncate => return Ok(Treatment::Truncate),
        IfExists::Append => return Ok(Treatment::Append),
        IfExists::Fail | IfExists::Skip => problems.add(
            format!("the table {keyspace}.{name} exists and holds rows"),
            "choose with --if-exists skip, truncate or append, or load under another name with --map",
        ),
    }
    Ok(Treatment::Skip)
}

fn two_into_one(loads: &[TableLoad], problems: &mut Problems) {
    for (i, load) in loads.iter().enumerate() {
        if let Some(other) = loads[..i].iter().find(|l| l.target == load.target) {
            problems.add(
                format!(
                    "{} and {} would both be loaded into {}.{}",
                    other.table.full_name(),
                    load.table.full_name(),
                    load.target.0,
                    load.target.1
                ),
                "give each its own name with --map",
            );
        }
    }
}
