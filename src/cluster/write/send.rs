//! Sending: items as one unlogged batch, again after what may pass, in halves when too large, without what has expired.
//! Which items, and whether they may be sent twice, is left to the writers beside.

use super::statement::{Item, Over, Ready, ttl};
use crate::cluster::Cluster;
use crate::cluster::gate::Gate;
use crate::cluster::retry::{ATTEMPTS, Verdict, backoff, verdict};
use crate::error::{Context, Error, Result};
use crate::mutation::Life;
use crate::table::{ColumnKind, Table};
use crate::times::LATEST_EXPIRY;
use crate::types::{Codec, codec};
use scylla::deserialize::DeserializationError;
use scylla::deserialize::row::{ColumnIterator, RawColumn};
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::batch::BatchType;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// Bytes of a key cell that an error shows; it may have 65,535.
const LONGEST_SHOWN: usize = 200;

/// What did not reach the target as it was dumped.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows that had expired.
    pub expired_rows: AtomicU64,
    /// Cells that had expired, those of expired rows included.
    pub expired_cells: AtomicU64,
    /// Statements whose expiry was put forward to the last one that the target takes.
    pub capped: AtomicU64,
    /// Rows of which no cell told its time.
    pub untold_rows: AtomicU64,
}

/// Place, name and codec of each column of a key.
type KeyColumns = Vec<(usize, String, Box<dyn Codec>)>;

/// Sends to one table.
pub struct Sender {
    name: String,
    kind: BatchType,
    gate: Arc<Gate>,
    key: Arc<KeyColumns>,
    /// Whether the target has refused an expiry as too late.
    capping: AtomicBool,
    pub counts: Counts,
}

/// The write time of statements that bring none.
#[derive(Clone, Copy)]
pub struct FrameTime {
    /// µs since 1970.
    pub first: i64,
    /// Every sending is 1 µs later than the one before.
    pub rising: bool,
}

/// Why an attempt failed, and what to do about it.
pub struct Failure {
    pub error: ExecutionError,
    pub verdict: Verdict,
}

impl Sender {
    /// A sender for rows of `table`, which go into `name`; how requests go is told to `gate`.
    ///
    /// # Errors
    /// `Error` names the table if a key column's type has no codec.
    pub fn new(table: &Table, name: String, kind: BatchType, gate: Arc<Gate>) -> Result<Sender> {
        let mut key = Vec::new();
        for index in [table.indexes(ColumnKind::PartitionKey), table.indexes(ColumnKind::Clustering)].concat()
        {
            let column = &table.columns[index];
            key.push((index, column.name.clone(), codec(&column.cql_type).doing(|| name.clone())?));
        }
        let key = Arc::new(key);
        Ok(Sender { name, kind, gate, key, capping: AtomicBool::new(false), counts: Counts::default() })
    }

    /// The same sender with counts of its own.
    pub fn apart(&self) -> Sender {
        Sender {
            name: self.name.clone(),
            kind: self.kind,
            gate: self.gate.clone(),
            key: self.key.clone(),
            capping: AtomicBool::new(self.capping.load(Relaxed)),
            counts: Counts::default(),
        }
    }

    /// Sends items that may be sent twice, until the cluster has taken them all.
    ///
    /// # Errors
    /// `Error` names the table and the row's key.
    pub async fn send(&self, cluster: &Cluster, items: &[Item<'_>], frame: Option<FrameTime>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let time = frame.map(|frame| frame.first);
        match self.once(cluster, items, time).await {
            Ok(()) => Ok(()),
            // Apart, since what is rarely needed would make every request's future larger.
            Err(failure) => Box::pin(self.send_again(cluster, items, frame, failure)).await,
        }
    }

    async fn send_again(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        frame: Option<FrameTime>,
        first: Failure,
    ) -> Result<()> {
        // A stack instead of recursion: halves of what was too large, front half on top, each with the number of times
        // that its rows have been sent.
        let mut pending = vec![(items, 1)];
        let mut failed = Some(first);
        while let Some((items, mut sent)) = pending.pop() {
            match self.attempts(cluster, items, frame, &mut sent, failed.take()).await {
                Ok(()) => {}
                Err(Failure { verdict: Verdict::Smaller, .. }) if items.len() > 1 => {
                    let (front, back) = items.split_at(items.len() / 2);
                    pending.extend([(back, sent), (front, sent)]);
                }
                Err(failure) => return Err(self.rejected(items, &failure.error)),
            }
        }
        Ok(())
    }

    /// Sends items until they are taken or no attempt is left, of which the first may have failed.
    async fn attempts(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        frame: Option<FrameTime>,
        sent: &mut i64,
        mut failed: Option<Failure>,
    ) -> Result<(), Failure> {
        let mut attempt: u32 = 0;
        loop {
            let failure = match failed.take() {
                Some(failure) => failure,
                None => {
                    let time = frame.map(|frame| frame.first + if frame.rising { *sent } else { 0 });
                    *sent += 1;
                    let Err(failure) = self.once(cluster, items, time).await else { return Ok(()) };
                    failure
                }
            };
            attempt += 1;
            if failure.verdict != Verdict::Later || attempt >= ATTEMPTS {
                return Err(failure);
            }
            self.wait(attempt, items, &failure).await;
        }
    }

    /// The cells that a reading item finds; `None` if there is no row.
    ///
    /// # Errors
    /// `Error` names the table and the row's key.
    pub async fn read(&self, cluster: &Cluster, item: &Item<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let mut attempt = 0;
        let items = std::slice::from_ref(item);
        loop {
            let key = Ready { item, ttl: None };
            match cluster.session.execute_unpaged(&item.bound.statement, &key).await {
                Ok(answer) => {
                    let doing = || format!("read a row of {} back", self.name);
                    let rows = answer.into_rows_result().doing(doing)?;
                    let mut rows = rows.rows::<ColumnIterator<'_, '_>>().doing(doing)?;
                    let Some(row) = rows.next() else { return Ok(None) };
                    let cell = |column: Result<RawColumn<'_, '_>, DeserializationError>| {
                        Ok(column.doing(doing)?.slice.map(|slice| slice.as_slice().to_vec()))
                    };
                    return row.doing(doing)?.map(cell).collect::<Result<_>>().map(Some);
                }
                Err(error) => {
                    let failure = Failure { verdict: verdict(&error), error };
                    attempt += 1;
                    if failure.verdict != Verdict::Later || attempt >= ATTEMPTS {
                        return Err(
                            self.rejected(items, &format!("it cannot be read back: {}", failure.error))
                        );
                    }
                    self.wait(attempt, items, &failure).await;
                }
            }
        }
    }

    /// Waits before another attempt.
    pub async fn wait(&self, attempt: u32, items: &[Item<'_>], failure: &Failure) {
        tracing::debug!("write {}: {}; attempt {attempt} failed, trying again", self.name, failure.error);
        tokio::time::sleep(backoff(attempt, items.first().map_or(0, |item| item.row as u64))).await;
    }

    /// Sends items once, at `time` if they bring no write time of their own.
    ///
    /// # Errors
    /// `Failure`: what the server or the driver said.
    pub async fn once(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        time: Option<i64>,
    ) -> Result<(), Failure> {
        loop {
            let capping = self.capping.load(Relaxed);
            let latest = if capping { LATEST_EXPIRY } else { i64::MAX };
            let now = cluster.now();
            let life = |item: &Item<'_>| item.stamp.map_or(Life::Default, |stamp| stamp.life);
            let ready = |item| match ttl(life(item), now, latest) {
                Ok(ttl) => Some(Ready { item, ttl }),
                Err(Over) => None,
            };
            let live: Vec<Ready<'_>> = items.iter().filter_map(ready).collect();
            if live.is_empty() {
                self.count(items, &live, latest);
                return Ok(());
            }
            let sent = Instant::now();
            match self.request(cluster, &live, time).await {
                Ok(()) => {
                    self.gate.told(sent, None);
                    self.count(items, &live, latest);
                    return Ok(());
                }
                Err(error) if !capping && is_too_late(&error) => self.capping.store(true, Relaxed),
                Err(error) => {
                    let verdict = verdict(&error);
                    self.gate.told(sent, Some(verdict));
                    return Err(Failure { verdict, error });
                }
            }
        }
    }

    async fn request(
        &self,
        cluster: &Cluster,
        live: &[Ready<'_>],
        time: Option<i64>,
    ) -> Result<(), ExecutionError> {
        // The driver's futures are large: boxed, they are made in their place and not moved with those around them.
        match live {
            [one] => {
                let statement = &one.item.bound.statement;
                let mut timed = None;
                if time.is_some() {
                    timed.insert(statement.clone()).set_timestamp(time);
                }
                let statement = timed.as_ref().unwrap_or(statement);
                Box::pin(cluster.session.execute_unpaged(statement, one)).await.map(drop)
            }
            many => {
                let Some(bound) = many.first().map(|ready| ready.item.bound) else { return Ok(()) };
                let mut batch = bound.take_batch(self.kind, cluster);
                let pure = bound.fill(&mut batch, live);
                batch.set_timestamp(time);
                let sent = Box::pin(cluster.session.batch(&batch, live)).await.map(drop);
                if pure {
                    bound.give_back(batch);
                }
                sent
            }
        }
    }

    fn count(&self, items: &[Item<'_>], live: &[Ready<'_>], latest: i64) {
        let beyond = |ready: &&Ready<'_>| match ready.item.stamp.map(|stamp| stamp.life) {
            Some(Life::Until(expires)) => expires > latest,
            Some(Life::Seconds(seconds)) => ready.ttl.is_some_and(|ttl| ttl < seconds),
            _ => false,
        };
        let capped = live.iter().filter(beyond).count();
        self.counts.capped.fetch_add(capped as u64, Relaxed);
        if live.len() == items.len() {
            return;
        }
        let mut live = live.iter().map(|ready| ready.item).peekable();
        for item in items {
            if live.next_if(|next| std::ptr::eq(*next, item)).is_some() {
                continue;
            }
            self.counts.expired_cells.fetch_add(item.cells, Relaxed);
            self.counts.expired_rows.fetch_add(u64::from(item.brings_row), Relaxed);
        }
    }

    /// The error of items that the cluster does not take.
    pub fn rejected(&self, items: &[Item<'_>], error: &dyn std::fmt::Display) -> Error {
        let Some(first) = items.first() else {
            return Error::failed(format!("write into {}: {error}", self.name));
        };
        let mut key = String::new();
        for (index, name, codec) in self.key.iter() {
            let Some(cell) = first.page.cell(first.row, *index) else {
                continue;
            };
            let mut text = Vec::new();
            codec.to_text(cell, &mut text);
            if text.len() > LONGEST_SHOWN {
                text.truncate(LONGEST_SHOWN);
                text.extend_from_slice("…".as_bytes());
            }
            let sep = if key.is_empty() { "" } else { ", " };
            key.push_str(&format!("{sep}{name}={}", String::from_utf8_lossy(&text)));
        }
        let others = match items.len() {
            1 => String::new(),
            n => format!(" and {} more of its partition", n - 1),
        };
        Error::failed(format!("write the row {key}{others} into {}: {error}", self.name))
    }
}

/// Whether the server refuses the expiry as later than it can hold.
fn is_too_late(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, message))
            if message.contains("maximum supported expiration date")
    )
}
