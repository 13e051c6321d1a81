//! `verify DIR`: a sound dump passes, and each single damage to its files is found and named.

use crate::harness::{Scratch, TestKeyspace, files, json, run, run_with};
use crate::roundtrip::filled;

/// Changes the file at a path.
type Damage = fn(&str);

fn change(path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    let before = bytes.clone();
    change(&mut bytes);
    assert_ne!(bytes, before, "{path}: the damage changed nothing");
    std::fs::write(path, bytes).unwrap();
}

fn flip_a_bit(path: &str) {
    change(path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
}

fn first(dir: &str, ending: &str) -> String {
    let found = files(dir).into_iter().find(|name| name.contains("data/") && name.ends_with(ending));
    format!("{dir}/{}", found.unwrap())
}

#[test]
fn a_sound_dump_is_as_its_manifest_says() {
    for (schema, tables, rows) in [("wide", 2, 21_100), ("odd_bytes", 9, 61), ("empty", 3, 0)] {
        let source = filled(&format!("sound_{schema}"), schema);
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, format).success();
            let done = run(["verify", &dir, "--json"]).success();
            let said: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
            assert_eq!(said["differences"].as_array().unwrap().len(), 0, "{}", done.told());
            assert!(said["tables"].as_u64().unwrap() >= tables, "{schema}: {}", done.told());
            assert!(said["rows"].as_u64().unwrap() >= rows, "{schema}: {}", done.told());
        }
    }
}

/// Who checks files should not meet a cluster because the environment names one.
#[test]
fn a_host_in_the_environment_is_not_asked() {
    let source = TestKeyspace::with("verify_env", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    run_with(["verify", &dir], &[("CQLIFT_HOST", "127.255.255.1")])
        .success()
        .stderr_has(&["as the manifest"]);
    run(["verify", &dir, "--values-only"]).fails(2).stderr_has(&["--values-only", "-h"]);
}

#[test]
fn every_damage_is_found_and_named() {
    let source = TestKeyspace::with("damages", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.try_each((0..500).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v{k}')"))).unwrap();
    for format in ["parquet", "csv"] {
        let damages: &[(&str, &str, Damage)] = &[
            ("a flipped bit", format, flip_a_bit),
            ("a byte less", format, |path| change(path, |bytes| bytes.truncate(bytes.len() - 1))),
            ("a byte more", format, |path| change(path, |bytes| bytes.push(b'\n'))),
            ("a lost part", format, |path| std::fs::remove_file(path).unwrap()),
            ("a lost sidecar", "json", |path| std::fs::remove_file(path).unwrap()),
            ("an edited sidecar", "json", |path| {
                change(path, |bytes| {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    *bytes = text.replacen("\"rows\": ", "\"rows\": 9", 1).into_bytes();
                });
            }),
        ];
        for (what, ending, damage) in damages {
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, format).success();
            let path = first(&dir, ending);
            damage(&path);
            let name = path.rsplit('/').next().unwrap();
            let done = run(["verify", &dir]).fails(4).stderr_has(&["1 difference", name]);
            assert!(done.stdout.contains(&format!("{}.t", source.name)), "{what}: {}", done.told());
        }
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, format).success();
        let stray = first(&dir, format).replace("part-0", "part-9");
        std::fs::copy(first(&dir, format), &stray).unwrap();
        run(["verify", &dir]).fails(4).stderr_has(&["not in the manifest", "part-9"]);
    }
}

#[test]
fn an_edited_manifest_is_found_and_a_missing_one_is_no_dump() {
    let source = TestKeyspace::with("manifest_edit", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let path = format!("{dir}/manifest.json");
    assert_eq!(json(&path)["keyspaces"][0]["tables"][0]["rows"], 0);
    change(&path, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = text.replacen("\"rows\": 0", "\"rows\": 1", 1).into_bytes();
    });
    run(["verify", &dir]).fails(4).stderr_has(&["manifest.json", "checksum"]);
    std::fs::remove_file(path).unwrap();
    run(["verify", &dir]).fails(1).stderr_has(&["manifest.json"]);
}
