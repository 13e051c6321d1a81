//! The file of a state: found in its folder, held by one process at a time, appended to line by line, each synced. What the
//! lines say is left to [`crate::state`].

use super::disk::{make_dir, sync_dir};
use crate::error::{Context, Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How the names of state files end.
const ENDING: &str = ".state";

/// Where states are kept unless the user says otherwise: `cqlift` in the user's state directory.
pub fn default_folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || named("HOME").map(|home| home.join(".local/state"));
    named("XDG_STATE_HOME").or_else(home).unwrap_or_else(std::env::temp_dir).join("cqlift")
}

/// The states in a folder whose names begin so, in order, each with its bytes. A folder that is not there has none.
///
/// # Errors
/// `Error` names what cannot be read.
pub fn states(folder: &Path, prefix: &str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let doing = || format!("read the states in {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(doing)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.doing(doing)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(prefix) || !name.ends_with(ENDING) {
            continue;
        }
        match fs::read(entry.path()) {
            Ok(bytes) => found.push((entry.path(), bytes)),
            // One that ends meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("read {}: {error}", entry.path().display()))),
        }
    }
    found.sort();
    Ok(found)
}

/// A state's file, which no other process can hold.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    file: File,
    /// Bytes that count.
    len: u64,
}

impl StateFile {
    /// Opens the file of a state by its name without ending, or makes it; answers what it holds.
    ///
    /// # Errors
    /// `Error` if another process holds it, or it cannot be written.
    pub fn open(folder: &Path, name: &str) -> Result<(StateFile, Vec<u8>)> {
        let path = folder.join(format!("{name}{ENDING}"));
        let doing = || format!("write the state {}", path.display());
        let hint = |error: Error| error.hint("name a directory that can be written with --state");
        make_dir(folder).doing(doing).map_err(hint)?;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(&path).doing(doing).map_err(hint)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(&path)),
                Err(TryLockError::Error(error)) => return Err(error).doing(doing).map_err(hint),
            }
            // Who held it may have removed it before this lock was given.
            let held = file.metadata().doing(doing)?;
            if !fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()))
            {
                continue;
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).doing(doing)?;
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            return Ok((StateFile { path, file, len }, bytes));
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing has been written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first so many bytes only: what follows is a torn line, or is to be forgotten.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn cut(&mut self, len: usize) -> Result<()> {
        let doing = || format!("write the state {}", self.path.display());
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        if len < self.len {
            self.file.set_len(len).doing(doing)?;
            self.file.sync_all().doing(doing)?;
            self.len = len;
        }
        Ok(())
    }

    /// Appends a line; when this returns it is on the disk.
    ///
    /// # Errors
    /// `Error` names the file; the line is not in it then.
    pub fn append(&mut self, line: &str) -> Result<()> {
        let written = self.try_append(line);
        if written.is_err() {
            // A part of a line must not stand before others. If this fails too the next line is written over it.
            let _ = self.file.set_len(self.len);
        }
        written.doing(|| format!("write the state {}", self.path.display()))
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(line.as_bytes())?;
        self.file.sync_all()?;
        if self.len == 0 {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            sync_dir(folder.unwrap_or(Path::new(".")))?;
        }
        self.len += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Removes it: it has nothing more to say.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).doing(|| format!("remove the state {}", self.path.display()))
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if self.len == 0 {
            // Nothing was begun; an empty one does no harm either.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn held(path: &Path) -> Error {
    Error::failed(format!("another cqlift is at work with the state {}", path.display()))
        .hint("wait until it has ended, or stop it first")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_state_is_private_and_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let (mut state, bytes) = StateFile::open(&folder, "load-1").unwrap();
        assert_eq!(bytes, b"");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(state.path()), mode(&folder)), (0o600, 0o700));
        let error = StateFile::open(&folder, "load-1").unwrap_err().to_string();
        assert!(error.contains("another cqlift") && error.contains("load-1.state"), "{error}");
        state.append("one\n").unwrap();
        state.append("two\n").unwrap();
        drop(state);
        let (mut state, bytes) = StateFile::open(&folder, "load-1").unwrap();
        assert_eq!(bytes, b"one\ntwo\n");
        state.cut(4).unwrap();
        state.append("2\n").unwrap();
        assert_eq!(states(&folder, "load-").unwrap(), [(folder.join("load-1.state"), b"one\n2\n".to_vec())]);
        assert_eq!(states(&folder, "import-").unwrap(), []);
        state.remove().unwrap();
        drop(state);
        assert_eq!(states(&folder, "").unwrap(), []);
        assert_eq!(states(&folder.join("c"), "").unwrap(), []);
    }

    #[test]
    fn one_that_nothing_was_written_to_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        drop(StateFile::open(dir.path(), "x").unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = StateFile::open(&dir.path().join("file"), "x").unwrap_err().to_string();
        assert!(error.contains("file/x.state") && error.contains("--state"), "{error}");
    }
}
