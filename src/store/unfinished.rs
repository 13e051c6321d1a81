//! An unfinished dump on the disk: its record, the parts that are whole, and what a run that ended in the middle leaves
//! behind, which is removed. What the record must agree with is left to the dump.

use super::disk::{self, DiskFile};
use super::{DumpDir, MANIFEST, MOST_MANIFEST, MOST_SIDECAR, PartReader, SCHEMA, inside};
use crate::error::{Context, Error, Result};
use crate::manifest::Part;
use crate::manifest::begun::Begun;
use crate::manifest::sidecar::Sidecar;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the record in an unfinished dump.
pub const BEGUN: &str = "begun.json";

/// What a part's files may end in.
const ENDINGS: &[&str] = &["json", "parquet", "csv"];

impl DumpDir {
    /// Takes a directory for a dump: one that is new or empty, or holds an unfinished dump, whose record it answers.
    /// `restart` removes what there is of an unfinished dump. Nobody else dumps into it meanwhile.
    ///
    /// # Errors
    /// `Error` says what is in the way; a finished dump always is.
    pub fn begin(root: &Path, restart: bool) -> Result<(DumpDir, Option<Begun>)> {
        disk::make_dir(root).doing(|| format!("create the output directory {}", root.display()))?;
        let dir = DumpDir { root: root.to_owned(), _lock: Some(Arc::new(lock(root)?)) };
        // Not before it is locked: another run may have been about to finish.
        if root.join(MANIFEST).exists() {
            return Err(Error::failed(format!("{} already holds a finished dump", root.display()))
                .hint("choose another directory with -o, or move this one away first"));
        }
        let record = root.join(BEGUN);
        if !record.exists() {
            dir.nothing_else()?;
            return Ok((dir, None));
        }
        if restart {
            dir.remove_all()?;
            return Ok((dir, None));
        }
        let text =
            inside::read(root, &[BEGUN], MOST_MANIFEST).doing(|| format!("read {}", record.display()))?;
        let begun = Begun::from_text(&String::from_utf8_lossy(&text))
            .doing(|| format!("read {}", record.display()))
            .map_err(|e| e.hint("start the dump over with --restart"))?;
        Ok((dir, Some(begun)))
    }

    /// Writes the record; from here on the directory holds an unfinished dump.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn write_begun(&self, begun: &Begun) -> Result<()> {
        let text = begun.to_text().doing(|| "write the record of the dump")?;
        self.write_whole(&self.root.join(BEGUN), text.as_bytes())
    }

    /// Removes the record, once there is a manifest.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn remove_begun(&self) -> Result<()> {
        let path = self.root.join(BEGUN);
        disk::remove(&path).doing(|| format!("remove {}", path.display()))
    }

    /// The parts of a table that earlier runs of the dump with the id `dump` finished, in name order, each with its file of
    /// the right length; removes what they did not finish.
    ///
    /// # Errors
    /// `Error` names the file that is not what its sidecar says.
    pub fn finished_parts(&self, table_path: &str, format: &str, dump: &str) -> Result<Vec<Part>> {
        let folder = self.own_folder(table_path)?;
        let mut sidecars: BTreeMap<String, Part> = BTreeMap::new();
        let mut files = Vec::new();
        for path in entries(&folder)? {
            match part_file(&path) {
                Some((stem, "json")) => {
                    let bytes = inside::read(&self.root, &self.names(table_path, name(&path))?, MOST_SIDECAR);
                    let bytes = bytes.map_err(|e| broken(&path, &format!("no sidecar: {e}")))?;
                    drop(sidecars.insert(stem.to_owned(), sidecar((&path, &bytes), stem, format, dump)?))
                }
                Some((stem, _)) => files.push((stem.to_owned(), path)),
                None if is_temporary(&path) => remove(&path)?,
                None => {}
            }
        }
        for (stem, path) in files {
            if !sidecars.contains_key(&stem) {
                remove(&path)?;
            }
        }
        for part in sidecars.values() {
            self.finished(table_path, part)?;
        }
        Ok(sidecars.into_values().collect())
    }

    /// Reads a finished part and compares it with its checksum.
    ///
    /// # Errors
    /// `Error` names the file if it is not what its sidecar says.
    pub fn check_finished(&self, table_path: &str, part: &Part) -> Result<()> {
        let Some(reader) = self.finished(table_path, part)? else { return Ok(()) };
        let path = reader.path.clone();
        let stated = part.checksum.as_deref().unwrap_or_default();
        let found = reader.digest().map_err(|error| broken(&path, &error.to_string()))?;
        match found == stated {
            true => Ok(()),
            false => Err(broken(&path, &format!("its checksum is {found}, its sidecar says {stated}"))),
        }
    }

    /// Opens the file of a finished part, if it has one, and compares its length.
    fn finished(&self, table_path: &str, part: &Part) -> Result<Option<PartReader>> {
        let Some(name) = &part.file else { return Ok(None) };
        let path = self.inside(table_path)?.join(self.plain(name)?);
        let opened = inside::open(&self.root, &self.names(table_path, name)?);
        let (file, metadata) = opened.map_err(|e| broken(&path, &format!("cannot be opened: {e}")))?;
        let found = metadata.len();
        match found == part.bytes {
            true => Ok(Some(PartReader { path, file, checksum: part.checksum.clone() })),
            false => Err(broken(&path, &format!("it has {found} bytes, its sidecar says {}", part.bytes))),
        }
    }

    /// That the directory is empty, but for a record that was never whole.
    fn nothing_else(&self) -> Result<()> {
        for path in entries(&self.root)? {
            if !is_temporary(&path) {
                let root = self.root.display();
                return Err(Error::failed(format!(
                    "the output directory {root} is not empty, and holds no unfinished dump"
                ))
                .hint("choose a new or empty directory with -o; nothing was written"));
            }
            remove(&path)?;
        }
        Ok(())
    }

    /// Removes the unfinished dump, and nothing else; the record last, so that it can be done again. What is removed is gone
    /// for good before the next dump begins, and no sidecar outlives its file.
    fn remove_all(&self) -> Result<()> {
        let data = self.root.join("data");
        for keyspace in folders(&data)? {
            for table in folders(&keyspace)? {
                remove_files(&table, |file| matches!(part_file(file), Some((_, "json"))))?;
                remove_files(&table, |file| part_file(file).is_some() || is_temporary(file))?;
                remove_empty(&table)?;
            }
            remove_empty(&keyspace)?;
        }
        remove_empty(&data)?;
        let record = self.root.join(BEGUN);
        remove_files(&self.root, |file| is_temporary(file) || *file == self.root.join(SCHEMA))?;
        remove_files(&self.root, |file| *file == record)
    }
}

/// Locks the directory for this process; a file system without locks goes without.
fn lock(root: &Path) -> Result<File> {
    let folder = File::open(root).doing(|| format!("open {}", root.display()))?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::failed(format!("another run dumps into {} just now", root.display()))
                .hint("wait for it to end, or choose another directory with -o"))
        }
        Err(TryLockError::Error(error)) => {
            tracing::debug!("{} cannot be locked: {error}", root.display());
            Ok(folder)
        }
        Ok(()) => Ok(folder),
    }
}

/// The folders in a folder of the dump. A link is none: what it leads to is not the dump's.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_symlink() {
        return Ok(Vec::new());
    }
    Ok(entries(folder)?.into_iter().filter(|path| !path.is_symlink() && path.is_dir()).collect())
}

/// The paths in a folder; none if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("read {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.doing(doing)?,
    };
    entries.map(|entry| Ok(entry.doing(doing)?.path())).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether a file has the temporary name of one that this tool was writing.
fn is_temporary(path: &Path) -> bool {
    let whole = name(path).strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    whole.is_some_and(|whole| {
        [BEGUN, SCHEMA, MANIFEST].contains(&whole) || part_file(Path::new(whole)).is_some()
    })
}

/// Name and ending of a part's file or sidecar.
fn part_file(path: &Path) -> Option<(&str, &str)> {
    let (stem, ending) = name(path).split_once('.')?;
    let digits = stem.strip_prefix("part-")?;
    let is_number = digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && ENDINGS.contains(&ending)).then_some((stem, ending))
}

/// Reads a sidecar of a part of this dump.
fn sidecar((path, bytes): (&Path, &[u8]), stem: &str, format: &str, dump: &str) -> Result<Part> {
    let text = std::str::from_utf8(bytes).map_err(|e| broken(path, &format!("no sidecar: {e}")))?;
    let Sidecar { part, dump: of } =
        Sidecar::from_text(text).map_err(|e| broken(path, &format!("no sidecar: {e}")))?;
    if of != dump {
        return Err(broken(path, &format!("it is a sidecar of the dump {of}, and this one is {dump}")));
    }
    if part.name != stem {
        return Err(broken(path, &format!("it is the sidecar of {:?}", part.name)));
    }
    match &part.file {
        Some(file) if *file != format!("{stem}.{format}") => {
            Err(broken(path, &format!("it names the file {file:?}")))
        }
        Some(_) if part.checksum.is_none() => Err(broken(path, "it states no checksum")),
        None if part.rows != 0 => Err(broken(path, "it has rows, but no file")),
        _ => Ok(part),
    }
}

/// A part of an unfinished dump that cannot be trusted.
pub fn broken(path: &Path, what: &str) -> Error {
    let folder = path.parent().unwrap_or(path).display();
    let stem = name(path).split('.').next().unwrap_or_default();
    Error::failed(format!("{}: {what}", path.display())).hint(format!(
        "remove the files of this part, {folder}/{stem}.*, and run the command again to read its ranges anew, or start \
         over with --restart"
    ))
}

fn remove(path: &Path) -> Result<()> {
    disk::remove(path).doing(|| format!("remove {}", path.display()))
}

/// Removes files of a folder, for good.
fn remove_files(folder: &Path, which: impl Fn(&PathBuf) -> bool) -> Result<()> {
    entries(folder)?.iter().filter(|file| which(file)).try_for_each(|file| remove(file))?;
    match disk::sync_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        synced => synced.doing(|| format!("sync {}", folder.display())),
    }
}

/// Removes a folder, unless something is left in it.
fn remove_empty(folder: &Path) -> Result<()> {
    match disk::remove_dir(folder) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(Error::failed(format!("remove {}: {error}", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Writes a file under a temporary name, and gives it its own once all of it is on the disk.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    let temporary = path.with_file_name(format!(".{}.tmp", name(path)));
    let mut file = DiskFile::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync()?;
    disk::rename(&temporary, path)?;
    disk::sync_dir(path.parent().unwrap_or(Path::new("")))
}
