//! What a Parquet file claims of its footer and its pages, checked before the library sets room aside for it, since the
//! library believes what it reads. How rows are decoded is left to the parent.
//!
//! Only what a sink writes is let through: the encodings and the two kinds of pages of format 1, plain or in zstd. How
//! much a batch of rows may take is told from the pages themselves, whatever the footer says of them.

use super::ROW_BYTES;
use crate::format::FormatError;
use ::parquet::basic::{Compression, Type};
use ::parquet::file::metadata::ColumnChunkMetaData;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// A footer of more bytes is none: it would tell of some hundred thousand column chunks.
const MOST_FOOTER: usize = 64 << 20;

/// What follows a footer: its length and the last magic bytes.
const TAIL: usize = 8;

/// A page ends after the value, or the row of elements, that takes it to a MiB: so it has one large row at most.
const MOST_PAGE: u64 = ROW_BYTES as u64 + (16 << 20);

/// Values of a page: no row has more, as each element takes four bytes on the wire.
const MOST_VALUES: u64 = 1 << 26;

/// Of all columns of a row group the largest page and the dictionary are in memory at once. Each is of a MiB or little
/// more, but for those that a large row has made so; two such rows of the largest size there is are allowed for.
const MOST_HELD: u64 = 2 * MOST_PAGE;
const HELD_PER_COLUMN: u64 = 4 << 20;

/// Bytes that decoded rows may come to at once, if they are more than one; and the share of a column, at least.
const MOST_AT_ONCE: u64 = 64 << 20;
const COLUMN_AT_ONCE: u64 = 1 << 20;

/// Elements that decoded come to no more are not looked at row by row: no row group of the usual budget has more.
const MOST_ELEMENTS: u64 = 512 << 20;

/// What a value takes when it is decoded, besides its own bytes: levels, offsets, the room of a null.
const PER_VALUE: u64 = 16;

/// A dictionary of fewer bytes has no value that matters.
const SMALL_DICTIONARY: u64 = 8 << 10;

/// Structs in structs that a footer or a page header may have.
const DEEPEST: usize = 16;

/// Groups in groups that a schema may have: a collection is two of them, and types stand 100 deep in one another at most.
const DEEPEST_SCHEMA: usize = 300;

/// Bytes of a page header that are read first, and at most: with statistics it may have some more.
const HEADER: usize = 256;
const MOST_HEADER: usize = 64 << 10;

/// Whether the footer of a file is one that the library can be given, as far as its sizes go.
///
/// # Errors
/// `FormatError` if it is not, or the file cannot be read.
pub(super) fn check_footer(file: &File) -> Result<(), FormatError> {
    let size = file.metadata()?.len();
    // What is too short or has no magic bytes the library names.
    let Some(start) = size.checked_sub(TAIL as u64) else { return Ok(()) };
    let mut tail = [0; TAIL];
    file.read_exact_at(&mut tail, start)?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic != *b"PAR1" {
        return Ok(());
    }
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(start) = start.checked_sub(len as u64) else {
        return Err(damaged(format!("a footer of {len} bytes in a file of {size}")));
    };
    if len > MOST_FOOTER {
        return Err(damaged(format!("a footer of {len} bytes, more than the {MOST_FOOTER} of any dump")));
    }
    let mut footer = vec![0; len];
    file.read_exact_at(&mut footer, start)?;
    let mut thrift = Thrift { bytes: &footer, at: 0 };
    walk_footer(&mut thrift)
        .ok_or_else(|| damaged(format!("the footer is broken at byte {}", start + thrift.at as u64)))
}

fn walk_footer(thrift: &mut Thrift<'_>) -> Option<()> {
    const SCHEMA: i16 = 2;
    let mut last = 0;
    while let Some((id, kind)) = thrift.field(&mut last)? {
        if (id, kind) == (SCHEMA, Thrift::LIST) { walk_schema(thrift)? } else { thrift.skip(kind, 1)? }
    }
    Some(())
}

/// The elements of a schema stand one after the other; each says how many of the next are inside it.
fn walk_schema(thrift: &mut Thrift<'_>) -> Option<()> {
    const CHILDREN: i16 = 5;
    let (kind, count) = thrift.list()?;
    // Of each that is open, how many are still to come in it.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..count {
        let mut children = 0;
        let mut last = 0;
        if kind != Thrift::STRUCT {
            return None;
        }
        while let Some((id, kind)) = thrift.field(&mut last)? {
            match id {
                CHILDREN => children = (kind == Thrift::I32).then(|| thrift.number())??,
                _ => thrift.skip(kind, 2)?,
            }
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        while open.pop_if(|left| *left <= 0).is_some() {}
        if open.len() > DEEPEST_SCHEMA {
            return None;
        }
    }
    Some(())
}

/// What the pages of a column hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Bytes of its pages without compression.
    pub bytes: u64,
    /// The most rows to decode at once.
    pub rows: u64,
    /// Bytes of its largest page and of its dictionary.
    pub held: u64,
}

/// Goes through the pages of all columns of a row group of `rows` rows.
///
/// # Errors
/// `FormatError` as of each, or if so much would be in memory at once as no row group of a sink asks for.
pub(super) fn survey_group(
    file: &File,
    columns: &[ColumnChunkMetaData],
    rows: u64,
) -> Result<Vec<Survey>, FormatError> {
    let share = (MOST_AT_ONCE / columns.len().max(1) as u64).max(COLUMN_AT_ONCE);
    let surveys = columns.iter().map(|chunk| survey(file, chunk, (rows, share)));
    let surveys: Vec<Survey> = surveys.collect::<Result<_, _>>()?;
    let held = surveys.iter().map(|survey| survey.held).fold(0, u64::saturating_add);
    let most = MOST_HELD + columns.len() as u64 * HELD_PER_COLUMN;
    match held > most {
        true => Err(damaged(format!(
            "its {} columns would inflate to {held} bytes at once, more than the {most} they may",
            columns.len()
        ))),
        false => Ok(surveys),
    }
}

/// Goes through the pages of a column chunk, which belongs to a row group of so many rows and may come to so many bytes
/// when some of them are decoded.
///
/// # Errors
/// `FormatError` names the page, by its place in the file, that is not one of a sink or does not fit the chunk.
fn survey(
    file: &File,
    chunk: &ColumnChunkMetaData,
    (rows, share): (u64, u64),
) -> Result<Survey, FormatError> {
    let name = chunk.column_path().string();
    let bad = |what: String| damaged(format!("column {name:?}: {what}"));
    let size = file.metadata()?.len();
    let first = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let (start, len) = match (u64::try_from(first), u64::try_from(chunk.compressed_size())) {
        (Ok(start), Ok(len)) if start.checked_add(len).is_some_and(|end| end <= size) => (start, len),
        _ => return Err(bad("it lies outside of the file".to_owned())),
    };
    let compressed = match chunk.compression() {
        Compression::UNCOMPRESSED => false,
        Compression::ZSTD(_) => true,
        other => return Err(bad(format!("it is compressed by {other}, as no dump is"))),
    };
    let repeats = chunk.column_descr().max_rep_level() > 0;
    let mut pages = Vec::new();
    let (mut longest, mut dictionary) = (0, 0);
    let mut at = start;
    let end = start + len;
    while at < end {
        let place = at;
        let bad = |what: &str| bad(format!("page at byte {place}: {what}"));
        let page = Page::read(file, place, end)?.map_err(|what| bad(&what))?;
        if !compressed && page.stored != page.bytes {
            return Err(bad("its two lengths differ, though it is not compressed"));
        }
        at = page.body + page.stored;
        if page.is_dictionary {
            if !pages.is_empty() || page.body > start + MOST_HEADER as u64 {
                return Err(bad("a dictionary behind the first page"));
            }
            dictionary = page.bytes;
            longest = longest_value(file, chunk.column_type(), &page, compressed)?.map_err(bad)?;
            continue;
        }
        pages.push(page);
    }
    let values = pages.iter().fold(0_u64, |sum, page| sum.saturating_add(page.values));
    if Ok(values) != u64::try_from(chunk.num_values()) {
        return Err(bad(format!("{} values announced, its pages hold {values}", chunk.num_values())));
    }
    if values < rows || !repeats && values != rows {
        return Err(bad(format!("{values} values for {rows} rows")));
    }
    let at_once = match repeats {
        false => pages.iter().map(|page| page.cost(longest) / page.values.max(1)).max(),
        // Rows may have any number of elements, of which a page tells nothing but that it holds whole rows.
        true if total(&pages, longest) <= MOST_ELEMENTS => None,
        true => {
            for page in &pages {
                if !begins_a_row(file, page, chunk.column_descr().max_rep_level(), compressed)? {
                    return Err(bad(format!("page at byte {}: it begins inside a row", page.at)));
                }
            }
            pages.iter().map(|page| page.cost(longest)).max()
        }
    };
    let bytes = pages.iter().map(|page| page.bytes).fold(0, u64::saturating_add);
    let held = pages.iter().map(|page| page.bytes).max().unwrap_or(0).saturating_add(dictionary);
    Ok(Survey { bytes, rows: at_once.map_or(u64::MAX, |each| (share / each.max(1)).max(1)), held })
}

fn total(pages: &[Page], longest: u64) -> u64 {
    pages.iter().map(|page| page.cost(longest)).fold(0, u64::saturating_add)
}

/// A page as its header tells of it.
struct Page {
    is_dictionary: bool,
    /// Whether its values stand in the dictionary.
    refers: bool,
    /// Bytes without compression.
    bytes: u64,
    /// Bytes in the file.
    stored: u64,
    values: u64,
    /// Where its header and its bytes begin.
    at: u64,
    body: u64,
}

impl Page {
    /// Reads the header of the page at a place, which must end before `end`; what is wrong with it, if anything is.
    fn read(file: &File, at: u64, end: u64) -> Result<Result<Page, String>, FormatError> {
        let room = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut bytes = vec![0; HEADER.min(room)];
        file.read_exact_at(&mut bytes, at)?;
        let mut header = Header::read(&bytes);
        if header.is_none() && bytes.len() < MOST_HEADER.min(room) {
            bytes.resize(MOST_HEADER.min(room), 0);
            file.read_exact_at(&mut bytes, at)?;
            header = Header::read(&bytes);
        }
        let Some(header) = header else { return Ok(Err("its header is broken".to_owned())) };
        Ok(header.page(at, end))
    }

    /// Bytes that its values may take decoded, if the longest value of the dictionary has so many.
    fn cost(&self, longest: u64) -> u64 {
        let each = if self.refers { PER_VALUE + longest } else { PER_VALUE };
        self.bytes.saturating_add(self.values.saturating_mul(each))
    }
}

/// The numbers of a page header.
#[derive(Default)]
struct Header {
    kind: Option<i64>,
    bytes: Option<i64>,
    stored: Option<i64>,
    /// The data page's, or the dictionary's: how many values, and how they are encoded.
    data: Option<(i64, i64)>,
    dictionary: Option<(i64, i64)>,
    /// Bytes of the header itself.
    len: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Header> {
        let mut thrift = Thrift { bytes, at: 0 };
        let mut header = Header::default();
        let mut last = 0;
        while let Some((id, kind)) = thrift.field(&mut last)? {
            let number = match id {
                1 => &mut header.kind,
                2 => &mut header.bytes,
                3 => &mut header.stored,
                5 | 7 if kind == Thrift::STRUCT => {
                    let found = Header::values(&mut thrift)?;
                    let place = if id == 5 { &mut header.data } else { &mut header.dictionary };
                    *place = Some(found);
                    continue;
                }
                _ => {
                    thrift.skip(kind, 1)?;
                    continue;
                }
            };
            // The library would read any number here, whatever kind it is said to be.
            *number = Some((kind == Thrift::I32).then(|| thrift.number())??);
        }
        header.len = thrift.at;
        Some(header)
    }

    fn values(thrift: &mut Thrift<'_>) -> Option<(i64, i64)> {
        let (mut values, mut encoding) = (None, None);
        let mut last = 0;
        while let Some((id, kind)) = thrift.field(&mut last)? {
            let number = match id {
                1 => &mut values,
                2 => &mut encoding,
                _ => {
                    thrift.skip(kind, 2)?;
                    continue;
                }
            };
            *number = Some((kind == Thrift::I32).then(|| thrift.number())??);
        }
        Some((values?, encoding?))
    }

    fn page(&self, at: u64, end: u64) -> Result<Page, String> {
        const DATA: i64 = 0;
        const DICTIONARY: i64 = 2;
        /// Plain, by an old and a new name of dictionaries, levels and booleans, integers by their steps.
        const PLAIN: i64 = 0;
        const OLD_DICTIONARY: i64 = 2;
        const BY_DICTIONARY: i64 = 8;
        const OF_DATA: [i64; 5] = [PLAIN, OLD_DICTIONARY, 3, 5, BY_DICTIONARY];
        const OF_DICTIONARY: [i64; 2] = [PLAIN, OLD_DICTIONARY];
        let (is_dictionary, numbers) = match self.kind {
            Some(DATA) => (false, self.data),
            Some(DICTIONARY) => (true, self.dictionary),
            _ => return Err("of a kind that no dump has".to_owned()),
        };
        let (Some((values, encoding)), Some(bytes), Some(stored)) = (numbers, self.bytes, self.stored) else {
            return Err("its header is broken".to_owned());
        };
        let known = if is_dictionary { &OF_DICTIONARY[..] } else { &OF_DATA };
        if !known.contains(&encoding) {
            return Err(format!("in encoding {encoding}, as no dump has it"));
        }
        let body = at + self.len as u64;
        let stored = u64::try_from(stored).ok().filter(|stored| *stored <= end - body);
        let stored = stored.ok_or("it ends behind its column")?;
        let bytes = u64::try_from(bytes).map_err(|_| "a length below zero")?;
        if bytes > MOST_PAGE {
            return Err(format!(
                "it would inflate to {bytes} bytes, more than the {MOST_PAGE} a page may have"
            ));
        }
        let values = u64::try_from(values).map_err(|_| "less than no values")?;
        if values > MOST_VALUES {
            return Err(format!("{values} values, more than the {MOST_VALUES} a page may have"));
        }
        let refers = encoding == BY_DICTIONARY || encoding == OLD_DICTIONARY;
        Ok(Page { is_dictionary, refers, bytes, stored, values, at, body })
    }
}

/// The first bytes of a page, so many at most, without compression.
fn inflate(file: &File, page: &Page, compressed: bool, most: u64) -> io::Result<Vec<u8>> {
    /// More than zstd needs for its first block.
    const BLOCK: u64 = 256 << 10;
    let stored = if compressed { page.stored.min(most.saturating_add(BLOCK)) } else { page.stored.min(most) };
    let mut bytes = vec![0; usize::try_from(stored).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, page.body)?;
    if !compressed {
        return Ok(bytes);
    }
    let mut inflated = Vec::new();
    zstd::stream::read::Decoder::with_buffer(&bytes[..])?.take(most).read_to_end(&mut inflated)?;
    Ok(inflated)
}

/// Bytes of the longest value of a dictionary page, or what is wrong with it.
fn longest_value(
    file: &File,
    of: Type,
    page: &Page,
    compressed: bool,
) -> Result<Result<u64, &'static str>, FormatError> {
    if of != Type::BYTE_ARRAY || page.bytes <= SMALL_DICTIONARY {
        return Ok(Ok(if of == Type::BYTE_ARRAY { page.bytes } else { 0 }));
    }
    let Ok(bytes) = inflate(file, page, compressed, page.bytes) else {
        return Ok(Err("a dictionary that cannot be inflated"));
    };
    let mut longest = 0;
    let mut rest = &bytes[..];
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len);
        let Some(tail) = tail.get(len as usize..) else {
            return Ok(Err("a dictionary with a value that ends behind it"));
        };
        longest = longest.max(u64::from(len));
        rest = tail;
    }
    Ok(Ok(longest))
}

/// Whether a page's first repetition level is that of a new row.
fn begins_a_row(file: &File, page: &Page, most: i16, compressed: bool) -> Result<bool, FormatError> {
    /// A length, the head of a run, a level.
    const LEVELS: u64 = 16;
    if page.values == 0 {
        return Ok(true);
    }
    let Ok(bytes) = inflate(file, page, compressed, LEVELS) else { return Ok(false) };
    let mut thrift = Thrift { bytes: bytes.get(4..).unwrap_or_default(), at: 0 };
    let width = i16::BITS - most.leading_zeros();
    let first = thrift.varint().zip(thrift.byte());
    Ok(first.is_some_and(|(run, level)| match run & 1 {
        0 => level == 0,
        _ => u32::from(level) & ((1 << width) - 1) == 0,
    }))
}

/// Thrift's compact protocol, as far as it takes to walk over it.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    const I32: u8 = 5;
    const LIST: u8 = 9;
    const STRUCT: u8 = 12;
    /// The least bytes of a struct in a list of Parquet: a field of one byte, another byte, and the end.
    const LEAST_STRUCT: u64 = 3;

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn number(&mut self) -> Option<i64> {
        let zigzag = self.varint()?;
        Some((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()))
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        let end = self.at.checked_add(usize::try_from(bytes).ok()?)?;
        self.at = Some(end).filter(|end| *end <= self.bytes.len())?;
        Some(())
    }

    /// Number and kind of the next field; `Some(None)` at the struct's end.
    fn field(&mut self, last: &mut i16) -> Option<Option<(i16, u8)>> {
        let head = self.byte()?;
        let kind = head & 15;
        if kind == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => i16::try_from(self.number()?).ok()?,
            step => last.checked_add(i16::from(step))?,
        };
        Some(Some((*last, kind)))
    }

    /// Kind and number of the elements of a list, which are all there by their least size.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        let least = if head & 15 == Thrift::STRUCT { Thrift::LEAST_STRUCT } else { 1 };
        let left = (self.bytes.len() - self.at) as u64;
        (count.checked_mul(least)? <= left).then_some((head & 15, count))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        match kind {
            // A boolean field is all in its head.
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let len = self.varint()?;
                self.pass(len)
            }
            Thrift::LIST | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| if kind <= 2 { self.pass(1) } else { self.skip(kind, depth + 1) })
            }
            Thrift::STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
}

fn damaged(what: String) -> FormatError {
    FormatError::Damaged(what)
}
