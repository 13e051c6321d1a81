//! The length-prefixed parts of collections, tuples and user types on the wire.

use super::BadValue;
use crate::rows::{Cell, take_cell};

/// Takes one part off the front; the flag tells whether writing it again gives the same bytes (null has many lengths,
/// of which only -1 is ever written). `None` if the bytes end too early.
pub fn take<'a>(rest: &mut &'a [u8]) -> Option<(Cell<'a>, bool)> {
    let null = rest.starts_with(&[0xff; 4]);
    let part = take_cell(rest)?;
    Some((part, null || part.is_some()))
}

/// Appends one part: the bytes that `write` appends, or null if it answers false.
///
/// # Errors
/// What `write` answers, or `BadValue` if the part is longer than its prefix can say.
pub fn put(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool, BadValue>,
) -> Result<(), BadValue> {
    let start = out.len();
    out.extend_from_slice(&(-1i32).to_be_bytes());
    let body = out.len();
    if write(out)? {
        let len = count(out.len() - body)?;
        out[start..body].copy_from_slice(&len);
    } else {
        out.truncate(body);
    }
    Ok(())
}

/// Appends a null part.
pub fn put_null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

/// A number of elements or bytes as the wire's `i32`.
///
/// # Errors
/// `BadValue` if it is too large.
pub fn count(n: usize) -> Result<[u8; 4], BadValue> {
    let n = i32::try_from(n);
    n.map(i32::to_be_bytes).map_err(|_| BadValue("a value with a part of more than 2 GiB".to_owned()))
}

/// Takes the count off the front of a collection whose elements take at least `least` bytes each; `None` if the bytes
/// cannot hold that many, so a lying count never allocates more than the bytes allow.
pub fn take_count(rest: &mut &[u8], least: usize) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*head)).ok()?;
    *rest = tail;
    (count <= tail.len() / least).then_some(count)
}
