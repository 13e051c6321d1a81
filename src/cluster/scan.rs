//! Scanning: the rows of a token range, page by page, in the bytes the server sent, with the companions of a table's
//! columns behind them. Steers how many rows a page has, asks replicas, tries pages again that failed; which ranges to scan is
//! left to the caller.

use super::Cluster;
use super::key::KeyText;
use super::retry::{Verdict, attempts, backoff, remedy, verdict};
use super::route::At;
use super::tablets;
use crate::error::{Context, Error, Result};
use crate::ring::{Interval, Partitioner, Token};
use crate::rows::{BadPage, Page, take_cell};
use crate::table::{ColumnKind, Table, Tells};
use crate::types::cql::{CqlType, Ident, Native};
use crate::types::parts::take_count;
use bytes::Bytes;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::ExecutionError;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::prepared::PreparedStatement;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::time::Instant;

/// Rows of a table's first page: enough to learn how large rows are, few enough for rows of many megabytes.
const FIRST_PAGE_ROWS: u64 = 2;
/// By how much a page may have more rows than the one before: a few small rows say little of the others.
const GROWTH: u64 = 16;
/// Bytes a page is steered to.
const PAGE_BYTES: u64 = 1 << 20;
/// Rows a page never passes, however small they are.
const MAX_PAGE_ROWS: u64 = 5_000;
/// Attempts at a page before its range is halved.
const PATIENCE: u32 = 2;
/// By how much fewer rows are asked for after a page with too many tombstones.
const SHRINKAGE: u64 = 16;

/// A prepared scan of one table.
#[derive(Clone)]
pub struct Scan {
    statement: PreparedStatement,
    /// `SELECT … FROM …`, and the columns of the key as CQL spells them.
    pub(super) select: String,
    pub(super) keys: Keys,
    pub(super) name: String,
    /// Shows keys.
    pub(super) key: Arc<KeyText>,
    pub(super) width: usize,
    pub(super) partitioner: Partitioner,
    pub(super) partition: Vec<usize>,
    clustering: Vec<usize>,
    /// Columns of the partition key that are text.
    texts: Vec<usize>,
    /// What the last page of any scan of the table tells of its rows' size.
    pub(super) sizes: Arc<Sizes>,
    /// ScyllaDB's tablets of the table.
    pub(super) tablets: Arc<tablets::Known>,
    /// Page indexes of companions that come as a TTL and go on as an expiry: of single cells, and of elements.
    pub(super) ttls: [Vec<usize>; 2],
}

/// The columns of a primary key as CQL spells them.
#[derive(Clone)]
pub(super) struct Keys {
    /// The table.
    pub(super) table: String,
    /// Of the partition key.
    pub(super) partition: Vec<String>,
    /// Clustering columns, and whether rows stand in descending order of them.
    pub(super) clustering: Vec<(String, bool)>,
}

impl Keys {
    fn of(table: &Table) -> Keys {
        let spelt = |kind| table.of_kind(kind).map(|c| (Ident(&c.name).to_string(), c.descending));
        Keys {
            table: format!("{}.{}", Ident(&table.keyspace), Ident(&table.name)),
            partition: spelt(ColumnKind::PartitionKey).map(|(name, _)| name).collect(),
            clustering: spelt(ColumnKind::Clustering).collect(),
        }
    }
}

/// How large rows are, as far as the last page tells. A scan that begins goes by what all have learnt, one that goes on by
/// its own pages: what others read says nothing of the partition that it is in.
#[derive(Default)]
pub(super) struct Sizes {
    /// Bytes.
    page: AtomicU64,
    /// Rows that the next page should have; 0 before the first one.
    rows: AtomicU64,
}

impl Sizes {
    /// The same for a scan that begins.
    pub(super) fn own(&self) -> Sizes {
        Sizes { page: AtomicU64::new(self.page.load(Relaxed)), rows: AtomicU64::new(self.rows.load(Relaxed)) }
    }

    /// Bytes that the next page will take, as far as can be told.
    pub(super) fn page_bytes(&self) -> usize {
        usize::try_from(self.page.load(Relaxed).max(PAGE_BYTES)).unwrap_or(usize::MAX)
    }

    pub(super) fn rows(&self) -> u64 {
        match self.rows.load(Relaxed) {
            0 => FIRST_PAGE_ROWS,
            rows => rows,
        }
    }

    /// Learns from a page of so many rows and bytes. What is left over at the end of a range is a small page of rows that
    /// are no larger.
    pub(super) fn learn(&self, rows: u64, bytes: u64) {
        self.page.store(bytes, Relaxed);
        let fitting = rows.saturating_mul(PAGE_BYTES) / bytes.max(1);
        let most = rows.saturating_mul(GROWTH).max(self.rows()).clamp(FIRST_PAGE_ROWS, MAX_PAGE_ROWS);
        self.rows.store(fitting.clamp(1, most), Relaxed);
    }
}

impl Scan {
    /// Prepares the scan of all columns and companions, in page order.
    ///
    /// # Errors
    /// `Error` names the table, of which a column of a legacy custom type cannot be prepared by the driver, or a
    /// partitioner without tokens to scan by.
    pub async fn prepare(cluster: &Cluster, table: &Table) -> Result<Scan> {
        let partitioner = cluster.partitioner()?;
        let keys = Keys::of(table);
        let key = keys.partition.join(", ");
        let columns: Vec<String> = table.columns.iter().map(|c| Ident(&c.name).to_string()).collect();
        let mut columns = columns.join(", ");
        let mut ttls = [Vec::new(), Vec::new()];
        for (index, companion) in (table.columns.len()..).zip(&table.companions) {
            let column = &table.columns[companion.column];
            let function = match companion.tells {
                Tells::WriteTime => "writetime",
                Tells::Expiry => {
                    ttls[usize::from(column.cql_type.has_elements())].push(index);
                    "ttl"
                }
            };
            columns.push_str(&format!(", {function}({})", Ident(&column.name)));
        }
        let select = format!("SELECT {columns} FROM {}", keys.table);
        let query = format!("{select} WHERE token({key}) > ? AND token({key}) <= ?");
        let partition = table.indexes(ColumnKind::PartitionKey);
        let doing = || format!("prepare the scan of {}", table.full_name());
        let mut statement = cluster.prepare(&query).await.doing(doing)?;
        statement.set_execution_profile_handle(Some(cluster.data.clone()));
        let tablets = tablets::Known::read(cluster, &table.keyspace, &table.name).await;
        Ok(Scan {
            statement,
            select,
            keys,
            name: table.full_name(),
            key: Arc::new(KeyText::of(table)?),
            width: table.width(),
            partitioner,
            clustering: table.indexes(ColumnKind::Clustering),
            texts: partition.iter().copied().filter(|c| is_text(&table.columns[*c].cql_type)).collect(),
            partition,
            sizes: Arc::default(),
            tablets: Arc::new(tablets),
            ttls,
        })
    }

    /// What makes the tokens that it goes by.
    pub fn partitioner(&self) -> Partitioner {
        self.partitioner
    }

    /// The token, in this cluster, of a row's partition; the page may be of any source that has the table's columns.
    pub fn token(&self, page: &Page, row: usize) -> Token {
        let cell = |column: &usize| page.cell(row, *column).unwrap_or_default();
        match &self.partition[..] {
            [column] => self.partitioner.token(&[cell(column)]),
            columns => self.partitioner.token(&columns.iter().map(cell).collect::<Vec<_>>()),
        }
    }

    /// Begins scanning `range`.
    pub fn range<'a>(&self, cluster: &'a Cluster, range: Interval) -> RangeScan<'a> {
        RangeScan {
            cluster,
            scan: self.clone(),
            sizes: self.sizes.own(),
            range,
            rest: Vec::new(),
            state: Some(PagingState::start()),
            last: range.start,
            last_key: Vec::new(),
            ends: Ends::default(),
            turn: 0,
            again: None,
        }
    }

    /// The primary key of a row.
    pub(super) fn row_key(&self, page: &Page, row: usize) -> Vec<Option<Vec<u8>>> {
        let columns = self.partition.iter().chain(&self.clustering);
        columns.map(|column| page.cell(row, *column).map(<[u8]>::to_vec)).collect()
    }

    /// Whether servers cannot go on from a row: they spell the partition key for a trace that nobody reads, and a text
    /// that they took but cannot spell (surrogates) fails the read, each time (`PartitionRangeReadCommand.queryStorage`;
    /// measured on 4.1.10 and 5.0.6).
    fn cannot_go_on_from(&self, page: &Page, row: usize) -> bool {
        let spelt =
            |column: &usize| page.cell(row, *column).is_none_or(|cell| std::str::from_utf8(cell).is_ok());
        !self.texts.iter().all(spelt)
    }

    /// How many rows at the end of the page have the token of its last one.
    fn trail(&self, page: &Page) -> usize {
        let last = page.rows() - 1;
        let token = self.token(page, last);
        (0..last).rev().take_while(|row| self.token(page, *row) == token).count() + 1
    }
}

fn is_text(cql_type: &CqlType) -> bool {
    matches!(cql_type, CqlType::Native(Native::Text | Native::Ascii))
}

impl Cluster {
    /// How many cells of a column are not null: counted by the servers, for a column whose cells cannot be read.
    ///
    /// # Errors
    /// `Error` names the column and the range, or a partitioner without tokens to count by.
    pub async fn count_cells(&self, table: &Table, column: usize, ranges: &[Interval]) -> Result<u64> {
        let partitioner = self.partitioner()?;
        let key: Vec<String> =
            table.of_kind(ColumnKind::PartitionKey).map(|c| Ident(&c.name).to_string()).collect();
        let (key, name) = (key.join(", "), Ident(&table.columns[column].name));
        let place = || format!("count the cells of {}.{name}", table.full_name());
        let query = format!(
            "SELECT count({name}) FROM {}.{} WHERE token({key}) > ? AND token({key}) <= ?",
            Ident(&table.keyspace),
            Ident(&table.name)
        );
        let mut statement = self.prepare(&query).await.doing(place)?;
        statement.set_execution_profile_handle(Some(self.data.clone()));
        let mut total = 0_u64;
        for range in ranges {
            let place = || format!("{}, token range {range}", place());
            let bounds = Bounds::of(partitioner, range.start, range.end);
            let count = || self.session.execute_unpaged(&statement, &bounds);
            let answer = self.persist(count, verdict).await.doing(place)?;
            let rows = answer.into_rows_result().doing(place)?;
            let (count,) = rows.single_row::<(i64,)>().doing(place)?;
            total = total.saturating_add(u64::try_from(count).unwrap_or(0));
        }
        Ok(total)
    }
}

/// What is bound to `token(key) > ? AND token(key) <= ?`.
pub(super) struct Bounds([Vec<u8>; 2]);

impl Bounds {
    pub(super) fn of(partitioner: Partitioner, start: Token, end: Token) -> Bounds {
        Bounds([start, end].map(|token| partitioner.bound(token)))
    }
}

impl SerializeRow for Bounds {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for bound in &self.0 {
            writer.make_cell_writer().set_value(bound).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// A token range being scanned.
pub struct RangeScan<'a> {
    cluster: &'a Cluster,
    scan: Scan,
    sizes: Sizes,
    /// What is being asked for.
    range: Interval,
    /// What follows it, where it had to be halved: the next one last.
    rest: Vec<Interval>,
    state: Option<PagingState>,
    /// The last token read.
    last: Token,
    /// The primary key of the last row read.
    last_key: Vec<Option<Vec<u8>>>,
    /// Where pages of the last token ended.
    ends: Ends,
    /// Attempts that failed so far: each goes to another replica than the one before, and one that answers is kept to.
    turn: usize,
    /// Where to go on without a paging state.
    again: Option<Again>,
}

/// A place in the middle of a range: the rows of its last token are asked for again.
struct Again {
    /// How many of them there have been.
    skip: usize,
    /// The primary key of the last one.
    key: Vec<Option<Vec<u8>>>,
    /// Rows to ask for besides.
    more: usize,
    /// Rows of the last answer to that; where asking for more brings no more, the paging state has to do.
    seen: usize,
}

impl RangeScan<'_> {
    /// What is being asked for: what lies before it has been read whole, what lies beyond it has not been tried yet.
    pub fn asked(&self) -> Interval {
        self.range
    }

    /// Bytes that the next page will take, as far as can be told.
    pub fn page_bytes(&self) -> usize {
        self.sizes.page_bytes()
    }

    /// The next page that holds rows, `None` at the end of the range.
    ///
    /// # Errors
    /// `Error` names the table and the range once no attempt is left.
    pub async fn next_page(&mut self) -> Result<Option<Page>> {
        loop {
            let Some(state) = self.state.take() else {
                let Some(next) = self.rest.pop() else { return Ok(None) };
                (self.range, self.last, self.again) = (next, next.start, None);
                self.last_key.clear();
                self.state = Some(PagingState::start());
                continue;
            };
            let state = if self.again.is_some() { PagingState::start() } else { state };
            let (rows, next, asked) = self.fetch(state).await?;
            if let ControlFlow::Continue(state) = next.into_paging_control_flow() {
                self.state = Some(state);
            }
            if self.again.is_some() && self.state.is_some() && rows.rows_num() == 0 {
                return Err(self.changed());
            }
            // A page may be empty with more to come: only the paging state tells the end.
            if rows.rows_num() > 0 {
                let page = page(&rows, self.scan.width).map_err(|e| e.context(self.place()))?;
                for sizes in [&self.sizes, &*self.scan.sizes] {
                    sizes.learn(page.rows() as u64, rows.rows_bytes_size() as u64);
                }
                let Some(page) = self.advance(page)? else { continue };
                let page = expiries(page, &self.scan.ttls, asked).doing(|| self.place())?;
                return Ok(Some(page));
            }
        }
    }

    /// Ends the scan at a token that lies past the last page: another worker reads the rest. The paging state stays good:
    /// servers take the end from the request (measured on 4.1 and 5.0).
    pub fn end_at(&mut self, end: Token) {
        self.range.end = self.range.end.min(end);
        self.rest.retain(|later| later.start < end);
        if let Some(last) = self.rest.first_mut() {
            last.end = last.end.min(end);
        }
    }

    fn changed(&self) -> Error {
        Error::failed(format!("{}: a partition changed while it was read", self.place())).hint(
            "its key is text that the server cannot spell, so it is read anew for every page: try again",
        )
    }

    /// Takes note of where a page ends; answers what of it is new.
    fn advance(&mut self, page: Page) -> Result<Option<Page>> {
        let all = page.rows();
        let [first, end] = [0, all - 1].map(|row| self.scan.token(&page, row));
        if first < self.last || ![first, end].iter().all(|token| self.range.contains(*token)) {
            return Err(mixed_up(&self.place(), "tokens"));
        }
        let known = match self.again.take() {
            None => 0,
            Some(again) if self.state.is_some() && all <= again.skip && all > again.seen => {
                let more = again.more.saturating_mul(2);
                self.again = Some(Again { more, seen: all, ..again });
                return Ok(None);
            }
            Some(again) if all >= again.skip && self.scan.row_key(&page, again.skip - 1) == again.key => {
                again.skip
            }
            Some(_) => {
                return Err(self.changed());
            }
        };
        if all == known {
            return Ok(None);
        }
        let last = all - 1;
        if end != self.last {
            self.ends = Ends::default();
        }
        self.last = end;
        self.last_key = self.scan.row_key(&page, last);
        if self.ends.come_again(&self.last_key) {
            return Err(came_before(&self.place()));
        }
        if self.state.is_some() && self.scan.cannot_go_on_from(&page, last) {
            // If the page is all of this token, it begins with those that were known.
            let (skip, key) = (self.scan.trail(&page), self.last_key.clone());
            self.again = Some(Again { skip, key, more: all - known, seen: 0 });
        }
        Ok(Some(if known == 0 { page } else { page.part(known..all) }))
    }

    /// The next page, and when it was asked for by the cluster's clock, s since 1970.
    async fn fetch(&mut self, state: PagingState) -> Result<(QueryRowsResult, PagingStateResponse, i64)> {
        let mut failed = 0;
        let mut rows = self.sizes.rows();
        loop {
            let (error, verdict) = match self.attempt(state.clone(), rows).await {
                Ok((result, next, asked)) => {
                    return Ok((result.into_rows_result().doing(|| self.place())?, next, asked));
                }
                Err(error) => {
                    let verdict = verdict(&error);
                    (error, verdict)
                }
            };
            failed += 1;
            self.turn = self.turn.wrapping_add(1);
            tracing::debug!("{}: {error}; attempt {failed} failed", self.place());
            // A range full of tombstones fails as often as it is asked for, while its halves, or fewer rows, may not.
            if verdict.is_of_size() && (self.halve() || fewer(&mut rows)) {
                failed = 0;
                if verdict == Verdict::Doubtful {
                    tokio::time::sleep(backoff(1)).await;
                }
                continue;
            }
            if !self.cluster.patience.again(verdict, failed) {
                return Err(self.given_up(&error, verdict, failed));
            }
            rows = (rows / 2).max(1);
            if failed >= PATIENCE {
                self.halve();
            }
            tokio::time::sleep(backoff(failed)).await;
            self.scan.tablets.read_again(self.cluster).await;
        }
    }

    /// Asks for a page of so many rows once.
    async fn attempt(
        &mut self,
        state: PagingState,
        rows: u64,
    ) -> Result<(QueryResult, PagingStateResponse, i64), ExecutionError> {
        let (start, rows) = match &self.again {
            None => (self.range.start, rows),
            Some(again) => (self.last.saturating_sub(1), rows.max((again.skip + again.more) as u64)),
        };
        // The same range keeps to one replica, whose cache has what comes next, and ranges spread over all of them.
        let turn = usize::try_from(self.range.start.unsigned_abs() >> 40).unwrap_or(0);
        let next = At { token: self.last.saturating_add(1), tablets: self.scan.tablets.tablets() };
        let route = self.cluster.to_replica(Some(next), turn.wrapping_add(self.turn));
        self.scan.statement.set_page_size(i32::try_from(rows).unwrap_or(i32::MAX));
        self.scan.statement.set_load_balancing_policy(route);
        let bounds = Bounds::of(self.scan.partitioner, start, self.range.end);
        let _pass = self.cluster.reads.enter().await;
        let (sent, asked) = (Instant::now(), self.cluster.now().div_euclid(1_000_000));
        let answer = self.cluster.session.execute_single_page(&self.scan.statement, &bounds, state).await;
        self.cluster.reads.told(sent, answer.as_ref().err().map(verdict));
        answer.map(|(result, next)| (result, next, asked))
    }

    /// The error of a range for which no attempt is left. Where it has come down to one partition, that is named.
    fn given_up(&self, error: &ExecutionError, verdict: Verdict, failed: u32) -> Error {
        let partition = match self.is_one_token() && verdict.is_of_size() {
            true => self.partition(),
            false => String::new(),
        };
        let attempts = attempts(failed);
        Error::failed(format!("{}{partition}: {error} ({attempts})", self.place()))
            .hint(remedy(error))
            .hint("the range was not read whole")
    }

    /// Which partition it is that is being read, or begun, of a range of one token.
    fn partition(&self) -> String {
        if self.last_key.is_empty() {
            return format!(", the partition of token {}, of which no row can be read", self.range.end);
        }
        let columns = [&self.scan.partition[..], &self.scan.clustering].concat();
        let cell = |column| self.last_key.get(columns.iter().position(|c| *c == column)?)?.as_deref();
        format!(", after the row {}", self.scan.key.text(cell))
    }

    /// Whether what is left of the range is a single token, or the rest of one that is being read.
    fn is_one_token(&self) -> bool {
        Interval { start: self.last, end: self.range.end }.span() <= 1
    }

    /// Puts off the upper half of what is left of the range; answers false if nothing can be put off. The paging state
    /// stays good: servers take the place to go on from it, and the end from the request (measured on 4.1 and 5.0).
    fn halve(&mut self) -> bool {
        let left = Interval { start: self.last, end: self.range.end };
        let middle = self.last.checked_add_unsigned(left.span() / 2).unwrap_or(self.last);
        if middle == self.last || middle == self.range.end {
            return false;
        }
        self.rest.push(Interval { start: middle, end: self.range.end });
        self.range.end = middle;
        true
    }

    fn place(&self) -> String {
        format!("scan {}, token range ({}, {}]", self.scan.name, self.range.start, self.range.end)
    }
}

/// The error of an answer that is not to this request. The protocol has no checksums, so an answer may be that to another
/// one: rows would be lost in silence.
pub(super) fn mixed_up(doing: &str, what: &str) -> Error {
    Error::failed(format!("{doing}: the answer holds rows of other {what}")).hint(MIXED_UP)
}

/// The error of an answer that has been one already: what should have come instead would be lost in silence.
pub(super) fn came_before(doing: &str) -> Error {
    Error::failed(format!("{doing}: the answer is one that came before")).hint(MIXED_UP)
}

const MIXED_UP: &str = "an answer was damaged or mixed up on its way: try again";

/// Where the pages of a partition have ended: the keys of a page that comes a second time fit as well as they did the
/// first time, and in a server's order only the server can put them.
#[derive(Default)]
pub(super) struct Ends(HashSet<u64>);

impl Ends {
    /// Takes note of the primary key of a page's last row; answers whether another page ended with it.
    pub(super) fn come_again(&mut self, key: &[Option<Vec<u8>>]) -> bool {
        let hash = self.0.hasher().hash_one(key);
        !self.0.insert(hash)
    }
}

/// Makes a page much smaller; answers false if it has one row already.
pub(super) fn fewer(rows: &mut u64) -> bool {
    let more = *rows > 1;
    *rows = (*rows / SHRINKAGE).max(1);
    more
}

/// The page with its TTLs, which are seconds from when it was asked for, as moments.
pub(super) fn expiries(page: Page, [cells, elements]: &[Vec<usize>; 2], asked: i64) -> Result<Page, BadTtl> {
    let expiry = |ttl: &[u8]| Some(asked + i64::from(i32::from_be_bytes(ttl.try_into().ok()?)));
    let page = page.replacing(cells, |ttl, out| {
        out.extend_from_slice(&expiry(ttl).ok_or(BadTtl::Bytes)?.to_be_bytes());
        Ok::<_, BadTtl>(())
    })?;
    page.replacing(elements, |mut list, out| {
        out.extend_from_slice(list.get(..4).ok_or(BadTtl::Bytes)?);
        for _ in 0..take_count(&mut list, 4).ok_or(BadTtl::Bytes)? {
            match take_cell(&mut list).ok_or(BadTtl::Bytes)? {
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(ttl) => {
                    out.extend_from_slice(&8_i32.to_be_bytes());
                    out.extend_from_slice(&expiry(ttl).ok_or(BadTtl::Bytes)?.to_be_bytes());
                }
            }
        }
        Ok(())
    })
}

/// A TTL that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadTtl {
    #[error("the server sent a TTL that is none")]
    Bytes,
    #[error(transparent)]
    Page(#[from] BadPage),
}

/// The page in the bytes the server sent: every cell's slice knows the frame it lies in, and the frame of a result page
/// is exactly its rows. A key cell is never null, so the first row always has such a slice.
pub(super) fn page(rows: &QueryRowsResult, width: usize) -> Result<Page> {
    let doing = || "read a page";
    let mut first = rows.rows::<ColumnIterator>().doing(doing)?;
    let mut bytes = Bytes::new();
    if let Some(row) = first.next() {
        for column in row.doing(doing)? {
            if let Some(slice) = column.doing(doing)?.slice {
                bytes = slice.as_original_frame_bytes().clone();
                break;
            }
        }
    }
    if bytes.len() != rows.rows_bytes_size() {
        return Err(Error::failed(
            "the driver did not give the bytes of a page whole; this is a defect of cqlift",
        ));
    }
    Page::from_wire(bytes, rows.rows_num(), width).doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_steered_to_their_bytes() {
        let sizes = Sizes::default();
        let mut asked = Vec::new();
        // Rows of 100 bytes.
        for _ in 0..5 {
            asked.push(sizes.rows());
            sizes.learn(sizes.rows(), 100 * sizes.rows());
        }
        assert_eq!(asked, [2, 32, 512, 5_000, 5_000]);
        sizes.learn(10, 1000);
        assert_eq!(
            sizes.rows(),
            5_000,
            "what was left over at the end of a range says nothing of what comes"
        );
        sizes.learn(10_000, 40 << 20);
        assert_eq!(sizes.rows(), 250, "rows have become larger");
        sizes.learn(1, 16 << 20);
        assert_eq!(sizes.rows(), 1);
        // One that goes on in large rows is not told by others that they are small.
        let own = sizes.own();
        assert_eq!((own.rows(), own.page_bytes()), (1, 16 << 20));
        (0..9).for_each(|_| sizes.learn(sizes.rows(), 100 * sizes.rows()));
        assert_eq!((sizes.rows(), own.rows(), own.page_bytes()), (5_000, 1, 16 << 20));
    }

    #[test]
    fn a_page_that_ends_where_another_did_has_come_before() {
        let key = |row: u8| vec![Some(b"k".to_vec()), None, Some(vec![row])];
        let mut ends = Ends::default();
        assert!(!ends.come_again(&key(1)) && !ends.come_again(&key(2)));
        assert!(ends.come_again(&key(1)) && !ends.come_again(&key(3)));
    }
}
