//! The statements that write, and how the cells of a page are bound to their markers. Null is bound as UNSET, which
//! writes nothing, so no tombstones are made. When they are sent is left to [`super::send`].

use crate::cluster::Cluster;
use crate::error::{Context, Result};
use crate::mutation::{Life, Stamp};
use crate::rows::{Cell, Page};
use crate::table::Table;
use crate::types::cql::{CqlType, Ident};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a marker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The row's cell of this column, always.
    Key(usize),
    /// The row's cell of this column, if the item writes it.
    Cell(usize),
    /// The item's own cell of this number.
    Own(usize),
    /// The write time.
    WriteTime,
    /// The TTL.
    Ttl,
}

/// A prepared statement and what its markers take.
pub struct Bound {
    pub statement: PreparedStatement,
    markers: Vec<Marker>,
    /// Batches of nothing but this statement, to be used again: making one of a thousand clones costs more than sending
    /// it.
    batches: Mutex<Vec<Batch>>,
}

/// Batches kept for use; each holds a clone of its statement for every row.
const BATCHES: usize = 64;

impl Bound {
    fn new(statement: PreparedStatement, markers: Vec<Marker>) -> Bound {
        Bound { statement, markers, batches: Mutex::new(Vec::new()) }
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Columns of the key that it binds; a SELECT begins with them.
    pub fn key(&self) -> impl Iterator<Item = usize> {
        self.markers.iter().filter_map(|marker| match marker {
            Marker::Key(column) => Some(*column),
            _ => None,
        })
    }

    /// A batch to fill, which may hold this statement some times.
    pub fn take_batch(&self, kind: BatchType, cluster: &Cluster) -> Batch {
        self.batches().pop().unwrap_or_else(|| {
            let mut batch = Batch::new(kind);
            batch.set_execution_profile_handle(Some(cluster.data.clone()));
            batch
        })
    }

    /// Gives back a batch that was taken from this statement and holds no other.
    pub fn give_back(&self, batch: Batch) {
        let mut batches = self.batches();
        if batches.len() < BATCHES {
            batches.push(batch);
        }
    }

    /// Makes a batch that was taken from this statement one of `live`, in their order; answers whether they hold no other.
    pub fn fill(&self, batch: &mut Batch, live: &[Ready<'_>]) -> bool {
        let mut pure = true;
        for (place, Ready { item, .. }) in live.iter().enumerate() {
            let own = std::ptr::eq(item.bound, self);
            pure &= own;
            let statement = || BatchStatement::from(item.bound.statement.clone());
            match batch.statements.get_mut(place) {
                None => batch.statements.push(statement()),
                Some(_) if own => {}
                Some(other) => *other = statement(),
            }
        }
        batch.statements.truncate(live.len());
        pure
    }
}

/// One statement to send.
pub struct Item<'a> {
    pub bound: &'a Bound,
    pub page: &'a Page,
    pub row: usize,
    /// Columns that it writes; all if none are named.
    pub only: Option<Vec<usize>>,
    /// Cells that are not the page's.
    pub own: Vec<Option<Vec<u8>>>,
    /// Its `USING`; none for statements without.
    pub stamp: Option<Stamp>,
    /// Whether it brings a row, as against more cells of one.
    pub brings_row: bool,
    /// Cells it writes.
    pub cells: u64,
}

impl<'a> Item<'a> {
    /// The statement for a row, with nothing but its key and its cells to bind.
    pub fn new(bound: &'a Bound, page: &'a Page, row: usize) -> Item<'a> {
        Item { bound, page, row, only: None, own: Vec::new(), stamp: None, brings_row: false, cells: 0 }
    }

    /// Bytes of its row's cells, about as many as it writes at most.
    pub fn bytes(&self) -> usize {
        self.page.row_bytes(self.row)
    }
}

/// An item at one attempt: how long it has left is counted anew each time.
pub struct Ready<'a> {
    pub item: &'a Item<'a>,
    /// Seconds; none leaves it to the table's default.
    pub ttl: Option<i32>,
    /// By how much it is written later than it says, µs.
    pub later: i64,
}

impl SerializeRow for Ready<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let Item { bound, page, row, only, own, stamp, .. } = self.item;
        let write_time = stamp.map(|stamp| stamp.written.saturating_add(self.later).to_be_bytes());
        let ttl = self.ttl.map(i32::to_be_bytes);
        for marker in &bound.markers {
            let value: Cell<'_> = match marker {
                Marker::Key(column) => page.cell(*row, *column),
                Marker::Cell(column) if only.as_ref().is_some_and(|only| !only.contains(column)) => None,
                Marker::Cell(column) => page.cell(*row, *column),
                Marker::Own(number) => own.get(*number).and_then(Option::as_deref),
                Marker::WriteTime => write_time.as_ref().map(|bytes| &bytes[..]),
                Marker::Ttl => ttl.as_ref().map(|bytes| &bytes[..]),
            };
            let cell = writer.make_cell_writer();
            match value {
                Some(value) => {
                    cell.set_value(value).map_err(SerializationError::new)?;
                }
                None => {
                    cell.set_unset();
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.item.bound.markers.is_empty()
    }
}

/// The TTL for what is left of a life at `now`, µs since 1970, rounded down: nothing lives longer than it should.
/// `Err` if less than a second is left. `Ok(None)` leaves it to the table's default, 0 is without end.
pub fn ttl(life: Life, now: i64, latest: i64) -> Result<Option<i32>, Over> {
    match life {
        Life::Default => Ok(None),
        Life::Endless => Ok(Some(0)),
        Life::Seconds(seconds) => {
            let left = latest.saturating_sub(now.div_euclid(1_000_000) + 1);
            Ok(Some(seconds.min(i32::try_from(left).unwrap_or(MAX_TTL)).max(1)))
        }
        Life::Until(expires) => {
            let micros = expires.min(latest).saturating_mul(1_000_000).saturating_sub(now);
            match micros.div_euclid(1_000_000) {
                ..1 => Err(Over),
                left => Ok(Some(i32::try_from(left).unwrap_or(MAX_TTL).min(MAX_TTL))),
            }
        }
    }
}

/// Too late to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Over;

/// 20 years, the largest TTL that servers take (measured 3.11-5.0).
const MAX_TTL: i32 = 630_720_000;

/// The statements of a table that write into another of the same columns.
pub struct Texts<'a> {
    pub cluster: &'a Cluster,
    pub table: &'a Table,
    /// Keyspace and name of the table to write into.
    pub into: (&'a str, &'a str),
}

const USING: &str = " USING TIMESTAMP ? AND TTL ?";

impl Texts<'_> {
    /// `INSERT` of `key` and `cells`, with or without a `USING`.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn insert(&self, key: &[usize], cells: &[usize], using: bool) -> Result<Bound> {
        let columns = [key, cells].concat();
        let names = self.list(&columns, ", ", |name| name.to_string());
        let marks = self.list(&columns, ", ", |_| "?".to_owned());
        let text = format!("INSERT INTO {} ({names}) VALUES ({marks})", self.target());
        let mut markers = markers(key, Marker::Key);
        markers.extend(self::markers(cells, Marker::Cell));
        if !using {
            return self.prepare(text, markers).await;
        }
        markers.extend([Marker::WriteTime, Marker::Ttl]);
        self.prepare(text + USING, markers).await
    }

    /// `UPDATE … USING … SET` of `cells`.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn update(&self, key: &[usize], cells: &[usize]) -> Result<Bound> {
        let sets = self.list(cells, ", ", |name| format!("{name} = ?"));
        self.set(key, sets, &markers(cells, Marker::Cell)).await
    }

    /// `UPDATE … USING … SET` of a list, which is the item's own.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn list_update(&self, key: &[usize], column: usize) -> Result<Bound> {
        let name = Ident(&self.table.columns[column].name);
        self.set(key, format!("{name} = ?"), &[Marker::Own(0)]).await
    }

    /// `UPDATE … USING …` that adds elements to a set or map, or sets single fields of a user type.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn elements(&self, key: &[usize], column: usize) -> Result<Bound> {
        let definition = &self.table.columns[column];
        let name = Ident(&definition.name);
        if let CqlType::Udt(udt, _) = &definition.cql_type {
            let field = |(field, _): &(String, CqlType)| format!("{name}.{} = ?", Ident(field));
            let sets: Vec<String> = udt.fields.iter().map(field).collect();
            let numbers: Vec<usize> = (0..sets.len()).collect();
            return self.set(key, sets.join(", "), &markers(&numbers, Marker::Own)).await;
        }
        self.set(key, format!("{name} = {name} + ?"), &[Marker::Own(0)]).await
    }

    /// `UPDATE` that adds to counters the item's own cells.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn count(&self, key: &[usize], counters: &[usize]) -> Result<Bound> {
        let sets = self.list(counters, ", ", |name| format!("{name} = {name} + ?"));
        let numbers: Vec<usize> = (0..counters.len()).collect();
        let text = format!("UPDATE {} SET {sets} WHERE {}", self.target(), self.where_key(key));
        let mut all = markers(&numbers, Marker::Own);
        all.extend(markers(key, Marker::Key));
        self.prepare(text, all).await
    }

    /// `SELECT` of the key and `cells` of one row or partition.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn read(&self, key: &[usize], cells: &[usize]) -> Result<Bound> {
        let names = self.list(cells, ", ", |name| name.to_string());
        self.prepare(self.select(&names, key), markers(key, Marker::Key)).await
    }

    /// `SELECT` of the key, a list and, from a server that tells them, of its elements' write times.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn read_list(&self, key: &[usize], column: usize) -> Result<Bound> {
        let name = Ident(&self.table.columns[column].name);
        let told = self.select(&format!("{name}, writetime({name})"), key);
        match self.prepare(told, markers(key, Marker::Key)).await {
            Ok(bound) => Ok(bound),
            Err(_) => self.read(key, &[column]).await,
        }
    }

    fn select(&self, what: &str, key: &[usize]) -> String {
        let names = self.list(key, ", ", |name| name.to_string());
        // Static cells stand in every row of their partition.
        format!("SELECT {names}, {what} FROM {} WHERE {} LIMIT 1", self.target(), self.where_key(key))
    }

    async fn set(&self, key: &[usize], sets: String, own: &[Marker]) -> Result<Bound> {
        let text = format!("UPDATE {}{USING} SET {sets} WHERE {}", self.target(), self.where_key(key));
        let mut all = vec![Marker::WriteTime, Marker::Ttl];
        all.extend(own);
        all.extend(markers(key, Marker::Key));
        self.prepare(text, all).await
    }

    async fn prepare(&self, text: String, markers: Vec<Marker>) -> Result<Bound> {
        let doing = || format!("prepare writing into {}.{}", self.into.0, self.into.1);
        let mut statement = self.cluster.prepare(&text).await.doing(doing)?;
        statement.set_execution_profile_handle(Some(self.cluster.data.clone()));
        Ok(Bound::new(statement, markers))
    }

    fn target(&self) -> String {
        format!("{}.{}", Ident(self.into.0), Ident(self.into.1))
    }

    fn where_key(&self, key: &[usize]) -> String {
        self.list(key, " AND ", |name| format!("{name} = ?"))
    }

    fn list(&self, columns: &[usize], separator: &str, each: impl Fn(Ident<'_>) -> String) -> String {
        let parts: Vec<String> = columns.iter().map(|c| each(Ident(&self.table.columns[*c].name))).collect();
        parts.join(separator)
    }
}

fn markers(columns: &[usize], of: fn(usize) -> Marker) -> Vec<Marker> {
    columns.iter().copied().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_life_is_rounded_down() {
        let at = |now_ms: i64| ttl(Life::Until(100), now_ms * 1000, i64::MAX);
        assert_eq!(at(90_000), Ok(Some(10)));
        assert_eq!(at(90_001), Ok(Some(9)));
        assert_eq!(at(99_000), Ok(Some(1)));
        assert_eq!(at(99_001), Err(Over));
        assert_eq!(at(200_000), Err(Over));
        assert_eq!(ttl(Life::Until(3000), 0, 2000), Ok(Some(2000)));
        assert_eq!(ttl(Life::Until(i64::MAX), 0, i64::MAX), Ok(Some(630_720_000)));
        assert_eq!(ttl(Life::Endless, 5, 0), Ok(Some(0)));
        assert_eq!(ttl(Life::Default, 5, 0), Ok(None));
        assert_eq!(ttl(Life::Seconds(500), 0, i64::MAX), Ok(Some(500)));
        assert_eq!(ttl(Life::Seconds(500), 1_900_000_000, 2000), Ok(Some(99)));
    }
}
