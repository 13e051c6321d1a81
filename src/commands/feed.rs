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

use super::BudgetArgs;
use super::rejects::{Reject, RejectFile};
use super::stop::Stop;
use crate::batch::{self, Limits};
use crate::cluster::Cluster;
use crate::cluster::gate::{self, Budget, Gate, Throttle};
use crate::cluster::write::{Group, Refused, TableWriter};
use crate::error::{Context, Error, Result};
use crate::fingerprint::Partition;
use crate::format::{BadRecord, Decoded, Place, RowTexts, Source, Undecoded};
use crate::pace::Bounds;
use crate::progress::Counters;
use crate::ring::{Interval, Partitioner};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Readers at most: each holds a file open, and a page or two. One for each processor, and two at least.
const READERS: usize = 8;
/// Tasks at most that make requests and wait for the answers: one for each processor.
const WRITERS: usize = 8;
/// Pages that may wait for the cluster.
const PAGES_WAITING: usize = 4;
/// Requests in flight. Batches of one partition need few, single rows many.
const IN_FLIGHT: Bounds = Bounds { least: 4, most: 512, first: 32, calm: Duration::from_millis(50) };
/// A batch of one partition is not limited by the server; this keeps single requests short.
const BATCH: Limits = Limits { bytes: 128 << 10, rows: 1000 };
/// How often a cell may be in memory at once: in its file's form, in the page, bound to its statement, and in the frame.
const COPIES: usize = 4;
/// What is taken for a page that nothing is known of.
const FIRST_PAGE: usize = COPIES << 20;
/// How long requests in flight are waited for when the run is to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long readers are waited for whose pages nobody takes any more.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// Write times, µs, that are set aside at once where each group has its own.
const TIMES_AHEAD: i64 = 1_000_000;
/// How often it is told how far the cluster has come inside a file.
const TELL: Duration = Duration::from_secs(1);

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

/// Where what a feed has done is written down.
pub trait Journal: Send {
    /// The cluster has taken all rows of these lanes, by their numbers. Where rows are written in any order, those are the
    /// numbers of the inputs.
    ///
    /// # Errors
    /// `Error` if it cannot be written down.
    fn finished(&mut self, lanes: &[usize]) -> Result<()>;

    /// The cluster has taken all rows of a lane up to here.
    ///
    /// # Errors
    /// `Error` if it cannot be written down.
    fn reached(&mut self, mark: Mark) -> Result<()>;

    /// Rows are about to be written at times, µs since 1970, up to this one.
    ///
    /// # Errors
    /// `Error` if it cannot be written down.
    fn set_aside(&mut self, until: i64) -> Result<()>;
}

/// A place in the inputs of a lane, behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The number of the input.
    pub input: usize,
    /// Where the next page begins in it.
    pub place: Place,
    /// Rows of the lane before it that were written.
    pub rows: u64,
    /// Records before it that were rejected.
    pub rejected: u64,
}

/// What a feed is watched by.
pub struct Watch {
    /// How it hears that it is to stop.
    pub stop: Stop,
    /// Where it tells what it has done.
    pub journal: Option<Box<dyn Journal>>,
}

/// The journal, as all who tell it something have it.
type Shared = Option<Arc<Mutex<Box<dyn Journal>>>>;

/// What a lane has to tell.
enum Event {
    Reached(Mark),
    Finished(usize),
    /// There is nothing more to tell, though a reader that was left behind could.
    End,
}

/// A page cut into groups of one partition.
struct Groups {
    file: Arc<FileFacts>,
    page: Page,
    groups: Vec<Group>,
    /// How many of them the cluster has not taken yet.
    left: AtomicUsize,
    /// Rows that it has refused.
    refused: AtomicUsize,
    lane: Arc<Lane>,
    number: u64,
    mark: Option<Mark>,
    /// Rows of its file before it.
    before: u64,
    /// What the rows were read from, if that may still be asked for.
    texts: Option<RowTexts>,
    /// Given back with the last of its rows.
    _memory: gate::Taken,
}

impl Groups {
    /// The cluster has taken one of the groups, but for so many of its rows.
    fn taken(&self, refused: usize) -> Result<()> {
        self.refused.fetch_add(refused, SeqCst);
        if self.left.fetch_sub(1, SeqCst) > 1 {
            return Ok(());
        }
        let refused = self.refused.load(SeqCst) as u64;
        self.lane.taken(self.number, Taken { rows: self.page.rows() as u64, refused, mark: self.mark })
    }
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

/// Tells the journal what lanes have to tell, several things at once where that takes longer than they come; answers how
/// many lanes are finished.
fn record(
    mut told: mpsc::UnboundedReceiver<Event>,
    journal: &Shared,
    rejects: &[Arc<RejectFile>],
) -> Result<usize> {
    // What was rejected is nowhere else, once it is written down that its page is done with.
    let sync = || rejects.iter().try_for_each(|rejects| rejects.sync());
    let reach = |journal: &Mutex<Box<dyn Journal>>, mark: Mark| {
        sync()?;
        let earlier = rejects.iter().take(mark.input).map(|rejects| rejects.before(None)).sum::<u64>();
        let here = rejects.get(mark.input).map_or(0, |rejects| rejects.before(Some(mark.place.line)));
        lock(journal).reached(Mark { rejected: earlier + here, ..mark })
    };
    let mut finished = 0;
    let mut reached: Option<Mark> = None;
    let mut last = std::time::Instant::now();
    let mut ended = false;
    while !ended {
        let mut lanes = Vec::new();
        let Some(event) = told.blocking_recv() else { break };
        let mut next = Some(event);
        while let Some(event) = next {
            match event {
                Event::Reached(mark) => reached = Some(mark),
                Event::Finished(lane) => lanes.push(lane),
                Event::End => ended = true,
            }
            next = told.try_recv().ok();
        }
        finished += lanes.len();
        let Some(journal) = journal else { continue };
        if !lanes.is_empty() {
            sync()?;
            lock(journal).finished(&lanes)?;
        }
        if last.elapsed() >= TELL
            && let Some(mark) = reached.take()
        {
            reach(journal, mark)?;
            last = std::time::Instant::now();
        }
    }
    if let (Some(journal), Some(mark)) = (journal, reached) {
        reach(journal, mark)?;
    }
    Ok(finished)
}

/// What is to be read.
struct Lanes {
    queue: Mutex<Queue>,
    all: Vec<Arc<Lane>>,
    stop: AtomicBool,
    /// Told when that is set.
    stopping: Notify,
}

/// Lanes that have not been read whole.
struct Queue {
    /// Nobody reads them yet.
    waiting: VecDeque<Arc<Lane>>,
    /// Somebody does.
    open: Vec<Arc<Lane>>,
}

impl Lanes {
    fn new(inputs: Vec<Input>, (order, time): (Order, i64), tell: mpsc::UnboundedSender<Event>) -> Lanes {
        let lane = |(number, inputs): (usize, VecDeque<Input>)| {
            Arc::new(Lane::new(inputs, (order, time), (number, tell.clone())))
        };
        let lanes: Vec<VecDeque<Input>> = match order {
            Order::Any => inputs.into_iter().map(|input| VecDeque::from([input])).collect(),
            Order::Lines => vec![inputs.into()],
        };
        let all: Vec<Arc<Lane>> = lanes.into_iter().enumerate().map(lane).collect();
        Lanes {
            queue: Mutex::new(Queue { waiting: all.iter().cloned().collect(), open: Vec::new() }),
            all,
            stop: AtomicBool::new(false),
            stopping: Notify::new(),
        }
    }

    /// A lane that nobody reads, or else the one of the fewest readers; `None` if all have been read.
    fn next(&self) -> Option<Arc<Lane>> {
        let mut queue = lock(&self.queue);
        let Queue { waiting, open } = &mut *queue;
        open.retain(|lane| !lane.ended.load(Relaxed));
        if let Some(lane) = waiting.pop_front() {
            open.push(lane.clone());
            return Some(lane);
        }
        open.iter().min_by_key(|lane| Arc::strong_count(lane)).cloned()
    }

    fn stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Waits until all are to stop.
    async fn until_stopped(&self) {
        // It hears what is told from here on.
        let stopping = self.stopping.notified();
        if !self.stopped() {
            stopping.await;
        }
    }

    /// Ends all readers, and writers once what they have in flight has arrived.
    fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.stopping.notify_waiters();
        for lane in &self.all {
            // Who waits for a turn has either seen it, or is waiting and hears this.
            let turn = lock(&lane.turn);
            lane.turned.notify_all();
            drop(turn);
        }
    }
}

/// Files that are read in their order.
struct Lane {
    order: Order,
    front: Mutex<Front>,
    ended: AtomicBool,
    /// The memory that a page needs, by the last one that was read.
    expected: AtomicUsize,
    turn: Mutex<Turn>,
    /// Told when the next page has its turn.
    turned: Condvar,
    trail: Mutex<Trail>,
}

/// How far the cluster has taken a lane.
struct Trail {
    /// The lane's number.
    lane: usize,
    /// The first page that it has not taken whole.
    next: u64,
    /// Pages behind that which it has.
    taken: BTreeMap<u64, Taken>,
    /// Rows of the pages before.
    rows: u64,
    /// Of them those that the cluster has refused.
    refused: u64,
    /// The file, and how many rows it must have, if that is said.
    stated: Option<(String, u64)>,
    /// How many pages there are, once the lane has been read whole.
    pages: Option<u64>,
    tell: mpsc::UnboundedSender<Event>,
}

/// A page that the cluster has taken.
struct Taken {
    rows: u64,
    /// Of them those that it has refused.
    refused: u64,
    mark: Option<Mark>,
}

impl Trail {
    /// Goes on to the first page that the cluster has not taken.
    ///
    /// # Errors
    /// `Error` names the file if it has ended, with fewer rows than it must have: that is known when all its pages have
    /// been decoded, whoever did that.
    fn advance(&mut self) -> Result<()> {
        let mut reached = None;
        while let Some(Taken { rows, refused, mark }) = self.taken.remove(&self.next) {
            self.next += 1;
            self.rows += rows;
            self.refused += refused;
            let written = self.rows - self.refused;
            reached = mark.map(|mark| Mark { rows: written, ..mark }).or(reached);
        }
        // Who listens is gone only if it has failed, which ends the feed.
        if let Some(mark) = reached {
            let _ = self.tell.send(Event::Reached(mark));
        }
        if self.pages == Some(self.next) {
            self.pages = None;
            if let Some((file, stated)) = self.stated.as_ref().filter(|(_, stated)| *stated != self.rows) {
                let found = self.rows;
                return Err(Error::failed(format!(
                    "read {file}: it holds {found} rows, the manifest says {stated}"
                ))
                .hint("it is not as it was dumped: dump again"));
            }
            let _ = self.tell.send(Event::Finished(self.lane));
        }
        Ok(())
    }
}

/// Where a lane is being read.
struct Front {
    inputs: VecDeque<Input>,
    open: Option<(Arc<FileFacts>, Box<dyn Source>)>,
    /// Number of the next page.
    next: u64,
    /// Inputs that have been opened.
    opened: usize,
}

/// What each page of a lane leaves to the next.
struct Turn {
    /// The page whose turn it is.
    next: u64,
    /// The next group's write time.
    time: i64,
    /// Write times up to this one have been set aside.
    aside: i64,
    /// Rows so far.
    rows: u64,
    /// The partition of the last row, where that matters.
    current: Option<Partition>,
}

/// A page of a lane that has been taken and not yet read.
struct Next {
    number: u64,
    page: Result<(Arc<FileFacts>, Undecoded)>,
    /// Which input it is of, and where the next one begins, as far as its source tells.
    end: Option<(usize, Place)>,
}

impl Lane {
    fn new(
        inputs: VecDeque<Input>,
        (order, time): (Order, i64),
        (lane, tell): (usize, mpsc::UnboundedSender<Event>),
    ) -> Lane {
        let mut stated = None;
        if let (Order::Any, Some(input)) = (order, inputs.front()) {
            stated = input.rows.map(|rows| (input.name.clone(), rows));
        }
        let trail =
            Trail { lane, next: 0, taken: BTreeMap::new(), rows: 0, refused: 0, stated, pages: None, tell };
        Lane {
            order,
            front: Mutex::new(Front { inputs, open: None, next: 0, opened: 0 }),
            ended: AtomicBool::new(false),
            expected: AtomicUsize::new(FIRST_PAGE),
            turn: Mutex::new(Turn { next: 0, time, aside: time, rows: 0, current: None }),
            turned: Condvar::new(),
            trail: Mutex::new(trail),
        }
    }

    /// The cluster has taken page `number`.
    ///
    /// # Errors
    /// As [`Trail::advance`].
    fn taken(&self, number: u64, taken: Taken) -> Result<()> {
        let mut trail = lock(&self.trail);
        trail.taken.insert(number, taken);
        trail.advance()
    }

    /// Takes the next page; `None` at the end.
    ///
    /// # Errors
    /// As [`Trail::advance`].
    fn take(&self, counters: &Counters) -> Result<Option<Next>> {
        let mut front = lock(&self.front);
        let page = match front.take(counters) {
            Ok(None) => {
                if !self.ended.swap(true, Relaxed) {
                    let mut trail = lock(&self.trail);
                    trail.pages = Some(front.next);
                    trail.advance()?;
                }
                return Ok(None);
            }
            Ok(Some(page)) => Ok(page),
            Err(error) => Err(error),
        };
        let number = front.next;
        front.next += 1;
        let place = front.open.as_ref().and_then(|(_, source)| source.place());
        let end = place.map(|place| (front.opened - 1, place));
        Ok(Some(Next { number, page, end }))
    }

    /// Waits for the turn of page `number`; `None` if the feed has been stopped.
    fn turn(&self, number: u64, lanes: &Lanes) -> Option<MutexGuard<'_, Turn>> {
        let mut turn = lock(&self.turn);
        while !lanes.stopped() {
            if turn.next == number {
                return Some(turn);
            }
            turn = self.turned.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }
}

impl Front {
    fn take(&mut self, counters: &Counters) -> Result<Option<(Arc<FileFacts>, Undecoded)>> {
        loop {
            let (file, mut source) = match self.open.take() {
                Some(open) => open,
                None => {
                    let Some(input) = self.inputs.pop_front() else { return Ok(None) };
                    self.opened += 1;
                    let source = (input.open)()?;
                    (
                        Arc::new(FileFacts::of(
                            input.name,
                            input.writer,
                            &input.table,
                            input.inside,
                            input.read,
                            input.rejects,
                        )),
                        source,
                    )
                }
            };
            if let Some(page) = source.next_undecoded().doing(|| format!("read {}", file.name))? {
                self.open = Some((file.clone(), source));
                return Ok(Some((file, page)));
            }
            counters.units.fetch_add(1, Relaxed);
        }
    }
}

/// One of those that read the lanes.
struct Reader {
    lanes: Arc<Lanes>,
    flow: Arc<Flow>,
    counters: Arc<Counters>,
    journal: Shared,
    runtime: Handle,
}

/// Stops all readers when dropped: nobody must wait for the turn of one that is gone.
struct StopAll<'a>(Option<&'a Lanes>);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|lanes| lanes.stop());
    }
}

impl Reader {
    /// Reads lanes until there are none left.
    fn read(&self, send: &mpsc::Sender<Groups>) -> Result<()> {
        let mut stop_all = StopAll(Some(&self.lanes));
        while let Some(lane) = self.lanes.next() {
            while self.page(&lane, send)? {}
            if self.lanes.stopped() {
                return Ok(());
            }
        }
        stop_all.0 = None;
        Ok(())
    }

    /// Reads a page of a lane and sends its groups; answers false if there is none, or nobody to take it.
    fn page(&self, lane: &Arc<Lane>, send: &mpsc::Sender<Groups>) -> Result<bool> {
        let wait = |bytes| self.runtime.block_on(self.flow.budget.take(bytes));
        let expected = lane.expected.load(Relaxed);
        let mut memory = wait(expected)?;
        if self.lanes.stopped() {
            return Ok(false);
        }
        let Some(Next { number, page, end }) = lane.take(&self.counters)? else { return Ok(false) };
        let read = page.and_then(|(file, page)| {
            let decoded = page().doing(|| format!("read {}", file.name))?;
            let pieces = file.cut(&decoded.page, lane.order);
            Ok((file, decoded, pieces))
        });
        // Of several errors that of the first page is told.
        let Some(mut turn) = lane.turn(number, &self.lanes) else { return Ok(false) };
        let (file, Decoded { page, bad, texts }, pieces) = read?;
        file.reject(&bad, lane.order)?;
        let texts = texts.filter(|_| lane.order == Order::Lines && file.rejects.tolerates());
        let groups = file.groups(&page, pieces, lane.order, &mut turn);
        if lane.order == Order::Lines && turn.time > turn.aside {
            turn.aside = turn.time.saturating_add(TIMES_AHEAD);
            self.journal.as_ref().map_or(Ok(()), |journal| lock(journal).set_aside(turn.aside))?;
        }
        let before = turn.rows;
        turn.rows += page.rows() as u64;
        // How many were written and rejected is known when it has been reached.
        let mark = end.map(|(input, place)| Mark { input, place, rows: 0, rejected: 0 });
        turn.next += 1;
        drop(turn);
        lane.turned.notify_all();
        let needed = memory_of(&page) + texts.as_ref().map_or(0, RowTexts::bytes);
        lane.expected.store(needed, Relaxed);
        if needed <= expected {
            memory.shrink(needed);
        } else {
            // Who waits must hold nothing, or readers would wait for each other.
            drop(memory);
            memory = wait(needed)?;
        }
        if groups.is_empty() {
            lane.taken(number, Taken { rows: page.rows() as u64, refused: 0, mark })?;
            return Ok(!self.lanes.stopped());
        }
        let left = AtomicUsize::new(groups.len());
        let lane = lane.clone();
        let refused = AtomicUsize::new(0);
        let groups =
            Groups { file, page, groups, left, refused, lane, number, mark, before, texts, _memory: memory };
        Ok(!self.lanes.stopped() && send.blocking_send(groups).is_ok())
    }
}

/// What a page takes up until its last row is written.
fn memory_of(page: &Page) -> usize {
    page.value_bytes().saturating_mul(COPIES).saturating_add(page.rows() * page.width() * 8)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a file's groups depend on.
struct FileFacts {
    name: String,
    writer: Arc<TableWriter>,
    partition: Vec<usize>,
    key: Vec<usize>,
    statics: Vec<usize>,
    inside: Option<Partition>,
    read: Option<ReadTimes>,
    rejects: Arc<RejectFile>,
}

/// Rows to write together, and when they were read, if that matters.
struct Piece {
    rows: Range<usize>,
    read: Option<i64>,
}

impl FileFacts {
    fn of(
        name: String,
        writer: Arc<TableWriter>,
        table: &Table,
        inside: Option<Partition>,
        read: Option<ReadTimes>,
        rejects: Arc<RejectFile>,
    ) -> FileFacts {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let key = [partition.clone(), table.indexes(ColumnKind::Clustering)].concat();
        let statics = table.indexes(ColumnKind::Static);
        FileFacts { name, writer, partition, key, statics, inside, read, rejects }
    }

    /// Rejects records that cannot be read; in a dump there must be none.
    fn reject(&self, bad: &[BadRecord], order: Order) -> Result<()> {
        for BadRecord { line, text, error } in bad {
            let damaged = || Error::failed(format!("read {}: {error}", self.name));
            if order == Order::Any {
                return Err(damaged());
            }
            let reason = error.reason();
            let (source, what) = (self.name.as_str(), error.column());
            let reject = Reject { source, number: *line, what, reason: &reason, record: text };
            self.rejects.reject(&reject, damaged)?;
        }
        Ok(())
    }

    /// Cuts a page, as far as it goes without those before it.
    fn cut(&self, page: &Page, order: Order) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for rows in batch::groups(page, &self.partition, BATCH) {
            match order {
                Order::Any => pieces.push(Piece { read: self.read(page, rows.start), rows }),
                Order::Lines => batch::in_order(page, rows, &self.key, &self.statics, |rows| {
                    pieces.push(Piece { rows, read: None });
                }),
            }
        }
        pieces
    }

    /// The groups of a page whose turn it is.
    fn groups(&self, page: &Page, pieces: Vec<Piece>, order: Order, turn: &mut Turn) -> Vec<Group> {
        let mut groups = Vec::with_capacity(pieces.len());
        for Piece { rows, read } in pieces {
            groups.push(match order {
                Order::Any => Group {
                    statics: self.begins(page, rows.start, turn),
                    time: read.unwrap_or(turn.time),
                    rows,
                },
                Order::Lines => {
                    let time = turn.time;
                    turn.time += self.writer.times();
                    // Any later line may bring other static cells.
                    Group { rows, statics: true, time }
                }
            });
        }
        if !self.statics.is_empty()
            && let Some(last) = page.rows().checked_sub(1)
        {
            turn.current = Some(self.partition(page, last));
        }
        groups
    }

    /// Whether a partition begins at a row, if it has static cells at all.
    fn begins(&self, page: &Page, row: usize, turn: &Turn) -> bool {
        if self.statics.is_empty() {
            return false;
        }
        let this = self.partition(page, row);
        let goes_on = match row.checked_sub(1) {
            Some(before) => self.partition(page, before) == this,
            None => turn.current.as_ref() == Some(&this),
        };
        !goes_on && self.inside.as_ref() != Some(&this)
    }

    fn partition(&self, page: &Page, row: usize) -> Partition {
        self.partition.iter().map(|column| page.cell(row, *column).map(<[u8]>::to_vec)).collect()
    }

    /// When the partition of a row was read, if that matters.
    fn read(&self, page: &Page, row: usize) -> Option<i64> {
        let read = self.read.as_ref()?;
        let component = |column: &usize| page.cell(row, *column).unwrap_or_default();
        read.of(&self.partition.iter().map(component).collect::<Vec<_>>())
    }
}

impl Groups {
    /// Rejects a row that the cluster refuses.
    fn reject(&self, Refused { row, key, reason }: &Refused) -> Result<()> {
        let FileFacts { name, writer, rejects, .. } = &*self.file;
        let alone = || Error::failed(format!("write the row {key} into {}: {reason}", writer.name()));
        if let Some((line, text)) = self.texts.as_ref().and_then(|texts| texts.get(*row)) {
            let reject = Reject { source: name, number: line, what: None, reason, record: &text };
            return rejects.reject(&reject, alone);
        }
        let number = self.before + 1 + *row as u64;
        let reject = Reject { source: name, number, what: Some(key), reason, record: &[] };
        rejects.reject_row(reject, (&self.page, *row), alone)?;
        writer.counts().rejected.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// Writes pages until there are no more, with as many requests in flight as the flow lets.
///
/// The requests of one writer are one task: waking one for each answer would cost more than the answer.
async fn write(
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
