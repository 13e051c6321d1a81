//! The data that flows through the tool: cells and pages, in the wire's own bytes.
//!
//! A page is the meeting point of both directions: a scan hands on pages as the server sent them, a source builds pages
//! of the same form, and the sinks and the loader see no difference. What the bytes mean is left to `types`.

use bytes::Bytes;
use thiserror::Error;

/// One value in the native protocol's bytes; `None` is null, `Some(&[])` is the empty value, which is not null.
pub type Cell<'a> = Option<&'a [u8]>;

/// A page whose length prefixes do not fit its bytes, or that outgrows the addresses a page can hold.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadPage {
    /// The bytes end before the last cell does, or go on after it.
    #[error("{rows} rows of {width} columns do not fit the {bytes} bytes of the page")]
    Shape {
        /// Rows announced.
        rows: usize,
        /// Cells per row.
        width: usize,
        /// Bytes present.
        bytes: usize,
    },
    /// A page addresses its cells by 32-bit offsets.
    #[error("a page of more than 4 GiB")]
    TooLarge,
}

/// Where a cell lies in its page's bytes; `len` is `NULL` for null.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

const NULL: u32 = u32::MAX;

/// Bytes of a length prefix.
const PREFIX: u32 = 4;

/// Rows of `width` cells each, in wire bytes.
#[derive(Clone, Debug)]
pub struct Page {
    bytes: Bytes,
    spans: Vec<Span>,
    width: usize,
    /// Bytes of the values together.
    value_bytes: usize,
}

impl Page {
    /// Reads a result page: per row and column an `i32` length and that many bytes, any negative length being null
    /// (servers write -1 only).
    ///
    /// # Errors
    /// `BadPage` if the length prefixes do not end exactly where the bytes do.
    pub fn from_wire(bytes: Bytes, rows: usize, width: usize) -> Result<Page, BadPage> {
        let shape = || BadPage::Shape { rows, width, bytes: bytes.len() };
        if bytes.len() >= NULL as usize {
            return Err(BadPage::TooLarge);
        }
        let cells = rows.checked_mul(width).ok_or_else(shape)?;
        // Every cell takes at least its length prefix, so a lying row count cannot allocate more than the bytes allow.
        if cells > bytes.len() / 4 {
            return Err(shape());
        }
        let mut spans = Vec::with_capacity(cells);
        let mut at = 0_u32;
        for _ in 0..cells {
            let head = bytes.get(at as usize..).and_then(<[u8]>::first_chunk);
            let len = i32::from_be_bytes(*head.ok_or_else(shape)?);
            // Within the bytes, which are fewer than 32 bits count.
            at += PREFIX;
            spans.push(match u32::try_from(len) {
                Err(_) => Span { start: 0, len: NULL },
                Ok(len) => {
                    let start = at;
                    at = start.checked_add(len).ok_or_else(shape)?;
                    Span { start, len }
                }
            });
        }
        if at as usize != bytes.len() {
            return Err(shape());
        }
        let value_bytes = bytes.len() - cells * PREFIX as usize;
        Ok(Page { bytes, spans, width, value_bytes })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.spans.len().checked_div(self.width).unwrap_or(0)
    }

    /// Number of cells per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// Bytes of the values in this page, without length prefixes.
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// Cells of the first `columns` columns that are not null.
    pub fn cells(&self, columns: usize) -> usize {
        let rows = self.spans.chunks_exact(self.width.max(1));
        rows.map(|row| row[..columns].iter().filter(|s| s.len != NULL).count()).sum()
    }

    /// The cell at `row`, `column`; both must be within the page.
    pub fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        self.slice(self.spans[row * self.width + column])
    }

    /// The cells of one row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = Cell<'_>> {
        self.spans[row * self.width..(row + 1) * self.width].iter().map(|s| self.slice(*s))
    }

    /// The cells of one column, in row order.
    pub fn column(&self, column: usize) -> Vec<Cell<'_>> {
        self.cells_of(column).collect()
    }

    /// The same, one after the other.
    pub fn cells_of(&self, column: usize) -> impl Iterator<Item = Cell<'_>> {
        self.spans.iter().skip(column).step_by(self.width.max(1)).map(|s| self.slice(*s))
    }

    /// The rows `range` as a page of their own, sharing the bytes.
    pub fn part(&self, range: std::ops::Range<usize>) -> Page {
        let spans = self.spans[range.start * self.width..range.end * self.width].to_vec();
        let value_bytes = value_bytes(&spans);
        Page { bytes: self.bytes.clone(), spans, width: self.width, value_bytes }
    }

    /// Bytes of the values in one row.
    pub fn row_bytes(&self, row: usize) -> usize {
        value_bytes(&self.spans[row * self.width..(row + 1) * self.width])
    }

    /// These columns, in this order, as a page of their own, sharing the bytes.
    pub fn columns(&self, columns: &[usize]) -> Page {
        let rows = self.spans.chunks_exact(self.width.max(1));
        let spans: Vec<Span> = rows.flat_map(|row| columns.iter().map(|column| row[*column])).collect();
        let value_bytes = value_bytes(&spans);
        Page { bytes: self.bytes.clone(), spans, width: columns.len(), value_bytes }
    }

    /// The same page with the cells of some columns replaced: `write` is given each that is not null, and appends what
    /// takes its place.
    ///
    /// # Errors
    /// What `write` returns, or `BadPage::TooLarge` if the page would pass 4 GiB.
    pub fn replacing<E: From<BadPage>>(
        self,
        columns: &[usize],
        mut write: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Page, E> {
        let places = |row: usize| columns.iter().map(move |column| row * self.width + column);
        let mut all = (0..self.rows()).flat_map(places);
        // In most pages there is nothing to replace, and the bytes need not be copied.
        if !all.any(|at| self.spans[at].len != NULL) {
            return Ok(self);
        }
        let mut bytes = self.bytes.to_vec();
        let mut spans = self.spans.clone();
        for at in (0..self.rows()).flat_map(places) {
            if let Some(old) = self.slice(self.spans[at]) {
                let start = bytes.len();
                write(old, &mut bytes)?;
                spans[at] = span(start, bytes.len() - start)?;
            }
        }
        let value_bytes = value_bytes(&spans);
        Ok(Page { bytes: Bytes::from(bytes), spans, width: self.width, value_bytes })
    }

    fn slice(&self, span: Span) -> Cell<'_> {
        (span.len != NULL).then(|| &self.bytes[span.start as usize..(span.start + span.len) as usize])
    }
}

/// Makes a page cell by cell, row after row.
#[derive(Debug)]
pub struct PageBuilder {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    width: usize,
}

impl PageBuilder {
    /// An empty page of `width` cells per row.
    pub fn new(width: usize) -> PageBuilder {
        PageBuilder { bytes: Vec::new(), spans: Vec::new(), width }
    }

    /// Appends a cell.
    ///
    /// # Errors
    /// `BadPage::TooLarge` if the page would pass 4 GiB.
    pub fn push(&mut self, cell: Cell<'_>) -> Result<(), BadPage> {
        let start = self.bytes.len();
        if let Some(value) = cell {
            self.bytes.extend_from_slice(value);
        }
        self.end_cell(start, cell.is_some())
    }

    /// Appends the cell that `write` appends to the buffer it is given; `write` answers false for null.
    ///
    /// # Errors
    /// What `write` returns, or `BadPage::TooLarge` if the page would pass 4 GiB.
    pub fn push_with<E: From<BadPage>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        let present = write(&mut self.bytes)?;
        Ok(self.end_cell(start, present)?)
    }

    /// Bytes of the values so far.
    pub fn value_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whole rows so far.
    pub fn rows(&self) -> usize {
        self.spans.len().checked_div(self.width).unwrap_or(0)
    }

    /// Takes back the cells of a row that was begun and not ended.
    pub fn drop_open_row(&mut self) {
        self.truncate(self.rows());
    }

    /// Takes back all that follows the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        let whole = self.spans.len().min(rows * self.width);
        if let Some(first) = self.spans[whole..].iter().find(|s| s.len != NULL) {
            self.bytes.truncate(first.start as usize);
        }
        self.spans.truncate(whole);
    }

    /// The finished page; cells of an unfinished last row are left out.
    pub fn finish(mut self) -> Page {
        self.drop_open_row();
        let value_bytes = self.bytes.len();
        Page { bytes: Bytes::from(self.bytes), spans: self.spans, width: self.width, value_bytes }
    }

    fn end_cell(&mut self, start: usize, present: bool) -> Result<(), BadPage> {
        self.spans.push(if present {
            span(start, self.bytes.len() - start)?
        } else {
            self.bytes.truncate(start);
            Span { start: 0, len: NULL }
        });
        Ok(())
    }
}

/// Makes a page of so many rows column by column, each cell null until it is put there.
#[derive(Debug)]
pub struct PageColumns {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    width: usize,
    too_large: bool,
}

impl PageColumns {
    /// A page of `rows` rows of `width` cells, all null.
    pub fn new(rows: usize, width: usize) -> PageColumns {
        let spans = vec![Span { start: 0, len: NULL }; rows.saturating_mul(width)];
        PageColumns { bytes: Vec::new(), spans, width, too_large: false }
    }

    /// The cells of a column, from its first row on.
    pub fn column(&mut self, column: usize) -> ColumnCells<'_> {
        let spans = self.spans.iter_mut().skip(column).step_by(self.width.max(1));
        ColumnCells { bytes: &mut self.bytes, spans, too_large: &mut self.too_large }
    }

    /// The finished page.
    ///
    /// # Errors
    /// `BadPage::TooLarge` if it would pass 4 GiB.
    pub fn finish(self) -> Result<Page, BadPage> {
        if self.too_large {
            return Err(BadPage::TooLarge);
        }
        let value_bytes = value_bytes(&self.spans);
        Ok(Page { bytes: Bytes::from(self.bytes), spans: self.spans, width: self.width, value_bytes })
    }
}

/// The cells of one column of a page in the making, row after row.
#[derive(Debug)]
pub struct ColumnCells<'a> {
    bytes: &'a mut Vec<u8>,
    spans: std::iter::StepBy<std::iter::Skip<std::slice::IterMut<'a, Span>>>,
    too_large: &'a mut bool,
}

impl ColumnCells<'_> {
    /// Puts the next cell, which `write` appends to the buffer it is given; `write` answers false for null. Cells beyond
    /// the last row are left out.
    ///
    /// # Errors
    /// What `write` returns.
    #[inline]
    pub fn push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>) -> Result<(), E> {
        let start = self.bytes.len();
        let present = write(self.bytes)?;
        if let Some(place) = self.spans.next()
            && present
        {
            match span(start, self.bytes.len() - start) {
                Ok(span) => *place = span,
                Err(_) => *self.too_large = true,
            }
        } else {
            self.bytes.truncate(start);
        }
        Ok(())
    }
}

fn value_bytes(spans: &[Span]) -> usize {
    spans.iter().filter(|s| s.len != NULL).map(|s| s.len as usize).sum()
}

fn span(start: usize, len: usize) -> Result<Span, BadPage> {
    match (u32::try_from(start), u32::try_from(start + len), u32::try_from(len)) {
        (Ok(start), Ok(_), Ok(len)) if len != NULL => Ok(Span { start, len }),
        _ => Err(BadPage::TooLarge),
    }
}

/// Takes one length-prefixed cell off the front: `Some(None)` is null, `None` is bytes that end too early.
///
/// The same form separates the fields of tuples and UDTs and the elements of collections.
pub fn take_cell<'a>(rest: &mut &'a [u8]) -> Option<Cell<'a>> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    let Ok(len) = usize::try_from(i32::from_be_bytes(*head)) else {
        *rest = tail;
        return Some(None);
    };
    let (value, tail) = tail.split_at_checked(len)?;
    *rest = tail;
    Some(Some(value))
}

/// Appends one length-prefixed cell, the inverse of [`take_cell`]; answers false if it is longer than an `i32` can say.
#[must_use]
pub fn put_cell(cell: Cell<'_>, out: &mut Vec<u8>) -> bool {
    match cell {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(value) => {
            let Ok(len) = i32::try_from(value.len()) else {
                return false;
            };
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(value);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(cells: &[Cell<'_>]) -> Bytes {
        let mut out = Vec::new();
        for cell in cells {
            assert!(put_cell(*cell, &mut out));
        }
        Bytes::from(out)
    }

    #[test]
    fn a_wire_page_gives_its_cells_back() {
        let cells = [Some(&b"a"[..]), None, Some(b""), Some(b"\x00\x01")];
        let page = Page::from_wire(wire(&cells), 2, 2).unwrap();
        assert_eq!(page.rows(), 2);
        assert_eq!(page.row(0).collect::<Vec<_>>(), cells[..2]);
        assert_eq!(page.column(1), [None, Some(&b"\x00\x01"[..])]);
        assert_eq!(page.part(1..2).row(0).collect::<Vec<_>>(), cells[2..]);
        let swapped = page.columns(&[1, 0]);
        assert_eq!(swapped.row(1).collect::<Vec<_>>(), [Some(&b"\x00\x01"[..]), Some(b"")]);
        assert_eq!((swapped.rows(), page.columns(&[0]).width()), (2, 1));
        assert_eq!((page.cells(2), page.cells(1), page.value_bytes()), (3, 2, 3));
    }

    #[test]
    fn replaced_cells_stand_where_the_old_ones_stood() {
        let cells = [Some(&b"a"[..]), None, Some(b"b"), Some(b"cd")];
        let page = Page::from_wire(wire(&cells), 2, 2).unwrap();
        let page = page
            .replacing::<BadPage>(&[1], |old, out| {
                out.extend_from_slice(b"<");
                out.extend_from_slice(old);
                Ok(())
            })
            .unwrap();
        assert_eq!(page.row(0).collect::<Vec<_>>(), [Some(&b"a"[..]), None]);
        assert_eq!(page.row(1).collect::<Vec<_>>(), [Some(&b"b"[..]), Some(b"<cd")]);
    }

    #[test]
    fn cells_are_replaced_all_of_them_or_none() {
        let cells = [None, Some(&b"a"[..]), None, Some(b""), None, Some(b"b")];
        let page = || Page::from_wire(wire(&cells), 3, 2).unwrap();
        let mut seen = Vec::new();
        let mut upper = |old: &[u8], out: &mut Vec<u8>| -> Result<(), BadPage> {
            seen.push(old.to_vec());
            out.extend(old.to_ascii_uppercase());
            Ok(())
        };
        let replaced = page().replacing(&[0, 1], &mut upper).unwrap();
        assert_eq!(replaced.column(0), [None, None, None]);
        assert_eq!(replaced.column(1), [Some(&b"A"[..]), Some(b""), Some(b"B")]);
        assert_eq!((replaced.rows(), replaced.value_bytes()), (3, 2));
        assert_eq!(replaced.part(2..3).row(0).collect::<Vec<_>>(), [None, Some(&b"B"[..])]);
        assert_eq!(page().replacing(&[0], &mut upper).unwrap().column(1), page().column(1));
        assert_eq!(seen, [&b"a"[..], b"", b"b"], "a null is not asked for");
        let refused =
            page().replacing(&[1], |old, _| if old == b"b" { Err(BadPage::TooLarge) } else { Ok(()) });
        assert_eq!(refused.err(), Some(BadPage::TooLarge));
    }

    #[test]
    fn a_page_that_lies_about_its_shape_is_refused() {
        let bytes = wire(&[Some(b"abc"), None]);
        for (rows, width) in [(1, 1), (2, 2), (usize::MAX, 2), (1 << 40, 1)] {
            assert!(Page::from_wire(bytes.clone(), rows, width).is_err(), "{rows} x {width}");
        }
        for len in 0..bytes.len() {
            assert!(Page::from_wire(bytes.slice(..len), 1, 2).is_err(), "{len}");
        }
        let longer = Bytes::from([&bytes[..], b"x"].concat());
        assert!(Page::from_wire(longer, 1, 2).is_err());
        let endless = Bytes::from_static(b"\x7f\xff\xff\xff\x7f\xff\xff\xff\x7f\xff\xff\xff");
        assert!(Page::from_wire(endless, 1, 3).is_err());
    }

    #[test]
    fn a_page_made_by_columns_has_its_rows() {
        let mut page = PageColumns::new(2, 3);
        for (column, cells) in [(2, [Some(&b"ab"[..]), None]), (0, [Some(b""), Some(b"c")])] {
            let mut column = page.column(column);
            for cell in cells.into_iter().chain([Some(&b"beyond"[..])]) {
                column
                    .push_with::<BadPage>(|out| {
                        out.extend_from_slice(cell.unwrap_or(b"left over"));
                        Ok(cell.is_some())
                    })
                    .unwrap();
            }
        }
        let refused = page.column(1).push_with(|_| Err(BadPage::TooLarge));
        assert_eq!(refused, Err(BadPage::TooLarge));
        let page = page.finish().unwrap();
        assert_eq!((page.rows(), page.value_bytes()), (2, 3));
        assert_eq!(page.row(0).collect::<Vec<_>>(), [Some(&b""[..]), None, Some(b"ab")]);
        assert_eq!(page.row(1).collect::<Vec<_>>(), [Some(&b"c"[..]), None, None]);
        assert_eq!((page.row_bytes(0), page.row_bytes(1)), (2, 1));
        assert_eq!(page.part(1..2).value_bytes(), 1);
    }

    #[test]
    fn a_built_page_equals_the_wire_page_and_drops_an_open_row() {
        let mut b = PageBuilder::new(2);
        b.push(Some(b"k")).unwrap();
        b.push_with::<BadPage>(|out| {
            out.extend_from_slice(b"left over");
            Ok(false)
        })
        .unwrap();
        b.push(Some(b"half a row")).unwrap();
        let page = b.finish();
        assert_eq!(page.rows(), 1);
        assert_eq!(page.row(0).collect::<Vec<_>>(), [Some(&b"k"[..]), None]);
        assert_eq!(page.value_bytes(), 1);
    }
}
