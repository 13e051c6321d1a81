//! What a load will do, decided and checked before anything is written: which statements run, which tables are loaded
//! from which parts, and how tables that exist are treated.

use super::{IfExists, LoadArgs};
use crate::cluster::Cluster;
use crate::cluster::describe::Schema;
use crate::ddl::rewrite::{self, Renames, Replication};
use crate::ddl::{self, Kind, Statement};
use crate::error::{Context, Error, Result};
use crate::manifest::{KeyspaceEntry, Manifest, Part};
use crate::selector::{Mapping, Selection};
use crate::table::Table;
use crate::types::cql::Ident;
use std::collections::BTreeSet;

/// What the command line asks for.
pub struct Request {
    selection: Selection,
    mappings: Vec<Mapping>,
    renames: Renames,
    replication: Option<Replication>,
    if_exists: IfExists,
    schema: bool,
    data: bool,
}

impl Request {
    /// Reads the flags.
    ///
    /// # Errors
    /// A usage error names the flag or selector that cannot be read.
    pub fn of(args: &LoadArgs) -> Result<Request> {
        let selection = crate::commands::selection(&args.selectors, &args.exclude)?;
        let mappings: Vec<Mapping> = args
            .map
            .iter()
            .map(|text| Mapping::parse(text).map_err(|e| Error::usage(format!("--map: {e}"))))
            .collect::<Result<_>>()?;
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
        let keyspaces: Vec<&str> = manifest.keyspaces.iter().map(|k| k.name.as_str()).collect();
        let tables: Vec<(&str, &str)> = manifest
            .keyspaces
            .iter()
            .flat_map(|k| k.tables.iter().map(|t| (k.name.as_str(), t.name.as_str())))
            .collect();
        let held: Vec<String> = tables.iter().map(|(k, t)| format!("{}.{}", Ident(k), Ident(t))).collect();
        let hint = format!("it holds: {}", held.join(", "));
        if let Some(selector) = self.selection.unmatched(&keyspaces, &tables).first() {
            return Err(
                Error::usage(format!("no keyspace or table of the dump matches {selector}")).hint(hint)
            );
        }
        let known = |mapping: &Mapping| match mapping {
            Mapping::Keyspace { from, .. } => keyspaces.contains(&from.as_str()),
            Mapping::Table { from, .. } => tables.contains(&(from.0.as_str(), from.1.as_str())),
        };
        if let Some(unknown) = self.mappings.iter().find(|m| !known(m)) {
            return Err(Error::usage(format!("--map {unknown}: the dump holds no such name")).hint(hint));
        }
        Ok(())
    }
}

/// What to do.
pub struct Plan {
    /// DDL in order: pre-data, then post-data.
    pub steps: Vec<Step>,
    /// Tables.
    pub loads: Vec<TableLoad>,
}

/// A statement to run.
pub struct Step {
    /// Under its target's names.
    pub statement: Statement,
    /// The target has the object already, and it fits.
    pub exists: bool,
}

/// A table to load.
pub struct TableLoad {
    /// As dumped.
    pub table: Table,
    /// Keyspace and table to load into.
    pub target: (String, String),
    /// Folder of its parts.
    pub path: String,
    /// Name of the exceptions column in its files.
    pub exceptions_column: String,
    /// Rows in its parts.
    pub rows: u64,
    /// Its parts.
    pub parts: Vec<Part>,
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
            let Step { statement, exists } = step;
            match exists {
                true => {
                    text.push_str(&format!("-- exists: {} {}\n\n", statement.kind.name(), statement.name))
                }
                false => text.push_str(&format!("{}\n\n", statement.cql.trim_end())),
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
                "-- {} rows of {} {how} {keyspace}.{table}\n",
                load.rows,
                load.table.full_name()
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
    let schema = cluster.schema().await?;
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
            let treatment = treat(cluster, &schema, &request, &table, &target, &mut problems).await?;
            loads.push(TableLoad {
                table,
                target,
                path: entry.path.clone(),
                exceptions_column: entry.exceptions_column.clone(),
                rows: entry.rows,
                parts: entry.parts.clone(),
                treatment,
            });
        }
    }
    two_into_one(&loads, &mut problems);
    let steps =
        if request.schema { steps(manifest, &schema, &request, &loads, &mut problems)? } else { Vec::new() };
    problems.finish()?;
    Ok(Plan { steps, loads })
}

/// What stands in the way of a load; told all at once.
#[derive(Default)]
struct Problems {
    messages: Vec<String>,
    hints: BTreeSet<String>,
}

impl Problems {
    fn add(&mut self, message: String, hint: &str) {
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
    if !request.data {
        return Ok(Treatment::SchemaOnly);
    }
    if schema.keyspaces.get(keyspace).is_some_and(|k| k.views.contains(name)) {
        problems
            .add(format!("{keyspace}.{name} exists and is a materialized view"), "load elsewhere with --map");
        return Ok(Treatment::Skip);
    }
    let Some(target) = schema.table(keyspace, name) else {
        if !request.schema {
            problems.add(
                format!("the table {keyspace}.{name} does not exist"),
                "leave --data-only away to have it created",
            );
        }
        return Ok(Treatment::Create);
    };
    let rows = cluster.holds_rows(target).await?;
    if rows && request.if_exists == IfExists::Skip {
        return Ok(Treatment::Skip);
    }
    if let Some(misfit) = table.misfit(target) {
        problems.add(
            format!("the table {keyspace}.{name} exists and does not fit the dump's: {misfit}"),
            "load under another name with --map, or drop the table first",
        );
    }
    if !rows {
        return Ok(Treatment::Fill);
    }
    match request.if_exists {
        IfExists::Truncate => return Ok(Treatment::Truncate),
        IfExists::Append if !table.is_counter() => return Ok(Treatment::Append),
        IfExists::Append => problems.add(
            format!(
                "the counter table {keyspace}.{name} exists and holds rows: loading would add to its counts"
            ),
            "counters load into empty tables only: use --if-exists truncate",
        ),
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

/// The statements for the wanted tables, under their target's names, per target keyspace.
fn steps(
    manifest: &Manifest,
    schema: &Schema,
    request: &Request,
    loads: &[TableLoad],
    problems: &mut Problems,
) -> Result<Vec<Step>> {
    let mut statements = Vec::new();
    for keyspace in &manifest.keyspaces {
        let tables: Vec<&TableLoad> = loads
            .iter()
            .filter(|l| l.table.keyspace == keyspace.name && l.treatment != Treatment::Skip)
            .collect();
        let home = request.renames.keyspace(&keyspace.name).to_owned();
        let whole = request.selection.whole_keyspace(&keyspace.name);
        let mut targets: BTreeSet<&str> = tables.iter().map(|l| l.target.0.as_str()).collect();
        if whole {
            targets.insert(&home);
        }
        for target in targets {
            let group = Group { keyspace, target, is_home: whole && target == home, tables: &tables };
            for statement in group.statements(request)? {
                check_type(schema, &statement, keyspace, problems)?;
                add_once(&mut statements, statement, problems);
            }
        }
    }
    let step = |statement| Step { exists: exists(schema, &statement), statement };
    Ok(ddl::order(statements).into_iter().map(step).collect())
}

/// What of one dumped keyspace goes into one target keyspace.
struct Group<'a> {
    keyspace: &'a KeyspaceEntry,
    target: &'a str,
    /// All of the keyspace goes there, functions and unused types too.
    is_home: bool,
    tables: &'a [&'a TableLoad],
}

impl Group<'_> {
    fn statements(&self, request: &Request) -> Result<Vec<Statement>> {
        let mut renames = request.renames.clone();
        renames.keyspaces.insert(self.keyspace.name.clone(), self.target.to_owned());
        let mut out = Vec::new();
        for entry in &self.keyspace.statements {
            let statement = Statement::parse(&entry.cql)
                .doing(|| format!("read the statement of {} {} in the manifest", entry.kind, entry.name))?;
            if !self.wants(&statement) {
                continue;
            }
            let mut renamed = rewrite::rename(&statement, &renames)
                .doing(|| format!("rename {} {}", entry.kind, entry.name))?;
            if let (Kind::Keyspace, Some(replication)) = (statement.kind, &request.replication) {
                renamed = rewrite::replication(&renamed, replication)
                    .doing(|| format!("set the replication of {}", entry.name))?;
            }
            out.push(renamed);
        }
        Ok(out)
    }

    fn wants(&self, statement: &Statement) -> bool {
        let here =
            |table: &str| self.tables.iter().any(|l| l.table.name == table && l.target.0 == self.target);
        let used = |name: &str| {
            let tables = self.tables.iter().filter(|l| l.target.0 == self.target);
            tables.into_iter().any(|l| l.table.udts().iter().any(|u| u.name == name))
        };
        match statement.kind {
            Kind::Keyspace => true,
            Kind::Type => self.is_home || used(&statement.name),
            Kind::Function | Kind::Aggregate => self.is_home,
            Kind::Table => here(&statement.name),
            Kind::Index | Kind::View => statement.table.as_deref().is_some_and(here),
        }
    }
}

/// Adds a statement, unless another keyspace that goes to the same place brought its object already.
fn add_once(statements: &mut Vec<Statement>, statement: Statement, problems: &mut Problems) {
    let same = |s: &&Statement| {
        let overloads = s.kind.is_function() && s.cql != statement.cql;
        (s.kind, &s.keyspace, &s.name) == (statement.kind, &statement.keyspace, &statement.name) && !overloads
    };
    match statements.iter().find(same) {
        None => statements.push(statement),
        Some(_) if statement.kind == Kind::Keyspace => {}
        Some(other) if other.cql == statement.cql => {}
        Some(_) => problems.add(
            format!(
                "two keyspaces of the dump bring a different {} {}.{}",
                statement.kind.name(),
                statement.keyspace,
                statement.name
            ),
            "load them into different keyspaces with --map",
        ),
    }
}

/// A type that the target has already must have the fields that the dumped `keyspace` gives it.
fn check_type(
    schema: &Schema,
    statement: &Statement,
    keyspace: &KeyspaceEntry,
    problems: &mut Problems,
) -> Result<()> {
    let found = schema.keyspaces.get(&statement.keyspace).map_or(&[][..], |k| &k.udts);
    let Some(found) = found.iter().find(|u| statement.kind == Kind::Type && u.name == statement.name) else {
        return Ok(());
    };
    let dumped = keyspace.udts().doing(|| "read the manifest")?;
    if dumped.iter().any(|u| u.name == found.name && u != found) {
        problems.add(
            format!(
                "the type {}.{} exists and has other fields than the dump's",
                statement.keyspace, statement.name
            ),
            "load into another keyspace with --map, or drop the type first",
        );
    }
    Ok(())
}

/// Whether the target has the object already.
fn exists(schema: &Schema, statement: &Statement) -> bool {
    let Some(keyspace) = schema.keyspaces.get(&statement.keyspace) else {
        return false;
    };
    let name = &statement.name;
    match statement.kind {
        Kind::Keyspace => true,
        Kind::Type => keyspace.udts.iter().any(|u| u.name == *name),
        // Names do not tell overloads apart: the server is asked.
        Kind::Function | Kind::Aggregate => false,
        Kind::Table => keyspace.tables.contains_key(name),
        Kind::Index => keyspace.indexes.contains(name),
        Kind::View => keyspace.views.contains(name),
    }
}
