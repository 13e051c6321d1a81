//! The state of a load or an import: what it says, line by line, and how far its claims go. Pure; where its file lies and
//! how a line gets there whole is left to `store`.
//!
//! A line is the XXH3-64 of a JSON record in hex, a space, and the record. Each is written at once and synced before what it
//! claims is relied on, so only the last one can be torn: it is as if it had never been written. Any other damage is an error.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// The form of the records; another one is not read.
pub const FORMAT: u32 = 1;

/// Digits of a line's hash.
const HASH: usize = 16;

/// Why a state cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadState {
    /// A line before the last is not as it was written.
    #[error("line {0} is damaged")]
    Damaged(usize),
    /// Its records do not follow each other as they must.
    #[error("line {0}: {1}")]
    Order(usize, &'static str),
    /// A line is as it was written, and says what is not known here.
    #[error("line {0} says what this cqlift does not know: a later version has written it")]
    Unknown(usize),
    /// It was written by a later version.
    #[error("it has the form {0}; this cqlift reads form {FORMAT}")]
    Format(u32),
}

/// A record as its line.
///
/// # Errors
/// `serde_json::Error` if it cannot be written as JSON.
pub fn line(record: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    Ok(format!("{:016x} {json}\n", xxh3_64(json.as_bytes())))
}

/// The records of a state's bytes, and how many bytes they take: what follows those is a torn line.
///
/// # Errors
/// `BadState::Damaged` if a line that is not the last is not as it was written, `BadState::Unknown` if one that is cannot be
/// understood.
pub fn records<R: DeserializeOwned>(bytes: &[u8]) -> Result<(Vec<R>, usize), BadState> {
    let (mut records, mut end) = (Vec::new(), 0);
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        match json(text) {
            Some(json) => {
                let record =
                    serde_json::from_slice(json).map_err(|_| BadState::Unknown(records.len() + 1))?;
                records.push(record);
            }
            None if end + text.len() == bytes.len() => break,
            None => return Err(BadState::Damaged(records.len() + 1)),
        }
        end += text.len();
    }
    Ok((records, end))
}

/// What a line says, if it is whole.
fn json(line: &[u8]) -> Option<&[u8]> {
    let text = line.strip_suffix(b"\n")?;
    let (hash, json) = (text.get(..HASH)?, text.get(HASH..)?.strip_prefix(b" ")?);
    (hash == format!("{:016x}", xxh3_64(json)).as_bytes()).then_some(json)
}

/// A record of a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadRecord {
    /// The first: what is loaded, and how.
    Begin(LoadBegin),
    /// A run begins; it may write into these tables from here on.
    Run(LoadRun),
    /// The cluster has taken all rows of these parts.
    Parts(Vec<DonePart>),
    /// Of these tables, by the dump's names, the cluster lacks rows that it had taken: they are to be loaded again.
    Lost(Vec<String>),
    /// What is rejected from here on goes into files in this directory.
    Rejects(String),
}

/// What a load is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBegin {
    /// See [`FORMAT`].
    pub format: u32,
    /// Id of the dump.
    pub dump: String,
    /// Checksum of its manifest.
    pub manifest: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Host ids of its nodes.
    pub hosts: Vec<String>,
    /// The tables: by the dump's name, the one that each goes into.
    pub tables: BTreeMap<String, String>,
    /// The flags that decide what is written, by name.
    pub options: BTreeMap<String, String>,
    /// When it began, µs since 1970, by the cluster's clock: the write time of what tells none.
    pub began: i64,
    /// µs by which its second writing of a list differs from that of most other loads.
    pub list_offset: i64,
}

/// A run of a load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRun {
    /// The tables that it may write into, by the dump's names.
    pub tables: BTreeMap<String, OwnTable>,
    /// It writes lists less than so many µs above their write times, and the runs before it did so below those of this one.
    pub list_tries: u32,
}

/// A table that a load has begun to fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTable {
    /// Its id in the cluster's catalogue.
    pub id: String,
    /// How it was found.
    pub found: Found,
}

/// How a load found a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was not there.
    Absent,
    /// It held no rows.
    Empty,
    /// Its rows were removed first.
    Emptied,
    /// It held rows, which stay.
    Filled,
}

/// A part that is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DonePart {
    /// Its table by the dump's name.
    pub table: String,
    /// Its name.
    pub part: String,
    /// What of it was not written as dumped.
    pub tally: Tally,
}

/// What did not reach the target as it was dumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rows that had expired.
    pub expired_rows: u64,
    /// Cells that had expired.
    pub expired_cells: u64,
    /// Statements whose expiry was put forward.
    pub capped: u64,
    /// Rows of which no cell told its time.
    pub untold_rows: u64,
    /// Rows that the target refused.
    #[serde(default)]
    pub rejected: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.expired_rows += other.expired_rows;
        self.expired_cells += other.expired_cells;
        self.capped += other.capped;
        self.untold_rows += other.untold_rows;
        self.rejected += other.rejected;
    }
}

/// The state of a load that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadState {
    /// What it is.
    pub begin: LoadBegin,
    /// The tables that it has begun to fill, by the dump's names.
    pub tables: BTreeMap<String, OwnTable>,
    /// Its runs have written lists less than so many µs above their write times.
    pub list_tries: u32,
    /// What is loaded: by table and part.
    pub done: BTreeMap<String, BTreeMap<String, Tally>>,
    /// Where its runs have put what was rejected.
    pub reject_dirs: BTreeSet<String>,
}

impl LoadState {
    /// Reads a state; `None` if nothing had been begun. The number is that of the bytes that count.
    ///
    /// # Errors
    /// `BadState` says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<(Option<LoadState>, usize), BadState> {
        let (records, end) = records(bytes)?;
        let mut state: Option<LoadState> = None;
        for (number, record) in records.into_iter().enumerate() {
            match (&mut state, record) {
                (None, LoadRecord::Begin(begin)) if begin.format != FORMAT => {
                    return Err(BadState::Format(begin.format));
                }
                (None, LoadRecord::Begin(begin)) => state = Some(LoadState { begin, ..Default::default() }),
                (Some(state), LoadRecord::Run(run)) => {
                    state.tables.extend(run.tables);
                    state.list_tries = state.list_tries.max(run.list_tries);
                }
                (Some(state), LoadRecord::Parts(parts)) => {
                    for DonePart { table, part, tally } in parts {
                        state.done.entry(table).or_default().insert(part, tally);
                    }
                }
                (Some(state), LoadRecord::Lost(tables)) => {
                    state.done.retain(|table, _| !tables.contains(table));
                }
                (Some(state), LoadRecord::Rejects(dir)) => drop(state.reject_dirs.insert(dir)),
                (None, _) => return Err(BadState::Order(number + 1, "what is loaded has not been said")),
                (Some(_), LoadRecord::Begin(_)) => {
                    return Err(BadState::Order(number + 1, "a load begins inside another"));
                }
            }
        }
        Ok((state.filter(|state| !state.tables.is_empty()), end))
    }

    /// Whether the part is loaded.
    pub fn is_done(&self, table: &str, part: &str) -> bool {
        self.done.get(table).is_some_and(|parts| parts.contains_key(part))
    }

    /// The number of parts that are loaded.
    pub fn parts(&self) -> usize {
        self.done.values().map(BTreeMap::len).sum()
    }
}

impl LoadBegin {
    /// Whether both fill a table of one cluster.
    pub fn meets(&self, other: &LoadBegin) -> bool {
        let is_same = is_same_cluster((&self.cluster, &self.hosts), (&other.cluster, &other.hosts));
        is_same && self.tables.values().any(|table| other.tables.values().any(|t| t == table))
    }

    /// How a load that is asked for differs from this one, in words; none if it is the same.
    pub fn differences(&self, asked: &LoadBegin) -> Vec<String> {
        let mut found = Vec::new();
        if self.manifest != asked.manifest {
            found.push("the manifest of the dump is not the one that was being loaded".to_owned());
        }
        differing(&self.options, &asked.options, &mut found);
        for (table, into) in &self.tables {
            match asked.tables.get(table) {
                Some(other) if other == into => {}
                Some(other) => found.push(format!("{table} went into {into}, now into {other}")),
                None => found.push(format!("{table} was loaded too, into {into}")),
            }
        }
        let new = asked.tables.iter().filter(|(table, _)| !self.tables.contains_key(*table));
        found.extend(new.map(|(table, into)| format!("{table} was not loaded, and now goes into {into}")));
        found
    }
}

/// A record of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportRecord {
    /// The first: what is imported, and how.
    Begin(ImportBegin),
    /// Rows may be written at times, µs since 1970, below this one.
    Times(i64),
    /// The cluster has taken all rows before this place.
    At(ImportPlace),
    /// What is rejected from here on goes into files in this directory.
    Rejects(String),
}

/// What an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportBegin {
    /// See [`FORMAT`].
    pub format: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// Host ids of its nodes.
    pub hosts: Vec<String>,
    /// Keyspace and table.
    pub table: String,
    /// The table's id in the cluster's catalogue.
    pub id: String,
    /// The files, in their order.
    pub files: Vec<ImportFile>,
    /// The flags that decide what is written, by name.
    pub options: BTreeMap<String, String>,
}

/// By what a file is known again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportFile {
    /// Its absolute path.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// When it was changed, ns since 1970.
    pub modified: i64,
    /// Checksum of its first bytes.
    pub head: String,
}

/// A place in the files of an import, between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportPlace {
    /// Number of the file, from 0.
    pub file: usize,
    /// Bytes before it in that file.
    pub offset: u64,
    /// The line in that file, from 1.
    pub line: u64,
    /// Rows before it in all files that were written.
    pub rows: u64,
    /// Records before it in all files that were rejected.
    #[serde(default)]
    pub rejected: u64,
}

/// The state of an import that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportState {
    /// What it is.
    pub begin: ImportBegin,
    /// All its rows so far have been written at times below this one, µs since 1970.
    pub times: Option<i64>,
    /// What is before this place is imported.
    pub at: Option<ImportPlace>,
    /// Where its runs have put what was rejected.
    pub reject_dirs: BTreeSet<String>,
}

impl ImportState {
    /// Reads a state; `None` if nothing had been begun. The number is that of the bytes that count.
    ///
    /// # Errors
    /// `BadState` says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<(Option<ImportState>, usize), BadState> {
        let (records, end) = records(bytes)?;
        let mut state: Option<ImportState> = None;
        for (number, record) in records.into_iter().enumerate() {
            match (&mut state, record) {
                (None, ImportRecord::Begin(begin)) if begin.format != FORMAT => {
                    return Err(BadState::Format(begin.format));
                }
                (None, ImportRecord::Begin(begin)) => {
                    state = Some(ImportState { begin, ..Default::default() });
                }
                (Some(state), ImportRecord::Times(until)) => state.times = state.times.max(Some(until)),
                (Some(state), ImportRecord::At(place)) if place.file < state.begin.files.len() => {
                    state.at = Some(place);
                }
                (Some(_), ImportRecord::At(_)) => {
                    return Err(BadState::Order(number + 1, "it is at a file that it does not have"));
                }
                (Some(state), ImportRecord::Rejects(dir)) => drop(state.reject_dirs.insert(dir)),
                (None, _) => return Err(BadState::Order(number + 1, "what is imported has not been said")),
                (Some(_), ImportRecord::Begin(_)) => {
                    return Err(BadState::Order(number + 1, "an import begins inside another"));
                }
            }
        }
        Ok((state.filter(|state| state.times.is_some()), end))
    }
}

impl ImportBegin {
    /// Whether both bring a file into the same table.
    pub fn meets(&self, other: &ImportBegin) -> bool {
        self.table == other.table
            && is_same_cluster((&self.cluster, &self.hosts), (&other.cluster, &other.hosts))
            && self.files.iter().any(|file| other.files.iter().any(|f| f.path == file.path))
    }

    /// How an import that is asked for differs from this one, in words; none if it is the same.
    pub fn differences(&self, asked: &ImportBegin) -> Vec<String> {
        let mut found = Vec::new();
        if self.id != asked.id {
            found.push(format!(
                "the table {} was dropped and made again: its id was {}, is now {}",
                self.table, self.id, asked.id
            ));
        }
        differing(&self.options, &asked.options, &mut found);
        let paths =
            |files: &[ImportFile]| files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ");
        if paths(&self.files) != paths(&asked.files) {
            found.push(format!("the files were {}, are now {}", paths(&self.files), paths(&asked.files)));
            return found;
        }
        for (was, is) in self.files.iter().zip(&asked.files).filter(|(was, is)| was != is) {
            found.push(match () {
                () if was.bytes != is.bytes => {
                    format!("{} had {} bytes, has now {}", was.path, was.bytes, is.bytes)
                }
                () if was.head != is.head => format!("{} begins with other bytes now", was.path),
                () => format!("{} was written to since", was.path),
            });
        }
        found
    }
}

/// Whether two are one, by name and nodes: names are not unique, and nodes come and go.
fn is_same_cluster(a: (&str, &[String]), b: (&str, &[String])) -> bool {
    a.0 == b.0 && a.1.iter().any(|host| b.1.contains(host))
}

/// Flags that have another value now.
fn differing(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>, found: &mut Vec<String>) {
    let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
    for name in names.filter(|name| before.get(*name) != now.get(*name)) {
        let shown =
            |value: Option<&String>| value.filter(|v| !v.is_empty()).map_or("not given", |v| v).to_owned();
        found.push(format!("{name} was {}, is now {}", shown(before.get(name)), shown(now.get(name))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begin() -> LoadBegin {
        LoadBegin {
            format: FORMAT,
            dump: "d".into(),
            cluster: "c".into(),
            hosts: vec!["1".into(), "2".into()],
            tables: BTreeMap::from([("a.t".into(), "b.t".into())]),
            options: BTreeMap::from([("--ttl".into(), "keep".into())]),
            ..LoadBegin::default()
        }
    }

    fn records() -> Vec<LoadRecord> {
        let table = OwnTable { id: "i".into(), found: Found::Absent };
        let run =
            |list_tries| LoadRun { tables: BTreeMap::from([("a.t".into(), table.clone())]), list_tries };
        let part = |name: &str| DonePart {
            table: "a.t".into(),
            part: name.into(),
            tally: Tally { capped: 3, ..Tally::default() },
        };
        vec![
            LoadRecord::Begin(begin()),
            LoadRecord::Run(run(9)),
            LoadRecord::Parts(vec![part("part-00001"), part("part-00002")]),
            LoadRecord::Run(run(18)),
            LoadRecord::Parts(vec![part("part-00003\n\"")]),
        ]
    }

    fn text(records: &[LoadRecord]) -> Vec<u8> {
        records.iter().flat_map(|record| line(record).unwrap().into_bytes()).collect()
    }

    #[test]
    fn a_state_says_what_its_records_say() {
        let (state, end) = LoadState::read(&text(&records())).unwrap();
        let state = state.unwrap();
        assert_eq!((end, state.parts(), state.list_tries), (text(&records()).len(), 3, 18));
        assert!(state.is_done("a.t", "part-00003\n\"") && !state.is_done("a.t", "part-00004"));
        assert_eq!(state.done["a.t"]["part-00001"].capped, 3);
        // By Python's xxhash: xxh3_64_hexdigest(b'{"parts":[]}').
        assert_eq!(line(&LoadRecord::Parts(Vec::new())).unwrap(), "c18ad0f1869e4e08 {\"parts\":[]}\n");
    }

    /// Wherever the power fails, what was synced before counts and the rest does not.
    #[test]
    fn a_torn_last_line_is_as_if_it_had_not_been_written() {
        let records = records();
        let whole = text(&records);
        let ends: Vec<usize> = (0..=records.len()).map(|n| text(&records[..n]).len()).collect();
        for cut in 0..=whole.len() {
            let (state, end) = LoadState::read(&whole[..cut]).unwrap();
            let lines = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(end, ends[lines], "{cut}");
            assert_eq!(state.map_or(0, |s| s.parts()), [0, 0, 0, 2, 2, 3][lines], "{cut}");
            // What a file system may leave of it: the length, without the bytes.
            let zeros = [&whole[..cut], &vec![0; whole.len() - cut][..]].concat();
            assert_eq!(LoadState::read(&zeros).unwrap().1, ends[lines], "{cut}");
        }
    }

    /// A later version may write what must not be passed over.
    #[test]
    fn a_whole_line_that_nobody_here_knows_is_no_torn_one() {
        let known = text(&records());
        let unknown = [&known[..], line(&serde_json::json!({"later": ["a.t"]})).unwrap().as_bytes()].concat();
        assert_eq!(LoadState::read(&unknown).unwrap_err(), BadState::Unknown(records().len() + 1));
        assert_eq!(LoadState::read(&unknown[..unknown.len() - 1]).unwrap().1, known.len());
        // Of what was loaded of these tables nothing counts any more.
        let lost = line(&LoadRecord::Lost(vec!["a.t".into()])).unwrap();
        let state = LoadState::read(&[&known[..], lost.as_bytes()].concat()).unwrap().0.unwrap();
        assert!(!state.done.contains_key("a.t") && !state.tables.is_empty());
    }

    #[test]
    fn damage_before_the_last_line_is_an_error() {
        let whole = text(&records());
        let last = text(&records()[..4]).len();
        // Without its end the line before the last is one with it.
        for at in 0..last - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(LoadState::read(&bytes).is_err(), "{at}");
        }
        let mut bytes = whole.clone();
        bytes[last + 3] ^= 1;
        assert_eq!(LoadState::read(&bytes).unwrap().1, last);
        assert_eq!(
            LoadState::read(&text(&records()[1..])).unwrap_err().to_string(),
            "line 1: what is loaded has not been said"
        );
        let twice = text(&[records(), records()].concat());
        assert_eq!(LoadState::read(&twice).unwrap_err().to_string(), "line 6: a load begins inside another");
        let later = LoadRecord::Begin(LoadBegin { format: 2, ..begin() });
        assert_eq!(LoadState::read(&text(&[later])).unwrap_err(), BadState::Format(2));
    }

    #[test]
    fn what_differs_is_named() {
        let was = begin();
        assert_eq!(was.differences(&LoadBegin { hosts: vec!["2".into()], began: 7, ..begin() }), [""; 0]);
        let asked = LoadBegin {
            manifest: "other".into(),
            tables: BTreeMap::from([("a.t".into(), "c.t".into()), ("a.u".into(), "b.u".into())]),
            options: BTreeMap::from([("--ttl".into(), "drop".into()), ("--for".into(), "none".into())]),
            ..begin()
        };
        assert_eq!(
            was.differences(&asked),
            [
                "the manifest of the dump is not the one that was being loaded",
                "--ttl was keep, is now drop",
                "--for was not given, is now none",
                "a.t went into b.t, now into c.t",
                "a.u was not loaded, and now goes into b.u",
            ]
        );
        assert!(!was.meets(&asked) && was.meets(&begin()));
        let into = |name: &str, hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            was.meets(&LoadBegin { cluster: name.into(), hosts, ..begin() })
        };
        assert!(into("c", &["2", "3"]) && !into("c", &["3"]) && !into("d", &["2"]));
    }

    #[test]
    fn an_import_says_how_far_it_came_and_what_differs() {
        let file = |path: &str, bytes| ImportFile { path: path.into(), bytes, ..ImportFile::default() };
        let begin = ImportBegin {
            format: FORMAT,
            table: "a.t".into(),
            id: "i".into(),
            hosts: vec!["1".into()],
            files: vec![file("/x", 7), file("/y", 8)],
            ..ImportBegin::default()
        };
        let place = ImportPlace { file: 1, offset: 5, line: 2, rows: 9, rejected: 3 };
        let records = [
            ImportRecord::Begin(begin.clone()),
            ImportRecord::Times(50),
            ImportRecord::At(place),
            ImportRecord::Times(60),
        ];
        let bytes: Vec<u8> = records.iter().flat_map(|record| line(record).unwrap().into_bytes()).collect();
        let (state, end) = ImportState::read(&bytes).unwrap();
        assert_eq!(
            state,
            Some(ImportState {
                begin: begin.clone(),
                times: Some(60),
                at: Some(place),
                ..ImportState::default()
            })
        );
        assert_eq!(end, bytes.len());
        // Torn: the times that were set aside last are not known, but then none of them was used.
        assert_eq!(ImportState::read(&bytes[..bytes.len() - 1]).unwrap().0.unwrap().times, Some(50));
        assert_eq!(begin.differences(&begin), [""; 0]);
        let other = ImportBegin {
            id: "j".into(),
            options: BTreeMap::from([("--null".into(), "NA".into())]),
            files: vec![file("/x", 9), ImportFile { head: "h".into(), ..file("/y", 8) }],
            ..begin.clone()
        };
        assert_eq!(
            begin.differences(&other),
            [
                "the table a.t was dropped and made again: its id was i, is now j",
                "--null was not given, is now NA",
                "/x had 7 bytes, has now 9",
                "/y begins with other bytes now",
            ]
        );
        let fewer = ImportBegin { files: vec![file("/y", 8)], ..begin.clone() };
        assert_eq!(begin.differences(&fewer), ["the files were /x, /y, are now /y"]);
        assert!(begin.meets(&fewer) && !begin.meets(&ImportBegin { table: "a.u".into(), ..begin.clone() }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = LoadState::read(&bytes);
            let _ = ImportState::read(&bytes);
        }
    }
}
