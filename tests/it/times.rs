//! Write times and expiries as a server tells them, and the comparison of two tables by them.

use crate::harness::{Db, Row, hex};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Expiries are told as whole seconds from now, and rounded down more than once on their way.
pub const SLACK: i64 = 3;

/// What a server tells of a cell.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub value: Option<Vec<u8>>,
    /// Microseconds; one entry, or one per element of a collection or field of a user type. None if there is no cell.
    pub written: Vec<Option<i64>>,
    /// Seconds since 1970, likewise.
    pub expires: Vec<Option<i64>>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Told { value, written, expires } = self;
        write!(f, "{} written {written:?} expires {expires:?}", hex(value.as_deref()))
    }
}

/// Now, in seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A `bigint`, an `int`, or a list of them, which may hold nulls.
pub fn numbers(cell: Option<&[u8]>) -> Vec<Option<i64>> {
    const ONE_NULL: [u8; 8] = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    match cell {
        None => vec![],
        Some(list) if list == ONE_NULL => vec![None],
        Some(number) if matches!(number.len(), 4 | 8) => vec![Some(number_of(number))],
        Some(list) => {
            let mut rest = &list[4..];
            let mut found = Vec::new();
            while !rest.is_empty() {
                let (length, after) = rest.split_at(4);
                let length = usize::try_from(number_of(length)).ok();
                found.push(length.map(|l| number_of(&after[..l])));
                rest = &after[length.unwrap_or(0)..];
            }
            found
        }
    }
}

fn number_of(bytes: &[u8]) -> i64 {
    match bytes.len() {
        4 => i32::from_be_bytes(bytes.try_into().unwrap()).into(),
        _ => i64::from_be_bytes(bytes.try_into().unwrap()),
    }
}

/// What is told of `columns` in every row of `ks.table`, by the cells of `keys` (a list as in CQL).
pub fn told(db: &Db, table: &str, keys: &str, columns: &[&str]) -> BTreeMap<Row, Vec<Told>> {
    let width = keys.split(',').count();
    let mut select = format!("SELECT {keys}");
    for column in columns {
        write!(select, ", {column}, writetime({column}), ttl({column})").unwrap();
    }
    let rows = db.rows(&format!("{select} FROM {table}"));
    let now = now();
    let cells = |row: &[Option<Vec<u8>>]| -> Vec<Told> {
        row.chunks(3)
            .map(|cell| Told {
                value: cell[0].clone(),
                written: numbers(cell[1].as_deref()),
                expires: numbers(cell[2].as_deref()).into_iter().map(|ttl| ttl.map(|t| now + t)).collect(),
            })
            .collect()
    };
    rows.into_iter().map(|row| (row[..width].to_vec(), cells(&row[width..]))).collect()
}

/// Fails unless both tables have the same rows and in `columns` the same values, write times and expiries; answers the
/// number of rows.
#[track_caller]
pub fn assert_same_times(before: (&Db, &str), after: (&Db, &str), keys: &str, columns: &[&str]) -> usize {
    let told_before = told(before.0, before.1, keys, columns);
    let told_after = told(after.0, after.1, keys, columns);
    let found = differences(&told_before, &told_after, columns);
    assert!(found.is_empty(), "{} and {} differ:\n{}", before.1, after.1, found.join("\n"));
    assert!(!told_before.is_empty(), "{}: no row was compared", before.1);
    told_before.len()
}

fn differences(
    before: &BTreeMap<Row, Vec<Told>>,
    after: &BTreeMap<Row, Vec<Told>>,
    columns: &[&str],
) -> Vec<String> {
    let shown = |key: &Row| key.iter().map(|k| hex(k.as_deref())).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (key, cells) in before {
        let Some(others) = after.get(key) else {
            found.push(format!("  row {} is missing", shown(key)));
            continue;
        };
        for ((cell, other), column) in cells.iter().zip(others).zip(columns) {
            if cell.value != other.value
                || cell.written != other.written
                || !about(&cell.expires, &other.expires)
            {
                found.push(format!("  row {} {column}:\n    {cell}\n    {other}", shown(key)));
            }
        }
    }
    found.extend(
        after
            .keys()
            .filter(|k| !before.contains_key(*k))
            .map(|k| format!("  row {} came from nowhere", shown(k))),
    );
    found
}

/// Whether expiries are the same, as far as they can be told.
pub fn about(one: &[Option<i64>], other: &[Option<i64>]) -> bool {
    let near = |(a, b): (&Option<i64>, &Option<i64>)| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= SLACK,
        _ => false,
    };
    one.len() == other.len() && one.iter().zip(other).all(near)
}

/// The judge itself: it must see another time, a lost expiry, a missing row and one too many.
#[test]
fn the_comparison_of_times_sees_differences() {
    let table = |cells: &[(u8, i64, Option<i64>)]| -> BTreeMap<Row, Vec<Told>> {
        let told = |&(key, written, expires): &(u8, i64, Option<i64>)| {
            let cell = Told {
                value: Some(vec![7]),
                written: vec![Some(written)],
                expires: expires.map(Some).into_iter().collect(),
            };
            (vec![Some(vec![key])], vec![cell])
        };
        cells.iter().map(told).collect()
    };
    let one = [(1, 1000, Some(50))];
    for (other, expected) in [
        (&[(1, 1000, Some(52))][..], None),
        (&[(1, 1001, Some(50))], Some("0x01 v")),
        (&[(1, 1000, Some(60))], Some("0x01 v")),
        (&[(1, 1000, None)], Some("0x01 v")),
        (&[], Some("0x01 is missing")),
        (&[(1, 1000, Some(50)), (2, 1, None)], Some("0x02 came from nowhere")),
    ] {
        let found = differences(&table(&one), &table(other), &["v"]).join("\n");
        match expected {
            None => assert_eq!(found, ""),
            Some(expected) => assert!(found.contains(expected), "{other:?}: {found}"),
        }
    }
}

#[test]
fn numbers_are_read_from_lists() {
    assert_eq!(numbers(None), []);
    assert_eq!(numbers(Some(&[0, 0, 0, 5])), [Some(5)]);
    assert_eq!(numbers(Some(&[0, 0, 0, 0, 0, 0, 1, 0])), [Some(256)]);
    assert_eq!(numbers(Some(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])), [None]);
    let two = [0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 4, 0, 0, 0, 9];
    assert_eq!(numbers(Some(&two)), [None, Some(9)]);
}
