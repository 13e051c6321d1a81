//! Columns whose cells cannot be read because of their type: a dump refuses them by name, or leaves them out if it is
//! told to, and says how many cells that were.

use crate::cluster::Cluster;
use crate::error::Result;
use crate::manifest::NotPreserved;
use crate::ring::Interval;
use crate::table::Table;
use crate::types::codec;

/// Takes the columns that cannot be read out of `table`; answers what is not preserved for it. A key column stays: rows
/// cannot be told apart without it, so its table is refused.
///
/// # Errors
/// `Error` names the column whose cells could not be counted.
pub async fn leave_out(
    cluster: &Cluster,
    table: &mut Table,
    ranges: &[Interval],
) -> Result<Vec<NotPreserved>> {
    let mut left_out = Vec::new();
    let mut index = 0;
    while index < table.columns.len() {
        let column = &table.columns[index];
        // A tuple or user type without a codec for one of its parts cannot be read either.
        let Some(reason) = codec(&column.cql_type).err().filter(|_| !table.is_key(index)) else {
            index += 1;
            continue;
        };
        let count = cluster.count_cells(table, index, ranges).await?;
        left_out.push(NotPreserved {
            object: format!("{}.{}", table.full_name(), column.name),
            what: "the cells of the column".to_owned(),
            count: Some(count),
            reason: reason.to_string(),
        });
        table.columns.remove(index);
    }
    Ok(left_out)
}
