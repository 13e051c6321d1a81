//! Fills a table, every row at a write time of its own, as if it had been written one by one.

use crate::Result;
use crate::data::Kind;
use crate::row::Row;
use crate::server::quoted;
use futures::stream::{self, StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Instant;

/// What to make.
#[derive(clap::Args)]
pub struct Make {
    /// The table to make, as keyspace.table. One of this name is dropped first.
    table: String,
    /// What kind of table.
    kind: Kind,
    /// Its rows; 0 makes it empty.
    #[arg(long, default_value_t = 0)]
    rows: u64,
    /// Rows of a partition [default: iot 100, wide 10, users and blobs 1].
    #[arg(long)]
    partition_rows: Option<u64>,
    /// Rows of one more partition.
    #[arg(long, value_name = "ROWS", default_value_t = 0)]
    large_partition: u64,
    /// Size of a blob, in bytes.
    #[arg(long, default_value_t = 16 << 10)]
    blob_bytes: usize,
    /// Keep the server from compacting the table, as a target for loads that are timed.
    #[arg(long)]
    no_compaction: bool,
}

/// Where write times begin, µs since 1970.
const FIRST_WRITE_TIME: u64 = 1_700_000_000_000_000;

/// Bytes of blobs that are under way at once; of small rows, requests.
const IN_FLIGHT_BYTES: usize = 16 << 20;
const IN_FLIGHT: usize = 128;

/// Requests for one partition, which a server takes one after the other.
const IN_FLIGHT_OF_ONE: usize = 8;

/// Rows of a batch: more than a few hundred bring a server nothing.
const BATCH: usize = 100;

impl Make {
    /// Makes the table and its rows; tells rows and seconds.
    ///
    /// # Errors
    /// If any statement fails: nothing is tried again.
    pub async fn run(&self, session: &Session) -> Result<Value> {
        self.create(session).await?;
        let insert = self.prepare(session).await?;
        let begun = Instant::now();
        let in_flight = match self.kind {
            Kind::Blobs => (IN_FLIGHT_BYTES / self.blob_bytes.max(1)).clamp(1, IN_FLIGHT),
            Kind::Iot | Kind::Users | Kind::Wide => IN_FLIGHT,
        };
        let size = self.partition_rows();
        let partitions = self.rows.div_ceil(size);
        let small = (0..partitions).map(|partition| (partition, 0..size.min(self.rows - partition * size)));
        let pieces = (0..self.large_partition).step_by(BATCH);
        let large = pieces.map(|first| (partitions, first..self.large_partition.min(first + BATCH as u64)));
        self.write_all(session, &insert, small, in_flight).await?;
        self.write_all(session, &insert, large, in_flight.min(IN_FLIGHT_OF_ONE)).await?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(json!({ "table": self.table, "rows": self.rows + self.large_partition, "seconds": seconds }))
    }

    fn partition_rows(&self) -> u64 {
        self.partition_rows.unwrap_or(self.kind.rows_per_partition()).max(1)
    }

    async fn create(&self, session: &Session) -> Result<()> {
        let table = &self.table;
        let (keyspace, _) = table.split_once('.').ok_or_else(|| format!("{table} is not keyspace.table"))?;
        let columns = self.kind.columns();
        let columns: Vec<String> =
            columns.iter().map(|(name, cql)| format!("{} {cql}", quoted(name))).collect();
        let (columns, key) = (columns.join(", "), self.kind.key());
        let compaction = match self.no_compaction {
            true => " WITH compaction = {'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}",
            false => "",
        };
        for statement in [
            format!(
                "CREATE KEYSPACE IF NOT EXISTS {keyspace} \
                 WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
            ),
            format!("DROP TABLE IF EXISTS {table}"),
            format!("CREATE TABLE {table} ({columns}, PRIMARY KEY ({key})){compaction}"),
        ] {
            session.query_unpaged(statement, ()).await?;
        }
        session.await_schema_agreement().await?;
        Ok(())
    }

    async fn prepare(&self, session: &Session) -> Result<PreparedStatement> {
        let names: Vec<String> = self.kind.columns().iter().map(|(name, _)| quoted(name)).collect();
        let marks = vec!["?"; names.len()].join(", ");
        let names = names.join(", ");
        let insert = format!("INSERT INTO {} ({names}) VALUES ({marks}) USING TIMESTAMP ?", self.table);
        let mut insert = session.prepare(insert).await?;
        insert.set_is_idempotent(true);
        Ok(insert)
    }

    async fn write_all(
        &self,
        session: &Session,
        insert: &PreparedStatement,
        pieces: impl Iterator<Item = (u64, Range<u64>)>,
        in_flight: usize,
    ) -> Result<()> {
        let writes = pieces.map(|(partition, rows)| self.write(session, insert, partition, rows));
        stream::iter(writes).buffer_unordered(in_flight).try_collect().await
    }

    /// Writes rows of one partition.
    async fn write(
        &self,
        session: &Session,
        insert: &PreparedStatement,
        partition: u64,
        rows: Range<u64>,
    ) -> Result<()> {
        let first = partition * self.partition_rows();
        let rows: Vec<Row> = rows
            .map(|number| {
                let row = self.kind.row(partition, number, self.blob_bytes);
                row.cell(&(FIRST_WRITE_TIME + first + number).to_be_bytes())
            })
            .collect();
        if let [row] = rows.as_slice() {
            session.execute_unpaged(insert, row).await?;
            return Ok(());
        }
        for rows in rows.chunks(BATCH) {
            let mut batch =
                Batch::new_with_statements(BatchType::Unlogged, vec![insert.clone().into(); rows.len()]);
            batch.set_is_idempotent(true);
            session.batch(&batch, rows).await?;
        }
        Ok(())
    }
}
