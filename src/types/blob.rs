//! blob: every cell is exact. Text is `0x` and lowercase hex.

use super::{ArrowCells, BadValue, Codec, Fidelity, arrow};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_schema::DataType;
use std::sync::Arc;

/// blob.
#[derive(Debug)]
pub struct Blob;

impl Codec for Blob {
    fn arrow_type(&self) -> DataType {
        DataType::Binary
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let bytes = cells.iter().flatten().map(|c| c.len()).sum();
        let mut column = arrow::Bytes::with_capacity(cells.len(), bytes);
        for (cell, lossy) in cells.iter().zip(lossy) {
            *lossy |= !column.push(|out| {
                out.extend_from_slice(cell.unwrap_or_default());
                cell.is_some()
            });
        }
        Arc::new(column.binary())
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &BinaryArray = arrow::typed(array, &DataType::Binary)?;
        arrow::values(array, |row, out| {
            out.extend_from_slice(array.value(row));
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        out.reserve(2 + 2 * cell.len());
        out.extend_from_slice(b"0x");
        put_hex(cell, out);
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let bad = || BadValue::not(text, "a blob (0x and pairs of hex digits)");
        let hex = match text {
            [b'0', b'x' | b'X', hex @ ..] => hex,
            _ => return Err(bad()),
        };
        take_hex(hex, out).ok_or_else(bad)
    }
}

/// Appends `bytes` in lowercase hex.
pub fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|b| [b >> 4, b & 15].map(|d| DIGITS[usize::from(d)])));
}

/// Appends the bytes of `hex`, either case; `None` if it is not pairs of hex digits.
pub fn take_hex(hex: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    out.reserve(pairs.len());
    for [high, low] in pairs {
        out.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(())
}

fn digit(ascii: u8) -> Option<u8> {
    match ascii {
        b'0'..=b'9' => Some(ascii - b'0'),
        b'a'..=b'f' => Some(ascii - b'a' + 10),
        b'A'..=b'F' => Some(ascii - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, reads, refuses};

    #[test]
    fn blobs() {
        exact(&Blob, b"", "0x");
        exact(&Blob, b"\0\xca\xfe", "0x00cafe");
        reads(&Blob, "0XCAfe", b"\xca\xfe");
        refuses(&Blob, &["", "cafe", "0xc", "0xgg", "0x 1"]);
    }
}
