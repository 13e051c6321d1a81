//! Where the rows of an export go: one file or standard output, which all encoders share, or a directory, where each has
//! files of its own. Files get their names when all of them are whole.

use super::Summary;
use crate::commands::scanning::Encoder;
use crate::error::{Context, Error, Result};
use crate::format::{Column, ExportFormat, Sink, SinkOptions};
use crate::progress::Counters;
use crate::ring::{Interval, Token};
use crate::rows::Page;
use crate::store::{NewFile, make_empty_dir};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Where `-o` points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One file.
    File(PathBuf),
    /// Files in a directory.
    Dir(PathBuf),
    /// Standard output.
    Stdout,
}

impl Place {
    /// What a text means: `-`, a directory if it is one or ends in a slash, else a file.
    pub fn of(text: &str) -> Place {
        let path = PathBuf::from(text);
        match text {
            "-" => Place::Stdout,
            _ if text.ends_with('/') || path.is_dir() => Place::Dir(path),
            _ => Place::File(path),
        }
    }
}

/// What the files are like.
pub struct Shape {
    /// Their format.
    pub format: ExportFormat,
    /// Their columns.
    pub columns: Vec<Column>,
    /// Where those are in a page; `None` if they are all of it, in its order.
    pub page_columns: Option<Vec<usize>>,
    /// Bytes at which a file of a directory is closed.
    pub part_bytes: u64,
    /// See [`SinkOptions`].
    pub row_group_bytes: usize,
}

/// The files of an export.
pub struct Files {
    target: Target,
    /// The table's name, which files in a directory begin with.
    name: String,
    shape: Shape,
    numbers: AtomicU32,
    inexact: AtomicU64,
    counters: Arc<Counters>,
    reader_gone: Arc<AtomicBool>,
}

enum Target {
    /// All encoders write whole lines into it.
    Lines(Arc<Mutex<Out>>),
    /// One Parquet file has one writer.
    One(Mutex<Option<Box<dyn Sink<Out>>>>),
    Dir(PathBuf),
}

/// Where bytes go.
pub enum Out {
    /// A file.
    File(NewFile),
    /// Standard output.
    Stdout(Stdout),
}

/// Standard output as a file.
#[derive(Default)]
pub struct Stdout {
    /// Bytes that went there.
    written: u64,
    /// Whether it turned out that nobody reads it any more.
    reader_gone: Arc<AtomicBool>,
}

impl Stdout {
    /// Notes that nobody reads any more, if that is what went wrong.
    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        self.reader_gone.fetch_or(done.as_ref().is_err_and(is_gone), Relaxed);
        done
    }
}

impl Out {
    fn begin(place: Place, reader_gone: &Arc<AtomicBool>) -> Result<Out> {
        match place {
            Place::File(path) if path.exists() => {
                Err(Error::failed(format!("{} exists already", path.display()))
                    .hint("give a new file with -o, or remove that one first; nothing was written"))
            }
            Place::File(path) | Place::Dir(path) => Ok(Out::File(NewFile::begin(path)?)),
            Place::Stdout => Ok(Out::Stdout(Stdout { written: 0, reader_gone: reader_gone.clone() })),
        }
    }

    /// Makes it last; answers its bytes, and its name if it has one.
    fn keep(self) -> Result<(u64, Option<String>)> {
        match self {
            Out::File(file) => {
                let name = file.path().display().to_string();
                Ok((file.keep()?.0, Some(name)))
            }
            Out::Stdout(stdout) => {
                stdout.noted(io::stdout().flush()).doing(|| "write to standard output")?;
                Ok((stdout.written, None))
            }
        }
    }
}

impl Write for Out {
    /// Takes all bytes or fails: what one call is given stays together.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::File(file) => file.write_all(bytes)?,
            Out::Stdout(stdout) => {
                stdout.noted(io::stdout().write_all(bytes))?;
                stdout.written += bytes.len() as u64;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::File(file) => file.flush(),
            Out::Stdout(stdout) => stdout.noted(io::stdout().flush()),
        }
    }
}

/// What all encoders write into: each call passes on whole lines.
#[derive(Clone)]
struct Shared(Arc<Mutex<Out>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0).flush()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    /// Begins an export of the table `name`.
    ///
    /// # Errors
    /// `Error` says what is in the way.
    pub fn begin(place: Place, name: String, shape: Shape, counters: Arc<Counters>) -> Result<Files> {
        let reader_gone: Arc<AtomicBool> = Arc::default();
        let target = match (place, shape.format) {
            (Place::Dir(path), _) => {
                make_empty_dir(&path)?;
                Target::Dir(path)
            }
            (place, ExportFormat::Parquet) => {
                let sink = shape.sink(Out::begin(place, &reader_gone)?, true)?;
                Target::One(Mutex::new(Some(sink)))
            }
            (place, ExportFormat::Csv | ExportFormat::Jsonl) => {
                let out = Arc::new(Mutex::new(Out::begin(place, &reader_gone)?));
                // The header, once.
                let header = shape.sink(Shared(out.clone()), true);
                let header = header.and_then(|sink| sink.finish().doing(|| "begin the file"));
                let is_gone = || reader_gone.load(Relaxed);
                header.map_err(|error| if is_gone() { Error::reader_gone() } else { error })?;
                Target::Lines(out)
            }
        };
        let (numbers, inexact) = (AtomicU32::new(0), AtomicU64::new(0));
        Ok(Files { target, name, shape, numbers, inexact, counters, reader_gone })
    }

    /// Whether writing failed since nobody reads standard output any more.
    pub fn is_reader_gone(&self) -> bool {
        self.reader_gone.load(Relaxed)
    }

    /// An encoder of its own for each worker.
    pub fn encoder(self: &Arc<Files>) -> FileEncoder {
        FileEncoder { files: self.clone(), lines: None, part: None, done: Vec::new() }
    }

    /// Gives the files their names, after the last encoder has ended.
    ///
    /// # Errors
    /// `Error` names the file that cannot be written.
    pub fn finish(&self, done: Vec<Vec<Out>>) -> Result<Summary> {
        let outs = match &self.target {
            Target::Dir(path) => {
                let mut outs: Vec<Out> = done.into_iter().flatten().collect();
                if outs.is_empty() {
                    // A table without rows still has columns.
                    let sink = self.shape.sink(self.part(path)?, true)?;
                    outs.push(sink.finish().doing(|| "begin the file")?);
                }
                outs
            }
            Target::One(sink) => {
                let sink = lock(sink).take();
                sink.map(|sink| sink.finish().doing(|| "write the file")).transpose()?.into_iter().collect()
            }
            Target::Lines(out) => vec![std::mem::replace(&mut *lock(out), Out::Stdout(Stdout::default()))],
        };
        let mut summary = Summary { inexact: self.inexact.load(Relaxed), ..Summary::default() };
        for out in outs {
            let (bytes, name) = out.keep()?;
            summary.bytes += bytes;
            summary.files.extend(name);
        }
        summary.files.sort();
        Ok(summary)
    }

    fn part(&self, dir: &Path) -> Result<Out> {
        let number = self.numbers.fetch_add(1, Relaxed) + 1;
        // A table's name may be anything; a file's cannot.
        let name: String =
            self.name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
        let file = format!("{name}-{number:05}.{}", self.shape.format.name());
        Out::begin(Place::Dir(dir.join(file)), &self.reader_gone)
    }
}

impl Shape {
    fn sink<W: Write + Send + 'static>(&self, file: W, header: bool) -> Result<Box<dyn Sink<W>>> {
        let options = SinkOptions { row_group_bytes: self.row_group_bytes, header };
        self.format.sink(&self.columns, options, file).doing(|| "begin the file")
    }
}

/// Writes the pages of one worker.
pub struct FileEncoder {
    files: Arc<Files>,
    /// The way into the file that is shared.
    lines: Option<Box<dyn Sink<Shared>>>,
    /// The open file of a directory.
    part: Option<Box<dyn Sink<Out>>>,
    /// The finished ones.
    done: Vec<Out>,
}

impl FileEncoder {
    /// Writes rows; answers how many cells have no exact form.
    fn write(&mut self, page: &Page) -> Result<u64> {
        let Files { target, shape, .. } = &*self.files;
        let doing = || "write the export";
        match target {
            Target::Lines(out) => {
                let sink = match &mut self.lines {
                    Some(sink) => sink,
                    none => none.insert(shape.sink(Shared(out.clone()), false)?),
                };
                sink.write(page).doing(doing)
            }
            Target::One(sink) => match &mut *lock(sink) {
                Some(sink) => sink.write(page).doing(doing),
                None => Err(Error::failed("the file is finished already")),
            },
            Target::Dir(path) => {
                let sink = match &mut self.part {
                    Some(sink) => sink,
                    none => none.insert(shape.sink(self.files.part(path)?, true)?),
                };
                let inexact = sink.write(page).doing(doing)?;
                if sink.size() >= shape.part_bytes {
                    self.close()?;
                }
                Ok(inexact)
            }
        }
    }

    fn close(&mut self) -> Result<()> {
        if let Some(sink) = self.part.take() {
            self.done.push(sink.finish().doing(|| "write the export")?);
        }
        Ok(())
    }
}

impl Encoder for FileEncoder {
    type Done = Vec<Out>;

    fn begin(&mut self, _: usize, _: Interval, _: SystemTime) -> Result<()> {
        Ok(())
    }

    fn page(&mut self, page: &Page) -> Result<()> {
        let inexact = match &self.files.shape.page_columns {
            None => self.write(page)?,
            Some(columns) => self.write(&page.columns(columns))?,
        };
        self.files.inexact.fetch_add(inexact, Relaxed);
        self.files.counters.rows.fetch_add(page.rows() as u64, Relaxed);
        self.files.counters.bytes.fetch_add(page.value_bytes() as u64, Relaxed);
        Ok(())
    }

    fn end(&mut self, _: Token, _: SystemTime) -> Result<()> {
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Out>> {
        if let Some(lines) = self.lines.take() {
            lines.finish().doing(|| "write the export")?;
        }
        self.close()?;
        Ok(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_a_directory_or_standard_output() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().to_str().unwrap();
        assert_eq!(Place::of("-"), Place::Stdout);
        assert_eq!(Place::of(there), Place::Dir(dir.path().to_owned()));
        assert_eq!(Place::of("new/"), Place::Dir("new/".into()));
        assert_eq!(Place::of(&format!("{there}/new.csv")), Place::File(dir.path().join("new.csv")));
    }
}
