//! The files of a dump, read by others: pyarrow, DuckDB and the `csv` crate, and compared with what a `SELECT` by the
//! Python driver gives. What our own reader and writer agree on wrongly is found here.

use crate::harness::{BOTH, Node, Scratch, TestKeyspace, parts, python};
use crate::roundtrip::filled;
use std::process::Command;

/// Runs `independent.py` on a dump of `source` in `dir`.
fn compare(source: &TestKeyspace, dir: &str, format: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/independent.py");
    let output = Command::new(python())
        .args([script, &source.node.host, &source.node.port.to_string(), &source.name, dir, format])
        .output()
        .unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    assert!(output.status.success(), "independent.py {format}:\n{out}\n{err}");
    print!("{out}");
}

#[test]
fn others_read_what_a_select_gives() {
    for schema in
        ["friendly", "nested", "all_types", "statics", "names", "odd_bytes", "vectors", "udt_evolved"]
    {
        let source = filled(&format!("ind_{schema}"), schema);
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, format).success();
            compare(&source, &dir, format);
        }
    }
}

/// Write times and expiries, of elements too, as `writetime()` and `ttl()` tell them.
#[test]
fn others_read_the_times_that_a_select_gives() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "ind_times", TIMES);
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, format).success();
            compare(&source, &dir, format);
        }
    }
}

const TIMES: &[&str] = &[
    "CREATE TYPE pair (a text, b int)",
    "CREATE TABLE t (k int, c int, \"S s\" text static, v text, v__writetime text, l list<int>, s set<int>, \
     m map<text, int>, u pair, f frozen<list<int>>, PRIMARY KEY (k, c))",
    "INSERT INTO t (k, c, v, l, s, m, u, f) VALUES (1, 1, 'v', [1], {1}, {'x': 1}, {b: 1}, []) USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 2000 AND TTL 5000 SET v = 'w', l = l + [2], s = s + {2}, m['y'] = 2, u.a = '' \
     WHERE k = 1 AND c = 1",
    "UPDATE t USING TIMESTAMP -1 AND TTL 9000 SET \"S s\" = 's' WHERE k = 1",
    "UPDATE t USING TIMESTAMP 3000 SET v__writetime = 'mine' WHERE k = 1 AND c = 2",
    "UPDATE t USING TIMESTAMP 4000 AND TTL 5000 SET s = {7, 8} WHERE k = 1 AND c = 3",
    "INSERT INTO t (k, c) VALUES (1, 4)",
    "UPDATE t USING TIMESTAMP 5000 SET \"S s\" = 'alone' WHERE k = 2",
    "CREATE TABLE counted (k int PRIMARY KEY, n counter)",
    "UPDATE counted SET n = n + 3 WHERE k = 1",
    "CREATE TABLE only (k int PRIMARY KEY)",
    "INSERT INTO only (k) VALUES (1)",
];

#[test]
fn the_csv_crate_reads_what_a_select_gives() {
    let source = TestKeyspace::with(
        "csv_crate",
        &["CREATE TABLE t (k int, c text, s text static, v text, n bigint, b boolean, PRIMARY KEY (k, c))"],
    );
    for (i, text) in
        ["plain", "a,b", "say \"x\"", "two\nlines", "\r\n", " ", "é😀", ";", "''"].iter().enumerate()
    {
        let text = text.replace('\'', "''");
        source.db.execute(&format!(
            "INSERT INTO t (k, c, s, v, n, b) VALUES ({i}, '{text}', 's{i}', '{text}', -{i}, true)"
        ));
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let mut read = Vec::new();
    for part in parts(&dir, &source.name, "t", "csv") {
        let mut reader = csv::Reader::from_path(part).unwrap();
        let headers = reader.headers().unwrap().clone();
        let place = |name: &str| {
            headers.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name} in {headers:?}"))
        };
        let places = ["k", "c", "s", "v", "n", "b"].map(place);
        for record in reader.records() {
            let record = record.unwrap();
            read.push(places.map(|i| record[i].to_owned()).to_vec());
        }
    }
    let mut expected =
        source.db.texts("SELECT CAST(k AS text), c, s, v, CAST(n AS text), CAST(b AS text) FROM t");
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
}
