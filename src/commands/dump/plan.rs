//! What a dump will hold: the selected tables, biggest first, and their DDL.

use crate::cluster::Cluster;
use crate::cluster::catalogue::{Compact, Schema};
use crate::cluster::describe::{Described, Untold};
use crate::ddl::printed::LOG;
use crate::ddl::{self, Kind, Statement};
use crate::error::{Error, Result};
use crate::manifest::NotPreserved;
use crate::selector::{Selection, Selector, is_system_keyspace};
use crate::table::Table;
use crate::types::cql::Ident;
use std::collections::BTreeMap;

/// What to dump.
pub struct Plan {
    /// By name.
    pub keyspaces: Vec<PlannedKeyspace>,
}

/// A keyspace to dump.
pub struct PlannedKeyspace {
    /// True name.
    pub name: String,
    /// DDL of what is dumped, in replay order.
    pub statements: Vec<Statement>,
    /// Biggest first.
    pub tables: Vec<PlannedTable>,
    /// What of the schema is in no statement, since it is not understood.
    pub untold: Vec<Untold>,
}

/// A table to dump.
pub struct PlannedTable {
    /// Its columns.
    pub table: Table,
    /// Bytes, as far as the server has an estimate.
    pub estimate: Option<u64>,
}

impl Plan {
    /// All tables, keyspace by keyspace.
    pub fn tables(&self) -> impl Iterator<Item = &PlannedTable> {
        self.keyspaces.iter().flat_map(|k| &k.tables)
    }

    /// The DDL for people.
    pub fn schema_text(&self, cluster: &Cluster) -> String {
        let about = &cluster.about;
        let mut text =
            format!("-- Schema of cluster {:?}, release {}, by cqlift.\n", about.name, about.version);
        for statement in self.keyspaces.iter().flat_map(|k| &k.statements) {
            text.push('\n');
            text.push_str(statement.cql.trim_end());
            text.push('\n');
        }
        text
    }
}

impl PlannedKeyspace {
    /// What of it a dump cannot carry, or may not: triggers, whose classes live outside the database, logs of changes, and
    /// masked columns if a role is given, one of which the server does not tell whether it may unmask them.
    pub fn not_preserved(&self, schema: &Schema, unsure: Option<&str>) -> Vec<NotPreserved> {
        let Some(keyspace) = schema.keyspaces.get(&self.name) else {
            return Vec::new();
        };
        let dumped = |table: &str| self.tables.iter().any(|t| t.table.name == table);
        let triggers = keyspace.triggers.iter().filter(|(table, _)| dumped(table));
        let trigger = |(table, trigger): &(String, String)| NotPreserved {
            object: format!("{}.{table}", self.name),
            what: format!("trigger {trigger}"),
            count: None,
            reason: "the class of a trigger lives outside the database".to_owned(),
        };
        let masked = keyspace.masked.iter().filter(|(table, _)| unsure.is_some() && dumped(table));
        let mask = |(table, column): &(String, String)| NotPreserved {
            object: format!("{}.{table}.{column}", self.name),
            what: "the values behind the mask, perhaps".to_owned(),
            count: None,
            reason: format!(
                "the column is masked; unless {} has the permission UNMASK, the dump holds masked values",
                unsure.unwrap_or_default()
            ),
        };
        let log = |table: &String| NotPreserved {
            object: format!("{}.{table}", self.name),
            what: "a log of changes".to_owned(),
            count: None,
            reason: "ScyllaDB keeps it, and begins another where it is loaded".to_owned(),
        };
        let untold = |untold: &Untold| NotPreserved {
            object: format!("{}.{}", self.name, untold.name),
            what: untold.what.clone(),
            count: None,
            reason: "it is not understood".to_owned(),
        };
        let untold = self.untold.iter().map(untold);
        let logs = keyspace.logs.iter().filter(|log| log.strip_suffix(LOG).is_some_and(dumped));
        triggers.map(trigger).chain(masked.map(mask)).chain(logs.map(log)).chain(untold).collect()
    }
}

/// Chooses tables, reads their DDL and sizes.
///
/// # Errors
/// `Error` names the selector that matches nothing, the table that cannot be dumped, or a partitioner without tokens to
/// scan by.
pub async fn plan(cluster: &Cluster, schema: &Schema, selection: &Selection) -> Result<Plan> {
    cluster.partitioner()?;
    nothing_unmatched(schema, selection)?;
    let mut keyspaces = Vec::new();
    for (name, keyspace) in &schema.keyspaces {
        let whole = selection.whole_keyspace(name);
        if !selection.wants_keyspace(name) {
            continue;
        }
        let wanted: Vec<&Table> =
            keyspace.tables.values().filter(|t| selection.wants_table(name, &t.name)).collect();
        if wanted.is_empty() && !whole {
            continue;
        }
        let is_super = |t: &&&Table| keyspace.compact.get(&t.name) == Some(&Compact::Super);
        if let Some(table) = wanted.iter().find(is_super) {
            return Err(Error::failed(format!(
                "{} is a super column family of Thrift, which CQL shows in part only",
                table.full_name()
            ))
            .hint(format!("leave it out with --exclude {}", table.cql_name())));
        }
        let sizes = cluster.size_estimates(name).await?;
        let mut tables: Vec<PlannedTable> = wanted
            .into_iter()
            // Tables not flushed yet are listed with 0 bytes: as good as unknown.
            .map(|t| PlannedTable {
                table: t.clone(),
                estimate: sizes.get(&t.name).copied().filter(|b| *b > 0),
            })
            .collect();
        tables.sort_by_key(|t| std::cmp::Reverse(t.estimate.unwrap_or(u64::MAX)));
        let Described { statements: all, untold } = cluster.describe(name).await?;
        let known: Vec<String> = all.iter().map(|s| s.name.clone()).collect();
        let statements = statements(all, whole, &tables);
        let concerns = |untold: &Untold| {
            let is_dumped = statements.iter().any(|s| s.name == untold.name);
            is_dumped || (whole && !known.contains(&untold.name))
        };
        let untold = untold.into_iter().filter(concerns).collect();
        // The catalogue and the statements are read one after the other, and may differ by what happened between.
        let described =
            |t: &PlannedTable| statements.iter().any(|s| s.kind == Kind::Table && s.name == t.table.name);
        if let Some(missing) = tables.iter().find(|t| !described(t)) {
            return Err(Error::failed(format!(
                "the server describes no table {}",
                missing.table.full_name()
            ))
            .hint("the schema may have changed just now: try again"));
        }
        keyspaces.push(PlannedKeyspace { name: name.clone(), statements, tables, untold });
    }
    if keyspaces.is_empty() && !(selection.include.is_empty() && selection.exclude.is_empty()) {
        return Err(Error::usage("the selectors leave nothing to work on"));
    }
    Ok(Plan { keyspaces })
}

fn nothing_unmatched(schema: &Schema, selection: &Selection) -> Result<()> {
    let keyspaces: Vec<&String> = schema.keyspaces.keys().collect();
    let tables: Vec<(&String, &String)> = schema
        .keyspaces
        .iter()
        .flat_map(|(k, keyspace)| keyspace.tables.keys().map(move |t| (k, t)))
        .collect();
    match selection.unmatched(&keyspaces, &tables).first() {
        None => Ok(()),
        Some(selector) => Err(unmatched(schema, selector)),
    }
}

/// Why a selector matches nothing, with what there is instead.
fn unmatched(schema: &Schema, selector: &Selector) -> Error {
    let error = Error::usage(format!("no keyspace or table matches {selector}"));
    let view = |k: &str, views: &BTreeMap<String, String>| views.keys().any(|v| selector.matches_table(k, v));
    if schema.keyspaces.iter().any(|(name, k)| view(name, &k.views)) {
        return error.hint("it is a materialized view: select its base table, views go along with it");
    }
    let near = schema.keyspaces.iter().find(|(name, _)| selector.matches_keyspace(name));
    match near {
        Some((name, keyspace)) => {
            let tables: Vec<String> = keyspace.tables.keys().map(|t| Ident(t).to_string()).collect();
            error.hint(format!("the tables of {} are: {}", Ident(name), tables.join(", ")))
        }
        None => {
            let users = schema.keyspaces.keys().filter(|k| !is_system_keyspace(k));
            let names: Vec<String> = users.map(|k| Ident(k).to_string()).collect();
            error.hint(format!("the cluster's keyspaces are: {}", names.join(", ")))
        }
    }
}

/// The statements that belong to the dump: everything of a whole keyspace; for single tables the keyspace, the types
/// they use, the tables, their indexes and views.
fn statements(all: Vec<Statement>, whole: bool, tables: &[PlannedTable]) -> Vec<Statement> {
    let dumped = |name: &str| tables.iter().any(|t| t.table.name == name);
    let used = |name: &str| tables.iter().any(|t| t.table.udts().iter().any(|u| u.name == name));
    // A column masked by a user function needs that function, and a function the types of its arguments.
    let all_code = whole || all.iter().any(|s| dumped(&s.name) && s.uses_functions());
    let wanted = |s: &Statement| match s.kind {
        Kind::Keyspace => true,
        Kind::Type => all_code || used(&s.name),
        Kind::Function | Kind::Aggregate => all_code,
        Kind::Table => dumped(&s.name),
        Kind::Index | Kind::View => s.table.as_deref().is_some_and(dumped),
    };
    ddl::order(all.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_and_columns_that_may_be_masked_are_told_of() {
        let table = |name: &str| Table::new("ks".into(), name.into(), Vec::new());
        let mut schema = Schema::default();
        let keyspace = schema.keyspaces.entry("ks".into()).or_default();
        keyspace.triggers = vec![("t".into(), "audit".into()), ("other".into(), "audit".into())];
        keyspace.masked = vec![("t".into(), "v".into())];
        let planned = PlannedTable { table: table("t"), estimate: None };
        let planned = PlannedKeyspace {
            name: "ks".into(),
            statements: Vec::new(),
            tables: vec![planned],
            untold: vec![Untold { name: "t".into(), what: "odd = 1".into() }],
        };
        let told = |schema: &Schema, unsure| -> Vec<(String, String)> {
            let missing = planned.not_preserved(schema, unsure).into_iter();
            missing.map(|m| (m.object, m.what)).collect()
        };
        let trigger = ("ks.t".to_owned(), "trigger audit".to_owned());
        let odd = ("ks.t".to_owned(), "odd = 1".to_owned());
        assert_eq!(told(&schema, None), [trigger.clone(), odd.clone()]);
        let mask = ("ks.t.v".to_owned(), "the values behind the mask, perhaps".to_owned());
        assert_eq!(told(&schema, Some("role")), [trigger.clone(), mask, odd]);
        schema.keyspaces.get_mut("ks").unwrap().logs =
            vec!["t_scylla_cdc_log".into(), "x_scylla_cdc_log".into()];
        let told: Vec<String> =
            planned.not_preserved(&schema, None).into_iter().map(|missing| missing.object).collect();
        assert_eq!(told, ["ks.t", "ks.t_scylla_cdc_log", "ks.t"]);
    }
}
