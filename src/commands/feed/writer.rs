//! Writers: tasks that keep requests for the groups of pages in flight, as many as the flow lets.

use super::Flow;
use super::groups::Groups;
use super::lanes::Lanes;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::progress::Counters;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

/// Writes pages until there are no more, with as many requests in flight as the flow lets.
///
/// The requests of one writer are one task: waking one for each answer would cost more than the answer.
pub(super) async fn write(
    cluster: Arc<Cluster>,
    pages: Arc<tokio::sync::Mutex<mpsc::Receiver<Groups>>>,
    (flow, lanes): (Arc<Flow>, Arc<Lanes>),
    counters: Arc<Counters>,
) -> Result<()> {
    let (cluster, counters) = (&cluster, &counters);
    let mut requests = FuturesUnordered::new();
    let mut ended = async {
        while !lanes.stopped() {
            let next = async {
                tokio::select! {
                    next = async { pages.lock().await.recv().await } => next,
                    () = lanes.until_stopped() => None,
                }
            };
            let Some(mut groups) = meanwhile(&mut requests, next).await? else { return Ok(()) };
            let pieces = std::mem::take(&mut groups.groups);
            counters.bytes.fetch_add(groups.page.value_bytes() as u64, Relaxed);
            let groups = Arc::new(groups);
            for group in pieces {
                if lanes.stopped() {
                    break;
                }
                let count = group.rows.len();
                meanwhile(&mut requests, flow.throttle.pass(count)).await?;
                let pass = meanwhile(&mut requests, flow.gate.enter()).await?;
                let groups = groups.clone();
                requests.push(async move {
                    let refused = groups.file.writer.write(cluster, &groups.page, group).await?;
                    drop(pass);
                    counters.rows.fetch_add(count.saturating_sub(refused.len()) as u64, Relaxed);
                    refused.iter().try_for_each(|row| groups.reject(row))?;
                    groups.taken(refused.len())
                });
            }
        }
        Ok(())
    }
    .await;
    // After an error too: of a request that is given up nobody would know what became of it.
    while let Some(done) = requests.next().await {
        ended = ended.and(done);
    }
    ended
}

/// Waits for something while requests go on.
async fn meanwhile<T>(
    requests: &mut FuturesUnordered<impl Future<Output = Result<()>>>,
    what: impl Future<Output = T>,
) -> Result<T> {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            biased;
            Some(done) = requests.next() => done?,
            value = &mut what => return Ok(value),
        }
    }
}
