//! cqlift: logical dump and load for Apache Cassandra and ScyllaDB.

pub mod batch;
pub mod ddl;
pub mod error;
pub mod ring;
pub mod rows;
pub mod selector;
pub mod types;
