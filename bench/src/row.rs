//! A row as the wire has it. Nothing here knows what a value means.

use crate::Result;
use scylla::deserialize::row::ColumnIterator;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use std::fmt;

/// Cells one after another, each with its length before it as in the native protocol, -1 for one that is null. Sent to a
/// server a null is left unset, so that no tombstone comes of it.
#[derive(Debug, Default, PartialEq)]
pub struct Row(Vec<u8>);

impl Row {
    /// The row with one more cell. A value of more than 2 GiB, which no server takes, has no length on the wire: it is
    /// made null.
    pub fn cell(mut self, value: &[u8]) -> Row {
        self.push(Some(value));
        self
    }

    /// The row with one more cell, which is null.
    pub fn null(mut self) -> Row {
        self.push(None);
        self
    }

    fn push(&mut self, value: Option<&[u8]>) {
        match value.and_then(|bytes| Some((i32::try_from(bytes.len()).ok()?, bytes))) {
            Some((length, bytes)) => {
                self.0.extend_from_slice(&length.to_be_bytes());
                self.0.extend_from_slice(bytes);
            }
            None => self.0.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    /// A row that a server sent.
    ///
    /// # Errors
    /// If it is cut short.
    pub fn received(columns: ColumnIterator<'_, '_>) -> Result<Row> {
        let mut row = Row::default();
        for column in columns {
            row.push(column?.slice.map(|slice| slice.as_slice()));
        }
        row.0.shrink_to_fit();
        Ok(row)
    }

    fn cells(&self) -> Cells<'_> {
        Cells(&self.0)
    }

    /// Whether the first `count` cells of both rows are the same.
    pub fn begins_like(&self, other: &Row, count: usize) -> bool {
        self.cells().take(count).eq(other.cells().take(count))
    }
}

/// The cells of a row.
struct Cells<'a>(&'a [u8]);

impl<'a> Iterator for Cells<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return Some(None);
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(value))
    }
}

/// A value that is too long for the wire.
#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value is too long to be sent")
    }
}

impl std::error::Error for TooLong {}

impl SerializeRow for Row {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> std::result::Result<(), SerializationError> {
        for cell in self.cells() {
            let place = writer.make_cell_writer();
            match cell {
                Some(value) => {
                    place.set_value(value).map(drop).map_err(|_| SerializationError::new(TooLong))?
                }
                None => drop(place.set_unset()),
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_as_the_protocol_has_them() {
        let row = Row::default().cell(b"ab").null().cell(b"");
        assert_eq!(row.0, b"\x00\x00\x00\x02ab\xff\xff\xff\xff\x00\x00\x00\x00");
        let cells: Vec<_> = row.cells().collect();
        assert_eq!(cells, [Some(b"ab".as_slice()), None, Some(b"")]);
    }

    #[test]
    fn rows_of_one_partition_begin_alike() {
        let [a, b, c] = [(1, 1), (1, 2), (2, 1)].map(|(k, c): (u8, u8)| Row::default().cell(&[k]).cell(&[c]));
        assert!(a.begins_like(&b, 1));
        assert!(!a.begins_like(&b, 2));
        assert!(!a.begins_like(&c, 1));
    }
}
