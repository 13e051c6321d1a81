//! Moments that a load does not take as they are: expiries that have come, that the target cannot hold or that its table
//! would make up, and the write times and expiries that `--timestamp` and `--ttl` ask for.

use crate::fidelity::wait_until;
use crate::harness::{BOTH, Node, Scratch, TestKeyspace, parts};
use crate::times::{SLACK, Told, assert_same_times, now, told};
use xxhash_rust::xxh3::xxh3_128;

const TABLE: &str = "CREATE TABLE t (k int, c int, s text static, a text, b text, PRIMARY KEY (k, c))";

/// Rows with little time left, dumped while they live: `dir` holds them all. A slow machine gets more time.
fn dumped_alive(source: &TestKeyspace, scratch: &Scratch, format: &str) -> String {
    for ttl in [4, 15, 50] {
        let dir = scratch.path(&format!("{format}_{ttl}"));
        for statement in [
            "INSERT INTO t (k, c, a, b) VALUES (1, 1, 'goes', 'goes') USING TTL {}",
            "INSERT INTO t (k, c, a) VALUES (1, 2, 'stays') USING TIMESTAMP 1000",
            "UPDATE t USING TTL {} SET b = 'goes' WHERE k = 1 AND c = 2",
            "UPDATE t USING TTL {} SET s = 'goes' WHERE k = 2",
        ] {
            source.db.execute(&statement.replace("{}", &ttl.to_string()));
        }
        let said = source.dump_json(&dir, format);
        let cells: u64 = parts(&dir, &source.name, "t", "json")
            .iter()
            .map(|sidecar| crate::harness::json(sidecar)["cells"].as_u64().unwrap())
            .sum();
        // Keys and cells of two rows and one static-only partition.
        if said["rows"] == 3 && cells == 4 + 4 + 2 {
            return dir;
        }
        println!("{said}, {cells} cells: too slow for {ttl} s");
    }
    panic!("rows that live for 50 s were not dumped while they lived");
}

#[test]
fn what_expired_since_the_dump_is_dropped_and_counted() {
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "expired", &[TABLE]);
        for format in ["parquet", "csv"] {
            let scratch = Scratch::new();
            let dir = dumped_alive(&source, &scratch, format);
            wait_until("what was dumped expires", || {
                source.db.rows("SELECT a, b FROM t") == [vec![Some(b"stays".to_vec()), None]]
            });
            let target = source.target(format);
            let loaded = source.load_json(&dir, &target, &[]);
            let rows = source.db.texts(&format!("SELECT JSON * FROM {target}.t"));
            assert_eq!(
                rows,
                [[r#"{"k": 1, "c": 2, "s": null, "a": "stays", "b": null}"#]],
                "{version} {format}"
            );
            assert_eq!(loaded["expired_rows"], 1, "{loaded}");
            assert!(loaded["expired_cells"].as_u64() >= Some(2), "{loaded}");
        }
    }
}

#[test]
fn a_default_ttl_of_the_table_does_not_show() {
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "def_ttl",
            &[
                &format!("{TABLE} WITH default_time_to_live = 5000"),
                "INSERT INTO t (k, c, a, b) VALUES (1, 1, 'never', 'never') USING TIMESTAMP 1000 AND TTL 0",
                "INSERT INTO t (k, c, a) VALUES (1, 2, 'never') USING TIMESTAMP 1000 AND TTL 0",
                "UPDATE t USING TIMESTAMP 2000 AND TTL 9000 SET b = 'later' WHERE k = 1 AND c = 2",
                "INSERT INTO t (k, c, a) VALUES (1, 3, 'later') USING TIMESTAMP 1000 AND TTL 9000",
                "UPDATE t USING TIMESTAMP 2000 AND TTL 0 SET b = 'never' WHERE k = 1 AND c = 3",
                "INSERT INTO t (k, c, a) VALUES (1, 4, 'default') USING TIMESTAMP 1000",
                "UPDATE t USING TIMESTAMP 3000 AND TTL 0 SET s = 'never' WHERE k = 1",
                "UPDATE t USING TIMESTAMP 3000 AND TTL 9000 SET s = 'later' WHERE k = 2",
            ],
        );
        for format in ["parquet", "csv"] {
            let target = source.reloaded(format);
            let tables = [source.table("t"), format!("{target}.t")];
            assert_same_times((&source.db, &tables[0]), (&source.db, &tables[1]), "k, c", &["s", "a", "b"]);
        }
    }
}

/// Rewrites what a dump says, in its CSV parts, sidecars and manifest alike, and makes the checksums fit again. Both
/// texts are of one length.
fn forge(dir: &str, keyspace: &str, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let replace = |path: &std::path::Path, pairs: &[(String, String)]| {
        let text = std::fs::read_to_string(path).unwrap();
        let new = pairs.iter().fold(text, |text, (from, to)| text.replace(from, to));
        std::fs::write(path, &new).unwrap();
        new
    };
    let hash = |path: &std::path::Path| format!("xxh3-128:{:032x}", xxh3_128(&std::fs::read(path).unwrap()));
    let mut pairs = vec![(from.to_owned(), to.to_owned())];
    for part in parts(dir, keyspace, "t", "csv") {
        let before = hash(&part);
        replace(&part, &pairs[..1]);
        pairs.push((before, hash(&part)));
    }
    assert!(pairs.iter().skip(1).any(|(a, b)| a != b), "{from} stands nowhere in the dump");
    for sidecar in parts(dir, keyspace, "t", "json") {
        replace(&sidecar, &pairs);
    }
    let manifest = std::path::Path::new(dir).join("manifest.json");
    let text = replace(&manifest, &pairs);
    // The last line is the checksum of all before it.
    let (body, _) = text.rsplit_once(",\n  \"checksum\": ").unwrap();
    let text = format!("{body},\n  \"checksum\": \"xxh3-128:{:032x}\"\n}}\n", xxh3_128(body.as_bytes()));
    std::fs::write(manifest, text).unwrap();
}

/// Only a server that is set up for it holds such an expiry, so the dump is made to say one.
#[test]
fn an_expiry_beyond_2038_is_cut_and_counted() {
    const BEYOND: &str = "4102444800";
    const LAST: i64 = 2_147_483_646;
    for version in BOTH {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "beyond",
            &[
                TABLE,
                "INSERT INTO t (k, c, a) VALUES (1, 1, 'a') USING TIMESTAMP 1000 AND TTL 5000",
                "INSERT INTO t (k, c, a) VALUES (1, 2, 'a') USING TIMESTAMP 1000",
            ],
        );
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        source.dump(&dir, "csv").success();
        let part = &parts(&dir, &source.name, "t", "csv")[0];
        let mut reader = csv::Reader::from_path(part).unwrap();
        let place = reader.headers().unwrap().iter().position(|h| h == "a__expires_at").unwrap();
        let expiry: Vec<String> = reader.records().map(|r| r.unwrap()[place].to_owned()).collect();
        assert_eq!((expiry[0].len(), expiry[1].as_str()), (10, ""), "{expiry:?}");
        forge(&dir, &source.name, &expiry[0], BEYOND);
        crate::harness::run(["verify", &dir]).success();
        let loaded = source.load_json(&dir, &target, &[]);
        assert_eq!(loaded["capped"], 1, "{loaded}");
        let cells = told(&source.db, &format!("{target}.t"), "c", &["a"]);
        let cells: Vec<&Told> = cells.values().flatten().collect();
        let cut = cells[0].expires[0].unwrap();
        assert!((cut - LAST).abs() <= SLACK, "{version}: expires at {cut}");
        assert_eq!((&cells[0].written[..], &cells[1].expires[..]), (&[Some(1000)][..], &[][..]));
        source.load(&dir, &source.target("strict"), &["--strict"]).fails(3);
    }
}

#[test]
fn write_times_and_expiries_can_be_asked_for() {
    let statements: &[&str] = &[
        TABLE,
        "INSERT INTO t (k, c, a, b) VALUES (1, 1, 'a', 'b') USING TIMESTAMP 1000",
        "UPDATE t USING TIMESTAMP 2000 AND TTL 9000 SET b = 'b' WHERE k = 1 AND c = 1",
        "UPDATE t USING TIMESTAMP 3000 AND TTL 9000 SET s = 's' WHERE k = 1",
    ];
    for version in BOTH {
        let source = TestKeyspace::with_on(Node::get(version), "asked", statements);
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "parquet").success();
        let begun = now();
        // What is told of the cells a, b and s after a load with these flags.
        let load = |tag: &str, flags: &[&str]| {
            let target = source.target(tag);
            source.load(&dir, &target, flags).success();
            let rows = told(&source.db, &format!("{target}.t"), "k, c", &["a", "b", "s"]);
            let cells: Vec<Told> = rows.into_values().flatten().collect();
            let values: Vec<_> = cells.iter().filter_map(|c| c.value.as_deref()).collect();
            assert_eq!(values, [b"a", b"b", b"s"], "{version} {flags:?}");
            let written = cells.iter().map(|c| c.written[0].unwrap()).collect::<Vec<_>>();
            let expires = cells.iter().map(|c| c.expires.first().copied().flatten()).collect::<Vec<_>>();
            (written, expires)
        };
        let near = |moment: Option<i64>, seconds: i64| {
            moment.is_some_and(|m| (begun + seconds - SLACK..=now() + seconds + SLACK).contains(&m))
        };
        let (written, expires) = load("as_is", &[]);
        assert_eq!((&written[..], expires[0]), (&[1000, 2000, 3000][..], None));
        assert!(expires[1..].iter().all(|e| e.is_some()), "{expires:?}");

        let (written, expires) = load("drop", &["--ttl", "drop"]);
        assert_eq!((&written[..], &expires[..]), (&[1000, 2000, 3000][..], &[None, None, None][..]));

        let (written, expires) = load("seconds", &["--ttl", "5000"]);
        assert_eq!(written, [1000, 2000, 3000]);
        assert!(expires.iter().all(|e| near(*e, 5000)), "{expires:?}");

        let (written, expires) = load("micros", &["--timestamp", "12345"]);
        assert_eq!((&written[..], expires[0]), (&[12345, 12345, 12345][..], None));
        assert!(expires[1..].iter().all(|e| e.is_some()), "{expires:?}");

        let (written, expires) = load("now", &["--timestamp", "now", "--ttl", "keep"]);
        assert!(written.iter().all(|w| near(Some(w / 1_000_000), 0)), "{written:?}");
        assert_eq!(expires[0], None);
        assert!(expires[1..].iter().all(|e| e.is_some()), "{expires:?}");

        let (written, expires) = load("both", &["--timestamp", "12345", "--ttl", "drop"]);
        assert_eq!((&written[..], &expires[..]), (&[12345, 12345, 12345][..], &[None, None, None][..]));
    }
}

#[test]
fn a_wrong_time_or_ttl_is_a_usage_error() {
    let source = TestKeyspace::with("wrong_flags", &[TABLE]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    for flags in [
        ["--ttl", "-1"],
        ["--ttl", "630720001"],
        ["--ttl", "soon"],
        ["--timestamp", "yesterday"],
        ["--timestamp", "-9223372036854775808"],
    ] {
        let [flag, value] = flags;
        source
            .load(&dir, &source.target("x"), &[&format!("{flag}={value}")])
            .fails(2)
            .stderr_has(&[flag, value]);
    }
}
