//! The few things that are done to a file system, each in one place, so that tests can tell what a power loss between two
//! of them may leave.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// A file being written, readable by its owner alone.
pub struct DiskFile {
    file: File,
    #[cfg(test)]
    path: std::path::PathBuf,
}

impl DiskFile {
    /// Makes the file, empty.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<DiskFile> {
        DiskFile::made(path, OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Makes the file, empty, where there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn create_new(path: &Path) -> io::Result<DiskFile> {
        DiskFile::made(path, OpenOptions::new().write(true).create_new(true))
    }

    /// Opens the file to read it and go on with it; makes it where there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        #[cfg(test)]
        log::did(log::Op::Open(path.to_owned()));
        Ok(DiskFile {
            file,
            #[cfg(test)]
            path: path.to_owned(),
        })
    }

    fn made(path: &Path, options: &mut OpenOptions) -> io::Result<DiskFile> {
        let file = options.mode(0o600).open(path)?;
        #[cfg(test)]
        log::did(log::Op::Create(path.to_owned()));
        Ok(DiskFile {
            file,
            #[cfg(test)]
            path: path.to_owned(),
        })
    }

    /// The file itself, for what changes nothing of it: locks, facts, reading.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// Writes behind so many bytes.
    ///
    /// # Errors
    /// The system's; some of it may have been written.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        #[cfg(test)]
        log::did(log::Op::WriteAt(self.path.clone(), at, bytes.to_vec()));
        Ok(())
    }

    /// Keeps the first so many bytes only.
    ///
    /// # Errors
    /// The system's.
    pub fn cut(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        #[cfg(test)]
        log::did(log::Op::Cut(self.path.clone(), len));
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        #[cfg(test)]
        log::did(log::Op::Sync(self.path.clone()));
        Ok(())
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        #[cfg(test)]
        log::did(log::Op::Write(self.path.clone(), bytes[..written].to_vec()));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gives a file another name; it is not certain to last before its folder is synced.
///
/// # Errors
/// The system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    log::did(log::Op::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

/// Removes a file.
///
/// # Errors
/// The system's.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    log::did(log::Op::Remove(path.to_owned()));
    Ok(())
}

/// Removes a folder with nothing in it.
///
/// # Errors
/// The system's.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)?;
    #[cfg(test)]
    log::did(log::Op::Remove(path.to_owned()));
    Ok(())
}

/// Makes a folder, for its owner alone, and those above it, each certain to last.
///
/// # Errors
/// The system's.
pub fn make_dir(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    make_dir(above)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    #[cfg(test)]
    log::did(log::Op::MakeDir(path.to_owned()));
    sync_dir(above)
}

/// Waits until the names in a folder are on the disk.
///
/// # Errors
/// The system's.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    // The parent of a plain name is the empty path, which stands for here.
    let folder = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(folder)?.sync_all()?;
    #[cfg(test)]
    log::did(log::Op::SyncDir(path.to_owned()));
    Ok(())
}

/// What was done, in order, for tests that ask what would be left of it.
#[cfg(test)]
pub(crate) mod log {
    use std::cell::RefCell;
    use std::path::PathBuf;

    #[derive(Clone, Debug)]
    pub enum Op {
        MakeDir(PathBuf),
        Create(PathBuf),
        Open(PathBuf),
        WriteAt(PathBuf, u64, Vec<u8>),
        Cut(PathBuf, u64),
        Write(PathBuf, Vec<u8>),
        Sync(PathBuf),
        Rename(PathBuf, PathBuf),
        Remove(PathBuf),
        SyncDir(PathBuf),
    }

    thread_local! {
        static LOG: RefCell<Vec<Op>> = const { RefCell::new(Vec::new()) };
    }

    pub fn did(op: Op) {
        LOG.with_borrow_mut(|log| log.push(op));
    }

    /// What this thread has done since the last time it was asked.
    pub fn taken() -> Vec<Op> {
        LOG.with_borrow_mut(std::mem::take)
    }
}
