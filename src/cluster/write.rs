//! Writing: rows of a page as prepared inserts, the rows of one partition that stand together as one unlogged batch.
//! Retries what may be sent twice, halves what is too large. How rows are grouped is left to `batch`.

use super::Cluster;
use super::retry::{ATTEMPTS, Verdict, backoff, verdict};
use crate::error::{Context, Error, Result};
use crate::rows::Page;
use crate::table::{Column, ColumnKind, Table};
use crate::types::cql::{CqlType, Ident};
use crate::types::{Codec, codec};
use scylla::errors::ExecutionError;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use std::ops::Range;

/// Writes rows into one table.
///
/// Null is bound as UNSET, which writes nothing, so no tombstones are made. Static columns have a statement of their
/// own, sent once per partition: in a row's insert they would be written again with every row.
pub struct TableWriter {
    name: String,
    counter: bool,
    /// Whether it has columns of lists that are not frozen.
    lists: bool,
    row: Option<Bound>,
    statics: Option<Bound>,
    static_columns: Vec<usize>,
    first_clustering: Option<usize>,
    key: Vec<(usize, String, Box<dyn Codec>)>,
}

/// Rows of one partition to write together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which rows of the page.
    pub rows: Range<usize>,
    /// Whether the partition's static cells are due with them; the first row's are written.
    pub statics: bool,
    /// The write time, µs since 1970; counters have none. Those up to [`TableWriter::times`] above it are used as well.
    pub time: i64,
}

/// A prepared statement and the page columns of its markers.
struct Bound {
    statement: PreparedStatement,
    markers: Vec<usize>,
}

/// What rows are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A dump comes back: rows do not expire, whatever default the table has for rows that say nothing.
    Load,
    /// Rows from anywhere, as if they were inserted now.
    Import,
    /// Static cells from anywhere: without rows, so that clustering columns are not needed.
    ImportStatics,
}

/// One statement to send: which one, for which row.
#[derive(Clone, Copy)]
struct Item<'a> {
    bound: &'a Bound,
    page: &'a Page,
    row: usize,
}

impl TableWriter {
    /// Prepares writing rows of `table` (their columns in page order) into the table `into`, which has these
    /// columns.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn prepare(
        cluster: &Cluster,
        table: &Table,
        into: (&str, &str),
        purpose: Purpose,
    ) -> Result<TableWriter> {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let clustering = table.indexes(ColumnKind::Clustering);
        let statics = table.indexes(ColumnKind::Static);
        let regular = table.indexes(ColumnKind::Regular);
        let counter = table.is_counter();
        let key: Vec<usize> = [partition.as_slice(), clustering.as_slice()].concat();
        let texts = Texts { table, into, purpose };
        let name = format!("{}.{}", into.0, into.1);
        let prepare = async |(cql, markers): (String, Vec<usize>)| {
            let mut statement =
                cluster.session.prepare(cql).await.doing(|| format!("prepare writing into {name}"))?;
            statement.set_execution_profile_handle(Some(cluster.data.clone()));
            Ok::<_, Error>(Bound { statement, markers })
        };
        // A row of counters exists by its counters alone; any other row is inserted, if only its key.
        let row = if purpose == Purpose::ImportStatics {
            None
        } else if !counter {
            Some(prepare(texts.insert(&[key.as_slice(), regular.as_slice()].concat())).await?)
        } else if !regular.is_empty() {
            Some(prepare(texts.count(&regular, &key)).await?)
        } else {
            None
        };
        let statics_bound = if statics.is_empty() {
            None
        } else if counter {
            Some(prepare(texts.count(&statics, &partition)).await?)
        } else {
            Some(prepare(texts.insert(&[partition.as_slice(), statics.as_slice()].concat())).await?)
        };
        let mut shown = Vec::new();
        for index in key {
            let column = &table.columns[index];
            shown.push((index, column.name.clone(), codec(&column.cql_type).doing(|| name.clone())?));
        }
        let is_list = |c: &Column| matches!(c.cql_type, CqlType::List(_, false));
        Ok(TableWriter {
            name,
            counter,
            lists: table.columns.iter().any(is_list),
            row,
            statics: statics_bound,
            static_columns: statics,
            first_clustering: clustering.first().copied(),
            key: shown,
        })
    }

    /// Writes a group of rows of `page`. Answers when the cluster has taken all of them.
    ///
    /// # Errors
    /// `Error` names the table and the row's key.
    pub async fn write(&self, cluster: &Cluster, page: &Page, group: Group) -> Result<()> {
        let Group { rows, statics, time } = group;
        let mut items = Vec::with_capacity(rows.len() + 1);
        let has_statics = || self.static_columns.iter().any(|c| page.cell(rows.start, *c).is_some());
        if let Some(bound) = self.statics.as_ref().filter(|_| statics && has_statics()) {
            items.push(Item { bound, page, row: rows.start });
        }
        if let Some(bound) = &self.row {
            // A partition that holds only static cells is read as one row without clustering.
            let is_row = |row: usize| self.first_clustering.is_none_or(|c| page.cell(row, c).is_some());
            items.extend(rows.filter(|row| is_row(*row)).map(|row| Item { bound, page, row }));
        }
        self.send(cluster, &items, time).await
    }

    /// How many write times, µs, a group takes up. A list written twice at one moment holds its elements twice
    /// (CASSANDRA-11368), so every sending of one is later than those before it: 8 attempts at each of the at most 10
    /// halvings of a batch. Other cells may be sent again at the same time.
    pub fn times(&self) -> i64 {
        if self.lists { 128 } else { 1 }
    }

    async fn send(&self, cluster: &Cluster, items: &[Item<'_>], time: i64) -> Result<()> {
        // A stack instead of recursion: halves of what was too large, front half on top, each with the number of times
        // that its rows have been sent.
        let mut pending = vec![(items, 0)];
        while let Some((items, mut sent)) = pending.pop() {
            if items.is_empty() {
                continue;
            }
            match self.attempt(cluster, items, time, &mut sent).await {
                Ok(()) => {}
                Err((_, Verdict::Smaller)) if items.len() > 1 && !self.counter => {
                    let (front, back) = items.split_at(items.len() / 2);
                    pending.extend([(back, sent), (front, sent)]);
                }
                Err((error, _)) => return Err(self.rejected(items, &error)),
            }
        }
        Ok(())
    }

    async fn attempt(
        &self,
        cluster: &Cluster,
        items: &[Item<'_>],
        time: i64,
        sent: &mut i64,
    ) -> Result<(), (ExecutionError, Verdict)> {
        let mut attempt: u32 = 0;
        loop {
            let later = if self.lists { *sent } else { 0 };
            let time = (!self.counter).then_some(time + later);
            *sent += 1;
            let result = match items {
                [one] => {
                    let mut statement = one.bound.statement.clone();
                    statement.set_timestamp(time);
                    cluster.session.execute_unpaged(&statement, one).await.map(drop)
                }
                many => {
                    let mut batch = self.batch(cluster, many);
                    batch.set_timestamp(time);
                    cluster.session.batch(&batch, many).await.map(drop)
                }
            };
            let Err(error) = result else { return Ok(()) };
            let verdict = verdict(&error);
            attempt += 1;
            // A counter update of unknown outcome must not be sent again: it might count twice.
            if verdict != Verdict::Later || attempt >= ATTEMPTS || self.counter {
                return Err((error, verdict));
            }
            tracing::debug!("write {}: {error}; attempt {attempt} failed, trying again", self.name);
            tokio::time::sleep(backoff(attempt, items[0].row as u64)).await;
        }
    }

    fn batch(&self, cluster: &Cluster, items: &[Item<'_>]) -> Batch {
        let kind = if self.counter { BatchType::Counter } else { BatchType::Unlogged };
        let statements = items.iter().map(|i| i.bound.statement.clone().into()).collect();
        let mut batch = Batch::new_with_statements(kind, statements);
        batch.set_execution_profile_handle(Some(cluster.data.clone()));
        batch
    }

    fn rejected(&self, items: &[Item<'_>], error: &ExecutionError) -> Error {
        let first = items[0];
        let mut key = String::new();
        for (index, name, codec) in &self.key {
            let Some(cell) = first.page.cell(first.row, *index) else {
                continue;
            };
            let mut text = Vec::new();
            codec.to_text(cell, &mut text);
            let sep = if key.is_empty() { "" } else { ", " };
            key.push_str(&format!("{sep}{name}={}", String::from_utf8_lossy(&text)));
        }
        let others = match items.len() {
            1 => String::new(),
            n => format!(" and {} more of its partition", n - 1),
        };
        let failed = Error::failed(format!("write the row {key}{others} into {}: {error}", self.name));
        if self.counter {
            failed.hint(format!(
                "whether this update was counted is unknown; empty {} and load again, or use --if-exists truncate",
                self.name
            ))
        } else {
            failed
        }
    }
}

/// The statements of a table.
struct Texts<'a> {
    table: &'a Table,
    into: (&'a str, &'a str),
    purpose: Purpose,
}

impl Texts<'_> {
    fn target(&self) -> String {
        format!("{}.{}", Ident(self.into.0), Ident(self.into.1))
    }

    fn list(&self, columns: &[usize], separator: &str, each: impl Fn(Ident<'_>) -> String) -> String {
        let parts: Vec<String> = columns.iter().map(|c| each(Ident(&self.table.columns[*c].name))).collect();
        parts.join(separator)
    }

    fn insert(&self, columns: &[usize]) -> (String, Vec<usize>) {
        let names = self.list(columns, ", ", |name| name.to_string());
        let marks = self.list(columns, ", ", |_| "?".to_owned());
        let using = if self.purpose == Purpose::Load { " USING TTL 0" } else { "" };
        (format!("INSERT INTO {} ({names}) VALUES ({marks}){using}", self.target()), columns.to_vec())
    }

    fn count(&self, counters: &[usize], key: &[usize]) -> (String, Vec<usize>) {
        let sets = self.list(counters, ", ", |name| format!("{name} = {name} + ?"));
        let keys = self.list(key, " AND ", |name| format!("{name} = ?"));
        (format!("UPDATE {} SET {sets} WHERE {keys}", self.target()), [counters, key].concat())
    }
}

impl SerializeRow for Item<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for column in &self.bound.markers {
            let cell = writer.make_cell_writer();
            match self.page.cell(self.row, *column) {
                Some(value) => {
                    cell.set_value(value).map_err(SerializationError::new)?;
                }
                None => {
                    cell.set_unset();
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.bound.markers.is_empty()
    }
}
