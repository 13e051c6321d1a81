//! JSON lines: an object per row, its members the columns in their order. Numbers and booleans are bare, except `NaN`
//! and the infinities, which JSON has no tokens for; nested values are JSON, null is null, the rest are strings in the
//! text forms of `types`. For other programs to read: there is no source.

use super::{Column, FormatError, Sink, check_width};
use crate::rows::Page;
use crate::types::{Codec, Fidelity, json};
use std::io::Write;
use std::sync::Arc;

/// Text goes on to the file in pieces of about this size.
const BUFFER: usize = 128 << 10;

/// Writes pages into a file of JSON lines.
pub struct JsonlSink<W: Write + Send> {
    members: Vec<Member>,
    file: W,
    text: Vec<u8>,
    /// Bytes handed on to the file.
    written: u64,
}

/// A column as it stands in every object.
struct Member {
    /// What stands before its value: a brace or a comma, and its name.
    before: Vec<u8>,
    codec: Arc<dyn Codec>,
}

impl<W: Write + Send> JsonlSink<W> {
    /// Begins a file for pages of `columns`.
    pub fn new(columns: &[Column], file: W) -> JsonlSink<W> {
        let member = |(number, column): (usize, &Column)| {
            let mut before = vec![if number == 0 { b'{' } else { b',' }];
            json::write_string(column.name.as_bytes(), &mut before);
            before.push(b':');
            Member { before, codec: Arc::clone(&column.codec) }
        };
        JsonlSink {
            members: columns.iter().enumerate().map(member).collect(),
            file,
            text: Vec::with_capacity(BUFFER),
            written: 0,
        }
    }

    fn write_row(&mut self, page: &Page, row: usize) -> u64 {
        let mut inexact = 0;
        for (member, cell) in self.members.iter().zip(page.row(row)) {
            self.text.extend_from_slice(&member.before);
            let fidelity = json::write(&*member.codec, cell, &mut self.text);
            inexact += u64::from(fidelity == Fidelity::Lossy);
        }
        self.text.extend_from_slice(b"}\n");
        inexact
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        self.file.write_all(&self.text)?;
        self.written += u64::try_from(self.text.len()).unwrap_or(u64::MAX);
        self.text.clear();
        Ok(())
    }
}

impl<W: Write + Send> Sink<W> for JsonlSink<W> {
    fn write(&mut self, page: &Page) -> Result<u64, FormatError> {
        check_width(self.members.len(), page)?;
        let mut inexact = 0;
        for row in 0..page.rows() {
            inexact += self.write_row(page, row);
            if self.text.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(inexact)
    }

    fn size(&self) -> u64 {
        self.written + u64::try_from(self.text.len()).unwrap_or(u64::MAX)
    }

    fn finish(mut self: Box<Self>) -> Result<W, FormatError> {
        self.flush()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::columns;
    use crate::rows::{Cell, PageBuilder};

    fn written(types: &[(&str, &str)], cells: &[Cell<'_>]) -> (String, u64) {
        let mut page = PageBuilder::new(types.len());
        for cell in cells {
            page.push(*cell).unwrap();
        }
        let mut sink = Box::new(JsonlSink::new(&columns(types), Vec::new()));
        let inexact = sink.write(&page.finish()).unwrap();
        let size = sink.size();
        let text = sink.finish().unwrap();
        assert_eq!(size, text.len() as u64);
        (String::from_utf8(text).unwrap(), inexact)
    }

    #[test]
    fn a_row_is_an_object_of_its_columns() {
        let types = [
            ("id", "uuid"),
            ("say \"hi\"", "text"),
            ("n", "int"),
            ("f", "double"),
            ("b", "boolean"),
            ("d", "decimal"),
            ("t", "timestamp"),
            ("x", "blob"),
            ("l", "list<int>"),
        ];
        let uuid = b"\x12\x3e\x45\x67\xe8\x9b\x42\xd3\xa4\x56\x42\x66\x14\x17\x40\0";
        let cells = [
            Some(&uuid[..]),
            Some(b"a \"b\"\\\n\x01\xc3\xa9"),
            Some(b"\xff\xff\xff\xfe"),
            Some(b"\x3f\xf8\0\0\0\0\0\0"),
            Some(b"\x01"),
            Some(b"\0\0\0\x02\x7b"),
            Some(b"\0\0\0\0\0\0\0\x01"),
            Some(b"\xca\xfe"),
            Some(b"\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff"),
        ];
        let line = concat!(
            r#"{"id":"123e4567-e89b-42d3-a456-426614174000","say \"hi\"":"a \"b\"\\\n\u0001é","n":-2,"f":1.5,"b":true,"#,
            r#""d":1.23,"t":"1970-01-01T00:00:00.001Z","x":"0xcafe","l":[7,null]}"#,
            "\n"
        );
        assert_eq!(written(&types, &cells), (line.to_owned(), 0));
    }

    #[test]
    fn null_empty_and_what_json_has_no_token_for() {
        let types = [("t", "text"), ("f", "float")];
        let cells = [None, Some(&b"\x7f\xc0\0\0"[..]), Some(b""), Some(b"\xff\x80\0\0"), Some(b"null"), None];
        let lines =
            "{\"t\":null,\"f\":\"NaN\"}\n{\"t\":\"\",\"f\":\"-Infinity\"}\n{\"t\":\"null\",\"f\":null}\n";
        assert_eq!(written(&types, &cells), (lines.to_owned(), 0));
    }

    #[test]
    fn cells_without_an_exact_form_are_shown_and_counted() {
        let cells = [Some(&b"a\xff"[..]), Some(b""), Some(b"b"), Some(b"\0\0\0\x07")];
        let (lines, inexact) = written(&[("t", "text"), ("n", "int")], &cells);
        assert_eq!(lines, "{\"t\":\"a\u{fffd}\",\"n\":null}\n{\"t\":\"b\",\"n\":7}\n");
        assert_eq!(inexact, 2);
    }

    #[test]
    fn a_page_of_another_width_is_refused() {
        let mut sink = JsonlSink::new(&columns(&[("k", "int")]), Vec::new());
        let error = sink.write(&PageBuilder::new(2).finish()).unwrap_err();
        assert_eq!(error.to_string(), "a page of 2 columns for a file of 1");
    }
}
