//! What a dump and a load keep of rows and of simple cells: write times, expiries, statics, and what keeps a row alive.
//! Judged by `writetime()` and `ttl()` as the driver gets them, and by what later writes and deletions then do.

use crate::harness::{BOTH, Node, Scratch, TestKeyspace};
use crate::times::assert_same_times;

const FORMATS: [&str; 2] = ["parquet", "csv"];
const TABLE: &str =
    "CREATE TABLE t (k int, c int, s text static, z int static, a text, b text, d int, PRIMARY KEY (k, c))";
const CELLS: [&str; 5] = ["s", "z", "a", "b", "d"];

/// All times are far from now: a write time that a load makes up is another one.
const ROWS: &[&str] = &[
    // One write time for all cells, and one expiry.
    "INSERT INTO t (k, c, a, b, d) VALUES (1, 1, 'a', 'b', 1) USING TIMESTAMP 1000",
    "INSERT INTO t (k, c, a, b, d) VALUES (1, 2, 'a', 'b', 1) USING TIMESTAMP 1000 AND TTL 5000",
    // A write time for each cell, the row's marker being the oldest, the newest and in between.
    "INSERT INTO t (k, c, a) VALUES (1, 3, 'a') USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 2000 SET b = 'b' WHERE k = 1 AND c = 3",
    "UPDATE t USING TIMESTAMP 1500 SET d = 1 WHERE k = 1 AND c = 3",
    "INSERT INTO t (k, c, a) VALUES (1, 4, 'a') USING TIMESTAMP 3000",
    "UPDATE t USING TIMESTAMP 2000 SET b = 'b' WHERE k = 1 AND c = 4",
    "INSERT INTO t (k, c, a) VALUES (1, 5, 'a') USING TIMESTAMP 3000",
    "UPDATE t USING TIMESTAMP 2000 SET b = 'b' WHERE k = 1 AND c = 5",
    "UPDATE t USING TIMESTAMP 4000 SET d = 1 WHERE k = 1 AND c = 5",
    // An expiry on one cell only, and another on each, at one write time and at several.
    "INSERT INTO t (k, c, a) VALUES (1, 6, 'a') USING TIMESTAMP 1000",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET b = 'b' WHERE k = 1 AND c = 6",
    "INSERT INTO t (k, c, a) VALUES (1, 7, 'a') USING TIMESTAMP 1000 AND TTL 9000",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET b = 'b' WHERE k = 1 AND c = 7",
    "UPDATE t USING TIMESTAMP 500 AND TTL 7000 SET d = 1 WHERE k = 1 AND c = 7",
    // No marker at all; empty is a value with a time.
    "UPDATE t USING TIMESTAMP 1000 SET a = '' WHERE k = 1 AND c = 8",
    "UPDATE t USING TIMESTAMP 2000 AND TTL 5000 SET b = '' WHERE k = 1 AND c = 9",
    // The ends of what a server takes, and before 1970.
    "UPDATE t USING TIMESTAMP 0 SET a = 'a' WHERE k = 1 AND c = 10",
    "UPDATE t USING TIMESTAMP -1 SET b = 'b' WHERE k = 1 AND c = 10",
    "UPDATE t USING TIMESTAMP 9223372036854775807 SET a = 'a' WHERE k = 1 AND c = 11",
    "UPDATE t USING TIMESTAMP -9223372036854775807 SET b = 'b' WHERE k = 1 AND c = 11",
    "UPDATE t USING TIMESTAMP 4102444800000000 AND TTL 5000 SET d = 1 WHERE k = 1 AND c = 11",
    // Statics beside rows, older, newer and expiring, and each its own.
    "INSERT INTO t (k, c, a) VALUES (2, 1, 'a') USING TIMESTAMP 2000",
    "INSERT INTO t (k, c, a) VALUES (2, 2, 'a') USING TIMESTAMP 3000 AND TTL 5000",
    "UPDATE t USING TIMESTAMP 1000 SET s = 'old' WHERE k = 2",
    "UPDATE t USING TIMESTAMP 9000 AND TTL 7000 SET z = 2 WHERE k = 2",
    "INSERT INTO t (k, c, a) VALUES (3, 1, 'a') USING TIMESTAMP 2000 AND TTL 5000",
    "UPDATE t USING TIMESTAMP 5000 SET s = 'new' WHERE k = 3",
    // Partitions of statics alone.
    "UPDATE t USING TIMESTAMP 1000 SET s = 'alone' WHERE k = 4",
    "UPDATE t USING TIMESTAMP 1000 AND TTL 5000 SET s = 'expires' WHERE k = 5",
    "UPDATE t USING TIMESTAMP 2000 SET z = 5 WHERE k = 5",
];

#[test]
fn cells_keep_their_own_write_times_and_expiries() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "own_times", &[&[TABLE], ROWS].concat());
        for format in FORMATS {
            let target = source.reloaded(format);
            let tables = [source.table("t"), format!("{target}.t")];
            let [before, after] = [&tables[0], &tables[1]].map(|table| (&source.db, table.as_str()));
            let rows = assert_same_times(before, after, "k, c", &CELLS);
            assert_eq!(rows, 16, "{version}: the rows of this test");
        }
    }
}

/// The times of types whose cells look different, frozen ones among them, which have one time as a whole.
#[test]
fn cells_of_every_shape_keep_their_times() {
    let columns = "v text, n varint, l frozen<list<int>>, m frozen<map<int, text>>, u frozen<pair>, p tuple<int, text>, e blob";
    let names = ["v", "n", "l", "m", "u", "p", "e"];
    for version in BOTH {
        let source = TestKeyspace::on(Node::get(version), "shapes");
        source.db.execute("CREATE TYPE pair (a text, b text)");
        source.db.execute(&format!("CREATE TABLE t (k int PRIMARY KEY, {columns})"));
        let values = ["'v'", "7", "[]", "{1: 'x'}", "{b: 'only'}", "(1, null)", "0x"];
        for (i, (name, value)) in names.iter().zip(values).enumerate() {
            for (k, ttl) in [(1, ""), (2, " AND TTL 5000")] {
                let time = 1000 + i;
                let using = format!("USING TIMESTAMP {time}{ttl}");
                source.db.execute(&format!("UPDATE t {using} SET {name} = {value} WHERE k = {k}"));
            }
        }
        let target = source.reloaded("csv");
        let tables = [source.table("t"), format!("{target}.t")];
        let rows = assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k", &names);
        assert_eq!(rows, 2);
    }
}

/// `k, c` of every row, in the server's order.
fn keys(ks: &TestKeyspace, keyspace: &str) -> Vec<String> {
    let rows = ks.db.texts(&format!("SELECT CAST(k AS text), CAST(c AS text) FROM {keyspace}.t"));
    rows.into_iter().map(|row| row.join(" ")).collect()
}

/// Polls until `done`; fails after a minute, saying what does not come.
#[track_caller]
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{what}: not after a minute");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// The count of an entry of a summary's or manifest's `not_preserved`, which must give a reason.
#[track_caller]
pub fn not_preserved(summary: &serde_json::Value, object: &str, what: &str) -> Option<u64> {
    let entries = summary["not_preserved"].as_array().expect("not_preserved is a list");
    let entry = entries.iter().find(|e| e["object"] == object && e["what"] == what)?;
    assert!(entry["reason"].as_str().is_some_and(|r| r.len() > 10), "no reason: {entry}");
    Some(entry["count"].as_u64().unwrap_or_else(|| panic!("no count: {entry}")))
}

pub const UNKNOWN_ROWS: &str = "write time and expiry of rows without a cell that tells them";

#[test]
fn rows_of_nothing_but_their_key_survive_and_are_counted() {
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "only_keys",
            &[
                TABLE,
                "INSERT INTO t (k, c) VALUES (1, 1) USING TIMESTAMP 1000",
                "INSERT INTO t (k, c) VALUES (1, 2) USING TIMESTAMP 1000 AND TTL 5000",
                // Kept by its marker: its only cell has expired or was deleted.
                "INSERT INTO t (k, c) VALUES (1, 3) USING TIMESTAMP 1000",
                "UPDATE t USING TTL 1 SET a = 'gone' WHERE k = 1 AND c = 3",
                "INSERT INTO t (k, c, a) VALUES (1, 4, 'gone') USING TIMESTAMP 1000",
                "DELETE a FROM t WHERE k = 1 AND c = 4",
                // The static has a time, the row has none that is told.
                "INSERT INTO t (k, c) VALUES (2, 1) USING TIMESTAMP 1000",
                "UPDATE t USING TIMESTAMP 2000 SET s = 's' WHERE k = 2",
                "INSERT INTO t (k, c, a) VALUES (3, 1, 'known') USING TIMESTAMP 1000",
                "CREATE TABLE only (k int PRIMARY KEY)",
                "INSERT INTO only (k) VALUES (1)",
            ],
        );
        wait_until("a cell of one second expires", || {
            source.db.rows("SELECT a FROM t WHERE k = 1 AND c = 3") == [vec![None]]
        });
        let expected = keys(&source, &source.name);
        for format in FORMATS {
            let scratch = Scratch::new();
            let (dir, target) = (scratch.path("dump"), source.target(format));
            let told = source.dump_json(&dir, format);
            let manifest = crate::harness::json(format!("{dir}/manifest.json"));
            for said in [&told, &manifest] {
                assert_eq!(not_preserved(said, &source.table("t"), UNKNOWN_ROWS), Some(5), "{said}");
                assert_eq!(not_preserved(said, &source.table("only"), UNKNOWN_ROWS), Some(1), "{said}");
            }
            let loaded = source.load_json(&dir, &target, &[]);
            assert_eq!(loaded["unknown_rows"], 6, "{loaded}");
            assert_eq!(keys(&source, &target), expected, "{version} {format}");
            assert_eq!(source.db.count(&format!("{target}.only")), 1);
            let tables = [source.table("t"), format!("{target}.t")];
            assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k, c", &CELLS);
        }
    }
}

/// A row lives by its marker, which no query shows: deleting all cells does. The marker must be there, must not be newer
/// than what the source may have had, and must expire with the cells that live longest.
#[test]
fn a_row_keeps_a_marker_like_the_one_it_had() {
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "markers",
            &[
                TABLE,
                "INSERT INTO t (k, c, a) VALUES (1, 1, 'stays') USING TIMESTAMP 1000",
                "UPDATE t USING TIMESTAMP 2000 AND TTL 5000 SET b = 'b' WHERE k = 1 AND c = 1",
                "INSERT INTO t (k, c, a) VALUES (2, 1, 'goes') USING TIMESTAMP 1000",
                "UPDATE t USING TIMESTAMP 3000 SET b = 'b' WHERE k = 2 AND c = 1",
                "INSERT INTO t (k, c, a) VALUES (3, 1, 'goes') USING TIMESTAMP 1000 AND TTL 5000",
                "INSERT INTO t (k, c, s) VALUES (4, 1, 'stays') USING TIMESTAMP 1000",
            ],
        );
        let target = source.reloaded("parquet");
        for keyspace in [&source.name, &target] {
            let run = |cql: &str| source.db.execute(&cql.replace(" t ", &format!(" {keyspace}.t ")));
            // No cell is left, the marker is.
            run("DELETE a, b FROM t USING TIMESTAMP 4000 WHERE k = 1 AND c = 1");
            // Between the two write times: this takes the marker of an INSERT at 1000, not that of one at 3000.
            run("DELETE FROM t USING TIMESTAMP 2000 WHERE k = 2 AND c = 1");
            run("DELETE b FROM t USING TIMESTAMP 4000 WHERE k = 2 AND c = 1");
            // The marker of an expiring row loses against a deletion of its time and later like any other.
            run("DELETE FROM t USING TIMESTAMP 1000 WHERE k = 3 AND c = 1");
            // The row is there without its static.
            run("DELETE s FROM t USING TIMESTAMP 4000 WHERE k = 4");
            assert_eq!(keys(&source, keyspace), ["1 1", "4 1"], "{version} {keyspace}");
        }
    }
}

/// A row all of whose cells expire is gone after that, in the target too, and does not stay as a key without cells.
#[test]
fn a_row_that_expires_is_gone_after_it() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "fading", &[TABLE]);
        source.db.execute("INSERT INTO t (k, c, a) VALUES (1, 1, 'a') USING TTL 20");
        source.db.execute("UPDATE t USING TTL 10 SET b = 'b' WHERE k = 1 AND c = 1");
        source.db.execute("UPDATE t USING TTL 20 SET s = 's' WHERE k = 2");
        source.db.execute("INSERT INTO t (k, c, a) VALUES (3, 1, 'stays') USING TIMESTAMP 1000");
        let target = source.reloaded("csv");
        for keyspace in [&source.name, &target] {
            wait_until(&format!("{version}: the row of {keyspace} expires"), || {
                keys(&source, keyspace) == ["3 1"]
            });
        }
    }
}
