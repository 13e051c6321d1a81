//! What a dump does not carry of a table, with the number of cells or rows and the reason: from what the parts say and
//! what the cluster said when it was asked.

use super::parts::DumpedTable;
use crate::manifest::{NotPreserved, Part};
use std::collections::BTreeMap;

/// The only entry of a dump that keeps values only.
pub fn all_times() -> NotPreserved {
    NotPreserved {
        object: "*".to_owned(),
        what: "write times and expiries".to_owned(),
        count: None,
        reason: "the dump was made with --preserve none".to_owned(),
    }
}

/// What one table lacks.
pub fn of(dumped: &DumpedTable) -> Vec<NotPreserved> {
    let name = dumped.table.full_name();
    let mut missing = dumped.left_out.clone();
    let mut add = |object: String, what: &str, count: u64, reason: String| {
        if count > 0 {
            missing.push(NotPreserved { object, what: what.to_owned(), count: Some(count), reason });
        }
    };
    for (column, count) in totals(&dumped.parts, |part| &part.untold_cells) {
        let reason = dumped.untold.iter().find(|(untold, _)| *untold == column).map(|(_, reason)| reason);
        let reason = reason.cloned().unwrap_or_else(|| "the cluster does not tell them".to_owned());
        let reason = format!("{reason}; they are loaded as those of their row's INSERT, and expire with it");
        add(format!("{name}.{column}"), "write times and expiries", count, reason);
    }
    for (column, count) in totals(&dumped.parts, |part| &part.uneven_lists) {
        add(
            format!("{name}.{column}"),
            "write times and expiries of single list elements",
            count,
            "a list is loaded whole, at the newest write time and the latest expiry of its elements"
                .to_owned(),
        );
    }
    add(
        name,
        "write time and expiry of rows without a cell that tells them",
        dumped.parts.iter().map(|part| part.untold_rows).sum(),
        "CQL tells them of cells only; such rows are loaded as of when they were read, with the table's default expiry"
            .to_owned(),
    );
    missing
}

fn totals(parts: &[Part], of: fn(&Part) -> &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for (column, count) in parts.iter().flat_map(of) {
        *totals.entry(column.clone()).or_default() += count;
    }
    totals
}
