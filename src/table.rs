//! What a table is: its columns in the order in which pages carry their cells, and the user types of its keyspace.
//! Where that comes from (a server's catalogue, a dump's manifest) is left to `cluster` and `manifest`.

use crate::types::cql::{CqlType, Ident, Udt};
use std::sync::Arc;

/// What a column is to its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnKind {
    /// Part of the partition key.
    PartitionKey,
    /// Part of the clustering key.
    Clustering,
    /// One value per partition.
    Static,
    /// One value per row.
    Regular,
}

impl ColumnKind {
    /// All kinds, in page order.
    pub const ALL: &'static [ColumnKind] =
        &[ColumnKind::PartitionKey, ColumnKind::Clustering, ColumnKind::Static, ColumnKind::Regular];

    /// The name that `system_schema.columns.kind` uses.
    pub fn name(self) -> &'static str {
        match self {
            ColumnKind::PartitionKey => "partition_key",
            ColumnKind::Clustering => "clustering",
            ColumnKind::Static => "static",
            ColumnKind::Regular => "regular",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<ColumnKind> {
        ColumnKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// True name, unquoted.
    pub name: String,
    /// CQL type, user types resolved.
    pub cql_type: CqlType,
    /// What it is to the table.
    pub kind: ColumnKind,
    /// Position within the partition key or clustering key, from 0; -1 for other columns.
    pub position: i32,
    /// Clustering columns only: whether rows stand in descending order of it.
    pub descending: bool,
}

/// A table and its columns: partition key, clustering key, static, regular; keys by position, the others by name.
#[derive(Clone, Debug)]
pub struct Table {
    /// True keyspace name, unquoted.
    pub keyspace: String,
    /// True name, unquoted.
    pub name: String,
    /// In page order.
    pub columns: Vec<Column>,
}

impl Table {
    /// A table with its columns put into page order.
    pub fn new(keyspace: String, name: String, mut columns: Vec<Column>) -> Table {
        columns.sort_by(|a, b| (a.kind, a.position, &a.name).cmp(&(b.kind, b.position, &b.name)));
        Table { keyspace, name, columns }
    }

    /// The page indexes of the columns of `kind`.
    pub fn indexes(&self, kind: ColumnKind) -> Vec<usize> {
        (0..self.columns.len()).filter(|i| self.columns[*i].kind == kind).collect()
    }

    /// The columns of `kind`.
    pub fn of_kind(&self, kind: ColumnKind) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |c| c.kind == kind)
    }

    /// Whether its values are counters: counters never stand beside other types.
    pub fn is_counter(&self) -> bool {
        use crate::types::cql::Native;
        self.columns.iter().any(|c| c.cql_type == CqlType::Native(Native::Counter))
    }

    /// The user types its columns need, inner ones first, each once.
    pub fn udts(&self) -> Vec<Arc<Udt>> {
        let mut found: Vec<Arc<Udt>> = Vec::new();
        for column in &self.columns {
            column.cql_type.visit_udts(&mut |udt| {
                if !found.iter().any(|f| f.name == udt.name) {
                    found.push(udt.clone());
                }
            });
        }
        found
    }

    /// `keyspace.table` with true names, for messages.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.keyspace, self.name)
    }

    /// `keyspace.table` as CQL and selectors spell it.
    pub fn cql_name(&self) -> String {
        format!("{}.{}", Ident(&self.keyspace), Ident(&self.name))
    }

    /// What keeps rows of `self` from being loaded into `target`: another key, a column that is missing or of another
    /// type or kind. `None` if nothing does; columns that only the target has stay null.
    pub fn misfit(&self, target: &Table) -> Option<String> {
        for kind in [ColumnKind::PartitionKey, ColumnKind::Clustering] {
            let key = |t: &Table| {
                let names: Vec<String> =
                    t.of_kind(kind).map(|c| format!("{} {}", c.name, c.cql_type)).collect();
                names.join(", ")
            };
            let (ours, theirs) = (key(self), key(target));
            if ours != theirs {
                let what = if kind == ColumnKind::PartitionKey { "partition key" } else { "clustering key" };
                return Some(format!("its {what} is ({theirs}), the dump's is ({ours})"));
            }
        }
        for column in &self.columns {
            let Some(found) = target.columns.iter().find(|c| c.name == column.name) else {
                return Some(format!("it has no column {:?}", column.name));
            };
            if found.kind != column.kind {
                return Some(format!(
                    "its column {:?} is {}, the dump's is {}",
                    column.name,
                    found.kind.name(),
                    column.kind.name()
                ));
            }
            if found.cql_type != column.cql_type {
                return Some(format!(
                    "its column {:?} has the type {}, the dump's has {}",
                    column.name,
                    describe_type(&found.cql_type),
                    describe_type(&column.cql_type)
                ));
            }
        }
        None
    }
}

/// A type for a message: user types with their fields, since two types of one name may differ in them.
fn describe_type(cql_type: &CqlType) -> String {
    let mut text = cql_type.to_string();
    cql_type.visit_udts(&mut |udt| {
        let fields: Vec<String> = udt.fields.iter().map(|(name, t)| format!("{name} {t}")).collect();
        text.push_str(&format!(" with {} ({})", udt.name, fields.join(", ")));
    });
    text
}
