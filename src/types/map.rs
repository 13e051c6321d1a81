//! map: a count and length-prefixed keys and values; order and repeated keys are kept. Arrow's Map, in text a JSON
//! object where keys are names (text, numbers, UUIDs), else an array of `[key, value]`. Both read either way.

use super::cql::{CqlType, Native};
use super::{ArrowCells, BadValue, Codec, Fidelity, JsonForm, arrow, json, parts};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, MapArray, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use std::sync::Arc;

/// `map<key, value>`.
pub struct Map {
    key: Box<dyn Codec>,
    value: Box<dyn Codec>,
    object: bool,
    fields: Fields,
    child: FieldRef,
}

/// Whether the text of these keys serves as names of a JSON object.
pub fn keys_are_names(key: &CqlType) -> bool {
    use Native::{
        Ascii, BigInt, Counter, Decimal, Double, Float, Int, SmallInt, Text, TimeUuid, TinyInt, Uuid, VarInt,
    };
    matches!(
        key,
        CqlType::Native(
            Ascii
                | BigInt
                | Counter
                | Decimal
                | Double
                | Float
                | Int
                | SmallInt
                | Text
                | TimeUuid
                | TinyInt
                | Uuid
                | VarInt
        )
    )
}

impl Map {
    /// Of keys and values of these codecs; `object` if the keys serve as names.
    pub fn new(key: Box<dyn Codec>, value: Box<dyn Codec>, object: bool) -> Map {
        let fields = Fields::from(vec![key.field("key").with_nullable(false), value.field("value")]);
        let child = Field::new("key_value", DataType::Struct(fields.clone()), false);
        Map { key, value, object, fields, child: Arc::new(child) }
    }

    /// Writes the entries as an object; `None`, and nothing, if a key has no text: if it is null or bytes that mean
    /// nothing.
    fn write_object(&self, cell: &[u8], out: &mut Vec<u8>) -> Option<Fidelity> {
        let start = out.len();
        let mut inner = Fidelity::Exact;
        let mut all_named = true;
        out.push(b'{');
        let read = read(cell, |key, value| {
            json::separate(out, start);
            let name = key.and_then(|key| json::write_name(&*self.key, key, out));
            all_named &= name.is_some();
            out.push(b':');
            inner = inner.and(name.unwrap_or(Fidelity::Lossy));
            inner = inner.and(json::write(&*self.value, value, out));
        });
        out.push(b'}');
        if !all_named {
            out.truncate(start);
            return None;
        }
        Some(json::whole(out, start, read).and(inner))
    }

    /// Writes the entries as an array of pairs.
    fn write_pairs(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let start = out.len();
        let mut inner = Fidelity::Exact;
        out.push(b'[');
        let read = read(cell, |key, value| {
            json::separate(out, start);
            out.push(b'[');
            inner = inner.and(json::write(&*self.key, key, out));
            out.push(b',');
            inner = inner.and(json::write(&*self.value, value, out));
            out.push(b']');
        });
        out.push(b']');
        json::whole(out, start, read).and(inner)
    }
}

/// Gives each entry of a cell to `each`; whether writing them again gives the cell back, `None` if it is malformed.
fn read<'a>(cell: &'a [u8], mut each: impl FnMut(Cell<'a>, Cell<'a>)) -> Option<bool> {
    let mut rest = cell;
    let mut exact = true;
    for _ in 0..parts::take_count(&mut rest, 8)? {
        let (key, same_key) = parts::take(&mut rest)?;
        let (value, same_value) = parts::take(&mut rest)?;
        exact &= same_key && same_value;
        each(key, value);
    }
    rest.is_empty().then_some(exact)
}

impl Codec for Map {
    fn arrow_type(&self) -> DataType {
        DataType::Map(self.child.clone(), false)
    }

    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        // Arrow's keys are never null: maps with a key that shows nothing are left out, found by a first try.
        let mut left_out = vec![false; cells.len()];
        loop {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            let mut offsets = arrow::Offsets::with_capacity(cells.len());
            let mut valid = Vec::with_capacity(cells.len());
            let mut exact = Vec::with_capacity(cells.len());
            for (cell, left_out) in cells.iter().zip(&left_out) {
                let start = keys.len();
                let read = cell.filter(|_| !left_out).and_then(|cell| {
                    read(cell, |key, value| {
                        keys.push(key);
                        values.push(value);
                    })
                });
                let fits = read.is_some() && offsets.push(keys.len());
                if !fits {
                    keys.truncate(start);
                    values.truncate(start);
                    offsets.push_empty();
                }
                valid.push(fits);
                exact.push(fits && read == Some(true));
            }
            let mut inner = vec![false; keys.len()];
            let keys = self.key.to_arrow(&keys, &mut inner);
            if keys.null_count() > 0 {
                for (range, left_out) in offsets.ranges().zip(&mut left_out) {
                    *left_out |= range.into_iter().any(|i| keys.is_null(i));
                }
                continue;
            }
            let values = self.value.to_arrow(&values, &mut inner);
            let rows = cells.iter().zip(exact).zip(offsets.ranges()).zip(lossy);
            for (((cell, exact), range), lossy) in rows {
                *lossy |= cell.is_some() && (!exact || inner[range].contains(&true));
            }
            let entries = StructArray::new(self.fields.clone(), vec![keys, values], None);
            let (child, nulls) = (self.child.clone(), arrow::nulls(valid));
            return Arc::new(MapArray::new(child, offsets.finish(), entries, nulls, false));
        }
    }

    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        let array: &MapArray = arrow::nested(array, &self.arrow_type())?;
        let keys = self.key.arrow_cells(array.keys())?;
        let values = self.value.arrow_cells(array.values())?;
        arrow::values(array, move |row, out| {
            let range = arrow::range(array.value_offsets(), row)?;
            out.extend_from_slice(&parts::count(range.len())?);
            for i in range {
                parts::put(out, |out| match keys.append(i, out)? {
                    true => Ok(true),
                    false => Err(BadValue("a map with a null key".to_owned())),
                })?;
                parts::put(out, |out| values.append(i, out))?;
            }
            Ok(())
        })
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        let object = self.object.then(|| self.write_object(cell, out)).flatten();
        object.unwrap_or_else(|| self.write_pairs(cell, out))
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        if text.trim_ascii_start().starts_with(b"[") {
            let pairs = json::array(text)?;
            out.extend_from_slice(&parts::count(pairs.len())?);
            for pair in pairs {
                let entry = json::array(pair.as_bytes())?;
                let [key, value] = entry.as_slice() else {
                    return Err(BadValue::not(pair.as_bytes(), "a pair of key and value"));
                };
                parts::put(out, |out| json::read(&*self.key, key, out))?;
                parts::put(out, |out| json::read(&*self.value, value, out))?;
            }
        } else {
            let members = json::object(text)?;
            out.extend_from_slice(&parts::count(members.len())?);
            for (name, value) in members {
                parts::put(out, |out| {
                    self.key.from_text(name.as_bytes(), out)?;
                    Ok(true)
                })?;
                parts::put(out, |out| json::read(&*self.value, value, out))?;
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
    use crate::types::check::{exact, exact_text, lossy, reads, refusal, refuses};
    use crate::types::{blob, int, text};

    fn map(key: impl Codec + 'static, object: bool) -> Map {
        Map::new(Box::new(key), Box::new(int::TINYINT), object)
    }

    #[test]
    fn maps() {
        let names = map(text::Text, true);
        exact(&names, b"\0\0\0\0", "{}");
        let ab = b"\0\0\0\x02\0\0\0\x01b\0\0\0\x01\x07\0\0\0\0\xff\xff\xff\xff";
        exact(&names, ab, r#"{"b":7,"":null}"#);
        reads(&names, r#" [ ["b", 7], ["", null] ]"#, ab);
        let twice = b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01\x01\0\0\0\x01a\0\0\0\x01\x02";
        exact(&names, twice, r#"{"a":1,"a":2}"#);
        refuses(&names, &["", "[1]", "[[1,2,3]]", "{\"a\"}", "{\"a\":300}", "{} {}"]);
        let reason =
            r#""{'a': 1}" is not a JSON object, as {"a": 1} (key must be a string at line 1 column 2)"#;
        refusal(&names, "{'a': 1}", reason);
        let number = b"\0\0\0\x01\0\0\0\x04\0\0\0\x07\0\0\0\x01\x01";
        exact(&map(int::INT, true), number, r#"{"7":1}"#);
        let pair = b"\0\0\0\x01\0\0\0\x02\xca\xfe\0\0\0\x01\x01";
        exact(&map(blob::Blob, false), pair, r#"[["0xcafe",1]]"#);
        reads(&map(blob::Blob, false), r#"{"0xcafe":1}"#, pair);
    }

    #[test]
    fn a_key_that_shows_nothing_makes_the_map_null_in_arrow_and_pairs_in_text() {
        let wire = b"\0\0\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x01\x01\0\0\0\0\0\0\0\x01\x01";
        lossy(&map(int::INT, true), wire, "[[7,1],[null,1]]", None);
        lossy(&map(int::INT, true), b"\0\0\0\x01\0\0\0\0", "", None);
        let null = b"\0\0\0\x01\xff\xff\xff\xff\0\0\0\x01\x01";
        exact_text(&map(text::Text, true), null, "[[null,1]]");
        let mut flags = [false];
        let array = map(text::Text, true).to_arrow(&[Some(null)], &mut flags);
        assert!(flags[0] && array.is_null(0));
    }
}
