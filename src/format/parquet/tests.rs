//! Pages that go into a Parquet file and come out of it.

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
    let mut sink =
        Box::new(ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap());
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
    let of = |c: &ColumnChunkMetaData| (c.column_path().string(), (c.encodings().collect(), c.compression()));
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
        let mut sink = Box::new(ParquetSink::new(&layout, options, tempfile::tempfile().unwrap()).unwrap());
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

/// Nothing is left of them in the file, but they are in memory until their row group is closed.
#[test]
fn row_groups_of_what_packs_well_are_closed_too() {
    let layout = Layout::new(columns(&[("n", "bigint")]));
    let options = SinkOptions { row_group_bytes: 512 << 10, ..SinkOptions::default() };
    let mut sink = Box::new(ParquetSink::new(&layout, options, tempfile::tempfile().unwrap()).unwrap());
    let mut page = PageBuilder::new(1);
    (0..5000).for_each(|_| page.push(Some(&[0; 8])).unwrap());
    let page = page.finish();
    for _ in 0..200 {
        sink.write(&page).unwrap();
    }
    let file = sink.finish().unwrap();
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
    // 8 MB and the offsets of no exceptions, of which 1 MiB may be open.
    let groups = metadata.metadata().num_row_groups();
    assert!((8..=13).contains(&groups), "{groups}");
    assert_eq!(metadata.metadata().file_metadata().num_rows(), 1_000_000);
}

#[test]
fn a_few_long_texts_in_many_rows_are_read_a_page_at_a_time() {
    let layout = Layout::new(columns(&[("t", "text")]));
    let texts = ["x".repeat(20_000), "y".repeat(20_000)];
    let mut page = PageBuilder::new(1);
    (0..2000).for_each(|row| page.push(Some(texts[row % 2].as_bytes())).unwrap());
    let mut sink =
        Box::new(ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap());
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
    let mut sink =
        Box::new(ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap());
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
    let mut sink =
        Box::new(ParquetSink::new(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap());
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
    let blob: Vec<u8> = (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
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
