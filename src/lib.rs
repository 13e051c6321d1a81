//! cqlift: logical dump and load for Apache Cassandra and ScyllaDB.

pub mod error;
pub mod format;
pub mod rows;
pub mod types;
