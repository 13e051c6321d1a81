//! JSON inside text cells: how collections, tuples and user types write their parts and read them back. Numbers keep
//! their digits: nothing here goes through a float.

use super::{BadValue, Codec, Fidelity, JsonForm};
use crate::rows::Cell;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What messages say is expected; CQL's own literals have single quotes and bare names, which JSON does not know.
const ARRAY: &str = r#"a JSON array, as [1, 2] or ["a", "b"]"#;
const OBJECT: &str = r#"a JSON object, as {"a": 1}"#;

/// Writes `cell` as a JSON value: `null`, a bare number or word, a string, or the nested JSON of its codec.
pub fn write(codec: &dyn Codec, cell: Cell<'_>, out: &mut Vec<u8>) -> Fidelity {
    let Some(bytes) = cell else {
        out.extend_from_slice(b"null");
        return Fidelity::Exact;
    };
    let start = out.len();
    let form = codec.json_form();
    // Most texts need nothing but the quotes, so the first one is there already.
    if form == JsonForm::String {
        out.push(b'"');
    }
    let text = out.len();
    let fidelity = codec.to_text(bytes, out);
    if fidelity == Fidelity::Lossy && out.len() == text {
        out.truncate(start);
        out.extend_from_slice(b"null");
        return fidelity;
    }
    match form {
        JsonForm::Nested => {}
        JsonForm::String if codec.is_plain() => out.push(b'"'),
        JsonForm::String => end_string(start, out),
        JsonForm::Bare if is_bare(&out[text..]) => {}
        JsonForm::Bare => {
            out.insert(start, b'"');
            out.push(b'"');
        }
    }
    fidelity
}

/// Ends the string whose opening quote stands at `start`, before a text that may need to be escaped.
fn end_string(start: usize, out: &mut Vec<u8>) {
    if is_unescaped(&out[start + 1..]) {
        out.push(b'"');
    } else {
        let unescaped = out.split_off(start + 1);
        out.truncate(start);
        write_string(&unescaped, out);
    }
}

/// Writes `cell` as the name of a member: its text as a string, whatever its type. `None` if it has none.
pub fn write_name(codec: &dyn Codec, cell: &[u8], out: &mut Vec<u8>) -> Option<Fidelity> {
    let start = out.len();
    out.push(b'"');
    let fidelity = codec.to_text(cell, out);
    if fidelity == Fidelity::Lossy && out.len() == start + 1 {
        out.truncate(start);
        return None;
    }
    end_string(start, out);
    Some(fidelity)
}

/// Reads one JSON value into wire bytes; answers false for `null`.
///
/// # Errors
/// `BadValue` if it is no value of the codec's type.
pub fn read(codec: &dyn Codec, raw: &str, out: &mut Vec<u8>) -> Result<bool, BadValue> {
    if raw == "null" {
        return Ok(false);
    }
    if codec.json_form() != JsonForm::Nested && raw.starts_with('"') {
        codec.from_text(string(raw)?.as_bytes(), out)?;
    } else {
        codec.from_text(raw.as_bytes(), out)?;
    }
    Ok(true)
}

/// Appends the comma before a part, unless it is the first one inside the bracket at `start`.
pub fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start + 1 {
        out.push(b',');
    }
}

/// Writes a JSON array of the parts that `read` gives to the writer it is handed; see [`whole`] for what it answers.
pub fn write_array<'a>(
    out: &mut Vec<u8>,
    read: impl FnOnce(&mut dyn FnMut(&dyn Codec, Cell<'a>)) -> Option<bool>,
) -> Fidelity {
    let start = out.len();
    let mut inner = Fidelity::Exact;
    out.push(b'[');
    let read = read(&mut |codec, part| {
        separate(out, start);
        inner = inner.and(write(codec, part, out));
    });
    out.push(b']');
    whole(out, start, read).and(inner)
}

/// Ends the text of a cell that began at `start`: taken back if reading the cell failed (`None`), else exact if reading
/// it said so.
pub fn whole(out: &mut Vec<u8>, start: usize, read: Option<bool>) -> Fidelity {
    match read {
        Some(true) => Fidelity::Exact,
        Some(false) => Fidelity::Lossy,
        None => {
            out.truncate(start);
            Fidelity::Lossy
        }
    }
}

/// Writes a quoted and escaped JSON string; `text` is UTF-8 (a lossy text is shown with replacement characters).
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if is_unescaped(text) {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    for &byte in String::from_utf8_lossy(text).as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The elements of a JSON array, each as its own JSON text.
///
/// # Errors
/// `BadValue` if `text` is no JSON array.
pub fn array(text: &[u8]) -> Result<Vec<&str>, BadValue> {
    let elements: Vec<&RawValue> = serde_json::from_slice(text).map_err(|e| bad(text, ARRAY, &e))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// The members of a JSON object in order, repeated names kept, each value as its own JSON text.
///
/// # Errors
/// `BadValue` if `text` is no JSON object.
pub fn object(text: &[u8]) -> Result<Vec<(String, &str)>, BadValue> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de str)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                members.push((name, value.get()));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let members = reader.deserialize_map(Members).map_err(|e| bad(text, OBJECT, &e))?;
    reader.end().map_err(|e| bad(text, OBJECT, &e))?;
    Ok(members)
}

/// The text of a JSON string.
///
/// # Errors
/// `BadValue` if `raw` is no JSON string.
pub fn string(raw: &str) -> Result<Cow<'_, str>, BadValue> {
    if let Some(text) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && is_unescaped(text.as_bytes())
    {
        return Ok(Cow::Borrowed(text));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|e| bad(raw.as_bytes(), "a JSON string", &e))
}

/// Whether a text is UTF-8 and stands between the quotes of JSON as it is.
fn is_unescaped(text: &[u8]) -> bool {
    // A loop over all of it, which takes many bytes at once; texts are short.
    let escapes = |found: bool, byte: &u8| found | matches!(byte, b'"' | b'\\' | 0..0x20);
    !text.iter().fold(false, escapes) && std::str::from_utf8(text).is_ok()
}

fn bad(text: &[u8], what: &str, error: &serde_json::Error) -> BadValue {
    BadValue::not(text, format_args!("{what} ({error})"))
}

/// Whether the text of a number or boolean is a JSON token as it stands (`NaN` and `Infinity` are not).
fn is_bare(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false") || text.last().is_some_and(u8::is_ascii_digit)
}
