//! Which node a request goes to: a page to a replica of the tokens where it begins, since the driver routes by keys, and a
//! scan has none; what failed, to another replica than before.
//! For clusters with Murmur3Partitioner, whose tokens are the driver's.

use super::Cluster;
use crate::ring::{Partitioner, Token};
use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use std::sync::Arc;

/// Asks a replica of a token first, and goes on as another policy says.
#[derive(Debug)]
struct ToReplica {
    /// Its token; if there is none, the request's own.
    token: Option<Token>,
    /// Which of the replicas: another number is another one, if there is another.
    turn: usize,
    /// The datacenter to stay in, if there is one.
    dc: Option<String>,
    /// Where no replica is up, or its keyspace is not known.
    otherwise: Arc<dyn LoadBalancingPolicy>,
}

impl Cluster {
    /// The way to a replica of `token` or, without it, of the request's own key: another one for each `turn`. `None` where the
    /// driver does not know the ring: any node is as good as another, and it asks the replicas.
    pub fn to_replica(&self, token: Option<Token>, turn: usize) -> Option<Arc<dyn LoadBalancingPolicy>> {
        if self.partitioner().ok() != Some(Partitioner::Murmur3) {
            return None;
        }
        Some(Arc::new(ToReplica { token, turn, dc: self.dc.clone(), otherwise: self.nodes.clone() }))
    }
}

impl LoadBalancingPolicy for ToReplica {
    fn pick<'a>(
        &'a self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
    ) -> Option<(NodeRef<'a>, Option<Shard>)> {
        let table = request.table?;
        let strategy = &cluster.get_keyspace(table.ks_name())?.strategy;
        let token = self.token.map(scylla::routing::Token::new).or(request.token)?;
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
