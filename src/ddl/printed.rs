//! What a server's DESCRIBE of a keyspace prints: which of its rows are statements, which of them cannot be used as they are
//! printed, and which are none. Asking for them, and for the catalogue instead, is left to `cluster`.

use super::lex::{lex, true_name};
use super::{DdlError, Kind, Mask, Statement};

/// What ends the names of the tables in which ScyllaDB logs the changes of others.
pub const LOG: &str = "_scylla_cdc_log";

/// The rows, read.
#[derive(Debug, Default)]
pub struct Printed {
    /// Those that are statements.
    pub statements: Vec<Statement>,
    /// Kind and true name of what the rows name and do not make: the catalogue has it.
    pub unusable: Vec<(Kind, String)>,
    /// The masks of tables among these: of which table.
    pub masks: Vec<(String, Mask)>,
    /// What no statement makes, and what the row has instead.
    pub unknown: Vec<(String, String)>,
}

impl Printed {
    /// Reads a row: the kind and name that the server gives it, and its text.
    pub fn read(&mut self, kind: &str, name: &str, cql: &str) {
        let name = first_name(name);
        if self.is_log(&name) {
            return;
        }
        let error = match Statement::parse(cql) {
            Ok(statement) if !(statement.kind == Kind::Function && is_cut(cql)) => {
                self.statements.push(statement);
                return;
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let known = Kind::named(kind).filter(|_| !matches!(error, Some(DdlError::Unsupported { .. })));
        match (known, error) {
            (Some(kind), _) => {
                if kind == Kind::Table {
                    self.read_masks(&name, cql);
                }
                self.unusable.push((kind, name));
            }
            (None, error) => {
                let why = error.map_or_else(|| kind.to_owned(), |error| error.to_string());
                self.unknown.push((name, format!("{kind}: {why}")));
            }
        }
    }

    /// ScyllaDB prints an ALTER TABLE of a log behind the table whose changes are in it (`describe_cdc_log_table` in its
    /// `describe_statement.cc`; scylladb #18459).
    fn is_log(&self, name: &str) -> bool {
        let base = |base| self.statements.iter().any(|s| s.kind == Kind::Table && s.name == base);
        name.strip_suffix(LOG).is_some_and(base)
    }

    /// The masks of a table that is printed as a comment (5.0): the catalogue has their arguments in forms of its own.
    fn read_masks(&mut self, table: &str, cql: &str) {
        let inside = cql.find("\nCREATE TABLE").zip(cql.rfind("*/")).and_then(|(from, to)| cql.get(from..to));
        match inside.map(Statement::parse) {
            Some(Ok(statement)) => {
                self.masks.extend(statement.masks().into_iter().map(|mask| (table.to_owned(), mask)));
            }
            _ if cql.contains("MASKED") => {
                self.unknown.push((table.to_owned(), "the masks of its columns".to_owned()));
            }
            _ => {}
        }
    }
}

/// Whether a function's body ends before its end, or seems to: servers print it between `$$` whatever is in it (measured on
/// 4.1.10 and 5.0.6).
fn is_cut(cql: &str) -> bool {
    let body = cql.find("$$").zip(cql.rfind("$$")).and_then(|(from, to)| cql.get(from + 2..to));
    body.is_some_and(|body| body.contains("$$") || body.ends_with('$'))
}

/// The name that a row's begins with: those of functions have their arguments behind them.
fn first_name(name: &str) -> String {
    let first = lex(name).ok().and_then(|tokens| tokens.into_iter().next());
    true_name(first.map_or(name, |token| &name[token.range]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &[(&str, &str, &str)]) -> Printed {
        let mut printed = Printed::default();
        rows.iter().for_each(|(kind, name, cql)| printed.read(kind, name, cql));
        printed
    }

    /// As 5.0.6 prints them (measured). `f` cannot be cut into tokens, `g` would lose its last character, and `h` would end
    /// in its middle without a word.
    #[test]
    fn functions_whose_bodies_end_too_soon_are_made_from_the_catalogue() {
        let function = |name: &str, body: &str| {
            format!(
                "CREATE FUNCTION ks.{name}(a text)\n    CALLED ON NULL INPUT\n    RETURNS text\n    LANGUAGE java\n    AS $${body}$$;"
            )
        };
        let texts = [
            ("f", "return \"$$\";"),
            ("g", "return a; // $"),
            ("h", "return a;$$; -- "),
            ("\"I i\"", "return \"$\";"),
        ];
        let texts = texts.map(|(name, body)| (format!("{name}(text)"), function(name, body)));
        let rows: Vec<_> =
            texts.iter().map(|(name, cql)| ("function", name.as_str(), cql.as_str())).collect();
        let printed = read(&rows);
        let names: Vec<&str> = printed.statements.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["I i"]);
        assert_eq!(printed.unusable, ["f", "g", "h"].map(|name| (Kind::Function, name.to_owned())));
        assert_eq!(printed.unknown, []);
    }

    /// ScyllaDB's own test of it, `test/cqlpy/test_describe.py`, shows the rows (not run by us).
    #[test]
    fn logs_of_changes_are_not_made() {
        let table = "CREATE TABLE ks.t (\n    k int PRIMARY KEY\n) WITH cdc = {'enabled': 'true'};";
        let printed = read(&[
            ("table", "t", table),
            ("table", "t_scylla_cdc_log", "ALTER TABLE ks.t_scylla_cdc_log WITH comment = 'x';"),
            ("table", "u", "ALTER TABLE ks.u WITH comment = 'x';"),
            ("service_level", "sl", "CREATE SERVICE LEVEL sl;"),
            ("view", "v", "CREATE MATERIALIZED VIEW ks.v AS 'SELECT"),
        ]);
        assert_eq!(printed.statements.len(), 1);
        assert_eq!(printed.unusable, [(Kind::View, "v".to_owned())]);
        let unknown: Vec<&str> = printed.unknown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unknown, ["u", "sl"]);
        assert!(printed.unknown[0].1.starts_with("table: ALTER TABLE is not"), "{:?}", printed.unknown);
    }

    /// As 5.0.6 prints it (measured, options left out).
    #[test]
    fn masks_are_read_from_a_table_that_is_a_comment() {
        let comment = "/*\nWarning: Table ks.s omitted because it has constructs not compatible with CQL (was created via legacy API).\nApproximate structure, for reference:\n(this should not be used to reproduce this schema)\n\nCREATE TABLE ks.s (\n    k text MASKED WITH system.mask_inner(1, null, '#'),\n    v text MASKED WITH ks.hide(null),\n    w int,\n    PRIMARY KEY (k)\n) WITH COMPACT STORAGE\n    AND CLUSTERING ORDER BY (column1 ASC)\n    AND comment = 'ends */ early';\n*/";
        let printed = read(&[("table", "s", comment)]);
        assert_eq!(printed.unusable, [(Kind::Table, "s".to_owned())]);
        let masks: Vec<(&str, &str)> =
            printed.masks.iter().map(|(_, mask)| (mask.column.as_str(), mask.text.as_str())).collect();
        let expected =
            [("k", "MASKED WITH system.mask_inner(1, null, '#')"), ("v", "MASKED WITH ks.hide(null)")];
        assert_eq!(masks, expected);
        assert_eq!(printed.unknown, []);
    }
}
