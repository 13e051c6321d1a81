//! What becomes of records and rows that cannot be read or that the cluster refuses by themselves: they are counted, told, and
//! written into reject files, from which they can be imported again once they are repaired. Which they are is left to the
//! formats and to `cluster`.
//!
//! Beside each reject file stands one of reasons, a line for each record in it, in the same order: that of the files and lines
//! that they come from, whatever the order in which they were met. A file is made when there is something to reject, under a
//! name that nothing has, and readable by its owner only.

use super::plural;
use crate::error::{Context, Error, Result};
use crate::format::csv::CsvSink;
use crate::format::{Column, Layout, Sink, SinkOptions};
use crate::rows::{Page, PageBuilder};
use crate::store::disk::{DiskFile, make_dir, rename, sync_dir};
use crate::types::codec;
use crate::types::cql::{CqlType, Native};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rejects that are shown; all are in the files.
const SHOWN: usize = 5;

/// What a run rejects.
pub struct Rejects {
    tally: Arc<Tally>,
    files: Mutex<Vec<Arc<RejectFile>>>,
}

/// How many there are and may be.
struct Tally {
    /// What is rejected: `record`, `row`.
    noun: &'static str,
    most: u64,
    dir: PathBuf,
    state: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    all: u64,
    /// The first of them by file and line, as they are told.
    first: Vec<(String, u64, String)>,
}

/// Where the rejects of a file or a table go.
pub struct RejectFile {
    tally: Arc<Tally>,
    form: Form,
    /// The keys of its rows, where it has rows.
    keys: Mutex<HashSet<String>>,
    state: Mutex<State>,
}

/// What a reject file holds.
struct Form {
    /// Its name, without what tells it from its source.
    stem: String,
    /// What it begins with.
    header: Vec<u8>,
    /// The columns of its reasons.
    reasons: [&'static str; 4],
    /// How rows become records, where they are no text by themselves.
    layout: Option<Layout>,
}

enum State {
    Unused,
    Open(Box<Open>),
    Closed,
}

/// A pair of files that is being written.
struct Open {
    records: Appended,
    reasons: Appended,
    /// The files that the records come from.
    sources: Vec<String>,
    places: Vec<Place>,
}

/// A file, and where its entries end.
struct Appended {
    path: PathBuf,
    file: DiskFile,
    header: u64,
    len: u64,
    /// So much of it lasts.
    synced: u64,
}

/// Where a record comes from, and where it and its reason end.
#[derive(Clone, Copy)]
struct Place {
    source: usize,
    number: u64,
    record: u64,
    reason: u64,
}

/// Something rejected.
pub struct Reject<'a> {
    /// The file it comes from.
    pub source: &'a str,
    /// Its line there, or the number of the row; from 1.
    pub number: u64,
    /// The column that is wrong, or the row's key.
    pub what: Option<&'a str>,
    /// Why.
    pub reason: &'a str,
    /// Its record, line end included.
    pub record: &'a [u8],
}

/// A reject file that was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The records.
    pub file: String,
    /// A line for each of them.
    pub reasons: String,
}

/// What was rejected in the end.
#[derive(Debug, Default)]
pub struct Rejected {
    noun: &'static str,
    /// How many.
    pub count: u64,
    /// Where they are.
    pub files: Vec<Written>,
}

impl Rejects {
    /// Of `noun`s at most `most` may be rejected; with none, nothing is written. Files go into `dir`, by default the
    /// directory that the run is in.
    pub fn new(noun: &'static str, most: u64, dir: Option<PathBuf>) -> Rejects {
        let dir = dir.unwrap_or_default();
        let tally = Arc::new(Tally { noun, most, dir, state: Mutex::default() });
        Rejects { tally, files: Mutex::default() }
    }

    /// Where its files go, if there may be any, wherever the next run is.
    ///
    /// # Errors
    /// `Error` if the directory of the run is not known.
    pub fn dir(&self) -> Result<Option<String>> {
        if self.tally.most == 0 {
            return Ok(None);
        }
        let dir = match self.tally.dir.as_os_str().is_empty() {
            true => std::env::current_dir(),
            false => std::path::absolute(&self.tally.dir),
        };
        Ok(Some(dir.doing(|| "find the directory of rejects")?.to_string_lossy().into_owned()))
    }

    /// The rejects of a CSV file that begins with `header`: its records, verbatim.
    pub fn of_records(&self, source: &Path, header: &[u8]) -> Arc<RejectFile> {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.strip_suffix(".csv").unwrap_or(&name).to_owned();
        let mut header = header.to_vec();
        if !header.ends_with(b"\n") {
            header.push(b'\n');
        }
        self.add(Form { stem, header, reasons: ["file", "line", "column", "reason"], layout: None })
    }

    /// The rejects of a table that is called `name`: its rows, as a dump's CSV has them.
    ///
    /// # Errors
    /// `Error` if there is no such CSV.
    pub fn of_rows(&self, name: &str, layout: Layout) -> Result<Arc<RejectFile>> {
        let header = dump_csv(&layout, None)?;
        let stem = name.replace('/', "%2F");
        let reasons = ["file", "row", "key", "reason"];
        Ok(self.add(Form { stem, header, reasons, layout: Some(layout) }))
    }

    fn add(&self, form: Form) -> Arc<RejectFile> {
        let state = Mutex::new(State::Unused);
        let file = RejectFile { tally: self.tally.clone(), form, keys: Mutex::default(), state };
        let file = Arc::new(file);
        lock(&self.files).push(file.clone());
        file
    }

    /// Ends the files of a run that ended so, and tells what was rejected.
    ///
    /// # Errors
    /// How the run ended, with the files named; or the one that cannot be written.
    pub fn ended<T>(&self, run: Result<T>) -> Result<(T, Rejected)> {
        let mut files = Vec::new();
        let mut broken = None;
        for file in lock(&self.files).iter() {
            match file.close() {
                Ok(written) => files.extend(written),
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        let Count { all, first } = std::mem::take(&mut *lock(&self.tally.state));
        let rejected = Rejected { noun: self.tally.noun, count: all, files };
        if self.tally.most > 0 && all > 0 {
            first.iter().for_each(|(_, _, told)| crate::report::warn(&format!("rejected: {told}")));
            if let Some(more @ 1..) = all.checked_sub(first.len() as u64) {
                crate::report::warn(&format!("rejected: {more} more"));
            }
        }
        match (run, broken) {
            (Ok(_), Some(error)) => Err(error),
            (Ok(done), None) => Ok((done, rejected)),
            (Err(error), _) if rejected.files.is_empty() => Err(error),
            (Err(error), _) => Err(error.hint(rejected.told())),
        }
    }
}

impl Rejected {
    /// How many, where they are and why.
    fn told(&self) -> String {
        let names = |name: fn(&Written) -> &str| self.files.iter().map(name).collect::<Vec<_>>().join(", ");
        let (files, reasons) = (names(|w| &w.file), names(|w| &w.reasons));
        let were = if self.count == 1 { "was" } else { "were" };
        format!("{} {were} rejected: {files}; why: {reasons}", plural(self.count, self.noun))
    }

    /// That nothing was rejected, neither now nor by the `earlier` runs of what goes on, whose files are in these directories.
    ///
    /// # Errors
    /// `Error` (exit 3) names the files.
    pub fn result(&self, earlier: u64, dirs: &BTreeSet<String>) -> Result<()> {
        let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
        let more = match earlier {
            0 => String::new(),
            1 => {
                format!("1 {} was rejected by an earlier run, into a file in {}", self.noun, dirs.join(", "))
            }
            _ => format!(
                "{} were rejected by earlier runs, into files in {}",
                plural(earlier, self.noun),
                dirs.join(", ")
            ),
        };
        match (self.count, earlier) {
            (0, 0) => Ok(()),
            (0, _) => Err(Error::incomplete(more)),
            (_, 0) => Err(self.incomplete(self.told())),
            (_, _) => Err(self.incomplete(format!("{}\n{more}", self.told()))),
        }
    }

    fn incomplete(&self, told: String) -> Error {
        Error::incomplete(told)
            .hint("repair what is wrong in them, and import them: cqlift import TABLE FILE…")
    }
}

impl RejectFile {
    /// Whether anything may be rejected.
    pub fn tolerates(&self) -> bool {
        self.tally.most > 0
    }

    /// Makes sure that what was rejected so far lasts, whatever becomes of the machine.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn sync(&self) -> Result<()> {
        match &mut *lock(&self.state) {
            State::Open(open) => open.records.sync().and_then(|()| open.reasons.sync()),
            State::Unused | State::Closed => Ok(()),
        }
    }

    /// How many come from before this line of their file, where all come from one; all without it.
    pub fn before(&self, line: Option<u64>) -> u64 {
        match &*lock(&self.state) {
            State::Open(open) => {
                open.places.iter().filter(|place| line.is_none_or(|line| place.number < line)).count() as u64
            }
            State::Unused | State::Closed => 0,
        }
    }

    /// How many rows it has, by their keys.
    pub fn count(&self) -> u64 {
        lock(&self.keys).len() as u64
    }

    /// Whether it has the row of that key: `name=value, …`.
    pub fn has(&self, key: &str) -> bool {
        lock(&self.keys).contains(key)
    }

    /// Rejects a row of a page as [`Reject::record`] would be.
    ///
    /// # Errors
    /// As [`RejectFile::reject`].
    pub fn reject_row(
        &self,
        reject: Reject<'_>,
        (page, row): (&Page, usize),
        alone: impl FnOnce() -> Error,
    ) -> Result<()> {
        let Some(layout) = self.form.layout.as_ref().filter(|_| self.tolerates()) else {
            return self.reject(&reject, alone);
        };
        let text = dump_csv(layout, Some(&page.part(row..row + 1)))?;
        let record = text.get(self.form.header.len()..).unwrap_or_default();
        self.reject(&Reject { record, ..reject }, alone)
    }

    /// Rejects a record. The error that it is where nothing may be rejected is `alone`.
    ///
    /// # Errors
    /// `Error` if that is one too many, or cannot be written.
    pub fn reject(&self, reject: &Reject<'_>, alone: impl FnOnce() -> Error) -> Result<()> {
        if !self.tolerates() {
            return Err(alone());
        }
        self.write(reject)?;
        if self.form.layout.is_some() {
            lock(&self.keys).extend(reject.what.map(str::to_owned));
        }
        let told = self.told(reject);
        let Tally { noun, most, ref state, .. } = *self.tally;
        let mut count = lock(state);
        count.all += 1;
        let all = count.all;
        let entry = (reject.source.to_owned(), reject.number, told.clone());
        let at = count.first.partition_point(|other| *other < entry);
        count.first.insert(at, entry);
        count.first.truncate(SHOWN);
        match all > most {
            false => Ok(()),
            true => Err(Error::failed(format!(
                "{} were rejected, more than --max-errors {most} allows; the last: {told}",
                plural(all, noun)
            ))),
        }
    }

    fn told(&self, Reject { source, number, what, reason, .. }: &Reject<'_>) -> String {
        let [_, place, kind, _] = self.form.reasons;
        let what = match (kind, what) {
            (_, None) => String::new(),
            ("column", Some(name)) => format!(", column {name:?}"),
            (_, Some(key)) => format!(" ({key})"),
        };
        format!("{source}, {place} {number}{what}: {reason}")
    }

    fn write(&self, reject: &Reject<'_>) -> Result<()> {
        let mut state = lock(&self.state);
        if matches!(*state, State::Unused) {
            *state = State::Open(Box::new(Open::new(&self.tally.dir, &self.form)?));
        }
        let State::Open(open) = &mut *state else {
            return Err(Error::failed("the reject files are closed already"));
        };
        open.write(reject)
    }

    /// Puts the records into the order of their sources and closes the files.
    fn close(&self) -> Result<Option<Written>> {
        match std::mem::replace(&mut *lock(&self.state), State::Closed) {
            State::Open(open) => open.close().map(Some),
            State::Unused | State::Closed => Ok(None),
        }
    }
}

impl Open {
    fn new(dir: &Path, form: &Form) -> Result<Open> {
        let folder = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let doing = || format!("make a reject file in {}", folder.display());
        let hint = |error: Error| error.hint("choose another place for them with --reject-dir");
        make_dir(folder).doing(doing).map_err(hint)?;
        let reasons_header = reasons_csv(&form.reasons.map(Some))?;
        for number in 1_u32.. {
            let number = if number == 1 { String::new() } else { format!("-{number}") };
            let path = |end: &str| dir.join(format!("{}.rejected{number}{end}.csv", form.stem));
            let (records, reasons) = (path(""), path(".reasons"));
            // Nothing that is there is written over, nor is one made beside the other's old one.
            if fs::symlink_metadata(&reasons).is_ok() {
                continue;
            }
            let records = match Appended::new(records, &form.header) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.doing(doing).map_err(hint)?,
            };
            let reasons = Appended::new(reasons, &reasons_header).doing(doing).map_err(hint)?;
            // What is synced into them lasts only if their names do.
            sync_dir(dir).doing(doing).map_err(hint)?;
            return Ok(Open { records, reasons, sources: Vec::new(), places: Vec::new() });
        }
        Err(hint(Error::failed(format!("{}: no name is free", doing()))))
    }

    fn write(&mut self, reject: &Reject<'_>) -> Result<()> {
        let line = [Some(reject.source), Some(&reject.number.to_string()), reject.what, Some(reject.reason)];
        self.records.add(reject.record)?;
        // The last record of a file may lack its line end.
        if !reject.record.ends_with(b"\n") {
            self.records.add(b"\n")?;
        }
        self.reasons.add(&reasons_csv(&line)?)?;
        let source = match self.sources.iter().rposition(|known| known == reject.source) {
            Some(known) => known,
            None => {
                self.sources.push(reject.source.to_owned());
                self.sources.len() - 1
            }
        };
        let Open { records, reasons, .. } = &self;
        self.places.push(Place { source, number: reject.number, record: records.len, reason: reasons.len });
        Ok(())
    }

    fn close(self) -> Result<Written> {
        let Open { records, reasons, sources, places } = self;
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|at| places.get(*at).map(|place| (&sources[place.source], place.number)));
        let path = |path: &Path| path.display().to_string();
        let written = Written { file: path(&records.path), reasons: path(&reasons.path) };
        let doing = |path: &str| format!("write {path}");
        records
            .close(&order, &places.iter().map(|p| p.record).collect::<Vec<_>>())
            .doing(|| doing(&written.file))?;
        reasons
            .close(&order, &places.iter().map(|p| p.reason).collect::<Vec<_>>())
            .doing(|| doing(&written.reasons))?;
        Ok(written)
    }
}

impl Appended {
    /// A new file that begins with `header`.
    fn new(path: PathBuf, header: &[u8]) -> std::io::Result<Appended> {
        let mut file = DiskFile::create_new(&path)?;
        file.write_all(header)?;
        Ok(Appended { path, file, header: header.len() as u64, len: header.len() as u64, synced: 0 })
    }

    fn sync(&mut self) -> Result<()> {
        if self.synced < self.len {
            self.file.sync().doing(|| format!("write {}", self.path.display()))?;
            self.synced = self.len;
        }
        Ok(())
    }

    fn add(&mut self, text: &[u8]) -> Result<()> {
        self.file.write_all(text).doing(|| format!("write {}", self.path.display()))?;
        self.len += text.len() as u64;
        Ok(())
    }

    /// Puts the entries that end at `ends` into this order, if they are not in it, and syncs the file.
    fn close(self, order: &[usize], ends: &[u64]) -> std::io::Result<()> {
        if order.is_sorted() {
            return self.file.sync();
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".tmp");
        let mut sorted = BufWriter::new(DiskFile::create_new(Path::new(&name))?);
        let source = File::open(&self.path)?;
        copy(&source, 0..self.header, &mut sorted)?;
        for entry in order {
            let start = entry.checked_sub(1).and_then(|before| ends.get(before)).unwrap_or(&self.header);
            copy(&source, *start..ends.get(*entry).copied().unwrap_or(*start), &mut sorted)?;
        }
        sorted.into_inner()?.sync()?;
        rename(Path::new(&name), &self.path)?;
        sync_dir(self.path.parent().unwrap_or(Path::new("")))
    }
}

fn copy(source: &File, range: std::ops::Range<u64>, to: &mut impl Write) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    let mut at = range.start;
    while at < range.end {
        let len = piece.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        source.read_exact_at(&mut piece[..len], at)?;
        to.write_all(&piece[..len])?;
        at += len as u64;
    }
    Ok(())
}

/// Rows as the CSV of a dump, with its header.
fn dump_csv(layout: &Layout, page: Option<&Page>) -> Result<Vec<u8>> {
    let doing = || "write rejected rows";
    let mut sink = Box::new(CsvSink::new(layout, Vec::new()).doing(doing)?);
    if let Some(page) = page {
        sink.write(page).doing(doing)?;
    }
    sink.finish().doing(doing)
}

/// A line of reasons.
fn reasons_csv(fields: &[Option<&str>]) -> Result<Vec<u8>> {
    let doing = || "write the reasons of rejects";
    let text = CqlType::Native(Native::Text);
    let column =
        |name| Ok(Column { name, codec: Arc::from(codec(&text).doing(doing)?), cql_type: text.clone() });
    let columns = (0..fields.len()).map(|number| column(number.to_string())).collect::<Result<Vec<_>>>()?;
    let options = SinkOptions { header: false, ..SinkOptions::default() };
    let mut sink = Box::new(CsvSink::of_values(&columns, options, Vec::new()).doing(doing)?);
    let mut page = PageBuilder::new(fields.len());
    for field in fields {
        page.push(field.map(str::as_bytes)).doing(doing)?;
    }
    sink.write(&page.finish()).doing(doing)?;
    sink.finish().doing(doing)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::log::taken;
    use crate::store::power::{Disk, WHIMS, whim};

    /// What was synced is in both files, whenever the power fails, also while they are put into order.
    #[test]
    fn what_was_rejected_survives_a_power_loss() {
        let scratch = tempfile::tempdir().unwrap();
        let was = scratch.path().join("rejects");
        taken();
        let rejects = Rejects::new("record", 9, Some(was.clone()));
        let file = rejects.of_records(Path::new("in.csv"), b"k,v\n");
        // The steps, and how many records last after so many of them.
        let (mut steps, mut lasting) = (Vec::new(), vec![(0, 0)]);
        for (count, number) in [7, 3, 5].into_iter().enumerate() {
            let record = format!("{number},x\n");
            let reject =
                Reject { source: "in.csv", number, what: None, reason: "bad", record: record.as_bytes() };
            file.reject(&reject, || Error::failed("none may be")).unwrap();
            file.sync().unwrap();
            steps.append(&mut taken());
            lasting.push((steps.len(), count + 1));
        }
        rejects.ended(Ok(())).unwrap();
        steps.append(&mut taken());
        for cut in 0..=steps.len() {
            let mut disk = Disk::default();
            steps[..cut].iter().for_each(|op| disk.apply(op));
            let (_, least) = lasting.iter().rfind(|(step, _)| *step <= cut).unwrap();
            for seed in 0..WHIMS {
                let root = scratch.path().join(format!("{cut}-{seed}"));
                fs::create_dir(&root).unwrap();
                disk.leave(scratch.path(), &root, whim(seed, cut));
                let text = |name: &str| {
                    let left = fs::read(root.join("rejects").join(name)).unwrap_or_default();
                    String::from_utf8_lossy(&left).into_owned()
                };
                let (records, reasons) = (text("in.rejected.csv"), text("in.rejected.reasons.csv"));
                for number in [7, 3, 5].into_iter().take(*least) {
                    assert!(records.contains(&format!("\n{number},x\n")), "{cut} {seed}: {records}");
                    assert!(
                        reasons.contains(&format!("\nin.csv,{number},,bad\n")),
                        "{cut} {seed}: {reasons}"
                    );
                }
                fs::remove_dir_all(&root).unwrap();
            }
        }
    }
}
