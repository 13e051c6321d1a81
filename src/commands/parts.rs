//! The parts of a dumped table as commands read them: opened one at a time, each with its length, checksum and columns
//! checked before a row of it is used.

use super::layout;
use crate::error::{Context, Error, Result};
use crate::fingerprint::Partition;
use crate::format::{Decoded, Format, FormatError, Layout, Source, Undecoded};
use crate::manifest::{Manifest, Part, TableEntry};
use crate::ring::Partitioner;
use crate::rows::Page;
use crate::store::DumpDir;
use crate::table::Table;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A dumped table's parts.
pub struct TableParts {
    /// What their columns are.
    pub table: Table,
    /// What the manifest says of them.
    pub entries: Vec<Part>,
    /// What made the tokens of their ranges.
    pub partitioner: Partitioner,
    folder: String,
    layout: Layout,
    format: Format,
    dir: DumpDir,
}

impl TableParts {
    /// The parts of the table that `entry` describes; none of them is opened yet.
    ///
    /// # Errors
    /// `Error` if the manifest asks for a format, or names a column or a partitioner, in a way that cannot be read.
    pub fn of(dir: &DumpDir, manifest: &Manifest, entry: &TableEntry, table: &Table) -> Result<TableParts> {
        let format = Format::named(&manifest.options.format).ok_or_else(|| {
            Error::failed(format!("the dump's format {:?} is unknown", manifest.options.format))
        })?;
        let partitioner = Partitioner::of_class(&manifest.cluster.partitioner)
            .doing(|| "read the token ranges of the dump")?;
        let layout = layout(table)?;
        if layout.exceptions != entry.exceptions_column {
            return Err(Error::failed(format!(
                "{}: the manifest calls its exceptions column {:?}, expected {:?}",
                table.full_name(),
                entry.exceptions_column,
                layout.exceptions
            )));
        }
        Ok(TableParts {
            table: table.clone(),
            entries: entry.parts.clone(),
            partitioner,
            folder: entry.path.clone(),
            layout,
            format,
            dir: dir.clone(),
        })
    }

    /// Where the file of a part lies; none if the part holds no rows.
    ///
    /// # Errors
    /// `Error` names the file if it is gone or its name leads out of the dump.
    pub fn path(&self, part: &Part) -> Result<Option<PathBuf>> {
        Ok(self.dir.open_part(&self.folder, part)?.map(|reader| reader.path().to_owned()))
    }

    /// Opens the file of a part that has one. A dump may have more parts than a process may have files open, so each is
    /// opened when its turn comes.
    ///
    /// # Errors
    /// `Error` names the file and what is wrong with it.
    pub fn open(&self, part: &Part) -> Result<Box<dyn Source>> {
        let name = format!("{}/{}", self.folder, part.name);
        let reader = self.dir.open_part(&self.folder, part)?;
        let reader = reader.ok_or_else(|| Error::failed(format!("{name} is gone")))?;
        let source = self.format.source(&self.layout, reader.checked()?).doing(|| format!("read {name}"))?;
        Ok(Box::new(Counted { source, stated: part.rows, found: Arc::default() }))
    }

    /// Reads these parts, by their numbers, one after the other, and hands each page to `take` until that breaks off.
    ///
    /// # Errors
    /// `Error` names the file and what is wrong with it, or is what `take` returns.
    pub fn read(&self, parts: &[usize], take: &mut dyn FnMut(Page) -> Result<ControlFlow<()>>) -> Result<()> {
        for part in parts.iter().map(|part| &self.entries[*part]).filter(|part| part.file.is_some()) {
            let mut source = self.open(part)?;
            while let Some(page) = source.next_page().doing(|| format!("read {}", part.name))? {
                if take(page)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A part's rows, which must be as many as the manifest says: a file with more, or with fewer, is another one.
struct Counted {
    source: Box<dyn Source>,
    stated: u64,
    /// Rows so far, whoever decodes them.
    found: Arc<AtomicU64>,
}

impl Source for Counted {
    fn next_page(&mut self) -> Result<Option<Page>, FormatError> {
        if let Some(page) = self.source.next_page()? {
            return count(page, &self.found, self.stated).map(Some);
        }
        let (found, stated) = (self.found.load(Relaxed), self.stated);
        match found == stated {
            true => Ok(None),
            false => Err(FormatError::Damaged(format!("it holds {found} rows, the manifest says {stated}"))),
        }
    }

    /// That there are fewer rows is left to the feed, which knows when all pages are decoded.
    fn next_undecoded(&mut self) -> Result<Option<Undecoded>, FormatError> {
        let (found, stated) = (self.found.clone(), self.stated);
        let counted = |page: Undecoded| {
            let count = move || {
                let Decoded { page, bad, texts } = page()?;
                Ok(Decoded { page: count(page, &found, stated)?, bad, texts })
            };
            Box::new(count) as Undecoded
        };
        Ok(self.source.next_undecoded()?.map(counted))
    }
}

fn count(page: Page, found: &AtomicU64, stated: u64) -> Result<Page, FormatError> {
    let rows = page.rows() as u64;
    if found.fetch_add(rows, Relaxed).saturating_add(rows) > stated {
        return Err(FormatError::Damaged(format!("it holds more rows than the {stated} of the manifest")));
    }
    Ok(page)
}

/// The partition in which a part begins, if it began in another part.
///
/// # Errors
/// `Error` if the manifest's position cannot be read.
pub fn inside(part: &Part) -> Result<Option<Partition>> {
    let from = part.ranges.first().and_then(|range| range.from.as_ref());
    from.map(|position| position.partition().doing(|| "read the manifest")).transpose()
}
