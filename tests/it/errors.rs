//! Bad input: an error that names the thing and the remedy, the exit code of the design, nothing half-written that
//! looks whole.

use crate::harness::{NEWEST, Node, Scratch, TestKeyspace, files, run};

const SOME: &[&str] = &[
    "CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))",
    "INSERT INTO t (k, c, v) VALUES (1, 1, 'a')",
    "INSERT INTO t (k, c, v) VALUES (1, 2, 'b')",
];

#[track_caller]
fn no_manifest(dir: &str) {
    let found = files(dir);
    assert!(!found.iter().any(|f| f.ends_with("manifest.json")), "{dir} looks whole: {found:?}");
}

#[test]
fn a_selector_that_matches_nothing_is_a_usage_error() {
    let source = TestKeyspace::with("no_match", SOME);
    for (selector, named) in [
        ("no_such_keyspace".to_owned(), "no_such_keyspace"),
        (source.table("no_such_table"), "no_such_table"),
        ("no_such_*".to_owned(), "no_such_*"),
        (source.name.to_uppercase().replace('_', "*x"), "*x"),
    ] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.node.run(["dump", &selector, "-o", &dir]).fails(2).stderr_has(&[named]);
        no_manifest(&dir);
        source.node.run(["schema", &selector]).fails(2).stderr_has(&[named]);
    }
    // One that matches does not excuse one that does not.
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.name, "nope_*", "-o", &dir]).fails(2).stderr_has(&["nope_*"]);
    no_manifest(&dir);
}

#[test]
fn commands_typed_wrongly_are_usage_errors() {
    for (args, named) in [
        (vec!["dump", "ks", "-h", "127.0.0.1"], "--output"),
        (vec!["dump", "ks", "-o", "x", "-h", "127.0.0.1", "--format", "xml"], "xml"),
        (vec!["load", "x", "-h", "127.0.0.1", "--if-exists", "maybe"], "maybe"),
        (vec!["load", "x", "-h", "127.0.0.1", "--schema-only", "--data-only"], "--data-only"),
        (vec!["load", "x", "-h", "127.0.0.1", "--map", "no-equals-sign"], "--map"),
        (vec!["dmup"], "dmup"),
    ] {
        run(args).fails(2).stderr_has(&[named]);
    }
}

#[test]
fn a_host_that_does_not_answer_is_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = closed.port().to_string();
    for (host, port) in [("127.0.0.1", port.as_str()), ("no-such-host.invalid", "9042")] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        run(["dump", "ks", "-o", &dir, "-h", host, "-P", port]).fails(1).stderr_has(&[host, port]);
        no_manifest(&dir);
    }
}

#[test]
fn an_output_directory_with_something_in_it_is_left_alone() {
    let source = TestKeyspace::with("not_empty", SOME);
    let scratch = Scratch::new();
    scratch.write("precious.txt", "mine");
    let dir = scratch.path("");
    source.dump(&dir, "parquet").fails(1).stderr_has(&["not empty", "-o"]);
    assert_eq!(files(&dir), ["precious.txt"]);
    // Nor is a finished dump overwritten.
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let before = files(&dir);
    source.dump(&dir, "csv").fails(1).stderr_has(&[&dir]);
    assert_eq!(files(&dir), before);
    // A file where the directory should be.
    source.dump(&scratch.path("precious.txt"), "csv").fails(1).stderr_has(&["precious.txt"]);
    assert_eq!(std::fs::read_to_string(scratch.path("precious.txt")).unwrap(), "mine");
}

#[test]
fn an_empty_output_directory_is_fine() {
    let source = TestKeyspace::with("empty_dir", SOME);
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("dump")).unwrap();
    source.dump(&scratch.path("dump"), "parquet").success();
}

#[test]
fn a_dump_without_a_manifest_was_not_finished() {
    let source = TestKeyspace::with("unfinished", SOME);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    std::fs::remove_file(format!("{dir}/manifest.json")).unwrap();
    let target = source.target("loaded");
    source.load(&dir, &target, &[]).fails(1).stderr_has(&["manifest.json", "unfinished"]);
    run(["inspect", &dir]).fails(1).stderr_has(&["manifest.json", "unfinished"]);
    assert!(source.db.tables(&target).is_empty(), "something was created");
}

#[test]
fn what_is_no_dump_is_named() {
    let node = Node::get(NEWEST);
    let scratch = Scratch::new();
    let file = scratch.write("file", "x");
    for dir in [scratch.path("no-such-dir"), file, scratch.path("")] {
        node.run(["load", &dir]).fails(1).stderr_has(&[&dir]);
        run(["inspect", &dir]).fails(1).stderr_has(&[&dir]);
    }
}

/// What is done to a finished dump, and what the error names.
type Damage = (fn(&str), &'static str);

#[test]
fn a_damaged_dump_is_refused_before_anything_is_written() {
    let damages: &[Damage] = &[
        (
            |dir| edit(&format!("{dir}/manifest.json"), |text| text.replacen("\"t\"", "\"u\"", 1)),
            "manifest.json",
        ),
        (
            |dir| edit(&format!("{dir}/manifest.json"), |text| text[..text.len() / 2].to_owned()),
            "manifest.json",
        ),
        (|dir| std::fs::remove_file(part(dir)).unwrap(), "part-0"),
        (|dir| edit(&part(dir), |text| text[..text.len() - 3].to_owned()), "part-0"),
        (|dir| edit(&part(dir), |text| text.replace(",a,", ",z,")), "part-0"),
    ];
    let source = TestKeyspace::with("damaged", SOME);
    for (i, (damage, named)) in damages.iter().enumerate() {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "csv").success();
        damage(&dir);
        let target = source.target(&format!("damage{i}"));
        source.load(&dir, &target, &[]).fails(1).stderr_has(&[named]);
        assert!(source.db.tables(&target).is_empty(), "damage {i}: something was created");
        // The rows that the target has must not go for a dump that cannot be loaded.
        let before = source.db.rows("SELECT * FROM t");
        source.node.run(["load", &dir, "--if-exists", "truncate"]).fails(1).stderr_has(&[named]);
        assert_eq!(source.db.rows("SELECT * FROM t"), before, "damage {i}: the target's rows are gone");
    }
}

fn part(dir: &str) -> String {
    let data = format!("{dir}/data");
    let found = files(&data).into_iter().find(|f| f.ends_with(".csv")).unwrap();
    format!("{data}/{found}")
}

fn edit(path: &str, change: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    let changed = change(&text);
    assert_ne!(text, changed, "{path}: the damage changed nothing");
    std::fs::write(path, changed).unwrap();
}

#[test]
fn a_table_that_holds_rows_is_not_loaded_into() {
    let source = TestKeyspace::with("holds_rows", SOME);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let target = source.target("loaded");
    source.load(&dir, &target, &[]).success();
    source.db.execute(&format!("DELETE FROM {target}.t WHERE k = 1 AND c = 1"));
    let table = format!("{target}.t");
    source.load(&dir, &target, &["--if-exists", "fail"]).fails(1).stderr_has(&[&table, "--if-exists"]);
    assert_eq!(source.db.count(&table), 1, "rows were written");
}

#[test]
fn a_table_of_another_shape_is_named_with_the_difference() {
    let source = TestKeyspace::with("shapes", SOME);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    for (i, (columns, named)) in [
        ("k int, c int, v text, PRIMARY KEY ((k, c))", "key"),
        ("k int, c int, v text, PRIMARY KEY (k)", "key"),
        ("k int, c int, v text, PRIMARY KEY (c, k)", "key"),
        ("k int, c bigint, v text, PRIMARY KEY (k, c)", "bigint"),
        ("k int, c int, v blob, PRIMARY KEY (k, c)", "blob"),
        ("k int, c int, w text, PRIMARY KEY (k, c)", "v"),
        ("k int, c int, v text static, PRIMARY KEY (k, c)", "static"),
    ]
    .into_iter()
    .enumerate()
    {
        let target = source.target(&format!("shape{i}"));
        let replication = crate::harness::SIMPLE;
        source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {replication}"));
        source.db.execute(&format!("CREATE TABLE {target}.t ({columns})"));
        for mode in ["fail", "append", "truncate"] {
            source
                .load(&dir, &target, &["--if-exists", mode])
                .fails(1)
                .stderr_has(&[&format!("{target}.t"), named]);
        }
        assert_eq!(source.db.count(&format!("{target}.t")), 0, "{columns}: rows were written");
    }
}

#[test]
fn a_map_to_or_from_nothing_is_named() {
    let source = TestKeyspace::with("bad_map", SOME);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    source.node.run(["load", &dir, "--map", "stranger=x"]).fails(2).stderr_has(&["stranger", "--map"]);
    source.node.run(["load", &dir, "stranger"]).fails(2).stderr_has(&["stranger"]);
}

#[test]
fn a_csv_value_that_is_none_is_named_with_line_column_and_text() {
    for (csv, named) in [
        ("k,c,v\n1,1,a\n1,two,b\n", &["line 3", "c", "two"][..]),
        ("k,c,v\n1,1,\"a\nb\"\nx,1,b\n", &["line 4", "k", "x"]),
        ("k,c,v\n1,99999999999,a\n", &["line 2", "c", "99999999999"]),
        ("k,c,v\n1,1\n", &["line 2"]),
        ("k,c,v\n1,1,a,b\n", &["line 2"]),
        ("k,c,v\n1,1,\"a\n", &["line 2", "quot"]),
        ("k,c,v\n1,,a\n", &["line 2", "c", "key"]),
        ("k,c,stranger\n1,1,a\n", &["stranger"]),
        ("k,v\n1,a\n", &["c", "key"]),
        ("k,c,v,v\n1,1,a,a\n", &["v", "twice"]),
        ("", &["header"]),
    ] {
        let target = TestKeyspace::with("bad_csv", &SOME[..1]);
        let scratch = Scratch::new();
        let file = scratch.write("in.csv", csv);
        let mut fragments = vec!["in.csv"];
        fragments.extend(named);
        let args = ["import", &target.table("t"), &file, "--max-errors", "0"];
        target.node.run(args).fails(1).stderr_has(&fragments);
    }
}

/// Of several lines that are wrong the first is named, also where others are read before it.
#[test]
fn the_first_of_several_wrong_lines_is_named() {
    let target = TestKeyspace::with("wrong_lines", &SOME[..1]);
    let scratch = Scratch::new();
    let line = |n: u32| match n {
        4_998 | 5_003 | 10_004 | 14_000 => format!("{n},wrong{n},x\n"),
        _ => format!("{n},1,x\n"),
    };
    let lines: String = (2..15_000).map(line).collect();
    // Where one line lacks its end quote, what is wrong stands behind all others.
    for (end, named) in [("", "line 4998"), ("1,1,\"open\n", "line 4998")] {
        let file = scratch.write("in.csv", format!("k,c,v\n{lines}{end}"));
        let args = ["import", &target.table("t"), &file, "--max-errors", "0"];
        target.node.run(args).fails(1).stderr_has(&[named, "wrong4998"]);
    }
    let good = lines.replace("wrong", "");
    let file = scratch.write("in.csv", format!("k,c,v\n{good}1,1,\"open\n"));
    let args = ["import", &target.table("t"), &file, "--max-errors", "0"];
    target.node.run(args).fails(1).stderr_has(&["line 15000", "quote"]);
}

#[test]
fn flags_that_say_how_much_are_checked() {
    for (flags, named) in [
        (&["--rate", "0"][..], "--rate"),
        (&["--rate", "fast"], "--rate"),
        (&["--memory", "much"], "--memory"),
    ] {
        run([&["import", "ks.t", "in.csv"][..], flags].concat()).fails(2).stderr_has(&[named]);
        run([&["load", "dump"][..], flags].concat()).fails(2).stderr_has(&[named]);
    }
}

#[test]
fn an_import_names_what_is_not_there() {
    let target = TestKeyspace::with("bad_import", SOME);
    let scratch = Scratch::new();
    let file = scratch.write("in.csv", "k,c,v\n1,1,a\n");
    target.node.run(["import", &target.table("nope"), &file]).fails(2).stderr_has(&["nope"]);
    target.node.run(["import", "no_such_ks.t", &file]).fails(2).stderr_has(&["no_such_ks"]);
    let missing = scratch.path("missing.csv");
    target.node.run(["import", &target.table("t"), &missing]).fails(1).stderr_has(&["missing.csv"]);
}
