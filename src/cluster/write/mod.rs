//! Writing: rows of a page as prepared statements, the rows of one partition that stand together as one unlogged batch.
//! How rows are grouped is left to `batch`, which statements bring one back to `mutation`.
//!
//! | file | answers |
//! |---|---|
//! | `statement` | the statements, and how cells are bound |
//! | `send` | attempts, halves, expiries |
//! | `refuse` | which refusals are a row's own |
//! | `rows` | a dump's rows: write times, expiries, statics, elements, lists |
//! | `counters` | a dump's counters: by difference |
//! | `import` | rows from anywhere, written now |

mod counters;
mod import;
mod refuse;
mod rows;
mod send;
mod statement;

pub use refuse::Refused;
pub use send::Counts;

use super::Cluster;
use super::gate::Gate;
use crate::error::Result;
use crate::mutation::{Policy, WriteTimes};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use counters::CounterWriter;
use import::ImportWriter;
use rows::RowWriter;
use scylla::statement::batch::BatchType;
use send::{HALVINGS, Sender};
use statement::Texts;
use std::ops::Range;
use std::sync::Arc;

/// What rows are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A dump comes back.
    Load(Loading),
    /// Rows from anywhere, as if they were inserted now.
    Import,
    /// Static cells from anywhere: without rows, so that clustering columns are not needed.
    ImportStatics,
}

/// How a dump comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loading {
    /// What becomes of write times and expiries.
    pub policy: Policy,
    /// Whether the dump keeps write times and expiries. If not, nothing of it expires, whatever default the table has
    /// for rows that say nothing.
    pub keeps_times: bool,
    /// Whether the table held no rows when the load began. If it did, they may be newer than the dump's, or the dump's own
    /// from an earlier load.
    pub was_empty: bool,
    /// What earlier runs of the load may have written into it already, though they were stopped.
    pub before: Before,
    /// Whether it comes from a table WITH COMPACT STORAGE, whose rows may lack their last clustering columns.
    pub compact: bool,
}

/// What earlier runs of a load may have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// They may have sent every list at its write time and less than so many µs later; 0 if there was no earlier run.
    pub list_tries: u32,
    /// µs by which a second writing of a list differs from that of most other loads; the same in all runs of one.
    pub list_offset: i64,
}

impl Loading {
    /// How many µs above its write time a run may write a list, beyond those that earlier runs have used.
    pub fn list_tries(cluster: &Cluster) -> u32 {
        cluster.patience.attempts.saturating_add(HALVINGS).saturating_add(1)
    }

    /// Whether earlier runs may have written rows.
    fn is_resumed(self) -> bool {
        self.before.list_tries > 0
    }

    /// Whether collections are added to what is there: writing one whole would delete what is older. Written at one time
    /// for all, they are to be as they were dumped.
    fn merges(self) -> bool {
        !self.was_empty && self.policy.write_times == WriteTimes::Keep
    }
}

/// Rows of one partition to write together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which rows of the page.
    pub rows: Range<usize>,
    /// Whether the partition's static cells are due with them; the first row's are written.
    pub statics: bool,
    /// The write time, µs since 1970, of what tells none of its own. An import uses those up to [`TableWriter::times`]
    /// above it as well.
    pub time: i64,
}

/// Writes rows into one table.
///
/// Static columns have statements of their own, sent once per partition: in a row's insert they would be written again
/// with every row.
pub struct TableWriter {
    sender: Sender,
    writer: Writer,
}

#[derive(Clone)]
enum Writer {
    Import(Arc<ImportWriter>),
    Rows(Arc<RowWriter>),
    Counters(Arc<CounterWriter>),
}

impl TableWriter {
    /// Prepares writing rows of `table` (their columns in page order) into the table `into`, which has these
    /// columns. How its requests go is told to `gate`.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn prepare(
        cluster: &Cluster,
        table: &Table,
        into: (&str, &str),
        purpose: Purpose,
        gate: &Arc<Gate>,
    ) -> Result<TableWriter> {
        let texts = Texts { cluster, table, into };
        let kind = if table.is_counter() { BatchType::Counter } else { BatchType::Unlogged };
        Ok(TableWriter {
            sender: Sender::new(table, format!("{}.{}", into.0, into.1), kind, gate.clone())?,
            writer: match purpose {
                Purpose::Import => Writer::Import(Arc::new(ImportWriter::prepare(&texts, true).await?)),
                Purpose::ImportStatics => {
                    Writer::Import(Arc::new(ImportWriter::prepare(&texts, false).await?))
                }
                Purpose::Load(loading) if table.is_counter() => Writer::Counters(Arc::new(
                    CounterWriter::prepare(&texts, loading.was_empty && !loading.is_resumed()).await?,
                )),
                Purpose::Load(loading) => Writer::Rows(Arc::new(RowWriter::prepare(&texts, loading).await?)),
            },
        })
    }

    /// Writes a group of rows of `page`. Answers when the cluster has taken all of them but those that it refuses by
    /// themselves, which are answered; of such a row some cells may have been written, where they have several write times.
    ///
    /// # Errors
    /// `Error` names the table and the row's key.
    pub async fn write(&self, cluster: &Cluster, page: &Page, group: Group) -> Result<Vec<Refused>> {
        match &self.writer {
            Writer::Import(writer) => writer.write(&self.sender, cluster, page, group).await,
            Writer::Rows(writer) => writer.write(&self.sender, cluster, page, group).await,
            // Its future is large, and would be moved about with every group of the others too.
            Writer::Counters(writer) => Box::pin(writer.write(&self.sender, cluster, page, group)).await,
        }
    }

    /// The same with counts of its own, so that what was not written of a file can be told apart.
    pub fn apart(&self) -> TableWriter {
        TableWriter { sender: self.sender.apart(), writer: self.writer.clone() }
    }

    /// How many write times, µs, a group takes up.
    pub fn times(&self) -> i64 {
        match &self.writer {
            Writer::Import(writer) => writer.times(),
            Writer::Rows(_) | Writer::Counters(_) => 1,
        }
    }

    /// Keys of the rows of counters of which an import does not know whether they were counted, so far.
    pub fn unknown(&self) -> Vec<String> {
        match &self.writer {
            Writer::Import(writer) => writer.unknown(),
            Writer::Rows(_) | Writer::Counters(_) => Vec::new(),
        }
    }

    /// The table that it writes into, for messages.
    pub fn name(&self) -> &str {
        &self.sender.name
    }

    /// What was not written as dumped, so far.
    pub fn counts(&self) -> &Counts {
        &self.sender.counts
    }
}

/// The places of a table's key.
struct Keys {
    partition: Vec<usize>,
    /// Partition key, then clustering key.
    row: Vec<usize>,
    first_clustering: Option<usize>,
}

impl Keys {
    fn of(table: &Table) -> Keys {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let clustering = table.indexes(ColumnKind::Clustering);
        let row = [partition.as_slice(), clustering.as_slice()].concat();
        Keys { partition, row, first_clustering: clustering.first().copied() }
    }

    /// Whether there is a row: a partition that holds only static cells is read as one without clustering.
    fn is_row(&self, page: &Page, row: usize) -> bool {
        self.first_clustering.is_none_or(|c| page.cell(row, c).is_some())
    }
}
