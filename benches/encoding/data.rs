//! The tables that are measured and the cells in them: made from a seed, of the sizes and the variety of real ones.

use cqlift::format::{Column, Layout};
use cqlift::rows::{Page, PageBuilder};
use cqlift::table::{self, ColumnKind, Table};
use cqlift::types::codec;
use cqlift::types::cql::{CqlType, Native, Udt};
use std::sync::Arc;

/// Rows of a page, as scans ask for them.
pub const PAGE_ROWS: usize = 5000;

/// The types whose codecs are measured: every scalar, and one of each nested kind.
pub const TYPES: &[&str] = &[
    "ascii",
    "bigint",
    "blob",
    "boolean",
    "counter",
    "date",
    "decimal",
    "double",
    "duration",
    "float",
    "inet",
    "int",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
    "varint",
    "list<int>",
    "set<text>",
    "map<text, text>",
    "tuple<int, text>",
    "address",
    "vector<float, 16>",
];

const WORDS: &[&str] = &[
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
];

/// A small generator, the same in every run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn word(&mut self) -> &'static str {
        let number = self.below(WORDS.len() as u64);
        WORDS[usize::try_from(number).unwrap_or(0)]
    }

    fn words(&mut self, count: u64) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    fn uuid(&mut self, version: u64) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-{version}{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    fn timestamp(&mut self) -> String {
        let (day, ms) = (self.below(28) + 1, self.below(86_400_000));
        let s = ms / 1000;
        format!("2026-11-{day:02}T{:02}:{:02}:{:02}.{:03}Z", s / 3600, s / 60 % 60, s % 60, ms % 1000)
    }

    /// A value as text, from which its codec makes the cell.
    fn text(&mut self, cql_type: &CqlType) -> String {
        let list = |parts: Vec<String>| format!("[{}]", parts.join(","));
        match cql_type {
            CqlType::Native(native) => self.scalar(*native),
            CqlType::List(e, _) => list((0..3).map(|_| self.text(e)).collect()),
            CqlType::Set(..) => list((0..3).map(|_| format!("{:?}", self.word())).collect()),
            CqlType::Map(..) => {
                let entry = |_| format!("{:?}: {:?}", self.word(), self.word());
                format!("{{{}}}", (0..2).map(entry).collect::<Vec<_>>().join(", "))
            }
            CqlType::Vector(e, n) => list((0..*n).map(|_| self.text(e)).collect()),
            CqlType::Tuple(_) => format!("[{}, {:?}]", self.below(1000), self.word()),
            CqlType::Udt(..) => {
                format!(r#"{{"street": {:?}, "number": {}}}"#, self.words(2), self.below(200))
            }
            CqlType::Custom(_) => String::new(),
        }
    }

    fn scalar(&mut self, native: Native) -> String {
        match native {
            Native::Ascii => self.words(2),
            Native::Text => self.words(3),
            Native::Blob => format!("0x{:016x}{:016x}", self.next(), self.next()),
            Native::Boolean => (self.below(2) == 0).to_string(),
            Native::TinyInt => (self.below(100)).to_string(),
            Native::SmallInt => (self.below(30_000)).to_string(),
            Native::Int => (self.below(2_000_000_000)).to_string(),
            Native::BigInt | Native::Counter => (self.next() >> 12).to_string(),
            Native::VarInt => (self.next() >> 4).to_string(),
            Native::Decimal => format!("{}.{:02}", self.below(30_000), self.below(100)),
            Native::Float => format!("{}.{:02}", self.below(100), self.below(100)),
            Native::Double => format!("2{}.{:014}", self.below(10), self.below(100_000_000_000_000)),
            Native::Uuid => self.uuid(4),
            Native::TimeUuid => self.uuid(1),
            Native::Timestamp => self.timestamp(),
            Native::Date => format!("20{:02}-0{}-1{}", self.below(30), 1 + self.below(9), self.below(10)),
            Native::Time => {
                format!("1{}:{:02}:07.{:09}", self.below(10), self.below(60), self.below(999_999_999))
            }
            Native::Duration => {
                format!("{}mo{}d{}h", 1 + self.below(11), 1 + self.below(27), 1 + self.below(23))
            }
            Native::Inet => format!("10.{}.{}.{}", self.below(256), self.below(256), self.below(256)),
        }
    }
}

/// A type as CQL spells it; `address` is a user type.
pub fn cql_type(text: &str) -> CqlType {
    let udt = |name: &str| {
        let fields = [("street", Native::Text), ("number", Native::Int)];
        let fields = fields.map(|(name, native)| (name.to_owned(), CqlType::Native(native))).to_vec();
        Some(Arc::new(Udt { name: name.to_owned(), fields }))
    };
    CqlType::parse(text, &udt).expect("a type")
}

/// Values of a type, as texts.
pub fn texts(cql: &str) -> Vec<String> {
    let (cql_type, mut random) = (cql_type(cql), Random(7));
    (0..PAGE_ROWS).map(|_| random.text(&cql_type)).collect()
}

/// The same values as cells.
pub fn cells(cql: &str) -> Vec<Vec<u8>> {
    texts(cql).iter().map(|text| cell(cql, text)).collect()
}

fn cell(cql: &str, text: &str) -> Vec<u8> {
    let mut cell = Vec::new();
    let codec = codec(&cql_type(cql)).expect("a codec");
    codec.from_text(text.as_bytes(), &mut cell).expect("a value");
    cell
}

/// A table to be measured, with or without what is told of its cells.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Six narrow columns, many rows per partition.
    Iot,
    /// The same, with write times and expiries, the latter all null.
    IotTimes,
    /// Twelve columns, texts and two collections among them.
    Users,
    /// The same, with write times and expiries.
    UsersTimes,
    /// Forty columns, half of the cells null.
    Wide,
    /// 16 KiB in each row.
    Blobs,
}

impl Shape {
    fn told(self) -> bool {
        matches!(self, Shape::IotTimes | Shape::UsersTimes)
    }

    /// Rows of a page, which is some megabytes at most.
    fn rows(self) -> usize {
        if matches!(self, Shape::Blobs) { 64 } else { PAGE_ROWS }
    }

    fn columns(self) -> Vec<(String, ColumnKind, &'static str)> {
        use ColumnKind::{Clustering, PartitionKey, Regular};
        let named: &[(&str, ColumnKind, &str)] = match self {
            Shape::Iot | Shape::IotTimes => &[
                ("device_id", PartitionKey, "uuid"),
                ("ts", Clustering, "timestamp"),
                ("battery", Regular, "int"),
                ("humidity", Regular, "float"),
                ("status", Regular, "text"),
                ("temperature", Regular, "double"),
            ],
            Shape::Users | Shape::UsersTimes => &[
                ("id", PartitionKey, "uuid"),
                ("active", Regular, "boolean"),
                ("age", Regular, "int"),
                ("attrs", Regular, "map<text, text>"),
                ("balance", Regular, "decimal"),
                ("bio", Regular, "text"),
                ("city", Regular, "text"),
                ("country", Regular, "text"),
                ("created", Regular, "timestamp"),
                ("email", Regular, "text"),
                ("name", Regular, "text"),
                ("tags", Regular, "set<text>"),
            ],
            Shape::Wide => &[("id", PartitionKey, "int"), ("ts", Clustering, "timestamp")],
            Shape::Blobs => &[("id", PartitionKey, "int"), ("large", Regular, "blob")],
        };
        let mut columns: Vec<_> =
            named.iter().map(|(name, kind, cql)| ((*name).to_owned(), *kind, *cql)).collect();
        if matches!(self, Shape::Wide) {
            let types = ["int", "text", "double", "timestamp", "boolean", "bigint", "uuid", "float"];
            let more = types.iter().cycle().take(38).enumerate();
            columns.extend(more.map(|(number, cql)| (format!("c{number:02}"), Regular, *cql)));
        }
        columns
    }

    /// The table.
    pub fn table(self) -> Table {
        let column = |(name, kind, cql): (String, ColumnKind, &str)| table::Column {
            name,
            cql_type: cql_type(cql),
            kind,
            position: if kind == ColumnKind::Regular { -1 } else { 0 },
            descending: false,
        };
        let columns = self.columns().into_iter().map(column).collect();
        let mut table = Table::new("ks".to_owned(), "t".to_owned(), columns);
        let regular = table.indexes(ColumnKind::Regular);
        regular.into_iter().filter(|_| self.told()).for_each(|column| table.keep(column));
        table
    }

    /// The layout of its files.
    pub fn layout(self) -> Layout {
        let table = self.table();
        let natural = table.columns.iter().map(|c| (c.name.clone(), c.cql_type.clone()));
        let told = table.companions.iter().map(|c| (c.name.clone(), table.companion_type(c)));
        let column = |(name, cql_type): (String, CqlType)| {
            let codec = Arc::from(codec(&cql_type).expect("a codec"));
            Column { name, cql_type, codec }
        };
        Layout::new(natural.chain(told).map(column).collect())
    }

    /// Pages of it, as a scan brings them.
    pub fn pages(self, count: usize) -> Vec<Page> {
        let mut random = Random(11);
        (0..count).map(|_| self.page(&mut random)).collect()
    }

    fn page(self, random: &mut Random) -> Page {
        let mut page = PageBuilder::new(self.table().width());
        let mut push = |cell: Option<&[u8]>| page.push(cell).expect("room");
        let (mut key, mut ms) = (Vec::new(), 1_700_000_000_000_i64);
        let mut written = 1_790_000_000_000_000_i64;
        let columns = self.columns();
        for row in 0..self.rows() {
            for (name, kind, cql) in &columns {
                let is_regular = *kind == ColumnKind::Regular;
                let text = match name.as_str() {
                    _ if is_regular && matches!(self, Shape::Wide) && random.below(2) == 0 => {
                        push(None);
                        continue;
                    }
                    "large" => {
                        let numbers = (0..2048).flat_map(|_| random.next().to_be_bytes());
                        push(Some(&numbers.collect::<Vec<u8>>()));
                        continue;
                    }
                    "device_id" if row % 100 != 0 => {
                        push(Some(&key));
                        continue;
                    }
                    "ts" => {
                        ms += i64::try_from(random.below(10_000)).unwrap_or(0);
                        push(Some(&ms.to_be_bytes()));
                        continue;
                    }
                    "battery" | "age" => random.below(100).to_string(),
                    "status" => ["ok", "ok", "ok", "warn", "fail"][row * 7 % 5].to_owned(),
                    "country" => ["DE", "FR", "CH", "AT", "IT", "ES"][row * 5 % 6].to_owned(),
                    "city" => random.word().to_owned(),
                    "bio" => random.words(16),
                    "email" => format!("{}.{}{row}@example.com", random.word(), random.word()),
                    "name" => random.words(2),
                    _ => random.text(&cql_type(cql)),
                };
                let cell = cell(cql, &text);
                push(Some(&cell));
                if *kind == ColumnKind::PartitionKey {
                    key = cell;
                }
            }
            if self.told() {
                written += i64::try_from(random.below(2000)).unwrap_or(0);
                for (_, _, cql) in columns.iter().filter(|c| c.1 == ColumnKind::Regular) {
                    match *cql {
                        "set<text>" => push(Some(&numbers(written, 3))),
                        "map<text, text>" => push(Some(&numbers(written, 2))),
                        _ => push(Some(&written.to_be_bytes())),
                    }
                    push(None);
                }
            }
        }
        page.finish()
    }
}

/// A `list<bigint>` of one number, `count` times.
fn numbers(number: i64, count: u8) -> Vec<u8> {
    let mut list = vec![0, 0, 0, count];
    for _ in 0..count {
        list.extend_from_slice(&[0, 0, 0, 8]);
        list.extend_from_slice(&number.to_be_bytes());
    }
    list
}
