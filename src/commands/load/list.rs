//! The list of what a dump holds, one line each, for `--list`; and what is left of it after somebody edited it, for
//! `--use-list`. What follows for statements and rows is left to the plan.

use super::schema::statements;
use crate::ddl::lex::{TokenKind, lex};
use crate::ddl::{Kind, Statement};
use crate::error::{Context, Error, Result};
use crate::manifest::Manifest;
use crate::report;
use crate::selector::Selection;
use crate::types::cql::Ident;
use std::collections::BTreeSet;
use std::path::Path;

/// A line's words, as tokens of CQL: blanks do not matter, and names are quoted as in CQL.
type Words = Vec<String>;

/// The lines that are to be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(BTreeSet<Words>);

/// The list of what the selectors leave of a dump.
///
/// # Errors
/// `Error` if a statement of the manifest cannot be read.
pub fn text(manifest: &Manifest, selection: &Selection) -> Result<String> {
    let mut text = format!(
        "; dump {} of cluster {:?}, release {}, finished {}\n\
         ; What is deleted here, or begins with a semicolon, is not loaded. The order of lines does not matter.\n",
        report::word(&manifest.id),
        manifest.cluster.name,
        report::word(&manifest.cluster.version),
        report::word(&manifest.finished)
    );
    for keyspace in manifest.keyspaces.iter().filter(|k| selection.wants_keyspace(&k.name)) {
        let wanted = |table: &str| selection.wants_table(&keyspace.name, table);
        let mut data = keyspace.tables.iter().filter(|t| wanted(&t.name)).collect::<Vec<_>>();
        for statement in statements(keyspace)? {
            let table =
                if statement.kind == Kind::Table { Some(&statement.name) } else { statement.table.as_ref() };
            if table.is_some_and(|table| !wanted(table)) {
                continue;
            }
            // Rows come before what is built from them.
            if statement.kind.section() == crate::ddl::Section::PostData {
                data.drain(..).for_each(|t| text.push_str(&data_line(&keyspace.name, &t.name, t.rows)));
            }
            text.push_str(&entry(&statement));
            if let Some(table) = &statement.table {
                text.push_str(&format!(" ; on {}", Ident(table)));
            }
            text.push('\n');
        }
        data.drain(..).for_each(|t| text.push_str(&data_line(&keyspace.name, &t.name, t.rows)));
    }
    Ok(text)
}

fn data_line(keyspace: &str, table: &str, rows: u64) -> String {
    format!("{} ; {rows} rows\n", data(keyspace, table))
}

impl List {
    /// Reads an edited list.
    ///
    /// # Errors
    /// A usage error names the line that is not one of the dump's.
    pub fn read(path: &Path, manifest: &Manifest) -> Result<List> {
        let text = std::fs::read_to_string(path).doing(|| format!("read the list {}", path.display()))?;
        let mut known = BTreeSet::new();
        for keyspace in &manifest.keyspaces {
            known.extend(statements(keyspace)?.iter().filter_map(|statement| words(&entry(statement))));
            known
                .extend(keyspace.tables.iter().filter_map(|table| words(&data(&keyspace.name, &table.name))));
        }
        let mut list = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let Some(words) = words(line).filter(|words| words.is_empty() || known.contains(words)) else {
                let at =
                    format!("{}, line {}: the dump has no {:?}", path.display(), number + 1, line.trim());
                return Err(Error::usage(at).hint("cqlift load DIR --list prints the lines of the dump"));
            };
            list.insert(words);
        }
        list.remove(&Vec::new());
        if list.is_empty() {
            return Err(Error::usage(format!("{} leaves nothing to load", path.display())));
        }
        Ok(List(list))
    }

    /// Whether the statement is to be run.
    pub fn has(&self, statement: &Statement) -> bool {
        words(&entry(statement)).is_some_and(|words| self.0.contains(&words))
    }

    /// Whether something of that kind and name is to be made, or the rows of a table of that name loaded.
    pub fn names(&self, kind: Kind, keyspace: &str, name: &str) -> bool {
        let label = crate::ddl::label(kind, keyspace, name);
        let named = words(&label).is_some_and(|words| self.0.iter().any(|line| line.starts_with(&words)));
        named || kind == Kind::Table && self.has_data(keyspace, name)
    }

    /// Whether a table's rows are to be loaded.
    pub fn has_data(&self, keyspace: &str, table: &str) -> bool {
        words(&data(keyspace, table)).is_some_and(|words| self.0.contains(&words))
    }
}

fn data(keyspace: &str, table: &str) -> String {
    format!("data {}.{}", Ident(keyspace), Ident(table))
}

/// Functions with their arguments, which tell overloads apart.
fn entry(statement: &Statement) -> String {
    let label = statement.label();
    match statement.kind.is_function() {
        true => format!("{label}{}", statement.arguments()),
        false => label,
    }
}

/// The words before the first semicolon that is in no name; `None` if a name does not end.
fn words(line: &str) -> Option<Words> {
    let mut inside = false;
    let end = line.find(|c: char| {
        inside ^= c == '"';
        c == ';' && !inside
    });
    let line = &line[..end.unwrap_or(line.len())];
    let meant = lex(line).ok()?.into_iter().filter(|token| token.kind != TokenKind::Space);
    Some(meant.map(|token| line[token.range].to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_a_semicolon_outside_of_names() {
        let of = |line: &str| words(line).unwrap();
        assert_eq!(of("  table ks.\"a;b\" ; 3 rows, don't touch"), ["table", "ks", ".", "\"a;b\""]);
        assert_eq!(of("; table ks.t"), Words::new());
        assert_eq!(of("   "), Words::new());
        assert_eq!(words("table ks.\"a"), None);
        assert_eq!(words("table  ks . t"), words("table ks.t"));
    }

    #[test]
    fn overloads_are_told_apart() {
        let function = |arguments: &str| {
            let cql = format!(
                "CREATE FUNCTION ks.f({arguments}) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$return 1;$$"
            );
            entry(&Statement::parse(&cql).unwrap())
        };
        assert_eq!(function("a int,\n b   text"), "function ks.f(a int, b text)");
        assert_ne!(words(&function("a int")), words(&function("a text")));
    }
}
