//! Going on with a dump that an earlier run began: whether it is the same dump, and which of its parts are whole.

use super::ending::interrupted;
use super::parts::TableWork;
use super::{DumpArgs, dump_id, options};
use crate::cluster::Cluster;
use crate::cluster::catalogue::Schema;
use crate::commands::stop::Stop;
use crate::commands::{plural, ranges, rfc3339};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::manifest::begun::{Begun, BegunTable};
use crate::manifest::{FORMAT, Part, Position};
use crate::report;
use crate::ring::Stretch;
use crate::store::DumpDir;
use crate::table::Table;

/// What a run is about to do.
pub fn record(args: &DumpArgs, cluster: &Cluster, schema: &Schema, work: &[TableWork]) -> Begun {
    let now = cluster.time();
    Begun {
        format: FORMAT.to_owned(),
        tool: super::TOOL.to_owned(),
        id: dump_id(cluster, now),
        started: rfc3339(now),
        cluster: cluster.about.name.clone(),
        hosts: cluster.hosts(),
        partitioner: cluster.about.partitioner.clone(),
        options: options(args, cluster),
        roles: args.roles,
        skip_unsupported: args.skip_unsupported,
        tables: work.iter().map(|work| known_again(schema, &work.table)).collect(),
    }
}

/// What is to be known again of a table.
pub fn known_again(schema: &Schema, table: &Table) -> BegunTable {
    let keyspace = schema.keyspaces.get(&table.keyspace);
    let id = keyspace.and_then(|keyspace| keyspace.ids.get(&table.name)).map(ToString::to_string);
    BegunTable::of(table, id.as_deref(), keyspace.and_then(|keyspace| keyspace.dropped.get(&table.name)))
}

/// Takes the directory; answers the record of the dump in it, which is `now` unless one was begun before.
///
/// # Errors
/// `Error` says what is in the way, or how this run differs from what was begun.
pub fn begin(args: &DumpArgs, now: Begun) -> Result<(DumpDir, Begun)> {
    let (dir, earlier) = DumpDir::begin(&args.output, args.restart)?;
    let Some(earlier) = earlier else {
        dir.write_begun(&now)?;
        return Ok((dir, now));
    };
    let differences = earlier.differences(&now);
    if !differences.is_empty() {
        return Err(Error::failed(format!(
            "{} holds an unfinished dump, which this run cannot go on with: {}",
            args.output.display(),
            differences.join("; ")
        ))
        .hint(
            "run the same command as before, start over with --restart, or choose another directory with -o",
        ));
    }
    let begun = Begun { id: earlier.id.clone(), started: earlier.started.clone(), ..now };
    let made = begun.tables.iter().filter(|t| earlier.table(&t.keyspace, &t.name).is_none());
    let made: Vec<String> = made.map(|table| format!("{}.{}", table.keyspace, table.name)).collect();
    if !made.is_empty() {
        report::note(&format!("new since the dump was begun: {}", made.join(", ")));
        dir.write_begun(&begun)?;
    }
    Ok((dir, begun))
}

/// The parts of each table that were finished before, each compared with its length and its checksum.
///
/// # Errors
/// `Error` names the file that is not what its sidecar says; or the run was interrupted.
pub fn parts(
    dir: &DumpDir,
    work: &[TableWork],
    (dump, format): (&str, Format),
    stop: &Stop,
    quiet: bool,
) -> Result<Vec<Vec<Part>>> {
    let all: Result<Vec<Vec<Part>>> =
        work.iter().map(|work| dir.finished_parts(&work.path, format.name(), dump)).collect();
    let all = all?;
    let files = all.iter().flatten().filter(|part| part.file.is_some());
    let (count, rows) = files.fold((0, 0), |(count, rows), part| (count + 1, rows + part.rows));
    if count > 0 && !quiet {
        report::note(&format!(
            "going on with the dump in {}: {} are there, {}",
            dir.root().display(),
            plural(count, "file"),
            plural(rows, "row")
        ));
    }
    for (work, parts) in work.iter().zip(&all) {
        for part in parts {
            if stop.is_asked() {
                return Err(interrupted());
            }
            dir.check_finished(&work.path, part)?;
        }
    }
    Ok(all)
}

/// What parts hold of the ring.
///
/// # Errors
/// `Error` names the part whose ranges cannot be read.
pub fn stretches(parts: &[Part]) -> Result<Vec<Stretch<Position>>> {
    let mut stretches = Vec::new();
    for part in parts {
        let intervals = ranges(part).map_err(|error| Error::failed(format!("{}: {error}", part.name)))?;
        let inside = |(interval, range): (_, &crate::manifest::RangeEntry)| Stretch {
            interval,
            from: range.from.clone(),
            to: range.to.clone(),
        };
        stretches.extend(intervals.into_iter().zip(&part.ranges).map(inside));
    }
    Ok(stretches)
}
