//! `verify DIR`: a sound dump passes, and each single damage to its files is found and named, also if checksums were made to fit.

use crate::findings::Findings;
use crate::harness::{Scratch, TestKeyspace, files, json, run, run_with};
use crate::roundtrip::filled;
use xxhash_rust::xxh3::xxh3_128;

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
    let named = ["the dump", "manifest.json", "checksum"];
    run(["verify", &dir]).fails(4).stderr_has(&named).stdout_has(&named);
    let findings = Findings::of(&run(["verify", &dir, "--json"]).fails(4).stderr_has(&named));
    assert_eq!(findings.brief(), ["file  -"]);
    assert_eq!(findings.differences[0].table, "the dump");
    std::fs::remove_file(path).unwrap();
    run(["verify", &dir]).fails(1).stderr_has(&["manifest.json"]);
}

/// Replaces text in all sidecars and the manifest, and gives the manifest the checksum of what it says then.
fn edit_and_seal(dir: &str, from: &str, to: &str) {
    const KEY: &str = ",\n  \"checksum\": \"xxh3-128:";
    for name in files(dir).into_iter().filter(|name| name.ends_with(".json")) {
        let path = format!("{dir}/{name}");
        let mut text = std::fs::read_to_string(&path).unwrap().replace(from, to);
        if name == "manifest.json" {
            let (body, _) = text.rsplit_once(KEY).unwrap();
            text = format!("{body}{KEY}{:032x}\"\n}}\n", xxh3_128(body.as_bytes()));
        }
        std::fs::write(&path, text).unwrap();
    }
}

/// The checksums fit what is there, so that only reading the rows can tell.
#[test]
fn rows_and_sums_that_do_not_belong_together_are_found() {
    let source = TestKeyspace::with(
        "sums",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v text, m map<int, int>)",
            "INSERT INTO t (k, v, m) VALUES (1, 'some text', {1: 1}) USING TIMESTAMP 12345 AND TTL 1000000",
        ],
    );
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, format).success();
        let part = first(&dir, format);
        let sums = json(part.replace(&format!(".{format}"), ".json"))["sums"].clone();
        assert_eq!(sums.as_object().unwrap().len(), 4, "{sums}");
        for (which, sum) in sums.as_object().unwrap() {
            let sum = sum.as_str().unwrap();
            let other = format!("{:032x}", u128::from_str_radix(sum, 16).unwrap() ^ 1);
            edit_and_seal(&dir, sum, &other);
            run(["verify", &dir]).fails(4).stdout_has(&["part-00001", "sum"]);
            edit_and_seal(&dir, &other, sum);
            println!("{which} looked at");
        }
        run(["verify", &dir]).success();
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let part = first(&dir, "csv");
    for (from, to) in [("some text", "same text"), ("12345", "12346"), (r#""{""1"":1}""#, r#""{""1"":2}""#)] {
        let seal = |from: &str, to: &str| {
            let before = std::fs::read_to_string(&part).unwrap();
            let after = before.replace(from, to);
            assert_ne!(before, after, "{from}: the damage changed nothing");
            std::fs::write(&part, &after).unwrap();
            let [before, after] = [before, after].map(|text| format!("{:032x}", xxh3_128(text.as_bytes())));
            edit_and_seal(&dir, &before, &after);
        };
        seal(from, to);
        run(["verify", &dir]).fails(4).stdout_has(&["part-00001", "sum"]);
        seal(to, from);
        run(["verify", &dir]).success();
    }
}
