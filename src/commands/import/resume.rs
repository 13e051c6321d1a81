//! An import that goes on where it was stopped: its state is found, held against what is asked for, and kept up to date. What
//! the records say is left to [`crate::state`].

use super::ImportArgs;
use crate::cluster::Cluster;
use crate::commands::feed::{Journal, Mark};
use crate::commands::plural;
use crate::error::{Context, Error, Result};
use crate::format::Place;
use crate::manifest::checksum;
use crate::state::{FORMAT, ImportBegin, ImportFile, ImportPlace, ImportRecord, ImportState, line};
use crate::store::state::{StateFile, default_folder, states};
use crate::table::Table;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Bytes of a file by which it is known again.
const HEAD: u64 = 1 << 20;

/// The state of the import that is asked for.
pub struct Resume {
    folder: PathBuf,
    file: Arc<Mutex<StateFile>>,
    asked: ImportBegin,
    found: Option<ImportState>,
    /// Bytes of the file that count.
    end: usize,
    /// Earlier runs, also of what is forgotten, have written at times below this one, µs since 1970.
    times: Option<i64>,
    /// Other states that are to be forgotten, by their names.
    forgotten: Vec<String>,
}

impl Resume {
    /// Finds the state, or prepares one; it is held from here on. `None` where files are no regular ones: what they gave
    /// cannot be asked for again.
    ///
    /// # Errors
    /// `Error` says how the state that is there differs from what is asked for.
    pub async fn open(cluster: &Cluster, table: &Table, args: &ImportArgs) -> Result<Option<Resume>> {
        for file in &args.files {
            if !is_regular(file)? {
                return Ok(None);
            }
        }
        let asked = asked(cluster, table, args).await?;
        let folder = args.state.clone().unwrap_or_else(default_folder);
        let paths: Vec<&str> = asked.files.iter().map(|file| file.path.as_str()).collect();
        let key = format!("{:?} {:?} {:?} {paths:?}", asked.cluster, asked.hosts.first(), asked.table);
        let mut name = format!("import-{:016x}", xxh3_64(key.as_bytes()));
        let (mut forgotten, mut times) = (Vec::new(), None);
        for (path, bytes) in states(&folder, "import-")? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let state = match ImportState::read(&bytes) {
                Ok((Some(state), _)) if state.begin.meets(&asked) => state,
                Err(error) if stem == name && !args.restart => {
                    return Err(misfit(&path, &[error.to_string()]));
                }
                Ok(_) | Err(_) => continue,
            };
            let differs = state.begin.differences(&asked);
            if differs.is_empty() && !args.restart {
                name = stem;
            } else if args.restart || state.at.is_none() {
                // What it has written, it has written at times of its own.
                times = times.max(state.times);
                forgotten.push(stem);
            } else {
                return Err(misfit(&path, &differs));
            }
        }
        let (file, bytes) = StateFile::open(&folder, &name)?;
        let (found, end) = match args.restart {
            true => (None, 0),
            false => ImportState::read(&bytes).map_err(|e| misfit(file.path(), &[e.to_string()]))?,
        };
        let found = found.filter(|state| state.begin.differences(&asked).is_empty());
        forgotten.retain(|other| *other != name);
        let times = times.max(found.as_ref().and_then(|state| state.times));
        let end = if found.is_some() { end } else { 0 };
        Ok(Some(Resume { folder, file: Arc::new(Mutex::new(file)), asked, found, end, times, forgotten }))
    }

    /// Refuses to go on with counters: what was on its way when it was stopped may have counted.
    ///
    /// # Errors
    /// `Error` says what is known of them.
    pub fn refuse_counters(&self) -> Result<()> {
        let Some(state) = &self.found else { return Ok(()) };
        let known = match state.at.and_then(|at| Some((at, state.begin.files.get(at.file)?))) {
            Some((at, file)) => format!(
                "{} before line {} of {} are counted once, of those behind it some may be",
                plural(at.rows, "row"),
                at.line,
                file.path
            ),
            None => "some of its rows may be counted".to_owned(),
        };
        Err(Error::failed(format!(
            "this import into the counter table {} was stopped before, and cannot go on without counting twice: {known}",
            state.begin.table
        ))
        .hint("TRUNCATE the table, and import anew with --restart"))
    }

    /// Where the import goes on.
    pub fn at(&self) -> ImportPlace {
        self.found.as_ref().and_then(|state| state.at).unwrap_or_default()
    }

    /// The first write time, µs since 1970, of a run that begins at `now`: above all that were used before.
    pub fn time(&self, now: i64) -> i64 {
        match self.found {
            Some(_) => self.times.unwrap_or(now),
            None => self.times.map_or(now, |times| times.max(now)),
        }
    }

    /// Where what was rejected before this run is.
    pub fn reject_dirs(&self) -> &BTreeSet<String> {
        self.found.as_ref().map_or(const { &BTreeSet::new() }, |state| &state.reject_dirs)
    }

    /// Writes down what is imported, and where rejects go, before anything is; answers where it is written down how far it comes.
    ///
    /// # Errors
    /// `Error` if that cannot be written down.
    pub fn begin(&self, reject_dir: Option<String>) -> Result<Box<dyn Journal>> {
        let mut file = self.file();
        file.cut(self.end)?;
        if self.found.is_none() {
            for other in &self.forgotten {
                StateFile::open(&self.folder, other)?.0.remove()?;
            }
            write(&mut file, &ImportRecord::Begin(self.asked.clone()))?;
        }
        if let Some(dir) = reject_dir.filter(|dir| !self.reject_dirs().contains(dir)) {
            write(&mut file, &ImportRecord::Rejects(dir))?;
        }
        Ok(Box::new(ImportJournal { file: self.file.clone(), base: self.at() }))
    }

    /// That the files are still those that were to be imported. One that is gone was read whole before it went.
    ///
    /// # Errors
    /// `Error` names a file that has been written to meanwhile: which of its rows were read nobody can tell.
    pub fn check_files(&self) -> Result<()> {
        for file in &self.asked.files {
            let Ok(facts) = fs::metadata(&file.path) else { continue };
            if (facts.len(), modified(&facts)) != (file.bytes, file.modified) {
                return Err(Error::failed(format!(
                    "{} was written to while it was imported: it had {} bytes, has now {}",
                    file.path,
                    file.bytes,
                    facts.len()
                ))
                .hint("rows of it may be missing, or be its old ones: import it again with --restart"));
            }
        }
        Ok(())
    }

    /// Forgets it: everything is imported.
    ///
    /// # Errors
    /// `Error` if the file cannot be removed.
    pub fn finish(&self) -> Result<()> {
        self.file().remove()
    }

    /// What an error leaves behind, in words.
    pub fn hint(&self) -> String {
        let path = self.file().path().display().to_string();
        format!("run the same command again to go on where it was stopped ({path}); --restart begins anew")
    }

    fn file(&self) -> MutexGuard<'_, StateFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ImportJournal {
    file: Arc<Mutex<StateFile>>,
    /// Where this run began.
    base: ImportPlace,
}

impl Journal for ImportJournal {
    fn finished(&mut self, _: &[usize]) -> Result<()> {
        Ok(())
    }

    fn reached(&mut self, mark: Mark) -> Result<()> {
        let Mark { input, place: Place { offset, line }, rows, rejected } = mark;
        let (file, rows, rejected) =
            (self.base.file + input, self.base.rows + rows, self.base.rejected + rejected);
        let place = ImportPlace { file, offset, line, rows, rejected };
        write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), &ImportRecord::At(place))
    }

    fn set_aside(&mut self, until: i64) -> Result<()> {
        write(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner), &ImportRecord::Times(until))
    }
}

fn write(file: &mut StateFile, record: &ImportRecord) -> Result<()> {
    let line = line(record).doing(|| "write the state")?;
    file.append(&line)
}

/// Whether a file can be read again from any place.
///
/// # Errors
/// `Error` names a file that is not there.
pub fn is_regular(file: &Path) -> Result<bool> {
    let facts = fs::metadata(file).doing(|| format!("open {}", file.display()))?;
    Ok(facts.is_file())
}

/// When a file was changed, ns since 1970.
fn modified(facts: &fs::Metadata) -> i64 {
    facts.mtime().saturating_mul(1_000_000_000).saturating_add(facts.mtime_nsec())
}

fn misfit(path: &Path, differences: &[String]) -> Error {
    let all = differences.join("; ");
    Error::failed(format!("this import was stopped before, and cannot go on ({}): {all}", path.display()))
        .hint("bring back what differs, or forget what was imported and begin anew with --restart")
        .hint("nothing was written")
}

/// The import that is asked for, as a state says it.
async fn asked(cluster: &Cluster, table: &Table, args: &ImportArgs) -> Result<ImportBegin> {
    let ids = cluster.table_ids().await?;
    let id = ids.get(&(table.keyspace.clone(), table.name.clone()));
    let facts = |path: &PathBuf| {
        let doing = || format!("read {}", path.display());
        let mut head = Vec::new();
        let file = File::open(path).doing(doing)?;
        let facts = file.metadata().doing(doing)?;
        file.take(HEAD).read_to_end(&mut head).doing(doing)?;
        Ok(ImportFile {
            path: fs::canonicalize(path).doing(doing)?.to_string_lossy().into_owned(),
            bytes: facts.len(),
            modified: modified(&facts),
            head: checksum(xxh3_128(&head)),
        })
    };
    Ok(ImportBegin {
        format: FORMAT,
        cluster: cluster.about.name.clone(),
        hosts: cluster.hosts(),
        table: table.full_name(),
        id: id.map(ToString::to_string).unwrap_or_default(),
        files: args.files.iter().map(facts).collect::<Result<_>>()?,
        options: [("--null".to_owned(), args.null.clone())].into(),
    })
}
