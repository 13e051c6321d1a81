//! The only module that talks to the database: connect, read the schema, ask for permissions, read and make roles, scan token ranges into pages, write pages.
//! What the cells of a page mean is left to `types`; which ranges and tables to work on, to `commands`.

pub mod catalogue;
pub mod connect;
pub mod describe;
pub mod gate;
pub mod permissions;
pub mod probe;
pub mod retry;
pub mod roles;
mod route;
pub mod scan;
mod target;
pub mod tls;
pub mod write;

pub use connect::{Cluster, ConnectArgs};
pub use describe::IN_STATEMENT;
