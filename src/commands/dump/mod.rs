//! `cqlift dump`: schema and data of the selected tables into a new directory, and the cluster's roles if they are asked
//! for. Run again on a directory with an unfinished dump, it reads what is missing.

mod ending;
mod missing;
mod parts;
pub mod plan;
mod resume;
mod roles;
mod unsupported;

use super::scanning::Care;
use super::stop::Stop;
use super::{BudgetArgs, OutputArgs, layout, plural, rfc3339, roles_text};
use crate::cluster::catalogue::Schema;
use crate::cluster::probe::Probe;
use crate::cluster::scan::Scan;
use crate::cluster::{Cluster, ConnectArgs};
use crate::error::{Context, Error, Result};
use crate::format::Format;
use crate::manifest::begun::{Begun, BegunTable};
use crate::manifest::{
    ColumnEntry, DumpOptions, FORMAT, KeyspaceEntry, Manifest, NotPreserved, TIMES, TableEntry, TypeEntry,
    VALUES,
};
use crate::progress::Progress;
use crate::report;
use crate::roles::{Counts, Roles};
use crate::store::{DumpDir, table_path};
use crate::table::Table;
use bytesize::ByteSize;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use parts::{Dumped, DumpedTable, PartForm, TableWork};
use plan::Plan;
use roles::DumpedRoles;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// The tool and its version, as dumps name it.
const TOOL: &str = concat!("cqlift ", env!("CARGO_PKG_VERSION"));

/// Dump schema and data of keyspaces or tables into a directory
#[derive(Args)]
pub struct DumpArgs {
    /// What to dump: ks or ks.table, globs allowed, quoted as in CQL; all user keyspaces if none is named
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Directory to write: new or empty, or with an unfinished dump of the same command, which is gone on with
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Leave these out: ks or ks.table, globs allowed; may repeat
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// File format of the data
    #[arg(long, env = "CQLIFT_FORMAT", value_enum, default_value_t = FormatArg::Parquet)]
    pub format: FormatArg,
    /// What to keep beside the values: all that the cluster tells of write times and expiries, or none of it
    #[arg(long, env = "CQLIFT_PRESERVE", value_enum, default_value_t = Preserve::All)]
    pub preserve: Preserve,
    /// Dump roles too, with the hashes of their passwords where the server shows them, and what they may do with what is
    /// dumped
    #[arg(long)]
    pub roles: bool,
    /// End with code 3 if anything was not preserved
    #[arg(long, env = "CQLIFT_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,
    /// Leave out, and name, columns that cannot be read because of their type; without it they are an error
    #[arg(long, env = "CQLIFT_SKIP_UNSUPPORTED", value_parser = FalseyValueParser::new())]
    pub skip_unsupported: bool,
    /// Size at which a data file is closed and the next begun
    #[arg(long, env = "CQLIFT_PART_SIZE", default_value = "64MiB", value_name = "SIZE")]
    pub part_size: ByteSize,
    /// Start over where the directory holds an unfinished dump
    #[arg(long)]
    pub restart: bool,
    /// Say what would be dumped and stop
    #[arg(long)]
    pub dry_run: bool,
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
    /// Apache Parquet, zstd-compressed
    Parquet,
    /// RFC 4180 with a header line
    Csv,
}

/// `--preserve`.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preserve {
    /// Values, write times and expiries
    All,
    /// Values only
    None,
}

impl Preserve {
    fn name(self) -> &'static str {
        match self {
            Preserve::All => "all",
            Preserve::None => "none",
        }
    }
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Format {
        match arg {
            FormatArg::Parquet => Format::Parquet,
            FormatArg::Csv => Format::Csv,
        }
    }
}

/// Dumps.
///
/// # Errors
/// `Error` says what stopped it; the directory then has no manifest, and the same command goes on from what is there.
pub async fn run(args: DumpArgs, output: OutputArgs) -> Result<()> {
    let selection = super::selection(&args.selectors, &args.exclude)?;
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let schema = cluster.schema().await?;
    let plan = plan::plan(&cluster, &schema, &selection).await?;
    let tables: Vec<&Table> = plan.tables().map(|t| &t.table).collect();
    let unsure = cluster.check_reads(args.connect.username.as_deref(), &schema, &tables).await?;
    let roles = roles::read(&cluster, &schema, &plan, &args).await?;
    if args.dry_run {
        return show(&plan, roles.as_ref(), output);
    }
    let work = prepare(&cluster, &plan, &args).await?;
    super::warn_of_weak_reads(&cluster, "; the manifest records it");
    let planned = ending::planned(&schema, &tables);
    let (dir, begun) = resume::begin(&args, resume::record(&args, &cluster, &schema, &work))?;
    dir.write_schema(&plan.schema_text(&cluster))?;
    let dumped = scan_tables(&cluster, work, &planned, (&dir, &begun.id), &args, output).await?;
    let truncated = ending::truncated(&cluster, &begun).await?;
    let mut manifest = manifest(&args, &cluster, &schema, plan, unsure, dumped.tables, begun);
    manifest.not_preserved.extend(truncated);
    if let Some(roles) = roles {
        roles.put_into(&mut manifest);
    }
    dir.write_manifest(&manifest)?;
    dir.remove_begun()?;
    summarise(&manifest, &dir, output)?;
    match manifest.not_preserved.len() {
        missing if args.strict && missing > 0 => Err(Error::incomplete(format!(
            "{} not preserved, listed above and in the manifest",
            match missing {
                1 => "1 thing was".to_owned(),
                n => format!("{n} things were"),
            }
        ))),
        _ => Ok(()),
    }
}

/// Prepares every scan: a table that cannot be read, or has a type without a codec, is told before anything is written.
async fn prepare(cluster: &Cluster, plan: &Plan, args: &DumpArgs) -> Result<Vec<TableWork>> {
    let preserve = args.preserve;
    let mut work = Vec::new();
    let mut probe = Probe::default();
    for planned in plan.tables() {
        let name = planned.table.cql_name();
        let mut table = planned.table.clone();
        let left_out = match args.skip_unsupported {
            true => unsupported::leave_out(cluster, &mut table).await?,
            false => Vec::new(),
        };
        let untold = match preserve {
            Preserve::All => probe.keep(cluster, &mut table).await?,
            Preserve::None => Vec::new(),
        };
        let layout = layout(&table).map_err(|e| match args.skip_unsupported {
            true => e,
            false => {
                e.hint("or leave out such columns, unless they are key columns, with --skip-unsupported")
            }
        })?;
        let scan = Scan::prepare(cluster, &table).await;
        work.push(TableWork {
            scan: scan.map_err(|e| e.hint(format!("leave the table out with --exclude {name}")))?,
            layout,
            path: table_path(&planned.table.keyspace, &planned.table.name),
            estimate: planned.estimate,
            keeps_times: preserve == Preserve::All,
            untold,
            left_out,
            table,
        });
    }
    Ok(work)
}

/// Reads what is not there yet; answers once all is.
async fn scan_tables(
    cluster: &Arc<Cluster>,
    work: Vec<TableWork>,
    planned: &Arc<Vec<BegunTable>>,
    dump: (&DumpDir, &str),
    args: &DumpArgs,
    output: OutputArgs,
) -> Result<Dumped> {
    let stop = Stop::on_signals()?;
    let (work, earlier) = earlier(work, dump, args, &stop, output).await?;
    let progress = Progress::start(output.quiet, "dumping", ("tables", work.len() as u64));
    let form = PartForm { format: args.format.into(), bytes: args.part_size.as_u64(), budget: args.budget };
    let care = Care { stop: stop.clone(), judge: ending::judge(cluster, planned) };
    let dumped = parts::dump(cluster, dump, form, work, earlier, care, &progress).await;
    let dumped = dumped.map_err(|error| error.hint(ending::KEPT))?;
    drop(progress);
    ending::check(cluster, planned, &dumped, stop.is_asked()).await?;
    Ok(dumped)
}

/// The parts of each table that were finished before. They are read whole, which is no work for the runtime's threads.
async fn earlier(
    work: Vec<TableWork>,
    (dir, dump): (&DumpDir, &str),
    args: &DumpArgs,
    stop: &Stop,
    output: OutputArgs,
) -> Result<(Vec<TableWork>, Vec<Vec<crate::manifest::Part>>)> {
    let (dir, dump, stop) = (dir.clone(), dump.to_owned(), stop.clone());
    let format = Format::from(args.format);
    let read = move || {
        let parts = resume::parts(&dir, &work, (&dump, format), &stop, output.quiet)?;
        Ok((work, parts))
    };
    tokio::task::spawn_blocking(read).await.doing(|| "check the parts that are there")?
}

fn manifest(
    args: &DumpArgs,
    cluster: &Cluster,
    schema: &Schema,
    plan: Plan,
    unsure: Option<&str>,
    dumped: Vec<DumpedTable>,
    begun: Begun,
) -> Manifest {
    let mut dumped: Vec<Option<DumpedTable>> = dumped.into_iter().map(Some).collect();
    let mut next = 0;
    let mut not_preserved = Vec::new();
    if args.preserve == Preserve::None {
        not_preserved.push(missing::all_times());
    }
    let mut keyspaces = Vec::new();
    for keyspace in plan.keyspaces {
        not_preserved.extend(keyspace.not_preserved(schema, unsure));
        let mut types: Vec<TypeEntry> = Vec::new();
        let mut tables = Vec::new();
        for planned in &keyspace.tables {
            for udt in planned.table.udts() {
                if !types.iter().any(|t| t.name == udt.name) {
                    types.push(TypeEntry::of(&udt));
                }
            }
            if let Some(dumped) = dumped.get_mut(next).and_then(Option::take) {
                not_preserved.extend(missing::of(&dumped));
                tables.push(table_entry(dumped));
            }
            next += 1;
        }
        let statements = keyspace.statements.iter().map(super::statement_entry).collect();
        keyspaces.push(KeyspaceEntry { name: keyspace.name, statements, types, tables });
    }
    Manifest {
        format: FORMAT.to_owned(),
        capabilities: match args.preserve {
            Preserve::All => vec![VALUES.to_owned(), TIMES.to_owned()],
            Preserve::None => vec![VALUES.to_owned()],
        },
        tool: begun.tool,
        id: begun.id,
        started: begun.started,
        finished: rfc3339(cluster.time()),
        cluster: cluster.about.clone(),
        options: begun.options,
        not_preserved,
        keyspaces,
        roles: None,
    }
}

/// The options that decide what the dump holds.
fn options(args: &DumpArgs, cluster: &Cluster) -> DumpOptions {
    DumpOptions {
        format: Format::from(args.format).name().to_owned(),
        preserve: args.preserve.name().to_owned(),
        consistency: cluster.consistency.name().to_owned(),
        selectors: args.selectors.clone(),
        exclude: args.exclude.clone(),
    }
}

fn table_entry(dumped: DumpedTable) -> TableEntry {
    let sum = |of: fn(&crate::manifest::Part) -> u64| dumped.parts.iter().map(of).sum();
    let table = &dumped.table;
    TableEntry {
        name: table.name.clone(),
        path: table_path(&table.keyspace, &table.name),
        columns: (0..table.columns.len()).map(|index| ColumnEntry::of(table, index)).collect(),
        exceptions_column: dumped.exceptions_column,
        rows: sum(|p| p.rows),
        cells: sum(|p| p.cells),
        bytes: sum(|p| p.bytes),
        parts: dumped.parts,
    }
}

/// Identifies a dump among others: hashed from the moment, the process and the cluster.
fn dump_id(cluster: &Cluster, now: SystemTime) -> String {
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let text = format!("{nanos} {} {}", std::process::id(), cluster.about.name);
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()))
}

fn show(plan: &Plan, roles: Option<&DumpedRoles>, output: OutputArgs) -> Result<()> {
    #[derive(Serialize)]
    struct Row {
        table: String,
        estimated_bytes: u64,
    }
    let rows: Vec<Row> = plan
        .tables()
        .map(|t| Row { table: t.table.full_name(), estimated_bytes: t.estimate.unwrap_or(0) })
        .collect();
    if output.json {
        return report::json(&rows);
    }
    let mut text = String::new();
    for row in rows {
        text.push_str(&format!("{}\tabout {}\n", row.table, HumanBytes(row.estimated_bytes)));
    }
    if let Some(roles) = roles {
        text.push_str(&format!("{}\n", roles_text(&roles.counts())));
    }
    report::result(&text)
}

fn summarise(manifest: &Manifest, dir: &DumpDir, output: OutputArgs) -> Result<()> {
    #[derive(Serialize)]
    struct Summary<'a> {
        dump: String,
        id: &'a str,
        tables: u64,
        rows: u64,
        bytes: u64,
        exceptions: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        roles: Option<Counts>,
        not_preserved: &'a [NotPreserved],
    }
    let tables: Vec<&TableEntry> = manifest.keyspaces.iter().flat_map(|k| &k.tables).collect();
    let summary = Summary {
        dump: dir.root().display().to_string(),
        id: &manifest.id,
        tables: tables.len() as u64,
        rows: tables.iter().map(|t| t.rows).sum(),
        bytes: tables.iter().map(|t| t.bytes).sum(),
        exceptions: tables.iter().flat_map(|t| &t.parts).map(|p| p.exceptions).sum(),
        roles: manifest.roles.as_ref().map(Roles::counts),
        not_preserved: &manifest.not_preserved,
    };
    if !output.quiet {
        report::note(&format!(
            "dumped {} of {}, {}, into {}",
            plural(summary.rows, "row"),
            plural(summary.tables, "table"),
            HumanBytes(summary.bytes),
            summary.dump
        ));
        if summary.exceptions > 0 {
            report::note(&format!(
                "{} no natural form and travel as raw bytes in the exceptions column",
                match summary.exceptions {
                    1 => "1 cell has".to_owned(),
                    n => format!("{n} cells have"),
                }
            ));
        }
        if let Some(roles) = &summary.roles {
            report::note(&format!("and {}", roles_text(roles)));
        }
        summary.not_preserved.iter().for_each(super::note_missing);
    }
    if output.json { report::json(&summary) } else { Ok(()) }
}
