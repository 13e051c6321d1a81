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
    open: OpenGroup,
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
            open: OpenGroup::default(),
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
        let most = self.options.row_group_bytes;
        let (file, first) = match &mut self.out {
            Out::Writing(writer) => return self.open.add(writer, &batch, most),
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
            self.open.add(writer, batch, self.options.row_group_bytes)?;
        }
        Ok(writer)
    }
}

/// How many times as large as in its file a row group may be as arrays.
const UNPACKED: usize = 2;

/// The row group that is open.
#[derive(Default)]
struct OpenGroup {
    /// Bytes of its arrays.
    bytes: usize,
    /// Those before it.
    closed: usize,
}

impl OpenGroup {
    /// Adds a batch, and closes the row group once it holds so much. The library's own limit goes by what it will take in
    /// the file, while its columns take about as much memory as the arrays did: a dump of two million rows of 116 columns,
    /// which pack well, took 350 MiB (2026-11-29).
    fn add<W: Write + Send>(
        &mut self,
        writer: &mut ArrowWriter<Lent<W>>,
        batch: &RecordBatch,
        most: usize,
    ) -> Result<(), FormatError> {
        writer.write(batch)?;
        let closed = writer.flushed_row_groups().len();
        if closed > self.closed {
            *self = OpenGroup { bytes: 0, closed };
        }
        for array in batch.columns() {
            self.bytes += array.to_data().get_slice_memory_size()?;
        }
        if self.bytes >= most.saturating_mul(UNPACKED) {
            writer.flush()?;
            *self = OpenGroup { bytes: 0, closed: writer.flushed_row_groups().len() };
        }
        Ok(())
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
mod tests;
