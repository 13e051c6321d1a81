//! The tables of the benchmark and their rows: pseudo-random, the same in every run. A row depends on its number alone.

use crate::row::Row;
use std::collections::BTreeSet;

/// The tables.
#[derive(Clone, Copy, PartialEq, Debug, clap::ValueEnum)]
pub enum Kind {
    /// Narrow rows of devices: many small ones in each partition.
    Iot,
    /// Rows of persons, each a partition: texts, a decimal, a set and a map.
    Users,
    /// 40 columns, half of the cells null.
    Wide,
    /// A blob in each row, each row a partition.
    Blobs,
}

/// Regular columns of the wide table.
const WIDE_COLUMNS: u64 = 38;
/// Types of the wide table's columns, taken in turn.
const WIDE_TYPES: [&str; 6] = ["int", "text", "bigint", "double", "timestamp", "boolean"];

/// 2023-11-14T22:13:20Z, ms since 1970.
const FIRST_TIMESTAMP: u64 = 1_700_000_000_000;

const WORDS: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
];
const COUNTRIES: [&str; 8] = ["AT", "CH", "DE", "DK", "ES", "FR", "IT", "NL"];
const STATES: [&str; 3] = ["ok", "warning", "failed"];

impl Kind {
    /// Names of the columns with their types, those of the key first.
    pub fn columns(self) -> Vec<(String, &'static str)> {
        let fixed: &[(&str, &str)] = match self {
            Kind::Iot => &[
                ("device_id", "uuid"),
                ("ts", "timestamp"),
                ("temperature", "double"),
                ("humidity", "float"),
                ("status", "text"),
                ("battery", "int"),
            ],
            Kind::Users => &[
                ("id", "uuid"),
                ("name", "text"),
                ("email", "text"),
                ("age", "int"),
                ("active", "boolean"),
                ("created", "timestamp"),
                ("balance", "decimal"),
                ("country", "text"),
                ("city", "text"),
                ("bio", "text"),
                ("tags", "set<text>"),
                ("attrs", "map<text, text>"),
            ],
            Kind::Wide => &[("id", "uuid"), ("seq", "int")],
            Kind::Blobs => &[("id", "uuid"), ("data", "blob")],
        };
        let mut columns: Vec<_> = fixed.iter().map(|(name, cql)| ((*name).to_owned(), *cql)).collect();
        if self == Kind::Wide {
            let types = (0..WIDE_COLUMNS).zip(WIDE_TYPES.iter().cycle());
            columns.extend(types.map(|(index, cql)| (format!("c{index:02}"), *cql)));
        }
        columns
    }

    /// The primary key, as CQL spells it.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Iot => "(device_id), ts",
            Kind::Users | Kind::Blobs => "id",
            Kind::Wide => "(id), seq",
        }
    }

    /// Rows of a partition, unless told otherwise.
    pub fn rows_per_partition(self) -> u64 {
        match self {
            Kind::Iot => 100,
            Kind::Wide => 10,
            Kind::Users | Kind::Blobs => 1,
        }
    }

    /// A row of the table, `place` in its partition, with a blob of `blob_bytes` where it has one.
    pub fn row(self, partition: u64, place: u64, blob_bytes: usize) -> Row {
        let mut random = Random::of(partition, place);
        let row = Row::default().cell(&Random::of(partition, u64::MAX).uuid());
        match self {
            Kind::Iot => iot(row, place, &mut random),
            Kind::Users => user(row, &mut random),
            Kind::Wide => wide(row, place, &mut random),
            Kind::Blobs => row.cell(&random.bytes(blob_bytes)),
        }
    }
}

fn iot(row: Row, place: u64, random: &mut Random) -> Row {
    let timestamp = FIRST_TIMESTAMP + place * 5000 + u64::from(random.below(5000));
    let humidity = f32::from(u16::try_from(random.below(10_000)).unwrap_or_default()) / 100.0;
    row.cell(&timestamp.to_be_bytes())
        .cell(&(15.0 + 20.0 * random.fraction()).to_be_bytes())
        .cell(&humidity.to_be_bytes())
        .cell(random.pick(&STATES).as_bytes())
        .cell(&random.below(101).to_be_bytes())
}

fn user(row: Row, random: &mut Random) -> Row {
    let name = random.words(2);
    let email = format!("{}{}@example.com", name.replace(' ', "."), random.below(1_000_000));
    let created = FIRST_TIMESTAMP + u64::from(random.below(1_000_000)) * 60_000;
    let scale = 2_u32.to_be_bytes();
    let balance = [scale.as_slice(), &varint(random.below(2_500_000))].concat();
    let (bio_words, tag_count, attr_count) = (12 + random.below(9), 1 + random.below(4), 1 + random.below(3));
    row.cell(name.as_bytes())
        .cell(email.as_bytes())
        .cell(&(18 + random.below(80)).to_be_bytes())
        .cell(&[u8::from(random.below(2) == 1)])
        .cell(&created.to_be_bytes())
        .cell(&balance)
        .cell(random.pick(&COUNTRIES).as_bytes())
        .cell(random.pick(&WORDS).as_bytes())
        .cell(random.words(bio_words).as_bytes())
        .cell(&collection(&random.set(tag_count), |tag| vec![*tag]))
        .cell(&collection(&random.set(attr_count), |key| vec![*key, random.pick(&WORDS)]))
}

fn wide(row: Row, place: u64, random: &mut Random) -> Row {
    let mut row = row.cell(&u32::try_from(place).unwrap_or_default().to_be_bytes());
    for cql in (0..WIDE_COLUMNS).zip(WIDE_TYPES.iter().cycle()).map(|(_, cql)| *cql) {
        row = if random.below(2) == 0 { row.null() } else { row.cell(&random.value(cql)) };
    }
    row
}

/// A set, or a map whose `parts` are key and value.
fn collection<'a>(elements: &BTreeSet<&'a str>, mut parts: impl FnMut(&&'a str) -> Vec<&'a str>) -> Vec<u8> {
    let length = |n: usize| u32::try_from(n).unwrap_or_default().to_be_bytes();
    let mut bytes = length(elements.len()).to_vec();
    for part in elements.iter().flat_map(&mut parts) {
        bytes.extend_from_slice(&length(part.len()));
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// The shortest two's complement.
fn varint(number: u32) -> Vec<u8> {
    let bytes = i64::from(number).to_be_bytes();
    let needless = bytes.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    bytes[needless..].to_vec()
}

/// SplitMix64: small, quick, and good enough that nothing compresses better than it should.
struct Random(u64);

impl Random {
    fn of(partition: u64, place: u64) -> Random {
        let mut seed = Random(partition);
        let mixed = seed.next() ^ place;
        Random(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to `end`, which is not reached.
    fn below(&mut self, end: u32) -> u32 {
        let scaled = ((self.next() >> 32) * u64::from(end)) >> 32;
        u32::try_from(scaled).unwrap_or_default()
    }

    /// From 0 up to 1, which is not reached, with as many digits as a double has.
    fn fraction(&mut self) -> f64 {
        let [high, low] = [self.below(1 << 26), self.below(1 << 27)].map(f64::from);
        (high + low / f64::from(1 << 27)) / f64::from(1 << 26)
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        let end = u32::try_from(words.len()).unwrap_or_default();
        usize::try_from(self.below(end)).ok().and_then(|index| words.get(index)).copied().unwrap_or_default()
    }

    fn words(&mut self, count: u32) -> String {
        (0..count).map(|_| self.pick(&WORDS)).collect::<Vec<_>>().join(" ")
    }

    /// Up to `count` different words.
    fn set(&mut self, count: u32) -> BTreeSet<&'static str> {
        (0..count).map(|_| self.pick(&WORDS)).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_be_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// Of version 4.
    fn uuid(&mut self) -> [u8; 16] {
        let high = self.next() & !0xf000 | 0x4000;
        let low = self.next() >> 2 | 1 << 63;
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    /// A cell of one of the `WIDE_TYPES`.
    fn value(&mut self, cql: &str) -> Vec<u8> {
        match cql {
            "int" => self.below(1 << 20).to_be_bytes().to_vec(),
            "bigint" => self.next().to_be_bytes().to_vec(),
            "double" => self.fraction().to_be_bytes().to_vec(),
            "timestamp" => (FIRST_TIMESTAMP + (self.next() >> 30)).to_be_bytes().to_vec(),
            "boolean" => vec![u8::from(self.below(2) == 1)],
            _ => self.words(2).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_the_shortest_twos_complement() {
        // As Java's BigInteger.toByteArray() has them.
        for (number, bytes) in [
            (0, vec![0]),
            (127, vec![0x7f]),
            (128, vec![0, 0x80]),
            (256, vec![1, 0]),
            (2_500_000, vec![0x26, 0x25, 0xa0]),
            (u32::MAX, vec![0, 0xff, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(varint(number), bytes, "{number}");
        }
    }

    #[test]
    fn collections_are_as_the_protocol_has_them() {
        let words = BTreeSet::from(["b", "a"]);
        assert_eq!(collection(&words, |w| vec![*w]), b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b");
        let words = BTreeSet::from(["k"]);
        assert_eq!(collection(&words, |w| vec![*w, "vv"]), b"\0\0\0\x01\0\0\0\x01k\0\0\0\x02vv");
    }

    #[test]
    fn rows_differ_by_number_and_partition_and_are_the_same_every_time() {
        for kind in [Kind::Iot, Kind::Users, Kind::Wide, Kind::Blobs] {
            let [a, b, c] = [(1, 0), (1, 1), (2, 0)].map(|(partition, place)| kind.row(partition, place, 9));
            assert_eq!(a, kind.row(1, 0, 9));
            assert!(a != b && b != c && a != c, "{kind:?}");
            assert!(a.begins_like(&b, 1) && !a.begins_like(&c, 1), "{kind:?}");
        }
    }

    #[test]
    fn the_wide_table_has_40_columns() {
        assert_eq!(Kind::Wide.columns().len(), 40);
    }

    #[test]
    fn uuids_are_of_version_4() {
        let uuid = Random(7).uuid();
        assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2));
    }
}
