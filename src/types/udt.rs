//! User-defined types: on the wire and in Arrow as tuples, with the names of their fields; in text a JSON object in the
//! order of the type, from which trailing fields that are absent on the wire are absent too.

use super::tuple::Fields;
use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, json, parts};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

/// A user-defined type.
pub struct UserType(Fields);

impl UserType {
    /// Of these fields, at least one.
    pub fn new(fields: Vec<(String, Box<dyn Codec>)>) -> UserType {
        UserType(Fields::new(fields))
    }
}

impl Codec for UserType {
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
        let start = out.len();
        let mut inner = Fidelity::Exact;
        out.push(b'{');
        let read = self.0.read(cell, |i, field| {
            let (name, codec) = &self.0.list[i];
            json::separate(out, start);
            json::write_string(name.as_bytes(), out);
            out.push(b':');
            inner = inner.and(json::write(&**codec, field, out));
        });
        out.push(b'}');
        json::whole(out, start, read).and(inner)
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let fields = &self.0.list;
        let mut values = vec![None; fields.len()];
        for (name, raw) in json::object(text)? {
            let Some(i) = fields.iter().position(|(n, _)| *n == name) else {
                return Err(BadValue::not(name.as_bytes(), "a field of the user type"));
            };
            if values[i].replace(raw).is_some() {
                return Err(BadValue::not(name.as_bytes(), "a field that may stand twice"));
            }
        }
        let present = values.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        for ((_, codec), raw) in fields.iter().zip(&values[..present]) {
            match raw {
                Some(raw) => parts::put(out, |out| json::read(&**codec, raw, out))?,
                None => parts::put_null(out),
            }
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

    fn person() -> UserType {
        UserType::new(vec![
            ("Name".to_owned(), Box::new(text::Text)),
            ("a\"ge".to_owned(), Box::new(int::TINYINT)),
        ])
    }

    #[test]
    fn user_types() {
        exact(&person(), b"\0\0\0\x01J\0\0\0\x01\x07", r#"{"Name":"J","a\"ge":7}"#);
        exact(&person(), b"\xff\xff\xff\xff\0\0\0\x01\x07", r#"{"Name":null,"a\"ge":7}"#);
        reads(&person(), r#"{"a\"ge":7}"#, b"\xff\xff\xff\xff\0\0\0\x01\x07");
        reads(&person(), r#"{"a\"ge":7,"Name":"J"}"#, b"\0\0\0\x01J\0\0\0\x01\x07");
        lossy(&person(), b"\0\0\0\x01J\0\0\0\x01\x07\0", "", None);
        refuses(&person(), &["", "[]", r#"{"Name":"a","Name":"b"}"#]);
        let unknown = person().from_text(br#"{"name":"J"}"#, &mut Vec::new());
        assert!(unknown.unwrap_err().0.contains("\"name\""));
    }

    #[test]
    fn a_short_form_stays_short_in_text() {
        exact_text(&person(), b"\0\0\0\x01J", r#"{"Name":"J"}"#);
        exact_text(&person(), b"\xff\xff\xff\xff", r#"{"Name":null}"#);
        exact_text(&person(), b"", "{}");
    }
}
