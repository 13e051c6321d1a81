//! Counters, which know nothing but adding: exact after a load, after the same load again, and after one that was killed.

use crate::harness::{BOTH, Node, Scratch, TestKeyspace, json};
use crate::interrupt::killed;
use crate::network::Forwarder;
use crate::roundtrip::assert_same;

const TABLE: &str =
    "CREATE TABLE t (k int, c int, s counter static, a counter, b counter, PRIMARY KEY (k, c))";

const COUNTS: &[&str] = &[
    "UPDATE t SET a = a + 5, b = b - 7 WHERE k = 1 AND c = 1",
    // Null beside a number, a zero that is there, and both ends.
    "UPDATE t SET a = a + 1 WHERE k = 1 AND c = 2",
    "UPDATE t SET b = b + 0 WHERE k = 1 AND c = 3",
    "UPDATE t SET a = a + 9223372036854775807, b = b - 9223372036854775807 WHERE k = 1 AND c = 4",
    "UPDATE t SET b = b - 1 WHERE k = 1 AND c = 4",
    // Statics beside rows, alone, and zero.
    "UPDATE t SET s = s + 11 WHERE k = 1",
    "UPDATE t SET s = s - 12 WHERE k = 2",
    "UPDATE t SET s = s + 0 WHERE k = 3",
    "UPDATE t SET a = a + 3 WHERE k = 4 AND c = 1",
];

#[test]
fn counters_are_exact_also_when_they_are_loaded_again() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "counts", &[&[TABLE], COUNTS].concat());
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let (dir, target) = (scratch.path("dump"), source.target(format));
            let said = source.dump_json(&dir, format);
            // Write times of counters are of no use, so their absence is no loss.
            assert_eq!(said["not_preserved"], serde_json::json!([]), "{said}");
            source.load(&dir, &target, &[]).success();
            assert_eq!(assert_same(&source.db, &source.name, &target), 7, "the rows of this test");
            for mode in ["append", "append", "truncate"] {
                source.load(&dir, &target, &["--if-exists", mode]).success();
                assert_same(&source.db, &source.name, &target);
            }
            source.load(&dir, &target, &[]).fails(1).stderr_has(&[&format!("{target}.t"), "--if-exists"]);
            assert_same(&source.db, &source.name, &target);
        }
    }
}

#[test]
fn counters_with_another_count_are_set_to_that_of_the_dump() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "counts_off", &[&[TABLE], COUNTS].concat());
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "csv").success();
        source.load(&dir, &target, &[]).success();
        for change in ["a = a + 100, b = b - 1 WHERE k = 1 AND c = 1", "s = s + 100 WHERE k = 2"] {
            source.db.execute(&format!("UPDATE {target}.t SET {change}"));
        }
        source.db.execute(&format!("UPDATE {target}.t SET a = a + 42 WHERE k = 9 AND c = 9"));
        source.load(&dir, &target, &["--if-exists", "append"]).success();
        let mine = |keyspace: &str| {
            let rows = source.db.texts(&format!("SELECT JSON * FROM {keyspace}.t")).concat();
            rows.into_iter().partition::<Vec<_>, _>(|row| row.contains(r#""k": 9"#))
        };
        let (foreign, rows) = mine(&target);
        assert_eq!(rows, mine(&source.name).1, "{version}");
        assert_eq!(foreign, [r#"{"k": 9, "c": 9, "s": null, "a": 42, "b": null}"#], "{version}");
    }
}

/// A deleted counter takes no more counts, or brings its old one back: whatever it does, the load does not say that all
/// is well if it is not.
#[test]
fn counters_that_were_deleted_are_not_passed_over() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "counts_del", &[&[TABLE], COUNTS].concat());
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "parquet").success();
        let append = |tag: &str, delete: &str| {
            let target = source.target(tag);
            source.load(&dir, &target, &[]).success();
            source.db.execute(&delete.replace(" t ", &format!(" {target}.t ")));
            let done = source.load(&dir, &target, &["--if-exists", "append"]).done();
            (target, done)
        };
        let (target, done) = append("column", "DELETE a FROM t WHERE k = 1 AND c = 1");
        assert_eq!(done.code, Some(4), "{version}: the column is gone for good\n{}", done.told());
        done.stderr_has(&[&format!("{target}.t"), "--if-exists truncate"]);
        let (target, done) = append("row", "DELETE FROM t WHERE k = 1 AND c = 1");
        match done.code {
            Some(0) => drop(assert_same(&source.db, &source.name, &target)),
            Some(4) => drop(done.stderr_has(&[&format!("{target}.t")])),
            _ => panic!("{version}: {}", done.told()),
        }
        source.load(&dir, &target, &["--if-exists", "truncate"]).success();
        assert_same(&source.db, &source.name, &target);
    }
}

#[test]
fn a_load_killed_among_counters_is_exact_when_run_again() {
    const ROWS: usize = 6000;
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "counts_kill",
            &["CREATE TABLE t (k text PRIMARY KEY, a counter, b counter)"],
        );
        let key = "k".repeat(1000);
        let row = |i| format!("UPDATE t SET a = a + {i}, b = b - 1 WHERE k = '{key}{i}'");
        source.db.try_each((0..ROWS).map(row)).unwrap();
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "parquet").success();
        let map = format!("{}={target}", source.name);
        let forwarder = Forwarder::stalling(&source.node, b"kkkkkkkk", 3 << 20);
        killed(&forwarder, &["load", &dir, "--map", &map]);
        let there = source.db.count(&format!("{target}.t"));
        assert!((1..ROWS).contains(&there), "{version}: {there} rows: not in the middle");
        source.load(&dir, &target, &[]).success();
        assert_eq!(assert_same(&source.db, &source.name, &target), ROWS, "{version}");
    }
}

/// Counters have no companion columns: a write time of theirs cannot be given back.
#[test]
fn counters_have_no_companion_columns() {
    let source = TestKeyspace::with("counts_alone", &[&[TABLE], COUNTS].concat());
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let part = &crate::harness::parts(&dir, &source.name, "t", "csv")[0];
    let mut header: Vec<String> =
        csv::Reader::from_path(part).unwrap().headers().unwrap().iter().map(str::to_owned).collect();
    header.sort();
    assert_eq!(header, ["__wire", "a", "b", "c", "k", "s"]);
    let columns = json(format!("{dir}/manifest.json"))["keyspaces"][0]["tables"][0]["columns"].clone();
    let named = columns.as_array().unwrap().iter().filter(|c| c.get("write_time").is_some()).count();
    assert_eq!(named, 0, "{columns}");
}
