//! Which statements a load runs on its target: each as the target takes it, and which objects it cannot hold, with all that
//! needs them. How a statement is changed is left to `ddl`.

use crate::ddl::servers::Target;
use crate::ddl::target::{Adapted, Choices, adapt};
use crate::ddl::{Kind, Statement};
use crate::error::{Context, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// A statement as the target takes it.
pub struct Fitted {
    /// The statement.
    pub statement: Statement,
    /// What was changed, each in words.
    pub changes: Vec<String>,
}

/// Something that the target cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// `index ks.i`.
    pub object: String,
    /// What, and why.
    pub why: String,
}

/// What becomes of the statements of a dump.
#[derive(Default)]
pub struct Fitting {
    /// Those that can be run, in their order.
    pub fitted: Vec<Fitted>,
    /// What cannot be held.
    pub unsupported: Vec<Unsupported>,
    /// Keyspace and name of the tables that cannot be held: their rows have no place.
    pub tables: BTreeSet<(String, String)>,
}

impl Fitting {
    /// For a target that takes everything as it is.
    pub fn unchanged(statements: Vec<Statement>) -> Fitting {
        let fitted = statements.into_iter().map(|statement| Fitted { statement, changes: Vec::new() });
        Fitting { fitted: fitted.collect(), ..Fitting::default() }
    }
}

/// Fits statements, which are in replay order, to the target. What `exists` there is not made, so that it is changed for
/// nobody but the comparison.
///
/// # Errors
/// `Error` if a statement's text is not one.
pub fn fit(
    statements: Vec<Statement>,
    target: &Target,
    choices: Choices,
    exists: impl Fn(&Statement) -> bool,
) -> Result<Fitting> {
    let mut fitting = Fitting::default();
    let mut gone: Vec<Statement> = Vec::new();
    for statement in statements {
        let adapted = match gone.iter().find(|gone| statement.needs(gone)) {
            Some(gone) => Adapted::impossible(&format!("it needs {}", gone.label())),
            None => adapt(&statement, target, choices)
                .doing(|| format!("write {} for {target}", statement.label()))?,
        };
        if exists(&statement) {
            let statement = adapted.statement.unwrap_or(statement);
            fitting.fitted.push(Fitted { statement, changes: Vec::new() });
            continue;
        }
        let object = statement.label();
        let lost = |why| Unsupported { object: object.clone(), why };
        fitting.unsupported.extend(adapted.unsupported.into_iter().map(lost));
        match adapted.statement {
            Some(statement) => fitting.fitted.push(Fitted { statement, changes: adapted.changes }),
            None => {
                if statement.kind == Kind::Table {
                    fitting.tables.insert((statement.keyspace.clone(), statement.name.clone()));
                }
                gone.push(statement);
            }
        }
    }
    Ok(fitting)
}

#[cfg(test)]
mod tests {
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
        let fitting = fit_to("");
        let told: Vec<String> =
            fitting.unsupported.iter().map(|u| format!("{}: {}", u.object, u.why)).collect();
        assert_eq!(
            told,
            [
                "type ks.point: Cassandra 4.1 has no vectors",
                "type ks.line: it needs type ks.point",
                "table ks.lines: it needs type ks.line",
                "index ks.lines_v: it needs table ks.lines",
                "materialized view ks.by_v: it needs table ks.lines",
            ]
        );
        let kept: Vec<&str> = fitting.fitted.iter().map(|f| f.statement.name.as_str()).collect();
        assert_eq!(kept, ["ks", "plain", "words", "words_p"]);
        assert_eq!(fitting.tables, BTreeSet::from([("ks".to_owned(), "lines".to_owned())]));
        let there = fit_to("lines");
        assert!(there.tables.is_empty() && there.fitted.iter().any(|f| f.statement.name == "by_v"));
    }
}
