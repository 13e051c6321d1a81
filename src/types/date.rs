//! date: days in a u32 with 2³¹ for 1970-01-01; its whole range is exact.

use super::{ArrowCells, BadValue, Codec, Fidelity, arrow, civil};
use crate::rows::Cell;
use arrow_array::types::Date32Type;
use arrow_array::{Array, ArrayRef, Date32Array};
use arrow_schema::DataType;
use std::sync::Arc;

/// date.
#[derive(Debug)]
pub struct Date;

/// Days since the epoch; flipping the highest bit moves the zero.
fn read(cell: &[u8]) -> Option<i32> {
    let [first, rest @ ..]: [u8; 4] = cell.try_into().ok()?;
    let [a, b, c] = rest;
    Some(i32::from_be_bytes([first ^ 0x80, a, b, c]))
}

fn put(days: i32, out: &mut Vec<u8>) {
    let [first, a, b, c] = days.to_be_bytes();
    out.extend_from_slice(&[first ^ 0x80, a, b, c]);
}

impl Codec for Date {
    fn arrow_type(&self) -> DataType {
        DataType::Date32
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        Arc::new(arrow::primitive::<Date32Type>(cells, lossy, read))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &Date32Array = arrow::typed(array, &DataType::Date32)?;
        arrow::values(array, |row, out| {
            put(array.value(row), out);
            Ok(())
        })
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some(days) = read(cell) else {
            return Fidelity::Lossy;
        };
        civil::put_date(days.into(), out);
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let mut rest = text;
        let days = civil::take_date(&mut rest).filter(|_| rest.is_empty());
        let days = days.and_then(|d| i32::try_from(d).ok());
        put(days.ok_or_else(|| BadValue::not(text, "a date"))?, out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refuses};

    #[test]
    fn dates() {
        exact(&Date, b"\x80\0\0\0", "1970-01-01");
        exact(&Date, b"\x80\0\x51\x2c", "2026-11-23");
        exact(&Date, b"\0\0\0\0", "-5877641-06-23");
        exact(&Date, b"\xff\xff\xff\xff", "+5881580-07-11");
        lossy(&Date, b"", "", None);
        lossy(&Date, b"\x80\0\0\0\0", "", None);
        reads(&Date, "+1970-01-01", b"\x80\0\0\0");
        refuses(
            &Date,
            &[
                "",
                "1970",
                "1970-1-1",
                "1970-01-01 ",
                "2023-02-29",
                "+5881580-07-12",
                "70-01-01",
                "1970-01-01T00:00",
            ],
        );
    }
}
