//! What both formats promise: whatever cells go in come out again, byte for byte. What is peculiar to one format is
//! tested beside it.

use super::*;
use crate::rows::{PageBuilder, put_cell};
use crate::types::cql::{Native, Udt};
use crate::types::{Fidelity, codec};
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::{Read, Seek};

/// Columns of these names and types.
pub(super) fn columns(types: &[(&str, &str)]) -> Vec<Column> {
    types
        .iter()
        .map(|(name, cql)| {
            let cql_type = CqlType::parse(cql, &udt).unwrap();
            Column { name: (*name).to_owned(), codec: Arc::from(codec(&cql_type).unwrap()), cql_type }
        })
        .collect()
}

fn udt(name: &str) -> Option<Arc<Udt>> {
    let tags = CqlType::parse("frozen<set<text>>", &|_| None).unwrap();
    let fields = vec![
        ("street, \"no\"".to_owned(), CqlType::Native(Native::Text)),
        ("nr".to_owned(), CqlType::Native(Native::Int)),
        ("tags".to_owned(), tags),
    ];
    let name = name.to_owned();
    Some(Arc::new(Udt { name, fields }))
}

const NESTED: &[&str] = &[
    "list<int>",
    "set<text>",
    "list<boolean>",
    "list<uuid>",
    "map<text, int>",
    "map<int, frozen<list<uuid>>>",
    "map<frozen<list<int>>, text>",
    "map<double, blob>",
    "frozen<map<timeuuid, decimal>>",
    "frozen<tuple<int, text, uuid>>",
    "frozen<list<frozen<tuple<inet, timestamp>>>>",
    "address",
    "frozen<address>",
    "set<frozen<address>>",
    "list<duration>",
    "vector<float, 3>",
    "vector<text, 2>",
    "vector<smallint, 2>",
    "list<frozen<vector<timestamp, 2>>>",
];

const NAMES: &[&str] = &[
    "\u{feff}",
    "__wire",
    "a,b",
    "say \"hi\"",
    "two\nlines",
    "cr\r\n",
    "größe",
    "dot.ted",
    "k",
    " ",
    "\\",
    "__wire_",
    "K",
    "null",
];

/// A small generator: the cases of a failed test come back from its seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// A cell: most often valid, sometimes odd, sometimes of a wrong length, sometimes null.
    fn cell(&mut self, cql: &CqlType) -> Option<Vec<u8>> {
        match self.below(24) {
            0 => None,
            1 => Some(Vec::new()),
            2 => {
                let len = self.below(24);
                Some(self.bytes(len))
            }
            _ => Some(self.value(cql)),
        }
    }

    fn value(&mut self, cql: &CqlType) -> Vec<u8> {
        let mut out = Vec::new();
        match cql {
            CqlType::Native(native) => return self.native(*native),
            CqlType::List(element, _) | CqlType::Set(element, _) => {
                let n = self.below(4);
                out.extend(i32::try_from(n).unwrap().to_be_bytes());
                for _ in 0..n {
                    self.put(element, &mut out);
                }
            }
            CqlType::Map(key, value, _) => {
                let n = self.below(4);
                out.extend(i32::try_from(n).unwrap().to_be_bytes());
                for _ in 0..n {
                    self.put(key, &mut out);
                    self.put(value, &mut out);
                }
            }
            CqlType::Tuple(parts) => self.parts(parts.iter(), &mut out),
            CqlType::Udt(udt, _) => self.parts(udt.fields.iter().map(|(_, t)| t), &mut out),
            CqlType::Vector(element, n) => {
                for _ in 0..*n {
                    let value = self.value(element);
                    if codec(element).unwrap().vector_width().is_none() {
                        out.push(u8::try_from(value.len() % 128).unwrap());
                    }
                    out.extend(value);
                }
            }
            CqlType::Custom(_) => unreachable!(),
        }
        out
    }

    fn put(&mut self, cql: &CqlType, out: &mut Vec<u8>) {
        let cell = self.cell(cql);
        assert!(put_cell(cell.as_deref(), out));
    }

    /// The parts of a tuple, sometimes fewer than there are.
    fn parts<'a>(&mut self, parts: impl ExactSizeIterator<Item = &'a CqlType>, out: &mut Vec<u8>) {
        let n = if self.below(8) == 0 { self.below(parts.len() + 1) } else { parts.len() };
        for part in parts.take(n) {
            self.put(part, out);
        }
    }

    fn native(&mut self, native: Native) -> Vec<u8> {
        use Native::*;
        const TEXTS: &[&str] = &[
            "a",
            "",
            "x,y",
            "\"",
            "say \"hi\"",
            "\n",
            "\r\n",
            "\r",
            " ",
            "null",
            "NULL",
            "0x",
            "[1]",
            "{}",
            "é🦀",
            "\0",
            "\u{feff}",
            "\\N",
            "true",
            "1",
            "\u{2028}",
            "a\tb",
        ];
        match native {
            Text | Ascii => self.pick(TEXTS).as_bytes().to_vec(),
            Blob => {
                let len = self.below(40);
                self.bytes(len)
            }
            Boolean => vec![u8::try_from(self.below(3)).unwrap()],
            TinyInt => self.bytes(1),
            SmallInt => self.bytes(2),
            Int | Float | Date => self.bytes(4),
            BigInt | Counter | Double | Timestamp | Time => {
                // Small numbers too, which are ordinary moments and times of day.
                let shift = self.below(64);
                let all = u64::from_be_bytes(self.bytes(8).try_into().unwrap());
                (all >> shift).to_be_bytes().to_vec()
            }
            Uuid | TimeUuid => self.bytes(16),
            Inet => {
                let len = if self.below(2) == 0 { 4 } else { 16 };
                self.bytes(len)
            }
            VarInt => {
                let len = 1 + self.below(20);
                self.bytes(len)
            }
            Decimal => {
                let mut out = match self.below(4) {
                    0 => self.bytes(4),
                    _ => vec![0, 0, 0, u8::try_from(self.below(60)).unwrap()],
                };
                let len = 1 + self.below(12);
                out.extend(self.bytes(len));
                out
            }
            Duration => (0..3).map(|_| u8::try_from(self.below(128)).unwrap()).collect(),
        }
    }

    fn page(&mut self, layout: &Layout, rows: usize) -> Page {
        let mut page = PageBuilder::new(layout.columns.len());
        for _ in 0..rows {
            for column in &layout.columns {
                let cell = self.cell(&column.cql_type);
                page.push(cell.as_deref()).unwrap();
            }
        }
        page.finish()
    }
}

fn write(format: Format, layout: &Layout, pages: &[Page]) -> File {
    let mut sink = format.sink(layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap();
    for page in pages {
        sink.write(page).unwrap();
    }
    let size = sink.size();
    let mut file = sink.finish().unwrap();
    let len = file.metadata().unwrap().len();
    match format {
        Format::Csv => assert_eq!(size, len),
        Format::Parquet => assert!(size > 0 && size < len + len / 2 + 4096, "{size} {len}"),
    }
    file.rewind().unwrap();
    file
}

fn read(format: Format, layout: &Layout, file: File) -> Result<Vec<Page>, FormatError> {
    let mut source = format.source(layout, file)?;
    let mut pages = Vec::new();
    while let Some(page) = source.next_page()? {
        assert!(page.rows() > 0);
        pages.push(page);
    }
    Ok(pages)
}

pub(super) fn rows(pages: &[Page]) -> Vec<Vec<Option<&[u8]>>> {
    pages.iter().flat_map(|page| (0..page.rows()).map(|row| page.row(row).collect())).collect()
}

/// What goes in comes out.
fn round_trips(layout: &Layout, pages: &[Page]) {
    for format in Format::ALL {
        let back = read(*format, layout, write(*format, layout, pages)).unwrap();
        let (sent, back) = (rows(pages), rows(&back));
        assert_eq!(sent.len(), back.len(), "{format:?}");
        for (number, (sent, back)) in sent.iter().zip(&back).enumerate() {
            for ((column, sent), back) in layout.columns.iter().zip(sent).zip(back) {
                assert_eq!(sent, back, "{format:?} row {number} {}", column.cql_type);
            }
        }
    }
}

fn random_layout(random: &mut Random, types: &[&str]) -> Layout {
    let mut names: Vec<&str> = NAMES.to_vec();
    let n = 1 + random.below(8);
    let picked: Vec<(&str, &str)> =
        (0..n).map(|_| (names.swap_remove(random.below(names.len())), random.pick(types))).collect();
    Layout::new(columns(&picked))
}

fn all_types() -> Vec<&'static str> {
    let natives = Native::ALL.iter().map(|n| n.name());
    natives.chain(NESTED.iter().copied()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_cells_come_back(seed: u64) {
        let mut random = Random(seed);
        let layout = random_layout(&mut random, &all_types());
        let pages: Vec<Page> = (0..random.below(4))
            .map(|_| {
                let rows = random.below(20);
                random.page(&layout, rows)
            })
            .collect();
        round_trips(&layout, &pages);
    }

    #[test]
    fn another_csv_reader_finds_the_same_fields(seed: u64) {
        let mut random = Random(seed);
        let layout = random_layout(&mut random, &["text", "blob", "int", "list<text>", "map<text, int>"]);
        let page = random.page(&layout, 10);
        let file = write(Format::Csv, &layout, std::slice::from_ref(&page));
        let mut reader = ::csv::Reader::from_reader(file);
        let header = reader.headers().unwrap().clone();
        prop_assert!(header.iter().eq(layout.names()));
        let mut row = 0;
        for record in reader.records() {
            let record = record.unwrap();
            prop_assert_eq!(record.len(), layout.columns.len() + 1);
            for ((field, column), cell) in record.iter().zip(&layout.columns).zip(page.row(row)) {
                let mut text = Vec::new();
                if let Some(cell) = cell {
                    column.codec.to_text(cell, &mut text);
                }
                prop_assert_eq!(field, String::from_utf8(text).unwrap());
            }
            row += 1;
        }
        prop_assert_eq!(row, page.rows());
    }
}

/// A file of an export, and what its sink counted.
fn export(format: ExportFormat, layout: &Layout, page: &Page) -> (u64, File) {
    let file = tempfile::tempfile().unwrap();
    let mut sink = format.sink(&layout.columns, SinkOptions::default(), file).unwrap();
    let inexact = sink.write(page).unwrap();
    let mut file = sink.finish().unwrap();
    file.rewind().unwrap();
    (inexact, file)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn an_export_is_a_dump_without_the_exceptions(seed: u64) {
        let mut random = Random(seed);
        let layout = random_layout(&mut random, &all_types());
        let page = random.page(&layout, 15);
        let counted = |format: Format| {
            let mut sink = format.sink(&layout, SinkOptions::default(), Vec::new()).unwrap();
            sink.write(&page).unwrap()
        };

        let (inexact, file) = export(ExportFormat::Csv, &layout, &page);
        prop_assert_eq!(inexact, counted(Format::Csv));
        let records = |file: File| -> Vec<Vec<String>> {
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(file);
            reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect()
        };
        let mut dumped = records(write(Format::Csv, &layout, std::slice::from_ref(&page)));
        dumped.iter_mut().for_each(|record| drop(record.pop()));
        // A line of nothing is a record of one null, which this reader skips.
        dumped.retain(|record| record.len() > 1 || !record[0].is_empty());
        let mut exported = records(file);
        exported.retain(|record| record.len() > 1 || !record[0].is_empty());
        prop_assert_eq!(exported, dumped);

        let (inexact, file) = export(ExportFormat::Parquet, &layout, &page);
        prop_assert_eq!(inexact, counted(Format::Parquet));
        let batches = |file: File| -> Vec<arrow_array::RecordBatch> {
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
        };
        let (dumped, exported) =
            (batches(write(Format::Parquet, &layout, std::slice::from_ref(&page))), batches(file));
        for (dumped, exported) in dumped.iter().zip(&exported) {
            let natural = dumped.num_columns() - 1;
            prop_assert_eq!(exported.num_columns(), natural);
            // As debug text, in which NaN equals itself.
            prop_assert_eq!(format!("{:?}", exported.columns()), format!("{:?}", &dumped.columns()[..natural]));
        }
        prop_assert_eq!(dumped.len(), exported.len());
    }

    #[test]
    fn another_json_reader_finds_the_same_members(seed: u64) {
        let mut random = Random(seed);
        let layout = random_layout(&mut random, &all_types());
        let page = random.page(&layout, 10);
        let (inexact, mut file) = export(ExportFormat::Jsonl, &layout, &page);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let mut lossy = 0;
        prop_assert_eq!(text.lines().count(), page.rows());
        for (row, line) in text.lines().enumerate() {
            let object: HashMap<String, Box<RawValue>> = serde_json::from_str(line).unwrap();
            prop_assert_eq!(object.len(), layout.columns.len());
            for (column, cell) in layout.columns.iter().zip(page.row(row)) {
                let found = object[&column.name].get();
                let mut text = Vec::new();
                let fidelity = cell.map(|cell| column.codec.to_text(cell, &mut text));
                lossy += u64::from(fidelity == Some(Fidelity::Lossy));
                let text = String::from_utf8(text).unwrap();
                if found == "null" {
                    prop_assert!(cell.is_none() || fidelity == Some(Fidelity::Lossy) && text.is_empty());
                } else if found.starts_with('"') {
                    prop_assert_eq!(serde_json::from_str::<String>(found).unwrap(), text);
                } else {
                    prop_assert_eq!(found, text);
                }
            }
        }
        prop_assert_eq!(inexact, lossy);
    }
}

#[test]
fn formats_have_names() {
    for format in ExportFormat::ALL {
        assert_eq!(ExportFormat::named(format.name()), Some(*format));
    }
    assert_eq!(ExportFormat::named("jsonl"), Some(ExportFormat::Jsonl));
    assert_eq!(Format::named("jsonl"), None, "it cannot be read back");
}

#[test]
fn every_type_comes_back_null_empty_and_odd() {
    for (seed, cql) in all_types().into_iter().enumerate() {
        let layout = Layout::new(columns(&[("c", cql)]));
        let page = Random(seed as u64).page(&layout, 300);
        round_trips(&layout, &[page]);
    }
}

#[test]
fn a_file_without_rows_gives_no_page() {
    let layout = Layout::new(columns(&[("k", "int")]));
    for format in Format::ALL {
        let file = write(*format, &layout, &[PageBuilder::new(1).finish()]);
        assert!(read(*format, &layout, file).unwrap().is_empty());
    }
}

#[test]
fn the_exceptions_column_makes_way_for_a_column_of_its_name() {
    let names = |columns| Layout::new(columns).exceptions;
    assert_eq!(names(columns(&[("a", "int")])), "__wire");
    let taken = [("__wire_", "text"), ("__wire", "text")];
    assert_eq!(names(columns(&taken)), "__wire__");
    let layout = Layout::new(columns(&taken));
    let mut page = PageBuilder::new(2);
    for cell in [&b"a"[..], b"\xff", b"\xfe", b""] {
        page.push(Some(cell)).unwrap();
    }
    round_trips(&layout, &[page.finish()]);
}

#[test]
fn many_pages_come_back_in_pages_of_a_size() {
    let layout = Layout::new(columns(&[("k", "int"), ("v", "blob"), ("t", "text")]));
    let mut random = Random(7);
    // One page of many narrow rows, then large values, then a single one larger than a page.
    let sizes = [(7000, 3), (300, 60_000), (3, 3_000_000), (1, 1)];
    let pages: Vec<Page> = sizes
        .iter()
        .map(|(rows, len)| {
            let mut page = PageBuilder::new(3);
            for row in 0..*rows {
                let value = random.bytes(*len);
                page.push(Some(&i32::to_be_bytes(row))).unwrap();
                page.push(Some(&value)).unwrap();
                page.push((row % 2 == 0).then_some(&b"\xffx"[..])).unwrap();
            }
            page.finish()
        })
        .collect();
    for format in Format::ALL {
        let back = read(*format, &layout, write(*format, &layout, &pages)).unwrap();
        assert!(rows(&back) == rows(&pages), "{format:?}");
        for page in &back {
            let last = page.part(page.rows() - 1..page.rows());
            assert!(page.value_bytes() - last.value_bytes() < 1 << 20, "{format:?}");
            assert!(page.rows() <= 5000, "{format:?}");
        }
    }
}

/// A file of some of everything, as bytes.
pub(super) fn specimen(format: Format) -> (Layout, Vec<Page>, Vec<u8>) {
    let types = all_types();
    let names: Vec<String> = (0..types.len()).map(|n| format!("c{n}")).collect();
    let named: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(types).collect();
    let layout = Layout::new(columns(&named));
    let pages = vec![Random(3).page(&layout, 30)];
    let mut bytes = Vec::new();
    write(format, &layout, &pages).read_to_end(&mut bytes).unwrap();
    (layout, pages, bytes)
}

pub(super) fn read_bytes(format: Format, layout: &Layout, bytes: &[u8]) -> Result<Vec<Page>, FormatError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    read(format, layout, file)
}

#[test]
fn a_truncated_parquet_file_is_an_error() {
    let (layout, pages, bytes) = specimen(Format::Parquet);
    assert!(rows(&read_bytes(Format::Parquet, &layout, &bytes).unwrap()) == rows(&pages));
    for len in (0..bytes.len()).step_by(bytes.len() / 200).chain([bytes.len() - 1]) {
        assert!(read_bytes(Format::Parquet, &layout, &bytes[..len]).is_err(), "{len}");
    }
}
