//! `cqlift verify DIR`: the files of a dump against its manifest. Nothing is loaded, no cluster is asked.

use super::{OutputArgs, layout, plural, tile_the_ring};
use crate::error::{Context, Error, Kind, Result};
use crate::format::{Format, Source};
use crate::manifest::{KeyspaceEntry, Manifest, Part, TableEntry};
use crate::report;
use crate::store::{DumpDir, MANIFEST};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

const REMEDY: &str = "the dump is damaged: copy the file again from where the dump was made, or dump again";

/// Check the files of a dump against its manifest
#[derive(Args)]
pub struct VerifyArgs {
    /// Directory that `cqlift dump` wrote
    #[arg(value_name = "DIR")]
    pub dump: PathBuf,
}

/// What a dump's files show.
#[derive(Default, Serialize)]
struct Findings {
    tables: u64,
    parts: u64,
    rows: u64,
    differences: Vec<Difference>,
}

/// A place where files and manifest differ.
#[derive(Serialize)]
struct Difference {
    /// The table, or the dump.
    object: String,
    /// What differs there, naming the file.
    what: String,
}

/// Checks.
///
/// # Errors
/// A difference (exit 4) if anything is not as the manifest says.
pub fn run(args: &VerifyArgs, output: OutputArgs) -> Result<()> {
    let (dir, manifest) = match DumpDir::read(&args.dump)? {
        (_, Err(error)) if error.is_damage() => {
            let path = args.dump.join(MANIFEST);
            return Err(Error::difference(format!("{}: {error}", path.display())).hint(REMEDY));
        }
        (dir, manifest) => (dir, manifest.doing(|| "read the manifest")?),
    };
    let findings = check(&dir, &manifest)?;
    if output.json {
        report::json(&findings)?;
    } else {
        for Difference { object, what } in &findings.differences {
            report::result(&format!("{object}: {what}\n"))?;
        }
    }
    let Findings { tables, parts, rows, differences } = &findings;
    if let Some(first) = differences.first() {
        let count = plural(differences.len() as u64, "difference");
        return Err(
            Error::difference(format!("{count}, the first in {}: {}", first.object, first.what)).hint(REMEDY)
        );
    }
    if !output.quiet {
        report::note(&format!(
            "{}: {}, {} and {} are as the manifest says",
            args.dump.display(),
            plural(*tables, "table"),
            plural(*parts, "file"),
            plural(*rows, "row"),
        ));
    }
    Ok(())
}

fn check(dir: &DumpDir, manifest: &Manifest) -> Result<Findings> {
    let mut findings = Findings::default();
    let format = Format::named(&manifest.options.format).ok_or_else(|| {
        Error::failed(format!("the dump's format {:?} is unknown", manifest.options.format))
    })?;
    for keyspace in &manifest.keyspaces {
        for entry in &keyspace.tables {
            findings.tables += 1;
            check_table(dir, format, keyspace, entry, &mut findings)?;
        }
    }
    for stray in dir.strays(manifest)? {
        findings.add("the dump", format!("{} is not in the manifest", stray.display()));
    }
    Ok(findings)
}

impl Findings {
    fn add(&mut self, object: &str, what: String) {
        self.differences.push(Difference { object: object.to_owned(), what });
    }
}

fn check_table(
    dir: &DumpDir,
    format: Format,
    keyspace: &KeyspaceEntry,
    entry: &TableEntry,
    findings: &mut Findings,
) -> Result<()> {
    let table = keyspace.table(entry).doing(|| "read the manifest")?;
    let (name, layout) = (table.full_name(), layout(&table)?);
    if let Err(what) = tile_the_ring(&entry.parts) {
        findings.add(&name, format!("its token ranges do not cover the ring: {what}"));
    }
    for part in &entry.parts {
        if let Some(what) = dir.sidecar_differs(&entry.path, part)? {
            findings.add(&name, what);
        }
        let Some(file) = &part.file else { continue };
        findings.parts += 1;
        let open = || {
            let gone = || Error::failed(format!("{file} is gone"));
            let checked = dir.open_part(&entry.path, part)?.ok_or_else(gone)?.checked()?;
            format.source(&layout, checked).doing(|| format!("read {}/{file}", entry.path))
        };
        match open().and_then(|source| count(source, &entry.path, part)) {
            Ok(rows) => findings.rows += rows,
            Err(error) if error.kind() == Kind::Failed => findings.add(&name, error.message().to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a part to its end and compares what it holds with what its sidecar says.
fn count(mut source: Box<dyn Source>, folder: &str, part: &Part) -> Result<u64> {
    let (mut rows, mut cells) = (0, 0);
    while let Some(page) = source.next_page().doing(|| format!("read {folder}/{}", part.name))? {
        rows += page.rows() as u64;
        cells += page.cells() as u64;
    }
    if (rows, cells) != (part.rows, part.cells) {
        return Err(Error::failed(format!(
            "{folder}/{} holds {rows} rows with {cells} cells, the manifest says {} with {}",
            part.name, part.rows, part.cells
        )));
    }
    Ok(rows)
}
