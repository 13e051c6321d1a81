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
        if let Some((offsets, values, nulls)) = arrow::bytes(cells) {
            return Arc::new(BinaryArray::new(offsets, values, nulls));
        }
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

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
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
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    let (pairs, _) = out[start..].as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = HEX[usize::from(*byte)];
    }
}

/// The two digits of every byte.
pub const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The value of every digit of either case, `NO_DIGIT` for other bytes.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let [_, digit] = HEX[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

const NO_DIGIT: u8 = 0xff;

/// The byte of two digits; `None` if they are others.
pub fn byte(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (VALUES[usize::from(high)], VALUES[usize::from(low)]);
    (high | low < 16).then_some(high << 4 | low)
}

/// Appends the bytes of `hex`, either case; `None` if it is not pairs of hex digits.
pub fn take_hex(hex: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let start = out.len();
    out.resize(start + pairs.len(), 0);
    for (out, [high, low]) in out[start..].iter_mut().zip(pairs) {
        *out = byte(*high, *low)?;
    }
    Some(())
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
