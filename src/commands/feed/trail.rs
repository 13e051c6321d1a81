//! How far the cluster has taken each lane, whatever the order in which its pages arrive, and the [`Journal`] that is told.

use super::lock;
use crate::commands::rejects::RejectFile;
use crate::error::{Error, Result};
use crate::format::Place;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often it is told how far the cluster has come inside a file.
const TELL: Duration = Duration::from_secs(1);

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

/// The journal, as all who tell it something have it.
pub(super) type Shared = Option<Arc<Mutex<Box<dyn Journal>>>>;

/// What a lane has to tell.
pub(super) enum Event {
    Reached(Mark),
    Finished(usize),
    /// There is nothing more to tell, though a reader that was left behind could.
    End,
}

/// How far the cluster has taken a lane.
pub(super) struct Trail {
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
pub(super) struct Taken {
    pub(super) rows: u64,
    /// Of them those that it has refused.
    pub(super) refused: u64,
    pub(super) mark: Option<Mark>,
}

impl Trail {
    /// That of a lane of which nothing has been read; `stated` is the file and how many rows it must have, if that is said.
    pub(super) fn new(
        lane: usize,
        stated: Option<(String, u64)>,
        tell: mpsc::UnboundedSender<Event>,
    ) -> Trail {
        Trail { lane, next: 0, taken: BTreeMap::new(), rows: 0, refused: 0, stated, pages: None, tell }
    }

    /// The cluster has taken page `number`.
    ///
    /// # Errors
    /// As [`Trail::advance`].
    pub(super) fn take(&mut self, number: u64, taken: Taken) -> Result<()> {
        self.taken.insert(number, taken);
        self.advance()
    }

    /// The lane has been read whole: so many pages.
    ///
    /// # Errors
    /// As [`Trail::advance`].
    pub(super) fn end(&mut self, pages: u64) -> Result<()> {
        self.pages = Some(pages);
        self.advance()
    }

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

/// Tells the journal what lanes have to tell, several things at once where that takes longer than they come; answers how
/// many lanes are finished.
pub(super) fn record(
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
    let mut last = Instant::now();
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
            last = Instant::now();
        }
    }
    if let (Some(journal), Some(mark)) = (journal, reached) {
        reach(journal, mark)?;
    }
    Ok(finished)
}
