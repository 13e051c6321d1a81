//! The fuzz targets of `fuzz/` without a fuzzer: what is kept in `fuzz/corpus/`, and seeds made of real files, must hold as
//! they do there. `CQLIFT_SEEDS=fuzz/corpus cargo test --test corpus` writes the seeds into the corpus anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests state facts; helpers outside #[test] functions do so too"
)]

#[path = "../fuzz/src/lib.rs"]
mod entries;

use cqlift::format::{Format, SinkOptions};
use cqlift::rows::PageBuilder;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

/// A target, and what it does with bytes.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("codecs", entries::codecs),
    ("csv", entries::csv),
    ("ddl", entries::ddl),
    ("manifest", entries::manifest),
    ("parquet", entries::parquet),
    ("sidecar", entries::sidecar),
    ("state", entries::state),
];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn what_is_kept_in_the_corpus_holds() {
    for (target, run) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} is empty", folder.display());
        for path in paths {
            println!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_target_is_replayed_here() {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(fuzz().join(folder)).unwrap();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = entries.map(|entry| stem(entry.unwrap().path())).collect();
        names.sort();
        names
    };
    let replayed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets"), replayed);
    assert_eq!(names("corpus"), replayed);
}

#[test]
fn seeds_hold() {
    let into = std::env::var_os("CQLIFT_SEEDS").map(PathBuf::from);
    for (target, name, seed) in seeds() {
        println!("{target} {name}");
        let (_, run) = TARGETS.iter().find(|(known, _)| *known == target).unwrap();
        run(&seed);
        if let Some(into) = &into {
            std::fs::create_dir_all(into.join(target)).unwrap();
            std::fs::write(into.join(target).join(name), seed).unwrap();
        }
    }
}

/// Bytes that mean something somewhere.
const ODD: &[u8] = b"\"'{}[]<>(),;:-/*$\\\n\0\xff0a";

/// Damages a seed at a few places.
fn mutate(seed: u64, bytes: &[u8]) -> Vec<u8> {
    let mut state = seed;
    let mut below = |n: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
    };
    let mut out = bytes.to_vec();
    for _ in 0..1 + below(4) {
        let at = below(out.len());
        let end = (at + below(12)).min(out.len());
        match below(6) {
            0 => drop(out.drain(at..end)),
            1 => {
                let from = below(out.len());
                let piece = out[from..(from + below(40)).min(out.len())].to_vec();
                out.splice(at..at, piece);
            }
            2 => out.insert(at, ODD[below(ODD.len())]),
            3 if at < out.len() => out[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
            _ if at < out.len() => out[at] ^= 1 << below(8),
            _ => {}
        }
    }
    out
}

fn mutated(times: std::ops::Range<u64>) {
    let seeds = seeds();
    for seed in times {
        for (target, name, bytes) in &seeds {
            let (_, run) = TARGETS.iter().find(|(known, _)| known == target).unwrap();
            println!("{target} {name}, seed {seed}");
            run(&mutate(seed, bytes));
        }
    }
}

#[test]
fn mutated_seeds_hold() {
    mutated(0..60);
}

#[test]
#[ignore = "takes minutes: scripts/test --long"]
fn seeds_mutated_many_times_hold() {
    mutated(60..2_000);
}

fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for layout in 0..3_u8 {
        for (format, target) in [(Format::Csv, "csv"), (Format::Parquet, "parquet")] {
            let seed = [vec![layout], file(usize::from(layout), format)].concat();
            seeds.push((target, format!("seed-{layout}"), seed));
        }
    }
    for (number, text) in CSV.iter().enumerate() {
        seeds.push(("csv", format!("seed-odd-{number}"), [&[0][..], text.as_bytes()].concat()));
    }
    for (number, statement) in statements().iter().enumerate() {
        seeds.push(("ddl", format!("seed-{number}"), statement.clone().into_bytes()));
    }
    for native in 0..20_u8 {
        let cells =
            [&[native, 4, 0, 0, 0, 7, 0xff, 0, 8][..], &[1; 8], &[16], &[0x11; 16], b"\x0212"].concat();
        seeds.push(("codecs", format!("seed-{native}"), cells));
    }
    for nested in 20..26_u8 {
        let list = [&[nested, 11, 13, 12, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7][..], b"\x03[7]"].concat();
        seeds.push(("codecs", format!("seed-nested-{nested}"), list));
    }
    seeds.push(("manifest", "seed".to_owned(), MANIFEST.as_bytes().to_vec()));
    seeds.push(("sidecar", "seed".to_owned(), SIDECAR.as_bytes().to_vec()));
    for (name, text) in [("begun", BEGUN), ("load", LOAD), ("import", IMPORT)] {
        seeds.push(("state", format!("seed-{name}"), text.as_bytes().to_vec()));
    }
    seeds
}

/// A file of a dump with the columns of a layout.
fn file(layout: usize, format: Format) -> Vec<u8> {
    let rows: &[&[&str]] = match layout {
        0 => &[&["1", "one"], &["2", ""], &["-3", "a \"b\", c\nd"]],
        1 => &[
            &[
                "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
                "2026-11-23T14:52:41.000Z",
                "-12345678901234567890",
                "true",
                "1.50",
                "0x00ff",
                "1.5",
                "NaN",
                "::ffff:1.2.3.4",
                "-7",
                "300",
                "9000000000",
                "2026-11-23",
                "14:52:41.000000001",
                "1y2mo3d4h5m6s",
            ],
            &["3f2504e0-4f89-11d3-9a0c-0305e82c3302"; 1],
        ],
        _ => &[
            &[
                "k",
                r#"["a",null,""]"#,
                "[1,2]",
                r#"{"a":[1],"b":[]}"#,
                r#"[[1.5,"0x00"]]"#,
                r#"[1,"x",["3f2504e0-4f89-11d3-9a0c-0305e82c3301"]]"#,
                r#"{"a":1,"b":null}"#,
                "[1.0,2.0,3.0]",
                r#"["a","bb"]"#,
                "[1,2,3]",
            ],
            &["l"],
        ],
    };
    let layout = entries::layout(layout);
    let mut page = PageBuilder::new(layout.columns.len());
    for row in rows {
        for (number, column) in layout.columns.iter().enumerate() {
            let cell = row.get(number).map(|text| {
                let mut cell = Vec::new();
                column.codec.from_text(text.as_bytes(), &mut cell).unwrap();
                cell
            });
            page.push(cell.as_deref()).unwrap();
        }
    }
    // What has no natural form: an empty number, or text that is none.
    layout.columns.iter().for_each(|column| {
        let odd: &[u8] = if column.cql_type.to_string() == "text" { b"\xff" } else { b"" };
        page.push(Some(odd)).unwrap();
    });
    let mut sink = format.sink(&layout, SinkOptions::default(), tempfile::tempfile().unwrap()).unwrap();
    sink.write(&page.finish()).unwrap();
    let mut file = sink.finish().unwrap();
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The statements of `schemas/`, and some that nobody should run.
fn statements() -> Vec<String> {
    let mut statements: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "cql")) {
        let text = std::fs::read_to_string(path).unwrap();
        let creates = text.split(";\n").filter(|statement| statement.contains("CREATE"));
        statements.extend(creates.take(6).map(|statement| statement.trim().to_owned()));
    }
    statements
}

const CSV: &[&str] = &[
    "k,v\n1,a\n2,\"b\"\"c\"\r\n3,\"x\ny\"\n",
    "\u{feff}v,k,__wire\n\"\",1,\n,2,\"{\"\"v\"\":\"\"0xff\"\"}\"\n",
    "k,v\n1,\"a\"b\n",
    "k,v\n1,\"a\n",
    "v\n\n\"\"\n",
    "k,v\n1\n2,b,c\nx,y\n",
];

const HOSTILE: &[&str] = &[
    "CREATE TABLE a.b (k int PRIMARY KEY); DROP KEYSPACE a",
    "/* CREATE TABLE a.b (k int PRIMARY KEY) */ -- '\n GRANT ALL ON ALL KEYSPACES TO x",
    "CREATE TABLE a.b (k int PRIMARY KEY) WITH comment = 'it''s; DROP' AND caching = {'keys': 'ALL'};",
    "CREATE FUNCTION a.f(x int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return x; /* ; ' */ $$;",
    "CREATE CUSTOM INDEX \"I\" ON a.b (values(v)) USING 'StorageAttachedIndex' WITH OPTIONS = {'a': 'b'}",
    "CREATE MATERIALIZED VIEW a.v AS SELECT * FROM a.b WHERE k IS NOT NULL PRIMARY KEY (k) WITH CLUSTERING ORDER BY (k DESC)",
    "CREATE KEYSPACE a WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND durable_writes = true",
    "CREATE TYPE a.\"T\"\"t\" (\"F\" frozen<map<text, frozen<a.u>>>, g vector<float, 3>)",
    "map<text, frozen<list<\"My Type\">>>",
    "org.apache.cassandra.db.marshal.MapType(org.apache.cassandra.db.marshal.UTF8Type,org.apache.cassandra.db.marshal.Int32Type)",
];

/// As `dump` writes it, but for the checksum, which the target makes fit.
const MANIFEST: &str = r#"{
  "format": "1.0",
  "capabilities": ["values", "times"],
  "tool": "cqlift 0.1.0",
  "id": "0123456789abcdef",
  "started": "2026-11-23T10:00:00.000Z",
  "finished": "2026-11-23T10:00:01.000Z",
  "cluster": {"name": "c", "version": "5.0.6", "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner", "datacenters": [{"name": "dc1", "nodes": 1}]},
  "options": {"format": "csv", "preserve": "all", "consistency": "LOCAL_QUORUM", "selectors": ["a"], "exclude": []},
  "not_preserved": [{"object": "*", "what": "w", "count": 1, "reason": "r"}],
  "keyspaces": [{
    "name": "a",
    "statements": [
      {"section": "pre-data", "kind": "keyspace", "name": "a", "cql": "CREATE KEYSPACE a WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"},
      {"section": "pre-data", "kind": "table", "name": "t", "cql": "CREATE TABLE a.t (k int PRIMARY KEY, v frozen<u>)"}
    ],
    "types": [{"name": "u", "fields": [{"name": "f", "type": "list<int>"}]}],
    "tables": [{
      "name": "t",
      "path": "data/a/t",
      "columns": [
        {"name": "k", "type": "int", "kind": "partition_key", "position": 0},
        {"name": "v", "type": "frozen<u>", "kind": "regular", "position": -1, "write_time": "v__writetime", "expires_at": "v__expires_at"}
      ],
      "exceptions_column": "__wire",
      "rows": 1, "cells": 2, "bytes": 30,
      "parts": [{
        "name": "part-00001", "file": "part-00001.csv", "rows": 1, "cells": 2, "exceptions": 0, "bytes": 30,
        "checksum": "xxh3-128:0123456789abcdef0123456789abcdef",
        "ranges": [{"start": "-9223372036854775808", "end": "9223372036854775807", "read": ["2026-11-23T10:00:00.000Z", "2026-11-23T10:00:01.000Z"]}]
      }]
    }]
  }],
  "roles": {"roles": [{"name": "r", "login": true, "superuser": false, "member_of": ["s"], "password_hash": "$2a$10$x"}], "grants": [{"role": "r", "on": {"kind": "table", "keyspace": "a", "table": "t"}, "permissions": ["SELECT"]}]},
  "checksum": "xxh3-128:0123456789abcdef0123456789abcdef"
}
"#;

const SIDECAR: &str = r#"{
  "name": "part-00001", "file": "part-00001.parquet", "rows": 3, "cells": 7, "exceptions": 1, "bytes": 1234,
  "checksum": "xxh3-128:0123456789abcdef0123456789abcdef",
  "earliest_expiry": 1800000000, "untold_rows": 1, "untold_cells": {"v": 2}, "uneven_lists": {"l": 1},
  "ranges": [
    {"start": "-9223372036854775808", "end": "5", "to": {"partition_key": ["0x00000001"], "clustering": ["0x", null]}, "read": ["2026-11-23T10:00:00.000Z", "2026-11-23T10:00:01.000Z"]},
    {"start": "5", "end": "5", "from": {"partition_key": ["0x00000001"], "clustering": [null]}, "read": ["2026-11-23T10:00:00.000Z", "2026-11-23T10:00:01.000Z"]}
  ],
  "dump": "0123456789abcdef",
  "sidecar_checksum": "xxh3-128:0123456789abcdef0123456789abcdef"
}
"#;

/// As `dump` writes it first, but for the checksum.
const BEGUN: &str = r#"{
  "format": "1.0",
  "tool": "cqlift 0.1.0",
  "id": "0123456789abcdef",
  "started": "2026-11-23T10:00:00.000Z",
  "cluster": "c",
  "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
  "hosts": ["3f2504e0-4f89-11d3-9a0c-0305e82c3302"],
  "options": {"format": "csv", "preserve": "all", "consistency": "LOCAL_QUORUM", "selectors": ["a"], "exclude": []},
  "roles": false,
  "skip_unsupported": true,
  "tables": [{
    "keyspace": "a", "name": "t", "id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "columns": [{"name": "k", "type": "int", "kind": "partition_key", "position": 0}],
    "types": [{"name": "u", "fields": [{"name": "f", "type": "list<int>"}]}]
  }],
  "checksum": "xxh3-128:0123456789abcdef0123456789abcdef"
}
"#;

/// The states of a load and an import, without the hashes of their lines.
const LOAD: &str = r#"{"begin":{"format":1,"dump":"d","manifest":"m","cluster":"c","hosts":["1","2"],"tables":{"a.t":"b.t"},"options":{"--ttl":"keep"},"began":1800000000000000,"list_offset":7}}
{"run":{"tables":{"a.t":{"id":"i","found":"empty"},"a.u":{"id":"j","found":"filled"}},"list_tries":30}}
{"parts":[{"table":"a.t","part":"part-00001","tally":{"expired_rows":1,"expired_cells":2,"capped":3,"untold_rows":4,"rejected":5}}]}
{"run":{"tables":{},"list_tries":60}}
{"parts":[{"table":"a.t","part":"part-00002","tally":{"expired_rows":0,"expired_cells":0,"capped":0,"untold_rows":0}}]}
"#;

const IMPORT: &str = r#"{"begin":{"format":1,"cluster":"c","hosts":["1"],"table":"a.t","id":"i","files":[{"path":"/f.csv","bytes":100,"modified":1800000000000000000,"head":"xxh3-128:00"}],"options":{"--null":""}}}
{"times":1800000000000000}
{"at":{"file":0,"offset":10,"line":2,"rows":1,"rejected":0}}
{"times":1800000001000000}
{"at":{"file":0,"offset":90,"line":9,"rows":7,"rejected":1}}
"#;
