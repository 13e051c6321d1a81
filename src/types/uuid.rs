//! uuid and timeuuid: 16 bytes, hyphenated hex. A timeuuid that is not version 1, which no server takes, is kept raw in
//! Arrow and is an exception in text, where reading one back is refused.

use super::blob::{put_hex, take_hex};
use super::{ArrowCells, BadValue, Codec, Fidelity, arrow};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, Field, extension};
use std::sync::Arc;

/// uuid, or timeuuid.
#[derive(Debug)]
pub struct Uuid {
    /// Whether only version 1 is a value of the type.
    pub time: bool,
}

const TYPE: DataType = DataType::FixedSizeBinary(16);

impl Uuid {
    fn accepts(&self, bytes: &[u8]) -> bool {
        bytes.len() == 16 && (!self.time || bytes[6] >> 4 == 1)
    }
}

impl Codec for Uuid {
    fn arrow_type(&self) -> DataType {
        TYPE
    }

    fn field(&self, name: &str) -> Field {
        Field::new(name, TYPE, true).with_extension_type(extension::Uuid)
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut values = Vec::with_capacity(16 * cells.len());
        let mut valid = Vec::with_capacity(cells.len());
        for (cell, lossy) in cells.iter().zip(lossy) {
            let value: Option<&[u8; 16]> = cell.and_then(|c| c.try_into().ok());
            *lossy |= cell.is_some() && value.is_none();
            valid.push(value.is_some());
            values.extend_from_slice(value.unwrap_or(&[0; 16]));
        }
        Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(values), arrow::nulls(valid)))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &FixedSizeBinaryArray = arrow::typed(array, &TYPE)?;
        arrow::values(array, |row, out| {
            out.extend_from_slice(array.value(row));
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        if cell.len() != 16 {
            return Fidelity::Lossy;
        }
        for (i, part) in
            [&cell[..4], &cell[4..6], &cell[6..8], &cell[8..10], &cell[10..]].into_iter().enumerate()
        {
            if i > 0 {
                out.push(b'-');
            }
            put_hex(part, out);
        }
        if self.accepts(cell) { Fidelity::Exact } else { Fidelity::Lossy }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let name = if self.time { "a timeuuid (a version 1 UUID)" } else { "a UUID" };
        let bad = || BadValue::not(text, name);
        let start = out.len();
        match text.len() {
            32 => take_hex(text, out).ok_or_else(bad)?,
            36 => {
                for (i, part) in text.splitn(5, |b| *b == b'-').enumerate() {
                    if part.len() != [8, 4, 4, 4, 12][i] {
                        return Err(bad());
                    }
                    take_hex(part, out).ok_or_else(bad)?;
                }
            }
            _ => return Err(bad()),
        }
        if self.accepts(&out[start..]) { Ok(()) } else { Err(bad()) }
    }

    fn vector_width(&self) -> Option<usize> {
        Some(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, exact_arrow, lossy, reads, refuses};

    const UUID: Uuid = Uuid { time: false };
    const TIMEUUID: Uuid = Uuid { time: true };

    #[test]
    fn uuids() {
        let v4 = b"\x12\x3e\x45\x67\xe8\x9b\x42\xd3\xa4\x56\x42\x66\x14\x17\x40\0";
        let v1 = b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\0";
        exact(&UUID, v4, "123e4567-e89b-42d3-a456-426614174000");
        exact(&TIMEUUID, v1, "123e4567-e89b-12d3-a456-426614174000");
        reads(&UUID, "123E4567E89B42D3A456426614174000", v4);
        lossy(&UUID, b"", "", None);
        lossy(&UUID, &v4[1..], "", None);
        refuses(&UUID, &["", "123e4567-e89b-42d3-a456-42661417400", "123e4567e-89b-42d3-a456-426614174000"]);
        refuses(&TIMEUUID, &["123e4567-e89b-42d3-a456-426614174000"]);
        exact_arrow(&TIMEUUID, v4);
        assert_eq!(TIMEUUID.to_text(v4, &mut Vec::new()), Fidelity::Lossy);
    }
}
