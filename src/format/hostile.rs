//! Files that lie, as a stranger can make them, checksums and all: each is an error that says where, or rows; never a
//! panic, and never more memory than a row may take.

use super::tests::{Random, columns, read_bytes, rows, specimen};
use super::*;
use crate::rows::PageBuilder;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use ::parquet::basic::Compression;
use ::parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use std::io::{Read, Seek};

/// Damages of `bytes`: bits flipped, bytes written over, put in and taken out, and the end cut off.
fn mutate(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        // Half of the hits fall on the end of the file, where Parquet's footer lies.
        let range = damaged.len() / (1 + random.below(2));
        let at = damaged.len() - 1 - random.below(range.max(1));
        match random.below(8) {
            0 => damaged[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            1 => damaged.insert(at, u8::try_from(random.below(256)).unwrap()),
            2 => drop(damaged.remove(at)),
            3 => {
                let end = (at + random.below(16)).min(damaged.len());
                damaged.drain(at..end);
            }
            4 => {
                let from = random.below(damaged.len());
                let piece = damaged[from..(from + random.below(32)).min(damaged.len())].to_vec();
                damaged.splice(at..at, piece);
            }
            5 if random.below(8) == 0 => damaged.truncate(at),
            _ => damaged[at] ^= 1 << random.below(8),
        }
        if damaged.is_empty() {
            return damaged;
        }
    }
    damaged
}

/// Checksums are not looked at here, so that every file is one whose checksum fits.
fn damaged_files_are_errors_or_rows(seeds: std::ops::Range<u64>) {
    for format in Format::ALL {
        let (layout, _, bytes) = specimen(*format);
        let (mut refused, mut times) = (0, 0);
        for seed in seeds.clone() {
            println!("{format:?}, seed {seed}");
            let damaged = mutate(&mut Random(seed), &bytes);
            // The library's footer is its own copy of the schema, half of the file.
            refused += usize::from(read_bytes(*format, &layout, &damaged).is_err());
            times += 1;
        }
        assert!(refused > times / 10, "{format:?}: {refused} of {times}");
    }
}

#[test]
fn a_damaged_file_is_an_error_or_rows() {
    damaged_files_are_errors_or_rows(0..400);
}

#[test]
#[ignore = "takes minutes: scripts/test --long"]
fn many_damaged_files_are_errors_or_rows() {
    damaged_files_are_errors_or_rows(400..10_000);
}

/// A page as its header claims it, and its bytes in the file.
#[derive(Clone)]
struct Claim {
    kind: i64,
    bytes: i64,
    stored: i64,
    values: i64,
    encoding: i64,
    body: Vec<u8>,
}

impl Claim {
    /// A plain page of texts, all of it true.
    fn of(texts: &[&str]) -> Claim {
        // Definition levels: their length, then one run of ones.
        let run = [varint(texts.len() as u64 * 2), vec![1]].concat();
        let mut body = (u32::try_from(run.len()).unwrap()).to_le_bytes().to_vec();
        body.extend(run);
        for text in texts {
            body.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
            body.extend(text.as_bytes());
        }
        Claim::plain(0, texts.len(), body)
    }

    /// A dictionary of texts.
    fn dictionary(texts: &[&str]) -> Claim {
        let each =
            |text: &&str| [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
        Claim::plain(2, texts.len(), texts.iter().flat_map(each).collect())
    }

    fn plain(kind: i64, values: usize, body: Vec<u8>) -> Claim {
        let len = i64::try_from(body.len()).unwrap();
        let values = i64::try_from(values).unwrap();
        Claim { kind, bytes: len, stored: len, values, encoding: 0, body }
    }

    /// The same page compressed.
    fn compressed(mut self) -> Claim {
        self.body = zstd::encode_all(&self.body[..], 1).unwrap();
        self.stored = i64::try_from(self.body.len()).unwrap();
        self
    }

    fn write(&self, out: &mut Vec<u8>) {
        let field = |n: i64| [vec![0x15], varint(zigzag(n))].concat();
        let head = [field(self.kind), field(self.bytes), field(self.stored)].concat();
        let numbers = [field(self.values), field(self.encoding)].concat();
        let inner = match self.kind {
            2 => [vec![0x4c], numbers, vec![0]].concat(),
            _ => [vec![0x2c], numbers, field(3), field(3), vec![0]].concat(),
        };
        out.extend([head, inner, vec![0]].concat());
        out.extend(&self.body);
    }
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap());
    out
}

/// What becomes of the metadata of a column chunk, and of its row group.
type Lie = fn(ColumnChunkMetaData) -> ColumnChunkMetaData;

const TRUE: Lie = |chunk| chunk;

/// A file of three rows of a text, whose pages are these instead.
fn text_file(claims: &[Claim], compression: Compression, lie: Lie) -> (Layout, Vec<u8>) {
    file_of(("text", 1), &["a", "b", "c"], claims, compression, lie)
}

/// A file of so many columns of a type, which all have these pages.
fn file_of(
    (cql, width): (&str, usize),
    texts: &[&str],
    claims: &[Claim],
    compression: Compression,
    lie: Lie,
) -> (Layout, Vec<u8>) {
    let names: Vec<String> = (0..width).map(|n| "v".repeat(n + 1)).collect();
    let layout = Layout::new(columns(&names.iter().map(|name| (name.as_str(), cql)).collect::<Vec<_>>()));
    let mut page = PageBuilder::new(width);
    for text in texts {
        let mut cell = Vec::new();
        layout.columns[0].codec.from_text(text.as_bytes(), &mut cell).unwrap();
        (0..width).for_each(|_| page.push(Some(&cell)).unwrap());
    }
    let mut sink =
        Format::Parquet.sink(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap();
    sink.write(&page.finish()).unwrap();
    let mut file = sink.finish().unwrap();
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
    let metadata: &ParquetMetaData = metadata.metadata();
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let tail = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap());
    bytes.truncate(tail - footer as usize);

    let offset = i64::try_from(bytes.len()).unwrap();
    claims.iter().for_each(|claim| claim.write(&mut bytes));
    let group: &RowGroupMetaData = metadata.row_group(0);
    let mut chunks = group.columns().to_vec();
    let values = claims.iter().filter(|claim| claim.kind == 0).map(|claim| claim.values).sum();
    let size = i64::try_from(bytes.len()).unwrap() - offset;
    let dictionary = claims.first().is_some_and(|claim| claim.kind == 2).then_some(offset);
    for chunk in &mut chunks[..width] {
        let changed = chunk.clone().into_builder();
        let changed = changed.set_dictionary_page_offset(dictionary).set_data_page_offset(offset);
        let changed =
            changed.set_total_compressed_size(size).set_total_uncompressed_size(size).set_num_values(values);
        *chunk = lie(changed.set_compression(compression).build().unwrap());
    }
    let group = group.clone().into_builder().set_column_metadata(chunks).build().unwrap();
    let metadata = metadata.clone().into_builder().set_row_groups(vec![group]).build();
    // Without the writer's place in the file, which is told by offsets.
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
    (layout, bytes)
}

fn told(claims: &[Claim], compression: Compression, lie: Lie) -> Result<usize, String> {
    let (layout, bytes) = text_file(claims, compression, lie);
    let read = read_bytes(Format::Parquet, &layout, &bytes);
    read.map(|pages| rows(&pages).len()).map_err(|error| error.to_string())
}

const NONE: Compression = Compression::UNCOMPRESSED;

fn zstd() -> Compression {
    Compression::ZSTD(::parquet::basic::ZstdLevel::default())
}

#[test]
fn pages_that_lie_are_named_with_their_place() {
    let good = || Claim::of(&["a", "b", "c"]);
    assert_eq!(told(&[good()], NONE, TRUE), Ok(3));
    assert_eq!(told(&[good().compressed()], zstd(), TRUE), Ok(3));
    assert_eq!(told(&[Claim::of(&["a"]), Claim::of(&["b", "c"])], NONE, TRUE), Ok(3));
    let bomb = |bytes| Claim { bytes, ..good().compressed() };
    for (claims, compression, expected) in [
        (
            vec![bomb(0x7fff_ffff)],
            zstd(),
            "it would inflate to 2147483647 bytes, more than the 553648128 a page may have",
        ),
        (vec![bomb(-1)], zstd(), "a length below zero"),
        (vec![Claim { bytes: 99, ..good() }], NONE, "its two lengths differ, though it is not compressed"),
        (vec![Claim { stored: 99, ..good() }], NONE, "it ends behind its column"),
        (vec![Claim { stored: -1, ..good() }], NONE, "it ends behind its column"),
        (
            vec![Claim { values: 0x7fff_ffff, ..good() }],
            NONE,
            "2147483647 values, more than the 67108864 a page may have",
        ),
        (vec![Claim { values: -1, ..good() }], NONE, "less than no values"),
        (vec![Claim { kind: 3, ..good() }], NONE, "of a kind that no dump has"),
        (vec![Claim { encoding: 7, ..good() }], NONE, "in encoding 7, as no dump has it"),
        (vec![Claim { encoding: 99, ..good() }], NONE, "in encoding 99, as no dump has it"),
    ] {
        let told = told(&claims, compression, TRUE).unwrap_err();
        assert!(told.starts_with("the file is damaged: column \"v\": page at byte "), "{told}");
        assert!(told.ends_with(expected), "{told}\n{expected}");
    }
    let twice = [good(), Claim::dictionary(&["a"])];
    let told_twice = told(&twice, NONE, TRUE).unwrap_err();
    assert!(told_twice.ends_with("a dictionary behind the first page"), "{told_twice}");
}

/// One page of a column may be as large as a row can be, those of all its columns together not much more.
#[test]
fn pages_of_many_columns_that_inflate_together_are_refused() {
    let bomb = [Claim { bytes: 500 << 20, ..Claim::of(&["a", "b", "c"]).compressed() }];
    let texts = ["a", "b", "c"];
    let (layout, bytes) = file_of(("text", 3), &texts, &bomb, zstd(), TRUE);
    let told = read_bytes(Format::Parquet, &layout, &bytes).unwrap_err().to_string();
    // The exceptions are two columns more.
    assert!(told.starts_with("the file is damaged: its 5 columns would inflate to 15728640"), "{told}");
    assert!(
        told.ends_with(&format!(" more than the {} they may", 2 * (528 << 20) + 5 * (4 << 20))),
        "{told}"
    );
}

#[test]
fn more_or_fewer_values_than_rows_are_named() {
    let damaged = |what: &str| Err(format!("the file is damaged: column \"v\": {what}"));
    assert_eq!(told(&[Claim::of(&["a"])], NONE, TRUE), damaged("1 values for 3 rows"));
    assert_eq!(told(&[Claim::of(&["a"; 4])], NONE, TRUE), damaged("4 values for 3 rows"));
    let lie: Lie = |chunk| chunk.into_builder().set_num_values(1 << 40).build().unwrap();
    let announced = "1099511627776 values announced, its pages hold 3";
    assert_eq!(told(&[Claim::of(&["a", "b", "c"])], NONE, lie), damaged(announced));
    let lies: [Lie; 4] = [
        |chunk| chunk.into_builder().set_data_page_offset(-5).build().unwrap(),
        |chunk| chunk.into_builder().set_data_page_offset(i64::MAX).build().unwrap(),
        |chunk| chunk.into_builder().set_total_compressed_size(-1).build().unwrap(),
        |chunk| chunk.into_builder().set_total_compressed_size(1 << 60).build().unwrap(),
    ];
    for lie in lies {
        let expected = damaged("it lies outside of the file");
        assert_eq!(told(&[Claim::of(&["a", "b", "c"])], NONE, lie), expected);
    }
    let gzip: Lie = |chunk| chunk.into_builder().set_compression(Compression::SNAPPY).build().unwrap();
    let expected = damaged("it is compressed by SNAPPY, as no dump is");
    assert_eq!(told(&[Claim::of(&["a", "b", "c"])], NONE, gzip), expected);
}

/// A page that inflates to more than it says must not be inflated further than that.
#[test]
fn a_page_that_inflates_to_more_or_less_than_it_says_is_an_error() {
    let zeros = zstd::encode_all(std::io::repeat(0).take(64 << 20), 1).unwrap();
    let stored = i64::try_from(zeros.len()).unwrap();
    for bytes in [100, 1 << 20] {
        let bomb = Claim { bytes, stored, body: zeros.clone(), ..Claim::of(&["a", "b", "c"]) };
        let told = told(&[bomb], zstd(), TRUE).unwrap_err();
        assert!(told.starts_with("the file is damaged: row group 1, behind row 0: "), "{told}");
    }
    let short = Claim { bytes: 1000, ..Claim::of(&["a", "b", "c"]).compressed() };
    let told = told(&[short], zstd(), TRUE).unwrap_err();
    assert!(told.contains("row group 1, behind row 0: ") && told.contains("1000"), "{told}");
}

/// Where the values of a page begin, a length or an index leads out of what there is.
#[test]
fn values_that_lie_are_errors_with_the_row() {
    let mut long = Claim::of(&["a", "b", "c"]);
    // The length of the first text.
    long.body[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut levels = Claim::of(&["a", "b", "c"]);
    levels.body[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut few = Claim::of(&["a", "b", "c"]);
    few.body[4] = 2;
    let mut invalid = Claim::of(&["a", "b", "c"]);
    *invalid.body.last_mut().unwrap() = 0xff;
    // Indexes into a dictionary that there is not, and behind the end of one.
    let index = Claim { encoding: 8, ..Claim::plain(0, 3, [&[2, 0, 0, 0, 6, 1, 3][..], &[6, 7]].concat()) };
    let outside = vec![Claim::dictionary(&["x"]), index.clone()];
    for claims in [vec![long], vec![levels], vec![few], vec![invalid], vec![index], outside] {
        let told = told(&claims, NONE, TRUE).unwrap_err();
        assert!(told.starts_with("the file is damaged: row group 1, behind row 0: "), "{told}");
    }
}

/// A few bytes of indexes stand for any number of long values.
#[test]
fn long_values_of_a_dictionary_are_decoded_a_few_at_a_time() {
    const ROWS: usize = 20_000;
    let long = "x".repeat(4 << 20);
    let run = [varint(ROWS as u64 * 2), vec![1]].concat();
    let levels = [&u32::try_from(run.len()).unwrap().to_le_bytes()[..], &run].concat();
    let indexes = [&[1][..], &varint(ROWS as u64 * 2), &[0]].concat();
    let page = Claim { encoding: 8, ..Claim::plain(0, ROWS, [levels, indexes].concat()) };
    let texts = vec!["a"; ROWS];
    let (layout, bytes) = file_of(("text", 1), &texts, &[Claim::dictionary(&[&long]), page], NONE, TRUE);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let mut source = Format::Parquet.source(&layout, file).unwrap();
    // All of them would be 80 GB.
    for _ in 0..40 {
        let page = source.next_page().unwrap().unwrap();
        assert!(page.rows() <= 16, "{} rows at once", page.rows());
        assert_eq!(page.cell(0, 0).unwrap().len(), long.len());
    }
}

#[test]
fn a_footer_that_lies_is_refused_before_it_is_believed() {
    let (layout, bytes) = text_file(&[Claim::of(&["a", "b", "c"])], NONE, TRUE);
    let with_footer = |footer: &[u8]| {
        let len = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let bytes = [&bytes[..100], footer, &len, b"PAR1"].concat();
        read_bytes(Format::Parquet, &layout, &bytes).err().unwrap().to_string()
    };
    // A list of structs: the schema, the row groups.
    for field in [0x29, 0x49] {
        let list = [&[field, 0xfc][..], &varint(0x7fff_ffff)].concat();
        let told = with_footer(&[list, vec![0; 1000]].concat());
        assert!(told.starts_with("the file is damaged: the footer is broken at byte 1"), "{told}");
    }
    // Groups in groups without end: a name and one child each.
    let deep =
        [&[0x29, 0xfc][..], &varint(100_000), &[0x48, 1, b'x', 0x15, 2, 0].repeat(100_000), &[0]].concat();
    let told = with_footer(&deep);
    assert!(told.starts_with("the file is damaged: the footer is broken at byte "), "{told}");
    // Structs in structs, of a field that nobody knows.
    let deep = [&[0xfc][..], &[0x1c; 100_000]].concat();
    let told = with_footer(&deep);
    assert!(told.starts_with("the file is damaged: the footer is broken at byte "), "{told}");
    let told = {
        let bytes = [&bytes[..100], &0x7fff_ffff_u32.to_le_bytes(), b"PAR1"].concat();
        read_bytes(Format::Parquet, &layout, &bytes).err().unwrap().to_string()
    };
    assert_eq!(told, "the file is damaged: a footer of 2147483647 bytes in a file of 108");
}

#[test]
fn rows_of_endless_elements_are_refused() {
    // One page of three lists, and one that goes on with the last of them.
    let page = |levels: &[u8], values: usize| {
        let level = |first: u8| {
            [&varint(values as u64 * 2 - 2)[..], &[1]].concat().into_iter().fold(
                vec![2, first],
                |mut out, byte| {
                    out.push(byte);
                    out
                },
            )
        };
        let repetition = level(levels[0]);
        let definition = [varint(values as u64 * 2), vec![2]].concat();
        let mut body = u32::try_from(repetition.len()).unwrap().to_le_bytes().to_vec();
        body.extend(repetition);
        body.extend(u32::try_from(definition.len()).unwrap().to_le_bytes());
        body.extend(definition);
        Claim::plain(0, values, body)
    };
    let values = 64 << 20;
    let claims = [page(&[0], values), page(&[1], values)];
    let (layout, bytes) = file_of(("list<int>", 1), &["[1]"], &claims, NONE, TRUE);
    let told = read_bytes(Format::Parquet, &layout, &bytes).err().unwrap().to_string();
    assert!(told.starts_with("the file is damaged: column \"v.list.element\": page at byte "), "{told}");
    assert!(told.ends_with("it begins inside a row"), "{told}");
}

#[test]
fn csv_that_does_not_end_is_refused_with_its_line() {
    let layout = Layout::new(columns(&[("k", "text"), ("l", "list<int>")]));
    let told = |text: &str| read_bytes(Format::Csv, &layout, text.as_bytes()).err().unwrap().to_string();
    let deep = format!("k,l,__wire\na,\"{}\",\n", "[".repeat(1_000_000));
    let expected = "line 2, column \"l\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"… is not a JSON array";
    assert!(told(&deep).starts_with(expected), "{}", told(&deep));
    let wire = format!("k,l,__wire\na,,\"{{\"\"k\"\":{}\"\n", "{\"\"k\"\":".repeat(100_000));
    assert!(told(&wire).starts_with("line 2, column \"__wire\": "), "{}", told(&wire));
    let open = format!("k,l,__wire\na,\"{}", "x\n".repeat(1 << 20));
    assert!(told(&open).starts_with("line 2: a quote is opened and never closed"), "{}", told(&open));
}
