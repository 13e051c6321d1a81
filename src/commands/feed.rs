//! The way of pages into a cluster, shared by `load` and `import`: reader threads turn files into pages and cut them
//! into groups of one partition; requests for the groups are kept in flight, a bounded number at a time.

use crate::batch::{self, Limits};
use crate::cluster::Cluster;
use crate::cluster::write::{Group, TableWriter};
use crate::error::{Context, Error, Result};
use crate::fingerprint::Partition;
use crate::format::Source;
use crate::progress::Counters;
use crate::ring::{self, Interval};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Files read at a time, where their order does not matter.
const READERS: usize = 2;
/// Pages that may wait for the cluster.
const PAGES_WAITING: usize = 4;
/// Requests in flight.
const IN_FLIGHT: usize = 128;
/// A batch of one partition is not limited by the server; this keeps single requests short.
const BATCH: Limits = Limits { bytes: 128 << 10, rows: 1000 };

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
    /// When its token ranges were read, µs since 1970: the write time of rows that tell none. Without them it is that of
    /// the whole feed.
    pub read: Vec<(Interval, i64)>,
}

/// Which rows prevail where several have the same key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// No two have: rows are written in any order, all at one time.
    Any,
    /// The last in the order of files and lines: every group is written at a later time than those before it.
    Lines,
}

/// A page cut into groups of one partition.
struct Groups {
    writer: Arc<TableWriter>,
    page: Arc<Page>,
    groups: Vec<Group>,
}

/// Feeds all inputs with write times from `time` (µs since 1970) on; answers when the cluster has taken every row.
///
/// # Errors
/// The first error of any file or request, saying how many rows had been written by then.
pub async fn feed(
    cluster: &Arc<Cluster>,
    inputs: Vec<Input>,
    order: Order,
    time: i64,
    counters: &Arc<Counters>,
) -> Result<()> {
    let inputs = Arc::new(Mutex::new(VecDeque::from(inputs)));
    let stop = Arc::new(AtomicBool::new(false));
    let (send, receive) = mpsc::channel(PAGES_WAITING);
    let mut readers = JoinSet::new();
    let count = if order == Order::Any { READERS } else { 1 };
    for _ in 0..count {
        let (inputs, send, stop, counters) = (inputs.clone(), send.clone(), stop.clone(), counters.clone());
        readers.spawn_blocking(move || {
            let read = read(&inputs, Cutter { order, time, current: None }, &send, &stop, &counters);
            if read.is_err() {
                stop.store(true, Relaxed);
            }
            read
        });
    }
    drop(send);
    let written = write(cluster, receive, counters).await;
    stop.store(true, Relaxed);
    let mut failure = written.err();
    while let Some(joined) = readers.join_next().await {
        if let Err(error) = joined.doing(|| "run a reader").and_then(|read| read) {
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

fn read(
    inputs: &Mutex<VecDeque<Input>>,
    mut cutter: Cutter,
    send: &mpsc::Sender<Groups>,
    stop: &AtomicBool,
    counters: &Counters,
) -> Result<()> {
    while !stop.load(Relaxed) {
        let next = inputs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(input) = next else { return Ok(()) };
        let mut source = (input.open)()?;
        let file = FileFacts {
            columns: Columns::of(&input.table),
            times: input.writer.times(),
            inside: input.inside,
            read: input.read,
        };
        cutter.current = None;
        while let Some(page) = source.next_page().doing(|| format!("read {}", input.name))? {
            let groups = cutter.cut(&page, &file);
            let groups = Groups { writer: input.writer.clone(), page: Arc::new(page), groups };
            if stop.load(Relaxed) || send.blocking_send(groups).is_err() {
                return Ok(());
            }
        }
        counters.units.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// The places of a table's key and static cells.
struct Columns {
    partition: Vec<usize>,
    key: Vec<usize>,
    statics: Vec<usize>,
}

impl Columns {
    fn of(table: &Table) -> Columns {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let key = [partition.clone(), table.indexes(ColumnKind::Clustering)].concat();
        let statics = table.indexes(ColumnKind::Static);
        Columns { partition, key, statics }
    }
}

/// What a file's groups depend on.
struct FileFacts {
    columns: Columns,
    /// How many write times a group takes up.
    times: i64,
    inside: Option<Partition>,
    read: Vec<(Interval, i64)>,
}

impl FileFacts {
    /// When the rows of a partition were read, if that matters.
    fn read(&self, partition: &Partition) -> Option<i64> {
        if self.read.is_empty() {
            return None;
        }
        let components: Vec<&[u8]> =
            partition.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
        let token = ring::token(&components);
        // A part that was cut inside a partition begins with its token, which its range does not hold.
        let found = self.read.iter().find(|(range, _)| range.contains(token) || range.start == token);
        found.map(|(_, time)| *time)
    }
}

/// Cuts the pages of a file into groups, one after another.
struct Cutter {
    order: Order,
    /// The next group's write time.
    time: i64,
    /// The partition of the last row.
    current: Option<Partition>,
}

impl Cutter {
    /// Cuts a page.
    fn cut(&mut self, page: &Page, file: &FileFacts) -> Vec<Group> {
        let FileFacts { columns, times, inside, .. } = file;
        let mut groups = Vec::new();
        for rows in batch::groups(page, &columns.partition, BATCH) {
            let cell = |column: &usize| page.cell(rows.start, *column).map(<[u8]>::to_vec);
            let partition: Partition = columns.partition.iter().map(cell).collect();
            let begins = self.current.as_ref() != Some(&partition) && inside.as_ref() != Some(&partition);
            let read = file.read(&partition);
            self.current = Some(partition);
            match self.order {
                Order::Any => {
                    groups.push(Group { rows, statics: begins, time: read.unwrap_or(self.time) });
                }
                Order::Lines => {
                    for rows in batch::in_order(page, rows, &columns.key, &columns.statics) {
                        // Any later line may bring other static cells.
                        groups.push(Group { rows, statics: true, time: self.time });
                        self.time += times;
                    }
                }
            }
        }
        groups
    }
}

async fn write(
    cluster: &Arc<Cluster>,
    mut pages: mpsc::Receiver<Groups>,
    counters: &Arc<Counters>,
) -> Result<()> {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut requests: JoinSet<Result<()>> = JoinSet::new();
    while let Some(Groups { writer, page, groups }) = pages.recv().await {
        for group in groups {
            let permit = permits.clone().acquire_owned().await.doing(|| "wait for a request to end")?;
            let (cluster, writer, page, counters) =
                (cluster.clone(), writer.clone(), page.clone(), counters.clone());
            requests.spawn(async move {
                let count = group.rows.len() as u64;
                writer.write(&cluster, &page, group).await?;
                drop(permit);
                counters.rows.fetch_add(count, Relaxed);
                Ok(())
            });
            while let Some(done) = requests.try_join_next() {
                flat(done)?;
            }
        }
        counters.bytes.fetch_add(page.value_bytes() as u64, Relaxed);
    }
    while let Some(done) = requests.join_next().await {
        flat(done)?;
    }
    Ok(())
}

fn flat(done: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(|e| Error::failed(format!("run a request: {e}")))?
}
