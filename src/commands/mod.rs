//! One file per subcommand: its flags above its `run()`, which reads like a table of contents. Shared here: what every
//! command is given, and the few things that join the noun modules.

pub mod dump;
pub mod export;
pub mod import;
pub mod inspect;
pub mod load;
pub mod schema;
pub mod verify;

mod feed;
mod parts;
mod rejects;
mod scanning;
mod stop;

use crate::cluster::Cluster;
use crate::cluster::catalogue::{Keyspace, Schema};
use crate::ddl::Statement;
use crate::error::{Context, Error, Result};
use crate::format::{Column, Layout};
use crate::manifest::{Manifest, NotPreserved, Part, RangeEntry, StatementEntry};
use crate::report;
use crate::ring::{self, Interval, Token};
use crate::roles::Counts;
use crate::selector::{Mapping, Selection, Selector};
use crate::table::Table;
use crate::types::codec;
use crate::types::cql::{CqlType, Ident};
use bytesize::ByteSize;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use stop::interruptible;

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

/// What a run may use up; the same flags on every command that moves rows.
#[derive(Args, Clone, Copy)]
pub struct BudgetArgs {
    /// Memory that rows may take at once
    #[arg(long, env = "CQLIFT_MEMORY", default_value = "256MiB", value_name = "SIZE")]
    pub memory: ByteSize,
    /// Rows per second at most; without it, as many as the cluster gives or takes
    #[arg(long, env = "CQLIFT_RATE", value_name = "ROWS")]
    pub rate: Option<NonZeroU64>,
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

/// The mappings of a command line.
///
/// # Errors
/// A usage error names the one that cannot be read.
pub fn mappings(texts: &[String]) -> Result<Vec<Mapping>> {
    let parse = |text: &String| Mapping::parse(text).map_err(|e| Error::usage(format!("--map: {e}")));
    texts.iter().map(parse).collect()
}

/// Checks that a dump holds what a command line asks for.
///
/// # Errors
/// A usage error names the selector or mapping that matches nothing.
pub fn check_selection(manifest: &Manifest, selection: &Selection, mappings: &[Mapping]) -> Result<()> {
    let keyspaces: Vec<&str> = manifest.keyspaces.iter().map(|k| k.name.as_str()).collect();
    let tables: Vec<(&str, &str)> = manifest
        .keyspaces
        .iter()
        .flat_map(|k| k.tables.iter().map(|t| (k.name.as_str(), t.name.as_str())))
        .collect();
    let held: Vec<String> = tables.iter().map(|(k, t)| format!("{}.{}", Ident(k), Ident(t))).collect();
    let hint = format!("it holds: {}", held.join(", "));
    if let Some(selector) = selection.unmatched(&keyspaces, &tables).first() {
        return Err(Error::usage(format!("no keyspace or table of the dump matches {selector}")).hint(hint));
    }
    let known = |mapping: &Mapping| match mapping {
        Mapping::Keyspace { from, .. } => keyspaces.contains(&from.as_str()),
        Mapping::Table { from, .. } => tables.contains(&(from.0.as_str(), from.1.as_str())),
    };
    let left_out = |mapping: &&Mapping| matches!(mapping, Mapping::Table { from, .. } if !selection.wants_table(&from.0, &from.1));
    if let Some(mapping) = mappings.iter().filter(|m| known(m)).find(left_out) {
        return Err(Error::usage(format!("--map {mapping}: the selectors leave that table out")));
    }
    if !keyspaces.iter().any(|k| selection.wants_keyspace(k)) {
        return Err(Error::usage("the selectors leave nothing to load").hint(hint));
    }
    if let Some(unknown) = mappings.iter().find(|m| !known(m)) {
        return Err(Error::usage(format!("--map {unknown}: the dump holds no such name")).hint(hint));
    }
    Ok(())
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

/// The file layout of a table's columns and their companions.
///
/// # Errors
/// `Error` names the column whose type has no codec.
pub fn layout(table: &Table) -> Result<Layout> {
    let columns = columns(table)
        .map_err(|e| e.hint(format!("leave the table out with --exclude {}", table.cql_name())))?;
    Ok(Layout::new(columns))
}

/// A table's columns and their companions as files hold them.
///
/// # Errors
/// `Error` names the column whose type has no codec.
pub fn columns(table: &Table) -> Result<Vec<Column>> {
    let column = |name: &str, cql_type: CqlType| {
        let codec = codec(&cql_type).doing(|| format!("table {}, column {name:?}", table.full_name()))?;
        Ok(Column { name: name.to_owned(), cql_type, codec: Arc::from(codec) })
    };
    let columns = table.columns.iter().map(|c| column(&c.name, c.cql_type.clone()));
    let companions = table.companions.iter().map(|c| column(&c.name, table.companion_type(c)));
    columns.chain(companions).collect()
}

/// The keyspace and the table of that name.
///
/// # Errors
/// A usage error says which names there are.
pub fn find_table<'a>(schema: &'a Schema, keyspace: &str, name: &str) -> Result<(&'a Keyspace, &'a Table)> {
    let Some(found) = schema.keyspaces.get(keyspace) else {
        let names: Vec<&str> = schema.keyspaces.keys().map(String::as_str).collect();
        return Err(Error::usage(format!("the cluster has no keyspace {keyspace:?}"))
            .hint(format!("its keyspaces are: {}", names.join(", "))));
    };
    let Some(table) = found.tables.get(name) else {
        let names: Vec<&str> = found.tables.keys().map(String::as_str).collect();
        return Err(Error::usage(format!("the keyspace {keyspace:?} has no table {name:?}"))
            .hint(format!("its tables are: {}", names.join(", "))));
    };
    Ok((found, table))
}

/// Bytes at which row groups are closed, so that all that are open take a quarter of the memory: each at least 4 MiB.
pub fn row_group_bytes(memory: u64, open: usize) -> usize {
    const LEAST: usize = 4 << 20;
    let share = usize::try_from(memory / 4).unwrap_or(usize::MAX) / open.max(1);
    share.max(LEAST)
}

/// Warns if rows may be missed; `more` says what else there is to say.
pub fn warn_of_weak_reads(cluster: &Cluster, more: &str) {
    if cluster.consistency.is_weak() {
        report::warn(&format!(
            "reading at {}: rows that the asked replicas do not have yet are missed{more}",
            cluster.consistency.name()
        ));
    }
}

/// Whether the token ranges of a table's parts tile the ring.
///
/// # Errors
/// The first gap or overlap, or the token that cannot be read.
pub fn tile_the_ring(parts: &[Part]) -> Result<(), String> {
    let mut intervals = Vec::new();
    for part in parts {
        intervals.extend(ranges(part)?);
    }
    ring::tiles(&mut intervals).map_err(|gap| gap.to_string())
}

/// The token ranges of a part, in the order of its rows.
///
/// # Errors
/// The token that cannot be read.
pub fn ranges(part: &Part) -> Result<Vec<Interval>, String> {
    let token = |text: &str| text.parse::<Token>().map_err(|e| format!("{text:?}: {e}"));
    let interval = |range: &RangeEntry| Ok(Interval { start: token(&range.start)?, end: token(&range.end)? });
    part.ranges.iter().map(interval).collect()
}

/// A moment as RFC 3339 in UTC, milliseconds.
pub fn rfc3339(time: SystemTime) -> String {
    use crate::types::cql::Native;
    let millis =
        time.duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or(0);
    let mut text = Vec::new();
    if let Ok(codec) = codec(&CqlType::Native(Native::Timestamp)) {
        codec.to_text(&millis.to_be_bytes(), &mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The inverse: µs since 1970.
///
/// # Errors
/// `Error` if the text is no such moment.
pub fn micros(text: &str) -> Result<i64> {
    use crate::types::cql::Native;
    let doing = || "read a time in the manifest";
    let mut cell = Vec::new();
    codec(&CqlType::Native(Native::Timestamp))
        .doing(doing)?
        .from_text(text.as_bytes(), &mut cell)
        .doing(doing)?;
    let millis = crate::types::elements::number(&cell);
    Ok(millis.unwrap_or(0).saturating_mul(1000))
}

/// Names something that a dump does not carry.
pub fn note_missing(missing: &NotPreserved) {
    report::note(&format!("not preserved: {}", missing.text()));
}

/// `2 roles (1 with a password), 1 membership and 5 permissions`.
pub fn roles_text(counts: &Counts) -> String {
    format!(
        "{} ({} with a password), {} and {}",
        plural(counts.roles, "role"),
        counts.passwords,
        plural(counts.memberships, "membership"),
        plural(counts.permissions, "permission")
    )
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", indicatif::HumanCount(count), if count == 1 { "" } else { "s" })
}
