//! Reading by names that a manifest gives: only what lies in the dump itself, and is a file. A dump's own directory may be
//! reached by a link; inside of it a link, a pipe or a device is nothing that a dump has.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file below `root`, by names that have been looked at one by one; its metadata tell its length.
///
/// # Errors
/// Why it cannot be read, or is refused.
pub(super) fn open(root: &Path, names: &[&str]) -> io::Result<(File, Metadata)> {
    let mut path = root.to_owned();
    let mut found = None;
    for name in names {
        path.push(name);
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_symlink() {
            return Err(io::Error::other(format!("refused: {name} in it is a symbolic link")));
        }
        found = Some(metadata);
    }
    // Before it is opened: a pipe would be waited for.
    let Some(found) = found.filter(Metadata::is_file) else {
        return Err(io::Error::other("refused: it is no regular file"));
    };
    let file = File::open(&path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        return Err(io::Error::other("refused: it was exchanged for another one while it was opened"));
    }
    Ok((file, opened))
}

/// That no name on the way to a folder is a link, as far as there is anything of that name.
///
/// # Errors
/// Which one is, or cannot be looked at.
pub(super) fn folder(root: &Path, names: &[&str]) -> io::Result<()> {
    let mut path = root.to_owned();
    for name in names {
        path.push(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                return Err(io::Error::other(format!("refused: {name} in it is a symbolic link")));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The whole of such a file, if it has so many bytes at most.
///
/// # Errors
/// As `open`, or that it is longer.
pub(super) fn read(root: &Path, names: &[&str], most: u64) -> io::Result<Vec<u8>> {
    let (file, metadata) = open(root, names)?;
    let too_long =
        |len| io::Error::other(format!("refused: it has {len} bytes, more than the {most} it may have"));
    if metadata.len() > most {
        return Err(too_long(metadata.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes)? as u64;
    if read > most { Err(too_long(read)) } else { Ok(bytes) }
}
