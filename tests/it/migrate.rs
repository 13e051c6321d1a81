//! From any version to any version: what one server holds is dumped and loaded into another, and compared there, row by
//! row as the driver reads them and by `verify`. The 4.0 server that `scripts/test` starts has three nodes in two
//! datacenters, the 4.1 one two nodes.

use crate::harness::{Db, Done, NEWEST, Node, SCYLLA, Scratch, TestKeyspace, json};
use crate::roundtrip::compare_across;
use crate::script::Script;
use std::collections::BTreeSet;

/// What of `schemas/` travels: each kind of column, key and table. Vectors stay where they are known.
pub const SCHEMAS: [&str; 12] = [
    "all_types",
    "composite",
    "counters",
    "empty",
    "functions",
    "keys",
    "names",
    "nested",
    "odd_bytes",
    "options",
    "statics",
    "udt_evolved",
];

/// Loads into another server, where the keyspace has the same name, and drops it there in the end.
struct Landing {
    node: Node,
    db: Db,
    keyspace: String,
}

impl Landing {
    fn new(version: &str, keyspace: &str) -> Landing {
        let node = Node::get(version);
        let db = Db::connect(&node);
        let landing = Landing { node, db, keyspace: keyspace.to_owned() };
        landing.drop_keyspace();
        landing
    }

    fn drop_keyspace(&self) {
        let _ = self.db.try_execute(&format!("DROP KEYSPACE IF EXISTS {}", self.keyspace));
    }

    fn load(&self, dir: &str, flags: &[&str]) -> Done {
        self.node.run([&["load", dir], flags].concat()).done()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.drop_keyspace();
    }
}

/// How it went to move what a file of `schemas/` makes from one server to another.
#[derive(Default)]
pub struct Journey {
    /// Compared, and equal.
    pub rows: usize,
    /// Kind and name of what was left out, and why.
    pub left_out: Vec<(String, String)>,
    /// What was changed in statements.
    pub changes: Vec<String>,
    /// What the dump could not keep.
    pub not_preserved: Vec<String>,
}

/// Fills a keyspace by a file of `schemas/` on one server and moves it to another, where it is compared.
pub fn journey(from: &str, to: &str, schema: &str, flags: &[&str]) -> Result<Journey, String> {
    let source = TestKeyspace::on(Node::get(from), &format!("{schema}_{}_{}", digits(from), digits(to)));
    Script::named(schema).run(&source.db, &source.node.version)?;
    let landing = Landing::new(to, &source.name);
    let scratch = Scratch::new();
    let (dir, log) = (scratch.path("dump"), scratch.path("ddl.cql"));
    let dumped = source.dump(&dir, "parquet").done();
    if dumped.code != Some(0) {
        return Err(dumped.told());
    }
    let loaded = landing.load(&dir, &[&["--json", "--ddl-log", &log], flags].concat());
    if loaded.code != Some(0) {
        return Err(loaded.told());
    }
    let summary = loaded.json();
    let texts = |list: &serde_json::Value, key: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
    };
    let here = |object: String| object.replace(&format!("{}.", source.name), "");
    let left_out = &summary["left_out"];
    let objects = texts(left_out, "object").into_iter().map(here);
    let mut journey = Journey {
        rows: 0,
        left_out: objects.zip(texts(left_out, "why")).collect(),
        changes: texts(&summary["changes"], "change"),
        not_preserved: texts(&json(format!("{dir}/manifest.json"))["not_preserved"], "what"),
    };
    // Whatever the source has is there, or was named.
    let there = objects_of(&landing.db, &landing.keyspace);
    let missing: BTreeSet<String> =
        objects_of(&source.db, &source.name).difference(&there).cloned().collect();
    for object in &missing {
        if !journey.left_out.iter().any(|(left_out, _)| left_out.replace('"', "") == *object) {
            return Err(format!("{object} is not there, and nothing was said\n{}", loaded.told()));
        }
    }
    let missing = missing.iter().filter_map(|object| object.strip_prefix("table "));
    let names: Vec<String> = missing.map(|table| format!("{}.\"{table}\"", source.name)).collect();
    let mut verify = vec!["verify", &dir];
    names.iter().for_each(|name| verify.extend(["--exclude", name]));
    let verified = landing.node.run(verify).done();
    if verified.code != Some(0) {
        return Err(verified.told());
    }
    let mut differences = Vec::new();
    journey.rows =
        compare_across([(&source.db, &source.name), (&landing.db, &landing.keyspace)], &mut differences);
    if differences.is_empty() { Ok(journey) } else { Err(differences.join("\n")) }
}

/// Kind and name of all that a keyspace holds.
fn objects_of(db: &Db, keyspace: &str) -> BTreeSet<String> {
    let kinds = [
        ("table", "tables", "table_name"),
        ("type", "types", "type_name"),
        ("function", "functions", "function_name"),
        ("aggregate", "aggregates", "aggregate_name"),
        ("index", "indexes", "index_name"),
        ("materialized view", "views", "view_name"),
    ];
    let of = |(kind, catalogue, column): (&str, &str, &str)| {
        db.names(column, catalogue, keyspace)
            .into_iter()
            .map(|name| format!("{kind} {name}"))
            .collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(of).collect()
}

fn digits(version: &str) -> String {
    version.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Some schemas along one route; `scripts/test --long` takes all of them along every route.
fn route(from: &str, to: &str, flags: &[&str]) {
    let mut failures = Vec::new();
    for schema in ["counters", "functions", "keys", "nested", "options", "statics"] {
        match journey(from, to, schema, flags) {
            Ok(Journey { rows, .. }) => {
                println!("schemas/{schema}.cql from {from} to {to}: {rows} rows compared");
            }
            Err(error) => failures.push(format!("== schemas/{schema}.cql from {from} to {to}\n{error}")),
        }
    }
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn from_3_11_to_5_0() {
    route("3.11", "5.0", &[]);
}

#[test]
fn from_4_1_to_3_11() {
    route("4.1", "3.11", &["--skip-unsupported"]);
}

/// Both ways between the newest Cassandra and each ScyllaDB that `CQLIFT_NODES` names; `scripts/test` starts none.
#[test]
fn to_scylladb_and_back_where_one_is_named() {
    for node in Node::all().into_iter().filter(|node| node.version == SCYLLA) {
        let flags = ["--skip-unsupported", "--replication", "same"];
        route(NEWEST, &node.version, &flags);
        route(&node.version, NEWEST, &flags);
    }
}

/// One node to three, and one datacenter to two.
#[test]
fn from_5_0_to_4_0_with_two_datacenters() {
    let replication = everywhere("4.0", 2);
    route("5.0", "4.0", &["--skip-unsupported", "--replication", &replication]);
}

/// A replication in all datacenters of a server: in the first of them so many replicas, in the others one.
pub fn everywhere(version: &str, first: u32) -> String {
    let names = Db::connect(&Node::get(version)).datacenters();
    let one = |(number, name): (usize, &String)| match number {
        0 if names.len() > 1 => format!("{name}={first}"),
        _ => format!("{name}=1"),
    };
    names.iter().enumerate().map(one).collect::<Vec<_>>().join(",")
}

/// Three nodes to one, and two datacenters to one of another name.
#[test]
fn from_4_0_with_two_datacenters_to_5_0() {
    let source = TestKeyspace::on(Node::get("4.0"), "from_two");
    let names = source.db.datacenters();
    source.db.execute("CREATE TABLE t (k int PRIMARY KEY, v text)");
    source.db.try_each((0..500).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v{k}')"))).unwrap();
    let landing = Landing::new(NEWEST, &source.name);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    // The names of datacenters are the source's: refused before anything is written, and said so by --dry-run too.
    let refusals = if names == landing.db.datacenters() { &[][..] } else { &[&[][..], &["--dry-run"]] };
    for flags in refusals {
        let refused = landing.load(&dir, flags);
        assert_eq!(refused.code, Some(1), "{}", refused.told());
        refused.stderr_has(&[&names.join(", "), "--replication same"]);
    }
    assert_eq!(landing.db.names("keyspace_name", "keyspaces", &landing.keyspace), [""; 0]);
    let same = landing.load(&dir, &["--replication", "same"]);
    assert_eq!(same.code, Some(0), "{}", same.told());
    let query = format!(
        "SELECT JSON replication FROM system_schema.keyspaces WHERE keyspace_name = '{}'",
        landing.keyspace
    );
    let told = landing.db.texts(&query).concat().concat();
    assert!(told.contains("NetworkTopologyStrategy") && told.contains("\"datacenter1\": \"1\""), "{told}");
    landing.node.run(["verify", &dir]).success();
    assert_eq!(landing.db.count(&format!("{}.t", landing.keyspace)), 500);
    // What one topology dumped is what another one holds: the ranges of the dump are not those of the target.
    source.node.run(["verify", &dir]).success();
}

/// Of two datacenters that of the contact point is asked; what is only in the other one is read there, and written with --dc.
#[test]
fn a_keyspace_of_another_datacenter_is_read_there_and_written_with_dc() {
    let source = TestKeyspace::on(Node::get("4.0"), "other_dc");
    let names = source.db.datacenters();
    let [near, far] = [names.first(), names.last()].map(|name| name.unwrap());
    if near == far {
        println!("the servers of 4.0 are in one datacenter");
        return;
    }
    let only = |dc: &str| format!("{{'class': 'NetworkTopologyStrategy', '{dc}': 1}}");
    source.db.execute(&format!("ALTER KEYSPACE {} WITH replication = {}", source.name, only(far)));
    source.db.execute("CREATE TABLE t (k int PRIMARY KEY, v text)");
    source.db.try_each((0..300).map(|k| format!("INSERT INTO t (k, v) VALUES ({k}, 'v{k}')"))).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("far"));
    assert_eq!(source.dump_json(&dir, "parquet")["rows"], 300);
    let refused = source.load(&dir, &target, &[]).fails(1);
    refused.stderr_has(&[&format!("no replicas in datacenter {near}"), "--dc", "nothing was written"]);
    source.load(&dir, &target, &["--dc", far]).success();
    assert_eq!(source.db.count(&format!("{target}.t")), 300);
}

#[test]
fn a_factor_that_the_target_cannot_write_is_refused() {
    let source =
        TestKeyspace::with("factor", &["CREATE TABLE t (k int PRIMARY KEY)", "INSERT INTO t (k) VALUES (1)"]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("high"));
    source.dump(&dir, "parquet").success();
    let three = ["--replication", &format!("{}:3", source.name)[..]];
    let told = ["3 replicas", "the cluster has 1 node", "LOCAL_QUORUM takes 2 of them"];
    source.load(&dir, &target, &three).fails(1).stderr_has(&told);
    let one = [&three[..], &["--consistency", "one"]].concat();
    source.load(&dir, &target, &one).success().stderr_has(&["warning", "3 replicas"]);
    source.load(&dir, &target, &["--replication", "nobody:3"]).fails(2).stderr_has(&["no keyspace nobody"]);
}

#[test]
fn what_the_target_cannot_hold_is_told_before_anything_is_written() {
    let source = TestKeyspace::with(
        "cannot",
        &[
            "CREATE TYPE spot (at frozen<vector<float, 2>>)",
            "CREATE TABLE places (k int PRIMARY KEY, s frozen<spot>)",
            "CREATE TABLE words (k int PRIMARY KEY, w text MASKED WITH system.mask_default())",
            "CREATE CUSTOM INDEX words_w ON words (w) USING 'sai'",
            "INSERT INTO words (k, w) VALUES (1, 'one')",
            "INSERT INTO places (k) VALUES (1)",
        ],
    );
    let landing = Landing::new("4.1", &source.name);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let ks = &source.name;
    let told = [
        format!("type {ks}.spot: Cassandra 4.1 has no vectors"),
        format!("table {ks}.places: it needs type {ks}.spot"),
        format!("table {ks}.words: the mask of column w: Cassandra 4.1 has no dynamic data masking"),
        format!("index {ks}.words_w: Cassandra 4.1 has no storage-attached indexes"),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let refused = landing.load(&dir, &[]);
    assert_eq!(refused.code, Some(1));
    refused.stderr_has(&told).stderr_has(&["nothing was written", "--skip-unsupported"]);
    assert_eq!(landing.db.names("keyspace_name", "keyspaces", ks), [""; 0]);
    let dry = landing.load(&dir, &["--dry-run"]);
    assert_eq!(dry.code, Some(1));
    dry.stdout_has(&told);
    let log = scratch.path("ddl.cql");
    let loaded = landing.load(&dir, &["--skip-unsupported", "--ddl-log", &log]);
    assert_eq!(loaded.code, Some(0), "{}", loaded.told());
    loaded.stderr_has(&told);
    // What was left out is kept as a comment, for those who can make it in another form.
    let kept = std::fs::read_to_string(&log).unwrap();
    let left_out = format!("-- left out: {}\n-- CREATE CUSTOM INDEX words_w ON {ks}.words", told[3]);
    assert!(kept.contains(&left_out) && kept.contains(&format!("-- CREATE TYPE {ks}.spot")), "{kept}");
    assert!(!kept.contains("\nCREATE CUSTOM INDEX") && kept.contains("\nCREATE TABLE"), "{kept}");
    assert_eq!(landing.db.tables(ks), ["words"]);
    assert_eq!(landing.db.count(&format!("{ks}.words")), 1);
    let strict = landing.load(&dir, &["--skip-unsupported", "--strict", "--if-exists", "truncate"]);
    assert_eq!(strict.code, Some(3), "{}", strict.told());
}

/// The server of another version takes what was written for it, and each change is told and kept.
#[test]
fn options_are_rewritten_for_the_target_and_the_changes_kept() {
    let source =
        TestKeyspace::with("rewritten", &["CREATE TABLE t (k int PRIMARY KEY) WITH comment = 'as it was'"]);
    let landing = Landing::new("4.1", &source.name);
    let scratch = Scratch::new();
    let (dir, log) = (scratch.path("dump"), scratch.path("log/ddl.cql"));
    source.dump(&dir, "parquet").success();
    let flags = ["--ddl-log", &log, "--json"];
    let summary = landing.load(&dir, &flags).json();
    let changes: Vec<&str> =
        summary["changes"].as_array().unwrap().iter().map(|c| c["change"].as_str().unwrap()).collect();
    assert_eq!(
        changes,
        [
            "allow_auto_snapshot = true dropped: Cassandra 4.1 has no such option",
            "incremental_backups = true dropped: Cassandra 4.1 has no such option"
        ]
    );
    assert_eq!(summary["changes"][0]["object"], format!("table {}.t", source.name));
    let kept = std::fs::read_to_string(&log).unwrap();
    assert!(kept.contains("-- changed for Cassandra 4.1: incremental_backups"), "{kept}");
    assert!(kept.contains("CREATE TABLE") && kept.contains("as it was"), "{kept}");
    assert_eq!(json(format!("{dir}/manifest.json"))["keyspaces"][0]["name"], source.name, "the dump stays");
}

/// With `--for none` nothing is known of the target: what it refuses by name is left out, or not with `--strict-ddl`.
#[test]
fn options_that_a_server_refuses_are_left_out_with_a_warning() {
    let source = TestKeyspace::with("refused", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let landing = Landing::new("4.1", &source.name);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let strict = landing.load(&dir, &["--for", "none", "--strict-ddl"]);
    assert_eq!(strict.code, Some(1), "{}", strict.told());
    strict.stderr_has(&["Unknown property 'allow_auto_snapshot'", "--strict-ddl"]);
    assert_eq!(landing.db.tables(&source.name), [""; 0]);
    let log = scratch.path("ddl.cql");
    let loaded = landing.load(&dir, &["--for", "none", "--ddl-log", &log]);
    assert_eq!(loaded.code, Some(0), "{}", loaded.told());
    loaded.stderr_has(&[
        "warning",
        "allow_auto_snapshot = true dropped: the server refuses it",
        "incremental_backups = true dropped",
    ]);
    assert_eq!(landing.db.tables(&source.name), ["t"]);
    assert!(std::fs::read_to_string(&log).unwrap().contains("the server refuses it"));
}

/// Classes, sub-options and values that are refused cost the option, not the table. 3.11 knows none of these, and 4.1 not
/// the first.
#[test]
fn values_that_a_server_refuses_are_left_out_with_a_warning() {
    let source = TestKeyspace::with(
        "values",
        &[
            "CREATE TABLE unified (k int PRIMARY KEY) WITH compaction = {'class': 'UnifiedCompactionStrategy'}",
            "CREATE TABLE leveled (k int PRIMARY KEY) WITH compaction = {'class': 'LeveledCompactionStrategy', 'single_sstable_uplevel': 'false', 'fanout_size': '5'} AND comment = 'stays'",
            "CREATE TABLE zstd (k int PRIMARY KEY) WITH compression = {'class': 'ZstdCompressor', 'chunk_length_in_kb': '16'}",
            "CREATE TABLE ratio (k int PRIMARY KEY) WITH compression = {'class': 'LZ4Compressor', 'min_compress_ratio': '1.2', 'chunk_length_in_kb': '4'}",
            "INSERT INTO leveled (k) VALUES (1)",
        ],
    );
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let unified = "compaction = {'class': 'org.apache.cassandra.db.compaction.UnifiedCompactionStrategy";
    for (version, told) in [
        ("4.1", &[unified][..]),
        (
            "3.11",
            &[
                unified,
                "'single_sstable_uplevel': 'false'",
                "of compaction dropped: the server refuses it",
                "compression = {'chunk_length_in_kb': '16', 'class': 'org.apache.cassandra.io.compress.ZstdCompressor'} dropped",
                "{'min_compress_ratio': '1.2'} of compression dropped",
                "speculative_retry = '99p' dropped",
            ],
        ),
    ] {
        let landing = Landing::new(version, &source.name);
        let strict = landing.load(&dir, &["--for", "none", "--strict-ddl"]);
        assert_eq!(strict.code, Some(1), "{version}: {}", strict.told());
        landing.drop_keyspace();
        let loaded = landing.load(&dir, &["--for", "none"]);
        assert_eq!(loaded.code, Some(0), "{version}: {}", loaded.told());
        loaded.stderr_has(told);
        assert_eq!(landing.db.tables(&source.name), ["leveled", "ratio", "unified", "zstd"]);
        assert_eq!(landing.db.count(&format!("{}.leveled", source.name)), 1);
        let kept = format!(
            "SELECT JSON compaction, comment FROM system_schema.tables WHERE keyspace_name = '{}' AND table_name = 'leveled'",
            source.name
        );
        let kept = landing.db.texts(&kept).concat().concat();
        assert!(kept.contains("\"fanout_size\": \"5\"") && kept.contains("stays"), "{version}: {kept}");
    }
}

/// What another version prints of the same object is no difference; a difference is one there, too.
#[test]
fn what_a_load_has_made_on_another_version_is_the_same_for_the_next_one() {
    let routes = [("3.11", "5.0", &["functions", "options"][..]), ("5.0", "4.1", &["functions"])];
    for (from, to, schemas) in routes {
        for schema in schemas {
            let source = TestKeyspace::on(Node::get(from), &format!("{schema}_again"));
            Script::named(schema).run(&source.db, &source.node.version).unwrap();
            let landing = Landing::new(to, &source.name);
            let scratch = Scratch::new();
            let dir = scratch.path("dump");
            source.dump(&dir, "parquet").success();
            let first = landing.load(&dir, &["--skip-unsupported"]);
            assert_eq!(first.code, Some(0), "{schema} from {from} to {to}: {}", first.told());
            let flags = ["--skip-unsupported", "--if-exists", "append", "--no-check"];
            let second = landing.load(&dir, &flags);
            assert_eq!(second.code, Some(0), "{schema} from {from} to {to}: {}", second.told());
            assert!(!second.stderr.contains("differs"), "{schema} from {from} to {to}: {}", second.told());
            if *schema == "options" {
                landing.db.execute(&format!("ALTER TABLE {}.tiered WITH gc_grace_seconds = 77", source.name));
                landing.load(&dir, &flags).stderr_has(&["tiered exists and is kept, though it differs"]);
            }
        }
    }
}

#[test]
fn one_factor_for_all_datacenters_is_taken() {
    let source = TestKeyspace::with("factor_for_all", &["CREATE TABLE t (k int PRIMARY KEY)"]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let map = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}";
    for version in ["3.11", "4.1"] {
        let landing = Landing::new(version, &source.name);
        let loaded = landing.load(&dir, &["--replication", map]);
        assert_eq!(loaded.code, Some(0), "{version}: {}", loaded.told());
        assert_eq!(loaded.stderr.contains("takes a factor for each datacenter"), version == "3.11");
        let query = format!(
            "SELECT JSON replication FROM system_schema.keyspaces WHERE keyspace_name = '{}'",
            source.name
        );
        let told = landing.db.texts(&query).concat().concat();
        assert!(told.contains("\"datacenter1\": \"1\""), "{version}: {told}");
        // Nobody has this datacenter: 4.0 and later refuse the name, whatever the number.
        landing.drop_keyspace();
        let named = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1, 'nowhere': 0}";
        let loaded = landing.load(&dir, &["--replication", named]);
        assert_eq!(loaded.code, Some(if version == "3.11" { 0 } else { 1 }), "{version}: {}", loaded.told());
        if version == "4.1" {
            loaded.stderr_has(&["nowhere, which the cluster has not"]);
        }
    }
}

/// An index that cannot be made is told at the end, after the rows and all else; or left out, if that was asked for.
#[test]
fn an_index_that_fails_keeps_nothing_else_from_being_done() {
    let source = TestKeyspace::with(
        "index_fails",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v text, w text)",
            "CREATE CUSTOM INDEX t_v ON t (v) USING 'sai'",
            "CREATE INDEX t_w ON t (w)",
            "INSERT INTO t (k, v, w) VALUES (1, 'one', 'two')",
        ],
    );
    let landing = Landing::new("4.1", &source.name);
    let scratch = Scratch::new();
    let (dir, log) = (scratch.path("dump"), scratch.path("ddl.cql"));
    source.dump(&dir, "parquet").success();
    let flags = ["--for", "none", "--ddl-log", &log];
    let failed = landing.load(&dir, &flags);
    assert_eq!(failed.code, Some(1), "{}", failed.told());
    failed.stderr_has(&["custom indexer", "t_v", "loaded 1 row into 1 table"]);
    assert_eq!(landing.db.names("index_name", "indexes", &landing.keyspace), ["t_w"]);
    assert_eq!(landing.db.count(&format!("{}.t", landing.keyspace)), 1);
    // The log tells what was run, twice by now.
    landing.drop_keyspace();
    let gone_on = landing.load(&dir, &[&flags[..], &["--skip-unsupported", "--json", "--restart"]].concat());
    assert_eq!(gone_on.code, Some(0), "{}", gone_on.told());
    assert_eq!(gone_on.json()["left_out"][0]["object"], format!("index {}.t_v", source.name));
    assert_eq!(landing.db.names("index_name", "indexes", &landing.keyspace), ["t_w"]);
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("CREATE TABLE").count(), 2, "{log}");
    assert_eq!(log.matches("CREATE INDEX t_w").count(), 2, "{log}");
    let run: String = log.lines().filter(|line| !line.starts_with("--")).collect();
    assert!(!run.contains("USING 'sai'") && !run.contains("incremental_backups"), "{log}");
    assert!(log.contains("-- left out: index"), "{log}");
}

/// `schema --for` is what a server of that version runs, and what it cannot is a comment in it.
#[test]
fn a_schema_is_written_for_another_version() {
    let source = TestKeyspace::with(
        "for_older",
        &[
            "CREATE TABLE t (k int PRIMARY KEY, v text)",
            "CREATE CUSTOM INDEX t_v ON t (v) USING 'sai'",
            "CREATE INDEX t_w ON t (v)",
        ],
    );
    let (ks, landing) = (&source.name, Landing::new("3.11", &source.name));
    let written = || source.node.run(["schema", ks, "--for", "cassandra-3.11"]).success();
    let text = written().stdout;
    assert_eq!(text, written().stdout, "each time the same");
    assert!(text.contains("-- changed for Cassandra 3.11: memtable = 'default' dropped"), "{text}");
    assert!(
        text.contains(
            "-- cannot be held: Cassandra 3.11 has no storage-attached indexes\n-- CREATE CUSTOM INDEX"
        ),
        "{text}"
    );
    // No text of these statements has a semicolon in it.
    let lines = text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    for statement in lines.split(';').map(str::trim).filter(|s| !s.is_empty()) {
        landing.db.execute(statement);
    }
    assert_eq!(landing.db.tables(ks), ["t"]);
    assert_eq!(landing.db.names("index_name", "indexes", ks), ["t_w"]);
    source.node.run(["schema", ks, "--for", "oracle-9"]).fails(2).stderr_has(&["cassandra-4.1"]);
}

/// What is left of the list is what gets loaded.
#[test]
fn a_list_is_printed_edited_and_loaded() {
    let source = TestKeyspace::with(
        "listed",
        &[
            "CREATE TYPE place (city text)",
            "CREATE TABLE a (k int PRIMARY KEY, v text)",
            "CREATE TABLE b (k int PRIMARY KEY, p frozen<place>)",
            "CREATE TABLE \"C c\" (k int PRIMARY KEY)".replace("C c", "Cc").as_str(),
            "CREATE INDEX a_v ON a (v)",
            "CREATE MATERIALIZED VIEW a_by_v AS SELECT k, v FROM a WHERE v IS NOT NULL AND k IS NOT NULL PRIMARY KEY (v, k)",
            "INSERT INTO a (k, v) VALUES (1, 'x')",
            "INSERT INTO b (k) VALUES (1)",
            "INSERT INTO \"Cc\" (k) VALUES (1)",
        ],
    );
    let scratch = Scratch::new();
    let (dir, ks) = (scratch.path("dump"), &source.name);
    source.dump(&dir, "parquet").success();
    // No cluster is asked.
    let list = crate::harness::run(["load", &dir, "--list"]).success().stdout;
    let lines: Vec<&str> = list.lines().filter(|line| !line.starts_with(';')).collect();
    let expected = [
        format!("keyspace {ks}"),
        format!("type {ks}.place"),
        format!("table {ks}.\"Cc\""),
        format!("table {ks}.a"),
        format!("table {ks}.b"),
        format!("data {ks}.\"Cc\" ; 1 rows"),
        format!("data {ks}.a ; 1 rows"),
        format!("data {ks}.b ; 1 rows"),
        format!("index {ks}.a_v ; on a"),
        format!("materialized view {ks}.a_by_v ; on a"),
    ];
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(lines.iter().map(|l| (*l).to_owned()).collect()), sorted(expected.to_vec()));
    let target = source.target("part");
    let kept = |line: &&&str| {
        !line.contains(".a_by_v") && !line.contains("data") && !line.contains("\"Cc\"")
            || line.contains("data") && line.contains(".a")
    };
    let edited: Vec<&str> = lines.iter().filter(kept).copied().rev().collect();
    let file = scratch.write("list", edited.join("\n") + "\n; the end\n");
    source.load(&dir, &target, &["--use-list", &file]).success();
    assert_eq!(source.db.tables(&target), ["a", "b"]);
    assert_eq!((source.db.count(&format!("{target}.a")), source.db.count(&format!("{target}.b"))), (1, 0));
    assert_eq!(source.db.names("index_name", "indexes", &target), ["a_v"]);
    assert_eq!(source.db.names("view_name", "views", &target), [""; 0]);
    // Rows alone, into a table that is not there.
    let file = scratch.write("rows", format!("data {ks}.\"Cc\""));
    source.load(&dir, &target, &["--use-list", &file]).fails(1).stderr_has(&["does not exist", "list"]);
    // What is not there, and not in the list, and needed by what is.
    for (away, told) in [
        ("keyspace", format!("type {ks}_lack.place cannot be made without keyspace {ks}_lack")),
        ("type", format!("table {ks}_lack.b cannot be made without type {ks}_lack.place")),
        ("a ", format!("index {ks}_lack.a_v cannot be made without table {ks}_lack.a")),
    ] {
        let kept = lines
            .iter()
            .filter(|line| !line.starts_with(away) && !format!("{line} ").contains(&format!(".{away}")));
        let file = scratch.write("lacking", kept.copied().collect::<Vec<_>>().join("\n"));
        let refused = source.load(&dir, &format!("{ks}_lack"), &["--use-list", &file]).fails(1);
        refused.stderr_has(&[&told, "line", "nothing was written"]);
    }
    let file = scratch.write("bad", format!("table {ks}.a\ntable {ks}.nobody\n"));
    source.load(&dir, &target, &["--use-list", &file]).fails(2).stderr_has(&["line 2", "nobody", "--list"]);
}
