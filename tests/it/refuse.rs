//! What is refused because going on would lose or hide something, and what the target has already.

use crate::harness::{NEWEST, Node, SIMPLE, Scratch, TestKeyspace, files};
use crate::roundtrip::assert_same;

#[test]
fn selectors_that_match_nothing_are_refused_also_as_excludes() {
    let source = TestKeyspace::with("typo", &["CREATE TABLE big (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let (dir, ks) = (scratch.path("dump"), &source.name);
    let wrong = [format!("{ks}.bgi"), format!("{ks}_x")];
    for selector in &wrong {
        let args = ["dump", ks, "-o", &dir, "--exclude", selector];
        source.node.run(args).fails(2).stderr_has(&[selector, "matches"]);
    }
    source.node.run(["dump", ks, "-o", &dir, "--exclude", ks]).fails(2).stderr_has(&["nothing"]);
    assert!(!std::path::Path::new(&dir).exists());
    source.dump(&dir, "csv").success();
    for selector in &wrong {
        source.node.run(["load", &dir, "--exclude", selector]).fails(2).stderr_has(&[selector, "big"]);
    }
    source.node.run(["load", &dir, "--exclude", ks]).fails(2).stderr_has(&["nothing"]);
    let map = format!("{ks}.big={ks}.other");
    let exclude = format!("{ks}.big");
    source.node.run(["load", &dir, "--exclude", &exclude, "--map", &map]).fails(2).stderr_has(&["--map"]);
}

#[test]
fn a_wrong_table_name_shows_the_names_there_are() {
    let source = TestKeyspace::with(
        "near",
        &[
            "CREATE TABLE right_name (k int PRIMARY KEY, v int)",
            "CREATE MATERIALIZED VIEW a_view AS SELECT * FROM right_name WHERE v IS NOT NULL AND k IS NOT NULL \
             PRIMARY KEY (v, k)",
        ],
    );
    let wrong = source.table("wrong_name");
    source.node.run(["schema", &wrong]).fails(2).stderr_has(&[&wrong, "right_name"]);
    source
        .node
        .run(["schema", &source.table("a_view")])
        .fails(2)
        .stderr_has(&["materialized view", "base table"]);
}

#[test]
fn an_index_or_view_that_belongs_to_another_table_is_not_taken_for_the_dumps() {
    for post in [
        "CREATE INDEX namesake ON {} (v)",
        "CREATE MATERIALIZED VIEW namesake AS SELECT * FROM {} WHERE v IS NOT NULL AND k IS NOT NULL PRIMARY KEY (v, k)",
    ] {
        let source = TestKeyspace::with("namesake", &["CREATE TABLE t (k int PRIMARY KEY, v int)"]);
        source.db.execute(&post.replace("{}", "t"));
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "csv").success();
        source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
        source.db.execute(&format!("CREATE TABLE {target}.other (k int PRIMARY KEY, v int)"));
        // An index is named without its keyspace, a view with it.
        let name = if post.contains("INDEX") { "namesake" } else { &format!("{target}.namesake") };
        let there = post.replace("namesake", name).replace("{}", &format!("{target}.other"));
        source.db.execute(&there);
        source.load(&dir, &target, &[]).fails(1).stderr_has(&[
            "namesake",
            "another table",
            "nothing was written",
        ]);
        assert_eq!(source.db.tables(&target).len(), 1, "something was created");
    }
}

#[test]
fn what_exists_and_differs_is_told() {
    let source = TestKeyspace::with(
        "kept_as_is",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v int) WITH comment = 'mine'",
            "INSERT INTO t (k, v) VALUES (1, 2)",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    source.db.execute(&format!("CREATE TABLE {target}.t (k int PRIMARY KEY, v int) WITH comment = 'other'"));
    let plan = source.load(&dir, &target, &["--dry-run"]).success().stdout;
    assert!(plan.contains(&format!("-- exists, differs, and is kept: table {target}.t")), "{plan}");
    source.load(&dir, &target, &[]).success().stderr_has(&[&format!("table {target}.t"), "differs"]);
    let again = source.target("again");
    source.load(&dir, &again, &[]).success();
    let done = source.load(&dir, &again, &["--if-exists", "truncate"]).success();
    assert!(!done.stderr.contains("differs"), "the same schema is called different\n{}", done.told());
    let schema = source.load(&dir, &target, &["--schema-only"]).success();
    assert!(!schema.stderr.contains("loaded 0"), "nothing was loaded\n{}", schema.told());
}

#[test]
fn a_schema_that_does_not_fit_is_refused_without_data_too() {
    let source = TestKeyspace::with("schema_fit", &["CREATE TABLE t (k int PRIMARY KEY, v int)"]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    source.db.execute(&format!("CREATE TABLE {target}.t (k int PRIMARY KEY, v text)"));
    source.load(&dir, &target, &["--schema-only"]).fails(1).stderr_has(&["int", "text", "\"v\""]);
}

#[test]
fn a_damaged_part_stops_the_load_before_the_others_are_loaded() {
    let source = TestKeyspace::with("stops", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.try_each((0..2000).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v')"))).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.node.run(["dump", &source.name, "-o", &dir, "--format", "csv", "--part-size", "1KiB"]).success();
    let parts: Vec<String> = files(&dir).into_iter().filter(|name| name.ends_with(".csv")).collect();
    assert!(parts.len() > 1, "{parts:?}");
    let path = format!("{dir}/{}", parts[0]);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    source.load(&dir, &target, &[]).fails(1).stderr_has(&["checksum", "nothing was written"]);
    assert!(source.db.tables(&target).is_empty());
}

#[test]
fn a_column_of_a_java_class_is_refused_by_name_before_anything_is_written() {
    let source = TestKeyspace::with(
        "java_class",
        &[
            "CREATE TABLE odd (k int PRIMARY KEY, v 'org.apache.cassandra.db.marshal.DynamicCompositeType(\
             a=>org.apache.cassandra.db.marshal.BytesType)')",
            "CREATE TABLE even (k int PRIMARY KEY, v int)",
            "INSERT INTO even (k, v) VALUES (1, 2)",
            "INSERT INTO odd (k) VALUES (1)",
            "INSERT INTO odd (k, v) VALUES (2, 0x80610004cafebabe00)",
            "INSERT INTO odd (k, v) VALUES (3, 0x80610004cafebabe00)",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target, odd) = (scratch.path("dump"), source.target("loaded"), source.table("odd"));
    let exclude = format!("--exclude {odd}");
    source.dump(&dir, "parquet").fails(1).stderr_has(&[
        &odd,
        "\"v\"",
        "DynamicCompositeType",
        &exclude,
        "--skip-unsupported",
    ]);
    assert!(!std::path::Path::new(&dir).exists());
    source.node.run(["dump", &source.name, "-o", &dir, "--exclude", &odd]).success();
    source.load(&dir, &target, &[]).success();
    assert_eq!(source.db.count(&format!("{target}.even")), 1);

    let (dir, target) = (scratch.path("without"), source.target("without"));
    let dump = ["dump", &source.name, "-o", &dir, "--skip-unsupported", "--json"];
    let said: serde_json::Value = serde_json::from_str(&source.node.run(dump).success().stdout).unwrap();
    let left_out = &said["not_preserved"][0];
    assert_eq!(left_out["object"], source.table("odd.v"), "{said}");
    assert_eq!(left_out["count"], 2, "{said}");
    source.load(&dir, &target, &[]).success().stderr_has(&["not preserved", &source.table("odd.v")]);
    assert_eq!(source.db.count(&format!("{target}.odd")), 3);
}

#[test]
fn a_single_table_brings_the_functions_that_mask_its_columns() {
    let source = TestKeyspace::with(
        "masked",
        &[
            "CREATE FUNCTION hide (v text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'return \"*\";'",
            "CREATE FUNCTION other (v text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'return \"*\";'",
            "CREATE TABLE t (k int PRIMARY KEY, v text)",
            "CREATE TABLE plain (k int PRIMARY KEY, v text MASKED WITH system.mask_default())",
        ],
    );
    source.db.execute(&format!("ALTER TABLE t ALTER v MASKED WITH {}.hide()", source.name));
    source.db.execute("INSERT INTO t (k, v) VALUES (1, 'open')");
    let scratch = Scratch::new();
    for (table, functions) in [("t", 2), ("plain", 0)] {
        let (dir, target) = (scratch.path(table), source.target(table));
        source.node.run(["dump", &source.table(table), "-o", &dir]).success();
        source.load(&dir, &target, &[]).success();
        assert_eq!(source.db.names("function_name", "functions", &target).len(), functions, "{table}");
        assert_eq!(
            source.db.rows(&format!("SELECT v FROM {target}.{table}")),
            source.db.rows(&format!("SELECT v FROM {table}"))
        );
    }
}

#[test]
fn a_dump_by_a_role_names_the_columns_that_may_be_masked() {
    let source = TestKeyspace::with(
        "may_be_masked",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, secret text MASKED WITH system.mask_default(), v text)",
            "CREATE TABLE plain (k int PRIMARY KEY, v text)",
        ],
    );
    let scratch = Scratch::new();
    let file = scratch.write("password", "any\n");
    let role = ["-u", "someone", "--password-file", &file];
    let dump = |name: &str, table: &str, flags: &[&str]| {
        let (dir, table) = (scratch.path(name), source.table(table));
        source.node.run([&["dump", &table, "-o", &dir][..], flags].concat()).success().stderr
    };
    let column = format!("{}.secret", source.table("t"));
    let told = dump("role", "t", &role);
    assert!(told.contains(&column) && told.contains("someone") && told.contains("UNMASK"), "{told}");
    assert!(!dump("plain", "plain", &role).contains("UNMASK"));
    // This server knows no roles unless one is given.
    assert!(!dump("nobody", "t", &[]).contains("UNMASK"));
}

#[test]
fn static_counters_are_imported_from_a_file_of_their_own() {
    let target = TestKeyspace::with(
        "static_counters",
        &["CREATE TABLE t (k int, c int, s counter static, v counter, PRIMARY KEY (k, c))"],
    );
    let scratch = Scratch::new();
    let table = target.table("t");
    let beside = scratch.write("beside.csv", "k,c,s,v\n1,1,,10\n1,2,5,20\n");
    target.node.run(["import", &table, &beside]).fails(1).stderr_has(&[
        "beside.csv",
        "static counters",
        "file of their own",
    ]);
    let nothing = scratch.write("nothing.csv", "k,c,v\n1,1,10\n1,2,\n");
    let args = ["import", &table, &nothing, "--max-errors", "0"];
    target.node.run(args).fails(1).stderr_has(&["nothing.csv", "line 3", "\"v\""]);
    target.db.execute("TRUNCATE t");
    let own = scratch.write("own.csv", "k,s\n1,5\n2,7\n");
    target.node.run(["import", &table, &own]).success();
    let mut rows = target.db.texts("SELECT JSON * FROM t");
    rows.sort();
    let row = |k: u32, s: u32| vec![format!(r#"{{"k": {k}, "c": null, "s": {s}, "v": null}}"#)];
    assert_eq!(rows, [row(1, 5), row(2, 7)]);
}

#[test]
fn static_cells_are_imported_without_rows() {
    let target = TestKeyspace::with(
        "only_statics",
        &["CREATE TABLE t (k int, c int, s text static, v text, PRIMARY KEY (k, c))"],
    );
    let scratch = Scratch::new();
    let file = scratch.write("in.csv", "s,k\nseven,7\n");
    target.node.run(["import", &target.table("t"), &file]).success();
    let rows = target.db.texts("SELECT JSON * FROM t");
    assert_eq!(rows, [vec![r#"{"k": 7, "c": null, "s": "seven", "v": null}"#.to_owned()]]);
    let file = scratch.write("row.csv", "v,k\nx,7\n");
    target.node.run(["import", &target.table("t"), &file]).fails(1).stderr_has(&[
        "row.csv",
        "\"c\"",
        "key column",
    ]);
}

#[test]
fn a_datacenter_or_level_that_cannot_be_had_is_named() {
    let source = TestKeyspace::with("levels", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let dump = |flags: &[&str], dir: &str| {
        let mut args = vec!["dump", &source.name, "-o", dir];
        args.extend(flags);
        source.node.run(args)
    };
    dump(&["--dc", "dc9"], &scratch.path("a")).fails(2).stderr_has(&["\"dc9\"", "datacenter1"]);
    dump(&["--consistency", "SOME"], &scratch.path("b")).fails(2).stderr_has(&["LOCAL_QUORUM"]);
    let three = dump(&["--consistency", "THREE", "--max-attempts", "2"], &scratch.path("c")).fails(1);
    three.stderr_has(&["scan", &source.table("t"), "token range (", "THREE", "2 attempts", "--consistency"]);
    dump(&["--dc", "datacenter1", "--consistency", "one"], &scratch.path("d"))
        .success()
        .stderr_has(&["warning", "ONE"]);
    let manifest = crate::harness::json(format!("{}/manifest.json", scratch.path("d")));
    assert_eq!(manifest["options"]["consistency"], "ONE");
    assert_same(&source.db, &source.name, &source.name);
}

#[test]
fn a_password_that_cannot_be_had_is_told_before_connecting() {
    let node = Node::get(NEWEST);
    let scratch = Scratch::new();
    let missing = scratch.path("no-such-file");
    node.run(["schema", "-u", "me", "--password-file", &missing]).fails(1).stderr_has(&["no-such-file"]);
    node.run(["schema", "--password-file", &missing]).fails(2).stderr_has(&["--username"]);
    // Nobody to ask: the test has no terminal.
    node.run(["schema", "-u", "me"]).fails(1).stderr_has(&["CQLIFT_PASSWORD", "--password-file"]);
    // This server asks for no password, and takes one all the same.
    let file = scratch.write("password", "secret\n");
    let own = TestKeyspace::new("password");
    node.run(["schema", &own.name, "-u", "me", "--password-file", &file]).success();
}

#[test]
fn rows_do_not_take_on_the_default_ttl_of_their_table() {
    let source = TestKeyspace::with(
        "default_ttl",
        &[
            "CREATE TABLE t (k int, c int, s text static, v int, PRIMARY KEY (k, c)) WITH default_time_to_live = 5000",
            "INSERT INTO t (k, c, s, v) VALUES (1, 1, 'never', 2) USING TTL 0",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    source.load(&dir, &target, &[]).success();
    let ttl = |ks: &str| source.db.rows(&format!("SELECT ttl(v), ttl(s) FROM {ks}.t"));
    assert_eq!(ttl(&source.name), [vec![None, None]], "the source's row does not expire");
    assert_eq!(ttl(&target), [vec![None, None]]);
    source.load(&dir, &target, &["--data-only", "--if-exists", "append"]).success();
    assert_eq!(ttl(&target), [vec![None, None]]);
    // What is imported is as if it were inserted now.
    let file = scratch.write("in.csv", "k,c,v\n2,2,2\n");
    source.node.run(["import", &format!("{target}.t"), &file]).success();
    let imported = source.db.rows(&format!("SELECT ttl(v) FROM {target}.t WHERE k = 2"));
    assert!(imported[0][0].is_some(), "the table's default holds for imported rows");
}

#[test]
fn a_compact_table_takes_no_rows_since_it_drops_some() {
    let source =
        TestKeyspace::with("to_compact", &["CREATE TABLE t (a int, b int, v text, PRIMARY KEY (a, b))"]);
    source.db.execute("INSERT INTO t (a, b, v) VALUES (1, 2, null)");
    let compact = "CREATE TABLE t (a int, b int, v text, PRIMARY KEY (a, b)) WITH COMPACT STORAGE";
    let old = TestKeyspace::on(Node::get("3.11"), "compact");
    old.db.execute(compact);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let map = format!("{}={}", source.name, old.name);
    let load = ["load", &dir, "--data-only", "--map", &map];
    old.node.run(load).fails(1).stderr_has(&["COMPACT STORAGE", &old.table("t"), "nothing was written"]);
    let file = scratch.write("in.csv", "a,b,v\n1,2,x\n");
    old.node.run(["import", &old.table("t"), &file]).fails(1).stderr_has(&["COMPACT STORAGE"]);
    assert_eq!(old.db.rows("SELECT a, b, v FROM t").len(), 0);
}

#[test]
fn a_line_that_would_write_nothing_is_refused() {
    let target = TestKeyspace::with(
        "no_trace",
        &["CREATE TABLE t (a int, b int, s text static, v text, PRIMARY KEY (a, b))"],
    );
    let scratch = Scratch::new();
    let file = scratch.write("in.csv", "a,s\n2,x\n1,\n");
    target
        .node
        .run(["import", &target.table("t"), &file, "--max-errors", "0"])
        .fails(1)
        .stderr_has(&["in.csv", "line 3", "\"s\""]);
}

#[test]
fn a_table_where_the_dump_has_a_view_is_found_before_anything_is_written() {
    let source = TestKeyspace::with(
        "view_clash",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v int)",
            "CREATE MATERIALIZED VIEW w AS SELECT * FROM t WHERE v IS NOT NULL AND k IS NOT NULL PRIMARY KEY (v, k)",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    source.db.execute(&format!("CREATE TABLE {target}.w (k int PRIMARY KEY)"));
    source.load(&dir, &target, &[]).fails(1).stderr_has(&[".w", "materialized view", "nothing was written"]);
    assert_eq!(source.db.tables(&target), ["w"]);
}

#[test]
fn a_function_of_another_body_is_found_before_anything_is_written() {
    let function = |name: &str, body: i32| {
        format!(
            "CREATE FUNCTION {name} (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return {body};'"
        )
    };
    let source = TestKeyspace::with("other_body", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    source.db.execute(&function("f", 1));
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "csv").success();
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {SIMPLE}"));
    source.db.execute(&function(&format!("{target}.f"), 2));
    source.load(&dir, &target, &[]).fails(1).stderr_has(&[
        "function",
        ".f",
        "differs",
        "nothing was written",
    ]);
    assert!(source.db.tables(&target).is_empty());
    source.db.execute(&format!("DROP FUNCTION {target}.f"));
    source.db.execute(&function(&format!("{target}.f"), 1));
    source.load(&dir, &target, &[]).success().stderr_has(&["exists and is kept"]);
}

#[test]
fn flags_that_would_do_nothing_together_are_refused() {
    for flags in [
        &["--data-only", "--replication", "3"][..],
        &["--schema-only", "--if-exists", "truncate"],
        &["--schema-only", "--data-only"],
    ] {
        let args = [&["load", "dump"][..], flags].concat();
        crate::harness::run(&args).fails(2).stderr_has(&["cannot be used with"]);
    }
    let scratch = Scratch::new();
    let file = scratch.write("in.csv", "key\nx\n");
    crate::harness::run(["import", "system.local", &file]).fails(2).stderr_has(&["\"system\"", "server"]);
}
