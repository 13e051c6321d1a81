//! float and double. Arrow keeps every bit; text names the infinities and the quiet NaN, other NaNs are exceptions there.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow};
use crate::rows::Cell;
use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// A floating-point type.
#[derive(Debug)]
pub struct Float<T>(PhantomData<fn() -> T>);

/// float.
pub const FLOAT: Float<Float32Type> = Float(PhantomData);
/// double.
pub const DOUBLE: Float<Float64Type> = Float(PhantomData);

/// A float as the wire spells it. Values travel as integers of the same bits, which no processor alters.
pub trait Wire: ArrowPrimitiveType<Native: FromStr + zmij::Float + Copy> {
    /// The integers of the same width.
    type Bits: ArrowPrimitiveType<Native: PartialEq>;
    /// The type's name in messages.
    const NAME: &'static str;
    /// Bytes of a value.
    const WIDTH: usize;
    /// The NaN that text means.
    const NAN: &'static [u8];
    /// The bits of exactly its bytes.
    fn bits(cell: &[u8]) -> Option<<Self::Bits as ArrowPrimitiveType>::Native>;
    /// The value of exactly its bytes.
    fn read(cell: &[u8]) -> Option<(Self::Native, std::num::FpCategory, bool)>;
    /// Appends its bytes.
    fn put(value: Self::Native, out: &mut Vec<u8>);
    /// What kind of number it is.
    fn category(value: Self::Native) -> std::num::FpCategory;
}

macro_rules! wire {
    ($arrow:ty, $float:ty, $bits_arrow:ty, $bits:ty, $name:literal, $width:literal, $nan:literal) => {
        impl Wire for $arrow {
            type Bits = $bits_arrow;
            const NAME: &'static str = $name;
            const WIDTH: usize = $width;
            const NAN: &'static [u8] = $nan;
            fn bits(cell: &[u8]) -> Option<$bits> {
                cell.try_into().ok().map(<$bits>::from_be_bytes)
            }
            fn read(cell: &[u8]) -> Option<($float, std::num::FpCategory, bool)> {
                let value = <$float>::from_bits(Self::bits(cell)?);
                Some((value, value.classify(), value.is_sign_negative()))
            }
            fn put(value: $float, out: &mut Vec<u8>) {
                out.extend_from_slice(&value.to_bits().to_be_bytes());
            }
            fn category(value: $float) -> std::num::FpCategory {
                value.classify()
            }
        }
    };
}
wire!(Float32Type, f32, UInt32Type, u32, "a float", 4, b"\x7f\xc0\0\0");
wire!(Float64Type, f64, UInt64Type, u64, "a double", 8, b"\x7f\xf8\0\0\0\0\0\0");

impl<T: Wire> Codec for Float<T> {
    fn arrow_type(&self) -> DataType {
        T::DATA_TYPE
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let bits = arrow::primitive::<T::Bits>(cells, lossy, T::bits);
        let (_, values, nulls) = bits.into_parts();
        let values = ScalarBuffer::new(values.into_inner(), 0, cells.len());
        Arc::new(PrimitiveArray::<T>::new(values, nulls))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &PrimitiveArray<T> = arrow::typed(array, &T::DATA_TYPE)?;
        arrow::values(array, |row, out| {
            T::put(array.value(row), out);
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        use std::num::FpCategory::{Infinite, Nan};
        match T::read(cell) {
            None => return Fidelity::Lossy,
            Some((_, Nan, _)) => {
                out.extend_from_slice(b"NaN");
                if cell != T::NAN {
                    return Fidelity::Lossy;
                }
            }
            Some((_, Infinite, false)) => out.extend_from_slice(b"Infinity"),
            Some((_, Infinite, true)) => out.extend_from_slice(b"-Infinity"),
            Some((value, ..)) => {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
        }
        Fidelity::Exact
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        use std::num::FpCategory::{Infinite, Nan};
        let bad = || BadValue::not(text, T::NAME);
        let parsed = std::str::from_utf8(text).map_err(|_| bad())?.parse();
        let value: T::Native = parsed.map_err(|_| bad())?;
        match T::category(value) {
            Nan => out.extend_from_slice(T::NAN),
            // A number beyond the type's range is not infinite.
            Infinite if text.iter().any(u8::is_ascii_digit) => return Err(bad()),
            _ => T::put(value, out),
        }
        Ok(())
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Bare
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn vector_width(&self) -> Option<usize> {
        Some(T::WIDTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, exact_arrow, lossy, reads, refuses};

    #[test]
    fn floats() {
        exact(&FLOAT, b"\x3f\x80\0\0", "1.0");
        exact(&FLOAT, b"\x3d\xcc\xcc\xcd", "0.1");
        exact(&FLOAT, b"\0\0\0\x01", "1e-45");
        exact(&DOUBLE, b"\x80\0\0\0\0\0\0\0", "-0.0");
        exact(&DOUBLE, b"\x7f\xf0\0\0\0\0\0\0", "Infinity");
        exact(&DOUBLE, b"\xff\xf0\0\0\0\0\0\0", "-Infinity");
        exact(&DOUBLE, b"\x7f\xf8\0\0\0\0\0\0", "NaN");
        exact(&FLOAT, b"\x7f\xc0\0\0", "NaN");
        lossy(&FLOAT, b"", "", None);
        lossy(&DOUBLE, b"\x3f\x80\0\0", "", None);
        for text in ["inf", "+Infinity", "INFINITY"] {
            reads(&FLOAT, text, b"\x7f\x80\0\0");
        }
        reads(&FLOAT, "-nan", b"\x7f\xc0\0\0");
        reads(&DOUBLE, "1", b"\x3f\xf0\0\0\0\0\0\0");
        refuses(&FLOAT, &["", "1e39", "-1e400", "1,5", "0x1", "null"]);
    }

    #[test]
    fn a_nan_payload_survives_arrow_and_is_an_exception_in_text() {
        for nan in [b"\x7f\x80\0\x01", b"\xff\xc0\0\0", b"\x7f\xff\xff\xff"] {
            exact_arrow(&FLOAT, nan);
            let mut out = Vec::new();
            assert_eq!(FLOAT.to_text(nan, &mut out), Fidelity::Lossy);
            assert_eq!(out, b"NaN");
        }
    }
}
