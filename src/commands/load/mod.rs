//! `cqlift load`: schema first, then data, then indexes and views.

mod plan;

use super::feed::{Input, Order, Partition, feed};
use super::{OutputArgs, interruptible, plural};
use crate::cluster::write::TableWriter;
use crate::cluster::{Cluster, ConnectArgs};
use crate::ddl::Section;
use crate::error::{Context, Error, Result};
use crate::format::Format;
use crate::manifest::{Manifest, NotPreserved, Part};
use crate::progress::Progress;
use crate::report;
use crate::store::DumpDir;
use crate::types::cql::Ident;
use clap::{Args, ValueEnum};
use plan::{Plan, Step, TableLoad, Treatment};
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
    #[arg(long, env = "CQLIFT_REPLICATION")]
    pub replication: Option<String>,
    /// What to do about a table that exists and holds rows
    #[arg(long, value_enum, default_value_t = IfExists::Fail)]
    pub if_exists: IfExists,
    /// Create the schema, load no data
    #[arg(long, conflicts_with = "data_only")]
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
        run_statements(&cluster, &plan, Section::PreData, output).await?;
        empty_tables(&cluster, &plan).await?;
        let rows = load_data(&cluster, &dir, &manifest, &plan, output).await?;
        run_statements(&cluster, &plan, Section::PostData, output).await?;
        Ok(rows)
    };
    let rows = interruptible(work, "the tables that were being loaded hold a part of their rows").await?;
    summarise(&plan, &manifest, rows, output)
}

async fn run_statements(cluster: &Cluster, plan: &Plan, section: Section, output: OutputArgs) -> Result<()> {
    let mut failures: Vec<Error> = Vec::new();
    for step in plan.steps.iter().filter(|s| s.statement.kind.section() == section) {
        if step.exists {
            note_kept(step, output);
            continue;
        }
        match cluster.run_ddl(&step.statement.cql).await {
            Ok(()) => {}
            // Of functions only the server can say whether the very same one is there.
            Err(error)
                if step.statement.kind.is_function() && error.to_string().contains("already exists") =>
            {
                note_kept(step, output);
            }
            // Indexes and views stand alone: one that fails must not keep the others from being made.
            Err(error) if section == Section::PostData => failures.push(error),
            Err(error) => return Err(error),
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
    if !output.quiet {
        let Step { statement, .. } = step;
        report::note(&format!(
            "{} {}.{} exists and is kept",
            statement.kind.name(),
            statement.keyspace,
            statement.name
        ));
    }
}

async fn empty_tables(cluster: &Cluster, plan: &Plan) -> Result<()> {
    for load in plan.loads.iter().filter(|l| l.treatment == Treatment::Truncate) {
        let (keyspace, table) = &load.target;
        cluster.run_ddl(&format!("TRUNCATE {}.{}", Ident(keyspace), Ident(table))).await?;
    }
    Ok(())
}

async fn load_data(
    cluster: &Arc<Cluster>,
    dir: &DumpDir,
    manifest: &Manifest,
    plan: &Plan,
    output: OutputArgs,
) -> Result<u64> {
    let format = Format::named(&manifest.options.format).ok_or_else(|| {
        Error::failed(format!("the dump's format {:?} is unknown", manifest.options.format))
    })?;
    let mut inputs = Vec::new();
    for load in plan.loads.iter().filter(|l| l.treatment.loads()) {
        inputs.extend(table_inputs(cluster, dir, format, load).await?);
    }
    // Parts of one table stand in token order; shuffled, no node gets all of the work at once.
    inputs.sort_by_key(|input| xxhash_rust::xxh3::xxh3_64(input.name.as_bytes()));
    let progress = Progress::start(output.quiet, "loading", ("parts", inputs.len() as u64));
    feed(cluster, inputs, Order::Any, &progress.counters).await?;
    Ok(progress.counters.rows.load(Relaxed))
}

async fn table_inputs(
    cluster: &Cluster,
    dir: &DumpDir,
    format: Format,
    load: &TableLoad,
) -> Result<Vec<Input>> {
    let layout = super::layout(&load.table)?;
    if layout.exceptions != load.exceptions_column {
        return Err(Error::failed(format!(
            "{}: the manifest calls its exceptions column {:?}, expected {:?}",
            load.table.full_name(),
            load.exceptions_column,
            layout.exceptions
        )));
    }
    let (keyspace, name) = &load.target;
    let writer = Arc::new(TableWriter::prepare(cluster, &load.table, (keyspace, name)).await?);
    let mut inputs = Vec::new();
    for part in &load.parts {
        let Some(reader) = dir.open_part(&load.path, part)? else {
            continue;
        };
        let (path, layout) = (reader.path().display().to_string(), layout.clone());
        inputs.push(Input {
            name: path.clone(),
            // Opened again when its turn comes: a dump may have more parts than a process may have files open.
            open: {
                let (dir, table_path, part) = (dir.clone(), load.path.clone(), part.clone());
                Box::new(move || {
                    let missing = || Error::failed(format!("{path} is gone"));
                    let file = dir.open_part(&table_path, &part)?.ok_or_else(missing)?.checked()?;
                    format.source(&layout, file).doing(|| format!("read {path}"))
                })
            },
            inside: inside(part)?,
            writer: writer.clone(),
            table: load.table.clone(),
        });
    }
    Ok(inputs)
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
        not_preserved: &'a [NotPreserved],
    }
    let loaded = |load: &TableLoad| Loaded {
        table: load.table.full_name(),
        into: format!("{}.{}", load.target.0, load.target.1),
        rows: if load.treatment.loads() { load.rows } else { 0 },
        skipped: load.treatment == Treatment::Skip,
    };
    let tables: Vec<Loaded> = plan.loads.iter().map(loaded).collect();
    let expected: u64 = tables.iter().map(|t| t.rows).sum();
    if rows != expected {
        return Err(Error::failed(format!("{rows} rows were loaded, the manifest lists {expected}"))
            .hint("a part holds other rows than it did when it was dumped; dump again"));
    }
    if !output.quiet {
        for table in tables.iter().filter(|t| t.skipped) {
            report::note(&format!("skipped {}: it exists and holds rows", table.into));
        }
        let count = tables.iter().filter(|t| !t.skipped).count() as u64;
        report::note(&format!("loaded {} into {}", plural(rows, "row"), plural(count, "table")));
        for missing in &manifest.not_preserved {
            report::note(&format!(
                "not preserved: {} ({}): {}",
                missing.what, missing.object, missing.reason
            ));
        }
    }
    let summary = Summary { dump: &manifest.id, rows, tables, not_preserved: &manifest.not_preserved };
    if output.json { report::json(&summary) } else { Ok(()) }
}
