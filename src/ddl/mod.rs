//! Which CREATE statement a text is, in which order statements are replayed, and how they are rewritten for a target.
//! All of it is pure; asking a server for its statements and running them is left to `cluster`.
//!
//! Texts are read token by token and changed only where a name or a map stands, so whatever the server wrote, and any
//! option this code has never heard of, stays as it was. A text from a dump is not trusted: anything but one CREATE
//! statement of a known kind is refused.

mod anatomy;
mod code;
pub mod create;
pub mod fitting;
pub mod lex;
mod masks;
pub mod options;
pub mod printed;
mod replication;
pub mod rewrite;
mod same;
pub mod servers;
pub mod target;
pub mod words;

use crate::types::cql::Ident;
use anatomy::Anatomy;
use std::collections::{HashMap, HashSet};
use thiserror::Error;

pub use masks::Mask;
pub use replication::{BadReplication, Overrides, Replication};
pub use rewrite::Renames;
pub use same::same;

/// What a statement creates, in replay order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CREATE KEYSPACE.
    Keyspace,
    /// CREATE TYPE.
    Type,
    /// CREATE FUNCTION.
    Function,
    /// CREATE AGGREGATE.
    Aggregate,
    /// CREATE TABLE.
    Table,
    /// CREATE INDEX and CREATE CUSTOM INDEX.
    Index,
    /// CREATE MATERIALIZED VIEW.
    View,
}

impl Kind {
    /// All of them, in replay order.
    pub const ALL: [Kind; 7] =
        [Kind::Keyspace, Kind::Type, Kind::Function, Kind::Aggregate, Kind::Table, Kind::Index, Kind::View];

    /// The name in the `type` column of DESCRIBE.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Keyspace => "keyspace",
            Kind::Type => "type",
            Kind::Function => "function",
            Kind::Aggregate => "aggregate",
            Kind::Table => "table",
            Kind::Index => "index",
            Kind::View => "materialized_view",
        }
    }

    /// By the name in the `type` column of DESCRIBE; ScyllaDB has another one for views.
    pub fn named(name: &str) -> Option<Kind> {
        match name {
            "view" => Some(Kind::View),
            _ => Kind::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }

    /// Whether it is a function or an aggregate, whose name alone does not identify it.
    pub fn is_function(self) -> bool {
        matches!(self, Kind::Function | Kind::Aggregate)
    }

    /// Whether it is created before or after the data is loaded.
    pub fn section(self) -> Section {
        match self {
            Kind::Index | Kind::View => Section::PostData,
            _ => Section::PreData,
        }
    }

    /// As a person calls it.
    fn label(self) -> &'static str {
        match self {
            Kind::View => "materialized view",
            other => other.name(),
        }
    }
}

/// Before the data or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// What the data needs.
    PreData,
    /// What is built from the data.
    PostData,
}

impl Section {
    /// The name as a manifest spells it.
    pub fn name(self) -> &'static str {
        match self {
            Section::PreData => "pre-data",
            Section::PostData => "post-data",
        }
    }
}

/// A text that is not one CREATE statement, or cannot be rewritten.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DdlError {
    /// Something begins and does not end.
    #[error(transparent)]
    Lex(#[from] lex::LexError),
    /// Nothing at all.
    #[error("no statement: the text is empty")]
    Empty,
    /// Servers print tables that CQL cannot express, and virtual tables, only as a comment.
    #[error("no statement: the text is only a comment")]
    OnlyComment,
    /// A second statement follows.
    #[error("more than one statement: after the first one comes {second}")]
    Several {
        /// Its first words.
        second: String,
    },
    /// Another statement than CREATE, or CREATE of something else.
    #[error(
        "{found} is not a CREATE statement of a keyspace, type, function, aggregate, table, index or view"
    )]
    Unsupported {
        /// Its first words.
        found: String,
    },
    /// The grammar asks for something else here.
    #[error("expected {what} at byte {at}, found {found}")]
    Expected {
        /// What belongs there.
        what: &'static str,
        /// What stands there.
        found: String,
        /// Where.
        at: usize,
    },
    /// A bracket without its other half.
    #[error("the bracket at byte {at} does not match")]
    Bracket {
        /// Where.
        at: usize,
    },
    /// A name without a keyspace, which depends on the session.
    #[error("the {} {name:?} needs its keyspace before it, as in ks.{name}", kind.label())]
    NoKeyspace {
        /// What is created.
        kind: Kind,
        /// Its name, or that of the table it belongs to.
        name: String,
    },
    /// An index or view in another keyspace than its table.
    #[error("the {} {name:?} is in keyspace {keyspace:?}, its table in {table_keyspace:?}", kind.label())]
    Apart {
        /// What is created.
        kind: Kind,
        /// Its name.
        name: String,
        /// Its keyspace.
        keyspace: String,
        /// The table's.
        table_keyspace: String,
    },
}

/// One CREATE statement. All names are true names, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it creates.
    pub kind: Kind,
    /// The keyspace it creates or creates something in.
    pub keyspace: String,
    /// The object's name: of functions and aggregates without the signature, of an index that has none empty.
    pub name: String,
    /// The indexed table, or the view's base table.
    pub table: Option<String>,
    /// The text, from its first token to its last, with the semicolon if there was one.
    pub cql: String,
}

impl Statement {
    /// Reads exactly one CREATE statement; comments and blanks around it are left off.
    ///
    /// # Errors
    /// `DdlError` says what the text is instead.
    pub fn parse(cql: &str) -> Result<Statement, DdlError> {
        let anatomy = Anatomy::read(cql)?;
        Ok(Statement {
            kind: anatomy.kind,
            keyspace: anatomy.keyspace,
            name: anatomy.name.map_or_else(String::new, |q| q.name.text),
            table: anatomy.table.map(|q| q.name.text),
            cql: cql[anatomy.span].to_owned(),
        })
    }

    /// What it creates, for people: `index ks.name`.
    pub fn label(&self) -> String {
        label(self.kind, &self.keyspace, &self.name)
    }

    /// Whether it cannot be run without what another statement makes, keyspaces aside.
    pub fn needs(&self, other: &Statement) -> bool {
        if self.keyspace != other.keyspace {
            return false;
        }
        match other.kind {
            Kind::Type => self.uses_type(&other.name),
            Kind::Function => match self.kind {
                Kind::Aggregate => code::calls(self, other).unwrap_or(true),
                Kind::Table => self.masks().iter().any(|mask| other.masks_as(mask, &self.keyspace)),
                _ => false,
            },
            Kind::Table => self.table.as_ref() == Some(&other.name),
            Kind::Keyspace | Kind::Aggregate | Kind::Index | Kind::View => false,
        }
    }

    /// The masks of a table's columns; other statements have none.
    pub fn masks(&self) -> Vec<Mask> {
        let head = |parts: options::Parts| masks::masks(&parts.head).unwrap_or_default();
        if self.kind == Kind::Table {
            options::Parts::of(self).map_or_else(|_| Vec::new(), head)
        } else {
            Vec::new()
        }
    }

    /// Whether it is the function of a mask in a table of the keyspace `home`.
    fn masks_as(&self, mask: &Mask, home: &str) -> bool {
        self.kind == Kind::Function && mask.is_made_by(home, (&self.keyspace, &self.name))
    }

    /// The arguments of a function or aggregate, `(a int, b text)`; nothing of other statements.
    pub fn arguments(&self) -> String {
        if !self.kind.is_function() {
            return String::new();
        }
        words::bracket(&self.cql).unwrap_or_default()
    }

    /// Whether it names a type of its own keyspace: in a field, a column, or among the arguments of a function.
    pub fn uses_type(&self, name: &str) -> bool {
        match self.kind {
            Kind::Type | Kind::Table => {
                Anatomy::read(&self.cql).is_ok_and(|a| a.field_types.iter().any(|used| used == name))
            }
            Kind::Function | Kind::Aggregate => words::names(&self.cql, name).unwrap_or(false),
            Kind::Keyspace | Kind::Index | Kind::View => false,
        }
    }

    /// Whether a table names functions of its own keyspace, as columns masked by a user function do.
    pub fn uses_functions(&self) -> bool {
        let own = |a: Anatomy| a.references.iter().any(|reference| reference.text == self.keyspace);
        self.kind == Kind::Table && Anatomy::read(&self.cql).is_ok_and(own)
    }
}

/// Something by kind and name, for people: `index ks.name`.
pub fn label(kind: Kind, keyspace: &str, name: &str) -> String {
    let named = kind.name().replace('_', " ");
    match kind {
        Kind::Keyspace => format!("{named} {}", Ident(keyspace)),
        _ => format!("{named} {}.{}", Ident(keyspace), Ident(name)),
    }
}

/// What was changed in a statement for a server, as a comment above it.
pub fn comment(change: &str, server: Option<&servers::Target>) -> String {
    let server = server.map_or_else(String::new, |server| format!(" for {server}"));
    format!("-- changed{server}: {}\n", one_line(change))
}

/// A text that nothing ends the line of: comments of CQL end at both of these.
pub fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Replay order: keyspaces, types after the types they use, functions, aggregates, tables; then indexes, views.
/// Within these the given order stays.
pub fn order(mut statements: Vec<Statement>) -> Vec<Statement> {
    statements.sort_by_key(|s| s.kind);
    let types = statements.partition_point(|s| s.kind < Kind::Type)
        ..statements.partition_point(|s| s.kind <= Kind::Type);
    let sorted = types_by_dependency(&statements[types.clone()]);
    statements.splice(types, sorted);
    statements
}

fn types_by_dependency(types: &[Statement]) -> Vec<Statement> {
    let place: HashMap<(&str, &str), usize> =
        types.iter().enumerate().map(|(i, t)| ((t.keyspace.as_str(), t.name.as_str()), i)).collect();
    let uses: Vec<Vec<usize>> = types
        .iter()
        .map(|t| {
            let names = Anatomy::read(&t.cql).map_or_else(|_| Vec::new(), |a| a.field_types);
            names
                .iter()
                .filter_map(|name| place.get(&(t.keyspace.as_str(), name.as_str())).copied())
                .collect()
        })
        .collect();
    // Depth first without recursion: the chain may be as long as a hostile text likes.
    let mut sorted = Vec::with_capacity(types.len());
    let mut begun = HashSet::new();
    for root in 0..types.len() {
        let mut chain: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
        if begun.insert(root) {
            chain.push((root, uses[root].iter()));
        }
        while let Some((at, rest)) = chain.last_mut() {
            match rest.find(|&&used| !begun.contains(&used)) {
                Some(&used) => {
                    begun.insert(used);
                    chain.push((used, uses[used].iter()));
                }
                None => {
                    sorted.push(types[*at].clone());
                    chain.pop();
                }
            }
        }
    }
    sorted
}

#[cfg(test)]
mod generated;
#[cfg(test)]
mod tests;
