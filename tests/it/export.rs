//! One table for other programs: the values, in the forms that are documented, in one file, in several, or on standard
//! output.

use crate::harness::{Scratch, TestKeyspace, files, python};
use crate::roundtrip::{assert_same, filled};
use serde_json::{Value, json};
use std::process::Command;

const TABLE: &[&str] = &[
    "CREATE TYPE pair (a text, b int)",
    "CREATE TABLE t (k int, c int, \"S s\" text static, v text, d double, u uuid, ts timestamp, b blob, ok boolean, \
     l list<int>, m map<text, int>, p frozen<pair>, PRIMARY KEY (k, c))",
    "INSERT INTO t (k, c, \"S s\", v, d, u, ts, b, ok, l, m, p) VALUES (1, 1, 'all', 'a \"b\", c', 0.5, \
     123e4567-e89b-12d3-a456-426614174000, '2026-11-23T14:52:41.000Z', 0xc0ff, true, [1, 2], {'x': 1}, {a: 'A', b: 2})",
    "INSERT INTO t (k, c, v, d) VALUES (1, 2, '', NaN)",
    "INSERT INTO t (k, \"S s\") VALUES (2, 'alone')",
];

/// What the exported text of [`TABLE`] is, by the forms that the documentation gives for each type.
const CSV: [&str; 4] = [
    "k,c,S s,b,d,l,m,ok,p,ts,u,v",
    "1,1,all,0xc0ff,0.5,\"[1, 2]\",\"{\"\"x\"\": 1}\",true,\"{\"\"a\"\": \"\"A\"\", \"\"b\"\": 2}\",2026-11-23T14:52:41.000Z,\
     123e4567-e89b-12d3-a456-426614174000,\"a \"\"b\"\", c\"",
    "1,2,all,,NaN,,,,,,,\"\"",
    "2,,alone,,,,,,,,,",
];

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn csv_has_the_documented_forms_and_no_column_of_a_dump() {
    let source = TestKeyspace::with("exp_csv", TABLE);
    let (scratch, table) = (Scratch::new(), source.table("t"));
    let file = scratch.path("t.csv");
    source.node.run(["export", &table, "-o", &file]).success().stderr_has(&["exported 3 rows", &file]);
    let mut lines = read(&file).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines.remove(0), CSV[0]);
    lines.sort();
    let compact = |line: &str| line.replace(", ", ",").replace(": ", ":");
    assert_eq!(
        lines.iter().map(|l| compact(l)).collect::<Vec<_>>(),
        CSV[1..].iter().map(|l| compact(l)).collect::<Vec<_>>()
    );
    assert_eq!(files(&scratch.path("")), ["t.csv"], "nothing else is left");
}

#[test]
fn json_lines_are_objects_with_bare_numbers_and_nulls() {
    let source = TestKeyspace::with("exp_jsonl", TABLE);
    let (scratch, table) = (Scratch::new(), source.table("t"));
    let file = scratch.path("t.jsonl");
    source.node.run(["export", &table, "-o", &file]).success();
    let mut objects: Vec<Value> = read(&file).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    objects.sort_by_key(|o| (o["k"].as_i64(), o["c"].as_i64()));
    assert_eq!(
        objects,
        [
            json!({"k": 1, "c": 1, "S s": "all", "b": "0xc0ff", "d": 0.5, "l": [1, 2], "m": {"x": 1}, "ok": true,
                   "p": {"a": "A", "b": 2}, "ts": "2026-11-23T14:52:41.000Z",
                   "u": "123e4567-e89b-12d3-a456-426614174000", "v": "a \"b\", c"}),
            json!({"k": 1, "c": 2, "S s": "all", "b": null, "d": "NaN", "l": null, "m": null, "ok": null, "p": null,
                   "ts": null, "u": null, "v": ""}),
            json!({"k": 2, "c": null, "S s": "alone", "b": null, "d": null, "l": null, "m": null, "ok": null,
                   "p": null, "ts": null, "u": null, "v": null}),
        ]
    );
}

#[test]
fn parquet_is_read_by_others() {
    let source = TestKeyspace::with("exp_parquet", TABLE);
    let (scratch, table) = (Scratch::new(), source.table("t"));
    let file = scratch.path("t.parquet");
    source.node.run(["export", &table, "-o", &file]).success();
    let script = "import sys, json, pyarrow.parquet as pq\n\
                  t = pq.read_table(sys.argv[1])\n\
                  print(json.dumps([t.column_names, sorted([r['k'], r['c'] or 0, r['v'], r['l'], r['ok']] \
                  for r in t.to_pylist())]))";
    let output = Command::new(python()).args(["-c", script, &file]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        seen,
        json!([
            ["k", "c", "S s", "b", "d", "l", "m", "ok", "p", "ts", "u", "v"],
            [[1, 1, "a \"b\", c", [1, 2], true], [1, 2, "", null, null], [2, 0, null, null, null]]
        ])
    );
}

#[test]
fn columns_are_chosen_in_their_order() {
    let source = TestKeyspace::with("exp_columns", TABLE);
    let (table, node) = (source.table("t"), &source.node);
    let columns = |names: &str| node.run(["export", &table, "-o", "-", "--columns", names]);
    // Without a key column, although scans go by it.
    let out = columns("v, \"S s\",D").success().stdout;
    assert_eq!(sorted(&out), ["\"\",all,NaN", "\"a \"\"b\"\", c\",all,0.5", ",alone,", "v,S s,d"]);
    columns("v,nope").fails(2).stderr_has(&["no column \"nope\"", "its columns are: k, c, S s, b"]);
    columns("v,v").fails(2).stderr_has(&["names \"v\" twice"]);
    columns("v,").fails(2).stderr_has(&["--columns"]);
    columns("v;d").fails(2).stderr_has(&["--columns"]);
}

#[test]
fn the_data_goes_to_standard_output_and_all_else_to_stderr() {
    let source = TestKeyspace::with("exp_stdout", TABLE);
    let (table, node) = (source.table("t"), &source.node);
    let done = node.run(["export", &table, "-o", "-"]).success();
    assert_eq!(done.stdout.lines().count(), 4);
    assert!(done.stdout.starts_with(CSV[0]));
    done.stderr_has(&["exported 3 rows", "standard output"]);
    let quiet = node.run(["export", &table, "-o", "-", "--format", "jsonl", "--quiet"]).success();
    assert_eq!((quiet.stdout.lines().count(), quiet.stderr.as_str()), (3, ""));
    node.run(["export", &table, "-o", "-", "--json"]).fails(2).stderr_has(&["--json", "a file with -o"]);
}

#[test]
fn a_directory_gets_as_many_files_as_it_takes() {
    let source = TestKeyspace::with(
        "exp_dir",
        &["CREATE TABLE t (k int PRIMARY KEY, v text)", "CREATE TABLE none (k int PRIMARY KEY)"],
    );
    let text = "x\n\"y\"".repeat(500);
    source.db.try_each((0..2000).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')"))).unwrap();
    let scratch = Scratch::new();
    let dir = scratch.path("new/");
    let done = source.node.run(["export", &source.table("t"), "-o", &dir, "--part-size", "512KiB", "--json"]);
    let summary = done.success().json();
    assert_eq!((&summary["rows"], &summary["inexact"]), (&json!(2000), &json!(0)));
    let written = files(&dir);
    assert!(written.len() >= 5, "{written:?}");
    assert_eq!(summary["files"].as_array().unwrap().len(), written.len());
    let mut keys = Vec::new();
    let mut bytes = 0;
    for name in &written {
        assert!(name.starts_with("t-0") && name.ends_with(".csv"), "{name}");
        let path = format!("{dir}/{name}");
        bytes += std::fs::metadata(&path).unwrap().len();
        let mut reader = csv::Reader::from_path(path).unwrap();
        assert_eq!(reader.headers().unwrap(), vec!["k", "v"]);
        for record in reader.records() {
            let record = record.unwrap();
            assert_eq!(&record[1], text);
            keys.push(record[0].parse::<usize>().unwrap());
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..2000).collect::<Vec<_>>());
    assert_eq!(summary["bytes"], json!(bytes));
    // A directory that holds something is left alone.
    let again = source.node.run(["export", &source.table("t"), "-o", &dir]);
    again.fails(1).stderr_has(&["not empty"]);
    assert_eq!(files(&dir).len(), written.len());
    // A table without rows is a file without rows.
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).unwrap();
    source.node.run(["export", &source.table("none"), "-o", &empty]).success();
    assert_eq!(read(&format!("{empty}/none-00001.csv")), "k\n");
}

/// Several encoders write into one file: no line may be torn, none lost.
#[test]
fn one_file_takes_the_rows_of_all_workers_and_is_imported_again() {
    let source = filled("exp_back", "friendly");
    let scratch = Scratch::new();
    let target = source.target("loaded");
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.name, "-o", &dir]).success();
    source.load(&dir, &target, &["--schema-only"]).success();
    for table in source.db.tables(&source.name) {
        let file = scratch.path(&format!("{table}.csv"));
        source.node.run(["export", &source.table(&table), "-o", &file]).success();
        source.node.run(["import", &format!("{target}.\"{table}\""), &file]).success();
    }
    assert!(assert_same(&source.db, &source.name, &target) > 0);
}

#[test]
fn what_is_there_is_left_alone() {
    let source = TestKeyspace::with("exp_there", TABLE);
    let scratch = Scratch::new();
    let file = scratch.write("there.csv", "mine");
    let table = source.table("t");
    source.node.run(["export", &table, "-o", &file]).fails(1).stderr_has(&["exists already", "-o"]);
    assert_eq!(read(&file), "mine");
    source.node.run(["export", &source.table("nope"), "-o", "-"]).fails(2).stderr_has(&["no table", "t"]);
    let nowhere = scratch.path("no/such/t.csv");
    source.node.run(["export", &table, "-o", &nowhere]).fails(1).stderr_has(&["no/such"]);
    assert_eq!(files(&scratch.path("")), ["there.csv"]);
}

/// Such cells are in a dump byte for byte; here they are told.
#[test]
fn cells_without_an_exact_form_are_told() {
    let source = TestKeyspace::with(
        "exp_inexact",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, i int, v text)",
            "INSERT INTO t (k, i, v) VALUES (1, blobAsInt(0x), 'a')",
            "INSERT INTO t (k, i) VALUES (2, 7)",
        ],
    );
    let done = source.node.run(["export", &source.table("t"), "-o", "-", "--quiet"]).success();
    assert_eq!(sorted(&done.stdout), ["1,,a", "2,7,", "k,i,v"]);
    done.stderr_has(&["1 cell could not be shown exactly"]);
}
