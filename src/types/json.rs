//! JSON inside text cells: how collections, tuples and user types write their parts and read them back. Numbers keep
//! their digits: nothing here goes through a float.

use super::{BadValue, Codec, Fidelity, JsonForm, text};
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
    // Texts of codecs are UTF-8.
    if !has_escapes(&out[start + 1..]) {
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
    if !has_escapes(text) && text::is_utf8(text) {
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
    if let Some(elements) = simple_array(text) {
        return Ok(elements);
    }
    let elements: Vec<&RawValue> = serde_json::from_slice(text).map_err(|e| bad(text, ARRAY, &e))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// The members of a JSON object in order, repeated names kept, each value as its own JSON text.
///
/// # Errors
/// `BadValue` if `text` is no JSON object.
pub fn object(text: &[u8]) -> Result<Vec<(Cow<'_, str>, &str)>, BadValue> {
    if let Some(members) = simple_object(text) {
        return Ok(members);
    }
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de str)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                members.push((Cow::Owned(name), value.get()));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let members = reader.deserialize_map(Members).map_err(|e| bad(text, OBJECT, &e))?;
    reader.end().map_err(|e| bad(text, OBJECT, &e))?;
    Ok(members)
}

/// The elements of an array of which none is nested and no string has escapes; `None` if it is another, or none. Most
/// collections are of that kind, and this is quicker than the JSON library, which reads the others.
fn simple_array(text: &[u8]) -> Option<Vec<&str>> {
    let mut rest = Simple(std::str::from_utf8(text).ok()?);
    let mut elements = Vec::new();
    rest.open(b'[')?;
    while !rest.closes(b']', elements.is_empty())? {
        elements.push(rest.value()?);
    }
    rest.0.is_empty().then_some(elements)
}

/// The members of such an object.
fn simple_object(text: &[u8]) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let mut rest = Simple(std::str::from_utf8(text).ok()?);
    let mut members = Vec::new();
    rest.open(b'{')?;
    while !rest.closes(b'}', members.is_empty())? {
        let name = rest.value()?.strip_prefix('"')?.strip_suffix('"')?;
        rest.open(b':')?;
        members.push((Cow::Borrowed(name), rest.value()?));
    }
    rest.0.is_empty().then_some(members)
}

/// What is left of a text that may be simple JSON.
struct Simple<'a>(&'a str);

impl<'a> Simple<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes a byte, and blanks on both sides.
    fn open(&mut self, byte: u8) -> Option<()> {
        self.skip_blanks();
        if self.0.as_bytes().first() != Some(&byte) {
            return None;
        }
        self.0 = &self.0[1..];
        self.skip_blanks();
        Some(())
    }

    /// Takes the closing bracket and answers true, or the comma before a part that is not the first; `None` if there is
    /// neither.
    fn closes(&mut self, bracket: u8, first: bool) -> Option<bool> {
        if self.open(bracket).is_some() {
            return Some(true);
        }
        if !first {
            self.open(b',')?;
        }
        Some(false)
    }

    /// Takes a string without escapes, a number, or a word.
    fn value(&mut self) -> Option<&'a str> {
        let len = match self.0.as_bytes() {
            [b'"', tail @ ..] => {
                let end = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
                (tail[end] == b'"').then_some(end + 2)?
            }
            bytes => {
                let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte);
                let len = bytes.iter().position(is_end)?;
                let token = &bytes[..len];
                let is_value = matches!(token, b"null" | b"true" | b"false") || is_number(token);
                is_value.then_some(len)?
            }
        };
        let (value, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(value)
    }
}

/// Whether a text is a number as JSON spells it.
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let exponent = exponent.map(|text| text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text));
    digits(whole)
        && (whole[0] != b'0' || whole.len() == 1)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// The text of a JSON string.
///
/// # Errors
/// `BadValue` if `raw` is no JSON string.
pub fn string(raw: &str) -> Result<Cow<'_, str>, BadValue> {
    if let Some(text) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && !has_escapes(text.as_bytes())
    {
        return Ok(Cow::Borrowed(text));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|e| bad(raw.as_bytes(), "a JSON string", &e))
}

/// Whether a text has characters that JSON escapes.
fn has_escapes(text: &[u8]) -> bool {
    // A loop over all of it, which takes many bytes at once; texts are short.
    let escapes = |found: bool, byte: &u8| found | matches!(byte, b'"' | b'\\' | 0..0x20);
    text.iter().fold(false, escapes)
}

fn bad(text: &[u8], what: &str, error: &serde_json::Error) -> BadValue {
    BadValue::not(text, format_args!("{what} ({error})"))
}

/// Whether the text of a number or boolean is a JSON token as it stands (`NaN` and `Infinity` are not).
fn is_bare(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false") || text.last().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the JSON library reads it.
    fn members(text: &str) -> Option<Vec<(String, String)>> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, String)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((name, value.get().to_owned()));
                }
                Ok(members)
            }
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(Members).ok()?;
        reader.end().is_ok().then_some(members)
    }

    /// Texts that are JSON or almost.
    fn texts(open: &'static str, close: &'static str) -> impl Strategy<Value = String> {
        let tokens = prop::sample::select(vec![
            "\"a\"",
            "\"\"",
            "\"é\"",
            "\"a b\"",
            "\"\\n\"",
            "\"\\\"",
            "\"",
            "\"\t\"",
            "\"\u{7f}\"",
            "0",
            "-0",
            "01",
            "1",
            "-1",
            "+1",
            "1.5",
            "1.",
            ".5",
            "1e5",
            "1E-5",
            "1e",
            "1e+",
            "--1",
            "12345678901234567890",
            "null",
            "nul",
            "nulls",
            "true",
            "True",
            "false",
            "NaN",
            "[1]",
            "{}",
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            " ",
            "\n",
            "\u{a0}",
            "/",
        ]);
        let separators = prop::sample::select(vec![",", ", ", ":", ": ", " , ", "", "\r\n"]);
        prop::collection::vec((tokens, separators), 0..6).prop_map(move |parts| {
            let mut text: String = parts.iter().flat_map(|(token, separator)| [*token, *separator]).collect();
            let whole = text.trim_end_matches([',', ':', ' ']).len();
            text.truncate(whole);
            format!("{open}{text}{close}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5000) })]

        #[test]
        fn simple_arrays_are_read_as_the_library_reads_them(text in texts("[", "]")) {
            let library: Option<Vec<&RawValue>> = serde_json::from_str(&text).ok();
            let library: Option<Vec<&str>> = library.map(|all| all.into_iter().map(RawValue::get).collect());
            prop_assert_eq!(array(text.as_bytes()).ok(), library.clone());
            if let Some(simple) = simple_array(text.as_bytes()) {
                prop_assert_eq!(Some(simple), library);
            }
        }

        #[test]
        fn simple_objects_are_read_as_the_library_reads_them(text in texts("{", "}")) {
            let owned = |all: Vec<(Cow<'_, str>, &str)>| -> Vec<(String, String)> {
                all.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect()
            };
            prop_assert_eq!(object(text.as_bytes()).ok().map(owned), members(&text));
            if let Some(simple) = simple_object(text.as_bytes()) {
                prop_assert_eq!(Some(owned(simple)), members(&text));
            }
        }

        #[test]
        fn strings_come_back(text: String) {
            let mut written = Vec::new();
            write_string(text.as_bytes(), &mut written);
            let raw = String::from_utf8(written).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&raw).unwrap(), text.clone());
            prop_assert_eq!(string(&raw).unwrap(), text);
        }
    }

    #[test]
    fn ordinary_collections_are_simple() {
        assert_eq!(
            simple_array(br#" ["a", "b c",1 ,-2.5e7,null] "#),
            Some(vec!["\"a\"", "\"b c\"", "1", "-2.5e7", "null"])
        );
        assert_eq!(simple_array(b"[ ]"), Some(Vec::new()));
        let members = simple_object(br#"{"a": "b", "c":1}"#).unwrap();
        assert_eq!(members, [(Cow::Borrowed("a"), "\"b\""), (Cow::Borrowed("c"), "1")]);
        assert_eq!(simple_array(b"[\"\\n\"]"), None, "left to the library");
    }

    #[test]
    fn only_strings_are_strings() {
        for raw in ["1", "null", "\"", "", "[\"a\"]", "a\"b\""] {
            assert!(string(raw).is_err(), "{raw}");
        }
    }
}
