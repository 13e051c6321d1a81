//! The schema side of a load's plan: which statements of the dump belong to the wanted tables, under which names, and
//! which of them the target has already. What becomes of tables and their rows is left to [`super::plan`].

use super::plan::{ForArg, Problems, Request, TableLoad, Treatment};
use crate::cluster::Cluster;
use crate::cluster::catalogue::Schema;
use crate::ddl::fitting::{Fitted, decide, fit};
use crate::ddl::servers::{Feature, Target as Server};
use crate::ddl::{self, Kind, Replication, Statement, rewrite};
use crate::error::{Context, Error, Result};
use crate::manifest::{KeyspaceEntry, Manifest, StatementEntry};
use crate::types::cql::Ident;
use serde::Serialize;
use std::collections::BTreeSet;

/// A statement to run.
pub struct Step {
    /// Under its target's names, as the target takes it.
    pub statement: Statement,
    /// What was changed for that, each in words.
    pub changes: Vec<String>,
    /// Whether the target has the object already.
    pub existing: Existing,
}

/// Whether the target has an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It has not.
    No,
    /// It has, the same as far as the server tells.
    Same,
    /// It has, and the server describes it differently.
    Differs,
}

impl Step {
    /// `index ks.name`.
    pub fn label(&self) -> String {
        self.statement.label()
    }

    /// The statement for people, with what was changed above it.
    pub fn text(&self, server: Option<&Server>) -> String {
        if self.existing != Existing::No {
            return format!("-- exists: {}\n\n", ddl::one_line(&self.label()));
        }
        let changes = self.changes.iter().map(|change| ddl::comment(change, server));
        format!("{}{}\n\n", changes.collect::<String>(), self.statement.cql.trim_end())
    }
}

/// The statements of a dumped keyspace. A manifest is not trusted: each must make what its entry says, and there.
///
/// # Errors
/// `Error` names the entry.
pub fn statements(keyspace: &KeyspaceEntry) -> Result<Vec<Statement>> {
    let parse = |entry: &StatementEntry| {
        let doing = || format!("read the statement of {} {} in the manifest", entry.kind, entry.name);
        let statement = Statement::parse(&entry.cql).doing(doing)?;
        let named = (statement.kind.name(), &statement.name, &statement.keyspace);
        if named != (entry.kind.as_str(), &entry.name, &keyspace.name) {
            return Err(Error::failed(format!(
                "{}: it makes {} instead, in keyspace {}",
                doing(),
                statement.label(),
                Ident(&statement.keyspace)
            )));
        }
        Ok(statement)
    };
    keyspace.statements.iter().map(parse).collect()
}

/// Something that the target cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// `index ks.i`.
    pub object: String,
    /// What, and why.
    pub why: String,
}

/// What a load makes.
#[derive(Default)]
pub struct Schemas {
    /// The statements, in replay order.
    pub steps: Vec<Step>,
    /// What the target cannot hold.
    pub unsupported: Vec<Unsupported>,
    /// The statements that it cannot run.
    pub gone: Vec<Statement>,
}

/// The statements for the wanted tables, under their target's names, per target keyspace, as the target takes them.
///
/// # Errors
/// `Error` if a statement of the manifest cannot be read.
pub fn schemas(
    manifest: &Manifest,
    target: &Target,
    request: &Request,
    loads: &[TableLoad],
    problems: &mut Problems,
) -> Result<Schemas> {
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
        for into in targets {
            let mut group = Group { keyspace, target: into, code: whole && into == home, tables: &tables };
            group.code |= group.uses_functions();
            for statement in group.statements(request, target)? {
                if group.uses_type(&statement.name) {
                    check_type(&target.schema, &statement, keyspace, problems)?;
                }
                add_once(&mut statements, statement, problems);
            }
        }
    }
    let statements = ddl::order(statements);
    let fitted = match &target.server {
        Some(server) => fit(statements, server, request.choices, |statement| target.has(statement))
            .doing(|| format!("write the schema for {server}"))?,
        None => decide(statements, request.choices, |statement| target.has(statement))
            .doing(|| "write the schema")?,
    };
    let mut schemas = Schemas::default();
    for Fitted { mut statement, mut changes, unsupported, runs } in fitted {
        if let Some((expanded, change)) = target.expanded(&statement)? {
            statement = expanded;
            changes.push(change);
        }
        let lost = |why| Unsupported { object: statement.label(), why };
        schemas.unsupported.extend(unsupported.into_iter().map(lost));
        if runs {
            let existing = existing(target, &statement, problems);
            schemas.steps.push(Step { statement, changes, existing });
        } else {
            schemas.gone.push(statement);
        }
    }
    Ok(schemas)
}

/// What of one dumped keyspace goes into one target keyspace.
struct Group<'a> {
    keyspace: &'a KeyspaceEntry,
    target: &'a str,
    /// Functions go there, and all types: with the whole keyspace, or with a table that uses functions.
    code: bool,
    tables: &'a [&'a TableLoad],
}

impl Group<'_> {
    /// Whether a table that goes there uses functions of its keyspace.
    fn uses_functions(&self) -> bool {
        let parsed = self.keyspace.statements.iter().filter_map(|s| Statement::parse(&s.cql).ok());
        parsed.into_iter().any(|s| self.wants(&s) && s.uses_functions())
    }

    fn statements(&self, request: &Request, target: &Target) -> Result<Vec<Statement>> {
        let datacenters: Vec<&str> = target.datacenters.iter().map(String::as_str).collect();
        let mut renames = request.renames.clone();
        renames.keyspaces.insert(self.keyspace.name.clone(), self.target.to_owned());
        let mut out = Vec::new();
        for statement in statements(self.keyspace)? {
            let wanted = match &request.list {
                Some(list) => list.has(&statement) && self.is_here(&statement, request),
                None => self.wants(&statement),
            };
            if !wanted {
                continue;
            }
            let mut renamed =
                rewrite::rename(&statement, &renames).doing(|| format!("rename {}", statement.label()))?;
            let doing = || format!("set the replication of {}", statement.label());
            let other = match statement.kind {
                Kind::Keyspace => {
                    request.overrides.of(&statement.keyspace, &statement, &datacenters).doing(doing)?
                }
                _ => None,
            };
            if let Some(replication) = other {
                renamed = rewrite::replication(&renamed, &replication).doing(doing)?;
            }
            out.push(renamed);
        }
        Ok(out)
    }

    /// Whether a table that goes there has the type, in a column or inside another type.
    fn uses_type(&self, name: &str) -> bool {
        let mut tables = self.tables.iter().filter(|l| l.target.0 == self.target);
        tables.any(|l| l.table.udts().iter().any(|u| u.name == name))
    }

    /// Whether a table goes there, or what belongs to one. Anything else may go anywhere.
    fn is_here(&self, statement: &Statement, request: &Request) -> bool {
        let table =
            if statement.kind == Kind::Table { Some(&statement.name) } else { statement.table.as_ref() };
        table.is_none_or(|table| request.renames.table(&self.keyspace.name, table).0 == self.target)
    }

    fn wants(&self, statement: &Statement) -> bool {
        let here =
            |table: &str| self.tables.iter().any(|l| l.table.name == table && l.target.0 == self.target);
        match statement.kind {
            Kind::Keyspace => true,
            Kind::Type => self.code || self.uses_type(&statement.name),
            Kind::Function | Kind::Aggregate => self.code,
            Kind::Table => here(&statement.name),
            Kind::Index | Kind::View => statement.table.as_deref().is_some_and(here),
        }
    }
}

/// Adds a statement, unless another keyspace that goes to the same place brought its object already.
fn add_once(statements: &mut Vec<Statement>, statement: Statement, problems: &mut Problems) {
    let same = |s: &&Statement| {
        let overloads = s.kind.is_function() && s.cql != statement.cql;
        let space = |kind| if kind == Kind::View { Kind::Table } else { kind };
        (space(s.kind), &s.keyspace, &s.name) == (space(statement.kind), &statement.keyspace, &statement.name)
            && !overloads
    };
    match statements.iter().find(same) {
        None => statements.push(statement),
        Some(_) if statement.kind == Kind::Keyspace => {}
        Some(other) if other.cql == statement.cql => {}
        Some(_) => problems.add(
            format!("two keyspaces of the dump bring a different {}", statement.label()),
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

/// What the target is and has.
pub struct Target {
    /// What statements are written for; `None` if they run as they are.
    pub server: Option<Server>,
    /// What its configuration switches off, as far as it tells.
    pub off: BTreeSet<Feature>,
    /// The catalogue.
    pub schema: Schema,
    datacenters: Vec<String>,
    statements: Vec<Statement>,
}

impl Target {
    /// Asks for it.
    ///
    /// # Errors
    /// `Error` if the target cannot be read.
    pub async fn read(cluster: &Cluster, request: &Request, keyspaces: &BTreeSet<String>) -> Result<Target> {
        let schema = cluster.schema().await?;
        let mut statements = Vec::new();
        let there = keyspaces.iter().filter(|k| schema.keyspaces.contains_key(*k));
        for keyspace in there.filter(|_| request.schema) {
            statements.extend(cluster.describe(keyspace).await?.statements);
        }
        let found = cluster.target().await;
        // What is switched off there is so whatever statements are written for.
        let off = found.as_ref().map_or_else(|_| BTreeSet::new(), |found| found.off.clone());
        let server = match &request.server {
            _ if !request.schema => None,
            ForArg::Auto => Some(found?),
            ForArg::Nobody => None,
            ForArg::Server(server) => Some(Server { off: off.clone(), ..server.clone() }),
        };
        let datacenters = cluster.about.datacenters.iter().map(|dc| dc.name.clone()).collect();
        Ok(Target { server, off, schema, datacenters, statements })
    }

    /// Whether it has an object of that kind and name.
    fn has(&self, statement: &Statement) -> bool {
        let Some(keyspace) = self.schema.keyspaces.get(&statement.keyspace) else {
            return false;
        };
        let name = &statement.name;
        match statement.kind {
            Kind::Keyspace => true,
            Kind::Type => keyspace.udts.iter().any(|u| u.name == *name),
            // Names do not tell overloads apart.
            Kind::Function | Kind::Aggregate => self.prints(statement),
            Kind::Table => keyspace.tables.contains_key(name),
            Kind::Index => keyspace.indexes.contains_key(name),
            Kind::View => keyspace.views.contains_key(name),
        }
    }

    /// A keyspace with a factor for each datacenter, where the server takes none for all of them, and that in words.
    fn expanded(&self, statement: &Statement) -> Result<Option<(Statement, String)>> {
        let Some(server) = self.server.as_ref().filter(|server| !server.knows_datacenters()) else {
            return Ok(None);
        };
        let doing = || format!("write the replication of {} for {server}", statement.label());
        let Some(replication) = Replication::of(statement).doing(doing)? else { return Ok(None) };
        let names: Vec<&str> = self.datacenters.iter().map(String::as_str).collect();
        let expanded = replication.expanded(&names);
        if expanded == replication {
            return Ok(None);
        }
        let change = format!(
            "replication = {expanded} instead of {replication}: {server} takes a factor for each datacenter"
        );
        Ok(Some((rewrite::replication(statement, &expanded).doing(doing)?, change)))
    }

    /// The function of the same name and arguments that it has, if that is another one.
    fn other_function(&self, statement: &Statement) -> Option<&Statement> {
        let signature = |s: &Statement| (s.kind, s.keyspace.clone(), s.name.clone(), s.arguments());
        let same = |s: &&Statement| signature(s) == signature(statement);
        let found = self.statements.iter().filter(|_| statement.kind.is_function()).find(same)?;
        (!ddl::same(found, statement)).then_some(found)
    }

    /// Whether it prints the same statement.
    fn prints(&self, statement: &Statement) -> bool {
        self.statements.iter().any(|s| s.kind == statement.kind && ddl::same(s, statement))
    }
}

fn existing(target: &Target, statement: &Statement, problems: &mut Problems) -> Existing {
    let Some(keyspace) = target.schema.keyspaces.get(&statement.keyspace) else {
        return Existing::No;
    };
    let name = &statement.name;
    if statement.kind == Kind::View && keyspace.tables.contains_key(name) {
        problems.add(
            format!("a table {}.{name} exists where the dump has a materialized view", statement.keyspace),
            "load into another keyspace with --map, or drop it first",
        );
    }
    if statement.kind == Kind::Table && keyspace.views.contains_key(name) {
        problems.add(
            format!("a materialized view {}.{name} exists where the dump has a table", statement.keyspace),
            "load into another keyspace with --map, or drop it first",
        );
    }
    if let Some(other) = target.other_function(statement) {
        problems.add(
            format!("{} exists and differs from the dump's:\n{}", statement.label(), other.cql),
            "load into another keyspace with --map, or drop it first",
        );
    }
    let mut on = |table: Option<&String>, what: &str| {
        if table.is_some() && table != statement.table.as_ref() {
            problems.add(
                format!("the {what} {}.{name} exists on another table", statement.keyspace),
                "load into another keyspace with --map, or drop it first",
            );
        }
    };
    match statement.kind {
        Kind::Index => on(keyspace.indexes.get(name), "index"),
        Kind::View => on(keyspace.views.get(name), "materialized view"),
        _ => {}
    }
    match target.has(statement) {
        false => Existing::No,
        true if target.prints(statement) => Existing::Same,
        true => Existing::Differs,
    }
}
