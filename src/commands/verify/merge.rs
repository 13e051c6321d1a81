//! Row by row: the rows of a dump beside those of the cluster in the same token ranges. Both come in the order of tokens,
//! and in one token both in the order of their clustering, so that rows of one key meet soon. Where that is the same order
//! on both sides, rows do not wait for longer than that. How the dump's rows come to be in that order is left to others.

use super::cluster::{Reading, Ready};
use super::{Difference, Findings, IN_JSON, cut};
use crate::cluster::gate::Taken;
use crate::cluster::scan::{RangeScan, Scan};
use crate::commands::rfc3339;
use crate::compare::{CellDifference, Comparison, Kind, RowRef};
use crate::error::{Context, Error, Result};
use crate::ring::{Interval, Token};
use crate::rows::{Cell, Page, put_cell};
use crate::table::ColumnKind;
use crate::times::{Misfit, Told};
use crate::types::{Codec, codec};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Pages that may wait to be compared.
const PAGES_WAITING: usize = 2;

/// Pages of the dump on their way to be compared.
pub type DumpPages = mpsc::Receiver<Result<Page>>;

/// Compares the rows of the dump that lie in these ranges, and come in their order, with the cluster's.
///
/// # Errors
/// `Error` if a file or the cluster could not be read.
pub async fn rows(
    reading: &Reading,
    ready: &Ready,
    (ours, ranges): (DumpPages, &[Interval]),
    findings: &mut Findings,
) -> Result<()> {
    let places = Places::of(ready, ranges);
    let mut ours = Side::new(Pages::Dump(ours), &places);
    let scans = ranges.iter().rev().map(|range| ready.scan.range(&reading.cluster, *range)).collect();
    let mut theirs = Side::new(Pages::Cluster(scans, reading, None), &places);
    let mut group = Group::new(ready, &places)?;
    loop {
        let at = match (ours.head().await?, theirs.head().await?) {
            (Some(ours), Some(theirs)) => ours.min(theirs),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return Ok(()),
        };
        group.range = ranges[at.0];
        loop {
            let more = (ours.head().await? == Some(at), theirs.head().await? == Some(at));
            group.comparison.is_now(reading.cluster.now().div_euclid(1_000_000));
            if more == (false, false) {
                break;
            }
            if more.0
                && let Some(row) = ours.take()
            {
                group.ours(row, more.1, findings)?;
            }
            if more.1
                && let Some(row) = theirs.take()
            {
                group.theirs(row, more.0, findings)?;
            }
        }
        group.end(findings)?;
    }
}

/// What `read` hands on, ahead of the comparison; it is to break off once nobody takes its pages any more.
pub fn ahead(
    read: impl FnOnce(&mut dyn FnMut(Page) -> Result<ControlFlow<()>>) -> Result<()> + Send + 'static,
) -> DumpPages {
    let (send, receive) = mpsc::channel(PAGES_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut take = |page| match send.blocking_send(Ok(page)) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(_) => Ok(ControlFlow::Break(())),
        };
        if let Err(error) = read(&mut take) {
            // Nobody waits for it any more if the comparison has ended.
            let _ = send.blocking_send(Err(error));
        }
    });
    receive
}

/// Where rows stand: the number of their range, and their token.
type At = (usize, Token);

/// How rows of a table are placed.
struct Places<'a> {
    scan: &'a Scan,
    /// Ends and numbers of the ranges that hold tokens, by their ends.
    ranges: Vec<(Interval, usize)>,
    partition: Vec<usize>,
    key: Vec<usize>,
    first_clustering: Option<usize>,
}

impl<'a> Places<'a> {
    fn of(Ready { theirs, scan, .. }: &'a Ready, ranges: &[Interval]) -> Places<'a> {
        let mut ranges: Vec<(Interval, usize)> = ranges.iter().copied().zip(0..).collect();
        ranges.retain(|(range, _)| range.span() > 0);
        ranges.sort_unstable();
        let (partition, clustering) =
            (theirs.indexes(ColumnKind::PartitionKey), theirs.indexes(ColumnKind::Clustering));
        Places {
            scan,
            ranges,
            key: [partition.clone(), clustering.clone()].concat(),
            partition,
            first_clustering: clustering.first().copied(),
        }
    }

    fn at(&self, page: &Page, row: usize) -> Result<At> {
        let token = self.scan.token(page, row);
        let after = self.ranges.partition_point(|(range, _)| range.end < token);
        match self.ranges.get(after).filter(|(range, _)| range.contains(token)) {
            Some((_, number)) => Ok((*number, token)),
            None => Err(Error::failed(format!(
                "a row with the token {token} stands in a part whose ranges do not hold it"
            ))
            .hint(
                "the dump is damaged, or the cluster hashes keys in another way than its partitioner says",
            )),
        }
    }
}

/// A row that is kept for a while.
#[derive(Clone)]
struct Row {
    page: Arc<Page>,
    row: usize,
}

impl Row {
    fn cell(&self, column: usize) -> Cell<'_> {
        self.page.cell(self.row, column)
    }

    fn cells(&self, columns: &[usize]) -> Vec<u8> {
        let mut key = Vec::new();
        for column in columns {
            // A cell came with such a length, so that it has one.
            let _ = put_cell(self.cell(*column), &mut key);
        }
        key
    }

    fn view(&self) -> RowRef<'_> {
        RowRef { page: &self.page, row: self.row }
    }
}

enum Pages<'a> {
    Dump(DumpPages),
    /// The ranges left to scan, the next one last, what they are read by, and the room of the last page.
    Cluster(Vec<RangeScan<'a>>, &'a Reading, Option<Taken>),
}

impl Pages<'_> {
    async fn next(&mut self) -> Result<Option<Page>> {
        match self {
            Pages::Dump(pages) => pages.recv().await.transpose(),
            Pages::Cluster(ranges, reading, held) => {
                // Who waits for room must hold none.
                *held = None;
                while let Some(range) = ranges.last_mut() {
                    if let Some((page, room)) = reading.next_page(range).await? {
                        *held = Some(room);
                        return Ok(Some(page));
                    }
                    ranges.pop();
                }
                Ok(None)
            }
        }
    }
}

/// The rows of one side, one after another.
struct Side<'a> {
    pages: Pages<'a>,
    places: &'a Places<'a>,
    next: Option<Row>,
    at: Option<At>,
}

impl<'a> Side<'a> {
    fn new(pages: Pages<'a>, places: &'a Places<'a>) -> Side<'a> {
        Side { pages, places, next: None, at: None }
    }

    /// Where the next row stands; `None` at the end.
    async fn head(&mut self) -> Result<Option<At>> {
        if self.at.is_some() {
            return Ok(self.at);
        }
        let ended = self.next.as_ref().is_none_or(|next| next.row >= next.page.rows());
        if ended {
            let page = self.pages.next().await?;
            self.next = page.map(|page| Row { page: Arc::new(page), row: 0 });
        }
        if let Some(next) = &self.next {
            self.at = Some(self.places.at(&next.page, next.row)?);
        }
        Ok(self.at)
    }

    /// The row that `head` told of.
    fn take(&mut self) -> Option<Row> {
        let taken = self.next.clone()?;
        self.at = None;
        if let Some(next) = &mut self.next {
            next.row += 1;
        }
        Some(taken)
    }
}

/// Rows of one side that have not met their counterpart, numbered in the order in which they came.
#[derive(Default)]
struct Waiting {
    numbers: HashMap<Vec<u8>, u64>,
    rows: BTreeMap<u64, (Vec<u8>, Row)>,
    count: u64,
}

impl Waiting {
    fn push(&mut self, key: Vec<u8>, row: Row) {
        self.numbers.insert(key.clone(), self.count);
        self.rows.insert(self.count, (key, row));
        self.count += 1;
    }

    /// The row of this key, with its number.
    fn take(&mut self, key: &[u8]) -> Option<(u64, Row)> {
        let number = self.numbers.remove(key)?;
        self.rows.remove(&number).map(|(_, row)| (number, row))
    }

    /// Takes out the rows that came before the one of this number.
    fn before(&mut self, number: u64) -> Vec<Row> {
        let mut earlier = Vec::new();
        // One by one: mostly there are none, however many came later.
        while let Some(first) = self.rows.first_entry().filter(|first| *first.key() < number) {
            let (key, row) = first.remove();
            self.numbers.remove(&key);
            earlier.push(row);
        }
        earlier
    }
}

/// The first row of a partition on each side, which shows its static cells.
#[derive(Default)]
struct Statics {
    ours: Option<Row>,
    theirs: Option<Row>,
}

/// The rows of one token that have not met their counterpart.
struct Group<'a> {
    ready: &'a Ready,
    places: &'a Places<'a>,
    comparison: Comparison,
    codecs: Vec<Box<dyn Codec>>,
    range: Interval,
    ours: Waiting,
    theirs: Waiting,
    statics: HashMap<Vec<u8>, Statics>,
    has_statics: bool,
}

impl<'a> Group<'a> {
    fn new(ready: &'a Ready, places: &'a Places<'a>) -> Result<Group<'a>> {
        let table = &ready.pair.parts.table;
        let codecs = table.columns.iter().map(|column| codec(&column.cql_type).doing(|| table.full_name()));
        Ok(Group {
            ready,
            places,
            comparison: Comparison::new(table, &ready.theirs, ready.pair.rules),
            codecs: codecs.collect::<Result<_>>()?,
            range: Interval::whole(),
            ours: Waiting::default(),
            theirs: Waiting::default(),
            statics: HashMap::new(),
            has_statics: table.of_kind(ColumnKind::Static).next().is_some(),
        })
    }

    /// Takes a row of the dump; `more` tells whether the cluster has more rows of this token.
    fn ours(&mut self, row: Row, more: bool, findings: &mut Findings) -> Result<()> {
        if self.has_statics {
            let statics = self.statics.entry(row.cells(&self.places.partition)).or_default();
            statics.ours.get_or_insert_with(|| row.clone());
        }
        if !self.is_row(&row) {
            return Ok(());
        }
        let key = row.cells(&self.places.key);
        match self.theirs.take(&key) {
            Some((number, theirs)) => {
                self.passed(self.ours.count, number, findings)?;
                self.compare(ColumnKind::Regular, Some(&row), Some(&theirs), findings)
            }
            None if more => {
                self.ours.push(key, row);
                Ok(())
            }
            None => self.missing(&row, findings),
        }
    }

    /// Takes a row of the cluster; `more` tells whether the dump has more rows of this token.
    fn theirs(&mut self, row: Row, more: bool, findings: &mut Findings) -> Result<()> {
        if self.has_statics {
            let statics = self.statics.entry(row.cells(&self.places.partition)).or_default();
            statics.theirs.get_or_insert_with(|| row.clone());
        }
        if !self.is_row(&row) {
            return Ok(());
        }
        let key = row.cells(&self.places.key);
        match self.ours.take(&key) {
            Some((number, ours)) => {
                self.passed(number, self.theirs.count, findings)?;
                self.compare(ColumnKind::Regular, Some(&ours), Some(&row), findings)
            }
            None if more => {
                self.theirs.push(key, row);
                Ok(())
            }
            None => self.extra(&row, findings),
        }
    }

    /// Two rows met: if both sides have one order, those that waited before them have no counterpart to come.
    fn passed(&mut self, ours: u64, theirs: u64, findings: &mut Findings) -> Result<()> {
        if self.ready.same_order { self.tell_before(ours, theirs, findings) } else { Ok(()) }
    }

    /// Tells of the rows that met no other, up to these numbers, and lets go of them.
    fn tell_before(&mut self, ours: u64, theirs: u64, findings: &mut Findings) -> Result<()> {
        for row in self.ours.before(ours) {
            self.missing(&row, findings)?;
        }
        for row in self.theirs.before(theirs) {
            self.extra(&row, findings)?;
        }
        Ok(())
    }

    /// Tells of what is left of a token.
    fn end(&mut self, findings: &mut Findings) -> Result<()> {
        self.tell_before(u64::MAX, u64::MAX, findings)?;
        for Statics { ours, theirs } in std::mem::take(&mut self.statics).into_values() {
            self.compare(ColumnKind::Static, ours.as_ref(), theirs.as_ref(), findings)?;
        }
        Ok(())
    }

    /// A partition that holds only static cells is read as one row without clustering.
    fn is_row(&self, row: &Row) -> bool {
        self.places.first_clustering.is_none_or(|c| row.cell(c).is_some())
    }

    fn missing(&self, row: &Row, findings: &mut Findings) -> Result<()> {
        if self.comparison.is_missing(ColumnKind::Regular, row.view()).map_err(|e| self.misfit(e))? {
            findings.add(self.difference(row, &self.places.key, Kind::MissingRow));
        }
        Ok(())
    }

    fn extra(&self, row: &Row, findings: &mut Findings) -> Result<()> {
        if self.comparison.is_extra(ColumnKind::Regular, row.view()).map_err(|e| self.misfit(e))? {
            findings.add(self.difference(row, &self.places.key, Kind::ExtraRow));
        }
        Ok(())
    }

    fn compare(
        &self,
        kind: ColumnKind,
        ours: Option<&Row>,
        theirs: Option<&Row>,
        findings: &mut Findings,
    ) -> Result<()> {
        let Some(either) = ours.or(theirs) else { return Ok(()) };
        let key = if kind == ColumnKind::Static { &self.places.partition } else { &self.places.key };
        let cells = self.comparison.cells(kind, ours.map(Row::view), theirs.map(Row::view));
        for found in cells.map_err(|e| self.misfit(e))? {
            let CellDifference { column, kind, .. } = found;
            let texts = match kind {
                Kind::WriteTime => [&found.dump, &found.cluster]
                    .map(|told| self.times(told, |m| Some(m.written.to_string()))),
                Kind::Expiry => {
                    [&found.dump, &found.cluster].map(|told| self.times(told, |m| m.expires.map(second)))
                }
                _ => self.values([ours, theirs].map(|row| row.and_then(|row| row.cell(column))), column),
            };
            let [dump, cluster] = texts.map(|text| text.map(|text| cut(text, IN_JSON)));
            let column = Some(self.ready.theirs.columns[column].name.clone());
            findings.add(Difference { column, dump, cluster, ..self.difference(either, key, kind) });
        }
        Ok(())
    }

    fn difference(&self, row: &Row, key: &[usize], kind: Kind) -> Difference {
        let text = |column: &usize| {
            let name = self.ready.theirs.columns[*column].name.clone();
            (name, cut(self.text(row.cell(*column).unwrap_or_default(), *column), IN_JSON))
        };
        Difference {
            table: self.ready.pair.parts.table.full_name(),
            // Of the cluster's tokens it would say nothing of where the row is in the dump.
            range: (!self.ready.is_reordered()).then(|| self.range.to_string()),
            key: key.iter().map(text).collect(),
            column: None,
            kind: super::Kind::Row(kind),
            dump: None,
            cluster: None,
            what: None,
        }
    }

    /// Both values as text, or as bytes where their texts are the same.
    fn values(&self, cells: [Cell<'_>; 2], column: usize) -> [Option<String>; 2] {
        let texts = cells.map(|cell| cell.map(|cell| self.text(cell, column)));
        if texts[0] == texts[1] { cells.map(|cell| cell.map(crate::manifest::hex)) } else { texts }
    }

    fn text(&self, cell: &[u8], column: usize) -> String {
        let mut text = Vec::new();
        self.codecs[column].to_text(cell, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What is told of a cell's moments; a list for elements.
    fn times(&self, told: &Told, text: fn(crate::times::Moment) -> Option<String>) -> Option<String> {
        match told {
            Told::Nothing => None,
            Told::Cell(moment) => text(*moment),
            Told::Elements(moments) => {
                let each =
                    moments.iter().map(|moment| moment.and_then(text).unwrap_or_else(|| "null".to_owned()));
                Some(format!("[{}]", each.collect::<Vec<_>>().join(", ")))
            }
        }
    }

    fn misfit(&self, misfit: Misfit) -> Error {
        Error::failed(format!("compare {}: {misfit}", self.ready.theirs.full_name()))
    }
}

/// A second as RFC 3339.
fn second(since_1970: i64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(u64::try_from(since_1970).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::PageBuilder;

    fn row(number: usize) -> Row {
        Row { page: Arc::new(PageBuilder::new(1).finish()), row: number }
    }

    #[test]
    fn rows_wait_in_their_order_until_they_are_taken() {
        let mut waiting = Waiting::default();
        (0..6).for_each(|n| waiting.push(vec![9 - n], row(n.into())));
        let numbers = |rows: Vec<Row>| rows.iter().map(|row| row.row).collect::<Vec<_>>();
        assert_eq!(waiting.take(&[6]).map(|(number, row)| (number, row.row)), Some((3, 3)));
        assert!(waiting.take(&[6]).is_none());
        assert_eq!(numbers(waiting.before(3)), [0, 1, 2]);
        assert_eq!((waiting.rows.len(), waiting.numbers.len()), (2, 2));
        assert!(waiting.before(3).is_empty() && waiting.take(&[9]).is_none());
        waiting.push(vec![9], row(6));
        assert_eq!(numbers(waiting.before(u64::MAX)), [4, 5, 6]);
        assert!(waiting.rows.is_empty() && waiting.numbers.is_empty());
    }
}
