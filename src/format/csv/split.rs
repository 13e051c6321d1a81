//! CSV text to records and fields, read in chunks. Unlike the usual readers it tells a quoted field from an unquoted
//! one, which is what tells empty text from null, and knows the physical line of every record. What the fields mean
//! is left to `source`.
//!
//! Lines end with LF or CR LF; a CR that ends the input counts as a line end cut short. Anywhere else outside quotes a
//! CR is data, and so is a quote that is not at the beginning of a field.

use super::{BOM, DELIMITER, QUOTE};
use crate::format::FormatError;
use memchr::{memchr, memchr_iter, memchr2};
use std::io::{ErrorKind, Read};

/// What is read at a time; a record that is larger doubles it until it fits.
const CHUNK: usize = 256 << 10;

/// A record beyond this is more likely a quote left open than data.
const LONGEST: usize = 1 << 30;

/// Where a field lies in the buffer, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether it has doubled quotes.
    doubled: bool,
}

/// Splits what `read` gives into records, one at a time.
pub(super) struct Splitter<R> {
    read: R,
    chunk: usize,
    longest: usize,
    buffer: Vec<u8>,
    /// The part of the buffer that is read and not yet split.
    start: usize,
    end: usize,
    ended: bool,
    /// Line where the next record begins.
    line: u64,
    /// The fields of the record before `start`.
    fields: Vec<Span>,
    unescaped: Vec<u8>,
}

/// What the buffered bytes begin with.
enum Scan {
    /// A record of this length, ending so many lines.
    Record { len: usize, lines: u64 },
    /// A record whose end is not there yet; the line, counted from its first, where a quote stands open.
    Open { quote: Option<u64> },
    /// Data after the closing quote of the last field.
    AfterQuote,
}

impl<R: Read> Splitter<R> {
    /// A splitter at the first line, behind the byte order mark if there is one.
    pub fn new(read: R) -> Result<Splitter<R>, FormatError> {
        Splitter::with_sizes(read, CHUNK, LONGEST)
    }

    fn with_sizes(read: R, chunk: usize, longest: usize) -> Result<Splitter<R>, FormatError> {
        let mut splitter = Splitter {
            read,
            chunk,
            longest,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            ended: false,
            line: 1,
            fields: Vec::new(),
            unescaped: Vec::new(),
        };
        while splitter.end < BOM.len() && !splitter.ended {
            splitter.refill()?;
        }
        if splitter.buffer[..splitter.end].starts_with(BOM) {
            splitter.start = BOM.len();
        }
        Ok(splitter)
    }

    /// Goes on to the next record and answers the line where it begins; `None` at the end. After an error it stays
    /// where it is.
    pub fn next(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            if self.start == self.end && self.ended {
                return Ok(None);
            }
            let what = match self.scan() {
                Scan::Record { len, lines } => {
                    let line = self.line;
                    self.line += lines;
                    self.start += len;
                    return Ok(Some(line));
                }
                Scan::AfterQuote => format!("data after the closing quote of field {}", self.fields.len()),
                Scan::Open { quote: Some(lines) } if self.ended => {
                    return Err(FormatError::Record {
                        line: self.line + lines,
                        what: "a quote is opened and never closed".to_owned(),
                    });
                }
                Scan::Open { quote } if self.end - self.start >= self.longest => {
                    let hint = match quote {
                        Some(lines) => {
                            format!("; is the quote opened in line {} left open?", self.line + lines)
                        }
                        None => String::new(),
                    };
                    format!("a record longer than {} bytes{hint}", self.longest)
                }
                Scan::Open { .. } => {
                    self.refill()?;
                    continue;
                }
            };
            return Err(FormatError::Record { line: self.line, what });
        }
    }

    /// Number of fields of the record.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Whether a field of the record is quoted, and its text. `None` for a field that the record does not have.
    pub fn field(&mut self, number: usize) -> Option<(bool, &[u8])> {
        let span = *self.fields.get(number)?;
        let text = &self.buffer[span.start..span.end];
        if !span.doubled {
            return Some((span.quoted, text));
        }
        self.unescaped.clear();
        let mut rest = text;
        while let Some(quote) = memchr(QUOTE, rest) {
            self.unescaped.extend_from_slice(&rest[..=quote]);
            // Inside quotes every quote is the first of two.
            rest = rest.get(quote + 2..).unwrap_or_default();
        }
        self.unescaped.extend_from_slice(rest);
        Some((span.quoted, &self.unescaped))
    }

    /// Finds the end of the record at `start` and its fields.
    fn scan(&mut self) -> Scan {
        let bytes = &self.buffer[..self.end];
        let fields = &mut self.fields;
        fields.clear();
        let mut lines = 0;
        let mut at = self.start;
        let record = |end: usize, lines: u64| Scan::Record { len: end - self.start, lines };
        loop {
            if bytes.get(at) != Some(&QUOTE) {
                let Some(n) = memchr2(DELIMITER, b'\n', &bytes[at..]) else {
                    if !self.ended {
                        return Scan::Open { quote: None };
                    }
                    fields.push(unquoted(bytes, at, self.end, true));
                    return record(self.end, lines);
                };
                let end = at + n;
                let last = bytes[end] != DELIMITER;
                fields.push(unquoted(bytes, at, end, last));
                if last {
                    return record(end + 1, lines + 1);
                }
                at = end + 1;
                continue;
            }
            let open = Scan::Open { quote: Some(lines) };
            let mut doubled = false;
            let mut end = at + 1;
            loop {
                match memchr(QUOTE, &bytes[end..]) {
                    None => return open,
                    Some(n) => end += n,
                }
                match bytes.get(end + 1) {
                    Some(&QUOTE) => {
                        doubled = true;
                        end += 2;
                    }
                    None if !self.ended => return open,
                    _ => break,
                }
            }
            lines += count_lines(&bytes[at..end]);
            fields.push(Span { start: at + 1, end, quoted: true, doubled });
            match &bytes[end + 1..] {
                [] | [b'\r'] if self.ended => return record(self.end, lines),
                [b'\r'] => return Scan::Open { quote: None },
                [b'\n', ..] => return record(end + 2, lines + 1),
                [b'\r', b'\n', ..] => return record(end + 3, lines + 1),
                [DELIMITER, ..] => at = end + 2,
                _ => return Scan::AfterQuote,
            }
        }
    }

    /// Reads until the buffer is full or the input ends, behind what is not split yet.
    fn refill(&mut self) -> Result<(), FormatError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            // Doubling keeps the repeated scans of a long record in proportion to its length.
            self.buffer.resize((self.end * 2).max(self.chunk), 0);
        } else if self.buffer.len() > self.chunk && self.end < self.chunk / 2 {
            self.buffer.truncate(self.chunk);
            self.buffer.shrink_to_fit();
        }
        while self.end < self.buffer.len() && !self.ended {
            match self.read.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.ended = true,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// An unquoted field; the last of a record may end with the CR of its line end.
fn unquoted(bytes: &[u8], start: usize, end: usize, last: bool) -> Span {
    let cr = last && bytes[start..end].ends_with(b"\r");
    Span { start, end: end - usize::from(cr), quoted: false, doubled: false }
}

fn count_lines(bytes: &[u8]) -> u64 {
    u64::try_from(memchr_iter(b'\n', bytes).count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records as text, `'…'` around a quoted field, with the line of each; then the error, if any.
    fn split(text: &[u8], chunk: usize, longest: usize) -> Vec<String> {
        let mut seen = Vec::new();
        let mut splitter = Splitter::with_sizes(text, chunk, longest).unwrap();
        loop {
            match splitter.next() {
                Ok(None) => return seen,
                Err(error) => {
                    assert_eq!(splitter.next().unwrap_err().to_string(), error.to_string());
                    seen.push(error.to_string());
                    return seen;
                }
                Ok(Some(line)) => {
                    let mut record = line.to_string();
                    for number in 0..splitter.fields() {
                        let (quoted, field) = splitter.field(number).unwrap();
                        let field = String::from_utf8_lossy(field);
                        record += &if quoted { format!(" '{field}'") } else { format!(" {field}|") };
                    }
                    assert!(splitter.field(splitter.fields()).is_none());
                    seen.push(record);
                }
            }
        }
    }

    #[test]
    fn records_fields_and_lines_are_the_same_whatever_the_chunks() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("\n", &["1 |"]),
            ("\r\n\r\n", &["1 |", "2 |"]),
            ("a", &["1 a|"]),
            ("a,b\n1,2\n", &["1 a| b|", "2 1| 2|"]),
            ("a,b\r\n1,2\r\n", &["1 a| b|", "2 1| 2|"]),
            ("a,b\n1,2", &["1 a| b|", "2 1| 2|"]),
            ("a,b\n1,2\r", &["1 a| b|", "2 1| 2|"]),
            ("a,b\n1,\"2\"\r", &["1 a| b|", "2 1| '2'"]),
            ("a,b\n1,", &["1 a| b|", "2 1| |"]),
            ("\u{feff}a,b\n", &["1 a| b|"]),
            ("\u{feff}", &[]),
            ("\"\u{feff}a\"\n", &["1 '\u{feff}a'"]),
            ("\"\",,\"\"\"\"\n", &["1 '' | '\"'"]),
            ("\"a\"\"b\"\"\",\"c,d\"\n", &["1 'a\"b\"' 'c,d'"]),
            ("\"x\ny\r\nz\",1\n2,3\n", &["1 'x\ny\r\nz' 1|", "4 2| 3|"]),
            ("\"a\"\r\n\"b\"", &["1 'a'", "2 'b'"]),
            ("a\rb,c\r\r\nd\n", &["1 a\rb| c\r|", "2 d|"]),
            ("a\"b,c\"\n a\n", &["1 a\"b| c\"|", "2  a|"]),
            ("1,\" \"\n", &["1 1| ' '"]),
            ("é,\"ü\"\n", &["1 é| 'ü'"]),
            ("a\n\"b\" \n", &["1 a|", "line 2: data after the closing quote of field 1"]),
            ("a\n1,\"b\"\rc\n", &["1 a|", "line 2: data after the closing quote of field 2"]),
            ("\"a\nb\"c\n", &["line 1: data after the closing quote of field 1"]),
            ("a\n\"b\n", &["1 a|", "line 2: a quote is opened and never closed"]),
            ("a\n\"b\nc\",\"", &["1 a|", "line 3: a quote is opened and never closed"]),
            ("\"\"\"", &["line 1: a quote is opened and never closed"]),
        ];
        for (text, expected) in cases {
            for chunk in (1..=8).chain([1 << 16]) {
                assert_eq!(split(text.as_bytes(), chunk, LONGEST), *expected, "{text:?} by {chunk}");
            }
        }
    }

    #[test]
    fn a_record_may_be_much_larger_than_a_chunk_but_not_endless() {
        let long = format!("a\n\"{}\",1\nb,2\n", "x\n".repeat(5000));
        let seen = split(long.as_bytes(), 16, LONGEST);
        assert_eq!(seen[1].len(), "2 ''".len() + 10_000 + " 1|".len());
        assert_eq!(seen[2], "5003 b| 2|");
        assert_eq!(
            split(long.as_bytes(), 16, 100)[1],
            "line 2: a record longer than 100 bytes; is the quote opened in line 2 left open?"
        );
        assert_eq!(split(&[b'x'; 500], 16, 100), ["line 1: a record longer than 100 bytes"]);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let text = format!("{}\n{}", "x".repeat(1000), "y\n".repeat(1000));
        let mut splitter = Splitter::with_sizes(text.as_bytes(), 16, LONGEST).unwrap();
        while splitter.next().unwrap().is_some() {}
        assert!(splitter.buffer.capacity() <= 32, "{}", splitter.buffer.capacity());
    }
}
