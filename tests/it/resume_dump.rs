//! Dumps that end in the middle and are gone on with by the same command: signals, kills, other options, damage.

use crate::harness::{Db, Node, Scratch, TestKeyspace, files, json, run, tool};
use crate::random_values::Chance;
use crate::roundtrip::assert_same;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// A run of the tool that can be stopped.
pub struct Running(Child);

impl Running {
    /// Starts the tool against `node`.
    pub fn start(node: &Node, args: &[&str]) -> Running {
        let port = node.port.to_string();
        let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
        command.args(args).args(["-h", &node.host, "-P", &port]).stderr(Stdio::piped());
        Running(command.spawn().unwrap())
    }

    /// Waits until `ready`; the run must not end before.
    pub fn until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !ready() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to this: {what}");
            if self.0.try_wait().unwrap().is_some() {
                use std::io::Read;
                let mut told = String::new();
                self.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
                panic!("it ended before this: {what}\n{told}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Sends a signal such as `-INT`.
    pub fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// Its exit code and what it said.
    pub fn end(self) -> (Option<i32>, String) {
        let output = self.0.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Partitions of several rows each.
const PARTITIONS: usize = 500;
const ROWS: usize = 6;

/// Bytes of a row: pages of 1 MiB, which are not divided by the rate, have some hundreds of them.
pub const WIDE: usize = 4 << 10;

/// Runs statements that may be run again: a busy machine answers some of them too late.
pub fn fill(db: &Db, statements: impl Iterator<Item = String>) {
    let all: Vec<String> = statements.collect();
    for some in all.chunks(200) {
        let mut attempts = (0..10).map(|_| db.try_each(some.iter().cloned()));
        assert!(attempts.any(|done| done.is_ok()), "{:?}", db.try_each(some.iter().cloned()));
    }
}

pub fn source(name: &str) -> TestKeyspace {
    let source = TestKeyspace::with(
        name,
        &["CREATE TABLE t (k int, c int, s text static, v text, PRIMARY KEY (k, c))"],
    );
    let text = "x".repeat(WIDE);
    let row = |n: usize| {
        let (k, c) = (n / ROWS, n % ROWS);
        format!("INSERT INTO t (k, c, s, v) VALUES ({k}, {c}, 's{k}', '{c}{text}')")
    };
    fill(&source.db, (0..PARTITIONS * ROWS).map(row));
    source
}

/// The parts that are there, with their sidecars.
fn sidecars(dir: &str) -> Vec<String> {
    files(dir).into_iter().filter(|name| name.starts_with("data/") && name.ends_with(".json")).collect()
}

fn temporary(dir: &str) -> bool {
    files(dir).iter().any(|name| name.ends_with(".tmp"))
}

/// Starts a slow dump of `source` and stops it by `signal` once some parts are there and others are being written.
fn stopped(source: &TestKeyspace, dir: &str, signal: &str, more: &[&str]) -> (Option<i32>, String) {
    let args = [&["dump", &source.name, "-o", dir, "--rate", "600", "--part-size", "64KiB"], more].concat();
    let mut run = Running::start(&source.node, &args);
    run.until("parts, finished and not", || sidecars(dir).len() >= 3 && temporary(dir));
    run.signal(signal);
    run.end()
}

/// The dump is whole, and the source's.
#[track_caller]
pub fn assert_whole(source: &TestKeyspace, dir: &str) {
    run(["verify", dir]).success();
    source.node.run(["verify", dir]).success();
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let target = source.target(&format!("loaded{}", COUNT.fetch_add(1, Relaxed)));
    source.load(dir, &target, &[]).success();
    assert_same(&source.db, &source.name, &target);
}

#[test]
fn a_dump_goes_on_where_a_signal_stopped_it() {
    let source = source("res_signal");
    for (signal, format) in [("-INT", "csv"), ("-TERM", "parquet")] {
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        let format = ["--format", format];
        let (code, told) = stopped(&source, &dir, signal, &format);
        assert_eq!(code, Some(130), "{told}");
        assert!(told.contains("interrupted") && told.contains("same command again goes on"), "{told}");
        assert!(!temporary(&dir) && !files(&dir).contains(&"manifest.json".to_owned()), "{:?}", files(&dir));
        let before: Vec<(String, Vec<u8>)> = files(&format!("{dir}/data"))
            .into_iter()
            .map(|name| (name.clone(), std::fs::read(format!("{dir}/data/{name}")).unwrap()))
            .collect();
        let begun = json(format!("{dir}/begun.json"));
        let args = [&["dump", &source.name, "-o", &dir], &format[..]].concat();
        source.node.run(&args).success().stderr_has(&["going on with the dump", "3,000 rows"]);
        // What was there is as it was, and the dump is that which was begun.
        for (name, content) in before {
            assert_eq!(std::fs::read(format!("{dir}/data/{name}")).unwrap(), content, "{name}");
        }
        let manifest = json(format!("{dir}/manifest.json"));
        assert_eq!((&manifest["id"], &manifest["started"]), (&begun["id"], &begun["started"]));
        assert!(!files(&dir).contains(&"begun.json".to_owned()));
        assert_whole(&source, &dir);
        // A finished dump is not written again, whatever is asked.
        for more in [&[][..], &["--restart"]] {
            source.node.run([&args[..], more].concat()).fails(1).stderr_has(&["finished dump"]);
        }
    }
}

/// Both signals wait for a process that is stopped, and come at once.
#[test]
fn a_second_signal_ends_a_dump_at_once() {
    let source = source("res_second");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let args = ["dump", &source.name, "-o", &dir, "--rate", "600", "--part-size", "64KiB"];
    let mut run = Running::start(&source.node, &args);
    run.until("parts", || sidecars(&dir).len() >= 3 && temporary(&dir));
    ["-STOP", "-INT", "-TERM", "-CONT"].iter().for_each(|signal| run.signal(signal));
    let (code, told) = run.end();
    assert_eq!(code, Some(130), "{told}");
    assert!(told.contains("at once"), "{told}");
    source.node.run(["dump", &source.name, "-o", &dir]).success();
    assert_whole(&source, &dir);
}

/// Another one for each run, unless `CQLIFT_SEED` says which.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    std::env::var("CQLIFT_SEED").map_or(now, |seed| seed.parse().unwrap())
}

/// A dump is killed again and again at random moments; each run goes on from what the one before left.
fn killed_at_random(source: &TestKeyspace, seed: u64) {
    let mut chance = Chance::new(seed);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let format = if chance.below(2) == 0 { "csv" } else { "parquet" };
    let args =
        ["dump", &source.name, "-o", &dir, "--format", format, "--rate", "1500", "--part-size", "64KiB"];
    let mut kills = 0;
    for _ in 0..4 {
        let mut run = Running::start(&source.node, &args);
        // At this rate the whole takes more than half a second, so that the first is never too late.
        let most = if kills == 0 { 500 } else { 2500 };
        let until = Instant::now() + Duration::from_millis(u64::try_from(chance.below(most)).unwrap());
        while Instant::now() < until && !run.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if run.has_ended() {
            let (code, told) = run.end();
            assert_eq!(code, Some(0), "seed {seed}: {told}");
            break;
        }
        run.signal("-KILL");
        run.end();
        kills += 1;
    }
    assert!(kills > 0, "seed {seed}: it ended before it could be killed");
    println!("seed {seed}, {format}: killed {kills} times, {} parts were left", sidecars(&dir).len());
    if !files(&dir).contains(&"manifest.json".to_owned()) {
        source.node.run(args).success();
    }
    assert!(!temporary(&dir), "seed {seed}: {:?}", files(&dir));
    assert_whole(source, &dir);
}

#[test]
fn a_dump_goes_on_where_it_was_killed() {
    killed_at_random(&source("res_kill"), seed());
}

#[test]
#[ignore = "twenty seeds: scripts/test --long"]
fn a_dump_goes_on_where_it_was_killed_twenty_times() {
    let source = source("res_kills");
    let first = seed();
    for seed in first..first + 20 {
        killed_at_random(&source, seed);
    }
}

#[test]
fn a_dump_goes_on_only_as_it_was_begun() {
    let source = source("res_options");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (code, _) = stopped(&source, &dir, "-INT", &["--format", "csv"]);
    assert_eq!(code, Some(130));
    let left = files(&dir);
    let refused = |args: &[&str], fragments: &[&str]| {
        let args = [&["dump", "-o", &dir], args].concat();
        source.node.run(&args).fails(1).stderr_has(&[fragments, &["unfinished dump", "--restart"]].concat());
        assert_eq!(files(&dir), left, "{args:?}");
    };
    let (name, table) = (source.name.as_str(), source.table("t"));
    refused(&[name, "--format", "parquet"], &["--format was csv and is parquet now"]);
    refused(&[name, "--format", "csv", "--preserve", "none"], &["--preserve was all and is none now"]);
    refused(&[&table, "--format", "csv"], &[&format!("the selection was {name} and is {table} now")]);
    refused(
        &[name, "--format", "csv", "--consistency", "ONE"],
        &["--consistency was LOCAL_QUORUM and is ONE now"],
    );
    source.db.execute("ALTER TABLE t ADD w int");
    refused(&[name, "--format", "csv"], &[&format!("{table} was altered: column \"w\" was added")]);
    // What was read of it before is gone, though the table looks the same.
    for what in ["DROP w", "DROP v", "ADD v text"] {
        source.db.execute(&format!("ALTER TABLE t {what}"));
    }
    let again = format!("{table} was altered: column \"v\" was dropped and added again");
    refused(&[name, "--format", "csv"], &[&again]);
    source.db.execute("DROP TABLE t");
    refused(&[name, "--format", "csv"], &[&format!("{table} was dropped")]);
    source.db.execute("CREATE TABLE t (k int, c int, s text static, v text, PRIMARY KEY (k, c))");
    source.db.execute("INSERT INTO t (k, c, v) VALUES (1, 1, 'new')");
    refused(&[name, "--format", "csv"], &[&format!("{table} was dropped and made again")]);
    // Started over, what is not the tool's stays.
    std::fs::write(format!("{dir}/notes.txt"), "mine").unwrap();
    source.node.run(["dump", name, "-o", &dir, "--restart"]).success().stderr_has(&["1 row of 1 table"]);
    assert_eq!(std::fs::read_to_string(format!("{dir}/notes.txt")).unwrap(), "mine");
    assert_eq!(
        sidecars(&dir).len(),
        json(format!("{dir}/manifest.json"))["keyspaces"][0]["tables"][0]["parts"].as_array().unwrap().len()
    );
    assert_whole(&source, &dir);
}

/// Another cluster with a keyspace of the same name is another cluster.
#[test]
fn a_dump_does_not_go_on_from_another_cluster() {
    let source = source("res_cluster");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    assert_eq!(stopped(&source, &dir, "-INT", &[]).0, Some(130));
    let other = Node::get("4.1");
    let db = Db::connect(&other);
    db.execute(&format!(
        "CREATE KEYSPACE {} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        source.name
    ));
    db.execute(&format!(
        "CREATE TABLE {} (k int, c int, s text static, v text, PRIMARY KEY (k, c))",
        source.table("t")
    ));
    let done = other.run(["dump", &source.name, "-o", &dir]);
    db.execute(&format!("DROP KEYSPACE {}", source.name));
    // Where the clusters have one name, they are told apart by their nodes.
    let done = done.fails(1).stderr_has(&["unfinished dump"]);
    let told = &done.stderr;
    assert!(told.contains("the cluster was") || told.contains("all its nodes are others"), "{told}");
}

/// A sidecar that says this, with the checksum that fits.
fn sealed(sidecar: &serde_json::Value) -> String {
    let mut sidecar = sidecar.clone();
    sidecar.as_object_mut().unwrap().remove("sidecar_checksum").unwrap();
    let text = serde_json::to_string_pretty(&sidecar).unwrap();
    let body = text.strip_suffix("\n}").unwrap();
    format!("{body},\n  \"sidecar_checksum\": \"xxh3-128:{:032x}\"\n}}\n", xxh3_128(body.as_bytes()))
}

#[test]
fn a_part_that_is_not_what_its_sidecar_says_is_named() {
    let source = source("res_damage");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    assert_eq!(stopped(&source, &dir, "-INT", &["--format", "csv"]).0, Some(130));
    let again = || source.node.run(["dump", &source.name, "-o", &dir, "--format", "csv"]);
    let folder = format!("{dir}/data/{}/t", source.name);
    let holding: Vec<String> = files(&folder).into_iter().filter(|name| name.ends_with(".csv")).collect();
    let (path, sidecar) = (format!("{folder}/{}", holding[0]), holding[0].replace(".csv", ".json"));
    let sidecar = format!("{folder}/{sidecar}");
    let (content, said) = (std::fs::read(&path).unwrap(), std::fs::read_to_string(&sidecar).unwrap());
    let mut flipped = content.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (damaged, what) in
        [(&content[..content.len() - 1], "bytes, its sidecar says"), (&flipped, "its checksum is")]
    {
        std::fs::write(&path, damaged).unwrap();
        again().fails(1).stderr_has(&[&holding[0], what, "--restart"]);
    }
    std::fs::remove_file(&path).unwrap();
    again().fails(1).stderr_has(&[&holding[0], "cannot be opened"]);
    std::fs::write(&path, &content).unwrap();
    std::fs::write(&sidecar, &said[..said.len() / 2]).unwrap();
    again().fails(1).stderr_has(&[&sidecar, "no sidecar"]);
    // One digit of where a range ends, beside tokens that are still to be read.
    let mut wider: serde_json::Value = serde_json::from_str(&said).unwrap();
    let end = wider["ranges"][0]["end"].as_str().unwrap();
    let last = if end.ends_with('1') { "2" } else { "1" };
    let other = said.replacen(&format!("\"{end}\""), &format!("\"{}{last}\"", &end[..end.len() - 1]), 1);
    assert_ne!(other, said);
    std::fs::write(&sidecar, other).unwrap();
    again().fails(1).stderr_has(&[&sidecar, "its checksum does not match", "--restart"]);
    // Whole, and left by another dump into this directory.
    let mut stranger = wider.clone();
    stranger["dump"] = "another".into();
    std::fs::write(&sidecar, sealed(&stranger)).unwrap();
    again().fails(1).stderr_has(&[&sidecar, "of the dump another", "--restart"]);
    // A range that another part has too.
    wider["ranges"][0]["start"] = i64::MIN.to_string().into();
    wider["ranges"][0]["end"] = i64::MAX.to_string().into();
    std::fs::write(&sidecar, sealed(&wider)).unwrap();
    again().fails(1).stderr_has(&["do not go together", &source.table("t")]);
    wider["ranges"][0]["end"] = "a lot".into();
    std::fs::write(&sidecar, sealed(&wider)).unwrap();
    again().fails(1).stderr_has(&["a lot"]);
    // Removed as the hint says, with what a run that dies leaves besides: that is read again, and nothing is told of it.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&sidecar).unwrap();
    std::fs::write(format!("{folder}/part-00900.csv"), "k,c\n").unwrap();
    std::fs::write(format!("{folder}/.part-00901.csv.tmp"), "k,").unwrap();
    std::fs::write(format!("{folder}/.part-00902.json.tmp"), "{").unwrap();
    again().success();
    assert!(!files(&folder).iter().any(|name| name.contains("part-009")), "{:?}", files(&folder));
    assert_whole(&source, &dir);
}

#[test]
fn two_runs_do_not_dump_into_one_directory() {
    let source = source("res_two");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let mut run = Running::start(&source.node, &["dump", &source.name, "-o", &dir, "--rate", "1000"]);
    run.until("a part", || temporary(&dir));
    source.node.run(["dump", &source.name, "-o", &dir]).fails(1).stderr_has(&["another run dumps into"]);
    run.signal("-KILL");
    run.end();
    source.node.run(["dump", &source.name, "-o", &dir]).success();
    assert_whole(&source, &dir);
}

/// A partition many parts large, in mixed order, with empty clustering cells and static ones; and each way to stop in it.
#[test]
fn a_dump_goes_on_inside_a_partition() {
    let source = TestKeyspace::with(
        "res_inside",
        &[
            "CREATE TABLE t (k int, a text, b int, c blob, s text static, v text, PRIMARY KEY (k, a, b, c)) \
           WITH CLUSTERING ORDER BY (a ASC, b DESC, c ASC)",
            "CREATE TABLE d (k int, a text, b blob, s text static, v text, PRIMARY KEY (k, a, b)) \
           WITH CLUSTERING ORDER BY (a DESC, b DESC)",
        ],
    );
    let text = "y".repeat(WIDE);
    let a = |n: usize| ["''", "'a'", "'b'", "'ü'"][n % 4];
    let c = |n: usize| ["0x", "0x00", "0x01", "0xff", "0xff00"][n % 5];
    let mixed = (0..2400).map(|n| {
        let b = match n / 20 % 60 {
            0 => "blobAsInt(0x)".to_owned(),
            b => (i64::try_from(b).unwrap() * 7 - 200).to_string(),
        };
        let k = n / 1200;
        format!(
            "INSERT INTO t (k, a, b, c, s, v) VALUES ({k}, {}, {b}, {}, 's{k}', '{text}')",
            a(n),
            c(n / 4)
        )
    });
    let both_down = (0..1200).map(|n| {
        let b = if n % 30 == 0 { "0x".to_owned() } else { format!("0x{:06x}", n * 37) };
        format!("INSERT INTO d (k, a, b, s, v) VALUES (1, {}, {b}, 's', '{text}')", a(n / 30))
    });
    // Partitions that hold only static cells, beside the large ones.
    let alone = (10..60).map(|k| format!("INSERT INTO t (k, s) VALUES ({k}, 'alone')"));
    fill(&source.db, mixed.chain(both_down).chain(alone));
    let scratch = Scratch::new();
    for (number, signal) in ["-INT", "-KILL", "-INT", "-KILL"].into_iter().enumerate() {
        let dir = scratch.path(&number.to_string());
        let format = if number < 2 { "csv" } else { "parquet" };
        let args =
            ["dump", &source.name, "-o", &dir, "--format", format, "--part-size", "64KiB", "--rate", "600"];
        let mut times = 0;
        while !files(&dir).contains(&"manifest.json".to_owned()) && times < 3 {
            let mut run = Running::start(&source.node, &args);
            let before = sidecars(&dir).len();
            let goal = before + 2;
            while !run.has_ended() && sidecars(&dir).len() < goal {
                std::thread::sleep(Duration::from_millis(2));
            }
            if !run.has_ended() {
                run.signal(signal);
                times += 1;
            }
            run.end();
        }
        assert!(times > 0, "the dump was not stopped");
        let cut = sidecars(&dir).iter().any(|name| {
            let ranges = json(format!("{dir}/{name}"))["ranges"].clone();
            ranges.as_array().unwrap().iter().any(|range| range["to"].is_object())
        });
        assert!(cut, "no part ends inside a partition");
        source.node.run(&args[..args.len() - 2]).success();
        assert_whole(&source, &dir);
    }
}
