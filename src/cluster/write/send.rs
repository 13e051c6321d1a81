//! Sending: items as one unlogged batch, again after what may pass, in halves when too large, without what has expired.
//! Which items, and whether they may be sent twice, is left to the writers beside.

use super::refuse::{self, Refused};
use super::statement::{Item, Over, Ready, ttl};
use crate::cluster::Cluster;
use crate::cluster::gate::Gate;
use crate::cluster::key::KeyText;
use crate::cluster::retry::{Verdict, attempts, backoff, is_of_a_lost_node, remedy, verdict};
use crate::cluster::scan::mixed_up;
use crate::error::{Context, Error, Result};
use crate::mutation::Life;
use crate::rows::Page;
use crate::table::{Column, ColumnKind, Table};
use crate::times::LATEST_EXPIRY;
use crate::types::cql::{CqlType, Native};
use scylla::deserialize::DeserializationError;
use scylla::deserialize::row::{ColumnIterator, RawColumn};
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::LoadBalancingPolicy;
use scylla::response::query_result::QueryResult;
use scylla::statement::batch::BatchType;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

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
    /// Rows that the target refused by themselves.
    pub rejected: AtomicU64,
}

/// Sends to one table.
pub struct Sender {
    pub name: String,
    kind: BatchType,
    gate: Arc<Gate>,
    key: Arc<KeyText>,
    /// By column: whether a row with other bytes in it is another row.
    tells_rows: Vec<bool>,
    /// Whether the target has refused an expiry as too late.
    capping: AtomicBool,
    pub counts: Counts,
}

/// The write times of statements that are sent again and again.
#[derive(Clone, Copy, Default)]
pub struct Times {
    /// That of statements that bring none of their own, µs since 1970.
    pub frame: Option<i64>,
    /// Every sending is 1 µs later than the one before. A list that is written twice at one moment holds its elements twice
    /// (CASSANDRA-11368); written whole and later it replaces what was written earlier, even if that arrives last.
    pub rising: bool,
}

/// Sendings of one item at most beyond the attempts that a request has: one for each halving of a batch of 4,096.
pub const HALVINGS: u32 = 12;

/// Why an attempt failed, and what to do about it.
pub struct Failure {
    pub error: ExecutionError,
    pub verdict: Verdict,
}

/// What has become of items so far.
#[derive(Clone, Copy)]
struct Tried {
    /// How often they have been sent, as part of whatever.
    sent: u32,
    /// How often they have failed in a way that may pass.
    failed: u32,
    /// How often of them in a way that may be for good.
    doubtful: u32,
}

impl Failure {
    /// Whether one of the items, alone, is what the cluster does not take.
    pub fn is_of_a_row(&self, items: &[Item<'_>]) -> bool {
        refuse::reason(self, items.iter().map(Item::bytes).max().unwrap_or_default()).is_some()
    }
}

impl Sender {
    /// A sender for rows of `table`, which go into `name`; how requests go is told to `gate`.
    ///
    /// # Errors
    /// `Error` names the table if a key column's type has no codec.
    pub fn new(table: &Table, name: String, kind: BatchType, gate: Arc<Gate>) -> Result<Sender> {
        let key = Arc::new(KeyText::of(table)?);
        let tells = |column: &Column| {
            column.kind == ColumnKind::PartitionKey
                || column.kind == ColumnKind::Clustering && is_written_one_way(&column.cql_type)
        };
        let tells_rows = table.columns.iter().map(tells).collect();
        Ok(Sender {
            name,
            kind,
            gate,
            key,
            tells_rows,
            capping: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// The same sender with counts of its own.
    pub fn apart(&self) -> Sender {
        Sender {
            name: self.name.clone(),
            kind: self.kind,
            gate: self.gate.clone(),
            key: self.key.clone(),
            tells_rows: self.tells_rows.clone(),
            capping: AtomicBool::new(self.capping.load(Relaxed)),
            counts: Counts::default(),
        }
    }

    /// Sends items that may be sent twice, until the cluster has taken them all but those that it refuses by themselves.
    ///
    /// # Errors
    /// `Error` names the table and the row's key.
    pub async fn send(&self, cluster: &Cluster, items: &[Item<'_>], times: Times) -> Result<Vec<Refused>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        match self.once(cluster, items, times, 0).await {
            Ok(()) => Ok(Vec::new()),
            // Apart, since what is rarely needed would make every request's future larger.
            Err(failure) => Box::pin(self.send_again(cluster, items, times, failure)).await,
        }
    }

    async fn send_again(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        times: Times,
        first: Failure,
    ) -> Result<Vec<Refused>> {
        // A stack instead of recursion: halves of what was too large or has a row that is refused, front half on top, each
        // with what its rows have been through.
        let mut pending = vec![(items, Tried { sent: 1, failed: 0, doubtful: 0 })];
        let mut failed = Some(first);
        let mut refused = Vec::new();
        while let Some((items, mut tried)) = pending.pop() {
            let attempted = self.attempts(cluster, items, times, &mut tried, failed.take()).await;
            let Err(failure) = attempted else { continue };
            if items.len() > 1 && (failure.verdict.is_of_size() || failure.is_of_a_row(items)) {
                let (front, back) = items.split_at(items.len() / 2);
                pending.extend([(back, tried), (front, tried)]);
            } else {
                refuse::add(&mut refused, [self.refused(items, &failure, tried.failed)?]);
            }
        }
        Ok(refused)
    }

    /// Sends items until they are taken, or should be halved, or no attempt is left, of which the first may have failed.
    async fn attempts(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        times: Times,
        tried: &mut Tried,
        mut failed: Option<Failure>,
    ) -> Result<(), Failure> {
        loop {
            let failure = match failed.take() {
                Some(failure) => failure,
                None => {
                    let turn = tried.sent;
                    tried.sent += 1;
                    let Err(failure) = self.once(cluster, items, times, turn).await else { return Ok(()) };
                    failure
                }
            };
            let halves = failure.verdict.is_of_size() && items.len() > 1;
            if !halves {
                tried.failed += 1;
                tried.doubtful += u32::from(failure.verdict == Verdict::Doubtful);
                let failed = if failure.verdict == Verdict::Doubtful { tried.doubtful } else { tried.failed };
                if tried.failed >= cluster.patience.attempts
                    || !cluster.patience.again(failure.verdict, failed)
                {
                    return Err(failure);
                }
            }
            if failure.verdict != Verdict::Smaller {
                self.wait(tried.failed.max(1), &failure).await;
            }
            if halves {
                return Err(failure);
            }
        }
    }

    /// The cells that a reading item finds, behind those of its key; `None` if there is no row.
    ///
    /// # Errors
    /// `Error` names the table and the row's key; another row is none that was asked for.
    pub async fn read(&self, cluster: &Cluster, item: &Item<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let mut failed = 0;
        loop {
            let key = Ready { item, ttl: None, later: 0 };
            match self.execute(cluster, &key, None, failed).await {
                Ok(answer) => {
                    let doing = || format!("read a row of {} back", self.name);
                    let rows = answer.into_rows_result().doing(doing)?;
                    let mut rows = rows.rows::<ColumnIterator<'_, '_>>().doing(doing)?;
                    let Some(row) = rows.next() else { return Ok(None) };
                    let cell = |column: Result<RawColumn<'_, '_>, DeserializationError>| {
                        Ok(column.doing(doing)?.slice.map(|slice| slice.as_slice().to_vec()))
                    };
                    let mut found: Vec<Option<Vec<u8>>> =
                        row.doing(doing)?.map(cell).collect::<Result<_>>()?;
                    let cells = found.split_off(item.bound.key().count().min(found.len()));
                    if !is_row(item.page, item.row, item.bound.key(), &found, &self.tells_rows) {
                        let row = format!("read the row {} of {} back", self.key(item), self.name);
                        return Err(mixed_up(&row, "keys"));
                    }
                    return Ok(Some(cells));
                }
                Err(error) => {
                    let failure = Failure { verdict: verdict(&error), error };
                    failed += 1;
                    if !cluster.patience.again(failure.verdict, failed) {
                        let row = format!("read the row {} of {} back", self.key(item), self.name);
                        return Err(told(&row, &failure, failed));
                    }
                    self.wait(failed, &failure).await;
                }
            }
        }
    }

    /// Waits before another attempt.
    pub async fn wait(&self, attempt: u32, failure: &Failure) {
        tracing::debug!("write {}: {}; attempt {attempt} failed, trying again", self.name, failure.error);
        tokio::time::sleep(backoff(attempt)).await;
    }

    /// Sends items once, for the first time at `turn` 0; each later turn goes to another replica than the one before.
    ///
    /// # Errors
    /// `Failure`: what the server or the driver said.
    pub async fn once(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        times: Times,
        turn: u32,
    ) -> Result<(), Failure> {
        let later = if times.rising { i64::from(turn) } else { 0 };
        let frame = times.frame.map(|frame| frame.saturating_add(later));
        loop {
            let capping = self.capping.load(Relaxed);
            let latest = if capping { LATEST_EXPIRY } else { i64::MAX };
            let now = cluster.now();
            let life = |item: &Item<'_>| item.stamp.map_or(Life::Default, |stamp| stamp.life);
            let ready = |item| match ttl(life(item), now, latest) {
                Ok(ttl) => Some(Ready { item, ttl, later }),
                Err(Over) => None,
            };
            let live: Vec<Ready<'_>> = items.iter().filter_map(ready).collect();
            if live.is_empty() {
                self.count(items, &live, latest);
                return Ok(());
            }
            let sent = Instant::now();
            match self.request(cluster, &live, frame, turn).await {
                Ok(()) => {
                    self.gate.told(sent, None);
                    self.count(items, &live, latest);
                    return Ok(());
                }
                Err(error) if !capping && is_too_late(&error) => self.capping.store(true, Relaxed),
                Err(error) => {
                    let verdict = verdict(&error);
                    cluster.lost_a_node.fetch_or(is_of_a_lost_node(&error), Relaxed);
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
        turn: u32,
    ) -> Result<(), ExecutionError> {
        match live {
            [one] => self.execute(cluster, one, time, turn).await.map(drop),
            many => {
                let Some(bound) = many.first().map(|ready| ready.item.bound) else { return Ok(()) };
                let mut batch = bound.take_batch(self.kind, cluster);
                let pure = bound.fill(&mut batch, live);
                batch.set_timestamp(time);
                batch.set_load_balancing_policy(another(cluster, turn));
                // The driver's futures are large: boxed, they are made in their place and not moved with those around them.
                let sent = Box::pin(cluster.session.batch(&batch, live)).await.map(drop);
                if pure {
                    bound.give_back(batch);
                }
                sent
            }
        }
    }

    async fn execute(
        &self,
        cluster: &Cluster,
        one: &Ready<'_>,
        time: Option<i64>,
        turn: u32,
    ) -> Result<QueryResult, ExecutionError> {
        let statement = &one.item.bound.statement;
        let mut own = None;
        if time.is_some() || turn > 0 {
            let statement = own.insert(statement.clone());
            statement.set_timestamp(time);
            statement.set_load_balancing_policy(another(cluster, turn));
        }
        Box::pin(cluster.session.execute_unpaged(own.as_ref().unwrap_or(statement), one)).await
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

    /// The row of an item that the cluster does not take after so many attempts, if that is its own doing.
    ///
    /// # Errors
    /// `Error` if not, or if it is not known which of several items it is.
    pub fn refused(&self, items: &[Item<'_>], failure: &Failure, failed: u32) -> Result<Refused> {
        match items {
            [one] => refuse::reason(failure, one.bytes()).map(|reason| Refused {
                row: one.row,
                key: self.key(one),
                reason,
            }),
            _ => None,
        }
        .ok_or_else(|| self.rejected(items, failure, failed))
    }

    /// The error of items that the cluster does not take after so many attempts.
    pub fn rejected(&self, items: &[Item<'_>], failure: &Failure, failed: u32) -> Error {
        told(&format!("write {} into {}", self.rows(items), self.name), failure, failed)
    }

    /// `the row a=1, b=2 and 3 more of its partition`.
    fn rows(&self, items: &[Item<'_>]) -> String {
        let Some(first) = items.first() else { return "nothing".to_owned() };
        let others = match items.len() {
            1 => String::new(),
            n => format!(" and {} more of its partition", n - 1),
        };
        format!("the row {}{others}", self.key(first))
    }

    /// The key of an item's row.
    pub fn key(&self, item: &Item<'_>) -> String {
        self.key.text(|column| item.page.cell(item.row, column))
    }
}

/// Whether the cells of these columns of a key that was found are those of a page's row, as far as they tell rows.
fn is_row(
    page: &Page,
    row: usize,
    key: impl Iterator<Item = usize>,
    found: &[Option<Vec<u8>>],
    tells_rows: &[bool],
) -> bool {
    let tells = |column: usize| tells_rows.get(column).copied().unwrap_or(false);
    key.zip(found).all(|(column, cell)| !tells(column) || cell.as_deref() == page.cell(row, column))
}

/// Whether values of a type whose bytes differ are never one to a server, as `decimal` 1.0 and 1.00 are in a clustering
/// column. Of the others it is not known.
fn is_written_one_way(cql_type: &CqlType) -> bool {
    use Native::*;
    let whole =
        matches!(cql_type, CqlType::Native(BigInt | Int | SmallInt | TinyInt | Date | Time | Timestamp));
    whole || matches!(cql_type, CqlType::Native(Ascii | Blob | Inet | Text | TimeUuid | Uuid))
}

/// What failed, with what was said last.
fn told(doing: &str, Failure { error, verdict }: &Failure, failed: u32) -> Error {
    match verdict {
        Verdict::Never => Error::failed(format!("{doing}: {error}")),
        _ => Error::failed(format!("{doing}: {error} ({})", attempts(failed))).hint(remedy(error)),
    }
}

/// Where a request goes at its `turn`: at first where the driver sends it.
fn another(cluster: &Cluster, turn: u32) -> Option<Arc<dyn LoadBalancingPolicy>> {
    let turn = usize::try_from(turn).unwrap_or(0);
    if turn == 0 { None } else { cluster.to_replica(None, turn) }
}

/// Whether the server refuses the expiry as later than it can hold.
fn is_too_late(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, message))
            if message.contains("maximum supported expiration date")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::PageBuilder;

    #[test]
    fn a_row_that_was_not_asked_for_is_told_by_its_key() {
        let mut page = PageBuilder::new(3);
        [&b"k"[..], b"c", b"1.0"].into_iter().for_each(|cell| page.push(Some(cell)).unwrap());
        let page = page.finish();
        let is = |key: &[usize], found: &[&[u8]]| {
            let found: Vec<Option<Vec<u8>>> = found.iter().map(|cell| Some(cell.to_vec())).collect();
            // Of a decimal, other bytes may be the same value.
            is_row(&page, 0, key.iter().copied(), &found, &[true, true, false])
        };
        assert!(is(&[0, 1, 2], &[b"k", b"c", b"1.00"]) && is(&[0], &[b"k"]));
        assert!(!is(&[0, 1, 2], &[b"k", b"d", b"1.0"]) && !is(&[0, 1, 2], &[b"j", b"c", b"1.0"]));
        assert!(!is(&[0], &[b""]));
        assert!(is_written_one_way(&CqlType::Native(Native::Int)));
        assert!(!is_written_one_way(&CqlType::Native(Native::Decimal)));
    }
}
