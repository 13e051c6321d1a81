//! By what a cluster and its tables are known again: host ids, table ids, and when a table was emptied last.

use super::Cluster;
use crate::error::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// By keyspace and table.
pub type ByTable<T> = BTreeMap<(String, String), T>;

impl Cluster {
    /// Host ids of the nodes, in order.
    pub fn hosts(&self) -> Vec<String> {
        let state = self.session.get_cluster_state();
        let mut hosts: Vec<String> =
            state.get_nodes_info().iter().map(|node| node.host_id.to_string()).collect();
        hosts.sort();
        hosts
    }

    /// The ids of all tables: one that is dropped and made again has another.
    ///
    /// # Errors
    /// `Error` if the catalogue cannot be read.
    pub async fn table_ids(&self) -> Result<ByTable<Uuid>> {
        let query = "SELECT keyspace_name, table_name, id FROM system_schema.tables";
        let rows = self.read::<(String, String, Uuid)>(query).await.doing(|| "read the ids of tables")?;
        Ok(rows.into_iter().map(|(keyspace, table, id)| ((keyspace, table), id)).collect())
    }

    /// When each table was emptied by TRUNCATE last, µs since 1970, by its id, as far as the node that is asked tells.
    pub async fn emptied(&self) -> BTreeMap<Uuid, i64> {
        // A position in the node's log, and the time in milliseconds (3.11 to 5.0; ScyllaDB keeps it elsewhere by now).
        let time = |entry: Vec<u8>| {
            let millis = entry.last_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
            millis.unwrap_or(0).saturating_mul(1000)
        };
        let query = "SELECT truncated_at FROM system.local";
        let rows = self.read::<(Option<HashMap<Uuid, Vec<u8>>>,)>(query).await.unwrap_or_default();
        let entries = rows.into_iter().filter_map(|(entries,)| entries).flatten();
        entries.map(|(id, entry)| (id, time(entry))).collect()
    }
}
