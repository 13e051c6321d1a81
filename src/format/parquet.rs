//! Apache Parquet: one record batch per page on the way in, one page per batch or less on the way out. What a value
//! becomes in Arrow is left to the codecs of `types`.
//!
//! The Arrow schema is embedded, so that a file read back has exactly the types that were written; readers that know
//! only Parquet see its logical types.
//!
//! A damaged file may be read as other data, since its pages carry no checksums, and the Parquet library panics on some
//! (an error below a map, a data page that names a dictionary it lacks). So whoever opens a file compares the checksum
//! of the whole with the one that `store` keeps, first.

use super::{Column, FormatError, Layout, Sink, Source};
use crate::rows::{BadPage, Cell, Page, PageBuilder};
use crate::types::{ArrowCells, BadValue};
use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
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

/// A row group is closed at this size: large enough to compress well, small enough to hold several in memory.
const ROW_GROUP_BYTES: usize = 8 << 20;

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

/// Writes pages into a Parquet file.
pub struct ParquetSink<W: Write + Send> {
    layout: Layout,
    schema: SchemaRef,
    writer: ArrowWriter<Lent<W>>,
    /// Rows whose vectors may all be null in one batch.
    most_rows: usize,
    /// Bytes of all column names, which is what a row of nothing but exceptions adds to its values.
    name_bytes: usize,
}

impl<W: Write + Send> ParquetSink<W> {
    /// Begins a file for pages of `layout`.
    ///
    /// # Errors
    /// `FormatError` if Parquet cannot hold the columns or the file cannot be written.
    pub fn new(layout: &Layout, file: W) -> Result<ParquetSink<W>, FormatError> {
        let mut fields: Vec<Field> = layout
            .columns
            .iter()
            .map(|column| {
                let field = column.codec.field(&column.name);
                let mut metadata = field.metadata().clone();
                metadata.insert(CQL_TYPE.to_owned(), column.cql_type.to_string());
                field.with_metadata(metadata)
            })
            .collect();
        fields.push(exceptions_field(&layout.exceptions));
        let schema = Arc::new(Schema::new(fields));
        let properties = WriterProperties::builder()
            // The form the Parquet specification asks for; older readers distrust statistics of writers named otherwise.
            .set_created_by(concat!("cqlift version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            // On the mostly distinct values of a table a dictionary costs time and gives nothing.
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        Ok(ParquetSink {
            layout: layout.clone(),
            writer: ArrowWriter::try_new(Lent(Some(file)), Arc::clone(&schema), Some(properties))?,
            schema,
            most_rows: rows_of_nulls(layout),
            name_bytes: layout.columns.iter().map(|c| c.name.len()).sum(),
        })
    }

    fn write_batch(&mut self, page: &Page) -> Result<u64, FormatError> {
        let rows = page.rows();
        let mut arrays = Vec::with_capacity(self.layout.columns.len() + 1);
        // Row, column and bytes of each exception, found column by column.
        let mut exceptions: Vec<(usize, usize, &[u8])> = Vec::new();
        let mut lossy = vec![false; rows];
        for (number, column) in self.layout.columns.iter().enumerate() {
            let cells = page.column(number);
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
        exceptions.sort_by_key(|(row, column, _)| (*row, *column));
        arrays.push(exceptions_array(&self.layout.columns, rows, &exceptions)?);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)?;
        self.writer.write(&batch)?;
        Ok(exceptions.len() as u64)
    }
}

impl<W: Write + Send> Sink<W> for ParquetSink<W> {
    fn write(&mut self, page: &Page) -> Result<u64, FormatError> {
        self.layout.check_width(page)?;
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
        let bytes = self.writer.bytes_written() + self.writer.in_progress_size();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn finish(mut self: Box<Self>) -> Result<W, FormatError> {
        self.writer.finish()?;
        let file = self.writer.inner_mut().0.take();
        file.ok_or_else(|| std::io::Error::other("the file was given back already").into())
    }
}

/// The file while the Parquet library writes it. Taken back from here, since the library's own way to give it back
/// hides why that failed.
struct Lent<W>(Option<W>);

impl<W: Write> Lent<W> {
    fn file(&mut self) -> std::io::Result<&mut W> {
        self.0.as_mut().ok_or_else(|| std::io::Error::other("the file is finished"))
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
fn rows_of_nulls(layout: &Layout) -> usize {
    let elements = layout.columns.iter().map(|c| c.cql_type.null_elements());
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
    file: File,
    metadata: ArrowReaderMetadata,
    /// The row group to open next.
    next_group: usize,
    group: Option<Group>,
    /// Rows handed out so far.
    rows: u64,
}

/// The row group being read.
struct Group {
    reader: ParquetRecordBatchReader,
    /// The batch being read and the row to go on with.
    batch: Option<(RecordBatch, usize)>,
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
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
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
        let by_name = layout.columns.iter().map(|c| c.name.clone()).zip(0..);
        Ok(ParquetSource {
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
        // The library takes for granted that these are not negative.
        let bad = group.columns().iter().find(|column| {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            start < 0 || column.compressed_size() < 0
        });
        if let Some(column) = bad {
            return Err(FormatError::Damaged(format!(
                "column {:?} lies before its beginning",
                column.column_path().string()
            )));
        }
        let rows_left = u64::try_from(group.num_rows())
            .map_err(|_| FormatError::Damaged("a row group of less than no rows".to_owned()))?;
        let file = self.file.try_clone()?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![self.next_group])
            .with_batch_size(batch_rows(group).min(rows_of_nulls(&self.layout)))
            .build()?;
        self.next_group += 1;
        Ok(Some(Group { reader, batch: None, rows_left }))
    }

    /// The batch to go on with and the row in it; `None` at the end of the file.
    fn batch(&mut self) -> Result<Option<(RecordBatch, usize)>, FormatError> {
        loop {
            if self.group.is_none() {
                self.group = self.open_group()?;
            }
            let Some(group) = &mut self.group else {
                return Ok(None);
            };
            if let Some(batch) = group.batch.take() {
                return Ok(Some(batch));
            }
            match group.reader.next() {
                Some(batch) => {
                    let batch = batch?;
                    let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
                    group.rows_left = group.rows_left.checked_sub(rows).ok_or_else(|| {
                        FormatError::Damaged(format!(
                            "row group {} has more rows than announced",
                            self.next_group
                        ))
                    })?;
                    if batch.num_rows() > 0 {
                        return Ok(Some((batch, 0)));
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
        let Some((batch, first)) = self.batch()? else {
            return Ok(None);
        };
        // The row's number in the file, were it the next to be handed out.
        let place = |row: usize| {
            let ahead = u64::try_from(row - first).unwrap_or(u64::MAX);
            format!("row {}", self.rows.saturating_add(ahead).saturating_add(1))
        };
        let reader = BatchReader::new(&self.layout, &self.by_name, &batch, &|| place(first))?;
        let mut page = PageBuilder::new(self.layout.columns.len());
        let mut row = first;
        while row < batch.num_rows() && page.value_bytes() < PAGE_BYTES {
            reader.row(row, &mut page).map_err(|bad| bad.at(|| place(row)))?;
            row += 1;
        }
        drop(reader);
        self.rows += u64::try_from(row - first).unwrap_or(u64::MAX);
        if let Some(group) = &mut self.group
            && row < batch.num_rows()
        {
            group.batch = Some((batch, row));
        }
        Ok(Some(page.finish()))
    }
}

/// Rows to decode at once so that they come to about a page.
fn batch_rows(group: &RowGroupMetaData) -> usize {
    let bytes = usize::try_from(group.total_byte_size()).unwrap_or(usize::MAX);
    let rows = usize::try_from(group.num_rows()).unwrap_or(0);
    let each = (bytes / rows.max(1)).max(1);
    // No more than there are, as the reader sets room aside for them.
    (PAGE_BYTES / each).clamp(1, PAGE_ROWS).min(rows.max(1))
}

/// The columns of one batch, read side by side.
struct BatchReader<'a> {
    layout: &'a Layout,
    by_name: &'a HashMap<String, usize>,
    natural: Vec<Box<dyn ArrowCells + 'a>>,
    exceptions: &'a MapArray,
    keys: &'a StringArray,
    values: &'a BinaryArray,
}

/// What went wrong in a row, before its place is known.
enum BadRow {
    Value(String, BadValue),
    Page(BadPage),
}

impl From<BadPage> for BadRow {
    fn from(bad: BadPage) -> BadRow {
        BadRow::Page(bad)
    }
}

impl BadRow {
    fn at(self, place: impl FnOnce() -> String) -> FormatError {
        match self {
            BadRow::Value(column, error) => FormatError::Value { place: place(), column, error },
            BadRow::Page(bad) => FormatError::Page(bad),
        }
    }
}

impl<'a> BatchReader<'a> {
    fn new(
        layout: &'a Layout,
        by_name: &'a HashMap<String, usize>,
        batch: &'a RecordBatch,
        place: &dyn Fn() -> String,
    ) -> Result<BatchReader<'a>, FormatError> {
        let arrays = batch.columns();
        let exceptions =
            arrays.last().filter(|_| arrays.len() == layout.columns.len() + 1).and_then(|a| a.as_map_opt());
        let parts = exceptions.and_then(|map| {
            let keys = map.keys().as_string_opt::<i32>()?;
            Some((map, keys, map.values().as_binary_opt::<i32>()?))
        });
        // The schema was checked when the file was opened, so this is the Parquet library contradicting itself.
        let Some((exceptions, keys, values)) = parts else {
            return Err(FormatError::Columns(format!(
                "the columns found at {} are not those of the file",
                place()
            )));
        };
        let natural = layout.columns.iter().zip(arrays).map(|(column, array)| {
            column
                .codec
                .arrow_cells(array.as_ref())
                .map_err(|bad| BadRow::Value(column.name.clone(), bad).at(place))
        });
        Ok(BatchReader {
            natural: natural.collect::<Result<_, _>>()?,
            layout,
            by_name,
            exceptions,
            keys,
            values,
        })
    }

    fn row(&self, row: usize, page: &mut PageBuilder) -> Result<(), BadRow> {
        let raw = self.raw_cells(row)?;
        for (number, cells) in self.natural.iter().enumerate() {
            if let Some(raw) = raw.iter().find(|(column, _)| *column == number) {
                page.push(Some(raw.1))?;
                continue;
            }
            page.push_with(|out| {
                cells
                    .append(row, out)
                    .map_err(|bad| BadRow::Value(self.layout.columns[number].name.clone(), bad))
            })?;
        }
        Ok(())
    }

    /// The exceptions of a row, by column number.
    fn raw_cells(&self, row: usize) -> Result<Vec<(usize, &'a [u8])>, BadRow> {
        let mut raw = Vec::new();
        if self.exceptions.is_null(row) {
            return Ok(raw);
        }
        let bad = |what: String| BadRow::Value(self.layout.exceptions.clone(), BadValue(what));
        let bounds = self.exceptions.value_offsets().get(row..row + 2);
        let range = match bounds {
            Some(&[start, end]) => usize::try_from(start).ok().zip(usize::try_from(end).ok()),
            _ => None,
        };
        let Some((start, end)) = range.filter(|(_, end)| *end <= self.keys.len()) else {
            return Err(bad("entries outside the column".to_owned()));
        };
        for entry in start..end {
            if self.keys.is_null(entry) || self.values.is_null(entry) {
                return Err(bad("a null entry".to_owned()));
            }
            let name = self.keys.value(entry);
            let Some(&column) = self.by_name.get(name) else {
                return Err(bad(format!("names {name:?}, which is no column")));
            };
            if raw.iter().any(|(other, _)| *other == column) {
                return Err(bad(format!("names {name:?} twice")));
            }
            raw.push((column, self.values.value(entry)));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::columns;
    use crate::types::{Codec, Fidelity, text};
    use std::io::Seek;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn file(layout: &Layout, arrays: Vec<ArrayRef>) -> File {
        let sink = ParquetSink::new(layout, tempfile::tempfile().unwrap()).unwrap();
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
        let mut sink = Box::new(ParquetSink::new(&layout, tempfile::tempfile().unwrap()).unwrap());
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

    #[test]
    fn a_page_too_large_for_one_batch_is_written_in_parts() {
        // The name counts once per row, as every cell may be an exception.
        let name = "n".repeat(100_000);
        let layout = Layout::new(columns(&[(&name, "int")]));
        let mut sink = Box::new(ParquetSink::new(&layout, tempfile::tempfile().unwrap()).unwrap());
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
        let mut sink = Box::new(ParquetSink::new(&layout, tempfile::tempfile().unwrap()).unwrap());
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
        let most = |types: &[(&str, &str)]| rows_of_nulls(&Layout::new(columns(types)));
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
                let mut sink = Box::new(ParquetSink::new(&layout, Room(room))?);
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
            let mut sink = Box::new(ParquetSink::new(&layout, tempfile::tempfile().unwrap()).unwrap());
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
