//! `cqlift load`: schema first, then data, then indexes and views, and roles at the end if they are asked for.

mod list;
mod plan;
mod preflight;
mod resume;
mod roles;
mod schema;
mod statements;
mod summary;

use super::feed::{Flow, Input, Order, ReadTimes, Watch, feed};
use super::parts::{TableParts, inside};
use super::rejects::{RejectFile, Rejects};
use super::stop::{Stop, stoppable};
use super::verify::cluster::Pair;
use super::verify::{self, Difference, Findings};
use super::{BudgetArgs, OutputArgs};
use crate::cluster::write::{Before, Loading, Purpose, TableWriter};
use crate::cluster::{Cluster, ConnectArgs};
use crate::compare::{Given, Rules};
use crate::ddl::Section;
use crate::error::{Context, Error, Kind, Result};
use crate::format::Source;
use crate::manifest::{Manifest, Part};
use crate::mutation::{Expiries, Policy, WriteTimes};
use crate::progress::Progress;
use crate::report;
use crate::state::Tally;
use crate::store::DumpDir;
use crate::types::cql::Ident;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt};
use plan::{ForArg, Plan, TableLoad, Treatment};
use resume::Resume;
use roles::Restored;
use statements::{Record, Runner};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::available_parallelism;

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
    /// Replication of the keyspaces to create: a factor (SimpleStrategy), dc1=3,dc2=2, a CQL map, or same (the dump's factor
    /// in the target's datacenters); keyspace:… for one of them; may repeat
    #[arg(
        long,
        env = "CQLIFT_REPLICATION",
        conflicts_with = "data_only",
        value_name = "[KEYSPACE:]REPLICATION"
    )]
    pub replication: Vec<String>,
    /// Server that the schema is written for: auto (the target), none (as it is in the dump), cassandra-4.1, scylla-2025.1, …
    #[arg(
        long = "for",
        env = "CQLIFT_FOR",
        default_value = "auto",
        value_name = "SERVER",
        conflicts_with = "data_only"
    )]
    pub server: ForArg,
    /// Load what the target can hold, and leave out what it cannot, with all that needs it
    #[arg(long)]
    pub skip_unsupported: bool,
    /// Fail where the target refuses an option of a table, instead of leaving the option out
    #[arg(long, env = "CQLIFT_STRICT_DDL", value_parser = FalseyValueParser::new())]
    pub strict_ddl: bool,
    /// Make tables that were made WITH COMPACT STORAGE without it
    #[arg(long)]
    pub drop_compact_storage: bool,
    /// Print a list of what the dump holds, to be edited and given back with --use-list, and stop
    #[arg(long, conflicts_with_all = ["use_list", "dry_run"])]
    pub list: bool,
    /// Load only what is in this list, which --list printed and somebody may have edited
    #[arg(long, value_name = "FILE", conflicts_with_all = ["selectors", "exclude", "schema_only", "data_only"])]
    pub use_list: Option<PathBuf>,
    /// Where the schema is written as it was run, after what stands there, if anything of it was changed for the target
    /// [default: cqlift/load-ID.cql in the user's state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "data_only")]
    pub ddl_log: Option<PathBuf>,
    /// What to do about a table that exists and holds rows
    #[arg(long, value_enum, default_value_t = IfExists::Fail)]
    pub if_exists: IfExists,
    /// Create the schema, load no data
    #[arg(long, conflicts_with_all = ["data_only", "if_exists"])]
    pub schema_only: bool,
    /// Where it is kept how far the load has come, so that the same command goes on after it was stopped
    /// [default: cqlift in the user's state directory]
    #[arg(long, env = "CQLIFT_STATE", value_name = "DIR", conflicts_with = "schema_only")]
    pub state: Option<PathBuf>,
    /// Forget how far this load had come when it was stopped, and begin anew
    #[arg(long, conflicts_with = "schema_only")]
    pub restart: bool,
    /// Load data into tables that exist, run no DDL
    #[arg(long)]
    pub data_only: bool,
    /// Bring back the dump's roles too, and what they may do with what is loaded; those that exist are kept
    #[arg(long, conflicts_with = "data_only")]
    pub roles: bool,
    /// Expiries: keep them, drop them all, or let everything live for so many seconds from now
    #[arg(
        long,
        env = "CQLIFT_TTL",
        default_value = "keep",
        value_name = "keep|drop|SECONDS",
        conflicts_with = "schema_only"
    )]
    pub ttl: TtlArg,
    /// Write times: keep them, or write everything as of now, or of so many microseconds since 1970
    #[arg(
        long,
        env = "CQLIFT_TIMESTAMP",
        default_value = "keep",
        value_name = "keep|now|MICROS",
        allow_hyphen_values = true,
        conflicts_with = "schema_only"
    )]
    pub timestamp: TimestampArg,
    /// Do not read back what was loaded into tables that this load has neither made nor emptied
    #[arg(long, env = "CQLIFT_NO_CHECK", value_parser = FalseyValueParser::new())]
    pub no_check: bool,
    /// Rows that may be rejected, because the cluster refuses them by themselves; one more ends the load. Each run counts
    /// its own. With 0 none is, and no file of them is made
    #[arg(
        long,
        env = "CQLIFT_MAX_ERRORS",
        default_value_t = 0,
        value_name = "N",
        conflicts_with = "schema_only"
    )]
    pub max_errors: u64,
    /// Where rejected rows go: KEYSPACE.TABLE.rejected.csv for each table that has any, which can be imported once it is
    /// repaired, and KEYSPACE.TABLE.rejected.reasons.csv [default: the current directory]
    #[arg(long, env = "CQLIFT_REJECT_DIR", value_name = "DIR")]
    pub reject_dir: Option<PathBuf>,
    /// End with code 3 if anything could not be brought back as it was
    #[arg(long, env = "CQLIFT_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,
    /// Say what would be done and stop
    #[arg(long)]
    pub dry_run: bool,
    /// What it may use up
    #[command(flatten)]
    pub budget: BudgetArgs,
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

/// `--ttl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlArg(Expiries);

impl fmt::Display for TtlArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expiries::Keep => f.write_str("keep"),
            Expiries::Drop => f.write_str("drop"),
            Expiries::Seconds(seconds) => write!(f, "{seconds}"),
        }
    }
}

impl FromStr for TtlArg {
    type Err = String;

    fn from_str(text: &str) -> Result<TtlArg, String> {
        // The server's own bounds: 0 would mean without end, which is `drop`.
        const MOST: i32 = 630_720_000;
        match text {
            "keep" => Ok(TtlArg(Expiries::Keep)),
            "drop" => Ok(TtlArg(Expiries::Drop)),
            _ => match text.parse() {
                Ok(seconds @ 1..=MOST) => Ok(TtlArg(Expiries::Seconds(seconds))),
                _ => Err(format!("expected keep, drop, or seconds from 1 to {MOST}")),
            },
        }
    }
}

/// `--timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampArg {
    /// Those of the dump.
    Keep,
    /// That of the load's beginning.
    Now,
    /// This one, µs since 1970.
    At(i64),
}

impl fmt::Display for TimestampArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimestampArg::Keep => f.write_str("keep"),
            TimestampArg::Now => f.write_str("now"),
            TimestampArg::At(micros) => write!(f, "{micros}"),
        }
    }
}

impl FromStr for TimestampArg {
    type Err = String;

    fn from_str(text: &str) -> Result<TimestampArg, String> {
        match text {
            "keep" => Ok(TimestampArg::Keep),
            "now" => Ok(TimestampArg::Now),
            // Servers refuse the smallest number.
            _ => match text.parse() {
                Ok(micros) if micros > i64::MIN => Ok(TimestampArg::At(micros)),
                _ => Err("expected keep, now, or microseconds since 1970".to_owned()),
            },
        }
    }
}

/// Why rows may differ that are read back, and what to do.
const HIDDEN: &str = "deletions and other data in the target prevail where they are not older than what was loaded: load \
                      with --if-exists truncate, or with --timestamp now";
/// The same where the cluster may have lost what it had taken.
const LOST: &str = "what a crash has taken from the cluster is loaded by the same command; if deletions or other data in the \
                    target hide it, load with --restart and --if-exists truncate, or with --timestamp now";

/// Loads.
///
/// # Errors
/// `Error` says what stopped it and how far it got; a difference (exit 4) if the final check found one.
pub async fn run(args: LoadArgs, output: OutputArgs) -> Result<()> {
    let request = plan::Request::of(&args)?;
    let (dir, manifest) = DumpDir::open(&args.dump)?;
    let request = request.of_dump(&args, &manifest)?;
    if args.list {
        return report::result(&list::text(&manifest, &request.selection)?);
    }
    roles::check(&manifest, args.roles, output.quiet)?;
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let resume = Resume::open(&cluster, &manifest, (&args, &request))?;
    let plan = plan::plan(&cluster, &manifest, (&request, resume.as_ref())).await?;
    let roles = roles::plan(&cluster, &manifest, (&request, &plan.gone), args.roles).await?;
    if args.dry_run {
        let roles = roles.map_or(String::new(), |roles| roles.text());
        report::result(&(plan.text() + &roles))?;
        return plan.check();
    }
    plan.check()?;
    plan.warn();
    let request = (args.ttl, args.timestamp);
    let record = Record::new(args.ddl_log, &manifest.id);
    let resume = resume.as_ref();
    if resume.is_some_and(Resume::is_resumed) && !output.quiet {
        plan.loads.iter().for_each(note_resumed);
    }
    let rejects = Rejects::new("row", args.max_errors, args.reject_dir);
    let work = async |stop: Stop| {
        let parts = parts((&dir, &manifest), &plan, resume)?;
        check_parts(&parts).await?;
        let mut runner = Runner::new(&cluster, &plan, (args.strict_ddl, record), output);
        runner.run(Section::PreData).await?;
        check_made(&cluster, &plan).await?;
        empty_tables(&cluster, &plan).await?;
        let began = resume.and_then(Resume::began);
        let how = How::of(&cluster, &manifest, request, began).await?;
        let before = match resume {
            Some(resume) => resume.begin(&cluster, &plan, (how.began, rejects.dir()?)).await?,
            None => Before::default(),
        };
        let how = How { before, ..how };
        let loaded =
            load_data(&cluster, parts, (how, Flow::of(&args.budget)), (stop, resume, &rejects), output)
                .await?;
        let rows_before = resume.map_or(0, |resume| resume.rows(&plan));
        let loaded = Loaded { rows: loaded.rows + rows_before, rows_before, ..loaded };
        let built = runner.run(Section::PostData).await;
        let (findings, exposed) =
            check(&cluster, (&dir, &manifest), (&plan, resume), how, (args.no_check, args.budget, output))
                .await?;
        let restored = match roles {
            Some(roles) => Some(roles::run(&cluster, roles).await),
            None => None,
        };
        let loaded = Loaded { restored, ..loaded };
        Ok((Done { loaded, findings, exposed, runner, built }, how))
    };
    let ended = stoppable(work).await.map_err(|error| match (error.kind(), resume) {
        (Kind::Interrupted, Some(resume)) => error.hint(resume.hint()),
        _ => error,
    });
    let ((done, how), rejected) = rejects.ended(ended)?;
    summary::summarise(&plan, &manifest, (&done, &rejected), how, output)?;
    let Done { loaded, findings, exposed, runner, built } = done;
    built?;
    loaded.restored.as_ref().map_or(Ok(()), Restored::result)?;
    // What was rejected is missing, and told already.
    let differing = loaded.unexplained(&findings, resume.map(Resume::rejects).unwrap_or_default());
    let lost: Vec<String> = differing.intersection(&exposed).cloned().collect();
    let remedy = if lost.is_empty() { HIDDEN } else { LOST };
    match resume {
        Some(resume) if !lost.is_empty() => resume.load_again(lost)?,
        Some(resume) => resume.finish()?,
        None => {}
    }
    if !differing.is_empty() {
        findings.result(remedy)?;
    }
    let earlier = resume.map(Resume::reject_dirs).cloned().unwrap_or_default();
    summary::rejected(&loaded, &rejected, &earlier)?;
    if args.strict { summary::strict(&plan, &manifest, (&loaded, &runner)) } else { Ok(()) }
}

/// What has been done.
struct Done<'a> {
    loaded: Loaded,
    findings: Findings,
    /// The tables, by the dump's names, of which a crash may have taken rows that the cluster had taken.
    exposed: BTreeSet<String>,
    runner: Runner<'a>,
    /// Whether indexes and views were made; if not, what stands beside it counts all the same.
    built: Result<()>,
}

/// How rows are written.
#[derive(Clone, Copy)]
struct How {
    policy: Policy,
    keeps_times: bool,
    /// When the load began, µs since 1970, by the cluster's clock.
    began: i64,
    /// What earlier runs may have written.
    before: Before,
}

impl How {
    async fn of(
        cluster: &Cluster,
        manifest: &Manifest,
        (ttl, timestamp): (TtlArg, TimestampArg),
        began: Option<i64>,
    ) -> Result<How> {
        let began = match began {
            Some(began) => began,
            None => cluster.clock().await?,
        };
        let write_times = match timestamp {
            TimestampArg::Keep => WriteTimes::Keep,
            TimestampArg::Now => WriteTimes::All(began),
            TimestampArg::At(micros) => WriteTimes::All(micros),
        };
        let policy = Policy { write_times, expiries: ttl.0 };
        Ok(How { policy, keeps_times: manifest.keeps_times(), began, before: Before::default() })
    }

    /// What the final check compares.
    fn rules(self, cluster: &Cluster) -> Rules {
        let kept = self.policy.write_times == WriteTimes::Keep && self.keeps_times;
        let expiries = self.policy.expiries == Expiries::Keep && self.keeps_times;
        let written = match self.policy.write_times {
            WriteTimes::All(time) => Some(time),
            WriteTimes::Keep => (!self.keeps_times).then_some(self.began),
        };
        Rules {
            times: kept,
            written,
            expiries,
            given: match self.policy.expiries {
                Expiries::Keep => None,
                Expiries::Drop => Some(Given::Endless),
                Expiries::Seconds(seconds) => Some(Given::Seconds(i64::from(seconds))),
            },
            dump_expires: self.policy.expiries == Expiries::Keep,
            loaded: true,
            now: cluster.now().div_euclid(1_000_000),
        }
    }
}

/// Reads back what was loaded into tables that this load has neither made nor emptied: deletions that are newer than the
/// dump hide it. Counters are always read back. So is what was loaded before this run, and all if a node went away meanwhile:
/// one that has crashed has lost what it had taken and not synced. Those tables are answered, too.
async fn check(
    cluster: &Arc<Cluster>,
    (dir, manifest): (&DumpDir, &Manifest),
    (plan, resume): (&Plan, Option<&Resume>),
    how: How,
    (no_check, budget, output): (bool, BudgetArgs, OutputArgs),
) -> Result<(Findings, BTreeSet<String>)> {
    let mut pairs = Vec::new();
    let mut exposed = BTreeSet::new();
    for load in plan.loads.iter().filter(|l| l.treatment.loads()) {
        let name = load.table.full_name();
        let is_exposed = cluster.has_lost_a_node() || resume.is_some_and(|resume| resume.has_loaded(&name));
        if is_exposed {
            exposed.insert(name);
        }
        if load.table.is_counter() || !no_check && (is_exposed || !load.treatment.is_fresh()) {
            pairs.push(Pair {
                parts: TableParts::of(dir, manifest, &load.entry, &load.table)?,
                into: load.target.clone(),
                rules: how.rules(cluster),
            });
        }
    }
    let units = pairs.iter().map(|pair| pair.parts.entries.len() as u64).sum();
    if units == 0 {
        return Ok((Findings::default(), exposed));
    }
    let progress = Progress::start(output.quiet, "reading back", ("parts", units));
    let schema = cluster.schema().await?;
    let findings = verify::cluster::compare((cluster, &schema), pairs, (budget, &progress)).await?;
    Ok((findings, exposed))
}

/// Reads every part once, as many at a time as there are processors, before anything is changed: a damaged dump must not
/// cost the target its rows.
async fn check_parts(parts: &[PartToLoad]) -> Result<()> {
    let at_once = available_parallelism().map_or(2, usize::from);
    let check = async |part: PartToLoad| {
        let opened = tokio::task::spawn_blocking(move || part.open().map(drop)).await;
        opened.doing(|| "check the dump's files")?
    };
    // In their order, so that it is the first damaged one that is told.
    let checks = futures::stream::iter(parts.to_vec()).map(check).buffered(at_once);
    checks.try_collect::<()>().await.map_err(|e| e.hint("nothing was written"))
}

/// Whether the tables that were made have the columns that the manifest lists for their files: their statements and those
/// lists are two things a stranger may have written.
async fn check_made(cluster: &Cluster, plan: &Plan) -> Result<()> {
    let made = |l: &&TableLoad| l.treatment == Treatment::Create;
    if !plan.loads.iter().any(|load| made(&load)) {
        return Ok(());
    }
    let schema = cluster.schema().await?;
    for TableLoad { table, target: (keyspace, name), .. } in plan.loads.iter().filter(made) {
        let misfit = match schema.table(keyspace, name) {
            None => Some("it cannot be found".to_owned()),
            Some(target) => table.misfit(target),
        };
        if let Some(misfit) = misfit {
            let what =
                "was made by the dump's statement, and does not fit the columns that the manifest lists";
            return Err(Error::failed(format!("the table {keyspace}.{name} {what}: {misfit}"))
                .hint("no row was loaded; the dump contradicts itself: dump again"));
        }
    }
    Ok(())
}

async fn empty_tables(cluster: &Cluster, plan: &Plan) -> Result<()> {
    for load in plan.loads.iter().filter(|l| l.treatment == Treatment::Truncate && l.begun.is_none()) {
        let (keyspace, table) = &load.target;
        cluster.run_ddl(&format!("TRUNCATE {}.{}", Ident(keyspace), Ident(table))).await?;
    }
    Ok(())
}

/// What a load has done.
struct Loaded {
    /// Rows, those that were loaded before this run included.
    rows: u64,
    /// Of them those that were.
    rows_before: u64,
    /// Per table, in the order of their names, what was not written as dumped.
    tallies: BTreeMap<String, Tally>,
    /// The rows of each that the target has refused.
    rejected: BTreeMap<String, Arc<RejectFile>>,
    /// What became of roles, if they were asked for.
    restored: Option<Restored>,
}

impl Loaded {
    /// The tables whose differences are not all rows that the target has refused. Of those of earlier runs, and of
    /// differences that are not listed, it is known how many each table had: so many of its rows may be missing.
    fn unexplained(&self, findings: &Findings, mut earlier: BTreeMap<String, u64>) -> BTreeSet<String> {
        let mut tables = BTreeSet::new();
        let mut now: BTreeMap<&str, u64> =
            self.rejected.iter().map(|(table, rejects)| (table.as_str(), rejects.count())).collect();
        for difference in &findings.differences {
            let table = difference.table.as_str();
            let left = match self.has_rejected(difference) {
                true => now.get_mut(table),
                false => earlier.get_mut(table).filter(|left| difference.is_missing_row() && **left > 0),
            };
            match left {
                Some(left) => *left = left.saturating_sub(1),
                None => drop(tables.insert(table.to_owned())),
            }
        }
        for (table, (missing, others)) in &findings.unlisted {
            let left = now.get(table.as_str()).unwrap_or(&0) + earlier.get(table).unwrap_or(&0);
            if *others > 0 || *missing > left {
                tables.insert(table.clone());
            }
        }
        tables
    }

    /// Whether a difference concerns a row that the target has refused.
    fn has_rejected(&self, difference: &Difference) -> bool {
        let key: Vec<String> = difference.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.rejected.get(&difference.table).is_some_and(|rejects| rejects.has(&key.join(", ")))
    }
}

async fn load_data(
    cluster: &Arc<Cluster>,
    parts: Vec<PartToLoad>,
    (how, flow): (How, Flow),
    (stop, resume, rejects): (Stop, Option<&Resume>, &Rejects),
    output: OutputArgs,
) -> Result<Loaded> {
    let (mut inputs, mut loaded) = (Vec::new(), Vec::new());
    let mut writers: BTreeMap<String, (TableWriter, Arc<RejectFile>)> = BTreeMap::new();
    await_counters(cluster, &parts, how, output).await;
    // Parts of one table stand in token order; shuffled, no node gets all of the work at once.
    let mut parts = parts;
    parts.sort_by_key(|part| xxhash_rust::xxh3::xxh3_64(part.path.display().to_string().as_bytes()));
    for part in parts {
        let to_load = part.table.clone();
        let table = &to_load.parts.table;
        let name = table.full_name();
        let (writer, rejected) = match writers.get(&name) {
            Some((writer, rejected)) => (Arc::new(writer.apart()), rejected.clone()),
            None => {
                let How { policy, keeps_times, before, .. } = how;
                let TableToLoad { was_empty, compact, .. } = *to_load;
                let purpose = Purpose::Load(Loading { policy, keeps_times, was_empty, before, compact });
                let into = to_load.target();
                let writer = TableWriter::prepare(cluster, table, into, purpose, flow.gate()).await?;
                let rejected = rejects.of_rows(writer.name(), super::layout(table)?)?;
                let own = (Arc::new(writer.apart()), rejected.clone());
                writers.insert(name.clone(), (writer, rejected));
                own
            }
        };
        loaded.push((name, part.part.name.clone(), writer.clone()));
        inputs.push(Input {
            name: part.path.display().to_string(),
            inside: inside(&part.part)?,
            read: if how.keeps_times { Some(part.read_times()?) } else { None },
            writer,
            rows: Some(part.part.rows),
            rejects: rejected,
            table: table.clone(),
            open: Box::new(move || part.open()),
        });
    }
    let progress = Progress::start(output.quiet, "loading", ("parts", inputs.len() as u64));
    let journal = resume.map(|resume| resume.journal(loaded.clone()));
    let watch = Watch { stop, journal };
    let fed = feed(cluster, inputs, (Order::Any, how.began), flow, (watch, &progress.counters)).await;
    fed.map_err(|error| match (error.kind(), resume) {
        (Kind::Failed, Some(resume)) => error.hint("mind the cause first").hint(resume.hint()),
        _ => error,
    })?;
    let rows = progress.counters.rows.load(Relaxed);
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (table, _, writer) in loaded {
        *tallies.entry(table).or_default() += resume::tally(writer.counts());
    }
    for (table, parts) in resume.iter().flat_map(|resume| resume.done()) {
        parts.values().for_each(|tally| *tallies.entry(table.clone()).or_default() += *tally);
    }
    let rejected = writers.into_iter().map(|(name, (_, rejected))| (name, rejected)).collect();
    Ok(Loaded { rows, rows_before: 0, tallies, rejected, restored: None })
}

/// An earlier run may have been killed when counters were on their way: they are counted or not, but not any more after this.
async fn await_counters(cluster: &Cluster, parts: &[PartToLoad], how: How, output: OutputArgs) {
    let counts = parts.iter().any(|part| part.table.parts.table.is_counter());
    if how.before.list_tries == 0 || !counts {
        return;
    }
    let undecided = cluster.undecided().await;
    if !output.quiet {
        report::note(&format!(
            "waiting {} s, until every counter that was being written is counted or given up",
            undecided.as_secs()
        ));
    }
    tokio::time::sleep(undecided).await;
}

/// Tells how far a table had come.
fn note_resumed(load: &plan::TableLoad) {
    if let Some(done) = resume::progress(load) {
        report::note(&format!("going on with {}: {done}", load.table.full_name()));
    }
}

/// A table whose parts are loaded.
struct TableToLoad {
    parts: TableParts,
    into: (String, String),
    was_empty: bool,
    compact: bool,
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
    fn open(&self) -> Result<Box<dyn Source>> {
        self.table.parts.open(&self.part)
    }

    /// When each of its token ranges was read.
    fn read_times(&self) -> Result<ReadTimes> {
        let ranges = super::ranges(&self.part);
        let ranges = ranges.map_err(|e| Error::failed(format!("read the manifest: {e}")))?;
        let times = self.part.ranges.iter().map(|range| super::micros(&range.read[0]));
        let ranges = ranges.into_iter().zip(times).map(|(range, time)| Ok((range, time?)));
        Ok(ReadTimes { partitioner: self.table.parts.partitioner, ranges: ranges.collect::<Result<_>>()? })
    }
}

/// The parts to load, table by table, without those that are loaded already.
fn parts(
    (dir, manifest): (&DumpDir, &Manifest),
    plan: &Plan,
    resume: Option<&Resume>,
) -> Result<Vec<PartToLoad>> {
    let mut parts = Vec::new();
    for load in plan.loads.iter().filter(|l| l.treatment.loads()) {
        let table = Arc::new(TableToLoad {
            parts: TableParts::of(dir, manifest, &load.entry, &load.table)?,
            into: load.target.clone(),
            was_empty: load.treatment != Treatment::Append,
            compact: load.compact,
        });
        let name = load.table.full_name();
        let is_left = |part: &&Part| !resume.is_some_and(|resume| resume.is_done(&name, &part.name));
        for part in table.parts.entries.iter().filter(is_left) {
            if let Some(path) = table.parts.path(part)? {
                parts.push(PartToLoad { table: table.clone(), part: part.clone(), path });
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::verify::Kind;
    use crate::compare::Kind as Differs;

    fn differs(table: &str, key: usize, kind: Differs) -> Difference {
        Difference {
            table: table.to_owned(),
            range: None,
            key: vec![("k".to_owned(), key.to_string())],
            column: None,
            kind: Kind::Row(kind),
            dump: None,
            cluster: None,
            what: None,
        }
    }

    /// Only a hundred differences of a table are listed; the others count as well.
    #[test]
    fn rejects_of_earlier_runs_explain_as_many_missing_rows_and_nothing_else() {
        let loaded = Loaded {
            rows: 0,
            rows_before: 0,
            tallies: BTreeMap::new(),
            rejected: BTreeMap::new(),
            restored: None,
        };
        let mut findings = Findings::default();
        (0..150).for_each(|key| findings.add(differs("a.t", key, Differs::MissingRow)));
        let tables = |findings: &Findings, earlier: u64| {
            let tables = loaded.unexplained(findings, BTreeMap::from([("a.t".to_owned(), earlier)]));
            tables.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            [0, 99, 149, 150, 151].map(|earlier| tables(&findings, earlier)),
            ["a.t", "a.t", "a.t", "", ""]
        );
        findings.add(differs("b.t", 1, Differs::MissingRow));
        assert_eq!(tables(&findings, 150), "b.t", "a table is lost by its own differences");
        findings.add(differs("a.t", 150, Differs::WriteTime));
        assert_eq!(tables(&findings, 200), "a.t b.t");
    }
}
