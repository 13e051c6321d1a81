//! What a run may use up: memory, whatever the size of rows; rows in a second; bytes on the network.

use crate::harness::{Node, Scratch, TestKeyspace, tool};
use crate::network::Forwarder;
use crate::roundtrip::assert_same;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ROWS: usize = 96;
const MIB: usize = 1 << 20;

/// A table of rows of 1 MiB.
fn large_rows(name: &str) -> TestKeyspace {
    let source = TestKeyspace::with(name, &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let text = "x".repeat(MIB);
    // Few at a time: a node holds them all in memory.
    for first in (0..ROWS).step_by(8) {
        let rows = (first..first + 8).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{k}{text}')"));
        source.db.try_each(rows).unwrap();
    }
    source
}

/// Runs the tool to its end; answers the most memory that it had, bytes.
fn peak(source: &TestKeyspace, args: &[&str]) -> usize {
    let mut child = tool(env!("CARGO_BIN_EXE_cqlift"))
        .args(args)
        .args(["-h", &source.node.host, "-P", &source.node.port.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok());
        most = most.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    most
}

/// Eight workers with eight megabytes each of row group, pages that wait, and rows that are there several times over.
#[test]
fn rows_of_a_mebibyte_stay_within_the_memory() {
    let source = large_rows("mem_large");
    let scratch = Scratch::new();
    for (format, preserve) in [("parquet", "all"), ("csv", "none")] {
        let dir = scratch.path(&format!("{format}-{preserve}"));
        let args = ["dump", &source.name, "-o", &dir, "--format", format, "--preserve", preserve];
        let most = peak(&source, &args);
        println!("dump {format} {preserve}: {} MiB", most / MIB);
        assert!(most < 256 * MIB, "{format} {preserve}: {} MiB", most / MIB);
    }
    let dir = scratch.path("parquet-all");
    let target = source.target("loaded");
    let map = format!("{}={target}", source.name);
    let most = peak(&source, &["load", &dir, "--map", &map]);
    println!("load: {} MiB", most / MIB);
    assert!(most < 256 * MIB, "load: {} MiB", most / MIB);
    assert_eq!(assert_same(&source.db, &source.name, &target), ROWS);
    let most = peak(&source, &["verify", &dir]);
    assert!(most < 256 * MIB, "verify: {} MiB", most / MIB);
}

/// A budget smaller than a row lets rows through one at a time.
#[test]
fn a_budget_smaller_than_a_row_is_enough() {
    let source = large_rows("mem_small");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.node.run(["dump", &source.name, "-o", &dir, "--memory", "64KiB"]).success();
    source.load(&dir, &target, &["--memory", "64KiB"]).success();
    assert_eq!(assert_same(&source.db, &source.name, &target), ROWS);
}

/// No run is quicker than its rate. How much slower a busy machine makes it does not matter here.
#[test]
fn a_rate_is_kept_and_changes_nothing_else() {
    const ROWS: usize = 2000;
    let source = TestKeyspace::with("pace", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.try_each((0..ROWS).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v')"))).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    let rate = ["--rate", "250"];
    let begun = Instant::now();
    source.node.run(["dump", &source.name, "-o", &dir].iter().chain(&rate)).success();
    // The last page is not waited for: of so small rows it may have most of them.
    assert!(begun.elapsed() > Duration::from_secs(1), "the dump took {:?}", begun.elapsed());
    let begun = Instant::now();
    source.load(&dir, &target, &rate).success();
    assert!(begun.elapsed() > Duration::from_secs(1), "the load took {:?}", begun.elapsed());
    let begun = Instant::now();
    source.node.run(["verify", &dir].iter().chain(&rate)).success();
    assert!(begun.elapsed() > Duration::from_secs(1), "the comparison took {:?}", begun.elapsed());
    // What is read back afterwards is read no quicker than it was loaded.
    let append = ["--if-exists", "append", rate[0], rate[1]];
    let begun = Instant::now();
    source.load(&dir, &target, &append).success();
    assert!(begun.elapsed() > Duration::from_secs(9), "to load and read back took {:?}", begun.elapsed());
    assert_eq!(assert_same(&source.db, &source.name, &target), ROWS);
}

/// What runs of one letter are on the way: as they are, or nearly nothing.
#[test]
fn compression_is_used_on_the_way_in_and_out() {
    let source = TestKeyspace::with("lz4", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let text = "x".repeat(100_000);
    source.db.try_each((0..20).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')"))).unwrap();
    let scratch = Scratch::new();
    for (wire, plain) in [("none", true), ("lz4", false)] {
        let (dir, target) = (scratch.path(wire), source.target(wire));
        let map = format!("{}={target}", source.name);
        for command in
            [vec!["dump", &source.name, "-o", &dir], vec!["load", &dir, "--map", &map, "--no-check"]]
        {
            let forwarder = Forwarder::counting(&source.node, X_MARK);
            let port = forwarder.address.port().to_string();
            let way = ["--compression", wire, "-h", "127.0.0.1", "-P", &port, "--only-contact-points"];
            crate::harness::run(command.iter().chain(&way)).success();
            let passed = forwarder.marked();
            assert_eq!(passed > 1_000_000, plain, "{wire}, {command:?}: {passed} bytes of plain text");
        }
        assert_eq!(assert_same(&source.db, &source.name, &target), 20);
    }
}

/// Longer than what LZ4 leaves of a run.
const X_MARK: &[u8] = &[b'x'; 256];

#[test]
fn what_a_run_may_use_up_is_checked() {
    let node = Node::get("5.0");
    for (flag, wrong, told) in
        [("--rate", "0", "--rate"), ("--memory", "much", "--memory"), ("--compression", "zip", "lz4")]
    {
        node.run(["dump", "-o", "x", flag, wrong]).fails(2).stderr_has(&[told]);
    }
}
