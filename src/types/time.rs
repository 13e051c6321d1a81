//! time: nanoseconds since midnight. Servers keep values outside the day; those are exceptions.

use super::{ArrowCells, BadValue, Codec, Fidelity, arrow, civil};
use crate::rows::Cell;
use arrow_array::types::Time64NanosecondType;
use arrow_array::{Array, ArrayRef, Time64NanosecondArray};
use arrow_schema::{DataType, TimeUnit};
use std::sync::Arc;

/// time.
#[derive(Debug)]
pub struct Time;

const TYPE: DataType = DataType::Time64(TimeUnit::Nanosecond);
const DAY: i64 = 86_400_000_000_000;

fn read(cell: &[u8]) -> Option<i64> {
    let nanos = i64::from_be_bytes(cell.try_into().ok()?);
    (0..DAY).contains(&nanos).then_some(nanos)
}

impl Codec for Time {
    fn arrow_type(&self) -> DataType {
        TYPE
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        Arc::new(arrow::primitive::<Time64NanosecondType>(cells, lossy, read))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &Time64NanosecondArray = arrow::typed(array, &TYPE)?;
        arrow::values(array, |row, out| {
            let nanos = array.value(row);
            if !(0..DAY).contains(&nanos) {
                return Err(BadValue(format!("{nanos} ns is no time of day")));
            }
            out.extend_from_slice(&nanos.to_be_bytes());
            Ok(())
        })
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some(nanos) = read(cell) else {
            return Fidelity::Lossy;
        };
        let nanos = nanos.unsigned_abs();
        civil::put_clock(u32::try_from(nanos / 1_000_000_000).unwrap_or_default(), out);
        out.push(b'.');
        civil::put_padded(nanos % 1_000_000_000, 9, out);
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let mut rest = text;
        let nanos = civil::take_clock(&mut rest).filter(|_| rest.is_empty());
        let nanos = nanos.ok_or_else(|| BadValue::not(text, "a time of day"))?;
        out.extend_from_slice(&nanos.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refuses};

    #[test]
    fn times() {
        exact(&Time, b"\0\0\0\0\0\0\0\0", "00:00:00.000000000");
        exact(&Time, b"\0\0\x4e\x94\x91\x4e\xff\xff", "23:59:59.999999999");
        lossy(&Time, b"\0\0\x4e\x94\x91\x4f\0\0", "", None);
        lossy(&Time, b"\xff\xff\xff\xff\xff\xff\xff\xff", "", None);
        lossy(&Time, b"", "", None);
        reads(&Time, "00:01", &60_000_000_000i64.to_be_bytes());
        reads(&Time, "00:00:01.5", &1_500_000_000i64.to_be_bytes());
        refuses(
            &Time,
            &["", "24:00:00", "00:60", "00:00:60", "1:00", "00:00:00.", "00:00:00.0000000001", "00:00.5"],
        );
    }
}
