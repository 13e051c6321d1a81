//! ScyllaDB's tablets: which nodes and shards hold which tokens of a table, from `system.tablets`. The driver learns of them
//! only from the answers to requests that have a key, which those of a scan have not, and knows no replicas of the others.
//! Whom a page is asked of is left to [`super::route`].
//!
//! Written from ScyllaDB's documentation (docs/dev/system_keyspace.md) and its own tests; not run by us.

use super::Cluster;
use super::catalogue::lacks_table;
use crate::error::{Context, Result};
use crate::ring::Token;
use scylla::routing::Shard;
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;

/// A row of `system.tablets`: the last token of a tablet, and host and shard of each of its replicas.
type Row = (Token, Option<Vec<(Uuid, i32)>>);

/// The tablets of a table; none if it has no tablets.
#[derive(Debug, Default)]
pub struct Tablets(Vec<Tablet>);

/// The tokens after those of the tablet before, up to the last one.
#[derive(Debug)]
struct Tablet {
    last: Token,
    replicas: Vec<(Uuid, Shard)>,
}

impl Tablets {
    fn new(rows: Vec<Row>) -> Tablets {
        let replica = |(host, shard): (Uuid, i32)| Some((host, Shard::try_from(shard).ok()?));
        let tablet = |(last, replicas): Row| Tablet {
            last,
            replicas: replicas.unwrap_or_default().into_iter().filter_map(replica).collect(),
        };
        let mut tablets: Vec<Tablet> = rows.into_iter().map(tablet).collect();
        tablets.sort_by_key(|tablet| tablet.last);
        Tablets(tablets)
    }

    /// Host and shard of each replica of a token; none where nothing is known of it.
    pub fn replicas(&self, token: Token) -> &[(Uuid, Shard)] {
        let at = self.0.partition_point(|tablet| tablet.last < token);
        self.0.get(at).map_or(&[], |tablet| &tablet.replicas)
    }
}

/// What is known of a table's tablets by now: they are split, merged and moved while a table is scanned.
#[derive(Debug)]
pub struct Known {
    keyspace: String,
    table: String,
    tablets: RwLock<Arc<Tablets>>,
}

impl Known {
    /// Reads them, if the keyspace has tablets.
    pub async fn read(cluster: &Cluster, keyspace: &str, table: &str) -> Known {
        let known =
            Known { keyspace: keyspace.to_owned(), table: table.to_owned(), tablets: RwLock::default() };
        known.read_again(cluster).await;
        known
    }

    /// Reads them anew. Where they cannot be read, nodes are asked that have to ask others, and nothing else is lost.
    pub async fn read_again(&self, cluster: &Cluster) {
        let state = cluster.session.get_cluster_state();
        if !state.get_keyspace(&self.keyspace).is_some_and(|keyspace| keyspace.tablet_based) {
            return;
        }
        match cluster.read_tablets(&self.keyspace, &self.table).await {
            Ok(tablets) => {
                *self.tablets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tablets);
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }

    /// The tablets.
    pub fn tablets(&self) -> Arc<Tablets> {
        self.tablets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Cluster {
    /// The key of the table differs by version: it is filtered by names, which all have.
    async fn read_tablets(&self, keyspace: &str, table: &str) -> Result<Tablets> {
        const QUERY: &str = "SELECT last_token, replicas FROM system.tablets WHERE keyspace_name = ? AND table_name = ? \
                             ALLOW FILTERING";
        match self.read_with::<Row>(QUERY, (keyspace, table)).await {
            Err(error) if lacks_table(&error) => Ok(Tablets::default()),
            rows => Ok(Tablets::new(rows.doing(|| QUERY)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// "A tablet owns the tokens after the last one of the tablet before it, up to its own last one" (system_keyspace.md,
    /// system.tablets: `last_token` is "the last token owned by the tablet", the i-th owns `(last_token[i-1], last_token[i]]`).
    /// The boundaries are those of four tablets, as ScyllaDB cuts the ring for `'initial': 4`.
    #[test]
    fn a_token_is_held_by_the_tablet_whose_last_token_is_the_next() {
        let lasts = [-4611686018427387905, -1, 4611686018427387903, i64::MAX];
        let rows = (0..4_i32).zip(lasts).map(|(i, last)| (last, Some(vec![(host(7), i), (host(8), 3 - i)])));
        // The order of rows is the server's.
        let tablets = Tablets::new(rows.rev().collect());
        let shards = |token| tablets.replicas(token).iter().map(|(_, shard)| *shard).collect::<Vec<_>>();
        for (token, expected) in [
            (i64::MIN + 1, [0, 3]),
            (-4611686018427387905, [0, 3]),
            (-4611686018427387904, [1, 2]),
            (-1, [1, 2]),
            (0, [2, 1]),
            (4611686018427387904, [3, 0]),
            (i64::MAX, [3, 0]),
        ] {
            assert_eq!(shards(token), expected, "{token}");
        }
        assert_eq!(tablets.replicas(0)[0].0, host(7));
    }

    #[test]
    fn nothing_is_known_of_a_table_without_tablets_and_of_one_that_moves() {
        assert!(Tablets::default().replicas(5).is_empty());
        let tablets = Tablets::new(vec![(0, None), (10, Some(vec![(host(1), -1), (host(2), 5)]))]);
        assert!(tablets.replicas(0).is_empty());
        assert_eq!(tablets.replicas(1), [(host(2), 5)]);
        assert!(tablets.replicas(11).is_empty());
    }
}
