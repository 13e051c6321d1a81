//! `cqlift load`: schema first, then data, then indexes and views.

mod plan;
mod schema;

use super::feed::{Input, Order, Partition, feed};
use super::{OutputArgs, interruptible, plural};
use crate::cluster::write::{Purpose, TableWriter};
use crate::cluster::{Cluster, ConnectArgs};
use crate::ddl::Section;
use crate::error::{Context, Error, Kind, Result};
use crate::format::{Format, Layout, Source};
use crate::manifest::{Manifest, NotPreserved, Part};
use crate::progress::Progress;
use crate::report;
use crate::store::DumpDir;
use crate::table::Table;
use crate::types::cql::Ident;
use clap::{Args, ValueEnum};
use plan::{Plan, TableLoad, Treatment};
use schema::{Existing, Step};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Load a dump into a cluster: schema, data, then indexes and views
#[derive(Args)]
pub struct LoadArgs {
    /// Directory that `cqlift dump` wrote
    #[arg(value_name = "DIR")]
    pub dump: PathBuf,
    /// What to load of it: ks or ks.table by the dump's names, globs allowed; all if none is named
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Leave these out: ks or ks.table by the dump's names, globs allowed; may repeat
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// Load under another name: ks=ks2 or ks.table=ks2.table2; may repeat
    #[arg(long, value_name = "OLD=NEW")]
    pub map: Vec<String>,
    /// Replication of the keyspaces to create: a factor (SimpleStrategy), dc1=3,dc2=2, or a CQL map
    #[arg(long, env = "CQLIFT_REPLICATION", conflicts_with = "data_only")]
    pub replication: Option<String>,
    /// What to do about a table that exists and holds rows
    #[arg(long, value_enum, default_value_t = IfExists::Fail)]
    pub if_exists: IfExists,
    /// Create the schema, load no data
    #[arg(long, conflicts_with_all = ["data_only", "if_exists"])]
    pub schema_only: bool,
    /// Load data into tables that exist, run no DDL
    #[arg(long)]
    pub data_only: bool,
    /// Say what would be done and stop
    #[arg(long)]
    pub dry_run: bool,
    /// How to reach the cluster
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `--if-exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IfExists {
    /// Refuse, before anything is written
    Fail,
    /// Leave the table as it is
    Skip,
    /// Empty it first
    Truncate,
    /// Add to what it holds
    Append,
}

/// Loads.
///
/// # Errors
/// `Error` says what stopped it and how far it got.
pub async fn run(args: LoadArgs, output: OutputArgs) -> Result<()> {
    let request = plan::Request::of(&args)?;
    let (dir, manifest) = DumpDir::open(&args.dump)?;
    request.check(&manifest)?;
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let plan = plan::plan(&cluster, &manifest, request).await?;
    if args.dry_run {
        return report::result(&plan.text());
    }
    let work = async {
        let parts = parts(&dir, &manifest, &plan)?;
        check_parts(&parts).await?;
        run_statements(&cluster, &plan, Section::PreData, output).await?;
        empty_tables(&cluster, &plan).await?;
        let rows = load_data(&cluster, parts, output).await?;
        run_statements(&cluster, &plan, Section::PostData, output).await?;
        Ok(rows)
    };
    let left = "the tables that were being loaded may hold a part of their rows";
    let rows = interruptible(work, left).await.map_err(|error| match error.kind() {
        Kind::Interrupted => error.hint("load again with --if-exists truncate to begin anew"),
        _ => error,
    })?;
    summarise(&plan, &manifest, rows, output)
}

/// Reads every part once, before anything is changed: a damaged dump must not cost the target its rows.
async fn check_parts(parts: &[PartToLoad]) -> Result<()> {
    let parts = parts.to_vec();
    let check = move || parts.iter().try_for_each(|part| part.open().map(drop));
    tokio::task::spawn_blocking(check)
        .await
        .doing(|| "check the dump's files")?
        .map_err(|e| e.hint("nothing was written"))
}

async fn run_statements(cluster: &Cluster, plan: &Plan, section: Section, output: OutputArgs) -> Result<()> {
    let mut failures: Vec<Error> = Vec::new();
    for step in plan.steps.iter().filter(|s| s.statement.kind.section() == section) {
        if step.existing != Existing::No {
            note_kept(step, output);
            continue;
        }
        match cluster.run_ddl(&step.statement.cql).await {
            Ok(()) => {}
            // Indexes and views stand alone: one that fails must not keep the others from being made.
            Err(error) if section == Section::PostData => failures.push(error),
            Err(error) => {
                return Err(error
                    .hint("what stands before it in the schema was created and stays; no data was loaded"));
            }
        }
    }
    match failures.pop() {
        None => Ok(()),
        Some(error) => {
            failures.iter().for_each(|e| report::note(&format!("error: {e}")));
            Err(error.hint(
                "the data is loaded whole; only this index or view is missing, and can be made by hand",
            ))
        }
    }
}

fn note_kept(step: &Step, output: OutputArgs) {
    match step.existing {
        Existing::Differs => {
            report::warn(&format!("{} exists and is kept, though it differs from the dump's", step.label()))
        }
        _ if output.quiet => {}
        _ => report::note(&format!("{} exists and is kept", step.label())),
    }
}

async fn empty_tables(cluster: &Cluster, plan: &Plan) -> Result<()> {
    for load in plan.loads.iter().filter(|l| l.treatment == Treatment::Truncate) {
        let (keyspace, table) = &load.target;
        cluster.run_ddl(&format!("TRUNCATE {}.{}", Ident(keyspace), Ident(table))).await?;
    }
    Ok(())
}

async fn load_data(cluster: &Arc<Cluster>, parts: Vec<PartToLoad>, output: OutputArgs) -> Result<u64> {
    let expected: u64 = parts.iter().map(|p| p.part.rows).sum();
    let mut inputs = Vec::new();
    let mut writer: Option<(Arc<TableToLoad>, Arc<TableWriter>)> = None;
    for part in parts {
        let table = part.table.clone();
        let prepared = writer.take().filter(|(of, _)| Arc::ptr_eq(of, &table)).map(|(_, writer)| writer);
        let prepared = match prepared {
            Some(prepared) => prepared,
            None => {
                Arc::new(TableWriter::prepare(cluster, &table.table, table.target(), Purpose::Load).await?)
            }
        };
        writer = Some((table.clone(), prepared.clone()));
        inputs.push(Input {
            name: part.path.display().to_string(),
            inside: inside(&part.part)?,
            writer: prepared,
            table: table.table.clone(),
            open: Box::new(move || part.open()),
        });
    }
    // Parts of one table stand in token order; shuffled, no node gets all of the work at once.
    inputs.sort_by_key(|input| xxhash_rust::xxh3::xxh3_64(input.name.as_bytes()));
    let time = cluster.clock().await?;
    let progress = Progress::start(output.quiet, "loading", ("parts", inputs.len() as u64));
    let fed = feed(cluster, inputs, Order::Any, time, &progress.counters).await;
    fed.map_err(|e| e.hint("once the cause is gone, load again with --if-exists truncate to begin anew"))?;
    let rows = progress.counters.rows.load(Relaxed);
    if rows != expected {
        return Err(Error::failed(format!("{rows} rows were loaded, the manifest lists {expected}"))
            .hint("its parts hold other rows than when they were dumped; dump again"));
    }
    Ok(rows)
}

/// A table whose parts are loaded.
struct TableToLoad {
    table: Table,
    into: (String, String),
    layout: Layout,
    format: Format,
    dir: DumpDir,
    folder: String,
}

impl TableToLoad {
    fn target(&self) -> (&str, &str) {
        (&self.into.0, &self.into.1)
    }
}

/// A part to load.
#[derive(Clone)]
struct PartToLoad {
    table: Arc<TableToLoad>,
    part: Part,
    path: PathBuf,
}

impl PartToLoad {
    /// Opens it, with its length, checksum and columns checked. A dump may have more parts than a process may have files
    /// open, so each is opened when its turn comes.
    fn open(&self) -> Result<Box<dyn Source>> {
        let TableToLoad { dir, folder, format, layout, .. } = &*self.table;
        let gone = || Error::failed(format!("{} is gone", self.path.display()));
        let file = dir.open_part(folder, &self.part)?.ok_or_else(gone)?.checked()?;
        format.source(layout, file).doing(|| format!("read {}", self.path.display()))
    }
}

/// The parts to load, table by table.
fn parts(dir: &DumpDir, manifest: &Manifest, plan: &Plan) -> Result<Vec<PartToLoad>> {
    let format = Format::named(&manifest.options.format).ok_or_else(|| {
        Error::failed(format!("the dump's format {:?} is unknown", manifest.options.format))
    })?;
    let mut parts = Vec::new();
    for load in plan.loads.iter().filter(|l| l.treatment.loads()) {
        let layout = super::layout(&load.table)?;
        if layout.exceptions != load.exceptions_column {
            return Err(Error::failed(format!(
                "{}: the manifest calls its exceptions column {:?}, expected {:?}",
                load.table.full_name(),
                load.exceptions_column,
                layout.exceptions
            )));
        }
        let table = Arc::new(TableToLoad {
            table: load.table.clone(),
            into: load.target.clone(),
            layout,
            format,
            dir: dir.clone(),
            folder: load.path.clone(),
        });
        for part in &load.parts {
            if let Some(reader) = dir.open_part(&load.path, part)? {
                let path = reader.path().to_owned();
                parts.push(PartToLoad { table: table.clone(), part: part.clone(), path });
            }
        }
    }
    Ok(parts)
}

/// The partition in which a part begins, if it began in another part.
fn inside(part: &Part) -> Result<Option<Partition>> {
    let from = part.ranges.first().and_then(|range| range.from.as_ref());
    from.map(|position| position.partition().doing(|| "read the manifest")).transpose()
}

fn summarise(plan: &Plan, manifest: &Manifest, rows: u64, output: OutputArgs) -> Result<()> {
    #[derive(Serialize)]
    struct Loaded {
        table: String,
        into: String,
        rows: u64,
        skipped: bool,
    }
    #[derive(Serialize)]
    struct Summary<'a> {
        dump: &'a str,
        rows: u64,
        tables: Vec<Loaded>,
        kept_different: Vec<String>,
        not_preserved: &'a [NotPreserved],
    }
    let loaded = |load: &TableLoad| Loaded {
        table: load.table.full_name(),
        into: format!("{}.{}", load.target.0, load.target.1),
        rows: if load.treatment.loads() { load.rows } else { 0 },
        skipped: load.treatment == Treatment::Skip,
    };
    let tables: Vec<Loaded> = plan.loads.iter().map(loaded).collect();
    if !output.quiet {
        for table in tables.iter().filter(|t| t.skipped) {
            report::note(&format!("skipped {}: it exists and holds rows", table.into));
        }
        let count = plural(tables.iter().filter(|t| !t.skipped).count() as u64, "table");
        report::note(&match plan.loads.iter().all(|l| l.treatment == Treatment::SchemaOnly) {
            true => format!("the schema of {count} is there; no data was asked for"),
            false => format!("loaded {} into {count}", plural(rows, "row")),
        });
        for missing in &manifest.not_preserved {
            report::note(&format!(
                "not preserved: {} ({}): {}",
                missing.what, missing.object, missing.reason
            ));
        }
    }
    let different = plan.steps.iter().filter(|s| s.existing == Existing::Differs);
    let kept_different = different.map(Step::label).collect();
    let summary =
        Summary { dump: &manifest.id, rows, tables, kept_different, not_preserved: &manifest.not_preserved };
    if output.json { report::json(&summary) } else { Ok(()) }
}
