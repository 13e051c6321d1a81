//! Which of several statements a server can run: each as it takes it, and which objects it cannot hold, with all that needs
//! them. How one statement is changed is left to [`super::target`].

use super::options::{self, OptionText, Parts};
use super::servers::Target;
use super::target::{Adapted, Choices, adapt, decided};
use super::{DdlError, Kind, Mask, Statement, masks};
use std::collections::BTreeSet;
use thiserror::Error;

/// A statement as the target takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The statement; as it was given, if the target cannot run it.
    pub statement: Statement,
    /// What was changed, each in words.
    pub changes: Vec<String>,
    /// What the target cannot hold, each with the reason: all of it, or parts that the statement now lacks.
    pub unsupported: Vec<String>,
    /// Whether the target can run it.
    pub runs: bool,
}

impl Fitted {
    /// For a target that takes everything as it is.
    pub fn unchanged(statement: Statement) -> Fitted {
        Fitted { statement, changes: Vec::new(), unsupported: Vec::new(), runs: true }
    }
}

/// Statements for a target that takes everything as it is, but for what the user decides. What `exists` there is not made.
///
/// # Errors
/// `Unfit` if a statement's text is not one.
pub fn decide(
    statements: Vec<Statement>,
    choices: Choices,
    exists: impl Fn(&Statement) -> bool,
) -> Result<Vec<Fitted>, Unfit> {
    let decide = |statement: Statement| {
        let Adapted { statement: made, changes, unsupported } =
            decided(&statement, choices).map_err(|source| Unfit::new(&statement, source))?;
        let made = made.unwrap_or_else(|| statement.clone());
        Ok(match exists(&statement) {
            true => Fitted::unchanged(made),
            false => Fitted { statement: made, changes, unsupported, runs: true },
        })
    };
    statements.into_iter().map(decide).collect()
}

/// A statement that cannot be written for a target.
#[derive(Debug, Error)]
#[error("{statement}: {source}")]
pub struct Unfit {
    /// `table ks.t`.
    statement: String,
    source: Box<DdlError>,
}

impl Unfit {
    fn new(statement: &Statement, source: DdlError) -> Unfit {
        Unfit { statement: statement.label(), source: Box::new(source) }
    }
}

/// Fits statements, which are in replay order, to the target. What `exists` there is not made, so that it is changed for
/// nobody but the comparison.
///
/// # Errors
/// `Unfit` if a statement's text is not one.
pub fn fit(
    statements: Vec<Statement>,
    target: &Target,
    choices: Choices,
    exists: impl Fn(&Statement) -> bool,
) -> Result<Vec<Fitted>, Unfit> {
    let mut all: Vec<Fitted> = Vec::new();
    let without_tablets: BTreeSet<String> = match target.limits_tablets() {
        true => statements.iter().filter(|s| wants_no_tablets(s)).map(|s| s.keyspace.clone()).collect(),
        false => BTreeSet::new(),
    };
    for statement in statements {
        let there = exists(&statement);
        let no_tablets =
            !there && statement.kind == Kind::Keyspace && without_tablets.contains(&statement.keyspace);
        let gone: Vec<&Statement> = all.iter().filter(|f| !f.runs).map(|f| &f.statement).collect();
        let gone = if there { &[][..] } else { &gone };
        let adapted = adapt(&statement, target, choices)
            .and_then(|adapted| adapted.without(gone))
            .and_then(|adapted| if no_tablets { adapted.without_tablets(target) } else { Ok(adapted) })
            .map_err(|source| Unfit::new(&statement, source))?;
        let runs = there || adapted.statement.is_some();
        let statement = adapted.statement.unwrap_or(statement);
        all.push(match there {
            true => Fitted::unchanged(statement),
            false => Fitted { statement, changes: adapted.changes, unsupported: adapted.unsupported, runs },
        });
    }
    Ok(all)
}

impl Adapted {
    /// Where these cannot be made: without the masks that need them, or impossible.
    fn without(mut self, gone: &[&Statement]) -> Result<Adapted, DdlError> {
        let Some(statement) = self.statement.take() else { return Ok(self) };
        let (statement, lost) = unmasked(statement, gone)?;
        if let Some(gone) = gone.iter().find(|gone| statement.needs(gone)) {
            return Ok(Adapted::impossible(&format!("it needs {}", gone.label())));
        }
        self.unsupported.extend(lost);
        Ok(Adapted { statement: Some(statement), ..self })
    }
}

/// Whether a table holds counters, or has its changes logged as ScyllaDB does.
fn wants_no_tablets(statement: &Statement) -> bool {
    let logged = |parts: Parts| {
        let of = parts.option("cdc").and_then(|cdc| options::map(&cdc.value));
        of.unwrap_or_default().iter().any(|(key, on)| key == "enabled" && on.eq_ignore_ascii_case("true"))
    };
    statement.kind == Kind::Table
        && (statement.uses_type("counter") || Parts::of(statement).is_ok_and(logged))
}

impl Adapted {
    /// A keyspace whose tables the target takes without tablets alone.
    fn without_tablets(mut self, target: &Target) -> Result<Adapted, DdlError> {
        const OFF: &str = "{'enabled': false}";
        let Some(statement) = &self.statement else { return Ok(self) };
        let mut parts = Parts::of(statement)?;
        let network =
            parts.option("replication").is_some_and(|map| map.value.contains("NetworkTopologyStrategy"));
        let is_off = parts.option("tablets").is_some_and(|map| map.value.contains("false"));
        if !network || is_off {
            return Ok(self);
        }
        parts.options.retain(|option| option.name != "tablets");
        parts.options.push(OptionText::new("tablets", OFF));
        self.changes.push(format!(
            "tablets = {OFF} added: {target} has neither counters nor logs of changes in keyspaces with tablets"
        ));
        Ok(Adapted { statement: Some(Statement::parse(&parts.cql())?), ..self })
    }
}

/// A table without those masks whose functions are not there, and what it lacks so, in words. A mask is no reason to do
/// without the table.
///
/// # Errors
/// `DdlError` if the statement's text is not one.
pub fn unmasked(statement: Statement, gone: &[&Statement]) -> Result<(Statement, Vec<String>), DdlError> {
    let function = |mask: &Mask| gone.iter().find(|gone| gone.masks_as(mask, &statement.keyspace));
    let (mut stripped, mut lost) = (Vec::new(), Vec::new());
    for mask in statement.masks() {
        if let Some(function) = function(&mask) {
            lost.push(mask.lost(&format!("it needs {}", function.label())));
            stripped.push(mask);
        }
    }
    if stripped.is_empty() {
        return Ok((statement, lost));
    }
    let mut parts = Parts::of(&statement)?;
    parts.head = masks::strip(&parts.head, &stripped);
    Ok((Statement::parse(&parts.cql())?, lost))
}

#[cfg(test)]
mod tests {
    use super::super::servers::Feature;
    use super::*;

    #[test]
    fn what_needs_something_that_cannot_be_held_cannot_be_held_either() {
        let statements = [
            "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'};",
            "CREATE TYPE ks.point (at vector<float, 2>);",
            "CREATE TYPE ks.line (a frozen<point>, b frozen<point>);",
            "CREATE TYPE ks.plain (line text);",
            "CREATE TABLE ks.lines (id int PRIMARY KEY, v frozen<line>);",
            "CREATE TABLE ks.words (line text PRIMARY KEY, p frozen<plain>);",
            "CREATE INDEX lines_v ON ks.lines (v);",
            "CREATE INDEX words_p ON ks.words (p);",
            "CREATE MATERIALIZED VIEW ks.by_v AS SELECT * FROM ks.lines WHERE v IS NOT NULL AND id IS NOT NULL \
             PRIMARY KEY (v, id);",
        ];
        let statements: Vec<Statement> =
            statements.iter().map(|cql| Statement::parse(cql).unwrap()).collect();
        let target: Target = "cassandra-4.1".parse().unwrap();
        let fit_to = |exists: &str| {
            fit(statements.clone(), &target, Choices::default(), |s| s.name == exists).unwrap()
        };
        let fitted = fit_to("");
        let told = |fitted: &Fitted| {
            let label = fitted.statement.label();
            fitted.unsupported.iter().map(|why| format!("{label}: {why}")).collect::<Vec<_>>()
        };
        let (kept, gone): (Vec<&Fitted>, Vec<&Fitted>) = fitted.iter().partition(|fitted| fitted.runs);
        assert_eq!(
            gone.into_iter().flat_map(told).collect::<Vec<_>>(),
            [
                "type ks.point: Cassandra 4.1 has no vectors",
                "type ks.line: it needs type ks.point",
                "table ks.lines: it needs type ks.line",
                "index ks.lines_v: it needs table ks.lines",
                "materialized view ks.by_v: it needs table ks.lines",
            ]
        );
        let kept: Vec<&str> = kept.into_iter().map(|fitted| fitted.statement.name.as_str()).collect();
        assert_eq!(kept, ["ks", "plain", "words", "words_p"]);
        let there = fit_to("lines");
        assert!(
            there.iter().filter(|f| ["lines", "by_v"].contains(&f.statement.name.as_str())).all(|f| f.runs)
        );
    }

    #[test]
    fn a_mask_costs_no_table() {
        let statements = [
            "CREATE FUNCTION ks.hide(what text, cover text) CALLED ON NULL INPUT RETURNS text LANGUAGE java \
             AS $$return cover;$$;",
            "CREATE TABLE ks.t (k int PRIMARY KEY, hide text MASKED WITH ks.hide('a, b'), \
             open text MASKED WITH system.mask_default()) WITH comment = 'ks.hide(x)';",
            "CREATE TABLE ks.u (hide text PRIMARY KEY, v text MASKED WITH ks.show(hide));",
            "CREATE INDEX t_open ON ks.t (open);",
        ];
        let statements: Vec<Statement> =
            statements.iter().map(|cql| Statement::parse(cql).unwrap()).collect();
        let told = |target: &Target| {
            let fitted = fit(statements.clone(), target, Choices::default(), |_| false).unwrap();
            let told = |f: &Fitted| (f.runs, f.statement.cql.clone(), f.unsupported.join("; "));
            fitted.iter().map(told).collect::<Vec<_>>()
        };
        // Masks and all that needs functions, where the target has neither.
        let older = told(&"cassandra-4.1".parse().unwrap());
        assert!(older.iter().all(|(runs, cql, _)| *runs && !cql.contains("MASKED")), "{older:?}");
        let mut target: Target = "cassandra-5.0".parse().unwrap();
        target.off.insert(Feature::Functions);
        let off = told(&target);
        let runs: Vec<bool> = off.iter().map(|(runs, ..)| *runs).collect();
        assert_eq!(runs, [false, true, true, true], "{off:?}");
        assert_eq!(off[1].2, "the mask of column hide: it needs function ks.hide");
        let table = "CREATE TABLE ks.t (k int PRIMARY KEY, hide text, open text MASKED WITH system.mask_default()) \
                     WITH comment = 'ks.hide(x)';";
        assert_eq!(off[1].1, table);
        assert_eq!(off[2].1, statements[2].cql, "another function's");
    }

    /// By ScyllaDB's documentation (see `Target::limits_tablets`); not run by us.
    #[test]
    fn counters_and_logs_go_without_tablets_where_these_take_none() {
        let network = "{'class': 'NetworkTopologyStrategy', 'dc1': '3'}";
        let keyspace = |name: &str, replication: &str| {
            format!("CREATE KEYSPACE {name} WITH replication = {replication} AND durable_writes = true;")
        };
        let statements = [
            keyspace("counts", network),
            keyspace("logged", network)
                .replace(" AND durable", " AND tablets = {'enabled': true} AND durable"),
            keyspace("plain", network),
            keyspace("simple", "{'class': 'SimpleStrategy', 'replication_factor': '1'}"),
            "CREATE TABLE counts.t (k int PRIMARY KEY, n counter);".to_owned(),
            "CREATE TABLE logged.t (k int PRIMARY KEY) WITH cdc = {'enabled': 'true'};".to_owned(),
            "CREATE TABLE plain.t (counter int PRIMARY KEY) WITH cdc = {'enabled': 'false'};".to_owned(),
            "CREATE TABLE simple.t (k int PRIMARY KEY, n counter);".to_owned(),
        ];
        let statements: Vec<Statement> =
            statements.iter().map(|cql| Statement::parse(cql).unwrap()).collect();
        let without = |target: &str| -> Vec<String> {
            let target: Target = target.parse().unwrap();
            let fitted = fit(statements.clone(), &target, Choices::default(), |_| false).unwrap();
            let is_off = |f: &&Fitted| f.statement.cql.contains("tablets = {'enabled': false}");
            fitted
                .iter()
                .filter(is_off)
                .map(|f| format!("{}: {}", f.statement.name, f.changes.len()))
                .collect()
        };
        for target in ["scylla-6.0", "scylla-2024.2", "scylla-2025.1"] {
            assert_eq!(without(target), ["counts: 1", "logged: 1"], "{target}");
        }
        for target in ["scylla-5.4", "scylla-2024.1", "scylla-2026.1", "cassandra-5.0"] {
            assert_eq!(without(target), [""; 0], "{target}");
        }
    }
}
