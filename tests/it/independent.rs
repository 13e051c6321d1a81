//! The files of a dump, read by others: pyarrow, DuckDB and the `csv` crate, and compared with what a `SELECT` by the
//! Python driver gives. What our own reader and writer agree on wrongly is found here.

use crate::harness::{Scratch, TestKeyspace, parts};
use crate::roundtrip::filled;
use std::process::Command;

/// Runs `independent.py` on a dump of `source` in `dir`.
fn python(source: &TestKeyspace, dir: &str, format: &str) {
    let python = std::env::var("CQLIFT_PYTHON").unwrap_or_else(|_| {
        panic!(
            "this test needs a Python with pyarrow, duckdb and cassandra-driver: run `scripts/test`, which makes one, \
             or set CQLIFT_PYTHON to its interpreter"
        )
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/independent.py");
    let output = Command::new(python)
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
            python(&source, &dir, format);
        }
    }
}

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
