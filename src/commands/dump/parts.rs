//! What a dump makes of the pages of its tables: parts. An encoder has one part open. A part closes at `--part-size`, at a
//! partition boundary, or inside a partition that is larger than a part; whatever way, the parts' ranges tile the ring exactly.

use super::resume::stretches;
use crate::cluster::Cluster;
use crate::cluster::scan::Scan;
use crate::commands::scanning::{self, Care, Encoder, Job};
use crate::commands::{BudgetArgs, rfc3339, row_group_bytes};
use crate::error::{Context, Error, Result};
use crate::fingerprint::{Fingerprint, Partition, Tally};
use crate::format::{Format, Layout, Sink, SinkOptions};
use crate::manifest::sidecar::Sidecar;
use crate::manifest::{NotPreserved, Part, Position, RangeEntry, hex};
use crate::progress::{Counters, Progress};
use crate::ring::{self, Interval, Left, Token};
use crate::rows::Page;
use crate::steal::Work;
use crate::store::{DumpDir, NewFile};
use crate::table::{ColumnKind, Table};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What parts are like.
#[derive(Clone, Copy)]
pub struct PartForm {
    /// Their file format.
    pub format: Format,
    /// Bytes at which one closes.
    pub bytes: u64,
    /// What may be used up.
    pub budget: BudgetArgs,
}

/// A table to scan and where its parts go.
pub struct TableWork {
    /// Its columns.
    pub table: Table,
    /// Their files' form.
    pub layout: Layout,
    /// The prepared scan.
    pub scan: Scan,
    /// Whether write times and expiries are kept.
    pub keeps_times: bool,
    /// Columns of which the cluster does not tell them, and why.
    pub untold: Vec<(String, String)>,
    /// Columns that cannot be read.
    pub left_out: Vec<NotPreserved>,
    /// Folder of the parts within the dump.
    pub path: String,
    /// Bytes, as far as the server has an estimate: what is or may be big goes first.
    pub estimate: Option<u64>,
}

/// What came of a table.
pub struct DumpedTable {
    /// Its columns and what is kept beside them.
    pub table: Table,
    /// Columns of which write times are not told, and why.
    pub untold: Vec<(String, String)>,
    /// Columns that could not be read.
    pub left_out: Vec<NotPreserved>,
    /// Name of the exceptions column in its files.
    pub exceptions_column: String,
    /// Its parts in name order.
    pub parts: Vec<Part>,
    /// What of it has not been read.
    pub left: Left<Position>,
}

/// What came of a run.
pub struct Dumped {
    /// The tables, in the order of their work.
    pub tables: Vec<DumpedTable>,
    /// Why ranges were given up.
    pub losses: Vec<Error>,
    /// What has become of tables meanwhile, by their places.
    pub changed: BTreeMap<usize, String>,
}

/// Everything that encoders share.
struct Shared {
    cluster: Arc<Cluster>,
    dir: DumpDir,
    /// The dump's id.
    dump: String,
    form: PartForm,
    options: SinkOptions,
    tables: Vec<TableWork>,
    part_numbers: Vec<AtomicU32>,
    /// Ranges that hold no rows: they need no file, and share one sidecar per table.
    empty: Vec<Mutex<Vec<RangeEntry>>>,
    counters: Arc<Counters>,
}

/// Scans what `earlier` parts of the tables leave, and writes the parts of that.
///
/// # Errors
/// The first error of an encoder, or parts that do not go together.
pub async fn dump(
    cluster: &Arc<Cluster>,
    (dir, dump): (&DumpDir, &str),
    form: PartForm,
    tables: Vec<TableWork>,
    earlier: Vec<Vec<Part>>,
    care: Care,
    progress: &Progress,
) -> Result<Dumped> {
    let mut job = Job {
        scans: tables.iter().map(|table| table.scan.clone()).collect(),
        work: Vec::new(),
        rests: BTreeMap::new(),
        budget: form.budget,
        care: Some(care),
    };
    for table in biggest_first(tables.iter().map(|t| t.estimate)) {
        let left = left(&tables[table], &earlier[table])?;
        progress.counters.units.fetch_add(u64::from(left.is_nothing()), Relaxed);
        let inside = left.rests.keys().map(|token| Interval { start: *token, end: *token });
        job.work.extend(inside.chain(left.intervals).map(|range| Work { table, range }));
        job.rests.extend(left.rests.into_iter().map(|(token, position)| ((table, token), position)));
    }
    progress.counters.rows.fetch_add(earlier.iter().flatten().map(|part| part.rows).sum(), Relaxed);
    let shared = Arc::new(Shared {
        cluster: cluster.clone(),
        dir: dir.clone(),
        dump: dump.to_owned(),
        form,
        options: SinkOptions {
            row_group_bytes: row_group_bytes(form.budget.memory.as_u64(), scanning::workers(cluster)),
            ..SinkOptions::default()
        },
        empty: tables.iter().map(|_| Mutex::default()).collect(),
        part_numbers: earlier.iter().map(|parts| AtomicU32::new(last_number(parts))).collect(),
        tables,
        counters: progress.counters.clone(),
    });
    let encoder = || PartEncoder { shared: shared.clone(), open: None, done: Vec::new() };
    let scanned = scanning::scan(cluster, job, &progress.counters, encoder).await?;
    let mut parts = earlier;
    scanned.done.into_iter().flatten().for_each(|(table, part)| parts[table].push(part));
    let finish = |((table, work), mut parts): ((usize, &TableWork), Vec<Part>)| {
        parts.extend(shared.empty_part(table)?);
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(DumpedTable {
            left: left(work, &parts)?,
            table: work.table.clone(),
            untold: work.untold.clone(),
            left_out: work.left_out.clone(),
            exceptions_column: work.layout.exceptions.clone(),
            parts,
        })
    };
    let tables: Result<_> = shared.tables.iter().enumerate().zip(parts).map(finish).collect();
    Ok(Dumped { tables: tables?, losses: scanned.losses, changed: scanned.changed })
}

/// What the parts of a table leave of the ring. The promise of a dump: what they hold, no other holds, and in the end
/// nothing is left.
fn left(work: &TableWork, parts: &[Part]) -> Result<Left<Position>> {
    let stretches = stretches(parts)?;
    ring::left(stretches).map_err(|unfit| {
        Error::failed(format!("the parts of {} do not go together: {unfit}", work.table.full_name())).hint(
            format!("remove {}, all of it, to read the table anew, or start over with --restart", work.path),
        )
    })
}

/// The greatest number that a part has.
fn last_number(parts: &[Part]) -> u32 {
    let number = |part: &Part| part.name.strip_prefix("part-").and_then(|number| number.parse().ok());
    parts.iter().filter_map(number).max().unwrap_or(0)
}

/// The places of tables in the order of their work: the largest first, as what begins last ends last; tables of unknown
/// size before them, since they may be the largest.
fn biggest_first(estimates: impl Iterator<Item = Option<u64>>) -> Vec<usize> {
    let mut order: Vec<(usize, u64)> = estimates.map(|e| e.unwrap_or(u64::MAX)).enumerate().collect();
    order.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    order.into_iter().map(|(table, _)| table).collect()
}

impl Shared {
    /// The next free name of a table's parts.
    fn part_name(&self, table: usize) -> String {
        format!("part-{:05}", self.part_numbers[table].fetch_add(1, Relaxed) + 1)
    }

    /// From here on the part counts, whatever becomes of the run.
    fn write_sidecar(&self, table: usize, part: &Part) -> Result<()> {
        let sidecar = Sidecar { part: part.clone(), dump: self.dump.clone() };
        self.dir.write_sidecar(&self.tables[table].path, &sidecar)
    }

    fn record_empty(&self, table: usize, range: RangeEntry) {
        self.empty[table].lock().unwrap_or_else(PoisonError::into_inner).push(range);
    }

    /// The part without a file that records a table's empty ranges, if there are any.
    fn empty_part(&self, table: usize) -> Result<Option<Part>> {
        let mut empty = self.empty[table].lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranges = std::mem::take(&mut *empty);
        if ranges.is_empty() {
            return Ok(None);
        }
        ranges.sort_by_key(|r| r.start.parse::<Token>().unwrap_or(Token::MIN));
        let part = Part { name: self.part_name(table), ranges, ..Part::default() };
        self.write_sidecar(table, &part)?;
        Ok(Some(part))
    }
}

/// Turns the pages of one worker into parts.
struct PartEncoder {
    shared: Arc<Shared>,
    open: Option<OpenPart>,
    done: Vec<(usize, Part)>,
}

/// A part being written.
struct OpenPart {
    table: usize,
    part: Part,
    sink: Option<Box<dyn Sink<NewFile>>>,
    fingerprint: Option<Fingerprint>,
    /// The partition that was cut: its static cells are in the part before.
    inside: Option<Partition>,
    /// The range being scanned: where this part's share of it begins, and its end.
    scanning: Option<Scanning>,
}

struct Scanning {
    range: Interval,
    asked: SystemTime,
    from: Option<Position>,
    last: Option<LastRow>,
}

impl Scanning {
    /// What a part says of its share of the range, up to `end`.
    fn entry(&self, end: Token, to: Option<Position>, arrived: SystemTime) -> RangeEntry {
        RangeEntry {
            start: self.range.start.to_string(),
            end: end.to_string(),
            from: self.from.clone(),
            to,
            read: [rfc3339(self.asked), rfc3339(arrived)],
        }
    }
}

/// The last row written: its partition key, that key's token, and the whole key.
struct LastRow {
    partition: Vec<Vec<u8>>,
    token: Token,
    position: Position,
}

impl OpenPart {
    fn new(table: usize) -> OpenPart {
        OpenPart { table, part: Part::default(), sink: None, fingerprint: None, inside: None, scanning: None }
    }
}

impl Encoder for PartEncoder {
    type Done = Vec<(usize, Part)>;

    fn begin(
        &mut self,
        table: usize,
        range: Interval,
        asked: SystemTime,
        after: Option<Position>,
    ) -> Result<()> {
        // What begins inside a partition stands at the beginning of its part.
        if after.is_some() || self.open.as_ref().is_some_and(|open| open.table != table) {
            self.close()?;
        }
        let mut open = self.open.take().unwrap_or_else(|| OpenPart::new(table));
        if let Some(after) = &after {
            open.inside = Some(after.partition().doing(|| "read where a part ends")?);
        }
        open.scanning = Some(Scanning { range, asked, from: after, last: None });
        self.open = Some(open);
        Ok(())
    }

    fn page(&mut self, page: &Page) -> Result<()> {
        let mut begin = 0;
        if self.is_full(self.shared.form.bytes) {
            match self.boundary(page) {
                // The partition ends in this page: its last rows belong to this part.
                Some((row, token)) => {
                    self.write(page, 0..row)?;
                    self.cut(token, None)?;
                    begin = row;
                }
                None if self.is_full(2 * self.shared.form.bytes) => {
                    let last = self.scanning_mut().and_then(|s| s.last.as_ref());
                    if let Some((token, position)) = last.map(|l| (l.token, l.position.clone())) {
                        self.cut(token, Some(position))?;
                    }
                }
                None => {}
            }
        }
        self.write(page, begin..page.rows())
    }

    fn end(&mut self, end: Token, arrived: SystemTime) -> Result<()> {
        let Some(scanning) = self.open.as_mut().and_then(|open| open.scanning.take()) else { return Ok(()) };
        self.hold(scanning.entry(end, None, arrived))?;
        if self.is_full(self.shared.form.bytes) { self.close() } else { Ok(()) }
    }

    fn leave(&mut self, whole: Token, arrived: SystemTime) -> Result<()> {
        let Some(mut scanning) = self.open.as_mut().and_then(|open| open.scanning.take()) else {
            return Ok(());
        };
        let last = scanning.last.take();
        if whole > scanning.range.start && last.as_ref().is_none_or(|last| last.token <= whole) {
            self.hold(scanning.entry(whole, None, arrived))?;
        } else if let Some(LastRow { token, position, .. }) = last {
            self.hold(scanning.entry(token, Some(position), arrived))?;
        }
        self.close()
    }

    fn finish(mut self) -> Result<Vec<(usize, Part)>> {
        self.close()?;
        Ok(self.done)
    }
}

impl PartEncoder {
    /// Takes a range into the open part.
    fn hold(&mut self, range: RangeEntry) -> Result<()> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        if open.sink.is_some() {
            open.part.ranges.push(range);
        } else if range.from.is_some() {
            // A part that goes on inside a partition is found by its first range.
            let (table, name) = (open.table, self.shared.part_name(open.table));
            let part = Part { name, ranges: vec![range], ..Part::default() };
            self.shared.write_sidecar(table, &part)?;
            self.done.push((table, part));
        } else {
            // No row came before it either: it needs no file.
            self.shared.record_empty(open.table, range);
        }
        Ok(())
    }

    fn is_full(&self, bytes: u64) -> bool {
        self.open.as_ref().and_then(|open| open.sink.as_ref()).is_some_and(|sink| sink.size() >= bytes)
    }

    /// The first row of `page` whose partition has another token than the last row written, and that last row's token.
    /// Partitions that share a token must stay together, since ranges cannot part them.
    fn boundary(&self, page: &Page) -> Option<(usize, Token)> {
        let open = self.open.as_ref()?;
        let last = open.scanning.as_ref()?.last.as_ref()?;
        let TableWork { table, scan, .. } = &self.shared.tables[open.table];
        let key = table.indexes(ColumnKind::PartitionKey);
        let mut previous = last.partition.clone();
        for row in 0..page.rows() {
            let partition = key_cells(page, row, &key);
            if partition != previous {
                if scan.token(page, row) != last.token {
                    return Some((row, last.token));
                }
                previous = partition;
            }
        }
        None
    }

    /// Closes the open part at `token` (inside its partition, after `position`, if given) and opens the next one there.
    fn cut(&mut self, token: Token, position: Option<Position>) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let Some(scanning) = open.scanning.take() else {
            return Ok(());
        };
        open.part.ranges.push(scanning.entry(token, position.clone(), self.shared.cluster.time()));
        let table = open.table;
        self.open = Some(open);
        self.close()?;
        let rest = Interval { start: token, end: scanning.range.end };
        let cut = scanning.last.filter(|_| position.is_some()).map(|last| last.partition);
        let inside = cut.map(|cells| cells.into_iter().map(Some).collect());
        let scanning = Scanning { range: rest, asked: scanning.asked, from: position, last: None };
        self.open = Some(OpenPart { scanning: Some(scanning), inside, ..OpenPart::new(table) });
        Ok(())
    }

    fn write(&mut self, page: &Page, rows: std::ops::Range<usize>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let whole = rows.len() == page.rows();
        let page = if whole { page.clone() } else { page.part(rows) };
        let Some(open) = self.open.as_mut() else {
            return Ok(());
        };
        let work = &self.shared.tables[open.table];
        if open.sink.is_none() {
            open.part.name = self.shared.part_name(open.table);
            let name = format!("{}.{}", open.part.name, self.shared.form.format.name());
            let file = self.shared.dir.begin_part(&work.path, &name)?;
            let sink = self.shared.form.format.sink(&work.layout, self.shared.options, file);
            open.sink = Some(sink.doing(|| format!("begin {}/{name}", work.path))?);
            open.part.file = Some(name);
        }
        let doing = || format!("write {}/{}", work.path, open.part.name);
        if let Some(sink) = &mut open.sink {
            open.part.exceptions += sink.write(&page).doing(doing)?;
        }
        let inside = open.inside.take();
        let fingerprint = open.fingerprint.get_or_insert_with(|| Fingerprint::new(&work.table, inside));
        fingerprint.add(&page).doing(doing)?;
        self.shared.counters.rows.fetch_add(page.rows() as u64, Relaxed);
        self.shared.counters.bytes.fetch_add(page.value_bytes() as u64, Relaxed);
        if let Some(scanning) = &mut open.scanning {
            scanning.last = Some(last_row(&page, work));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let Some(sink) = open.sink.take() else { return Ok(()) };
        let work = &self.shared.tables[open.table];
        if let Some(fingerprint) = open.fingerprint {
            record(fingerprint.tally(), work, &mut open.part);
        }
        let file = sink.finish().doing(|| format!("write {}/{}", work.path, open.part.name))?;
        let (bytes, checksum) = file.keep()?;
        open.part.bytes = bytes;
        open.part.checksum = Some(checksum);
        self.shared.write_sidecar(open.table, &open.part)?;
        self.done.push((open.table, open.part));
        Ok(())
    }

    fn scanning_mut(&mut self) -> Option<&mut Scanning> {
        self.open.as_mut().and_then(|open| open.scanning.as_mut())
    }
}

/// What a part says of its rows.
fn record(tally: &Tally, work: &TableWork, part: &mut Part) {
    let by_name = |counts: &BTreeMap<usize, u64>| {
        counts.iter().map(|(column, count)| (work.table.columns[*column].name.clone(), *count)).collect()
    };
    part.rows = tally.rows;
    part.cells = tally.cells;
    part.sums = Some(tally.sums);
    part.earliest_expiry = tally.earliest_expiry;
    if work.keeps_times {
        part.untold_rows = tally.untold_rows;
        part.untold_cells = by_name(&tally.untold);
        part.uneven_lists = by_name(&tally.uneven);
    }
}

fn key_cells(page: &Page, row: usize, columns: &[usize]) -> Vec<Vec<u8>> {
    columns.iter().map(|c| page.cell(row, *c).unwrap_or_default().to_vec()).collect()
}

fn last_row(page: &Page, TableWork { table, scan, .. }: &TableWork) -> LastRow {
    let row = page.rows() - 1;
    let cells = |kind| -> Vec<Option<String>> {
        table.indexes(kind).into_iter().map(|c| page.cell(row, c).map(hex)).collect()
    };
    let partition = key_cells(page, row, &table.indexes(ColumnKind::PartitionKey));
    LastRow {
        token: scan.token(page, row),
        position: Position {
            partition_key: cells(ColumnKind::PartitionKey),
            clustering: cells(ColumnKind::Clustering),
        },
        partition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_table_goes_first_and_an_unknown_one_before_it() {
        assert_eq!(
            biggest_first([Some(5), Some(900), None, Some(0), Some(901)].into_iter()),
            [2, 4, 1, 0, 3]
        );
    }
}
