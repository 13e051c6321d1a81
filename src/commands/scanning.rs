//! The way of tables out of a cluster, shared by `dump` and `export`: workers scan token ranges and hand whole pages to
//! encoders, each on a thread of its own. A worker that has nothing to do takes over half of what another has left.
//! What pages become is left to the encoders.
//!
//! Where what has come is worth keeping ([`Care`]), a range that cannot be read costs nothing but itself, and a run that
//! is asked to stop leaves its ranges after their last rows.
//!
//! Pages that wait count against a budget of bytes, so that large rows are read by fewer workers at a time.

use crate::cluster::Cluster;
use crate::cluster::gate::{Budget, Taken, Throttle};
use crate::cluster::rest::RestScan;
use crate::cluster::scan::{RangeScan, Scan};
use crate::commands::BudgetArgs;
use crate::commands::stop::Stop;
use crate::error::{Context, Error, Result};
use crate::manifest::Position;
use crate::progress::Counters;
use crate::ring::{Interval, Token};
use crate::rows::Page;
use crate::steal::{Board, Finished, Next, Work};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Ranges scanned at a time: of one node, and of many.
const WORKERS: std::ops::RangeInclusive<usize> = 8..=16;
/// How long a worker with nothing to take over waits before it looks again.
const IDLE: Duration = Duration::from_millis(5);
/// Messages that may wait for an encoder; that its pages do not take too much is the budget's work.
const WAITING: usize = 16;
/// How often a page is there while it is encoded: as it came, and as what it becomes.
const COPIES: usize = 2;
/// Ranges given up one after the other, without a page in between, after which the cluster is taken for gone.
const LOST_IN_A_ROW: usize = 3;

/// What the pages of one worker become.
pub trait Encoder: Send + 'static {
    /// What it leaves behind.
    type Done: Send;

    /// A range begins, which was asked for at `asked`; what was read of its first token up to `after` does not come again.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn begin(
        &mut self,
        table: usize,
        range: Interval,
        asked: SystemTime,
        after: Option<Position>,
    ) -> Result<()>;

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

    /// No more of the range will come: all up to `whole` has, and beyond that what has come in rows. Only where there is
    /// [`Care`].
    ///
    /// # Errors
    /// Whatever stops the run.
    fn leave(&mut self, whole: Token, arrived: SystemTime) -> Result<()>;

    /// Nothing more will come. An encoder that is dropped instead has seen an unfinished range.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn finish(self) -> Result<Self::Done>;
}

/// What to scan.
pub struct Job {
    /// By table.
    pub scans: Vec<Scan>,
    /// Which ranges of them, in order.
    pub work: Vec<Work>,
    /// By table and token: where to go on in what was begun of that token.
    pub rests: BTreeMap<(usize, Token), Position>,
    /// What may be used up.
    pub budget: BudgetArgs,
    /// Without it, all that is read is worth nothing unless all is.
    pub care: Option<Care>,
}

/// What a run that keeps all that it has read goes by.
pub struct Care {
    /// Whether to stop.
    pub stop: Stop,
    /// Why a table cannot be read any more, if so: asked when a range of it could not be read.
    pub judge: Judge,
}

/// Answers what has become of a table, if it is not what it was.
pub type Judge = Box<dyn Fn(usize) -> BoxFuture<'static, Result<Option<String>>> + Send + Sync>;

/// What came of a scan.
pub struct Scanned<T> {
    /// What the encoders leave behind.
    pub done: Vec<T>,
    /// Why ranges were given up.
    pub losses: Vec<Error>,
    /// By table: what has become of it meanwhile.
    pub changed: BTreeMap<usize, String>,
}

/// Everything that workers share.
struct Shared {
    cluster: Arc<Cluster>,
    scans: Vec<Scan>,
    rests: BTreeMap<(usize, Token), Position>,
    board: Board,
    care: Option<Care>,
    /// An encoder failed, or what was read is worth nothing any more.
    failed: AtomicBool,
    losses: Mutex<Losses>,
    /// Ranges given up since the last page came.
    in_a_row: AtomicUsize,
    /// The cluster answers nothing any more.
    gone: watch::Sender<bool>,
    memory: Budget,
    rate: Throttle,
    counters: Arc<Counters>,
}

/// What could not be read.
#[derive(Default)]
struct Losses {
    errors: Vec<Error>,
    changed: BTreeMap<usize, String>,
}

/// How many workers a scan of this cluster has.
pub fn workers(cluster: &Cluster) -> usize {
    let nodes: usize = cluster.about.datacenters.iter().map(|dc| dc.nodes).sum();
    nodes.saturating_mul(2).clamp(*WORKERS.start(), *WORKERS.end())
}

/// Does `job`, with an encoder for each worker; pages that wait take half of the memory.
///
/// # Errors
/// The first error of any encoder; without [`Care`] that of a worker, too.
pub async fn scan<E: Encoder>(
    cluster: &Arc<Cluster>,
    job: Job,
    counters: &Arc<Counters>,
    encoder: impl Fn() -> E,
) -> Result<Scanned<E::Done>> {
    let count = workers(cluster);
    let shared = Arc::new(Shared {
        cluster: cluster.clone(),
        scans: job.scans,
        rests: job.rests,
        board: Board::new(job.work, count),
        care: job.care,
        failed: AtomicBool::new(false),
        losses: Mutex::default(),
        in_a_row: AtomicUsize::new(0),
        gone: watch::Sender::new(false),
        memory: Budget::new(job.budget.memory.as_u64() / 2),
        rate: Throttle::new(job.budget.rate),
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
    if let Some(error) = failure {
        return Err(error);
    }
    let Losses { errors, changed } = std::mem::take(&mut *shared.losses());
    Ok(Scanned { done: all, losses: errors, changed })
}

/// Scans until nothing is left; answers what its encoder left behind, `None` if it was stopped.
async fn worker<E: Encoder>(shared: Arc<Shared>, number: usize, encoder: E) -> Result<Option<E::Done>> {
    let (pages, received) = mpsc::channel(WAITING);
    let encoding = tokio::task::spawn_blocking(move || encode(encoder, received));
    let scanned = scan_ranges(&shared, number, &pages).await;
    drop(pages);
    let encoded = encoding.await.doing(|| "run an encoder").and_then(|done| done);
    if scanned.is_err() || encoded.is_err() {
        shared.failed.store(true, Relaxed);
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
        after: Option<Position>,
    },
    /// A page, and the room it takes until it is encoded.
    Page(Page, Taken),
    End {
        end: Token,
        arrived: SystemTime,
    },
    /// What was begun ends here for now.
    Leave {
        whole: Token,
        arrived: SystemTime,
    },
    /// What was begun will not be whole.
    Abandon,
}

fn encode<E: Encoder>(mut encoder: E, mut messages: mpsc::Receiver<Message>) -> Result<Option<E::Done>> {
    let mut inside = false;
    while let Some(message) = messages.blocking_recv() {
        inside = !matches!(message, Message::End { .. } | Message::Leave { .. });
        match message {
            Message::Begin { table, range, asked, after } => encoder.begin(table, range, asked, after)?,
            Message::Page(page, room) => {
                encoder.page(&page)?;
                drop(room);
            }
            Message::End { end, arrived } => encoder.end(end, arrived)?,
            Message::Leave { whole, arrived } => encoder.leave(whole, arrived)?,
            Message::Abandon => return Ok(None),
        }
    }
    // A worker that was interrupted says nothing.
    if inside {
        return Ok(None);
    }
    encoder.finish().map(Some)
}

/// How a worker comes to the end of what it reads of a range.
enum End {
    /// All of it has come, or others read the rest.
    Whole,
    /// The run stops in good order.
    Left,
    /// The run has failed.
    Failed,
}

/// What reads a range, or the rest of what was begun of a token.
enum Reader<'a> {
    Range(RangeScan<'a>),
    Rest(RestScan<'a>),
}

impl Reader<'_> {
    async fn next_page(&mut self) -> Result<Option<Page>> {
        match self {
            Reader::Range(range) => range.next_page().await,
            Reader::Rest(rest) => rest.next_page().await,
        }
    }

    /// Bytes that the next page will take, as far as can be told.
    fn page_bytes(&self) -> usize {
        match self {
            Reader::Range(range) => range.page_bytes(),
            Reader::Rest(rest) => rest.page_bytes(),
        }
    }

    /// Ends at a token that lies past the last page: another worker reads the rest.
    fn end_at(&mut self, end: Token) {
        if let Reader::Range(range) = self {
            range.end_at(end);
        }
    }

    /// What it is reading: what lies before it has come whole, what lies beyond it has not been tried.
    fn asked(&self) -> Interval {
        match self {
            Reader::Range(range) => range.asked(),
            Reader::Rest(rest) => Interval { start: Token::MIN, end: rest.token() },
        }
    }
}

async fn scan_ranges(shared: &Arc<Shared>, worker: usize, pages: &mpsc::Sender<Message>) -> Result<()> {
    let gone = |_| Error::failed("an encoder stopped");
    while !shared.failed.load(Relaxed) && !shared.is_stopped() {
        let work = match shared.board.next(worker) {
            Next::Scan(work) => work,
            Next::Wait => {
                tokio::time::sleep(IDLE).await;
                continue;
            }
            Next::Done => return Ok(()),
        };
        let Work { table, range } = work;
        let after = shared.rests.get(&(table, range.end)).filter(|_| range.span() == 0).cloned();
        let mut reader = shared.reader(work, after.as_ref())?;
        let asked = shared.cluster.time();
        pages.send(Message::Begin { table, range, asked, after }).await.map_err(gone)?;
        let end = scan_range(shared, worker, &shared.scans[table], &mut reader, pages).await;
        let arrived = shared.cluster.time();
        match (end, &shared.care) {
            (Ok(End::Whole), _) => {
                if let Some(Finished { end, table_is_done }) = shared.board.finish(worker) {
                    pages.send(Message::End { end, arrived }).await.map_err(gone)?;
                    shared.counters.units.fetch_add(u64::from(table_is_done), Relaxed);
                }
            }
            (Ok(End::Left), _) => {
                let whole = shared.give_up(worker, &reader);
                return pages.send(Message::Leave { whole, arrived }).await.map_err(gone);
            }
            (Ok(End::Failed), _) => return pages.send(Message::Abandon).await.map_err(gone),
            (Err(error), None) => {
                pages.send(Message::Abandon).await.map_err(gone)?;
                return Err(error);
            }
            (Err(error), Some(care)) => {
                let whole = shared.give_up(worker, &reader);
                pages.send(Message::Leave { whole, arrived }).await.map_err(gone)?;
                shared.lose(care, table, error).await;
            }
        }
    }
    Ok(())
}

/// Hands on the pages of a range, up to where it ends by then.
async fn scan_range(
    shared: &Shared,
    worker: usize,
    scan: &Scan,
    reader: &mut Reader<'_>,
    pages: &mpsc::Sender<Message>,
) -> Result<End> {
    let gone = |_| Error::failed("an encoder stopped");
    loop {
        if shared.failed.load(Relaxed) {
            return Ok(End::Failed);
        }
        // A page that is on its way when the run stops is read again by the next run: it may be long in coming.
        let next = tokio::select! {
            biased;
            () = shared.stopped() => return Ok(End::Left),
            next = shared.next_page(reader) => next?,
        };
        let Some((page, room)) = next else { return Ok(End::Whole) };
        shared.in_a_row.store(0, Relaxed);
        let last = scan.token(&page, page.rows() - 1);
        let end = shared.board.advance(worker, last, page.value_bytes() as u64);
        if last <= end {
            reader.end_at(end);
            pages.send(Message::Page(page, room)).await.map_err(gone)?;
            continue;
        }
        // The rest has been taken over.
        let own = (0..page.rows()).rposition(|row| scan.token(&page, row) <= end).map_or(0, |row| row + 1);
        if own > 0 {
            pages.send(Message::Page(page.part(0..own), room)).await.map_err(gone)?;
        }
        return Ok(End::Whole);
    }
}

impl Shared {
    fn reader(&self, Work { table, range }: Work, after: Option<&Position>) -> Result<Reader<'_>> {
        let scan = &self.scans[table];
        Ok(match after {
            None => Reader::Range(scan.range(&self.cluster, range)),
            Some(after) => {
                let doing = || "read where a part ends";
                let (partition, row) = (after.partition().doing(doing)?, after.row().doing(doing)?);
                Reader::Rest(scan.rest(&self.cluster, range.end, partition, row))
            }
        })
    }

    /// Takes note that a worker reads no more of its range; answers up to where all of it has come.
    fn give_up(&self, worker: usize, reader: &Reader<'_>) -> Token {
        let Interval { start, end } = reader.asked();
        // What others have taken over is theirs to tell of.
        self.board.give_up(worker, end).map_or(start, |own| start.min(own))
    }

    /// The next page, once there is room for it.
    async fn next_page(&self, reader: &mut Reader<'_>) -> Result<Option<(Page, Taken)>> {
        let room = self.memory.take(COPIES * reader.page_bytes()).await?;
        let Some(page) = reader.next_page().await? else { return Ok(None) };
        let room = self.memory.fit(room, COPIES * page.bytes()).await?;
        self.rate.pass(page.rows()).await;
        Ok(Some((page, room)))
    }

    fn is_stopped(&self) -> bool {
        *self.gone.borrow() || self.care.as_ref().is_some_and(|care| care.stop.is_asked())
    }

    /// Waits until the run is to stop in good order.
    async fn stopped(&self) {
        let mut gone = self.gone.subscribe();
        let asked = async {
            match &self.care {
                Some(care) => care.stop.asked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asked => {}
            _ = gone.wait_for(|gone| *gone) => {}
        }
    }

    /// Takes note of a range that could not be read. A table that is not what it was is left alone from then on; if no
    /// worker can read anything, all stop, since each further range would take as long to fail.
    async fn lose(&self, care: &Care, table: usize, error: Error) {
        tracing::debug!("{error}; the range is given up");
        if self.losses().changed.contains_key(&table) {
            return;
        }
        match (care.judge)(table).await {
            Ok(Some(change)) => {
                self.losses().changed.insert(table, change);
                self.board.give_up_table(table);
            }
            Ok(None) => {
                self.losses().errors.push(error);
                let in_a_row = self.in_a_row.fetch_add(1, Relaxed) + 1;
                if in_a_row >= LOST_IN_A_ROW.max(self.board.busy()) {
                    self.gone.send_replace(true);
                }
            }
            Err(_) => {
                self.losses().errors.push(error);
                self.gone.send_replace(true);
            }
        }
    }

    fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
