//! File formats: for each one a sink (pages to a file) and a source (a file to pages), side by side.
//! Where files lie, how they are named, synced and found again is left to `store`; what a cell means to `types`.
//!
//! Files of a dump hold one natural column per CQL column and the exceptions column last: a map from column name to the
//! raw wire bytes of each cell that the natural column would not give back exactly, null in almost every row. Files of
//! an export are for other programs: the natural columns alone, and in one more format, which has no source.

pub mod csv;
#[cfg(test)]
mod hostile;
pub mod jsonl;
pub mod parquet;
#[cfg(test)]
mod tests;

use crate::rows::{BadPage, Page};
use crate::types::cql::CqlType;
use crate::types::{BadValue, Codec};
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use thiserror::Error;

/// A file format of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet, zstd-compressed.
    Parquet,
    /// RFC 4180 text with a header line.
    Csv,
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Format] = &[Format::Parquet, Format::Csv];

    /// The name in options, manifests and file extensions.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// A sink that writes pages of `layout` into `file`.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be begun.
    pub fn sink<W: Write + Send + 'static>(
        self,
        layout: &Layout,
        options: SinkOptions,
        file: W,
    ) -> Result<Box<dyn Sink<W>>, FormatError> {
        Ok(match self {
            Format::Parquet => Box::new(parquet::ParquetSink::new(layout, options, file)?),
            Format::Csv => Box::new(csv::CsvSink::new(layout, file)?),
        })
    }

    /// A source that reads a file which a sink of the same format and layout has written.
    ///
    /// # Errors
    /// `FormatError` if the file does not hold the columns of `layout`.
    pub fn source(self, layout: &Layout, file: File) -> Result<Box<dyn Source>, FormatError> {
        Ok(match self {
            Format::Parquet => Box::new(parquet::ParquetSource::open(layout, file)?),
            Format::Csv => Box::new(csv::CsvSource::of_dump(layout, file)?),
        })
    }
}

/// A file format of an export: values alone, for programs that know nothing of dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// RFC 4180 text with a header line.
    Csv,
    /// Apache Parquet, zstd-compressed.
    Parquet,
    /// A JSON object per line.
    Jsonl,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: &'static [ExportFormat] = &[ExportFormat::Csv, ExportFormat::Parquet, ExportFormat::Jsonl];

    /// The name in options and file extensions.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::Csv => "csv",
            ExportFormat::Parquet => "parquet",
            ExportFormat::Jsonl => "jsonl",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<ExportFormat> {
        ExportFormat::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// A sink that writes pages of `columns` into `file`. What it counts are the cells that the file shows as well as it
    /// can, or as null, since their values have no exact form there.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be begun.
    pub fn sink<W: Write + Send + 'static>(
        self,
        columns: &[Column],
        options: SinkOptions,
        file: W,
    ) -> Result<Box<dyn Sink<W>>, FormatError> {
        Ok(match self {
            ExportFormat::Csv => Box::new(csv::CsvSink::of_values(columns, options, file)?),
            ExportFormat::Parquet => Box::new(parquet::ParquetSink::of_values(columns, options, file)?),
            ExportFormat::Jsonl => Box::new(jsonl::JsonlSink::new(columns, file)),
        })
    }
}

/// What the caller of a sink decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// Encoded bytes at which a row group of Parquet is closed; as much stays in memory until then. The other formats
    /// hold nothing back.
    pub row_group_bytes: usize,
    /// Whether CSV begins with the names of the columns: of several sinks of one file, only the first may.
    pub header: bool,
}

impl Default for SinkOptions {
    /// Row groups of 8 MiB: large enough to compress well, small enough to hold several in memory.
    fn default() -> SinkOptions {
        SinkOptions { row_group_bytes: 8 << 20, header: true }
    }
}

/// A column as files hold it.
#[derive(Clone)]
pub struct Column {
    /// True name, unquoted.
    pub name: String,
    /// CQL type; its printed form travels in the Parquet field metadata, since list and set share an Arrow type.
    pub cql_type: CqlType,
    /// Both directions of its values.
    pub codec: Arc<dyn Codec>,
}

/// What the columns of a file are, in the order of the cells of its pages.
#[derive(Clone)]
pub struct Layout {
    /// The natural columns.
    pub columns: Vec<Column>,
    /// Name of the exceptions column: `__wire` unless a real column is called that.
    pub exceptions: String,
}

impl Layout {
    /// The layout of `columns`, with a name for the exceptions column that no column has.
    pub fn new(columns: Vec<Column>) -> Layout {
        let mut exceptions = "__wire".to_owned();
        while columns.iter().any(|c| c.name == exceptions) {
            exceptions.push('_');
        }
        Layout { columns, exceptions }
    }

    /// The names of a file's columns, the exceptions column last.
    fn names(&self) -> impl Iterator<Item = &str> {
        let natural = self.columns.iter().map(|c| c.name.as_str());
        natural.chain(std::iter::once(self.exceptions.as_str()))
    }

    /// Refuses a file whose column names are not those of the layout, naming the first difference.
    fn check_names<'a>(&self, found: impl IntoIterator<Item = &'a str>) -> Result<(), FormatError> {
        // Rows without cells could not be counted, so a page of them would look like the end.
        if self.columns.is_empty() {
            return Err(FormatError::Columns("no columns to read".to_owned()));
        }
        let mut found = found.into_iter();
        let mut expected = self.names();
        let mut number = 0;
        loop {
            number += 1;
            return Err(FormatError::Columns(match (found.next(), expected.next()) {
                (None, None) => return Ok(()),
                (Some(found), Some(expected)) if found == expected => continue,
                (Some(found), Some(expected)) => {
                    format!("column {number} is {found:?}, expected {expected:?}")
                }
                (None, Some(expected)) => format!("column {number}, {expected:?}, is missing"),
                (Some(found), None) => format!("column {number}, {found:?}, is not expected"),
            }));
        }
    }
}

/// Refuses a page that has other cells per row than there are columns.
fn check_width(columns: usize, page: &Page) -> Result<(), FormatError> {
    if page.width() == columns {
        return Ok(());
    }
    Err(FormatError::Columns(format!("a page of {} columns for a file of {columns}", page.width())))
}

/// The file side of a dump or an export: takes pages, gives the file back when whole.
pub trait Sink<W>: Send {
    /// Appends the rows of a page; answers how many of its cells have no exact natural form. In a dump those went into
    /// the exceptions column.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be written.
    fn write(&mut self, page: &Page) -> Result<u64, FormatError>;

    /// Bytes the file will have, as far as it is known: written ones and an estimate of what is still in memory.
    fn size(&self) -> u64;

    /// Ends the file and gives it back, unsynced.
    ///
    /// # Errors
    /// `FormatError` if the file cannot be written.
    fn finish(self: Box<Self>) -> Result<W, FormatError>;
}

/// The file side of a load: gives pages, `None` at the end.
pub trait Source: Send {
    /// The next page, of at most about 1 MiB unless a single row is larger; never an empty one.
    ///
    /// # Errors
    /// `FormatError` names the place in the file and what is wrong there. A source that has failed is done with, unless
    /// it says otherwise.
    fn next_page(&mut self) -> Result<Option<Page>, FormatError>;

    /// The same, leaving to the caller when and where the page is decoded, as far as that can be left.
    ///
    /// # Errors
    /// As `next_page`; what is wrong with the values is told by the decoding.
    fn next_undecoded(&mut self) -> Result<Option<Undecoded>, FormatError> {
        Ok(self.next_page()?.map(|page| Box::new(|| Ok(Decoded::of(page))) as Undecoded))
    }

    /// Where the next page begins, if the file can be read from there on another time.
    fn place(&self) -> Option<Place> {
        None
    }
}

/// Where a record begins in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// Its line, from 1; the header is line 1.
    pub line: u64,
}

/// A page to be.
pub type Undecoded = Box<dyn FnOnce() -> Result<Decoded, FormatError> + Send>;

/// A page, which may be empty here, and what its file says besides.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that could be read.
    pub page: Page,
    /// The records that are no rows, in their order.
    pub bad: Vec<BadRecord>,
    /// What the rows were read from, if that is text.
    pub texts: Option<RowTexts>,
}

impl Decoded {
    /// A page of a file that has nothing but rows.
    fn of(page: Page) -> Decoded {
        Decoded { page, bad: Vec::new(), texts: None }
    }
}

/// A record that cannot be read.
#[derive(Debug)]
pub struct BadRecord {
    /// Line where it begins, from 1.
    pub line: u64,
    /// Its very bytes, its line end included.
    pub text: Bytes,
    /// What is wrong with it.
    pub error: FormatError,
}

/// The records that the rows of a page were read from.
#[derive(Debug)]
pub struct RowTexts {
    records: csv::RecordTexts,
    /// The numbers of the records that are no rows, ascending.
    bad: Vec<usize>,
}

impl RowTexts {
    /// The line where the record of a row begins, from 1, and its very bytes, its line end included.
    pub fn get(&self, row: usize) -> Option<(u64, Bytes)> {
        let mut record = row;
        for bad in &self.bad {
            record += usize::from(*bad <= record);
        }
        self.records.get(record)
    }

    /// Bytes that it takes in memory.
    pub fn bytes(&self) -> usize {
        self.records.bytes()
    }
}

impl FormatError {
    /// The column whose value it is about, if it is about one.
    pub fn column(&self) -> Option<&str> {
        match self {
            FormatError::Value { column, .. } => Some(column),
            _ => None,
        }
    }

    /// What is wrong, without the place.
    pub fn reason(&self) -> String {
        match self {
            FormatError::Value { error, .. } => error.to_string(),
            FormatError::Fields { what, .. } | FormatError::Record { what, .. } => what.clone(),
            other => other.to_string(),
        }
    }
}

impl From<::parquet::errors::ParquetError> for FormatError {
    /// Of a file that cannot be read or written the cause alone: the library puts `External` before it.
    fn from(error: ::parquet::errors::ParquetError) -> FormatError {
        match error {
            ::parquet::errors::ParquetError::External(cause) => match cause.downcast() {
                Ok(io) => FormatError::Io(*io),
                Err(cause) => FormatError::Parquet(::parquet::errors::ParquetError::External(cause)),
            },
            error => FormatError::Parquet(error),
        }
    }
}

/// What is wrong with a file, as far as its format goes. The file's name is added by the caller.
#[derive(Debug, Error)]
pub enum FormatError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The Parquet library refused.
    #[error("{0}")]
    Parquet(::parquet::errors::ParquetError),
    /// Arrow refused.
    #[error("{0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A page with impossible sizes.
    #[error(transparent)]
    Page(#[from] BadPage),
    /// The file's columns are not those expected.
    #[error("{0}")]
    Columns(String),
    /// A row too large to be written.
    #[error("a row of {bytes} bytes, more than the {limit} that one row may have")]
    RowTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that can be written.
        limit: usize,
    },
    /// A file that contradicts itself.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// A value that its column cannot hold.
    #[error("{place}, column {column:?}: {error}")]
    Value {
        /// `line 17` or `row 17`, counted from 1; the header is line 1.
        place: String,
        /// Column name.
        column: String,
        /// What is wrong with it.
        error: BadValue,
    },
    /// A record with more or fewer fields than the header; the records after it can be read.
    #[error("line {line}: {what}")]
    Fields {
        /// Line where the record begins, from 1; the header is line 1.
        line: u64,
        /// How many there are and should be.
        what: String,
    },
    /// A record that is not well formed.
    #[error("line {line}: {what}")]
    Record {
        /// Line where the record begins, from 1; the header is line 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}
