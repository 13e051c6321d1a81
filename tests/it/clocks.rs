//! Write times and expiries of two keyspaces, as far as their server tells them: the judge of what a load brought back.

use crate::harness::{Db, Row, SIMPLE, TestKeyspace, hex, quoted};
use crate::roundtrip::{Column, columns};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Seconds by which an expiry may differ: the server counts in whole ones, and a load rounds down.
const TOLERANCE: i64 = 3;

/// Every difference of times between the tables of two keyspaces whose rows are the same.
pub fn compare_times(db: &Db, source: &str, loaded: &str) -> Vec<String> {
    let views = db.names("view_name", "views", source);
    let tables = columns(db, source).into_iter().filter(|(name, _)| !views.contains(name));
    tables.flat_map(|(name, columns)| table_differences(db, [source, loaded], &name, &columns)).collect()
}

fn table_differences(db: &Db, keyspaces: [&str; 2], table: &str, columns: &[Column]) -> Vec<String> {
    const SHOWN: usize = 20;
    let (key, cells): (Vec<_>, Vec<_>) = columns.iter().partition(|c| c.is_key());
    let timed: Vec<&Column> = cells.into_iter().filter(|c| is_told(db, keyspaces[0], table, c)).collect();
    let [before, after] = keyspaces.map(|keyspace| times(db, keyspace, table, &key, &timed));
    let mut found = Vec::new();
    for (row, before) in &before {
        let Some(after) = after.get(row) else {
            found.push(format!("{table}: {} is missing", shown(&key, row)));
            continue;
        };
        for (column, (before, after)) in timed.iter().zip(before.iter().zip(after)) {
            let what = before.differs(after, is_list(column));
            if let Some(what) = what {
                let at = format!("{table}: {} {} {}", shown(&key, row), column.name, column.cql_type);
                found.push(format!("{at}: {what}\n    {before:?}\n    {after:?}"));
            }
        }
    }
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("{table}: {more} more"));
    }
    found
}

fn is_list(column: &Column) -> bool {
    column.cql_type.starts_with("list<")
}

/// When a cell, or each of its elements, was written and ends.
#[derive(Debug)]
struct Times {
    written: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
}

impl Times {
    /// What differs. A list is written whole, perhaps again a little later: only its end is compared, and only if its
    /// elements have one time.
    fn differs(&self, loaded: &Times, is_list: bool) -> Option<&'static str> {
        if is_list && !self.is_even() {
            return None;
        }
        if !is_list && self.written != loaded.written {
            return Some("write time");
        }
        let same = |(a, b): (&Option<i64>, &Option<i64>)| match (a, b) {
            (Some(a), Some(b)) => a.abs_diff(*b) <= TOLERANCE.unsigned_abs(),
            (a, b) => a == b,
        };
        let mut pairs = self.expires.iter().zip(&loaded.expires);
        let all_same = self.expires.len() == loaded.expires.len() && pairs.all(same);
        (!all_same).then_some("expiry")
    }

    fn is_even(&self) -> bool {
        let even = |all: &[Option<i64>]| all.windows(2).all(|pair| pair[0] == pair[1]);
        even(&self.written) && even(&self.expires)
    }
}

/// Whether the server tells the times of a column; servers before 5.0 do not of collections.
fn is_told(db: &Db, keyspace: &str, table: &str, column: &Column) -> bool {
    let name = quoted(&column.name);
    let asked =
        db.try_execute(&format!("SELECT writetime({name}) FROM {keyspace}.{} LIMIT 1", quoted(table)));
    match asked {
        Ok(()) => column.cql_type != "counter",
        Err(error) if error.contains("Cannot use selection function") => false,
        Err(error) => panic!("{error}"),
    }
}

fn times(
    db: &Db,
    keyspace: &str,
    table: &str,
    key: &[&Column],
    timed: &[&Column],
) -> BTreeMap<Row, Vec<Times>> {
    let mut selected: Vec<String> = key.iter().map(|c| quoted(&c.name)).collect();
    for column in timed {
        let name = quoted(&column.name);
        selected.extend([format!("writetime({name})"), format!("ttl({name})")]);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let rows = db.rows(&format!("SELECT {} FROM {keyspace}.{}", selected.join(", "), quoted(table)));
    let rows = rows.into_iter().map(|mut row| {
        let cells = row.split_off(key.len());
        let times = cells.chunks_exact(2).map(|pair| {
            let [written, ttls] = decode(pair[0].as_deref(), pair[1].as_deref());
            Times { written, expires: ttls.into_iter().map(|ttl| Some(now + ttl?)).collect() }
        });
        (row, times.collect())
    });
    rows.collect()
}

/// Write times and seconds left, of a cell or of each of its elements: a time alone has 8 bytes, a list of them never.
fn decode(written: Option<&[u8]>, ttl: Option<&[u8]>) -> [Vec<Option<i64>>; 2] {
    match written {
        Some(list) if list.len() != 8 => [written, ttl].map(|cell| elements(cell.unwrap())),
        _ => [written, ttl].map(|cell| vec![cell.map(number)]),
    }
}

fn number(cell: &[u8]) -> i64 {
    match cell.len() {
        4 => i64::from(i32::from_be_bytes(cell.try_into().unwrap())),
        _ => i64::from_be_bytes(cell.try_into().unwrap()),
    }
}

fn elements(cell: &[u8]) -> Vec<Option<i64>> {
    let (count, mut rest) = cell.split_at(4);
    let mut found = Vec::new();
    for _ in 0..number(count) {
        let (len, tail) = rest.split_at(4);
        let len = usize::try_from(number(len)).ok();
        let (element, tail) = tail.split_at(len.unwrap_or(0));
        found.push(len.map(|_| number(element)));
        rest = tail;
    }
    found
}

fn shown(key: &[&Column], row: &Row) -> String {
    let mut text = String::new();
    for (column, cell) in key.iter().zip(row) {
        write!(text, "{}={} ", column.name, hex(cell.as_deref())).unwrap();
    }
    text
}

/// The judge itself: it must see each time and each end, and overlook what a list cannot keep.
#[test]
fn the_judge_of_times_sees_differences() {
    let table = "(k int PRIMARY KEY, v int, m map<int, int>, l list<int>)";
    let source = TestKeyspace::with("judge_times", &[&format!("CREATE TABLE t {table}")]);
    let rows = [
        "UPDATE {} USING TIMESTAMP 5 AND TTL {ttl} SET v = 1 WHERE k = 1",
        "UPDATE {} USING TIMESTAMP 5 SET m = m + {1: 1} WHERE k = 1",
        "UPDATE {} USING TIMESTAMP 6 AND TTL {ttl} SET m = m + {2: 2} WHERE k = 1",
        "UPDATE {} USING TIMESTAMP 5 SET l = [1, 2] WHERE k = 1",
    ];
    let start = Instant::now();
    let fill = |name: &str, from: &str, to: &str| {
        for row in rows {
            let ttl = 5000 - start.elapsed().as_secs();
            let row = row.replace(from, to).replace("{}", name).replace("{ttl}", &ttl.to_string());
            source.db.execute(&row);
        }
    };
    fill("t", "", "");
    for (tag, from, to, expected) in [
        ("same", "", "", None),
        ("time", "TIMESTAMP 5 AND", "TIMESTAMP 4 AND", Some("v int: write time")),
        ("end", "AND TTL {ttl} SET v", "SET v", Some("v int: expiry")),
        ("later", "TTL {ttl} SET v", "TTL 9000 SET v", Some("v int: expiry")),
        ("element", "TIMESTAMP 6", "TIMESTAMP 7", Some("m map<int, int>: write time")),
        ("ends", "AND TTL {ttl} SET m", "SET m", Some("m map<int, int>: expiry")),
        ("list", "TIMESTAMP 5 SET l", "TIMESTAMP 9 SET l", None),
        ("list_ends", "TIMESTAMP 5 SET l", "TIMESTAMP 5 AND TTL 50 SET l", Some("l list<int>: expiry")),
    ] {
        let target = source.target(tag);
        source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
        source.db.execute(&format!("CREATE TABLE {target}.t {table}"));
        fill(&format!("{target}.t"), from, to);
        let found = compare_times(&source.db, &source.name, &target);
        match expected {
            None => assert!(found.is_empty(), "{tag}: {found:?}"),
            Some(text) => assert!(found.len() == 1 && found[0].contains(text), "{tag}: {found:?}"),
        }
    }
}
