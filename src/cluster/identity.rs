//! By what a cluster and its tables are known again: host ids and table ids.

use super::Cluster;
use crate::error::{Context, Result};
use std::collections::BTreeMap;
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
}
