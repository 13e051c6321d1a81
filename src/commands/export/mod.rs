//! `cqlift export`: the values of one table for other programs, as CSV, Parquet or JSON lines.
//!
//! What an export leaves out, a dump has: write times, expiries, and the bytes of cells that have no exact form as text.

mod files;

use super::{BudgetArgs, OutputArgs, find_table, interruptible, plural, scanning};
use crate::cluster::scan::Scan;
use crate::cluster::{Cluster, ConnectArgs};
use crate::error::{Error, Result};
use crate::format::ExportFormat;
use crate::progress::Progress;
use crate::report;
use crate::selector;
use crate::table::{ColumnKind, Table};
use clap::{Args, ValueEnum};
use files::{Files, Place, Shape};
use indicatif::HumanBytes;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Export the values of one table as CSV, Parquet or JSON lines
#[derive(Args)]
pub struct ExportArgs {
    /// Table to export: ks.table, quoted as in CQL
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// A new file, a new or empty directory (one that exists, or whose name ends in /) for several files, or - for
    /// standard output
    #[arg(short, long, value_name = "FILE|DIR|-")]
    pub output: String,
    /// Format [default: as the file's name says, else csv]
    #[arg(long, env = "CQLIFT_EXPORT_FORMAT", value_enum)]
    pub format: Option<FormatArg>,
    /// Columns to export, in this order, quoted as in CQL; all of them if none is named
    #[arg(long, value_name = "NAMES")]
    pub columns: Option<String>,
    /// Size at which a file of a directory is closed and the next begun
    #[arg(long, env = "CQLIFT_EXPORT_PART_SIZE", default_value = "1GiB", value_name = "SIZE")]
    pub part_size: bytesize::ByteSize,
    /// What it may use up
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// How to reach the cluster
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `--format`.
#[derive(Clone, Copy, ValueEnum)]
pub enum FormatArg {
    /// RFC 4180 with a header line
    Csv,
    /// Apache Parquet, zstd-compressed
    Parquet,
    /// A JSON object per line
    Jsonl,
}

impl From<FormatArg> for ExportFormat {
    fn from(arg: FormatArg) -> ExportFormat {
        match arg {
            FormatArg::Csv => ExportFormat::Csv,
            FormatArg::Parquet => ExportFormat::Parquet,
            FormatArg::Jsonl => ExportFormat::Jsonl,
        }
    }
}

/// Exports.
///
/// # Errors
/// `Error` says what stopped it; nothing is left where the file, or a file of the directory, would be.
pub async fn run(args: ExportArgs, output: OutputArgs) -> Result<()> {
    let (keyspace, name) = selector::table_name(&args.table).map_err(|e| Error::usage(e.to_string()))?;
    let place = Place::of(&args.output);
    check_output(&place, output)?;
    let format = args.format.map_or_else(|| by_name(&args.output), ExportFormat::from);
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let schema = cluster.schema().await?;
    let (_, table) = find_table(&schema, &keyspace, &name)?;
    let chosen = Chosen::of(table, args.columns.as_deref())?;
    let unsure = cluster.check_reads(args.connect.username.as_deref(), &schema, &[&chosen.table]).await?;
    let scan = Scan::prepare(&cluster, &chosen.table).await?;
    if let Some(role) = unsure {
        report::warn(&format!("columns of {} may be masked to the role {role}", chosen.table.full_name()));
    }
    super::warn_of_weak_reads(&cluster, "");
    let progress = Progress::start(output.quiet, "exporting", ("tables", 1));
    let shape = Shape {
        format,
        columns: chosen.columns()?,
        page_columns: chosen.page_columns.clone(),
        part_bytes: args.part_size.as_u64(),
        row_group_bytes: super::row_group_bytes(args.budget.memory.as_u64(), scanning::workers(&cluster)),
    };
    let files = Arc::new(Files::begin(place, name, shape, progress.counters.clone())?);
    let (scans, order) = (vec![scan], vec![0]);
    let work = scanning::scan(&cluster, scans, order, args.budget, &progress.counters, || files.encoder());
    let done = interruptible(work, "the export was not finished").await;
    let written = done
        .and_then(|done| files.finish(done))
        .map_err(|error| if files.is_reader_gone() { Error::reader_gone() } else { error })?;
    let rows = progress.counters.rows.load(Relaxed);
    drop(progress);
    summarise(&Summary { table: chosen.table.full_name(), rows, ..written }, output)
}

/// Standard output is the data's or the summary's.
fn check_output(place: &Place, output: OutputArgs) -> Result<()> {
    match place {
        Place::Stdout if output.json => {
            Err(Error::usage("--json prints a summary where -o - puts the data").hint("give a file with -o"))
        }
        _ => Ok(()),
    }
}

fn by_name(output: &str) -> ExportFormat {
    let extension = Path::new(output).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("ndjson") => ExportFormat::Jsonl,
        Some(name) => ExportFormat::named(name).unwrap_or(ExportFormat::Csv),
        None => ExportFormat::Csv,
    }
}

/// What is read of a table, and what of that is exported.
struct Chosen {
    /// The columns that are read: those exported, and the partition key, which scans go by.
    table: Table,
    /// Their places that are exported, in the order of the files' columns; `None` if that is all, as it is.
    page_columns: Option<Vec<usize>>,
}

impl Chosen {
    fn of(table: &Table, names: Option<&str>) -> Result<Chosen> {
        let Some(names) = names else {
            return Ok(Chosen { table: table.clone(), page_columns: None });
        };
        let names = selector::names(names).map_err(|e| Error::usage(format!("--columns: {e}")))?;
        for (number, name) in names.iter().enumerate() {
            if !table.columns.iter().any(|column| column.name == *name) {
                let known: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
                return Err(Error::usage(format!("{} has no column {name:?}", table.full_name()))
                    .hint(format!("its columns are: {}", known.join(", "))));
            }
            if names[..number].contains(name) {
                return Err(Error::usage(format!("--columns names {name:?} twice")));
            }
        }
        let is_read =
            |c: &&crate::table::Column| c.kind == ColumnKind::PartitionKey || names.contains(&c.name);
        let read = table.columns.iter().filter(is_read).cloned().collect();
        let table = Table::new(table.keyspace.clone(), table.name.clone(), read);
        let place = |name: &String| table.columns.iter().position(|c| c.name == *name);
        let page_columns = names.iter().filter_map(place).collect();
        Ok(Chosen { table, page_columns: Some(page_columns) })
    }

    /// The files' columns.
    fn columns(&self) -> Result<Vec<crate::format::Column>> {
        let all = super::columns(&self.table)
            .map_err(|e| e.hint("export the others, naming them with --columns"))?;
        Ok(match &self.page_columns {
            None => all,
            Some(places) => places.iter().map(|place| all[*place].clone()).collect(),
        })
    }
}

/// What was exported.
#[derive(Default, Serialize)]
pub struct Summary {
    table: String,
    rows: u64,
    files: Vec<String>,
    bytes: u64,
    /// Cells that have no exact form in the format: shown as well as it can, or null.
    inexact: u64,
}

fn summarise(summary: &Summary, output: OutputArgs) -> Result<()> {
    if !output.quiet {
        let into = match &summary.files[..] {
            [] => "standard output".to_owned(),
            [file] => file.clone(),
            files => format!("{} files", files.len()),
        };
        report::note(&format!(
            "exported {} of {}, {}, into {into}",
            plural(summary.rows, "row"),
            summary.table,
            HumanBytes(summary.bytes),
        ));
    }
    // Said even to those who want no summary: what they have is not what is in the table.
    if summary.inexact > 0 {
        let cells = plural(summary.inexact, "cell");
        report::warn(&format!(
            "{cells} could not be shown exactly (an empty number, text that is not UTF-8); a dump keeps such cells"
        ));
    }
    if output.json { report::json(summary) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_the_name() {
        for (name, format) in [
            ("a.csv", ExportFormat::Csv),
            ("a.PARQUET", ExportFormat::Parquet),
            ("x/a.jsonl", ExportFormat::Jsonl),
            ("a.ndjson", ExportFormat::Jsonl),
            ("a.txt", ExportFormat::Csv),
            ("-", ExportFormat::Csv),
            ("dir.parquet/", ExportFormat::Parquet),
        ] {
            assert_eq!(by_name(name), format, "{name}");
        }
    }
}
