//! Parts that close early: partitions cut in the middle, and what must then be written once only.

use crate::harness::{Scratch, TestKeyspace, json, parts};
use crate::roundtrip::assert_same;

/// Rows of the wide partition: more than two pages, so that it is cut inside at page boundaries.
const ROWS: usize = 30_000;

fn wide(name: &str, create: &str, static_row: &str, row: impl Fn(usize) -> String) -> TestKeyspace {
    let source = TestKeyspace::with(name, &[create, static_row]);
    source.db.try_each((0..ROWS).map(row)).unwrap();
    source
}

/// Dumps with parts that close as soon as they may, asserts that a partition was cut, loads, and compares.
fn there_and_back(source: &TestKeyspace, format: &str) {
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target(&format!("of_{format}")));
    let args = ["dump", &source.name, "-o", &dir, "--format", format, "--part-size", "1KiB"];
    source.node.run(args).success();
    let sidecars = parts(&dir, &source.name, "t", "json");
    let ranges: Vec<_> =
        sidecars.iter().flat_map(|path| json(path)["ranges"].as_array().unwrap().clone()).collect();
    let cut: Vec<_> = ranges.iter().filter(|range| range.get("to").is_some()).collect();
    assert!(!cut.is_empty(), "no partition was cut: {} parts", sidecars.len());
    for range in cut {
        let goes_on = ranges.iter().any(|r| r.get("from") == range.get("to") && r["start"] == range["end"]);
        assert!(goes_on, "nothing goes on where {range} ends");
    }
    source.load(&dir, &target, &[]).success();
    assert_same(&source.db, &source.name, &target);
    source.node.run(["verify", &dir, "--map", &format!("{}={target}", source.name)]).success();
}

#[test]
fn a_partition_larger_than_a_part_is_cut_and_whole_again() {
    let source = wide(
        "cut_inside",
        "CREATE TABLE t (k int, c int, s list<int> static, v text, PRIMARY KEY (k, c))",
        "INSERT INTO t (k, s) VALUES (7, [1, 2])",
        |i| {
            format!(
                "INSERT INTO t (k, c, v) VALUES ({}, {i}, 'some text of row {i}')",
                if i < 50 { i } else { 7 }
            )
        },
    );
    for format in ["parquet", "csv"] {
        there_and_back(&source, format);
    }
}

#[test]
fn a_static_counter_of_a_cut_partition_is_counted_once() {
    let source = wide(
        "cut_counter",
        "CREATE TABLE t (k int, c int, s counter static, v counter, PRIMARY KEY (k, c))",
        "UPDATE t SET s = s + 5 WHERE k = 7",
        |i| format!("UPDATE t SET v = v + {i} WHERE k = 7 AND c = {i}"),
    );
    there_and_back(&source, "csv");
}

#[test]
fn a_partition_in_descending_order_is_cut_and_whole_again() {
    let source = wide(
        "cut_descending",
        "CREATE TABLE t (k int, c int, s text static, v text, PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC)",
        "INSERT INTO t (k, s) VALUES (7, 'static')",
        |i| format!("INSERT INTO t (k, c, v) VALUES (7, {i}, 'some text of row {i}')"),
    );
    there_and_back(&source, "parquet");
}

/// Pages end between two rows of one `a`, so that what goes on is neither all after it nor all before.
#[test]
fn a_partition_with_a_key_of_both_orders_is_cut_and_whole_again() {
    let source = wide(
        "cut_composite",
        "CREATE TABLE t (k int, l text, a text, b int, v text, PRIMARY KEY ((k, l), a, b)) \
         WITH CLUSTERING ORDER BY (a ASC, b DESC)",
        "INSERT INTO t (k, l, a, b) VALUES (7, '', '', 0)",
        |i| {
            let (a, b) = (i / 700, i % 700);
            format!("INSERT INTO t (k, l, a, b, v) VALUES (7, 'x', 'a{a}', {b}, 'some text of row {i}')")
        },
    );
    there_and_back(&source, "csv");
}
