//! A load that goes on where it was stopped: its state is found, held against what is asked for and what the cluster has, and
//! kept up to date. What the records say is left to [`crate::state`].

use super::LoadArgs;
use super::plan::{ForArg, Plan, Request, TableLoad, Treatment};
use crate::cluster::Cluster;
use crate::cluster::write::{Before, Counts, Loading, TableWriter};
use crate::commands::feed::{Journal, Mark};
use crate::commands::rfc3339;
use crate::error::{Context, Error, Result};
use crate::manifest::{Manifest, checksum};
use crate::state::{
    DonePart, FORMAT, Found, LoadBegin, LoadRecord, LoadRun, LoadState, OwnTable, Tally, line,
};
use crate::store::state::{StateFile, default_folder, states};
use clap::ValueEnum;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// µs by which the clocks of a cluster's nodes may differ.
const SKEW: i64 = 2_000_000;

/// What to do where a state does not fit.
const ANEW: &str = "give the flags as they were, or forget what was loaded and begin anew with --restart";

/// The state of the load that is asked for.
pub struct Resume {
    folder: PathBuf,
    file: Arc<Mutex<StateFile>>,
    asked: LoadBegin,
    found: Option<LoadState>,
    /// Bytes of the file that count.
    end: usize,
    /// Other states that are to be forgotten, by their names.
    forgotten: Vec<String>,
}

/// What a state claims of a table that the load has begun to fill.
pub struct Claim {
    /// How the load found it.
    pub treatment: Treatment,
    /// Parts that are loaded.
    pub parts: usize,
    /// Why it is not to be trusted.
    pub problem: Option<String>,
}

impl Resume {
    /// Finds the state, or prepares one; it is held from here on. `None` if no rows are asked for.
    ///
    /// # Errors
    /// `Error` says how the state that is there differs from what is asked for.
    pub fn open(
        cluster: &Cluster,
        manifest: &Manifest,
        (args, request): (&LoadArgs, &Request),
    ) -> Result<Option<Resume>> {
        let asked = asked(cluster, manifest, (args, request))?;
        if asked.tables.is_empty() {
            return Ok(None);
        }
        let folder = args.state.clone().unwrap_or_else(default_folder);
        let safe: String = manifest.id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let prefix = format!("load-{safe}-");
        let key = format!("{:?} {:?} {:?}", asked.cluster, asked.hosts.first(), asked.tables);
        let mut name = format!("{prefix}{:016x}", xxh3_64(key.as_bytes()));
        let mut forgotten = Vec::new();
        for (path, bytes) in states(&folder, &prefix)? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let differs = match LoadState::read(&bytes) {
                Ok((Some(state), _)) if state.begin.meets(&asked) => state.begin.differences(&asked),
                Ok(_) => continue,
                Err(error) => vec![error.to_string()],
            };
            if args.restart {
                forgotten.push(stem);
            } else if differs.is_empty() {
                name = stem;
            } else {
                return Err(misfit(&path, &differs));
            }
        }
        let (file, bytes) = StateFile::open(&folder, &name)?;
        forgotten.retain(|other| *other != name);
        let (found, end) = match args.restart {
            true => (None, 0),
            false => LoadState::read(&bytes).map_err(|e| misfit(file.path(), &[e.to_string()]))?,
        };
        let found = found.filter(|state| state.begin.meets(&asked));
        let end = if found.is_some() { end } else { 0 };
        Ok(Some(Resume { folder, file: Arc::new(Mutex::new(file)), asked, found, end, forgotten }))
    }

    /// What the state claims, by the target's table, held against the cluster.
    ///
    /// # Errors
    /// `Error` if the cluster cannot be asked.
    pub async fn claims(&self, cluster: &Cluster) -> Result<BTreeMap<String, Claim>> {
        let Some(state) = &self.found else { return Ok(BTreeMap::new()) };
        let ids = cluster.table_ids().await?;
        let ids: BTreeMap<String, _> =
            ids.into_iter().map(|((keyspace, table), id)| (format!("{keyspace}.{table}"), id)).collect();
        let emptied = cluster.truncations().await?;
        let mut claims = BTreeMap::new();
        for (table, own) in &state.tables {
            let Some(into) = state.begin.tables.get(table) else { continue };
            let id = ids.get(into);
            let later = |time: &&i64| **time > state.begin.began.saturating_add(SKEW);
            let problem = match id {
                None => Some(format!(
                    "the table {into}, which this load had begun to fill, does not exist any more"
                )),
                Some(id) if id.to_string() != own.id => Some(format!(
                    "the table {into} was dropped and made again since this load had begun to fill it: its id was {}, is \
                     now {id}",
                    own.id
                )),
                Some(_) => emptied.get(&own.id).filter(later).map(|time| {
                    format!(
                        "the table {into} was emptied (TRUNCATE at {}) since this load had begun to fill it",
                        shown(*time)
                    )
                }),
            };
            let parts = state.done.get(table).map_or(0, BTreeMap::len);
            claims.insert(into.clone(), Claim { treatment: treatment(own.found), parts, problem });
        }
        Ok(claims)
    }

    /// Whether the load goes on where it was stopped.
    pub fn is_resumed(&self) -> bool {
        self.found.is_some()
    }

    /// When the load began, if it goes on.
    pub fn began(&self) -> Option<i64> {
        self.found.as_ref().map(|state| state.begin.began)
    }

    /// Whether a part is loaded.
    pub fn is_done(&self, table: &str, part: &str) -> bool {
        self.found.as_ref().is_some_and(|state| state.is_done(table, part))
    }

    /// What was loaded before this run, by table and part.
    pub fn done(&self) -> impl Iterator<Item = (&String, &BTreeMap<String, Tally>)> {
        self.found.iter().flat_map(|state| &state.done)
    }

    /// Rows that were written before this run: those of the parts that it had loaded, without what the target refused.
    pub fn rows(&self, plan: &Plan) -> u64 {
        let of = |load: &TableLoad| {
            let table = load.table.full_name();
            let done = load.entry.parts.iter().filter(|part| self.is_done(&table, &part.name));
            done.map(|part| part.rows).sum::<u64>().saturating_sub(self.rejected(&table))
        };
        plan.loads.iter().map(of).sum()
    }

    /// Rows of a table that the target has refused before this run, of the parts that were loaded.
    fn rejected(&self, table: &str) -> u64 {
        let done = self.found.as_ref().and_then(|state| state.done.get(table));
        done.map_or(0, |parts| parts.values().map(|tally| tally.rejected).sum())
    }

    /// The same of all tables.
    pub fn rejects(&self) -> BTreeMap<String, u64> {
        self.done().map(|(table, _)| (table.clone(), self.rejected(table))).collect()
    }

    /// Whether something of a table was loaded before this run.
    pub fn has_loaded(&self, table: &str) -> bool {
        self.found.as_ref().is_some_and(|state| state.done.contains_key(table))
    }

    /// Where what was rejected before this run is.
    pub fn reject_dirs(&self) -> &BTreeSet<String> {
        self.found.as_ref().map_or(const { &BTreeSet::new() }, |state| &state.reject_dirs)
    }

    /// Writes down that rows are about to be written into the plan's tables, and where rejects go; `began` is when, if this
    /// is the first run.
    ///
    /// # Errors
    /// `Error` if that cannot be written down.
    pub async fn begin(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        (began, reject_dir): (i64, Option<String>),
    ) -> Result<Before> {
        let ids = cluster.table_ids().await?;
        let mut tables = BTreeMap::new();
        for load in plan.loads.iter().filter(|load| load.treatment.loads()) {
            let id = ids.get(&load.target).ok_or_else(|| {
                Error::failed(format!("the catalogue has no table {}.{}", load.target.0, load.target.1))
            })?;
            let own = OwnTable { id: id.to_string(), found: found(load.treatment) };
            tables.insert(load.table.full_name(), own);
        }
        let mut file = self.file();
        file.cut(self.end)?;
        let earlier = self.found.as_ref().map_or(0, |state| state.list_tries);
        let begin = match &self.found {
            Some(state) => state.begin.clone(),
            None => {
                for other in &self.forgotten {
                    StateFile::open(&self.folder, other)?.0.remove()?;
                }
                let list_offset = 1 + (began / 1000).rem_euclid(1000);
                let begin = LoadBegin { began, list_offset, ..self.asked.clone() };
                write(&mut file, &LoadRecord::Begin(begin.clone()))?;
                begin
            }
        };
        let list_tries = earlier.saturating_add(Loading::list_tries(cluster));
        write(&mut file, &LoadRecord::Run(LoadRun { tables, list_tries }))?;
        if let Some(dir) = reject_dir.filter(|dir| !self.reject_dirs().contains(dir)) {
            write(&mut file, &LoadRecord::Rejects(dir))?;
        }
        Ok(Before { list_tries: earlier, list_offset: begin.list_offset })
    }

    /// Where it is written down which of these inputs are loaded.
    pub fn journal(&self, inputs: Vec<(String, String, Arc<TableWriter>)>) -> Box<dyn Journal> {
        Box::new(LoadJournal { file: self.file.clone(), inputs })
    }

    /// Writes down that nothing is known to be loaded of these tables: the next run loads them whole.
    ///
    /// # Errors
    /// `Error` if that cannot be written down.
    pub fn load_again(&self, tables: Vec<String>) -> Result<()> {
        write(&mut self.file(), &LoadRecord::Lost(tables))
    }

    /// Forgets it: everything is loaded.
    ///
    /// # Errors
    /// `Error` if the file cannot be removed.
    pub fn finish(&self) -> Result<()> {
        self.file().remove()
    }

    /// What an error leaves behind, in words.
    pub fn hint(&self) -> String {
        let file = self.file();
        match file.is_empty() {
            true => "nothing was loaded; run the same command again".to_owned(),
            false => format!(
                "run the same command again to go on: parts that are loaded whole are not loaded again ({}); --restart \
                 begins anew",
                file.path().display()
            ),
        }
    }

    fn file(&self) -> MutexGuard<'_, StateFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a writer's rows did not arrive as dumped.
pub fn tally(counts: &Counts) -> Tally {
    let of = |count: &AtomicU64| count.load(Relaxed);
    Tally {
        expired_rows: of(&counts.expired_rows),
        expired_cells: of(&counts.expired_cells),
        capped: of(&counts.capped),
        untold_rows: of(&counts.untold_rows),
        rejected: of(&counts.rejected),
    }
}

struct LoadJournal {
    file: Arc<Mutex<StateFile>>,
    /// Table, part and writer of each.
    inputs: Vec<(String, String, Arc<TableWriter>)>,
}

impl Journal for LoadJournal {
    fn finished(&mut self, lanes: &[usize]) -> Result<()> {
        let part = |(table, part, writer): &(String, String, Arc<TableWriter>)| DonePart {
            table: table.clone(),
            part: part.clone(),
            tally: tally(writer.counts()),
        };
        let parts = lanes.iter().filter_map(|lane| self.inputs.get(*lane)).map(part).collect();
        write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), &LoadRecord::Parts(parts))
    }

    /// Parts are loaded whole or again.
    fn reached(&mut self, _: Mark) -> Result<()> {
        Ok(())
    }

    /// All is written at its own time.
    fn set_aside(&mut self, _: i64) -> Result<()> {
        Ok(())
    }
}

fn write(file: &mut StateFile, record: &LoadRecord) -> Result<()> {
    let line = line(record).doing(|| "write the state")?;
    file.append(&line)
}

fn misfit(path: &Path, differences: &[String]) -> Error {
    let all = differences.join("; ");
    Error::failed(format!("this load was stopped before, and cannot go on ({}): {all}", path.display()))
        .hint(ANEW)
        .hint("nothing was written")
}

/// The load that is asked for, as a state says it.
fn asked(
    cluster: &Cluster,
    manifest: &Manifest,
    (args, request): (&LoadArgs, &Request),
) -> Result<LoadBegin> {
    let mut tables = BTreeMap::new();
    for keyspace in &manifest.keyspaces {
        for entry in &keyspace.tables {
            if request.wants_rows(keyspace, entry)? {
                let (into, table) = request.renames.table(&keyspace.name, &entry.name);
                tables.insert(format!("{}.{}", keyspace.name, entry.name), format!("{into}.{table}"));
            }
        }
    }
    let text = manifest.to_text().doing(|| "read the manifest")?;
    Ok(LoadBegin {
        format: FORMAT,
        dump: manifest.id.clone(),
        manifest: checksum(xxh3_128(text.as_bytes())),
        cluster: cluster.about.name.clone(),
        hosts: cluster.hosts(),
        tables,
        options: options(args)?,
        ..LoadBegin::default()
    })
}

/// The flags that decide what is written.
fn options(args: &LoadArgs) -> Result<BTreeMap<String, String>> {
    let sorted = |values: &[String]| {
        let mut values = values.to_vec();
        values.sort();
        values.join(" ")
    };
    let given = |flag: bool| if flag { "given" } else { "" }.to_owned();
    let list = match &args.use_list {
        Some(path) => {
            let bytes = std::fs::read(path).doing(|| format!("read the list {}", path.display()))?;
            format!("a list of {}", checksum(xxh3_128(&bytes)))
        }
        None => String::new(),
    };
    let if_exists = args.if_exists.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    let server = match &args.server {
        ForArg::Auto => "auto".to_owned(),
        ForArg::Nobody => "none".to_owned(),
        ForArg::Server(server) => server.to_string(),
    };
    let options = [
        ("SELECTOR", sorted(&args.selectors)),
        ("--exclude", sorted(&args.exclude)),
        ("--use-list", list),
        ("--map", sorted(&args.map)),
        ("--replication", sorted(&args.replication)),
        ("--for", server),
        ("--skip-unsupported", given(args.skip_unsupported)),
        ("--drop-compact-storage", given(args.drop_compact_storage)),
        ("--if-exists", if_exists),
        ("--data-only", given(args.data_only)),
        ("--ttl", args.ttl.to_string()),
        ("--timestamp", args.timestamp.to_string()),
    ];
    Ok(options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn found(treatment: Treatment) -> Found {
    match treatment {
        Treatment::Create => Found::Absent,
        Treatment::Truncate => Found::Emptied,
        Treatment::Append => Found::Filled,
        Treatment::Fill | Treatment::Skip | Treatment::SchemaOnly => Found::Empty,
    }
}

fn treatment(found: Found) -> Treatment {
    match found {
        Found::Absent => Treatment::Create,
        Found::Emptied => Treatment::Truncate,
        Found::Filled => Treatment::Append,
        Found::Empty => Treatment::Fill,
    }
}

fn shown(micros: i64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

/// What is loaded of a table and what is left, for people.
pub fn progress(load: &TableLoad) -> Option<String> {
    let parts = load.begun?;
    let all = load.entry.parts.iter().filter(|part| part.file.is_some()).count();
    Some(format!("{parts} of its {all} parts are loaded already"))
}
