//! `cqlift import`: CSV files from anywhere into a table that exists, columns by the names in the header.

mod resume;

use super::feed::{Flow, Input, Order, Watch, feed};
use super::rejects::{RejectFile, Rejected, Rejects, Written};
use super::stop::stoppable;
use super::{BudgetArgs, OutputArgs, plural};
use crate::cluster::write::{Purpose, TableWriter};
use crate::cluster::{Cluster, ConnectArgs};
use crate::error::{Context, Error, Kind, Result};
use crate::format::csv::{CsvOptions, CsvReader, Need};
use crate::format::{Column, Place, Source};
use crate::progress::Progress;
use crate::report;
use crate::selector;
use crate::state::ImportPlace;
use crate::table::{Column as TableColumn, ColumnKind, Table};
use clap::Args;
use resume::Resume;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Import CSV files into a table that exists, columns by the names in the header
#[derive(Args)]
pub struct ImportArgs {
    /// Table to import into: ks.table, quoted as in CQL
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// CSV files with a header line
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Unquoted text that means null, besides the empty field
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub null: String,
    /// Records that may be rejected, because they cannot be read or the cluster refuses them by themselves; one more ends
    /// the import. Each run counts its own. With 0 none is, and no file of them is made
    #[arg(long, env = "CQLIFT_MAX_ERRORS", default_value_t = 100, value_name = "N")]
    pub max_errors: u64,
    /// Where rejected records go: FILE.rejected.csv for each file that has any, which can be imported once it is repaired,
    /// and FILE.rejected.reasons.csv [default: the current directory]
    #[arg(long, env = "CQLIFT_REJECT_DIR", value_name = "DIR")]
    pub reject_dir: Option<PathBuf>,
    /// Where it is kept how far the import has come, so that the same command goes on after it was stopped
    /// [default: cqlift in the user's state directory]
    #[arg(long, env = "CQLIFT_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Forget how far this import had come when it was stopped, and begin anew
    #[arg(long)]
    pub restart: bool,
    /// What it may use up
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// How to reach the cluster
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Imports.
///
/// # Errors
/// `Error` names the file, line and column of the record that is one too many to be rejected, and how many rows had been
/// written; it says (exit 3) how many were rejected.
pub async fn run(args: ImportArgs, output: OutputArgs) -> Result<()> {
    let (keyspace, name) = selector::table_name(&args.table).map_err(|e| Error::usage(e.to_string()))?;
    if selector::is_system_keyspace(&keyspace) {
        return Err(Error::usage(format!("{keyspace:?} belongs to the server; nothing is imported into it")));
    }
    let options = CsvOptions { null: args.null.clone() };
    let headers = args.files.iter().map(|file| header(file, &options)).collect::<Result<Vec<_>>>()?;
    let rejects = Rejects::new("record", args.max_errors, args.reject_dir.clone());
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let table = find_table(&cluster, &keyspace, &name).await?;
    let resume = Resume::open(&cluster, &table, &args).await?;
    check_counters(&cluster, &table, resume.as_ref()).await?;
    let at = resume.as_ref().map(Resume::at).unwrap_or_default();
    if resume.is_none() && !output.quiet {
        report::note(
            "what is no regular file cannot be read again: this import cannot go on if it is stopped",
        );
    }
    let flow = Flow::of(&args.budget);
    let mut inputs = Vec::new();
    for (number, (file, reader)) in args.files.iter().zip(headers).enumerate() {
        let matched = Matched::new(&table, reader.header()).map_err(|e| e.context(file.display()))?;
        if matched.companions {
            report::warn(&format!(
                "{}: the write times and expiries in it are passed over; `cqlift load` brings them back",
                file.display()
            ));
        }
        if number < at.file {
            continue;
        }
        let place =
            (number == at.file && at.offset > 0).then_some(Place { offset: at.offset, line: at.line });
        let rejected = rejects.of_records(file, reader.text());
        let opened = Opened { path: file.clone(), reader, place, options: options.clone() };
        inputs.push(input((&cluster, &flow), &table, (opened, rejected), matched).await?);
    }
    let writers: Vec<Arc<TableWriter>> = inputs.iter().map(|input| input.writer.clone()).collect();
    let progress = Progress::start(output.quiet, "importing", ("files", inputs.len() as u64));
    let now = cluster.clock().await?;
    let time = resume.as_ref().map_or(now, |resume| resume.time(now));
    let journal = resume.as_ref().map(|resume| resume.begin(rejects.dir()?)).transpose()?;
    if at.rows > 0 && !output.quiet {
        report::note(&format!("going on behind {} that are imported already", plural(at.rows, "row")));
    }
    let work = |stop| {
        let watch = Watch { stop, journal };
        feed(&cluster, inputs, (Order::Lines, time), flow, (watch, &progress.counters))
    };
    let fed = stoppable(work).await.map_err(|error| match (error.kind(), &resume) {
        (Kind::Interrupted | Kind::Failed, Some(resume)) if !table.is_counter() => error.hint(resume.hint()),
        _ => with_unknown(error, &writers),
    });
    let rows = progress.counters.rows.load(Relaxed) + at.rows;
    drop(progress);
    let fed = fed.and_then(|()| resume.as_ref().map_or(Ok(()), Resume::check_files));
    let ((), rejected) = rejects.ended(fed)?;
    if cluster.has_lost_a_node() {
        report::warn(
            "a node went away meanwhile: if it lost its power, rows may be missing that it had taken in the last seconds \
             before (commitlog_sync_period); the same command imports them all again",
        );
    }
    resume.as_ref().map_or(Ok(()), Resume::finish)?;
    summarise(&table, (rows, at), &rejected, output)?;
    rejected.result(at.rejected, resume.as_ref().map(Resume::reject_dirs).unwrap_or(&BTreeSet::new()))
}

/// Names the rows of which it is not known whether they were counted.
fn with_unknown(error: Error, writers: &[Arc<TableWriter>]) -> Error {
    const SHOWN: usize = 100;
    let unknown: Vec<String> = writers.iter().flat_map(|writer| writer.unknown()).collect();
    let others = match unknown.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    match &unknown[..unknown.len().min(SHOWN)] {
        [] => error,
        shown => error.hint(format!("it is not known of these rows: {}{others}", shown.join("; "))),
    }
}

/// A file's header: read before the cluster is asked anything.
fn header(file: &Path, options: &CsvOptions) -> Result<Header> {
    let reader = open(file, options)?;
    Ok(match resume::is_regular(file)? {
        true => Header::Closed(reader.header().to_vec(), reader.header_text().to_vec()),
        false => Header::Open(reader),
    })
}

/// A file whose header has been read.
enum Header {
    /// Names and text; the file is opened again when its turn comes: there may be more than may be open.
    Closed(Vec<String>, Vec<u8>),
    /// What it gives, it gives once.
    Open(CsvReader),
}

impl Header {
    fn header(&self) -> &[String] {
        match self {
            Header::Closed(names, _) => names,
            Header::Open(reader) => reader.header(),
        }
    }

    fn text(&self) -> &[u8] {
        match self {
            Header::Closed(_, text) => text,
            Header::Open(reader) => reader.header_text(),
        }
    }
}

/// A file and from where on it is read.
struct Opened {
    path: PathBuf,
    reader: Header,
    place: Option<Place>,
    options: CsvOptions,
}

impl Opened {
    fn read(self) -> Result<CsvReader> {
        let Opened { path, reader, place, options } = self;
        let reader = match reader {
            Header::Open(reader) => return Ok(reader),
            Header::Closed(..) => open(&path, &options)?,
        };
        let Some(place) = place else { return Ok(reader) };
        let doing = || format!("read {}", path.display());
        let mut file = File::open(&path).doing(doing)?;
        file.seek(SeekFrom::Start(place.offset)).doing(doing)?;
        Ok(reader.at(file, place))
    }
}

fn open(file: &Path, options: &CsvOptions) -> Result<CsvReader> {
    let opened = File::open(file).doing(|| format!("open {}", file.display()))?;
    CsvReader::open(opened, options).doing(|| format!("read {}", file.display()))
}

async fn find_table(cluster: &Cluster, keyspace: &str, name: &str) -> Result<Table> {
    let schema = cluster.schema().await?;
    let (found, table) = super::find_table(&schema, keyspace, name)?;
    if found.compact.contains_key(name) {
        return Err(Error::failed(format!("{} is a table WITH COMPACT STORAGE", table.full_name()))
            .hint("such a table drops rows without a value; import into an ordinary table"));
    }
    Ok(table.clone())
}

/// Counters are imported in one go, into an empty table.
async fn check_counters(cluster: &Cluster, table: &Table, resume: Option<&Resume>) -> Result<()> {
    if !table.is_counter() {
        return Ok(());
    }
    resume.map_or(Ok(()), Resume::refuse_counters)?;
    if cluster.holds_rows(table).await? {
        return Err(Error::failed(format!(
            "the counter table {} holds rows: importing would add to its counts",
            table.full_name()
        ))
        .hint("counters are imported into empty tables only: TRUNCATE it first"));
    }
    Ok(())
}

/// A header matched with a table.
#[derive(Debug)]
struct Matched {
    /// The table with the file's columns only.
    table: Table,
    /// Field number of each of its columns.
    fields: Vec<usize>,
    /// Field number of the exceptions column of a dump.
    exceptions: Option<usize>,
    /// The file has write times or expiries of a dump, which are passed over.
    companions: bool,
    /// The file brings rows, not only static cells of partitions.
    rows: bool,
}

impl Matched {
    fn new(table: &Table, header: &[String]) -> Result<Matched> {
        let mut columns: Vec<(usize, &TableColumn)> = Vec::new();
        let mut exceptions = None;
        let mut companions = false;
        for (number, name) in header.iter().enumerate() {
            match find_column(table, name) {
                Some(column) if columns.iter().any(|(_, c)| c.name == column.name) => {
                    let twice = format!("the header names the column {:?} twice", column.name);
                    return Err(Error::failed(twice));
                }
                Some(column) => columns.push((number, column)),
                None if name == "__wire" => exceptions = Some(number),
                None if table.is_companion(name) => companions = true,
                None => return Err(unknown(table, header, name)),
            }
        }
        let rows = brings_rows(table, &columns)?;
        let wanted = columns.iter().map(|(_, c)| (*c).clone()).collect();
        let part = Table::new(table.keyspace.clone(), table.name.clone(), wanted);
        let field = |c: &TableColumn| columns.iter().find(|(_, m)| m.name == c.name).map_or(0, |(n, _)| *n);
        let fields = part.columns.iter().map(field).collect();
        Ok(Matched { fields, table: part, exceptions, companions, rows })
    }
}

/// The column that a name in the header means: its true name, or else one that differs from it in case only.
fn find_column<'a>(table: &'a Table, name: &str) -> Option<&'a TableColumn> {
    let exact = table.columns.iter().find(|c| c.name == name);
    let mut alike = table.columns.iter().filter(|c| c.name.eq_ignore_ascii_case(name));
    exact.or_else(|| alike.next().filter(|_| alike.next().is_none()))
}

/// A name in the header is no column: what may be meant.
fn unknown(table: &Table, header: &[String], name: &str) -> Error {
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    let error = Error::failed(format!(
        "the header names the column {name:?}, which {} does not have",
        table.full_name()
    ));
    let error = if header.len() == 1 && name.contains([';', '\t']) {
        error.hint("is the delimiter a comma? It must be")
    } else if name.trim() != name && names.iter().any(|n| n.eq_ignore_ascii_case(name.trim())) {
        let side = if name.starts_with(name.trim()) { "after" } else { "before" };
        error.hint(format!("there is a blank {side} the name"))
    } else {
        error
    };
    error.hint(format!("its columns are: {}", names.join(", ")))
}

/// Whether a file of these columns brings rows, or only static cells of partitions.
fn brings_rows(table: &Table, columns: &[(usize, &TableColumn)]) -> Result<bool> {
    let has = |kind| columns.iter().any(|(_, c)| c.kind == kind);
    let rows = has(ColumnKind::Clustering) || has(ColumnKind::Regular) || !has(ColumnKind::Static);
    let key: &[ColumnKind] = match rows {
        true => &[ColumnKind::PartitionKey, ColumnKind::Clustering],
        false => &[ColumnKind::PartitionKey],
    };
    let absent = |c: &&TableColumn| !columns.iter().any(|(_, m)| m.name == c.name);
    if let Some(missing) = key.iter().flat_map(|kind| table.of_kind(*kind)).find(absent) {
        return Err(Error::failed(format!(
            "the header lacks {:?}, a key column of {}",
            missing.name,
            table.full_name()
        ))
        .hint("every column of the primary key must be in the file"));
    }
    if table.is_counter() && rows && has(ColumnKind::Static) {
        return Err(Error::failed(format!(
            "the header names static counters of {} beside its rows: every line would count them again",
            table.full_name()
        ))
        .hint("import them from a file of their own, with the partition key and no other columns"));
    }
    Ok(rows)
}

async fn input(
    (cluster, flow): (&Cluster, &Flow),
    table: &Table,
    (file, rejects): (Opened, Arc<RejectFile>),
    matched: Matched,
) -> Result<Input> {
    let into = (table.keyspace.as_str(), table.name.as_str());
    let purpose = if matched.rows { Purpose::Import } else { Purpose::ImportStatics };
    let writer = Arc::new(TableWriter::prepare(cluster, &matched.table, into, purpose, flow.gate()).await?);
    let part = matched.table.clone();
    Ok(Input {
        name: file.path.display().to_string(),
        open: Box::new(move || source(file, matched)),
        writer,
        table: part,
        inside: None,
        read: None,
        rows: None,
        rejects,
    })
}

fn source(file: Opened, matched: Matched) -> Result<Box<dyn Source>> {
    let path = file.path.clone();
    let reader = file.read()?;
    let layout = super::layout(&matched.table)?;
    let columns: Vec<(usize, Column)> = matched.fields.iter().copied().zip(layout.columns).collect();
    let source = reader
        .into_source(columns, matched.exceptions)
        .doing(|| format!("read {}", path.display()))?
        .with_needs(&needs(&matched));
    Ok(Box::new(source))
}

fn needs(Matched { table, rows, .. }: &Matched) -> Vec<Need> {
    let need = |column: &TableColumn| match column.kind {
        ColumnKind::PartitionKey => Need::Always,
        ColumnKind::Clustering => Need::Row,
        // A line without any counter would count nothing, one without static cells write nothing: no trace of it.
        ColumnKind::Regular | ColumnKind::Static if table.is_counter() => Need::Any,
        ColumnKind::Static if !rows => Need::Any,
        ColumnKind::Static => Need::Static,
        ColumnKind::Regular => Need::Nothing,
    };
    table.columns.iter().map(need).collect()
}

fn summarise(
    table: &Table,
    (rows, before): (u64, ImportPlace),
    rejected: &Rejected,
    output: OutputArgs,
) -> Result<()> {
    #[derive(Serialize)]
    struct Summary<'a> {
        table: String,
        rows: u64,
        rows_before: u64,
        rejected: u64,
        reject_files: &'a [Written],
    }
    if !output.quiet {
        report::note(&format!("imported {} into {}", plural(rows, "row"), table.full_name()));
    }
    let summary = Summary {
        table: table.full_name(),
        rows,
        rows_before: before.rows,
        rejected: rejected.count + before.rejected,
        reject_files: &rejected.files,
    };
    if output.json { report::json(&summary) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Column;
    use crate::types::cql::{CqlType, Native};

    #[test]
    fn a_header_that_does_not_fit_is_told_why() {
        let column = |name: &str, kind| Column {
            name: name.to_owned(),
            cql_type: CqlType::Native(Native::Int),
            kind,
            position: if kind == ColumnKind::PartitionKey { 0 } else { -1 },
            descending: false,
        };
        let columns = vec![column("k", ColumnKind::PartitionKey), column("c", ColumnKind::Regular)];
        let table = Table::new("ks".to_owned(), "t".to_owned(), columns);
        let no_column =
            |name: &str| format!("the header names the column {name:?}, which ks.t does not have");
        let columns = "its columns are: k, c";
        for (header, message, hints) in [
            ("k;c", no_column("k;c"), &["is the delimiter a comma? It must be", columns][..]),
            ("k\tc", no_column("k\tc"), &["is the delimiter a comma? It must be", columns]),
            ("k, c", no_column(" c"), &["there is a blank before the name", columns]),
            ("k ,c", no_column("k "), &["there is a blank after the name", columns]),
            ("k, d", no_column(" d"), &[columns]),
            ("k,c,C", "the header names the column \"c\" twice".to_owned(), &[]),
            (
                "c",
                "the header lacks \"k\", a key column of ks.t".to_owned(),
                &["every column of the primary key must be in the file"],
            ),
        ] {
            let names: Vec<String> = header.split(',').map(str::to_owned).collect();
            let told = Matched::new(&table, &names).unwrap_err().to_string();
            let expected = hints.iter().fold(message, |text, hint| format!("{text}\nhint: {hint}"));
            assert_eq!(told, expected, "{header:?}");
        }
    }
}
