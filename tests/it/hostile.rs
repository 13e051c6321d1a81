//! Dumps from a stranger, made by hand, every checksum fitting: what does not lie in the dump, cannot be so, or says one
//! thing and means another is refused by name, before anything is written; nothing crashes and nothing takes all memory.

use crate::harness::{NEWEST, Node, Ran, Scratch, TestKeyspace, run, tool};
use arrow_array::{ArrayRef, Int32Array, MapArray, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// A dump of one table, `forged.t (k int PRIMARY KEY, v text)`, of one part.
struct Forged {
    scratch: Scratch,
    manifest: Value,
    part: Vec<u8>,
}

const ROWS: &str = "k,v,__wire\n1,one,\n2,two,\n3,,\n";

impl Forged {
    fn new() -> Forged {
        let moment = "2026-11-23T10:00:00.000Z";
        let manifest = json!({
            "format": "1.0",
            "capabilities": ["values"],
            "tool": "a stranger",
            "id": "0123",
            "started": moment,
            "finished": moment,
            "cluster": {
                "name": "theirs", "version": "5.0.6", "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
                "datacenters": [{"name": "datacenter1", "nodes": 1}]
            },
            "options": {"format": "csv", "preserve": "none", "consistency": "ONE", "selectors": [], "exclude": []},
            "not_preserved": [],
            "keyspaces": [{
                "name": "forged",
                "statements": [
                    {"section": "pre-data", "kind": "keyspace", "name": "forged",
                     "cql": "CREATE KEYSPACE forged WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"},
                    {"section": "pre-data", "kind": "table", "name": "t",
                     "cql": "CREATE TABLE forged.t (k int PRIMARY KEY, v text)"},
                ],
                "types": [],
                "tables": [{
                    "name": "t",
                    "path": "data/forged/t",
                    "columns": [
                        {"name": "k", "type": "int", "kind": "partition_key", "position": 0},
                        {"name": "v", "type": "text", "kind": "regular", "position": -1},
                    ],
                    "exceptions_column": "__wire",
                    "rows": 3, "cells": 5, "bytes": 0,
                    "parts": [{
                        "name": "part-00001", "file": "part-00001.csv",
                        "rows": 3, "cells": 5, "exceptions": 0, "bytes": 0, "checksum": "",
                        "ranges": [{"start": "-9223372036854775808", "end": "9223372036854775807", "read": [moment, moment]}],
                    }],
                }],
            }],
        });
        Forged { scratch: Scratch::new(), manifest, part: ROWS.into() }
    }

    fn at(&mut self, pointer: &str) -> &mut Value {
        self.manifest.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}"))
    }

    fn table(&mut self) -> &mut Value {
        self.at("/keyspaces/0/tables/0")
    }

    fn with(mut self, change: impl FnOnce(&mut Forged)) -> Forged {
        change(&mut self);
        self
    }

    /// Another file in another format.
    fn parquet(mut self, file: Vec<u8>) -> Forged {
        self.part = file;
        *self.at("/options/format") = "parquet".into();
        self.table()["parts"][0]["file"] = "part-00001.parquet".into();
        self
    }

    /// Writes it, with lengths and checksums that fit unless they are the lie; its directory.
    fn write(&mut self) -> String {
        let dir = self.scratch.path("dump");
        let folder = format!("{dir}/data/forged/t");
        std::fs::create_dir_all(&folder).unwrap();
        let (len, sum) = (self.part.len(), format!("xxh3-128:{:032x}", xxh3_128(&self.part)));
        let table = self.table();
        if table["bytes"] == 0 {
            table["bytes"] = len.into();
            table["parts"][0]["bytes"] = len.into();
            table["parts"][0]["checksum"] = sum.into();
        }
        let ending = if self.manifest["options"]["format"] == "csv" { "csv" } else { "parquet" };
        std::fs::write(format!("{folder}/part-00001.{ending}"), &self.part).unwrap();
        let sidecar = self.table()["parts"][0].to_string();
        std::fs::write(format!("{folder}/part-00001.json"), sidecar).unwrap();
        std::fs::write(format!("{dir}/manifest.json"), sealed(&self.manifest)).unwrap();
        dir
    }
}

fn sealed(manifest: &Value) -> String {
    let text = serde_json::to_string_pretty(manifest).unwrap();
    let body = text.strip_suffix("\n}").unwrap();
    format!("{body},\n  \"checksum\": \"xxh3-128:{:032x}\"\n}}\n", xxh3_128(body.as_bytes()))
}

/// Runs the tool with so many bytes of address space, as a small machine would.
fn run_within(bytes: u64, args: &[&str]) -> Ran {
    let mut command = tool("prlimit");
    command.arg(format!("--as={bytes}")).arg(env!("CARGO_BIN_EXE_cqlift")).args(args);
    Ran::of(command)
}

const SMALL: u64 = 2 << 30;

#[test]
fn a_dump_made_by_hand_is_as_good_as_any() {
    let mut forged = Forged::new();
    let dir = forged.write();
    run(["verify", &dir]).success();
    run(["inspect", &dir]).success().stdout_has(&["k int partition_key"]);
    run(["load", &dir, "--list"]).success().stdout_has(&["data forged.t ; 3 rows"]);
    let dir = Forged::new().parquet(parquet_file(&["one", "two", "three"])).with(|f| {
        f.table()["cells"] = 6.into();
        f.table()["parts"][0]["cells"] = 6.into();
    });
    let mut dir = dir;
    run_within(SMALL, &["verify", &dir.write()]).success();
}

#[test]
fn paths_that_leave_the_dump_are_refused() {
    for (field, value) in [
        ("path", "data/../../outside"),
        ("path", "/etc"),
        ("path", "data//t"),
        ("path", "."),
        ("path", "data/forged\u{0}/t"),
        ("/parts/0/name", "../part-00001"),
        ("/parts/0/file", "../../../../../../etc/passwd"),
        ("/parts/0/file", "/etc/passwd"),
    ] {
        let mut forged = Forged::new().with(|f| match field {
            "path" => f.table()["path"] = value.into(),
            pointer => *f.table().pointer_mut(pointer).unwrap() = value.into(),
        });
        let dir = forged.write();
        for command in [&["verify", &dir][..], &["inspect", &dir], &["load", &dir, "--list"]] {
            run(command).fails(1).stderr_has(&["manifest.json", "does not belong into a dump"]);
        }
    }
}

#[test]
fn links_and_pipes_in_a_dump_are_refused() {
    let moved = |dir: &str, name: &str| {
        let (from, to) = (format!("{dir}/{name}"), format!("{dir}-{}", name.replace('/', "-")));
        std::fs::rename(&from, &to).unwrap();
        symlink(&to, &from).unwrap();
    };
    for (name, code) in [
        ("manifest.json", 1),
        ("data", 4),
        ("data/forged", 4),
        ("data/forged/t", 4),
        ("data/forged/t/part-00001.csv", 4),
        ("data/forged/t/part-00001.json", 4),
    ] {
        let mut forged = Forged::new();
        let dir = forged.write();
        moved(&dir, name);
        let last = name.rsplit('/').next().unwrap();
        let told = run(["verify", &dir]).fails(code);
        let expected = format!("refused: {last} in it is a symbolic link");
        assert!((told.stdout.clone() + &told.stderr).contains(&expected), "{}", told.told());
    }
    let mut forged = Forged::new();
    let dir = forged.write();
    let part = format!("{dir}/data/forged/t/part-00001.csv");
    std::fs::remove_file(&part).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&part).status().unwrap().success());
    run(["verify", &dir]).fails(4).stdout_has(&["part-00001.csv", "refused: it is no regular file"]);
    // The dump itself may lie behind a link.
    let mut forged = Forged::new();
    let dir = forged.write();
    let alias = forged.scratch.path("alias");
    symlink(&dir, &alias).unwrap();
    run(["verify", &alias]).success();
}

#[test]
fn what_cannot_be_so_is_refused_by_name() {
    type Change = fn(&mut Forged);
    let double: fn(&mut Value) = |list| {
        let first = list[0].clone();
        list.as_array_mut().unwrap().push(first);
    };
    let changes: &[(Change, &str)] = &[
        (|f| f.table()["parts"].as_array_mut().unwrap().clear(), "it states 3 rows, its parts have others"),
        (|f| f.table()["rows"] = 4.into(), "it states 4 rows, its parts have others"),
        (|f| f.table()["cells"] = u64::MAX.into(), "cells, its parts have others"),
        (
            |f| f.table()["parts"][0]["checksum"] = Value::Null,
            "part \"part-00001\": its file has no checksum",
        ),
        (|f| f.table()["parts"][0]["file"] = Value::Null, "part \"part-00001\": it has rows and no file"),
        (|f| f.table()["parts"][0]["exceptions"] = 99.into(), "99 exceptions"),
        (|f| f.table()["columns"][1]["name"] = "k".into(), "two columns are called \"k\""),
        (|f| f.table()["columns"][1]["name"] = "__wire".into(), "two columns are called \"__wire\""),
        (
            |f| f.table()["columns"][0]["position"] = 1.into(),
            "its partition_key columns stand in the places [1]",
        ),
        (|f| f.table()["columns"][0]["kind"] = "regular".into(), "it has no partition key"),
    ];
    let lists: &[(&str, &str)] = &[
        ("/keyspaces", "the keyspace \"forged\" is in it twice"),
        ("/keyspaces/0/tables", "two tables of it lie in \"data/forged/t\""),
        ("/keyspaces/0/tables/0/parts", "the part \"part-00001\" is in it twice"),
    ];
    for (change, expected) in changes {
        let mut forged = Forged::new();
        forged.write();
        change(&mut forged);
        let dir = forged.write();
        run(["verify", &dir]).fails(1).stderr_has(&[expected]);
        run(["inspect", &dir]).fails(1).stderr_has(&["manifest.json", expected]);
    }
    for (list, expected) in lists {
        let mut forged = Forged::new();
        forged.write();
        double(forged.at(list));
        let dir = forged.write();
        run(["inspect", &dir]).fails(1).stderr_has(&["manifest.json", expected]);
    }
}

#[test]
fn types_without_end_are_refused() {
    let udt = |name: String, types: &[String]| {
        let field = |(n, cql): (usize, &String)| json!({"name": format!("f{n}"), "type": cql});
        json!({"name": name, "fields": types.iter().enumerate().map(field).collect::<Vec<_>>()})
    };
    // Each holds the one before it twice: 2^60 types in the last.
    let doubling: Vec<Value> =
        std::iter::once(udt("u0".into(), &["int".into(), "int".into()]))
            .chain((1..60).map(|n| {
                udt(format!("u{n}"), &[format!("frozen<u{}>", n - 1), format!("frozen<u{}>", n - 1)])
            }))
            .collect();
    let chain: Vec<Value> = std::iter::once(udt("u0".into(), &["int".into()]))
        .chain((1..5000).map(|n| udt(format!("u{n}"), &[format!("frozen<u{}>", n - 1)])))
        .collect();
    let mutual = vec![udt("u0".into(), &["frozen<u1>".into()]), udt("u1".into(), &["frozen<u0>".into()])];
    for (types, column, expected) in [
        (doubling, "frozen<u59>", "a type has more than 10000 types in it"),
        (chain, "frozen<u4999>", "a type is nested more than 100 deep"),
        (mutual, "frozen<u0>", "names \"u1\", which is neither a built-in type nor a type of its keyspace"),
        (
            vec![],
            "vector<float, 2000000000>",
            "its vectors have 2000000000 elements, more than the 16777216 of a row",
        ),
        (vec![], &*"list<".repeat(50_000), "a type is nested more than 100 deep"),
    ] {
        let mut forged = Forged::new().with(|f| {
            *f.at("/keyspaces/0/types") = Value::Array(types);
            f.table()["columns"][1]["type"] = column.into();
        });
        let dir = forged.write();
        run_within(SMALL, &["verify", &dir]).fails(1).stderr_has(&[expected]);
    }
    // Nor is JSON read without end.
    let scratch = Scratch::new();
    let body = format!("{{\n  \"format\": {}", "[".repeat(1 << 20));
    let text = format!("{body},\n  \"checksum\": \"xxh3-128:{:032x}\"\n}}\n", xxh3_128(body.as_bytes()));
    scratch.write("manifest.json", text);
    run(["inspect", &scratch.path("")]).fails(1).stderr_has(&["manifest.json"]);
}

/// Statements in the place of the table's, and what is said of them.
const STATEMENTS: &[(&str, &str)] = &[
    (
        "CREATE TABLE forged.t (k int PRIMARY KEY, v text); DROP KEYSPACE forged",
        "more than one statement: after the first one comes DROP KEYSPACE",
    ),
    ("DROP KEYSPACE forged", "DROP KEYSPACE is not a CREATE statement"),
    ("CREATE ROLE evil WITH SUPERUSER = true", "CREATE ROLE is not a CREATE statement"),
    ("CREATE USER evil WITH PASSWORD 'x' SUPERUSER", "CREATE USER is not a CREATE statement"),
    ("CREATE TRIGGER t ON forged.t USING 'org.evil.Trigger'", "CREATE TRIGGER is not a CREATE statement"),
    (
        "CREATE OR REPLACE FUNCTION forged.t(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return x; $$",
        "CREATE OR is not a CREATE statement",
    ),
    ("GRANT ALL PERMISSIONS ON ALL KEYSPACES TO evil", "GRANT ALL is not a CREATE statement"),
    ("ALTER TABLE forged.t ADD x int", "ALTER TABLE is not a CREATE statement"),
    ("BEGIN BATCH INSERT INTO forged.t (k) VALUES (1) APPLY BATCH", "BEGIN BATCH is not a CREATE statement"),
    ("TRUNCATE system_auth.roles", "TRUNCATE"),
    (
        "-- CREATE TABLE forged.t (k int PRIMARY KEY)\nDROP TABLE forged.t",
        "DROP TABLE is not a CREATE statement",
    ),
    (
        "/* CREATE TABLE forged.t (k int PRIMARY KEY, */ GRANT ALL ON ALL ROLES TO evil",
        "GRANT ALL is not a CREATE statement",
    ),
    ("-- only a remark", "the text is only a comment"),
    ("CREATE TABLE forged.t (k int PRIMARY KEY) WITH comment = 'x", "does not end"),
    (
        "CREATE FUNCTION forged.t(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return x; $$; DROP KEYSPACE forged; -- $$",
        "more than one statement: after the first one comes DROP KEYSPACE",
    ),
    (
        "CREATE TABLE system_auth.t (k int PRIMARY KEY, v text)",
        "it makes table system_auth.t instead, in keyspace system_auth",
    ),
    (
        "CREATE TABLE forged.other (k int PRIMARY KEY, v text)",
        "it makes table forged.other instead, in keyspace forged",
    ),
    ("CREATE TABLE t (k int PRIMARY KEY, v text)", "needs its keyspace before it"),
    (
        "CREATE KEYSPACE forged WITH replication = {'class': 'SimpleStrategy'}",
        "it makes keyspace forged instead, in keyspace forged",
    ),
    ("CREATE INDEX t ON forged.x (v)", "it makes index forged.t instead, in keyspace forged"),
    (
        "CREATE MATERIALIZED VIEW forged.t AS SELECT * FROM system_auth.roles WHERE role IS NOT NULL PRIMARY KEY (role)",
        "is in keyspace \"forged\", its table in \"system_auth\"",
    ),
];

#[test]
fn only_the_create_statement_of_each_object_is_taken() {
    for (cql, expected) in STATEMENTS {
        let mut forged = Forged::new().with(|f| *f.at("/keyspaces/0/statements/1/cql") = (*cql).into());
        let dir = forged.write();
        run(["load", &dir, "--list"])
            .fails(1)
            .stderr_has(&["the statement of table t in the manifest", expected]);
    }
    let mut forged = Forged::new().with(|f| {
        let table = f.at("/keyspaces/0/statements/1").clone();
        f.at("/keyspaces/0/statements").as_array_mut().unwrap().push(table);
    });
    let dir = forged.write();
    run(["load", &dir, "--list"]).fails(1).stderr_has(&["another one makes it too"]);
    let index = json!({"section": "post-data", "kind": "index", "name": "i", "table": "t", "cql": "CREATE INDEX i ON forged.u (v)"});
    let mut forged =
        Forged::new().with(|f| f.at("/keyspaces/0/statements").as_array_mut().unwrap().push(index));
    let dir = forged.write();
    run(["load", &dir, "--list"]).fails(1).stderr_has(&["it is on \"u\", its entry says \"t\""]);
}

#[test]
fn statements_of_a_stranger_change_nothing_on_a_server() {
    let node = Node::get(NEWEST);
    let source = TestKeyspace::with("hostile_ddl", &[]);
    for (cql, expected) in STATEMENTS {
        let mut forged = Forged::new().with(|f| *f.at("/keyspaces/0/statements/1/cql") = (*cql).into());
        let dir = forged.write();
        let into = source.target("ddl");
        node.run(["load", &dir, "--map", &format!("forged={into}")]).fails(1).stderr_has(&[expected]);
        assert!(source.db.tables(&into).is_empty(), "{cql}");
    }
    // Whoever named the keyspace, the server's own ones are not loaded into.
    for name in ["system_auth", "system"] {
        let mut forged = Forged::new().with(|f| {
            let text = f.manifest["keyspaces"][0].to_string().replace("forged", name);
            *f.at("/keyspaces/0") = serde_json::from_str(&text).unwrap();
            f.table()["path"] = "data/forged/t".into();
        });
        let dir = forged.write();
        for more in [&[][..], &["--if-exists", "append", "--data-only"]] {
            // Without its name no selector would choose it.
            let args = [&["load", &dir, name][..], more].concat();
            let expected = format!("the keyspace {name} is the server's own, which is not loaded into");
            node.run(args).fails(1).stderr_has(&[&expected]);
        }
    }
}

#[test]
fn a_load_refuses_ranges_and_columns_that_lie() {
    let node = Node::get(NEWEST);
    let source = TestKeyspace::with("hostile_load", &[]);
    let load = |forged: &mut Forged, tag: &str| {
        let (dir, into) = (forged.write(), source.target(tag));
        (node.run(["load", &dir, "--map", &format!("forged={into}")]), into)
    };
    let (ran, into) = load(&mut Forged::new(), "good");
    ran.success();
    assert_eq!(source.db.tables(&into), ["t"]);
    let range = "/keyspaces/0/tables/0/parts/0/ranges";
    for (change, expected) in [
        (
            json!([{"start": "0", "end": "9223372036854775807"}]),
            "the tokens (-9223372036854775808, 0] are missing",
        ),
        (
            json!([{"start": "-9223372036854775808", "end": "9223372036854775807"}, {"start": "1", "end": "2"}]),
            "overlap",
        ),
        (json!([{"start": "x", "end": "2"}]), "its token ranges do not cover the ring"),
        (
            json!([{"start": "-9223372036854775808", "end": "9223372036854775807", "from": {"partition_key": ["0x00000001"], "clustering": []}}]),
            "a part begins inside a partition, and none ends there",
        ),
        (
            json!([{"start": "-9223372036854775808", "end": "9223372036854775807", "from": {"partition_key": ["0xzz"], "clustering": []}}]),
            "\"0xzz\" is not a cell",
        ),
        (
            json!([{"start": "-9223372036854775808", "end": "9223372036854775807", "read": ["soon", "later"]}]),
            "soon",
        ),
    ] {
        let mut change: Value = change;
        for range in change.as_array_mut().unwrap() {
            let read = range.get("read").cloned();
            let moment = "2026-11-23T10:00:00.000Z";
            range["read"] = read.unwrap_or(json!([moment, moment]));
        }
        let mut forged = Forged::new().with(|f| *f.at(range) = change);
        let (ran, into) = load(&mut forged, "ranges");
        ran.fails(1).stderr_has(&["read the manifest: table forged.t", expected]);
        assert!(source.db.tables(&into).is_empty(), "{expected}");
    }
    let mut forged = Forged::new().with(|f| {
        *f.at("/keyspaces/0/statements/1/cql") = "CREATE TABLE forged.t (k int PRIMARY KEY, v blob)".into()
    });
    let (ran, into) = load(&mut forged, "types");
    ran.fails(1).stderr_has(&[
        "does not fit the columns that the manifest lists: its column \"v\" has the type blob, the dump's has text",
        "no row was loaded",
    ]);
    assert_eq!(source.db.count(&format!("{into}.t")), 0);
    let mut forged = Forged::new().with(|f| f.part.extend(b"4,four,\n"));
    let (ran, _) = load(&mut forged, "more");
    ran.fails(1).stderr_has(&["part-00001", "it holds more rows than the 3 of the manifest"]);
    let mut forged = Forged::new().with(|f| f.part = b"k,v,__wire\n1,one,\n".to_vec());
    let (dir, map) = (forged.write(), format!("forged={}", source.target("fewer")));
    // It is not done with, so that the same command does not go on behind it.
    for _ in 0..2 {
        let ran = node.run(["load", &dir, "--map", &map]);
        ran.fails(1).stderr_has(&["part-00001", "it holds 1 rows, the manifest says 3", "dump again"]);
    }
}

#[test]
fn what_a_terminal_would_obey_is_shown_instead() {
    let evil = "a\u{1b}]0;owned\u{7}\r\nkeyspace b\u{9b}31m";
    let mut forged = Forged::new().with(|f| {
        for pointer in [
            "/id",
            "/tool",
            "/cluster/name",
            "/cluster/version",
            "/finished",
            "/keyspaces/0/tables/0/columns/1/name",
        ] {
            *f.at(pointer) = evil.into();
        }
        *f.at("/not_preserved") = json!([{"object": evil, "what": evil, "reason": evil}]);
    });
    let dir = forged.write();
    let shown = |ran: crate::harness::Done| {
        let all = ran.stdout.clone() + &ran.stderr;
        let odd = all.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
        assert_eq!(odd, None, "{all:?}");
        assert!(all.contains("a\\u{1b}]0;owned"), "{all:?}");
        all
    };
    let inspected = shown(run(["inspect", &dir]).success());
    assert!(!inspected.lines().any(|line| line.starts_with("keyspace b")), "{inspected}");
    shown(run(["load", &dir, "--list"]).success());
    shown(run(["verify", &dir]).fails(4));
}

/// A part of the forged table in Parquet, with these texts.
fn parquet_file(texts: &[&str]) -> Vec<u8> {
    let entry = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Binary, false),
    ]);
    let map = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false);
    let fields = vec![
        Field::new("k", DataType::Int32, true),
        Field::new("v", DataType::Utf8, true),
        Field::new("__wire", map.clone(), true),
    ];
    let rows = i32::try_from(texts.len()).unwrap();
    let wire: ArrayRef = new_null_array(&map, texts.len());
    assert!(wire.as_any().is::<MapArray>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(1..=rows)),
        Arc::new(StringArray::from_iter_values(texts)),
        wire,
    ];
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// A number as Thrift writes it.
fn thrift(mut n: u64) -> Vec<u8> {
    n *= 2;
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).unwrap() | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).unwrap());
    out
}

#[test]
fn parquet_that_inflates_or_lies_is_refused_in_little_memory() {
    // So large that its length takes as many bytes as the lie.
    const LARGE: usize = 140 << 20;
    let file = parquet_file(&["a", &"x".repeat(LARGE), "c"]);
    let forged = |file: Vec<u8>| {
        Forged::new().parquet(file).with(|f| {
            f.table()["cells"] = 6.into();
            f.table()["parts"][0]["cells"] = 6.into();
        })
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = file.windows(from.len()).position(|found| found == from).expect("the bytes to be replaced");
        let mut file = file.clone();
        file[at..at + to.len()].copy_from_slice(to);
        file
    };
    let head = |bytes: u64| [&[0x15][..], &thrift(bytes), &[0x15]].concat();
    // With some bytes of levels and lengths, as the library lays them out.
    let is_there = |bytes: &u64| file.windows(head(*bytes).len()).any(|found| found == head(*bytes));
    let page = (LARGE as u64..).take(64).find(is_there).expect("the page of the long text");
    let bomb = replaced(&head(page), &head(0x7fff_ffff));
    let mut bomb = forged(bomb);
    run_within(SMALL, &["verify", &bomb.write()]).fails(4).stdout_has(&[
        "part-00001",
        "column \"v\": page at byte ",
        "it would inflate to 2147483647 bytes",
    ]);
    // Inflates to more than it says.
    let mut short = forged(replaced(&head(page), &head(page - (1 << 20))));
    run_within(SMALL, &["verify", &short.write()]).fails(4).stdout_has(&[
        "part-00001",
        "row group 1, behind row 0: ",
        "too small",
    ]);
    // The footer of a page index, of a file that ends early, of one that is all footer.
    for (name, end) in [("a half", file.len() / 2), ("no magic", file.len() - 1), ("no footer", 8)] {
        let mut cut = forged(file[..end].to_vec());
        let told = run_within(SMALL, &["verify", &cut.write()]).fails(4);
        assert!(told.stdout.contains("part-00001"), "{name}: {}", told.told());
    }
    let mut all = vec![0xfc; 1 << 20];
    all.splice(..4, *b"PAR1");
    let len = u32::try_from(all.len() - 12).unwrap();
    let tail = all.len() - 8;
    all.splice(tail.., [&len.to_le_bytes()[..], b"PAR1"].concat());
    run_within(SMALL, &["verify", &forged(all).write()])
        .fails(4)
        .stdout_has(&["part-00001", "the footer is broken at byte "]);
    let mut fewer = forged(parquet_file(&["a", "b"]));
    run(["verify", &fewer.write()])
        .fails(4)
        .stdout_has(&["part-00001", "it holds 2 rows, the manifest says 3"]);
    let mut more = forged(parquet_file(&["a", "b", "c", "d"]));
    let told = run(["verify", &more.write()]).fails(4);
    assert!(told.stdout.contains("it holds more rows than the 3 of the manifest"), "{}", told.told());
}

#[test]
#[ignore = "reads gigabytes: scripts/test --long"]
fn csv_without_end_is_refused_in_little_memory() {
    let mut forged = Forged::new();
    let dir = forged.write();
    let path = format!("{dir}/data/forged/t/part-00001.csv");
    for (start, expected) in [
        (
            "k,v,__wire\n1,\"",
            "line 2: a record longer than 1073741824 bytes; is the quote opened in line 2 left open?",
        ),
        ("k,v,__wire\n1,", "line 2: a record longer than 1073741824 bytes"),
    ] {
        // Zeros that are not on the disk.
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        file.set_len((1 << 30) + (64 << 20)).unwrap();
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let mut read = std::fs::File::open(&path).unwrap();
        std::io::copy(&mut read, &mut HashWriter(&mut hash)).unwrap();
        let table = forged.table();
        table["bytes"] = ((1_u64 << 30) + (64 << 20)).into();
        table["parts"][0]["bytes"] = table["bytes"].clone();
        table["parts"][0]["checksum"] = format!("xxh3-128:{:032x}", hash.digest128()).into();
        let sidecar = table["parts"][0].to_string();
        std::fs::write(Path::new(&path).with_extension("json"), sidecar).unwrap();
        std::fs::write(format!("{dir}/manifest.json"), sealed(&forged.manifest)).unwrap();
        run_within(3 << 30, &["verify", &dir]).fails(4).stdout_has(&["part-00001", expected]);
    }
}

struct HashWriter<'a>(&'a mut xxhash_rust::xxh3::Xxh3);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
