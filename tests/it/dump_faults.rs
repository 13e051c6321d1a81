//! What may happen to a dump from outside: a full disk, a directory that cannot be written, partitions that cannot be read,
//! tables that are dropped, altered or truncated meanwhile. And to loads: a full disk for what they write down, and tables
//! that are dropped.

use crate::harness::{Db, Node, Scratch, TestKeyspace, files, json};
use crate::network::Forwarder;
use crate::resume_dump::{Running, WIDE, assert_whole, fill};
use std::process::Command;

/// A file system of its own, of so many bytes, in memory.
struct Small(String);

impl Small {
    /// Mounts it at `path`. Without the right to mount the test fails: it must not look as if it had been run.
    fn mount(path: String, bytes: usize) -> Small {
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "cqlift-test", &path]).output().unwrap();
        assert!(
            mount.status.success(),
            "this test mounts a small file system, as root: {}",
            String::from_utf8_lossy(&mount.stderr)
        );
        Small(path)
    }

    /// Gives it another size.
    fn resize(&self, bytes: usize) {
        let size = format!("remount,size={bytes}");
        assert!(Command::new("mount").args(["-o", &size, &self.0]).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A test that fails should say why, not that it could not tidy up as well.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The parts that are there, with their sidecars.
fn sidecars(dir: &str) -> usize {
    files(dir).iter().filter(|name| name.starts_with("data/") && name.ends_with(".json")).count()
}

#[test]
fn a_dump_goes_on_when_a_full_disk_has_room_again() {
    let source = TestKeyspace::with("full_disk", &["CREATE TABLE t (k int PRIMARY KEY, v blob)"]);
    let mut chance = crate::random_values::Chance::new(7);
    let row = |k: usize| {
        let blob: String = (0..256).map(|_| format!("{:016x}", chance.next())).collect();
        format!("INSERT INTO t (k, v) VALUES ({k}, 0x{blob})")
    };
    fill(&source.db, (0..6000).map(row));
    // Twelve megabytes of rows, twice as many in CSV.
    for (format, room) in [("parquet", 8 << 20), ("csv", 15 << 20)] {
        let scratch = Scratch::new();
        let disk = Small::mount(scratch.path("small"), room);
        let dir = format!("{}/dump", disk.0);
        let args = ["dump", &source.name, "-o", &dir, "--format", format, "--part-size", "256KiB"];
        let done =
            source.node.run(args).fails(1).stderr_has(&["no space left", "same command again", "part-"]);
        assert!(!files(&dir).contains(&"manifest.json".to_owned()), "{}", done.told());
        let kept = sidecars(&dir);
        assert!(kept > 0, "finished parts are kept: {:?}", files(&dir));
        disk.resize(64 << 20);
        source.node.run(args).success().stderr_has(&["going on with the dump"]);
        assert_whole(&source, &dir);
    }
}

/// What a load or an import writes down for itself, and what it rejects, has no room.
#[test]
fn a_load_goes_on_when_a_full_disk_has_room_for_its_state_again() {
    let source = TestKeyspace::with("full_state", &["CREATE TABLE t (k int PRIMARY KEY, v int)"]);
    fill(&source.db, (0..100).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, {k})")));
    let scratch = Scratch::new();
    let (dir, csv) = (scratch.path("dump"), scratch.path("t.csv"));
    source.dump(&dir, "parquet").success();
    let table = source.table("t");
    source.node.run(["export", &table, "-o", &csv]).success();
    let bad = scratch.write("bad.csv", "k,v\n1,1\nx,2\n");
    let (loaded, imported) = (source.target("loaded"), source.table("u"));
    source.db.execute("CREATE TABLE u (k int PRIMARY KEY, v int)");
    let (map, full) = (format!("{}={loaded}", source.name), scratch.path("small"));
    let disk = Small::mount(full.clone(), 64 << 10);
    let rows = |table: &str| source.db.count(table);
    std::fs::write(format!("{full}/all"), vec![0; 64 << 10]).unwrap();
    let load = ["load", &dir, "--map", &map, "--state", &full];
    source.node.run(load).fails(1).stderr_has(&["no space left", &full]);
    let import = ["import", &imported, &csv, "--state", &full];
    source.node.run(import).fails(1).stderr_has(&["no space left", &full]);
    let reject = ["import", &imported, &bad, "--reject-dir", &full];
    source.node.run(reject).fails(1).stderr_has(&["no space left", &full]);
    disk.resize(4 << 20);
    source.node.run(load).success();
    source.node.run(import).success();
    assert_eq!((rows(&format!("{loaded}.t")), rows(&imported)), (100, 100));
    source.node.run(reject).fails(3).stderr_has(&["1 record was rejected"]);
}

#[test]
fn a_table_that_is_dropped_during_a_load_is_named() {
    let source = two_tables("dropped_load");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let map = format!("{}={target}", source.name);
    let args = ["load", &dir, "--map", &map, "--rate", "300"];
    let mut run = Running::start(&source.node, &args);
    let t = format!("{target}.t");
    run.until("rows", || {
        source.db.try_execute(&format!("SELECT k FROM {t}")).is_ok() && source.db.count(&t) > 0
    });
    source.db.execute(&format!("DROP TABLE {t}"));
    let (code, told) = run.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&t), "{told}");
    assert!(!told.contains("rejected"), "{told}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let source = TestKeyspace::with(
        "read_only",
        &["CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t (k) VALUES (1)"],
    );
    let scratch = Scratch::new();
    let disk = Small::mount(scratch.path("small"), 1 << 20);
    assert!(Command::new("mount").args(["-o", "remount,ro", &disk.0]).status().unwrap().success());
    // Root may write where modes forbid it, but not on a read-only file system.
    let dir = format!("{}/dump", disk.0);
    source.node.run(["dump", &source.name, "-o", &dir]).fails(1).stderr_has(&[&dir, "read-only"]);
    // A file stands in the way.
    let file = scratch.write("file", "x");
    source.node.run(["dump", &source.name, "-o", &file]).fails(1).stderr_has(&[&file]);
}

/// Three partitions of one token, by Murmur3: of each first half its second half was solved for one state of the hash.
const ONE_TOKEN: [&str; 3] = [
    "0x010000000000000007000000000000001832f5ed1908bd482fd736cb2dfa50df",
    "0x02000000000000000e0000000000000065df66a7fa52e4060903565a5715e2b2",
    "0x03000000000000001500000000000000913ac93490e1de0b63cd7fed2fcfb78a",
];

#[test]
fn partitions_that_share_a_token_are_all_read_by_a_dump_that_stopped_in_one() {
    let source = TestKeyspace::with(
        "one_token",
        &["CREATE TABLE t (k blob, c int, s text static, v text, PRIMARY KEY (k, c))"],
    );
    let tokens = |db: &Db| db.rows("SELECT DISTINCT token(k), k FROM t");
    let text = "z".repeat(WIDE);
    let rows = ONE_TOKEN[..2].iter().flat_map(|k| {
        let text = &text;
        (0..400).map(move |c| format!("INSERT INTO t (k, c, s, v) VALUES ({k}, {c}, 's', '{text}')"))
    });
    let alone = std::iter::once(format!("INSERT INTO t (k, s) VALUES ({}, 'alone')", ONE_TOKEN[2]));
    let others = (0..300).map(|k| format!("INSERT INTO t (k, c, v) VALUES (0x{k:08x}, 1, 'v')"));
    fill(&source.db, rows.chain(alone).chain(others));
    let all = tokens(&source.db);
    let shared = all.iter().filter(|row| all.iter().filter(|other| other[0] == row[0]).count() == 3).count();
    assert_eq!(shared, 3, "the premise: they have one token");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let args = ["dump", &source.name, "-o", &dir, "--part-size", "64KiB", "--format", "csv", "--rate", "150"];
    let mut stops = 0;
    for _ in 0..6 {
        let mut run = Running::start(&source.node, &args);
        let goal = sidecars(&dir) + 1;
        while !run.has_ended() && sidecars(&dir) < goal {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        stops += usize::from(!run.has_ended());
        if !run.has_ended() {
            run.signal("-INT");
        }
        run.end();
    }
    println!("stopped {stops} times");
    assert!(stops > 0, "no run was stopped");
    if !files(&dir).contains(&"manifest.json".to_owned()) {
        source.node.run(&args[..args.len() - 2]).success();
    }
    assert_whole(&source, &dir);
}

/// A partition with more deleted rows than servers read past in one request (`tombstone_failure_threshold`).
#[test]
fn a_partition_that_cannot_be_read_costs_nothing_else() {
    const DELETED: usize = 101_000;
    let source = TestKeyspace::with(
        "unreadable",
        &[
            "CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))",
            "CREATE TABLE u (k int PRIMARY KEY, v text)",
        ],
    );
    let delete = |first: usize| {
        let each: String =
            (first..first + 500).map(|c| format!("DELETE FROM t WHERE k = 77 AND c = {c};")).collect();
        format!("BEGIN UNLOGGED BATCH {each} APPLY BATCH")
    };
    for first in (0..DELETED).step_by(4000) {
        fill(&source.db, (first..first + 4000).step_by(500).map(delete));
    }
    let of_t = (0..400).map(|k| format!("INSERT INTO t (k, c, v) VALUES ({k}, 1000000, 'v')"));
    let of_u = (0..400).map(|k| format!("INSERT INTO u (k, v) VALUES ({k}, 'v')"));
    fill(&source.db, of_t.chain(of_u));
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let dump = || source.node.run(["dump", &source.name, "-o", &dir]);
    let done = dump().fails(1).stderr_has(&[
        "1 token range could not be read",
        &format!("{} (", source.table("t")),
        "same command again",
        "tombstone",
    ]);
    assert!(!files(&dir).contains(&"manifest.json".to_owned()), "{}", done.told());
    // All rows but those of the partition are there.
    let rows = |dir: &str| -> u64 {
        let sidecars =
            files(dir).into_iter().filter(|name| name.starts_with("data/") && name.ends_with(".json"));
        sidecars.map(|name| json(format!("{dir}/{name}"))["rows"].as_u64().unwrap()).sum()
    };
    assert_eq!(rows(&dir), 799, "{}", done.told());
    let before = files(&dir);
    // Once it can be read, that is all that is read.
    source.db.execute("DELETE FROM t WHERE k = 77");
    source.db.execute("INSERT INTO t (k, c, v) VALUES (77, 1000000, 'again')");
    let done = dump().success();
    assert!(before.iter().all(|name| name == "begun.json" || files(&dir).contains(name)), "{}", done.told());
    assert_whole(&source, &dir);
}

/// All connections end in the middle, and nobody answers any more.
#[test]
fn a_dump_ends_when_the_cluster_is_gone_and_goes_on_when_it_is_back() {
    let source = two_tables("gone");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let forwarder = Forwarder::to(&source.node);
    let (host, port) = (forwarder.address.ip().to_string(), forwarder.address.port());
    let node = Node { host, port, ..source.node.clone() };
    let dump = ["dump", &source.name, "-o", &dir, "--rate", "800", "--part-size", "64KiB"];
    let args = [&dump[..], &["--only-contact-points", "--max-attempts", "6"]].concat();
    let mut run = Running::start(&node, &args);
    run.until("parts", || sidecars(&dir) > 2);
    drop(forwarder);
    let (code, told) = run.end();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("could not be read: ") && told.contains("same command again"), "{told}");
    let kept = files(&dir);
    assert!(!kept.contains(&"manifest.json".to_owned()) && sidecars(&dir) > 2, "{kept:?}");
    source.node.run(["dump", &source.name, "-o", &dir]).success().stderr_has(&["going on with the dump"]);
    assert_whole(&source, &dir);
}

/// Two tables, of which `t` is read slowly.
fn two_tables(name: &str) -> TestKeyspace {
    let source = TestKeyspace::with(
        name,
        &["CREATE TABLE t (k int PRIMARY KEY, v text)", "CREATE TABLE u (k int PRIMARY KEY, v text)"],
    );
    let text = "x".repeat(WIDE);
    let of = |table: &'static str| {
        let text = text.clone();
        (0..1500).map(move |k| format!("INSERT INTO {table} (k, v) VALUES ({k}, '{text}')"))
    };
    fill(&source.db, of("t").chain(of("u")));
    source
}

/// Dumps slowly, and runs `statements` once parts of `t` are there.
fn meanwhile(source: &TestKeyspace, dir: &str, statements: &[&str]) -> (Option<i32>, String) {
    let args = ["dump", &source.name, "-o", dir, "--rate", "700", "--part-size", "64KiB"];
    let mut run = Running::start(&source.node, &args);
    let folder = format!("{dir}/data/{}/t", source.name);
    run.until("parts of t", || files(&folder).iter().filter(|name| name.ends_with(".json")).count() >= 2);
    for statement in statements {
        source.db.execute(statement);
    }
    run.end()
}

#[test]
fn a_table_that_is_dropped_meanwhile_is_named_and_others_are_kept() {
    let source = two_tables("dropped");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (code, told) = meanwhile(&source, &dir, &["DROP TABLE t"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&format!("{} was dropped", source.table("t"))), "{told}");
    let left = files(&dir);
    assert!(!left.contains(&"manifest.json".to_owned()), "{left:?}");
    let of_u = left.iter().filter(|name| name.starts_with(&format!("data/{}/u/", source.name)));
    let rows: u64 = of_u
        .filter(|name| name.ends_with(".json"))
        .map(|name| json(format!("{dir}/{name}"))["rows"].as_u64().unwrap())
        .sum();
    assert_eq!(rows, 1500, "the other table is there: {told}");
    source.node.run(["dump", &source.name, "-o", &dir]).fails(1).stderr_has(&["was dropped", "--restart"]);
    source.node.run(["dump", &source.name, "-o", &dir, "--restart"]).success();
    assert_whole(&source, &dir);
}

#[test]
fn a_table_that_is_altered_meanwhile_is_named() {
    let source = two_tables("altered");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (code, told) = meanwhile(&source, &dir, &["ALTER TABLE t ADD w int"]);
    assert_eq!(code, Some(1), "{told}");
    let what = format!("{} was altered: column \"w\" was added", source.table("t"));
    assert!(told.contains(&what) && !files(&dir).contains(&"manifest.json".to_owned()), "{told}");
    // Made again under its name, with other rows.
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let again = ["DROP TABLE t", "CREATE TABLE t (k int PRIMARY KEY, v text, w int)"];
    let (code, told) = meanwhile(&source, &dir, &again);
    assert_eq!(code, Some(1), "{told}");
    // Whoever looks between the two statements sees the first.
    assert!(told.contains(&format!("{} was dropped", source.table("t"))), "{told}");
    let again = source.node.run(["dump", &source.name, "-o", &dir]);
    again.fails(1).stderr_has(&[&format!("{} was dropped and made again", source.table("t")), "--restart"]);
}

/// Some of the table was read with its cells, some without.
#[test]
fn a_column_that_is_dropped_and_added_again_meanwhile_is_named() {
    let source = two_tables("readded");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (code, told) = meanwhile(&source, &dir, &["ALTER TABLE t DROP v", "ALTER TABLE t ADD v text"]);
    assert_eq!(code, Some(1), "{told}");
    // Whoever looks between the two statements sees the first.
    let what = format!("{} was altered: column \"v\" was dropped", source.table("t"));
    assert!(told.contains(&what) && !files(&dir).contains(&"manifest.json".to_owned()), "{told}");
}

#[test]
fn a_table_that_is_truncated_meanwhile_is_named_in_the_dump() {
    for version in ["5.0", "4.1"] {
        let node = Node::get(version);
        let source = TestKeyspace::with_on(
            node,
            "truncated",
            &["CREATE TABLE t (k int PRIMARY KEY, v text)", "CREATE TABLE u (k int PRIMARY KEY, v text)"],
        );
        let text = "x".repeat(WIDE);
        fill(&source.db, (0..1500).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')")));
        // Long ago is not meanwhile.
        source.db.execute("TRUNCATE u");
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        let (code, told) = meanwhile(&source, &dir, &["TRUNCATE t"]);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            told.contains(&format!("one state of the table ({}): it was truncated at", source.table("t"))),
            "{told}"
        );
        let lacks = json(format!("{dir}/manifest.json"))["not_preserved"].clone();
        let named: Vec<&str> =
            lacks.as_array().unwrap().iter().map(|l| l["object"].as_str().unwrap()).collect();
        assert!(
            named.contains(&source.table("t").as_str()) && !named.contains(&source.table("u").as_str()),
            "{lacks}"
        );
    }
}
