//! timestamp: milliseconds since 1970 in an i64. Text holds the whole range; Arrow what readers can turn into
//! microseconds.

use super::{ArrowCells, BadValue, Codec, Fidelity, arrow, civil};
use crate::rows::Cell;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, ArrayRef, TimestampMillisecondArray};
use arrow_schema::{DataType, TimeUnit};
use std::sync::Arc;

/// timestamp.
#[derive(Debug)]
pub struct Timestamp;

const DAY: i64 = 86_400_000;
/// What messages say is expected.
const FORM: &str = "a timestamp in milliseconds, as 2026-11-23T14:52:41.000Z";
/// Readers such as DuckDB hold microseconds in an i64.
const ARROW_LIMIT: i64 = i64::MAX / 1000;

fn read(cell: &[u8]) -> Option<i64> {
    cell.try_into().ok().map(i64::from_be_bytes)
}

impl Codec for Timestamp {
    fn arrow_type(&self) -> DataType {
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let within = |ms: &i64| (-ARROW_LIMIT..=ARROW_LIMIT).contains(ms);
        let column =
            arrow::primitive::<TimestampMillisecondType>(cells, lossy, |cell| read(cell).filter(within));
        Arc::new(column.with_timezone("UTC"))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &TimestampMillisecondArray = arrow::typed(array, &self.arrow_type())?;
        arrow::values(array, |row, out| {
            out.extend_from_slice(&array.value(row).to_be_bytes());
            Ok(())
        })
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some(ms) = read(cell) else {
            return Fidelity::Lossy;
        };
        civil::put_date(ms.div_euclid(DAY), out);
        out.push(b'T');
        let ms = u32::try_from(ms.rem_euclid(DAY)).unwrap_or_default();
        civil::put_clock(ms / 1000, out);
        civil::put_millis(ms % 1000, out);
        out.push(b'Z');
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let ms = parse(text).ok_or_else(|| BadValue::not(text, FORM))?;
        out.extend_from_slice(&ms.to_be_bytes());
        Ok(())
    }

    fn vector_width(&self) -> Option<usize> {
        Some(8)
    }
}

/// Date, then perhaps `T` or a space and the time of day, then perhaps a zone, UTC if there is none.
fn parse(text: &[u8]) -> Option<i64> {
    if let Some((days, nanos)) = civil::read_usual(text) {
        return Some(days * DAY + nanos / 1_000_000);
    }
    let mut rest = text;
    let days = civil::take_date(&mut rest)?;
    let mut nanos = 0;
    if let [b'T' | b't' | b' ', tail @ ..] = rest {
        rest = tail;
        nanos = civil::take_clock(&mut rest)?;
    }
    let minutes = zone(rest)?;
    // Digits that would be lost are refused.
    if nanos % 1_000_000 != 0 {
        return None;
    }
    // The first day begins before the least i64.
    let ms = i128::from(days) * i128::from(DAY) + i128::from(nanos / 1_000_000 - minutes * 60_000);
    i64::try_from(ms).ok()
}

/// The offset from UTC in minutes: nothing, `Z`, `±HH`, `±HHMM`, `±HH:MM`.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, mut rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let hours = i64::try_from(civil::take_digits(&mut rest, 2)?).ok()?;
    let minutes = match rest {
        [] => 0,
        [b':', ..] => civil::take_after(&mut rest, b':')?.into(),
        _ => i64::try_from(civil::take_digits(&mut rest, 2)?).ok()?,
    };
    let valid = rest.is_empty() && hours <= 18 && minutes < 60;
    valid.then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, exact_text, lossy, reads, refusal, refuses};

    #[test]
    fn timestamps() {
        let ms = |ms: i64| ms.to_be_bytes();
        exact(&Timestamp, &ms(0), "1970-01-01T00:00:00.000Z");
        exact(&Timestamp, &ms(-1), "1969-12-31T23:59:59.999Z");
        exact(&Timestamp, &ms(1_795_445_561_000), "2026-11-23T14:52:41.000Z");
        exact(&Timestamp, &ms(253_402_300_800_000), "+10000-01-01T00:00:00.000Z");
        exact(&Timestamp, &ms(-62_167_219_200_001), "-0001-12-31T23:59:59.999Z");
        lossy(&Timestamp, b"", "", None);
        lossy(&Timestamp, b"\0\0\0\0", "", None);
    }

    #[test]
    fn what_readers_cannot_hold_is_exact_in_text_only() {
        let texts =
            [(i64::MAX, "+292278994-08-17T07:12:55.807Z"), (i64::MIN, "-292275055-05-16T16:47:04.192Z")];
        for (ms, text) in texts {
            exact_text(&Timestamp, &ms.to_be_bytes(), text);
        }
        for (ms, beyond) in [
            (ARROW_LIMIT, false),
            (-ARROW_LIMIT, false),
            (ARROW_LIMIT + 1, true),
            (-ARROW_LIMIT - 1, true),
            (i64::MIN, true),
        ] {
            let mut flags = [false];
            let column = Timestamp.to_arrow(&[Some(&ms.to_be_bytes())], &mut flags);
            assert_eq!((flags[0], column.is_null(0)), (beyond, beyond), "{ms}");
        }
    }

    #[test]
    fn usual_spellings_read() {
        for text in [
            "2026-11-23T14:52:41Z",
            "2026-11-23 14:52:41",
            "2026-11-23 14:52:41.000000000+0000",
            "2026-11-23T15:52:41+01:00",
            "2026-11-23T09:22:41-05:30",
            "2026-11-23T16:52:41.0+02",
        ] {
            reads(&Timestamp, text, &1_795_445_561_000i64.to_be_bytes());
        }
        // Each place of the usual form, one after the other.
        for (text, ms) in [
            ("0000-01-01T00:00:00.000Z", -62_167_219_200_000_i64),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("2024-02-29 10:20:30.456Z", 1_709_202_030_456),
            ("2024-02-29T10:20:30.456z", 1_709_202_030_456),
        ] {
            reads(&Timestamp, text, &ms.to_be_bytes());
        }
        let usual = b"2024-02-29T10:20:30.456Z";
        for at in 0..usual.len() {
            for byte in [b'x', b'/', b':'] {
                let mut text = usual.to_vec();
                if text[at] != byte {
                    text[at] = byte;
                    refuses(&Timestamp, &[&String::from_utf8_lossy(&text)]);
                }
            }
        }
        for text in ["2023-02-29T10:20:30.456Z", "2024-02-29T24:00:00.000Z", "2024-02-29T10:60:00.000Z"] {
            refuses(&Timestamp, &[text]);
        }
        reads(&Timestamp, "1970-01-02", &DAY.to_be_bytes());
        reads(&Timestamp, "1970-01-01T00:01", &60_000i64.to_be_bytes());
        refuses(
            &Timestamp,
            &[
                "",
                "1970-01-01T",
                "1970-01-01T24:00",
                "1970-01-01T00:00:00.0001",
                "1970-01-01T00:00:00.0000000000",
                "1970-01-01T00:00+1",
                "1970-01-01T00:00+19",
                "1970-01-01T00:00 UTC",
                "1970-02-30",
                "+292278994-08-17T07:12:55.808Z",
                "+99999999999999999999-01-01",
            ],
        );
        let reason = "\"1700000000000\" is not a timestamp in milliseconds, as 2026-11-23T14:52:41.000Z";
        refusal(&Timestamp, "1700000000000", reason);
    }
}
