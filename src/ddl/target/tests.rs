use super::*;
use proptest::prelude::*;

/// What the servers print of `simple (id int PRIMARY KEY, v text)`: measured on 4.0.19, 4.1.10 and 5.0.6, of 3.11.19 as
/// the Python driver prints it.
const V3_11: &str = "CREATE TABLE ks.simple (\n    id int PRIMARY KEY,\n    v text\n) WITH bloom_filter_fp_chance = 0.01\n    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}\n    AND comment = ''\n    AND compaction = {'class': 'org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4'}\n    AND compression = {'chunk_length_in_kb': '64', 'class': 'org.apache.cassandra.io.compress.LZ4Compressor'}\n    AND crc_check_chance = 1.0\n    AND dclocal_read_repair_chance = 0.1\n    AND default_time_to_live = 0\n    AND gc_grace_seconds = 864000\n    AND max_index_interval = 2048\n    AND memtable_flush_period_in_ms = 0\n    AND min_index_interval = 128\n    AND read_repair_chance = 0.0\n    AND speculative_retry = '99PERCENTILE';";
const V5_0: &str = "CREATE TABLE ks.simple (\n    id int PRIMARY KEY,\n    v text\n) WITH additional_write_policy = '99p'\n    AND allow_auto_snapshot = true\n    AND bloom_filter_fp_chance = 0.01\n    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}\n    AND cdc = false\n    AND comment = 'with and AND; ''WITH'''\n    AND compaction = {'class': 'org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4'}\n    AND compression = {'chunk_length_in_kb': '16', 'class': 'org.apache.cassandra.io.compress.LZ4Compressor'}\n    AND memtable = 'default'\n    AND crc_check_chance = 1.0\n    AND default_time_to_live = 0\n    AND extensions = {}\n    AND gc_grace_seconds = 864000\n    AND incremental_backups = true\n    AND max_index_interval = 2048\n    AND memtable_flush_period_in_ms = 0\n    AND min_index_interval = 128\n    AND read_repair = 'BLOCKING'\n    AND speculative_retry = '99p';";

const TARGETS: [&str; 5] =
    ["cassandra-3.11", "cassandra-4.0", "cassandra-4.1", "cassandra-5.0", "scylla-2025.1"];

fn adapted(cql: &str, target: &str) -> Adapted {
    adapt(&Statement::parse(cql).unwrap(), &target.parse().unwrap(), Choices::default()).unwrap()
}

fn names(cql: &str, target: &str) -> Vec<String> {
    let statement = adapted(cql, target).statement.unwrap();
    Parts::of(&statement).unwrap().options.into_iter().map(|o| o.name).collect()
}

fn dropped(cql: &str, target: &str) -> Vec<String> {
    let all = Parts::of(&Statement::parse(cql).unwrap()).unwrap().options;
    let kept = names(cql, target);
    all.into_iter().map(|o| o.name).filter(|name| !kept.contains(name)).collect()
}

/// A table with these options, and what becomes of it for each target.
fn shown(statements: &[&str]) -> String {
    let mut text = String::new();
    for cql in statements {
        for target in TARGETS {
            let Adapted { statement, changes, unsupported } = adapted(cql, target);
            text.push_str(&format!("== {target}\n"));
            changes.iter().for_each(|change| text.push_str(&format!("-- {change}\n")));
            unsupported.iter().for_each(|lost| text.push_str(&format!("-- CANNOT: {lost}\n")));
            text.push_str(&statement.map_or("-- nothing".to_owned(), |statement| statement.cql));
            text.push('\n');
        }
    }
    text
}

/// The same for ScyllaDB of other versions.
fn shown_for(targets: &[&str], statements: &[&str]) -> String {
    let mut text = String::new();
    for cql in statements {
        for target in targets {
            let Adapted { statement, changes, .. } = adapted(cql, target);
            text.push_str(&format!("== {target}\n"));
            changes.iter().for_each(|change| text.push_str(&format!("-- {change}\n")));
            text.push_str(&statement.map_or("-- nothing".to_owned(), |statement| statement.cql));
            text.push('\n');
        }
    }
    text
}

fn tables(options: &[&str]) -> String {
    let table = |options: &&str| format!("CREATE TABLE ks.t (k int PRIMARY KEY) WITH {options};");
    let all: Vec<String> = options.iter().map(table).collect();
    shown(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Which options servers refused when they were given (measured).
#[test]
fn options_that_a_cassandra_does_not_know_are_dropped() {
    assert_eq!(dropped(V3_11, "cassandra-3.11"), [""; 0]);
    for target in ["cassandra-4.0", "cassandra-4.1", "cassandra-5.0"] {
        assert_eq!(dropped(V3_11, target), ["dclocal_read_repair_chance", "read_repair_chance"], "{target}");
    }
    assert_eq!(dropped(V5_0, "cassandra-5.0"), [""; 0]);
    assert_eq!(dropped(V5_0, "cassandra-4.1"), ["allow_auto_snapshot", "incremental_backups"]);
    assert_eq!(dropped(V5_0, "cassandra-4.0"), ["allow_auto_snapshot", "memtable", "incremental_backups"]);
    assert_eq!(
        dropped(V5_0, "cassandra-3.11"),
        ["additional_write_policy", "allow_auto_snapshot", "memtable", "incremental_backups", "read_repair"]
    );
}

#[test]
fn a_statement_without_changes_stays_to_the_byte() {
    for (cql, target) in [(V3_11, "cassandra-3.11"), (V5_0, "cassandra-5.0")] {
        let statement = Statement::parse(cql).unwrap();
        assert_eq!(
            adapted(cql, target),
            Adapted { statement: Some(statement.clone()), changes: vec![], unsupported: vec![] }
        );
        assert_eq!(Parts::of(&statement).unwrap().cql(), cql);
    }
}

#[test]
fn what_servers_print_of_a_table_for_every_target() {
    insta::assert_snapshot!(shown(&[V3_11, V5_0]));
}

#[test]
fn compaction_and_compression_for_every_target() {
    insta::assert_snapshot!(tables(&[
        "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'T4'}",
        "compaction = {'class': 'UnifiedCompactionStrategy', 'scaling_parameters': 'L4, N'}",
        "compression = {'sstable_compression': 'ZstdWithDictsCompressor', 'compression_level': '5'}",
        "compaction = {'class': 'IncrementalCompactionStrategy'}",
        "compaction = {'class': 'org.apache.cassandra.db.compaction.DateTieredCompactionStrategy', 'max_sstable_age_days': '1'}",
        "compaction = {'class': 'LeveledCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4', 'sstable_size_in_mb': '64'}",
        "compression = {'class': 'ZstdCompressor', 'compression_level': '5', 'chunk_length_in_kb': '16'}",
        "compression = {'sstable_compression': 'LZ4Compressor', 'chunk_length_kb': '64', 'crc_check_chance': '0.5'}",
        "compression = {'sstable_compression': 'ZstdWithDictsCompressor'}",
        "compression = {'sstable_compression': 'LZ4WithDictsCompressor'}",
        "compression = {'class': 'NoopCompressor'}",
        "compression = {'enabled': 'false'}",
        "compression = {'sstable_compression': ''}",
        "compression = {'class': 'LZ4Compressor', 'min_compress_ratio': '1.2'}",
        "compaction = {'class': 'LeveledCompactionStrategy', 'single_sstable_uplevel': 'false'}",
    ]));
}

#[test]
fn other_options_for_every_target() {
    insta::assert_snapshot!(tables(&[
        "speculative_retry = 'NEVER' AND additional_write_policy = 'MIN(99p,50ms)'",
        "speculative_retry = 'MAX(99p,50ms)'",
        "speculative_retry = '10ms'",
        "caching = '{\"keys\":\"ALL\", \"rows_per_partition\":\"10\"}' AND index_interval = 128",
        "caching = 'keys_only' AND populate_io_cache_on_flush = false AND replicate_on_write = true",
        "cdc = true",
        "cdc = {'enabled': 'true', 'preimage': 'full'}",
        "tablets = {'min_tablet_count': '8'} AND tombstone_gc = {'mode': 'repair'} AND paxos_grace_seconds = 864000 AND synchronous_updates = true AND per_partition_rate_limit = {'max_reads_per_second': 123}",
        "automated_repair_full = {'enabled': 'true'} AND automated_repair_incremental = {'enabled': 'true'}",
        "memtable = 'trie' AND \"of a later server\" = 1",
        "COMPACT STORAGE",
    ]));
}

#[test]
fn keyspaces_indexes_views_and_code_for_every_target() {
    insta::assert_snapshot!(shown(&[
        "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND durable_writes = true AND tablets = {'enabled': false};",
        "CREATE CUSTOM INDEX i ON ks.t (v) USING 'sai' WITH OPTIONS = {'case_sensitive': 'false'};",
        "CREATE CUSTOM INDEX i ON ks.t (v) USING 'org.apache.cassandra.index.sasi.SASIIndex';",
        "CREATE CUSTOM INDEX i ON ks.t (v) USING 'com.example.Index';",
        "CREATE CUSTOM INDEX i ON ks.t (v) USING 'vector_index' WITH OPTIONS = {'similarity_function': 'COSINE'};",
        "CREATE INDEX i ON ks.t (keys(m));",
        "CREATE TABLE ks.t (k int PRIMARY KEY, v vector<float, 3>);",
        "CREATE TABLE ks.t (k int PRIMARY KEY, v text MASKED WITH system.mask_default());",
        "CREATE TABLE ks.a_name_that_is_longer_than_forty_eight_characters_is (k int PRIMARY KEY);",
        "CREATE FUNCTION ks.f(a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$return a;$$;",
        "CREATE FUNCTION ks.f(a int) CALLED ON NULL INPUT RETURNS int LANGUAGE javascript AS 'a';",
        "CREATE FUNCTION ks.f(a int) CALLED ON NULL INPUT RETURNS int LANGUAGE lua AS 'return a';",
        "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE k IS NOT NULL PRIMARY KEY (k) WITH memtable = 'default' AND comment = 'x';",
    ]));
}

/// ScyllaDB's own forms, as its documentation has them (not run by us):
/// <https://docs.scylladb.com/manual/master/cql/ddl.html>, <https://docs.scylladb.com/manual/master/cql/cql-extensions.html>.
#[test]
fn what_only_scylladb_has_for_every_target() {
    insta::assert_snapshot!(shown(&[
        "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'DC1': ['RAC1', 'RAC2', 'RAC3'], 'DC2': 3, 'DC3': []} AND tablets = {'enabled': true} AND consistency = 'eventual';",
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH caching = {'enabled': 'false'} AND compression = {'sstable_compression': 'org.apache.cassandra.io.compress.LZ4Compressor', 'chunk_length_in_kb': '4'} AND tombstone_gc = {'mode': 'timeout', 'propagation_delay_in_seconds': '3600'} AND tablets = {'min_tablet_count': '100'};",
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH scylla_encryption_options = {'cipher_algorithm': 'AES/ECB/PKCS5Padding', 'secret_key_strength': 128, 'key_provider': 'LocalFileSystemKeyProviderFactory'} AND compression = {};",
        "CREATE TABLE ks.t (k int PRIMARY KEY) WITH speculative_retry = '90.5P' AND cdc = {'enabled': 'true', 'preimage': 'true', 'ttl': '86400'};",
        "CREATE INDEX i ON ks.t ((k), v);",
    ]));
}

/// What its versions have; sources stand beside them in `servers` (not run by us).
#[test]
fn scylladb_of_other_versions() {
    insta::assert_snapshot!(shown_for(
        &["scylla-5.4", "scylla-2024.1", "scylla-2025.1", "scylla-2026.1"],
        &[
            "CREATE KEYSPACE ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND tablets = {'enabled': false};",
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH dclocal_read_repair_chance = 0.1 AND read_repair_chance = 0.0 AND tombstone_gc = {'mode': 'repair'} AND tablets = {'min_tablet_count': '8'};",
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH compaction = {'class': 'IncrementalCompactionStrategy', 'space_amplification_goal': '1.5'} AND compression = {'sstable_compression': 'ZstdWithDictsCompressor', 'compression_level': '5'};",
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH compaction = {'class': 'LeveledCompactionStrategy', 'sstable_size_in_mb': '160', 'fanout_size': '10', 'max_threshold': '32', 'log_all': 'true', 'unsafe_aggressive_sstable_expiration': 'false'} AND compression = {'class': 'LZ4Compressor', 'lz4_compressor_type': 'high', 'lz4_high_compressor_level': '9'};",
            "CREATE TABLE ks.t (k int PRIMARY KEY) WITH compaction = {'class': 'com.example.Own', 'some': 'thing'} AND compression = {'class': 'com.example.Own', 'some': 'thing'};",
        ]
    ));
}

/// What only ScyllaDB has goes, where a Cassandra is to take the same strategy (its `compaction_strategy.cc`; not run by us).
#[test]
fn sub_options_of_scylladb_are_dropped_for_cassandra() {
    let options = "compaction = {'class': 'TimeWindowCompactionStrategy', 'enable_optimized_twcs_queries': 'true', 'cold_reads_to_omit': '0.1', 'compaction_window_size': '1'}";
    let cql = format!("CREATE TABLE ks.t (k int PRIMARY KEY) WITH {options};");
    for target in &TARGETS[..4] {
        let adapted = adapted(&cql, target).statement.unwrap();
        let expected = "{'class': 'TimeWindowCompactionStrategy', 'compaction_window_size': '1'}";
        assert_eq!(Parts::of(&adapted).unwrap().option("compaction").unwrap().value, expected, "{target}");
    }
    assert_eq!(adapted(&cql, "scylla-2025.1").statement.unwrap().cql, cql);
}

#[test]
fn views_have_no_expiry_of_their_own() {
    let view = "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE k IS NOT NULL PRIMARY KEY (k) WITH comment = 'x' AND default_time_to_live = 0;";
    assert_eq!(adapted(view, "cassandra-3.11").statement.unwrap().cql, view);
    for target in ["cassandra-4.0", "cassandra-5.0"] {
        let Adapted { statement, changes, .. } = adapted(view, target);
        assert_eq!(statement.unwrap().cql, view.replace(" AND default_time_to_live = 0", ""), "{target}");
        assert_eq!(changes.len(), 1, "{target}");
    }
}

#[test]
fn what_a_configuration_switches_off_cannot_be_held() {
    let cannot = |feature: Feature, cql: &str| {
        let mut target: Target = "cassandra-5.0".parse().unwrap();
        let adapt =
            |target: &Target| adapt(&Statement::parse(cql).unwrap(), target, Choices::default()).unwrap();
        assert_eq!(adapt(&target).unsupported, [""; 0], "{cql}");
        target.off.insert(feature);
        let Adapted { statement, unsupported, .. } = adapt(&target);
        (unsupported.join("; "), statement.map(|statement| statement.cql))
    };
    let off = |what: &str| format!("the target's configuration switches {what} off");
    let function =
        "CREATE FUNCTION ks.f(a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$return a;$$;";
    assert_eq!(cannot(Feature::Functions, function), (off("user-defined functions"), None));
    let view = "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE k IS NOT NULL PRIMARY KEY (k);";
    assert_eq!(cannot(Feature::Views, view), (off("materialized views"), None));
    let index = "CREATE CUSTOM INDEX i ON ks.t (v) USING 'org.apache.cassandra.index.sasi.SASIIndex';";
    assert_eq!(cannot(Feature::SasiIndexes, index), (off("SASI indexes"), None));
    let compact = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH COMPACT STORAGE;";
    assert_eq!(cannot(Feature::CompactStorage, compact), (off("tables WITH COMPACT STORAGE"), None));
    let masked = "CREATE TABLE ks.t (k int PRIMARY KEY, v text MASKED WITH system.mask_default());";
    let without = "CREATE TABLE ks.t (k int PRIMARY KEY, v text);".to_owned();
    let lost = format!("the mask of column v: {}", off("dynamic data masking"));
    assert_eq!(cannot(Feature::Masks, masked), (lost, Some(without)));
}

#[test]
fn compact_storage_is_dropped_where_the_user_says_so() {
    let table = "CREATE TABLE ks.t (k int, c int, v int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE AND CLUSTERING ORDER BY (c DESC);";
    let choices = Choices { drop_compact_storage: true };
    let adapted =
        adapt(&Statement::parse(table).unwrap(), &"cassandra-5.0".parse().unwrap(), choices).unwrap();
    let expected =
        "CREATE TABLE ks.t (k int, c int, v int, PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC);";
    assert_eq!(adapted.statement.unwrap().cql, expected);
    insta::assert_snapshot!(adapted.changes.join("\n"), @"COMPACT STORAGE dropped, as asked for");
    // Also where statements are written for nobody.
    let decided = decided(&Statement::parse(table).unwrap(), choices).unwrap();
    assert_eq!(decided.statement.unwrap().cql, expected);
    let kept = super::decided(&Statement::parse(table).unwrap(), Choices::default()).unwrap();
    assert_eq!((kept.statement.unwrap().cql.as_str(), kept.changes.len()), (table, 0));
}

/// Texts that options may have, with everything in them that might mislead a cutter.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1.5".to_owned()),
        "[a-zA-Z ;=(){}$-]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        Just("' AND comment = '' WITH '".to_owned()),
        Just("{'class': 'x', 'with': 'AND'}".to_owned()),
        Just("{}".to_owned()),
        Just("$$ ' AND $$".to_owned()),
    ]
}

proptest! {
    #[test]
    fn statements_are_taken_apart_and_put_together_again(
        options in prop::collection::vec(("[a-z][a-z_]{0,7}", value()), 0..6),
        semicolon in any::<bool>(),
    ) {
        let texts: Vec<String> = options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let with = if texts.is_empty() { "" } else { " WITH " };
        let end = if semicolon { ";" } else { "" };
        let head = "CREATE TABLE ks.\"with AND\" (k int, \" and \" text, PRIMARY KEY (k))";
        let cql = format!("{head}{with}{}{end}", texts.join("\n    AND "));
        // Words that only a WITH, an AND or an empty name would be are no options.
        prop_assume!(options.iter().all(|(name, _)| !["with", "and"].contains(&name.as_str())));
        let parts = Parts::of(&Statement::parse(&cql).unwrap()).unwrap();
        prop_assert_eq!(parts.cql(), cql);
        prop_assert_eq!(parts.head, head);
        let found: Vec<(String, String)> = parts.options.into_iter().map(|o| (o.name, o.value)).collect();
        prop_assert_eq!(found, options);
    }
}

/// Options of every server, some of them with values that only one of them knows.
const POOL: [&str; 22] = [
    "additional_write_policy = '99p'",
    "allow_auto_snapshot = true",
    "caching = 'keys_only'",
    "caching = {'enabled': 'true'}",
    "cdc = true",
    "cdc = {'enabled': 'true'}",
    "comment = 'a; $$ AND b = {''x'': 1} -- c'",
    "compaction = {'class': 'IncrementalCompactionStrategy'}",
    "compaction = {'class': 'LeveledCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4'}",
    "compaction = {'class': 'UnifiedCompactionStrategy'}",
    "compression = {'class': 'NoopCompressor'}",
    "compression = {'class': 'ZstdCompressor', 'compression_level': '5'}",
    "compression = {'enabled': 'false'}",
    "compression = {'sstable_compression': 'LZ4WithDictsCompressor', 'chunk_length_kb': '64', 'crc_check_chance': '1.0'}",
    "compression = {}",
    "index_interval = 64",
    "memtable = 'default'",
    "read_repair_chance = 0.1",
    "speculative_retry = '99p'",
    "speculative_retry = 'NEVER'",
    "tablets = {'min_tablet_count': '8'}",
    "unheard_of = {'a': [1, 2]}",
];

/// A name as it may be written, and the true one.
fn name() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        "[a-z][a-z0-9_]{0,8}".prop_map(|name| (format!("\"{name}\""), name)),
        "[A-Z][a-z \"';$-]{0,8}".prop_map(|name| (format!("\"{}\"", name.replace('"', "\"\"")), name)),
        "n[a-zA-Z0-9_]{0,8}".prop_map(|name| (name.clone(), name.to_ascii_lowercase())),
    ]
}

proptest! {
    /// What was written for a target is what it takes: written for it again, nothing changes.
    #[test]
    fn statements_that_were_adapted_need_no_more_changes(
        (written, name) in name(),
        options in prop::sample::subsequence(POOL.to_vec(), 1..8),
        target in prop::sample::select(TARGETS.to_vec()),
        comment in prop::option::of("[a-z;'$ ]{0,12}"),
    ) {
        let comment = comment.map_or_else(String::new, |text| format!("/* {text} */ "));
        let cql = format!(
            "CREATE TABLE {comment}ks.{written} (k int, \"masked\" text, PRIMARY KEY (k)) WITH {};",
            options.join("\n    AND ")
        );
        let statement = Statement::parse(&cql).unwrap();
        prop_assert_eq!(&statement.name, &name);
        let target: Target = target.parse().unwrap();
        let once = adapt(&statement, &target, Choices::default()).unwrap();
        prop_assert!(once.unsupported.is_empty());
        let once = once.statement.unwrap();
        prop_assert_eq!((&once.kind, &once.keyspace, &once.name), (&statement.kind, &statement.keyspace, &name));
        let twice = adapt(&once, &target, Choices::default()).unwrap();
        prop_assert_eq!(twice, Adapted { statement: Some(once), changes: vec![], unsupported: vec![] });
    }
}
