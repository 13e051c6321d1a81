//! The catalogue: keyspaces, tables, columns and types from `system_schema`, as CQL sees them. The statements that make
//! them are left to [`super::describe`].

use super::Cluster;
use super::retry::{Unread, backoff};
use crate::error::{Context, Error, Result};
use crate::table::{Column, ColumnKind, Table};
use crate::types::cql::{CqlType, Udt};
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{
    DbError, NextPageError, PagerExecutionError, PrepareError, RequestAttemptError, RequestError,
};
use scylla::value::CqlTimestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Times that the catalogue is read before what it says is believed to be wrong.
const ATTEMPTS: u32 = 5;

/// What the catalogue says of the cluster's keyspaces.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// By true name.
    pub keyspaces: BTreeMap<String, Keyspace>,
}

/// A keyspace of the catalogue.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    /// User types, inner ones first.
    pub udts: Vec<Arc<Udt>>,
    /// Tables by true name, without views.
    pub tables: BTreeMap<String, Table>,
    /// The servers' ids of tables: one that is dropped and made again has another.
    pub ids: BTreeMap<String, Uuid>,
    /// Tables made WITH COMPACT STORAGE.
    pub compact: BTreeMap<String, Compact>,
    /// Indexes: name and table.
    pub indexes: BTreeMap<String, String>,
    /// Materialized views: name and base table.
    pub views: BTreeMap<String, String>,
    /// Tables that ScyllaDB keeps beside others, for their changes and transactions; they are none of `tables`.
    pub logs: Vec<String>,
    /// Table and name of each trigger.
    pub triggers: Vec<(String, String)>,
    /// Table and name of each masked column (Cassandra 5.0 and later).
    pub masked: Vec<(String, String)>,
    /// By table: columns that were dropped, and when, ms since 1970; they may have been added again.
    pub dropped: BTreeMap<String, BTreeMap<String, i64>>,
}

/// How a table WITH COMPACT STORAGE is stored, which decides what of its catalogue is hidden from CQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compact {
    /// A cell per row, named by the clustering columns; its value is hidden if it has no column, which its type `empty`
    /// tells.
    Dense,
    /// A partition is one row: its columns are told as static, with a clustering column and a value that nobody made.
    Sparse,
    /// A super column family of Thrift, which CQL shows in part only.
    Super,
}

impl Compact {
    /// By a table's flags; `None` for other tables. Every table of CQL is compound and not dense, so only these differ
    /// (measured on 3.11 to 5.0).
    fn of(flags: &[String]) -> Option<Compact> {
        let has = |flag: &str| flags.iter().any(|f| f == flag);
        match (has("super"), has("dense"), has("compound")) {
            (true, _, _) => Some(Compact::Super),
            (_, true, _) => Some(Compact::Dense),
            (_, _, false) => Some(Compact::Sparse),
            _ => None,
        }
    }

    /// What CQL sees of a column that the catalogue tells of; nothing of those that only storage has.
    fn seen(self, kind: ColumnKind, cql_type: &str) -> Option<ColumnKind> {
        match (self, kind) {
            (Compact::Sparse, ColumnKind::Static) => Some(ColumnKind::Regular),
            (Compact::Sparse, ColumnKind::Clustering | ColumnKind::Regular) => None,
            (_, kind) => (cql_type != "empty").then_some(kind),
        }
    }
}

impl Schema {
    /// A table by true names.
    pub fn table(&self, keyspace: &str, table: &str) -> Option<&Table> {
        self.keyspaces.get(keyspace)?.tables.get(table)
    }
}

impl Cluster {
    /// Reads the catalogue.
    ///
    /// It is read table by table, so that a keyspace that is made or dropped meanwhile may look as if it lacked a type:
    /// what makes no sense is read again a few times.
    ///
    /// # Errors
    /// `Error` names what could not be read.
    pub async fn schema(&self) -> Result<Schema> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Catalogue::read(self).await?.schema() {
                Err(error) if attempt < ATTEMPTS => {
                    tracing::debug!("{error}; attempt {attempt} failed, reading the catalogue again");
                    tokio::time::sleep(backoff(attempt)).await;
                }
                read => return read,
            }
        }
    }

    /// When tables were last truncated, µs since 1970, by their ids. Each node tells of itself; as no node may be away from
    /// a TRUNCATE, one is as good as another.
    ///
    /// # Errors
    /// `Error` if the cluster cannot be asked.
    pub async fn truncations(&self) -> Result<BTreeMap<String, i64>> {
        type Local = (Option<BTreeMap<Uuid, Vec<u8>>>,);
        let local: Vec<Local> = self.read("SELECT truncated_at FROM system.local").await?;
        // ScyllaDB has a table of its own.
        let shards: Vec<(Uuid, Option<CqlTimestamp>)> =
            self.read_if_there("SELECT table_uuid, truncated_at FROM system.truncated").await?;
        let told = local.into_iter().filter_map(|(map,)| map).flatten();
        let told = told.filter_map(|(id, record)| Some((id, moment(&record)?)));
        let shards = shards.into_iter().filter_map(|(id, at)| Some((id, at?.0)));
        let mut moments = BTreeMap::new();
        for (id, millis) in told.chain(shards) {
            let at = millis.saturating_mul(1000);
            moments.entry(id.to_string()).and_modify(|last: &mut i64| *last = at.max(*last)).or_insert(at);
        }
        Ok(moments)
    }

    /// The rows of a table that not every server has.
    async fn read_if_there<Row>(&self, query: &str) -> Result<Vec<Row>>
    where
        Row: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        match self.read_with(query, ()).await {
            Err(error) if lacks_table(&error) => Ok(Vec::new()),
            rows => rows.doing(|| query),
        }
    }
}

/// The rows of the catalogue's tables: each begins with its keyspace.
struct Catalogue {
    keyspaces: Vec<(String,)>,
    types: Vec<TypeRow>,
    /// View and its base table.
    views: Vec<(String, String, String)>,
    /// Index and its table.
    indexes: Vec<(String, String, String)>,
    /// Table and its trigger.
    triggers: Vec<(String, String, String)>,
    /// Table and column.
    masks: Vec<(String, String, String)>,
    /// Table, a column that was dropped, and when.
    dropped: Vec<(String, String, String, CqlTimestamp)>,
    /// Table and its own partitioner.
    partitioners: Vec<(String, String, Option<String>)>,
    /// Table, its id and its flags.
    tables: Vec<(String, String, Uuid, Option<Vec<String>>)>,
    columns: Vec<ColumnRow>,
}

/// Keyspace, name, names of the fields, their types.
type TypeRow = (String, String, Option<Vec<String>>, Option<Vec<String>>);
/// Keyspace, table, column, its order, kind, position and type.
type ColumnRow = (String, String, String, String, String, i32, String);

impl Catalogue {
    /// Reads them side by side: each is a scan of the whole ring, and takes a node some 10 ms.
    async fn read(cluster: &Cluster) -> Result<Catalogue> {
        let (keyspaces, types, views, indexes, triggers, masks, dropped, partitioners, tables, columns) = futures::try_join!(
            cluster.read("SELECT keyspace_name FROM system_schema.keyspaces"),
            cluster
                .read("SELECT keyspace_name, type_name, field_names, field_types FROM system_schema.types"),
            cluster.read("SELECT keyspace_name, view_name, base_table_name FROM system_schema.views"),
            cluster.read("SELECT keyspace_name, index_name, table_name FROM system_schema.indexes"),
            cluster.read("SELECT keyspace_name, table_name, trigger_name FROM system_schema.triggers"),
            // Servers before 5.0 have no masks, and only ScyllaDB has tables with a partitioner of their own.
            cluster.read_if_there(
                "SELECT keyspace_name, table_name, column_name FROM system_schema.column_masks"
            ),
            cluster.read(
                "SELECT keyspace_name, table_name, column_name, dropped_time FROM system_schema.dropped_columns"
            ),
            cluster.read_if_there(
                "SELECT keyspace_name, table_name, partitioner FROM system_schema.scylla_tables"
            ),
            cluster.read("SELECT keyspace_name, table_name, id, flags FROM system_schema.tables"),
            cluster.read(
                "SELECT keyspace_name, table_name, column_name, clustering_order, kind, position, type \
                 FROM system_schema.columns"
            ),
        )?;
        Ok(Catalogue {
            keyspaces,
            types,
            views,
            indexes,
            triggers,
            masks,
            dropped,
            partitioners,
            tables,
            columns,
        })
    }

    fn schema(self) -> Result<Schema> {
        let mut schema = Schema::default();
        for (name,) in &self.keyspaces {
            schema.keyspaces.insert(name.clone(), Keyspace::default());
        }
        self.types(&mut schema)?;
        self.names(&mut schema);
        self.tables(&mut schema)?;
        Ok(schema)
    }

    fn types(&self, schema: &mut Schema) -> Result<()> {
        let mut pending: BTreeMap<&str, Vec<RawUdt>> = BTreeMap::new();
        for (keyspace, name, names, types) in &self.types {
            let names = names.iter().flatten().cloned();
            let fields = names.zip(types.iter().flatten().cloned()).collect();
            pending.entry(keyspace).or_default().push((name.clone(), fields));
        }
        for (keyspace, types) in pending {
            let udts = resolve(types).map_err(|e| e.context(format!("keyspace {keyspace}")))?;
            schema.keyspaces.entry(keyspace.to_owned()).or_default().udts = udts;
        }
        Ok(())
    }

    fn names(&self, schema: &mut Schema) {
        let keyspaces = &mut schema.keyspaces;
        for (ks, view, base) in self.views.iter().cloned() {
            keyspaces.entry(ks).or_default().views.insert(view, base);
        }
        for (ks, index, table) in self.indexes.iter().cloned() {
            keyspaces.entry(ks).or_default().indexes.insert(index, table);
        }
        for (ks, table, trigger) in self.triggers.iter().cloned() {
            keyspaces.entry(ks).or_default().triggers.push((table, trigger));
        }
        for (ks, table, column) in self.masks.iter().cloned() {
            keyspaces.entry(ks).or_default().masked.push((table, column));
        }
        for (ks, table, column, at) in self.dropped.iter().cloned() {
            keyspaces.entry(ks).or_default().dropped.entry(table).or_default().insert(column, at.0);
        }
        for (ks, table, partitioner) in self.partitioners.iter().cloned() {
            // What the driver goes by, too; the name alone, `…_scylla_cdc_log`, any table may have.
            if partitioner.is_some_and(|name| name.ends_with("CDCPartitioner")) {
                keyspaces.entry(ks).or_default().logs.push(table);
            }
        }
        for (ks, table, id, flags) in self.tables.iter().cloned() {
            keyspaces.entry(ks.clone()).or_default().ids.insert(table.clone(), id);
            // What ScyllaDB keeps of lightweight transactions on tablets (`paxos_state_table_name` in its source; for other
            // tables it is in `system.paxos`): nobody's data, and of no use elsewhere. No other name may have a $.
            let base = table.strip_suffix("$paxos");
            if base.is_some_and(|base| self.tables.iter().any(|(k, t, _, _)| (k, t.as_str()) == (&ks, base)))
            {
                keyspaces.entry(ks).or_default().logs.push(table);
                continue;
            }
            if let Some(compact) = Compact::of(flags.as_deref().unwrap_or_default()) {
                keyspaces.entry(ks).or_default().compact.insert(table, compact);
            }
        }
    }

    fn tables(self, schema: &mut Schema) -> Result<()> {
        let mut columns: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
        for (keyspace, table, name, order, kind, position, cql_type) in self.columns {
            let entry = schema.keyspaces.entry(keyspace.clone()).or_default();
            if entry.views.contains_key(&table) || entry.logs.contains(&table) {
                continue;
            }
            let place = || format!("{keyspace}.{table}, column {name:?}");
            let Some(mut seen) = ColumnKind::named(&kind) else {
                return Err(Error::failed(format!(
                    "{}: the catalogue calls it {kind:?}, which is unknown",
                    place()
                )));
            };
            if let Some(compact) = entry.compact.get(&table) {
                match compact.seen(seen, &cql_type) {
                    Some(kind) => seen = kind,
                    None => continue,
                }
            }
            let cql_type = CqlType::parse(&cql_type, &|udt| find(&entry.udts, udt)).doing(place)?;
            let column = Column { name, cql_type, kind: seen, position, descending: order == "desc" };
            columns.entry((keyspace, table)).or_default().push(column);
        }
        for ((keyspace, table), columns) in columns {
            let entry = schema.keyspaces.entry(keyspace.clone()).or_default();
            entry.tables.insert(table.clone(), Table::new(keyspace, table, columns));
        }
        Ok(())
    }
}

/// The moment of a truncation, ms since 1970: behind a place in the commit log, of 8 and 4 bytes
/// (`SystemKeyspace.truncationAsMapEntry`).
fn moment(record: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(record.get(12..20)?.try_into().ok()?))
}

/// Whether the server says that it has no such table: when it is asked, or before, where a value is bound.
pub(super) fn lacks_table(error: &Unread) -> bool {
    let Unread::First(error) = error else { return false };
    let refusal = match error {
        PagerExecutionError::NextPageError(NextPageError::RequestFailure(
            RequestError::LastAttemptError(refusal),
        )) => refusal,
        PagerExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt }) => first_attempt,
        _ => return false,
    };
    matches!(refusal, RequestAttemptError::DbError(DbError::Invalid, _))
}

/// A user type as the catalogue has it: its name, its fields' names and types.
type RawUdt = (String, Vec<(String, String)>);

fn find(udts: &[Arc<Udt>], name: &str) -> Option<Arc<Udt>> {
    udts.iter().find(|u| u.name == name).cloned()
}

/// Resolves the types of a keyspace: each after those it is made of.
fn resolve(mut pending: Vec<RawUdt>) -> Result<Vec<Arc<Udt>>> {
    let mut known: Vec<Arc<Udt>> = Vec::new();
    while !pending.is_empty() {
        let mut waiting = Vec::new();
        let mut error = None;
        let before = pending.len();
        for (name, fields) in pending {
            let parsed: Result<Vec<_>, _> = fields
                .iter()
                .map(|(field, t)| Ok((field.clone(), CqlType::parse(t, &|udt| find(&known, udt))?)))
                .collect();
            match parsed {
                Ok(fields) => known.push(Arc::new(Udt { name, fields })),
                Err(reason) => {
                    let reason: crate::types::cql::BadType = reason;
                    error = Some(Error::failed(format!("type {name}: {reason}")));
                    waiting.push((name, fields));
                }
            }
        }
        if let (true, Some(error)) = (waiting.len() == before, error) {
            return Err(error);
        }
        pending = waiting;
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ScyllaDB's tables beside others (not run by us): only a table that has its base and its partitioner is one.
    #[test]
    fn tables_of_scylladb_itself_are_told_from_others() {
        let table =
            |name: &str| ("ks".to_owned(), name.to_owned(), Uuid::nil(), Some(vec!["compound".to_owned()]));
        let names = ["t", "t$paxos", "t_scylla_cdc_log", "u_scylla_cdc_log", "x$paxos"];
        let column = |name: &&str| {
            let text = |text: &str| text.to_owned();
            (text("ks"), text(name), text("k"), text("none"), text("partition_key"), 0, text("int"))
        };
        let partitioner = Some("com.scylladb.dht.CDCPartitioner".to_owned());
        let catalogue = Catalogue {
            keyspaces: vec![("ks".to_owned(),)],
            types: Vec::new(),
            views: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            masks: Vec::new(),
            dropped: Vec::new(),
            partitioners: vec![
                ("ks".to_owned(), "t_scylla_cdc_log".to_owned(), partitioner),
                ("ks".to_owned(), "u_scylla_cdc_log".to_owned(), None),
            ],
            tables: names.iter().map(|name| table(name)).collect(),
            columns: names.iter().map(column).collect(),
        };
        let schema = catalogue.schema().unwrap();
        let found: Vec<&String> = schema.keyspaces["ks"].tables.keys().collect();
        assert_eq!(found, ["t", "u_scylla_cdc_log", "x$paxos"]);
    }
}
