//! The statements that make a keyspace and all in it, rough sizes, and running DDL. Servers that know `DESCRIBE` print
//! the statements; where they do not, they are made from the catalogue. Ordering and rewriting them is left to `ddl`.

use super::Cluster;
use super::catalogue::lacks_table;
use super::retry::{Unread, page_verdict, verdict};
use crate::ddl::create::{self, Row, Rows, Scylla};
use crate::ddl::printed::Printed;
use crate::ddl::{self, Kind};
use crate::error::{Context, Error, Result};
use crate::report;
use crate::table::{ColumnKind, Table};
use crate::types::cql::Ident;
use futures::TryStreamExt;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::serialize::row::SerializeRow;
use scylla::statement::Statement;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What stands between a server's words and the statement that they are about.
pub const IN_STATEMENT: &str = "\nin the statement\n";

/// How long nodes may take to learn of a change: gossip spreads it within seconds, a node cut off from others never.
const AGREEING: Duration = Duration::from_secs(10);

/// What makes a keyspace and all in it.
#[derive(Debug, Default)]
pub struct Described {
    /// The statements, in no certain order.
    pub statements: Vec<ddl::Statement>,
    /// What none of them makes.
    pub untold: Vec<Untold>,
}

/// Something of a schema that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// True name of the table, or whatever else, that it belongs to.
    pub name: String,
    /// What it is, as the server has it.
    pub what: String,
}

/// What of a keyspace is made from the catalogue.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// All.
    All,
    /// What the server does not print, or not so that it can be used: tables WITH COMPACT STORAGE are a comment (4.0 to
    /// 5.0).
    Rest(&'a Printed),
}

impl Cluster {
    /// The statements that make a keyspace and all in it: as the server prints them, and what it does not print made from
    /// the catalogue.
    ///
    /// # Errors
    /// `Error` if the server's answer cannot be used.
    pub async fn describe(&self, keyspace: &str) -> Result<Described> {
        let Some(mut printed) = self.print(keyspace).await? else {
            return self.create(keyspace, Wanted::All).await;
        };
        let mut made = match printed.unusable.is_empty() {
            true => Described::default(),
            false => self.create(keyspace, Wanted::Rest(&printed)).await?,
        };
        let is_made =
            |kind: Kind, name: &str| made.statements.iter().any(|s| s.kind == kind && s.name == name);
        let unknown = std::mem::take(&mut printed.unknown);
        made.untold.extend(unknown.into_iter().map(|(name, what)| Untold { name, what }));
        for (kind, name) in printed.unusable.iter().filter(|(kind, name)| !is_made(*kind, name)) {
            made.untold.push(Untold { name: name.clone(), what: kind.name().to_owned() });
        }
        // One overload of a function that cannot be used as it is printed brings all of them from the catalogue.
        printed.statements.retain(|s| !is_made(s.kind, &s.name));
        made.statements.append(&mut printed.statements);
        Ok(made)
    }

    /// What the server prints; `None` if it knows no `DESCRIBE` (Cassandra before 4.0, ScyllaDB before 5.2).
    async fn print(&self, keyspace: &str) -> Result<Option<Printed>> {
        // Unpaged: a schema change between two pages of a DESCRIBE is an error of the server.
        let query = format!("DESCRIBE KEYSPACE {}", Ident(keyspace));
        let ask = || self.session.query_unpaged(query.as_str(), ());
        let answer = match self.persist(ask, verdict).await {
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::SyntaxError, _))) => {
                return Ok(None);
            }
            answer => answer.doing(|| query.clone())?,
        };
        let rows = answer.into_rows_result().doing(|| query.clone())?;
        let mut printed = Printed::default();
        for row in rows.rows::<(Option<String>, String, String, String)>().doing(|| query.clone())? {
            let (_, kind, name, cql) = row.doing(|| query.clone())?;
            printed.read(&kind, &name, &cql);
        }
        Ok(Some(printed))
    }

    /// What is wanted of a keyspace, made from the catalogue.
    async fn create(&self, keyspace: &str, wanted: Wanted<'_>) -> Result<Described> {
        let doing = || format!("read the schema of keyspace {keyspace} from the catalogue");
        let mut rows = self.catalogue(keyspace).await?;
        if rows.keyspace.is_empty() {
            return Err(Error::failed(format!("{}: it is not there", doing())));
        }
        if let Wanted::Rest(printed) = wanted {
            rows.masks = printed.masks.clone();
        }
        let made = create::create(&rows).doing(doing)?;
        let mut described = Described::default();
        for cql in &made.statements {
            let statement = ddl::Statement::parse(cql).doing(doing)?;
            let is_wanted = match wanted {
                Wanted::All => true,
                Wanted::Rest(printed) => printed
                    .unusable
                    .iter()
                    .any(|(kind, name)| (*kind, name) == (statement.kind, &statement.name)),
            };
            if is_wanted {
                let lacking = made.unknown.iter().filter(|(name, _)| *name == statement.name);
                let untold =
                    |(name, what): &(String, String)| Untold { name: name.clone(), what: what.clone() };
                described.untold.extend(lacking.map(untold));
                described.statements.push(statement);
            }
        }
        Ok(described)
    }

    /// All that the catalogue has of a keyspace.
    async fn catalogue(&self, keyspace: &str) -> Result<Rows> {
        let rows = |table: &'static str| self.catalogue_rows(table, keyspace);
        let there = async |table| Ok(rows(table).await?.unwrap_or_default());
        let (keyspaces, types, functions, aggregates, tables, columns, indexes, views) = futures::try_join!(
            there("keyspaces"),
            there("types"),
            there("functions"),
            there("aggregates"),
            there("tables"),
            there("columns"),
            there("indexes"),
            there("views"),
        )?;
        let (of_tables, of_aggregates) =
            futures::try_join!(rows("scylla_tables"), rows("scylla_aggregates"))?;
        let scylla = of_tables.map(|tables| Scylla { tables, aggregates: of_aggregates.unwrap_or_default() });
        let keyspace = keyspaces.into_iter().next().unwrap_or_default();
        let masks = Vec::new();
        Ok(Rows { keyspace, types, functions, aggregates, tables, columns, indexes, views, masks, scylla })
    }

    /// The rows of a keyspace in a table of the catalogue, with all columns that there are; `None` if the server has no such
    /// table.
    async fn catalogue_rows(&self, table: &'static str, keyspace: &str) -> Result<Option<Vec<Row>>> {
        let query = format!("SELECT JSON * FROM system_schema.{table} WHERE keyspace_name = ?");
        let rows = match self.read_with::<(String,)>(query.as_str(), (keyspace,)).await {
            Err(error) if lacks_table(&error) => return Ok(None),
            rows => rows.doing(|| query.clone())?,
        };
        let mut all = Vec::new();
        for (json,) in rows {
            all.push(serde_json::from_str(&json).doing(|| format!("read what {query} answered"))?);
        }
        Ok(Some(all))
    }

    /// Rough bytes per table of a keyspace from `system.size_estimates`: the contact point's own share, refreshed by the
    /// server every 5 minutes, so only good for telling big from small.
    ///
    /// # Errors
    /// `Error` if the table cannot be read.
    pub async fn size_estimates(&self, keyspace: &str) -> Result<BTreeMap<String, u64>> {
        let query = "SELECT table_name, mean_partition_size, partitions_count FROM system.size_estimates \
                     WHERE keyspace_name = ?";
        let rows = self.read_with::<(String, i64, i64)>(query, (keyspace,)).await;
        let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
        for (table, mean, count) in rows.doing(|| "read system.size_estimates")? {
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
        let ask = || self.session.query_unpaged(query.clone(), ());
        let answer = self.persist(ask, verdict).await.doing(doing)?;
        Ok(answer.into_rows_result().doing(doing)?.rows_num() > 0)
    }

    /// Runs one DDL statement and waits until all nodes agree on the schema.
    ///
    /// # Errors
    /// `Error` shows the statement.
    pub async fn run_ddl(&self, cql: &str) -> Result<()> {
        match self.session.query_unpaged(cql, ()).await {
            Ok(_) => Ok(()),
            // The statement was run; that nodes still differ is told of, and what follows may fail or not.
            Err(ExecutionError::SchemaAgreementError(_)) => self.agree().await,
            Err(error) => Err(Error::failed(format!("{error}{IN_STATEMENT}{cql}"))),
        }
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

    /// All rows of a query of system tables, asked again as long as the cluster is busy or out of reach.
    pub(super) async fn read<T>(&self, query: &str) -> Result<Vec<T>>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        self.read_with(query, ()).await.doing(|| query.to_owned())
    }

    /// The same of a query with values, or one that is to go another way.
    pub(super) async fn read_with<T>(
        &self,
        query: impl Into<Statement> + Clone,
        values: impl SerializeRow + Copy,
    ) -> Result<Vec<T>, Unread>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        let read = || async {
            let rows = self.session.query_iter(query.clone(), values).await?;
            Ok(rows.rows_stream::<T>()?.try_collect().await?)
        };
        self.persist(read, page_verdict).await
    }
}
