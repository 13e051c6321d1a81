//! CSV text to records and fields, read in chunks. Unlike the usual readers it tells a quoted field from an unquoted
//! one, which is what tells empty text from null, and knows the physical line of every record. What the fields mean
//! is left to `source`.
//!
//! Lines end with LF or CR LF; a CR that ends the input counts as a line end cut short. Anywhere else outside quotes a
//! CR is data, and so is a quote that is not at the beginning of a field. So where a record ends can only be told from
//! where the one before it did: one after the other is split, at several GB/s, and [`Records`] can be worked on elsewhere.

use super::{BOM, DELIMITER, QUOTE};
use crate::format::{FormatError, Place};
use bytes::Bytes;
use memchr::{memchr, memchr_iter, memchr2};
use std::io::Read;

/// What is read at a time; a record that is larger doubles it until it fits.
const CHUNK: usize = 512 << 10;

/// Bytes of records that are handed out together; the last may pass it.
const MOST_TEXT: usize = 1 << 20;

/// A record beyond this is more likely a quote left open than data.
const LONGEST: usize = 1 << 30;

/// How much text is searched for the end of a record that has data after a closing quote.
const RESYNC: usize = 256 << 10;

/// Where a field lies in its chunk, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether it has doubled quotes.
    doubled: bool,
}

/// Records of one chunk, split into fields.
#[derive(Debug)]
pub(super) struct Records {
    bytes: Bytes,
    fields: Vec<Span>,
    /// Where the first record begins.
    start: usize,
    ends: Vec<End>,
    /// What is wrong with the last record, if it is not well formed; its fields are those before that.
    broken: Option<String>,
}

/// Where a record ends.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Line where it begins.
    line: u64,
    /// The end of its fields.
    fields: usize,
    /// The end of its bytes, its line end included.
    bytes: usize,
}

/// The text of records without their fields.
#[derive(Clone, Debug)]
pub struct RecordTexts {
    bytes: Bytes,
    start: usize,
    ends: Vec<End>,
}

impl RecordTexts {
    /// The line where a record begins, from 1, and its very bytes, its line end included.
    pub fn get(&self, number: usize) -> Option<(u64, Bytes)> {
        let end = self.ends.get(number)?;
        let start =
            number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(self.start, |e| e.bytes);
        Some((end.line, self.bytes.slice(start..end.bytes)))
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<End>()
    }
}

/// One record.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    /// Line where it begins, from 1.
    pub line: u64,
    bytes: &'a [u8],
    fields: &'a [Span],
}

impl Records {
    fn new(bytes: Bytes, start: usize) -> Records {
        Records { bytes, fields: Vec::new(), start, ends: Vec::new(), broken: None }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A record by its number from 0.
    pub fn get(&self, number: usize) -> Option<Record<'_>> {
        let End { line, fields: end, .. } = *self.ends.get(number)?;
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |e| e.fields);
        Some(Record { line, bytes: &self.bytes, fields: &self.fields[start..end] })
    }

    /// What is wrong with a record that is not well formed.
    pub fn broken(&self, number: usize) -> Option<&str> {
        self.broken.as_deref().filter(|_| number + 1 == self.len())
    }

    /// The texts of the records, for when the fields are not needed any more.
    pub fn into_texts(self) -> RecordTexts {
        RecordTexts { bytes: self.bytes, start: self.start, ends: self.ends }
    }
}

impl<'a> Record<'a> {
    /// Number of fields.
    pub fn fields(self) -> usize {
        self.fields.len()
    }

    /// Whether a field is quoted, and its text, which may be put together in `scratch`. `None` for a field that the record
    /// does not have.
    pub fn field<'s>(self, number: usize, scratch: &'s mut Vec<u8>) -> Option<(bool, &'s [u8])>
    where
        'a: 's,
    {
        let span = self.fields.get(number)?;
        let text = &self.bytes[span.start..span.end];
        if !span.doubled {
            return Some((span.quoted, text));
        }
        scratch.clear();
        let mut rest = text;
        while let Some(quote) = memchr(QUOTE, rest) {
            scratch.extend_from_slice(&rest[..=quote]);
            // Inside quotes every quote is the first of two.
            rest = rest.get(quote + 2..).unwrap_or_default();
        }
        scratch.extend_from_slice(rest);
        Some((span.quoted, scratch))
    }
}

/// Splits what `read` gives into records.
pub(super) struct Splitter<R> {
    read: R,
    chunk: usize,
    longest: usize,
    /// The chunk, of which what stands before `start` is split.
    buffer: Bytes,
    start: usize,
    ended: bool,
    /// Bytes before the chunk.
    passed: u64,
    /// Line where the next record begins.
    line: u64,
}

/// What the chunk begins with.
enum Scan {
    /// A record of this length, ending so many lines.
    Record { len: usize, lines: u64 },
    /// A record whose end is not there yet; the line, counted from its first, where a quote stands open.
    Open { quote: Option<u64> },
    /// Data after the closing quote of the last field, which ends there.
    AfterQuote { end: usize },
}

/// Where a record ends that has data after a closing quote.
enum Resync {
    /// At its length from there, with so many lines: that is the end whatever the quote was meant to be.
    At { len: usize, lines: u64 },
    /// More text may tell.
    Open,
    /// That cannot be told.
    Never,
}

impl<R: Read> Splitter<R> {
    /// A splitter at the first line, behind the byte order mark if there is one.
    pub fn new(read: R) -> Result<Splitter<R>, FormatError> {
        Splitter::with_sizes(read, CHUNK, LONGEST)
    }

    fn with_sizes(read: R, chunk: usize, longest: usize) -> Result<Splitter<R>, FormatError> {
        let buffer = Bytes::new();
        let mut splitter =
            Splitter { read, chunk, longest, buffer, start: 0, ended: false, passed: 0, line: 1 };
        while splitter.buffer.len() < BOM.len() && !splitter.ended {
            splitter.refill()?;
        }
        if splitter.buffer.starts_with(BOM) {
            splitter.start = BOM.len();
        }
        Ok(splitter)
    }

    /// Whether the text begins with a byte order mark.
    pub fn has_mark(&self) -> bool {
        self.buffer.starts_with(BOM)
    }

    /// A splitter of what begins at that place of a text.
    pub fn at(read: R, place: Place) -> Splitter<R> {
        let Place { offset: passed, line } = place;
        let buffer = Bytes::new();
        Splitter { read, chunk: CHUNK, longest: LONGEST, buffer, start: 0, ended: false, passed, line }
    }

    /// Where the next record begins.
    pub fn place(&self) -> Place {
        let start = u64::try_from(self.start).unwrap_or(u64::MAX);
        Place { offset: self.passed.saturating_add(start), line: self.line }
    }

    /// The next records, at most so many and no more than [`MOST_TEXT`] before the last; `None` at the end. One that is not
    /// well formed is the last of them, if its end can be told. If not, an error comes after the records before it, and again
    /// whenever it is called.
    pub fn next(&mut self, most: usize) -> Result<Option<Records>, FormatError> {
        let mut records = Records::new(self.buffer.clone(), self.start);
        let mut begun = self.start;
        while records.len() < most
            && self.start - begun < MOST_TEXT
            && !(self.start == self.buffer.len() && self.ended)
        {
            let before = records.fields.len();
            let what = match self.scan(&mut records.fields) {
                Scan::Record { len, lines } => {
                    self.pass(&mut records, len, lines);
                    continue;
                }
                what => what,
            };
            let fields = records.fields.len() - before;
            // As long as it is not read whole, it is not among the records.
            let resync = match what {
                Scan::AfterQuote { end } => self.resync(end),
                Scan::Open { quote: Some(_) } if self.ended => self.to_the_end(),
                _ => Resync::Open,
            };
            if let Resync::At { len, lines } = resync {
                records.broken = Some(self.told(&what, fields, lines));
                self.pass(&mut records, len, lines);
                break;
            }
            records.fields.truncate(before);
            if records.len() > 0 {
                break;
            }
            if matches!(resync, Resync::Open) && !self.ended && self.buffer.len() - self.start < self.longest
            {
                self.refill()?;
                records = Records::new(self.buffer.clone(), self.start);
                begun = self.start;
                continue;
            }
            return Err(self.broken(&what, fields));
        }
        Ok(Some(records).filter(|records| records.len() > 0))
    }

    /// Goes on behind a record.
    fn pass(&mut self, records: &mut Records, len: usize, lines: u64) {
        let line = self.line;
        self.line += lines;
        self.start += len;
        records.ends.push(End { line, fields: records.fields.len(), bytes: self.start });
    }

    /// The rest of the file as one record: a quote is open, so that no line end in it is known to be one.
    fn to_the_end(&self) -> Resync {
        let rest = &self.buffer[self.start..];
        if rest.len() > self.longest {
            return Resync::Never;
        }
        let cut_short = u64::from(!rest.ends_with(b"\n"));
        Resync::At { len: rest.len(), lines: count_lines(rest) + cut_short }
    }

    /// Where the record at `start` ends, a quoted field of which is followed by other data from `end` on. The quote before it may
    /// have been meant to close the field, or to be a part of it: all that it may have been is followed, and the record ends
    /// where a line does in every case. So no text is ever taken for a record of its own that may be a part of this one.
    fn resync(&self, end: usize) -> Resync {
        let rest = &self.buffer[end..];
        let text = &rest[..rest.len().min(RESYNC)];
        let mut readings = Readings::AFTER_QUOTE;
        for (at, byte) in text.iter().enumerate() {
            readings = readings.after(*byte);
            if *byte == b'\n' && readings == Readings::AT_START {
                let record = &self.buffer[self.start..=end + at];
                return Resync::At { len: record.len(), lines: count_lines(record) };
            }
        }
        // The last line ends with the file, whatever it holds.
        let is_last = || memchr(b'\n', text).is_none_or(|line_end| line_end + 1 == text.len());
        match (rest.len() > text.len(), self.ended) {
            (true, _) => Resync::Never,
            (false, false) => Resync::Open,
            (false, true) if is_last() || !readings.has(Readings::QUOTED) => self.to_the_end(),
            (false, true) => Resync::Never,
        }
    }

    /// What is wrong with a record of so many lines, of which so many fields could be read.
    fn told(&self, what: &Scan, fields: usize, lines: u64) -> String {
        let which = match (what, lines) {
            (Scan::Open { quote: Some(0) }, _) => "a quote is opened and never closed".to_owned(),
            (Scan::Open { quote }, _) => {
                let line = self.line + quote.unwrap_or_default();
                format!("a quote is opened in line {line} and never closed")
            }
            _ => format!("data after the closing quote of field {fields}"),
        };
        match lines {
            0 | 1 => which,
            _ => format!(
                "{which}, so that lines {} to {} cannot be told apart",
                self.line,
                self.line + lines - 1
            ),
        }
    }

    /// What is wrong with the record at `start`, of which so many fields could be read, and whose end cannot be told.
    fn broken(&self, what: &Scan, fields: usize) -> FormatError {
        let what = match what {
            Scan::Open { quote } => {
                let hint = match quote {
                    Some(lines) => format!("; is the quote opened in line {} left open?", self.line + lines),
                    None => String::new(),
                };
                format!("a record longer than {} bytes{hint}", self.longest)
            }
            Scan::Record { .. } | Scan::AfterQuote { .. } => format!(
                "data after the closing quote of field {fields}; where the next record begins cannot be told"
            ),
        };
        FormatError::Record { line: self.line, what }
    }

    /// Finds the end of the record at `start`, and adds its fields.
    fn scan(&self, fields: &mut Vec<Span>) -> Scan {
        let bytes: &[u8] = &self.buffer;
        let mut lines = 0;
        let mut at = self.start;
        let record = |end: usize, lines: u64| Scan::Record { len: end - self.start, lines };
        loop {
            if bytes.get(at) != Some(&QUOTE) {
                let Some(n) = memchr2(DELIMITER, b'\n', &bytes[at..]) else {
                    if !self.ended {
                        return Scan::Open { quote: None };
                    }
                    fields.push(unquoted(bytes, at, bytes.len(), true));
                    return record(bytes.len(), lines);
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
                [] | [b'\r'] if self.ended => return record(bytes.len(), lines),
                [b'\r'] => return Scan::Open { quote: None },
                [b'\n', ..] => return record(end + 2, lines + 1),
                [b'\r', b'\n', ..] => return record(end + 3, lines + 1),
                [DELIMITER, ..] => at = end + 2,
                _ => return Scan::AfterQuote { end: end + 1 },
            }
        }
    }

    /// Reads another chunk behind what is not split yet.
    fn refill(&mut self) -> Result<(), FormatError> {
        let rest = &self.buffer[self.start..];
        // Doubling keeps the repeated scans of a long record in proportion to its length.
        let space = rest.len().max(self.chunk).min(self.longest.saturating_sub(rest.len()).max(self.chunk));
        let mut buffer = Vec::with_capacity(rest.len() + space);
        buffer.extend_from_slice(rest);
        let mut limited = (&mut self.read).take(u64::try_from(space).unwrap_or(u64::MAX));
        self.ended = limited.read_to_end(&mut buffer)? < space;
        self.buffer = Bytes::from(buffer);
        self.passed = self.passed.saturating_add(u64::try_from(self.start).unwrap_or(u64::MAX));
        self.start = 0;
        Ok(())
    }
}

/// What text behind a misplaced quote may be read as: a set of states, each possible.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Readings(u8);

impl Readings {
    /// At the beginning of a field.
    const AT_START: Readings = Readings(1);
    /// Inside a field that is not quoted, or behind one that is closed.
    const UNQUOTED: Readings = Readings(2);
    /// Inside a quoted field.
    const QUOTED: Readings = Readings(4);
    /// Behind a quote in a quoted field.
    const AFTER_QUOTE: Readings = Readings(8);
    /// Behind a CR behind that.
    const AFTER_CR: Readings = Readings(16);

    fn has(self, state: Readings) -> bool {
        self.0 & state.0 != 0
    }

    fn or(self, other: Readings) -> Readings {
        Readings(self.0 | other.0)
    }

    /// After another byte.
    fn after(self, byte: u8) -> Readings {
        let misplaced = || Readings::UNQUOTED.or(Readings::QUOTED);
        let mut all = Readings(0);
        for state in [1, 2, 4, 8, 16].map(Readings).into_iter().filter(|state| self.has(*state)) {
            all = all.or(match (state, byte) {
                (Readings::QUOTED, QUOTE) => Readings::AFTER_QUOTE,
                (Readings::QUOTED, _) => Readings::QUOTED,
                (Readings::AFTER_CR, byte) if byte != b'\n' => misplaced().after(byte),
                (_, DELIMITER | b'\n') => Readings::AT_START,
                (Readings::AT_START | Readings::AFTER_QUOTE, QUOTE) => Readings::QUOTED,
                (Readings::AFTER_QUOTE, b'\r') => Readings::AFTER_CR,
                (Readings::AFTER_QUOTE, _) => misplaced(),
                _ => Readings::UNQUOTED,
            });
        }
        all
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
    use proptest::prelude::*;

    /// Whatever place is told, a text can be split on from there, and its lines are counted on.
    #[test]
    fn a_text_is_split_on_from_any_place_that_was_told() {
        let text = b"\xef\xbb\xbfa,b\r\n1,\"x\ny\"\n,\"\"\"\"\r\n\n2,z";
        let mut splitter = Splitter::with_sizes(&text[..], 3, LONGEST).unwrap();
        let mut begins = vec![splitter.place()];
        while splitter.next(1).unwrap().is_some() {
            begins.push(splitter.place());
        }
        let places: Vec<(u64, u64)> = begins.iter().map(|place| (place.offset, place.line)).collect();
        // Counted by hand: the mark has 3 bytes, the second record a line end inside.
        assert_eq!(places, [(3, 1), (8, 2), (16, 4), (23, 5), (24, 6), (27, 6)]);
        for (number, place) in begins.into_iter().enumerate() {
            let rest = &text[usize::try_from(place.offset).unwrap()..];
            let records = Splitter::at(rest, place).next(9).unwrap();
            let lines: Vec<u64> =
                records.iter().flat_map(|r| (0..r.len()).filter_map(|n| Some(r.get(n)?.line))).collect();
            assert_eq!(lines, [1, 2, 4, 5, 6][number..], "{place:?}");
        }
    }

    /// Records as text, `'…'` around a quoted field, with the line of each; then the error, if any.
    fn split(text: &[u8], chunk: usize, longest: usize, most: usize) -> Vec<String> {
        let mut seen = Vec::new();
        let mut splitter = Splitter::with_sizes(text, chunk, longest).unwrap();
        let mut scratch = Vec::new();
        loop {
            let records = match splitter.next(most) {
                Ok(None) => return seen,
                Err(error) => {
                    assert_eq!(splitter.next(most).unwrap_err().to_string(), error.to_string());
                    seen.push(error.to_string());
                    return seen;
                }
                Ok(Some(records)) => records,
            };
            assert!(records.len() > 0 && records.len() <= most && records.get(records.len()).is_none());
            for (place, record) in (0..records.len()).filter_map(|n| Some((n, records.get(n)?))) {
                let mut text = record.line.to_string();
                if let Some(what) = records.broken(place) {
                    seen.push(format!("{text} broken: {what}"));
                    continue;
                }
                for number in 0..record.fields() {
                    let (quoted, field) = record.field(number, &mut scratch).unwrap();
                    let field = String::from_utf8_lossy(field);
                    text += &if quoted { format!(" '{field}'") } else { format!(" {field}|") };
                }
                assert!(record.field(record.fields(), &mut scratch).is_none());
                seen.push(text);
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
            ("a\n\"b\n", &["1 a|", "2 broken: a quote is opened and never closed"]),
            ("\"\"\"", &["1 broken: a quote is opened and never closed"]),
            (
                "a\n\"b\nc\",\"",
                &[
                    "1 a|",
                    "2 broken: a quote is opened in line 3 and never closed, so that lines 2 to 3 cannot be told apart",
                ],
            ),
            (
                "a\n\"b\nc\nd\n",
                &[
                    "1 a|",
                    "2 broken: a quote is opened and never closed, so that lines 2 to 4 cannot be told apart",
                ],
            ),
        ];
        for (text, expected) in cases {
            for chunk in (1..=8).chain([1 << 16]) {
                for most in [1, 2, 1000] {
                    let seen = split(text.as_bytes(), chunk, LONGEST, most);
                    assert_eq!(seen, *expected, "{text:?} by {chunk}, {most} records");
                }
            }
        }
    }

    #[test]
    fn data_after_a_closing_quote_ends_where_a_line_does_however_it_is_read() {
        let field = |n: u32| format!("data after the closing quote of field {n}");
        let lines = |n: u32, from: u32, to: u32| {
            format!("{}, so that lines {from} to {to} cannot be told apart", field(n))
        };
        let never = |line: u32, n: u32| {
            format!("line {line}: {}; where the next record begins cannot be told", field(n))
        };
        let cases: &[(&str, &[String])] = &[
            // The last line of a file, and one whose field is closed again.
            ("a\n\"b\" ", &["1 a|".into(), format!("2 broken: {}", field(1))]),
            ("\"a\"b", &[format!("1 broken: {}", field(1))]),
            ("1,\"b\"\rc", &[format!("1 broken: {}", field(2))]),
            ("\"a\"b\",\"c\"\nd,e\n", &[format!("1 broken: {}", field(1)), "2 d| e|".into()]),
            ("\"a\"b\"\r\nd\r\n", &[format!("1 broken: {}", field(1)), "2 d|".into()]),
            ("\"a \"b\"\" c\",1\nd,e\n", &[format!("1 broken: {}", field(1)), "2 d| e|".into()]),
            // Whether the quote is a part of a field that goes on in the next line is told by how that one ends.
            ("\"b\" ,1\n\"c\",2\nd,3\n", &[format!("1 broken: {}", lines(1, 1, 2)), "3 d| 3|".into()]),
            (
                "\"say \"hi\nthere\" ok\",2\nd,3\n",
                &[format!("1 broken: {}", lines(1, 1, 2)), "3 d| 3|".into()],
            ),
            ("\"b\"x\nc\nd", &[never(1, 1)]),
            ("a\n\"b\" \n", &["1 a|".into(), format!("2 broken: {}", field(1))]),
        ];
        for (text, expected) in cases {
            for chunk in (1..=8).chain([1 << 16]) {
                for most in [1, 2, 1000] {
                    let seen = split(text.as_bytes(), chunk, LONGEST, most);
                    assert_eq!(seen, *expected, "{text:?} by {chunk}, {most} records");
                }
            }
        }
        let far = format!("a\n\"b\" \n{}", "c\n".repeat(RESYNC));
        assert_eq!(split(far.as_bytes(), CHUNK, LONGEST, 1000), ["1 a|", &never(2, 1)]);
    }

    #[test]
    fn a_record_may_be_much_larger_than_a_chunk_but_not_endless() {
        let long = format!("a\n\"{}\",1\nb,2\n", "x\n".repeat(5000));
        let seen = split(long.as_bytes(), 16, LONGEST, 1000);
        assert_eq!(seen[1].len(), "2 ''".len() + 10_000 + " 1|".len());
        assert_eq!(seen[2], "5003 b| 2|");
        assert_eq!(
            split(long.as_bytes(), 16, 100, 1000)[1],
            "line 2: a record longer than 100 bytes; is the quote opened in line 2 left open?"
        );
        assert_eq!(split(&[b'x'; 500], 16, 100, 1000), ["line 1: a record longer than 100 bytes"]);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let text = format!("{}\n{}", "x".repeat(1000), "y\n".repeat(1000));
        let mut splitter = Splitter::with_sizes(text.as_bytes(), 16, LONGEST).unwrap();
        while splitter.next(10).unwrap().is_some() {}
        assert!(splitter.buffer.len() <= 32, "{}", splitter.buffer.len());
    }

    /// A file of records as the `csv` crate reads them, which knows nothing of chunks.
    fn peer(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        let fields = |record: csv::ByteRecord| record.iter().map(<[u8]>::to_vec).collect();
        reader.byte_records().map(|record| fields(record.unwrap())).collect()
    }

    proptest! {
        #[test]
        fn any_chunks_give_the_records_that_another_reader_finds(
            records in prop::collection::vec(prop::collection::vec("[a-c\"\r\n, é]{0,6}", 2..4), 0..12),
            crlf in any::<bool>(),
            chunk in 1_usize..40,
            most in 1_usize..6,
        ) {
            let mut text = Vec::new();
            let mut lines = Vec::new();
            for record in &records {
                lines.push(1 + text.iter().filter(|byte| **byte == b'\n').count() as u64);
                let quoted: Vec<String> =
                    record.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
                text.extend_from_slice(quoted.join(",").as_bytes());
                text.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            let mut splitter = Splitter::with_sizes(&text[..], chunk, LONGEST).unwrap();
            let (mut seen, mut seen_lines, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
            while let Some(some) = splitter.next(most).unwrap() {
                for record in (0..some.len()).map(|number| some.get(number).unwrap()) {
                    seen_lines.push(record.line);
                    let field = |number| record.field(number, &mut scratch).unwrap().1.to_vec();
                    seen.push((0..record.fields()).map(field).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(seen, peer(&text));
            prop_assert_eq!(seen_lines, lines);
        }

        /// Where records end is told by the text, not by how it is read; and nothing of it is passed over.
        #[test]
        fn broken_text_is_cut_alike_by_any_chunks(text in "[a\",\n\r]{0,40}", chunk in 1_usize..12, most in 1_usize..5) {
            let cut = |chunk, most| {
                let mut splitter = Splitter::with_sizes(text.as_bytes(), chunk, LONGEST).unwrap();
                let (mut seen, mut all) = (Vec::new(), Vec::new());
                loop {
                    let records = match splitter.next(most) {
                        Ok(Some(records)) => records,
                        end => return (seen, all, end.err().map(|error| error.to_string())),
                    };
                    let broken = (0..records.len()).map(|number| records.broken(number).map(str::to_owned));
                    let broken: Vec<Option<String>> = broken.collect();
                    let texts = records.into_texts();
                    for (number, broken) in broken.into_iter().enumerate() {
                        let (line, text) = texts.get(number).unwrap();
                        all.extend_from_slice(&text);
                        seen.push((line, broken, text));
                    }
                }
            };
            let (seen, all, error) = cut(chunk, most);
            let (whole, _, whole_error) = cut(1 << 16, 1000);
            prop_assert_eq!((&seen, &error), (&whole, &whole_error));
            match error {
                None => prop_assert_eq!(&all[..], text.as_bytes()),
                Some(_) => prop_assert!(text.as_bytes().starts_with(&all)),
            }
            let mut expected = 1;
            for (line, _, text) in &seen {
                prop_assert_eq!(*line, expected);
                expected += count_lines(text);
            }
        }

        /// A quote inside a quoted field that should have been doubled: no part of its record, and of none after it, is ever
        /// read as a record.
        #[test]
        fn no_part_of_a_record_with_a_misplaced_quote_is_read_as_one(
            before in prop::collection::vec("[a,\n]{0,4}", 0..4),
            (front, back) in ("[a,\n]{0,6}", "[a,\n]{0,6}"),
            after in prop::collection::vec(("[a,\n]{0,4}", any::<bool>()), 0..6),
        ) {
            let record = |field: &str| format!("\"{field}\",1\n");
            let plain = |field: &str| format!("{},1\n", field.replace([',', '\n'], "b"));
            let mut records: Vec<String> = before.iter().map(|field| record(field)).collect();
            let bad = records.len();
            records.push(record(&format!("{front}b\"b{back}")));
            records.extend(after.iter().map(|(f, quoted)| if *quoted { record(f) } else { plain(f) }));
            let text = records.concat();
            let mut splitter = Splitter::new(text.as_bytes()).unwrap();
            let mut at = 0;
            while let Ok(Some(some)) = splitter.next(1) {
                let broken = some.broken(0).is_some();
                let piece = some.into_texts().get(0).unwrap().1;
                let ends: Vec<usize> =
                    records.iter().scan(0, |end, record| { *end += record.len(); Some(*end) }).collect();
                let number = ends.partition_point(|end| *end <= at);
                at += piece.len();
                prop_assert_eq!(broken, number == bad, "{:?} of {:?}", piece, text);
                prop_assert!(ends.contains(&at), "{:?} of {:?} ends within a record", piece, text);
                prop_assert!(broken || piece == records[number].as_bytes());
            }
        }
    }
}
