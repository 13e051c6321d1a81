//! What a fuzzer does with bytes, and what must hold then: one function per target, each of which panics where something
//! does not hold. `tests/corpus.rs` runs the same functions over `corpus/`, where every input is kept that ever failed.
//!
//! A new target is a function here, a file in `fuzz_targets/`, a `[[bin]]` in `Cargo.toml` and a folder in `corpus/`.

use arrow_array::Array;
use cqlift::ddl::{self, Kind, Renames, Statement, lex, options, rewrite, servers};
use cqlift::format::csv::{CsvOptions, CsvReader};
use cqlift::format::{Column, Format, FormatError, Layout, Source};
use cqlift::manifest::begun::Begun;
use cqlift::manifest::sidecar::Sidecar;
use cqlift::manifest::{Manifest, Part};
use cqlift::rows::{Cell, Page};
use cqlift::state::{BadState, ImportState, LoadState};
use cqlift::types::cql::{CqlType, Native, Udt};
use cqlift::types::{Codec, Fidelity, class, codec, elements};
use std::io::{Cursor, Seek, Write};
use std::sync::Arc;

/// Takes single bytes off the front; zeros behind the end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// A cell: a byte tells null, or how long it is.
    fn cell(&mut self) -> Cell<'a> {
        let len = match self.byte() {
            0xff => return None,
            long @ 0xf0.. => usize::from(long & 15) << 8 | usize::from(self.byte()),
            short => usize::from(short),
        };
        let (cell, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        Some(cell)
    }

    /// A type, nested up to three deep.
    fn cql_type(&mut self, depth: usize) -> CqlType {
        let natives = Native::ALL.len();
        let nested = |input: &mut Input<'a>| Box::new(input.cql_type(depth + 1));
        match self.below(if depth < 3 { natives + 6 } else { natives }) {
            native if native < natives => CqlType::Native(Native::ALL[native]),
            other => match other - natives {
                0 => CqlType::List(nested(self), true),
                1 => CqlType::Set(nested(self), true),
                2 => {
                    let key = nested(self);
                    CqlType::Map(key, nested(self), true)
                }
                3 => CqlType::Tuple((0..1 + self.below(3)).map(|_| *nested(self)).collect()),
                4 => {
                    let names = ["b", "A b", "\"é"].map(str::to_owned);
                    let fields = (0..1 + self.below(3)).map(|n| (names[n].clone(), *nested(self)));
                    CqlType::Udt(Arc::new(Udt { name: "u".to_owned(), fields: fields.collect() }), true)
                }
                _ => {
                    let element = nested(self);
                    CqlType::Vector(element, 1 + self.below(4))
                }
            },
        }
    }
}

/// A type, then cells of it: whatever a form calls exact gives the same bytes back, in text and in Arrow.
pub fn codecs(data: &[u8]) {
    let mut input = Input(data);
    let cql_type = input.cql_type(0);
    let codec = codec(&cql_type).expect("every type that is made here has a codec");
    let mut cells = Vec::new();
    while !input.0.is_empty() {
        cells.push(input.cell());
    }
    for cell in cells.iter().copied().flatten() {
        text_and_back(&*codec, cell);
        // What a person may have written.
        let mut read = Vec::new();
        if codec.from_text(cell, &mut read).is_ok() {
            text_and_back(&*codec, &read);
        }
        if let Some(parts) = elements::split(&cql_type, cell)
            && matches!(cql_type, CqlType::List(..) | CqlType::Set(..) | CqlType::Map(..))
        {
            assert_eq!(elements::join(&parts).as_deref(), Some(cell), "{cql_type}");
        }
        elements::numbers(cell);
        elements::trimmed(&cql_type, cell);
    }
    let mut lossy = vec![false; cells.len()];
    let array = codec.to_arrow(&cells, &mut lossy);
    assert_eq!((array.len(), array.data_type()), (cells.len(), &codec.arrow_type()), "{cql_type}");
    let back = codec.arrow_cells(&array).expect("it is an array of the codec's own");
    for (row, (cell, lossy)) in cells.iter().zip(lossy).enumerate() {
        let mut out = Vec::new();
        let present = back.append(row, &mut out);
        if !lossy {
            assert_eq!(present, Ok(cell.is_some()), "{cql_type}, row {row}");
            assert_eq!(out, cell.unwrap_or_default(), "{cql_type}, row {row}");
        }
    }
}

fn text_and_back(codec: &dyn Codec, cell: &[u8]) {
    let mut text = Vec::new();
    let fidelity = codec.to_text(cell, &mut text);
    let shown = std::str::from_utf8(&text).expect("texts are UTF-8");
    let mut back = Vec::new();
    let read = codec.from_text(shown.as_bytes(), &mut back);
    if fidelity == Fidelity::Exact {
        assert_eq!(read, Ok(()), "{shown:?} of {cell:?}");
        assert_eq!(back, cell, "{shown:?}");
    }
}

/// Reads a source to its end, going on after the errors that let it; the rows, and whether it came to the end.
fn read(mut source: Box<dyn Source>) -> (usize, bool) {
    let mut rows = 0;
    loop {
        match source.next_page() {
            Ok(None) => return (rows, true),
            Ok(Some(page)) => {
                rows += page.rows();
                check(&page);
            }
            Err(FormatError::Value { place, .. }) if place.starts_with("line") => {}
            Err(FormatError::Fields { .. }) => {}
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return (rows, false);
            }
        }
    }
}

fn check(page: &Page) {
    assert!(page.rows() > 0, "a page without rows");
    let cells = (0..page.rows()).flat_map(|row| page.row(row)).flatten();
    assert_eq!(cells.map(<[u8]>::len).sum::<usize>(), page.value_bytes());
}

fn columns(types: &[(&str, &str)]) -> Vec<Column> {
    let fields =
        vec![("a".to_owned(), CqlType::Native(Native::Int)), ("b".to_owned(), CqlType::Native(Native::Text))];
    let udt = Arc::new(Udt { name: "u".to_owned(), fields });
    let column = |(name, cql): &(&str, &str)| {
        let cql_type = CqlType::parse(cql, &|_| Some(udt.clone())).expect("a type");
        let codec = Arc::from(codec(&cql_type).expect("a codec"));
        Column { name: (*name).to_owned(), cql_type, codec }
    };
    types.iter().map(column).collect()
}

/// The columns of the files in `corpus/parquet` and `corpus/csv`, by number.
pub fn layout(number: usize) -> Layout {
    const LAYOUTS: &[&[(&str, &str)]] = &[
        &[("k", "int"), ("v", "text")],
        &[
            ("k", "uuid"),
            ("at", "timestamp"),
            ("v", "varint"),
            ("b", "boolean"),
            ("d", "decimal"),
            ("x", "blob"),
            ("f", "float"),
            ("g", "double"),
            ("i", "inet"),
            ("t", "tinyint"),
            ("s", "smallint"),
            ("l", "bigint"),
            ("y", "date"),
            ("z", "time"),
            ("p", "duration"),
        ],
        &[
            ("k", "text"),
            ("l", "list<text>"),
            ("s", "set<int>"),
            ("m", "map<text, frozen<list<int>>>"),
            ("n", "map<double, blob>"),
            ("t", "frozen<tuple<int, text, frozen<set<uuid>>>>"),
            ("u", "frozen<u>"),
            ("v", "vector<float, 3>"),
            ("w", "vector<text, 2>"),
            ("l__writetime", "list<bigint>"),
        ],
    ];
    Layout::new(columns(LAYOUTS[number % LAYOUTS.len()]))
}

/// A byte that chooses columns and options, then a CSV file: read as a foreign file, and as one of a dump.
pub fn csv(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let layout = layout(usize::from(choice));
    let null = if choice & 0x80 == 0 { "" } else { "NULL" };
    let options = CsvOptions { null: null.to_owned() };
    let lines = input.0.iter().filter(|byte| **byte == b'\n').count() + 1;
    if let Ok(reader) = CsvReader::open(Cursor::new(input.0.to_vec()), &options) {
        let field = |name: &str| reader.header().iter().position(|n| n == name);
        let columns = layout.columns.iter().cloned();
        let columns = columns.filter_map(|c| Some((field(&c.name)?, c))).collect();
        let exceptions = field(&layout.exceptions);
        if let Ok(source) = reader.into_source(columns, exceptions) {
            let (rows, _) = read(Box::new(source));
            assert!(rows < lines, "{rows} rows in {lines} lines");
        }
    }
    if let Ok(source) = Format::Csv.source(&layout, file(input.0)) {
        read(source);
    }
}

/// A byte that chooses columns, then a Parquet file.
pub fn parquet(data: &[u8]) {
    let mut input = Input(data);
    let layout = layout(usize::from(input.byte()));
    if let Ok(source) = Format::Parquet.source(&layout, file(input.0)) {
        read(source);
    }
}

fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("room for it");
    file
}

/// A manifest, whose checksum is made to fit: what it says is read as every command reads it.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Manifest::from_text(&text);
    let Ok(manifest) = Manifest::from_text(&sealed(&text, "checksum")) else { return };
    for keyspace in &manifest.keyspaces {
        let _ = keyspace.udts();
        for entry in &keyspace.tables {
            if let Ok(table) = keyspace.table(entry) {
                table.udts();
                for column in &table.columns {
                    let _ = codec(&column.cql_type);
                }
            }
        }
        for statement in &keyspace.statements {
            let _ = Statement::parse(&statement.cql);
        }
    }
    let written = manifest.to_text().expect("what was read can be written");
    let again = Manifest::from_text(&written).expect("what was written can be read");
    assert_eq!(again.to_text().expect("again"), written);
}

/// The text of a manifest, or the like, with the checksum that it ought to have, by its name.
fn sealed(text: &str, name: &str) -> String {
    let key = format!(",\n  \"{name}\": \"xxh3-128:");
    let body = text.rsplit_once(&key).map_or(text, |(body, _)| body);
    let hash = xxhash_rust::xxh3::xxh3_128(body.as_bytes());
    format!("{body}{key}{hash:032x}\"\n}}\n")
}

/// What a dump, load or import has left of itself, with checksums made to fit: what was cut off at its end is as if it had
/// never been written, and what was read comes back.
pub fn state(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Begun::from_text(&text);
    if let Ok(begun) = Begun::from_text(&sealed(&text, "checksum")) {
        let written = begun.to_text().expect("what was read can be written");
        assert_eq!(Begun::from_text(&written).expect("and read"), begun);
        assert!(begun.differences(&begun).is_empty());
    }
    whole(data, LoadState::read);
    whole(data, ImportState::read);
    let hashed = |line: &str| format!("{:016x} {line}\n", xxhash_rust::xxh3::xxh3_64(line.as_bytes()));
    let lines = text.lines().map(|line| line.get(17..).filter(|_| !line.starts_with('{')).unwrap_or(line));
    let hashed: Vec<String> = lines.map(hashed).collect();
    let all = hashed.concat();
    whole(all.as_bytes(), LoadState::read);
    whole(all.as_bytes(), ImportState::read);
    let last = hashed.last().map_or(0, String::len);
    torn(all.as_bytes(), last, LoadState::read);
    torn(all.as_bytes(), last, ImportState::read);
}

/// A state that is right says the same without its last line and with a piece of that.
fn torn<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    last: usize,
    read: impl Fn(&[u8]) -> Result<(Option<T>, usize), BadState>,
) {
    if last == 0 || !read(bytes).is_ok_and(|(_, end)| end == bytes.len()) {
        return;
    }
    let before = bytes.len() - last;
    for piece in [1, last / 2, last - 1] {
        assert_eq!(read(&bytes[..before + piece]), read(&bytes[..before]));
    }
}

/// What counts of a state says the same by itself.
fn whole<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<(Option<T>, usize), BadState>,
) {
    if let Ok((state, end)) = read(bytes) {
        assert_eq!(read(&bytes[..end]), Ok((state, end)));
    }
}

/// A sidecar: what it says comes back, by itself and sealed.
pub fn sidecar(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Sidecar::from_text(&text);
    if let Ok(sidecar) = Sidecar::from_text(&sealed(&text, "sidecar_checksum")) {
        let written = sidecar.to_text().expect("what was read can be written");
        assert_eq!(Sidecar::from_text(&written).expect("and read"), sidecar);
    }
    let Ok(part) = serde_json::from_slice::<Part>(data) else { return };
    let written = serde_json::to_string(&part).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<Part>(&written).expect("and read"), part);
    for position in part.ranges.iter().flat_map(|range| range.from.iter().chain(&range.to)) {
        let _ = position.partition();
    }
}

/// CQL, or the name of a type: tokens are the text, a statement printed is the statement, and renaming it there and back
/// changes nothing.
pub fn ddl(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let any = |name: &str| Some(Arc::new(Udt { name: name.to_owned(), fields: Vec::new() }));
    if let Ok(parsed) = CqlType::parse(&text, &any) {
        let printed = parsed.to_string();
        assert_eq!(CqlType::parse(&printed, &any).as_ref(), Ok(&parsed), "{printed}");
    }
    let _ = class::parse(&text);
    if let Ok(tokens) = lex::lex(&text) {
        let mut at = 0;
        for token in tokens {
            assert_eq!(token.range.start, at);
            assert!(token.range.end > at && text.is_char_boundary(token.range.end));
            at = token.range.end;
        }
        assert_eq!(at, text.len());
    }
    let Ok(statement) = Statement::parse(&text) else { return };
    assert_eq!(Statement::parse(&statement.cql).as_ref(), Ok(&statement));
    assert!(text.contains(&statement.cql));
    statement.label();
    statement.arguments();
    statement.uses_functions();
    statement.uses_type("t");
    if let Ok(parts) = options::Parts::of(&statement) {
        let again = Statement { cql: parts.cql(), ..statement.clone() };
        assert!(ddl::same(&statement, &again), "{} and {}", statement.cql, again.cql);
        for option in &parts.options {
            options::map(&option.value);
        }
    }
    let there =
        Renames { keyspaces: [(statement.keyspace.clone(), "a\"b".to_owned())].into(), ..Renames::default() };
    if let Ok(renamed) = rewrite::rename(&statement, &there) {
        assert_eq!((renamed.kind, renamed.keyspace.as_str()), (statement.kind, "a\"b"), "{}", renamed.cql);
        if statement.kind != Kind::Keyspace {
            assert_eq!(renamed.name, statement.name, "{}", renamed.cql);
        }
        assert_eq!(Statement::parse(&renamed.cql).as_ref(), Ok(&renamed));
    }
    for server in ["cassandra-3.11", "cassandra-5.0", "scylla-2025.1"] {
        let server: servers::Target = server.parse().expect("a server");
        if let Ok(fitted) =
            ddl::fitting::fit(vec![statement.clone()], &server, ddl::target::Choices::default(), |_| false)
        {
            for fitted in fitted {
                let parsed =
                    Statement::parse(&fitted.statement.cql).expect("what is to be run is one statement");
                assert_eq!(
                    (parsed.kind, &parsed.keyspace, &parsed.name),
                    (statement.kind, &statement.keyspace, &statement.name)
                );
            }
        }
    }
    ddl::order(vec![statement]);
}
