//! What can go wrong on the client's side alone: nobody reads what is printed, files cannot be opened, written or found
//! again, the clock jumps. Each ends as it should, and nothing looks whole that is not.

use crate::clocks::compare_times;
use crate::harness::{Done, Scratch, TestKeyspace, files, json, parts, run, tool};
use crate::network::Forwarder;
use crate::roundtrip::assert_same;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Generous: what is waited for takes a second.
const LONG: Duration = Duration::from_secs(60);

/// Stands in every value.
const MARK: &str = "xxxxxxxx";

/// A table of 600 rows of 16 KiB.
fn source(name: &str) -> TestKeyspace {
    let source = TestKeyspace::with(name, &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    let text = "x".repeat(16 << 10);
    source.db.try_each((0..600).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, '{text}')"))).unwrap();
    source
}

/// The tool against the source's server, not started yet.
fn command(source: &TestKeyspace, args: &[&str]) -> Command {
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    let port = source.node.port.to_string();
    command.args(args).args(["-h", &source.node.host, "-P", &port]);
    command
}

/// Waits for the end of a process, whose stderr is piped: its code and what it said.
#[track_caller]
fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut stderr = child.stderr.take();
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(pipe) = &mut stderr {
            pipe.read_to_string(&mut text).unwrap();
        }
        text
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > LONG => {
                child.kill().unwrap();
                panic!("it goes on and on: {}", said.join().unwrap());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = said.join().unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (status.code(), said)
}

/// Starts the tool with its output into a pipe, reads so many bytes of it and goes away.
#[track_caller]
fn read_and_left(source: &TestKeyspace, args: &[&str], bytes: usize) -> (Option<i32>, String) {
    let mut child = command(source, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut vec![0; bytes]).unwrap();
    drop(pipe);
    ended(child)
}

/// As a process that SIGPIPE ends looks to a shell; what it was asked for did not get where it should.
#[test]
fn an_export_that_nobody_reads_ends_quietly() {
    let source = source("reader_gone");
    let table = source.table("t");
    for (format, bytes) in [("csv", 100), ("jsonl", 100), ("parquet", 0), ("csv", 0), ("csv", 1)] {
        let args = ["export", &table, "-o", "-", "--format", format];
        let (code, said) = read_and_left(&source, &args, bytes);
        assert_eq!((code, said.as_str()), (Some(141), ""), "{format} after {bytes} bytes");
    }
}

/// A result that is cut short by who reads it is no failure of what was done.
#[test]
fn results_that_nobody_reads_change_no_exit_code() {
    let source = source("result_gone");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (code, said) = read_and_left(&source, &["dump", &source.name, "-o", &dir, "--json"], 0);
    assert_eq!(code, Some(0), "{said}");
    run(["verify", &dir]).success();
    let (code, said) = read_and_left(&source, &["schema", &source.name], 1);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    std::fs::write(&parts(&dir, &source.name, "t", "parquet")[0], "damaged").unwrap();
    let mut child = tool(env!("CARGO_BIN_EXE_cqlift"));
    child.args(["verify", &dir]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(ended(child).0, Some(4));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let source = source("log_gone");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let mut child = command(&source, &["dump", &source.name, "-o", &dir, "-vv"]);
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(ended(child).0, Some(0));
    run(["verify", &dir]).success();
    // Both closed from the start.
    let shell = tool("sh")
        .args(["-c", "exec \"$0\" \"$@\" >&- 2>&-", env!("CARGO_BIN_EXE_cqlift"), "verify", &dir])
        .status();
    assert!(shell.unwrap().success());
}

/// Whatever the limit is at which it no longer works: an error of this machine, or all is done.
#[test]
fn too_few_open_files_are_told_and_nothing_looks_whole() {
    let source = source("few_files");
    for n in 1..6 {
        source.db.execute(&format!("CREATE TABLE t{n} (k int PRIMARY KEY, v int)"));
        source.db.execute(&format!("INSERT INTO t{n} (k, v) VALUES (1, {n})"));
    }
    let scratch = Scratch::new();
    let whole = scratch.path("whole");
    source.dump(&whole, "parquet").success();
    let limited = |limit: u32, args: &[&str]| {
        let port = source.node.port.to_string();
        let output = tool("sh")
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_cqlift")])
            .args(args)
            .args(if args.contains(&"files") { vec![] } else { vec!["-h", &source.node.host, "-P", &port] })
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{limit} {args:?}: {said}");
        (output.status.code(), said)
    };
    let mut failed = [0; 4];
    for limit in [9, 10, 12, 14, 16, 20, 64] {
        let (dir, target) = (scratch.path(&format!("dump{limit}")), source.target(&format!("at{limit}")));
        let map = format!("{}={target}", source.name);
        let file = scratch.path(&format!("{limit}.csv"));
        let lines: [&[&str]; 4] = [
            &["dump", &source.name, "-o", &dir],
            &["load", &whole, "--map", &map],
            &["verify", &whole],
            &["export", &source.table("t"), "-o", &file],
        ];
        for (args, failed) in lines.iter().zip(&mut failed) {
            let (code, said) = limited(limit, args);
            if code != Some(0) {
                *failed += 1;
                assert_eq!(code, Some(1), "{limit} {args:?}: {said}");
                assert!(said.contains("Too many open files") && said.contains("ulimit -n"), "{said}");
                assert!(!said.contains("is damaged"), "{limit} {args:?}: {said}");
            } else if args[0] == "dump" {
                run(["verify", &dir]).success();
            } else if args[0] == "load" {
                assert_same(&source.db, &source.name, &target);
            }
        }
        let dumped = Path::new(&dir).join("manifest.json").exists();
        assert!(!dumped || run(["verify", &dir]).done().code == Some(0), "{limit}: it looks whole");
    }
    assert!(
        failed.iter().all(|count| (1..7).contains(count)),
        "no limit was too low, or all were: {failed:?}"
    );
}

/// Runs the tool such that permissions count, which they do not for root.
fn obeying(args: &[&str]) -> Done {
    let own = std::fs::metadata("/proc/self").unwrap().uid();
    let mut command = match own {
        0 => {
            let mut command = tool("setpriv");
            let rights = "-dac_override,-dac_read_search";
            command.args(["--inh-caps", rights, "--bounding-set", rights, env!("CARGO_BIN_EXE_cqlift")]);
            command
        }
        _ => tool(env!("CARGO_BIN_EXE_cqlift")),
    };
    let output = command.args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done {
        command: args.join(" "),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        code: output.status.code(),
    }
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets the mode of a folder and all in it.
fn set_modes(dir: &Path, folders: u32, plain: u32) {
    // A folder must be open to be changed inside.
    set_mode(dir, 0o700);
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { set_modes(&path, folders, plain) } else { set_mode(&path, plain) }
    }
    set_mode(dir, folders);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let source = source("not_writable");
    let scratch = Scratch::new();
    let port = source.node.port.to_string();
    let way = ["-h", &source.node.host, "-P", &port];
    let (closed, table) = (scratch.path("closed"), source.table("t"));
    std::fs::create_dir(&closed).unwrap();
    set_mode(&closed, 0o555);
    let file = scratch.write("file", "mine");
    for (dir, named) in [
        (closed.clone(), "Permission denied"),
        (format!("{closed}/inside"), "Permission denied"),
        (format!("{file}/inside"), "Not a directory"),
        (file.clone(), "Not a directory"),
    ] {
        let export = format!("{dir}/e.csv");
        let mut lines = vec![["dump", &source.name, "-o", &dir]];
        // An export makes no folder for its file.
        if !dir.ends_with("inside") {
            lines.push(["export", &table, "-o", &export]);
        }
        for args in lines {
            let done = obeying(&[&args[..], &way].concat());
            assert_eq!(done.code, Some(1), "{}", done.told());
            done.stderr_has(&[&dir, named]);
        }
    }
    set_mode(&closed, 0o755);
    assert_eq!(files(&closed), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_dump_that_is_read_only_is_loaded_like_any() {
    let source = source("read_only");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    set_modes(Path::new(&dir), 0o555, 0o444);
    let port = source.node.port.to_string();
    let (way, map) = (["-h", &source.node.host, "-P", &port], format!("{}={target}", source.name));
    for args in [
        [&["load", &dir, "--map", &map][..], &way].concat(),
        [&["verify", &dir, "--map", &map][..], &way].concat(),
        vec!["verify", &dir],
        vec!["inspect", &dir],
        vec!["load", &dir, "--list"],
    ] {
        let done = obeying(&args);
        assert_eq!(done.code, Some(0), "{}", done.told());
    }
    assert_eq!(assert_same(&source.db, &source.name, &target), 600);
    // The judge: permissions do count.
    set_mode(parts(&dir, &source.name, "t", "parquet").first().unwrap(), 0);
    let done = obeying(&["verify", &dir]);
    assert!(done.code == Some(4) && done.stdout.contains("Permission denied"), "{}", done.told());
    set_modes(Path::new(&dir), 0o755, 0o644);
}

/// Every file is read once before anything is written; what happens to it afterwards is found all the same.
#[test]
fn a_part_that_goes_or_changes_during_a_load_is_named() {
    type Harm = fn(&Path);
    // One that is open already is read on; of one that is cut between two rows, the rows are missing in the end.
    let harms: [(&str, Harm, &[&str]); 3] = [
        ("gone", |part| std::fs::remove_file(part).unwrap(), &["No such file"]),
        ("shorter", shorten, &["1000 bytes", "expected 5", "quote", "checksum", "the manifest says"]),
        ("other", flip_a_byte, &["checksum"]),
    ];
    let source = source("part_gone");
    let scratch = Scratch::new();
    for (tag, harm, named) in harms {
        let (dir, target) = (scratch.path(tag), source.target(tag));
        source
            .node
            .run(["dump", &source.name, "-o", &dir, "--format", "csv", "--part-size", "1MiB"])
            .success();
        let parts = parts(&dir, &source.name, "t", "csv");
        assert!(parts.len() > 4, "{parts:?}");
        let forwarder = Forwarder::counting(&source.node, MARK.as_bytes());
        let (port, map) = (forwarder.address.port().to_string(), format!("{}={target}", source.name));
        let child = tool(env!("CARGO_BIN_EXE_cqlift"))
            .args(["load", &dir, "--map", &map, "--rate", "100", "-h", "127.0.0.1", "-P", &port])
            .args(["--only-contact-points"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while forwarder.marked() == 0 {
            assert!(begun.elapsed() < LONG, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        parts.iter().for_each(|part| harm(part));
        let (code, said) = ended(child);
        assert_eq!(code, Some(1), "{tag}: {said}");
        assert!(named.iter().any(|named| said.contains(named)), "{tag}: {said}");
        assert!(said.contains("part-000"), "{tag}: {said}");
    }
}

/// Rows that were behind the new end of a file, or came behind its old one, are not passed over in silence.
#[test]
fn a_file_that_changes_during_an_import_is_named() {
    let line = |k: usize| format!("{k},{}\n", "x".repeat(1000));
    let lines: String = (0..3000).map(line).collect();
    for (tag, bytes) in [("shorter", 1_000_000), ("longer", lines.len() as u64 + 1_000_000)] {
        let source = TestKeyspace::with("file_changes", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
        let scratch = Scratch::new();
        let file = scratch.write("in.csv", format!("k,v\n{lines}"));
        let (table, state, rejects) = (source.table("t"), scratch.path("state"), scratch.path("rejects"));
        let args = ["import", &table, &file, "--state", &state, "--reject-dir", &rejects];
        let child = command(&source, &[&args[..], &["--rate", "1000"]].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while source.db.count(&table) == 0 {
            assert!(begun.elapsed() < LONG, "nothing is written");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::File::options().write(true).open(&file).unwrap().set_len(bytes).unwrap();
        let (code, said) = ended(child);
        assert_eq!(code, Some(1), "{tag}: {said}");
        assert!(said.contains(&file), "{tag}: {said}");
        // What was written to is another file.
        source.node.run(args).fails(1).stderr_has(&["in.csv had", "--restart"]);
        scratch.write("in.csv", format!("k,v\n{lines}"));
        source.node.run([&args[..], &["--restart"]].concat()).success();
        assert_eq!(source.db.count(&table), 3000, "{tag}");
    }
}

fn shorten(path: &Path) {
    std::fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
}

/// In place, and so that its length stays.
fn flip_a_byte(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The client's clock, set wrong or jumping far in the middle, comes into nothing: neither what ends when, nor what is
/// written down.
#[test]
fn a_clock_that_is_wrong_or_jumps_moves_nothing() {
    const TABLE: &str = "CREATE TABLE t (k int PRIMARY KEY, v text, w text, m map<int, int>)";
    let source = TestKeyspace::with("clock_jumps", &[TABLE]);
    let row = |k: u32| {
        let ttl = 5000 + 100 * k;
        format!(
            "INSERT INTO t (k, v, w, m) VALUES ({k}, 'xxxxxxxx {k}', 'w', {{{k}: {k}}}) USING TTL {ttl} AND TIMESTAMP {}",
            u64::from(k) + 1_700_000_000_000_000
        )
    };
    source.db.try_each((0..400).map(row)).unwrap();
    let scratch = Scratch::new();
    for (tag, first, then) in [("wrong", "+3h", "+3h"), ("forward", "+0", "+5h"), ("back", "+0", "-5h")] {
        let (dir, target) = (scratch.path(tag), source.target(tag));
        let map = format!("{}={target}", source.name);
        let begun = now();
        for args in [
            &["dump", &source.name, "-o", &dir][..],
            &["load", &dir, "--map", &map],
            &["verify", &dir, "--map", &map],
        ] {
            let (clock, forwarder) =
                (scratch.write("clock", first), Forwarder::counting(&source.node, MARK.as_bytes()));
            let port = forwarder.address.port().to_string();
            // The settings that `faketime` itself would make; it reads the file again at every call.
            let mut child = tool("sh")
                .args([
                    "-c",
                    "exec env LD_PRELOAD=\"$(faketime -f +0 sh -c 'echo $LD_PRELOAD')\" \"$0\" \"$@\"",
                ])
                .arg(env!("CARGO_BIN_EXE_cqlift"))
                .args(args)
                .args(if args[0] == "verify" { &[][..] } else { &["--rate", "200"] })
                .args(["-h", "127.0.0.1", "-P", &port, "--only-contact-points"])
                .envs([("FAKETIME_TIMESTAMP_FILE", clock.as_str()), ("FAKETIME_NO_CACHE", "1")])
                // What the kernel promises not to jump does not.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let waiting = Instant::now();
            while forwarder.marked() == 0 && child.try_wait().unwrap().is_none() {
                assert!(waiting.elapsed() < LONG, "{tag} {args:?}: nothing passes");
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::write(&clock, then).unwrap();
            let (code, said) = ended(child);
            assert_eq!(code, Some(0), "{tag} {args:?}: {said}");
        }
        let span = begun.saturating_sub(2)..=now() + 2;
        assert_eq!(assert_same(&source.db, &source.name, &target), 400, "{tag}");
        let different = compare_times(&source.db, &source.name, &target);
        assert!(different.is_empty(), "{tag}:\n{}", different.join("\n"));
        let manifest = json(format!("{dir}/manifest.json"));
        for moment in moments(&manifest) {
            let seconds = seconds(&moment);
            assert!(span.contains(&seconds), "{tag}: {moment} is not between {span:?}");
        }
    }
}

/// Every moment in a manifest: texts such as `2026-11-29T10:00:00.000Z`.
fn moments(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text)
            if text.len() >= 20 && &text[10..11] == "T" && text.ends_with('Z') =>
        {
            vec![text.clone()]
        }
        serde_json::Value::Array(all) => all.iter().flat_map(moments).collect(),
        serde_json::Value::Object(all) => all.values().flat_map(moments).collect(),
        _ => Vec::new(),
    }
}

/// By another's calendar.
fn seconds(moment: &str) -> u64 {
    let output = Command::new("date").args(["-u", "-d", moment, "+%s"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}
