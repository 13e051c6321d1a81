//! cqlift: logical dump and load for Apache Cassandra and ScyllaDB. This page is the code map.
//!
//! # How data flows
//!
//! Wire bytes are the common currency: a *page* ([`rows`]) is rows of cells in the native protocol's own bytes, and no
//! enum stands between them and Arrow or text.
//!
//! - `dump`: [`cluster::scan`] → pages → [`types`] (a codec per column) → a [`format`](mod@format) *sink* → a *part* in [`store`].
//!   Behind the columns of a page come their *companions*: write times and expiries, as far as the cluster tells them.
//! - `export`: the same way, values alone, into files for other programs.
//! - `load`: a part in [`store`] → a [`format`](mod@format) *source* → pages → [`batch`] groups of one partition →
//!   [`mutation`]s, the statements that bring a row back → [`cluster::write`].
//! - `verify`: the [`fingerprint`] of a scan beside the sums of the parts; where they differ, rows side by side in
//!   [`compare`].
//!
//! # Where things live
//!
//! | module | answers |
//! |---|---|
//! | [`cli`], [`commands`] | the subcommands; each file has its flags above its `run()`, which reads like a table of contents |
//! | [`cluster`] | the only module that talks to the database: connect, tls, describe, permissions, roles, probe, scan, write, retry, gate |
//! | [`format`](mod@format) | one file per file format, sink and source together |
//! | [`store`] | the only module that opens dump files: names, temporary files, syncing, renaming |
//! | [`progress`] | counters of a run and the line that shows them |
//! | [`report`] | what is printed, on stdout and stderr |
//! | [`manifest`] | what a dump and its parts say of themselves |
//! | [`roles`] | roles and permissions: as manifests and servers state them, and their statements; pure |
//! | [`ddl`] | CQL statements: recognise, make from a catalogue, order, rename, write for another server; pure |
//! | [`ring`] | tokens, by partitioner, and ranges: hash, bound, split, cover; pure |
//! | [`steal`] | who scans which range, and takes over half of another's; pure |
//! | [`batch`] | rows of one partition into write batches; pure |
//! | [`pace`] | how many requests may be in flight, how many rows may pass; pure |
//! | [`fingerprint`] | the sums of rows, independent of order and of how the ring is cut; pure |
//! | [`mutation`] | which statements bring a row back, by write time and expiry; pure |
//! | [`compare`] | how two rows of one key differ; pure |
//! | [`times`] | write time and expiry of a cell, as companions tell them |
//! | [`selector`] | `ks.table`, globs, and `--map`; pure |
//! | [`types`] | one file per CQL type: wire ↔ Arrow, wire ↔ text |
//! | [`table`] | what a table is: columns in page order, and their companions |
//! | [`rows`] | cells and pages |
//! | [`error`] | the one error type at the rim |
//!
//! # The import law
//!
//! Left may use anything to its right, nothing else; a test holds it:
//! `main → cli → commands → {cluster, format, store, progress} → {steal, batch, pace, manifest, selector, report} → roles → {ring,
//! ddl, fingerprint, mutation, compare} → times → table → types → rows → error`. Modules in braces do not use each other: `cluster`, `format` and `store` meet in `commands`, over
//! `rows`. Async lives in `cluster` and `commands`; codecs, sinks and sources are synchronous.
//!
//! # Words
//!
//! **cell** (wire bytes or null), **page** (rows of cells), **range** (a token interval `(start, end]`), **part** (one
//! finished data file), **sidecar** (what a part says of itself), **sink/source** (the file side), **manifest** (what a
//! dump holds), **companion** (a file column with the write times or expiries of another), **moment** (write time and
//! expiry of a cell), **sum** (a fingerprint of a part's rows), **exception** (a cell whose natural form would not give it back exactly; its raw bytes travel in the
//! exceptions column).

pub mod batch;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod compare;
pub mod ddl;
pub mod error;
pub mod fingerprint;
pub mod format;
pub mod manifest;
pub mod mutation;
pub mod pace;
pub mod progress;
pub mod report;
pub mod ring;
pub mod roles;
pub mod rows;
pub mod selector;
pub mod steal;
pub mod store;
pub mod table;
pub mod times;
pub mod types;
