//! Tables WITH COMPACT STORAGE, which servers since 4.0 print as a comment only: all five shapes, schema and data, on every
//! version and between them, with the compact storage and without it.

use crate::harness::{Db, NEWEST, Node, Row, Scratch, TestKeyspace};

/// Dense, dense without a value, dense and compound, sparse, and counters of both kinds.
const TABLES: [&str; 7] = [
    "CREATE TABLE dense (k text, c int, v text, PRIMARY KEY (k, c)) WITH COMPACT STORAGE AND CLUSTERING ORDER BY (c DESC) AND comment = 'it''s dense'",
    "CREATE TABLE dense_keys (k text, c int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
    "CREATE TABLE compound (k int, c int, d text, v blob, PRIMARY KEY (k, c, d)) WITH COMPACT STORAGE AND CLUSTERING ORDER BY (c ASC, d DESC)",
    "CREATE TABLE sparse (k int PRIMARY KEY, a text, \"B b\" int, c timestamp) WITH COMPACT STORAGE",
    "CREATE TABLE sparse_two (k int, l text, a text, PRIMARY KEY ((k, l))) WITH COMPACT STORAGE",
    "CREATE TABLE dense_counter (k text, c int, n counter, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
    "CREATE TABLE sparse_counter (k text PRIMARY KEY, n counter, m counter) WITH COMPACT STORAGE",
];

const ROWS: [&str; 15] = [
    "INSERT INTO dense (k, c, v) VALUES ('a', 1, 'x') USING TIMESTAMP 1000",
    "INSERT INTO dense (k, c, v) VALUES ('a', 2, '') USING TIMESTAMP 2000",
    "INSERT INTO dense (k, c, v) VALUES ('b', -1, 'y') USING TIMESTAMP 3000 AND TTL 100000",
    "INSERT INTO dense_keys (k, c) VALUES ('a', 1)",
    "INSERT INTO dense_keys (k, c) VALUES ('a', 2)",
    "INSERT INTO compound (k, c, d, v) VALUES (1, 1, 'x', 0x00)",
    "INSERT INTO compound (k, c, d, v) VALUES (1, 1, '', 0x)",
    // Such a row has no last clustering column at all.
    "INSERT INTO compound (k, c, v) VALUES (1, 2, 0xff) USING TIMESTAMP 5000",
    "INSERT INTO sparse (k, a) VALUES (1, 'one') USING TIMESTAMP 1000",
    "UPDATE sparse USING TIMESTAMP 2000 AND TTL 100000 SET \"B b\" = 5 WHERE k = 1",
    "INSERT INTO sparse (k, \"B b\", c) VALUES (2, 7, '2026-11-24T00:00:00Z')",
    "INSERT INTO sparse_two (k, l, a) VALUES (1, 'l', 'a')",
    "UPDATE dense_counter SET n = n + 5 WHERE k = 'a' AND c = 1",
    "UPDATE sparse_counter SET n = n + 2, m = m - 3 WHERE k = 'a'",
    "UPDATE sparse_counter SET m = m + 1 WHERE k = 'b'",
];

/// What CQL shows of each table; of those that tell, the write times too.
const SELECTS: [&str; 7] = [
    "SELECT k, c, v, writetime(v) FROM {}.dense",
    "SELECT k, c FROM {}.dense_keys",
    "SELECT k, c, d, v, writetime(v) FROM {}.compound",
    "SELECT k, a, \"B b\", c, writetime(a), writetime(\"B b\"), writetime(c) FROM {}.sparse",
    "SELECT k, l, a FROM {}.sparse_two",
    "SELECT k, c, n FROM {}.dense_counter",
    "SELECT k, n, m FROM {}.sparse_counter",
];

fn shown(db: &Db, keyspace: &str) -> Vec<Vec<Row>> {
    let all = compared(db, keyspace);
    let counts: Vec<usize> = all.iter().map(Vec::len).collect();
    assert_eq!(counts, [3, 2, 3, 2, 1, 1, 2], "{keyspace}");
    all
}

fn compared(db: &Db, keyspace: &str) -> Vec<Vec<Row>> {
    let rows = |select: &&str| {
        let mut rows = db.rows(&select.replace("{}", keyspace));
        rows.sort();
        rows
    };
    SELECTS.iter().map(rows).collect()
}

/// Table and flags as the catalogue has them: what makes a table compact.
fn flags(db: &Db, keyspace: &str) -> Vec<Vec<String>> {
    let query =
        format!("SELECT JSON table_name, flags FROM system_schema.tables WHERE keyspace_name = '{keyspace}'");
    db.texts(&query)
}

fn filled(node: Node) -> TestKeyspace {
    TestKeyspace::with_on(node, "compact", &[&TABLES[..], &ROWS[..]].concat())
}

fn comes_back(version: &str) {
    let source = filled(Node::get(version));
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let dumped = source.dump(&dir, format).success();
        assert!(!dumped.stderr.contains("not understood"), "{}", dumped.stderr);
        source.load(&dir, &target, &[]).success();
        assert_eq!(shown(&source.db, &target), shown(&source.db, &source.name), "{version}, {format}");
        assert_eq!(flags(&source.db, &target), flags(&source.db, &source.name));
        let map = format!("{}={target}", source.name);
        source.node.run(["verify", &dir, "--map", &map]).success();
        // Into what is there now, too.
        source.load(&dir, &target, &["--if-exists", "truncate"]).success();
        assert_eq!(shown(&source.db, &target), shown(&source.db, &source.name), "{version}, {format}");
    }
}

#[test]
fn compact_tables_come_back_on_3_11() {
    comes_back("3.11");
}

#[test]
fn compact_tables_come_back_on_4_0() {
    comes_back("4.0");
}

#[test]
fn compact_tables_come_back_on_4_1() {
    comes_back("4.1");
}

#[test]
fn compact_tables_come_back_on_5_0() {
    comes_back(NEWEST);
}

/// Moves all shapes from one server to another, and answers how many rows are equal there.
pub fn moves(from: &str, to: &str) -> usize {
    let source = filled(Node::get(from));
    let landing = TestKeyspace::on(Node::get(to), "landing");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let map = format!("{}={}", source.name, landing.name);
    landing.node.run(["load", &dir, "--map", &map]).success();
    let rows = shown(&landing.db, &landing.name);
    assert_eq!(rows, shown(&source.db, &source.name), "{from} to {to}");
    assert_eq!(flags(&landing.db, &landing.name), flags(&source.db, &source.name));
    landing.node.run(["verify", &dir, "--map", &map]).success();
    rows.iter().map(Vec::len).sum()
}

#[test]
fn compact_tables_move_between_versions() {
    for (from, to) in [("3.11", NEWEST), (NEWEST, "3.11")] {
        assert_eq!(moves(from, to), 14);
    }
}

#[test]
fn compact_storage_can_be_left_behind() {
    let source = filled(Node::get(NEWEST));
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("plain"));
    source.dump(&dir, "parquet").success();
    let flag = "--drop-compact-storage";
    // A row without its last clustering column has no place in an ordinary table.
    let refused = source.load(&dir, &target, &[flag]).fails(1);
    refused.stderr_has(&["write the row k=1", "compound", "column d"]);
    source.db.execute(&format!("DROP KEYSPACE {target}"));
    source.db.execute("DELETE FROM compound WHERE k = 1 AND c = 2");
    let dir = scratch.path("again");
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[flag]).success().stderr_has(&["COMPACT STORAGE dropped, as asked for"]);
    assert_eq!(compared(&source.db, &target), compared(&source.db, &source.name));
    for row in flags(&source.db, &target) {
        let flags = row[0].split_once("flags").unwrap().1;
        assert!(flags.contains("compound") && !flags.contains("dense"), "{row:?}");
    }
    let schema = ["schema", &source.name, "--for", "cassandra-5.0"];
    let text = |more: &[&str]| source.node.run([&schema[..], more].concat()).success().stdout;
    assert_eq!(text(&[]).matches("COMPACT STORAGE").count(), TABLES.len());
    assert!(
        !text(&[flag])
            .replace("-- changed for Cassandra 5.0: COMPACT STORAGE", "")
            .contains("COMPACT STORAGE")
    );
}
