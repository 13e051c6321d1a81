//! Rows from anywhere, written as if they were inserted now: no `USING`, the request says the write time.

use super::refuse::{self, Refused};
use super::send::{Failure, HALVINGS, Sender, Times};
use super::statement::{Bound, Item, Texts};
use super::{Group, Keys};
use crate::cluster::Cluster;
use crate::cluster::retry::Verdict;
use crate::error::{Error, Result};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use crate::types::cql::CqlType;
use std::sync::{Mutex, PoisonError};

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
    /// How many write times, µs, a group takes up.
    times: i64,
    /// Keys of rows of which it is not known whether they were counted.
    unknown: Mutex<Vec<String>>,
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
        let lists = table.columns.iter().any(|c| matches!(c.cql_type, CqlType::List(_, false)));
        // Every sending of a list is later than those before it. Other cells may be sent again at the same time.
        let sendings = texts.cluster.patience.attempts.saturating_add(HALVINGS);
        Ok(ImportWriter {
            counter,
            lists,
            times: if lists { sendings.into() } else { 1 },
            unknown: Mutex::default(),
            keys,
            row,
            statics: statics_bound,
            static_columns: statics,
            regular_columns: regular,
        })
    }

    /// How many write times, µs, a group takes up.
    pub fn times(&self) -> i64 {
        self.times
    }

    /// Keys of the rows of which it is not known whether they were counted, so far.
    pub fn unknown(&self) -> Vec<String> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
            return sender.send(cluster, &items, Times { frame: Some(time), rising: self.lists }).await;
        }
        self.count(sender, cluster, &items).await
    }

    /// A counter update of unknown outcome must not be sent again: it might count twice. One that is refused by itself was
    /// not counted, nor anything beside it.
    async fn count(&self, sender: &Sender, cluster: &Cluster, items: &[Item<'_>]) -> Result<Vec<Refused>> {
        let (mut pending, mut refused) = (vec![items], Vec::new());
        while let Some(items) = pending.pop() {
            let Err(failure) = sender.once(cluster, items, Times::default(), 0).await else { continue };
            if failure.verdict != Verdict::Never || !failure.is_of_a_row(items) {
                return Err(self.uncounted(sender, items, &failure));
            }
            if items.len() > 1 {
                let (front, back) = items.split_at(items.len() / 2);
                pending.extend([back, front]);
                continue;
            }
            refuse::add(&mut refused, [sender.refused(items, &failure, 1)?]);
        }
        Ok(refused)
    }

    /// The error of counts that failed; takes note of those that may have been counted nevertheless.
    fn uncounted(&self, sender: &Sender, items: &[Item<'_>], failure: &Failure) -> Error {
        let error = sender.rejected(items, failure, 1);
        if failure.verdict == Verdict::Never {
            return error;
        }
        let keys = items.iter().map(|item| sender.key(item));
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        error.hint(
            "an update of counters cannot be tried again, as it may have been counted: empty the table and import anew",
        )
    }

    fn item<'a>(&self, bound: &'a Bound, page: &'a Page, row: usize, columns: &[usize]) -> Item<'a> {
        let own = match self.counter {
            true => columns.iter().map(|c| page.cell(row, *c).map(<[u8]>::to_vec)).collect(),
            false => Vec::new(),
        };
        Item { own, ..Item::new(bound, page, row) }
    }
}
