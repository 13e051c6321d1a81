//! Which node a page is asked of, and which shard of it: a replica of the tokens where it begins. The driver routes by keys,
//! and a scan has none. For clusters with Murmur3Partitioner, whose tokens are the driver's.

use super::tablets::Tablets;
use crate::ring::Token;
use scylla::cluster::{ClusterState, Node, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use std::sync::Arc;
use uuid::Uuid;

/// Asks a replica of a token first, and goes on as another policy says.
#[derive(Debug)]
pub struct ToReplica {
    /// Its token.
    pub token: Token,
    /// Which of the replicas: another number is another one, if there is another.
    pub turn: usize,
    /// The datacenter to stay in, if there is one.
    pub dc: Option<String>,
    /// The table's tablets; where nothing is known of them, the ring tells.
    pub tablets: Arc<Tablets>,
    /// Where no replica is up, or its keyspace is not known.
    pub otherwise: Arc<dyn LoadBalancingPolicy>,
}

impl LoadBalancingPolicy for ToReplica {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        let mut replicas = self.of_tablet(cluster);
        if replicas.is_empty() {
            replicas = self.of_ring(request, cluster, self.dc.as_deref())?;
        }
        // A keyspace that is in other datacenters only is read there.
        if replicas.is_empty() {
            replicas = self.of_ring(request, cluster, None)?;
        }
        let up: Vec<(NodeRef<'a>, Shard)> =
            replicas.into_iter().filter(|(node, _)| node.is_connected()).collect();
        let (node, shard) = up.get(self.turn.checked_rem(up.len())?)?;
        Some((*node, Some(*shard)))
    }

    fn fallback<'a>(&'a self, request: &'a RoutingInfo, cluster: &'a ClusterState) -> FallbackPlan<'a> {
        self.otherwise.fallback(request, cluster)
    }

    fn name(&self) -> String {
        "ToReplica".to_owned()
    }
}

impl ToReplica {
    fn of_tablet<'a>(&self, cluster: &'a ClusterState) -> Vec<(NodeRef<'a>, Shard)> {
        let is_near = |node: &&Arc<Node>| self.dc.is_none() || node.datacenter == self.dc;
        let of = |(host, shard): &(Uuid, Shard)| {
            let node = cluster.get_nodes_info().iter().find(|node| node.host_id == *host);
            Some((node.filter(is_near)?, *shard))
        };
        self.tablets.replicas(self.token).iter().filter_map(of).collect()
    }

    fn of_ring<'a>(
        &self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
        dc: Option<&'a str>,
    ) -> Option<Vec<(NodeRef<'a>, Shard)>> {
        let table = request.table?;
        let strategy = &cluster.get_keyspace(table.ks_name())?.strategy;
        let token = scylla::routing::Token::new(self.token);
        let replicas = cluster.replica_locator();
        Some(replicas.replicas_for_token(token, strategy, dc, table).into_iter().collect())
    }
}
