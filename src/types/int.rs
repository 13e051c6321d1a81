//! The integers of fixed width: tinyint, smallint, int, bigint, counter. Any other length is an exception.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow};
use crate::rows::Cell;
use arrow_array::types::{Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_schema::DataType;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// An integer type; `width` is its fixed width in vectors, `name` what messages call it, with its article.
#[derive(Debug)]
pub struct Int<T> {
    name: &'static str,
    width: Option<usize>,
    arrow: PhantomData<fn() -> T>,
}

/// tinyint.
pub const TINYINT: Int<Int8Type> = Int::new("a tinyint", None);
/// smallint.
pub const SMALLINT: Int<Int16Type> = Int::new("a smallint", None);
/// int.
pub const INT: Int<Int32Type> = Int::new("an int", Some(4));
/// bigint.
pub const BIGINT: Int<Int64Type> = Int::new("a bigint", Some(8));
/// counter.
pub const COUNTER: Int<Int64Type> = Int::new("a counter", None);

impl<T> Int<T> {
    const fn new(name: &'static str, width: Option<usize>) -> Int<T> {
        let arrow = PhantomData;
        Int { name, width, arrow }
    }
}

/// An integer as the wire spells it.
pub trait Wire: itoa::Integer + FromStr + TryFrom<i64> {
    /// From exactly its bytes.
    fn read(cell: &[u8]) -> Option<Self>;
    /// Appends its bytes.
    fn put(self, out: &mut Vec<u8>);
}

macro_rules! wire {
    ($($int:ty),*) => {$(
        impl Wire for $int {
            fn read(cell: &[u8]) -> Option<Self> {
                cell.try_into().ok().map(Self::from_be_bytes)
            }
            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}
wire!(i8, i16, i32, i64);

/// A number of so few digits that their sum cannot overflow, perhaps negative.
fn short(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !(1..=18).contains(&digits.len()) {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

impl<T: ArrowPrimitiveType<Native: Wire>> Codec for Int<T> {
    fn arrow_type(&self) -> DataType {
        T::DATA_TYPE
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        Arc::new(arrow::primitive::<T>(cells, lossy, T::Native::read))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &PrimitiveArray<T> = arrow::typed(array, &T::DATA_TYPE)?;
        arrow::values(array, |row, out| {
            array.value(row).put(out);
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some(value) = T::Native::read(cell) else {
            return Fidelity::Lossy;
        };
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let value = short(text).and_then(|n| n.try_into().ok()).or_else(|| {
            // Longer ones, and those with a plus sign.
            std::str::from_utf8(text).ok().and_then(|t| T::Native::from_str(t).ok())
        });
        let value = value.ok_or_else(|| BadValue::not(text, self.name))?;
        value.put(out);
        Ok(())
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Bare
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn vector_width(&self) -> Option<usize> {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refusal, refuses};

    #[test]
    fn integers() {
        exact(&TINYINT, b"\x80", "-128");
        exact(&SMALLINT, b"\x7f\xff", "32767");
        exact(&INT, b"\xff\xff\xff\xff", "-1");
        exact(&BIGINT, b"\x80\0\0\0\0\0\0\0", "-9223372036854775808");
        exact(&COUNTER, b"\0\0\0\0\0\0\0\x2a", "42");
        lossy(&INT, b"", "", None);
        lossy(&INT, b"\0\0\0", "", None);
        lossy(&TINYINT, b"\0\0", "", None);
        refuses(&TINYINT, &["128", "", "1.0", " 1", "0x1", "null"]);
        refusal(&INT, "x", "\"x\" is not an int");
    }

    #[test]
    fn the_ends_of_each_type_read_and_what_lies_beyond_does_not() {
        reads(&TINYINT, "-128", b"\x80");
        refuses(&TINYINT, &["-129", "1000"]);
        reads(&INT, "2147483647", b"\x7f\xff\xff\xff");
        reads(&INT, "-0", b"\0\0\0\0");
        refuses(&INT, &["2147483648", "-2147483649", "-", "+", "--1", "1-", "1:", "1/"]);
        let most = b"\x7f\xff\xff\xff\xff\xff\xff\xff";
        reads(&BIGINT, "9223372036854775807", most);
        reads(&BIGINT, "000000000000009223372036854775807", most);
        reads(&BIGINT, "999999999999999999", b"\x0d\xe0\xb6\xb3\xa7\x63\xff\xff");
        refuses(&BIGINT, &["9223372036854775808", "-9223372036854775809"]);
    }

    #[test]
    fn a_plus_sign_reads() {
        let mut out = Vec::new();
        INT.from_text(b"+7", &mut out).unwrap();
        assert_eq!(out, b"\0\0\0\x07");
    }
}
