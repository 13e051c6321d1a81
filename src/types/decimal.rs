//! decimal: an i32 scale and a varint. Text keeps the scale; `123E-52` where plain digits would be more than 40.

use super::varint::{is_canonical, put_digits, put_number, sign};
use super::{BadValue, Codec, Fidelity, JsonForm};

/// decimal.
#[derive(Debug)]
pub struct Decimal;

/// Digits of the longest plain form.
const PLAIN: usize = 40;

impl Codec for Decimal {
    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let Some((scale, unscaled)) = cell.split_first_chunk::<4>() else {
            return Fidelity::Lossy;
        };
        let scale = i32::from_be_bytes(*scale);
        if let Some(fidelity) = put_short(scale, unscaled, out) {
            return fidelity;
        }
        let start = out.len();
        put_digits(unscaled, out);
        if unscaled.is_empty() {
            return Fidelity::Lossy;
        }
        let start = start + usize::from(out[start] == b'-');
        let digits = out.len() - start;
        match usize::try_from(scale) {
            Ok(scale) if digits.max(scale.saturating_add(1)) <= PLAIN => {
                let zeros = (scale + 1).saturating_sub(digits);
                out.splice(start..start, std::iter::repeat_n(b'0', zeros));
                if scale > 0 {
                    out.insert(out.len() - scale, b'.');
                }
            }
            _ => {
                out.push(b'E');
                let exponent = -i64::from(scale);
                out.extend_from_slice(itoa::Buffer::new().format(exponent).as_bytes());
            }
        }
        if is_canonical(unscaled) { Fidelity::Exact } else { Fidelity::Lossy }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        parse(text, out).ok_or_else(|| BadValue::not(text, "a decimal"))
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Bare
    }

    fn is_plain(&self) -> bool {
        true
    }
}

/// Appends a decimal of eight bytes and a plain form; `None`, and nothing, if it is another.
fn put_short(scale: i32, unscaled: &[u8], out: &mut Vec<u8>) -> Option<Fidelity> {
    let first = 8usize.checked_sub(unscaled.len())?;
    let scale = usize::try_from(scale).ok().filter(|scale| *scale < PLAIN)?;
    let mut wide = [if *unscaled.first()? >= 0x80 { 0xff } else { 0 }; 8];
    wide[first..].copy_from_slice(unscaled);
    let number = i64::from_be_bytes(wide);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number.unsigned_abs()).as_bytes();
    if number < 0 {
        out.push(b'-');
    }
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(&[b'0'; PLAIN][fraction.len()..scale]);
        out.extend_from_slice(fraction);
    }
    Some(if is_canonical(unscaled) { Fidelity::Exact } else { Fidelity::Lossy })
}

/// The scale is the number of digits after the point less the exponent, and must fit.
fn parse(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (number, exponent) = match memchr::memchr2(b'e', b'E', text) {
        None => (text, 0),
        Some(at) => (&text[..at], exponent(&text[at + 1..])?),
    };
    let (negative, number) = sign(number);
    let point = memchr::memchr(b'.', number).unwrap_or(number.len());
    let (whole, fraction) = number.split_at(point);
    let fraction = fraction.get(1..).unwrap_or_default();
    let scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    out.extend_from_slice(&i32::try_from(scale).ok()?.to_be_bytes());
    put_number(negative, [whole, fraction], out)
}

fn exponent(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refuses};

    #[test]
    fn decimals_keep_their_scale() {
        exact(&Decimal, b"\0\0\0\x03\0", "0.000");
        exact(&Decimal, b"\0\0\0\0\x7b", "123");
        exact(&Decimal, b"\0\0\0\x04\xed\x2b\x54", "-123.4092");
        exact(&Decimal, b"\0\0\0\x02\x05", "0.05");
        exact(&Decimal, b"\0\0\0\x01\xfb", "-0.5");
        exact(&Decimal, b"\0\0\0\x34\x7b", "123E-52");
        exact(&Decimal, b"\xff\xff\xff\xfd\x05", "5E3");
        exact(&Decimal, b"\x7f\xff\xff\xff\x01", "1E-2147483647");
        exact(&Decimal, b"\x80\0\0\0\xff", "-1E2147483648");
        exact(&Decimal, b"\0\0\0\x27\x01", "0.000000000000000000000000000000000000001");
        exact(&Decimal, b"\0\0\0\x28\x01", "1E-40");
    }

    #[test]
    fn odd_decimals_are_exceptions() {
        lossy(&Decimal, b"", "", None);
        lossy(&Decimal, b"\0\0\0", "", None);
        lossy(&Decimal, b"\0\0\0\x02", "", None);
        lossy(&Decimal, b"\0\0\0\x01\0\x05", "0.5", Some(b"\0\0\0\x01\x05"));
    }

    #[test]
    fn usual_spellings_read() {
        reads(&Decimal, "1.50", b"\0\0\0\x02\0\x96");
        reads(&Decimal, "+1e3", b"\xff\xff\xff\xfd\x01");
        reads(&Decimal, ".5", b"\0\0\0\x01\x05");
        reads(&Decimal, "5.", b"\0\0\0\0\x05");
        reads(&Decimal, "-1.5E+1", b"\0\0\0\0\xf1");
        refuses(
            &Decimal,
            &[
                "",
                ".",
                "-",
                "e5",
                "1e",
                "1.2.3",
                "1e2147483649",
                "1e-2147483648",
                "1e99999999999999999999",
                "1,5",
            ],
        );
    }
}
