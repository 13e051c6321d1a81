//! The server: a session, the columns of a table, and when it has nothing left to do.

use crate::Result;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::TranslationError;
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use scylla::statement::Consistency;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The usual port of the native protocol.
pub const PORT: u16 = 9042;

/// Long enough for a truncation on a busy machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Compactions of a benchmark's tables end sooner.
const CALM_SECONDS: u32 = 60;

/// Every node is reached at one address.
struct Everywhere(SocketAddr);

#[async_trait::async_trait]
impl AddressTranslator for Everywhere {
    async fn translate_address(
        &self,
        _: &UntranslatedPeer,
    ) -> std::result::Result<SocketAddr, TranslationError> {
        Ok(self.0)
    }
}

/// A session with the server at `host`, at the consistency level ONE.
///
/// # Errors
/// If the address means nothing or nobody answers there.
pub async fn connect(host: &str, port: u16) -> Result<Session> {
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::One)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .build()
        .into_handle();
    let mut builder = SessionBuilder::new()
        .known_node(format!("{host}:{port}"))
        .fetch_schema_metadata(false)
        .default_execution_profile_handle(profile);
    if port != PORT {
        let mut found = tokio::net::lookup_host((host, port)).await?;
        let address = found.next().ok_or_else(|| format!("{host} has no address"))?;
        builder = builder.address_translator(Arc::new(Everywhere(address)));
    }
    Ok(builder.build().await?)
}

/// What a table consists of: names as CQL spells them.
pub struct Columns {
    /// Of the partition key, in its order.
    pub partition: Vec<String>,
    /// Of the clustering key, in its order.
    pub clustering: Vec<String>,
    /// All others, by name.
    pub regular: Vec<String>,
}

impl Columns {
    /// Asks the server for those of `table`, given as keyspace.table.
    ///
    /// # Errors
    /// If there is no such table.
    pub async fn of(session: &Session, table: &str) -> Result<Columns> {
        let (keyspace, name) =
            table.split_once('.').ok_or_else(|| format!("{table} is not keyspace.table"))?;
        let query = "SELECT kind, position, column_name FROM system_schema.columns \
                     WHERE keyspace_name = ? AND table_name = ?";
        let answer = session.query_unpaged(query, (keyspace, name)).await?.into_rows_result()?;
        let mut all = Vec::new();
        for row in answer.rows::<(String, i32, String)>()? {
            all.push(row?);
        }
        all.sort();
        let of = |wanted: &[&str]| -> Vec<String> {
            let chosen = all.iter().filter(|(kind, ..)| wanted.contains(&kind.as_str()));
            chosen.map(|(.., name)| quoted(name)).collect()
        };
        let columns = Columns {
            partition: of(&["partition_key"]),
            clustering: of(&["clustering"]),
            regular: of(&["regular", "static"]),
        };
        if columns.partition.is_empty() {
            return Err(format!("there is no table {table}").into());
        }
        Ok(columns)
    }

    /// All of them: the partition key first, then the clustering key.
    pub fn all(&self) -> Vec<&str> {
        let parts = [&self.partition, &self.clustering, &self.regular];
        parts.into_iter().flatten().map(String::as_str).collect()
    }
}

/// An identifier as CQL spells it, case kept.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Has the server write what `table` has in memory to its files. There is no statement for that, but a table can be
/// given a period after which it happens; Cassandra 4.1 and later heed it at once.
///
/// # Errors
/// If the table cannot be altered.
pub async fn flush(session: &Session, table: &str) -> Result<()> {
    for period in [1000, 0] {
        let alter = format!("ALTER TABLE {table} WITH memtable_flush_period_in_ms = {period}");
        session.query_unpaged(alter, ()).await?;
        tokio::time::sleep(Duration::from_millis(period + period / 2)).await;
    }
    Ok(())
}

/// Waits until the server neither flushes nor compacts, so that it does not do so while something is timed. Servers that
/// do not tell (before Cassandra 4.0, and ScyllaDB) are not waited for.
///
/// # Errors
/// If it is still busy after a minute.
pub async fn calm(session: &Session) -> Result<()> {
    const WORKERS: &[&str] =
        &["CompactionExecutor", "MemtableFlushWriter", "MemtablePostFlush", "MemtableReclaimMemory"];
    const PAUSE: Duration = Duration::from_millis(50);
    let query = "SELECT name, active_tasks, pending_tasks FROM system_views.thread_pools";
    let mut calm_looks = 0;
    for _ in 0..CALM_SECONDS * 20 {
        let Ok(answer) = session.query_unpaged(query, ()).await else { return Ok(()) };
        let mut busy = false;
        for row in answer.into_rows_result()?.rows::<(String, i32, i32)>()? {
            let (name, active, pending) = row?;
            busy |= WORKERS.contains(&name.as_str()) && (active > 0 || pending > 0);
        }
        calm_looks = if busy { 0 } else { calm_looks + 1 };
        if calm_looks == 2 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("the server still flushes or compacts after {CALM_SECONDS} s").into())
}
