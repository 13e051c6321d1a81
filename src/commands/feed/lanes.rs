//! Lanes: files that are read in their order, and whose turn it is. Who reads them is left to `reader`, how far the cluster
//! has taken them to `trail`.

use super::groups::FileFacts;
use super::trail::{Event, Taken, Trail};
use super::{COPIES, Input, Order, lock};
use crate::error::{Context, Result};
use crate::fingerprint::Partition;
use crate::format::{Place, Source, Undecoded};
use crate::progress::Counters;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// What is taken for a page that nothing is known of.
const FIRST_PAGE: usize = COPIES << 20;

/// What is to be read.
pub(super) struct Lanes {
    queue: Mutex<Queue>,
    pub(super) all: Vec<Arc<Lane>>,
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
    pub(super) fn new(
        inputs: Vec<Input>,
        (order, time): (Order, i64),
        tell: mpsc::UnboundedSender<Event>,
    ) -> Lanes {
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
    pub(super) fn next(&self) -> Option<Arc<Lane>> {
        let mut queue = lock(&self.queue);
        let Queue { waiting, open } = &mut *queue;
        open.retain(|lane| !lane.ended.load(Relaxed));
        if let Some(lane) = waiting.pop_front() {
            open.push(lane.clone());
            return Some(lane);
        }
        open.iter().min_by_key(|lane| Arc::strong_count(lane)).cloned()
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Waits until all are to stop.
    pub(super) async fn until_stopped(&self) {
        // It hears what is told from here on.
        let stopping = self.stopping.notified();
        if !self.stopped() {
            stopping.await;
        }
    }

    /// Ends all readers, and writers once what they have in flight has arrived.
    pub(super) fn stop(&self) {
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
pub(super) struct Lane {
    pub(super) order: Order,
    front: Mutex<Front>,
    ended: AtomicBool,
    /// The memory that a page needs, by the last one that was read.
    pub(super) expected: AtomicUsize,
    turn: Mutex<Turn>,
    /// Told when the next page has its turn.
    pub(super) turned: Condvar,
    trail: Mutex<Trail>,
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
pub(super) struct Turn {
    /// The page whose turn it is.
    pub(super) next: u64,
    /// The next group's write time.
    pub(super) time: i64,
    /// Write times up to this one have been set aside.
    pub(super) aside: i64,
    /// Rows so far.
    pub(super) rows: u64,
    /// The partition of the last row, where that matters.
    pub(super) current: Option<Partition>,
}

/// A page of a lane that has been taken and not yet read.
pub(super) struct Next {
    pub(super) number: u64,
    pub(super) page: Result<(Arc<FileFacts>, Undecoded)>,
    /// Which input it is of, and where the next one begins, as far as its source tells.
    pub(super) end: Option<(usize, Place)>,
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
        let trail = Trail::new(lane, stated, tell);
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
    pub(super) fn taken(&self, number: u64, taken: Taken) -> Result<()> {
        lock(&self.trail).take(number, taken)
    }

    /// Takes the next page; `None` at the end.
    ///
    /// # Errors
    /// As [`Trail::advance`].
    pub(super) fn take(&self, counters: &Counters) -> Result<Option<Next>> {
        let mut front = lock(&self.front);
        let page = match front.take(counters) {
            Ok(None) => {
                if !self.ended.swap(true, Relaxed) {
                    lock(&self.trail).end(front.next)?;
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
    pub(super) fn turn(&self, number: u64, lanes: &Lanes) -> Option<MutexGuard<'_, Turn>> {
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
