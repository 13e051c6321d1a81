//! Nodes of a real cluster that die, come back and stand still while three replicas of everything are read and written.
//! For `scripts/test --long`: `5.0-three` is this file's to stop and to start.

use crate::harness::{Db, Node, Scratch, TestKeyspace, files, tool};
use crate::roundtrip::{assert_same, compare_across};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const KIND: &str = "5.0-three";
const ROWS: usize = 4000;

/// The cluster, for one test at a time; at the end all its nodes run.
struct Nodes {
    dir: PathBuf,
    ips: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

impl Nodes {
    fn get() -> Nodes {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dirs = std::env::var("CQLIFT_DIRS").unwrap_or_default();
        let dir = dirs.split_whitespace().find_map(|entry| entry.strip_prefix(&format!("{KIND}=")));
        let dir = PathBuf::from(dir.unwrap_or_else(|| {
            panic!("this test stops nodes of {KIND}: run `scripts/test --long`, or set CQLIFT_DIRS=\"{KIND}=DIR\"")
        }));
        let mut ips: Vec<String> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
            .collect();
        ips.sort_by_key(|ip| ip.parse::<std::net::IpAddr>().unwrap());
        assert_eq!(ips.len(), 3, "{}: {ips:?}", dir.display());
        Nodes { dir, ips, _alone: alone }
    }

    fn signal(&self, node: usize, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.join(&self.ips[node]).join("pid")).unwrap();
        let done = tool("kill").args([signal, pid.trim()]).status().unwrap();
        assert!(done.success(), "kill {signal} {pid}");
    }

    /// Power off: nothing is flushed, no goodbye is said.
    fn kill(&self, node: usize) {
        self.signal(node, "-KILL");
    }

    /// Starts a node again, if it does not run, and waits until all see one another.
    fn start(&self, node: usize) -> bool {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cassandra");
        let output = tool(script).arg("start-node").arg(&self.dir).arg(&self.ips[node]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let up = output.status.success() || told.contains("is running already");
        if !up {
            println!("{told}");
        }
        up
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in 0..self.ips.len() {
            if let Ok(pid) = std::fs::read_to_string(self.dir.join(&self.ips[node]).join("pid")) {
                let _ = tool("kill").args(["-CONT", pid.trim()]).output();
            }
            self.start(node);
        }
    }
}

/// A keyspace of three replicas: rows, lists and counters.
fn source() -> TestKeyspace {
    let source = TestKeyspace::on(Node::get(KIND), "three");
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 3}";
    source.db.execute(&format!("ALTER KEYSPACE {} WITH replication = {replication}", source.name));
    for table in [
        "CREATE TABLE t (k int PRIMARY KEY, v text, l list<int>)",
        "CREATE TABLE counts (k int PRIMARY KEY, n counter)",
    ] {
        source.db.execute(table);
    }
    let text = "x".repeat(500);
    let row = |k: usize| format!("INSERT INTO t (k, v, l) VALUES ({k}, '{text}', [{k}, {k}])");
    let count = |k: usize| format!("UPDATE counts SET n = n + {k} WHERE k = {k}");
    for first in (0..ROWS).step_by(100) {
        insist(&source.db, || (first..first + 100).map(row));
    }
    // Not again: nobody would know what they come to. So only a few at a time.
    for first in (0..ROWS / 4).step_by(20) {
        source.db.try_each((first..first + 20).map(count)).unwrap();
    }
    source
}

/// Runs statements, again if the nodes are not quite themselves yet.
fn insist<Statements: Iterator<Item = String>>(db: &Db, statements: impl Fn() -> Statements) {
    let mut failures = Vec::new();
    while let Err(error) = db.try_each(statements()) {
        failures.push(error);
        assert!(failures.len() < 20, "{failures:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
}

const ALL: usize = ROWS + ROWS / 4;

/// Slow enough for something to happen meanwhile, not as patient with silence as by default, and more with nodes: an update
/// of counters that was under way to one that died can be judged only when that is back.
const FLAGS: [&str; 6] = ["--rate", "250", "--request-timeout", "10", "--max-attempts", "60"];

fn dump(node: &Node, keyspace: &str, dir: &str) {
    node.run([&["dump", keyspace, "-o", dir][..], &FLAGS].concat()).success();
}

fn load(node: &Node, keyspace: &str, dir: &str, target: &str) {
    let map = format!("{keyspace}={target}");
    node.run([&["load", dir, "--map", &map][..], &FLAGS].concat()).success();
}

/// Waits for something that will be so.
fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{what} did not come to pass");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a load is under way: its table is known to whichever node is asked, and some rows have had their time.
fn until_begun(node: &Node, target: &str) {
    let db = Db::connect(node);
    let query = format!("SELECT k FROM {target}.t LIMIT 1");
    until("the target of the load", || (0..10).all(|_| db.try_execute(&query).is_ok()));
    std::thread::sleep(Duration::from_secs(4));
}

/// Compares with a new session, once every node knows of the keyspace: one that has just come back may not.
fn assert_all_there(node: &Node, keyspace: &str, loaded: &str) {
    let db = Db::connect(node);
    let describe = format!("DESCRIBE KEYSPACE {loaded}");
    until("the nodes' agreement", || (0..20).all(|_| db.try_execute(&describe).is_ok()));
    assert_eq!(assert_same(&db, keyspace, loaded), ALL);
}

/// A dump goes on when a node dies, a load when it comes back, both when one stands still for a while.
#[test]
#[ignore = "stops nodes of a cluster of three: scripts/test --long"]
fn nodes_die_and_come_back_and_stand_still() {
    let nodes = Nodes::get();
    let source = source();
    let (node, name) = (&source.node, &source.name);
    // A session from before has connections to the dead.
    let judge = || Db::connect(node);
    let scratch = Scratch::new();
    let (first, second) = (scratch.path("first"), scratch.path("second"));
    std::thread::scope(|scope| {
        scope.spawn(|| dump(node, name, &first));
        until("a part of the dump", || files(&first).iter().any(|name| name.contains("part-")));
        nodes.kill(1);
    });
    // It has not come back: every row is read and written by two.
    let died = source.target("died");
    let map = format!("{name}={died}");
    node.run([&["load", &first, &source.table("t"), "--map", &map][..], &FLAGS].concat()).success();
    let mut differences = Vec::new();
    let rows = compare_across([(&judge(), name), (&judge(), &died)], &mut differences);
    assert!(rows == ROWS && differences.is_empty(), "{rows} rows\n{}", differences.join("\n"));
    let back = source.target("back");
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(node, name, &first, &back));
        until_begun(node, &back);
        assert!(nodes.start(1), "node 2 does not start");
        loading.join().unwrap();
    });
    assert_all_there(node, name, &back);
    // Killed during a load, and back for good.
    let killed = source.target("killed");
    std::thread::scope(|scope| {
        scope.spawn(|| load(node, name, &first, &killed));
        until_begun(node, &killed);
        nodes.kill(2);
        assert!(nodes.start(2), "node 3 does not start");
    });
    assert_all_there(node, name, &killed);
    // Standing still: connections stay, answers do not come.
    let still = source.target("still");
    std::thread::scope(|scope| {
        scope.spawn(|| dump(node, name, &second));
        scope.spawn(|| load(node, name, &first, &still));
        until("a part of the dump", || files(&second).iter().any(|name| name.contains("part-")));
        nodes.signal(2, "-STOP");
        std::thread::sleep(Duration::from_secs(15));
        nodes.signal(2, "-CONT");
    });
    assert_all_there(node, name, &still);
    let map = format!("{}={still}", source.name);
    for dir in [&first, &second] {
        source.node.run(["verify", dir, "--map", &map]).success();
    }
}

/// With one of three nodes left, two cannot answer: the end says so.
#[test]
#[ignore = "stops nodes of a cluster of three: scripts/test --long"]
fn a_level_that_cannot_be_reached_is_named() {
    let nodes = Nodes::get();
    let source = source();
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    nodes.kill(1);
    nodes.kill(2);
    // Until the last one knows, requests time out.
    let (table, out) = (source.table("t"), scratch.path("probe.csv"));
    let probe = ["export", &table, "-o", &out, "--max-attempts", "1", "--request-timeout", "10"];
    until("the last node's knowledge", || {
        source.node.run(probe).done().stderr.contains("required: 2, alive: 1")
    });
    let flags = ["--max-attempts", "3"];
    let said = ["required: 2, alive: 1", "attempts", "nodetool status", "--consistency"];
    let again = scratch.path("again");
    let dump = ["dump", &source.name, "-o", &again];
    source.node.run([&dump[..], &flags].concat()).fails(1).stderr_has(&said).stderr_has(&["token range ("]);
    let map = format!("{0}={0}", source.name);
    let load = ["load", &dir, "--map", &map, "--if-exists", "append", "--data-only"];
    source.node.run([&load[..], &flags].concat()).fails(1).stderr_has(&said[..1]);
    // At a level that can be, the same dump is possible; it says what that means.
    let weak = scratch.path("weak");
    let dump = ["dump", &source.name, "-o", &weak, "--consistency", "ONE"];
    source.node.run(dump).success().stderr_has(&["warning", "ONE"]);
}
