//! What a dump holds: files, names, modes, ranges, and what selectors choose.

use crate::harness::{Scratch, TestKeyspace, files, json, parts, run, run_with};
use crate::roundtrip::filled;
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const THREE: &[&str] = &[
    "CREATE TABLE orders (k int PRIMARY KEY, v text)",
    "CREATE TABLE order_lines (k int PRIMARY KEY, v text)",
    "CREATE TABLE \"Users\" (k int PRIMARY KEY, v text)",
    "INSERT INTO orders (k, v) VALUES (1, 'a')",
    "INSERT INTO order_lines (k, v) VALUES (1, 'a')",
    "INSERT INTO \"Users\" (k, v) VALUES (1, 'a')",
];

/// The tables that have a directory in a dump, as `ks/table`.
fn dumped(dir: &str) -> BTreeSet<String> {
    let all = files(&format!("{dir}/data")).into_iter();
    all.map(|file| file.rsplit_once('/').unwrap().0.to_owned()).collect()
}

#[test]
fn selectors_choose_tables() {
    let source = TestKeyspace::with("selectors", THREE);
    let ks = &source.name;
    let stem = &ks[..ks.len() - 1];
    let (orders, lines, users) = ("orders", "order_lines", "%55sers");
    for (selectors, expected) in [
        (vec!["{ks}"], vec![orders, lines, users]),
        (vec!["{ks}.orders"], vec![orders]),
        (vec!["{ks}.order*"], vec![orders, lines]),
        (vec!["{ks}.\"Users\""], vec![users]),
        (vec!["{ks}.orders", "{ks}.\"Users\""], vec![orders, users]),
        (vec!["{stem}?"], vec![orders, lines, users]),
        (vec!["{ks}", "--exclude", "{ks}.order_*"], vec![orders, users]),
        (vec!["{ks}", "--exclude", "{ks}.orders", "--exclude", "{ks}.\"Users\""], vec![lines]),
        (vec!["{ks}.orders", "{ks}.order*", "{ks}"], vec![orders, lines, users]),
    ] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        let mut args = vec!["dump".to_owned(), "-o".into(), dir.clone()];
        args.extend(selectors.iter().map(|s| s.replace("{ks}", ks).replace("{stem}", stem)));
        source.node.run(&args).success();
        let expected = expected.iter().map(|table| format!("{ks}/{table}")).collect();
        assert_eq!(dumped(&dir), expected, "{args:?}");
    }
}

#[test]
fn every_part_has_a_sidecar_and_nothing_else_lies_about() {
    for format in ["parquet", "csv"] {
        let source = filled("files", "statics");
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, format).success();
        for table in source.db.tables(&source.name) {
            let data = parts(&dir, &source.name, &table, format);
            let sidecars = parts(&dir, &source.name, &table, "json");
            assert!(!sidecars.is_empty(), "{table}: no sidecar");
            let with_json: Vec<_> = data.iter().map(|part| part.with_extension("json")).collect();
            assert!(with_json.iter().all(|s| sidecars.contains(s)), "{data:?} {sidecars:?}");
        }
        let known = |file: &String| {
            let ending = Path::new(file).extension().and_then(|e| e.to_str()).unwrap_or("");
            file == "manifest.json"
                || file == "schema.cql"
                || file.starts_with("data/") && [format, "json"].contains(&ending)
        };
        let strangers: Vec<_> = files(&dir).into_iter().filter(|f| !known(f)).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
    }
}

#[test]
fn only_the_owner_can_read_a_dump() {
    fn check(path: &Path) {
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
        if path.is_dir() {
            std::fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
        }
    }
    let source = TestKeyspace::with("modes", THREE);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    check(Path::new(&dir));
}

/// All token intervals that a JSON value mentions: objects with a start and an end that are integers, or pairs of them.
fn intervals(value: &Value, found: &mut Vec<(i64, i64)>) {
    let token = |v: &Value| v.as_i64().or_else(|| v.as_str()?.parse().ok());
    match value {
        Value::Object(fields) => {
            let ends = ["start", "end"].map(|name| fields.get(name).and_then(token));
            if let [Some(start), Some(end)] = ends {
                found.push((start, end));
            }
            fields.values().for_each(|v| intervals(v, found));
        }
        Value::Array(items) => match items.iter().map(token).collect::<Vec<_>>()[..] {
            [Some(start), Some(end)] => found.push((start, end)),
            _ => items.iter().for_each(|v| intervals(v, found)),
        },
        _ => {}
    }
}

#[test]
fn the_ranges_of_a_table_tile_the_ring() {
    let source = filled("ranges", "wide");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    for table in source.db.tables(&source.name) {
        let mut found = Vec::new();
        for sidecar in parts(&dir, &source.name, &table, "json") {
            intervals(&json(sidecar), &mut found);
        }
        found.sort_unstable();
        // No interval stands twice: parts that cut a range adjoin, one that begins where the last token ended is of no
        // width, and either follows the one before.
        assert_eq!(found.first().map(|f| f.0), Some(i64::MIN), "{table}: {found:?}");
        assert_eq!(found.last().map(|f| f.1), Some(i64::MAX), "{table}: {found:?}");
        for pair in found.windows(2) {
            assert_eq!(pair[0].1, pair[1].0, "{table}: a gap or an overlap in {found:?}");
        }
    }
}

#[test]
fn a_table_without_rows_is_in_the_dump() {
    let source = filled("no_rows", "empty");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let manifest = json(format!("{dir}/manifest.json")).to_string();
    for table in source.db.tables(&source.name) {
        assert!(manifest.contains(&format!("\"{table}\"")), "the manifest lacks {table}");
        let data = parts(&dir, &source.name, &table, "parquet");
        assert!(data.is_empty(), "files without rows: {data:?}");
    }
}

#[test]
fn a_csv_dump_is_text_as_the_design_says() {
    let source = TestKeyspace::with(
        "csv_text",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, a text, l list<text>, m map<int, text>)",
            "INSERT INTO t (k, a, l, m) VALUES (1, 'x,\"y\"', ['', 'b'], {10: 'ten', 9: 'nine'})",
            "INSERT INTO t (k, a) VALUES (2, '')",
            "INSERT INTO t (k) VALUES (3)",
        ],
    );
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let args = ["dump", &source.name, "-o", &dir, "--format", "csv", "--preserve", "none"];
    source.node.run(args).success();
    let mut lines = Vec::new();
    for part in parts(&dir, &source.name, "t", "csv") {
        let text = std::fs::read_to_string(part).unwrap();
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text:?}");
        let mut all = text.lines();
        assert_eq!(all.next(), Some("k,a,l,m,__wire"));
        lines.extend(all.map(str::to_owned));
    }
    lines.sort();
    let first = r#"1,"x,""y""","["""",""b""]","{""9"":""nine"",""10"":""ten""}","#;
    assert_eq!(lines, [first, r#"2,"",,,"#, "3,,,,"]);
}

#[test]
fn what_no_form_can_say_is_in_the_exceptions_column() {
    let source = filled("exceptions", "odd_bytes");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let mut seen = 0;
    for part in parts(&dir, &source.name, "empties", "csv") {
        let mut reader = csv::Reader::from_path(part).unwrap();
        let headers = reader.headers().unwrap().clone();
        assert_eq!(headers.iter().next_back(), Some("__wire"));
        for record in reader.records().map(Result::unwrap).filter(|r| &r[0] == "1") {
            seen += 1;
            let wire: Value = serde_json::from_str(&record[record.len() - 1]).unwrap();
            assert_eq!(wire["c_int"], "0x", "{wire}");
            assert_eq!(wire.get("c_text"), None, "an empty text needs no exception: {wire}");
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn the_schema_command_prints_what_a_server_takes() {
    let source = filled("schema_out", "functions");
    let done = source.node.run(["schema", &source.name]).success();
    let again = source.node.run(["schema", &source.name]).success();
    assert_eq!(done.stdout, again.stdout, "not deterministic");
    done.stdout_has(&[
        &format!("CREATE KEYSPACE {}", source.name),
        "it''s a \"comment\"; with -- everything",
    ]);
    // Replayed as a script it makes the same keyspace.
    let target = source.target("replayed");
    let text = again.stdout.replace(&source.name, &target);
    let script = crate::script::Script::parse("schema", &text).unwrap();
    script.run(&source.db, &source.node.version).unwrap();
    let describe = |ks: &str| -> Vec<String> {
        let rows = source.db.texts(&format!("DESCRIBE KEYSPACE {ks}"));
        rows.iter().map(|row| row.last().unwrap().replace(ks, "KS")).collect()
    };
    assert_eq!(describe(&source.name), describe(&target));
}

#[test]
fn schema_of_one_table_and_of_a_glob() {
    let source = TestKeyspace::with("schema_some", THREE);
    for (selector, has, lacks) in [
        (source.table("orders"), "orders (", "order_lines ("),
        (source.table("order_*"), "order_lines (", "orders ("),
        (source.table("\"Users\""), "\"Users\" (", "orders ("),
    ] {
        let done = source.node.run(["schema", &selector]).success().stdout_has(&[has]);
        assert!(!done.stdout.contains(lacks), "{}", done.told());
    }
}

#[test]
fn inspect_tells_what_a_dump_holds() {
    let source = TestKeyspace::with("inspected", THREE);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    run(["inspect", &dir]).success().stdout_has(&[&source.name, "orders", "order_lines", "Users", "csv"]);
}

#[test]
fn results_go_to_stdout_and_all_else_to_stderr() {
    let source = TestKeyspace::with("streams", THREE);
    let scratch = Scratch::new();
    let plain = source.dump(&scratch.path("a"), "csv").success();
    assert_eq!(plain.stdout, "", "a dump has no result but its files");
    let (dir, target) = (scratch.path("b"), source.target("json"));
    let dump = source.node.run(["dump", &source.name, "-o", &dir, "--json"]).success();
    let load = source.load(&dir, &target, &["--json"]).success();
    for done in [dump, load] {
        let summary: Result<Value, _> = serde_json::from_str(&done.stdout);
        assert!(summary.is_ok_and(|s| s.is_object()), "{}", done.told());
    }
}

#[test]
fn a_dry_run_of_a_dump_writes_nothing() {
    let source = TestKeyspace::with("dump_dry", THREE);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let table = source.table("order*");
    let done = source.node.run(["dump", &table, "-o", &dir, "--dry-run"]).success();
    let done = done.stdout_has(&["order_lines", "orders"]);
    assert!(!done.stdout.contains("Users"), "{}", done.told());
    assert!(!Path::new(&dir).exists(), "a dry run made {dir}");
}

#[test]
fn quiet_is_quiet() {
    let source = TestKeyspace::with("quiet", THREE);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    let file = scratch.write("orders.csv", "k,v\n2,b\n");
    let table = format!("{target}.orders");
    for done in [
        source.node.run(["dump", &source.name, "-o", &dir, "--quiet"]).success(),
        source.load(&dir, &target, &["--quiet"]).success(),
        source.load(&dir, &target, &["--quiet", "--if-exists", "skip"]).success(),
        source.node.run(["import", &table, &file, "--quiet"]).success(),
    ] {
        assert_eq!(done.stdout + &done.stderr, "", "{}", done.command);
    }
}

#[test]
fn output_flags_can_be_set_by_the_environment() {
    let source = TestKeyspace::with("flags_by_env", THREE);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    for (value, is_json) in [("1", true), ("true", true), ("0", false), ("", false)] {
        let variables = [("CQLIFT_JSON", value), ("CQLIFT_QUIET", value)];
        run_with(["inspect", "nope"], &variables).fails(1).stderr_has(&["nope"]);
        let done = run_with(["inspect", &dir], &variables).success();
        assert_eq!(serde_json::from_str::<Value>(&done.stdout).is_ok(), is_json, "{value:?} {}", done.told());
    }
}

#[test]
fn the_server_can_be_named_by_the_environment() {
    let source = TestKeyspace::with("by_env", THREE);
    let port = source.node.port.to_string();
    let variables = [("CQLIFT_HOST", source.node.host.as_str()), ("CQLIFT_PORT", port.as_str())];
    run_with(["schema", &source.name], &variables).success().stdout_has(&["orders"]);
}

#[test]
fn a_dump_says_that_it_keeps_values_only() {
    let source = TestKeyspace::with("values_only", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    let done = source.node.run(["dump", &source.name, "-o", &dir, "--json", "--preserve", "none"]).success();
    assert!(done.stderr.contains("not preserved: write times and expiries"), "{}", done.told());
    let summary: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let manifest = json(format!("{dir}/manifest.json"));
    for said in [&summary, &manifest] {
        assert_eq!(said["not_preserved"][0]["what"], "write times and expiries");
        assert_eq!(said["not_preserved"][0]["object"], "*");
    }
    assert_eq!(manifest["options"]["preserve"], "none");
    source.load(&dir, &target, &[]).success().stderr_has(&["not preserved: write times and expiries"]);
}

/// Prepared statements are the application's cache too: the question whether write times are told is asked once per kind.
#[test]
fn what_is_told_is_asked_once_per_kind_of_column() {
    let column = |n: usize| format!("v{n} int, m{n} map<int, int>");
    let columns: Vec<String> = (0..6).map(column).collect();
    let create = |t: &str| format!("CREATE TABLE {t} (k int PRIMARY KEY, {})", columns.join(", "));
    let source = TestKeyspace::with("probed", &[&create("a"), &create("b")]);
    let scratch = Scratch::new();
    source.dump(&scratch.path("dump"), "parquet").success();
    let prepared = source.db.texts("SELECT query_string FROM system.prepared_statements");
    let ours = prepared.iter().flatten().filter(|q| q.contains(&source.name) && q.contains("writetime("));
    let (scans, questions): (Vec<&String>, Vec<&String>) = ours.partition(|q| q.contains("token("));
    assert_eq!((scans.len(), questions.len()), (2, 2), "{questions:?}");
}
