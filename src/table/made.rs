//! Tables and pages for tests, in few words. Cells and their companions are put together here byte by byte, without the
//! code that takes them apart.

use super::{Column, ColumnKind, Table};
use crate::rows::{Page, PageBuilder};
use crate::types::cql::{CqlType, Udt};
use std::sync::Arc;

/// A write time, and an expiry.
pub type At = (i64, Option<i64>);

/// A cell and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// A cell of which nothing is told.
    Untold(Vec<u8>),
    /// A cell written whole.
    Whole(Vec<u8>, At),
    /// A cell with a moment for each element; none for a field that is null.
    Parts(Vec<u8>, Vec<Option<At>>),
}

/// A row: columns by name, those left out are null.
pub type Row<'a> = Vec<(&'a str, Made)>;

/// A type as CQL spells it; `u` is a user type of three fields.
pub fn cql_type(text: &str) -> CqlType {
    let udt = |name: &str| {
        let field = |name: &str| (name.to_owned(), CqlType::parse("text", &|_| None).unwrap());
        (name == "u")
            .then(|| Arc::new(Udt { name: "u".to_owned(), fields: ["f", "g", "h"].map(field).to_vec() }))
    };
    CqlType::parse(text, &udt).unwrap()
}

/// A table of these columns, keys in the order of their places; of the columns in `told` write times and expiries are.
pub fn table(columns: &[(&str, ColumnKind, &str)], told: &[&str]) -> Table {
    let column = |(position, (name, kind, text)): (i32, &(&str, ColumnKind, &str))| Column {
        name: (*name).to_owned(),
        cql_type: cql_type(text),
        kind: *kind,
        position: if *kind <= ColumnKind::Clustering { position } else { -1 },
        descending: false,
    };
    let mut table = Table::new("ks".to_owned(), "t".to_owned(), (0..).zip(columns).map(column).collect());
    for index in 0..table.columns.len() {
        if told.contains(&table.columns[index].name.as_str()) {
            table.keep(index);
        }
    }
    table
}

/// A page of these rows.
pub fn page(table: &Table, rows: &[Row<'_>]) -> Page {
    let mut page = PageBuilder::new(table.width());
    for row in rows {
        assert!(row.iter().all(|(name, _)| table.columns.iter().any(|c| c.name == *name)), "{row:?}");
        let cell = |column: usize| {
            row.iter().find(|(name, _)| *name == table.columns[column].name).map(|(_, made)| made)
        };
        for column in 0..table.columns.len() {
            page.push(cell(column).map(Made::bytes)).unwrap();
        }
        for companion in &table.companions {
            let told = cell(companion.column).and_then(|made| made.told(companion.tells));
            page.push(told.as_deref()).unwrap();
        }
    }
    page.finish()
}

impl Made {
    /// The cell.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Made::Untold(bytes) | Made::Whole(bytes, _) | Made::Parts(bytes, _) => bytes,
        }
    }

    fn told(&self, tells: super::Tells) -> Option<Vec<u8>> {
        let number = |at: &At| match tells {
            super::Tells::WriteTime => Some(at.0),
            super::Tells::Expiry => at.1,
        };
        match self {
            Made::Untold(_) => None,
            Made::Whole(_, at) => number(at).map(|n| n.to_be_bytes().to_vec()),
            Made::Parts(_, each) => {
                let each =
                    each.iter().map(|at| at.as_ref().and_then(number).map(|n| n.to_be_bytes().to_vec()));
                Some(counted(&each.map(part).collect::<Vec<_>>()))
            }
        }
    }
}

/// An element, a key, a map's value or a field: its bytes behind their length, or null.
pub fn part(bytes: Option<impl AsRef<[u8]>>) -> Vec<u8> {
    match bytes {
        None => vec![0xff; 4],
        Some(bytes) => {
            let bytes = bytes.as_ref();
            [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
        }
    }
}

/// A collection of these elements, each with its lengths.
pub fn counted(elements: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(elements.len()).unwrap().to_be_bytes();
    [&count[..], &elements.concat()].concat()
}

/// A set or list of text.
pub fn texts(elements: &[&str]) -> Vec<u8> {
    counted(&elements.iter().map(|e| part(Some(e))).collect::<Vec<_>>())
}

/// A map from text to text.
pub fn map(entries: &[(&str, &str)]) -> Vec<u8> {
    counted(&entries.iter().map(|(k, v)| [part(Some(k)), part(Some(v))].concat()).collect::<Vec<_>>())
}

/// A value of a user type.
pub fn fields(fields: &[Option<&str>]) -> Vec<u8> {
    fields.iter().map(|f| part(f.as_ref())).collect::<Vec<_>>().concat()
}

/// An int that is a key.
pub fn int(value: i32) -> Made {
    Made::Untold(value.to_be_bytes().to_vec())
}

/// A text of which nothing is told.
pub fn untold(value: &str) -> Made {
    Made::Untold(value.into())
}

/// A text written at `at`.
pub fn whole(value: &str, at: At) -> Made {
    Made::Whole(value.into(), at)
}

/// A value whose elements were written at these moments.
pub fn parts(value: Vec<u8>, each: &[At]) -> Made {
    Made::Parts(value, each.iter().copied().map(Some).collect())
}
