//! Whether what a manifest says can be so: nothing named twice, keys whole, sums that add up. It may come from a stranger,
//! and what comes after it counts on this. What lies in files is left to whoever reads them.

use super::{BadManifest, KeyspaceEntry, Manifest, Part, TableEntry};
use crate::table::ColumnKind;
use std::collections::HashSet;

/// Checks the whole of it.
///
/// # Errors
/// `BadManifest::Content` names the first thing that cannot be so.
pub(super) fn check(manifest: &Manifest) -> Result<(), BadManifest> {
    once(names(&manifest.keyspaces, |k| &k.name), |name| format!("the keyspace {name:?} is in it twice"))?;
    let tables = || manifest.keyspaces.iter().flat_map(|k| &k.tables);
    once(tables().map(|t| t.path.as_str()), |path| format!("two tables of it lie in {path:?}"))?;
    manifest.keyspaces.iter().try_for_each(keyspace)?;
    let sums: [fn(&TableEntry) -> u64; 3] = [|t| t.rows, |t| t.cells, |t| t.bytes];
    match sums.iter().all(|of| total(tables().map(of)).is_some()) {
        true => Ok(()),
        false => Err(content("its tables have more rows, cells or bytes than can be counted".to_owned())),
    }
}

fn keyspace(keyspace: &KeyspaceEntry) -> Result<(), BadManifest> {
    let name = &keyspace.name;
    once(names(&keyspace.types, |t| &t.name), |t| format!("the type {name:?}.{t:?} is in it twice"))?;
    for entry in &keyspace.types {
        let twice =
            |field: &str| format!("type {name:?}.{:?}: the field {field:?} is in it twice", entry.name);
        once(names(&entry.fields, |f| &f.name), twice)?;
    }
    once(names(&keyspace.tables, |t| &t.name), |t| format!("the table {name:?}.{t:?} is in it twice"))?;
    keyspace.tables.iter().try_for_each(|entry| {
        table(entry).map_err(|what| content(format!("table {name:?}.{:?}: {what}", entry.name)))
    })
}

fn table(table: &TableEntry) -> Result<(), String> {
    let columns = table.columns.iter();
    let files = columns.flat_map(|c| [Some(&c.name), c.write_time.as_ref(), c.expires_at.as_ref()]);
    let files = files.flatten().chain([&table.exceptions_column]);
    twice(files.map(String::as_str)).map_or(Ok(()), |c| Err(format!("two columns are called {c:?}")))?;
    for kind in [ColumnKind::PartitionKey, ColumnKind::Clustering] {
        let of_kind = table.columns.iter().filter(|c| c.kind == kind.name());
        let mut positions: Vec<i32> = of_kind.map(|c| c.position).collect();
        positions.sort_unstable();
        if !positions.iter().zip(0..).all(|(found, expected)| *found == expected) {
            return Err(format!("its {} columns stand in the places {positions:?}", kind.name()));
        }
        if positions.is_empty() && kind == ColumnKind::PartitionKey {
            return Err("it has no partition key".to_owned());
        }
    }
    let parts = &table.parts;
    twice(names(parts, |p| &p.name)).map_or(Ok(()), |p| Err(format!("the part {p:?} is in it twice")))?;
    let files = parts.iter().filter_map(|p| p.file.as_deref());
    twice(files).map_or(Ok(()), |f| Err(format!("two parts of it are in the file {f:?}")))?;
    parts.iter().try_for_each(|p| part(p).map_err(|what| format!("part {:?}: {what}", p.name)))?;
    let sum = |of: fn(&Part) -> u64| total(parts.iter().map(of));
    for (what, stated, found) in [
        ("rows", table.rows, sum(|p| p.rows)),
        ("cells", table.cells, sum(|p| p.cells)),
        ("bytes", table.bytes, sum(|p| p.bytes)),
    ] {
        if found != Some(stated) {
            return Err(format!("it states {stated} {what}, its parts have others"));
        }
    }
    Ok(())
}

fn part(part: &Part) -> Result<(), String> {
    let Part { rows, cells, bytes, exceptions, untold_rows, .. } = *part;
    match part.file {
        None if rows > 0 || cells > 0 || bytes > 0 => return Err("it has rows and no file".to_owned()),
        Some(_) if part.checksum.is_none() => return Err("its file has no checksum".to_owned()),
        _ => {}
    }
    // An exception may be of a companion, of which each cell has two.
    if exceptions / 3 > cells || untold_rows > rows {
        return Err(format!(
            "{exceptions} exceptions and {untold_rows} untold rows of {cells} cells in {rows} rows"
        ));
    }
    Ok(())
}

fn names<T>(all: &[T], name: fn(&T) -> &String) -> impl Iterator<Item = &str> {
    all.iter().map(move |one| name(one).as_str())
}

/// The first that was there before.
fn twice<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

fn once<'a>(names: impl Iterator<Item = &'a str>, what: impl Fn(&str) -> String) -> Result<(), BadManifest> {
    twice(names).map_or(Ok(()), |name| Err(content(what(name))))
}

fn total(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0_u64, u64::checked_add)
}

fn content(what: String) -> BadManifest {
    BadManifest::Content(what)
}
