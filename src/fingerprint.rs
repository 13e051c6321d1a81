//! The sums of a dump: order-free fingerprints of rows, comparable between a part and any cluster, however the ring is
//! cut there. What differs where two sums differ is left to `compare`.
//!
//! Each sum is a wrapping 128-bit sum of XXH3-128, one hash per row and one per partition with static cells. What is
//! hashed: a byte that tells row from partition, then per cell, in name order, its column's name and the cell, each
//! behind its length. Nulls are left out, and so are a user type's trailing null fields: how many of them there are
//! depends on when a row was written. All of it is part of the dump format.

use crate::rows::Page;
use crate::table::{ColumnKind, Place, Table};
use crate::times::{Misfit, Told};
use crate::types::cql::CqlType;
use crate::types::elements;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use xxhash_rust::xxh3::xxh3_128;

/// The four sums. Each is comparable alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Key and regular cells of each row; key and static cells of each partition.
    #[serde(with = "digits")]
    pub values: u128,
    /// Write times of cells that are written whole, without counters.
    #[serde(with = "digits")]
    pub times: u128,
    /// Write times of the elements of sets, maps and user types; lists are written anew by a load.
    #[serde(with = "digits")]
    pub element_times: u128,
    /// Which cells and elements expire, not when.
    #[serde(with = "digits")]
    pub expiring: u128,
}

/// A sum as 32 hex digits: no JSON reader keeps 128 bits of a number.
mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{sum:032x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(deserializer)?, 16).map_err(D::Error::custom)
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.values = self.values.wrapping_add(other.values);
        self.times = self.times.wrapping_add(other.times);
        self.element_times = self.element_times.wrapping_add(other.element_times);
        self.expiring = self.expiring.wrapping_add(other.expiring);
    }
}

/// What was counted beside the sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The sums.
    pub sums: Sums,
    /// Rows, static-only partitions included.
    pub rows: u64,
    /// Cells that are not null.
    pub cells: u64,
    /// When the first cell expires, s since 1970.
    pub earliest_expiry: Option<i64>,
    /// Rows of which no cell's write time is told.
    pub untold_rows: u64,
    /// Cells per column, by page index, whose write time is not told.
    pub untold: BTreeMap<usize, u64>,
    /// Lists per column whose elements differ in write time or expiry.
    pub uneven: BTreeMap<usize, u64>,
}

/// The cells of a partition key.
pub type Partition = Vec<Option<Vec<u8>>>;

/// Sums up the pages of a table, in the order of a scan.
pub struct Fingerprint {
    table: Table,
    partition: Vec<usize>,
    first_clustering: Option<usize>,
    row: Shape,
    statics: Shape,
    counter: bool,
    /// The partition of the last row.
    current: Option<Partition>,
    tally: Tally,
    buffer: Vec<u8>,
}

/// The columns that are hashed together.
struct Shape {
    tag: u8,
    /// Key columns and the others, in name order.
    all: Vec<usize>,
    /// Key columns alone, in name order.
    key: Vec<usize>,
    /// What is no key, in name order.
    places: Vec<Place>,
}

impl Shape {
    fn of(table: &Table, tag: u8, key: &[ColumnKind], cells: ColumnKind) -> Shape {
        let by_name = |mut columns: Vec<usize>| {
            columns.sort_by(|a, b| table.columns[*a].name.cmp(&table.columns[*b].name));
            columns
        };
        let key: Vec<usize> = key.iter().flat_map(|kind| table.indexes(*kind)).collect();
        let mut places = table.places(cells);
        places.sort_by(|a, b| table.columns[a.column].name.cmp(&table.columns[b.column].name));
        let all = key.iter().copied().chain(places.iter().map(|p| p.column)).collect();
        Shape { tag, all: by_name(all), key: by_name(key), places }
    }
}

const ROW: u8 = 0;
const PARTITION: u8 = 1;

impl Fingerprint {
    /// Sums nothing yet. `inside` is the key of the partition in which the first page begins, if that partition began
    /// before, so that its static cells are not counted again.
    pub fn new(table: &Table, inside: Option<Partition>) -> Fingerprint {
        use ColumnKind::{Clustering, PartitionKey, Regular, Static};
        Fingerprint {
            partition: table.indexes(PartitionKey),
            first_clustering: table.indexes(Clustering).first().copied(),
            row: Shape::of(table, ROW, &[PartitionKey, Clustering], Regular),
            statics: Shape::of(table, PARTITION, &[PartitionKey], Static),
            counter: table.is_counter(),
            table: table.clone(),
            current: inside,
            tally: Tally::default(),
            buffer: Vec::new(),
        }
    }

    /// Adds the rows of a page.
    ///
    /// # Errors
    /// `Misfit` if companions do not fit their cells.
    pub fn add(&mut self, page: &Page) -> Result<(), Misfit> {
        self.tally.cells += page.cells(self.table.columns.len()) as u64;
        for row in 0..page.rows() {
            self.tally.rows += 1;
            if !self.statics.places.is_empty() && self.begins(page, row) {
                let statics = std::mem::take(&mut self.statics.places);
                let summed = self.sum(page, row, false, &statics);
                self.statics.places = statics;
                summed?;
            }
            // A partition that holds only static cells is read as one row without clustering.
            if self.first_clustering.is_none_or(|c| page.cell(row, c).is_some()) {
                let places = std::mem::take(&mut self.row.places);
                let summed = self.sum(page, row, true, &places);
                self.row.places = places;
                summed?;
            }
        }
        Ok(())
    }

    /// What was summed and counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn begins(&mut self, page: &Page, row: usize) -> bool {
        let cells = || self.partition.iter().map(|c| page.cell(row, *c));
        if let Some(current) = &self.current
            && current.iter().map(Option::as_deref).eq(cells())
        {
            return false;
        }
        self.current = Some(cells().map(|cell| cell.map(<[u8]>::to_vec)).collect());
        true
    }

    /// Adds one row, or a partition's static cells.
    fn sum(&mut self, page: &Page, row: usize, is_row: bool, places: &[Place]) -> Result<(), Misfit> {
        if !is_row && places.iter().all(|p| page.cell(row, p.column).is_none()) {
            return Ok(());
        }
        let mut sums = Sums { values: self.hash_values(page, row, is_row), ..Sums::default() };
        let (mut times, mut element_times, mut expiring) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_told = false;
        for place in places {
            if page.cell(row, place.column).is_none() {
                continue;
            }
            let column = &self.table.columns[place.column];
            let told = Told::of(page, row, place, column.cql_type.has_elements())?;
            let is_list = matches!(column.cql_type, CqlType::List(_, false));
            for moment in told.moments() {
                is_told = true;
                let sooner = |e: i64| self.tally.earliest_expiry.is_none_or(|earliest| e < earliest);
                if let Some(expires) = moment.expires.filter(|e| sooner(*e)) {
                    self.tally.earliest_expiry = Some(expires);
                }
            }
            match &told {
                Told::Nothing if self.counter => {}
                Told::Nothing => *self.tally.untold.entry(place.column).or_default() += 1,
                Told::Cell(moment) => {
                    put(&mut times, &column.name, &moment.written.to_be_bytes());
                    if moment.expires.is_some() {
                        put(&mut expiring, &column.name, &[]);
                    }
                }
                Told::Elements(moments) if is_list => {
                    if told.shared().is_none() {
                        *self.tally.uneven.entry(place.column).or_default() += 1;
                    }
                    if moments.iter().flatten().all(|m| m.expires.is_some()) {
                        put(&mut expiring, &column.name, &[]);
                    }
                }
                Told::Elements(moments) => {
                    let (mut each, mut ends) = (Vec::new(), Vec::new());
                    for (number, moment) in (0_u32..).zip(moments) {
                        let Some(moment) = moment else { continue };
                        each.extend_from_slice(&number.to_be_bytes());
                        each.extend_from_slice(&moment.written.to_be_bytes());
                        if moment.expires.is_some() {
                            ends.extend_from_slice(&number.to_be_bytes());
                        }
                    }
                    put(&mut element_times, &column.name, &each);
                    if !ends.is_empty() {
                        put(&mut expiring, &column.name, &ends);
                    }
                }
            }
        }
        if is_row && !is_told && !self.counter {
            self.tally.untold_rows += 1;
        }
        for (told, sum) in [
            (times, &mut sums.times),
            (element_times, &mut sums.element_times),
            (expiring, &mut sums.expiring),
        ] {
            if !told.is_empty() {
                *sum = self.hash_told(page, row, is_row, &told);
            }
        }
        self.tally.sums += sums;
        Ok(())
    }

    fn hash_values(&mut self, page: &Page, row: usize, is_row: bool) -> u128 {
        let shape = if is_row { &self.row } else { &self.statics };
        self.buffer.clear();
        self.buffer.push(shape.tag);
        for index in &shape.all {
            let column = &self.table.columns[*index];
            let Some(cell) = page.cell(row, *index) else { continue };
            let cell = match column.cql_type {
                CqlType::Udt(_, false) => elements::trimmed(&column.cql_type, cell),
                _ => cell,
            };
            put(&mut self.buffer, &column.name, cell);
        }
        xxh3_128(&self.buffer)
    }

    fn hash_told(&mut self, page: &Page, row: usize, is_row: bool, told: &[u8]) -> u128 {
        let shape = if is_row { &self.row } else { &self.statics };
        self.buffer.clear();
        self.buffer.push(shape.tag);
        for index in &shape.key {
            if let Some(cell) = page.cell(row, *index) {
                put(&mut self.buffer, &self.table.columns[*index].name, cell);
            }
        }
        self.buffer.extend_from_slice(told);
        xxh3_128(&self.buffer)
    }
}

/// Appends a column's name and its bytes, each behind its length (u64, big-endian).
fn put(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    for part in [name.as_bytes(), bytes] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests;
