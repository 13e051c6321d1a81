//! Cassandra's integers of variable length: as many leading ones in the first byte as bytes follow it. Signed ones are
//! folded (0, -1, 1, -2, …) first.

/// Takes an unsigned one off the front; the flag tells whether it was in its shortest form. `None` if it ends too early.
pub fn take(rest: &mut &[u8]) -> Option<(u64, bool)> {
    let (first, tail) = rest.split_first()?;
    let extra = first.leading_ones();
    let len = usize::try_from(extra).ok()?;
    let (more, tail) = tail.split_at_checked(len)?;
    let head = u64::from(first & 0xffu8.checked_shr(extra).unwrap_or(0));
    let value = more.iter().fold(head, |value, byte| value << 8 | u64::from(*byte));
    *rest = tail;
    Some((value, extra_bytes(value) == len))
}

/// Appends an unsigned one.
pub fn put(value: u64, out: &mut Vec<u8>) {
    let extra = extra_bytes(value);
    let start = out.len();
    if extra == 8 {
        out.push(0);
    }
    out.extend_from_slice(&value.to_be_bytes()[7 - extra.min(7)..]);
    out[start] |= !0xffu8.checked_shr(u32::try_from(extra).unwrap_or(8)).unwrap_or(0);
}

/// Bytes after the first: seven bits each, eight bytes hold all.
fn extra_bytes(value: u64) -> usize {
    (1..=8).find(|n| value >> (7 * n) == 0).map_or(8, |n| n - 1)
}

/// Takes a signed one off the front, as [`take`].
pub fn take_signed(rest: &mut &[u8]) -> Option<(i64, bool)> {
    let (folded, shortest) = take(rest)?;
    let half = (folded >> 1).cast_signed();
    Some((if folded & 1 == 1 { !half } else { half }, shortest))
}

/// Appends a signed one.
pub fn put_signed(value: i64, out: &mut Vec<u8>) {
    put((value << 1 ^ value >> 63).cast_unsigned(), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms() {
        let forms: [(u64, &[u8]); 8] = [
            (0, b"\0"),
            (127, b"\x7f"),
            (128, b"\x80\x80"),
            (16_383, b"\xbf\xff"),
            (16_384, b"\xc0\x40\0"),
            ((1 << 49) - 1, b"\xfd\xff\xff\xff\xff\xff\xff"),
            ((1 << 56) - 1, b"\xfe\xff\xff\xff\xff\xff\xff\xff"),
            (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ];
        for (value, bytes) in forms {
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out, bytes, "{value}");
            let mut rest = bytes;
            assert_eq!(take(&mut rest), Some((value, true)));
            assert!(rest.is_empty());
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn longer_forms_are_told_apart() {
        assert_eq!(take(&mut &b"\x80\x01"[..]), Some((1, false)));
        assert_eq!(take(&mut &b"\xff\0\0\0\0\0\0\0\x01"[..]), Some((1, false)));
    }

    #[test]
    fn signed_ones_are_folded() {
        for (value, bytes) in [(0, &b"\0"[..]), (-1, b"\x01"), (1, b"\x02"), (-2, b"\x03")] {
            let mut out = Vec::new();
            put_signed(value, &mut out);
            assert_eq!(out, bytes);
        }
        for value in [i64::MIN, i64::MAX, -64, 64, 1 << 40] {
            let mut out = Vec::new();
            put_signed(value, &mut out);
            assert_eq!(take_signed(&mut out.as_slice()), Some((value, true)));
        }
    }
}
