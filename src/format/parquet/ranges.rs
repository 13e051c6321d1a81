//! The file as the Parquet library reads it: by ranges, each from its own place, so that reading takes no further
//! descriptor and no reader moves another. The library hands on errors of the file as text, as though its content were
//! at fault; here they are kept as they were.

use super::panics::caught;
use crate::format::FormatError;
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A file of a known length, read by ranges. Clones are the same file.
#[derive(Clone)]
pub(super) struct Ranges {
    file: Arc<File>,
    len: u64,
    /// The error that reading the file last gave, until somebody is told.
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Ranges {
    /// # Errors
    /// The file's length cannot be had.
    pub(super) fn of(file: File) -> io::Result<Ranges> {
        let len = file.metadata()?.len();
        Ok(Ranges { file: Arc::new(file), len, failed: Arc::default() })
    }

    /// Has the library do something with the file, panics and all.
    ///
    /// # Errors
    /// Of reading the file as it was, whatever the library made of it; else what the library says.
    pub(super) fn caught<T>(&self, work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
        let done = caught(work);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (done, failed) {
            (Err(_), Some(error)) => Err(FormatError::Io(error)),
            (done, _) => done,
        }
    }

    /// The file itself.
    pub(super) fn whole(&self) -> &File {
        &self.file
    }

    fn keep(&self, error: io::Error) -> io::Error {
        let told = io::Error::from(error.kind());
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Ranges {
    type T = BufReader<Onward>;

    fn get_read(&self, start: u64) -> ParquetResult<BufReader<Onward>> {
        Ok(BufReader::new(Onward { ranges: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let left = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX);
        if left < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} of {}", self.len)));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(|error| self.keep(error))?;
        Ok(bytes.into())
    }
}

/// All of the file from a place on.
pub(super) struct Onward {
    ranges: Ranges,
    at: u64,
}

impl Read for Onward {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.ranges.file.read_at(into, self.at).map_err(|error| self.ranges.keep(error))?;
        self.at = self.at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_each_from_its_own_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        let ranges = Ranges::of(file.reopen().unwrap()).unwrap();
        let mut readers = [2, 5].map(|start| ranges.get_read(start).unwrap());
        let mut two = [0; 2];
        for (reader, expected) in [(0, "23"), (1, "56"), (0, "45")] {
            readers[reader].read_exact(&mut two).unwrap();
            assert_eq!(two, expected.as_bytes());
        }
        assert_eq!(ranges.get_bytes(7, 3).unwrap(), "789");
        assert!(ranges.get_bytes(7, 4).is_err());
        assert!(ranges.get_bytes(u64::MAX, 1).is_err());
    }

    /// A file that may only be written cannot be read, whoever reads it.
    #[test]
    fn an_error_of_the_file_is_told_as_it_was() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        let closed = File::options().write(true).open(file.path()).unwrap();
        let ranges = Ranges::of(closed).unwrap();
        // As the library does on the way to Arrow.
        let text = |error: ParquetError| FormatError::Arrow(error.into());
        let whole = ranges.caught(|| ranges.get_bytes(0, 10).map_err(text));
        let read = ranges.caught(|| {
            let mut reader = ranges.get_read(0).map_err(text)?;
            reader.read_exact(&mut [0; 4]).map_err(|error| text(error.into()))
        });
        for told in [whole.unwrap_err(), read.unwrap_err()] {
            assert_eq!(told.to_string(), "Bad file descriptor (os error 9)");
        }
        // It is told once: what goes wrong later has other reasons.
        let later = ranges.caught(|| Err::<(), _>(FormatError::Damaged("of itself".to_owned())));
        assert_eq!(later.unwrap_err().to_string(), "the file is damaged: of itself");
    }
}
