//! Which of several statements a server can run: each as it takes it, and which objects it cannot hold, with all that needs
//! them. How one statement is changed is left to [`super::target`].

use super::servers::Target;
use super::target::{Adapted, Choices, adapt};
use super::{DdlError, Statement};
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

/// A statement that cannot be written for a target.
#[derive(Debug, Error)]
#[error("{statement}: {source}")]
pub struct Unfit {
    /// `table ks.t`.
    statement: String,
    source: Box<DdlError>,
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
    for statement in statements {
        let gone = all.iter().find(|other| !other.runs && statement.needs(&other.statement));
        let adapted = match gone {
            Some(gone) => Adapted::impossible(&format!("it needs {}", gone.statement.label())),
            None => adapt(&statement, target, choices)
                .map_err(|source| Unfit { statement: statement.label(), source: Box::new(source) })?,
        };
        let there = exists(&statement);
        let runs = there || adapted.statement.is_some();
        let statement = adapted.statement.unwrap_or(statement);
        all.push(match there {
            true => Fitted::unchanged(statement),
            false => Fitted { statement, changes: adapted.changes, unsupported: adapted.unsupported, runs },
        });
    }
    Ok(all)
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
}
