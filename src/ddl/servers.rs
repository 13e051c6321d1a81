//! What servers have and how they spell it: options, classes, features, by maker and version. Measured on Cassandra
//! 3.11.19, 4.0.19, 4.1.10 and 5.0.6; what is said of ScyllaDB is from its documentation and issues, and was not run.
//!
//! This is the only place that knows versions. How a statement is changed by it is left to [`super::target`].

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Who makes a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vendor {
    /// Apache Cassandra.
    Cassandra,
    /// ScyllaDB.
    Scylla,
}

/// What not all servers have, or what a server may be configured without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// The type `vector`.
    Vectors,
    /// Functions and aggregates of users.
    Functions,
    /// Masked columns.
    Masks,
    /// Materialized views.
    Views,
    /// SAI.
    StorageAttachedIndexes,
    /// SASI.
    SasiIndexes,
    /// Indexes within a partition.
    LocalIndexes,
    /// ScyllaDB's indexes of vectors.
    VectorIndexes,
    /// Indexes of other classes, which come with a server's own jars.
    OtherCustomIndexes,
    /// Tables WITH COMPACT STORAGE.
    CompactStorage,
    /// Write times that a client gives.
    UserTimestamps,
}

impl Feature {
    /// As a sentence names it.
    fn name(self) -> &'static str {
        match self {
            Feature::Vectors => "vectors",
            Feature::Functions => "user-defined functions",
            Feature::Masks => "dynamic data masking",
            Feature::Views => "materialized views",
            Feature::StorageAttachedIndexes => "storage-attached indexes",
            Feature::SasiIndexes => "SASI indexes",
            Feature::LocalIndexes => "local indexes",
            Feature::VectorIndexes => "vector indexes of this kind",
            Feature::OtherCustomIndexes => "custom indexes",
            Feature::CompactStorage => "tables WITH COMPACT STORAGE",
            Feature::UserTimestamps => "write times that a client gives",
        }
    }

    /// The settings that switch it, in the names of Cassandra 4.0 and of later ones. SASI and views need theirs on since
    /// 4.0.
    pub const SETTINGS: &'static [(&'static str, Feature)] = &[
        ("enable_user_defined_functions", Feature::Functions),
        ("user_defined_functions_enabled", Feature::Functions),
        ("dynamic_data_masking_enabled", Feature::Masks),
        ("enable_materialized_views", Feature::Views),
        ("materialized_views_enabled", Feature::Views),
        ("enable_sasi_indexes", Feature::SasiIndexes),
        ("sasi_indexes_enabled", Feature::SasiIndexes),
        ("compact_tables_enabled", Feature::CompactStorage),
        ("user_timestamps_enabled", Feature::UserTimestamps),
    ];
}

/// A server to write statements for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who makes it.
    pub vendor: Vendor,
    /// Major and minor.
    pub version: (u32, u32),
    /// What its configuration switches off.
    pub off: BTreeSet<Feature>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.vendor {
            Vendor::Cassandra => "Cassandra",
            Vendor::Scylla => "ScyllaDB",
        };
        write!(f, "{name} {}.{}", self.version.0, self.version.1)
    }
}

/// A target that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a target: write cassandra-MAJOR.MINOR or scylla-MAJOR.MINOR, as in cassandra-4.1")]
pub struct BadTarget(String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Target, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let (vendor, version) = text.split_once('-').ok_or_else(bad)?;
        let vendor = match vendor.to_ascii_lowercase().as_str() {
            "cassandra" => Vendor::Cassandra,
            "scylla" | "scylladb" => Vendor::Scylla,
            _ => return Err(bad()),
        };
        Target::of(vendor, version).ok_or_else(bad)
    }
}

impl Target {
    /// A server of this release, as in `4.1` or `5.0.6`; `None` if that is no release.
    pub fn of(vendor: Vendor, release: &str) -> Option<Target> {
        let mut numbers = release.split(['.', '-', '~', '+']).map(|number| number.parse().ok());
        let version = (numbers.next()??, numbers.next()??);
        Some(Target { vendor, version, off: BTreeSet::new() })
    }

    /// Whether it is a ScyllaDB.
    pub fn is_scylla(&self) -> bool {
        self.vendor == Vendor::Scylla
    }

    /// Whether it is a Cassandra of this version or a later one.
    fn since(&self, major: u32, minor: u32) -> bool {
        self.vendor == Vendor::Cassandra && self.version >= (major, minor)
    }

    /// Whether it is a Cassandra before this version.
    fn before(&self, major: u32, minor: u32) -> bool {
        self.vendor == Vendor::Cassandra && self.version < (major, minor)
    }

    /// Whether it does without the feature.
    pub fn lacks(&self, feature: Feature) -> bool {
        self.off.contains(&feature) || self.never_had(feature)
    }

    fn never_had(&self, feature: Feature) -> bool {
        match feature {
            Feature::Vectors => self.before(5, 0) || (self.is_scylla() && self.version < (2025, 4)),
            Feature::Masks => !self.since(5, 0),
            Feature::StorageAttachedIndexes => !self.since(5, 0),
            Feature::VectorIndexes => !self.is_scylla() || self.version < (2025, 4),
            Feature::LocalIndexes => !self.is_scylla(),
            Feature::SasiIndexes | Feature::OtherCustomIndexes => self.is_scylla(),
            // Unless enable_create_table_with_compact_storage says otherwise.
            Feature::CompactStorage => self.is_scylla() && self.version >= (2025, 1),
            Feature::Functions | Feature::Views | Feature::UserTimestamps => false,
        }
    }

    /// That it does without the feature, as a reason.
    pub fn lacking(&self, feature: Feature) -> String {
        match self.never_had(feature) {
            true => format!("{self} has no {}", feature.name()),
            false => format!("the target's configuration switches {} off", feature.name()),
        }
    }

    /// Whether it runs functions in this language.
    pub fn runs(&self, language: &str) -> bool {
        match language.to_ascii_lowercase().as_str() {
            "java" => !self.is_scylla(),
            // CASSANDRA-18252, CASSANDRA-17281.
            "javascript" => self.before(5, 0),
            "lua" | "wasm" | "xwasm" => self.is_scylla(),
            _ => true,
        }
    }

    /// Whether it is a ScyllaDB of this version or a later one: as it was numbered until 6.2, or by years. Of the latter, 2022.1
    /// to 2024.2 were made from 5.0 to 6.0.
    fn scylla_since(&self, open: (u32, u32), years: (u32, u32)) -> bool {
        self.is_scylla() && self.version >= if self.has_year() { years } else { open }
    }

    /// Whether its version is a year: of ScyllaDB these were the ones not open until 2025.1, and had more.
    fn has_year(&self) -> bool {
        self.version.0 >= 2000
    }

    /// Characters that a table's name may have; `None` where a server's own error will tell. 4.0.19 to 5.0.6 take 222, and
    /// ScyllaDB 48 until 2025.1 at least (<https://docs.scylladb.com/manual/branch-2025.1/reference/limits.html>).
    pub fn longest_name(&self) -> Option<usize> {
        let short = self.before(4, 0) || (self.is_scylla() && self.version <= (2025, 1));
        short.then_some(48)
    }

    /// Whether counters and logs of changes are refused in keyspaces with tablets, which those of NetworkTopologyStrategy
    /// have by themselves (<https://docs.scylladb.com/manual/branch-2025.2/features/counters.html>,
    /// <https://docs.scylladb.com/manual/branch-2025.1/features/cdc>; that of 2026.1 says so no more).
    pub fn limits_tablets(&self) -> bool {
        self.scylla_since((6, 0), (2024, 2)) && self.version < (2026, 1)
    }

    /// Whether it has the option of a table or view; `None` if that is not known, so that it has to be tried.
    pub fn has_option(&self, name: &str) -> Option<bool> {
        // Of what only ScyllaDB has, the versions that have it for certain; others are tried.
        let scylla = |open, years| match self.scylla_since(open, years) {
            true => Some(true),
            false if self.is_scylla() => None,
            false => Some(false),
        };
        Some(match name {
            // ScyllaDB had them until 6.0 and 2024.2 (scylladb #18087).
            "read_repair_chance" | "dclocal_read_repair_chance" => {
                self.before(4, 0) || (self.is_scylla() && !self.scylla_since((6, 0), (2024, 2)))
            }
            "additional_write_policy" | "read_repair" => self.since(4, 0),
            "memtable" => self.since(4, 1),
            "allow_auto_snapshot" | "incremental_backups" => self.since(5, 0),
            "automated_repair_full" | "automated_repair_incremental" => self.since(5, 1),
            "populate_io_cache_on_flush" | "replicate_on_write" => false,
            "extensions" => !self.is_scylla(),
            // Hints for sizes, <https://docs.scylladb.com/manual/branch-2025.1/cql/cql-extensions.html>.
            "tablets" => self.scylla_since((2025, 1), (2025, 1)),
            "tombstone_gc" | "per_partition_rate_limit" | "synchronous_updates" => {
                return scylla((5, 1), (2022, 2));
            }
            "paxos_grace_seconds" => self.is_scylla(),
            // Until 2025.1 only of versions by years.
            "in_memory" | "scylla_encryption_options" => return scylla((2025, 1), (2025, 1)),
            "bloom_filter_fp_chance"
            | "caching"
            | "cdc"
            | "clustering order by"
            | "comment"
            | "compact storage"
            | "compaction"
            | "compression"
            | "crc_check_chance"
            | "default_time_to_live"
            | "gc_grace_seconds"
            | "index_interval"
            | "max_index_interval"
            | "memtable_flush_period_in_ms"
            | "min_index_interval"
            | "speculative_retry" => true,
            _ => return None,
        })
    }

    /// Whether it has the option of a keyspace; `None` if that is not known.
    pub fn has_keyspace_option(&self, name: &str) -> Option<bool> {
        Some(match name {
            "replication" | "durable_writes" => true,
            // 2024.1 refuses it (scylla-cluster-tests #10602).
            "tablets" => self.scylla_since((6, 0), (2024, 2)),
            "storage" | "consistency" if self.is_scylla() => return None,
            "storage" | "consistency" => false,
            "fast_path" => self.since(5, 1),
            _ => return None,
        })
    }

    /// A compaction strategy that it has, for one that it lacks.
    pub fn compaction_for(&self, class: &str) -> Option<&'static str> {
        match class {
            "UnifiedCompactionStrategy" if !self.since(5, 0) => Some("SizeTieredCompactionStrategy"),
            "IncrementalCompactionStrategy" if !(self.is_scylla() && self.has_year()) => {
                Some("SizeTieredCompactionStrategy")
            }
            "DateTieredCompactionStrategy" if self.since(5, 0) || self.is_scylla() => {
                Some("TimeWindowCompactionStrategy")
            }
            _ => None,
        }
    }

    /// Whether it refuses a sub-option of a compaction strategy, or of compression, that other versions print (measured:
    /// 4.0.19 and later print thresholds of every strategy, 3.11.19 refuses them for this one; the others came with 4.0; none
    /// takes the two that only ScyllaDB has). What a class of somebody's own takes is not known.
    pub fn lacks_suboption(&self, class: &str, name: &str) -> bool {
        if self.is_scylla() {
            let known = scylla_suboptions(class);
            return !known.is_empty() && !known.iter().any(|of| of.contains(&name));
        }
        let of_leveled = ["max_threshold", "min_threshold", "single_sstable_uplevel"];
        match class {
            "compression" => self.before(4, 0) && name == "min_compress_ratio",
            "LeveledCompactionStrategy" if of_leveled.contains(&name) => self.before(4, 0),
            _ => ["cold_reads_to_omit", "enable_optimized_twcs_queries"].contains(&name),
        }
    }

    /// A compressor that it has, for one that it lacks; the empty one is none at all.
    pub fn compressor_for(&self, class: &str) -> Option<&'static str> {
        match class {
            "ZstdCompressor" if self.before(4, 0) => Some("LZ4Compressor"),
            // <https://docs.scylladb.com/manual/branch-2025.3/cql/ddl.html>.
            _ if class.contains("WithDicts") && self.scylla_since((2025, 3), (2025, 3)) => None,
            "LZ4WithDictsCompressor" => Some("LZ4Compressor"),
            "ZstdWithDictsCompressor" if self.before(4, 0) => Some("LZ4Compressor"),
            "ZstdWithDictsCompressor" => Some("ZstdCompressor"),
            "NoopCompressor" if !self.since(4, 0) => Some(""),
            _ => None,
        }
    }

    /// Sub-options of compression that it has under another name. Cassandra takes the old ones until 4.1; ScyllaDB has the
    /// old name of the compressor (scylladb #4200, #8948; its documentation, <https://docs.scylladb.com/manual/master/cql/ddl.html>).
    pub fn compression_names(&self) -> &'static [(&'static str, &'static str)] {
        match self.vendor {
            Vendor::Cassandra => {
                &[("sstable_compression", "class"), ("chunk_length_kb", "chunk_length_in_kb")]
            }
            Vendor::Scylla => &[("class", "sstable_compression"), ("chunk_length_kb", "chunk_length_in_kb")],
        }
    }

    /// The sub-option that names the compressor.
    pub fn compressor_name(&self) -> &'static str {
        if self.is_scylla() { "sstable_compression" } else { "class" }
    }

    /// Whether it refuses `default_time_to_live` of a view: 4.0 before 4.0.4 whatever it is, later ones unless it is 0
    /// (CASSANDRA-17266). Those before print one.
    pub fn lacks_expiry_of_views(&self) -> bool {
        self.since(4, 0)
    }

    /// Whether NetworkTopologyStrategy takes a `replication_factor` for all datacenters, and no datacenters that are not there
    /// (measured: 3.11.19 refuses the one and takes the others, 4.0.19 and later the other way round).
    pub fn knows_datacenters(&self) -> bool {
        !self.before(4, 0)
    }

    /// Whether it asks for `99PERCENTILE`, and does not take `99p`.
    pub fn spells_speculation_out(&self) -> bool {
        self.is_scylla() || self.before(4, 0)
    }
}

/// What ScyllaDB takes as sub-options of a compaction strategy or of compression; it refuses all others, by `Invalid compaction
/// strategy options {…} for chosen strategy type` and `Unknown compression option '…'`. From its documentation
/// (<https://docs.scylladb.com/manual/branch-2025.3/cql/compaction.html>, <https://docs.scylladb.com/manual/branch-2025.3/cql/ddl.html>)
/// and `compaction_strategy_impl::validate_options`; not run by us.
fn scylla_suboptions(class: &str) -> &'static [&'static [&'static str]] {
    const ALL: &[&str] = &[
        "class",
        "enabled",
        "tombstone_compaction_interval",
        "tombstone_threshold",
        "unchecked_tombstone_compaction",
    ];
    const TIERED: &[&str] = &[
        "bucket_high",
        "bucket_low",
        "cold_reads_to_omit",
        "max_threshold",
        "min_sstable_size",
        "min_threshold",
    ];
    const WINDOWS: &[&str] = &[
        "compaction_window_size",
        "compaction_window_unit",
        "enable_optimized_twcs_queries",
        "expired_sstable_check_frequency_seconds",
        "timestamp_resolution",
    ];
    match class {
        "SizeTieredCompactionStrategy" => &[ALL, TIERED],
        "LeveledCompactionStrategy" => &[ALL, TIERED, &["sstable_size_in_mb"]],
        "TimeWindowCompactionStrategy" => &[ALL, TIERED, WINDOWS],
        "IncrementalCompactionStrategy" => {
            &[ALL, TIERED, &["sstable_size_in_mb", "space_amplification_goal"]]
        }
        "compression" => &[&[
            "class",
            "sstable_compression",
            "chunk_length_kb",
            "chunk_length_in_kb",
            "compression_level",
            "crc_check_chance",
            "enabled",
        ]],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        let target = |text: &str| text.parse::<Target>();
        let of = |vendor, version| Ok(Target { vendor, version, off: BTreeSet::new() });
        assert_eq!(target("cassandra-3.11"), of(Vendor::Cassandra, (3, 11)));
        assert_eq!(target("Cassandra-5.0.6"), of(Vendor::Cassandra, (5, 0)));
        assert_eq!(target("scylla-2025.1"), of(Vendor::Scylla, (2025, 1)));
        assert_eq!(target("scylladb-6.2"), of(Vendor::Scylla, (6, 2)));
        for bad in ["", "5.0", "cassandra", "cassandra-", "cassandra-5", "dse-6.8", "cassandra-x.y"] {
            assert_eq!(target(bad), Err(BadTarget(bad.to_owned())), "{bad}");
        }
        assert_eq!(Target::of(Vendor::Cassandra, "4.1-alpha1").map(|t| t.version), Some((4, 1)));
        assert_eq!(target("cassandra-4.1").unwrap().to_string(), "Cassandra 4.1");
    }
}
