//! What a table is: its columns in the order in which pages carry their cells, the companions that a dump keeps beside
//! their values, and the user types of its keyspace. Where that comes from (a server's catalogue, a dump's manifest) is
//! left to `cluster` and `manifest`.

use crate::types::cql::{CqlType, Ident, Native, Udt};
use std::sync::Arc;

#[cfg(test)]
pub mod made;

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

/// What a companion tells of its column's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tells {
    /// When they were written, µs since 1970.
    WriteTime,
    /// When they expire, s since 1970; null for a cell that does not.
    Expiry,
}

impl Tells {
    /// In the order in which they stand beside a column.
    pub const ALL: &'static [Tells] = &[Tells::WriteTime, Tells::Expiry];

    fn suffix(self) -> &'static str {
        match self {
            Tells::WriteTime => "__writetime",
            Tells::Expiry => "__expires_at",
        }
    }
}

/// Something kept beside the values of a column: one number per cell, or a list of them, one per element, for columns
/// whose elements are cells of their own. A UDT has one entry per field of its type, null for a field that is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Its name in files, which no column has.
    pub name: String,
    /// The page index of its column.
    pub column: usize,
    /// What it tells.
    pub tells: Tells,
}

/// Where a column's cells, their write times and their expiries lie in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cells.
    pub column: usize,
    /// Their write times, if they are told.
    pub write_time: Option<usize>,
    /// Their expiries, if they are told.
    pub expiry: Option<usize>,
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
    /// What pages carry after the columns; nothing if values are all that is read.
    pub companions: Vec<Companion>,
}

impl Table {
    /// A table with its columns put into page order.
    pub fn new(keyspace: String, name: String, mut columns: Vec<Column>) -> Table {
        columns.sort_by(|a, b| (a.kind, a.position, &a.name).cmp(&(b.kind, b.position, &b.name)));
        Table { keyspace, name, columns, companions: Vec::new() }
    }

    /// Adds the companions of a column, under names that nothing else has. Columns must come in page order.
    pub fn keep(&mut self, column: usize) {
        for tells in Tells::ALL {
            let mut name = format!("{}{}", self.columns[column].name, tells.suffix());
            let taken = |name: &str| {
                self.columns.iter().any(|c| c.name == name) || self.companions.iter().any(|c| c.name == name)
            };
            while taken(&name) {
                name.push('_');
            }
            self.companions.push(Companion { name, column, tells: *tells });
        }
    }

    /// Whether a dump of this table may give a companion this name.
    pub fn is_companion(&self, name: &str) -> bool {
        let of = |tells: &Tells| {
            let column = name.trim_end_matches('_').strip_suffix(tells.suffix());
            column.is_some_and(|column| self.columns.iter().any(|c| c.name == column))
        };
        Tells::ALL.iter().any(of)
    }

    /// Cells per row of its pages.
    pub fn width(&self) -> usize {
        self.columns.len() + self.companions.len()
    }

    /// The page index of a column's companion.
    pub fn companion(&self, column: usize, tells: Tells) -> Option<usize> {
        let found = self.companions.iter().position(|c| c.column == column && c.tells == tells);
        found.map(|index| self.columns.len() + index)
    }

    /// Where the columns of `kind` and what is told of them lie.
    pub fn places(&self, kind: ColumnKind) -> Vec<Place> {
        let place = |column| Place {
            column,
            write_time: self.companion(column, Tells::WriteTime),
            expiry: self.companion(column, Tells::Expiry),
        };
        self.indexes(kind).into_iter().map(place).collect()
    }

    /// The type that a companion's cells have.
    pub fn companion_type(&self, companion: &Companion) -> CqlType {
        let number = CqlType::Native(Native::BigInt);
        match self.columns[companion.column].cql_type.has_elements() {
            true => CqlType::List(Box::new(number), true),
            false => number,
        }
    }

    /// The same table without companions.
    #[must_use]
    pub fn values_only(&self) -> Table {
        Table { companions: Vec::new(), ..self.clone() }
    }

    /// The page indexes of the columns of `kind`.
    pub fn indexes(&self, kind: ColumnKind) -> Vec<usize> {
        (0..self.columns.len()).filter(|i| self.columns[*i].kind == kind).collect()
    }

    /// The columns of `kind`.
    pub fn of_kind(&self, kind: ColumnKind) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |c| c.kind == kind)
    }

    /// Whether the column at this page index is part of the key.
    pub fn is_key(&self, column: usize) -> bool {
        matches!(self.columns[column].kind, ColumnKind::PartitionKey | ColumnKind::Clustering)
    }

    /// Whether its values are counters: counters never stand beside other types.
    pub fn is_counter(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of text columns, all of them regular but the first.
    fn table(names: &[&str]) -> Table {
        let kinds = std::iter::once(("k", ColumnKind::PartitionKey, "int"));
        let columns = names.iter().map(|name| (*name, ColumnKind::Regular, "text"));
        made::table(&kinds.chain(columns).collect::<Vec<_>>(), &[])
    }

    fn companions_of(mut table: Table, kept: &[&str]) -> Vec<String> {
        for name in kept {
            table.keep(table.columns.iter().position(|c| c.name == *name).unwrap());
        }
        table.companions.into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn companions_are_called_after_their_column() {
        assert_eq!(companions_of(table(&["v"]), &["v"]), ["v__writetime", "v__expires_at"]);
    }

    #[test]
    fn a_companion_never_takes_a_name_that_something_else_has() {
        let names = ["v", "v__writetime", "v__expires_at", "v__writetime_"];
        assert_eq!(
            companions_of(table(&names), &["v", "v__writetime"]),
            ["v__writetime__", "v__expires_at_", "v__writetime__writetime", "v__writetime__expires_at"]
        );
        // Two columns come to one name: the other one's companion has it already.
        let names = ["v", "v__writetime", "v__writetime__writetime"];
        let all = companions_of(table(&names), &names);
        let distinct: std::collections::BTreeSet<&str> =
            all.iter().map(String::as_str).chain(names).collect();
        assert_eq!((all.len(), distinct.len()), (6, 9), "{all:?}");
    }

    #[test]
    fn the_companions_of_a_dump_are_told_from_columns_that_are_missing() {
        let of_v = table(&["v"]);
        for name in ["v__writetime", "v__expires_at", "v__writetime_", "v__expires_at__"] {
            assert!(of_v.is_companion(name), "{name}");
        }
        for name in ["v", "v_writetime", "w__writetime", "__writetime", "v__writetime_x", "V__writetime"] {
            assert!(!of_v.is_companion(name), "{name}");
        }
        assert!(table(&["v_"]).is_companion("v___writetime"));
    }

    #[test]
    fn places_name_the_companions_that_are_kept() {
        let mut table = table(&["a", "b"]);
        table.keep(2);
        let places = table.places(ColumnKind::Regular);
        assert_eq!(places[0], Place { column: 1, write_time: None, expiry: None });
        assert_eq!(places[1], Place { column: 2, write_time: Some(3), expiry: Some(4) });
        assert_eq!((table.width(), table.values_only().width()), (5, 3));
    }
}
