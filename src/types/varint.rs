//! varint: digits of any length. Bytes that are not the shortest two's complement are shown and are exceptions.

use super::{BadValue, Codec, Fidelity, JsonForm};
use num_bigint::{BigInt, Sign};

/// varint.
#[derive(Debug)]
pub struct VarInt;

impl Codec for VarInt {
    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        put_digits(cell, out);
        if is_canonical(cell) { Fidelity::Exact } else { Fidelity::Lossy }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let (negative, digits) = sign(text);
        put_number(negative, [digits, b""], out).ok_or_else(|| BadValue::not(text, "a varint"))
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Bare
    }

    fn is_plain(&self) -> bool {
        true
    }
}

/// Whether the two's complement bytes are the only ones that text gives back.
pub fn is_canonical(bytes: &[u8]) -> bool {
    !bytes.is_empty() && shortest(bytes).len() == bytes.len()
}

/// Appends the decimal digits of a two's complement number; nothing if there are no bytes.
pub fn put_digits(bytes: &[u8], out: &mut Vec<u8>) {
    let Some(first) = bytes.first() else { return };
    let short = shortest(bytes);
    if let Some(start) = 16usize.checked_sub(short.len()) {
        let mut wide = [if *first >= 0x80 { 0xff } else { 0 }; 16];
        wide[start..].copy_from_slice(short);
        let number = i128::from_be_bytes(wide);
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    } else {
        let number = BigInt::from_signed_bytes_be(short);
        out.extend_from_slice(number.to_str_radix(10).as_bytes());
    }
}

/// Splits the sign off.
pub fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    }
}

/// Appends the shortest two's complement of decimal digits, given in two parts; `None` if there are none or others.
pub fn put_number(negative: bool, parts: [&[u8]; 2], out: &mut Vec<u8>) -> Option<()> {
    let digits = || parts.iter().flat_map(|part| part.iter());
    let len = parts[0].len() + parts[1].len();
    if len == 0 || !digits().all(u8::is_ascii_digit) {
        return None;
    }
    if len <= 18 {
        let magnitude = digits().fold(0i64, |n, d| n * 10 + i64::from(d - b'0'));
        let number = if negative { -magnitude } else { magnitude };
        out.extend_from_slice(shortest(&number.to_be_bytes()));
    } else if len <= 38 {
        let magnitude = digits().fold(0i128, |n, d| n * 10 + i128::from(d - b'0'));
        let number = if negative { -magnitude } else { magnitude };
        out.extend_from_slice(shortest(&number.to_be_bytes()));
    } else {
        let magnitude = BigInt::parse_bytes(&parts.concat(), 10)?;
        let (_, magnitude) = magnitude.into_parts();
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        let bytes = BigInt::from_biguint(sign, magnitude).to_signed_bytes_be();
        out.extend_from_slice(shortest(&bytes));
    }
    Some(())
}

/// The bytes without those in front that only repeat the sign.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = rest {
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refuses};

    #[test]
    fn varints() {
        exact(&VarInt, b"\0", "0");
        exact(&VarInt, b"\xff", "-1");
        exact(&VarInt, b"\x7f", "127");
        exact(&VarInt, b"\0\x80", "128");
        exact(&VarInt, b"\x80", "-128");
        exact(&VarInt, b"\xff\x7f", "-129");
        let two_to_127 = "170141183460469231731687303715884105728";
        let bytes = b"\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        exact(&VarInt, bytes, two_to_127);
        exact(&VarInt, &bytes[1..], &format!("-{two_to_127}"));
        lossy(&VarInt, b"", "", None);
        lossy(&VarInt, b"\0\0\x01", "1", Some(b"\x01"));
        lossy(&VarInt, b"\xff\xff", "-1", Some(b"\xff"));
        reads(&VarInt, "-000", b"\0");
        reads(&VarInt, "+0000000000000000000000000000000000000000000000001", b"\x01");
        refuses(&VarInt, &["", "-", "1_0", "+-1", "1.0", "1e3"]);
    }

    #[test]
    fn a_number_of_a_thousand_bytes() {
        let mut bytes = vec![0x12; 1000];
        exact_both_ways(&bytes);
        bytes[0] = 0x80;
        exact_both_ways(&bytes);
    }

    fn exact_both_ways(bytes: &[u8]) {
        let (mut text, mut back) = (Vec::new(), Vec::new());
        assert_eq!(VarInt.to_text(bytes, &mut text), Fidelity::Exact);
        VarInt.from_text(&text, &mut back).unwrap();
        assert_eq!(back, bytes);
    }
}
