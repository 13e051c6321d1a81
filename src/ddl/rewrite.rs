//! How a statement reads under other names or another replication. Only names and the replication map are touched;
//! options that other servers have or lack are left to [`super::target`].

use super::anatomy::{self, Anatomy, Name, Qualified};
use super::{DdlError, Kind, Replication, Statement};
use crate::types::cql::Ident;
use std::collections::BTreeMap;
use std::ops::Range;

/// New names for keyspaces and tables; what has none keeps its own. All names are true names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames {
    /// Old keyspace → new keyspace.
    pub keyspaces: BTreeMap<String, String>,
    /// Old keyspace and table → new ones; goes before the keyspace's own new name.
    pub tables: BTreeMap<(String, String), (String, String)>,
}

impl Renames {
    /// What the keyspace is called now.
    pub fn keyspace<'a>(&'a self, keyspace: &'a str) -> &'a str {
        self.keyspaces.get(keyspace).map_or(keyspace, String::as_str)
    }

    /// What the table is called now.
    pub fn table<'a>(&'a self, keyspace: &'a str, table: &'a str) -> (&'a str, &'a str) {
        self.explicit(keyspace, table).unwrap_or_else(|| (self.keyspace(keyspace), table))
    }

    /// What a view of `table` is called now: by its own entry, else it follows its table.
    pub fn view(&self, keyspace: &str, view: &str, table: &str) -> (String, String) {
        if let Some((keyspace, view)) = self.explicit(keyspace, view) {
            return (keyspace.to_owned(), view.to_owned());
        }
        let to = self.table(keyspace, table);
        (to.0.to_owned(), post_data_name(view, (keyspace, table), to))
    }

    fn explicit(&self, keyspace: &str, table: &str) -> Option<(&str, &str)> {
        self.tables
            .get(&(keyspace.to_owned(), table.to_owned()))
            .map(|(keyspace, table)| (keyspace.as_str(), table.as_str()))
    }
}

/// The name of an index or view whose table goes from one (keyspace, name) to another.
///
/// Such names are unique per keyspace, so a table that stays in its keyspace under another name cannot take them along:
/// `old_…` becomes `new_…`, any other name gets `_new` appended. In another keyspace the name stays.
pub fn post_data_name(name: &str, from: (&str, &str), to: (&str, &str)) -> String {
    if from.0 != to.0 || from.1 == to.1 {
        return name.to_owned();
    }
    match name.strip_prefix(from.1).and_then(|rest| rest.strip_prefix('_')) {
        Some(rest) => format!("{}_{rest}", to.1),
        None => format!("{name}_{}", to.1),
    }
}

/// The statement under other names: the object's own, its table's, and the keyspaces of the types and functions it
/// names. A table name without a keyspace gets one.
///
/// # Errors
/// `DdlError` if the statement's text is not one, or if a view would part from its table's keyspace.
pub fn rename(statement: &Statement, renames: &Renames) -> Result<Statement, DdlError> {
    let cql = &statement.cql;
    let anatomy = Anatomy::read(cql)?;
    let keyspace = anatomy.keyspace.as_str();
    let name = anatomy.name.as_ref().map_or("", |q| q.name.text.as_str());
    let table = anatomy.table.as_ref().map_or("", |q| q.name.text.as_str());
    let new_table = renames.table(keyspace, table);
    let (new_keyspace, new_name) = match anatomy.kind {
        Kind::Keyspace => {
            let new = renames.keyspace(keyspace);
            (new.to_owned(), new.to_owned())
        }
        Kind::Type | Kind::Function | Kind::Aggregate => {
            (renames.keyspace(keyspace).to_owned(), name.to_owned())
        }
        Kind::Table => {
            let (keyspace, table) = renames.table(keyspace, name);
            (keyspace.to_owned(), table.to_owned())
        }
        Kind::Index => (new_table.0.to_owned(), post_data_name(name, (keyspace, table), new_table)),
        Kind::View => renames.view(keyspace, name, table),
    };

    let mut edits = Edits::default();
    if let Some(Qualified { keyspace, name }) = &anatomy.name {
        edits.name(name, &new_name);
        if let Some(keyspace) = keyspace {
            edits.name(keyspace, &new_keyspace);
        }
    }
    if let Some(Qualified { keyspace, name }) = &anatomy.table {
        edits.name(name, new_table.1);
        match keyspace {
            Some(keyspace) => edits.name(keyspace, new_table.0),
            None => edits.insert(name.range.start, format!("{}.", Ident(new_table.0))),
        }
    }
    for reference in &anatomy.references {
        // A type or function of the statement's own keyspace is needed where the statement goes.
        let new = if reference.text == keyspace { &new_keyspace } else { renames.keyspace(&reference.text) };
        edits.name(reference, new);
    }
    Statement::parse(&edits.apply(cql))
}

/// The statement with another replication map; any other than CREATE KEYSPACE stays as it is.
///
/// # Errors
/// `DdlError` if the statement's text is not one.
pub fn replication(statement: &Statement, replication: &Replication) -> Result<Statement, DdlError> {
    let mut edits = Edits::default();
    match Anatomy::read(&statement.cql)?.replication {
        None => {}
        Some(anatomy::Replication::Value(range)) => edits.replace(range, replication.to_string()),
        Some(anatomy::Replication::Among(at)) => {
            edits.insert(at, format!("replication = {replication} AND "));
        }
        Some(anatomy::Replication::NoOptions(at)) => {
            edits.insert(at, format!(" WITH replication = {replication}"));
        }
    }
    Statement::parse(&edits.apply(&statement.cql))
}

/// Replacements in a text, kept until all are known.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// A name that stays the same stays as it is written.
    fn name(&mut self, old: &Name, new: &str) {
        if old.text != new {
            self.replace(old.range.clone(), Ident(new).to_string());
        }
    }

    fn insert(&mut self, at: usize, text: String) {
        self.replace(at..at, text);
    }

    fn replace(&mut self, range: Range<usize>, text: String) {
        self.0.push((range, text));
    }

    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (range, new) in self.0 {
            out.push_str(&text[at..range.start]);
            out.push_str(&new);
            at = range.end;
        }
        out.push_str(&text[at..]);
        out
    }
}
