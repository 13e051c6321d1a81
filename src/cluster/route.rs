//! Which node a page is asked of: a replica of the tokens where it begins. The driver routes by keys, and a scan has none.
//! For clusters with Murmur3Partitioner, whose tokens are the driver's.

use crate::ring::Token;
use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use std::sync::Arc;

/// Asks a replica of a token first, and goes on as another policy says.
#[derive(Debug)]
pub struct ToReplica {
    /// Its token.
    pub token: Token,
    /// Which of the replicas: another number is another one, if there is another.
    pub turn: usize,
    /// The datacenter to stay in, if there is one.
    pub dc: Option<String>,
    /// Where no replica is up, or its keyspace is not known.
    pub otherwise: Arc<dyn LoadBalancingPolicy>,
}

impl LoadBalancingPolicy for ToReplica {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        let table = request.table?;
        let strategy = &cluster.get_keyspace(table.ks_name())?.strategy;
        let token = scylla::routing::Token::new(self.token);
        let replicas = cluster.replica_locator();
        let replicas = replicas.replicas_for_token(token, strategy, self.dc.as_deref(), table);
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
