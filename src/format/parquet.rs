//! Apache Parquet: one record batch per page on the way in, one page per batch or less on the way out. What a value
//! becomes in Arrow is left to the codecs of `types`.
//!
//! The Arrow schema is embedded, so that a file read back has exactly the types that were written; readers that know
//! only Parquet see its logical types.
//!
//! A damaged file may be read as other data, since its pages carry no checksums. So whoever opens a file compares the
//! checksum of the whole with the one that `store` keeps, first. A file from a stranger may have a checksum that fits and
//! lie all the same: `survey` looks through its claims before the Parquet library believes them, and `panics` makes
//! errors of what the library does not expect. `ranges` is the file as the library reads it.

mod encoding;
mod panics;
mod ranges;
mod survey;

use self::encoding::{Storage, leaves, storage};
use self::ranges::Ranges;
use self::survey::{Survey, check_footer, survey_group};
use super::{Column, FormatError, Layout, Sink, SinkOptions, Source, check_width};
use crate::rows::{Cell, Page, PageColumns};
use crate::types::{BadValue, arrow};
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::schema::types::SchemaDescPtr;
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, MapArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Larger pages are written in parts: text in Arrow has 31-bit offsets, and a value may grow a few times as text.
const BATCH_BYTES: usize = 256 << 20;

/// So are pages whose vectors would take more than this if all were null: a null one takes the room of its elements.
const NULLS_BYTES: usize = 32 << 20;

/// What an element of a null vector takes, as a codec keeps it.
const NULL_BYTES: usize = size_of::<Cell<'_>>();

/// A single row cannot be divided; beyond this its text might pass the 31-bit offsets.
const ROW_BYTES: usize = 512 << 20;

/// What a page of a source may hold before it is handed out.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 5000;

/// The field metadata key under which a column's CQL type is found: list and set share an Arrow type.
const CQL_TYPE: &str = "cql.type";

/// Rows that show how the values of each column are best encoded, and bytes that are waited for at most.
const FIRST_ROWS: usize = 1000;
const FIRST_BYTES: usize = 1 << 20;

/// Writes pages into a Parquet file.
pub struct ParquetSink<W: Write + Send> {
    columns: Vec<Column>,
    /// Whether there is an exceptions column, the last one.
    keeps_exceptions: bool,
    schema: SchemaRef,
    options: SinkOptions,
    /// The columns of Parquet, of which a nested column has several.
    leaves: SchemaDescPtr,
    out: Out<W>,
    /// Rows whose vectors may all be null in one batch.
    most_rows: usize,
    /// Bytes of all column names, which is what a row of nothing but exceptions adds to its values.
    name_bytes: usize,
}

/// Where batches go: the encoding of a column is fixed when the library begins the file, so the first ones wait until
/// they show which is best.
enum Out<W: Write + Send> {
    Waiting(Lent<W>, First),
    Writing(Box<ArrowWriter<Lent<W>>>),
}

/// The first batches.
#[derive(Default)]
struct First {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Bytes of their values.
    bytes: usize,
}

impl<W: Write + Send> ParquetSink<W> {
    /// Begins a file for pages of `layout`.
    ///
    /// # Errors
    /// `FormatError` if Parquet cannot hold the columns or the file cannot be written.
    pub fn new(layout: &Layout, options: SinkOptions, file: W) -> Result<ParquetSink<W>, FormatError> {
        ParquetSink::begin(&layout.columns, Some(&layout.exceptions), options, file)
    }

    /// Begins a file of values alone, without an exceptions column.
    ///
    /// # Errors
    /// `FormatError` if Parquet cannot hold the columns or the file cannot be written.
    pub fn of_values(
        columns: &[Column],
        options: SinkOptions,
        file: W,
    ) -> Result<ParquetSink<W>, FormatError> {
        ParquetSink::begin(columns, None, options, file)
    }

    fn begin(
        columns: &[Column],
        exceptions: Option<&str>,
        options: SinkOptions,
        file: W,
    ) -> Result<ParquetSink<W>, FormatError> {
        let natural = columns.iter().map(|column| {
            let field = column.codec.field(&column.name);
            let mut metadata = field.metadata().clone();
            metadata.insert(CQL_TYPE.to_owned(), column.cql_type.to_string());
            field.with_metadata(metadata)
        });
        let fields: Vec<Field> = natural.chain(exceptions.map(exceptions_field)).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(ParquetSink {
            columns: columns.to_vec(),
            keeps_exceptions: exceptions.is_some(),
            leaves: Arc::new(ArrowSchemaConverter::new().convert(&schema)?),
            schema,
            options,
            out: Out::Waiting(Lent(Some(file)), First::default()),
            most_rows: rows_of_nulls(columns),
            name_bytes: columns.iter().map(|c| c.name.len()).sum(),
        })
    }

    fn write_batch(&mut self, page: &Page) -> Result<u64, FormatError> {
        let rows = page.rows();
        let mut arrays = Vec::with_capacity(self.columns.len() + 1);
        // Row, column and bytes of each exception, found column by column.
        let mut exceptions: Vec<(usize, usize, &[u8])> = Vec::new();
        let mut lossy = vec![false; rows];
        let mut cells = Vec::with_capacity(rows);
        for (number, column) in self.columns.iter().enumerate() {
            cells.clear();
            cells.extend(page.cells_of(number));
            arrays.push(column.codec.to_arrow(&cells, &mut lossy));
            if !lossy.contains(&true) {
                continue;
            }
            for (row, flag) in lossy.iter_mut().enumerate() {
                if std::mem::take(flag)
                    && let Some(bytes) = cells[row]
                {
                    exceptions.push((row, number, bytes));
                }
            }
        }
        let inexact = exceptions.len() as u64;
        if self.keeps_exceptions {
            exceptions.sort_by_key(|(row, column, _)| (*row, *column));
            arrays.push(exceptions_array(&self.columns, rows, &exceptions)?);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        self.put(batch, page.value_bytes())?;
        Ok(inexact)
    }

    fn put(&mut self, batch: RecordBatch, bytes: usize) -> Result<(), FormatError> {
        let (file, first) = match &mut self.out {
            Out::Writing(writer) => return Ok(writer.write(&batch)?),
            Out::Waiting(file, first) => (file, first),
        };
        first.rows += batch.num_rows();
        first.bytes += bytes;
        first.batches.push(batch);
        if first.rows < FIRST_ROWS && first.bytes < FIRST_BYTES {
            return Ok(());
        }
        let (file, first) = (file.take(), std::mem::take(first));
        self.begin_writing(file, first).map(drop)
    }

    /// Begins the file with the batches that waited.
    fn begin_writing(
        &mut self,
        file: Lent<W>,
        first: First,
    ) -> Result<&mut ArrowWriter<Lent<W>>, FormatError> {
        let mut properties = WriterProperties::builder()
            // The form the Parquet specification asks for; older readers distrust statistics of writers named otherwise.
            .set_created_by(concat!("cqlift version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            // On the mostly distinct values of a table a dictionary costs time and gives nothing.
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_bytes(Some(self.options.row_group_bytes));
        for (leaf, values) in self.leaves.columns().iter().zip(leaves(&first.batches)) {
            let Storage { encoding, compresses } = storage(&values);
            properties = match encoding {
                Some(Encoding::RLE_DICTIONARY) => {
                    properties.set_column_dictionary_enabled(leaf.path().clone(), true)
                }
                Some(other) => properties.set_column_encoding(leaf.path().clone(), other),
                None => properties,
            };
            if !compresses {
                let path = leaf.path().clone();
                properties = properties.set_column_compression(path, Compression::UNCOMPRESSED);
            }
        }
        let writer = ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties.build()))?;
        self.out = Out::Writing(Box::new(writer));
        let Out::Writing(writer) = &mut self.out else {
            return Err(given_back().into());
        };
        for batch in &first.batches {
            writer.write(batch)?;
        }
        Ok(writer)
    }
}

impl<W: Write + Send> Sink<W> for ParquetSink<W> {
    fn write(&mut self, page: &Page) -> Result<u64, FormatError> {
        check_width(self.columns.len(), page)?;
        let rows = page.rows();
        if rows == 0 {
            return Ok(0);
        }
        let bytes = page.value_bytes() + rows.saturating_mul(self.name_bytes);
        if rows > 1 && (bytes > BATCH_BYTES || rows > self.most_rows) {
            let front = self.write(&page.part(0..rows / 2))?;
            return Ok(front + self.write(&page.part(rows / 2..rows))?);
        }
        if bytes > ROW_BYTES {
            return Err(FormatError::RowTooLarge { bytes, limit: ROW_BYTES });
        }
        self.write_batch(page)
    }

    fn size(&self) -> u64 {
        let bytes = match &self.out {
            Out::Waiting(_, first) => first.bytes + MAGIC,
            Out::Writing(writer) => writer.bytes_written() + writer.in_progress_size(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn finish(mut self: Box<Self>) -> Result<W, FormatError> {
        let writer = match &mut self.out {
            Out::Writing(writer) => writer,
            Out::Waiting(file, first) => {
                let (file, first) = (file.take(), std::mem::take(first));
                self.begin_writing(file, first)?
            }
        };
        writer.finish()?;
        writer.inner_mut().0.take().ok_or_else(|| given_back().into())
    }
}

/// Bytes that every file begins with.
const MAGIC: usize = 4;

/// The file while the Parquet library writes it. Taken back from here, since the library's own way to give it back
/// hides why that failed.
struct Lent<W>(Option<W>);

fn given_back() -> std::io::Error {
    std::io::Error::other("the file was given back already")
}

impl<W: Write> Lent<W> {
    fn file(&mut self) -> std::io::Result<&mut W> {
        self.0.as_mut().ok_or_else(given_back)
    }

    /// The file, lent on.
    fn take(&mut self) -> Lent<W> {
        Lent(self.0.take())
    }
}

impl<W: Write> Write for Lent<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file()?.flush()
    }
}

/// Rows that may be in memory at once were all their vectors null.
fn rows_of_nulls(columns: &[Column]) -> usize {
    let elements = columns.iter().map(|c| c.cql_type.null_elements());
    let row = elements.fold(0, usize::saturating_add).saturating_mul(NULL_BYTES);
    (NULLS_BYTES / row.max(1)).max(1)
}

/// Name and bytes inside the exceptions column's map.
fn exceptions_entry() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, false)])
}

fn exceptions_field(name: &str) -> Field {
    Field::new(name, DataType::Map(exceptions_map(), false), true)
}

fn exceptions_map() -> Arc<Field> {
    let entry = DataType::Struct(exceptions_entry());
    Arc::new(Field::new("key_value", entry, false))
}

/// The exceptions column of a batch; `exceptions` is sorted by row.
fn exceptions_array(
    columns: &[Column],
    rows: usize,
    exceptions: &[(usize, usize, &[u8])],
) -> Result<ArrayRef, FormatError> {
    if exceptions.is_empty() {
        return Ok(new_null_array(&DataType::Map(exceptions_map(), false), rows));
    }
    let names = exceptions.iter().map(|(_, c, _)| columns[*c].name.as_str());
    let bytes = exceptions.iter().map(|(_, _, bytes)| *bytes);
    let mut lengths = vec![0_usize; rows];
    for (row, _, _) in exceptions {
        lengths[*row] += 1;
    }
    let entries = StructArray::try_new(
        exceptions_entry(),
        vec![Arc::new(StringArray::from_iter_values(names)), Arc::new(BinaryArray::from_iter_values(bytes))],
        None,
    )?;
    let nulls = NullBuffer::from_iter(lengths.iter().map(|n| *n > 0));
    Ok(Arc::new(MapArray::try_new(
        exceptions_map(),
        OffsetBuffer::from_lengths(lengths),
        entries,
        Some(nulls),
        false,
    )?))
}

/// Reads a Parquet file that a [`ParquetSink`] of the same layout has written.
pub struct ParquetSource {
    layout: Layout,
    by_name: HashMap<String, usize>,
    file: Ranges,
    metadata: ArrowReaderMetadata,
    /// Rows to decode at once, of each row group.
    at_once: Vec<usize>,
    /// The row group to open next.
    next_group: usize,
    group: Option<Group>,
    /// Rows handed out so far.
    rows: u64,
}

/// The row group being read.
struct Group {
    reader: ParquetRecordBatchReader,
    /// The rows of a batch that are more than a page, and the one to go on with.
    page: Option<(Page, usize)>,
    /// Rows that the footer announces and the batches have not brought yet.
    rows_left: u64,
}

impl ParquetSource {
    /// Opens `file`, which must hold the columns of `layout` in order, then the exceptions column. Its checksum should
    /// have been compared before, see the head of this module.
    ///
    /// # Errors
    /// `FormatError` if it is no Parquet file or its columns are others.
    pub fn open(layout: &Layout, file: File) -> Result<ParquetSource, FormatError> {
        check_footer(&file)?;
        let file = Ranges::of(file)?;
        let metadata = file.caught(|| Ok(ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?))?;
        let fields = metadata.schema().fields();
        layout.check_names(fields.iter().map(|f| f.name().as_str()))?;
        let natural = layout.columns.iter().map(|c| c.codec.field(&c.name));
        let expected = natural.chain([exceptions_field(&layout.exceptions)]);
        for (field, expected) in fields.iter().zip(expected) {
            if field.data_type() != expected.data_type() {
                return Err(FormatError::Columns(format!(
                    "column {:?} is of type {}, expected {}",
                    field.name(),
                    field.data_type(),
                    expected.data_type()
                )));
            }
        }
        // All of it before the first row: a file that lies should be found out while nothing has been done with it.
        let mut at_once = Vec::new();
        for (number, group) in metadata.metadata().row_groups().iter().enumerate() {
            let rows = rows_of(group, number)?;
            let surveys = survey_group(file.whole(), group.columns(), rows)?;
            at_once.push(batch_rows(group, &surveys).min(rows_of_nulls(&layout.columns)));
        }
        let by_name = layout.columns.iter().map(|c| c.name.clone()).zip(0..);
        Ok(ParquetSource {
            at_once,
            layout: layout.clone(),
            by_name: by_name.collect(),
            file,
            metadata,
            next_group: 0,
            group: None,
            rows: 0,
        })
    }

    /// Opens the next row group; `None` after the last one.
    fn open_group(&mut self) -> Result<Option<Group>, FormatError> {
        let metadata = self.metadata.metadata();
        let Some(group) = metadata.row_groups().get(self.next_group) else {
            let announced = metadata.file_metadata().num_rows();
            if u64::try_from(announced) != Ok(self.rows) {
                return Err(FormatError::Damaged(format!("{announced} rows announced, {} found", self.rows)));
            }
            return Ok(None);
        };
        let rows_left = rows_of(group, self.next_group)?;
        let rows = self.at_once.get(self.next_group).copied().unwrap_or(1);
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
                .with_row_groups(vec![self.next_group])
                .with_batch_size(rows);
        let reader = self.file.caught(|| Ok(builder.build()?))?;
        self.next_group += 1;
        Ok(Some(Group { reader, page: None, rows_left }))
    }

    /// The rows to go on with and the first of them; `None` at the end of the file.
    fn page(&mut self) -> Result<Option<(Page, usize)>, FormatError> {
        loop {
            if self.group.is_none() {
                self.group = self.open_group()?;
            }
            let Some(group) = &mut self.group else {
                return Ok(None);
            };
            if let Some(page) = group.page.take() {
                return Ok(Some(page));
            }
            let next = self
                .file
                .caught(|| Ok(group.reader.next().transpose()?))
                .map_err(|error| placed(error, self.next_group, self.rows))?;
            match next {
                Some(batch) => {
                    let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                    group.rows_left = group.rows_left.checked_sub(rows).ok_or_else(|| {
                        FormatError::Damaged(format!(
                            "row group {} has more rows than announced",
                            self.next_group
                        ))
                    })?;
                    if batch.num_rows() > 0 {
                        let page = read_batch(&self.layout, &self.by_name, &batch);
                        return Ok(Some((page.map_err(|bad| bad.at(self.rows))?, 0)));
                    }
                }
                None if group.rows_left > 0 => {
                    return Err(FormatError::Damaged(format!(
                        "row group {} lacks {} rows of those announced",
                        self.next_group, group.rows_left
                    )));
                }
                None => self.group = None,
            }
        }
    }
}

impl Source for ParquetSource {
    fn next_page(&mut self) -> Result<Option<Page>, FormatError> {
        let Some((page, first)) = self.page()? else {
            return Ok(None);
        };
        let mut end = first;
        let mut bytes = 0;
        while end < page.rows() && bytes < PAGE_BYTES {
            bytes += page.row_bytes(end);
            end += 1;
        }
        self.rows += u64::try_from(end - first).unwrap_or(u64::MAX);
        if end - first == page.rows() {
            return Ok(Some(page));
        }
        let part = page.part(first..end);
        if let Some(group) = &mut self.group
            && end < page.rows()
        {
            group.page = Some((page, end));
        }
        Ok(Some(part))
    }
}

/// Rows that a row group announces.
fn rows_of(group: &RowGroupMetaData, number: usize) -> Result<u64, FormatError> {
    let bad = |_| FormatError::Damaged(format!("row group {}: less than no rows", number + 1));
    u64::try_from(group.num_rows()).map_err(bad)
}

/// An error of the library, which does not know where it is: in this row group, after so many rows of the file.
fn placed(error: FormatError, group: usize, rows: u64) -> FormatError {
    let what = match error {
        FormatError::Io(error) => return FormatError::Io(error),
        FormatError::Damaged(what) => what,
        other => other.to_string(),
    };
    FormatError::Damaged(format!("row group {group}, behind row {rows}: {what}"))
}

/// Rows to decode at once so that they come to about a page.
fn batch_rows(group: &RowGroupMetaData, surveys: &[Survey]) -> usize {
    let encoded = surveys.iter().map(|survey| survey.bytes).fold(0, u64::saturating_add);
    let encoded = usize::try_from(encoded).unwrap_or(usize::MAX);
    let decoded = group.columns().iter().map(decoded_bytes).fold(0, usize::saturating_add);
    let rows = usize::try_from(group.num_rows()).unwrap_or(0);
    let each = (encoded.max(decoded) / rows.max(1)).max(1);
    let most = surveys.iter().map(|survey| survey.rows).min().unwrap_or(u64::MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    // No more than there are, as the reader sets room aside for them.
    (PAGE_BYTES / each).clamp(1, PAGE_ROWS).min(rows.max(1)).min(most)
}

/// Bytes of the texts and blobs in a column without their encoding: a dictionary may hold a few for many rows.
fn decoded_bytes(column: &ColumnChunkMetaData) -> usize {
    let bytes = column.unencoded_byte_array_data_bytes();
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

/// What went wrong in a batch.
enum Bad {
    /// A value, before the place of its row is known: the row in the batch, the column's name, what is wrong.
    Value(usize, String, BadValue),
    Format(FormatError),
}

impl Bad {
    /// With the number of the row in the file, `before` being read before the batch.
    fn at(self, before: u64) -> FormatError {
        match self {
            Bad::Value(row, column, error) => {
                let row = u64::try_from(row).unwrap_or(u64::MAX);
                let place = format!("row {}", before.saturating_add(row).saturating_add(1));
                FormatError::Value { place, column, error }
            }
            Bad::Format(error) => error,
        }
    }
}

/// The rows of a batch, column by column.
fn read_batch(layout: &Layout, by_name: &HashMap<String, usize>, batch: &RecordBatch) -> Result<Page, Bad> {
    let arrays = batch.columns();
    let natural = arrays.split_last().filter(|(_, natural)| natural.len() == layout.columns.len());
    let raw =
        natural.and_then(|(exceptions, natural)| Some((raw_cells(layout, by_name, exceptions)?, natural)));
    // The schema was checked when the file was opened, so this is the Parquet library contradicting itself.
    let Some((raw, natural)) = raw else {
        let what = "a batch whose columns are not those of the file";
        return Err(Bad::Format(FormatError::Columns(what.to_owned())));
    };
    let raw = raw?;
    let mut page = PageColumns::new(batch.num_rows(), layout.columns.len());
    for (number, (column, array)) in layout.columns.iter().zip(natural).enumerate() {
        let bad = |(row, error)| Bad::Value(row, column.name.clone(), error);
        let cells = column.codec.arrow_cells(array.as_ref()).map_err(|error| bad((0, error)))?;
        let mut out = page.column(number);
        let mut raw = raw.iter().filter(|raw| raw.column == number).peekable();
        if raw.peek().is_none() {
            cells.append_all(batch.num_rows(), &mut out).map_err(bad)?;
            continue;
        }
        for row in 0..batch.num_rows() {
            // What the natural column shows of an exception need not be a value of the type.
            let raw = raw.next_if(|raw| raw.row == row);
            let put = |out: &mut Vec<u8>| match raw {
                None => cells.append(row, out),
                Some(raw) => {
                    out.extend_from_slice(raw.cell);
                    Ok(true)
                }
            };
            out.push_with(put).map_err(|error| bad((row, error)))?;
        }
    }
    page.finish().map_err(|bad| Bad::Format(bad.into()))
}

/// An exception: where its cell stands in the batch, and its bytes.
struct Raw<'a> {
    row: usize,
    column: usize,
    cell: &'a [u8],
}

/// The exceptions of a batch, by row; `None` if the column is no map of names and bytes.
fn raw_cells<'a>(
    layout: &Layout,
    by_name: &HashMap<String, usize>,
    exceptions: &'a ArrayRef,
) -> Option<Result<Vec<Raw<'a>>, Bad>> {
    let map = exceptions.as_map_opt()?;
    let (keys, values) = (map.keys().as_string_opt::<i32>()?, map.values().as_binary_opt::<i32>()?);
    let mut raw: Vec<Raw<'a>> = Vec::new();
    let read = |row: usize, raw: &mut Vec<Raw<'a>>| {
        let range = arrow::range(map.value_offsets(), row)?;
        if range.end > keys.len() {
            return Err(BadValue("entries outside the column".to_owned()));
        }
        for entry in range {
            if keys.is_null(entry) || values.is_null(entry) {
                return Err(BadValue("a null entry".to_owned()));
            }
            let name = keys.value(entry);
            let Some(&column) = by_name.get(name) else {
                return Err(BadValue(format!("names {name:?}, which is no column")));
            };
            if raw.iter().rev().take_while(|other| other.row == row).any(|other| other.column == column) {
                return Err(BadValue(format!("names {name:?} twice")));
            }
            raw.push(Raw { row, column, cell: values.value(entry) });
        }
        Ok(())
    };
    if map.null_count() == map.len() {
        return Some(Ok(raw));
    }
    for row in (0..map.len()).filter(|row| map.is_valid(*row)) {
        if let Err(error) = read(row, &mut raw) {
            return Some(Err(Bad::Value(row, layout.exceptions.clone(), error)));
        }
    }
    Some(Ok(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::columns;
    use crate::rows::PageBuilder;
    use crate::types::{Codec, Fidelity, text};
    use std::io::Seek;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn file(layout: &Layout, arrays: Vec<ArrayRef>) -> File {
        let sink = ParquetSink::new(layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap();
        let schema = Arc::clone(&sink.schema);
        file_of(schema, arrays)
    }

    fn file_of(schema: SchemaRef, arrays: Vec<ArrayRef>) -> File {
        let file = tempfile::tempfile().unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).unwrap();
        writer.write(&RecordBatch::try_new(schema, arrays).unwrap()).unwrap();
        let mut file = writer.into_inner().unwrap();
        file.rewind().unwrap();
        file
    }

    fn strings(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    }

    #[test]
    fn the_file_says_what_it_holds_and_row_groups_are_cut_by_size() {
        let layout = Layout::new(columns(&[("k", "uuid"), ("v", "set<text>"), ("b", "blob")]));
        let mut sink = Box::new(
            ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap(),
        );
        let mut seed = 1_u64;
        for _ in 0..24 {
            let mut page = PageBuilder::new(3);
            for _ in 0..16 {
                let noise: Vec<u8> = (0..64 << 10)
                    .map(|_| {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        seed.to_be_bytes()[0]
                    })
                    .collect();
                page.push(None).unwrap();
                page.push(None).unwrap();
                page.push(Some(&noise)).unwrap();
            }
            let before = sink.size();
            sink.write(&page.finish()).unwrap();
            assert!(sink.size() > before);
        }
        let file = sink.finish().unwrap();
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
        assert_eq!(metadata.metadata().num_row_groups(), 4);
        let version = concat!("cqlift version ", env!("CARGO_PKG_VERSION"));
        let created_by = metadata.metadata().file_metadata().created_by();
        assert_eq!(created_by, Some(version));
        let fields = metadata.schema().fields();
        let cql = |n: usize| fields[n].metadata().get(CQL_TYPE).map(String::as_str);
        assert_eq!(cql(0), Some("uuid"));
        assert_eq!(cql(1), Some("set<text>"));
        assert_eq!(cql(3), None);
        assert_eq!(fields[0].extension_type_name(), Some("arrow.uuid"));
        assert_eq!(fields[3].name(), "__wire");
    }

    /// How each column of Parquet is stored.
    type Stored = HashMap<String, (Vec<Encoding>, Compression)>;

    /// The columns by path, and the length of the file.
    fn stored(layout: &Layout, pages: &[Page]) -> (Stored, u64) {
        let file = tempfile::tempfile().unwrap();
        let mut sink = Box::new(ParquetSink::new(layout, SinkOptions::default(), file).unwrap());
        pages.iter().for_each(|page| assert_eq!(sink.write(page).unwrap(), 0));
        let file = sink.finish().unwrap();
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
        let columns = metadata.metadata().row_group(0).columns().iter();
        let of =
            |c: &ColumnChunkMetaData| (c.column_path().string(), (c.encodings().collect(), c.compression()));
        (columns.map(of).collect(), file.metadata().unwrap().len())
    }

    #[test]
    fn each_column_is_stored_as_its_first_rows_ask_for() {
        let types = [
            ("few", "text"),
            ("many", "text"),
            ("at", "timestamp"),
            ("tags", "set<text>"),
            ("m", "map<text, text>"),
            ("random", "blob"),
        ];
        let layout = Layout::new(columns(&types));
        let text = |codec: &dyn Codec, text: &str| {
            let mut cell = Vec::new();
            codec.from_text(text.as_bytes(), &mut cell).unwrap();
            cell
        };
        // Pages of few rows, so that the first of them alone tell nothing.
        let page = |number: u64| {
            let mut page = PageBuilder::new(types.len());
            for n in number * 50..(number + 1) * 50 {
                let noise =
                    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let texts = [
                    ["a rather long status", "another"][usize::try_from(noise % 2).unwrap()].to_owned(),
                    format!("{noise:x}"),
                    format!("2026-11-23T14:{:02}:{:02}.{:03}Z", n / 100, n % 60, noise % 1000),
                    format!(r#"["tag {}", "tag {}"]"#, noise % 5, noise % 7),
                    format!(r#"{{"{}": "{noise:x}"}}"#, noise % 9),
                    format!("0x{:016x}", noise.wrapping_mul(0x94d0_49bb_1331_11eb).rotate_left(27)),
                ];
                for (column, value) in layout.columns.iter().zip(texts) {
                    page.push(Some(&text(&*column.codec, &value))).unwrap();
                }
            }
            page.finish()
        };
        let pages: Vec<Page> = (0..60).map(page).collect();
        let (found, len) = stored(&layout, &pages);
        let has = |path: &str, encoding| found[path].0.contains(&encoding);
        for (path, dictionary) in [
            ("few", true),
            ("many", false),
            ("at", false),
            ("tags.list.element", true),
            ("m.key_value.key", true),
            ("m.key_value.value", false),
            ("__wire.key_value.key", false),
        ] {
            assert_eq!(has(path, Encoding::RLE_DICTIONARY), dictionary, "{path}: {:?}", found[path]);
        }
        assert!(has("at", Encoding::DELTA_BINARY_PACKED), "{:?}", found["at"]);
        for (path, (_, compression)) in &found {
            let compressed = *compression != Compression::UNCOMPRESSED;
            assert_eq!(compressed, path != "random", "{path}: {compression:?}");
        }
        // Were the first rows too few to tell, all would be plain.
        let (plain, plain_len) = stored(&layout, &pages[..1]);
        assert!(!plain["few"].0.contains(&Encoding::RLE_DICTIONARY));
        assert!(len < plain_len * 50, "{len} {plain_len}");
        let back = {
            let file = tempfile::tempfile().unwrap();
            let mut sink = Box::new(ParquetSink::new(&layout, SinkOptions::default(), file).unwrap());
            for page in &pages {
                sink.write(page).unwrap();
            }
            ParquetSource::open(&layout, sink.finish().unwrap()).unwrap().next_page().unwrap().unwrap()
        };
        let sent = pages.iter().flat_map(|page| (0..page.rows()).map(|row| page.row(row)));
        (0..back.rows()).zip(sent).for_each(|(row, sent)| assert!(back.row(row).eq(sent), "row {row}"));
    }

    #[test]
    fn row_groups_are_as_large_as_asked_for() {
        let layout = Layout::new(columns(&[("k", "blob")]));
        let groups = |row_group_bytes: usize| {
            let options = SinkOptions { row_group_bytes, ..SinkOptions::default() };
            let mut sink =
                Box::new(ParquetSink::new(&layout, options, tempfile::tempfile().unwrap()).unwrap());
            for n in 0..64_u32 {
                let mut page = PageBuilder::new(1);
                for m in 0..64_u32 {
                    let words = (0..256).map(|w| (64 * n + m) * 256 + w);
                    let noise = words.flat_map(|w: u32| w.wrapping_mul(2_654_435_761).to_be_bytes());
                    page.push(Some(&noise.collect::<Vec<_>>())).unwrap();
                }
                sink.write(&page.finish()).unwrap();
            }
            let file = sink.finish().unwrap();
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap().metadata().num_row_groups()
        };
        assert_eq!(groups(16 << 20), 1);
        // Of 4 MiB; a group is closed by the page that takes it to its size.
        assert!((2..=3).contains(&groups(2 << 20)));
    }

    #[test]
    fn a_few_long_texts_in_many_rows_are_read_a_page_at_a_time() {
        let layout = Layout::new(columns(&[("t", "text")]));
        let texts = ["x".repeat(20_000), "y".repeat(20_000)];
        let mut page = PageBuilder::new(1);
        (0..2000).for_each(|row| page.push(Some(texts[row % 2].as_bytes())).unwrap());
        let mut sink = Box::new(
            ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap(),
        );
        sink.write(&page.finish()).unwrap();
        let file = sink.finish().unwrap();
        assert!(file.metadata().unwrap().len() < 20_000, "by a dictionary");
        let mut source = ParquetSource::open(&layout, file).unwrap();
        let mut rows = 0;
        while let Some(page) = source.page().unwrap() {
            assert!(page.0.rows() < 100, "{} rows decoded at once", page.0.rows());
            rows += page.0.rows();
            source.rows = rows as u64;
        }
        assert_eq!(rows, 2000);
    }

    #[test]
    fn a_page_too_large_for_one_batch_is_written_in_parts() {
        // The name counts once per row, as every cell may be an exception.
        let name = "n".repeat(100_000);
        let layout = Layout::new(columns(&[(&name, "int")]));
        let mut sink = Box::new(
            ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap(),
        );
        let mut page = PageBuilder::new(1);
        for row in 0..3001_i32 {
            let value = row.to_be_bytes();
            let len = if row % 1000 == 0 { 3 } else { 4 };
            page.push(Some(&value[..len])).unwrap();
        }
        let page = page.finish();
        sink.write(&page).unwrap();
        let mut source = ParquetSource::open(&layout, sink.finish().unwrap()).unwrap();
        let back = source.next_page().unwrap().unwrap();
        assert!(source.next_page().unwrap().is_none());
        assert!(back.column(0) == page.column(0));
    }

    /// Text that remembers the most cells it was given at once.
    struct Most(Arc<AtomicUsize>);

    impl Codec for Most {
        fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
            self.0.fetch_max(cells.len(), Relaxed);
            text::Text.to_arrow(cells, lossy)
        }

        fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
            text::Text.to_text(cell, out)
        }

        fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
            text::Text.from_text(text, out)
        }
    }

    #[test]
    fn null_vectors_are_written_and_read_few_at_a_time() {
        const ROWS: usize = 600;
        let mut columns = columns(&[("k", "text"), ("v", "vector<float, 8192>")]);
        let most = Arc::new(AtomicUsize::new(0));
        columns[0].codec = Arc::new(Most(Arc::clone(&most)));
        let layout = Layout::new(columns);
        let vector = vec![0x3f; 4 * 8192];
        let mut page = PageBuilder::new(2);
        for row in 0..ROWS {
            page.push(Some(row.to_string().as_bytes())).unwrap();
            page.push((row == 400).then_some(&vector)).unwrap();
        }
        let page = page.finish();
        let mut sink = Box::new(
            ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap(),
        );
        sink.write(&page).unwrap();
        assert!((100..=NULLS_BYTES / (8192 * NULL_BYTES)).contains(&most.load(Relaxed)), "{most:?}");
        let mut source = ParquetSource::open(&layout, sink.finish().unwrap()).unwrap();
        let mut rows = 0;
        while let Some(back) = source.next_page().unwrap() {
            assert!(back.rows() <= NULLS_BYTES / (8192 * NULL_BYTES), "{} rows at once", back.rows());
            for row in 0..back.rows() {
                assert!(back.row(row).eq(page.row(rows)), "row {rows}");
                rows += 1;
            }
        }
        assert_eq!(rows, ROWS);
    }

    #[test]
    fn rows_are_as_few_as_their_vectors_ask_for() {
        let most = |types: &[(&str, &str)]| rows_of_nulls(&columns(types));
        assert_eq!(most(&[("v", "vector<float, 8192>")]), 256);
        assert_eq!(most(&[("v", "vector<float, 8192>"), ("w", "vector<text, 8192>")]), 128);
        assert_eq!(most(&[("v", "frozen<tuple<vector<float, 4096>, int, vector<int, 4096>>>")]), 256);
        assert_eq!(most(&[("v", "vector<vector<int, 127>, 64>")]), 256);
        assert_eq!(most(&[("v", "vector<float, 10000000>")]), 1);
        assert!(most(&[("v", "list<frozen<vector<float, 8192>>>"), ("t", "text")]) > PAGE_ROWS);
    }

    /// A file system with so much room.
    struct Room(usize);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let left = self.0.checked_sub(bytes.len());
            self.0 = left.ok_or_else(|| std::io::Error::from_raw_os_error(28))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_called_that_wherever_it_shows() {
        let layout = Layout::new(columns(&[("k", "blob")]));
        let blob: Vec<u8> =
            (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let mut page = PageBuilder::new(1);
        page.push(Some(&blob)).unwrap();
        let page = page.finish();
        for room in [0, 5000, 100_000, 160_500] {
            let told = (|| {
                let mut sink = Box::new(ParquetSink::new(&layout, SinkOptions::default(), Room(room))?);
                sink.write(&page)?;
                sink.finish().map(drop)
            })();
            let told = told.unwrap_err().to_string();
            assert_eq!(told, "No space left on device (os error 28)", "room for {room} bytes");
        }
    }

    #[test]
    fn other_columns_are_refused() {
        let layout = Layout::new(columns(&[("k", "int"), ("t", "text")]));
        let swapped = Layout::new(columns(&[("t", "text"), ("k", "int")]));
        let typed = Layout::new(columns(&[("k", "bigint"), ("t", "text")]));
        let fewer = Layout::new(columns(&[("k", "int")]));
        let none = Layout::new(Vec::new());
        for (other, expected) in [
            (&swapped, "column 1 is \"k\", expected \"t\""),
            (&typed, "column \"k\" is of type Int32, expected Int64"),
            (&fewer, "column 2 is \"t\", expected \"__wire\""),
            (&none, "no columns to read"),
        ] {
            let mut sink = Box::new(
                ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap(),
            );
            let error = sink.write(&PageBuilder::new(3).finish()).unwrap_err();
            assert_eq!(error.to_string(), "a page of 3 columns for a file of 2");
            let error = ParquetSource::open(other, sink.finish().unwrap()).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
        let mut list = Layout::new(columns(&[("__wire", "list<int>")]));
        list.exceptions = "__wire".to_owned();
        let null = new_null_array(list.columns[0].codec.field("x").data_type(), 1);
        let schema = Schema::new(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("__wire", null.data_type().clone(), true),
        ]);
        let file = file_of(Arc::new(schema), vec![strings(&["x"]), null]);
        let layout = Layout::new(columns(&[("a", "text")]));
        let error = ParquetSource::open(&layout, file).err().unwrap().to_string();
        assert!(error.starts_with("column \"__wire\" is of type List"), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_row() {
        let layout = Layout::new(columns(&[("v", "varint")]));
        let map = DataType::Map(exceptions_map(), false);
        let arrays = vec![strings(&["1", "2", "x"]), new_null_array(&map, 3)];
        let mut source = ParquetSource::open(&layout, file(&layout, arrays)).unwrap();
        let error = source.next_page().unwrap_err().to_string();
        assert!(error.starts_with("row 3, column \"v\": \"x\" is not "), "{error}");
    }

    #[test]
    fn bad_exceptions_name_their_row() {
        for (names, expected) in [
            (["v", "w"], "row 2, column \"__wire\": names \"w\", which is no column"),
            (["v", "v"], "row 2, column \"__wire\": names \"v\" twice"),
        ] {
            let layout = Layout::new(columns(&[("v", "text")]));
            let real = columns(&[(names[0], "text"), (names[1], "text")]);
            let map = exceptions_array(&real, 2, &[(1, 0, b"a"), (1, 1, b"b")]).unwrap();
            let file = file(&layout, vec![strings(&["1", "2"]), map]);
            let mut source = ParquetSource::open(&layout, file).unwrap();
            assert_eq!(source.next_page().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_file_that_is_no_parquet_is_refused() {
        let layout = Layout::new(columns(&[("v", "text")]));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"v,__wire\nhello,\n").unwrap();
        assert!(ParquetSource::open(&layout, file).is_err());
    }
}
