//! What a power loss leaves of a dump, or of a state: its steps are recorded, and at every point between two of them the disk is made
//! as it may be then. What was not synced may be there, in part, or not at all; names may be newer than what they name.

use super::disk::log::{Op, taken};
use super::state::StateFile;
use super::*;
use crate::manifest::begun::Begun;
use crate::manifest::sidecar::Sidecar;
use crate::manifest::{DumpOptions, RangeEntry, SourceCluster};
use std::collections::BTreeMap;

/// A disk: what is on it for certain, and what was done since.
#[derive(Default)]
pub struct Disk {
    /// What each file that was ever created holds, and what it holds for certain.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names as programs see them, and the folders.
    seen: BTreeMap<PathBuf, Entry>,
    /// Names that are certain.
    certain: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Folder,
    File(usize),
}

impl Disk {
    pub fn apply(&mut self, op: &Op) {
        let file = |seen: &BTreeMap<PathBuf, Entry>, path: &PathBuf| match seen.get(path) {
            Some(Entry::File(number)) => *number,
            _ => panic!("{} is no file", path.display()),
        };
        match op {
            Op::MakeDir(path) => drop(self.seen.insert(path.clone(), Entry::Folder)),
            Op::Create(path) => {
                self.files.push((Vec::new(), Vec::new()));
                self.seen.insert(path.clone(), Entry::File(self.files.len() - 1));
            }
            Op::Open(path) if self.seen.contains_key(path) => {}
            Op::Open(path) => self.apply(&Op::Create(path.clone())),
            Op::WriteAt(path, at, bytes) => {
                let number = file(&self.seen, path);
                let (at, held) = (usize::try_from(*at).unwrap(), &mut self.files[number].0);
                held.resize(held.len().max(at + bytes.len()), 0);
                held[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Cut(path, len) => {
                let number = file(&self.seen, path);
                self.files[number].0.truncate(usize::try_from(*len).unwrap());
            }
            Op::Write(path, bytes) => {
                let number = file(&self.seen, path);
                self.files[number].0.extend_from_slice(bytes);
            }
            Op::Sync(path) => {
                let number = file(&self.seen, path);
                self.files[number].1 = self.files[number].0.clone();
            }
            Op::Rename(from, to) => {
                let entry = self.seen.remove(from).unwrap();
                self.seen.insert(to.clone(), entry);
            }
            Op::Remove(path) => drop(self.seen.remove(path)),
            Op::SyncDir(folder) => {
                let is_in = |path: &PathBuf| path.parent() == Some(folder.as_path());
                self.certain.retain(|path, _| !is_in(path));
                let seen = self.seen.iter().filter(|(path, _)| is_in(path));
                self.certain.extend(seen.map(|(path, entry)| (path.clone(), *entry)));
            }
        }
    }

    /// Writes what may be left into `root`, which stands for `was`. `whim` decides, name by name, whether the newest state
    /// of what is not certain made it to the disk.
    pub fn leave(&self, was: &Path, root: &Path, mut whim: impl FnMut() -> bool) {
        let mut left = BTreeMap::new();
        for path in self.seen.keys().chain(self.certain.keys()) {
            let newest = if whim() { self.seen.get(path) } else { self.certain.get(path) };
            left.extend(newest.map(|entry| (path.clone(), *entry)));
        }
        // In order of their paths, folders come before what is in them; without its folder a file is gone.
        for (path, entry) in left {
            let Ok(below) = path.strip_prefix(was) else { continue };
            let place = root.join(below);
            match entry {
                Entry::Folder => drop(fs::create_dir(&place)),
                Entry::File(number) => {
                    let (newest, certain) = &self.files[number];
                    let mut bytes = if whim() { newest.clone() } else { certain.clone() };
                    let same = newest.iter().zip(certain).take_while(|(a, b)| a == b).count();
                    // The length may be there, and what it is the length of may not.
                    if bytes.len() > certain.len() && whim() {
                        bytes[same..].fill(0);
                    }
                    drop(fs::write(&place, bytes));
                }
            }
        }
    }
}

/// How many whims there are to try.
pub const WHIMS: u64 = 12;

/// At first all that can be lost is lost, then nothing, and then what chance decides.
pub fn whim(seed: u64, cut: usize) -> impl FnMut() -> bool {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ cut as u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match seed {
            0 => false,
            1 => true,
            _ => state >> 63 == 1,
        }
    }
}

fn begun(id: &str) -> Begun {
    Begun {
        format: "1.0".into(),
        tool: "t".into(),
        id: id.into(),
        started: "s".into(),
        cluster: "c".into(),
        hosts: Vec::new(),
        partitioner: "p".into(),
        options: options(),
        roles: false,
        skip_unsupported: false,
        tables: Vec::new(),
    }
}

fn options() -> DumpOptions {
    DumpOptions {
        format: "csv".into(),
        preserve: "all".into(),
        consistency: "ONE".into(),
        selectors: vec![],
        exclude: vec![],
    }
}

const TABLES: [&str; 2] = ["data/ks/t", "data/ks/u"];
const PARTS: usize = 3;
/// Ids of a dump, and of the one that is begun in its place.
const FIRST: &str = "1";
const SECOND: &str = "2";

/// A dump of two tables of three parts each; answers what its manifest says of each table.
fn dump(root: &Path) -> Vec<(String, Vec<Part>)> {
    let (dir, earlier) = DumpDir::begin(root, false).unwrap();
    assert!(earlier.is_none());
    let tables = dump_parts(&dir);
    let manifest = Manifest {
        format: "1.0".into(),
        capabilities: vec![],
        tool: "t".into(),
        id: FIRST.into(),
        started: "s".into(),
        finished: "f".into(),
        cluster: SourceCluster {
            name: "c".into(),
            version: "v".into(),
            partitioner: "p".into(),
            datacenters: vec![],
        },
        options: options(),
        not_preserved: vec![],
        keyspaces: vec![],
        roles: None,
    };
    dir.write_manifest(&manifest).unwrap();
    dir.remove_begun().unwrap();
    tables
}

/// All of it but its end.
fn dump_parts(dir: &DumpDir) -> Vec<(String, Vec<Part>)> {
    dir.write_begun(&begun(FIRST)).unwrap();
    dir.write_schema("CREATE TABLE …").unwrap();
    TABLES
        .into_iter()
        .map(|table| {
            let part = |number: usize| {
                let name = format!("part-{number:05}");
                let file = format!("{name}.csv");
                let mut new = dir.begin_part(table, &file).unwrap();
                for line in 0..3 {
                    new.write_all(format!("{table},{number},{line}\n").as_bytes()).unwrap();
                }
                let (bytes, checksum) = new.keep().unwrap();
                let ranges = vec![RangeEntry {
                    start: "0".into(),
                    end: "1".into(),
                    from: None,
                    to: None,
                    read: ["a".into(), "b".into()],
                }];
                let part = Part {
                    name,
                    file: Some(file),
                    bytes,
                    checksum: Some(checksum),
                    ranges,
                    ..Part::default()
                };
                let sidecar = Sidecar { part, dump: FIRST.into() };
                dir.write_sidecar(table, &sidecar).unwrap();
                sidecar.part
            };
            (table.to_owned(), (1..=PARTS).map(part).collect())
        })
        .collect()
}

/// Judges what is left: a dump that looks finished is whole; one that does not goes on with parts that are, or as new.
/// Answers how many parts were found, `None` if it looks finished.
fn judge(root: &Path, tables: &[(String, Vec<Part>)]) -> Option<usize> {
    if root.join(MANIFEST).exists() {
        let (dir, _) = DumpDir::open(root).unwrap();
        for (table, parts) in tables {
            for part in parts {
                dir.open_part(table, part).unwrap().unwrap().checked().unwrap();
                assert_eq!(dir.sidecar_differs(table, part).unwrap(), None);
            }
        }
        return None;
    }
    let (dir, earlier) = DumpDir::begin(root, false).unwrap();
    let id = earlier.as_ref().map_or(SECOND, |earlier| &earlier.id).to_owned();
    assert!(earlier.is_none_or(|earlier| earlier == begun(&id)));
    let mut found = 0;
    for (table, parts) in tables {
        for part in dir.finished_parts(table, "csv", &id).unwrap() {
            assert_eq!(id, FIRST);
            assert!(parts.contains(&part));
            dir.check_finished(table, &part).unwrap();
            found += 1;
        }
    }
    Some(found)
}

/// What is found of a dump after each of its last steps, and each way of losing what was not certain by then.
fn after_each(
    (scratch, was): (&Path, &Path),
    (before, steps): (&[Op], &[Op]),
    tables: &[(String, Vec<Part>)],
) -> Vec<Option<usize>> {
    let mut found = Vec::new();
    for cut in 0..=steps.len() {
        let mut disk = Disk::default();
        before.iter().chain(&steps[..cut]).for_each(|op| disk.apply(op));
        for seed in 0..WHIMS {
            let root = scratch.join(format!("{cut}-{seed}"));
            disk.leave(was, &root, whim(seed, cut));
            found.push(judge(&root, tables));
            fs::remove_dir_all(&root).unwrap();
        }
    }
    found
}

#[test]
fn a_power_loss_leaves_nothing_broken_that_looks_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let was = scratch.path().join("dump");
    taken();
    let tables = dump(&was);
    let steps = taken();
    assert!(steps.len() > 60, "{}", steps.len());
    let found = after_each((scratch.path(), &was), (&[], &steps), &tables);
    let finished = found.iter().filter(|parts| parts.is_none()).count();
    let parts_found: Vec<usize> = found.into_iter().flatten().collect();
    // It is no proof if nothing was ever found, or everything always.
    assert!(finished > 12, "{finished}");
    assert!((0..=2 * PARTS).all(|count| parts_found.contains(&count)), "{parts_found:?}");
}

/// What was synced is there, whatever happens to the rest.
#[test]
fn what_is_finished_survives() {
    let scratch = tempfile::tempdir().unwrap();
    let was = scratch.path().join("dump");
    taken();
    let tables = dump(&was);
    let mut disk = Disk::default();
    taken().iter().for_each(|op| disk.apply(op));
    let root = scratch.path().join("left");
    disk.leave(&was, &root, || false);
    assert_eq!(judge(&root, &tables), None);
}

/// Nothing of a dump that was given up comes back, in no step of removing it and of beginning another one.
#[test]
fn what_a_restart_removes_stays_away() {
    let scratch = tempfile::tempdir().unwrap();
    let was = scratch.path().join("dump");
    taken();
    let tables = dump_parts(&DumpDir::begin(&was, false).unwrap().0);
    let before = taken();
    let (dir, earlier) = DumpDir::begin(&was, true).unwrap();
    assert!(earlier.is_none());
    dir.write_begun(&begun(SECOND)).unwrap();
    TABLES.into_iter().for_each(|table| drop(dir.begin_part(table, "part-00001.csv").unwrap()));
    let found = after_each((scratch.path(), &was), (&before, &taken()), &tables);
    let parts_found: Vec<usize> = found.into_iter().flatten().collect();
    assert!((0..=2 * PARTS).all(|count| parts_found.contains(&count)), "{parts_found:?}");
}

/// A state holds what it was last told, or, while it is told more, that too: never less, and nothing else.
#[test]
fn a_state_holds_what_it_was_told() {
    let scratch = tempfile::tempdir().unwrap();
    let was = scratch.path().join("was");
    taken();
    // The steps, and what the state says after so many of them.
    let (mut steps, mut says) = (Vec::new(), vec![(0, Vec::new())]);
    let mut told = |content: &[u32]| {
        steps.append(&mut taken());
        says.push((steps.len(), content.to_vec()));
    };
    let line = |number: u32| crate::state::line(&number).unwrap();
    let (mut file, _) = StateFile::open(&was, "load-1").unwrap();
    let mut content = Vec::new();
    for number in 0..4 {
        file.append(&line(number)).unwrap();
        content.push(number);
        told(&content);
    }
    drop(file);
    // Another run goes on, and then one begins anew.
    for kept in [2, 0] {
        let (mut file, _) = StateFile::open(&was, "load-1").unwrap();
        content.truncate(kept);
        file.cut(content.iter().map(|number| line(*number).len()).sum()).unwrap();
        told(&content);
        for number in 10..13 {
            file.append(&line(number)).unwrap();
            content.push(number);
            told(&content);
        }
        if kept == 0 {
            file.remove().unwrap();
            told(&[]);
        }
    }
    for cut in 0..=steps.len() {
        let mut disk = Disk::default();
        steps[..cut].iter().for_each(|op| disk.apply(op));
        let at = says.iter().rposition(|(step, _)| *step <= cut).unwrap();
        for seed in 0..WHIMS {
            let root = scratch.path().join(format!("{cut}-{seed}"));
            fs::create_dir(&root).unwrap();
            disk.leave(scratch.path(), &root, whim(seed, cut));
            let left = fs::read(root.join("was/load-1.state")).unwrap_or_default();
            let (found, _) = crate::state::records::<u32>(&left).unwrap();
            let may = &says[at..says.len().min(at + 2)];
            assert!(may.iter().any(|(_, content)| *content == found), "{cut} {seed}: {found:?}, {may:?}");
            fs::remove_dir_all(&root).unwrap();
        }
    }
}
