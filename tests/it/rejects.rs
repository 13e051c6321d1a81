//! Bad records and rows: rejected up to a number, told with their place, and imported again once they are repaired.

use crate::harness::{NEWEST, Node, Ran, Scratch, TestKeyspace, files, json, run, run_with, tool};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Runs the tool in a directory of the test's, where files are called as the test calls them.
fn run_in(scratch: &Scratch, node: &Node, args: &[&str]) -> Ran {
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    let port = node.port.to_string();
    command.current_dir(scratch.path("")).args(args).args(["-h", &node.host, "-P", &port]);
    Ran::of(command)
}

#[track_caller]
fn content(scratch: &Scratch, name: &str) -> Vec<u8> {
    std::fs::read(scratch.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The file of that name is, byte for byte, what the test says.
#[track_caller]
fn holds(scratch: &Scratch, name: &str, expected: impl AsRef<[u8]>) {
    let (found, expected) = (content(scratch, name), expected.as_ref());
    assert!(found == expected, "{name}:\n{}\nexpected:\n{}", found.escape_ascii(), expected.escape_ascii());
}

/// The rows of `t` as text, sorted.
fn rows(target: &TestKeyspace) -> Vec<String> {
    let mut rows = target.db.texts("SELECT JSON * FROM t").concat();
    rows.sort();
    rows
}

const TABLE: &str = "CREATE TABLE t (k int, c int, v text, n int, PRIMARY KEY (k, c))";

/// Every kind of record that cannot be read, with good ones between.
const BAD: &[u8] = b"k,c,v,n
1,1,one,1
2,2,two
3,3,\"three
lines\",x
4,,four,4
5,5,\xff,5
6,6,\"six\" is\",6
7,7,\"seven\" ,7
8,8,\"eight\",8
9,9,nine,9

10,10,\"ten,10
11,11,eleven,11
";

#[test]
fn bad_records_are_rejected_as_they_are_and_imported_once_repaired() {
    let target = TestKeyspace::with("rejected", &[TABLE]);
    let (scratch, table) = (Scratch::new(), target.table("t"));
    scratch.write("in.csv", BAD);
    let done = run_in(&scratch, &target.node, &["import", &table, "in.csv"]).fails(3).stderr_has(&[
        "imported 2 rows",
        "rejected: in.csv, line 3: 3 fields, expected 4",
        "rejected: in.csv, line 4, column \"n\": \"x\" is not an int",
        "rejected: in.csv, line 6, column \"c\": a key column needs a value",
        "rejected: in.csv, line 8: data after the closing quote of field 3",
        "rejected: 3 more",
        "error: 8 records were rejected: in.rejected.csv; why: in.rejected.reasons.csv",
    ]);
    assert!(!done.stderr.contains("line 12"), "five are shown: {}", done.stderr);
    holds(
        &scratch,
        "in.rejected.csv",
        b"k,c,v,n
2,2,two
3,3,\"three
lines\",x
4,,four,4
5,5,\xff,5
6,6,\"six\" is\",6
7,7,\"seven\" ,7
8,8,\"eight\",8

10,10,\"ten,10
11,11,eleven,11
",
    );
    holds(
        &scratch,
        "in.rejected.reasons.csv",
        "file,line,column,reason
in.csv,3,,\"3 fields, expected 4\"
in.csv,4,n,\"\"\"x\"\" is not an int\"
in.csv,6,c,\"a key column needs a value, and the field is empty\"
in.csv,7,v,\"\"\"\u{fffd}\"\" is not UTF-8\"
in.csv,8,,data after the closing quote of field 3
in.csv,9,,\"data after the closing quote of field 3, so that lines 9 to 10 cannot be told apart\"
in.csv,12,,\"an empty line, expected 4 fields\"
in.csv,13,,\"a quote is opened and never closed, so that lines 13 to 14 cannot be told apart\"
",
    );
    for name in ["in.rejected.csv", "in.rejected.reasons.csv"] {
        let mode = std::fs::metadata(scratch.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    scratch.write(
        "in.rejected.csv",
        "k,c,v,n
2,2,two,2
3,3,\"three
lines\",3
4,4,four,4
5,5,five,5
6,6,\"six\"\" is\",6
7,7,\"seven\",7
8,8,\"eight\",8
10,10,\"ten\",10
11,11,eleven,11
",
    );
    run_in(&scratch, &target.node, &["import", &table, "in.rejected.csv"]).success();
    let row = |k: u32, v: &str| format!(r#"{{"k": {k}, "c": {k}, "n": {k}, "v": "{v}"}}"#);
    let mut expected: Vec<String> = [
        "one",
        "two",
        "three\\nlines",
        "four",
        "five",
        "six\\\" is",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
    ]
    .iter()
    .zip(1..)
    .map(|(v, k)| row(k, v))
    .collect();
    expected.sort();
    assert_eq!(rows(&target), expected);
    assert_eq!(files(&scratch.path("")), ["in.csv", "in.rejected.csv", "in.rejected.reasons.csv"]);
}

#[test]
fn one_more_than_allowed_ends_the_import() {
    let target = TestKeyspace::with("one_more", &[TABLE]);
    let table = target.table("t");
    let csv = "k,c,v,n\n1,1,a,1\nx,2,b,2\n2,y,b,2\n3,3,c,3\n4,4,d,z\n5,5,e,5\n";
    let import = |flags: &[&str]| {
        let scratch = Scratch::new();
        scratch.write("in.csv", csv);
        let ran = run_in(&scratch, &target.node, &[&["import", &table, "in.csv"][..], flags].concat());
        (scratch, ran)
    };
    let (scratch, ran) = import(&["--max-errors", "3", "--json"]);
    let summary = ran.fails(3).json();
    assert_eq!((&summary["rows"], &summary["rejected"]), (&3.into(), &3.into()), "{summary}");
    let paths = serde_json::json!([{"file": "in.rejected.csv", "reasons": "in.rejected.reasons.csv"}]);
    assert_eq!(summary["reject_files"], paths);
    assert_eq!(target.db.count(&table), 3);
    let all = "k,c,v,n\nx,2,b,2\n2,y,b,2\n4,4,d,z\n";
    holds(&scratch, "in.rejected.csv", all);

    let (scratch, ran) = import(&["--max-errors", "2"]);
    ran.fails(1).stderr_has(&[
        "3 records were rejected, more than --max-errors 2 allows",
        "the last: in.csv, line 6, column \"n\": \"z\"",
        "in.rejected.csv",
    ]);
    holds(&scratch, "in.rejected.csv", all);
    let reasons = String::from_utf8(content(&scratch, "in.rejected.reasons.csv")).unwrap();
    assert_eq!(reasons.lines().count(), 4, "{reasons}");

    // With none there is nothing to keep.
    let (scratch, ran) = import(&["--max-errors", "0"]);
    ran.fails(1).stderr_has(&["in.csv", "line 3", "column \"k\"", "\"x\""]);
    assert_eq!(files(&scratch.path("")), ["in.csv"]);

    let scratch = Scratch::new();
    let (file, dir) = (scratch.write("in.csv", csv), scratch.path("made/for it"));
    let port = target.node.port.to_string();
    let line = ["import", &table, &file, "-h", &target.node.host, "-P", &port];
    let most = |most| run_with(line, &[("CQLIFT_MAX_ERRORS", most), ("CQLIFT_REJECT_DIR", &dir)]);
    most("2").fails(1).stderr_has(&["--max-errors 2"]);
    most("3").fails(3).stderr_has(&["3 records were rejected"]);
    holds(&scratch, "made/for it/in.rejected.csv", all);
    holds(&scratch, "made/for it/in.rejected-2.csv", all);
    let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    run(["import", "ks.t", "in.csv", "--max-errors", "few"]).fails(2).stderr_has(&["--max-errors"]);
    run(["load", "dump", "--max-errors", "few"]).fails(2).stderr_has(&["--max-errors"]);
}

#[test]
fn each_file_has_rejects_of_its_own_and_none_is_written_over() {
    let target = TestKeyspace::with("own_rejects", &[TABLE]);
    let scratch = Scratch::new();
    for dir in ["a", "b"] {
        std::fs::create_dir(scratch.path(dir)).unwrap();
    }
    scratch.write("a/in.csv", "\u{feff}k,c,v\r\n1,1,a\r\n1,bad,\"x\r\ny\"\r\n1,3,c\r\n");
    scratch.write("b/in.csv", "n,c,k\n7,2,1\n7,3,bad");
    scratch.write("good.csv", "k,c\n1,9\n");
    scratch.write("only a header", "k,c,v\n");
    scratch.write("in.rejected.csv", "mine");
    scratch.write("in.rejected-2.reasons.csv", "mine too");
    let table = target.table("t");
    let args = ["import", &table, "a/in.csv", "b/in.csv", "good.csv", "only a header"];
    run_in(&scratch, &target.node, &args).fails(3).stderr_has(&[
        "imported 4 rows",
        "2 records were rejected: in.rejected-3.csv, in.rejected-4.csv; why: in.rejected-3.reasons.csv, \
         in.rejected-4.reasons.csv",
    ]);
    holds(&scratch, "in.rejected.csv", "mine");
    holds(&scratch, "in.rejected-3.csv", "\u{feff}k,c,v\r\n1,bad,\"x\r\ny\"\r\n");
    holds(&scratch, "in.rejected-4.csv", "n,c,k\n7,3,bad\n");
    let reasons = |file: &str, line: u32, column: &str| {
        format!("file,line,column,reason\n{file}/in.csv,{line},{column},\"\"\"bad\"\" is not an int\"\n")
    };
    holds(&scratch, "in.rejected-3.reasons.csv", reasons("a", 3, "c"));
    holds(&scratch, "in.rejected-4.reasons.csv", reasons("b", 3, "k"));
    assert_eq!(
        rows(&target),
        [
            r#"{"k": 1, "c": 1, "n": null, "v": "a"}"#,
            r#"{"k": 1, "c": 2, "n": 7, "v": null}"#,
            r#"{"k": 1, "c": 3, "n": null, "v": "c"}"#,
            r#"{"k": 1, "c": 9, "n": null, "v": null}"#,
        ]
    );
    let before = files(&scratch.path(""));
    run_in(&scratch, &target.node, &["import", &table, "only a header"]).success();
    assert_eq!(files(&scratch.path("")), before, "nothing was rejected");
}

/// What the server refuses stands among what cannot be read, in the order of the lines; whatever is rejected, the last of
/// the other lines of a key wins.
#[test]
fn the_last_good_line_wins_in_a_file_that_many_read() {
    const LINES: u32 = 40_000;
    const KEYS: u32 = 700;
    let target = TestKeyspace::with(
        "many_rejects",
        &["CREATE TABLE t (k int PRIMARY KEY, a text)", "CREATE INDEX ON t (a)"],
    );
    // An indexed value has 65,535 bytes at most.
    let too_long = "x".repeat(66_000);
    let (mut csv, mut good) = ("a,k\n".to_owned(), BTreeMap::new());
    let (mut rejected, mut lines) = (csv.clone(), Vec::new());
    for n in 0..LINES {
        let value = match n {
            n if n % 4_001 == 7 => format!("{too_long}{n}"),
            n => format!("{:05}", 99_999 - n),
        };
        let line = if n % 1_999 == 5 { format!("{value},k{n}\n") } else { format!("{value},{}\n", n % KEYS) };
        csv.push_str(&line);
        if n % 4_001 == 7 || n % 1_999 == 5 {
            rejected.push_str(&line);
            lines.push((n + 2).to_string());
        } else {
            good.insert(n % KEYS, value);
        }
    }
    let scratch = Scratch::new();
    scratch.write("in.csv", csv);
    let args = ["import", &target.table("t"), "in.csv", "--json"];
    let summary = run_in(&scratch, &target.node, &args).fails(3).json();
    assert_eq!(summary["rejected"], lines.len());
    assert_eq!(summary["rows"], LINES as usize - lines.len());
    assert!(content(&scratch, "in.rejected.csv") == rejected.as_bytes(), "the rejected records differ");
    let mut reasons = csv::Reader::from_path(scratch.path("in.rejected.reasons.csv")).unwrap();
    let reasons: Vec<csv::StringRecord> = reasons.records().map(Result::unwrap).collect();
    assert_eq!(reasons.iter().map(|r| r[1].to_owned()).collect::<Vec<_>>(), lines);
    let refused = reasons.iter().filter(|r| r[3].contains("index") && r[2].is_empty()).count();
    assert_eq!(refused, 10, "the server's own reason");
    let found: BTreeMap<u32, String> = target
        .db
        .rows("SELECT k, a FROM t")
        .into_iter()
        .map(|row| {
            let key = row[0].as_deref().and_then(|k| k.try_into().ok()).map(u32::from_be_bytes);
            (key.unwrap(), String::from_utf8(row[1].clone().unwrap()).unwrap())
        })
        .collect();
    assert!(found == good, "another line than the last good one won");
    assert_eq!(files(&scratch.path("")), ["in.csv", "in.rejected.csv", "in.rejected.reasons.csv"]);
}

#[test]
fn a_row_that_the_server_refuses_is_found_in_its_batch() {
    let target = TestKeyspace::with(
        "refused_rows",
        &[
            "CREATE TABLE t (k text, c int, l list<int>, v text, s text static, PRIMARY KEY (k, c))",
            "CREATE TABLE two (a text, b text, v text, PRIMARY KEY ((a, b)))",
            "CREATE TABLE counts (k text PRIMARY KEY, n counter)",
        ],
    );
    let scratch = Scratch::new();
    let (long, large) = ("k".repeat(65_536), "v".repeat(17 << 20));
    let line = |c: u32| match c {
        20 => format!("p,{c},[1],\"{large}\",s\n"),
        _ => format!("p,{c},\"[1, {c}]\",v{c},s\n"),
    };
    let lines: String = (0..40).map(line).collect();
    scratch.write("in.csv", format!("k,c,l,v,s\n{lines}{long},1,,a,\n{long},2,,b,\nq,1,,v,\n"));
    let args = ["import", &target.table("t"), "in.csv", "--memory", "64MiB"];
    run_in(&scratch, &target.node, &args)
        .fails(3)
        .stderr_has(&["imported 40 rows", "3 records were rejected"]);
    let rejected = format!("k,c,l,v,s\n{}{long},1,,a,\n{long},2,,b,\n", line(20));
    assert!(content(&scratch, "in.rejected.csv") == rejected.as_bytes(), "the rejected records differ");
    let mut reasons = csv::Reader::from_path(scratch.path("in.rejected.reasons.csv")).unwrap();
    let reasons: Vec<csv::StringRecord> = reasons.records().map(Result::unwrap).collect();
    assert_eq!(reasons.iter().map(|r| &r[1]).collect::<Vec<_>>(), ["22", "42", "43"]);
    assert!(reasons[0][3].contains("16777216"), "{:?}", reasons[0]);
    assert!(reasons[1][3].contains("65536") && reasons[2][3].contains("65535"), "{reasons:?}");
    assert_eq!(
        target.db.texts("SELECT JSON k, c, s FROM t WHERE k = 'q'").concat(),
        [r#"{"k": "q", "c": 1, "s": null}"#]
    );
    // A list that was sent again in a smaller batch has its elements once.
    let lists = target.db.texts("SELECT JSON l FROM t WHERE k = 'p' AND c IN (19, 21)").concat();
    assert_eq!(lists, [r#"{"l": [1, 19]}"#, r#"{"l": [1, 21]}"#]);

    for (table, csv, rejected, told, count) in [
        (
            "two",
            format!("a,b,v\n1,1,x\n{long},1,y\n2,2,z\n"),
            format!("a,b,v\n{long},1,y\n"),
            "two.csv, line 3",
            2,
        ),
        (
            "counts",
            format!("k,n\na,1\nb,one\n{long},1\na,2\n"),
            format!("k,n\nb,one\n{long},1\n"),
            "counts.csv, line 3, column \"n\"",
            1,
        ),
    ] {
        let name = format!("{table}.csv");
        scratch.write(&name, csv);
        let args = ["import", &target.table(table), &name];
        run_in(&scratch, &target.node, &args).fails(3).stderr_has(&[told]);
        holds(&scratch, &format!("{table}.rejected.csv"), rejected);
        assert_eq!(target.db.count(&target.table(table)), count);
    }
    let counted = target.db.texts("SELECT JSON n FROM counts WHERE k = 'a'").concat();
    assert_eq!(counted, [r#"{"n": 3}"#]);
}

#[test]
fn a_row_of_a_dump_that_the_target_refuses_is_rejected_by_key() {
    let source = TestKeyspace::with(
        "refused_dump",
        &["CREATE TABLE t (k int, c int, s text static, v text, n int, l list<int>, PRIMARY KEY (k, c))"],
    );
    let long = "v".repeat(70_000);
    for c in 1..=50 {
        let value = if c == 20 { &long } else { "v" };
        // Of several write times, so that a row is several statements.
        let insert =
            format!("INSERT INTO t (k, c, s, v) VALUES (1, {c}, 'st', '{value}') USING TIMESTAMP 1000");
        source.db.execute(&insert);
        source.db.execute(&format!(
            "UPDATE t USING TIMESTAMP 2000 SET n = {c}, l = [{c}] WHERE k = 1 AND c = {c}"
        ));
    }
    for format in ["parquet", "csv"] {
        let scratch = Scratch::new();
        let target = source.target(format);
        run_in(&scratch, &source.node, &["dump", &source.name, "-o", "dump", "--format", format]).success();
        let map = format!("{}={target}", source.name);
        let load = |flags: &[&str]| {
            let args = ["load", "dump", "--map", &map, "--data-only"];
            run_in(&scratch, &source.node, &[&args[..], flags].concat())
        };
        run_in(&scratch, &source.node, &["load", "dump", "--map", &map, "--schema-only"]).success();
        source.db.execute(&format!("CREATE INDEX ON {target}.t (v)"));
        load(&[]).fails(1).stderr_has(&["k=1, c=20", &format!("{target}.t"), "index"]);
        assert_eq!(files(&scratch.path("")).iter().filter(|f| f.contains("rejected")).count(), 0);

        // What a load adds to what is there is read back: that a rejected row is missing is not told as a difference.
        let how = if format == "csv" { "append" } else { "truncate" };
        let summary = load(&["--restart", "--if-exists", how, "--max-errors", "1", "--json"]).fails(3).json();
        assert_eq!((&summary["rows"], &summary["rejected"]), (&49.into(), &1.into()), "{summary}");
        assert_eq!(
            (&summary["tables"][0]["rows"], &summary["tables"][0]["rejected"]),
            (&49.into(), &1.into())
        );
        let (records, reasons) =
            (format!("{target}.t.rejected.csv"), format!("{target}.t.rejected.reasons.csv"));
        assert_eq!(
            (&summary["reject_files"][0]["file"], &summary["reject_files"][0]["reasons"]),
            (&records.as_str().into(), &reasons.as_str().into())
        );
        holds(
            &scratch,
            &records,
            format!(
                "k,c,s,l,n,v,s__writetime,s__expires_at,l__writetime,l__expires_at,n__writetime,n__expires_at,v__writetime,\
                 v__expires_at,__wire\n1,20,st,[20],20,{long},1000,,[2000],[null],2000,,1000,,\n"
            ),
        );
        let part = &json(scratch.path("dump/manifest.json"))["keyspaces"][0]["tables"][0]["parts"];
        let parts = part.as_array().unwrap().iter().filter_map(|part| part["file"].as_str());
        let part = parts.collect::<Vec<_>>();
        let mut found = csv::Reader::from_path(scratch.path(&reasons)).unwrap();
        assert_eq!(found.headers().unwrap(), vec!["file", "row", "key", "reason"]);
        let found: Vec<csv::StringRecord> = found.records().map(Result::unwrap).collect();
        assert_eq!(found.len(), 1);
        assert!(part.len() == 1 && found[0][0].ends_with(part[0]), "{found:?}");
        assert_eq!((&found[0][1], &found[0][2]), ("20", "k=1, c=20"));

        scratch.write(&records, String::from_utf8(content(&scratch, &records)).unwrap().replace(&long, "v"));
        run_in(&scratch, &source.node, &["import", &format!("{target}.t"), &records])
            .success()
            .stderr_has(&["passed over"]);
        let all = |ks: &str| source.db.texts(&format!("SELECT JSON k, c, s, n, l FROM {ks}.t"));
        assert_eq!(all(&target), all(&source.name));
        assert_eq!(source.db.count(&format!("{target}.t")), 50);
    }
}

#[test]
fn two_rows_are_one_too_many_for_a_load_that_may_reject_one() {
    let source = TestKeyspace::with("refused_two", &["CREATE TABLE t (k int PRIMARY KEY, v text)"]);
    for k in 0..200 {
        let value = if k % 100 == 7 { "v".repeat(70_000) } else { "v".to_owned() };
        source.db.execute(&format!("INSERT INTO t (k, v) VALUES ({k}, '{value}')"));
    }
    let (scratch, target) = (Scratch::new(), source.target("loaded"));
    let map = format!("{}={target}", source.name);
    run_in(&scratch, &source.node, &["dump", &source.name, "-o", "dump"]).success();
    run_in(&scratch, &source.node, &["load", "dump", "--map", &map, "--schema-only"]).success();
    source.db.execute(&format!("CREATE INDEX ON {target}.t (v)"));
    let args = ["load", "dump", "--map", &map, "--data-only", "--max-errors", "1"];
    run_in(&scratch, &source.node, &args).fails(1).stderr_has(&[
        "2 rows were rejected, more than --max-errors 1 allows",
        "07)",
        &format!("{target}.t.rejected.csv"),
    ]);
    let records = String::from_utf8(content(&scratch, &format!("{target}.t.rejected.csv"))).unwrap();
    let mut keys: Vec<&str> = records.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["107", "7"]);
}

/// What is no row's doing ends the import at once, with nothing rejected.
#[test]
fn what_is_particular_to_no_row_is_not_rejected() {
    let node = Node::get(NEWEST);
    let target = TestKeyspace::on(node, "no_rejects");
    target.db.execute(TABLE);
    let scratch = Scratch::new();
    scratch.write("in.csv", "k,c,v,n\n1,1,a,1\n2,2,b,2\n");
    let args = ["import", &target.table("t"), "in.csv", "--consistency", "THREE", "--max-attempts", "2"];
    run_in(&scratch, &target.node, &args).fails(1);
    assert_eq!(files(&scratch.path("")), ["in.csv"]);
}
