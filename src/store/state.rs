//! The file of a state: found in its folder, held by one process at a time, appended to line by line, each synced. What the
//! lines say is left to [`crate::state`].

use super::disk::{DiskFile, make_dir, remove, sync_dir};
use crate::error::{Context, Error, Result};
use std::fs::{self, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
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
pub struct StateFile {
    path: PathBuf,
    file: DiskFile,
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
            let file = DiskFile::open(&path).doing(doing).map_err(hint)?;
            match file.as_file().try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(&path)),
                Err(TryLockError::Error(error)) => return Err(error).doing(doing).map_err(hint),
            }
            // Who held it may have removed it before this lock was given.
            let held = file.as_file().metadata().doing(doing)?;
            if !fs::metadata(&path).is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino()))
            {
                continue;
            }
            let mut bytes = Vec::new();
            file.as_file().read_to_end(&mut bytes).doing(doing)?;
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
            self.file.cut(len).doing(doing)?;
            self.file.sync().doing(doing)?;
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
            let _ = self.file.cut(self.len);
        }
        written.doing(|| format!("write the state {}", self.path.display()))
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_at(line.as_bytes(), self.len)?;
        self.file.sync()?;
        if self.len == 0 {
            self.sync_name()?;
        }
        self.len += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Waits until it is certain by what name it is found, or that it is gone.
    fn sync_name(&self) -> io::Result<()> {
        sync_dir(self.path.parent().unwrap_or(Path::new("")))
    }

    /// Removes it, for certain: it has nothing more to say, and must not say it again.
    ///
    /// # Errors
    /// `Error` names the file.
    pub fn remove(&self) -> Result<()> {
        let doing = || format!("remove the state {}", self.path.display());
        remove(&self.path).and_then(|()| self.sync_name()).doing(doing)
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if self.len == 0 {
            // Nothing was begun; an empty one does no harm either.
            let _ = remove(&self.path);
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
        let error = StateFile::open(&folder, "load-1").err().unwrap().to_string();
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
        let error = StateFile::open(&dir.path().join("file"), "x").err().unwrap().to_string();
        assert!(error.contains("file/x.state") && error.contains("--state"), "{error}");
    }
}
