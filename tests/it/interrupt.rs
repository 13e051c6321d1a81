//! Ctrl-C in the middle: the code that says so, and nothing left that looks whole. Other tests stop a run here too.

use crate::harness::{Scratch, TestKeyspace, files, tool};
use crate::network::Forwarder;
use crate::roundtrip::assert_same;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Far less than the table.
const SILENT_AFTER: usize = 3 << 20;
const MARK: &[u8] = b"xxxxxxxx";

fn source(name: &str) -> TestKeyspace {
    let source = TestKeyspace::with(name, &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let text = "x".repeat(16 << 10);
    source.db.try_each((0..600).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')"))).unwrap();
    source
}

/// Starts the tool through the forwarder and interrupts it once the forwarder has gone silent and `ready` says so.
fn interrupted(forwarder: &Forwarder, args: &[&str], ready: impl Fn() -> bool) -> (Option<i32>, String) {
    stopped("-INT", forwarder, args, ready)
}

/// Starts the tool through the forwarder and kills it once the forwarder has gone silent.
pub fn killed(forwarder: &Forwarder, args: &[&str]) {
    let (code, told) = stopped("-KILL", forwarder, args, || true);
    assert_eq!(code, None, "it should end by the signal: {told}");
}

fn stopped(
    signal: &str,
    forwarder: &Forwarder,
    args: &[&str],
    ready: impl Fn() -> bool,
) -> (Option<i32>, String) {
    let port = forwarder.address.port().to_string();
    let mut child: Child = tool(env!("CARGO_BIN_EXE_cqlift"))
        .args(args)
        .args(["-h", "127.0.0.1", "-P", &port, "--only-contact-points"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = std::time::Instant::now();
    while !forwarder.is_silent() || !ready() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{args:?} does not get where it should be stopped"
        );
        if child.try_wait().unwrap().is_some() {
            let told = String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned();
            panic!("{args:?} ended before it could be stopped: {told}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let kill = tool("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_interrupted_dump_does_not_look_whole() {
    let source = source("int_dump");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let forwarder = Forwarder::stalling(&source.node, MARK, SILENT_AFTER);
    // How many parts are open when the server goes silent depends on how far the work has been shared out by then.
    let open = || files(&dir).iter().any(|name| name.ends_with(".tmp"));
    let (code, told) = interrupted(&forwarder, &["dump", &source.name, "-o", &dir], open);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("interrupted") && told.contains("not finished"), "{told}");
    let left = files(&dir);
    assert!(!left.iter().any(|name| name.contains("manifest") || name.contains(".tmp")), "{left:?}");
    source.load(&dir, &source.target("loaded"), &[]).fails(1).stderr_has(&["manifest.json", "unfinished"]);
}

#[test]
fn an_interrupted_export_leaves_nothing() {
    let source = source("int_export");
    let scratch = Scratch::new();
    let forwarder = Forwarder::stalling(&source.node, MARK, SILENT_AFTER);
    let (table, file) = (source.table("t"), scratch.path("t.csv"));
    let (code, told) = interrupted(&forwarder, &["export", &table, "-o", &file], || true);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("interrupted") && told.contains("not finished"), "{told}");
    assert_eq!(files(&scratch.path("")), Vec::<String>::new());
}

#[test]
fn an_interrupted_load_says_how_to_go_on() {
    let source = source("int_load");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let forwarder = Forwarder::stalling(&source.node, MARK, SILENT_AFTER);
    let map = format!("{}={target}", source.name);
    let (code, told) = interrupted(&forwarder, &["load", &dir, "--map", &map], || true);
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("interrupted") && told.contains("same command again"), "{told}");
    source.load(&dir, &target, &[]).success();
    assert_same(&source.db, &source.name, &target);
}
