//! What the role of a session may read: SELECT on tables, and the values behind masks (Cassandra 5.0). A server checks
//! the first only when a query runs, not at PREPARE; of the second it says nothing and shows masked values instead.
//! Which tables are asked about, and what a dump tells of an answer that cannot be had, is left to `commands`.

use super::Cluster;
use super::catalogue::Schema;
use super::retry::verdict;
use crate::error::{Context, Error, Result};
use crate::table::{Column, ColumnKind, Table};
use crate::types::cql::{CqlType, Ident, Native};
use futures::{StreamExt, TryStreamExt};
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::query_result::QueryResult;
use scylla::statement::Statement;
use std::collections::BTreeSet;

/// Tables asked about at a time.
const AT_ONCE: usize = 8;
/// Nodes go by what they have cached, for 2 s unless they are configured otherwise.
const CACHED: &str =
    "after a GRANT, nodes may go on for some seconds by what they have cached: then try again";

/// What a role sees of a table's masked columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// The values behind the mask.
    Values,
    /// Masked values.
    Masks,
    /// The server does not tell.
    Unknown,
}

/// What a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Anything.
    Superuser,
    /// These: resource, as the server spells it, and permission. Those of granted roles are among them.
    Some(BTreeSet<(String, String)>),
}

impl Grants {
    /// Whether the role has the permission on one of the resources.
    pub fn may(&self, permission: &str, resources: &[String]) -> bool {
        match self {
            Grants::Superuser => true,
            Grants::Some(grants) => {
                resources.iter().any(|resource| grants.contains(&(resource.clone(), permission.to_owned())))
            }
        }
    }
}

impl Cluster {
    /// What the role may do; `None` if the server does not tell.
    pub async fn grants(&self, role: &str) -> Option<Grants> {
        if self.is_superuser(role).await? {
            return Some(Grants::Superuser);
        }
        let query = format!("LIST ALL PERMISSIONS OF {}", Ident(role));
        // A role without any has no result at all.
        let Ok(answer) = self.ask(&query).await.ok()?.into_rows_result() else {
            return Some(Grants::Some(BTreeSet::new()));
        };
        let mut grants = BTreeSet::new();
        for row in answer.rows::<ColumnIterator>().ok()? {
            let (mut resource, mut permission) = (String::new(), String::new());
            for column in row.ok()? {
                let column = column.ok()?;
                let text = column.slice.map(|s| String::from_utf8_lossy(s.as_slice()).into_owned());
                match column.spec.name() {
                    "resource" => resource = text.unwrap_or_default(),
                    "permission" => permission = text.unwrap_or_default(),
                    _ => {}
                }
            }
            grants.insert((resource, permission));
        }
        Some(Grants::Some(grants))
    }

    /// Makes sure that `role` may read all of `tables`, and what is behind their masks. Answers the role if it has masked
    /// columns before it of which the server does not tell. Without a login there is no role that could lack anything.
    ///
    /// # Errors
    /// `Error` names every table that may not be read, else every column of which only masked values would be seen.
    pub async fn check_reads<'a>(
        &self,
        role: Option<&'a str>,
        schema: &Schema,
        tables: &[&Table],
    ) -> Result<Option<&'a str>> {
        let Some(role) = role else {
            return Ok(None);
        };
        let asked = tables.iter().map(|table| async move { Ok((*table, self.may_select(table).await?)) });
        let asked: Vec<(&Table, bool)> =
            futures::stream::iter(asked).buffered(AT_ONCE).try_collect::<_>().await?;
        let mut refused: Vec<&Table> =
            asked.into_iter().filter(|(_, may)| !may).map(|(table, _)| table).collect();
        if !refused.is_empty() {
            refused.sort_by_key(|table| table.full_name());
            return Err(no_select(role, &refused));
        }
        let masked: Vec<Masked> = tables.iter().filter_map(|table| Masked::of(schema, table)).collect();
        if masked.is_empty() {
            return Ok(None);
        }
        let superuser = self.is_superuser(role).await;
        let asked = masked.iter().map(|masked| self.sight(role, superuser, masked));
        let sights: Vec<Sight> = futures::stream::iter(asked).buffered(AT_ONCE).collect().await;
        let seen =
            |wanted: Sight| masked.iter().zip(&sights).filter(move |(_, s)| **s == wanted).map(|(m, _)| m);
        let mut hidden: Vec<&Masked> = seen(Sight::Masks).collect();
        if !hidden.is_empty() {
            hidden.sort_by_key(|masked| masked.table.full_name());
            return Err(no_unmask(role, &hidden));
        }
        Ok(seen(Sight::Unknown).next().map(|_| role))
    }

    /// Whether the table may be read at all, as a query that reads nothing tells.
    ///
    /// # Errors
    /// `Error` names the table if the server does not answer.
    pub async fn may_select(&self, table: &Table) -> Result<bool> {
        match self.ask(&nothing_of(table)).await {
            // A masked partition key is guarded by UNMASK as well, in `token` as elsewhere; SELECT is asked for first.
            Err(error) => match refusal(&error) {
                Some(message) => Ok(message.contains("has no UNMASK nor ")),
                None => Err(error).doing(|| format!("ask for the permission to read {}", table.full_name())),
            },
            Ok(_) => Ok(true),
        }
    }

    /// Whether the role is a superuser, itself or by a role it was granted, which the server takes for the same;
    /// `None` if the server does not tell.
    pub(super) async fn is_superuser(&self, role: &str) -> Option<bool> {
        let answer =
            self.ask(&format!("LIST ROLES OF {}", Ident(role))).await.ok()?.into_rows_result().ok()?;
        for row in answer.rows::<ColumnIterator>().ok()? {
            for column in row.ok()? {
                let column = column.ok()?;
                if column.spec.name() == "super" && column.slice.is_some_and(|s| s.as_slice() == [1]) {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    async fn sight(&self, role: &str, superuser: Option<bool>, masked: &Masked<'_>) -> Sight {
        // What nodes do counts, since they do it from a cache: a grant that is listed may not be obeyed yet.
        if self.guards(masked).await {
            return Sight::Masks;
        }
        if superuser == Some(true) {
            return Sight::Values;
        }
        let list = format!("LIST UNMASK PERMISSION ON TABLE {} OF {}", masked.table.cql_name(), Ident(role));
        match self.ask(&list).await {
            // Those of the keyspace and of granted roles are listed too; none is no result at all, or one without rows.
            Ok(answer) => match answer.into_rows_result() {
                Ok(rows) if rows.rows_num() > 0 => Sight::Values,
                _ if superuser.is_none() => Sight::Unknown,
                _ => Sight::Masks,
            },
            Err(_) => Sight::Unknown,
        }
    }

    /// Whether a node refuses to filter by a masked column, which takes UNMASK or SELECT_MASKED. That none does proves
    /// little: the permission may be the latter, and a user type that is not frozen cannot be filtered by.
    async fn guards(&self, masked: &Masked<'_>) -> bool {
        let Some(filter) = masked.columns.iter().find_map(|column| filter(column)) else {
            return false;
        };
        let query = format!("{}{filter}", nothing_of(masked.table));
        let cluster = self.session.get_cluster_state();
        for node in cluster.get_nodes_info().iter().filter(|node| node.is_connected()) {
            let mut statement = Statement::new(query.as_str());
            let target = NodeIdentifier::Node(node.clone());
            statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
            // Permissions come before values: to whom it is allowed, a server complains about the null.
            if let Err(error) = self.session.query_unpaged(statement, ()).await
                && refusal(&error).is_some()
            {
                return true;
            }
        }
        false
    }

    /// Asks, again if the cluster was busy.
    async fn ask(&self, query: &str) -> Result<QueryResult, ExecutionError> {
        self.persist(|| self.session.query_unpaged(query, ()), verdict).await
    }
}

/// A table and those of its columns that are masked.
struct Masked<'a> {
    table: &'a Table,
    columns: Vec<&'a Column>,
}

impl<'a> Masked<'a> {
    fn of(schema: &Schema, table: &'a Table) -> Option<Masked<'a>> {
        let masked = &schema.keyspaces.get(&table.keyspace)?.masked;
        let is_masked = |c: &&Column| masked.iter().any(|(t, column)| *t == table.name && *column == c.name);
        let columns: Vec<&Column> = table.columns.iter().filter(is_masked).collect();
        (!columns.is_empty()).then_some(Masked { table, columns })
    }
}

/// A query of the table that matches no row with any partitioner. The server answers it without asking a replica, so
/// neither the consistency level nor a node that is down matters.
fn nothing_of(table: &Table) -> String {
    let key: Vec<String> =
        table.of_kind(ColumnKind::PartitionKey).map(|c| Ident(&c.name).to_string()).collect();
    let key = key.join(", ");
    format!("SELECT {key} FROM {} WHERE token({key}) > 0 AND token({key}) <= 0", table.cql_name())
}

/// What makes a query of [`nothing_of`] filter by the column, without a value of its type; `None` if it cannot be done.
fn filter(column: &Column) -> Option<String> {
    let condition = match &column.cql_type {
        // The bounds of the token are a condition on it already.
        _ if column.kind == ColumnKind::PartitionKey => return Some(String::new()),
        CqlType::Udt(_, false) => return None,
        CqlType::List(_, false) | CqlType::Set(_, false) | CqlType::Map(_, _, false) => "CONTAINS null",
        // Its null is refused before any permission is looked at.
        CqlType::Native(Native::Counter) => "= 0",
        _ => "= null",
    };
    Some(format!(" AND {} {condition} ALLOW FILTERING", Ident(&column.name)))
}

/// The server's words if it refused for want of a permission.
fn refusal(error: &ExecutionError) -> Option<&str> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, message)) => {
            Some(message)
        }
        _ => None,
    }
}

fn no_select(role: &str, tables: &[&Table]) -> Error {
    let names: Vec<String> = tables.iter().map(|t| t.cql_name()).collect();
    Error::failed(format!(
        "the role {role} lacks the permission SELECT on {}; nothing was written",
        names.join(", ")
    ))
    .hint(remedy("SELECT", role, &names))
    .hint(CACHED)
}

fn no_unmask(role: &str, hidden: &[&Masked<'_>]) -> Error {
    let mut columns = Vec::new();
    for masked in hidden {
        let table = masked.table.cql_name();
        columns.extend(masked.columns.iter().map(|c| format!("{table}.{}", Ident(&c.name))));
    }
    let tables: Vec<String> = hidden.iter().map(|m| m.table.cql_name()).collect();
    Error::failed(format!(
        "the role {role} lacks the permission UNMASK, so it would read only masked values of {}; nothing was written",
        columns.join(", ")
    ))
    .hint(remedy("UNMASK", role, &tables))
    .hint(CACHED)
}

/// One statement and one flag serve as the pattern for all tables.
fn remedy(permission: &str, role: &str, tables: &[String]) -> String {
    let first = tables.first().map_or("", String::as_str);
    let others = if tables.len() > 1 { " and likewise on the others" } else { "" };
    let grant = format!("GRANT {permission} ON TABLE {first} TO {}", Ident(role));
    format!("{grant}{others}, or leave out what the role may not read, with --exclude {first}")
}
