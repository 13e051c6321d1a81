//! `verify DIR -h HOST`: a sound load passes on any cluster and at any time, what is compared can be chosen, and how
//! differences are told.

use crate::findings::{differs, passes};
use crate::harness::{Db, Node, Scratch, TestKeyspace, json, parts};
use crate::verify_changes::{Change, Dumped, TABLE, TYPE, make, rows};
use std::time::{Duration, SystemTime};

#[test]
fn differences_are_lines_for_people() {
    let dumped = Dumped::new("for_people");
    let change = Change::Edit("'one'", "'onf'");
    make(&dumped.source.db, "m", &change.apply(rows()), dumped.start);
    let done = dumped.source.node.run(["verify", &dumped.dirs[0], "--map", &dumped.map("m")]).fails(4);
    let done = done.stdout_has(&[&dumped.source.table("t"), "row k=1, c=1,", "value", "one", "onf"]);
    let done = done.stderr_has(&["1 difference"]);
    assert_eq!(done.stdout.lines().count(), 1, "{}", done.told());
    make(&dumped.source.db, "same", &rows(), dumped.start);
    let done = dumped.source.node.run(["verify", &dumped.dirs[0], "--map", &dumped.map("same")]).success();
    assert_eq!(done.stdout, "", "{}", done.told());
}

#[test]
fn long_values_are_cut() {
    let source = TestKeyspace::new("long_values");
    let [ours, theirs] = ["a", "b"].map(|letter| letter.repeat(5000));
    for (table, value) in [("t", &ours), ("m", &theirs)] {
        source.db.execute(&format!("CREATE TABLE {table} (k text PRIMARY KEY, v text)"));
        source
            .db
            .execute(&format!("INSERT INTO {table} (k, v) VALUES ('{ours}', '{value}') USING TIMESTAMP 1"));
    }
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", source.table("t"), source.table("m")));
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    let [key, value] = [&ours, &theirs].map(|text| format!("{}…", &text[..200]));
    let done = source.node.run(["verify", &dir, "--map", &map]).fails(4);
    done.stdout_has(&[&format!("row k={key}, column v: value {key} in the dump, {value} in the cluster")]);
    let found = differs(&source.node, &dir, &["--map", &map]);
    let [key, value] = [&ours, &theirs].map(|text| format!("{}…", &text[..4096]));
    assert!(found.differences[0].dump.as_ref() == Some(&key) && found.differences[0].cluster == Some(value));
    assert_eq!(found.differences[0].key.as_ref().unwrap()["k"], Some(key));
}

#[test]
fn of_many_differences_a_hundred_are_listed_and_all_are_counted() {
    const ROWS: usize = 250;
    let source = TestKeyspace::new("many_differ");
    for table in ["t", "empty", "changed"] {
        source.db.execute(&format!("CREATE TABLE {table} (k int PRIMARY KEY, v text)"));
    }
    for (table, value) in [("t", "a"), ("changed", "b")] {
        let insert = |k| format!("INSERT INTO {table} (k, v) VALUES ({k}, '{value}') USING TIMESTAMP 1");
        source.db.try_each((0..ROWS).map(insert)).unwrap();
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    for (table, kind, told) in [
        ("empty", "missing row", "no such row"),
        ("changed", "value", "value a in the dump, b in the cluster"),
    ] {
        let map = format!("{}={}", source.table("t"), source.table(table));
        let found = differs(&source.node, &dir, &["--map", &map]);
        assert_eq!((found.differences.len(), found.more), (100, 150), "{table}");
        assert!(found.differences.iter().all(|d| d.kind == kind), "{:?}", found.brief());
        let done = source.node.run(["verify", &dir, "--map", &map]).fails(4).stderr_has(&["250 differences"]);
        let listed = done.stdout.lines().filter(|line| line.contains(told)).count();
        assert_eq!(listed, 100, "{}", done.told());
        assert!(done.stdout.contains("150 more"), "{}", done.told());
    }
}

#[test]
fn another_version_and_another_ring_pass_with_the_source_gone() {
    let old = TestKeyspace::on(Node::get("4.1"), "other_ring");
    let nodes = 1 + old.db.rows("SELECT peer FROM system.peers").len();
    let datacenter = old.db.texts("SELECT data_center FROM system.local")[0][0].clone();
    old.db.execute(&format!(
        "ALTER KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', '{datacenter}': {}}}",
        old.name,
        nodes.min(2)
    ));
    old.db.execute(TYPE);
    old.db.execute(&format!("CREATE TABLE t {TABLE}"));
    let dumped = Dumped::new("ring_source");
    let map = format!("{}={}", dumped.source.name, old.name);
    let dir = &dumped.dirs[0];
    dumped.source.db.execute("DROP TABLE t");
    old.node.run(["load", dir, "--data-only", "--map", &map]).success();
    let found = passes(&old.node, dir, &["--map", &map]);
    assert_eq!(found.rows, 9);
    // The old release tells nothing of elements.
    let name = dumped.source.table("t");
    let left_alone = ["e", "l", "m", "u"].map(|column| format!("{name}.{column}: write times and expiries"));
    assert_eq!(found.left_alone(), left_alone);
    for left in &found.not_compared {
        assert!(left.reason.to_lowercase().contains("writetime"), "{left:?}");
    }
    old.node
        .run(["verify", dir, "--map", &map])
        .success()
        .stderr_has(&[&format!("not compared: write times and expiries ({name}.e): ")]);
    let found = passes(&old.node, dir, &["--map", &map, "--values-only"]);
    assert!(found.not_compared.is_empty(), "{found:?}");
    old.db.execute("UPDATE t USING TIMESTAMP 1001 SET n = 2 WHERE k = 1 AND c = 2");
    old.db.execute("UPDATE t SET m['b'] = 3 WHERE k = 5 AND c = 1");
    let found = differs(&old.node, dir, &["--map", &map]);
    assert_eq!(found.brief(), ["value 1,5 m", "write time 2,1 n"]);
}

#[test]
fn a_cluster_that_tells_more_than_the_dump_passes() {
    let old = TestKeyspace::on(Node::get("4.1"), "tells_less");
    let new = TestKeyspace::with("tells_more", &[TYPE, &format!("CREATE TABLE t {TABLE}")]);
    old.db.execute(TYPE);
    make(&old.db, "t", &rows(), SystemTime::now());
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", old.name, new.name));
    old.dump(&dir, "csv").success();
    new.node.run(["load", &dir, "--data-only", "--map", &map]).success();
    assert_eq!(passes(&new.node, &dir, &["--map", &map]).rows, 9);
}

/// Rows, cells, statics and elements that end a few seconds after they were dumped.
const ENDING: &[&str] = &[
    "INSERT INTO t (k, c, v) VALUES (1, 1, 'stays')",
    "INSERT INTO t (k, c, v) VALUES (1, 2, 'ends') USING TTL 4",
    "INSERT INTO t (k, c, n) VALUES (1, 3, 3)",
    "UPDATE t USING TTL 4 SET v = 'ends' WHERE k = 1 AND c = 3",
    "UPDATE t USING TTL 4 SET s = 'ends' WHERE k = 1",
    "UPDATE t USING TTL 4 SET s = 'ends' WHERE k = 2",
    "UPDATE t SET m = m + {'stays': 1}, e = e + {'stays'}, u.a = 1 WHERE k = 3 AND c = 1",
    "UPDATE t USING TTL 4 SET m = m + {'ends': 1}, e = e + {'ends'}, u.b = 'ends' WHERE k = 3 AND c = 1",
    "UPDATE t USING TTL 4 SET l = [1, 2], m = {'ends': 2} WHERE k = 4 AND c = 1",
    "INSERT INTO t (k, c) VALUES (5, 1)",
    "UPDATE t USING TTL 4 SET v = 'ends' WHERE k = 5 AND c = 1",
    "INSERT INTO t (k, c, v) VALUES (6, 1, 'ends last') USING TTL 4",
];

fn wait_for_ends(db: &Db, table: &str) {
    while db.texts(&format!("SELECT JSON * FROM {table}")).iter().any(|row| row[0].contains("ends")) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_ended_since_the_dump_is_no_difference() {
    for format in ["parquet", "csv"] {
        let source = TestKeyspace::with("ending", &[TYPE, &format!("CREATE TABLE t {TABLE}")]);
        ENDING.iter().for_each(|row| source.db.execute(row));
        let scratch = Scratch::new();
        let (dir, early, late) = (scratch.path("dump"), source.target("early"), source.target("late"));
        source.dump(&dir, format).success();
        source.load(&dir, &early, &[]).success();
        for keyspace in [&source.name, &early] {
            wait_for_ends(&source.db, &format!("{keyspace}.t"));
        }
        source.load(&dir, &late, &[]).success();
        for keyspace in [&source.name, &early, &late] {
            let map = format!("{}={keyspace}", source.name);
            passes(&source.node, &dir, &["--map", &map]);
            // What did not end is still looked at.
            source.db.execute(&format!("DELETE FROM {keyspace}.t WHERE k = 1 AND c = 1"));
            let found = differs(&source.node, &dir, &["--map", &map]);
            assert_eq!(found.brief(), ["missing row 1,1 -"], "{keyspace}");
        }
    }
}

#[test]
fn changes_in_a_partition_that_was_cut_are_found() {
    const ROWS: usize = 4000;
    let source = TestKeyspace::with(
        "cut_verified",
        &[
            "CREATE TABLE t (k int, c int, s list<int> static, v text, PRIMARY KEY (k, c))",
            "INSERT INTO t (k, s) VALUES (7, [1, 2])",
        ],
    );
    let text = "some text ".repeat(100);
    let insert = |c| format!("INSERT INTO t (k, c, v) VALUES (7, {c}, '{c} {text}')");
    source.db.try_each((0..ROWS).map(insert)).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.node.run(["dump", &source.name, "-o", &dir, "--part-size", "1KiB"]).success();
    let sidecars = parts(&dir, &source.name, "t", "json");
    let ranges = sidecars.iter().flat_map(|path| json(path)["ranges"].as_array().unwrap().clone());
    assert!(ranges.filter(|range| range.get("to").is_some()).count() > 0, "no partition was cut");
    source.load(&dir, &target, &[]).success();
    let map = format!("{}={target}", source.name);
    assert_eq!(passes(&source.node, &dir, &["--map", &map]).rows, ROWS as u64);
    for change in [
        "DELETE FROM {} WHERE k = 7 AND c = 2000",
        "INSERT INTO {} (k, c) VALUES (7, 9999)",
        "UPDATE {} SET s = s + [1, 2] WHERE k = 7",
        "DELETE v FROM {} WHERE k = 7 AND c = 3999",
    ] {
        source.db.execute(&change.replace("{}", &format!("{target}.t")));
    }
    let found = differs(&source.node, &dir, &["--map", &map]);
    assert_eq!(found.brief(), ["extra row 9999,7 -", "missing row 2000,7 -", "value 3999,7 v", "value 7 s"]);
}

#[test]
fn rows_meet_in_whatever_order_they_stand() {
    const ROWS: usize = 60;
    let source = TestKeyspace::new("orders_differ");
    let insert = |table: &str, c: usize, v: &str| {
        format!("INSERT INTO {table} (k, c, v) VALUES (1, {c}, '{v}') USING TIMESTAMP 1")
    };
    for (table, order) in [("t", "ASC"), ("same", "ASC"), ("reversed", "DESC")] {
        source.db.execute(&format!(
            "CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c {order})"
        ));
        let dumped = table == "t";
        let rows = (10..10 + ROWS).filter(|c| dumped || c % 10 != 3);
        let rows = rows.map(|c| insert(table, c, if !dumped && c % 10 == 5 { "b" } else { "a" }));
        let extra: &[usize] = if dumped { &[] } else { &[1007, 1008] };
        source.db.try_each(rows.chain(extra.iter().map(|c| insert(table, *c, "x")))).unwrap();
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    let [same, reversed] = ["same", "reversed"].map(|table| {
        let map = format!("{}={}", source.table("t"), source.table(table));
        differs(&source.node, &dir, &["--map", &map])
    });
    assert_eq!(same.brief(), reversed.brief());
    assert_eq!(same.differences.len(), 6 + 6 + 2);
    // In one order on both sides, a row is told as soon as the next one has met its counterpart.
    let told = same.differences.iter().map(|d| d.key.as_ref().unwrap()["c"].clone().unwrap());
    let told: Vec<u32> = told.map(|c| c.parse().unwrap()).collect();
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn values_only_overlooks_times() {
    let source = TestKeyspace::with("values_only", &[TYPE]);
    make(&source.db, "t", &rows(), SystemTime::now());
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &["--timestamp", "now"]).success();
    let map = format!("{}={target}", source.name);
    passes(&source.node, &dir, &["--map", &map, "--values-only"]);
    let found = differs(&source.node, &dir, &["--map", &map]);
    let cells = ["1 s", "1,1 n", "1,1 v", "1,5 m", "1,6 e", "1,7 u", "1,8 v", "2 s", "2,1 n", "2,1 v"];
    assert_eq!(found.brief(), cells.map(|cell| format!("write time {cell}")));
    source.db.execute(&format!("UPDATE {target}.t SET n = 3 WHERE k = 1 AND c = 2"));
    let found = differs(&source.node, &dir, &["--map", &map, "--values-only"]);
    assert_eq!(found.brief(), ["value 2,1 n"]);
}

#[test]
fn a_dump_without_times_is_compared_by_its_values() {
    let source = TestKeyspace::with("no_times", &[TYPE]);
    make(&source.db, "t", &rows(), SystemTime::now());
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.node.run(["dump", &source.name, "-o", &dir, "--preserve", "none"]).success();
    source.load(&dir, &target, &[]).success();
    let map = format!("{}={target}", source.name);
    let found = passes(&source.node, &dir, &["--map", &map]);
    assert_eq!(found.left_alone(), ["*: write times and expiries"]);
    assert_eq!(found.not_compared[0].reason, "the dump keeps none");
    let done = source.node.run(["verify", &dir, "--map", &map]).success();
    done.stderr_has(&["not compared: write times and expiries (*): the dump keeps none"]);
    let found = passes(&source.node, &dir, &["--map", &map, "--values-only"]);
    assert!(found.not_compared.is_empty(), "{found:?}");
}

#[test]
fn selectors_choose_what_is_compared() {
    let source = TestKeyspace::new("verify_some");
    for table in ["orders", "items"] {
        source.db.execute(&format!("CREATE TABLE {table} (k int PRIMARY KEY, v text)"));
        source.db.execute(&format!("INSERT INTO {table} (k, v) VALUES (1, 'a')"));
    }
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &[]).success();
    source.db.execute(&format!("DELETE FROM {target}.orders WHERE k = 1"));
    let map = format!("{}={target}", source.name);
    let (orders, items) = (source.table("orders"), source.table("items"));
    for args in [vec![], vec![orders.as_str()], vec!["--exclude", &items], vec![&source.name]] {
        let found = differs(&source.node, &dir, &[&args[..], &["--map", &map]].concat());
        assert_eq!(found.brief(), ["missing row 1 -"], "{args:?}");
        assert_eq!(found.differences[0].table, orders);
    }
    for args in [vec![items.as_str()], vec!["--exclude", &orders], vec![&source.name, "--exclude", "*.o*"]] {
        assert_eq!(passes(&source.node, &dir, &[&args[..], &["--map", &map]].concat()).tables, 1, "{args:?}");
    }
    let nothing = source.table("nothing");
    source.node.run(["verify", &dir, &nothing, "--map", &map]).fails(2).stderr_has(&[&nothing]);
    source.node.run(["verify", &dir, "--map", "nowhere=elsewhere"]).fails(2).stderr_has(&["nowhere"]);
}

#[test]
fn a_table_that_is_not_there_is_a_difference() {
    let source = TestKeyspace::new("verify_missing");
    for table in ["orders", "items"] {
        source.db.execute(&format!("CREATE TABLE {table} (k int PRIMARY KEY, v text)"));
        source.db.execute(&format!("INSERT INTO {table} (k, v) VALUES (1, 'a')"));
    }
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    source.db.execute(&format!("DROP TABLE {target}.orders"));
    let map = format!("{}={target}", source.name);
    let missing = format!("{target}.orders");
    source.node.run(["verify", &dir, "--map", &map]).fails(4).stdout_has(&[&missing]);
    let found = differs(&source.node, &dir, &["--map", &map]);
    assert_eq!(found.differences.len(), 1, "{found:?}");
    assert_eq!(found.differences[0].table, source.table("orders"));
    assert_eq!(found.tables, 2);
    let nowhere = format!("{}=no_such_keyspace", source.name);
    assert_eq!(differs(&source.node, &dir, &["--map", &nowhere]).differences.len(), 2);
}

#[test]
fn a_table_of_another_make_is_a_difference_and_the_others_are_compared() {
    let source = TestKeyspace::with(
        "verify_other",
        &[
            "CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))",
            "CREATE TABLE other_key (k int, c int, v text, PRIMARY KEY (c, k))",
            "CREATE TABLE longer_key (k int, c int, v text, PRIMARY KEY (k, c, v))",
            "CREATE TABLE other_type (k int, c int, v blob, PRIMARY KEY (k, c))",
            "CREATE TABLE less (k int, c int, PRIMARY KEY (k, c))",
            "CREATE TABLE more (k int, c int, v text, w text, PRIMARY KEY (k, c))",
            "CREATE TABLE u (k int PRIMARY KEY)",
            "INSERT INTO u (k) VALUES (1)",
        ],
    );
    for table in ["t", "more"] {
        let row = format!("INSERT INTO {table} (k, c, v) VALUES (1, 1, 'a') USING TIMESTAMP 1");
        source.db.execute(&row);
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), &source.table("u"), "-o", &dir]).success();
    source.db.execute("DELETE FROM u WHERE k = 1");
    for (table, named) in [("other_key", "key"), ("longer_key", "key"), ("other_type", "v"), ("less", "v")] {
        let (from, to) = (source.table("t"), source.table(table));
        let map = format!("{from}={to}");
        let done = source.node.run(["verify", &dir, "--map", &map]).fails(4);
        done.stdout_has(&[&from, &to, named]);
        let found = differs(&source.node, &dir, &["--map", &map]);
        assert_eq!(found.brief(), ["missing row 1 -", "table  -"], "{table}");
        assert_eq!(found.tables, 2, "{table}");
    }
    let found = passes(
        &source.node,
        &dir,
        &[&source.table("t"), "--map", &format!("{}={}", source.table("t"), source.table("more"))],
    );
    assert_eq!(found.left_alone(), [format!("{}.w: the column", source.table("t"))]);
    assert_eq!(found.not_compared[0].reason, "the dump has no such column");
}

#[test]
fn what_a_damaged_file_says_is_not_taken_for_a_difference() {
    let source = TestKeyspace::with("verify_damaged", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.execute("INSERT INTO t (k, v) VALUES (1, 'some text')");
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, format).success();
        passes(&source.node, &dir, &[]);
        let part = parts(&dir, &source.name, "t", format)[0].clone();
        let mut bytes = std::fs::read(&part).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&part, bytes).unwrap();
        source.db.execute("UPDATE t SET v = 'another text' WHERE k = 1");
        let done = source.node.run(["verify", &dir]).done();
        let name = part.file_name().unwrap().to_str().unwrap();
        assert!([Some(1), Some(4)].contains(&done.code) && done.stderr.contains(name), "{}", done.told());
        assert!(!done.told().contains("another text"), "{}", done.told());
    }
}
