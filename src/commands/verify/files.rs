//! The files of a dump against its manifest. Nothing is loaded, no cluster is asked.

use super::{Difference, Findings, Kind};
use crate::commands::parts::{TableParts, inside};
use crate::commands::tile_the_ring;
use crate::error::{self, Context, Error, Result};
use crate::fingerprint::Fingerprint;
use crate::format::Source;
use crate::manifest::{KeyspaceEntry, Manifest, Part, TableEntry};
use crate::store::DumpDir;
use crate::table::Table;

pub const REMEDY: &str =
    "the dump is damaged: copy the file again from where the dump was made, or dump again";

/// Checks every part's file: its checksum, and that it holds what the manifest says.
///
/// # Errors
/// `Error` if something could not be read for another reason than damage.
pub fn check(dir: &DumpDir, manifest: &Manifest) -> Result<Findings> {
    let mut findings = Findings::default();
    for keyspace in &manifest.keyspaces {
        for entry in &keyspace.tables {
            findings.tables += 1;
            check_table(dir, manifest, keyspace, entry, &mut findings)?;
        }
    }
    for stray in dir.strays(manifest)? {
        let what = format!("{} is not in the manifest", stray.display());
        findings.add(Difference::of(Kind::File, "the dump", what));
    }
    Ok(findings)
}

fn check_table(
    dir: &DumpDir,
    manifest: &Manifest,
    keyspace: &KeyspaceEntry,
    entry: &TableEntry,
    findings: &mut Findings,
) -> Result<()> {
    let table = keyspace.table(entry).doing(|| "read the manifest")?;
    let name = table.full_name();
    let files = TableParts::of(dir, manifest, entry, &table)?;
    let mut add = |what: String| findings.add(Difference::of(Kind::File, &name, what));
    if let Err(what) = tile_the_ring(&entry.parts) {
        add(format!("its token ranges do not cover the ring: {what}"));
    }
    let (mut count_of_files, mut rows) = (0, 0);
    for part in &entry.parts {
        if let Some(what) = dir.sidecar_differs(&entry.path, part)? {
            add(what);
        }
        if part.file.is_none() {
            continue;
        }
        count_of_files += 1;
        match files.open(part).and_then(|source| count(source, &table, &entry.path, part)) {
            Ok(counted) => rows += counted,
            Err(error) if error.kind() == error::Kind::Failed && !error.is_out_of_files() => {
                add(error.message().to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    findings.parts += count_of_files;
    findings.rows += rows;
    Ok(())
}

/// Reads a part to its end and compares what it holds with what its sidecar says.
fn count(mut source: Box<dyn Source>, table: &Table, folder: &str, part: &Part) -> Result<u64> {
    let doing = || format!("read {folder}/{}", part.name);
    let mut fingerprint = Fingerprint::new(table, inside(part)?);
    while let Some(page) = source.next_page().doing(doing)? {
        fingerprint.add(&page).doing(doing)?;
    }
    let found = fingerprint.tally();
    if (found.rows, found.cells) != (part.rows, part.cells) {
        return Err(Error::failed(format!(
            "{folder}/{} holds {} rows with {} cells, the manifest says {} with {}",
            part.name, found.rows, found.cells, part.rows, part.cells
        )));
    }
    if part.sums.is_some_and(|sums| sums != found.sums) {
        return Err(Error::failed(format!(
            "{folder}/{} holds other rows than the sums in the manifest say",
            part.name
        )));
    }
    Ok(found.rows)
}
