//! boolean: 00 is false, 01 is true; servers read every other byte as true and keep it.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use std::sync::Arc;

/// boolean.
#[derive(Debug)]
pub struct Boolean;

impl Codec for Boolean {
    fn arrow_type(&self) -> DataType {
        DataType::Boolean
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut values = Vec::with_capacity(cells.len());
        let mut valid = Vec::with_capacity(cells.len());
        for (cell, lossy) in cells.iter().zip(lossy) {
            *lossy |= cell.is_some_and(|c| !matches!(c, [0 | 1]));
            values.push(matches!(cell, Some([1..=255])));
            valid.push(matches!(cell, Some([_])));
        }
        Arc::new(BooleanArray::new(BooleanBuffer::from(values), arrow::nulls(valid)))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &BooleanArray = arrow::typed(array, &DataType::Boolean)?;
        arrow::values(array, |row, out| {
            out.push(u8::from(array.value(row)));
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        match cell {
            [0] => out.extend_from_slice(b"false"),
            [_] => out.extend_from_slice(b"true"),
            _ => {}
        }
        match cell {
            [0 | 1] => Fidelity::Exact,
            _ => Fidelity::Lossy,
        }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        out.push(match () {
            () if is(["true", "1", "yes", "t"]) => 1,
            () if is(["false", "0", "no", "f"]) => 0,
            () => return Err(BadValue::not(text, "a boolean")),
        });
        Ok(())
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Bare
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn vector_width(&self) -> Option<usize> {
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, reads, refuses};

    #[test]
    fn booleans() {
        exact(&Boolean, b"\x01", "true");
        exact(&Boolean, b"\0", "false");
        lossy(&Boolean, b"\x02", "true", Some(b"\x01"));
        lossy(&Boolean, b"", "", None);
        lossy(&Boolean, b"\0\x01", "", None);
        for yes in ["TRUE", "1", "Yes", "t"] {
            reads(&Boolean, yes, b"\x01");
        }
        for no in ["False", "0", "no", "F"] {
            reads(&Boolean, no, b"\0");
        }
        refuses(&Boolean, &["", "2", "y", "tru", "null"]);
    }
}
