//! The way of tables out of a cluster, shared by `dump` and `export`: workers scan token ranges and hand whole pages to
//! encoders, each on a thread of its own. A worker that has nothing to do takes over half of what another has left.
//! What pages become is left to the encoders.
//!
//! Pages that wait count against a budget of bytes, so that large rows are read by fewer workers at a time.

use crate::cluster::Cluster;
use crate::cluster::gate::{Budget, Taken, Throttle};
use crate::cluster::scan::{RangeScan, Scan};
use crate::commands::BudgetArgs;
use crate::error::{Context, Error, Result};
use crate::progress::Counters;
use crate::ring::{Interval, Token};
use crate::rows::Page;
use crate::steal::{Board, Finished, Next, Work};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Ranges scanned at a time: of one node, and of many.
const WORKERS: std::ops::RangeInclusive<usize> = 8..=16;
/// How long a worker with nothing to take over waits before it looks again.
const IDLE: Duration = Duration::from_millis(5);
/// Messages that may wait for an encoder; that its pages do not take too much is the budget's work.
const WAITING: usize = 16;
/// How often a page is there while it is encoded: as it came, and as what it becomes.
const COPIES: usize = 2;

/// What the pages of one worker become.
pub trait Encoder: Send + 'static {
    /// What it leaves behind.
    type Done: Send;

    /// A range begins, which was asked for at `asked`.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn begin(&mut self, table: usize, range: Interval, asked: SystemTime) -> Result<()>;

    /// The next rows of the range.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn page(&mut self, page: &Page) -> Result<()>;

    /// The range ends here now, and all its rows have come.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn end(&mut self, end: Token, arrived: SystemTime) -> Result<()>;

    /// Nothing more will come. An encoder that is dropped instead has seen an unfinished range.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn finish(self) -> Result<Self::Done>;
}

/// Everything that workers share.
struct Shared {
    cluster: Arc<Cluster>,
    scans: Vec<Scan>,
    board: Board,
    stop: AtomicBool,
    memory: Budget,
    rate: Throttle,
    counters: Arc<Counters>,
}

/// How many workers a scan of this cluster has.
pub fn workers(cluster: &Cluster) -> usize {
    let nodes: usize = cluster.about.datacenters.iter().map(|dc| dc.nodes).sum();
    nodes.saturating_mul(2).clamp(*WORKERS.start(), *WORKERS.end())
}

/// Scans all tables, whole, in `order`, with an encoder for each worker; pages that wait take half of the memory. Answers what
/// the encoders leave behind.
///
/// # Errors
/// The first error of any worker or encoder.
pub async fn scan<E: Encoder>(
    cluster: &Arc<Cluster>,
    scans: Vec<Scan>,
    order: Vec<usize>,
    budget: BudgetArgs,
    counters: &Arc<Counters>,
    encoder: impl Fn() -> E,
) -> Result<Vec<E::Done>> {
    let work = order.into_iter().map(|table| Work { table, range: Interval::whole() });
    let count = workers(cluster);
    let shared = Arc::new(Shared {
        cluster: cluster.clone(),
        scans,
        board: Board::new(work, count),
        stop: AtomicBool::new(false),
        memory: Budget::new(budget.memory.as_u64() / 2),
        rate: Throttle::new(budget.rate),
        counters: counters.clone(),
    });
    let mut workers = JoinSet::new();
    for number in 0..count {
        workers.spawn(worker(shared.clone(), number, encoder()));
    }
    let (mut all, mut failure) = (Vec::new(), None);
    while let Some(joined) = workers.join_next().await {
        match joined.doing(|| "run a worker").and_then(|done| done) {
            Ok(done) => all.extend(done),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

/// Scans until nothing is left; answers what its encoder left behind, `None` if it was stopped.
async fn worker<E: Encoder>(shared: Arc<Shared>, number: usize, encoder: E) -> Result<Option<E::Done>> {
    let (pages, received) = mpsc::channel(WAITING);
    let encoding = tokio::task::spawn_blocking(move || encode(encoder, received));
    let scanned = scan_ranges(&shared, number, &pages).await;
    drop(pages);
    let encoded = encoding.await.doing(|| "run an encoder").and_then(|done| done);
    if scanned.is_err() || encoded.is_err() {
        shared.stop.store(true, Relaxed);
    }
    // If the encoder failed, the scan only saw its channel close: the encoder's error is the cause.
    match (encoded, scanned) {
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        (Ok(done), Ok(())) => Ok(done),
    }
}

/// What a worker tells its encoder.
enum Message {
    Begin {
        table: usize,
        range: Interval,
        asked: SystemTime,
    },
    /// A page, and the room it takes until it is encoded.
    Page(Page, Taken),
    End {
        end: Token,
        arrived: SystemTime,
    },
    /// What was begun will not be whole.
    Abandon,
}

fn encode<E: Encoder>(mut encoder: E, mut messages: mpsc::Receiver<Message>) -> Result<Option<E::Done>> {
    let mut inside = false;
    while let Some(message) = messages.blocking_recv() {
        inside = !matches!(message, Message::End { .. });
        match message {
            Message::Begin { table, range, asked } => encoder.begin(table, range, asked)?,
            Message::Page(page, room) => {
                encoder.page(&page)?;
                drop(room);
            }
            Message::End { end, arrived } => encoder.end(end, arrived)?,
            Message::Abandon => return Ok(None),
        }
    }
    // A worker that was interrupted says nothing.
    if inside {
        return Ok(None);
    }
    encoder.finish().map(Some)
}

async fn scan_ranges(shared: &Arc<Shared>, worker: usize, pages: &mpsc::Sender<Message>) -> Result<()> {
    let gone = |_| Error::failed("an encoder stopped");
    while !shared.stop.load(Relaxed) {
        let Work { table, range } = match shared.board.next(worker) {
            Next::Scan(work) => work,
            Next::Wait => {
                tokio::time::sleep(IDLE).await;
                continue;
            }
            Next::Done => return Ok(()),
        };
        pages.send(Message::Begin { table, range, asked: shared.cluster.time() }).await.map_err(gone)?;
        let scan = &shared.scans[table];
        match scan_range(shared, worker, scan, scan.range(&shared.cluster, range), pages).await {
            Ok(true) => {}
            Ok(false) => return pages.send(Message::Abandon).await.map_err(gone),
            Err(error) => {
                pages.send(Message::Abandon).await.map_err(gone)?;
                return Err(error);
            }
        }
        if let Some(Finished { end, table_is_done }) = shared.board.finish(worker) {
            pages.send(Message::End { end, arrived: shared.cluster.time() }).await.map_err(gone)?;
            shared.counters.units.fetch_add(u64::from(table_is_done), Relaxed);
        }
    }
    Ok(())
}

/// Hands on the pages of a range, up to where it ends by then; answers false if another worker failed.
async fn scan_range(
    shared: &Shared,
    worker: usize,
    scan: &Scan,
    mut range: RangeScan<'_>,
    pages: &mpsc::Sender<Message>,
) -> Result<bool> {
    let gone = |_| Error::failed("an encoder stopped");
    loop {
        if shared.stop.load(Relaxed) {
            return Ok(false);
        }
        let mut room = shared.memory.take(COPIES * scan.page_bytes()).await?;
        let Some(page) = range.next_page().await? else { return Ok(true) };
        room.shrink(COPIES * page.bytes());
        shared.rate.pass(page.rows()).await;
        let last = scan.token(&page, page.rows() - 1);
        let end = shared.board.advance(worker, last, page.value_bytes() as u64);
        if last <= end {
            range.end_at(end);
            pages.send(Message::Page(page, room)).await.map_err(gone)?;
            continue;
        }
        // The rest has been taken over.
        let own = (0..page.rows()).rposition(|row| scan.token(&page, row) <= end).map_or(0, |row| row + 1);
        if own > 0 {
            pages.send(Message::Page(page.part(0..own), room)).await.map_err(gone)?;
        }
        return Ok(true);
    }
}
