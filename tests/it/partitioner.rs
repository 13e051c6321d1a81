//! RandomPartitioner: a cluster that has it is dumped by many workers, dumps go from it to Murmur3Partitioner and back, and
//! `verify` compares across.

use crate::findings::{differs, passes};
use crate::harness::{Db, NEWEST, Node, Row, Scratch, TestKeyspace, json, parts, quoted};
use crate::script::Script;
use crate::verify_changes::{Change, TYPE, make, rows};
use std::collections::HashMap;
use std::time::SystemTime;

/// The server with RandomPartitioner.
const RANDOM: &str = "5.0-random";

/// From where to where.
const WAYS: [[&str; 2]; 2] = [[RANDOM, NEWEST], [NEWEST, RANDOM]];

/// What a dump makes of a server's token, a varint from 0 to 2^127: all but its lowest 63 bits, as a signed number.
fn coarse(varint: &[u8]) -> i64 {
    let exact = varint.iter().fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
    let upper = (exact >> 63).clamp(1, u128::from(u64::MAX));
    i64::try_from(i128::try_from(upper).unwrap() - (1 << 63)).unwrap()
}

/// Start and end of the ranges that a sidecar lists.
fn ranges(sidecar: &serde_json::Value) -> Vec<(i64, i64)> {
    let bound = |range: &serde_json::Value, name: &str| range[name].as_str().unwrap().parse().unwrap();
    let ranges = sidecar["ranges"].as_array().unwrap().iter();
    ranges.map(|range| (bound(range, "start"), bound(range, "end"))).collect()
}

#[test]
fn the_parts_of_a_random_cluster_tile_its_ring_and_hold_the_tokens_of_their_ranges() {
    const ROWS: usize = 20_000;
    let source = TestKeyspace::on(Node::get(RANDOM), "random_parts");
    source.db.execute("CREATE TABLE t (a int, b text, c int, v text, PRIMARY KEY ((a, b), c))");
    source
        .db
        .try_each((0..ROWS).map(|i| {
            format!("INSERT INTO t (a, b, c, v) VALUES ({}, 'b{}', {}, 'value {i}')", i / 6, i / 3, i % 3)
        }))
        .unwrap();
    let tokens: HashMap<(Vec<u8>, Vec<u8>), i64> = source
        .db
        .rows("SELECT DISTINCT a, b, token(a, b) FROM t")
        .into_iter()
        .map(|row| {
            let [a, b, token] = row.try_into().unwrap();
            ((a.unwrap(), b.unwrap()), coarse(&token.unwrap()))
        })
        .collect();
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let args = ["dump", &source.name, "-o", &dir, "--format", "csv", "--part-size", "1KiB"];
    let done = source.node.run(args).success();
    assert_eq!(done.stderr.lines().count(), 1, "more than the summary\n{}", done.told());
    assert!(
        json(format!("{dir}/manifest.json"))["cluster"]["partitioner"]
            .as_str()
            .unwrap()
            .ends_with("RandomPartitioner")
    );
    let sidecars: Vec<_> = parts(&dir, &source.name, "t", "json").iter().map(json).collect();
    let mut all: Vec<(i64, i64)> = sidecars.iter().flat_map(ranges).collect();
    assert!(all.len() > 8, "{} ranges: not many workers were at it", all.len());
    all.sort_unstable();
    assert_eq!((all[0].0, all[all.len() - 1].1), (i64::MIN, i64::MAX));
    assert!(all.windows(2).all(|w| w[0].1 == w[1].0), "{all:?}");
    let mut count = 0;
    for sidecar in sidecars.iter().filter(|sidecar| sidecar["file"].is_string()) {
        let file = format!("{dir}/data/{}/t/{}", source.name, sidecar["file"].as_str().unwrap());
        let mut lines = csv::Reader::from_path(&file).unwrap();
        for line in lines.records() {
            let line = line.unwrap();
            let a: i32 = line[0].parse().unwrap();
            let token = tokens[&(a.to_be_bytes().to_vec(), line[1].as_bytes().to_vec())];
            let held = ranges(sidecar).iter().any(|(start, end)| *start < token && token <= *end);
            assert!(held, "{token} in {}", sidecar["name"]);
            count += 1;
        }
    }
    assert_eq!(count, ROWS);
}

/// All rows of a table, in an order of their own.
fn sorted(db: &Db, keyspace: &str, table: &str) -> Vec<Row> {
    let mut rows = db.rows(&format!("SELECT * FROM {keyspace}.{}", quoted(table)));
    rows.sort();
    rows
}

#[test]
fn a_dump_goes_from_one_partitioner_to_the_other() {
    for [from, to] in WAYS {
        let source = TestKeyspace::on(Node::get(from), "from_ring");
        let target = TestKeyspace::on(Node::get(to), "to_ring");
        for schema in ["composite", "statics", "counters"] {
            Script::named(schema).run(&source.db, NEWEST).unwrap();
        }
        let insert = |k: i32| format!("INSERT INTO many (k, v) VALUES ({k}, 'row {k}')");
        source.db.execute("CREATE TABLE many (k int PRIMARY KEY, v text)");
        source.db.try_each((0..3000).map(insert)).unwrap();
        let scratch = Scratch::new();
        let (dir, back) = (scratch.path("dump"), scratch.path("back"));
        source.dump(&dir, "parquet").success();
        let map = format!("{}={}", source.name, target.name);
        target.node.run(["load", &dir, "--map", &map]).success();
        let tables = source.db.tables(&source.name);
        for table in &tables {
            let [ours, theirs] = [&source, &target].map(|side| sorted(&side.db, &side.name, table));
            assert!(ours == theirs, "{from} → {to}: {table} differs");
        }
        let found = passes(&target.node, &dir, &["--map", &map]);
        assert_eq!(found.tables, tables.len() as u64);
        assert!(found.rows > 3000);
        // What was loaded is dumped, and compared with where it came from.
        target.dump(&back, "csv").success();
        let map = format!("{}={}", target.name, source.name);
        assert_eq!(passes(&source.node, &back, &["--map", &map]).rows, found.rows);
    }
}

#[test]
fn differences_are_named_across_partitioners() {
    let changes = [
        Change::Drop("VALUES (8, 1, '')"),
        Change::Edit("'one'", "'onf'"),
        Change::Edit("'alone'", "'other'"),
        Change::Edit("USING TIMESTAMP 1000 SET n = 2", "USING TIMESTAMP 1001 SET n = 2"),
        Change::Add("INSERT INTO {t} (k, c, v) VALUES (9, 1, 'more') USING TIMESTAMP 1000"),
    ];
    let steady = |row: String| row.replace(" AND TTL {ttl}", "");
    for [from, to] in WAYS {
        let (source, other) =
            (TestKeyspace::on(Node::get(from), "differs"), TestKeyspace::on(Node::get(to), "differs"));
        [&source, &other].iter().for_each(|side| side.db.execute(TYPE));
        // Where something ends the rows are compared, whatever the sums are.
        for (ends, same, changed) in [(true, "ends", "ends_changed"), (false, "stays", "stays_changed")] {
            let start = SystemTime::now();
            let rows: Vec<String> = match ends {
                true => rows(),
                false => rows().into_iter().map(steady).collect(),
            };
            make(&source.db, same, &rows, start);
            make(&other.db, same, &rows, start);
            make(&other.db, changed, &changes.iter().fold(rows, |rows, change| change.apply(rows)), start);
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.node.run(["dump", &source.table(same), "-o", &dir, "--part-size", "1KiB"]).success();
            let map = |table| format!("{}={}", source.table(same), other.table(table));
            assert_eq!(passes(&other.node, &dir, &["--map", &map(same)]).rows, 9);
            let found = differs(&other.node, &dir, &["--map", &map(changed)]);
            let expected =
                ["extra row 1,9 -", "missing row 1,8 -", "value 1,1 v", "value 2 s", "write time 2,1 n"];
            assert_eq!(found.brief(), expected, "{from} → {to}, {same}");
            // The tokens of the dump say nothing of the cluster's.
            assert!(found.differences.iter().all(|difference| difference.range.is_none()), "{found:?}");
        }
    }
}

#[test]
fn a_load_into_another_partitioner_reads_back_what_it_loaded() {
    let source = TestKeyspace::on(Node::get(RANDOM), "read_back");
    let target = TestKeyspace::on(Node::get(NEWEST), "read_back");
    for side in [&source, &target] {
        side.db.execute("CREATE TABLE t (k int PRIMARY KEY, v text)");
    }
    let insert = |k| format!("INSERT INTO t (k, v) VALUES ({k}, 'row {k}') USING TIMESTAMP 1000");
    source.db.try_each((0..500).map(insert)).unwrap();
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", source.name, target.name));
    source.dump(&dir, "parquet").success();
    let load = || target.node.run(["load", &dir, "--if-exists", "append", "--map", &map]);
    load().success();
    assert_eq!(target.db.count(&target.table("t")), 500);
    target.db.execute("DELETE FROM t WHERE k = 77");
    load().fails(4).stderr_has(&[&source.table("t"), "k=77", "no such row"]);
}

/// A row of which no cell tells a write time has that of the range in which its token was read.
#[test]
fn rows_without_write_times_are_as_old_as_their_range() {
    const ROWS: usize = 2000;
    let source = TestKeyspace::on(Node::get(RANDOM), "as_old_as_range");
    source.db.execute("CREATE TABLE t (k int PRIMARY KEY)");
    source.db.try_each((0..ROWS).map(|k| format!("INSERT INTO t (k) VALUES ({k})"))).unwrap();
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.name, "-o", &dir, "--part-size", "1KiB"]).success();
    source.db.try_each((0..100).map(|k| format!("DELETE FROM t WHERE k = {k}"))).unwrap();
    source.node.run(["load", &dir, "--if-exists", "append", "--no-check"]).success();
    assert_eq!(source.db.count(&source.table("t")), ROWS - 100);
}

/// The guardrail against write times is on there (see `scripts/test`), and binds nobody, since nobody logs in.
#[test]
fn where_nobody_logs_in_no_guardrail_binds() {
    let target = TestKeyspace::on(Node::get(RANDOM), "unguarded");
    let setting = "SELECT value FROM system_views.settings WHERE name = 'user_timestamps_enabled'";
    assert_eq!(target.db.texts(setting), [["false"]]);
    let source = TestKeyspace::with(
        "unguarded",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v text)",
            "INSERT INTO t (k, v) VALUES (1, 'x') USING TIMESTAMP 7",
        ],
    );
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", source.name, target.name));
    source.dump(&dir, "parquet").success();
    target.node.run(["load", &dir, "--map", &map]).success();
    assert_eq!(target.db.texts("SELECT v FROM t WHERE k = 1"), [["x"]]);
    let time = target.db.rows("SELECT writetime(v) FROM t").remove(0).remove(0).unwrap();
    assert_eq!(time, 7_i64.to_be_bytes());
}
