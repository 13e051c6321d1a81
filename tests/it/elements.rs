//! Collections and user types whose elements differ in write time and expiry, lists, and times that a server cannot tell.

use crate::fidelity::{UNKNOWN_ROWS, not_preserved};
use crate::harness::{BOTH, Db, NEWEST, Node, Scratch, TestKeyspace, json, parts};
use crate::interrupt::killed;
use crate::network::Forwarder;
use crate::roundtrip::assert_same;
use crate::times::{about, assert_same_times, told};

const PAIR: &str = "CREATE TYPE pair (a text, b int)";
const ELEMENTS: &str = "CREATE TABLE t (k int, c int, v text, s set<int>, m map<text, int>, u pair, sm map<int, text> static, \
                        su pair static, PRIMARY KEY (k, c))";
const CELLS: [&str; 6] = ["v", "s", "m", "u", "sm", "su"];

const ROWS: &[&str] = &[
    // All elements alike, and like the row or not.
    "INSERT INTO t (k, c, v, s, m, u) VALUES (1, 1, 'v', {1, 2}, {'x': 1, '': 2}, {a: 'a', b: 1}) USING TIMESTAMP 1000",
    "INSERT INTO t (k, c, v, s, m, u) VALUES (1, 2, 'v', {1, 2}, {'x': 1}, {a: 'a', b: 1}) USING TIMESTAMP 1000 AND TTL 5000",
    "INSERT INTO t (k, c, v) VALUES (1, 3, 'v') USING TIMESTAMP 5000",
    "UPDATE t USING TIMESTAMP 1000 SET s = {1, 2}, m = {'x': 1, 'y': 2}, u = {a: 'a', b: 1} WHERE k = 1 AND c = 3",
    // Each element its own, older and newer than the row.
    "INSERT INTO t (k, c, v) VALUES (1, 4, 'v') USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 500 SET s = s + {1}, m['x'] = 1, u.a = 'a' WHERE k = 1 AND c = 4",
    "UPDATE t USING TIMESTAMP 1000 SET s = s + {2}, m['y'] = 2 WHERE k = 1 AND c = 4",
    "UPDATE t USING TIMESTAMP 4000 AND TTL 5000 SET s = s + {3}, m['z'] = 3, u.b = 1 WHERE k = 1 AND c = 4",
    // No simple cell at all; the same time with different expiries.
    "UPDATE t USING TIMESTAMP 1000 SET s = s + {1}, m['x'] = 1, u.a = 'a' WHERE k = 1 AND c = 5",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET s = s + {2}, m['y'] = 2, u.b = 1 WHERE k = 1 AND c = 5",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 9000 SET s = s + {3} WHERE k = 1 AND c = 5",
    // Fields that are null.
    "INSERT INTO t (k, c, v) VALUES (1, 6, 'v') USING TIMESTAMP 2000",
    "UPDATE t USING TIMESTAMP 1000 SET u.b = 6 WHERE k = 1 AND c = 6",
    "UPDATE t USING TIMESTAMP 3000 AND TTL 5000 SET u.a = '' WHERE k = 1 AND c = 7",
    // Statics, beside rows and alone.
    "INSERT INTO t (k, c, v) VALUES (2, 1, 'v') USING TIMESTAMP 2000",
    "UPDATE t USING TIMESTAMP 1000 SET sm = sm + {1: 'old'}, su.a = 'old' WHERE k = 2",
    "UPDATE t USING TIMESTAMP 3000 AND TTL 5000 SET sm = sm + {2: 'new'}, su.b = 2 WHERE k = 2",
    "UPDATE t USING TIMESTAMP 1000 SET sm = sm + {1: 'old'} WHERE k = 3",
    "UPDATE t USING TIMESTAMP 3000 AND TTL 5000 SET sm = sm + {2: 'new'} WHERE k = 3",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET su = {a: 'a', b: 1} WHERE k = 4",
];

#[test]
fn elements_keep_their_own_write_times_and_expiries() {
    let source = TestKeyspace::with("elements", &[&[PAIR, ELEMENTS], ROWS].concat());
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let said = source.dump_json(&dir, format);
        assert_eq!(said["not_preserved"], serde_json::json!([]), "{said}");
        source.load(&dir, &target, &["--strict"]).success();
        let tables = [source.table("t"), format!("{target}.t")];
        let rows = assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k, c", &CELLS);
        assert_eq!(rows, 10, "the rows of this test");
    }
}

/// Two tables as JSON, one line per row.
fn assert_same_values(before: (&Db, &str), after: (&Db, &str)) {
    let [before, after] = [before, after].map(|(db, table)| {
        let mut rows = db.texts(&format!("SELECT JSON * FROM {table}")).concat();
        rows.sort();
        rows
    });
    assert!(!before.is_empty());
    assert_eq!(before, after);
}

/// The target does not tell the times of elements; later deletions win or lose by them all the same.
#[test]
fn elements_keep_their_times_on_a_server_that_does_not_tell_them() {
    let source = TestKeyspace::with("elements_41", &[&[PAIR, ELEMENTS], ROWS].concat());
    let old = TestKeyspace::with_on(Node::get("4.1"), "elements_41", &[PAIR, ELEMENTS]);
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", source.name, old.name));
    source.dump(&dir, "parquet").success();
    old.node.run(["load", &dir, "--data-only", "--map", &map]).success();
    assert_same_values((&source.db, &source.table("t")), (&old.db, &old.table("t")));
    let tables = [source.table("t"), old.table("t")];
    assert_same_times((&source.db, &tables[0]), (&old.db, &tables[1]), "k, c", &["v"]);
    for statement in [
        "DELETE m['x'], m['z'] FROM t USING TIMESTAMP 499 WHERE k = 1 AND c = 4",
        "DELETE m['z'], m['y'] FROM t USING TIMESTAMP 999 WHERE k = 1 AND c = 4",
        "UPDATE t USING TIMESTAMP 3999 SET s = s - {3}, u.b = 7 WHERE k = 1 AND c = 4",
        "DELETE m['x'] FROM t USING TIMESTAMP 500 WHERE k = 1 AND c = 4",
        "UPDATE t USING TIMESTAMP 501 SET s = s - {1, 2}, u.a = 'later' WHERE k = 1 AND c = 4",
        "UPDATE t USING TIMESTAMP 2000 SET sm = sm - {1, 2}, su.a = 'later', su.b = 7 WHERE k = 2",
    ] {
        for db in [&source.db, &old.db] {
            db.execute(statement);
        }
    }
    let left = old.db.texts("SELECT JSON s, m, u FROM t WHERE k = 1 AND c = 4").concat();
    let expected = r#"{"s": [2, 3], "m": {"y": 2, "z": 3}, "u": {"a": "later", "b": 1}}"#;
    assert_eq!(left, [expected]);
    assert_same_values((&source.db, &source.table("t")), (&old.db, &old.table("t")));
}

const LISTS: &str =
    "CREATE TABLE t (k int, c int, v text, l list<int>, sl list<int> static, PRIMARY KEY (k, c))";

/// Lists whose elements are alike in rows 1 to 3, and differ in row 4 and the statics of 2.
const LIST_ROWS: &[&str] = &[
    "INSERT INTO t (k, c, v, l) VALUES (1, 1, 'v', [1, 2]) USING TIMESTAMP 1000",
    "INSERT INTO t (k, c, v) VALUES (1, 2, 'v') USING TIMESTAMP 5000",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET l = [3, 3, 3] WHERE k = 1 AND c = 2",
    "UPDATE t USING TIMESTAMP 1000 SET l = [4] WHERE k = 1 AND c = 3",
    "INSERT INTO t (k, c, v, l) VALUES (1, 4, 'v', [1]) USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 2000 SET l = l + [2] WHERE k = 1 AND c = 4",
    "UPDATE t USING TIMESTAMP 3000 SET l = [0] + l WHERE k = 1 AND c = 4",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET sl = [5, 6] WHERE k = 1",
    "UPDATE t USING TIMESTAMP 1000 SET sl = [5] WHERE k = 2",
    "UPDATE t USING TIMESTAMP 2000 AND TTL 5000 SET sl = sl + [6] WHERE k = 2",
];

#[test]
fn lists_come_back_and_those_whose_elements_differ_are_told() {
    const UNEVEN: &str = "write times and expiries of single list elements";
    let source = TestKeyspace::with("lists", &[&[LISTS], LIST_ROWS].concat());
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let said = source.dump_json(&dir, format);
        let manifest = json(format!("{dir}/manifest.json"));
        for said in [&said, &manifest] {
            for column in ["l", "sl"] {
                let object = format!("{}.{column}", source.table("t"));
                assert_eq!(not_preserved(said, &object, UNEVEN), Some(1), "{said}");
            }
        }
        let strict = ["dump", &source.name, "-o", &scratch.path("strict"), "--format", format, "--strict"];
        source.node.run(strict).fails(3).stderr_has(&[&format!("{}.sl", source.table("t"))]);
        let loaded = source.load_json(&dir, &target, &[]);
        assert_eq!(loaded["uneven_lists"], 2, "{loaded}");
        assert_same(&source.db, &source.name, &target);
        let told = |keyspace: &str| told(&source.db, &format!("{keyspace}.t"), "k, c", &["v", "l", "sl"]);
        let after = told(&target);
        for (key, before) in told(&source.name) {
            let after = &after[&key];
            assert_eq!(before[0].written, after[0].written, "{key:?}");
            for (before, after) in before.iter().zip(after) {
                let even = |list: &[Option<i64>]| list.iter().all(|e| *e == list[0]);
                if even(&before.expires) {
                    assert!(about(&before.expires, &after.expires), "{key:?}: {before:?} {after:?}");
                }
                // A microsecond for each sending: never the time of the load.
                let near =
                    |(a, b): (&Option<i64>, &Option<i64>)| (0..100).contains(&(b.unwrap() - a.unwrap()));
                if even(&before.written) {
                    assert!(
                        before.written.iter().zip(&after.written).all(near),
                        "{key:?}: {before:?} {after:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn lists_that_are_loaded_again_do_not_double() {
    for version in BOTH {
        let source =
            TestKeyspace::with_on(Node::get(version), "lists_again", &[&[LISTS], LIST_ROWS].concat());
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "parquet").success();
        source.load(&dir, &target, &[]).success();
        let times = || match version {
            NEWEST => source.db.rows(&format!("SELECT l, sl, writetime(l), writetime(sl) FROM {target}.t")),
            _ => source.db.rows(&format!("SELECT l, sl, writetime(v) FROM {target}.t")),
        };
        let before = times();
        for _ in 0..2 {
            source.load(&dir, &target, &["--if-exists", "append"]).success();
            assert_same(&source.db, &source.name, &target);
            assert_eq!(times(), before, "{version}: a list was written again");
        }
        // A list that is another one there, older than the dump's, is replaced and not added to.
        source.db.execute(&format!("TRUNCATE {target}.t"));
        // Where no times are told, one that holds the dump's may as well have been added to since.
        let more = if version == NEWEST { "[4, 4]" } else { "[8]" };
        for (k, c, list) in [(1, 1, "[9]"), (1, 3, more)] {
            let set =
                format!("UPDATE {target}.t USING TIMESTAMP 500 SET l = {list} WHERE k = {k} AND c = {c}");
            source.db.execute(&set);
        }
        source.load(&dir, &target, &["--if-exists", "append"]).success();
        assert_same(&source.db, &source.name, &target);
    }
}

/// Rows of a partition that takes several pages (the first has a hundred), so that it is cut where a page ends.
const WIDE: usize = 400;

#[test]
fn the_statics_of_a_cut_partition_are_written_once() {
    let source = TestKeyspace::with(
        "cut_statics",
        &[
            "CREATE TABLE t (k int, c int, sl list<int> static, s text static, z text static, v text, PRIMARY KEY (k, c))",
            "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET sl = [1, 2, 3] WHERE k = 1",
            "UPDATE t USING TIMESTAMP 2000 AND TTL 9000 SET s = 'static' WHERE k = 1",
            "UPDATE t USING TIMESTAMP 3000 SET z = 'z' WHERE k = 1",
        ],
    );
    let text = "x".repeat(4 << 10);
    let row = |c| format!("INSERT INTO t (k, c, v) VALUES (1, {c}, '{text}') USING TIMESTAMP {}", 1000 + c);
    source.db.try_each((0..WIDE).map(row)).unwrap();
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let args = ["dump", &source.name, "-o", &dir, "--format", format, "--part-size", "1KiB"];
        source.node.run(args).success();
        let cut =
            |sidecar| json(sidecar)["ranges"].as_array().unwrap().iter().any(|r| r.get("from").is_some());
        let sidecars = parts(&dir, &source.name, "t", "json");
        assert!(sidecars.iter().any(cut), "the partition was not cut: {} parts", sidecars.len());
        source.load(&dir, &target, &[]).success();
        for flags in [&[][..], &["--if-exists", "append"]] {
            if !flags.is_empty() {
                source.load(&dir, &target, flags).success();
            }
            assert_eq!(assert_same(&source.db, &source.name, &target), WIDE);
            let tables = [source.table("t"), format!("{target}.t")];
            let columns = ["s", "z", "v"];
            assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k, c", &columns);
        }
    }
}

#[test]
fn lists_do_not_double_when_a_killed_load_is_run_again() {
    const ROWS: usize = 600;
    let source =
        TestKeyspace::with("lists_killed", &["CREATE TABLE t (k int PRIMARY KEY, v text, l list<int>)"]);
    let text = "x".repeat(16 << 10);
    let row = |k| {
        format!("INSERT INTO t (k, v, l) VALUES ({k}, '{text}', [{k}, {k}]) USING TIMESTAMP {}", 1000 + k)
    };
    source.db.try_each((0..ROWS).map(row)).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let map = format!("{}={target}", source.name);
    // The rows take three times as much.
    let forwarder = Forwarder::stalling(&source.node, b"xxxxxxxx", 3 << 20);
    killed(&forwarder, &["load", &dir, "--map", &map]);
    let there = source.db.count(&format!("{target}.t"));
    assert!((1..ROWS).contains(&there), "{there} rows: not in the middle");
    source.load(&dir, &target, &["--if-exists", "append", "--restart"]).success();
    assert_eq!(assert_same(&source.db, &source.name, &target), ROWS);
    let tables = [source.table("t"), format!("{target}.t")];
    assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k", &["v"]);
}

/// What 4.1 does not tell comes back with the row's time, and is counted.
#[test]
fn times_that_a_server_does_not_tell_are_counted() {
    const TIMES: &str = "write times and expiries";
    let table = "CREATE TABLE t (k int, v text, l list<int>, s set<int>, m map<text, int>, u pair, f frozen<list<int>>, \
                 PRIMARY KEY (k))";
    let source = TestKeyspace::with_on(
        Node::get("4.1"),
        "untold",
        &[
            PAIR,
            table,
            "INSERT INTO t (k, v, l, s, m, u, f) VALUES (1, 'v', [1, 1], {1}, {'x': 1}, {a: 'a'}, [1]) USING TIMESTAMP 1000",
            "INSERT INTO t (k, v, l, m) VALUES (2, 'v', [2], {'x': 1}) USING TIMESTAMP 1000 AND TTL 5000",
            // Nothing of this row has a known time.
            "UPDATE t USING TIMESTAMP 1000 SET l = [3, 4] WHERE k = 3",
            "UPDATE t USING TIMESTAMP 1000 SET u.b = 4 WHERE k = 4",
        ],
    );
    let newer = TestKeyspace::with("untold", &[PAIR, table]);
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let said = source.dump_json(&dir, format);
        let manifest = json(format!("{dir}/manifest.json"));
        for said in [&said, &manifest] {
            for (column, count) in [("l", 3), ("s", 1), ("m", 2), ("u", 2)] {
                let object = format!("{}.{column}", source.table("t"));
                assert_eq!(not_preserved(said, &object, TIMES), Some(count), "{column}: {said}");
            }
            assert_eq!(not_preserved(said, &format!("{}.f", source.table("t")), TIMES), None, "{said}");
            assert_eq!(not_preserved(said, &source.table("t"), UNKNOWN_ROWS), Some(2), "{said}");
        }
        let entries = said["not_preserved"].as_array().unwrap();
        let words = |e: &serde_json::Value| e["reason"].as_str().unwrap().contains("non-frozen");
        let in_its_words = entries.iter().filter(|e| e["what"] == TIMES).all(words);
        assert!(in_its_words, "the reason is not the server's: {said}");
        let strict = ["dump", &source.name, "-o", &scratch.path("strict"), "--format", format, "--strict"];
        source.node.run(strict).fails(3).stderr_has(&[&format!("{}.l", source.table("t"))]);

        let loaded = source.load_json(&dir, &target, &[]);
        assert_eq!(loaded["unknown_rows"], 2, "{loaded}");
        assert_same(&source.db, &source.name, &target);
        let tables = [source.table("t"), format!("{target}.t")];
        assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k", &["v", "f"]);

        // Seen from a server that tells them: they share the row's time and expiry.
        newer.db.execute("TRUNCATE t");
        let map = format!("{}={}", source.name, newer.name);
        newer.node.run(["load", &dir, "--data-only", "--map", &map]).success();
        assert_same_values((&source.db, &source.table("t")), (&newer.db, &newer.table("t")));
        for row in told(&newer.db, &newer.table("t"), "k", &["v", "l", "s", "m", "u"]).into_values() {
            let known = row[0].written.first().copied().flatten().is_some();
            for cell in row.iter().skip(1).filter(|c| known && c.value.is_some()) {
                // A list in a table that the load has not made is written up to a millisecond later.
                let near = |t: &Option<i64>| t.is_none() || (1000..2000).contains(&t.unwrap());
                assert!(cell.written.iter().all(near), "{row:?}");
                let expires = cell.expires.iter().any(Option::is_some);
                assert_eq!(expires, !row[0].expires.is_empty(), "{row:?}");
            }
        }
    }
}
