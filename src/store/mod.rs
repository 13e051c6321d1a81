//! The dump directory: the only module that opens dump files. Names, modes, temporary files, syncing, renaming.
//!
//! Nothing is ever seen half-written under its final name: a file is written under a temporary name, synced, renamed,
//! and its folder synced. A part's sidecar follows its file; the manifest comes last, so a dump without one is
//! unfinished. What the files say is left to `format` and `manifest`.

pub mod disk;
mod inside;
#[cfg(test)]
pub(crate) mod power;
pub mod state;
mod unfinished;

pub use unfinished::broken;

use crate::error::{Context, Error, Result};
use crate::manifest::sidecar::Sidecar;
use crate::manifest::{BadManifest, Manifest, Part, checksum};
use disk::{DiskFile, make_dir};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Name of the manifest in a dump.
pub const MANIFEST: &str = "manifest.json";
/// Name of the DDL for people in a dump.
pub const SCHEMA: &str = "schema.cql";

/// Bytes that a manifest may have: those of a million parts.
const MOST_MANIFEST: u64 = 1 << 30;

/// Bytes that a sidecar may have.
const MOST_SIDECAR: u64 = 64 << 20;

/// A dump directory.
#[derive(Clone, Debug)]
pub struct DumpDir {
    root: PathBuf,
    /// Held while a dump is written.
    _lock: Option<Arc<File>>,
}

impl DumpDir {
    /// Opens a finished dump and reads its manifest.
    ///
    /// # Errors
    /// `Error` says what is missing or damaged.
    pub fn open(root: &Path) -> Result<(DumpDir, Manifest)> {
        let (dir, manifest) = DumpDir::read(root)?;
        let manifest = manifest
            .doing(|| format!("read {}", root.join(MANIFEST).display()))
            .map_err(|e| e.hint("restore the file from where it was copied, or dump again"))?;
        Ok((dir, manifest))
    }

    /// The same, for who wants to know what is wrong with the manifest.
    ///
    /// # Errors
    /// `Error` if there is no manifest, or it cannot be read.
    pub fn read(root: &Path) -> Result<(DumpDir, Result<Manifest, BadManifest>)> {
        let dir = DumpDir { root: root.to_owned(), _lock: None };
        match inside::read(root, &[MANIFEST], MOST_MANIFEST) {
            // What is not UTF-8 is no JSON either.
            Ok(bytes) => {
                let manifest = Manifest::from_text(&String::from_utf8_lossy(&bytes));
                if let Ok(manifest) = &manifest {
                    dir.check_names(manifest)?;
                }
                Ok((dir, manifest))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_manifest(root)),
            Err(error) => Err(Error::failed(format!("open {}: {error}", root.join(MANIFEST).display()))),
        }
    }

    /// Whether all the names of files that a manifest gives stay in the dump.
    fn check_names(&self, manifest: &Manifest) -> Result<()> {
        for table in manifest.keyspaces.iter().flat_map(|k| &k.tables) {
            self.inside(&table.path)?;
            for part in &table.parts {
                self.plain(&part.name)?;
                part.file.iter().try_for_each(|file| self.plain(file).map(drop))?;
            }
        }
        Ok(())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes `schema.cql`.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn write_schema(&self, text: &str) -> Result<()> {
        self.write_whole(&self.root.join(SCHEMA), text.as_bytes())
    }

    /// Writes the manifest: from here on the dump is finished.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        let text = manifest.to_text().doing(|| "write the manifest")?;
        self.write_whole(&self.root.join(MANIFEST), text.as_bytes())
    }

    /// Begins a part's file `<table_path>/<file>`.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn begin_part(&self, table_path: &str, file: &str) -> Result<NewFile> {
        let folder = self.own_folder(table_path)?;
        make_dir(&folder).doing(|| format!("create {}", folder.display()))?;
        NewFile::begin(folder.join(file))
    }

    /// Writes a part's sidecar, after its file has been kept.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn write_sidecar(&self, table_path: &str, sidecar: &Sidecar) -> Result<()> {
        let folder = self.own_folder(table_path)?;
        make_dir(&folder).doing(|| format!("create {}", folder.display()))?;
        let name = &sidecar.part.name;
        let text = sidecar.to_text().doing(|| format!("write the sidecar of {name}"))?;
        self.write_whole(&folder.join(format!("{name}.json")), text.as_bytes())
    }

    /// Opens a part's file for reading, after checking that its length is what the manifest says.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn open_part(&self, table_path: &str, part: &Part) -> Result<Option<PartReader>> {
        let Some(name) = &part.file else {
            return Ok(None);
        };
        let names = self.names(table_path, name)?;
        let path = self.inside(table_path)?.join(name);
        let (file, metadata) =
            inside::open(&self.root, &names).map_err(|e| damaged(&path, format!("cannot be opened: {e}")))?;
        let found = metadata.len();
        if found != part.bytes {
            let what = format!("it has {found} bytes, the manifest says {}", part.bytes);
            return Err(damaged(&path, what));
        }
        Ok(Some(PartReader { path, file, checksum: part.checksum.clone() }))
    }

    /// How a part's sidecar differs from what the manifest says of the part, if it does.
    ///
    /// # Errors
    /// `Error` if the manifest names a path outside the dump.
    pub fn sidecar_differs(&self, table_path: &str, part: &Part) -> Result<Option<String>> {
        let name = format!("{}.json", part.name);
        let names = self.names(table_path, &name)?;
        let path = self.inside(table_path)?.join(&name);
        Ok(match inside::read(&self.root, &names, MOST_SIDECAR) {
            Err(error) => Some(format!("{}: cannot be read: {error}", path.display())),
            // Compared as read: a later version may say more in it.
            Ok(text) if serde_json::from_slice::<Part>(&text).is_ok_and(|said| said == *part) => None,
            Ok(_) => Some(format!("{}: it differs from what the manifest says of its part", path.display())),
        })
    }

    /// Files below `data/` that the manifest does not account for, other than unfinished temporary ones.
    ///
    /// # Errors
    /// `Error` names the folder that cannot be read.
    pub fn strays(&self, manifest: &Manifest) -> Result<Vec<PathBuf>> {
        let mut known: BTreeSet<PathBuf> = BTreeSet::new();
        for table in manifest.keyspaces.iter().flat_map(|k| &k.tables) {
            let folder = self.inside(&table.path)?;
            for part in &table.parts {
                known.insert(folder.join(format!("{}.json", part.name)));
                known.extend(part.file.iter().map(|file| folder.join(file)));
            }
        }
        let mut strays = Vec::new();
        let data = self.root.join("data");
        if data.is_symlink() {
            strays.push(data.clone());
        }
        let mut folders = if data.is_symlink() { Vec::new() } else { vec![data] };
        while let Some(folder) = folders.pop() {
            let doing = || format!("read {}", folder.display());
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.doing(doing)?,
            };
            for entry in entries {
                let entry = entry.doing(doing)?;
                let temporary = entry.file_name().to_string_lossy().starts_with('.');
                // Links are not followed: what they name is no folder of the dump.
                let is = entry.file_type().doing(doing)?;
                match is.is_dir() {
                    true => folders.push(entry.path()),
                    false if temporary && is.is_file() || known.contains(&entry.path()) => {}
                    false => strays.push(entry.path()),
                }
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// The names that lead to a file of a table, each of them plain.
    fn names<'a>(&self, table_path: &'a str, file: &'a str) -> Result<Vec<&'a str>> {
        table_path.split('/').chain([file]).map(|name| self.plain(name)).collect()
    }

    /// A folder of the dump, given by a manifest: only downwards.
    fn inside(&self, relative: &str) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for name in relative.split('/') {
            path.push(self.plain(name)?);
        }
        Ok(path)
    }

    /// The same of a dump that is being written, which writes and removes nothing elsewhere.
    fn own_folder(&self, relative: &str) -> Result<PathBuf> {
        let folder = self.inside(relative)?;
        let names: Vec<&str> = relative.split('/').collect();
        inside::folder(&self.root, &names).doing(|| format!("use {}", folder.display()))?;
        Ok(folder)
    }

    fn plain<'a>(&self, name: &'a str) -> Result<&'a str> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
            return Err(Error::failed(format!(
                "{}: the path component {name:?} does not belong into a dump",
                self.root.join(MANIFEST).display()
            )));
        }
        Ok(name)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        unfinished::write_whole(path, bytes).doing(|| format!("write {}", path.display()))
    }
}

/// Makes a directory; one that exists must be empty.
///
/// # Errors
/// `Error` says what is in the way.
pub fn make_empty_dir(root: &Path) -> Result<()> {
    match fs::read_dir(root) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::failed(format!("the output directory {} is not empty", root.display()))
                    .hint("choose a new or empty directory with -o; nothing was written"));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(root).doing(|| format!("create the output directory {}", root.display()))?;
        }
        Err(error) => {
            return Err(Error::failed(format!("cannot use {} as output directory: {error}", root.display())));
        }
    }
    Ok(())
}

fn no_manifest(root: &Path) -> Error {
    let what = match root.is_dir() {
        true => "has no manifest.json: it is no dump, or an unfinished one",
        false => "does not exist or is no directory",
    };
    Error::failed(format!("{} {what}", root.display()))
        .hint("name the directory that `cqlift dump -o` wrote; the manifest is the last thing it writes")
}

/// A part to be read.
#[derive(Debug)]
pub struct PartReader {
    path: PathBuf,
    file: File,
    checksum: Option<String>,
}

impl PartReader {
    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, at its beginning, once its checksum has proved right. Formats cannot tell damage from data: most single
    /// flipped bits of a Parquet page read as other values without any error.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn checked(mut self) -> Result<File> {
        let Some(stated) = &self.checksum else {
            return Err(damaged(&self.path, "the manifest states no checksum for it".to_owned()));
        };
        if self.digest().map_err(|e| damaged(&self.path, e.to_string()))? != *stated {
            return Err(damaged(&self.path, "its checksum does not match the manifest's".to_owned()));
        }
        self.file.rewind().map_err(|e| damaged(&self.path, e.to_string()))?;
        Ok(self.file)
    }

    /// The checksum of the file from here on.
    fn digest(&self) -> io::Result<String> {
        let mut hash = Box::new(Xxh3::new());
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = (&self.file).read(&mut buffer)?;
            if read == 0 {
                return Ok(checksum(hash.digest128()));
            }
            hash.update(&buffer[..read]);
        }
    }
}

fn damaged(path: &Path, what: String) -> Error {
    let error = Error::failed(format!("{}: {what}", path.display()));
    match error.is_out_of_files() {
        true => error,
        false => {
            error.hint("the dump is damaged: copy the file again from where the dump was made, or dump again")
        }
    }
}

/// A file being written under a temporary name: counts and hashes what passes, and removes itself unless it is kept.
pub struct NewFile {
    file: DiskFile,
    path: PathBuf,
    temporary: PathBuf,
    kept: bool,
    bytes: u64,
    hash: Box<Xxh3>,
}

impl NewFile {
    /// Begins the file that `path` is to name, beside it.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn begin(path: PathBuf) -> Result<NewFile> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = path.with_file_name(format!(".{name}.tmp"));
        let file = DiskFile::create(&temporary).doing(|| format!("create {}", temporary.display()))?;
        Ok(NewFile { file, path, temporary, kept: false, bytes: 0, hash: Box::new(Xxh3::new()) })
    }

    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and gives it its name; answers its length in bytes and its checksum.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn keep(mut self) -> Result<(u64, String)> {
        let doing = || format!("write {}", self.path.display());
        self.file.sync().doing(doing)?;
        disk::rename(&self.temporary, &self.path).doing(doing)?;
        self.kept = true;
        disk::sync_dir(self.path.parent().unwrap_or(Path::new(""))).doing(doing)?;
        Ok((self.bytes, checksum(self.hash.digest128())))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // An unfinished part is worth nothing; if it cannot be removed its temporary name says what it is.
            let _ = disk::remove(&self.temporary);
        }
    }
}

/// The folder of a table's parts within a dump. The rule is frozen: bytes other than `a-z 0-9 _` become `%XX`, so that
/// names differing in case stay apart on every file system; a name that would pass 200 bytes keeps its first 160 and
/// ends in the hash of the whole.
pub fn table_path(keyspace: &str, table: &str) -> String {
    format!("data/{}/{}", encode(keyspace), encode(table))
}

fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    if out.len() > 200 {
        out.truncate(160);
        out.push_str(&format!("%{:032x}", xxhash_rust::xxh3::xxh3_128(name.as_bytes())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn part(name: &str, bytes: u64) -> Part {
        Part { name: "part-00001".into(), file: Some(name.into()), bytes, ..Part::default() }
    }

    #[test]
    fn names_are_encoded_by_the_frozen_rule() {
        assert_eq!(table_path("shop", "orders_1"), "data/shop/orders_1");
        assert_eq!(table_path("KdMix", "1abc"), "data/%4Bd%4Dix/1abc");
        assert_eq!(encode("a/b..%é"), "a%2Fb%2E%2E%25%C3%A9");
        let long = encode(&"A".repeat(222));
        assert_eq!(long.len(), 160 + 33);
        assert_ne!(long, encode(&"A".repeat(221)));
    }

    #[test]
    fn an_unkept_part_leaves_nothing_and_a_kept_one_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let (dump, _) = DumpDir::begin(&dir.path().join("d"), false).unwrap();
        let mut lost = dump.begin_part("data/ks/t", "part-00001.csv").unwrap();
        lost.write_all(b"half").unwrap();
        drop(lost);
        let folder = dump.root().join("data/ks/t");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

        let mut kept = dump.begin_part("data/ks/t", "part-00001.csv").unwrap();
        kept.write_all(b"whole").unwrap();
        let (bytes, sum) = kept.keep().unwrap();
        // By Python's xxhash, which wraps the reference implementation: xxh3_128_hexdigest(b"whole").
        assert_eq!((bytes, sum.as_str()), (5, "xxh3-128:9d190e4ffcc4b564e82b4fb1c535b13c"));
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.join("part-00001.csv")), 0o600);
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn a_sidecar_that_was_damaged_or_is_of_another_dump_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (dump, _) = DumpDir::begin(dir.path(), false).unwrap();
        let (table, ours) = ("data/ks/t", Part { name: "part-00001".into(), ..Part::default() });
        dump.write_sidecar(table, &Sidecar { part: ours.clone(), dump: "1".into() }).unwrap();
        assert_eq!(dump.finished_parts(table, "csv", "1").unwrap(), [ours]);
        let refused = |id: &str, what: &str| {
            let error = format!("{:?}", dump.finished_parts(table, "csv", id).unwrap_err());
            assert!(
                ["part-00001.json", what, "--restart"].iter().all(|part| error.contains(part)),
                "{error}"
            );
        };
        refused("2", "it is a sidecar of the dump 1, and this one is 2");
        let path = dir.path().join(table).join("part-00001.json");
        let text = fs::read(&path).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            refused("1", "no sidecar");
        }
    }

    /// Nothing is read, written or removed where a link leads.
    #[test]
    fn links_in_an_unfinished_dump_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (other, root) = (dir.path().join("other"), dir.path().join("dump"));
        let theirs = other.join("t/part-00001.csv");
        fs::create_dir_all(other.join("t")).unwrap();
        fs::write(&theirs, "rows").unwrap();
        fs::create_dir_all(root.join("data")).unwrap();
        std::os::unix::fs::symlink(&other, root.join("data/ks")).unwrap();
        fs::write(root.join("begun.json"), "{}").unwrap();
        let (dump, _) = DumpDir::begin(&root, true).unwrap();
        assert_eq!(fs::read(&theirs).unwrap(), b"rows");
        let refused = |error: Error| {
            let error = format!("{error:?}");
            assert!(error.contains("symbolic link"), "{error}");
        };
        refused(dump.finished_parts("data/ks/t", "csv", "1").unwrap_err());
        refused(dump.begin_part("data/ks/t", "part-00002.csv").err().unwrap());
        assert_eq!(fs::read_dir(other.join("t")).unwrap().count(), 1);
        fs::remove_file(root.join("data/ks")).unwrap();
        drop(dump);
        std::os::unix::fs::symlink(&theirs, root.join("begun.json")).unwrap();
        refused(DumpDir::begin(&root, false).err().unwrap());
    }

    /// Whoever comes while a dump ends sees it begun or finished, and nothing between.
    #[test]
    fn whether_a_dump_is_finished_is_asked_once_nobody_else_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let (dump, _) = DumpDir::begin(dir.path(), false).unwrap();
        fs::write(dir.path().join(MANIFEST), "").unwrap();
        let told = || DumpDir::begin(dir.path(), true).unwrap_err().to_string();
        assert!(told().contains("another run"), "{}", told());
        drop(dump);
        assert!(told().contains("a finished dump"), "{}", told());
    }

    #[test]
    fn a_directory_with_content_and_one_without_manifest_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "").unwrap();
        let error = DumpDir::begin(dir.path(), true).unwrap_err().to_string();
        assert!(error.contains("not empty") && error.contains("-o"), "{error}");
        let error = DumpDir::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("manifest.json"), "{error}");
        assert!(DumpDir::open(&dir.path().join("nope")).unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn a_manifest_cannot_point_outside_its_dump() {
        let dir = tempfile::tempdir().unwrap();
        let dump = DumpDir { root: dir.path().to_owned(), _lock: None };
        for (path, file) in
            [("data/../..", "x"), ("/etc", "passwd"), ("data", "../x"), ("data", "a/b"), ("", "x")]
        {
            let error = dump.open_part(path, &part(file, 0)).unwrap_err().to_string();
            assert!(error.contains("does not belong"), "{path} {file}: {error}");
        }
    }

    #[test]
    fn a_dump_is_read_through_no_link_and_from_no_pipe() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("p.csv"), "abc").unwrap();
        let root = dir.path().join("dump");
        fs::create_dir_all(root.join("data/t")).unwrap();
        symlink(&outside, root.join("data/linked")).unwrap();
        symlink(outside.join("p.csv"), root.join("data/t/p.csv")).unwrap();
        // Neither does one that stays inside: a dump has none.
        fs::write(root.join("data/t/real.csv"), "abc").unwrap();
        symlink("real.csv", root.join("data/t/alias.csv")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.join("data/t/pipe.csv")).status().unwrap();
        assert!(made.success());
        symlink(&root, dir.path().join("alias")).unwrap();
        for root in [root, dir.path().join("alias")] {
            let dump = DumpDir { root, _lock: None };
            assert!(dump.open_part("data/t", &part("real.csv", 3)).unwrap().is_some());
            for (path, file, expected) in [
                ("data/linked", "p.csv", "refused: linked in it is a symbolic link"),
                ("data/t", "p.csv", "refused: p.csv in it is a symbolic link"),
                ("data/t", "alias.csv", "refused: alias.csv in it is a symbolic link"),
                ("data/t", "pipe.csv", "refused: it is no regular file"),
                ("data", "t", "refused: it is no regular file"),
            ] {
                let error = dump.open_part(path, &part(file, 3)).unwrap_err().to_string();
                assert!(error.contains(expected) && error.contains(file), "{path} {file}: {error}");
            }
            let sidecar = Part { name: "p".into(), ..Part::default() };
            symlink("real.csv", dump.root.join("data/t/p.json")).unwrap_or_default();
            let differs = dump.sidecar_differs("data/t", &sidecar).unwrap().unwrap();
            assert!(differs.ends_with("refused: p.json in it is a symbolic link"), "{differs}");
        }
    }

    #[test]
    fn a_manifest_is_a_file_of_the_dump_and_of_a_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MANIFEST);
        let told = || DumpDir::read(dir.path()).unwrap_err().to_string();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(
            told().ends_with("manifest.json: refused: manifest.json in it is a symbolic link"),
            "{}",
            told()
        );
        fs::remove_file(&path).unwrap();
        // Not a byte of it is on the disk.
        File::create(&path).unwrap().set_len(MOST_MANIFEST + 1).unwrap();
        let expected =
            "manifest.json: refused: it has 1073741825 bytes, more than the 1073741824 it may have";
        assert!(told().ends_with(expected), "{}", told());
    }

    #[test]
    fn a_part_of_another_length_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/p.csv"), "abc").unwrap();
        let dump = DumpDir { root: dir.path().to_owned(), _lock: None };
        assert!(dump.open_part("data", &part("p.csv", 3)).unwrap().is_some());
        let error = dump.open_part("data", &part("p.csv", 4)).unwrap_err().to_string();
        assert!(error.contains("p.csv") && error.contains("3 bytes"), "{error}");
    }
}
