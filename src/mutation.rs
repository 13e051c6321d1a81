//! Which writes bring a row back: its cells grouped by write time and expiry. Pure; who sends them, and when they are too
//! late, is left to `cluster::write`.
//!
//! One group, the one that expires last (of those, the one written first), is an INSERT, which carries the row marker:
//! CQL does not show markers, and so none can end before its cells do. The others are UPDATEs, which leave it alone. A
//! set, map or user type whose elements share a moment rides with its group whole. Otherwise, and into a table that holds
//! rows, each group adds its elements to it: writing it whole would delete the older ones. Lists are never among the other cells: sent twice at one moment, a
//! list holds its elements twice (CASSANDRA-11368).

use crate::rows::Page;
use crate::table::{Place, Table};
use crate::times::{Misfit, Moment, Told};
use crate::types::cql::CqlType;
use crate::types::elements;

/// How long a write lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// As the table's default says.
    Default,
    /// Until this second, since 1970.
    Until(i64),
    /// For so many seconds from when it is written.
    Seconds(i32),
    /// For ever.
    Endless,
}

/// When a write takes place, and how long it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// µs since 1970.
    pub written: i64,
    /// Its end.
    pub life: Life,
}

/// What becomes of the write times that a dump tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteTimes {
    /// They are kept.
    Keep,
    /// Everything is written at this one, µs since 1970.
    All(i64),
}

/// What becomes of the expiries that a dump tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiries {
    /// They are kept.
    Keep,
    /// Nothing expires.
    Drop,
    /// Everything lives for so many seconds from when it is loaded.
    Seconds(i32),
}

/// How moments become stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Write times.
    pub write_times: WriteTimes,
    /// Expiries.
    pub expiries: Expiries,
}

impl Policy {
    /// Whether everything is written as dumped.
    pub fn is_keep(self) -> bool {
        self == Policy { write_times: WriteTimes::Keep, expiries: Expiries::Keep }
    }

    /// The stamp of what a dump tells a moment of.
    pub fn told(self, moment: Moment) -> Stamp {
        let written = match self.write_times {
            WriteTimes::Keep => moment.written,
            WriteTimes::All(time) => time,
        };
        let life = match (self.expiries, moment.expires) {
            (Expiries::Seconds(seconds), _) => Life::Seconds(seconds),
            (Expiries::Keep, Some(expires)) => Life::Until(expires),
            (Expiries::Drop, _) | (Expiries::Keep, None) => Life::Endless,
        };
        Stamp { written, life }
    }

    /// The stamp of what a dump tells nothing of: written at `time`, with `life` unless another is asked for.
    pub fn untold(self, time: i64, life: Life) -> Stamp {
        let written = match self.write_times {
            WriteTimes::Keep => time,
            WriteTimes::All(time) => time,
        };
        let life = match self.expiries {
            Expiries::Keep => life,
            Expiries::Drop => Life::Endless,
            Expiries::Seconds(seconds) => Life::Seconds(seconds),
        };
        Stamp { written, life }
    }
}

/// One statement to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// When, and for how long.
    pub stamp: Stamp,
    /// What.
    pub what: What,
}

/// What a statement writes. Columns are page indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The row itself, and these cells whole; all but lists if none are named.
    Insert(Option<Vec<usize>>),
    /// These cells whole; all but lists if none are named.
    Update(Option<Vec<usize>>),
    /// Some elements of a set or map, as a value of its type.
    Add(usize, Vec<u8>),
    /// Some fields of a user type, in its order; the others are left alone.
    Fields(usize, Vec<Option<Vec<u8>>>),
    /// A list, without elements that have expired.
    List(usize, Vec<u8>),
}

impl What {
    /// Cells it writes, as a person counts them.
    pub fn cells(&self, of: Cells<'_>) -> u64 {
        let Cells { table, page, row, places, .. } = of;
        let is_list = |column: usize| matches!(table.columns[column].cql_type, CqlType::List(_, false));
        let present = |column: usize| page.cell(row, column).is_some() && !is_list(column);
        let count = match self {
            What::Insert(Some(columns)) | What::Update(Some(columns)) => columns.len(),
            What::Insert(None) | What::Update(None) => places.iter().filter(|p| present(p.column)).count(),
            What::Add(..) | What::Fields(..) | What::List(..) => 1,
        };
        count as u64
    }
}

/// A group of cells and elements that share a stamp.
struct Group {
    stamp: Stamp,
    columns: Vec<usize>,
    /// Column and places of its elements.
    elements: Vec<(usize, Vec<usize>)>,
}

/// What one row, or a partition's static cells, comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The writes; the INSERT, if there is one, first.
    pub writes: Vec<Write>,
    /// No write time was told of any of its cells.
    pub untold: bool,
}

/// The cells that are planned together.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    /// Their table.
    pub table: &'a Table,
    /// Their page.
    pub page: &'a Page,
    /// Their row in it.
    pub row: usize,
    /// Where they lie.
    pub places: &'a [Place],
    /// Whether they are a row, as against the static cells of its partition.
    pub is_row: bool,
    /// Whether elements are added even where a collection could be written whole, which would delete older ones.
    pub merges: bool,
}

/// The writes of the cells of a row: with an INSERT if it is a row, without one if these are static cells. Cells of which nothing is told go with the INSERT's group, or at `untold` if no other cell tells anything.
/// `now`, s since 1970, is when elements of a list that have expired are left out; whole writes that are over are planned
/// all the same.
///
/// # Errors
/// `Misfit` if companions do not fit their cells.
pub fn plan(cells: Cells<'_>, policy: Policy, untold: Stamp, now: i64) -> Result<Plan, Misfit> {
    let Cells { table, page, row, is_row, .. } = cells;
    if is_row && let Some(told) = only_moment(cells)? {
        let stamp = told.map_or(untold, |moment| policy.told(moment));
        let writes = vec![Write { stamp, what: What::Insert(None) }];
        return Ok(Plan { writes, untold: told.is_none() });
    }
    let Gathered { mut groups, untold_columns, untold_elements, lists } = gather(cells, policy, now)?;
    let marker = marker_group(&groups);
    if let Some(index) = marker {
        groups.swap(0, index);
    } else if is_row || !untold_columns.is_empty() || !untold_elements.is_empty() || !lists.is_empty() {
        group(&mut groups, untold);
    } else {
        return Ok(Plan { writes: Vec::new(), untold: false });
    }
    groups[0].columns.extend(untold_columns);
    groups[0].elements.extend(untold_elements);
    let first = groups[0].stamp;
    let alone = groups.len() == 1 && groups[0].elements.is_empty();
    let mut writes = Vec::with_capacity(groups.len() + lists.len());
    for (number, Group { stamp, columns, elements }) in groups.into_iter().enumerate() {
        // One statement for the whole row needs no list of its columns: null is UNSET.
        let what = match is_row && number == 0 {
            true => Some(What::Insert((!alone).then_some(columns))),
            false if columns.is_empty() => None,
            false => Some(What::Update((!alone).then_some(columns))),
        };
        writes.extend(what.map(|what| Write { stamp, what }));
        for (column, chosen) in elements {
            let what = some_elements(&table.columns[column].cql_type, page, row, column, &chosen)?;
            writes.push(Write { stamp, what });
        }
    }
    for (column, stamp, cell) in lists {
        writes.push(Write { stamp: stamp.unwrap_or(first), what: What::List(column, cell) });
    }
    Ok(Plan { writes, untold: marker.is_none() })
}

/// The moment that all cells of a row share of which any is told, if they are written whole: most rows come to one INSERT
/// of everything. `None` if they may need more than that.
fn only_moment(cells: Cells<'_>) -> Result<Option<Option<Moment>>, Misfit> {
    let Cells { table, page, row, places, merges, .. } = cells;
    let mut shared = None;
    for place in places {
        if page.cell(row, place.column).is_none() {
            continue;
        }
        let cql_type = &table.columns[place.column].cql_type;
        let is_list = matches!(cql_type, CqlType::List(_, false));
        if is_list || cql_type.has_elements() && (merges || place.write_time.is_some()) {
            return Ok(None);
        }
        let Told::Cell(moment) = Told::of(page, row, place, false)? else { continue };
        if *shared.get_or_insert(moment) != moment {
            return Ok(None);
        }
    }
    Ok(Some(shared))
}

/// The cells of a row by stamp.
struct Gathered {
    groups: Vec<Group>,
    /// Columns of which nothing is told.
    untold_columns: Vec<usize>,
    /// Columns of which nothing is told, and the places of their elements.
    untold_elements: Vec<(usize, Vec<usize>)>,
    /// Column, stamp if it is told, value.
    lists: Vec<(usize, Option<Stamp>, Vec<u8>)>,
}

fn gather(cells: Cells<'_>, policy: Policy, now: i64) -> Result<Gathered, Misfit> {
    let Cells { table, page, row, places, merges, .. } = cells;
    let mut groups: Vec<Group> = Vec::new();
    let (mut untold_columns, mut untold_elements, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let column = place.column;
        let Some(cell) = page.cell(row, column) else { continue };
        let cql_type = &table.columns[column].cql_type;
        let told = Told::of(page, row, place, cql_type.has_elements())?;
        if matches!(cql_type, CqlType::List(_, false)) {
            let stamp = told.newest().map(|moment| policy.told(moment));
            if let Some(stamp) = stamp {
                group(&mut groups, stamp);
            }
            lists.push((column, stamp, live_list(cql_type, cell, &told, policy, now)?));
            continue;
        }
        match told {
            Told::Nothing if merges && cql_type.has_elements() => {
                let all = elements::split(cql_type, cell).ok_or(Misfit)?;
                let there = all.iter().enumerate().filter(|(_, e)| elements::field(e).is_some());
                untold_elements.push((column, there.map(|(number, _)| number).collect()));
            }
            Told::Nothing => untold_columns.push(column),
            Told::Cell(moment) => group(&mut groups, policy.told(moment)).columns.push(column),
            Told::Elements(moments) => {
                let stamps = stamps(cql_type, cell, &moments, policy)?;
                let mut each = stamps.iter().flatten();
                let first = each.next().copied();
                match first.filter(|first| !merges && each.all(|stamp| stamp == first)) {
                    Some(shared) => group(&mut groups, shared).columns.push(column),
                    None => add_elements(&mut groups, column, &stamps),
                }
            }
        }
    }
    Ok(Gathered { groups, untold_columns, untold_elements, lists })
}

/// The stamps of a collection's elements.
fn stamps(
    cql_type: &CqlType,
    cell: &[u8],
    moments: &[Option<Moment>],
    policy: Policy,
) -> Result<Vec<Option<Stamp>>, Misfit> {
    let all = elements::split(cql_type, cell).ok_or(Misfit)?;
    // An element without a moment would be in no group, and lost.
    let lost =
        |(element, moment): (&&[u8], &Option<Moment>)| moment.is_none() && elements::field(element).is_some();
    if all.len() != moments.len() || all.iter().zip(moments).any(lost) {
        return Err(Misfit);
    }
    Ok(moments.iter().map(|moment| moment.map(|moment| policy.told(moment))).collect())
}

/// A list without those of its elements that are over, if others are not.
fn live_list(
    cql_type: &CqlType,
    cell: &[u8],
    told: &Told,
    policy: Policy,
    now: i64,
) -> Result<Vec<u8>, Misfit> {
    let Told::Elements(moments) = told else { return Ok(cell.to_vec()) };
    let all = elements::split(cql_type, cell).filter(|all| all.len() == moments.len()).ok_or(Misfit)?;
    let is_over = |moment: &Option<Moment>| moment.is_some_and(|moment| moment.is_over(now));
    let over = moments.iter().filter(|moment| is_over(moment)).count();
    if over == 0 || over == moments.len() || policy.expiries != Expiries::Keep {
        return Ok(cell.to_vec());
    }
    let live: Vec<&[u8]> = all
        .into_iter()
        .zip(moments)
        .filter(|(_, moment)| !is_over(moment))
        .map(|(element, _)| element)
        .collect();
    elements::join(&live).ok_or(Misfit)
}

fn group(groups: &mut Vec<Group>, stamp: Stamp) -> &mut Group {
    let found = groups.iter().position(|g| g.stamp == stamp);
    let index = found.unwrap_or_else(|| {
        groups.push(Group { stamp, columns: Vec::new(), elements: Vec::new() });
        groups.len() - 1
    });
    &mut groups[index]
}

fn add_elements(groups: &mut Vec<Group>, column: usize, stamps: &[Option<Stamp>]) {
    for (number, stamp) in stamps.iter().enumerate() {
        let Some(stamp) = stamp else { continue };
        let elements = &mut group(groups, *stamp).elements;
        match elements.last_mut().filter(|(of, _)| *of == column) {
            Some((_, chosen)) => chosen.push(number),
            None => elements.push((column, vec![number])),
        }
    }
}

/// The group that carries the row marker.
fn marker_group(groups: &[Group]) -> Option<usize> {
    let rank = |index: &usize| {
        let stamp = groups[*index].stamp;
        (stamp.life, std::cmp::Reverse(stamp.written))
    };
    (0..groups.len()).max_by_key(rank)
}

fn some_elements(
    cql_type: &CqlType,
    page: &Page,
    row: usize,
    column: usize,
    chosen: &[usize],
) -> Result<What, Misfit> {
    let all = elements::split(cql_type, page.cell(row, column).unwrap_or_default()).ok_or(Misfit)?;
    if let CqlType::Udt(..) = cql_type {
        let field = |(number, element): (usize, &&[u8])| {
            elements::field(element).filter(|_| chosen.contains(&number)).map(<[u8]>::to_vec)
        };
        return Ok(What::Fields(column, all.iter().enumerate().map(field).collect()));
    }
    let some: Vec<&[u8]> = chosen.iter().map(|number| all[*number]).collect();
    elements::join(&some).map(|cell| What::Add(column, cell)).ok_or(Misfit)
}

#[cfg(test)]
mod tests;
