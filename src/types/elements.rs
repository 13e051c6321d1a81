//! The elements of columns whose elements are cells of their own (sets, maps, lists, user types that are not frozen):
//! taken apart, put together again, and the numbers that companions hold for them.

use super::cql::CqlType;
use super::parts::take_count;
use crate::rows::{Cell, take_cell};

/// The elements of a value, each in the bytes it has there, length prefixes and all: an element of a list or set, a key
/// with its value of a map, a field of a user type (null for each that the bytes leave out). `None` if the bytes are no
/// value of the type.
pub fn split<'a>(cql_type: &CqlType, mut cell: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let (cells_each, count) = match cql_type {
        CqlType::List(..) | CqlType::Set(..) => (1, take_count(&mut cell, 4)?),
        CqlType::Map(..) => (2, take_count(&mut cell, 8)?),
        CqlType::Udt(udt, _) => (1, udt.fields.len()),
        _ => return None,
    };
    let mut elements = Vec::with_capacity(count);
    for _ in 0..count {
        let before = cell;
        if cell.is_empty() && matches!(cql_type, CqlType::Udt(..)) {
            elements.push(&NULL[..]);
            continue;
        }
        for _ in 0..cells_each {
            take_cell(&mut cell)?;
        }
        elements.push(&before[..before.len() - cell.len()]);
    }
    cell.is_empty().then_some(elements)
}

const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// A set, list or map of these elements; the inverse of [`split`]. `None` if they are more than the wire can count.
pub fn join(elements: &[&[u8]]) -> Option<Vec<u8>> {
    let count = i32::try_from(elements.len()).ok()?;
    let mut out = count.to_be_bytes().to_vec();
    elements.iter().for_each(|element| out.extend_from_slice(element));
    Some(out)
}

/// The value of a user type's field as [`split`] gives it.
pub fn field(mut element: &[u8]) -> Cell<'_> {
    take_cell(&mut element).flatten()
}

/// The bytes of a user type's value without trailing fields that are null.
pub fn trimmed<'a>(cql_type: &CqlType, cell: &'a [u8]) -> &'a [u8] {
    let Some(fields) = split(cql_type, cell) else { return cell };
    let used = fields.iter().rposition(|f| field(f).is_some()).map_or(0, |last| last + 1);
    let bytes: usize = fields[..used].iter().map(|f| f.len()).sum();
    &cell[..bytes]
}

/// The entries of a companion with one number per element; `None` if the bytes are no `list<bigint>`.
pub fn numbers(cell: &[u8]) -> Option<Vec<Option<i64>>> {
    let mut numbers = Vec::new();
    for_each_number(cell, |number| numbers.push(number))?;
    Some(numbers)
}

/// Gives each entry of a companion with one number per element to `each`; `None` if the bytes are no `list<bigint>`,
/// after some of them perhaps.
pub fn for_each_number(mut cell: &[u8], mut each: impl FnMut(Option<i64>)) -> Option<()> {
    for _ in 0..take_count(&mut cell, 4)? {
        each(match take_cell(&mut cell)? {
            None => None,
            Some(bytes) => Some(number(bytes)?),
        });
    }
    cell.is_empty().then_some(())
}

/// A bigint.
pub fn number(cell: &[u8]) -> Option<i64> {
    cell.try_into().ok().map(i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::cql::{Native, Udt};
    use super::*;
    use std::sync::Arc;

    fn udt(fields: usize) -> CqlType {
        let field = |n| (format!("f{n}"), CqlType::Native(Native::Text));
        CqlType::Udt(Arc::new(Udt { name: "u".into(), fields: (0..fields).map(field).collect() }), false)
    }

    #[test]
    fn collections_are_taken_apart_and_put_together() {
        let int = || Box::new(CqlType::Native(Native::Int));
        let set = b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc";
        let parts = split(&CqlType::Set(int(), false), set).unwrap();
        assert_eq!(parts, [&b"\0\0\0\x01a"[..], b"\0\0\0\x02bc"]);
        assert_eq!(join(&parts).unwrap(), set);
        assert_eq!(join(&parts[1..]).unwrap(), b"\0\0\0\x01\0\0\0\x02bc");
        let map = split(&CqlType::Map(int(), int(), false), b"\0\0\0\x01\0\0\0\x01a\0\0\0\x02bc").unwrap();
        assert_eq!(map, [&b"\0\0\0\x01a\0\0\0\x02bc"[..]]);
        for bad in [&set[..set.len() - 1], b"\0\0\0\x01\0\0\0\x01ab", b"\x7f\0\0\0", b""] {
            assert_eq!(split(&CqlType::List(int(), false), bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fields_left_out_are_null_and_trailing_nulls_are_trimmed() {
        let value = b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff";
        let fields: Vec<Cell<'_>> = split(&udt(5), value).unwrap().into_iter().map(field).collect();
        assert_eq!(fields, [Some(&b"a"[..]), None, Some(b""), None, None]);
        assert_eq!(trimmed(&udt(5), value), &value[..13]);
        assert_eq!(trimmed(&udt(1), b"\xff\xff\xff\xff"), b"");
    }

    #[test]
    fn numbers_of_elements_may_be_null() {
        let cell = b"\0\0\0\x02\xff\xff\xff\xff\0\0\0\x08\0\0\0\0\0\0\x01\x02";
        assert_eq!(numbers(cell), Some(vec![None, Some(258)]));
        assert_eq!(numbers(&cell[..cell.len() - 1]), None);
        assert_eq!(numbers(b"\0\0\0\x01\0\0\0\x04\0\0\0\0"), None);
    }
}
