//! The schema of a server that does not print one: what is made from its catalogue makes the same catalogue again, as the
//! Python driver reads and prints it, which is what cqlsh shows.

use crate::harness::{Node, Scratch, TestKeyspace, python};
use std::process::Command;

const OLD: &str = "3.11";

const STATEMENTS: [&str; 19] = [
    "CREATE TYPE zip (code int, place text)",
    "CREATE TYPE address (zip frozen<zip>, lines list<text>, \"Of \"\"x\"\"\" frozen<map<text, frozen<set<int>>>>)",
    "CREATE TYPE \"My Type\" (\"Fi eld\" frozen<address>)",
    "CREATE FUNCTION add_up (a int, b int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return a == null ? b : a + b; $$",
    "CREATE FUNCTION add_up (a bigint, b zip) RETURNS NULL ON NULL INPUT RETURNS bigint LANGUAGE java AS 'return a;'",
    "CREATE FUNCTION odd (a text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'String s = \"$\"; return \"it''s\" + s + \"$\";'",
    "CREATE AGGREGATE total (int) SFUNC add_up STYPE int INITCOND 0",
    "CREATE TABLE plain (k int PRIMARY KEY, v text)",
    "CREATE TABLE \"select\" (\"A b\" int, b text, c timeuuid, d int, s text static, \"S t\" list<int> static, v map<text, frozen<\"My Type\">>, w zip, x tuple<int, text>, z duration, PRIMARY KEY ((\"A b\", b), c, d)) WITH CLUSTERING ORDER BY (c DESC, d ASC)",
    "CREATE TABLE counts (k int, c text, n counter, m counter static, PRIMARY KEY (k, c))",
    "CREATE TABLE options (k int PRIMARY KEY) WITH comment = 'it''s a \"comment\" ; $$' AND compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': '64', 'tombstone_threshold': '0.3'} AND compression = {'class': 'DeflateCompressor', 'chunk_length_in_kb': 32} AND caching = {'keys': 'NONE', 'rows_per_partition': '10'} AND gc_grace_seconds = 60 AND default_time_to_live = 86400 AND speculative_retry = '50ms' AND read_repair_chance = 0.25 AND dclocal_read_repair_chance = 0.5 AND bloom_filter_fp_chance = 0.5 AND crc_check_chance = 0.5 AND memtable_flush_period_in_ms = 3600000 AND min_index_interval = 64 AND max_index_interval = 1024",
    "CREATE TABLE uncompressed (k int PRIMARY KEY) WITH compression = {'enabled': 'false'}",
    "CREATE TABLE indexed (k int, c int, v text, m map<text, int>, l frozen<list<int>>, s set<text>, w text, PRIMARY KEY (k, c))",
    "CREATE INDEX ON indexed (v)",
    "CREATE INDEX indexed_keys ON indexed (KEYS(m))",
    "CREATE INDEX indexed_full ON indexed (FULL(l))",
    "CREATE CUSTOM INDEX indexed_sasi ON indexed (w) USING 'org.apache.cassandra.index.sasi.SASIIndex' WITH OPTIONS = {'mode': 'CONTAINS', 'analyzed': 'true', 'analyzer_class': 'org.apache.cassandra.index.sasi.analyzer.StandardAnalyzer'}",
    "CREATE MATERIALIZED VIEW by_v AS SELECT k, c, v FROM indexed WHERE v IS NOT NULL AND k IS NOT NULL AND c > 5 PRIMARY KEY ((v, k), c) WITH CLUSTERING ORDER BY (c DESC) AND comment = 'a view'",
    "CREATE MATERIALIZED VIEW all_by_c AS SELECT * FROM indexed WHERE k IS NOT NULL AND c IS NOT NULL PRIMARY KEY (c, k)",
];

/// What the Python driver reads of a keyspace, printed as cqlsh does, under a name that both have.
const EXPORT: &str = r#"
import sys
from cassandra.cluster import Cluster
host, port, keyspace = sys.argv[1:]
cluster = Cluster([host], port=int(port), protocol_version=4)
cluster.connect()
print(cluster.metadata.keyspaces[keyspace].export_as_string().replace(keyspace, "the_keyspace"))
cluster.shutdown()
"#;

fn exported(node: &Node, keyspace: &str) -> String {
    let port = node.port.to_string();
    let done = Command::new(python())
        .args(["-W", "ignore", "-c", EXPORT, &node.host, &port, keyspace])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_is_made_from_the_catalogue_makes_the_same_catalogue() {
    let source = TestKeyspace::with_on(Node::get(OLD), "created", &STATEMENTS);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("again"));
    let dumped = source.dump(&dir, "parquet").success();
    assert!(!dumped.stderr.contains("not understood"), "{}", dumped.stderr);
    source.load(&dir, &target, &[]).success();
    let [before, after] = [&source.name, &target].map(|keyspace| exported(&source.node, keyspace));
    assert!(before.matches("CREATE ").count() > STATEMENTS.len(), "{before}");
    assert_eq!(before, after);
    // The same again: nothing in it depends on chance, and what is there is known to be the same.
    let schema =
        |keyspace: &str| source.node.run(["schema", keyspace]).success().stdout.replace(keyspace, "ks");
    assert_eq!(schema(&source.name), schema(&target));
    let again = source.load(&dir, &target, &["--if-exists", "append", "--no-check"]).success();
    assert!(!again.stderr.contains("differs"), "{}", again.stderr);
}
