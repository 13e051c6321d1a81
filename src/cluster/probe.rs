//! What a server can tell of its cells: write time and TTL, found out by preparing the question, once per kind of
//! column. A version table would not do: answers depend on release, vendor and, during an upgrade, on the node.

use super::Cluster;
use super::retry::Unprepared;
use crate::error::{Error, Result};
use crate::table::{ColumnKind, Table};
use crate::types::cql::{CqlType, Ident};
use scylla::errors::{DbError, PrepareError, RequestAttemptError};
use std::collections::BTreeMap;

/// Kinds of columns that servers treat alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Scalar,
    Tuple,
    Vector,
    FrozenCollection,
    FrozenUdt,
    Collection,
    Udt,
}

impl Kind {
    fn of(cql_type: &CqlType) -> Kind {
        match cql_type {
            CqlType::Native(_) | CqlType::Custom(_) => Kind::Scalar,
            CqlType::Tuple(_) => Kind::Tuple,
            CqlType::Vector(..) => Kind::Vector,
            CqlType::Udt(_, true) => Kind::FrozenUdt,
            CqlType::Udt(_, false) => Kind::Udt,
            CqlType::List(_, frozen) | CqlType::Set(_, frozen) | CqlType::Map(_, _, frozen) => match frozen {
                true => Kind::FrozenCollection,
                false => Kind::Collection,
            },
        }
    }
}

/// What a cluster was found to tell.
#[derive(Default)]
pub struct Probe {
    /// The server's reason for each kind of column of which it does not tell.
    known: BTreeMap<Kind, Option<String>>,
}

impl Probe {
    /// Adds the companions that the cluster can tell to `table`; answers the columns of which it cannot, with its reason.
    ///
    /// # Errors
    /// `Error` names the column if the question was not answered at all.
    pub async fn keep(&mut self, cluster: &Cluster, table: &mut Table) -> Result<Vec<(String, String)>> {
        let mut untold = Vec::new();
        // Counters have write times, but none that could be written back.
        if table.is_counter() {
            return Ok(untold);
        }
        for index in [table.indexes(ColumnKind::Static), table.indexes(ColumnKind::Regular)].concat() {
            let name = table.columns[index].name.clone();
            match self.reason(cluster, table, index).await? {
                None => table.keep(index),
                Some(reason) => untold.push((name.clone(), reason + &name)),
            }
        }
        Ok(untold)
    }

    /// Why the cluster does not tell of a column; none if it does.
    async fn reason(&mut self, cluster: &Cluster, table: &Table, index: usize) -> Result<Option<String>> {
        let column = &table.columns[index];
        let kind = Kind::of(&column.cql_type);
        if let Some(known) = self.known.get(&kind) {
            return Ok(known.clone());
        }
        let name = Ident(&column.name);
        let query = format!(
            "SELECT writetime({name}), ttl({name}) FROM {}.{}",
            Ident(&table.keyspace),
            Ident(&table.name)
        );
        let reason = match cluster.prepare(&query).await {
            Ok(_) => None,
            // Its words end with the column's name, and stand for every column of the kind.
            Err(error) => {
                Some(refusal(&error).map(|words| cut_name(words, &column.name)).ok_or_else(|| {
                    Error::failed(format!(
                        "ask whether write times can be told of {}, column {:?}: {error}",
                        table.full_name(),
                        column.name
                    ))
                })?)
            }
        };
        self.known.insert(kind, reason.clone());
        Ok(reason)
    }
}

/// The server's words up to the column's name, or all of them and a place for the name.
fn cut_name(words: String, name: &str) -> String {
    match words.strip_suffix(name) {
        Some(words) => words.to_owned(),
        None => words + ": ",
    }
}

/// The server's reason not to prepare a statement, if it is the server that refused it.
fn refusal(error: &Unprepared) -> Option<String> {
    let Unprepared::Refused(PrepareError::AllAttemptsFailed { first_attempt }) = error else { return None };
    match first_attempt {
        RequestAttemptError::DbError(DbError::Invalid | DbError::SyntaxError, message) => {
            Some(message.clone())
        }
        _ => None,
    }
}
