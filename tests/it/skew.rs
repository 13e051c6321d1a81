//! Tables that lie unevenly on the ring, and ranges that the server cannot read in one go.

use crate::harness::{Db, Node, Scratch, TestKeyspace, json};
use crate::network::Forwarder;

/// Each partition has so many deleted rows that no half of the ring, but any small piece of it, may be read at once:
/// servers give up after 100,000 of them in one request (`tombstone_failure_threshold`).
#[test]
fn a_range_full_of_tombstones_is_read_in_pieces() {
    const PARTITIONS: usize = 320;
    const DELETED: usize = 700;
    // One node: of several each reads less at once, and does not give up.
    let source =
        TestKeyspace::with("tombstones", &["CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))"]);
    let delete = |k: usize| {
        let each: String =
            (0..DELETED).map(|c| format!("DELETE FROM t WHERE k = {k} AND c = {c};")).collect();
        format!("BEGIN UNLOGGED BATCH {each} APPLY BATCH")
    };
    // Few at a time: batches of so much text keep a server busy.
    for first in (0..PARTITIONS).step_by(8) {
        source.db.try_each((first..first + 8).map(delete)).unwrap();
    }
    let live =
        (0..PARTITIONS).step_by(40).map(|k| format!("INSERT INTO t (k, c, v) VALUES ({k}, 1000, 'v')"));
    source.db.try_each(live).unwrap();
    // The premise: the server does refuse.
    let refused = source.db.try_execute("SELECT k, c, v FROM t").unwrap_err();
    assert!(refused.to_lowercase().contains("fail"), "{refused}");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let told = source.dump_json(&dir, "csv");
    assert_eq!(told["rows"], PARTITIONS / 40);
    source.node.run(["verify", &dir]).success();
}

/// Servers take lone surrogates as text, and then cannot spell them: with such a partition key a read that goes on from
/// it fails, as often as it is tried (4.1, 5.0).
#[test]
fn partitions_whose_key_a_server_cannot_spell_are_read_whole() {
    for version in ["5.0", "4.1"] {
        let source = TestKeyspace::with_on(
            Node::get(version),
            "surrogates",
            &["CREATE TABLE t (k text, c int, v text, PRIMARY KEY (k, c))"],
        );
        // As the only partition, and among others, of one row and of many pages of a few.
        let insert = |k: String, c: usize| format!("INSERT INTO t (k, c, v) VALUES ({k}, {c}, 'v')");
        let rows = (0..900).map(|c| insert("blobAsText(0x6beda080)".into(), c));
        let lone = (0..200)
            .map(|k| insert(format!("blobAsText(0xeda08061{:02x}{:02x})", 0x61 + k / 20, 0x61 + k % 20), 0));
        let sound = (0..200).map(|k| insert(format!("'{k}'"), 0));
        source.db.try_each(rows.chain(lone).chain(sound)).unwrap();
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("loaded"));
        // A part is smaller than the partition.
        source
            .node
            .run(["dump", &source.name, "-o", &dir, "--part-size", "4KiB", "--format", "csv"])
            .success();
        source.load(&dir, &target, &[]).success();
        let map = format!("{}={target}", source.name);
        source.node.run(["verify", &dir, "--map", &map]).success().stderr_has(&["1,300 rows"]);
    }
}

/// All rows lie in a hundredth of the ring, so that ranges of equal width would leave all but one worker idle.
#[test]
fn data_in_few_tokens_is_shared_out() {
    let source = TestKeyspace::with(
        "few_tokens",
        &["CREATE TABLE keys (k int PRIMARY KEY)", "CREATE TABLE t (k int PRIMARY KEY, v text)"],
    );
    source.db.try_each((0..60_000).map(|k| format!("INSERT INTO keys (k) VALUES ({k})"))).unwrap();
    let end = i64::MIN / 100 * 98;
    let keys = source.db.rows(&format!("SELECT k FROM keys WHERE token(k) <= {end}"));
    let keys: Vec<i32> =
        keys.iter().map(|row| i32::from_be_bytes(row[0].clone().unwrap().try_into().unwrap())).collect();
    assert!((400..900).contains(&keys.len()), "a hundredth of 60,000 are about 600: {}", keys.len());
    let text = "x".repeat(32 << 10);
    let rows = keys.iter().map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')"));
    source.db.try_each(rows).unwrap();
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    let parts = json(format!("{dir}/manifest.json"))["keyspaces"][0]["tables"][0]["parts"].clone();
    let holding = parts.as_array().unwrap().iter().filter(|p| p["rows"].as_u64() > Some(0)).count();
    // Each worker that took some of it over wrote a part of its own.
    assert!(holding > 2, "{parts:#}");
}

/// Where there are two nodes, the pages of a partition are asked of the one that holds it.
#[test]
fn pages_are_asked_of_a_replica() {
    const ROWS: usize = 1500;
    let source = TestKeyspace::with_on(
        Node::get("4.1"),
        "replica",
        &["CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))"],
    );
    let text = "x".repeat(16 << 10);
    source
        .db
        .try_each((0..ROWS).map(|c| format!("INSERT INTO t (k, c, v) VALUES (1, {c}, '{text}')")))
        .unwrap();
    // A driver asks any node; behind port mapping it knows but one.
    let alone = |node: &Node| {
        let forwarder = Forwarder::to(node);
        let (host, port) = (forwarder.address.ip().to_string(), forwarder.address.port());
        (Db::connect(&Node { host, port, ..node.clone() }), forwarder)
    };
    let (db, _forwarder) = alone(&source.node);
    let peers = db.rows("SELECT rpc_address FROM system.peers");
    let host = |row: &Vec<Option<Vec<u8>>>| {
        let bytes: [u8; 4] = row[0].clone().unwrap().try_into().unwrap();
        std::net::Ipv4Addr::from(bytes).to_string()
    };
    let mut nodes = vec![source.node.clone()];
    nodes.extend(peers.iter().map(|row| Node { host: host(row), ..source.node.clone() }));
    let scratch = Scratch::new();
    source.node.run(["dump", &source.name, "-o", &scratch.path("dump")]).success();
    let mut scans: Vec<i64> = nodes.iter().map(|node| scans(&alone(node).0, &source.name)).collect();
    scans.sort_unstable();
    println!("pages by coordinator: {scans:?}");
    // 24 MB are some 24 pages, besides the first ones, of which nobody knows yet where they lead.
    assert!(scans.pop() > Some(18), "{scans:?}");
    assert!(scans.iter().all(|others| *others < 8), "{scans:?}");
}

/// How many scans of its table `t` a node has coordinated.
fn scans(db: &Db, keyspace: &str) -> i64 {
    let counted = db.rows(&format!(
        "SELECT count FROM system_views.coordinator_scan_latency WHERE keyspace_name = '{keyspace}' AND table_name = 't'"
    ));
    counted.first().map_or(0, |row| i64::from_be_bytes(row[0].clone().unwrap().try_into().unwrap()))
}

/// However many ranges the ring has, an empty table is one request.
#[test]
fn an_empty_table_is_one_scan() {
    let source = TestKeyspace::with("one_scan", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let scratch = Scratch::new();
    let before = scans(&source.db, &source.name);
    source.node.run(["dump", &source.name, "-o", &scratch.path("dump")]).success();
    assert_eq!(scans(&source.db, &source.name) - before, 1);
}
