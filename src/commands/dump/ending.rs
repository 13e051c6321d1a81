//! How a dump ends that is not whole: what is missing and why; and what has happened to its tables while they were read.

use super::parts::{Dumped, DumpedTable};
use super::resume::known_again;
use crate::cluster::Cluster;
use crate::cluster::catalogue::Schema;
use crate::commands::micros;
use crate::commands::scanning::Judge;
use crate::error::{Error, Result};
use crate::manifest::NotPreserved;
use crate::manifest::begun::{Begun, BegunTable};
use crate::ring::Interval;
use crate::table::Table;
use futures::FutureExt;
use std::sync::Arc;

/// Missing ranges that an error names; the others are counted.
const NAMED: usize = 20;

/// What becomes of a run that failed.
pub const KEPT: &str = "what was read is kept: the same command again reads the rest";

/// A run that was asked to stop, and did.
pub fn interrupted() -> Error {
    Error::interrupted("interrupted; the dump was not finished")
        .hint("the same command again goes on from here")
}

/// The tables of a dump as they were when it was planned.
pub fn planned(schema: &Schema, tables: &[&Table]) -> Arc<Vec<BegunTable>> {
    Arc::new(tables.iter().map(|table| known_again(schema, table)).collect())
}

/// Asks the catalogue what has become of a table of which something could not be read.
pub fn judge(cluster: &Arc<Cluster>, planned: &Arc<Vec<BegunTable>>) -> Judge {
    let (cluster, planned) = (cluster.clone(), planned.clone());
    Box::new(move |table| {
        let (cluster, planned) = (cluster.clone(), planned.clone());
        async move {
            let schema = cluster.schema().await?;
            Ok(planned.get(table).and_then(|table| change(&schema, table)))
        }
        .boxed()
    })
}

fn change(schema: &Schema, was: &BegunTable) -> Option<String> {
    let is = schema.table(&was.keyspace, &was.name).map(|table| known_again(schema, table));
    was.change(is.as_ref())
}

/// Checks that all has been read, of tables that are still what they were.
///
/// # Errors
/// An interruption, or a failure that names the tables that changed and the ranges that are missing.
pub async fn check(
    cluster: &Cluster,
    planned: &[BegunTable],
    dumped: &Dumped,
    asked_to_stop: bool,
) -> Result<()> {
    if asked_to_stop && dumped.tables.iter().any(|table| !table.left.is_nothing()) {
        return Err(interrupted());
    }
    let mut changes: Vec<String> = dumped.changed.values().cloned().collect();
    let missing: Vec<String> = (0..)
        .zip(&dumped.tables)
        .filter(|(number, _)| !dumped.changed.contains_key(number))
        .flat_map(|(_, table)| missing(table))
        .collect();
    if missing.is_empty() {
        let schema = cluster.schema().await?;
        let others = (0..).zip(planned).filter(|(number, _)| !dumped.changed.contains_key(number));
        changes.extend(others.filter_map(|(_, table)| change(&schema, table)));
    }
    if changes.is_empty() && missing.is_empty() {
        return Ok(());
    }
    let mut told = Vec::new();
    if !changes.is_empty() {
        told.push(format!("the schema changed while the dump ran: {}", changes.join("; ")));
    }
    if !missing.is_empty() {
        let more = match missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = missing[..missing.len().min(NAMED)].join(", ");
        told.push(format!("{} not be read: {named}{more}", ranges(missing.len())));
    }
    if let Some(error) = dumped.losses.first() {
        told.push(format!("the first error was: {}", error.message()));
    }
    let hints = dumped.losses.first().map(Error::hints).unwrap_or_default();
    let failed = hints.iter().fold(Error::failed(told.join("; ")), |error, hint| error.hint(hint.as_str()));
    Err(failed.hint(match changes.is_empty() {
        true => KEPT,
        false => "what was read before cannot be gone on with: dump again with --restart",
    }))
}

fn ranges(count: usize) -> String {
    match count {
        1 => "1 token range could".to_owned(),
        n => format!("{n} token ranges could"),
    }
}

/// What has not been read of a table, a text each.
fn missing(table: &DumpedTable) -> Vec<String> {
    let name = table.table.full_name();
    let rests = table.left.rests.keys().map(|token| {
        let around = Interval { start: token.saturating_sub(1), end: *token };
        format!("{name} {around} from the middle of a partition on")
    });
    let intervals = table.left.intervals.iter().map(|interval| format!("{name} {interval}"));
    rests.chain(intervals).collect()
}

/// Tables that were truncated since the dump was first begun: what was read before is in it, and gone from the cluster.
///
/// # Errors
/// `Error` if the cluster cannot be asked.
pub async fn truncated(cluster: &Cluster, begun: &Begun) -> Result<Vec<NotPreserved>> {
    let started = micros(&begun.started)?;
    let moments = cluster.truncations().await?;
    let told = |table: &BegunTable| {
        let at = moments.get(&table.id).copied().filter(|at| *at >= started)?;
        Some(NotPreserved {
            object: format!("{}.{}", table.keyspace, table.name),
            what: "one state of the table".to_owned(),
            count: None,
            reason: format!(
                "it was truncated at {}, while it was dumped: the dump may hold rows from before and after",
                crate::commands::rfc3339(
                    std::time::UNIX_EPOCH + std::time::Duration::from_micros(u64::try_from(at).unwrap_or(0))
                )
            ),
        })
    };
    Ok(begun.tables.iter().filter_map(told).collect())
}
