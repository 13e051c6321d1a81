//! Writing: rows of a page as prepared inserts, the rows of one partition that stand together as one unlogged batch.
//! Retries what may be sent twice, halves what is too large. How rows are grouped is left to `batch`.

use super::Cluster;
use super::retry::{ATTEMPTS, Verdict, backoff, verdict};
use crate::error::{Context, Error, Result};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use crate::types::cql::Ident;
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
    /// The write time, µs since 1970; none lets the server choose. Up to [`ATTEMPTS`] µs above it are used.
    pub time: Option<i64>,
}

/// A prepared statement and the page columns of its markers.
struct Bound {
    statement: PreparedStatement,
    markers: Vec<usize>,
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
    /// columns. Without `rows` only static cells are written, so that clustering columns are not needed.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn prepare(
        cluster: &Cluster,
        table: &Table,
        into: (&str, &str),
        rows: bool,
    ) -> Result<TableWriter> {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let clustering = table.indexes(ColumnKind::Clustering);
        let statics = table.indexes(ColumnKind::Static);
        let regular = table.indexes(ColumnKind::Regular);
        let counter = table.is_counter();
        let key: Vec<usize> = [partition.as_slice(), clustering.as_slice()].concat();
        let texts = Texts { table, into };
        let name = format!("{}.{}", into.0, into.1);
        let prepare = async |(cql, markers): (String, Vec<usize>)| {
            let mut statement =
                cluster.session.prepare(cql).await.doing(|| format!("prepare writing into {name}"))?;
            statement.set_execution_profile_handle(Some(cluster.data.clone()));
            Ok::<_, Error>(Bound { statement, markers })
        };
        // A row of counters exists by its counters alone; any other row is inserted, if only its key.
        let row = if !rows {
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
        Ok(TableWriter {
            name,
            counter,
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

    async fn send(&self, cluster: &Cluster, items: &[Item<'_>], time: Option<i64>) -> Result<()> {
        // A stack instead of recursion: halves of what was too large, front half on top.
        let mut pending = vec![items];
        while let Some(items) = pending.pop() {
            if items.is_empty() {
                continue;
            }
            match self.attempt(cluster, items, time).await {
                Ok(()) => {}
                Err((_, Verdict::Smaller)) if items.len() > 1 && !self.counter => {
                    let (front, back) = items.split_at(items.len() / 2);
                    pending.extend([back, front]);
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
        time: Option<i64>,
    ) -> Result<(), (ExecutionError, Verdict)> {
        let mut attempt: u32 = 0;
        loop {
            // A list written twice at one moment holds its elements twice (CASSANDRA-11368): each attempt is later.
            let time = time.filter(|_| !self.counter).map(|time| time + i64::from(attempt));
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
        (format!("INSERT INTO {} ({names}) VALUES ({marks})", self.target()), columns.to_vec())
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
