//! tuple: length-prefixed fields, perhaps fewer than the type has; the wire form is shared with user types. Arrow's
//! Struct of `f0`, `f1`, …, where a short form is padded and an exception; in text a JSON array, which keeps it short.

use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow, json, parts};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::DataType;
use std::sync::Arc;

/// `tuple<…>`.
pub struct Tuple(Fields);

impl Tuple {
    /// Of fields of these codecs, at least one.
    pub fn new(fields: Vec<Box<dyn Codec>>) -> Tuple {
        let named = fields.into_iter().enumerate();
        Tuple(Fields::new(named.map(|(i, codec)| (format!("f{i}"), codec)).collect()))
    }
}

/// The named fields of a tuple or user type, at least one.
pub struct Fields {
    /// Name and codec.
    pub list: Vec<(String, Box<dyn Codec>)>,
    arrow: arrow_schema::Fields,
}

impl Fields {
    /// In wire order.
    pub fn new(list: Vec<(String, Box<dyn Codec>)>) -> Fields {
        let arrow = list.iter().map(|(name, codec)| codec.field(name)).collect();
        Fields { list, arrow }
    }

    /// The Struct.
    pub fn arrow_type(&self) -> DataType {
        DataType::Struct(self.arrow.clone())
    }

    /// Wire to Arrow, as [`Codec::to_arrow`].
    pub fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        let mut columns: Vec<Vec<Cell<'_>>> = Vec::with_capacity(self.list.len());
        columns.resize_with(self.list.len(), || Vec::with_capacity(cells.len()));
        let mut valid = Vec::with_capacity(cells.len());
        for (row, (cell, lossy)) in cells.iter().zip(lossy.iter_mut()).enumerate() {
            let mut rest = cell.unwrap_or_default();
            let mut well_formed = !rest.is_empty();
            let mut exact = true;
            for column in &mut columns {
                exact &= !rest.is_empty();
                let part = (!rest.is_empty()).then(|| parts::take(&mut rest));
                well_formed &= part != Some(None);
                let (part, same) = part.flatten().unwrap_or((None, true));
                exact &= same;
                column.push(part);
            }
            well_formed &= rest.is_empty();
            if !well_formed {
                columns.iter_mut().for_each(|column| column[row] = None);
            }
            *lossy |= cell.is_some() && !(well_formed && exact);
            valid.push(well_formed);
        }
        let codecs = self.list.iter().zip(columns);
        let arrays = codecs.map(|((_, codec), column)| codec.to_arrow(&column, lossy));
        let arrays = arrays.collect();
        Arc::new(StructArray::new(self.arrow.clone(), arrays, arrow::nulls(valid)))
    }

    /// Arrow to wire, as [`Codec::arrow_cells`]; names must match.
    ///
    /// # Errors
    /// `BadValue` if `array` is of another type.
    pub fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &StructArray = arrow::nested(array, &self.arrow_type())?;
        let names = self.list.iter().map(|(name, _)| name);
        if !names.eq(array.fields().iter().map(|f| f.name())) {
            return Err(arrow::unexpected(array.data_type(), &self.arrow_type()));
        }
        let columns = self.list.iter().zip(array.columns());
        let columns: Result<Vec<_>, _> =
            columns.map(|((_, codec), column)| codec.arrow_cells(column)).collect();
        let columns = columns?;
        arrow::values(array, move |row, out| {
            for column in &columns {
                parts::put(out, |out| column.append(row, out))?;
            }
            Ok(())
        })
    }

    /// Gives each field that is present to `each`, with its index; whether writing them again gives the cell back,
    /// `None` if it is malformed or has more fields than the type.
    pub fn read<'a>(&self, cell: &'a [u8], mut each: impl FnMut(usize, Cell<'a>)) -> Option<bool> {
        let mut rest = cell;
        let mut exact = true;
        for i in 0..self.list.len() {
            if rest.is_empty() {
                break;
            }
            let (part, same) = parts::take(&mut rest)?;
            exact &= same;
            each(i, part);
        }
        rest.is_empty().then_some(exact)
    }
}

impl Codec for Tuple {
    fn arrow_type(&self) -> DataType {
        self.0.arrow_type()
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        self.0.to_arrow(cells, lossy)
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        self.0.arrow_cells(array)
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        json::write_array(out, |write| self.0.read(cell, |i, field| write(&*self.0.list[i].1, field)))
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let fields = json::array(text)?;
        let most = self.0.list.len();
        if fields.len() > most {
            let what = format!("a tuple of {most} fields: it has {}", fields.len());
            return Err(BadValue::not(text, what));
        }
        for ((_, codec), raw) in self.0.list.iter().zip(fields) {
            parts::put(out, |out| json::read(&**codec, raw, out))?;
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
    use crate::types::check::{exact, exact_text, lossy, reads, refuses};
    use crate::types::{int, text};

    #[test]
    fn tuples() {
        let pair = Tuple::new(vec![Box::new(int::TINYINT), Box::new(text::Text)]);
        exact(&pair, b"\0\0\0\x01\x07\0\0\0\x01a", r#"[7,"a"]"#);
        exact(&pair, b"\xff\xff\xff\xff\xff\xff\xff\xff", "[null,null]");
        reads(&pair, "[ 7 ]", b"\0\0\0\x01\x07");
        refuses(&pair, &["", "7", "{}", "[1,\"\",2]", "[\"a\",1]"]);
        for malformed in [
            &b"\0"[..],
            b"\0\0\0\x01",
            b"\0\0\0\x01\x07\0",
            b"\0\0\0\x01\x07\0\0\0\x01a\0",
            b"\0\0\0\x01\x07\0\0\0\x01a\0\0\0\x01a",
        ] {
            lossy(&pair, malformed, "", None);
        }
        let null = b"\0\0\0\x01\x07\xff\xff\xff\xff";
        lossy(&pair, b"\0\0\0\x01\x07\x80\0\0\0", "[7,null]", Some(null));
    }

    #[test]
    fn a_short_form_stays_short_in_text_and_is_an_exception_in_arrow() {
        let pair = Tuple::new(vec![Box::new(int::TINYINT), Box::new(text::Text)]);
        exact_text(&pair, b"\0\0\0\x01\x07", "[7]");
        exact_text(&pair, b"", "[]");
        let mut flags = [false; 2];
        let array = pair.to_arrow(&[Some(b"\0\0\0\x01\x07"), Some(b"")], &mut flags);
        assert_eq!(flags, [true, true]);
        assert_eq!((array.is_null(0), array.is_null(1)), (false, true));
    }
}
