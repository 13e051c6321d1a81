//! How two rows of one key differ: one as dumped, one as a cluster has it. Pure; which rows are compared, and how a
//! difference is told, is left to `commands::verify`.
//!
//! What has expired between dump and comparison and is gone is no difference, nor is an expiry that is off by as much as
//! the clocks and roundings of a dump and a load come to.

use crate::rows::{Cell, Page};
use crate::table::{Column, ColumnKind, Place, Table};
use crate::times::{LATEST_EXPIRY, Misfit, Moment, Told};
use crate::types::cql::{CqlType, Native};
use crate::types::elements;
use std::collections::HashMap;

/// Seconds by which expiries may differ: TTLs are whole seconds, counted from when a request began.
pub const TOLERANCE: i64 = 2;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Write times.
    pub times: bool,
    /// The write time, µs since 1970, that a load gave to everything, if it did.
    pub written: Option<i64>,
    /// Expiries.
    pub expiries: bool,
    /// The life that a load gave to everything, if it did.
    pub given: Option<Given>,
    /// Whether what the dump says is over is over.
    pub dump_expires: bool,
    /// Only what the dump has is looked for, and what the cluster has newer is no difference: a load is checked.
    pub loaded: bool,
    /// Now, s since 1970, by the cluster's clock.
    pub now: i64,
}

/// The life that a load gives to all it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Without end.
    Endless,
    /// So many seconds from when it was written.
    Seconds(i64),
}

/// What differs in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The cluster has no such row.
    MissingRow,
    /// The dump has no such row.
    ExtraRow,
    /// The value.
    Value,
    /// When it was written.
    WriteTime,
    /// When it expires.
    Expiry,
}

impl Kind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MissingRow => "missing row",
            Kind::ExtraRow => "extra row",
            Kind::Value => "value",
            Kind::WriteTime => "write time",
            Kind::Expiry => "expiry",
        }
    }
}

/// A row of a page.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    /// The page.
    pub page: &'a Page,
    /// The row in it.
    pub row: usize,
}

impl<'a> RowRef<'a> {
    /// The cell of a column.
    pub fn cell(self, column: usize) -> Cell<'a> {
        self.page.cell(self.row, column)
    }
}

/// A cell that differs.
#[derive(Debug, PartialEq, Eq)]
pub struct CellDifference {
    /// Page index of its column.
    pub column: usize,
    /// How.
    pub kind: Kind,
    /// What is told of the dump's cell.
    pub dump: Told,
    /// What is told of the cluster's.
    pub cluster: Told,
}

/// Compares rows of a dumped table with those of a cluster's table of the same columns, which may tell less.
pub struct Comparison {
    dump: Table,
    cluster: Table,
    rules: Rules,
}

impl Comparison {
    /// Between these tables.
    pub fn new(dump: &Table, cluster: &Table, rules: Rules) -> Comparison {
        Comparison { dump: dump.clone(), cluster: cluster.clone(), rules }
    }

    /// It is later: a comparison may last, and what ends meanwhile is over in what is read then.
    pub fn is_now(&mut self, now: i64) {
        self.rules.now = now;
    }

    /// The differences between the cells of `kind` of two rows; a row that is not there has none.
    ///
    /// # Errors
    /// `Misfit` if companions do not fit their cells.
    pub fn cells(
        &self,
        kind: ColumnKind,
        dump: Option<RowRef<'_>>,
        cluster: Option<RowRef<'_>>,
    ) -> Result<Vec<CellDifference>, Misfit> {
        let mut found = Vec::new();
        for (ours, theirs) in self.dump.places(kind).iter().zip(self.cluster.places(kind)) {
            let column = &self.dump.columns[ours.column];
            let told = |row: Option<RowRef<'_>>, place: &Place| {
                let told = row.map(|r| Told::of(r.page, r.row, place, column.cql_type.has_elements()));
                told.unwrap_or(Ok(Told::Nothing))
            };
            let pair = Pair {
                rules: self.rules,
                column,
                dump: (dump.and_then(|r| r.cell(ours.column)), told(dump, ours)?),
                cluster: (cluster.and_then(|r| r.cell(theirs.column)), told(cluster, &theirs)?),
            };
            if let Some(kind) = pair.difference()? {
                let Pair { dump: (_, dump), cluster: (_, cluster), .. } = pair;
                found.push(CellDifference { column: ours.column, kind, dump, cluster });
            }
        }
        Ok(found)
    }

    /// Whether a row that only the dump has is a difference: not if all that is told of it is over.
    ///
    /// # Errors
    /// `Misfit` if companions do not fit their cells.
    pub fn is_missing(&self, kind: ColumnKind, dump: RowRef<'_>) -> Result<bool, Misfit> {
        Ok(!(self.rules.dump_expires && self.is_over(&self.dump, kind, dump)?))
    }

    /// Whether a row that only the cluster has is a difference.
    ///
    /// # Errors
    /// `Misfit` if companions do not fit their cells.
    pub fn is_extra(&self, kind: ColumnKind, cluster: RowRef<'_>) -> Result<bool, Misfit> {
        Ok(!(self.rules.loaded || self.is_over(&self.cluster, kind, cluster)?))
    }

    fn is_over(&self, table: &Table, kind: ColumnKind, row: RowRef<'_>) -> Result<bool, Misfit> {
        let mut over = false;
        for place in table.places(kind) {
            let elements = table.columns[place.column].cql_type.has_elements();
            for moment in Told::of(row.page, row.row, &place, elements)?.moments() {
                if !moment.is_over(self.rules.now + TOLERANCE) {
                    return Ok(false);
                }
                over = true;
            }
        }
        Ok(over)
    }
}

/// One cell on both sides.
struct Pair<'a> {
    rules: Rules,
    column: &'a Column,
    dump: (Cell<'a>, Told),
    cluster: (Cell<'a>, Told),
}

impl Pair<'_> {
    fn difference(&self) -> Result<Option<Kind>, Misfit> {
        let rules = self.rules;
        let (dump, cluster) = (self.live(&self.dump, rules.dump_expires)?, self.live(&self.cluster, true)?);
        if rules.loaded && (dump.is_over() || self.is_newer()) {
            return Ok(None);
        }
        Ok(match (dump, cluster) {
            // It should have ended on both sides, but one may have another end, or none.
            (Live::Over(ours), Live::Cell(_, Some(theirs)))
            | (Live::Cell(_, Some(ours)), Live::Over(theirs)) => self.moments(ours, theirs, false),
            (Live::Over(_), _) | (_, Live::Over(_)) => None,
            (Live::Parts(ours), Live::Parts(theirs)) => self.parts(&ours, &theirs),
            (ours, theirs) if !ours.same_value(&theirs) => Some(Kind::Value),
            (Live::Cell(_, Some(ours)), Live::Cell(_, Some(theirs))) => {
                self.moments(ours, theirs, self.is_list())
            }
            _ => None,
        })
    }

    /// Whether the cluster's cell is newer than the dump's, or may be, as far as it is told. Elements are judged one by
    /// one.
    fn is_newer(&self) -> bool {
        if self.column.cql_type.has_elements() && !self.is_list() {
            return false;
        }
        let newest = |told: &Told| told.newest().map(|moment| moment.written);
        match (self.rules.written.or(newest(&self.dump.1)), newest(&self.cluster.1)) {
            (Some(ours), Some(theirs)) => theirs > ours,
            _ => self.cluster.0.is_some() && self.column.cql_type != CqlType::Native(Native::Counter),
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.column.cql_type, CqlType::List(_, false))
    }

    /// What is left of a cell: its parts, if it has some that are or may be over.
    fn live<'b>(&self, (cell, told): &'b (Cell<'b>, Told), expires: bool) -> Result<Live<'b>, Misfit> {
        let Some(cell) = *cell else { return Ok(Live::Cell(None, None)) };
        let is_over = |moment: &Moment| expires && moment.is_over(self.rules.now + TOLERANCE);
        let cell = match self.column.cql_type {
            CqlType::Udt(_, false) => elements::trimmed(&self.column.cql_type, cell),
            _ => cell,
        };
        if !self.column.cql_type.has_elements() {
            return Ok(match told.shared() {
                Some(moment) if is_over(&moment) => Live::Over(moment),
                moment => Live::Cell(Some(cell), moment),
            });
        }
        let all = elements::split(&self.column.cql_type, cell).ok_or(Misfit)?;
        let moments = match told {
            Told::Elements(moments) => moments.clone(),
            _ => vec![None; all.len()],
        };
        let is_map = matches!(self.column.cql_type, CqlType::Map(..));
        let part = |(number, (bytes, moment)): (usize, (&'b [u8], Option<Moment>))| {
            let mut value = bytes;
            let key = match self.column.cql_type {
                CqlType::Udt(..) => PartKey::Field(number),
                CqlType::List(..) => PartKey::Place,
                _ => PartKey::Key(crate::rows::take_cell(&mut value).flatten().unwrap_or_default()),
            };
            let value = if is_map { value } else { bytes };
            Part { key, value, moment, over: moment.is_some_and(|moment| is_over(&moment)) }
        };
        let parts = all.into_iter().zip(moments.into_iter().chain(std::iter::repeat(None))).enumerate();
        let absent =
            |part: &Part<'_>| matches!(part.key, PartKey::Field(_)) && elements::field(part.value).is_none();
        Ok(Live::Parts(parts.map(part).filter(|part| !absent(part)).collect()))
    }

    /// Compares elements by their keys; of a list, by their order.
    fn parts(&self, ours: &[Part<'_>], theirs: &[Part<'_>]) -> Option<Kind> {
        if self.is_list() {
            let must = ours.iter().filter(|p| !p.over);
            let values = |parts: &[Part<'_>]| parts.iter().map(|p| p.value.to_vec()).collect::<Vec<_>>();
            let (all, found) = (values(ours), values(theirs));
            let must: Vec<Vec<u8>> = must.map(|p| p.value.to_vec()).collect();
            if !is_within(&must, &found) || !is_within(&found, &all) {
                return Some(Kind::Value);
            }
            if [ours, theirs].iter().all(|side| side.iter().all(|part| part.over)) {
                return None;
            }
            let newest = |(_, told): &(Cell<'_>, Told)| told.newest();
            return match (newest(&self.dump), newest(&self.cluster)) {
                (Some(ours), Some(theirs)) => self.moments(ours, theirs, true),
                _ => None,
            };
        }
        let mut kind = None;
        let mut met = false;
        let mut missing = None;
        let written = |part: &Part<'_>| self.rules.written.or(part.moment.map(|moment| moment.written));
        let mut unmatched: HashMap<&PartKey<'_>, &Part<'_>> = theirs.iter().map(|p| (&p.key, p)).collect();
        for part in ours {
            let Some(other) = unmatched.remove(&part.key) else {
                if !part.over {
                    kind = Some(Kind::Value);
                    missing = missing.max(written(part));
                }
                continue;
            };
            if part.over || other.over {
                met = true;
                if let (Some(ours), Some(theirs)) = (part.moment, other.moment)
                    && part.over != other.over
                    && !self.rules.loaded
                {
                    kind = kind.or(self.moments(ours, theirs, false));
                }
                continue;
            }
            let newer = match (written(part), other.moment) {
                (Some(ours), Some(theirs)) => theirs.written > ours,
                _ => part.value != other.value,
            };
            if self.rules.loaded && newer {
                continue;
            }
            met = true;
            if part.value != other.value {
                kind = Some(Kind::Value);
            } else if let (Some(ours), Some(theirs)) = (part.moment, other.moment) {
                kind = kind.or(self.moments(ours, theirs, false));
            }
        }
        if self.rules.loaded {
            // All that is there is newer: it was written over as a whole. What lacks beside older elements was deleted.
            let older = |part: &Part<'_>| part.moment.zip(missing).is_some_and(|(m, time)| m.written <= time);
            return kind.filter(|_| met || theirs.is_empty() || theirs.iter().any(older));
        }
        match unmatched.values().any(|part| !part.over) {
            true => Some(Kind::Value),
            false => kind,
        }
    }

    /// Compares moments; the write time of a list is left alone, as a load may have had to write it anew.
    fn moments(&self, ours: Moment, theirs: Moment, is_list: bool) -> Option<Kind> {
        if self.rules.times && !is_list && ours.written != theirs.written {
            return Some(Kind::WriteTime);
        }
        let given = match (self.rules.given, theirs.expires) {
            (None, _) => None,
            (Some(Given::Endless), expires) => Some(expires.is_none()),
            (Some(Given::Seconds(_)), None) => Some(false),
            (Some(Given::Seconds(most)), Some(expires)) => {
                Some(expires <= self.rules.now.saturating_add(most).saturating_add(TOLERANCE))
            }
        };
        if let Some(as_given) = given {
            return (!as_given).then_some(Kind::Expiry);
        }
        if !self.rules.expiries {
            return None;
        }
        let same = match (ours.expires, theirs.expires) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                let near = |ours: i64| ours.abs_diff(theirs) <= TOLERANCE.unsigned_abs();
                near(ours) || near(ours.min(LATEST_EXPIRY))
            }
            _ => false,
        };
        (!same).then_some(Kind::Expiry)
    }
}

/// What is left of a cell.
enum Live<'a> {
    /// Nothing of a cell that ended in this moment.
    Over(Moment),
    /// A cell as one, or null.
    Cell(Cell<'a>, Option<Moment>),
    /// The cells of its elements.
    Parts(Vec<Part<'a>>),
}

impl Live<'_> {
    /// Whether neither is more than the other: null is no elements, or none that is left.
    fn same_value(&self, other: &Live<'_>) -> bool {
        match (self, other) {
            (Live::Cell(Some(a), _), Live::Cell(Some(b), _)) => a == b,
            (a, b) => a.is_over() && b.is_over(),
        }
    }

    /// Whether nothing is left of it, or there never was anything.
    fn is_over(&self) -> bool {
        match self {
            Live::Over(_) => true,
            Live::Cell(cell, _) => cell.is_none(),
            Live::Parts(parts) => parts.iter().all(|part| part.over),
        }
    }
}

/// An element.
struct Part<'a> {
    key: PartKey<'a>,
    value: &'a [u8],
    moment: Option<Moment>,
    over: bool,
}

/// What an element is found by.
#[derive(PartialEq, Eq, Hash)]
enum PartKey<'a> {
    /// Its own bytes or those of its key.
    Key(&'a [u8]),
    /// The number of its field.
    Field(usize),
    /// Its place among the others.
    Place,
}

/// Whether all of `some` stand in `all`, in that order.
fn is_within(some: &[Vec<u8>], all: &[Vec<u8>]) -> bool {
    let mut all = all.iter();
    some.iter().all(|wanted| all.any(|found| found == wanted))
}

#[cfg(test)]
mod tests;
