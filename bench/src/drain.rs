//! Fetches a table by token ranges and throws it away: what the server can give.

use crate::Result;
use crate::server::Columns;
use futures::stream::{self, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::time::Instant;

/// What to fetch, and how.
#[derive(clap::Args)]
pub struct Drain {
    /// The table, as keyspace.table.
    table: String,
    /// Columns to fetch, as CQL spells them [default: all].
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Fetch `writetime()` and `ttl()` of every column outside the primary key too.
    #[arg(long)]
    times: bool,
    /// Equal token ranges that the ring is cut into.
    #[arg(long, default_value_t = 64)]
    ranges: u32,
    /// Ranges that are fetched at once.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// Rows of a page.
    #[arg(long, default_value_t = 5000)]
    page_rows: i32,
}

/// What came.
#[derive(Default)]
struct Got {
    rows: usize,
    bytes: usize,
    pages: usize,
}

impl Got {
    fn and(self, other: Got) -> Got {
        Got { rows: self.rows + other.rows, bytes: self.bytes + other.bytes, pages: self.pages + other.pages }
    }
}

impl Drain {
    /// Fetches everything; tells rows, bytes, pages and seconds.
    ///
    /// # Errors
    /// If any page fails: nothing is tried again.
    pub async fn run(&self, session: &Session) -> Result<Value> {
        let statement = self.prepare(session).await?;
        let begun = Instant::now();
        let got = stream::iter(0..self.ranges)
            .map(|index| fetch(session, &statement, range(index, self.ranges)))
            .buffer_unordered(self.in_flight)
            .try_fold(Got::default(), async |sum, got| Ok(sum.and(got)))
            .await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(json!({
            "table": self.table, "rows": got.rows, "bytes": got.bytes, "pages": got.pages, "seconds": seconds,
        }))
    }

    async fn prepare(&self, session: &Session) -> Result<PreparedStatement> {
        let known = Columns::of(session, &self.table).await?;
        let mut wanted: Vec<String> = match self.columns.as_slice() {
            [] => known.all().into_iter().map(str::to_owned).collect(),
            chosen => chosen.to_vec(),
        };
        if self.times {
            wanted
                .extend(known.regular.iter().flat_map(|c| [format!("writetime({c})"), format!("ttl({c})")]));
        }
        let (wanted, key) = (wanted.join(", "), known.partition.join(", "));
        let query =
            format!("SELECT {wanted} FROM {} WHERE token({key}) > ? AND token({key}) <= ?", self.table);
        let mut statement = session.prepare(query).await?;
        statement.set_page_size(self.page_rows);
        Ok(statement)
    }
}

async fn fetch(session: &Session, statement: &PreparedStatement, range: (i64, i64)) -> Result<Got> {
    let mut got = Got::default();
    let mut state = PagingState::start();
    loop {
        let (page, next) = session.execute_single_page(statement, range, state).await?;
        let page = page.into_rows_result()?;
        got = got.and(Got { rows: page.rows_num(), bytes: page.rows_bytes_size(), pages: 1 });
        match next.into_paging_control_flow() {
            ControlFlow::Continue(next) => state = next,
            ControlFlow::Break(()) => return Ok(got),
        }
    }
}

/// The bounds `(start, end]` of the range `index` of `count` that tile the ring.
fn range(index: u32, count: u32) -> (i64, i64) {
    let bound = |index: u32| {
        let offset = (i128::from(index) << 64) / i128::from(count.max(1));
        i64::try_from(i128::from(i64::MIN) + offset).unwrap_or(i64::MAX)
    };
    (bound(index), bound(index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tile_the_ring() {
        for count in [1, 3, 64] {
            let ranges: Vec<_> = (0..count).map(|index| range(index, count)).collect();
            assert_eq!(ranges[0].0, i64::MIN);
            assert_eq!(ranges[ranges.len() - 1].1, i64::MAX);
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
        }
        assert_eq!(range(1, 4), (-(1 << 62), 0));
    }
}
