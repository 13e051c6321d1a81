//! Loading: into what exists, under other names, parts of a dump; and `import`, files from anywhere.

use crate::harness::{SIMPLE, Scratch, TestKeyspace};
use crate::roundtrip::{assert_same, filled};

const ORDERS: &[&str] = &[
    "CREATE TABLE orders (k int, c int, v text, PRIMARY KEY (k, c))",
    "INSERT INTO orders (k, c, v) VALUES (1, 1, 'a')",
    "INSERT INTO orders (k, c, v) VALUES (1, 2, 'b')",
    "INSERT INTO orders (k, c, v) VALUES (2, 1, null)",
];

#[test]
fn if_exists_decides_what_becomes_of_rows() {
    for (mode, code, expected) in
        [("fail", 1, "kept"), ("skip", 0, "kept"), ("truncate", 0, "new"), ("append", 0, "both")]
    {
        let source = TestKeyspace::with("if_exists", ORDERS);
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "parquet").success();
        source.load(&dir, &target, &[]).success();
        let db = &source.db;
        db.execute(&format!("TRUNCATE {target}.orders"));
        // Written before the dump's rows: what is loaded must not lose against it, and it must not lose anything.
        db.execute(&format!("INSERT INTO {target}.orders (k, c, v) VALUES (9, 9, 'mine') USING TIMESTAMP 1"));
        let done = source.load(&dir, &target, &["--if-exists", mode]).done();
        assert_eq!(done.code, Some(code), "{mode}: {}", done.told());
        let mine = db.rows(&format!("SELECT v FROM {target}.orders WHERE k = 9")).len();
        let rows = db.count(&format!("{target}.orders"));
        let found = match (rows, mine) {
            (1, 1) => "kept",
            (3, 0) => "new",
            (4, 1) => "both",
            _ => "something else",
        };
        assert_eq!(found, expected, "{mode}: {rows} rows, {mine} of them mine");
    }
}

#[test]
fn a_table_that_exists_and_is_empty_is_loaded_into() {
    let source = TestKeyspace::with("exists_empty", ORDERS);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    let db = &source.db;
    db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    // A column more, and others in another order, is no obstacle.
    db.execute(&format!("CREATE TABLE {target}.orders (k int, c int, z text, v text, PRIMARY KEY (k, c))"));
    source.load(&dir, &target, &[]).success();
    assert_eq!(db.count(&format!("{target}.orders")), 3);
}

#[test]
fn counters_that_are_there_are_told_of() {
    let source = filled("counted", "counters");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    assert_same(&source.db, &source.name, &target);
    source.load(&dir, &target, &[]).fails(1).stderr_has(&[&format!("{target}."), "--if-exists"]);
    assert_same(&source.db, &source.name, &target);
}

#[test]
fn one_table_is_loaded_under_another_name() {
    let source = TestKeyspace::with("renamed", ORDERS);
    source.db.execute("CREATE TABLE other (k int PRIMARY KEY)");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let (from, to) = (source.table("orders"), source.table("orders_again"));
    source.node.run(["load", &dir, &from, "--map", &format!("{from}={to}")]).success();
    assert_eq!(source.db.count(&to), 3);
    // Into another keyspace, which is there already.
    let target = source.target("elsewhere");
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    let to = format!("{target}.\"Orders\"");
    source.node.run(["load", &dir, &from, "--map", &format!("{from}={to}")]).success();
    assert_eq!(source.db.tables(&target), ["Orders"]);
    assert_eq!(source.db.count(&format!("{target}.Orders")), 3);
}

#[test]
fn schema_and_data_can_be_loaded_apart() {
    let source = filled("apart", "nested");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &["--data-only"]).fails(1).stderr_has(&[&target]);
    source.load(&dir, &target, &["--schema-only"]).success();
    let tables = source.db.tables(&target);
    assert_eq!(tables, source.db.tables(&source.name));
    for table in tables {
        assert_eq!(source.db.count(&format!("{target}.{table}")), 0, "{table}");
    }
    source.load(&dir, &target, &["--data-only"]).success();
    assert_same(&source.db, &source.name, &target);
}

#[test]
fn replication_can_be_chosen() {
    let source = TestKeyspace::with("replicated", ORDERS);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let datacenter = source.db.texts("SELECT data_center FROM system.local")[0][0].clone();
    let replication = format!("{{'class': 'NetworkTopologyStrategy', '{datacenter}': 1}}");
    source.load(&dir, &target, &["--replication", &replication]).success();
    let described = source.db.texts(&format!("DESCRIBE ONLY KEYSPACE {target}"));
    let statement = described[0].last().unwrap();
    assert!(statement.contains("NetworkTopologyStrategy"), "{statement}");
    assert_eq!(source.db.count(&format!("{target}.orders")), 3);
}

#[test]
fn many_tables_are_one_run() {
    let source = TestKeyspace::new("many");
    for i in 0..25 {
        source.db.execute(&format!("CREATE TABLE t{i} (k int PRIMARY KEY, v text)"));
        source.db.execute(&format!("INSERT INTO t{i} (k, v) VALUES ({i}, 'v')"));
    }
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    assert_eq!(assert_same(&source.db, &source.name, &target), 25);
}

#[test]
fn a_part_of_a_dump_can_be_loaded() {
    let source = TestKeyspace::with("part_of", ORDERS);
    source.db.execute("CREATE TABLE items (k int PRIMARY KEY)");
    source.db.execute("CREATE TABLE invoices (k int PRIMARY KEY)");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    for (tag, selectors, expected) in [
        ("a", vec!["orders"], vec!["orders"]),
        ("b", vec!["i*"], vec!["invoices", "items"]),
        ("c", vec!["*", "--exclude", "orders"], vec!["invoices", "items"]),
    ] {
        let target = source.target(tag);
        let full: Vec<String> = selectors
            .iter()
            .map(|s| if s.starts_with("--") { (*s).to_owned() } else { source.table(s) })
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        source.load(&dir, &target, &full).success();
        assert_eq!(source.db.tables(&target), expected, "{selectors:?}");
    }
}

#[test]
fn partitions_of_nothing_but_statics_survive() {
    let source = filled("statics_only", "statics");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &[]).success();
    let alone = "SELECT pk, ck, s FROM {}.statics WHERE pk = 1";
    let [before, after] = [&source.name, &target].map(|ks| source.db.rows(&alone.replace("{}", ks)));
    assert_eq!(before[0][1], None, "the schema has no such partition any more");
    assert_eq!(before, after);
}

#[test]
fn a_dump_may_be_read_only() {
    let source = TestKeyspace::with("read_only", ORDERS);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let before = contents(&dir);
    source.load(&dir, &target, &[]).success();
    assert_eq!(before, contents(&dir), "the load wrote into the dump");
}

#[test]
fn a_dry_run_of_a_load_changes_nothing() {
    let source = TestKeyspace::with("load_dry", ORDERS);
    source.db.execute("CREATE INDEX orders_v ON orders (v)");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &["--dry-run"]).success().stdout_has(&[
        &format!("CREATE KEYSPACE {target} "),
        &format!("CREATE TABLE {target}.orders ("),
        &format!("CREATE INDEX orders_v ON {target}.orders (v)"),
        &format!("-- 3 rows of {}.orders into the new table {target}.orders", source.name),
    ]);
    let keyspaces = source.db.texts("SELECT keyspace_name FROM system_schema.keyspaces").concat();
    assert!(!keyspaces.contains(&target), "a dry run made {target}");
    // Not even where rows would go.
    source.load(&dir, &target, &[]).success();
    let table = format!("{target}.orders");
    source.db.execute(&format!("DELETE FROM {table} WHERE k = 1"));
    for (mode, how) in [("truncate", "after TRUNCATE into"), ("append", "added to")] {
        let done = source.load(&dir, &target, &["--if-exists", mode, "--dry-run"]).success();
        let done = done.stdout_has(&[&format!("-- 3 rows of {}.orders {how} {table}", source.name)]);
        assert!(!done.stdout.contains("CREATE"), "{}", done.told());
        assert_eq!(source.db.count(&table), 1, "{mode}");
    }
}

fn contents(dir: &str) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = std::fs::read(format!("{dir}/{name}")).unwrap();
        (name, bytes)
    };
    crate::harness::files(dir).into_iter().map(read).collect()
}

/// The rows of `t` by key, as text.
fn imported(columns: &str, files: &[&str], flags: &[&str]) -> Vec<Vec<String>> {
    let target = TestKeyspace::with("imported", &[&format!("CREATE TABLE t ({columns})")]);
    let scratch = Scratch::new();
    let table = target.table("t");
    let mut args = vec!["import".to_owned(), table.clone()];
    for (i, content) in files.iter().enumerate() {
        args.push(scratch.write(&format!("{i}.csv"), content));
    }
    args.extend(flags.iter().map(|f| (*f).to_owned()));
    target.node.run(&args).success();
    let mut rows = target.db.texts(&format!("SELECT JSON * FROM {table}"));
    rows.sort();
    rows
}

#[test]
fn import_takes_columns_by_name() {
    let columns = "k int PRIMARY KEY, a text, b boolean, l list<int>";
    let one = r#"{"k": 1, "a": "x", "b": true, "l": [1, 2]}"#;
    let text = r#"{"k": 1, "a": "x", "b": null, "l": null}"#;
    let both = r#"{"k": 2, "a": "", "b": null, "l": null}"#;
    for (files, flags, expected) in [
        (&["k,a,b,l\n1,x,true,\"[1,2]\"\n"][..], &[][..], vec![one]),
        (&["l,b,a,k\n\"[1, 2]\",true,x,1\n"], &[], vec![one]),
        (&["k,a\n1,x\n"], &[], vec![text]),
        (&["k,a\r\n1,x\r\n"], &[], vec![text]),
        (&["k,a\n1,x"], &[], vec![text]),
        (&["k,a\n1,x\n", "a,k\n\"\",2\n"], &[], vec![text, both]),
        // The last line wins, also across files.
        (&["k,a\n1,z\n1,x\n"], &[], vec![text]),
        (&["k,a\n1,z\n", "k,a\n1,x\n"], &[], vec![text]),
        (&["k,a,b\n1,x,NULL\n"], &["--null", "NULL"], vec![text]),
        (&["k,a,b\n1,x,\n"], &[], vec![text]),
        (&["k,a\n"], &[], vec![]),
    ] {
        let rows = imported(columns, files, flags);
        let expected: Vec<Vec<String>> = expected.iter().map(|r| vec![(*r).to_owned()]).collect();
        assert_eq!(rows, expected, "{files:?} {flags:?}");
    }
}

/// Every key comes 40 times, in one file and over several, its last text the smallest: neither requests that overtake
/// each other nor equal write times, where the larger text wins, may show.
#[test]
fn the_last_line_of_a_key_wins() {
    const KEYS: u32 = 50;
    const TIMES: u32 = 40;
    let line = |round: u32, k: u32| format!("{k},{:05}\n", 99_999 - round);
    let block = |round: u32| (0..KEYS).map(|k| line(round, k)).collect::<String>();
    let together = |rounds: std::ops::Range<u32>| format!("k,a\n{}", rounds.map(block).collect::<String>());
    let row = |k: u32| format!(r#"{{"k": {k}, "a": "{:05}"}}"#, 99_999 - (TIMES - 1));
    let mut expected: Vec<Vec<String>> = (0..KEYS).map(|k| vec![row(k)]).collect();
    expected.sort();
    let one_file = vec![together(0..TIMES)];
    let many_files: Vec<String> = (0..TIMES).map(|round| together(round..round + 1)).collect();
    for files in [one_file, many_files] {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        assert_eq!(imported("k int PRIMARY KEY, a text", &files, &[]), expected, "{} files", files.len());
    }
}

/// The same where one file is large enough for several readers, with line ends inside quotes, at a rate, and in little
/// memory.
#[test]
fn the_last_line_wins_however_many_read_the_file() {
    const KEYS: u32 = 1000;
    const TIMES: u32 = 24;
    let value = |round: u32| format!("{:05}\r\n\"\"{}", 99_999 - round, "\n".repeat(round as usize % 7));
    let line = |round: u32, k: u32| format!("\"{}\",{k}\r\n", value(round));
    let rows: String = (0..TIMES).flat_map(|round| (0..KEYS).map(move |k| line(round, k))).collect();
    let expected = value(TIMES - 1).replace("\"\"", "\"");
    for flags in
        [&[][..], &["--rate", "20000"], &["--memory", "1MiB"], &["--rate", "1000000", "--memory", "0"]]
    {
        let target = TestKeyspace::with("many_readers", &["CREATE TABLE t (k int PRIMARY KEY, a text)"]);
        let scratch = Scratch::new();
        let file = scratch.write("in.csv", format!("a,k\r\n{rows}"));
        target.node.run([&["import", &target.table("t"), &file][..], flags].concat()).success();
        let found = target.db.rows(&format!("SELECT a FROM {}", target.table("t")));
        assert_eq!(found.len(), KEYS as usize, "{flags:?}");
        assert!(found.iter().all(|row| row[0].as_deref() == Some(expected.as_bytes())), "{flags:?}");
    }
}

/// Rows larger than all the memory there is go alone.
#[test]
fn large_rows_pass_in_little_memory() {
    let source =
        TestKeyspace::with("large_rows", &["CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))"]);
    let scratch = Scratch::new();
    let value = |n: u32| char::from(b'a' + u8::try_from(n).unwrap()).to_string().repeat(1 << 20);
    let lines: String = (0..12).map(|n| format!("{},{n},{}\n", n % 3, value(n))).collect();
    let file = scratch.write("in.csv", format!("k,c,v\n{lines}"));
    source.node.run(["import", &source.table("t"), &file, "--memory", "4MiB"]).success();
    for format in ["parquet", "csv"] {
        let (dir, target) = (scratch.path(format), source.target(format));
        source.dump(&dir, format).success();
        source.load(&dir, &target, &["--memory", "512KiB", "--rate", "1000"]).success();
        assert_eq!(assert_same(&source.db, &source.name, &target), 12);
    }
}

/// Every element of a map with a write time of its own is a statement, and each repeats the key: together they pass what
/// a server takes in one request, so that the batch has to be halved.
#[test]
fn a_batch_that_the_server_refuses_as_too_large_is_halved() {
    const ELEMENTS: u32 = 320;
    let source = TestKeyspace::with("halved", &["CREATE TABLE t (k text PRIMARY KEY, m map<int, text>)"]);
    let key = "k".repeat(60_000);
    let insert = |n: u32| {
        format!("UPDATE t USING TIMESTAMP {} SET m = m + {{{n}: 'v{n}'}} WHERE k = '{key}'", 1_000_000 + n)
    };
    source.db.try_each((0..ELEMENTS).map(insert)).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    let map = format!("SELECT m, writetime(m) FROM {target}.t");
    let same = source.db.rows(&map) == source.db.rows(&map.replace(&target, &source.name));
    assert!(same, "the map or the write times of its elements differ");
    assert_eq!(source.db.count(&format!("{target}.t")), 1);
}

#[test]
fn import_reads_what_a_dump_wrote() {
    let source = filled("reimport", "all_types");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.load(&dir, &target, &["--schema-only"]).success();
    let parts = crate::harness::parts(&dir, &source.name, "all_types", "csv");
    let mut args = vec!["import".to_owned(), format!("{target}.all_types")];
    args.extend(parts.iter().map(|part| part.to_str().unwrap().to_owned()));
    source.node.run(&args).success().stderr_has(&["write times", "passed over", "load"]);
    assert_same(&source.db, &source.name, &target);
}

#[test]
fn the_last_static_cell_of_a_partition_wins() {
    let rows = imported(
        "k int, c int, s text static, v text, PRIMARY KEY (k, c)",
        &["k,c,s,v\n1,1,zzz,a\n1,2,zzz,b\n1,3,bbb,c\n1,1,aaa,d\n"],
        &[],
    );
    let row = |c: u32, v: &str| vec![format!(r#"{{"k": 1, "c": {c}, "s": "aaa", "v": "{v}"}}"#)];
    assert_eq!(rows, [row(1, "d"), row(2, "b"), row(3, "c")]);
}
