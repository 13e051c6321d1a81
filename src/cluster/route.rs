//! Which node a request goes to, and which shard of it: a page to a replica of the tokens where it begins, since the driver
//! routes by keys, and a scan has none; what failed, to another replica than before.
//! For clusters with Murmur3Partitioner, whose tokens are the driver's.

use super::Cluster;
use super::tablets::Tablets;
use crate::ring::{Partitioner, Token};
use scylla::cluster::{ClusterState, NodeRef};
use scylla::policies::load_balancing::{FallbackPlan, LoadBalancingPolicy, RoutingInfo};
use scylla::routing::Shard;
use std::sync::Arc;
use uuid::Uuid;

/// Where a request that has no key begins.
#[derive(Debug)]
pub struct At {
    /// Its first token.
    pub token: Token,
    /// The table's tablets; where nothing is known of them, the ring tells.
    pub tablets: Arc<Tablets>,
}

/// Asks a replica first, and goes on as another policy says.
#[derive(Debug)]
struct ToReplica {
    /// Where the request begins; if that is not given, at its own key.
    at: Option<At>,
    /// Which of the replicas: another number is another one, if there is another.
    turn: usize,
    /// The datacenter to stay in, if there is one.
    dc: Option<String>,
    /// Where no replica is up, or its keyspace is not known.
    otherwise: Arc<dyn LoadBalancingPolicy>,
}

impl Cluster {
    /// The way to a replica of what a request begins at or, without it, of its own key: another one for each `turn`. `None`
    /// where the driver does not know the ring: any node is as good as another, and it asks the replicas.
    pub fn to_replica(&self, at: Option<At>, turn: usize) -> Option<Arc<dyn LoadBalancingPolicy>> {
        if self.partitioner().ok() != Some(Partitioner::Murmur3) {
            return None;
        }
        Some(Arc::new(ToReplica { at, turn, dc: self.dc.clone(), otherwise: self.nodes.clone() }))
    }
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
        let Some(At { token, tablets }) = &self.at else { return Vec::new() };
        let nodes = cluster.get_nodes_info().iter();
        let nodes = nodes.map(|node| (node.host_id, node.datacenter.as_deref(), node));
        among(tablets.replicas(*token), nodes, self.dc.as_deref())
    }

    fn of_ring<'a>(
        &self,
        request: &'a RoutingInfo,
        cluster: &'a ClusterState,
        dc: Option<&'a str>,
    ) -> Option<Vec<(NodeRef<'a>, Shard)>> {
        let table = request.table?;
        let strategy = &cluster.get_keyspace(table.ks_name())?.strategy;
        let token = match &self.at {
            Some(at) => scylla::routing::Token::new(at.token),
            None => request.token?,
        };
        let replicas = cluster.replica_locator();
        Some(replicas.replicas_for_token(token, strategy, dc, table).into_iter().collect())
    }
}

/// Those of a tablet's replicas that are among the nodes (host, datacenter, whatever stands for it) and in this datacenter,
/// if there is one, in the tablet's order.
fn among<'a, N>(
    replicas: &[(Uuid, Shard)],
    nodes: impl Iterator<Item = (Uuid, Option<&'a str>, N)> + Clone,
    dc: Option<&str>,
) -> Vec<(N, Shard)> {
    let is_near = |of: Option<&str>| dc.is_none() || of == dc;
    let of = |(replica, shard): &(Uuid, Shard)| {
        let (_, _, node) = nodes.clone().find(|(host, of, _)| host == replica && is_near(*of))?;
        Some((node, *shard))
    };
    replicas.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablets_replicas_are_asked_at_their_shards_and_only_those_that_are_near() {
        let [a, b, c, gone] = [1, 2, 3, 4].map(Uuid::from_u128);
        let nodes = [(a, Some("dc1"), "a"), (b, Some("dc2"), "b"), (c, None, "c")];
        let asked = |replicas: &[(Uuid, Shard)], dc| among(replicas, nodes.into_iter(), dc);
        let replicas = [(b, 7), (gone, 1), (a, 0), (c, 3)];
        assert_eq!(asked(&replicas, None), [("b", 7), ("a", 0), ("c", 3)]);
        assert_eq!(asked(&replicas, Some("dc1")), [("a", 0)]);
        assert_eq!(asked(&replicas, Some("dc2")), [("b", 7)]);
        assert_eq!(asked(&replicas, Some("dc3")), []);
        assert_eq!(asked(&[], None), []);
    }
}
