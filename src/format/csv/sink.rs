//! Pages to CSV. Quotes are put where a reader needs them, and nowhere else.

use super::{BOM, DELIMITER, QUOTE};
use crate::format::{Column, FormatError, Layout, Sink, SinkOptions, check_width};
use crate::rows::Page;
use crate::types::{Fidelity, blob, json};
use memchr::memchr_iter;
use std::io::Write;

/// Text goes on to the file in pieces of about this size.
const BUFFER: usize = 128 << 10;

/// Bytes that are looked through for quotes at a time.
const PIECE: usize = 256;

/// Writes pages into a CSV file.
pub struct CsvSink<W: Write + Send> {
    columns: Vec<Field>,
    /// Whether there is an exceptions column, the last one.
    keeps_exceptions: bool,
    file: W,
    text: Vec<u8>,
    /// Bytes handed on to the file.
    written: u64,
    /// The exceptions of the row being written, as JSON; kept for its room.
    exceptions: Vec<u8>,
    /// Text about to be quoted; kept for its room.
    unquoted: Vec<u8>,
}

/// A column, and what its texts are like.
struct Field {
    column: Column,
    /// Whether they never need quotes.
    is_plain: bool,
}

impl<W: Write + Send> CsvSink<W> {
    /// Begins a file for pages of `layout` with its header line.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be written.
    pub fn new(layout: &Layout, file: W) -> Result<CsvSink<W>, FormatError> {
        let mut sink = CsvSink::bare(&layout.columns, true, file);
        sink.begin(layout.names())?;
        Ok(sink)
    }

    /// Begins a file of values alone, without an exceptions column.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be written.
    pub fn of_values(columns: &[Column], options: SinkOptions, file: W) -> Result<CsvSink<W>, FormatError> {
        let mut sink = CsvSink::bare(columns, false, file);
        if options.header {
            sink.begin(columns.iter().map(|c| c.name.as_str()))?;
        }
        Ok(sink)
    }

    fn bare(columns: &[Column], keeps_exceptions: bool, file: W) -> CsvSink<W> {
        CsvSink {
            columns: columns
                .iter()
                .map(|column| Field { is_plain: column.codec.is_plain(), column: column.clone() })
                .collect(),
            keeps_exceptions,
            file,
            text: Vec::with_capacity(BUFFER),
            written: 0,
            exceptions: Vec::new(),
            unquoted: Vec::new(),
        }
    }

    /// Writes the header line.
    fn begin<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<(), FormatError> {
        for (number, name) in names.enumerate() {
            if number > 0 {
                self.text.push(DELIMITER);
            }
            let start = self.text.len();
            self.text.extend_from_slice(name.as_bytes());
            // At the start of a file readers would take it for a byte order mark and drop it.
            if name.is_empty() || name.as_bytes().starts_with(BOM) {
                quote(start, &mut self.text, &mut self.unquoted);
            } else {
                quote_if_needed(start, &mut self.text, &mut self.unquoted);
            }
        }
        self.text.push(b'\n');
        self.flush()
    }

    fn write_row(&mut self, page: &Page, row: usize) -> u64 {
        self.exceptions.clear();
        let mut exceptions = 0;
        for (field, cell) in self.columns.iter().zip(page.row(row)) {
            if let Some(bytes) = cell
                && write_cell(field, bytes, &mut self.text, &mut self.unquoted) == Fidelity::Lossy
            {
                exceptions += 1;
                if self.keeps_exceptions {
                    add_exception(&field.column.name, bytes, &mut self.exceptions);
                }
            }
            self.text.push(DELIMITER);
        }
        if !self.keeps_exceptions {
            // The delimiter after the last field.
            self.text.pop();
        }
        if !self.exceptions.is_empty() {
            self.exceptions.push(b'}');
            let start = self.text.len();
            self.text.extend_from_slice(&self.exceptions);
            quote_if_needed(start, &mut self.text, &mut self.unquoted);
        }
        self.text.push(b'\n');
        exceptions
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        self.file.write_all(&self.text)?;
        self.written += u64::try_from(self.text.len()).unwrap_or(u64::MAX);
        self.text.clear();
        Ok(())
    }
}

impl<W: Write + Send> Sink<W> for CsvSink<W> {
    fn write(&mut self, page: &Page) -> Result<u64, FormatError> {
        check_width(self.columns.len(), page)?;
        let mut exceptions = 0;
        for row in 0..page.rows() {
            exceptions += self.write_row(page, row);
            if self.text.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(exceptions)
    }

    fn size(&self) -> u64 {
        self.written + u64::try_from(self.text.len()).unwrap_or(u64::MAX)
    }

    fn finish(mut self: Box<Self>) -> Result<W, FormatError> {
        self.flush()?;
        Ok(self.file)
    }
}

/// Appends the field of a cell that is not null.
fn write_cell(field: &Field, cell: &[u8], text: &mut Vec<u8>, unquoted: &mut Vec<u8>) -> Fidelity {
    let start = text.len();
    let fidelity = field.column.codec.to_text(cell, text);
    if field.is_plain {
        return fidelity;
    }
    if fidelity == Fidelity::Lossy {
        // A text shown as well as it can be must not make the file unreadable as UTF-8.
        let shown = text.split_off(start);
        text.extend_from_slice(String::from_utf8_lossy(&shown).as_bytes());
        if shown.is_empty() {
            return fidelity;
        }
    }
    if text.len() == start {
        text.extend_from_slice(b"\"\"");
    } else {
        quote_if_needed(start, text, unquoted);
    }
    fidelity
}

/// Begins or continues the JSON object of a row's exceptions; the closing brace is put at the end of the row.
fn add_exception(name: &str, cell: &[u8], exceptions: &mut Vec<u8>) {
    exceptions.push(if exceptions.is_empty() { b'{' } else { b',' });
    json::write_string(name.as_bytes(), exceptions);
    exceptions.extend_from_slice(b":\"0x");
    blob::put_hex(cell, exceptions);
    exceptions.push(b'"');
}

/// Quotes the field that begins at `start` and ends the text, if a reader would otherwise misread it.
fn quote_if_needed(start: usize, text: &mut Vec<u8>, unquoted: &mut Vec<u8>) {
    let is_special = |byte: &u8| matches!(*byte, DELIMITER | b'\n' | b'\r' | QUOTE);
    // A loop over a whole piece takes many bytes at once, which is quicker than to look for the first.
    let needed = |piece: &[u8]| piece.iter().fold(false, |found, byte| found | is_special(byte));
    if text[start..].chunks(PIECE).any(needed) {
        quote(start, text, unquoted);
    }
}

fn quote(start: usize, text: &mut Vec<u8>, unquoted: &mut Vec<u8>) {
    unquoted.clear();
    unquoted.extend_from_slice(&text[start..]);
    text.truncate(start);
    text.push(QUOTE);
    let mut done = 0;
    for quote in memchr_iter(QUOTE, unquoted) {
        text.extend_from_slice(&unquoted[done..=quote]);
        text.push(QUOTE);
        done = quote + 1;
    }
    text.extend_from_slice(&unquoted[done..]);
    text.push(QUOTE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::columns;
    use crate::rows::{Cell, PageBuilder};

    fn written(types: &[(&str, &str)], cells: &[Cell<'_>]) -> String {
        let layout = Layout::new(columns(types));
        let mut page = PageBuilder::new(types.len());
        for cell in cells {
            page.push(*cell).unwrap();
        }
        let mut sink = Box::new(CsvSink::new(&layout, Vec::new()).unwrap());
        sink.write(&page.finish()).unwrap();
        let size = sink.size();
        let text = sink.finish().unwrap();
        assert_eq!(size, text.len() as u64);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn quotes_stand_where_they_are_needed() {
        let texts = ["a", "", "a,b", "\"", "a\"b\"", "\n", "\r", " ", "é;", "\\N", "null"];
        let cells: Vec<Cell<'_>> = texts.iter().map(|t| Some(t.as_bytes())).collect();
        assert_eq!(
            written(&[("t", "text")], &cells),
            "t,__wire\na,\n\"\",\n\"a,b\",\n\"\"\"\",\n\"a\"\"b\"\"\",\n\"\n\",\n\"\r\",\n ,\né;,\n\\N,\nnull,\n"
        );
        assert_eq!(written(&[("t", "text")], &[None]), "t,__wire\n,\n");
    }

    #[test]
    fn what_text_cannot_hold_travels_in_the_exceptions_column() {
        assert_eq!(
            written(
                &[("a \"b\"", "text"), ("k", "int")],
                &[Some(b"x\xff"), Some(b""), Some(b"y"), Some(b"\0\0\0\x07")]
            ),
            "\"a \"\"b\"\"\",k,__wire\nx\u{fffd},,\"{\"\"a \\\"\"b\\\"\"\"\":\"\"0x78ff\"\",\"\"k\"\":\"\"0x\"\"}\"\ny,7,\n"
        );
    }

    #[test]
    fn a_name_that_begins_with_a_byte_order_mark_is_quoted() {
        let text = written(&[("\u{feff}", "int")], &[]);
        assert_eq!(text, "\"\u{feff}\",__wire\n");
    }

    #[test]
    fn a_page_of_another_width_is_refused() {
        let layout = Layout::new(columns(&[("k", "int")]));
        let mut sink = CsvSink::new(&layout, Vec::new()).unwrap();
        let error = sink.write(&PageBuilder::new(2).finish()).unwrap_err();
        assert_eq!(error.to_string(), "a page of 2 columns for a file of 1");
    }
}
