//! A cluster against a dump: the sums of each part against those of a scan of the same token ranges. Where they differ,
//! and where something expires, the rows themselves are compared, which is left to `merge`. A cluster with another
//! partitioner than the dump's has other tokens: there the sums are those of whole tables, and `reorder` brings the rows into
//! the cluster's order.

use super::{Findings, NotCompared, merge, reorder};
use crate::cluster::Cluster;
use crate::cluster::catalogue::Schema;
use crate::cluster::gate::{Budget, Taken, Throttle};
use crate::cluster::probe::Probe;
use crate::cluster::scan::{RangeScan, Scan};
use crate::commands::BudgetArgs;
use crate::commands::parts::TableParts;
use crate::commands::{ranges, tile_the_ring};
use crate::compare::Rules;
use crate::error::{Context, Error, Result};
use crate::fingerprint::{Fingerprint, Sums};
use crate::manifest::{Part, Position};
use crate::progress::{Counters, Progress};
use crate::ring::{self, Interval};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use crate::types::cql::CqlType;
use futures::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Units compared at a time.
const WORKERS: usize = 8;

/// Scans of one unit at a time, where there are many, and where there is one to a table.
const SCANS_OF_A_UNIT: usize = 2;
const SCANS_OF_A_TABLE: usize = 8;
/// Rows that one scan is to find, about: some pages.
const ROWS_OF_A_PIECE: u64 = 30_000;
/// Pieces of a unit at most, beside one for each range: how many rows there are is what the manifest says.
const MOST_PIECES: u64 = 1 << 16;

/// A dumped table and where the cluster has it.
pub struct Pair {
    /// Its parts.
    pub parts: TableParts,
    /// Keyspace and table in the cluster; it has the dumped table's columns.
    pub into: (String, String),
    /// What of it is compared.
    pub rules: Rules,
}

/// What is compared as one: parts that share a partition, or one part; all parts where tokens differ.
pub struct Unit {
    /// Numbers of its parts, in the order of their rows.
    pub parts: Vec<usize>,
    /// The token ranges of these parts, in the order of their rows; the cluster's whole ring where tokens differ.
    pub ranges: Vec<Interval>,
}

/// One table ready to be compared.
pub struct Ready {
    /// The dump's side, and the rules.
    pub pair: Pair,
    /// The cluster's side: the same columns, with the companions that both sides tell.
    pub theirs: Table,
    /// The scan of it.
    pub scan: Scan,
    /// Whether the rows of a token come in the same order on both sides.
    pub same_order: bool,
    units: Vec<Unit>,
}

impl Ready {
    /// Whether the cluster's tokens are not the dump's.
    pub fn is_reordered(&self) -> bool {
        self.scan.partitioner() != self.pair.parts.partitioner
    }
}

/// The cluster as it is read: what its scans may use up, and what counts their pages.
pub struct Reading {
    /// Where they are.
    pub cluster: Arc<Cluster>,
    /// Bytes that rows may take that are brought into another order.
    pub kept: usize,
    memory: Budget,
    rate: Throttle,
    counters: Arc<Counters>,
}

impl Reading {
    fn of(cluster: &Arc<Cluster>, budget: BudgetArgs, counters: &Arc<Counters>) -> Reading {
        let memory = budget.memory.as_u64();
        Reading {
            cluster: cluster.clone(),
            kept: usize::try_from(memory / 2).unwrap_or(usize::MAX),
            memory: Budget::new(memory / 4),
            rate: Throttle::new(budget.rate),
            counters: counters.clone(),
        }
    }

    /// The next page of a scan, and the room that it takes for as long as it is needed.
    ///
    /// # Errors
    /// As [`RangeScan::next_page`].
    pub async fn next_page(&self, scan: &mut RangeScan<'_>) -> Result<Option<(Page, Taken)>> {
        let room = self.memory.take(scan.page_bytes()).await?;
        let Some(page) = scan.next_page().await? else { return Ok(None) };
        let room = self.memory.fit(room, page.bytes()).await?;
        count(&page, &self.counters);
        self.rate.pass(page.rows()).await;
        Ok(Some((page, room)))
    }
}

/// Compares each pair; answers what differs, in the order of tables and ranges.
///
/// # Errors
/// `Error` if a file or the cluster could not be read.
pub async fn compare(
    (cluster, schema): (&Arc<Cluster>, &Schema),
    pairs: Vec<Pair>,
    (budget, progress): (BudgetArgs, &Progress),
) -> Result<Findings> {
    let mut findings = Findings { tables: pairs.len() as u64, ..Findings::default() };
    let mut ready = Vec::with_capacity(pairs.len());
    let mut probe = Probe::default();
    for pair in pairs {
        ready.push(Arc::new(prepare((cluster, schema), pair, &mut probe, &mut findings.not_compared).await?));
    }
    let each = |(number, table): (usize, &Arc<Ready>)| {
        (0..table.units.len()).map(|unit| (number, unit)).collect::<Vec<_>>()
    };
    let queue: VecDeque<(usize, usize)> = ready.iter().enumerate().flat_map(each).collect();
    let reordering = tokio::sync::Mutex::default();
    let reading = Reading::of(cluster, budget, &progress.counters);
    let work = Arc::new(Work { reading, ready, queue: Mutex::new(queue), reordering });
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(worker(work.clone()));
    }
    let mut found = Vec::new();
    while let Some(joined) = workers.join_next().await {
        found.extend(joined.doing(|| "run a comparison").and_then(|done| done)?);
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().for_each(|(_, some)| findings += some);
    Ok(findings)
}

struct Work {
    reading: Reading,
    ready: Vec<Arc<Ready>>,
    queue: Mutex<VecDeque<(usize, usize)>>,
    /// Held while rows are brought into another order: one table at a time takes the memory for it.
    reordering: tokio::sync::Mutex<()>,
}

type Found = ((usize, usize), Findings);

async fn worker(work: Arc<Work>) -> Result<Vec<Found>> {
    let counters = &work.reading.counters;
    let mut found = Vec::new();
    loop {
        let next = work.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((table, number)) = next else { return Ok(found) };
        let ready = &work.ready[table];
        let unit = &ready.units[number];
        let mut findings = Findings::default();
        let entries = || unit.parts.iter().map(|part| &ready.pair.parts.entries[*part]);
        findings.parts = entries().filter(|part| part.file.is_some()).count() as u64;
        findings.rows = entries().map(|part| part.rows).sum();
        if !sums_agree(&work.reading, ready, unit).await? {
            compare_rows(&work, (ready, unit), &mut findings).await?;
        }
        counters.rows.fetch_add(findings.rows, Relaxed);
        counters.units.fetch_add(unit.parts.len() as u64, Relaxed);
        found.push(((table, number), findings));
    }
}

async fn compare_rows(
    work: &Work,
    (ready, unit): (&Arc<Ready>, &Unit),
    findings: &mut Findings,
) -> Result<()> {
    if ready.is_reordered() {
        let _alone = work.reordering.lock().await;
        return reorder::rows(&work.reading, ready, &unit.parts, findings).await;
    }
    let (all, parts) = (ready.clone(), unit.parts.clone());
    let ours = merge::ahead(move |take| all.pair.parts.read(&parts, take));
    merge::rows(&work.reading, ready, (ours, &unit.ranges), findings).await
}

async fn prepare(
    (cluster, schema): (&Cluster, &Schema),
    pair: Pair,
    probe: &mut Probe,
    not_compared: &mut Vec<NotCompared>,
) -> Result<Ready> {
    let ours = &pair.parts.table;
    let mut theirs = Table { keyspace: pair.into.0.clone(), name: pair.into.1.clone(), ..ours.values_only() };
    let untold = probe.keep(cluster, &mut theirs).await?;
    if pair.rules.times || pair.rules.expiries {
        let dump_tells =
            |name: &str| ours.companions.iter().any(|companion| ours.columns[companion.column].name == name);
        let untold = untold.into_iter().filter(|(name, _)| dump_tells(name));
        not_compared.extend(
            untold.map(|(name, reason)| NotCompared::times(format!("{}.{name}", ours.full_name()), reason)),
        );
    }
    // Of what a load wrote now, and only of that, it matters what the dump does not tell.
    if pair.rules.written.is_none() {
        theirs.companions.retain(|theirs| ours.companions.iter().any(|ours| ours.column == theirs.column));
    }
    let damaged = |what| Error::failed(format!("{}: {what}; the manifest is damaged", ours.full_name()));
    tile_the_ring(&pair.parts.entries)
        .map_err(|what| damaged(format!("its token ranges do not cover the ring: {what}")))?;
    let mut units = units(&pair.parts.entries).map_err(damaged)?;
    let scan = Scan::prepare(cluster, &theirs).await?;
    let target = schema.table(&theirs.keyspace, &theirs.name);
    let mut same_order = target.is_some_and(|target| clustering_order(target) == clustering_order(ours));
    if scan.partitioner() != pair.parts.partitioner {
        let parts = units.into_iter().flat_map(|unit| unit.parts).collect();
        units = vec![Unit { parts, ranges: vec![Interval::whole()] }];
        // Partitions that share a token in the cluster, and so come in the order of their keys, need not in the dump.
        same_order = false;
    }
    Ok(Ready { pair, theirs, scan, same_order, units })
}

/// Which of the clustering columns are in descending order.
fn clustering_order(table: &Table) -> Vec<bool> {
    table.of_kind(ColumnKind::Clustering).map(|column| column.descending).collect()
}

/// Puts together the parts that share a partition.
///
/// # Errors
/// The part that goes on nowhere, or begins where none ended.
pub(in crate::commands) fn units(parts: &[Part]) -> Result<Vec<Unit>, String> {
    let from = |part: &Part| part.ranges.first().and_then(|range| range.from.clone());
    let to = |part: &Part| part.ranges.last().and_then(|range| range.to.clone());
    let after = |position: &Position| parts.iter().position(|part| from(part).as_ref() == Some(position));
    let mut units = Vec::new();
    for (first, _) in parts.iter().enumerate().filter(|(_, part)| from(part).is_none()) {
        let mut unit = Unit { parts: vec![first], ranges: ranges(&parts[first])? };
        let mut end = to(&parts[first]);
        while let Some(position) = end {
            let next = after(&position).filter(|next| !unit.parts.contains(next));
            let next = next.ok_or("a part ends inside a partition, and none goes on there")?;
            unit.ranges.extend(ranges(&parts[next])?);
            unit.parts.push(next);
            end = to(&parts[next]);
        }
        units.push(unit);
    }
    match units.iter().map(|unit| unit.parts.len()).sum::<usize>() == parts.len() {
        true => Ok(units),
        false => Err("a part begins inside a partition, and none ends there".to_owned()),
    }
}

/// Whether a scan of the unit's ranges comes to the sums of its parts. Where something expires sums do not tell.
async fn sums_agree(reading: &Reading, ready: &Ready, unit: &Unit) -> Result<bool> {
    let Rules { times, expiries, dump_expires, given, .. } = ready.pair.rules;
    let entries = || unit.parts.iter().map(|part| &ready.pair.parts.entries[*part]);
    if given.is_some() {
        return Ok(false);
    }
    if (expiries || dump_expires) && entries().any(|part| part.earliest_expiry.is_some()) {
        return Ok(false);
    }
    let mut ours = Sums::default();
    for part in entries().filter(|part| part.file.is_some()) {
        let Some(sums) = part.sums else { return Ok(false) };
        ours += sums;
    }
    let rows = entries().map(|part| part.rows).sum();
    let sums = pieces(&unit.ranges, rows).into_iter().map(|range| scan_sums(reading, ready, range));
    let at_once = if ready.is_reordered() { SCANS_OF_A_TABLE } else { SCANS_OF_A_UNIT };
    let scans = futures::stream::iter(sums).buffer_unordered(at_once);
    let theirs = scans.try_fold(Sums::default(), add).await?;
    let agree = |compared: bool, ours: u128, theirs: u128| !compared || ours == theirs;
    Ok(ours.values == theirs.values
        && agree(times, ours.times, theirs.times)
        && agree(times && tell_alike(ready), ours.element_times, theirs.element_times)
        && agree(expiries, ours.expiring, theirs.expiring))
}

/// The ranges cut so finely that no scan is much longer than the others: whoever ends last is waited for alone. Sums of
/// whole partitions add up, wherever ranges are cut.
fn pieces(ranges: &[Interval], rows: u64) -> Vec<Interval> {
    let span: u128 = ranges.iter().map(|range| u128::from(range.span())).sum();
    let rows = rows.min(ROWS_OF_A_PIECE * MOST_PIECES);
    let cut = |range: &Interval| {
        let rows = u128::from(rows) * u128::from(range.span()) / span.max(1);
        ring::split(*range, usize::try_from(rows.div_ceil(ROWS_OF_A_PIECE.into())).unwrap_or(usize::MAX))
    };
    ranges.iter().flat_map(cut).collect()
}

async fn add(mut all: Sums, some: Sums) -> Result<Sums> {
    all += some;
    Ok(all)
}

/// The sums of what a scan of the range finds.
async fn scan_sums(reading: &Reading, ready: &Ready, range: Interval) -> Result<Sums> {
    let mut fingerprint = Fingerprint::new(&ready.theirs, None);
    let mut scan = ready.scan.range(&reading.cluster, range);
    while let Some((page, _room)) = reading.next_page(&mut scan).await? {
        fingerprint.add(&page).doing(|| format!("scan {}", ready.theirs.full_name()))?;
    }
    Ok(fingerprint.tally().sums)
}

/// Shows that a page was scanned.
fn count(page: &Page, counters: &Counters) {
    counters.bytes.fetch_add(page.value_bytes() as u64, Relaxed);
}

/// Whether the cluster tells of the elements of every column of which the dump does.
fn tell_alike(ready: &Ready) -> bool {
    let has_elements = |column: usize| {
        let cql_type = &ready.theirs.columns[column].cql_type;
        cql_type.has_elements() && !matches!(cql_type, CqlType::List(..))
    };
    let told = |table: &Table| -> Vec<usize> {
        table.companions.iter().map(|c| c.column).filter(|column| has_elements(*column)).collect()
    };
    told(&ready.pair.parts.table) == told(&ready.theirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RangeEntry;
    use crate::rows::PageBuilder;

    fn position(row: u8) -> Position {
        Position { partition_key: vec![Some("0x01".into())], clustering: vec![Some(format!("0x{row:02x}"))] }
    }

    fn part(start: i64, end: i64, from: Option<u8>, to: Option<u8>) -> Part {
        let range = RangeEntry {
            start: start.to_string(),
            end: end.to_string(),
            from: from.map(position),
            to: to.map(position),
            read: Default::default(),
        };
        Part { ranges: vec![range], ..Part::default() }
    }

    #[test]
    fn parts_that_share_a_partition_are_one_unit() {
        let parts = [
            part(7, 9, Some(2), None),
            part(1, 5, None, None),
            part(5, 7, None, Some(1)),
            part(7, 7, Some(1), Some(2)),
        ];
        let units = units(&parts).unwrap();
        let shape: Vec<_> = units.iter().map(|unit| (unit.parts.clone(), unit.ranges.len())).collect();
        assert_eq!(shape, [(vec![1], 1), (vec![2, 3, 0], 3)]);
    }

    #[test]
    fn pieces_cover_what_they_are_cut_from() {
        let whole = [
            Interval { start: 0, end: 3_000 },
            Interval { start: 5_000, end: 5_010 },
            Interval { start: 9, end: 9 },
        ];
        let cut = pieces(&whole, 301_000);
        assert_eq!(cut.len(), 10 + 1);
        assert_eq!(cut.iter().map(|piece| piece.span()).sum::<u64>(), 3_010);
        assert_eq!((cut[0].start, cut[9].end, cut[10]), (0, 3_000, whole[1]));
        assert_eq!(pieces(&whole, 0), whole[..2]);
        // However many rows a manifest claims.
        let ring = ring::split(Interval::whole(), 3);
        assert_eq!(pieces(&ring, 1 << 62).len(), (1 << 16) + 2);
        assert_eq!(pieces(&ring, u64::MAX).len(), (1 << 16) + 2);
    }

    #[test]
    fn the_bytes_of_scanned_pages_are_counted() {
        let counters = Counters::default();
        let mut page = PageBuilder::new(2);
        [Some(&b"some"[..]), None].into_iter().for_each(|cell| page.push(cell).unwrap());
        let page = page.finish();
        (0..2).for_each(|_| count(&page, &counters));
        assert_eq!(counters.bytes.load(Relaxed), 8);
    }

    #[test]
    fn a_part_that_nothing_continues_is_noticed() {
        assert!(units(&[part(1, 5, None, Some(1))]).is_err());
        assert!(units(&[part(1, 5, Some(1), None)]).is_err());
    }
}
