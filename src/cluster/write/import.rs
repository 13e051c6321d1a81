//! Rows from anywhere, written as if they were inserted now: no `USING`, the request says the write time.

use super::refuse::{self, Refused};
use super::send::{FrameTime, Sender};
use super::statement::{Bound, Item, Texts};
use super::{Group, Keys};
use crate::cluster::Cluster;
use crate::cluster::retry::Verdict;
use crate::error::Result;
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use crate::types::cql::CqlType;

/// Writes imported rows.
pub struct ImportWriter {
    counter: bool,
    /// Whether it has columns of lists that are not frozen.
    lists: bool,
    keys: Keys,
    row: Option<Bound>,
    statics: Option<Bound>,
    static_columns: Vec<usize>,
    regular_columns: Vec<usize>,
}

impl ImportWriter {
    pub async fn prepare(texts: &Texts<'_>, with_rows: bool) -> Result<ImportWriter> {
        let table: &Table = texts.table;
        let keys = Keys::of(table);
        let (statics, regular) = (table.indexes(ColumnKind::Static), table.indexes(ColumnKind::Regular));
        let counter = table.is_counter();
        // A row of counters exists by its counters alone; any other row is inserted, if only its key.
        let row = match (with_rows, counter) {
            (false, _) => None,
            (true, true) if regular.is_empty() => None,
            (true, true) => Some(texts.count(&keys.row, &regular).await?),
            (true, false) => Some(texts.insert(&keys.row, &regular, false).await?),
        };
        let statics_bound = match (statics.is_empty(), counter) {
            (true, _) => None,
            (false, true) => Some(texts.count(&keys.partition, &statics).await?),
            (false, false) => Some(texts.insert(&keys.partition, &statics, false).await?),
        };
        Ok(ImportWriter {
            counter,
            lists: table.columns.iter().any(|c| matches!(c.cql_type, CqlType::List(_, false))),
            keys,
            row,
            statics: statics_bound,
            static_columns: statics,
            regular_columns: regular,
        })
    }

    /// How many write times, µs, a group takes up. A list written twice at one moment holds its elements twice
    /// (CASSANDRA-11368), so every sending of one is later than those before it: 8 attempts at each of the at most 10
    /// halvings of a batch. Other cells may be sent again at the same time.
    pub fn times(&self) -> i64 {
        if self.lists { 128 } else { 1 }
    }

    pub async fn write(
        &self,
        sender: &Sender,
        cluster: &Cluster,
        page: &Page,
        group: Group,
    ) -> Result<Vec<Refused>> {
        let Group { rows, statics, time } = group;
        let mut items = Vec::with_capacity(rows.len() + 1);
        let has_statics = || self.static_columns.iter().any(|c| page.cell(rows.start, *c).is_some());
        if let Some(bound) = self.statics.as_ref().filter(|_| statics && has_statics()) {
            items.push(self.item(bound, page, rows.start, &self.static_columns));
        }
        if let Some(bound) = &self.row {
            let rows = rows.filter(|row| self.keys.is_row(page, *row));
            items.extend(rows.map(|row| self.item(bound, page, row, &self.regular_columns)));
        }
        if !self.counter {
            let frame = FrameTime { first: time, rising: self.lists };
            return sender.send(cluster, &items, Some(frame)).await;
        }
        self.count(sender, cluster, &items).await
    }

    /// A counter update of unknown outcome must not be sent again: it might count twice. One that is refused by itself was
    /// not counted, nor anything beside it.
    async fn count(&self, sender: &Sender, cluster: &Cluster, items: &[Item<'_>]) -> Result<Vec<Refused>> {
        let (mut pending, mut refused) = (vec![items], Vec::new());
        while let Some(items) = pending.pop() {
            let Err(failure) = sender.once(cluster, items, None).await else { continue };
            if items.len() > 1 && failure.is_of_a_row(items) {
                let (front, back) = items.split_at(items.len() / 2);
                pending.extend([back, front]);
                continue;
            }
            let one = sender.refused(items, &failure).map_err(|error| match failure.verdict {
                Verdict::Later => error.hint(
                    "whether this update was counted is unknown; read these rows before importing them again",
                ),
                _ => error,
            })?;
            refuse::add(&mut refused, [one]);
        }
        Ok(refused)
    }

    fn item<'a>(&self, bound: &'a Bound, page: &'a Page, row: usize, columns: &[usize]) -> Item<'a> {
        let own = match self.counter {
            true => columns.iter().map(|c| page.cell(row, *c).map(<[u8]>::to_vec)).collect(),
            false => Vec::new(),
        };
        Item { own, ..Item::new(bound, page, row) }
    }
}
