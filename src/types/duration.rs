//! duration: months, days and nanoseconds as three signed vints. Text is CQL's `1y2mo3d4h5m6s7ms8us9ns`, one sign in
//! front; ISO 8601's `P1Y2M3DT4H5M6S` reads too. Numbers of different signs, which no server takes, are exact in Arrow
//! and exceptions in text.

use super::{ArrowCells, BadValue, Codec, Fidelity, arrow, vint};
use crate::rows::Cell;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, PrimitiveArray, StructArray};
use arrow_schema::{DataType, Field, Fields};
use std::sync::Arc;

/// duration.
#[derive(Debug)]
pub struct Duration;

#[derive(Clone, Copy, Default)]
struct Parts {
    months: i32,
    days: i32,
    nanos: i64,
}

/// The parts of a cell, and whether writing them gives the cell back.
fn read(cell: &[u8]) -> Option<(Parts, bool)> {
    let mut rest = cell;
    let (months, short_months) = vint::take_signed(&mut rest)?;
    let (days, short_days) = vint::take_signed(&mut rest)?;
    let (nanos, short_nanos) = vint::take_signed(&mut rest)?;
    let parts = Parts { months: months.try_into().ok()?, days: days.try_into().ok()?, nanos };
    let exact = short_months && short_days && short_nanos;
    rest.is_empty().then_some((parts, exact))
}

fn put(parts: Parts, out: &mut Vec<u8>) {
    vint::put_signed(parts.months.into(), out);
    vint::put_signed(parts.days.into(), out);
    vint::put_signed(parts.nanos, out);
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("nanoseconds", DataType::Int64, false),
    ])
}

impl Codec for Duration {
    fn arrow_type(&self) -> DataType {
        DataType::Struct(fields())
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut parts = Vec::with_capacity(cells.len());
        let mut valid = Vec::with_capacity(cells.len());
        for (cell, lossy) in cells.iter().zip(lossy) {
            let value = cell.and_then(read);
            *lossy |= cell.is_some() && !value.is_some_and(|(_, exact)| exact);
            valid.push(value.is_some());
            parts.push(value.unwrap_or_default().0);
        }
        let months = PrimitiveArray::<Int32Type>::from_iter_values(parts.iter().map(|p| p.months));
        let days = PrimitiveArray::<Int32Type>::from_iter_values(parts.iter().map(|p| p.days));
        let nanos = PrimitiveArray::<Int64Type>::from_iter_values(parts.iter().map(|p| p.nanos));
        Arc::new(StructArray::new(
            fields(),
            vec![Arc::new(months), Arc::new(days), Arc::new(nanos)],
            arrow::nulls(valid),
        ))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let expected = self.arrow_type();
        let array: &StructArray = arrow::nested(array, &expected)?;
        let [months, days, nanos] = array.columns() else {
            return Err(arrow::unexpected(array.data_type(), &expected));
        };
        let months: &Int32Array = arrow::typed(months, &DataType::Int32)?;
        let days: &Int32Array = arrow::typed(days, &DataType::Int32)?;
        let nanos: &Int64Array = arrow::typed(nanos, &DataType::Int64)?;
        arrow::values(array, move |row, out| {
            if months.is_null(row) || days.is_null(row) || nanos.is_null(row) {
                return Err(BadValue("a duration with a part missing".to_owned()));
            }
            let (months, days, nanos) = (months.value(row), days.value(row), nanos.value(row));
            put(Parts { months, days, nanos }, out);
            Ok(())
        })
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some((parts, exact)) = read(cell) else {
            return Fidelity::Lossy;
        };
        let signs = [parts.months.signum().into(), parts.days.signum().into(), parts.nanos.signum()];
        let negative = signs.contains(&-1);
        if negative && signs.contains(&1) {
            return Fidelity::Lossy;
        }
        if negative {
            out.push(b'-');
        }
        let start = out.len();
        let mut put = |number: u64, unit: &str| {
            if number > 0 {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                out.extend_from_slice(unit.as_bytes());
            }
        };
        let months: u64 = parts.months.unsigned_abs().into();
        put(months / 12, "y");
        put(months % 12, "mo");
        put(parts.days.unsigned_abs().into(), "d");
        let mut nanos = parts.nanos.unsigned_abs();
        for (unit, size) in CLOCK {
            put(nanos / size, unit);
            nanos %= size;
        }
        if out.len() == start {
            out.extend_from_slice(b"0s");
        }
        if exact { Fidelity::Exact } else { Fidelity::Lossy }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let parts = parse(text).ok_or_else(|| BadValue::not(text, "a duration"))?;
        put(parts, out);
        Ok(())
    }
}

const CLOCK: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// `-` once in front, then numbers with units, the larger unit first and each once, as servers take them.
fn parse(text: &[u8]) -> Option<Parts> {
    let text = std::str::from_utf8(text).ok()?.to_lowercase();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (iso, mut rest) = match text.strip_prefix('p') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mut months, mut days, mut nanos) = (0u64, 0u64, 0u64);
    let (mut clock, mut last) = (!iso, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('t').filter(|t| !clock && !t.is_empty()) {
            clock = true;
            rest = tail;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_len = rest[digits..].bytes().take_while(|b| !b.is_ascii_digit() && *b != b't').count();
        let unit = &rest[digits..digits + unit_len];
        rest = &rest[digits + unit_len..];
        let (rank, total, size) = match (iso, clock, unit) {
            (true, false, "y") | (false, _, "y") => (1, &mut months, 12),
            (true, false, "m") | (false, _, "mo") => (2, &mut months, 1),
            (true, false, "w") | (false, _, "w") => (3, &mut days, 7),
            (true, false, "d") | (false, _, "d") => (4, &mut days, 1),
            // The micro sign and the Greek letter; lowercasing leaves both.
            (false, _, "µs" | "μs") => (9, &mut nanos, 1_000),
            (_, true, _) => {
                let at = CLOCK.iter().position(|(name, _)| *name == unit)?;
                if iso && at > 2 {
                    return None;
                }
                (5 + at, &mut nanos, CLOCK[at].1)
            }
            _ => return None,
        };
        if rank <= last {
            return None;
        }
        last = rank;
        *total = number.checked_mul(size)?.checked_add(*total)?;
    }
    let signed = |number: u64| {
        let number = i128::from(number);
        i64::try_from(if negative { -number } else { number }).ok()
    };
    Some(Parts {
        months: signed(months)?.try_into().ok()?,
        days: signed(days)?.try_into().ok()?,
        nanos: signed(nanos)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, exact_arrow, lossy, reads, refuses};

    fn wire(months: i32, days: i32, nanos: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put(Parts { months, days, nanos }, &mut out);
        out
    }

    #[test]
    fn durations() {
        exact(&Duration, b"\0\0\0", "0s");
        exact(&Duration, b"\x02\x04\x06", "1mo2d3ns");
        exact(&Duration, b"\x01\x03\x05", "-1mo2d3ns");
        exact(&Duration, &wire(14, 3, 14_706_007_008_009), "1y2mo3d4h5m6s7ms8us9ns");
        exact(
            &Duration,
            &wire(i32::MIN, i32::MIN, i64::MIN),
            "-178956970y8mo2147483648d2562047h47m16s854ms775us808ns",
        );
        lossy(&Duration, b"", "", None);
        lossy(&Duration, b"\0\0", "", None);
        lossy(&Duration, b"\0\0\0\0", "", None);
        lossy(&Duration, b"\xf1\0\0\0\0\0\0", "", None);
        lossy(&Duration, b"\x80\x02\0\0", "1mo", Some(b"\x02\0\0"));
    }

    #[test]
    fn different_signs_are_exact_in_arrow_and_an_exception_in_text() {
        exact_arrow(&Duration, &wire(1, -1, 0));
        let mut out = Vec::new();
        assert_eq!(Duration.to_text(&wire(1, -1, 0), &mut out), Fidelity::Lossy);
    }

    #[test]
    fn usual_spellings_read() {
        reads(&Duration, "1Y2MO", &wire(14, 0, 0));
        reads(&Duration, "2w", &wire(0, 14, 0));
        reads(&Duration, "5µs", &wire(0, 0, 5_000));
        reads(&Duration, "P1Y2M3DT4H5M6S", &wire(14, 3, 14_706_000_000_000));
        reads(&Duration, "-PT1M", &wire(0, 0, -60_000_000_000));
        reads(&Duration, "P2W", &wire(0, 14, 0));
        refuses(
            &Duration,
            &[
                "",
                "-",
                "P",
                "PT",
                "P1DT",
                "1",
                "y",
                "1h1h",
                "1s1h",
                "--1s",
                "1d-1h",
                "P1H",
                "PT1D",
                "1.5s",
                "2147483648d",
                "9223372036854775808ns",
                "99999999999999999999d",
                "P1MT1MS",
                "1tm",
            ],
        );
    }
}
