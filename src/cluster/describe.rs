//! The schema: tables and types from `system_schema`, replayable statements from the server's `DESCRIBE`, rough sizes,
//! and running DDL. Ordering and rewriting statements is left to `ddl`.

use super::Cluster;
use super::retry::backoff;
use crate::ddl;
use crate::error::{Context, Error, Result};
use crate::report;
use crate::table::{Column, ColumnKind, Table};
use crate::types::cql::{CqlType, Ident, Udt};
use futures::TryStreamExt;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{
    DbError, ExecutionError, NextPageError, PagerExecutionError, RequestAttemptError, RequestError,
};
use scylla::statement::Statement;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long nodes may take to learn of a change: gossip spreads it within seconds, a node cut off from others never.
const AGREEING: Duration = Duration::from_secs(10);

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
    /// Tables made WITH COMPACT STORAGE.
    pub compact: BTreeSet<String>,
    /// Indexes: name and table.
    pub indexes: BTreeMap<String, String>,
    /// Materialized views: name and base table.
    pub views: BTreeMap<String, String>,
    /// Table and name of each trigger.
    pub triggers: Vec<(String, String)>,
    /// Table and name of each masked column (Cassandra 5.0 and later).
    pub masked: Vec<(String, String)>,
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
    /// what cannot be read is read again a few times.
    ///
    /// # Errors
    /// `Error` names what could not be read.
    pub async fn schema(&self) -> Result<Schema> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.read_schema().await {
                Err(error) if attempt < ATTEMPTS => {
                    tracing::debug!("{error}; attempt {attempt} failed, reading the catalogue again");
                    tokio::time::sleep(backoff(attempt, 0)).await;
                }
                read => return read,
            }
        }
    }

    async fn read_schema(&self) -> Result<Schema> {
        Catalogue::read(self).await?.schema()
    }

    /// Which columns are masked, by keyspace; servers before 5.0 have no such table.
    async fn read_masks(&self) -> Result<Vec<(String, String, String)>> {
        let query = "SELECT keyspace_name, table_name, column_name FROM system_schema.column_masks";
        match self.session.query_iter(query, ()).await {
            Err(error) if lacks_table(&error) => Ok(Vec::new()),
            rows => {
                let rows = rows.doing(|| query)?.rows_stream().doing(|| query)?;
                rows.try_collect().await.doing(|| query)
            }
        }
    }

    /// The statements that make a keyspace and all in it, as the server prints them.
    ///
    /// # Errors
    /// `Error` says so if the server knows no `DESCRIBE` (Cassandra before 4.0).
    pub async fn describe(&self, keyspace: &str) -> Result<Vec<ddl::Statement>> {
        self.try_describe(keyspace).await?.ok_or_else(|| {
            Error::failed(format!(
                "the server (release {}) does not know DESCRIBE, so its schema cannot be read yet",
                self.version()
            ))
            .hint("cqlift reads schemas of Cassandra 4.0 and later, and of ScyllaDB 5.2 and later")
        })
    }

    /// The same, or `None` from a server that knows no `DESCRIBE`.
    ///
    /// # Errors
    /// `Error` if the server's answer cannot be used.
    pub async fn try_describe(&self, keyspace: &str) -> Result<Option<Vec<ddl::Statement>>> {
        // Unpaged: a schema change between two pages of a DESCRIBE is an error of the server.
        let query = format!("DESCRIBE KEYSPACE {}", Ident(keyspace));
        let answer = match self.session.query_unpaged(query.as_str(), ()).await {
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::SyntaxError, _))) => {
                return Ok(None);
            }
            answer => answer.doing(|| query.clone())?,
        };
        let rows = answer.into_rows_result().doing(|| query.clone())?;
        let mut statements = Vec::new();
        for row in rows.rows::<(Option<String>, String, String, String)>().doing(|| query.clone())? {
            let (_, kind, name, cql) = row.doing(|| query.clone())?;
            match ddl::Statement::parse(&cql) {
                Ok(statement) => statements.push(statement),
                // COMPACT STORAGE tables come as a comment (4.0-5.0); whoever selects such a table is told by name.
                Err(ddl::DdlError::OnlyComment) => {}
                Err(error) => {
                    return Err(Error::failed(format!(
                        "{query} printed a statement for {kind} {name}: {error}"
                    )));
                }
            }
        }
        Ok(Some(statements))
    }

    /// Rough bytes per table of a keyspace from `system.size_estimates`: the contact point's own share, refreshed by the
    /// server every 5 minutes, so only good for telling big from small.
    ///
    /// # Errors
    /// `Error` if the table cannot be read.
    pub async fn size_estimates(&self, keyspace: &str) -> Result<BTreeMap<String, u64>> {
        let query = "SELECT table_name, mean_partition_size, partitions_count FROM system.size_estimates \
                     WHERE keyspace_name = ?";
        let rows =
            self.session.query_iter(query, (keyspace,)).await.doing(|| "read system.size_estimates")?;
        let mut rows = rows.rows_stream::<(String, i64, i64)>().doing(|| "read system.size_estimates")?;
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        while let Some((table, mean, count)) = rows.try_next().await.doing(|| "read system.size_estimates")? {
            let bytes = u64::try_from(mean).unwrap_or(0).saturating_mul(u64::try_from(count).unwrap_or(0));
            let size = sizes.entry(table).or_default();
            *size = size.saturating_add(bytes);
        }
        Ok(sizes)
    }

    /// Whether a table holds any row.
    ///
    /// # Errors
    /// `Error` names the table.
    pub async fn holds_rows(&self, table: &Table) -> Result<bool> {
        let key: Vec<String> =
            table.of_kind(ColumnKind::PartitionKey).map(|c| Ident(&c.name).to_string()).collect();
        let (keyspace, name) = (Ident(&table.keyspace), Ident(&table.name));
        let mut query = Statement::new(format!("SELECT {} FROM {keyspace}.{name} LIMIT 1", key.join(", ")));
        query.set_execution_profile_handle(Some(self.data.clone()));
        let doing = || format!("look for rows in {}", table.full_name());
        let answer = self.session.query_unpaged(query, ()).await.doing(doing)?;
        Ok(answer.into_rows_result().doing(doing)?.rows_num() > 0)
    }

    /// Runs one DDL statement and waits until all nodes agree on the schema.
    ///
    /// # Errors
    /// `Error` shows the statement.
    pub async fn run_ddl(&self, cql: &str) -> Result<()> {
        let result = self.session.query_unpaged(cql, ()).await;
        result.map(drop).map_err(|error| Error::failed(format!("{error}\nin the statement\n{cql}")))
    }

    /// Waits until the nodes within reach have one schema, as they tell one another, but no longer than 10 s.
    ///
    /// The driver waits for the nodes that it has connections of its own to, with `--only-contact-points` a few of them;
    /// a node that lags behind refuses what others send it of a new table (`INCOMPATIBLE_SCHEMA`, measured on 4.1.10).
    ///
    /// # Errors
    /// `Error` if the system tables cannot be read.
    pub async fn agree(&self) -> Result<()> {
        let until = Instant::now() + AGREEING;
        while !self.agrees().await? {
            if Instant::now() > until {
                report::warn(&format!(
                    "the nodes still have different schemas {} s after the last change; see nodetool describecluster",
                    AGREEING.as_secs()
                ));
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn agrees(&self) -> Result<bool> {
        let own: Vec<(Option<Uuid>,)> = self.read("SELECT schema_version FROM system.local").await?;
        let peers: Vec<(Option<Uuid>, Option<Uuid>)> =
            self.read("SELECT host_id, schema_version FROM system.peers").await?;
        let state = self.session.get_cluster_state();
        let within_reach =
            |id: &Uuid| state.get_nodes_info().iter().any(|n| n.host_id == *id && n.is_connected());
        let told = peers.into_iter().filter(|(id, _)| id.as_ref().is_some_and(within_reach));
        let versions: BTreeSet<Uuid> = own
            .into_iter()
            .filter_map(|(version,)| version)
            .chain(told.filter_map(|(_, version)| version))
            .collect();
        Ok(versions.len() <= 1)
    }

    async fn read<T>(&self, query: &str) -> Result<Vec<T>>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        let rows = self.session.query_iter(query, ()).await.doing(|| query.to_owned())?;
        let rows = rows.rows_stream::<T>().doing(|| query.to_owned())?;
        rows.try_collect().await.doing(|| query.to_owned())
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
    /// Table and its flags.
    tables: Vec<(String, String, Option<Vec<String>>)>,
    columns: Vec<ColumnRow>,
}

/// Keyspace, name, names of the fields, their types.
type TypeRow = (String, String, Option<Vec<String>>, Option<Vec<String>>);
/// Keyspace, table, column, its order, kind, position and type.
type ColumnRow = (String, String, String, String, String, i32, String);

impl Catalogue {
    /// Reads them side by side: each is a scan of the whole ring, and takes a node some 10 ms.
    async fn read(cluster: &Cluster) -> Result<Catalogue> {
        let (keyspaces, types, views, indexes, triggers, masks, tables, columns) = futures::try_join!(
            cluster.read("SELECT keyspace_name FROM system_schema.keyspaces"),
            cluster
                .read("SELECT keyspace_name, type_name, field_names, field_types FROM system_schema.types"),
            cluster.read("SELECT keyspace_name, view_name, base_table_name FROM system_schema.views"),
            cluster.read("SELECT keyspace_name, index_name, table_name FROM system_schema.indexes"),
            cluster.read("SELECT keyspace_name, table_name, trigger_name FROM system_schema.triggers"),
            cluster.read_masks(),
            cluster.read("SELECT keyspace_name, table_name, flags FROM system_schema.tables"),
            cluster.read(
                "SELECT keyspace_name, table_name, column_name, clustering_order, kind, position, type \
                 FROM system_schema.columns"
            ),
        )?;
        Ok(Catalogue { keyspaces, types, views, indexes, triggers, masks, tables, columns })
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
        for (ks, table, flags) in self.tables.iter().cloned() {
            let has = |flag: &str| flags.iter().flatten().any(|f| f == flag);
            // Every CQL table is compound and not dense; only tables WITH COMPACT STORAGE differ (measured 3.11-5.0).
            if !has("compound") || has("dense") {
                keyspaces.entry(ks).or_default().compact.insert(table);
            }
        }
    }

    fn tables(self, schema: &mut Schema) -> Result<()> {
        let mut columns: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
        for (keyspace, table, name, order, kind, position, cql_type) in self.columns {
            let entry = schema.keyspaces.entry(keyspace.clone()).or_default();
            if entry.views.contains_key(&table) {
                continue;
            }
            let place = || format!("{keyspace}.{table}, column {name:?}");
            let cql_type = CqlType::parse(&cql_type, &|udt| find(&entry.udts, udt)).doing(place)?;
            let Some(kind) = ColumnKind::named(&kind) else {
                return Err(Error::failed(format!(
                    "{}: the catalogue calls it {kind:?}, which is unknown",
                    place()
                )));
            };
            let column = Column { name, cql_type, kind, position, descending: order == "desc" };
            columns.entry((keyspace, table)).or_default().push(column);
        }
        for ((keyspace, table), columns) in columns {
            let entry = schema.keyspaces.entry(keyspace.clone()).or_default();
            entry.tables.insert(table.clone(), Table::new(keyspace, table, columns));
        }
        Ok(())
    }
}

/// Whether the server says that it has no such table.
fn lacks_table(error: &PagerExecutionError) -> bool {
    matches!(
        error,
        PagerExecutionError::NextPageError(NextPageError::RequestFailure(RequestError::LastAttemptError(
            RequestAttemptError::DbError(DbError::Invalid, _)
        )))
    )
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
