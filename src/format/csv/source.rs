//! CSV to pages, for dumps and for foreign files alike: which field is which column, what is null, and the place of
//! every error. Finding the fields is left to `split`.

use super::split::Splitter;
use crate::format::{Column, FormatError, Layout, Source};
use crate::rows::{Page, PageBuilder};
use crate::types::cql::{CqlType, Native};
use crate::types::{BadValue, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

/// What a page may hold before it is handed out.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 5000;

/// How a foreign CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// Unquoted text that means null, normally empty. With another one an unquoted empty field is empty text in a
    /// column of text or ascii and still null in all others, where it could mean nothing else.
    pub null: String,
    /// What stands between fields, normally a comma.
    pub delimiter: u8,
}

impl Default for CsvOptions {
    fn default() -> CsvOptions {
        CsvOptions {
            null: String::new(),
            delimiter: b',',
        }
    }
}

/// A CSV file whose header has been read.
pub struct CsvReader {
    splitter: Splitter<Box<dyn Read + Send>>,
    null: Vec<u8>,
    header: Vec<String>,
}

impl CsvReader {
    /// Opens a CSV file and reads its header.
    ///
    /// # Errors
    /// `FormatError` if it has no header, or one that is not UTF-8 or names a column twice.
    pub fn open(
        read: impl Read + Send + 'static,
        options: &CsvOptions,
    ) -> Result<CsvReader, FormatError> {
        let delimiter = options.delimiter;
        if matches!(delimiter, b'"' | b'\r' | b'\n') || !delimiter.is_ascii() {
            return Err(FormatError::Columns(format!(
                "{:?} cannot stand between fields",
                char::from(delimiter)
            )));
        }
        let read: Box<dyn Read + Send> = Box::new(read);
        let mut splitter = Splitter::new(read, delimiter)?;
        let Some(line) = splitter.next()? else {
            return Err(FormatError::Columns(
                "the file is empty, without a header".to_owned(),
            ));
        };
        let mut header = Vec::with_capacity(splitter.fields());
        let mut seen = HashSet::new();
        while let Some((_, name)) = splitter.field(header.len()) {
            let Ok(name) = std::str::from_utf8(name) else {
                return Err(FormatError::Record {
                    line,
                    what: format!("the name of field {} is not UTF-8", header.len() + 1),
                });
            };
            if !seen.insert(name.to_owned()) {
                return Err(FormatError::Columns(format!(
                    "the header names column {name:?} twice"
                )));
            }
            header.push(name.to_owned());
        }
        Ok(CsvReader {
            splitter,
            null: options.null.clone().into_bytes(),
            header,
        })
    }

    /// The names in the header.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// A source of pages of `columns`, each with the number of its field from 0; other fields are ignored. The field
    /// `exceptions`, if given, holds raw cells under the names of the header.
    ///
    /// # Errors
    /// `FormatError::Columns` if there are no columns or the header has no such field.
    pub fn into_source(
        self,
        columns: Vec<(usize, Column)>,
        exceptions: Option<usize>,
    ) -> Result<CsvSource, FormatError> {
        let width = self.header.len();
        if let Some(field) = columns
            .iter()
            .map(|(field, _)| *field)
            .chain(exceptions)
            .find(|field| *field >= width)
        {
            return Err(FormatError::Columns(format!(
                "there is no field {}, the header has {width}",
                field.saturating_add(1)
            )));
        }
        // Rows without cells could not be counted, so a page of them would look like the end.
        if columns.is_empty() {
            return Err(FormatError::Columns("no columns to read".to_owned()));
        }
        let columns: Vec<Field> = columns
            .into_iter()
            .map(|(number, column)| Field {
                number,
                empty_is_text: matches!(
                    column.cql_type,
                    CqlType::Native(Native::Text | Native::Ascii)
                ),
                column,
            })
            .collect();
        Ok(CsvSource {
            page: PageBuilder::new(columns.len()),
            splitter: self.splitter,
            null: self.null,
            header: self.header,
            columns,
            exceptions,
            lines: Vec::new(),
            handed_out: 0,
        })
    }
}

/// A column and where it lies in a record.
struct Field {
    number: usize,
    column: Column,
    /// Whether an unquoted empty field is a value when null has a text of its own.
    empty_is_text: bool,
}

/// Reads a CSV file. After `FormatError::Value`, and after a record with the wrong number of fields, it can go on with
/// the next record; rows read before are not lost. Any other error stays.
pub struct CsvSource {
    splitter: Splitter<Box<dyn Read + Send>>,
    null: Vec<u8>,
    header: Vec<String>,
    columns: Vec<Field>,
    exceptions: Option<usize>,
    /// The rows read and not yet handed out.
    page: PageBuilder,
    /// The line where each row begins: first those of the last page handed out, then those of the next.
    lines: Vec<u64>,
    handed_out: usize,
}

impl CsvSource {
    /// Opens a file which a [`super::CsvSink`] of the same layout has written.
    ///
    /// # Errors
    /// `FormatError` if its header is another.
    pub fn of_dump(layout: &Layout, file: File) -> Result<CsvSource, FormatError> {
        let reader = CsvReader::open(file, &CsvOptions::default())?;
        layout.check_names(reader.header.iter().map(String::as_str))?;
        let columns = layout.columns.iter().cloned().enumerate().collect();
        reader.into_source(columns, Some(layout.columns.len()))
    }

    /// The line where each row of the page last handed out begins.
    pub fn lines(&self) -> &[u64] {
        &self.lines[..self.handed_out]
    }

    /// Adds the record that the splitter stands at.
    fn add_row(&mut self, line: u64) -> Result<(), FormatError> {
        let (found, expected) = (self.splitter.fields(), self.header.len());
        if found != expected {
            let blank = found == 1 && self.splitter.field(0) == Some((false, b""));
            return Err(FormatError::Record {
                line,
                what: if blank {
                    format!("an empty line, expected {expected} fields")
                } else {
                    format!("{found} fields, expected {expected}")
                },
            });
        }
        let raw = self.raw_cells(line)?;
        for field in &self.columns {
            if let Some((_, raw)) = raw.iter().find(|(number, _)| *number == field.number) {
                self.page.push(Some(raw))?;
                continue;
            }
            let (quoted, text) = self.splitter.field(field.number).unwrap_or_default();
            let present = quoted || !(text == self.null || text.is_empty() && !field.empty_is_text);
            self.page.push_with(|out| {
                let start = out.len();
                if present && let Err(error) = field.column.codec.from_text(text, out) {
                    out.truncate(start);
                    return Err(FormatError::Value {
                        place: format!("line {line}"),
                        column: field.column.name.clone(),
                        error,
                    });
                }
                Ok(present)
            })?;
        }
        Ok(())
    }

    /// The exceptions of the record, by field number.
    fn raw_cells(&mut self, line: u64) -> Result<Vec<(usize, Vec<u8>)>, FormatError> {
        let Some(number) = self.exceptions else {
            return Ok(Vec::new());
        };
        let (quoted, text) = self.splitter.field(number).unwrap_or_default();
        if text.is_empty() || !quoted && text == self.null {
            return Ok(Vec::new());
        }
        read_exceptions(text, &self.header).map_err(|error| FormatError::Value {
            place: format!("line {line}"),
            column: self.header[number].clone(),
            error,
        })
    }
}

impl Source for CsvSource {
    fn next_page(&mut self) -> Result<Option<Page>, FormatError> {
        self.lines.drain(..self.handed_out);
        self.handed_out = 0;
        while self.page.rows() < PAGE_ROWS && self.page.value_bytes() < PAGE_BYTES {
            let Some(line) = self.splitter.next()? else {
                break;
            };
            if let Err(error) = self.add_row(line) {
                self.page.drop_open_row();
                return Err(error);
            }
            self.lines.push(line);
        }
        if self.page.rows() == 0 {
            return Ok(None);
        }
        self.handed_out = self.lines.len();
        let next = PageBuilder::new(self.columns.len());
        Ok(Some(std::mem::replace(&mut self.page, next).finish()))
    }
}

/// Reads `{"column":"0x…"}`: the number of each field named and its raw cell.
fn read_exceptions(text: &[u8], header: &[String]) -> Result<Vec<(usize, Vec<u8>)>, BadValue> {
    let mut raw: Vec<(usize, Vec<u8>)> = Vec::new();
    for (name, cell) in json::object(text)? {
        let Some(number) = header.iter().position(|n| *n == name) else {
            return Err(BadValue(format!("names {name:?}, which is no column")));
        };
        if raw.iter().any(|(other, _)| *other == number) {
            return Err(BadValue(format!("names {name:?} twice")));
        }
        let bytes = unhex(&json::string(cell)?)
            .ok_or_else(|| BadValue::not(cell.as_bytes(), "a string of 0x and hex digits"))?;
        raw.push((number, bytes));
    }
    Ok(raw)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16)?).ok();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}
