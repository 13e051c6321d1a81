//! Loads and imports that are stopped, by a signal, `kill -9` or what they meet, and go on by the same command.

use crate::clocks::compare_times;
use crate::harness::{BOTH, Done, NEWEST, Node, Scratch, TestKeyspace, files, tool};
use crate::network::Forwarder;
use crate::proxy::{Asked, Fate, Proxy, Refusal};
use crate::random_values::Chance;
use crate::roundtrip::assert_same;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What must not double, what must not be lost and what must keep its times, all of it in several parts.
const TABLES: &[&str] = &[
    "CREATE TABLE lists (k int, c int, v text, s text static, sl list<int> static, l list<int>, m map<text, int>, e set<int>, \
     PRIMARY KEY (k, c))",
    "CREATE TABLE counts (k int, c int, s counter static, n counter, PRIMARY KEY (k, c))",
    "CREATE TABLE plain (k int PRIMARY KEY, v text, w blob)",
    "CREATE INDEX plain_v ON plain (v)",
];
const ROWS: usize = 900;

fn source(version: &str, name: &str) -> TestKeyspace {
    let source = TestKeyspace::with_on(Node::get(version), name, TABLES);
    let text = "x".repeat(60);
    let lists = (0..ROWS).map(|n| {
        let life = if n % 3 == 0 { "USING TTL 8000000" } else { "USING TIMESTAMP 1700000000000000" };
        let k = n % 60;
        format!(
            "INSERT INTO lists (k, c, v, s, sl, l, m, e) VALUES ({k}, {n}, '{text}', 's{k}', [{k}, {k}], [{n}, {n}, 7], \
             {{'a': {n}}}, {{{n}, 1}}) {life}"
        )
    });
    let counts = (0..ROWS)
        .map(|n| format!("UPDATE counts SET n = n + {n}, s = s + 1 WHERE k = {} AND c = {n}", n % 60));
    let plain = (0..ROWS).map(|n| format!("INSERT INTO plain (k, v) VALUES ({n}, 'v{}{text}')", n % 7));
    source.db.try_each(lists.chain(counts).chain(plain)).unwrap();
    source
}

/// A dump of many small parts.
fn dumped(source: &TestKeyspace, dir: &str) {
    source.node.run(["dump", &source.name, "-o", dir, "--format", "csv", "--part-size", "4KiB"]).success();
}

/// A command against a node, which may be stopped.
fn command(source: &TestKeyspace, args: &[&str]) -> Command {
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    command.args(args).args(["-h", &source.node.host, "-P", &source.node.port.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: &str) {
    assert!(tool("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Runs a command and sends it a signal after a while; answers its code and what it said.
fn stopped_after(mut command: Command, name: &str, after: Duration) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < after && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    if child.try_wait().unwrap().is_none() {
        signal(&child, name);
    }
    ended(child)
}

/// Runs a command and sends it a signal once its state holds `lines` lines.
fn stopped_at(mut command: Command, name: &str, state: &str, lines: usize) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while lines_of(state) < lines {
        assert!(begun.elapsed() < Duration::from_secs(120), "the state does not come to {lines} lines");
        if child.try_wait().unwrap().is_some() {
            panic!("it ended before it could be stopped: {:?}", ended(child));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, name);
    ended(child)
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Lines of the only state in a folder.
fn lines_of(folder: &str) -> usize {
    let states = files(folder);
    states.first().map_or(0, |name| {
        let text = std::fs::read(Path::new(folder).join(name)).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count()
    })
}

fn the_state(folder: &str) -> std::path::PathBuf {
    let states = files(folder);
    assert_eq!(states.len(), 1, "{states:?}");
    Path::new(folder).join(&states[0])
}

fn is_the_same(source: &TestKeyspace, target: &str) {
    assert_same(&source.db, &source.name, target);
    let times = compare_times(&source.db, &source.name, target);
    assert!(times.is_empty(), "{}", times.join("\n"));
}

/// A load of a dump into `target`, with a state of its own.
struct Case {
    source: TestKeyspace,
    scratch: Scratch,
    target: String,
    map: String,
}

impl Case {
    fn new(name: &str) -> Case {
        Case::on(NEWEST, name)
    }

    fn on(version: &str, name: &str) -> Case {
        let source = source(version, name);
        let scratch = Scratch::new();
        dumped(&source, &scratch.path("dump"));
        let target = source.target("loaded");
        let map = format!("{}={target}", source.name);
        Case { source, scratch, target, map }
    }

    fn state(&self) -> String {
        self.scratch.path("state")
    }

    fn args<'a>(&'a self, paths: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
        [&["load", &paths[0], "--map", &self.map, "--state", &paths[1]], more].concat()
    }

    fn paths(&self) -> [String; 2] {
        [self.scratch.path("dump"), self.state()]
    }

    fn load(&self, more: &[&str]) -> crate::harness::Ran {
        let paths = self.paths();
        self.source.node.run(self.args(&paths, more))
    }

    /// Stops a load in the middle: some parts are loaded, others are not.
    fn stop(&self, name: &str, more: &[&str]) -> (Option<i32>, String) {
        let paths = self.paths();
        let slow = [more, &["--rate", "700"]].concat();
        let before = lines_of(&self.state());
        stopped_at(command(&self.source, &self.args(&paths, &slow)), name, &self.state(), before.max(2) + 3)
    }
}

#[test]
fn a_load_that_was_killed_goes_on() {
    let case = Case::new("resume_kill");
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&the_state(&case.state())), mode(Path::new(&case.state()))), (0o600, 0o700));
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let done = case.load(&["--json"]).success().stderr_has(&["going on with", "already"]);
    let said = done.json();
    let (rows, before) = (said["rows"].as_u64().unwrap(), said["rows_before"].as_u64().unwrap());
    assert!(rows == 3 * ROWS as u64 && before > 0 && before < rows, "{said}");
    is_the_same(&case.source, &case.target);
    // It is a fresh load from here on.
    assert_eq!(files(&case.state()), [""; 0]);
    case.load(&[]).fails(1).stderr_has(&["holds rows", "--if-exists"]);
    assert_eq!(files(&case.state()), [""; 0]);
}

#[test]
fn a_load_that_is_asked_to_stop_finishes_what_is_in_flight_and_goes_on() {
    let case = Case::new("resume_stop");
    for name in ["-INT", "-TERM"] {
        let (code, told) = case.stop(name, &["--if-exists", "truncate"]);
        assert_eq!(code, Some(130), "{name}: {told}");
        assert!(told.contains("interrupted") && told.contains("same command"), "{told}");
    }
    // Of a dump that can only be read.
    for folder in [case.scratch.path("dump"), case.scratch.path("dump/data")] {
        std::fs::set_permissions(folder, Permissions::from_mode(0o500)).unwrap();
    }
    case.load(&["--if-exists", "truncate"]).success().stderr_has(&["going on with"]);
    is_the_same(&case.source, &case.target);
    std::fs::set_permissions(case.scratch.path("dump"), Permissions::from_mode(0o700)).unwrap();
}

/// The cluster is gone in the middle, for longer than is waited for it.
#[test]
fn a_load_whose_cluster_went_away_goes_on() {
    let case = Case::new("resume_gone");
    let forwarder = Forwarder::to(&case.source.node);
    let (paths, port) = (case.paths(), forwarder.address.port().to_string());
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    command
        .args(case.args(&paths, &["--rate", "700", "-h", "127.0.0.1", "-P", &port, "--only-contact-points"]))
        .args(["--max-attempts", "6"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while lines_of(&case.state()) < 4 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the state does not come to 4 lines");
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(forwarder);
    let (code, told) = ended(child);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("run the same command again to go on"), "{told}");
    case.load(&[]).success().stderr_has(&["going on with"]);
    is_the_same(&case.source, &case.target);
}

/// A cluster that has crashed lacks rows that it had taken: they are missed when a load that goes on reads back what was
/// loaded before, and the same command brings them.
#[test]
fn a_load_whose_cluster_lost_rows_brings_them_again() {
    let case = Case::new("resume_lost");
    let lossy = |asked: &Asked| if asked.is_read() { Fate::Pass } else { Fate::Pretended };
    let proxy = Proxy::to(&case.source.node, &case.target, lossy);
    let child = slowly_through(&case, &proxy);
    let (begun, part) = (Instant::now(), format!("\"{}\",\"part\"", case.source.table("plain")));
    let is_loaded = |name: &String| {
        std::fs::read_to_string(Path::new(&case.state()).join(name)).unwrap_or_default().contains(&part)
    };
    while !files(&case.state()).iter().any(is_loaded) {
        assert!(begun.elapsed() < Duration::from_secs(120), "no part of the table is loaded");
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "-KILL");
    assert_eq!(ended(child).0, None);
    let told = ["loaded by the same command", &case.source.table("plain"), "the cluster has no such row"];
    case.load(&[]).fails(4).stderr_has(&told);
    case.load(&[]).success().stderr_has(&["going on with"]);
    is_the_same(&case.source, &case.target);
    assert_eq!(files(&case.state()), [""; 0]);
}

/// A slow load of a case through a proxy.
fn slowly_through(case: &Case, proxy: &Proxy) -> Child {
    let (paths, port) = (case.paths(), proxy.address.port().to_string());
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    command
        .args(case.args(&paths, &["--rate", "700", "-h", "127.0.0.1", "-P", &port, "--only-contact-points"]));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The same while the load is under way: it outlasts the crash, and misses what it had loaded before.
#[test]
fn a_load_during_which_the_cluster_lost_rows_misses_them() {
    let case = Case::new("resume_lost_now");
    let lossy = Arc::new(AtomicBool::new(true));
    let is_lossy = lossy.clone();
    let rule = move |asked: &Asked| match !asked.is_read() && is_lossy.load(SeqCst) {
        true => Fate::Pretended,
        false => Fate::Pass,
    };
    let proxy = Proxy::to(&case.source.node, &case.target, rule);
    let child = slowly_through(&case, &proxy);
    let begun = Instant::now();
    while lines_of(&case.state()) < 4 {
        assert!(begun.elapsed() < Duration::from_secs(120), "the state does not come to 4 lines");
        std::thread::sleep(Duration::from_millis(2));
    }
    lossy.store(false, SeqCst);
    proxy.down();
    std::thread::sleep(Duration::from_millis(300));
    proxy.up();
    let (code, told) = ended(child);
    assert_eq!(code, Some(4), "{told}");
    for part in ["loaded by the same command", "the cluster has no such row"] {
        assert!(told.contains(part), "{told}");
    }
    case.load(&[]).success().stderr_has(&["going on with"]);
    is_the_same(&case.source, &case.target);
    assert_eq!(files(&case.state()), [""; 0]);
}

/// Into tables that held rows already, of which some are the dump's: what was there stays as it is, or is merged.
#[test]
fn a_load_that_appends_goes_on() {
    for flags in
        [&["--if-exists", "append"][..], &["--if-exists", "append", "--timestamp", "now", "--ttl", "9000000"]]
    {
        let case = Case::new("resume_append");
        case.load(&[]).success();
        for (table, column) in [("lists", "l"), ("plain", "v")] {
            let key = if table == "lists" { "k = 3 AND c = 3" } else { "k = 3" };
            case.source.db.execute(&format!(
                "DELETE {column} FROM {}.{table} USING TIMESTAMP 5 WHERE {key}",
                case.target
            ));
        }
        case.source.db.execute(&format!("UPDATE {}.counts SET n = n + 5 WHERE k = 1 AND c = 1", case.target));
        for _ in 0..2 {
            let (code, told) = case.stop("-KILL", flags);
            assert_eq!(code, None, "{told}");
        }
        case.load(flags).success();
        assert_same(&case.source.db, &case.source.name, &case.target);
    }
}

/// What is asked for and what the cluster has must be as they were.
#[test]
fn a_state_that_does_not_fit_is_refused_with_what_differs() {
    let case = Case::new("resume_misfit");
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let refused = |more: &[&str], said: &[&str]| {
        let done = case.load(more).fails(1).stderr_has(&["--restart"]);
        drop(done.stderr_has(said));
    };
    refused(&["--ttl", "drop"], &["--ttl was keep, is now drop"]);
    refused(&["--timestamp", "now"], &["--timestamp was keep, is now now"]);
    refused(&["--if-exists", "truncate"], &["--if-exists was fail, is now truncate"]);
    refused(&["--for", "cassandra-4.1"], &["--for was auto, is now Cassandra 4.1"]);
    refused(&["--replication", "1"], &["--replication was not given, is now 1"]);
    refused(&["--skip-unsupported"], &["--skip-unsupported was not given, is now given"]);
    refused(&["--drop-compact-storage"], &["--drop-compact-storage was not given"]);
    refused(&["--data-only"], &["--data-only was not given"]);
    refused(&["--exclude", &format!("{}.plain", case.source.name)], &["--exclude", ".plain was loaded too"]);
    refused(&[&format!("{}.*", case.source.name)], &["SELECTOR was not given"]);
    let other = format!("{}.plain={}.lists2", case.source.name, case.target);
    refused(&["--map", &other], &["--map was", ".plain went into", ".lists2"]);
    let list = case.scratch.path("list");
    std::fs::write(
        &list,
        case.source.node.run(["load", &case.scratch.path("dump"), "--list"]).success().stdout,
    )
    .unwrap();
    refused(&["--use-list", &list], &["--use-list was not given, is now a list of xxh3-128"]);
    // What may differ.
    let (code, told) = case.stop("-KILL", &["--memory", "64MiB", "--quiet"]);
    assert_eq!(code, None, "{told}");

    let db = &case.source.db;
    db.execute(&format!("TRUNCATE {}.plain", case.target));
    refused(&[], &[&format!("{}.plain was emptied (TRUNCATE at 20", case.target)]);
    db.execute(&format!("DROP TABLE {}.plain", case.target));
    refused(&[], &[&format!("{}.plain", case.target), "does not exist any more"]);
    db.execute(&format!("CREATE TABLE {}.plain (k int PRIMARY KEY, v text, w blob)", case.target));
    refused(&[], &[&format!("{}.plain was dropped and made again", case.target), "its id was"]);
    // Anew, with the usual rules for tables that hold rows; as long as they are in the way nothing is forgotten.
    case.load(&["--restart"]).fails(1).stderr_has(&["holds rows", "--if-exists"]);
    refused(&[], &["its id was"]);
    case.load(&["--restart", "--if-exists", "truncate"]).success();
    is_the_same(&case.source, &case.target);
    assert_eq!(files(&case.state()), [""; 0]);
}

/// That nobody says when tables were emptied does not mean that they were not.
#[test]
fn a_load_does_not_go_on_where_it_is_not_told_what_was_emptied() {
    let case = Case::new("resume_untold");
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let refused = |_: &Asked| Fate::Refused(Refusal::ServerError);
    let proxy = Proxy::of_queries(&case.source.node, "truncated_at FROM system.local", refused);
    let paths = case.paths();
    proxy.run(&case.args(&paths, &["--max-attempts", "2"])).fails(1).stderr_has(&["truncated_at"]);
    case.load(&[]).success();
    is_the_same(&case.source, &case.target);
}

#[test]
fn a_manifest_that_was_changed_is_not_gone_on_with() {
    let case = Case::new("resume_manifest");
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let path = case.scratch.path("dump/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let (body, _) = text.rsplit_once(",\n  \"checksum\": ").unwrap();
    let body = body.replace("\"consistency\": \"LOCAL_QUORUM\"", "\"consistency\": \"QUORUM\"");
    let hash = xxhash_rust::xxh3::xxh3_128(body.as_bytes());
    std::fs::write(&path, format!("{body},\n  \"checksum\": \"xxh3-128:{hash:032x}\"\n}}\n")).unwrap();
    case.load(&[]).fails(1).stderr_has(&[
        "the manifest of the dump is not the one",
        "--restart",
        "nothing was written",
    ]);
    std::fs::write(&path, text).unwrap();
    // A part that is still to be loaded is checked before anything is written; one that is loaded need not be there.
    let state = std::fs::read_to_string(the_state(&case.state())).unwrap();
    let parts = crate::harness::parts(&case.scratch.path("dump"), &case.source.name, "plain", "csv");
    let is_loaded = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        state.contains(&format!("\"table\":\"{}.plain\",\"part\":\"{name}\"", case.source.name))
    };
    let left = parts.iter().find(|part| !is_loaded(part)).expect("a part that is not loaded");
    let bytes = std::fs::read(left).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    std::fs::write(left, damaged).unwrap();
    case.load(&[]).fails(1).stderr_has(&["checksum", "nothing was written"]);
    std::fs::write(left, bytes).unwrap();
    case.load(&[]).success();
    is_the_same(&case.source, &case.target);
}

#[test]
fn a_torn_record_is_passed_over_and_damage_is_not() {
    let case = Case::new("resume_torn");
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    let path = the_state(&case.state());
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    case.load(&[]).fails(1).stderr_has(&["line 1 is damaged", path.to_str().unwrap(), "--restart"]);
    let torn = [&whole[..whole.len() - 7], &[0, 0][..]].concat();
    std::fs::write(&path, torn).unwrap();
    let (code, told) = case.stop("-KILL", &[]);
    assert_eq!(code, None, "{told}");
    case.load(&[]).success();
    is_the_same(&case.source, &case.target);
}

#[test]
fn two_at_once_keep_apart() {
    let case = Case::new("resume_two");
    let paths = case.paths();
    let mut first = command(&case.source, &case.args(&paths, &["--rate", "700"])).spawn().unwrap();
    let begun = Instant::now();
    while lines_of(&case.state()) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60) && first.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    case.load(&[]).fails(1).stderr_has(&["another cqlift is at work"]);
    // Into other tables, with the same states.
    let elsewhere = case.source.target("elsewhere");
    let map = format!("{}={elsewhere}", case.source.name);
    case.source.node.run(["load", &paths[0], "--map", &map, "--state", &paths[1]]).success();
    let (code, told) = ended(first);
    assert_eq!(code, Some(0), "{told}");
    for target in [&case.target, &elsewhere] {
        is_the_same(&case.source, target);
    }
}

/// A statement of the run that was killed was still on its way when the next one looked.
const MEANWHILE: &str = "something has made it meanwhile";

/// Kills a command at moments that chance says, so often or until it has ended, and lets it come to its end then.
fn killed_at_random(seed: u64, kills: usize, run: impl Fn(&[&str]) -> Command, end: impl Fn() -> Done) {
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let begun = Instant::now();
    for kill in 0..kills {
        // At this rate the whole takes three seconds at least, so that the first is never too late.
        let after = Duration::from_millis(chance.below(if kill == 0 { 2000 } else { 6000 }) as u64);
        let (code, told) = stopped_after(run(&["--rate", "900"]), "-KILL", after);
        println!("kill {kill} after {after:?}: {code:?} {}", told.lines().last().unwrap_or_default());
        if kill > 0 && code == Some(0) {
            return;
        }
        assert!(code.is_none() || code == Some(1) && told.contains(MEANWHILE), "{told}");
    }
    let done = end();
    println!("{} after {:?}", done.command, begun.elapsed());
}

fn a_seed() -> u64 {
    let named = std::env::var("CQLIFT_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    named.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn load_killed(version: &str, seed: u64) {
    println!("Cassandra {version}");
    let case = Case::on(version, "resume_random");
    let paths = case.paths();
    let run = |more: &[&str]| command(&case.source, &case.args(&paths, more));
    let end = || {
        let first = case.load(&[]).done();
        if first.stderr.contains(MEANWHILE) {
            return case.load(&[]).success();
        }
        assert_eq!(first.code, Some(0), "{}", first.told());
        first
    };
    killed_at_random(seed, 3, run, end);
    is_the_same(&case.source, &case.target);
}

#[test]
fn a_load_is_whole_wherever_it_is_killed() {
    for version in BOTH {
        load_killed(version, a_seed());
    }
}

#[test]
#[ignore = "takes some minutes: scripts/test --long"]
fn a_load_is_whole_wherever_it_is_killed_20_times() {
    let seed = a_seed();
    (0..20).for_each(|n| load_killed(BOTH[n % 2], seed + n as u64));
}

const IMPORTED: usize = 3000;

/// A table as an import of [`lines`] leaves it, an empty one for the import, and the file.
fn to_import(name: &str, scratch: &Scratch) -> (TestKeyspace, String, String) {
    let table = "(k int, c int, v text, l list<int>, s text static, PRIMARY KEY (k, c))";
    let source = TestKeyspace::with(name, &[&format!("CREATE TABLE t {table}")]);
    let target = source.target("imported");
    let replication = crate::harness::SIMPLE;
    source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {replication}"));
    source.db.execute(&format!("CREATE TABLE {target}.t {table}"));
    // Every key comes twice, a thousand lines apart: the later line is the one that stays.
    let last = |n: usize| n + 50 >= IMPORTED;
    let rows = (IMPORTED / 2..IMPORTED).map(|n| {
        let s = if last(n) { format!("'s{n}'") } else { "null".to_owned() };
        let (names, values) = if last(n) { (", s", format!(", {s}")) } else { ("", String::new()) };
        format!(
            "INSERT INTO t (k, c, v, l{names}) VALUES ({}, {}, '{}', [{n}, {n}, 7]{values})",
            n % 50,
            n % 1500,
            text(n)
        )
    });
    source.db.try_each(rows).unwrap();
    let file = scratch.write("rows.csv", lines());
    (source, target, file)
}

fn text(n: usize) -> String {
    format!("line {n}\nnext, \"quoted\"\r\n{}", "y".repeat(1500))
}

/// Text with line ends and quotes in it, so that a line of the file is no record.
fn lines() -> String {
    let mut lines = "k,c,v,l,s\r\n".to_owned();
    for n in 0..IMPORTED {
        let v = text(n).replace('"', "\"\"");
        lines += &format!("{},{},\"{v}\",\"[{n}, {n}, 7]\",s{n}\r\n", n % 50, n % 1500);
    }
    lines
}

#[test]
fn an_import_that_was_stopped_goes_on() {
    let scratch = Scratch::new();
    let (source, target, file) = to_import("resume_import", &scratch);
    let (table, state) = (format!("{target}.t"), scratch.path("state"));
    let args = ["import", &table, &file, "--state", &state];
    for (name, code) in [("-KILL", None), ("-TERM", Some(130)), ("-INT", Some(130))] {
        let before = lines_of(&state);
        let slow = command(&source, &[&args[..], &["--rate", "200"]].concat());
        let (ended, told) = stopped_at(slow, name, &state, before.max(1) + 2);
        assert_eq!(ended, code, "{told}");
        if code.is_some() {
            assert!(told.contains("interrupted") && told.contains("same command"), "{told}");
        }
    }
    let refused = |args: &[&str], said: &[&str]| {
        let done = source.node.run(args).fails(1).stderr_has(&["stopped before", "--restart"]);
        drop(done.stderr_has(said));
    };
    refused(&[&args[..], &["--null", "NA"]].concat(), &["--null was not given, is now NA"]);
    let more = scratch.write("more.csv", "k,c\n1,1\n");
    refused(&[&args[..3], &[&more], &args[3..]].concat(), &["the files were", "more.csv"]);
    let whole = std::fs::read(&file).unwrap();
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    let change = |bytes: &[u8], said: &str| {
        std::fs::write(&file, bytes).unwrap();
        refused(&args, &[said]);
    };
    change(&[&whole[..], b"1,1,,,\n"].concat(), "bytes, has now");
    let mut other = whole.clone();
    other[100] ^= 1;
    change(&other, "begins with other bytes now");
    change(&whole, "was written to since");
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    let said =
        source.node.run([&args[..], &["--json"]].concat()).success().stderr_has(&["going on behind"]).json();
    let before = said["rows_before"].as_u64().unwrap();
    assert!(said["rows"] == IMPORTED && before > 0 && before < IMPORTED as u64, "{said}");
    assert_same(&source.db, &source.name, &target);
    assert_eq!(files(&state), [""; 0]);
    // Again from the beginning: the same rows.
    let done = source.node.run(args).success();
    assert!(!done.stderr.contains("going on"), "{}", done.told());
    assert_same(&source.db, &source.name, &target);
}

/// An import of a file whose first record is rejected, killed behind that and run again: what the second run said.
fn killed_and_gone_on(source: &TestKeyspace, file: &str, scratch: &Scratch) -> (Done, serde_json::Value) {
    let (table, state, rejects) = (source.table("t"), scratch.path("state"), scratch.path("rejects"));
    let args = ["import", &table, file, "--state", &state, "--reject-dir", &rejects, "--json"];
    let slow = command(source, &[&args[..], &["--rate", "200"]].concat());
    let (code, told) = stopped_at(slow, "-KILL", &state, 5);
    assert_eq!(code, None, "{told}");
    let done = source.node.run(args).fails(3);
    let done =
        done.stderr_has(&["going on behind", "1 record was rejected by an earlier run, into a file in /"]);
    let said = serde_json::from_str(&done.stdout).unwrap();
    (done, said)
}

/// What was rejected before an import was killed is missing at its end as well.
#[test]
fn an_import_that_goes_on_counts_what_was_rejected_before() {
    for behind in [false, true] {
        let source = TestKeyspace::with("resume_rejects", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
        let text = "y".repeat(1500);
        let good = (0..3000).map(|k| format!("{k},{text}\n")).collect::<String>();
        let last = if behind { "behind,b\n" } else { "" };
        let scratch = Scratch::new();
        let file = scratch.write("in.csv", format!("k,v\nbefore,a\n{good}{last}"));
        let (done, said) = killed_and_gone_on(&source, &file, &scratch);
        assert_eq!(said["rejected"], 1 + u64::from(behind), "{}", done.told());
        let rejected =
            |name: &str| std::fs::read_to_string(scratch.path(&format!("rejects/{name}"))).unwrap();
        // What is read ahead of what is written may have been rejected already: it is so again, and counted once.
        assert!(rejected("in.rejected.csv").starts_with("k,v\nbefore,a\n"));
        if behind {
            assert_eq!(rejected("in.rejected-2.csv"), "k,v\nbehind,b\n");
            done.stderr_has(&["1 record was rejected: ", "in.rejected-2.csv"]);
        }
        assert_eq!(source.db.count(&source.table("t")), 3000);
    }
}

/// Rows that the cluster refuses are rejected, and not among those that were written, whichever run met them.
#[test]
fn an_import_that_goes_on_counts_refused_rows_once() {
    let source = TestKeyspace::with(
        "resume_refused",
        &["CREATE TABLE t (k int PRIMARY KEY, v text)", "CREATE INDEX ON t (v)"],
    );
    let (long, text) = ("x".repeat(70_000), "y".repeat(1500));
    let good = (1..3000).map(|k| format!("{k},{text}\n")).collect::<String>();
    let scratch = Scratch::new();
    let file = scratch.write("in.csv", format!("k,v\n0,{long}\n{good}"));
    let (done, said) = killed_and_gone_on(&source, &file, &scratch);
    assert_eq!((&said["rows"], &said["rejected"]), (&2999.into(), &1.into()), "{}", done.told());
    assert_eq!(source.db.count(&source.table("t")), 2999);
}

/// What an earlier run has rejected is missing when it is read back: that is no difference that nobody knows of.
#[test]
fn a_load_that_goes_on_knows_what_was_rejected_before() {
    const ROWS: usize = 600;
    let source = TestKeyspace::with("resume_unloved", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let (long, text) = ("x".repeat(70_000), "y".repeat(200));
    let value = |k: usize| if k.is_multiple_of(20) { &long } else { &text };
    source
        .db
        .try_each((0..ROWS).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{}')", value(k))))
        .unwrap();
    let scratch = Scratch::new();
    let [dir, state, rejects] = ["dump", "state", "rejects"].map(|name| scratch.path(name));
    dumped(&source, &dir);
    let target = source.target("loaded");
    let map = format!("{}={target}", source.name);
    source.node.run(["load", &dir, "--map", &map, "--schema-only"]).success();
    source.db.execute(&format!("CREATE INDEX ON {target}.t (v)"));
    let args = ["load", &dir, "--map", &map, "--data-only", "--state", &state];
    let args = [&args[..], &["--max-errors", "50", "--reject-dir", &rejects, "--json"]].concat();
    let mut child = command(&source, &[&args[..], &["--rate", "100"]].concat()).spawn().unwrap();
    let begun = Instant::now();
    let has_rejected = || {
        let names = files(&state);
        let text = names.first().map(|name| std::fs::read_to_string(Path::new(&state).join(name)).unwrap());
        text.is_some_and(|text| text.contains("\"rejected\":1"))
    };
    while !has_rejected() {
        assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "-KILL");
    let (code, told) = ended(child);
    assert_eq!(code, None, "{told}");
    let done = source.node.run(args).fails(3).stderr_has(&["going on with", "rejected by"]);
    let said: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let (written, refused) = (ROWS - ROWS / 20, ROWS / 20);
    for place in [&said, &said["tables"][0]] {
        assert_eq!((&place["rows"], &place["rejected"]), (&written.into(), &refused.into()), "{said}");
    }
    assert_eq!(source.db.count(&format!("{target}.t")), written);
}

#[test]
fn an_import_into_a_table_that_was_made_again_is_refused_and_can_begin_anew() {
    let scratch = Scratch::new();
    let (source, target, file) = to_import("resume_made_again", &scratch);
    let (table, state) = (format!("{target}.t"), scratch.path("state"));
    let args = ["import", &table, &file, "--state", &state];
    let slow = command(&source, &[&args[..], &["--rate", "800"]].concat());
    let (code, told) = stopped_at(slow, "-KILL", &state, 4);
    assert_eq!(code, None, "{told}");
    source.db.execute(&format!("DROP TABLE {table}"));
    let columns = "(k int, c int, v text, l list<int>, s text static, PRIMARY KEY (k, c))";
    source.db.execute(&format!("CREATE TABLE {table} {columns}"));
    source.node.run(args).fails(1).stderr_has(&["dropped and made again", "--restart"]);
    source.node.run([&args[..], &["--restart"]].concat()).success();
    assert_same(&source.db, &source.name, &target);
    assert_eq!(files(&state), [""; 0]);
}

#[test]
fn an_import_of_counters_does_not_go_on() {
    let scratch = Scratch::new();
    let source =
        TestKeyspace::with("resume_counts", &["CREATE TABLE t (k int PRIMARY KEY, n counter, x counter)"]);
    // Zeros before the number make pages of a few hundred lines.
    let zeros = "0".repeat(2000);
    let lines: String = (0..3000).map(|n| format!("{n},{zeros}{n},1\n")).collect();
    let file = scratch.write("counts.csv", format!("k,n,x\n{lines}"));
    let (table, state) = (source.table("t"), scratch.path("state"));
    let args = ["import", &table, &file, "--state", &state];
    let slow = command(&source, &[&args[..], &["--rate", "800"]].concat());
    let (code, told) = stopped_at(slow, "-KILL", &state, 5);
    assert_eq!(code, None, "{told}");
    source.node.run(args).fails(1).stderr_has(&[
        "before line",
        "counts.csv",
        "counted once",
        "TRUNCATE",
        "--restart",
    ]);
    source.node.run([&args[..], &["--restart"]].concat()).fails(1).stderr_has(&["holds rows", "TRUNCATE"]);
    source.db.execute("TRUNCATE t");
    source.node.run(args).fails(1).stderr_has(&["counted once"]);
    source.node.run([&args[..], &["--restart"]].concat()).success();
    let rows = source.db.rows("SELECT k, n FROM t");
    assert!(
        rows.len() == 3000
            && rows.iter().all(|row| row[1].as_ref().unwrap()[4..] == row[0].as_ref().unwrap()[..])
    );
}

/// What comes through a pipe comes once: all of it is imported, and it is said that this cannot go on.
#[test]
fn an_import_from_a_pipe_is_whole() {
    use std::io::Write;
    let scratch = Scratch::new();
    let (source, target, _) = to_import("resume_pipe", &scratch);
    let (table, state) = (format!("{target}.t"), scratch.path("state"));
    let mut command = command(&source, &["import", &table, "/dev/stdin", "--state", &state]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines().as_bytes()).unwrap();
    let (code, told) = ended(child);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("cannot go on if it is stopped"), "{told}");
    assert_same(&source.db, &source.name, &target);
    assert_eq!(files(&state), [""; 0]);
}

/// A writer that holds its pipe open and says nothing keeps nobody from stopping.
#[test]
fn an_import_from_a_pipe_that_is_idle_stops_when_it_is_asked() {
    use std::io::Write;
    let source = TestKeyspace::with("resume_idle", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let scratch = Scratch::new();
    let (pipe, table) = (scratch.path("pipe"), source.table("t"));
    assert!(tool("mkfifo").arg(&pipe).status().unwrap().success());
    for name in ["-TERM", "-INT"] {
        let child = command(&source, &["import", &table, &pipe, "--state", &scratch.path("state")]);
        let child = { child }.spawn().unwrap();
        let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
        // More than is read at once, so that some of it is written before the pipe falls silent.
        let text = "z".repeat(1000);
        let lines = (0..4000).map(|k| format!("{k},{text}\n")).collect::<String>();
        writer.write_all(format!("k,v\n{lines}").as_bytes()).unwrap();
        let begun = Instant::now();
        while source.db.count(&table) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is imported");
            std::thread::sleep(Duration::from_millis(50));
        }
        signal(&child, name);
        let asked = Instant::now();
        let (code, told) = ended(child);
        assert!(asked.elapsed() < Duration::from_secs(10), "{name}: {:?}", asked.elapsed());
        assert_eq!(code, Some(130), "{name}: {told}");
        assert!(told.contains("interrupted") && told.contains("stay in the target"), "{told}");
        drop(writer);
        source.db.execute("TRUNCATE t");
    }
}

fn import_killed(seed: u64) {
    let scratch = Scratch::new();
    let (source, target, file) = to_import("resume_import_r", &scratch);
    let (table, state) = (format!("{target}.t"), scratch.path("state"));
    let args = ["import", &table, &file, "--state", &state];
    let run = |more: &[&str]| command(&source, &[&args[..], more].concat());
    killed_at_random(seed, 3, run, || source.node.run(args).success());
    assert_same(&source.db, &source.name, &target);
}

#[test]
fn an_import_is_whole_wherever_it_is_killed() {
    import_killed(a_seed());
}

#[test]
#[ignore = "takes some minutes: scripts/test --long"]
fn an_import_is_whole_wherever_it_is_killed_20_times() {
    let seed = a_seed();
    (0..20).for_each(|n| import_killed(seed + n));
}
