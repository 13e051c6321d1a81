//! Keys of rows and partitions as messages show them.

use crate::error::{Context, Result};
use crate::table::{ColumnKind, Table};
use crate::types::{Codec, codec};

/// Bytes of a key cell that a message shows; it may have 65,535.
const LONGEST_SHOWN: usize = 200;

/// Shows keys of one table.
pub struct KeyText(Vec<Part>);

/// One column of the key.
struct Part {
    column: usize,
    name: String,
    codec: Box<dyn Codec>,
}

impl KeyText {
    /// For whole keys of `table`: the partition key, then the clustering key.
    ///
    /// # Errors
    /// `Error` names the table if a key column's type has no codec.
    pub fn of(table: &Table) -> Result<KeyText> {
        let key = [table.indexes(ColumnKind::PartitionKey), table.indexes(ColumnKind::Clustering)].concat();
        let part = |column: usize| {
            let definition = &table.columns[column];
            let codec = codec(&definition.cql_type).doing(|| table.full_name())?;
            Ok(Part { column, name: definition.name.clone(), codec })
        };
        key.into_iter().map(part).collect::<Result<_>>().map(KeyText)
    }

    /// `a=1, b=x`, from the cells of columns by their place in the table, as far as there are any.
    pub fn text<'a>(&self, cell: impl Fn(usize) -> Option<&'a [u8]>) -> String {
        let mut key = String::new();
        for Part { column, name, codec } in &self.0 {
            let Some(cell) = cell(*column) else { continue };
            let mut text = Vec::new();
            codec.to_text(cell, &mut text);
            if text.len() > LONGEST_SHOWN {
                text.truncate(LONGEST_SHOWN);
                text.extend_from_slice("…".as_bytes());
            }
            let separator = if key.is_empty() { "" } else { ", " };
            key.push_str(&format!("{separator}{name}={}", String::from_utf8_lossy(&text)));
        }
        key
    }
}
