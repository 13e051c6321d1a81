//! CSV to pages, for dumps and for foreign files alike: which field is which column, what is null, and the place of
//! every error. Finding the fields is left to `split`.

use super::BOM;
use super::split::{Record, Records, Splitter};
use crate::format::{BadRecord, Column, Decoded, FormatError, Layout, Place, RowTexts, Source, Undecoded};
use crate::rows::{Page, PageBuilder};
use crate::types::cql::{CqlType, Native};
use crate::types::{BadValue, Codec, json};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// Rows of a page; a chunk of text may have fewer.
const PAGE_ROWS: usize = 5000;

/// How a foreign CSV file is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// Unquoted text that means null, normally empty. With another one an unquoted empty field is empty text in a
    /// column of text or ascii and still null in all others, where it could mean nothing else.
    pub null: String,
}

/// A CSV file whose header has been read.
pub struct CsvReader {
    splitter: Splitter<Box<dyn Read + Send>>,
    null: Vec<u8>,
    header: Vec<String>,
    header_text: Vec<u8>,
}

impl CsvReader {
    /// Opens a CSV file and reads its header.
    ///
    /// # Errors
    /// `FormatError` if it has no header, or one that is not UTF-8 or names a column twice.
    pub fn open(read: impl Read + Send + 'static, options: &CsvOptions) -> Result<CsvReader, FormatError> {
        let read: Box<dyn Read + Send> = Box::new(read);
        let mut splitter = Splitter::new(read)?;
        let records = splitter.next(1)?;
        let Some(record) = records.as_ref().and_then(|records| records.get(0)) else {
            return Err(FormatError::Columns("the file is empty, without a header".to_owned()));
        };
        let line = record.line;
        if let Some(what) = records.as_ref().and_then(|records| records.broken(0)) {
            return Err(FormatError::Record { line, what: what.to_owned() });
        }
        let mut header = Vec::with_capacity(record.fields());
        let (mut seen, mut scratch) = (HashSet::new(), Vec::new());
        while let Some((_, name)) = record.field(header.len(), &mut scratch) {
            let Ok(name) = std::str::from_utf8(name) else {
                return Err(FormatError::Record {
                    line,
                    what: format!("the name of field {} is not UTF-8", header.len() + 1),
                });
            };
            if !seen.insert(name.to_owned()) {
                return Err(FormatError::Columns(format!("the header names column {name:?} twice")));
            }
            header.push(name.to_owned());
        }
        let mut header_text = if splitter.has_mark() { BOM.to_vec() } else { Vec::new() };
        header_text.extend(
            records.and_then(|records| records.into_texts().get(0)).map(|(_, text)| text).unwrap_or_default(),
        );
        Ok(CsvReader { splitter, null: options.null.clone().into_bytes(), header, header_text })
    }

    /// The very bytes of the header: a byte order mark, if there is one, the names and the line end.
    pub fn header_text(&self) -> &[u8] {
        &self.header_text
    }

    /// The names in the header.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The same file from another place on, where a record begins; `read` gives what stands there.
    #[must_use]
    pub fn at(self, read: impl Read + Send + 'static, place: Place) -> CsvReader {
        let read: Box<dyn Read + Send> = Box::new(read);
        CsvReader { splitter: Splitter::at(read, place), ..self }
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
        if let Some(field) =
            columns.iter().map(|(field, _)| *field).chain(exceptions).find(|field| *field >= width)
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
                empty_is_text: matches!(column.cql_type, CqlType::Native(Native::Text | Native::Ascii)),
                column,
                need: Need::Nothing,
            })
            .collect();
        let meaning = Meaning { null: self.null, header: self.header, columns, exceptions };
        Ok(CsvSource { splitter: self.splitter, meaning: Arc::new(meaning), rows: None })
    }
}

/// A column and where it lies in a record.
#[derive(Clone)]
struct Field {
    number: usize,
    column: Column,
    /// Whether an unquoted empty field is a value when null has a text of its own.
    empty_is_text: bool,
    /// Whether a row may do without it.
    need: Need,
}

/// What a row needs of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A value in every row.
    Always,
    /// A value in every row but those that bring only [`Need::Static`] cells.
    Row,
    /// Nothing; a value does not need the row's [`Need::Row`] cells.
    Static,
    /// A value in at least one column of this kind.
    Any,
    /// Nothing.
    Nothing,
}

/// Reads a CSV file. After an error of a record it can go on with the next one, unless it is not known where that begins;
/// the rows read before are not lost. Any other error stays.
pub struct CsvSource {
    splitter: Splitter<Box<dyn Read + Send>>,
    meaning: Arc<Meaning>,
    /// The rows that are being read.
    rows: Option<Rows>,
}

/// What the fields of a file mean.
#[derive(Clone)]
struct Meaning {
    null: Vec<u8>,
    header: Vec<String>,
    columns: Vec<Field>,
    exceptions: Option<usize>,
}

/// Records on their way into a page.
struct Rows {
    meaning: Arc<Meaning>,
    records: Records,
    /// The next record.
    next: usize,
    page: PageBuilder,
    /// Numbers of the records that are no rows.
    bad: Vec<usize>,
    /// Columns of the current row that are null.
    missing: Vec<usize>,
    /// Where text is put together.
    scratch: Vec<u8>,
}

impl CsvSource {
    /// Reads `file`, from where it stands, as a [`super::CsvSink`] of the same layout has written it.
    ///
    /// # Errors
    /// `FormatError` if its header is another.
    pub fn of_dump(layout: &Layout, file: File) -> Result<CsvSource, FormatError> {
        let reader = CsvReader::open(file, &CsvOptions::default())?;
        layout.check_names(reader.header.iter().map(String::as_str))?;
        let columns = layout.columns.iter().cloned().enumerate().collect();
        reader.into_source(columns, Some(layout.columns.len()))
    }

    /// The same source, refusing rows that lack what `needs` says of the columns, in their order.
    #[must_use]
    pub fn with_needs(mut self, needs: &[Need]) -> CsvSource {
        for (field, need) in Arc::make_mut(&mut self.meaning).columns.iter_mut().zip(needs) {
            field.need = *need;
        }
        self
    }

    fn next_rows(&mut self) -> Result<Option<Rows>, FormatError> {
        let rows = self.splitter.next(PAGE_ROWS)?.map(|records| Rows {
            meaning: self.meaning.clone(),
            records,
            next: 0,
            page: PageBuilder::new(self.meaning.columns.len()),
            bad: Vec::new(),
            missing: Vec::new(),
            scratch: Vec::new(),
        });
        Ok(rows)
    }
}

impl Rows {
    /// Reads the records that are left; after an error of one record, it can go on behind that.
    fn read(&mut self) -> Result<(), FormatError> {
        let meaning = self.meaning.clone();
        let Rows { records, next, page, bad, missing, scratch, .. } = self;
        while let Some(record) = records.get(*next) {
            *next += 1;
            missing.clear();
            let rows = page.rows();
            let read = match records.broken(*next - 1) {
                Some(what) => Err(FormatError::Record { line: record.line, what: what.to_owned() }),
                None => meaning.add_row(record, page, missing, scratch),
            };
            if let Err(error) = read {
                // The row may be whole, and lack what it needs.
                page.truncate(rows);
                bad.push(*next - 1);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Reads them all, those that are no rows too.
    fn decode(mut self) -> Result<Decoded, FormatError> {
        let mut errors = Vec::new();
        while let Err(error) = self.read() {
            // A page that cannot grow is no fault of the record.
            if matches!(error, FormatError::Page(_)) {
                return Err(error);
            }
            errors.push(error);
        }
        let Rows { records, page, bad, .. } = self;
        let records = records.into_texts();
        let with_text = |(error, number): (FormatError, &usize)| {
            let (line, text) = records.get(*number)?;
            Some(BadRecord { line, text, error })
        };
        let errors = errors.into_iter().zip(&bad).filter_map(with_text).collect();
        Ok(Decoded { page: page.finish(), bad: errors, texts: Some(RowTexts { records, bad }) })
    }
}

impl Meaning {
    /// Adds a record.
    fn add_row(
        &self,
        record: Record<'_>,
        page: &mut PageBuilder,
        missing: &mut Vec<usize>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let line = record.line;
        let (found, expected) = (record.fields(), self.header.len());
        if found != expected {
            let blank = found == 1 && record.field(0, scratch) == Some((false, b""));
            return Err(FormatError::Fields {
                line,
                what: if blank {
                    format!("an empty line, expected {expected} fields")
                } else {
                    let plural = if found == 1 { "" } else { "s" };
                    format!("{found} field{plural}, expected {expected}")
                },
            });
        }
        let raw = self.raw_cells(record, scratch)?;
        for (index, field) in self.columns.iter().enumerate() {
            if let Some((_, raw)) = raw.iter().find(|(number, _)| *number == field.number) {
                page.push(Some(raw))?;
                continue;
            }
            let (quoted, text) = record.field(field.number, scratch).unwrap_or_default();
            let present = quoted || !self.is_null(text, field);
            page.push_with(|out| {
                let start = out.len();
                if present && let Err(error) = field.column.codec.from_text(text, out) {
                    out.truncate(start);
                    return Err(FormatError::Value {
                        place: format!("line {line}"),
                        column: field.column.name.clone(),
                        error: with_blanks(error, text, &*field.column.codec),
                    });
                }
                Ok(present)
            })?;
            if !present {
                missing.push(index);
            }
        }
        if missing.is_empty() { Ok(()) } else { self.check_needs(line, missing) }
    }

    /// Whether text without quotes is null.
    fn is_null(&self, text: &[u8], field: &Field) -> bool {
        // Most nulls are empty. To compare them with an empty vector, which points nowhere, would cost 40 ns: the C
        // library's comparison loads from there under an empty mask (measured with glibc 2.36 on AVX-512, 2026-11-29).
        match text {
            [] => self.null.is_empty() || !field.empty_is_text,
            _ => text == self.null,
        }
    }

    /// Refuses a row that lacks a value it needs.
    fn check_needs(&self, line: u64, nulls: &[usize]) -> Result<(), FormatError> {
        let missing = |index: usize| nulls.contains(&index);
        let all = |need, absent| {
            let mut of_kind = self.columns.iter().enumerate().filter(|(_, f)| f.need == need);
            of_kind.all(|(index, _)| missing(index) == absent)
        };
        // The row of a partition without rows: no clustering, no regular cells, but static ones.
        let static_only = all(Need::Row, true) && all(Need::Nothing, true) && !all(Need::Static, true);
        let bare = self.columns.iter().position(|f| f.need == Need::Any).filter(|_| all(Need::Any, true));
        if let Some(index) = bare {
            return Err(FormatError::Value {
                place: format!("line {line}"),
                column: self.columns[index].column.name.clone(),
                error: BadValue("a line needs a value besides its key here, and all are empty".to_owned()),
            });
        }
        let lacks = |need| nulls.iter().find(|index| self.columns[**index].need == need);
        let lacking = lacks(Need::Always).or(lacks(Need::Row).filter(|_| !static_only));
        lacking.map_or(Ok(()), |index| {
            Err(FormatError::Value {
                place: format!("line {line}"),
                column: self.columns[*index].column.name.clone(),
                error: BadValue("a key column needs a value, and the field is empty".to_owned()),
            })
        })
    }

    /// The exceptions of the record, by field number.
    fn raw_cells(
        &self,
        record: Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Vec<(usize, Vec<u8>)>, FormatError> {
        let Some(number) = self.exceptions else {
            return Ok(Vec::new());
        };
        let (quoted, text) = record.field(number, scratch).unwrap_or_default();
        if text.is_empty() || !quoted && text == self.null {
            return Ok(Vec::new());
        }
        read_exceptions(text, &self.header).map_err(|error| FormatError::Value {
            place: format!("line {}", record.line),
            column: self.header[number].clone(),
            error,
        })
    }
}

impl Source for CsvSource {
    fn next_page(&mut self) -> Result<Option<Page>, FormatError> {
        loop {
            if self.rows.is_none() {
                self.rows = self.next_rows()?;
            }
            let Some(rows) = &mut self.rows else { return Ok(None) };
            rows.read()?;
            // Each of its records may have been refused.
            match self.rows.take().map(|rows| rows.page.finish()) {
                Some(page) if page.rows() > 0 => return Ok(Some(page)),
                _ => {}
            }
        }
    }

    fn next_undecoded(&mut self) -> Result<Option<Undecoded>, FormatError> {
        let rows = match self.rows.take() {
            None => self.next_rows()?,
            begun => begun,
        };
        Ok(rows.map(|rows| Box::new(|| rows.decode()) as Undecoded))
    }

    fn place(&self) -> Option<Place> {
        // Records that are split and not yet read are not behind it.
        self.rows.is_none().then(|| self.splitter.place())
    }
}

/// The error of a text, which says so if the blanks around it are all that is wrong.
fn with_blanks(error: BadValue, text: &[u8], codec: &dyn Codec) -> BadValue {
    let trimmed = text.trim_ascii();
    if trimmed.len() == text.len() || codec.from_text(trimmed, &mut Vec::new()).is_err() {
        return error;
    }
    let side = if text.starts_with(trimmed) { "after" } else { "before" };
    BadValue(format!("{error}: there is a blank {side} it"))
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
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::columns;
    use std::io::{Cursor, Seek, Write};

    fn source(text: &str, options: &CsvOptions) -> Result<CsvSource, FormatError> {
        let reader = CsvReader::open(Cursor::new(text.to_owned()), options)?;
        let types = [("k", "int"), ("t", "text"), ("b", "blob"), ("l", "list<int>")];
        let columns = columns(&types)
            .into_iter()
            .filter_map(|c| Some((reader.header().iter().position(|n| *n == c.name)?, c)))
            .collect();
        let exceptions = reader.header().iter().position(|n| n == "__wire");
        reader.into_source(columns, exceptions)
    }

    /// The cells of each row, and the errors.
    fn read(text: &str, options: &CsvOptions) -> Vec<String> {
        let mut seen = Vec::new();
        let mut source = match source(text, options) {
            Ok(source) => source,
            Err(error) => return vec![error.to_string()],
        };
        loop {
            match source.next_page() {
                Ok(None) => return seen,
                Ok(Some(page)) => {
                    for row in 0..page.rows() {
                        let cells: Vec<String> = page
                            .row(row)
                            .map(|c| match c {
                                None => "null".to_owned(),
                                Some(bytes) => format!("'{}'", bytes.escape_ascii()),
                            })
                            .collect();
                        seen.push(cells.join(" "));
                    }
                }
                Err(error) => {
                    // A source that stays where it failed would go on for ever.
                    if seen.last() == Some(&error.to_string()) {
                        return seen;
                    }
                    seen.push(error.to_string());
                }
            }
        }
    }

    fn reads(text: &str, expected: &[&str]) {
        assert_eq!(read(text, &CsvOptions::default()), expected, "{text:?}");
    }

    #[test]
    fn odd_but_valid_files_are_read() {
        reads("t\n", &[]);
        reads("t", &[]);
        reads("t\n\n\"\"\n\r\nx", &["null", "''", "null", "'x'"]);
        reads("\u{feff}t,k\r\na,\r\n\"\",1", &["null 'a'", "'\\x00\\x00\\x00\\x01' ''"]);
        reads("\"t\",\"b\"\n\"x\n\"\"y\",0xff\n,0x\n", &["'x\\n\\\"y' '\\xff'", "null ''"]);
        reads("x,t,y\n1,NULL,2\n", &["'NULL'"]);
        reads(",t\n0,a\n1,b\n", &["'a'", "'b'"]);
        reads(
            "t,l\n,\"[1, 2]\"\n",
            &[
                "null '\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x02'",
            ],
        );
    }

    #[test]
    fn exceptions_override_what_the_field_shows() {
        reads(
            "t,k,x,__wire\na,1,,\nb,zzz,,\"{\"\"k\"\":\"\"0x\"\"}\"\n\"\",,,\"{\"\"t\"\":\"\"0xFf\"\", \"\"x\"\":\"\"0x00\"\"}\"\n",
            &["'\\x00\\x00\\x00\\x01' 'a'", "'' 'b'", "null '\\xff'"],
        );
        reads(
            "t,__wire\na,\"{\"\"k\"\":\"\"0x\"\"}\"\n",
            &["line 2, column \"__wire\": names \"k\", which is no column"],
        );
        reads(
            "t,__wire\na,\"{\"\"t\"\":\"\"0x\"\",\"\"t\"\":\"\"0x\"\"}\"\n",
            &["line 2, column \"__wire\": names \"t\" twice"],
        );
        for cell in ["0x1", "0xzz", "ff", "0x+1"] {
            reads(
                &format!("t,__wire\na,\"{{\"\"t\"\":\"\"{cell}\"\"}}\"\n"),
                &[&format!(
                    "line 2, column \"__wire\": {:?} is not a string of 0x and hex digits",
                    format!("\"{cell}\"")
                )],
            );
        }
        let seen = read("t,__wire\na,junk\n", &CsvOptions::default());
        assert!(seen[0].starts_with("line 2, column \"__wire\": \"junk\" is not a JSON object"), "{seen:?}");
    }

    #[test]
    fn bad_files_are_refused_with_the_place() {
        reads("", &["the file is empty, without a header"]);
        reads("t,k,t\n", &["the header names column \"t\" twice"]);
        reads("x,y\n", &["no columns to read"]);
        reads("t,k\na,\nb\n", &["line 3: 1 field, expected 2", "null 'a'"]);
        reads("t,k\n\"a\nb\",\nc,2,\n", &["line 4: 3 fields, expected 2", "null 'a\\nb'"]);
        reads("t,k\na,\n\n", &["line 3: an empty line, expected 2 fields", "null 'a'"]);
        reads("t,k\na,\"1\n", &["line 2: a quote is opened and never closed"]);
        reads("t\n\"a\"b\n", &["line 2: data after the closing quote of field 1"]);
        reads(
            "t\n\"a\"b\n\"c\"\nd\n",
            &[
                "line 2: data after the closing quote of field 1, so that lines 2 to 3 cannot be told apart",
                "'d'",
            ],
        );
        reads(
            "t\n\"a\"b\nc\nd\n",
            &["line 2: data after the closing quote of field 1; where the next record begins cannot be told"],
        );
        reads("\"t\"x\n", &["line 1: data after the closing quote of field 1"]);
        let bytes = Cursor::new(b"t,\xff\n".to_vec());
        let error = CsvReader::open(bytes, &CsvOptions::default()).err().unwrap();
        assert_eq!(error.to_string(), "line 1: the name of field 2 is not UTF-8");
    }

    #[test]
    fn a_bad_value_names_line_and_column_and_the_rest_is_read() {
        let text = "t,k\n\"a\nb\",1\nc,x\nd,\"\"\ne,2\nf\n";
        let seen = read(text, &CsvOptions::default());
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert!(seen[0].starts_with("line 4, column \"k\": \"x\" is not "), "{seen:?}");
        assert!(seen[1].starts_with("line 5, column \"k\": \"\" is not "), "{seen:?}");
        assert_eq!(seen[2], "line 7: 1 field, expected 2");
        assert!(seen[3].ends_with("'a\\nb'") && seen[4].ends_with("'e'"), "{seen:?}");
    }

    #[test]
    fn bad_records_are_told_with_their_very_bytes_and_rows_know_theirs() {
        let text = "\u{feff}t,k\r\na,1\r\nb,x\n\"c\nc\",3\nd\n\n\"e\",5\ng,\nf,\"6";
        let reader = CsvReader::open(Cursor::new(text), &CsvOptions::default()).unwrap();
        assert_eq!(reader.header_text(), "\u{feff}t,k\r\n".as_bytes());
        let columns = columns(&[("t", "text"), ("k", "int")]).into_iter().enumerate().collect();
        let source = reader.into_source(columns, None).unwrap();
        let mut source = source.with_needs(&[Need::Nothing, Need::Always]);
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        while let Some(undecoded) = source.next_undecoded().unwrap() {
            let decoded = undecoded().unwrap();
            let texts = decoded.texts.unwrap();
            rows.extend((0..decoded.page.rows()).map(|row| texts.get(row).unwrap()));
            assert!(texts.get(decoded.page.rows()).is_none(), "no row is left");
            bad.extend(decoded.bad.into_iter().map(|bad| (bad.line, bad.text, bad.error.reason())));
        }
        let is = |(line, text): &(u64, bytes::Bytes), expected| (*line, &text[..]) == expected;
        assert!(is(&rows[0], (2, b"a,1\r\n")) && is(&rows[1], (4, b"\"c\nc\",3\n")), "{rows:?}");
        assert!(rows.len() == 3 && is(&rows[2], (8, b"\"e\",5\n")), "{rows:?}");
        let expected: [(u64, &[u8], &str); 5] = [
            (3, b"b,x\n", "\"x\" is not an int"),
            (6, b"d\n", "1 field, expected 2"),
            (7, b"\n", "an empty line, expected 2 fields"),
            (9, b"g,\n", "a key column needs a value, and the field is empty"),
            (10, b"f,\"6", "a quote is opened and never closed"),
        ];
        assert_eq!(bad.iter().map(|(l, t, r)| (*l, &t[..], r.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn blanks_around_a_value_are_told() {
        for (text, told) in [
            ("k\n 2\n", "\" 2\" is not an int: there is a blank before it"),
            ("k\n\"2\t\"\n", "\"2\\t\" is not an int: there is a blank after it"),
            ("b\n 0x\n", "\" 0x\" is not a blob (0x and pairs of hex digits): there is a blank before it"),
            ("k\n x\n", "\" x\" is not an int"),
            ("k\n \n", "\" \" is not an int"),
        ] {
            let column = &text[..1];
            reads(text, &[&format!("line 2, column {column:?}: {told}")]);
        }
    }

    #[test]
    fn a_null_marker_leaves_empty_text_to_text_columns() {
        let options = CsvOptions { null: "NULL".to_owned() };
        assert_eq!(
            read("t,b,k\nNULL,NULL,NULL\n,,\n\"NULL\",0x,\nab,,\n", &options),
            ["null null null", "null '' null", "null 'NULL' ''", "null 'ab' null"]
        );
    }

    #[test]
    fn the_header_of_a_dump_must_be_that_of_the_layout() {
        let layout = Layout::new(columns(&[("k", "int"), ("t", "text")]));
        for (header, expected) in [
            ("k,x,__wire", "column 2 is \"x\", expected \"t\""),
            ("k,t", "column 3, \"__wire\", is missing"),
            ("k,t,__wire,z", "column 4, \"z\", is not expected"),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            writeln!(file, "{header}").unwrap();
            file.rewind().unwrap();
            let error = CsvSource::of_dump(&layout, file).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_field_that_the_header_does_not_have_is_refused() {
        let open = || CsvReader::open(Cursor::new("k\n"), &CsvOptions::default()).unwrap();
        let column = || columns(&[("k", "int")]).remove(0);
        for (number, exceptions) in [(1, None), (0, Some(1))] {
            let error = open().into_source(vec![(number, column())], exceptions).err().unwrap();
            assert_eq!(error.to_string(), "there is no field 2, the header has 1");
        }
    }
}
