//! A load into a table that holds something: what is there already, newer or the same, and what deletions hide.

use crate::harness::{BOTH, Db, Node, SIMPLE, Scratch, TestKeyspace};
use crate::roundtrip::assert_same;
use crate::times::{SLACK, assert_same_times, told};

const TABLE: &str = "CREATE TABLE t (k int, c int, s text static, a text, b text, m map<text, int>, l list<int>, PRIMARY KEY (k, c))";
const CELLS: [&str; 3] = ["s", "a", "b"];

const ROWS: &[&str] = &[
    "INSERT INTO t (k, c, a, b) VALUES (1, 1, 'a', 'b') USING TIMESTAMP 1000",
    "INSERT INTO t (k, c, a) VALUES (1, 2, 'a') USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 3000 AND TTL 5000 SET b = 'b' WHERE k = 1 AND c = 2",
    "INSERT INTO t (k, c) VALUES (1, 3) USING TIMESTAMP 1000",
    "INSERT INTO t (k, c, m, l, a) VALUES (1, 4, {'x': 1}, [1, 1], 'a') USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 2000 SET m['y'] = 2 WHERE k = 1 AND c = 4",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET s = 's' WHERE k = 1",
    "UPDATE t USING TIMESTAMP 2000 SET s = 's' WHERE k = 2",
];
/// As `SELECT` counts them.
const COUNT: usize = 5;

/// A filled table on a server of `version`.
fn source(version: &str, name: &str) -> TestKeyspace {
    TestKeyspace::with_on(Node::get(version), name, &[&[TABLE], ROWS].concat())
}

#[track_caller]
fn assert_same_cells(source: &TestKeyspace, target: &str) {
    assert_eq!(assert_same(&source.db, &source.name, target), COUNT);
    let tables = [source.table("t"), format!("{target}.t")];
    assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k, c", &CELLS);
}

#[test]
fn a_load_that_is_run_again_changes_nothing() {
    for version in BOTH {
        let source = source(version, "run_again");
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let (dir, target) = (scratch.path("dump"), source.target(format));
            source.dump(&dir, format).success();
            for flags in [&[][..], &["--if-exists", "append"], &["--if-exists", "append"]] {
                source.load(&dir, &target, flags).success();
                assert_same_cells(&source, &target);
            }
            source.load(&dir, &target, &["--if-exists", "truncate"]).success();
            assert_same_cells(&source, &target);
        }
    }
}

#[test]
fn newer_data_in_the_target_survives() {
    for version in BOTH {
        let source = source(version, "newer");
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "parquet").success();
        source.load(&dir, &target, &[]).success();
        // One cell that the dump has, one that it has not, a row that it has not, a static.
        for newer in [
            "UPDATE t USING TIMESTAMP 2000 SET a = 'newer' WHERE k = 1 AND c = 1",
            "UPDATE t USING TIMESTAMP 2000 SET b = 'newer' WHERE k = 1 AND c = 3",
            "INSERT INTO t (k, c, a) VALUES (9, 9, 'newer')",
            "UPDATE t USING TIMESTAMP 3000 SET s = 'newer' WHERE k = 2",
        ] {
            source.db.execute(&newer.replace(" t ", &format!(" {target}.t ")));
        }
        let all = || told(&source.db, &format!("{target}.t"), "k, c", &CELLS);
        let before = all();
        source.load(&dir, &target, &["--if-exists", "append"]).success();
        let after = all();
        assert_eq!(before.len(), after.len());
        for (key, cells) in &before {
            for (before, after) in cells.iter().zip(&after[key]) {
                assert_eq!(
                    (&before.value, &before.written),
                    (&after.value, &after.written),
                    "{version}: {key:?}"
                );
            }
        }
    }
}

/// Runs what is a deletion in the target's table.
fn delete(db: &Db, target: &str, deletions: &[&str]) {
    for deletion in deletions {
        db.execute(&deletion.replace("FROM t", &format!("FROM {target}.t")));
    }
}

#[test]
fn rows_that_deletions_hide_are_named_and_come_back_with_a_new_time() {
    for version in BOTH {
        let source = source(version, "hidden");
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "parquet").success();
        for (tag, deletions) in [
            ("all", &["DELETE FROM t WHERE k = 1", "DELETE FROM t WHERE k = 2"][..]),
            ("row", &["DELETE FROM t WHERE k = 1 AND c = 2"]),
            ("range", &["DELETE FROM t WHERE k = 1 AND c > 2"]),
            ("cell", &["DELETE a FROM t WHERE k = 1 AND c = 1"]),
            ("element", &["DELETE m['y'] FROM t WHERE k = 1 AND c = 4"]),
            ("static", &["DELETE s FROM t WHERE k = 2"]),
        ] {
            let target = source.target(tag);
            source.load(&dir, &target, &[]).success();
            delete(&source.db, &target, deletions);
            let append = ["--if-exists", "append"];
            source.load(&dir, &target, &append).fails(4).stderr_has(&[
                &format!("{target}.t"),
                "--timestamp now",
                "--if-exists truncate",
            ]);
            source.load(&dir, &target, &[&append[..], &["--no-check"]].concat()).success();
            source.load(&dir, &target, &[&append[..], &["--timestamp", "now"]].concat()).success();
            assert_eq!(assert_same(&source.db, &source.name, &target), COUNT, "{version} {tag}");
            source.load(&dir, &target, &["--if-exists", "truncate"]).success();
            assert_same_cells(&source, &target);
        }
    }
}

#[test]
fn hidden_rows_are_told_by_key() {
    let source = source(crate::harness::NEWEST, "hidden_json");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &[]).success();
    delete(
        &source.db,
        &target,
        &["DELETE FROM t WHERE k = 1 AND c = 2", "DELETE a FROM t WHERE k = 1 AND c = 1"],
    );
    let done = source.load(&dir, &target, &["--if-exists", "append", "--json"]).fails(4);
    let said = done.json();
    let found = said["differences"].as_array().unwrap();
    assert_eq!(found.len(), 2, "{said}");
    for (key, kind, column) in [("2", "missing row", None), ("1", "value", Some("a"))] {
        let difference =
            found.iter().find(|d| d["key"]["c"] == key).unwrap_or_else(|| panic!("{key}: {said}"));
        assert_eq!(difference["table"], source.table("t"), "{said}");
        assert_eq!(
            (&difference["kind"], difference["key"]["k"].as_str()),
            (&kind.into(), Some("1")),
            "{said}"
        );
        assert_eq!(difference["column"].as_str(), column, "{said}");
    }
}

/// A table that is empty because all was deleted looks like one that never held anything.
#[test]
fn an_empty_table_may_hide_what_is_loaded() {
    let source = source(crate::harness::NEWEST, "tombstones");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    source.db.execute(&TABLE.replace("TABLE t", &format!("TABLE {target}.t")));
    source.load(&dir, &target, &[]).success();
    assert_same_cells(&source, &target);
    delete(&source.db, &target, &["DELETE FROM t WHERE k = 1", "DELETE FROM t WHERE k = 2"]);
    source.load(&dir, &target, &[]).fails(4).stderr_has(&[&format!("{target}.t"), "--timestamp now"]);
    assert_eq!(source.db.count(&format!("{target}.t")), 0);
}

/// The check of an append goes by what was asked to be written, not by what the dump has.
#[test]
fn other_times_than_the_dumps_are_no_difference_when_they_were_asked_for() {
    let source = source(crate::harness::NEWEST, "asked_append");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    for flags in [
        &["--timestamp", "12345"][..],
        &["--timestamp", "23456", "--ttl", "9000"],
        &["--timestamp", "34567", "--ttl", "drop"],
    ] {
        source.load(&dir, &target, &[&["--if-exists", "append"], flags].concat()).success();
        assert_eq!(assert_same(&source.db, &source.name, &target), COUNT, "{flags:?}");
        for cell in told(&source.db, &format!("{target}.t"), "k, c", &CELLS).into_values().flatten() {
            let time = flags[1].parse().unwrap();
            assert!(cell.value.is_none() || cell.written == [Some(time)], "{flags:?}: {cell:?}");
            if flags.contains(&"9000") && cell.value.is_some() {
                let left = cell.expires[0].unwrap() - crate::times::now();
                assert!((8000..=9000 + SLACK).contains(&left), "{flags:?}: {cell:?}");
            }
            assert!(!flags.contains(&"drop") || cell.expires.is_empty(), "{flags:?}: {cell:?}");
        }
    }
}

/// Lists, sets, maps and user types are many cells: newer ones stay, older ones too, and nothing doubles.
#[test]
fn elements_in_the_target_survive() {
    const TYPE: &str = "CREATE TYPE pair (a int, b int)";
    const TABLE: &str =
        "CREATE TABLE t (k int PRIMARY KEY, v int, l list<int>, s set<int>, m map<int, int>, u pair)";
    for version in BOTH {
        let write = "INSERT INTO t (k, v, l, s, m, u) VALUES (1, 1, [1, 2], {1}, {1: 1}, {a: 1}) USING TIMESTAMP 1000";
        let source = TestKeyspace::with_on(Node::get(version), "elements", &[TYPE, TABLE, write]);
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "parquet").success();
        let cases = [
            ("overwritten", "USING TIMESTAMP 1001 SET l = [9]", "l", "[9]"),
            ("extended", "USING TIMESTAMP 5000 SET l = l + [3]", "l", "[1, 2, 3]"),
            ("more", "USING TIMESTAMP 500 SET s = s + {7}", "s", "{7}"),
            ("entry", "USING TIMESTAMP 2000 SET m[1] = 5", "m", "{1: 5}"),
            ("field", "USING TIMESTAMP 500 SET u.b = 5", "u", "{a: 1, b: 5}"),
        ];
        for (tag, newer, column, expected) in cases {
            let target = source.target(tag);
            source.load(&dir, &target, &["--schema-only"]).success();
            // What is older comes first, and shows after the load as it would without it.
            let older = newer.contains("TIMESTAMP 500 ");
            if !older {
                source.load(&dir, &target, &[]).success();
            }
            source.db.execute(&format!("UPDATE {target}.t {newer} WHERE k = 1"));
            for _ in 0..2 {
                source.load(&dir, &target, &["--if-exists", "append"]).success();
            }
            let text = |cql: &str| source.db.texts(cql)[0][0].clone();
            let found = text(&format!("SELECT JSON {column} FROM {target}.t WHERE k = 1"));
            let expected = match tag {
                "more" => r#"{"s": [1, 7]}"#.to_owned(),
                "entry" => r#"{"m": {"1": 5}}"#.to_owned(),
                "field" => r#"{"u": {"a": 1, "b": 5}}"#.to_owned(),
                _ => format!("{{\"{column}\": {expected}}}"),
            };
            assert_eq!(found, expected, "{version}: {tag}");
        }
    }
}

/// Of two cells of one write time the one that expires wins, so a new life needs a new time: it is not silently refused.
#[test]
fn a_life_that_does_not_take_is_a_difference() {
    let source = TestKeyspace::with(
        "new_life",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v int, l list<int>)",
            "INSERT INTO t (k, v, l) VALUES (1, 1, [1, 2]) USING TIMESTAMP 1000 AND TTL 9000",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &[]).success();
    let append = ["--if-exists", "append"];
    let said = source.load(&dir, &target, &[&append[..], &["--ttl", "drop", "--json"]].concat()).fails(4);
    assert_eq!(said.json()["differences"][0]["kind"], "expiry", "{}", said.told());
    said.stderr_has(&["--timestamp now"]);
    source.load(&dir, &target, &[&append[..], &["--ttl", "drop", "--timestamp", "now"]].concat()).success();
    let row = told(&source.db, &format!("{target}.t"), "k", &["v", "l"]).into_values().next().unwrap();
    assert!(row.iter().all(|cell| cell.expires.iter().all(Option::is_none)), "{row:?}");
    source.load(&dir, &target, &[&append[..], &["--ttl", "4000", "--timestamp", "now"]].concat()).success();
    let row = told(&source.db, &format!("{target}.t"), "k", &["v", "l"]).into_values().next().unwrap();
    let lives = row.iter().flat_map(|cell| &cell.expires).map(|e| e.unwrap() - crate::times::now());
    assert!(lives.clone().count() == 3 && lives.into_iter().all(|life| life <= 4000 + SLACK), "{row:?}");
    assert_eq!(assert_same(&source.db, &source.name, &target), 1);
}

/// A life that ends after the last moment that the server takes does not cost the rows that were there.
#[test]
fn a_life_beyond_2038_is_cut() {
    let source = source(crate::harness::NEWEST, "long_life");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    let flags = ["--if-exists", "truncate", "--ttl", "630000000"];
    let said = source.load_json(&dir, &target, &flags);
    assert!(said["capped"].as_u64().unwrap() > 0, "{said}");
    assert_eq!(assert_same(&source.db, &source.name, &target), COUNT);
}

/// Also where a server does not tell the write times of lists, and the list that is there has the same values.
#[test]
fn a_new_time_and_a_new_life_are_given_to_lists_as_well() {
    for version in BOTH {
        let statements = [
            "CREATE TABLE t (k int PRIMARY KEY, v int, l list<int>)",
            "INSERT INTO t (k, v, l) VALUES (1, 1, [4]) USING TIMESTAMP 1000",
        ];
        let source = TestKeyspace::with_on(Node::get(version), "new_list", &statements);
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "parquet").success();
        source.load(&dir, &target, &["--schema-only"]).success();
        source.db.execute(&format!("UPDATE {target}.t USING TIMESTAMP 500 SET l = [4, 4] WHERE k = 1"));
        let append = |flags: &[&str]| {
            source.load(&dir, &target, &[&["--if-exists", "append"], flags].concat()).success();
        };
        append(&["--timestamp", "now"]);
        assert_eq!(assert_same(&source.db, &source.name, &target), 1, "{version}");
        for _ in 0..2 {
            append(&["--timestamp", "now", "--ttl", "9000"]);
            assert_eq!(assert_same(&source.db, &source.name, &target), 1, "{version}");
        }
        append(&["--timestamp", "now", "--ttl", "2"]);
        // A list that kept its old life would keep its row.
        let begun = std::time::Instant::now();
        while source.db.count(&format!("{target}.t")) > 0 {
            assert!(begun.elapsed().as_secs() < 60, "{version}: the row does not end");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
