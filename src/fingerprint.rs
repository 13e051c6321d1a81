//! The sums of a dump: order-free fingerprints of rows, comparable between a part and any cluster, however the ring is
//! cut there. What differs where two sums differ is left to `compare`.
//!
//! Each sum is a wrapping 128-bit sum of XXH3-128, one hash per row and one per partition with static cells. What is
//! hashed: a byte that tells row from partition, then per cell, in name order, its column's name and the cell, each
//! behind its length. Nulls are left out, and so are a user type's trailing null fields: how many of them there are
//! depends on when a row was written. All of it is part of the dump format.

use crate::rows::Page;
use crate::table::{ColumnKind, Place, Table};
use crate::times::{Misfit, Moment};
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
    columns: usize,
    partition: Vec<usize>,
    first_clustering: Option<usize>,
    row: Shape,
    statics: Shape,
    /// The partition of the last row.
    current: Option<Partition>,
    summing: Summing,
}

/// The columns that are hashed together.
struct Shape {
    tag: u8,
    /// Key columns and the others, in name order.
    all: Vec<Hashed>,
    /// Whether write times of any of them are told.
    is_told: bool,
    /// Whether there are others than key columns.
    has_cells: bool,
}

/// A column as it is hashed.
struct Hashed {
    column: usize,
    head: Head,
    /// Its type, if trailing null fields are left out of its cells.
    trimmed: Option<CqlType>,
    role: Role,
}

/// What a column is to the sums.
enum Role {
    /// It stands before what is told too.
    Key,
    /// Its values are all that is summed.
    Values,
    /// Write times could be told and are not.
    Untold,
    /// Its cells are written whole.
    Whole(Place),
    /// Its cells have elements, of which a load writes each as it was.
    Elements(Place),
    /// Its cells are lists, which a load writes anew.
    List(Place),
}

impl Shape {
    fn of(table: &Table, tag: u8, key: &[ColumnKind], cells: ColumnKind) -> Shape {
        let hashed = |column: usize, role: Role| {
            let trims = matches!(table.columns[column].cql_type, CqlType::Udt(_, false));
            Hashed {
                column,
                head: Head::of(&table.columns[column].name),
                trimmed: trims.then(|| table.columns[column].cql_type.clone()),
                role,
            }
        };
        let places = table.places(cells);
        let has_cells = !places.is_empty();
        let is_told = places.iter().any(|p| p.write_time.is_some());
        let keys = key.iter().flat_map(|kind| table.indexes(*kind)).map(|column| hashed(column, Role::Key));
        let others = places.into_iter().map(|place| hashed(place.column, Role::of(table, place)));
        let mut all: Vec<Hashed> = keys.chain(others).collect();
        all.sort_by(|a, b| table.columns[a.column].name.cmp(&table.columns[b.column].name));
        Shape { tag, all, is_told, has_cells }
    }

    fn is_row(&self) -> bool {
        self.tag == ROW
    }
}

impl Role {
    fn of(table: &Table, place: Place) -> Role {
        let cql_type = &table.columns[place.column].cql_type;
        match cql_type {
            _ if place.write_time.is_none() && table.is_counter() => Role::Values,
            _ if place.write_time.is_none() => Role::Untold,
            CqlType::List(_, false) => Role::List(place),
            _ if cql_type.has_elements() => Role::Elements(place),
            _ => Role::Whole(place),
        }
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
            columns: table.columns.len(),
            partition: table.indexes(PartitionKey),
            first_clustering: table.indexes(Clustering).first().copied(),
            row: Shape::of(table, ROW, &[PartitionKey, Clustering], Regular),
            statics: Shape::of(table, PARTITION, &[PartitionKey], Static),
            current: inside,
            summing: Summing {
                counter: table.is_counter(),
                untold: vec![0; table.columns.len()],
                ..Summing::default()
            },
        }
    }

    /// Adds the rows of a page.
    ///
    /// # Errors
    /// `Misfit` if companions do not fit their cells.
    pub fn add(&mut self, page: &Page) -> Result<(), Misfit> {
        self.summing.tally.cells += page.cells(self.columns) as u64;
        self.summing.tally.rows += page.rows() as u64;
        for row in 0..page.rows() {
            if self.statics.has_cells && self.begins(page, row) {
                self.summing.sum(&self.statics, page, row)?;
            }
            // A partition that holds only static cells is read as one row without clustering.
            if self.first_clustering.is_none_or(|c| page.cell(row, c).is_some()) {
                self.summing.sum(&self.row, page, row)?;
            }
        }
        self.summing.count_untold();
        Ok(())
    }

    /// What was summed and counted.
    pub fn tally(&self) -> &Tally {
        &self.summing.tally
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
}

/// What is summed so far, and the buffers that every row uses again.
#[derive(Default)]
struct Summing {
    counter: bool,
    tally: Tally,
    /// Cells per column of this page whose write time is not told.
    untold: Vec<u64>,
    values: Input,
    times: Input,
    element_times: Input,
    expiring: Input,
    /// The elements of a cell.
    moments: Vec<Option<Moment>>,
    /// Their numbers and write times, and the numbers of those that expire, as they are hashed.
    each: Vec<u8>,
    ends: Vec<u8>,
}

impl Summing {
    /// Adds one row, or a partition's static cells.
    fn sum(&mut self, shape: &Shape, page: &Page, row: usize) -> Result<(), Misfit> {
        let is_null =
            |hashed: &Hashed| matches!(hashed.role, Role::Key) || page.cell(row, hashed.column).is_none();
        if !shape.is_row() && shape.all.iter().all(is_null) {
            return Ok(());
        }
        self.begin_told(shape, page, row);
        self.values.begin(&[shape.tag]);
        let mut is_told = false;
        for hashed in &shape.all {
            let Some(cell) = page.cell(row, hashed.column) else { continue };
            self.values.put(
                &hashed.head,
                match &hashed.trimmed {
                    Some(cql_type) => elements::trimmed(cql_type, cell),
                    None => cell,
                },
            );
            is_told |= match &hashed.role {
                Role::Key | Role::Values => false,
                Role::Untold => {
                    self.untold[hashed.column] += 1;
                    false
                }
                Role::Whole(place) => {
                    self.put_whole(&hashed.head, Moment::of_cell(page, row, place)?);
                    true
                }
                Role::Elements(place) => {
                    Moment::of_elements(page, row, place, &mut self.moments)?;
                    self.put_elements(&hashed.head);
                    self.moments.iter().any(Option::is_some)
                }
                Role::List(place) => {
                    Moment::of_elements(page, row, place, &mut self.moments)?;
                    self.put_list(hashed);
                    self.moments.iter().any(Option::is_some)
                }
            };
        }
        if shape.is_row() && !is_told && !self.counter {
            self.tally.untold_rows += 1;
        }
        self.tally.sums += Sums {
            values: self.values.hash(),
            times: self.times.hash_told(),
            element_times: self.element_times.hash_told(),
            expiring: self.expiring.hash_told(),
        };
        Ok(())
    }

    /// Puts the key before what is told, if anything is.
    fn begin_told(&mut self, shape: &Shape, page: &Page, row: usize) {
        self.times.begin(&[]);
        if shape.is_told {
            self.times.begin(&[shape.tag]);
            for hashed in shape.all.iter().filter(|hashed| matches!(hashed.role, Role::Key)) {
                if let Some(cell) = page.cell(row, hashed.column) {
                    self.times.put(&hashed.head, cell);
                }
            }
        }
        self.times.end_key();
        self.element_times.begin(self.times.key());
        self.element_times.end_key();
        self.expiring.begin(self.times.key());
        self.expiring.end_key();
    }

    fn put_whole(&mut self, head: &Head, moment: Moment) {
        self.times.put(head, &moment.written.to_be_bytes());
        if moment.expires.is_some() {
            self.note_expiry(moment.expires);
            self.expiring.put(head, &[]);
        }
    }

    fn put_elements(&mut self, head: &Head) {
        self.each.clear();
        self.ends.clear();
        for (number, moment) in (0_u32..).zip(&self.moments) {
            let Some(moment) = moment else { continue };
            self.each.extend_from_slice(&number.to_be_bytes());
            self.each.extend_from_slice(&moment.written.to_be_bytes());
            if moment.expires.is_some() {
                self.ends.extend_from_slice(&number.to_be_bytes());
            }
        }
        self.element_times.put(head, &self.each);
        if !self.ends.is_empty() {
            self.expiring.put(head, &self.ends);
            self.note_expiry(self.moments.iter().flatten().filter_map(|m| m.expires).min());
        }
    }

    fn put_list(&mut self, hashed: &Hashed) {
        let mut moments = self.moments.iter().flatten();
        let first = moments.next();
        if first.is_none() || moments.any(|moment| Some(moment) != first) {
            *self.tally.uneven.entry(hashed.column).or_default() += 1;
        }
        if self.moments.iter().flatten().all(|m| m.expires.is_some()) {
            self.expiring.put(&hashed.head, &[]);
        }
        self.note_expiry(self.moments.iter().flatten().filter_map(|m| m.expires).min());
    }

    fn note_expiry(&mut self, expires: Option<i64>) {
        let earliest = self.tally.earliest_expiry.into_iter().chain(expires).min();
        self.tally.earliest_expiry = earliest;
    }

    /// Puts what was counted in this page to what was before: once per page, since this map is slow.
    fn count_untold(&mut self) {
        for (column, count) in self.untold.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            *self.tally.untold.entry(column).or_default() += std::mem::take(count);
        }
    }
}

/// A column's name behind its length, as it stands before each of its cells.
struct Head {
    bytes: Vec<u8>,
    /// Bytes that count; those behind them make it at least `SHORT`.
    len: usize,
}

/// Heads that are no longer are copied as so many bytes, which takes two instructions and no call.
const SHORT: usize = 32;

/// The length of a name or cell: u64, big-endian.
const LENGTH: usize = size_of::<u64>();

impl Head {
    fn of(name: &str) -> Head {
        let mut bytes = (name.len() as u64).to_be_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        let len = bytes.len();
        bytes.resize(len.max(SHORT), 0);
        Head { bytes, len }
    }
}

/// Bytes about to be hashed.
#[derive(Default)]
struct Input {
    /// Never shrinks: only the first `len` bytes count.
    bytes: Vec<u8>,
    len: usize,
    /// How many of them are the key that what is told stands behind.
    key: usize,
}

impl Input {
    /// Starts again with these bytes.
    fn begin(&mut self, bytes: &[u8]) {
        self.len = 0;
        self.reserve(bytes.len());
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
    }

    /// What stands there is the key.
    fn end_key(&mut self) {
        self.key = self.len;
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key]
    }

    /// Appends a column's name and its bytes, each behind its length.
    fn put(&mut self, head: &Head, cell: &[u8]) {
        self.reserve(head.bytes.len() + LENGTH + cell.len());
        let rest = &mut self.bytes[self.len..];
        match head.bytes.first_chunk::<SHORT>() {
            Some(short) if head.len <= SHORT => rest[..SHORT].copy_from_slice(short),
            _ => rest[..head.len].copy_from_slice(&head.bytes),
        }
        let rest = &mut rest[head.len..];
        rest[..LENGTH].copy_from_slice(&(cell.len() as u64).to_be_bytes());
        let rest = &mut rest[LENGTH..];
        // Of a length known here a copy is an instruction, else a call.
        match cell.len() {
            4 => rest[..4].copy_from_slice(&cell[..4]),
            8 => rest[..8].copy_from_slice(&cell[..8]),
            16 => rest[..16].copy_from_slice(&cell[..16]),
            len => rest[..len].copy_from_slice(cell),
        }
        self.len += head.len + LENGTH + cell.len();
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if self.bytes.len() < needed {
            self.bytes.resize(needed + needed / 2, 0);
        }
    }

    fn hash(&self) -> u128 {
        xxh3_128(&self.bytes[..self.len])
    }

    /// The hash of the key and what is told; 0 where nothing is.
    fn hash_told(&self) -> u128 {
        if self.len > self.key { self.hash() } else { 0 }
    }
}

#[cfg(test)]
mod tests;
