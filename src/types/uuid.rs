//! uuid and timeuuid: 16 bytes, hyphenated hex. A timeuuid that is not version 1, which no server takes, is kept raw in
//! Arrow and is an exception in text, where reading one back is refused.

use super::blob::HEX;
use super::{ArrowCells, BadValue, Codec, Fidelity, arrow, blob};
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

/// Where the digits of each byte begin in the hyphenated form, and where the hyphens stand.
const DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The bytes whose digits begin at these places.
fn parse(text: &[u8], places: [usize; 16]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip(places) {
        *byte = blob::byte(text[at], text[at + 1])?;
    }
    Some(bytes)
}

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

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Ok(bytes) = <&[u8; 16]>::try_from(cell) else {
            return Fidelity::Lossy;
        };
        let mut text = [b'-'; 36];
        for (at, byte) in DIGITS.into_iter().zip(bytes) {
            [text[at], text[at + 1]] = HEX[usize::from(*byte)];
        }
        out.extend_from_slice(&text);
        if self.accepts(cell) { Fidelity::Exact } else { Fidelity::Lossy }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let name = if self.time { "a timeuuid (a version 1 UUID)" } else { "a UUID" };
        let bytes = match text.len() {
            32 => parse(text, std::array::from_fn(|i| 2 * i)),
            36 if DASHES.iter().all(|at| text[*at] == b'-') => parse(text, DIGITS),
            _ => None,
        };
        let bytes = bytes.filter(|b| self.accepts(b)).ok_or_else(|| BadValue::not(text, name))?;
        out.extend_from_slice(&bytes);
        Ok(())
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
