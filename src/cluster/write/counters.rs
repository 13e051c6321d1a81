//! A dump's counters. Counters cannot be set, only added to, and an update whose outcome is unknown may have counted:
//! so each row is brought to the dumped values by the difference from what is there, and after an unknown outcome it is
//! read back, once the server has given up on it, before anything is added again.
//!
//! It is read from all replicas, whatever the level of the load: an update that timed out may be on a single one, which a
//! quorum need not ask, and would be counted again (seen on 5.0.6, three nodes).

use super::refuse::{self, Refused};
use super::send::{Failure, Sender, Times};
use super::statement::{Bound, Item, Texts};
use super::{Group, Keys};
use crate::cluster::Cluster;
use crate::cluster::retry::Verdict;
use crate::error::{Error, Result};
use crate::rows::{Cell, Page};
use crate::table::ColumnKind;
use crate::types::elements::number;
use scylla::statement::Consistency;
use std::time::Duration;

/// What a server allows an update of counters to take, unless it says otherwise.
const COUNTER_WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// What is added to that: servers look at their clocks now and then.
const MARGIN: Duration = Duration::from_secs(1);

/// What to do where counters cannot be read.
const FROM_ALL: &str = "counters are read from all replicas, since an update of unknown outcome may be on a single one: once \
                        all nodes are up, load again with --if-exists append";

/// Rows read back at a time, of one group.
const READS: usize = 16;

/// Writes a dump's counters.
pub struct CounterWriter {
    keys: Keys,
    was_empty: bool,
    /// How long an update may still be counted after its answer was lost.
    undecided: Duration,
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
        let (add, mut read) = (texts.count(key, &columns).await?, texts.read(key, &columns).await?);
        read.statement.set_consistency(Consistency::All);
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
            undecided: texts.cluster.undecided().await,
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
        while let Some((pending, absent, mut failed)) = stack.pop() {
            let items = self.differences(sender, cluster, page, &pending, absent).await?;
            if items.is_empty() {
                continue;
            }
            let Err(failure) = sender.once(cluster, &items, Times::default(), failed).await else { continue };
            // What is refused for a row of it was not counted at all.
            if failure.verdict == Verdict::Never && failure.is_of_a_row(&items) {
                if pending.len() > 1 {
                    let (front, back) = pending.split_at(pending.len() / 2);
                    stack.extend([(back.to_vec(), absent, failed), (front.to_vec(), absent, failed)]);
                } else {
                    refuse::add(&mut refused, [sender.refused(&items, &failure, failed)?]);
                }
                continue;
            }
            let halves = failure.verdict.is_of_size() && pending.len() > 1;
            failed += u32::from(!halves);
            if !halves && !cluster.patience.again(failure.verdict, failed) {
                return Err(uncounted(sender, &items, &failure, failed));
            }
            tracing::debug!("{}: counted or not, they are read back in {:?}", failure.error, self.undecided);
            tokio::time::sleep(self.undecided).await;
            if halves {
                let back = pending[pending.len() / 2..].to_vec();
                let front = pending[..pending.len() / 2].to_vec();
                stack.extend([(back, false, failed), (front, false, failed)]);
            } else {
                stack.push((pending, false, failed));
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
                let there = sender.read(cluster, &Item::new(&counters.read, page, *row)).await;
                let there = there.map_err(|error| error.hint(FROM_ALL))?;
                Ok::<_, Error>(counters.difference(page, *row, there))
            });
            items.extend(futures::future::try_join_all(read).await?.into_iter().flatten());
        }
        Ok(items)
    }
}

/// The error of counts that were given up.
fn uncounted(sender: &Sender, items: &[Item<'_>], failure: &Failure, failed: u32) -> Error {
    let error = sender.rejected(items, failure, failed);
    let again = "load again with --if-exists append: it adds what is missing, and no more";
    match failure.verdict {
        Verdict::Never => error.hint(again),
        _ => error.hint(format!("whether the last attempt was counted is not known; {again}")),
    }
}

impl Cluster {
    /// How long an update of counters may still be counted after its answer was lost.
    pub async fn undecided(&self) -> Duration {
        counter_write_timeout(self).await.max(COUNTER_WRITE_TIMEOUT) + MARGIN
    }
}

/// What a server says that it allows an update of counters to take; nothing before 4.0, or to a role that must not ask.
async fn counter_write_timeout(cluster: &Cluster) -> Duration {
    let query = "SELECT value FROM system_views.settings WHERE name = 'counter_write_request_timeout_in_ms'";
    let answer = cluster.session.query_unpaged(query, ()).await.ok();
    let rows = answer.and_then(|answer| answer.into_rows_result().ok());
    let told = rows.and_then(|rows| rows.single_row::<(String,)>().ok());
    told.and_then(|(millis,)| millis.parse().ok()).map_or(COUNTER_WRITE_TIMEOUT, Duration::from_millis)
}
