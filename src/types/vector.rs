//! vector: elements of a type that the server stores without lengths stand back to back, others each behind an unsigned
//! vint length. Arrow's FixedSizeList with the child `element`, in text a JSON array.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow, json, vint};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, FixedSizeListArray};
use arrow_schema::{DataType, FieldRef};
use std::sync::Arc;

/// `vector<element, dimension>`.
pub struct Vector {
    element: Box<dyn Codec>,
    child: FieldRef,
    dimension: usize,
    size: i32,
    width: Option<usize>,
}

impl Vector {
    /// Of that many elements of that codec; `None` if there are none or more than Arrow can count.
    pub fn new(element: Box<dyn Codec>, dimension: usize) -> Option<Vector> {
        Some(Vector {
            child: Arc::new(element.field("element")),
            dimension,
            size: i32::try_from(dimension).ok().filter(|n| *n > 0)?,
            width: element.vector_width(),
            element,
        })
    }

    /// Gives each element of a cell to `each`; whether writing them again gives the cell back, `None` if it is
    /// malformed.
    fn read<'a>(&self, cell: &'a [u8], mut each: impl FnMut(&'a [u8])) -> Option<bool> {
        if let Some(width) = self.width {
            if width.checked_mul(self.dimension) != Some(cell.len()) {
                return None;
            }
            cell.chunks_exact(width).for_each(each);
            return Some(true);
        }
        let mut rest = cell;
        let mut exact = true;
        for _ in 0..self.dimension {
            let (len, shortest) = vint::take(&mut rest)?;
            let (element, tail) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            exact &= shortest;
            each(element);
            rest = tail;
        }
        rest.is_empty().then_some(exact)
    }

    /// Appends the element that `write` appends to the buffer it is given.
    fn put(
        &self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, BadValue>,
    ) -> Result<(), BadValue> {
        scratch.clear();
        if !write(scratch)? {
            return Err(BadValue("a vector with a null element".to_owned()));
        }
        match self.width {
            Some(width) if width == scratch.len() => {}
            Some(width) => {
                let what = format!("a vector with an element that is not of {width} bytes");
                return Err(BadValue(what));
            }
            None => vint::put(u64::try_from(scratch.len()).unwrap_or(u64::MAX), out),
        }
        out.extend_from_slice(scratch);
        Ok(())
    }
}

impl Codec for Vector {
    fn arrow_type(&self) -> DataType {
        DataType::FixedSizeList(self.child.clone(), self.size)
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut elements: Vec<Cell<'_>> = Vec::new();
        let mut valid = Vec::with_capacity(cells.len());
        for (row, (cell, lossy)) in cells.iter().zip(lossy.iter_mut()).enumerate() {
            let exact = cell.and_then(|c| self.read(c, |element| elements.push(Some(element))));
            if exact.is_none() {
                elements.truncate(row * self.dimension);
            }
            // Null vectors take the room of their elements.
            elements.resize((row + 1) * self.dimension, None);
            *lossy |= cell.is_some() && exact != Some(true);
            valid.push(exact.is_some());
        }
        let mut inner = vec![false; elements.len()];
        let values = self.element.to_arrow(&elements, &mut inner);
        for (flags, lossy) in inner.chunks_exact(self.dimension).zip(lossy) {
            *lossy |= flags.contains(&true);
        }
        Arc::new(FixedSizeListArray::new(self.child.clone(), self.size, values, arrow::nulls(valid)))
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &FixedSizeListArray = arrow::nested(array, &self.arrow_type())?;
        if array.value_length() != self.size {
            return Err(arrow::unexpected(array.data_type(), &self.arrow_type()));
        }
        let elements = self.element.arrow_cells(array.values())?;
        arrow::values(array, move |row, out| {
            let mut scratch = Vec::new();
            for i in row * self.dimension..(row + 1) * self.dimension {
                self.put(out, &mut scratch, |out| elements.append(i, out))?;
            }
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        json::write_array(out, |write| self.read(cell, |element| write(&*self.element, Some(element))))
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let elements = json::array(text)?;
        if elements.len() != self.dimension {
            let what = format!("{} elements: it has {}", self.dimension, elements.len());
            return Err(BadValue::not(text, format!("a vector of {what}")));
        }
        let mut scratch = Vec::new();
        for raw in elements {
            self.put(out, &mut scratch, |out| json::read(&*self.element, raw, out))?;
        }
        Ok(())
    }

    fn json_form(&self) -> JsonForm {
        JsonForm::Nested
    }

    fn vector_width(&self) -> Option<usize> {
        self.width?.checked_mul(self.dimension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, refuses};
    use crate::types::{float, int, text};

    #[test]
    fn elements_of_fixed_width_stand_back_to_back() {
        let floats = Vector::new(Box::new(float::FLOAT), 3).unwrap();
        let wire = b"\x3f\x80\0\0\x40\0\0\0\x40\x40\0\0";
        exact(&floats, wire, "[1.0,2.0,3.0]");
        lossy(&floats, &wire[..11], "", None);
        lossy(&floats, b"", "", None);
        refuses(&floats, &["[1,2]", "[1,2,3,4]", "[1,2,null]", "1"]);
        let nested = Vector::new(Box::new(Vector::new(Box::new(int::INT), 1).unwrap()), 2).unwrap();
        exact(&nested, b"\0\0\0\x01\0\0\0\x02", "[[1],[2]]");
        assert_eq!(nested.vector_width(), Some(8));
    }

    #[test]
    fn other_elements_stand_behind_their_lengths() {
        let texts = Vector::new(Box::new(text::Text), 2).unwrap();
        exact(&texts, b"\x01a\x02bb", r#"["a","bb"]"#);
        lossy(&texts, b"\x01a\x02b", "", None);
        lossy(&texts, b"\x01a\x02bb\0", "", None);
        lossy(&texts, b"\x80\x01a\x02bb", r#"["a","bb"]"#, Some(b"\x01a\x02bb"));
        let small = Vector::new(Box::new(int::TINYINT), 2).unwrap();
        exact(&small, b"\x01\x07\x01\x08", "[7,8]");
    }

    #[test]
    fn no_dimension_and_too_many_are_refused() {
        assert!(Vector::new(Box::new(int::INT), 0).is_none());
        assert!(Vector::new(Box::new(int::INT), 1 << 31).is_none());
    }
}
