//! The integration tests, one binary: the tool is run as a user runs it, against real servers, and judged by code that
//! knows nothing of its codecs. `scripts/test` brings the servers; `CQLIFT_NODES="5.0=HOST[:PORT] …"` names others.
//!
//! `harness` is the vocabulary, each other file one subject. A new file needs one `mod` line here; `tidy` checks that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests state facts; helpers outside #[test] functions do so too"
)]

mod append;
mod bench;
mod budget;
mod clocks;
mod compact;
mod companions;
mod counters;
mod created;
mod demo;
mod dump;
mod dump_faults;
mod elements;
mod errors;
mod export;
mod faults;
mod faults_nodes;
mod fidelity;
mod findings;
mod harness;
mod hostile;
mod independent;
mod interrupt;
mod load;
mod local;
mod matrix;
mod migrate;
mod moments;
mod network;
mod partitioner;
mod parts;
mod permissions;
mod printed;
mod proxy;
mod random;
mod random_schema;
mod random_values;
mod random_writes;
mod readme;
mod refuse;
mod rejects;
mod resume;
mod resume_dump;
mod roles;
mod roundtrip;
mod script;
mod secrets;
mod semantics;
mod skew;
mod spelling;
mod tidy;
mod times;
mod tls;
mod verify;
mod verify_changes;
mod verify_cluster;
mod versions;
