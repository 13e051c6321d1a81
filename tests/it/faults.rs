//! Requests that fail, and requests that only seem to have failed: whatever a node or the network does to them, nothing is
//! missing in the end and nothing is there twice, or the tool says what it does not know.

use crate::clocks::compare_times;
use crate::harness::{Scratch, TestKeyspace, files, json};
use crate::proxy::{Asked, Fate, Proxy, Refusal};
use crate::random::seeds;
use crate::random_values::Chance;
use crate::resume_dump::{Running, WIDE, assert_whole, fill as insert};
use crate::roundtrip::assert_same;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Answers later than the runs here wait for one.
const TOO_LATE: Fate = Fate::Late(Duration::from_secs(6));
const LATE: Fate = Fate::Late(Duration::from_millis(300));
/// What the runs here wait for an answer, and how often they try.
/// Where a connection breaks, all that is on its way fails: more often than attempts last by default.
const TIMEOUT: [&str; 4] = ["--request-timeout", "4", "--max-attempts", "60"];

const WRITES: &[Fate] = &[
    Fate::Told(Refusal::WriteTimeout),
    Fate::Told(Refusal::WriteTimeout),
    Fate::Told(Refusal::WriteFailure),
    Fate::Told(Refusal::Overloaded),
    Fate::Told(Refusal::Unavailable),
    Fate::Told(Refusal::ReadTimeout),
    Fate::Told(Refusal::ReadFailure),
    Fate::Told(Refusal::ServerError),
    Fate::Refused(Refusal::WriteTimeout),
    Fate::Refused(Refusal::WriteFailure),
    Fate::Refused(Refusal::Overloaded),
    Fate::Refused(Refusal::Bootstrapping),
    Fate::Refused(Refusal::Unprepared),
    LATE,
    TOO_LATE,
    Fate::Lost,
];

const READS: &[Fate] = &[
    Fate::Told(Refusal::ReadTimeout),
    Fate::Told(Refusal::ReadFailure),
    Fate::Refused(Refusal::ReadTimeout),
    Fate::Refused(Refusal::ReadFailure),
    Fate::Refused(Refusal::Unavailable),
    Fate::Refused(Refusal::Overloaded),
    Fate::Refused(Refusal::ServerError),
    Fate::Refused(Refusal::Unprepared),
    LATE,
    TOO_LATE,
    Fate::Lost,
];

/// What befalls all requests of a connection. Of an answer's header: version, flags, stream, opcode, length.
const CONNECTIONS: &[Fate] = &[
    Fate::Cut,
    Fate::CutBefore,
    Fate::Damaged(0),
    Fate::Damaged(1),
    Fate::Damaged(2),
    Fate::Damaged(4),
    Fate::Damaged(6),
];

/// A rule by which every third request has some bad luck, and one in so many a connection.
fn bad_luck(seed: u64, connections: usize) -> impl Fn(&Asked) -> Fate + Send + Sync + 'static {
    let chance = Mutex::new(Chance::new(seed));
    move |asked| {
        let mut chance = chance.lock().unwrap();
        if chance.one_in(connections) {
            return *chance.pick(CONNECTIONS);
        }
        match chance.one_in(3) {
            true => *chance.pick(if asked.is_read() { READS } else { WRITES }),
            false => Fate::Pass,
        }
    }
}

const TABLES: &[&str] = &[
    "CREATE TYPE place (street text, city text)",
    "CREATE TABLE plain (k int, c int, st text static, v text, n int, PRIMARY KEY (k, c))",
    "CREATE TABLE elements (k int, c int, s set<int>, m map<text, int>, u place, f frozen<list<int>>, PRIMARY KEY (k, c))",
    "CREATE TABLE lists (k int, c int, sl list<text> static, a list<int>, b list<text>, PRIMARY KEY (k, c))",
];

const COUNTS: &str =
    "CREATE TABLE counts (k int, c int, s counter static, a counter, b counter, PRIMARY KEY (k, c))";

/// Rows of each table.
const ROWS: usize = 200;

/// Fills the tables: partitions of several rows and of one, write times and expiries of all kinds.
fn fill(source: &TestKeyspace) {
    let (mut statements, now) = (Vec::new(), 1_700_000_000_000_000_u64);
    for n in 0..ROWS {
        // The first partitions have ten rows each, the others one.
        let (k, time) = (if n < ROWS / 2 { n / 10 } else { n }, now + n as u64 * 1000);
        let ttl = if n % 5 == 0 { " AND TTL 500000" } else { "" };
        let using = format!("USING TIMESTAMP {time}{ttl}");
        statements.push(format!("INSERT INTO plain (k, c, v, n) VALUES ({k}, {n}, 'v{n}', {n}) {using}"));
        statements.push(format!("INSERT INTO plain (k, st) VALUES ({k}, 's{k}') USING TIMESTAMP {now}"));
        statements.push(format!(
            "UPDATE plain USING TIMESTAMP {} SET v = 'w{n}' WHERE k = {k} AND c = {n}",
            time + 7
        ));
        statements.push(format!(
            "INSERT INTO elements (k, c, s, m, u, f) VALUES ({k}, {n}, {{{n}, 1}}, {{'a': {n}}}, {{street: 's', city: 'c'}}, \
             [{n}, {n}]) {using}"
        ));
        let later = time + 9;
        statements.push(format!(
            "UPDATE elements USING TIMESTAMP {later} SET s = s + {{-{n}}}, m['b'] = {n}, u.city = 'd' WHERE k = {k} AND c = {n}"
        ));
        statements.push(format!(
            "INSERT INTO lists (k, c, a, b) VALUES ({k}, {n}, [{n}, {n}, 7], ['x', 'x']) {using}"
        ));
        if n % 10 == 0 || n >= ROWS / 2 {
            statements.push(format!("UPDATE lists SET sl = ['y', 'y', '{k}'] WHERE k = {k}"));
        }
    }
    source.db.try_each(statements.into_iter()).unwrap();
}

fn fill_counts(source: &TestKeyspace) {
    let row = |n: i32| format!("UPDATE counts SET a = a + {n}, b = b - 1 WHERE k = {} AND c = {n}", n / 3);
    let partition = |k: i32| format!("UPDATE counts SET s = s + {k} WHERE k = {k}");
    source.db.try_each((0..120).map(row).chain((0..40).map(partition))).unwrap();
}

/// Loads `dir` through bad luck, and answers where.
fn loaded(source: &TestKeyspace, dir: &str, seed: u64) -> String {
    let target = source.target(&format!("seed{seed}"));
    let map = format!("{}={target}", source.name);
    let proxy = Proxy::to(&source.node, &target, bad_luck(seed, 40));
    // That nodes seem to go away makes it read all back, through the same luck: what is there is compared without it.
    proxy.run(&[&["load", dir, "--map", &map, "--no-check"][..], &TIMEOUT].concat()).success();
    println!("seed {seed}: {:?}", proxy.done());
    assert!(proxy.faults() > 20, "seed {seed}: {:?}", proxy.done());
    target
}

/// Write times of lists may differ: each sending is a microsecond later than the one before.
fn differing_times(source: &TestKeyspace, target: &str) -> Vec<String> {
    let differences = compare_times(&source.db, &source.name, target);
    differences.into_iter().filter(|difference| !difference.contains(" list<")).collect()
}

fn loads_are_exact(seeds: impl IntoIterator<Item = u64>) {
    let source = TestKeyspace::with("faults_load", TABLES);
    fill(&source);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    for seed in seeds {
        let target = loaded(&source, &dir, seed);
        assert_eq!(assert_same(&source.db, &source.name, &target), 3 * ROWS, "seed {seed}");
        let times = differing_times(&source, &target);
        assert!(times.is_empty(), "seed {seed}: {}", times.join("\n"));
    }
}

fn counts_are_exact(seeds: impl IntoIterator<Item = u64>) {
    let source = TestKeyspace::with("faults_counts", &[COUNTS]);
    fill_counts(&source);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    for seed in seeds {
        let target = loaded(&source, &dir, seed);
        assert_eq!(assert_same(&source.db, &source.name, &target), 120, "seed {seed}");
    }
}

const LARGE: usize = 300;

/// Rows so large that a dump needs many pages.
fn fill_large(source: &TestKeyspace) {
    let text = "x".repeat(64 << 10);
    let large = |k: usize| format!("INSERT INTO plain (k, c, v) VALUES ({k}, 0, '{k}{text}')");
    source.db.try_each((1000..1000 + LARGE).map(large)).unwrap();
}

fn dumps_are_exact(seeds: impl IntoIterator<Item = u64>) {
    let source = TestKeyspace::with("faults_dump", TABLES);
    fill(&source);
    fill_large(&source);
    let scratch = Scratch::new();
    for seed in seeds {
        let (dir, target) = (scratch.path(&seed.to_string()), source.target(&format!("seed{seed}")));
        let proxy = Proxy::to(&source.node, &source.name, bad_luck(seed, 12));
        let dump = ["dump", &source.name, "-o", &dir];
        proxy.run(&[&dump[..], &TIMEOUT].concat()).success();
        let dumping = proxy.done();
        proxy.run(&[&["verify", &dir][..], &TIMEOUT].concat()).success();
        println!("seed {seed}: dump {dumping:?}, with verify {:?}", proxy.done());
        assert!(proxy.done().len() > 4 && proxy.faults() > 20, "seed {seed}: {:?}", proxy.done());
        source.load(&dir, &target, &[]).success();
        assert_eq!(assert_same(&source.db, &source.name, &target), 3 * ROWS + LARGE, "seed {seed}");
    }
}

#[test]
fn a_load_is_exact_whatever_becomes_of_its_requests() {
    loads_are_exact(seeds());
}

#[test]
fn counters_are_exact_whatever_becomes_of_their_updates() {
    counts_are_exact(seeds());
}

#[test]
fn a_dump_is_exact_whatever_becomes_of_its_requests() {
    dumps_are_exact(seeds());
}

#[test]
#[ignore = "takes ten minutes: scripts/test --long"]
fn many_seeds_of_bad_luck() {
    loads_are_exact(100..115);
    dumps_are_exact(100..115);
    counts_are_exact(100..106);
}

/// Lines with keys that repeat, so that an early line that is written again must not win over a later one.
#[test]
fn an_import_is_exact_whatever_becomes_of_its_requests() {
    let table = "CREATE TABLE t (k int, c int, st text static, v text, l list<int>, PRIMARY KEY (k, c))";
    for seed in seeds() {
        let source = TestKeyspace::with("faults_import", &[table]);
        let target = source.target("imported");
        let replication = crate::harness::SIMPLE;
        source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {replication}"));
        source.db.execute(&table.replace(" t ", &format!(" {target}.t ")));
        let mut lines = "k,c,st,v,l\n".to_owned();
        for n in 0..450 {
            // Every row comes three times, every partition's static cell with each of its rows.
            let (k, c, v) = (n % 30, n % 150, format!("v{n}"));
            lines.push_str(&format!("{k},{c},st{n},{v},\"[{n}, {n}]\"\n"));
            let insert = format!(
                "INSERT INTO t (k, c, st, v, l) VALUES ({k}, {c}, 'st{n}', '{v}', [{n}, {n}]) USING TIMESTAMP {n}"
            );
            source.db.execute(&insert);
        }
        let scratch = Scratch::new();
        let file = scratch.write("lines.csv", lines);
        let proxy = Proxy::to(&source.node, &target, bad_luck(seed, 40));
        proxy.run(&[&["import", &format!("{target}.t"), &file][..], &TIMEOUT].concat()).success();
        println!("seed {seed}: {:?}", proxy.done());
        assert!(proxy.faults() > 20, "seed {seed}: {:?}", proxy.done());
        assert_eq!(assert_same(&source.db, &source.name, &target), 150, "seed {seed}");
    }
}

/// An update that only adds cannot be sent again: an import that does not know whether it was counted says of which rows.
#[test]
fn an_import_of_counters_says_which_counts_are_not_known() {
    const KEYS: usize = 400;
    let fates = [
        Fate::Told(Refusal::WriteTimeout),
        Fate::Told(Refusal::Overloaded),
        Fate::Refused(Refusal::WriteTimeout),
        Fate::Lost,
        Fate::Cut,
    ];
    for fate in fates {
        let source = TestKeyspace::with("faults_add", &["CREATE TABLE t (k int PRIMARY KEY, n counter)"]);
        let scratch = Scratch::new();
        let lines: String = (0..KEYS).map(|k| format!("{k},{}\n", k + 1)).collect();
        let file = scratch.write("counts.csv", format!("k,n\n{lines}"));
        let hit = move |asked: &Asked| if asked.number == 200 { fate } else { Fate::Pass };
        let proxy = Proxy::to(&source.node, &source.name, hit);
        let import = ["import", &source.table("t"), &file];
        let done = proxy.run(&[&import[..], &TIMEOUT].concat()).fails(1);
        let told = done.told();
        let unknown: Vec<usize> = done
            .stderr
            .lines()
            .filter_map(|line| line.split_once("not known of these rows: "))
            .map(|(_, keys)| keys)
            .flat_map(|keys| {
                keys.split("; ")
                    .map(|key| key.strip_prefix("k=").unwrap().parse().unwrap())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert!(!unknown.is_empty(), "{fate:?}: {told}");
        let mut counted = vec![0; KEYS];
        for row in source.db.texts("SELECT JSON k, n FROM t") {
            let row: serde_json::Value = serde_json::from_str(&row[0]).unwrap();
            counted[usize::try_from(row["k"].as_u64().unwrap()).unwrap()] = row["n"].as_u64().unwrap();
        }
        for (k, count) in counted.iter().enumerate() {
            assert!(*count == 0 || *count == k as u64 + 1, "{fate:?}: {k} is {count}: {told}");
        }
        match fate {
            // The only one that was hit was done by the node.
            Fate::Told(_) | Fate::Lost => {
                assert_eq!(unknown.len(), 1, "{fate:?}: {told}");
                assert_eq!(counted[unknown[0]], unknown[0] as u64 + 1, "{fate:?}: {told}");
            }
            Fate::Refused(_) => assert_eq!((unknown.len(), counted[unknown[0]]), (1, 0), "{fate:?}: {told}"),
            _ => {}
        }
        done.stderr_has(&[&source.table("t"), "may have been counted", "empty the table"]);
    }
}

/// Waits until the proxy has been asked so much.
fn wait_for(proxy: &Proxy, requests: usize) {
    let begun = Instant::now();
    while proxy.asked() < requests {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {} requests came", proxy.asked());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// As when the only node is started again, or a firewall is: no connection for half a minute, with the flags as they are.
#[test]
fn thirty_seconds_without_any_connection_are_waited_for() {
    const OUTAGE: Duration = Duration::from_secs(30);
    let source = TestKeyspace::with("outage", TABLES);
    fill(&source);
    fill_large(&source);
    let scratch = Scratch::new();
    let (dir, through, target) = (scratch.path("dump"), scratch.path("through"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let map = format!("{}={target}", source.name);
    let slow = |_: &Asked| Fate::Late(Duration::from_millis(100));
    let reading = Proxy::to(&source.node, &source.name, slow);
    let writing = Proxy::to(&source.node, &target, slow);
    let runs = [
        (&reading, vec!["dump", &source.name, "-o", &through]),
        (&writing, vec!["load", &dir, "--map", &map]),
    ];
    std::thread::scope(|scope| {
        for (proxy, args) in runs {
            scope.spawn(move || {
                wait_for(proxy, 8);
                proxy.down();
                // What was on its way may still be counted.
                std::thread::sleep(Duration::from_secs(1));
                let before = proxy.asked();
                std::thread::sleep(OUTAGE);
                assert_eq!(proxy.asked(), before, "it was not down");
                proxy.up();
            });
            scope.spawn(move || {
                proxy.run(&args).success();
                assert!(proxy.asked() > 16, "{} requests: not in the middle", proxy.asked());
            });
        }
    });
    assert_eq!(assert_same(&source.db, &source.name, &target), 3 * ROWS + LARGE);
    let second = source.target("second");
    source.load(&through, &second, &[]).success();
    assert_eq!(assert_same(&source.db, &source.name, &second), 3 * ROWS + LARGE);
}

/// What is asked about the cluster and its tables, before rows are read or written and after, is asked again as well.
#[test]
fn questions_about_the_cluster_are_asked_again() {
    let source = TestKeyspace::with("questions", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.execute("INSERT INTO t (k, v) VALUES (1, 'a')");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let dump = vec!["dump", source.name.as_str(), "-o", &dir];
    let maps = [source.target("ids"), source.target("clock")].map(|t| format!("{}={t}", source.name));
    let load = |map| vec!["load", dir.as_str(), "--map", map];
    // How the cluster's clock goes is measured by five of the same questions.
    for (question, first, args) in [
        ("truncated_at FROM system.local", 0, dump),
        ("SELECT keyspace_name, table_name, id FROM system_schema.tables", 0, load(maps[0].as_str())),
        ("SELECT toUnixTimestamp(now()) FROM system.local", 5, load(maps[1].as_str())),
    ] {
        let rule = move |asked: &Asked| match (first..first + 2).contains(&asked.number) {
            true => Fate::CutBefore,
            false => Fate::Pass,
        };
        let proxy = Proxy::of_queries(&source.node, question, rule);
        proxy.run(&args).success();
        assert_eq!(proxy.faults(), 2, "{question}");
    }
}

/// What never gets better ends with what was asked for, what was said, how often, and what to do.
#[test]
fn attempts_are_bounded_and_the_end_is_told() {
    let source = TestKeyspace::with("bounded", TABLES);
    fill(&source);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let map = format!("{}={target}", source.name);
    let load = ["load", &dir, "--map", &map, "--if-exists", "truncate"];
    let dump = |name: &str| vec!["dump".to_owned(), source.table("plain"), "-o".into(), scratch.path(name)];
    let hints = [
        (Refusal::Overloaded, ["overloaded", "--rate"]),
        (Refusal::Unavailable, ["required: 2, alive: 1", "--consistency"]),
        (Refusal::ReadFailure, ["non-timeout error", "logs"]),
        (Refusal::WriteTimeout, ["in time", "--max-attempts"]),
    ];
    for (number, (refusal, hint)) in hints.into_iter().enumerate() {
        let always = move |_: &Asked| Fate::Refused(refusal);
        let flags = ["--max-attempts", "3"];
        let reading = Proxy::to(&source.node, &source.name, always);
        let dump = dump(&number.to_string());
        let dump: Vec<&str> = dump.iter().map(String::as_str).chain(flags).collect();
        let place = [&source.table("plain"), "token range (", "3 attempts"];
        reading.run(&dump).fails(1).stderr_has(&place).stderr_has(&hint);
        let writing = Proxy::to(&source.node, &target, always);
        writing
            .run(&[&load[..], &flags].concat())
            .fails(1)
            .stderr_has(&[&target, "3 attempts"])
            .stderr_has(&hint);
    }
    // Once means once.
    let always = |_: &Asked| Fate::Refused(Refusal::Overloaded);
    let writing = Proxy::to(&source.node, &target, always);
    writing.run(&[&load[..], &["--max-attempts", "1"]].concat()).fails(1).stderr_has(&["1 attempt)"]);
}

/// The protocol has no checksums. A page that is the answer to another request is noticed.
#[test]
fn answers_that_are_mixed_up_lose_nothing_in_silence() {
    let source = TestKeyspace::with("mixed_up", TABLES);
    fill_large(&source);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let rule = |asked: &Asked| if (8..12).contains(&asked.number) { Fate::Swapped } else { Fate::Pass };
    let proxy = Proxy::to(&source.node, &source.name, rule);
    let dump = ["dump", &source.table("plain"), "-o", &dir];
    let done = proxy.run(&[&dump[..], &TIMEOUT].concat()).done();
    assert_eq!(proxy.done().get("swapped"), Some(&4), "{}", done.told());
    match done.code {
        // Both were empty.
        Some(0) => {
            let target = source.target("loaded");
            source.load(&dir, &target, &[]).success();
            assert_eq!(source.db.count(&format!("{target}.plain")), LARGE);
        }
        _ => drop(done.stderr_has(&[&source.table("plain"), "rows of other tokens", "try again"])),
    }
}

/// A rule by which the first of some requests, so many, meet this fate.
fn first(
    count: usize,
    fate: Fate,
    of: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> impl Fn(&Asked) -> Fate + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |asked| match of(&asked.query) && seen.fetch_add(1, Relaxed) < count {
        true => fate,
        false => Fate::Pass,
    }
}

/// What the rows of a partition that come after one are asked for by.
fn goes_on_inside(query: &str) -> bool {
    query.contains("AND c > ?")
}

/// So many partitions of so many rows, and a dump of them into `dir` that was stopped in the middle of some; and the command
/// to go on with it.
fn stopped_inside<'a>(
    name: &str,
    (partitions, rows): (usize, usize),
    dir: &'a str,
) -> (TestKeyspace, Vec<&'a str>) {
    let source = TestKeyspace::with(name, &["CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))"]);
    let text = "x".repeat(WIDE);
    let row = |n: usize| format!("INSERT INTO t (k, c, v) VALUES ({}, {n}, '{text}')", n % partitions);
    insert(&source.db, (0..rows * partitions).map(row));
    let inside = || {
        let names = files(dir).into_iter().filter(|name| name.contains("part-") && name.ends_with(".json"));
        let ranges =
            names.flat_map(|name| json(format!("{dir}/{name}"))["ranges"].as_array().unwrap().clone());
        let ends = ranges.filter(|range| range["to"].is_object()).map(|range| range["end"].to_string());
        ends.collect::<BTreeSet<String>>().len()
    };
    let slowly = ["dump", &source.name, "-o", dir, "--part-size", "64KiB", "--rate", "300"];
    let mut run = Running::start(&source.node, &slowly);
    run.until("parts that end inside of partitions", || inside() >= partitions.min(3));
    run.signal("-INT");
    let (code, told) = run.end();
    assert_eq!(code, Some(130), "{told}");
    let again = vec!["dump", "-o", dir, "--part-size", "64KiB"];
    (source, again)
}

#[test]
fn answers_that_are_mixed_up_inside_partitions_lose_nothing_in_silence() {
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (source, again) = stopped_inside("mixed_inside", (8, 400), &dir);
    let dump = [&again[..], &[&source.name]].concat();
    let proxy = Proxy::to(&source.node, &source.name, first(3, Fate::Swapped, goes_on_inside));
    let done = proxy.run(&[&dump[..], &TIMEOUT].concat()).done();
    // Those on one connection are mixed up with each other; one that is alone on its own is asked for again.
    if done.code != Some(0) {
        done.stderr_has(&[
            &source.table("t"),
            "go on in a partition",
            "rows of other partitions",
            "try again",
        ]);
        source.node.run(&dump).success();
    }
    assert_whole(&source, &dir);
}

/// The keys of a page that has come before fit as well as they did then: by a scan of ranges, and inside a partition.
#[test]
fn answers_that_come_twice_are_noticed() {
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (source, again) = stopped_inside("twice_inside", (1, 2000), &dir);
    let twice = |of: fn(&str) -> bool| first(usize::MAX, Fate::Stale, of);
    let inside = Proxy::to(&source.node, &source.name, twice(goes_on_inside));
    let dump = [&again[..], &[&source.name]].concat();
    let place = [&source.table("t"), "the answer is one that came before", "try again"];
    inside
        .run(&[&dump[..], &TIMEOUT].concat())
        .fails(1)
        .stderr_has(&place)
        .stderr_has(&["go on in a partition"]);
    source.node.run(&dump).success();
    assert_whole(&source, &dir);
    let ranges = Proxy::to(&source.node, &source.name, twice(|query| query.contains("token(")));
    let anew = ["dump", &source.name, "-o", &scratch.path("anew")];
    ranges.run(&[&anew[..], &TIMEOUT].concat()).fails(1).stderr_has(&place).stderr_has(&["token range ("]);
}

/// A node that says nothing is asked again, and one that finds too many tombstones is asked for fewer rows.
#[test]
fn what_is_left_of_a_partition_is_read_as_patiently_as_ranges() {
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (source, again) = stopped_inside("patient_inside", (1, 400), &dir);
    let dump = [&again[..], &[&source.name]].concat();
    let tombstones = Fate::Told(Refusal::Tombstones);
    let proxy = Proxy::to(&source.node, &source.name, first(2, tombstones, goes_on_inside));
    proxy.mute("AND c > ?");
    proxy.mute("SELECT DISTINCT");
    let done = proxy.run(&[&dump[..], &TIMEOUT].concat()).success();
    assert_eq!(proxy.done().get("mute"), Some(&2), "{}", done.told());
    assert_eq!(proxy.faults(), 4, "{:?}", proxy.done());
    assert_whole(&source, &dir);
}

/// What is added to a counter is the difference from what is there of it, and not of another one.
#[test]
fn counters_of_other_rows_are_noticed() {
    let source = TestKeyspace::with("mixed_counts", &[COUNTS]);
    fill_counts(&source);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "csv").success();
    let target = source.target("loaded");
    source.load(&dir, &target, &[]).success();
    let map = format!("{}={target}", source.name);
    let again = ["load", &dir, "--map", &map, "--if-exists", "append"];
    let read_back = |query: &str| query.starts_with("SELECT") && query.contains("c = ? LIMIT 1");
    let proxy = Proxy::to(&source.node, &target, first(6, Fate::Swapped, read_back));
    let done = proxy.run(&[&again[..], &TIMEOUT].concat()).fails(1);
    assert!(proxy.faults() > 1, "{}", done.told());
    done.stderr_has(&["counts", "rows of other keys", "try again"]);
    assert_eq!(assert_same(&source.db, &source.name, &target), 120);
}

/// A server that takes six requests at a time and refuses others is soon asked for little more.
#[test]
fn a_server_that_refuses_is_asked_less() {
    const KEYS: usize = 1500;
    const AT_ONCE: usize = 6;
    let source = TestKeyspace::with("overload", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    source.db.try_each((0..KEYS).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v')"))).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let (rule, refused) = takes(AT_ONCE);
    let proxy = Proxy::to(&source.node, &target, rule);
    proxy.run(&["load", &dir, "--map", &format!("{}={target}", source.name)]).success();
    let refused = refused.lock().unwrap();
    let (first, rest) = (share(&refused[..50]), share(&refused[refused.len() / 2..]));
    println!("{first} % of the first requests were refused, {rest} % of the second half");
    assert!(first > 10, "{first} %: the server had nothing to refuse");
    assert!(
        rest < 20 && 2 * rest < first,
        "{first} % of the first, {rest} % of the second half were refused"
    );
    assert_eq!(assert_same(&source.db, &source.name, &target), KEYS);
}

/// A rule by which so many requests are taken at a time, and others refused; and which of them were.
fn takes(at_once: usize) -> (impl Fn(&Asked) -> Fate + Send + Sync, Arc<Mutex<Vec<bool>>>) {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let seen = refused.clone();
    let rule = move |asked: &Asked| {
        let refuses = asked.in_flight >= at_once;
        seen.lock().unwrap().push(refuses);
        // Longer than a busy client takes to send that many.
        if refuses { Fate::Refused(Refusal::Overloaded) } else { Fate::Late(Duration::from_millis(50)) }
    };
    (rule, refused)
}

/// How many of a hundred were refused.
fn share(requests: &[bool]) -> usize {
    requests.iter().filter(|refused| **refused).count() * 100 / requests.len()
}

/// The same of pages: eight are wanted at a time, and four given.
#[test]
fn a_server_that_refuses_pages_is_asked_for_fewer() {
    let source = TestKeyspace::with("overread", TABLES);
    fill_large(&source);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    let (rule, refused) = takes(4);
    let proxy = Proxy::to(&source.node, &source.name, rule);
    proxy.run(&["dump", &source.table("plain"), "-o", &dir]).success();
    let refused = refused.lock().unwrap();
    let (first, rest) = (share(&refused[..16]), share(&refused[refused.len() / 2..]));
    println!("of {}, {first} % of the first pages were refused, {rest} % of the second half", refused.len());
    assert!(first > 20, "{first} %: the server had nothing to refuse");
    assert!(2 * rest < first, "{first} % of the first, {rest} % of the second half were refused");
    source.load(&dir, &target, &[]).success();
    assert_eq!(source.db.count(&format!("{target}.plain")), LARGE);
}

/// A change of a table makes the node forget the statements on it, in the middle of a load.
#[test]
fn statements_that_a_node_forgets_are_prepared_again() {
    let source = TestKeyspace::with("forgotten", TABLES);
    fill(&source);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let map = format!("{}={target}", source.name);
    let proxy = Proxy::to(&source.node, &target, |_| Fate::Late(Duration::from_millis(100)));
    std::thread::scope(|scope| {
        // Long enough for a busy node to change its tables meanwhile.
        scope.spawn(|| proxy.run(&["load", &dir, "--map", &map, "--rate", "40"]).success());
        wait_for(&proxy, 20);
        for table in ["plain", "elements", "lists"] {
            source.db.execute(&format!("ALTER TABLE {target}.{table} ADD added int"));
        }
    });
    assert!(proxy.done().contains_key("forgotten"), "{:?}", proxy.done());
    for table in ["plain", "elements", "lists"] {
        source.db.execute(&format!("ALTER TABLE {table} ADD added int"));
    }
    assert_eq!(assert_same(&source.db, &source.name, &target), 3 * ROWS);
}

/// Servers give up a page that comes across 100,000 tombstones. Where they lie in one partition no smaller range helps:
/// that ends at once, and says where.
#[test]
fn a_partition_full_of_tombstones_is_named() {
    const COLUMNS: usize = 100;
    const ROWS: usize = 1010;
    let names: Vec<String> = (0..COLUMNS).map(|n| format!("v{n}")).collect();
    let table = |table: &str| {
        let columns = names.join(" int, ");
        format!("CREATE TABLE {table} (k text, c int, {columns} int, PRIMARY KEY (k, c))")
    };
    let source = TestKeyspace::with("graves", &[&table("t"), &table("u")]);
    // Of `t` the partition has a row before them and one behind, of `u` none before.
    let row =
        |table: &str, k: &str, c: usize| format!("INSERT INTO {table} (k, c, v0) VALUES ('{k}', {c}, 1)");
    let others = (0..50).map(|k| row("t", &format!("k{k}"), 1));
    let around = [row("t", "full", 0), row("t", "full", ROWS + 1), row("u", "full", ROWS + 1)];
    source.db.try_each(others.chain(around)).unwrap();
    let nulls = names.join(" = null, ");
    for first in (1..=ROWS).step_by(10) {
        for table in ["t", "u"] {
            let delete = |c| format!("UPDATE {table} SET {nulls} = null WHERE k = 'full' AND c = {c}");
            source.db.try_each((first..first + 10).map(delete)).unwrap();
        }
    }
    let scratch = Scratch::new();
    let hints = ["TOO_MANY_TOMBSTONES", "tombstone_failure_threshold", "nodetool compact"];
    let dump = |table: &str| source.node.run(["dump", &source.table(table), "-o", &scratch.path(table)]);
    let after = [&source.table("t"), "token range (", "after the row k=full, c=0"];
    dump("t").fails(1).stderr_has(&after).stderr_has(&hints);
    let token = source.db.rows("SELECT token(k) FROM u WHERE k = 'full' AND c = 1011");
    let token = i64::from_be_bytes(token[0][0].clone().unwrap().try_into().unwrap());
    let partition = format!("the partition of token {token}");
    dump("u").fails(1).stderr_has(&[&source.table("u"), &partition]).stderr_has(&hints);
}
