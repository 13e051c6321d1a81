//! One file per subcommand: its flags above its `run()`, which reads like a table of contents. Shared here: what every
//! command is given, and the few things that join the noun modules.

pub mod dump;
pub mod import;
pub mod inspect;
pub mod load;
pub mod schema;
pub mod verify;

mod feed;

use crate::ddl::Statement;
use crate::error::{Context, Error, Result};
use crate::format::{Column, Layout};
use crate::manifest::{Part, StatementEntry};
use crate::ring::{self, Interval, Token};
use crate::selector::{Selection, Selector};
use crate::table::Table;
use crate::types::codec;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a run talks to its user; the same flags on every command.
#[derive(Args, Clone, Copy)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print one machine-readable summary on standard output
    #[arg(long, global = true, env = "CQLIFT_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
    /// Print neither progress nor summary
    #[arg(long, global = true, env = "CQLIFT_QUIET", value_parser = FalseyValueParser::new())]
    pub quiet: bool,
}

/// The selectors of a command line.
///
/// # Errors
/// A usage error names the selector that cannot be read.
pub fn selection(include: &[String], exclude: &[String]) -> Result<Selection> {
    let parse = |texts: &[String]| -> Result<Vec<Selector>> {
        texts.iter().map(|t| Selector::parse(t).map_err(|e| Error::usage(e.to_string()))).collect()
    };
    Ok(Selection { include: parse(include)?, exclude: parse(exclude)? })
}

/// How the manifest states a DDL statement.
pub fn statement_entry(statement: &Statement) -> StatementEntry {
    StatementEntry {
        section: statement.kind.section().name().to_owned(),
        kind: statement.kind.name().to_owned(),
        name: statement.name.clone(),
        table: statement.table.clone(),
        cql: statement.cql.clone(),
    }
}

/// The file layout of a table's columns.
///
/// # Errors
/// `Error` names the column whose type has no codec.
pub fn layout(table: &Table) -> Result<Layout> {
    let columns = table.columns.iter().map(|column| {
        let codec = codec(&column.cql_type)
            .doing(|| format!("table {}, column {:?}", table.full_name(), column.name))
            .map_err(|e| e.hint(format!("leave the table out with --exclude {}", table.cql_name())))?;
        Ok(Column { name: column.name.clone(), cql_type: column.cql_type.clone(), codec: Arc::from(codec) })
    });
    Ok(Layout::new(columns.collect::<Result<Vec<_>>>()?))
}

/// Whether the token ranges of a table's parts tile the ring.
///
/// # Errors
/// The first gap or overlap, or the token that cannot be read.
pub fn tile_the_ring(parts: &[Part]) -> Result<(), String> {
    let token = |text: &str| text.parse::<Token>().map_err(|e| format!("{text:?}: {e}"));
    let mut intervals = Vec::new();
    for range in parts.iter().flat_map(|p| &p.ranges) {
        intervals.push(Interval { start: token(&range.start)?, end: token(&range.end)? });
    }
    ring::tiles(&mut intervals).map_err(|gap| gap.to_string())
}

/// A moment as RFC 3339 in UTC, milliseconds.
pub fn rfc3339(time: SystemTime) -> String {
    use crate::types::cql::{CqlType, Native};
    let millis =
        time.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or(0);
    let mut text = Vec::new();
    if let Ok(codec) = codec(&CqlType::Native(Native::Timestamp)) {
        codec.to_text(&millis.to_be_bytes(), &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs `work` until it ends or the user presses Ctrl-C.
///
/// # Errors
/// What `work` returns, or an interruption that says `left`.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>, left: &str) -> Result<T> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Error::interrupted(format!("interrupted; {left}"))),
    }
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", indicatif::HumanCount(count), if count == 1 { "" } else { "s" })
}
