//! What a load tells at its end: what was loaded, and what of it is not as it was dumped.

use super::plan::{Plan, TableLoad, Treatment};
use super::roles::Restored;
use super::schema::{Existing, Step, Unsupported};
use super::statements::{Change, Runner};
use super::{Done, How, Loaded};
use crate::commands::rejects::{Rejected, Written};
use crate::commands::verify::Difference;
use crate::commands::{OutputArgs, note_missing, plural};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, NotPreserved, Part};
use crate::report;
use crate::state::Tally;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
struct LoadedTable {
    table: String,
    into: String,
    rows: u64,
    rejected: u64,
    skipped: bool,
    expired_rows: u64,
    expired_cells: u64,
    capped: u64,
}

#[derive(Serialize)]
struct Summary<'a> {
    dump: &'a str,
    rows: u64,
    rows_before: u64,
    rejected: u64,
    reject_files: &'a [Written],
    tables: Vec<LoadedTable>,
    kept_different: Vec<String>,
    changes: &'a [Change],
    ddl_log: Option<String>,
    left_out: Vec<&'a Unsupported>,
    expired_rows: u64,
    expired_cells: u64,
    capped: u64,
    unknown_rows: u64,
    uneven_lists: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a Restored>,
    not_preserved: Vec<&'a NotPreserved>,
    differences: &'a [Difference],
    more: u64,
}

/// Prints it.
///
/// # Errors
/// `Error` if standard output cannot be written.
pub fn summarise(
    plan: &Plan,
    manifest: &Manifest,
    (done, rejected): (&Done<'_>, &Rejected),
    how: How,
    output: OutputArgs,
) -> Result<()> {
    let Done { loaded, findings, runner, .. } = done;
    let table = |load: &TableLoad| LoadedTable {
        expired_rows: of_table(loaded, load, |tally| tally.expired_rows),
        expired_cells: of_table(loaded, load, |tally| tally.expired_cells),
        capped: of_table(loaded, load, |tally| tally.capped),
        table: load.table.full_name(),
        into: format!("{}.{}", load.target.0, load.target.1),
        rows: if load.treatment.loads() {
            load.entry.rows.saturating_sub(of_table(loaded, load, |tally| tally.rejected))
        } else {
            0
        },
        rejected: of_table(loaded, load, |tally| tally.rejected),
        skipped: load.treatment == Treatment::Skip,
    };
    let different = plan.steps.iter().filter(|s| s.existing == Existing::Differs);
    let uneven = |part: &Part| part.uneven_lists.values().sum::<u64>();
    let summary = Summary {
        dump: &manifest.id,
        rows: loaded.rows,
        rows_before: loaded.rows_before,
        rejected: total(loaded, |tally| tally.rejected),
        reject_files: &rejected.files,
        tables: plan.loads.iter().map(table).collect(),
        kept_different: different.map(Step::label).collect(),
        changes: &runner.changes,
        ddl_log: runner.record().map(|path| path.display().to_string()),
        left_out: plan.unsupported.iter().chain(&runner.left_out).collect(),
        expired_rows: total(loaded, |tally| tally.expired_rows),
        expired_cells: total(loaded, |tally| tally.expired_cells),
        capped: total(loaded, |tally| tally.capped),
        unknown_rows: total(loaded, |tally| tally.untold_rows),
        uneven_lists: loads(plan).flat_map(|load| &load.entry.parts).map(uneven).sum(),
        roles: loaded.restored.as_ref(),
        not_preserved: not_preserved(plan, manifest, loaded),
        differences: &findings.differences,
        more: findings.more,
    };
    if !output.quiet {
        let data = plan.loads.iter().any(|l| l.treatment != Treatment::SchemaOnly);
        tell(&summary, data, how.keeps_times && loads(plan).any(|load| !load.table.is_counter()));
        if !output.json {
            findings.differences.iter().for_each(|difference| report::note(&difference.line()));
        }
    }
    if output.json { report::json(&summary) } else { Ok(()) }
}

fn tell(summary: &Summary<'_>, data: bool, markers: bool) {
    for Unsupported { object, why } in &summary.left_out {
        report::note(&format!("left out: {object}: {why}"));
    }
    for table in summary.tables.iter().filter(|t| t.skipped) {
        report::note(&format!("skipped {}: it exists and holds rows", table.into));
    }
    let count = plural(summary.tables.iter().filter(|t| !t.skipped).count() as u64, "table");
    report::note(&match data {
        false => format!("the schema of {count} is there; no data was asked for"),
        true => format!("loaded {} into {count}", plural(summary.rows, "row")),
    });
    if summary.rows_before > 0 {
        report::note(&format!(
            "{} of them had been loaded before it was stopped",
            plural(summary.rows_before, "row")
        ));
    }
    for table in &summary.tables {
        if table.expired_cells > 0 {
            report::note(&format!(
                "left out what has expired since the dump: {}, {} in all ({})",
                plural(table.expired_rows, "row"),
                plural(table.expired_cells, "cell"),
                table.table
            ));
        }
        if table.capped > 0 {
            report::note(&format!(
                "not as dumped: expiries ({}, {}): they are after 2038-01-19T03:14:06Z, the last moment that the target \
                 takes, and were put forward to it",
                table.table,
                plural(table.capped, "write")
            ));
        }
    }
    summary.roles.iter().for_each(|roles| roles.tell());
    summary.not_preserved.iter().for_each(|missing| note_missing(missing));
    if markers {
        report::note(
            "row markers are not shown by CQL: each row has one that ends with its last cell, so that an empty row may end \
             sooner or later than it would have",
        );
    }
}

/// With `--strict`.
///
/// # Errors
/// `Error` (exit 3) if anything is not as it was dumped.
pub fn strict(plan: &Plan, manifest: &Manifest, (loaded, runner): (&Loaded, &Runner<'_>)) -> Result<()> {
    let lacking = !not_preserved(plan, manifest, loaded).is_empty()
        || total(loaded, |tally| tally.capped) > 0
        || !plan.unsupported.is_empty()
        || !runner.left_out.is_empty()
        || loaded.restored.as_ref().is_some_and(Restored::is_lacking);
    match lacking {
        true => Err(Error::incomplete("not everything could be brought back as it was, see above")),
        false => Ok(()),
    }
}

fn loads(plan: &Plan) -> impl Iterator<Item = &TableLoad> {
    plan.loads.iter().filter(|load| load.treatment.loads())
}

fn of_table(loaded: &Loaded, load: &TableLoad, of: fn(&Tally) -> u64) -> u64 {
    loaded.tallies.get(&load.table.full_name()).map_or(0, of)
}

fn total(loaded: &Loaded, of: fn(&Tally) -> u64) -> u64 {
    loaded.tallies.values().map(of).sum()
}

/// Rows that `earlier` runs of the load have rejected count as well; their files are in these directories.
///
/// # Errors
/// `Error` (exit 3) if there are any.
pub fn rejected(loaded: &Loaded, rejected: &Rejected, earlier: &BTreeSet<String>) -> Result<()> {
    rejected.result(total(loaded, |tally| tally.rejected).saturating_sub(rejected.count), earlier)
}

/// What the dump lacks of the tables and roles that were loaded.
fn not_preserved<'a>(plan: &Plan, manifest: &'a Manifest, loaded: &Loaded) -> Vec<&'a NotPreserved> {
    let concerns = |missing: &&NotPreserved| {
        missing.object == "*"
            || missing.is_of_roles() && loaded.restored.is_some()
            || plan.loads.iter().any(|load| {
                let name = load.table.full_name();
                missing.object == name || missing.object.starts_with(&format!("{name}."))
            })
    };
    manifest.not_preserved.iter().filter(concerns).collect()
}
