//! list and set: a count and length-prefixed elements. Arrow's List with the child `element`, in text a JSON array. Null
//! elements, which frozen lists can hold, are kept; a set keeps the order it came in.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow, json, parts};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, ListArray};
use arrow_schema::{DataType, FieldRef};
use std::sync::Arc;

/// `list<element>` or `set<element>`.
pub struct List {
    element: Box<dyn Codec>,
    child: FieldRef,
}

impl List {
    /// Of elements of that codec.
    pub fn new(element: Box<dyn Codec>) -> List {
        let child = Arc::new(element.field("element"));
        List { element, child }
    }
}

/// Gives each element of a cell to `each`; whether writing them again gives the cell back, `None` if it is malformed.
fn read<'a>(cell: &'a [u8], mut each: impl FnMut(Cell<'a>)) -> Option<bool> {
    let mut rest = cell;
    let mut exact = true;
    for _ in 0..parts::take_count(&mut rest, 4)? {
        let (element, same) = parts::take(&mut rest)?;
        exact &= same;
        each(element);
    }
    rest.is_empty().then_some(exact)
}

impl Codec for List {
    fn arrow_type(&self) -> DataType {
        DataType::List(self.child.clone())
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut elements = Vec::new();
        let mut offsets = arrow::Offsets::with_capacity(cells.len());
        let mut valid = Vec::with_capacity(cells.len());
        for (cell, lossy) in cells.iter().zip(lossy.iter_mut()) {
            let start = elements.len();
            let exact = cell.and_then(|c| read(c, |element| elements.push(element)));
            let fits = exact.is_some() && offsets.push(elements.len());
            if !fits {
                elements.truncate(start);
                offsets.push_empty();
            }
            *lossy |= cell.is_some() && !(fits && exact == Some(true));
            valid.push(fits);
        }
        let mut inner = vec![false; elements.len()];
        let values = self.element.to_arrow(&elements, &mut inner);
        for (range, lossy) in offsets.ranges().zip(lossy) {
            *lossy |= inner[range].contains(&true);
        }
        let nulls = arrow::nulls(valid);
        Arc::new(ListArray::new(self.child.clone(), offsets.finish(), values, nulls))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &ListArray = arrow::nested(array, &self.arrow_type())?;
        let elements = self.element.arrow_cells(array.values())?;
        arrow::values(array, move |row, out| {
            let range = arrow::range(array.value_offsets(), row)?;
            out.extend_from_slice(&parts::count(range.len())?);
            for i in range {
                parts::put(out, |out| elements.append(i, out))?;
            }
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        json::write_array(out, |write| read(cell, |element| write(&*self.element, element)))
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let elements = json::array(text)?;
        out.extend_from_slice(&parts::count(elements.len())?);
        for raw in elements {
            parts::put(out, |out| json::read(&*self.element, raw, out))?;
        }
        Ok(())
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Nested
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refusal, refuses};
    use crate::types::{float, int, text};

    #[test]
    fn lists() {
        let list = List::new(Box::new(int::INT));
        exact(&list, b"\0\0\0\0", "[]");
        exact(&list, b"\0\0\0\x01\0\0\0\x04\0\0\0\x07", "[7]");
        exact(&list, b"\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff", "[7,null]");
        reads(&list, " [ 7 , null ] ", b"\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff");
        refuses(&list, &["", "[", "[1] 2", "{}", "[1.5]", "[[1]]", "null"]);
        let reason = r#""[1, 2" is not a JSON array, as [1, 2] or ["a", "b"] (EOF while parsing a list at line 1 column 5)"#;
        refusal(&list, "[1, 2", reason);
        let texts = List::new(Box::new(text::Text));
        let reason =
            r#""['a']" is not a JSON array, as [1, 2] or ["a", "b"] (expected value at line 1 column 2)"#;
        refusal(&texts, "['a']", reason);
        let wire = b"\0\0\0\x03\0\0\0\0\0\0\0\x04null\0\0\0\x02\"\n";
        exact(&texts, wire, r#"["","null","\"\n"]"#);
        let floats = List::new(Box::new(float::FLOAT));
        let wire = b"\0\0\0\x02\0\0\0\x04\x7f\xc0\0\0\0\0\0\x04\x3f\x80\0\0";
        exact(&floats, wire, r#"["NaN",1.0]"#);
    }

    #[test]
    fn odd_lists_are_exceptions() {
        let list = List::new(Box::new(int::INT));
        for malformed in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\0\0\0\x01\0\0\0\x04\0\0\0",
            b"\0\0\0\x01\0\0\0\x04\0\0\0\x07\0",
        ] {
            lossy(&list, malformed, "", None);
        }
        let null = b"\0\0\0\x01\xff\xff\xff\xff";
        lossy(&list, b"\0\0\0\x01\xff\xff\xff\xfe", "[null]", Some(null));
        lossy(&list, b"\0\0\0\x01\0\0\0\0", "[null]", Some(null));
    }
}
