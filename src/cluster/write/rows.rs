//! A dump's rows, written as `mutation` plans them: the INSERTs, UPDATEs and element updates of a group of rows as one
//! batch, then its lists.
//!
//! A list sent twice at one moment holds its elements twice (CASSANDRA-11368), so lists go in statements of their own, and
//! one whose sending has an unknown outcome is written whole again, 1 µs later than before. To read it back instead would
//! not do: that it is there on the replicas that answer does not say that as many have it as the level asks for. So are all
//! lists of a load that goes on after it was stopped: each of its runs has µs of its own for them, which the state knew
//! before anything was sent.
//! Into a table that held rows, which may be newer or an earlier load's, each list is read first.
//! Where its write times are not told, one that holds all of the dump's is left alone, unless the load gives everything a
//! write time or a life of its own. There elements are added to sets, maps and user types, and none of those that are there is deleted.

use super::refuse::{self, Refused};
use super::send::{Sender, Times};
use super::statement::{Bound, Item, Texts};
use super::{Group, Keys, Loading};
use crate::cluster::Cluster;
use crate::error::{Context, Error, Result};
use crate::mutation::{self, Cells, Expiries, Life, Policy, Stamp, What, Write, WriteTimes};
use crate::rows::Page;
use crate::table::{ColumnKind, Place, Table};
use crate::types::cql::CqlType;
use crate::types::elements;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

/// Statements of a batch. A frame holds 65,535; a row may need several.
const STATEMENTS: usize = 4096;

/// Writes a dump's rows.
pub struct RowWriter {
    loading: Loading,
    table: Table,
    keys: Keys,
    rows: Statements,
    statics: Statements,
}

/// The statements for the cells of rows, or for those of partitions.
struct Statements {
    places: Vec<Place>,
    insert: Option<Bound>,
    /// INSERTs of rows that lack their last clustering columns: without the last, without the last two, and so on.
    shorter: Vec<Bound>,
    update: Option<Bound>,
    /// By column.
    elements: HashMap<usize, Bound>,
    /// By column: how to write and how to read a list.
    lists: HashMap<usize, (Bound, Bound)>,
}

impl Statements {
    async fn prepare(
        texts: &Texts<'_>,
        key: &[usize],
        kind: ColumnKind,
        loading: Loading,
    ) -> Result<Statements> {
        let table = texts.table;
        let places = table.places(kind);
        let cql_type = |place: &Place| &table.columns[place.column].cql_type;
        let is_list = |place: &Place| matches!(cql_type(place), CqlType::List(_, false));
        let whole: Vec<usize> = places.iter().filter(|p| !is_list(p)).map(|p| p.column).collect();
        let is_told = places.iter().any(|p| p.write_time.is_some());
        let insert = match kind {
            ColumnKind::Regular => Some(texts.insert(key, &whole, true).await?),
            _ => None,
        };
        let mut shorter = Vec::new();
        if loading.compact && insert.is_some() {
            let least = table.indexes(ColumnKind::PartitionKey).len() + 1;
            for width in (least..key.len()).rev() {
                // Only a target WITH COMPACT STORAGE takes it; what another one cannot hold is told with its row.
                let Ok(bound) = texts.insert(&key[..width], &whole, true).await else { break };
                shorter.push(bound);
            }
        }
        // Without write times every row is one INSERT.
        let update = match (is_told || insert.is_none()) && !whole.is_empty() {
            true => Some(texts.update(key, &whole).await?),
            false => None,
        };
        let (mut elements, mut lists) = (HashMap::new(), HashMap::new());
        for place in &places {
            let column = place.column;
            if is_list(place) {
                let pair = (texts.list_update(key, column).await?, texts.read_list(key, column).await?);
                lists.insert(column, pair);
            } else if cql_type(place).has_elements() && (place.write_time.is_some() || loading.merges()) {
                elements.insert(column, texts.elements(key, column).await?);
            }
        }
        Ok(Statements { places, insert, shorter, update, elements, lists })
    }
}

impl Statements {
    /// The INSERT of a row whose last `lacking` clustering columns are null.
    fn insert(&self, lacking: usize) -> Option<&Bound> {
        match lacking.checked_sub(1).and_then(|n| self.shorter.get(n)) {
            Some(shorter) => Some(shorter),
            None => self.insert.as_ref(),
        }
    }
}

impl RowWriter {
    pub async fn prepare(texts: &Texts<'_>, loading: Loading) -> Result<RowWriter> {
        let keys = Keys::of(texts.table);
        Ok(RowWriter {
            loading,
            table: texts.table.clone(),
            rows: Statements::prepare(texts, &keys.row, ColumnKind::Regular, loading).await?,
            statics: Statements::prepare(texts, &keys.partition, ColumnKind::Static, loading).await?,
            keys,
        })
    }

    pub async fn write(
        &self,
        sender: &Sender,
        cluster: &Cluster,
        page: &Page,
        group: Group,
    ) -> Result<Vec<Refused>> {
        let mut sendings = Sendings { items: Vec::with_capacity(group.rows.len()), lists: Vec::new() };
        let now = cluster.now().div_euclid(1_000_000);
        let cells = |row, is_row| {
            let places = &if is_row { &self.rows } else { &self.statics }.places;
            Cells { table: &self.table, page, row, places, is_row, merges: self.loading.merges() }
        };
        if group.statics && !self.statics.places.is_empty() {
            self.add(sender, cells(group.rows.start, false), group.time, now, &mut sendings)?;
        }
        for row in group.rows.filter(|row| self.keys.is_row(page, *row)) {
            self.add(sender, cells(row, true), group.time, now, &mut sendings)?;
        }
        let mut refused = Vec::new();
        for some in sendings.items.chunks(STATEMENTS) {
            refuse::add(&mut refused, sender.send(cluster, some, Times::default()).await?);
        }
        if !refused.is_empty() {
            let is_refused = |list: &ListItem<'_>| refused.iter().any(|row| row.row == list.item.row);
            sendings.lists.retain(|list| !(list.of_row && is_refused(list)));
        }
        for some in sendings.lists.chunks(STATEMENTS) {
            refuse::add(&mut refused, Box::pin(self.write_lists(sender, cluster, some)).await?);
        }
        Ok(refused)
    }

    /// Adds what one row, or its partition's static cells, comes to; `time` is the write time of what tells none.
    fn add<'a>(
        &'a self,
        sender: &Sender,
        of: Cells<'a>,
        time: i64,
        now: i64,
        sendings: &mut Sendings<'a>,
    ) -> Result<()> {
        let Cells { table, page, row, is_row, .. } = of;
        let statements = if is_row { &self.rows } else { &self.statics };
        let Loading { policy, keeps_times, .. } = self.loading;
        let untold = policy.untold(time, if keeps_times { Life::Default } else { Life::Endless });
        let plan = mutation::plan(of, policy, untold, now)
            .doing(|| format!("read a row of {}", table.full_name()))?;
        if plan.untold && is_row && keeps_times {
            sender.counts.untold_rows.fetch_add(1, Relaxed);
        }
        // What is planned and cannot be sent must not be passed over.
        let lacking = || {
            Error::failed(format!("no statement is prepared for a write into {}", table.full_name()))
                .hint("this is a defect of cqlift")
        };
        for Write { stamp, what } in plan.writes {
            let cells = what.cells(of);
            let brings_row = matches!(what, What::Insert(_));
            let item = |bound, only, own| Item {
                only,
                own,
                stamp: Some(stamp),
                brings_row,
                cells,
                ..Item::new(bound, page, row)
            };
            let nulls = || self.keys.row.iter().rev().take_while(|c| page.cell(row, **c).is_none()).count();
            let insert = || statements.insert(nulls()).ok_or_else(lacking);
            let update = || statements.update.as_ref().ok_or_else(lacking);
            let elements = |column| statements.elements.get(column).ok_or_else(lacking);
            let written = match what {
                What::Insert(only) => item(insert()?, only, Vec::new()),
                What::Update(only) => item(update()?, only, Vec::new()),
                What::Add(column, cell) => item(elements(&column)?, None, vec![Some(cell)]),
                What::Fields(column, fields) => item(elements(&column)?, None, fields),
                What::List(column, cell) => {
                    let (write, read) = statements.lists.get(&column).ok_or_else(lacking)?;
                    let cql_type = table.columns[column].cql_type.clone();
                    let item = item(write, None, vec![Some(cell)]);
                    sendings.lists.push(ListItem { item, read, cql_type, of_row: is_row });
                    continue;
                }
            };
            sendings.items.push(written);
        }
        Ok(())
    }

    async fn write_lists(
        &self,
        sender: &Sender,
        cluster: &Cluster,
        lists: &[ListItem<'_>],
    ) -> Result<Vec<Refused>> {
        let times = Times { frame: None, rising: true };
        if self.loading.was_empty {
            let items: Vec<Item<'_>> = lists.iter().map(|list| list.item(self.tries())).collect();
            return sender.send(cluster, &items, times).await;
        }
        let mut refused = Vec::new();
        for list in lists {
            let there = sender.read(cluster, &Item::new(list.read, list.item.page, list.item.row)).await?;
            if let Some(later) = self.later(list, there.as_deref()) {
                refuse::add(&mut refused, sender.send(cluster, &[list.item(later)], times).await?);
            }
        }
        Ok(refused)
    }

    /// µs above its write time that earlier runs of this load have used for a list: what they sent may still arrive, and
    /// what is written above all of their times replaces it.
    fn tries(&self) -> i64 {
        i64::from(self.loading.before.list_tries)
    }

    /// How much later than planned, µs, a list is written into a table that held rows, given what is there (the list and, if
    /// they are told, its write times); `None` if it is not written.
    fn later(&self, list: &ListItem<'_>, there: Option<&[Option<Vec<u8>>]>) -> Option<i64> {
        let tries = self.tries();
        let found = there.and_then(|cells| cells.first()).and_then(Option::as_deref);
        let ours = list.item.own.first().and_then(Option::as_deref).unwrap_or_default();
        // Nothing is there: an earlier load may still have sent it, at its own time.
        let Some(found) = found else { return Some(tries.max(1)) };
        let Policy { write_times, expiries } = self.loading.policy;
        if found == ours && self.loading.policy.is_keep() {
            return None;
        }
        let planned = list.item.stamp.map_or(0, |stamp| stamp.written);
        let told =
            there.and_then(|cells| cells.get(1)).and_then(Option::as_deref).and_then(elements::numbers);
        match told.and_then(|times| times.into_iter().flatten().max()) {
            // What earlier runs of this load sent is later than planned, too.
            Some(newest) if newest > planned.saturating_add(tries) => None,
            Some(newest) => Some(newest.saturating_add(1).saturating_sub(planned).max(tries)),
            // It has the values, and a list's write time alone is not worth doubling it.
            None if found == ours && expiries == Expiries::Keep => None,
            // It needs another life. An earlier load with the same flags may have written it at the same time.
            None if found == ours => Some(self.loading.before.list_offset.saturating_add(tries)),
            None if write_times != WriteTimes::Keep => Some(tries),
            // More may have been added to it since; of others the server knows which is newer.
            None => (!holds(&list.cql_type, found, ours)).then_some(tries),
        }
    }
}

/// Whether a list has all elements of another, in their order.
fn holds(cql_type: &CqlType, all: &[u8], some: &[u8]) -> bool {
    let split = |cell| elements::split(cql_type, cell).unwrap_or_default();
    let mut all = split(all).into_iter();
    split(some).iter().all(|wanted| all.any(|found| found == *wanted))
}

/// What a group of rows comes to.
struct Sendings<'a> {
    items: Vec<Item<'a>>,
    /// Sent after the others.
    lists: Vec<ListItem<'a>>,
}

/// A list to write.
struct ListItem<'a> {
    item: Item<'a>,
    read: &'a Bound,
    cql_type: CqlType,
    /// Whether it is a row's, not its partition's.
    of_row: bool,
}

impl<'a> ListItem<'a> {
    /// The item, so many µs later than planned.
    fn item(&self, later: i64) -> Item<'a> {
        let Item { bound, page, row, ref own, stamp, brings_row, cells, .. } = self.item;
        let stamp = stamp.map(|stamp| Stamp { written: stamp.written.saturating_add(later), ..stamp });
        Item { own: own.clone(), stamp, brings_row, cells, ..Item::new(bound, page, row) }
    }
}
