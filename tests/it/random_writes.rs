//! Random writes into a random table: rows and single cells, statics, elements, nulls and deletions, each at a time of its
//! own and perhaps with an expiry, none of which comes while a test runs.

use crate::harness::{Db, RawCell, RawRow, quoted};
use crate::random_schema::{Column, Kind, Table, Type};
use crate::random_values::{Chance, Place, collection_of, map_of, value};
use std::time::{SystemTime, UNIX_EPOCH};

const WRITES: usize = 40;
const HOUR: i32 = 3600;
const DAY: i32 = 24 * HOUR;

/// Fills a table by `WRITES` statements.
///
/// # Errors
/// The server's refusal of one, which is an error of this file.
pub fn fill(db: &Db, table: &Table, chance: &mut Chance) -> Result<(), String> {
    let mut writer = Writer { table, keys: Vec::new(), chance };
    writer.choose_keys();
    for _ in 0..WRITES {
        let (cql, cells) = if table.counts { writer.count() } else { writer.write() };
        db.try_bind(&cql, &RawRow(cells.clone())).map_err(|error| format!("{error}\n  {cells:?}"))?;
    }
    Ok(())
}

/// A statement with a marker for each cell.
type Write = (String, Vec<RawCell>);

struct Writer<'a> {
    table: &'a Table,
    /// Partition keys with clustering keys: few, so that writes meet.
    keys: Vec<(Vec<RawCell>, Vec<Vec<RawCell>>)>,
    chance: &'a mut Chance,
}

impl Writer<'_> {
    fn choose_keys(&mut self) {
        for _ in 0..self.chance.between(2, 6) {
            let partition = self.key(Kind::Partition);
            let rows = self.chance.between(1, 5);
            let rows = (0..rows).map(|_| self.key(Kind::Clustering)).collect();
            self.keys.push((partition, rows));
        }
    }

    fn key(&mut self, kind: Kind) -> Vec<RawCell> {
        let lone = kind == Kind::Partition && self.table.of(kind).count() == 1;
        let place = if lone { Place::LONE_KEY } else { Place::KEY };
        let columns = self.table.of(kind);
        columns
            .map(|c| {
                loop {
                    let bytes = value(self.chance, &c.cql_type, true, place);
                    if !lone || !bytes.is_empty() {
                        break RawCell::Value(bytes);
                    }
                }
            })
            .collect()
    }

    /// A statement on a table without counters.
    fn write(&mut self) -> Write {
        let table = self.table;
        let statics: Vec<&Column> = table.of(Kind::Static).collect();
        let regulars: Vec<&Column> = table.of(Kind::Regular).collect();
        let elements: Vec<&Column> = table.columns.iter().filter(|c| c.has_elements()).collect();
        match self.chance.below(16) {
            0 => self.insert(&[]),
            1..3 if !statics.is_empty() => self.update(&statics),
            3..6 if !regulars.is_empty() => self.update(&regulars),
            6..11 if !elements.is_empty() => {
                let column = *self.chance.pick(&elements);
                self.element(column)
            }
            11 => self.delete(&statics, &regulars),
            12 => self.insert(&[&regulars[..], &statics].concat()),
            _ => self.insert(&regulars),
        }
    }

    /// `INSERT` with some of these columns.
    fn insert(&mut self, columns: &[&Column]) -> Write {
        let chosen: Vec<&Column> = columns.iter().copied().filter(|_| !self.chance.one_in(3)).collect();
        let (partition, clustering) = self.pick_row();
        let key = self.table.columns.iter().filter(|c| matches!(c.kind, Kind::Partition | Kind::Clustering));
        let names: Vec<String> = key.chain(chosen.iter().copied()).map(Column::cql).collect();
        let mut cells = [partition, clustering].concat();
        cells.extend(chosen.iter().map(|c| self.cell(c)));
        cells.extend(self.times());
        let markers = vec!["?"; names.len()].join(", ");
        let (table, names) = (quoted(&self.table.name), names.join(", "));
        (format!("INSERT INTO {table} ({names}) VALUES ({markers}) USING TIMESTAMP ? AND TTL ?"), cells)
    }

    /// `UPDATE` of some of these columns, all static or all regular.
    fn update(&mut self, columns: &[&Column]) -> Write {
        let mut chosen: Vec<&Column> = columns.iter().copied().filter(|_| self.chance.one_in(2)).collect();
        if chosen.is_empty() {
            chosen.push(*self.chance.pick(columns));
        }
        let sets: Vec<String> = chosen.iter().map(|c| format!("{} = ?", c.cql())).collect();
        let cells = chosen.iter().map(|c| self.cell(c)).collect();
        self.set(&sets.join(", "), cells, chosen[0].kind)
    }

    /// `UPDATE` of one element of a collection or field of a user type.
    fn element(&mut self, column: &Column) -> Write {
        let name = column.cql();
        let chance = &mut *self.chance;
        let (set, cells) = match &column.cql_type {
            Type::List(element) => {
                let list = collection_of(value(chance, element, true, Place::LIST_ELEMENT));
                let set = chance.pick(&["{} = {} + ?", "{} = ? + {}"]).replace("{}", &name);
                (set, vec![list])
            }
            Type::Set(element) => {
                let set = collection_of(value(chance, element, true, Place::ELEMENT));
                let sign = if chance.one_in(6) { "-" } else { "+" };
                (format!("{name} = {name} {sign} ?"), vec![set])
            }
            Type::Map(key, item) => {
                let [key, item] = [key, item].map(|t| value(chance, t, true, Place::ENTRY));
                match chance.below(6) {
                    0 => (format!("{name} = {name} - ?"), vec![collection_of(key)]),
                    1..3 => (format!("{name} = {name} + ?"), vec![map_of(key, item)]),
                    _ => (format!("{name}[?] = ?"), vec![key, item]),
                }
            }
            Type::Udt(udt) => {
                let (field, cql_type) = chance.pick(&udt.fields);
                let field_value = value(chance, cql_type, true, Place::SINGLE_FIELD);
                (format!("{name}.{} = ?", quoted(field)), vec![field_value])
            }
            other => panic!("{other:?} has no elements"),
        };
        self.set(&set, cells.into_iter().map(RawCell::Value).collect(), column.kind)
    }

    /// `DELETE` of a row, of some cell, now and then of a partition.
    fn delete(&mut self, statics: &[&Column], regulars: &[&Column]) -> Write {
        let (what, kind) = match self.chance.below(5) {
            0 if !statics.is_empty() => (self.chance.pick(statics).cql(), Kind::Static),
            1..3 if !regulars.is_empty() => (self.chance.pick(regulars).cql(), Kind::Regular),
            3 => (String::new(), Kind::Static),
            _ => (String::new(), Kind::Regular),
        };
        let (filter, key) = self.filter(kind);
        let cells = [vec![self.stamp()], key].concat();
        (format!("DELETE {what} FROM {} USING TIMESTAMP ? WHERE {filter}", quoted(&self.table.name)), cells)
    }

    /// An addition to a counter.
    fn count(&mut self) -> Write {
        let table = self.table;
        let counters = table.columns.iter().filter(|c| matches!(c.kind, Kind::Static | Kind::Regular));
        let column = *self.chance.pick(&counters.collect::<Vec<_>>());
        let delta = *self.chance.pick(&[0, 1, 2, 1000, -1, -7, i64::MAX, i64::MIN]);
        let (filter, key) = self.filter(column.kind);
        let cells = [vec![RawCell::Value(delta.to_be_bytes().to_vec())], key].concat();
        let (table, name) = (quoted(&table.name), column.cql());
        (format!("UPDATE {table} SET {name} = {name} + ? WHERE {filter}"), cells)
    }

    fn set(&mut self, sets: &str, cells: Vec<RawCell>, kind: Kind) -> Write {
        let (filter, key) = self.filter(kind);
        let cells = [self.times(), cells, key].concat();
        let table = quoted(&self.table.name);
        (format!("UPDATE {table} USING TIMESTAMP ? AND TTL ? SET {sets} WHERE {filter}"), cells)
    }

    /// The key of some row, or of some partition for static columns.
    fn filter(&mut self, kind: Kind) -> (String, Vec<RawCell>) {
        let (partition, clustering) = self.pick_row();
        let wide = kind == Kind::Static;
        let kinds = if wide { &[Kind::Partition][..] } else { &[Kind::Partition, Kind::Clustering] };
        let names = self.table.columns.iter().filter(|c| kinds.contains(&c.kind));
        let filter = names.map(|c| format!("{} = ?", c.cql())).collect::<Vec<_>>().join(" AND ");
        (filter, if wide { partition } else { [partition, clustering].concat() })
    }

    fn pick_row(&mut self) -> (Vec<RawCell>, Vec<RawCell>) {
        let (partition, rows) = self.chance.pick(&self.keys);
        (partition.clone(), self.chance.pick(rows).clone())
    }

    fn cell(&mut self, column: &Column) -> RawCell {
        match self.chance.below(10) {
            0 => RawCell::Null,
            1 => RawCell::Unset,
            _ => {
                let place = Place::cell(column.frozen);
                RawCell::Value(value(self.chance, &column.cql_type, column.frozen, place))
            }
        }
    }

    /// What `USING TIMESTAMP ? AND TTL ?` takes.
    fn times(&mut self) -> Vec<RawCell> {
        let ttl = match self.chance.below(6) {
            0 => RawCell::Value((HOUR + 7).to_be_bytes().to_vec()),
            1 => RawCell::Value((30 * DAY).to_be_bytes().to_vec()),
            2 => RawCell::Value((10 * 365 * DAY).to_be_bytes().to_vec()),
            // The table's default, if it has one.
            3 => RawCell::Unset,
            _ => RawCell::Value(0i32.to_be_bytes().to_vec()),
        };
        vec![self.stamp(), ttl]
    }

    /// A write time: most of them near one another, some at the ends.
    fn stamp(&mut self) -> RawCell {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let now = i64::try_from(now).unwrap();
        const USUAL: [i64; 5] =
            [1_700_000_000_000_000, 1_700_000_000_000_001, 1_700_000_000_500_000, 1000, 1001];
        const FAR: [i64; 8] =
            [0, -1, -5, -1_000_000_000_000_000, 4_102_444_800_000_000, 1 << 62, i64::MAX, -i64::MAX];
        let stamp = match self.chance.below(8) {
            0 => now - 1_000_000,
            1 => *self.chance.pick(&FAR),
            _ => *self.chance.pick(&USUAL),
        };
        RawCell::Value(stamp.to_be_bytes().to_vec())
    }
}
