//! What a load will do, decided and checked before anything is written: which statements run, which tables are loaded
//! from which parts, and how tables that exist are treated.

use super::list::List;
use super::preflight::{Check, Intent, Verdict, checks};
use super::resume::{self, Claim, Resume};
use super::schema::{self, Schemas, Step, Target, Unsupported};
use super::{IfExists, LoadArgs};
use crate::cluster::Cluster;
use crate::cluster::catalogue::Compact;
use crate::commands::parts::inside;
use crate::commands::verify::cluster::units;
use crate::commands::{micros, tile_the_ring};
use crate::ddl::options::Parts;
use crate::ddl::servers::Target as Server;
use crate::ddl::target::Choices;
use crate::ddl::{self, Kind, Overrides, Renames, Statement};
use crate::error::{Context, Error, Result};
use crate::manifest::{KeyspaceEntry, Manifest, TableEntry};
use crate::report;
use crate::selector::{Mapping, Selection, is_system_keyspace};
use crate::table::Table;
use crate::types::cql::Ident;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// What statements are written for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForArg {
    /// The server that is there.
    Auto,
    /// No server: they run as they are.
    Nobody,
    /// This one.
    Server(Server),
}

impl FromStr for ForArg {
    type Err = String;

    fn from_str(text: &str) -> Result<ForArg, String> {
        match text {
            "auto" => Ok(ForArg::Auto),
            "none" => Ok(ForArg::Nobody),
            _ => text.parse().map(ForArg::Server).map_err(|e: crate::ddl::servers::BadTarget| e.to_string()),
        }
    }
}

/// What the command line asks for.
pub struct Request {
    pub(super) selection: Selection,
    pub(super) mappings: Vec<Mapping>,
    pub(super) renames: Renames,
    pub(super) overrides: Overrides,
    pub(super) server: ForArg,
    pub(super) choices: Choices,
    pub(super) skip_unsupported: bool,
    pub(super) if_exists: IfExists,
    pub(super) schema: bool,
    pub(super) data: bool,
    /// What of the dump is wanted, line by line; without it all that the selectors leave.
    pub(super) list: Option<List>,
    pub(super) role: Option<String>,
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
        let overrides =
            Overrides::parse(&args.replication).map_err(|e| Error::usage(format!("--replication: {e}")))?;
        Ok(Request {
            selection,
            mappings,
            renames,
            overrides,
            server: args.server.clone(),
            choices: Choices { drop_compact_storage: args.drop_compact_storage },
            skip_unsupported: args.skip_unsupported,
            if_exists: args.if_exists,
            schema: !args.data_only,
            data: !args.schema_only,
            list: None,
            role: args.connect.username.clone(),
        })
    }

    /// Checks that the dump holds what is asked for, and reads the edited list, if there is one.
    ///
    /// # Errors
    /// A usage error names the selector, the mapping or the line that matches nothing.
    pub fn of_dump(mut self, args: &LoadArgs, manifest: &Manifest) -> Result<Request> {
        crate::commands::check_selection(manifest, &self.selection, &self.mappings)?;
        let known = |keyspace: &&String| manifest.keyspaces.iter().any(|k| k.name == **keyspace);
        if let Some(unknown) = self.overrides.keyspaces().find(|keyspace| !known(keyspace)) {
            return Err(Error::usage(format!("--replication: the dump has no keyspace {}", Ident(unknown))));
        }
        self.list = args.use_list.as_deref().map(|path| List::read(path, manifest)).transpose()?;
        Ok(self)
    }

    /// Whether a table's rows are wanted.
    ///
    /// # Errors
    /// `Error` if a statement of the manifest cannot be read.
    pub fn wants_rows(&self, keyspace: &KeyspaceEntry, table: &TableEntry) -> Result<bool> {
        Ok(self.wants(keyspace, table)?.data)
    }

    /// Whether a table's statement and its rows are wanted.
    fn wants(&self, keyspace: &KeyspaceEntry, table: &TableEntry) -> Result<Wanted> {
        let selected = self.selection.wants_table(&keyspace.name, &table.name);
        let Some(list) = &self.list else {
            return Ok(Wanted { schema: selected && self.schema, data: selected && self.data });
        };
        let statement = statement(keyspace, &table.name)?;
        let schema = statement.is_some_and(|statement| list.has(&statement));
        Ok(Wanted { schema, data: list.has_data(&keyspace.name, &table.name) })
    }
}

/// What of a table is wanted.
#[derive(Clone, Copy)]
struct Wanted {
    schema: bool,
    data: bool,
}

/// The statement that makes a table.
fn statement(keyspace: &KeyspaceEntry, table: &str) -> Result<Option<Statement>> {
    let mut statements = schema::statements(keyspace)?.into_iter();
    Ok(statements.find(|statement| statement.kind == Kind::Table && statement.name == table))
}

/// Whether a dumped table was made WITH COMPACT STORAGE.
fn is_compact(keyspace: &KeyspaceEntry, table: &str) -> Result<bool> {
    let doing = || format!("read the statement of table {table} in the manifest");
    Ok(match statement(keyspace, table)? {
        Some(statement) => Parts::of(&statement).doing(doing)?.option("compact storage").is_some(),
        None => false,
    })
}

/// What to do.
pub struct Plan {
    /// DDL in order: pre-data, then post-data.
    pub steps: Vec<Step>,
    /// Tables.
    pub loads: Vec<TableLoad>,
    /// What the target cannot hold and is left out.
    pub unsupported: Vec<Unsupported>,
    /// The statements of it, under the target's names.
    pub gone: Vec<Statement>,
    /// Whether that is left out and not refused, also where it shows only when a statement is run.
    pub skip_unsupported: bool,
    /// What statements are written for, if not as they are in the dump.
    pub server: Option<Server>,
    checks: Vec<Check>,
    problems: Problems,
}

/// A table to load.
pub struct TableLoad {
    /// As dumped.
    pub table: Table,
    /// Keyspace and table to load into.
    pub target: (String, String),
    /// What the manifest says of it.
    pub entry: TableEntry,
    /// Whether it was made WITH COMPACT STORAGE.
    pub compact: bool,
    /// What to do with it.
    pub treatment: Treatment,
    /// If this load had begun to fill it before it was stopped: parts that are loaded.
    pub begun: Option<usize>,
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
    /// The plan for people: what was checked, the statements, the rows, and what stands in the way.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            text.push_str(&format!("{}\n", check.line()));
        }
        for left_out in &self.unsupported {
            let line = ddl::one_line(&format!("{}: {}", left_out.object, left_out.why));
            text.push_str(&format!("-- left out: {line}\n"));
        }
        for problem in &self.problems.messages {
            text.push_str(&format!("-- problem: {}\n", ddl::one_line(problem)));
        }
        text.push('\n');
        for step in &self.steps {
            text.push_str(&step.text(self.server.as_ref()));
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
            let progress = resume::progress(load).map_or(String::new(), |done| format!(", where {done}"));
            text.push_str(&format!(
                "-- {} rows of {} {how} {}.{}{progress}\n",
                load.entry.rows,
                load.table.cql_name(),
                Ident(keyspace),
                Ident(table)
            ));
        }
        text
    }

    /// Tells what the target's checks warn of.
    pub fn warn(&self) {
        for check in self.checks.iter().filter(|check| check.verdict == Verdict::Warning) {
            report::warn(&check.text);
        }
    }

    /// Lets it be carried out.
    ///
    /// # Errors
    /// `Error` lists everything that stands in the way; nothing has been written then.
    pub fn check(&self) -> Result<()> {
        self.problems.result()
    }
}

/// Makes the plan and checks it against the target. What stands in the way is in the plan.
///
/// # Errors
/// `Error` if the dump or the target cannot be read.
pub async fn plan(
    cluster: &Cluster,
    manifest: &Manifest,
    (request, resume): (&Request, Option<&Resume>),
) -> Result<Plan> {
    let claims = match resume {
        Some(resume) => resume.claims(cluster).await?,
        None => BTreeMap::new(),
    };
    let into = |(k, t): (&str, &str)| request.renames.table(k, t).0.to_owned();
    let mut keyspaces: BTreeSet<String> = BTreeSet::new();
    for keyspace in &manifest.keyspaces {
        keyspaces.insert(request.renames.keyspace(&keyspace.name).to_owned());
        keyspaces.extend(keyspace.tables.iter().map(|t| into((&keyspace.name, &t.name))));
    }
    let target_side = Target::read(cluster, request, &keyspaces).await?;
    let mut problems = Problems::default();
    let mut loads = Vec::new();
    for keyspace in &manifest.keyspaces {
        for entry in &keyspace.tables {
            let wanted = request.wants(keyspace, entry)?;
            if !wanted.schema && !wanted.data {
                continue;
            }
            let table = keyspace.table(entry).doing(|| "read the manifest")?;
            let (to_keyspace, to_table) = request.renames.table(&keyspace.name, &entry.name);
            let target = (to_keyspace.to_owned(), to_table.to_owned());
            let compact = is_compact(keyspace, &entry.name)?;
            let claim = claims.get(&format!("{to_keyspace}.{to_table}"));
            let role = request.role.as_deref();
            let asked = Asked { wanted, compact, if_exists: request.if_exists, role, claim };
            let treatment = treat(cluster, &target_side, asked, &table, &target, &mut problems).await?;
            let begun = claim.map(|claim| claim.parts);
            loads.push(TableLoad { table, target, entry: entry.clone(), compact, treatment, begun });
        }
    }
    two_into_one(&loads, &mut problems);
    let parts = |load: &&TableLoad| load.treatment.loads();
    loads.iter().filter(parts).try_for_each(|load| check_ranges(&load.table, &load.entry))?;
    let Schemas { steps, unsupported, gone } = match request.schema {
        true => schema::schemas(manifest, &target_side, request, &loads, &mut problems)?,
        false => Schemas::default(),
    };
    let made = steps.iter().map(|step| &step.statement.keyspace);
    let into: BTreeSet<&String> = loads.iter().map(|load| &load.target.0).chain(made).collect();
    for keyspace in into.into_iter().filter(|keyspace| is_system_keyspace(keyspace)) {
        problems.add(
            format!("the keyspace {keyspace} is the server's own, which is not loaded into"),
            "leave it out with --exclude, or load it under another name with --map",
        );
    }
    if !request.skip_unsupported {
        for Unsupported { object, why } in &unsupported {
            problems.add(
                format!("the target cannot hold {object}: {why}"),
                "load everything else with --skip-unsupported",
            );
        }
    }
    let lost = |(keyspace, name): &(String, String)| {
        gone.iter().any(|s| s.kind == Kind::Table && s.keyspace == *keyspace && s.name == *name)
    };
    loads.retain(|load| !lost(&load.target));
    let server = target_side.server;
    let intent = Intent {
        steps: &steps,
        loads: &loads,
        target: server.as_ref(),
        off: &target_side.off,
        role: request.role.as_deref(),
    };
    let checks = checks(cluster, &intent).await?;
    for check in &checks {
        if let Verdict::Problem(hint) = check.verdict {
            problems.add(check.text.clone(), hint);
        }
    }
    let skip_unsupported = request.skip_unsupported;
    Ok(Plan { steps, loads, unsupported, gone, skip_unsupported, server, checks, problems })
}

/// Whether the parts of a dumped table are all of it, each row once, and their positions and times can be read.
fn check_ranges(table: &Table, entry: &TableEntry) -> Result<()> {
    let doing = || format!("read the manifest: table {}", table.full_name());
    let bad =
        |what: String| Error::failed(format!("{}: {what}", doing())).hint("the dump is damaged: dump again");
    tile_the_ring(&entry.parts)
        .map_err(|what| bad(format!("its token ranges do not cover the ring: {what}")))?;
    for part in &entry.parts {
        inside(part).map_err(|error| error.context(doing()))?;
        for moment in part.ranges.iter().flat_map(|range| &range.read) {
            micros(moment).map_err(|error| error.context(doing()))?;
        }
    }
    units(&entry.parts).map_err(bad)?;
    Ok(())
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

    fn result(&self) -> Result<()> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let failed = Error::failed(format!("{}; nothing was written", self.messages.join("\n")));
        Err(self.hints.iter().cloned().fold(failed, Error::hint))
    }
}

/// What is asked for a table.
#[derive(Clone, Copy)]
struct Asked<'a> {
    wanted: Wanted,
    /// It was made WITH COMPACT STORAGE.
    compact: bool,
    if_exists: IfExists,
    /// Who loads, if there is a login.
    role: Option<&'a str>,
    /// What the state of a load that was stopped claims of it.
    claim: Option<&'a Claim>,
}

async fn treat(
    cluster: &Cluster,
    target_side: &Target,
    asked: Asked<'_>,
    table: &Table,
    (keyspace, name): &(String, String),
    problems: &mut Problems,
) -> Result<Treatment> {
    if let Some(problem) = asked.claim.and_then(|claim| claim.problem.clone()) {
        problems.add(problem, "forget what was loaded and begin anew with --restart");
        return Ok(Treatment::Skip);
    }
    let schema = &target_side.schema;
    let there = schema.keyspaces.get(keyspace);
    if there.is_some_and(|k| k.views.contains_key(name)) {
        problems
            .add(format!("{keyspace}.{name} exists and is a materialized view"), "load elsewhere with --map");
        return Ok(Treatment::Skip);
    }
    let compact = there.and_then(|k| k.compact.get(name));
    if compact.is_some_and(|compact| !asked.compact || *compact == Compact::Super) {
        problems.add(
            format!("the table {keyspace}.{name} exists and is WITH COMPACT STORAGE, which drops rows without a value"),
            "load under another name with --map",
        );
        return Ok(Treatment::Skip);
    }
    let Some(target) = schema.table(keyspace, name) else {
        if !asked.wanted.schema {
            problems.add(
                format!("the table {keyspace}.{name} does not exist"),
                "have it created: leave --data-only away, or its line in the list",
            );
        }
        return Ok(if asked.wanted.data { Treatment::Create } else { Treatment::SchemaOnly });
    };
    if let Some(role) = asked.role.filter(|_| asked.wanted.data)
        && !cluster.may_select(target).await?
    {
        problems.add(
            format!("the role {role} lacks the permission SELECT ON {keyspace}.{name}, which tells whether it holds rows"),
            "GRANT it; nodes may go on for some seconds by what they have cached",
        );
        return Ok(Treatment::Skip);
    }
    let rows = asked.wanted.data && asked.claim.is_none() && cluster.holds_rows(target).await?;
    if rows && asked.if_exists == IfExists::Skip {
        return Ok(Treatment::Skip);
    }
    if let Some(misfit) = table.misfit(target) {
        problems.add(
            format!("the table {keyspace}.{name} exists and does not fit the dump's: {misfit}"),
            "load under another name with --map, or drop the table first",
        );
    }
    if !asked.wanted.data {
        return Ok(Treatment::SchemaOnly);
    }
    if let Some(claim) = asked.claim {
        return Ok(claim.treatment);
    }
    if !rows {
        return Ok(Treatment::Fill);
    }
    match asked.if_exists {
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
