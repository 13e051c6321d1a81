//! Scanning: the rows of a token range, page by page, in the bytes the server sent, with the companions of a table's
//! columns behind them. Retries a page that failed; which ranges to scan is left to the caller.

use super::Cluster;
use super::retry::{ATTEMPTS, Verdict, backoff, verdict};
use crate::error::{Context, Error, Result};
use crate::ring::Interval;
use crate::rows::{BadPage, Page, take_cell};
use crate::table::{ColumnKind, Table, Tells};
use crate::types::cql::Ident;
use crate::types::parts::take_count;
use bytes::Bytes;
use scylla::deserialize::row::ColumnIterator;
use scylla::response::query_result::QueryRowsResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;
use std::ops::ControlFlow;

/// Rows of a range's first page: enough to learn how large rows are, few enough for rows of a megabyte.
const FIRST_PAGE_ROWS: i32 = 100;
/// Bytes a page is steered to.
const PAGE_BYTES: usize = 1 << 20;
/// Rows a page never passes, however small they are.
const MAX_PAGE_ROWS: i32 = 10_000;

/// A prepared scan of one table.
#[derive(Clone)]
pub struct Scan {
    statement: PreparedStatement,
    name: String,
    width: usize,
    /// Page indexes of companions that come as a TTL and go on as an expiry: of single cells, and of elements.
    ttls: [Vec<usize>; 2],
}

impl Scan {
    /// Prepares the scan of all columns and companions, in page order.
    ///
    /// # Errors
    /// `Error` names the table; a column of a legacy custom type cannot be prepared by the driver.
    pub async fn prepare(cluster: &Cluster, table: &Table) -> Result<Scan> {
        let list = |kind: Option<ColumnKind>| {
            let wanted = table.columns.iter().filter(|c| kind.is_none_or(|k| c.kind == k));
            wanted.map(|c| Ident(&c.name).to_string()).collect::<Vec<_>>().join(", ")
        };
        let key = list(Some(ColumnKind::PartitionKey));
        let mut columns = list(None);
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
        let query = format!(
            "SELECT {columns} FROM {}.{} WHERE token({key}) > ? AND token({key}) <= ?",
            Ident(&table.keyspace),
            Ident(&table.name),
        );
        let doing = || format!("prepare the scan of {}", table.full_name());
        let mut statement = cluster.session.prepare(query).await.doing(doing)?;
        statement.set_execution_profile_handle(Some(cluster.data.clone()));
        Ok(Scan { statement, name: table.full_name(), width: table.width(), ttls })
    }

    /// Begins scanning `range`.
    pub fn range<'a>(&self, cluster: &'a Cluster, range: Interval) -> RangeScan<'a> {
        RangeScan {
            cluster,
            scan: self.clone(),
            range,
            state: Some(PagingState::start()),
            rows: FIRST_PAGE_ROWS,
        }
    }
}

impl Cluster {
    /// How many cells of a column are not null: counted by the servers, for a column whose cells cannot be read.
    ///
    /// # Errors
    /// `Error` names the column and the range.
    pub async fn count_cells(&self, table: &Table, column: usize, ranges: &[Interval]) -> Result<u64> {
        let key: Vec<String> =
            table.of_kind(ColumnKind::PartitionKey).map(|c| Ident(&c.name).to_string()).collect();
        let (key, name) = (key.join(", "), Ident(&table.columns[column].name));
        let place = || format!("count the cells of {}.{name}", table.full_name());
        let query = format!(
            "SELECT count({name}) FROM {}.{} WHERE token({key}) > ? AND token({key}) <= ?",
            Ident(&table.keyspace),
            Ident(&table.name)
        );
        let mut statement = self.session.prepare(query).await.doing(place)?;
        statement.set_execution_profile_handle(Some(self.data.clone()));
        let mut total = 0_u64;
        for range in ranges {
            let place = || format!("{}, token range {range}", place());
            let answer = self.session.execute_unpaged(&statement, (range.start, range.end)).await;
            let rows = answer.doing(place)?.into_rows_result().doing(place)?;
            let (count,) = rows.single_row::<(i64,)>().doing(place)?;
            total = total.saturating_add(u64::try_from(count).unwrap_or(0));
        }
        Ok(total)
    }
}

/// A token range being scanned.
pub struct RangeScan<'a> {
    cluster: &'a Cluster,
    scan: Scan,
    range: Interval,
    state: Option<PagingState>,
    rows: i32,
}

impl RangeScan<'_> {
    /// The next page that holds rows, `None` at the end of the range.
    ///
    /// # Errors
    /// `Error` names the table and the range once no attempt is left.
    pub async fn next_page(&mut self) -> Result<Option<Page>> {
        while let Some(state) = self.state.take() {
            let (rows, next, asked) = self.fetch(state).await?;
            if let ControlFlow::Continue(state) = next.into_paging_control_flow() {
                self.state = Some(state);
            }
            // A page may be empty with more to come: only the paging state tells the end.
            if rows.rows_num() > 0 {
                let page = page(&rows, self.scan.width).map_err(|e| e.context(self.place()))?;
                self.steer(page.rows(), rows.rows_bytes_size());
                let page = expiries(page, &self.scan.ttls, asked).doing(|| self.place())?;
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    /// The next page, and when it was asked for by the cluster's clock, s since 1970.
    async fn fetch(&mut self, state: PagingState) -> Result<(QueryRowsResult, PagingStateResponse, i64)> {
        let bounds = (self.range.start, self.range.end);
        let mut attempt = 0;
        loop {
            self.scan.statement.set_page_size(self.rows);
            let asked = self.cluster.now().div_euclid(1_000_000);
            let result =
                self.cluster.session.execute_single_page(&self.scan.statement, bounds, state.clone()).await;
            let error = match result {
                Ok((result, next)) => {
                    return Ok((result.into_rows_result().doing(|| self.place())?, next, asked));
                }
                Err(error) => error,
            };
            attempt += 1;
            if verdict(&error) == Verdict::Never || attempt >= ATTEMPTS {
                return Err(Error::failed(format!("{}: {error} (attempt {attempt})", self.place()))
                    .hint("the range was not read whole, so the dump is not finished"));
            }
            tracing::debug!("{}: {error}; attempt {attempt} failed, trying again", self.place());
            self.rows = (self.rows / 2).max(1);
            tokio::time::sleep(backoff(attempt, self.range.start.unsigned_abs())).await;
        }
    }

    fn steer(&mut self, rows: usize, bytes: usize) {
        let fitting = rows.saturating_mul(PAGE_BYTES) / bytes.max(1);
        self.rows = i32::try_from(fitting).unwrap_or(MAX_PAGE_ROWS).clamp(1, MAX_PAGE_ROWS);
    }

    fn place(&self) -> String {
        format!("scan {}, token range ({}, {}]", self.scan.name, self.range.start, self.range.end)
    }
}

/// The page with its TTLs, which are seconds from when it was asked for, as moments.
fn expiries(page: Page, [cells, elements]: &[Vec<usize>; 2], asked: i64) -> Result<Page, BadTtl> {
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
enum BadTtl {
    #[error("the server sent a TTL that is none")]
    Bytes,
    #[error(transparent)]
    Page(#[from] BadPage),
}

/// The page in the bytes the server sent: every cell's slice knows the frame it lies in, and the frame of a result page
/// is exactly its rows. A key cell is never null, so the first row always has such a slice.
fn page(rows: &QueryRowsResult, width: usize) -> Result<Page> {
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
