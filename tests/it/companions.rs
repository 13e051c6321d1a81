//! The companion columns of a dump, `<col>__writetime` and `<col>__expires_at`: which there are, what they are called when
//! a table has such names itself, and dumps without them.

use crate::harness::{BOTH, NEWEST, Node, Scratch, TestKeyspace, json, parts, python};
use crate::roundtrip::assert_same;
use crate::times::{assert_same_times, told};
use serde_json::Value;
use std::process::Command;

/// The names of the columns of table `t`'s first part: a CSV header, or what pyarrow reads, with its types.
fn columns(dir: &str, keyspace: &str, format: &str) -> Vec<String> {
    let part = &parts(dir, keyspace, "t", format)[0];
    if format == "csv" {
        let mut reader = csv::Reader::from_path(part).unwrap();
        return reader.headers().unwrap().iter().map(str::to_owned).collect();
    }
    let script =
        "import sys, pyarrow.parquet as p\nfor f in p.read_schema(sys.argv[1]): print(f'{f.name} {f.type}')";
    let output = Command::new(python()).args(["-c", script]).arg(part).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The entry of a column in the manifest.
fn entry(dir: &str, column: &str) -> Value {
    let columns = json(format!("{dir}/manifest.json"))["keyspaces"][0]["tables"][0]["columns"].clone();
    let found = columns.as_array().unwrap().iter().find(|c| c["name"] == column).cloned();
    found.unwrap_or_else(|| panic!("{column} in {columns}"))
}

const SHAPES: &[&str] = &[
    "CREATE TYPE pair (a text, b int)",
    "CREATE TABLE t (k int, c int, s text static, v text, l list<int>, m map<text, int>, u pair, f frozen<set<int>>, \
     PRIMARY KEY (k, c))",
    "INSERT INTO t (k, c, s, v, l, m, u, f) VALUES (1, 1, 's', 'v', [1], {'x': 1}, {a: 'a'}, {1}) USING TIMESTAMP 1000",
];

#[test]
fn companions_follow_the_columns_of_which_the_server_tells_times() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "companions", SHAPES);
        let whole = ["l", "m", "u"];
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, format).success();
            let found = columns(&dir, &source.name, format);
            let names: Vec<&str> = found.iter().map(|f| f.split(' ').next().unwrap()).collect();
            let natural: Vec<&str> = names[..8].to_vec();
            let mut sorted = natural.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, ["c", "f", "k", "l", "m", "s", "u", "v"], "{names:?}");
            let tellable = |name: &str| version == NEWEST || !whole.contains(&name);
            let mut expected = natural.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            for name in natural.iter().filter(|n| !["k", "c"].contains(n)) {
                let [time, expiry] = [format!("{name}__writetime"), format!("{name}__expires_at")];
                let entry = entry(&dir, name);
                if tellable(name) {
                    assert_eq!(
                        (&entry["write_time"], &entry["expires_at"]),
                        (&time.as_str().into(), &expiry.as_str().into())
                    );
                    expected.extend([time, expiry]);
                } else {
                    assert!(
                        entry.get("write_time").is_none() && entry.get("expires_at").is_none(),
                        "{entry}"
                    );
                }
            }
            expected.push("__wire".to_owned());
            assert_eq!(names, expected, "{version} {format}");
            if format == "parquet" {
                for field in &found {
                    let (name, kind) = field.split_once(' ').unwrap();
                    let Some((column, _)) = name.split_once("__").filter(|(column, _)| !column.is_empty())
                    else {
                        continue;
                    };
                    let list = kind.starts_with("list<") && kind.contains("int64");
                    assert!(if whole.contains(&column) { list } else { kind == "int64" }, "{field}");
                }
            }
        }
    }
}

/// A table that has such columns itself keeps them, whatever type they are of.
#[test]
fn names_that_a_table_has_itself_are_left_to_it() {
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "collide",
            &[
                "CREATE TABLE t (k int, v__expires_at_ int, v text, v__writetime text, v__expires_at bigint, x text, \
                 x__writetime text static, PRIMARY KEY (k, v__expires_at_))",
                "INSERT INTO t (k, v__expires_at_, v, v__writetime, v__expires_at) VALUES (1, 2, 'v', 'mine', 7) \
                 USING TIMESTAMP 1000 AND TTL 5000",
                "UPDATE t USING TIMESTAMP 2000 SET v__writetime = 'newer' WHERE k = 1 AND v__expires_at_ = 2",
                "UPDATE t USING TIMESTAMP 3000 SET x__writetime = 's', x = 'x' WHERE k = 1 AND v__expires_at_ = 3",
            ],
        );
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let (dir, target) = (scratch.path("dump"), source.target(format));
            source.dump(&dir, format).success();
            let names: Vec<String> = columns(&dir, &source.name, format)
                .iter()
                .map(|f| f.split(' ').next().unwrap().to_owned())
                .collect();
            let mut unique = names.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), names.len(), "{names:?}");
            for (column, time, expiry) in [
                ("v", "v__writetime_", "v__expires_at__"),
                ("v__writetime", "v__writetime__writetime", "v__writetime__expires_at"),
                ("x", "x__writetime_", "x__expires_at"),
            ] {
                let entry = entry(&dir, column);
                assert_eq!(
                    (&entry["write_time"], &entry["expires_at"]),
                    (&time.into(), &expiry.into()),
                    "{entry}"
                );
                assert!(names.iter().any(|n| n == time) && names.iter().any(|n| n == expiry), "{names:?}");
            }
            source.load(&dir, &target, &[]).success();
            assert_eq!(assert_same(&source.db, &source.name, &target), 2);
            let tables = [source.table("t"), format!("{target}.t")];
            let cells = ["v", "v__writetime", "v__expires_at", "x", "x__writetime"];
            assert_same_times(
                (&source.db, &tables[0]),
                (&source.db, &tables[1]),
                "k, v__expires_at_",
                &cells,
            );
        }
    }
}

#[test]
fn a_dump_of_values_only_is_as_it_was() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "values_only", SHAPES);
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let (dir, target) = (scratch.path("dump"), source.target(format));
            let dump = ["dump", &source.name, "-o", &dir, "--format", format, "--preserve", "none"];
            let said = source.node.run([&dump[..], &["--json"]].concat()).success().json();
            let missing = said["not_preserved"].as_array().unwrap();
            assert_eq!(missing.len(), 1, "{said}");
            assert_eq!(
                (&missing[0]["object"], &missing[0]["what"]),
                (&"*".into(), &"write times and expiries".into())
            );
            let manifest = json(format!("{dir}/manifest.json"));
            assert_eq!(manifest["options"]["preserve"], "none");
            assert_eq!(&manifest["not_preserved"], &said["not_preserved"]);
            assert_eq!(columns(&dir, &source.name, format).len(), 8 + 1);
            assert!(entry(&dir, "v").get("write_time").is_none());

            let begun = crate::times::now();
            source.load(&dir, &target, &[]).success();
            assert_eq!(assert_same(&source.db, &source.name, &target), 1);
            for cell in
                told(&source.db, &format!("{target}.t"), "k, c", &["s", "v", "f"]).into_values().flatten()
            {
                let second = cell.written[0].unwrap() / 1_000_000;
                assert!((begun - 1..=crate::times::now() + 1).contains(&second), "{cell:?}");
                assert_eq!(cell.expires, []);
            }
            // Again, and the list is still one.
            source.load(&dir, &target, &["--if-exists", "append"]).success();
            assert_eq!(assert_same(&source.db, &source.name, &target), 1);
            let strict =
                ["dump", &source.name, "-o", &scratch.path("strict"), "--preserve", "none", "--strict"];
            source.node.run(strict).fails(3);
        }
    }
}
