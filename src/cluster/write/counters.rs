//! A dump's counters. Counters cannot be set, only added to, and an update whose outcome is unknown may have counted:
//! so each row is brought to the dumped values by the difference from what is there, and after an unknown outcome it is
//! read back, once the server has given up on it, before anything is added again.

use super::refuse::{self, Refused};
use super::send::Sender;
use super::statement::{Bound, Item, Texts};
use super::{Group, Keys};
use crate::cluster::Cluster;
use crate::cluster::retry::{ATTEMPTS, Verdict};
use crate::error::{Error, Result};
use crate::rows::{Cell, Page};
use crate::table::ColumnKind;
use crate::types::elements::number;
use std::time::Duration;

/// How long an update may still be counted after its answer was lost: `counter_write_request_timeout` is 5 s by default.
const UNDECIDED: Duration = Duration::from_secs(6);

/// Rows read back at a time, of one group.
const READS: usize = 16;

/// Writes a dump's counters.
pub struct CounterWriter {
    keys: Keys,
    was_empty: bool,
    rows: Option<Counters>,
    statics: Option<Counters>,
}

/// The counters of rows, or those of partitions.
struct Counters {
    columns: Vec<usize>,
    add: Bound,
    read: Bound,
}

impl Counters {
    async fn prepare(texts: &Texts<'_>, key: &[usize], kind: ColumnKind) -> Result<Option<Counters>> {
        let columns = texts.table.indexes(kind);
        if columns.is_empty() {
            return Ok(None);
        }
        let (add, read) = (texts.count(key, &columns).await?, texts.read(key, &columns).await?);
        Ok(Some(Counters { columns, add, read }))
    }

    /// What has to be added to a row; `None` if it is as dumped. A row that is not there yet is made even by adding 0.
    fn difference<'a>(
        &'a self,
        page: &'a Page,
        row: usize,
        there: Option<Vec<Option<Vec<u8>>>>,
    ) -> Option<Item<'a>> {
        let value = |cell: Cell<'_>| cell.and_then(number);
        let mut own = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter().enumerate() {
            let before = there.as_ref().and_then(|cells| value(cells.get(place)?.as_deref()));
            let delta = match (value(page.cell(row, *column)), before) {
                (None, _) => None,
                (Some(dumped), Some(before)) if dumped == before => None,
                (Some(dumped), before) => Some(dumped.wrapping_sub(before.unwrap_or(0))),
            };
            own.push(delta.map(|delta| delta.to_be_bytes().to_vec()));
        }
        let cells = own.iter().flatten().count() as u64;
        let item = Item { own, cells, ..Item::new(&self.add, page, row) };
        (cells > 0).then_some(item)
    }
}

impl CounterWriter {
    pub async fn prepare(texts: &Texts<'_>, was_empty: bool) -> Result<CounterWriter> {
        let keys = Keys::of(texts.table);
        Ok(CounterWriter {
            rows: Counters::prepare(texts, &keys.row, ColumnKind::Regular).await?,
            statics: Counters::prepare(texts, &keys.partition, ColumnKind::Static).await?,
            keys,
            was_empty,
        })
    }

    pub async fn write(
        &self,
        sender: &Sender,
        cluster: &Cluster,
        page: &Page,
        group: Group,
    ) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        let mut pending: Vec<(&Counters, usize)> = Vec::with_capacity(group.rows.len() + 1);
        if group.statics {
            pending.extend(self.statics.as_ref().map(|counters| (counters, group.rows.start)));
        }
        let rows = group.rows.filter(|row| self.keys.is_row(page, *row));
        pending.extend(self.rows.iter().flat_map(|counters| rows.clone().map(move |row| (counters, row))));
        let mut stack = vec![(pending, self.was_empty, 0)];
        while let Some((pending, absent, attempt)) = stack.pop() {
            let items = self.differences(sender, cluster, page, &pending, absent).await?;
            let Err(failure) = sender.once(cluster, &items, None).await else { continue };
            match failure.verdict {
                Verdict::Later if attempt + 1 < ATTEMPTS => {
                    tokio::time::sleep(UNDECIDED).await;
                    stack.push((pending, false, attempt + 1));
                }
                Verdict::Smaller if pending.len() > 1 => {
                    tokio::time::sleep(UNDECIDED).await;
                    let back = pending[pending.len() / 2..].to_vec();
                    let front = pending[..pending.len() / 2].to_vec();
                    stack.extend([(back, false, attempt), (front, false, attempt)]);
                }
                // Nothing of the request was counted.
                _ if pending.len() > 1 && failure.is_of_a_row(&items) => {
                    let (front, back) = pending.split_at(pending.len() / 2);
                    stack.extend([(back.to_vec(), absent, attempt), (front.to_vec(), absent, attempt)]);
                }
                _ => {
                    let again = "load again with --if-exists append: it adds what is missing, and no more";
                    let one = sender.refused(&items, &failure).map_err(|error| error.hint(again))?;
                    refuse::add(&mut refused, [one]);
                }
            }
        }
        Ok(refused)
    }

    async fn differences<'a>(
        &self,
        sender: &Sender,
        cluster: &Cluster,
        page: &'a Page,
        pending: &[(&'a Counters, usize)],
        absent: bool,
    ) -> Result<Vec<Item<'a>>> {
        if absent {
            return Ok(pending.iter().filter_map(|(c, row)| c.difference(page, *row, None)).collect());
        }
        let mut items = Vec::with_capacity(pending.len());
        for some in pending.chunks(READS) {
            let read = some.iter().map(async |(counters, row)| {
                let there = sender.read(cluster, &Item::new(&counters.read, page, *row)).await?;
                Ok::<_, Error>(counters.difference(page, *row, there))
            });
            items.extend(futures::future::try_join_all(read).await?.into_iter().flatten());
        }
        Ok(items)
    }
}
