//! The way of pages into a cluster, shared by `load` and `import`: reader threads turn files into pages and cut them
//! into groups of one partition; requests for the groups are kept in flight, as many as the cluster takes well.
//!
//! Files whose rows must stay in order form one *lane*, others one each. Readers take lanes of their own as long as there
//! are any, and then share those that are left: the pages of a lane are taken one after the other, decoded and cut at the
//! same time, and go on in turn, so that what depends on the order is the same however many readers there are.
//!
//! Memory is taken from a budget before a page is read, and given back when its last row is written.
//!
//! What the cluster has taken for certain is told to a [`Journal`]: of each lane, up to which page it has taken all.
//! When the run is to stop, what is in flight is waited for, and told as well. Readers have threads of their own, which are
//! left behind where they wait for bytes that do not come, as from an idle pipe.
//!
//! | file | answers |
//! |---|---|
//! | `lanes` | which page comes next, and whose turn it is |
//! | `reader` | threads that turn files into pages |
//! | `groups` | which rows are written together, and what becomes of those that are refused |
//! | `writer` | tasks that keep requests in flight |
//! | `trail` | how far the cluster has taken a lane, and telling the journal |

mod groups;
mod lanes;
mod reader;
mod trail;
mod writer;

pub use trail::{Journal, Mark};

use super::BudgetArgs;
use super::rejects::RejectFile;
use super::stop::Stop;
use crate::cluster::Cluster;
use crate::cluster::gate::{Budget, Gate, Throttle};
use crate::cluster::write::TableWriter;
use crate::error::{Context, Error, Result};
use crate::fingerprint::Partition;
use crate::format::Source;
use crate::pace::Bounds;
use crate::progress::Counters;
use crate::ring::{Interval, Partitioner};
use crate::table::Table;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lanes::Lanes;
use reader::Reader;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use trail::{Event, Shared, record};
use writer::write;

/// Readers at most: each holds a file open, and a page or two. One for each processor, and two at least.
const READERS: usize = 8;
/// Tasks at most that make requests and wait for the answers: one for each processor.
const WRITERS: usize = 8;
/// Pages that may wait for the cluster.
const PAGES_WAITING: usize = 4;
/// Requests in flight. Batches of one partition need few, single rows many.
const IN_FLIGHT: Bounds = Bounds { least: 4, most: 512, first: 32, calm: Duration::from_millis(50) };
/// How often a cell may be in memory at once: in its file's form, in the page, bound to its statement, and in the frame.
const COPIES: usize = 4;
/// How long requests in flight are waited for when the run is to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long readers are waited for whose pages nobody takes any more.
const LAST_PAGE: Duration = Duration::from_secs(2);

/// What rows on their way into a cluster may use up.
pub struct Flow {
    gate: Arc<Gate>,
    budget: Budget,
    throttle: Throttle,
}

impl Flow {
    /// As the user says.
    pub fn of(args: &BudgetArgs) -> Flow {
        // Half is left to what is not rows: row groups of the files that are open, and what the driver holds.
        let rows = args.memory.as_u64() / 2;
        Flow { gate: Gate::new(IN_FLIGHT), budget: Budget::new(rows), throttle: Throttle::new(args.rate) }
    }

    /// Where requests in flight are counted.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }
}

/// A file to feed.
pub struct Input {
    /// For messages.
    pub name: String,
    /// Opens it.
    pub open: Box<dyn FnOnce() -> Result<Box<dyn Source>> + Send>,
    /// Where its rows go.
    pub writer: Arc<TableWriter>,
    /// What its columns are.
    pub table: Table,
    /// The key of the partition in which the file begins, if that partition began in another file, which brings its
    /// static cells.
    pub inside: Option<Partition>,
    /// When it was read: the write time of rows that tell none. Without it that is the one of the whole feed.
    pub read: Option<ReadTimes>,
    /// How many rows it must have, if that is said: the cluster has not taken all of it before it is seen that they are as
    /// many.
    pub rows: Option<u64>,
    /// Where its records or rows go that cannot be written.
    pub rejects: Arc<RejectFile>,
}

/// When the rows of a dump's file were read.
pub struct ReadTimes {
    /// What made the tokens of the ranges.
    pub partitioner: Partitioner,
    /// The token ranges, and when each was read, µs since 1970.
    pub ranges: Vec<(Interval, i64)>,
}

impl ReadTimes {
    /// When the partition of this key was read.
    fn of(&self, components: &[&[u8]]) -> Option<i64> {
        let token = self.partitioner.token(components);
        // A part that was cut inside a partition begins with its token, which its range does not hold.
        let found = self.ranges.iter().find(|(range, _)| range.contains(token) || range.start == token);
        found.map(|(_, time)| *time)
    }
}

/// Which rows prevail where several have the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// No two have: rows are written in any order, all at one time.
    Any,
    /// The last in the order of files and lines: every group is written at a later time than those before it.
    Lines,
}

/// What a feed is watched by.
pub struct Watch {
    /// How it hears that it is to stop.
    pub stop: Stop,
    /// Where it tells what it has done.
    pub journal: Option<Box<dyn Journal>>,
}

/// Feeds all inputs with write times from `time` (µs since 1970) on; answers when the cluster has taken every row.
///
/// # Errors
/// The first error of any file or request, saying how many rows had been written by then; an interruption if the run was
/// stopped before.
pub async fn feed(
    cluster: &Arc<Cluster>,
    inputs: Vec<Input>,
    (order, time): (Order, i64),
    flow: Flow,
    (watch, counters): (Watch, &Arc<Counters>),
) -> Result<()> {
    let _hold = watch.stop.hold();
    let processors = available_parallelism().map_or(2, usize::from);
    let flow = Arc::new(flow);
    let journal: Shared = watch.journal.map(|journal| Arc::new(Mutex::new(journal)));
    let (tell, told) = mpsc::unbounded_channel();
    let end = tell.clone();
    let rejects: Vec<Arc<RejectFile>> = inputs.iter().map(|input| input.rejects.clone()).collect();
    let lanes = Arc::new(Lanes::new(inputs, (order, time), tell));
    let (send, receive) = mpsc::channel(PAGES_WAITING);
    let mut readers = FuturesUnordered::new();
    for _ in 0..processors.clamp(2, READERS) {
        let reader = Reader {
            lanes: lanes.clone(),
            flow: flow.clone(),
            counters: counters.clone(),
            journal: journal.clone(),
            runtime: Handle::current(),
        };
        let (done, read) = oneshot::channel();
        let send = send.clone();
        // Not a thread of the runtime, whose end would wait for it.
        let started = thread::Builder::new().name("reader".to_owned()).spawn(move || {
            // Who is left behind has nobody to tell.
            let _ = done.send(reader.read(&send));
        });
        if let Err(error) = started {
            lanes.stop();
            return Err(error).doing(|| "start a reader");
        }
        readers.push(read);
    }
    drop(send);
    let receive = Arc::new(tokio::sync::Mutex::new(receive));
    let mut writers = JoinSet::new();
    for _ in 0..processors.min(WRITERS) {
        let lanes = lanes.clone();
        writers.spawn(write(cluster.clone(), receive.clone(), (flow.clone(), lanes), counters.clone()));
    }
    drop(receive);
    let stopping = Arc::downgrade(&lanes);
    let recorder = tokio::task::spawn_blocking(move || {
        let recorded = record(told, &journal, &rejects);
        if let (Err(_), Some(lanes)) = (&recorded, stopping.upgrade()) {
            lanes.stop();
        }
        recorded
    });
    let mut failure = wait(&mut writers, &lanes, &watch.stop).await.err();
    // Who was not waited for goes, and with it the pages that it holds.
    writers.shutdown().await;
    lanes.stop();
    let until = Instant::now() + LAST_PAGE;
    while let Ok(Some(joined)) = timeout_at(until, readers.next()).await {
        if let Err(error) = joined.doing(|| "run a reader").and_then(|read| read) {
            failure.get_or_insert(error);
        }
    }
    let all = lanes.all.len();
    // Who listens is gone only if it has failed.
    let _ = end.send(Event::End);
    match recorder.await.doing(|| "write down what was done").and_then(|recorded| recorded) {
        Ok(finished) if finished < all => {
            failure.get_or_insert(Error::interrupted("interrupted"));
        }
        Ok(_) => {}
        Err(error) => {
            failure.get_or_insert(error);
        }
    }
    match failure {
        None => Ok(()),
        Some(error) => Err(error.hint(match counters.rows.load(Relaxed) {
            0 => "no row is known to have been written".to_owned(),
            n => format!(
                "at least {} had been written by then and stay in the target",
                super::plural(n, "row")
            ),
        })),
    }
}

/// Waits for the writers: for all, or, if the run is to stop, for what they have in flight.
async fn wait(writers: &mut JoinSet<Result<()>>, lanes: &Lanes, stop: &Stop) -> Result<()> {
    let mut failure = Ok(());
    let mut until: Option<Instant> = None;
    loop {
        let grace = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => stop.asked().await,
            }
        };
        tokio::select! {
            joined = writers.join_next() => match joined {
                None => return failure,
                Some(joined) => {
                    if let Err(error) = joined.doing(|| "run a writer").and_then(|written| written) {
                        lanes.stop();
                        failure = failure.and(Err(error));
                    }
                }
            },
            () = grace => {
                lanes.stop();
                if until.replace(Instant::now() + GRACE).is_some() {
                    return failure;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
