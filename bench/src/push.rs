//! Writes a table that is in memory: what the server can take.

use crate::Result;
use crate::row::Row;
use crate::server::Columns;
use futures::stream::{self, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::deserialize::row::ColumnIterator;
use scylla::response::PagingState;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// What to write, and how.
#[derive(clap::Args)]
pub struct Push {
    /// The table to read, as keyspace.table.
    from: String,
    /// The table to write, of the same columns.
    to: String,
    /// Rows of one partition that are written in one unlogged batch, at most. A row that is alone is a single INSERT.
    #[arg(long, default_value_t = 100)]
    batch_rows: usize,
    /// Requests that are under way at once.
    #[arg(long, default_value_t = 32)]
    in_flight: usize,
    /// Give every row a write time and an expiry of its own: `USING TIMESTAMP ? AND TTL ?`.
    #[arg(long)]
    times: bool,
    /// Rows of a page when the table is read.
    #[arg(long, default_value_t = 5000)]
    page_rows: i32,
}

/// Where write times begin, µs since 1970: any time in the past will do.
const FIRST_WRITE_TIME: i64 = 1_700_000_000_000_000;

impl Push {
    /// Reads the one table, writes the other; tells rows, requests and seconds of the writing.
    ///
    /// # Errors
    /// If any request fails: nothing is tried again.
    pub async fn run(&self, session: &Session) -> Result<Value> {
        let columns = Columns::of(session, &self.from).await?;
        let groups = self.groups(self.read(session, &columns).await?, columns.partition.len());
        let insert = self.prepare(session, &columns).await?;
        let batches = batches(&insert, &groups);
        let begun = Instant::now();
        stream::iter(&groups)
            .map(|group| write(session, &insert, &batches, group))
            .buffer_unordered(self.in_flight)
            .try_collect::<()>()
            .await?;
        let seconds = begun.elapsed().as_secs_f64();
        let rows: usize = groups.iter().map(Vec::len).sum();
        Ok(json!({ "table": self.to, "rows": rows, "requests": groups.len(), "seconds": seconds }))
    }

    /// The rows in the order of the ring, so that those of one partition stand together.
    async fn read(&self, session: &Session, columns: &Columns) -> Result<Vec<Row>> {
        let query = format!("SELECT {} FROM {}", columns.all().join(", "), self.from);
        let mut select = session.prepare(query).await?;
        select.set_page_size(self.page_rows);
        let mut rows = Vec::new();
        let mut state = PagingState::start();
        loop {
            let (page, next) = session.execute_single_page(&select, (), state).await?;
            for row in page.into_rows_result()?.rows::<ColumnIterator<'_, '_>>()? {
                rows.push(self.timed(Row::received(row?)?, rows.len())?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => state = next,
                ControlFlow::Break(()) => return Ok(rows),
            }
        }
    }

    /// The row with what `USING` asks for behind its cells, if anything: a TTL of 0 is none.
    fn timed(&self, row: Row, index: usize) -> Result<Row> {
        if !self.times {
            return Ok(row);
        }
        let written = FIRST_WRITE_TIME + i64::try_from(index)?;
        Ok(row.cell(&written.to_be_bytes()).cell(&0_i32.to_be_bytes()))
    }

    fn groups(&self, rows: Vec<Row>, key_cells: usize) -> Vec<Vec<Row>> {
        let mut groups: Vec<Vec<Row>> = Vec::new();
        for row in rows {
            match groups.last_mut() {
                Some(group) if group.len() < self.batch_rows && group[0].begins_like(&row, key_cells) => {
                    group.push(row);
                }
                _ => groups.push(vec![row]),
            }
        }
        groups
    }

    async fn prepare(&self, session: &Session, columns: &Columns) -> Result<PreparedStatement> {
        let names = columns.all();
        let marks = vec!["?"; names.len()].join(", ");
        let using = if self.times { " USING TIMESTAMP ? AND TTL ?" } else { "" };
        let insert = format!("INSERT INTO {} ({}) VALUES ({marks}){using}", self.to, names.join(", "));
        let mut insert = session.prepare(insert).await?;
        insert.set_is_idempotent(true);
        Ok(insert)
    }
}

/// A batch for every size that occurs: they differ in nothing else.
fn batches(insert: &PreparedStatement, groups: &[Vec<Row>]) -> BTreeMap<usize, Batch> {
    let mut batches = BTreeMap::new();
    for size in groups.iter().map(Vec::len).filter(|size| *size > 1) {
        batches.entry(size).or_insert_with(|| {
            let mut batch =
                Batch::new_with_statements(BatchType::Unlogged, vec![insert.clone().into(); size]);
            batch.set_is_idempotent(true);
            batch
        });
    }
    batches
}

async fn write(
    session: &Session,
    insert: &PreparedStatement,
    batches: &BTreeMap<usize, Batch>,
    group: &[Row],
) -> Result<()> {
    match batches.get(&group.len()) {
        Some(batch) => session.batch(batch, group).await?,
        None => session.execute_unpaged(insert, &group[0]).await?,
    };
    Ok(())
}
