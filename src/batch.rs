//! Which rows of a page are written together. Pure grouping; what is written, and what happens when a server finds a
//! batch too large, is left to the loader.

use crate::rows::{Cell, Page};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

/// How large a batch may be. A single row may be larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the rows' cells.
    pub bytes: usize,
    /// Rows.
    pub rows: usize,
}

/// Cuts the page's rows, in their order, into batches: neighbours with the same partition key, as many as the limits
/// allow. `key_columns` are the places of the partition key's cells.
pub fn groups(page: &Page, key_columns: &[usize], limits: Limits) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for row in 0..page.rows() {
        let size: usize = page.row(row).flatten().map(<[u8]>::len).sum();
        let fits = row - start < limits.rows && size <= limits.bytes.saturating_sub(bytes);
        let together = row > start && fits && same_key(page, key_columns, row - 1, row);
        if row > start && !together {
            groups.push(start..row);
            start = row;
            bytes = 0;
        }
        bytes += size;
    }
    if start < page.rows() {
        groups.push(start..page.rows());
    }
    groups
}

/// Cuts a group of rows of one partition where writing all of them at one moment would lose their order: before a row
/// whose key has come already (of two values of one moment the larger bytes win, not the later line), and where the static
/// cells change. `key` and `statics` are the places of those cells; `take` is given the pieces in their order.
pub fn in_order(
    page: &Page,
    rows: Range<usize>,
    key: &[usize],
    statics: &[usize],
    mut take: impl FnMut(Range<usize>),
) {
    let mut start = rows.start;
    let mut seen = HashSet::new();
    // Rows mostly stand in the order of their keys, and then none can come again.
    let mut ascending = true;
    for row in rows.clone() {
        let changed = row > start && !same_key(page, statics, row - 1, row);
        if ascending && row > start {
            ascending = key_order(page, key, row - 1, row) == Ordering::Less;
            if !ascending {
                seen.extend((start..row).map(|row| key_cells(page, key, row)));
            }
        }
        if changed || !ascending && seen.contains(&key_cells(page, key, row)) {
            take(start..row);
            start = row;
            seen.clear();
            ascending = true;
        }
        if !ascending {
            seen.insert(key_cells(page, key, row));
        }
    }
    if start < rows.end {
        take(start..rows.end);
    }
}

fn key_cells<'a>(page: &'a Page, key: &[usize], row: usize) -> Vec<Cell<'a>> {
    key.iter().map(|&column| page.cell(row, column)).collect()
}

/// How the cells of two rows' keys compare as bytes: any order serves to tell that none of many is another.
fn key_order(page: &Page, key: &[usize], a: usize, b: usize) -> Ordering {
    let mut each = key.iter().map(|&column| page.cell(a, column).cmp(&page.cell(b, column)));
    each.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn same_key(page: &Page, key_columns: &[usize], a: usize, b: usize) -> bool {
    key_columns.iter().all(|&column| page.cell(a, column) == page.cell(b, column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::PageBuilder;
    use proptest::prelude::*;

    /// Rows of two key cells and one value of so many bytes.
    fn page(rows: &[(u8, Option<u8>, usize)]) -> Page {
        let mut page = PageBuilder::new(3);
        for (a, b, len) in rows {
            page.push(Some(&vec![7; *len])).unwrap();
            page.push(Some(&[*a])).unwrap();
            page.push(b.as_ref().map(std::slice::from_ref)).unwrap();
        }
        page.finish()
    }

    #[test]
    fn a_repeated_key_and_a_changed_static_cell_begin_a_new_piece() {
        // Key in columns 1 and 2; the value's length stands for a static cell.
        let page = page(&[
            (1, Some(1), 3),
            (1, Some(2), 3),
            (1, Some(1), 3),
            (1, Some(1), 3),
            (1, Some(3), 4),
            (1, Some(4), 4),
            (1, Some(3), 4),
        ]);
        assert_eq!(pieces(&page, 0..7, &[0]), [0..2, 2..3, 3..4, 4..6, 6..7]);
        assert_eq!(pieces(&page, 1..5, &[]), [1..3, 3..5]);
        assert_eq!(pieces(&page, 3..3, &[0]), Vec::<Range<usize>>::new());
    }

    const KEY: [usize; 2] = [1, 2];

    fn pieces(page: &Page, rows: Range<usize>, statics: &[usize]) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        in_order(page, rows, &KEY, statics, |piece| pieces.push(piece));
        pieces
    }

    #[test]
    fn neighbours_of_one_partition_form_a_group() {
        let limits = Limits { bytes: 100, rows: 10 };
        let rows =
            [(1, Some(1), 1), (1, Some(1), 1), (1, Some(2), 1), (1, None, 1), (1, None, 1), (1, Some(1), 1)];
        assert_eq!(groups(&page(&rows), &KEY, limits), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(groups(&page(&[]), &KEY, limits), Vec::<Range<usize>>::new());
    }

    #[test]
    fn limits_cut_and_a_large_row_stands_alone() {
        // With its key each row has 2 bytes more.
        let rows: Vec<_> = [3, 3, 50, 3, 3, 3].iter().map(|len| (1, Some(1), *len)).collect();
        let cut = |bytes, rows_max| groups(&page(&rows), &KEY, Limits { bytes, rows: rows_max });
        assert_eq!(cut(10, 10), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(cut(9, 10), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(cut(1000, 4), [0..4, 4..6]);
        assert_eq!(cut(0, 0), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
    }

    proptest! {
        #[test]
        fn no_key_comes_twice_in_a_piece_and_none_is_cut_needlessly(
            rows in prop::collection::vec((prop::option::of(0u8..6), 0usize..2), 0..30),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(key, len)| (1, key, len)).collect();
            let page = page(&rows);
            let pieces = pieces(&page, 0..rows.len(), &[0]);
            let flat: Vec<usize> = pieces.iter().cloned().flatten().collect();
            prop_assert_eq!(flat, (0..rows.len()).collect::<Vec<_>>());
            for piece in &pieces {
                for row in piece.clone() {
                    let earlier = || piece.start..row;
                    prop_assert!(earlier().all(|before| rows[before].1 != rows[row].1), "row {row} of {piece:?}");
                    prop_assert!(earlier().all(|before| rows[before].2 == rows[row].2), "row {row} of {piece:?}");
                }
                let Some((_, key, len)) = rows.get(piece.end) else { continue };
                let cause = piece.clone().any(|row| rows[row].1 == *key) || rows[piece.end - 1].2 != *len;
                prop_assert!(cause, "{piece:?} could go on");
            }
        }

        #[test]
        fn every_row_once_in_order_and_never_too_much(
            rows in prop::collection::vec((0u8..2, prop::option::of(0u8..2), 0usize..20), 0..60),
            bytes in 0usize..60,
            max in 0usize..8,
        ) {
            let groups = groups(&page(&rows), &KEY, Limits { bytes, rows: max });
            let flat: Vec<usize> = groups.iter().cloned().flatten().collect();
            prop_assert_eq!(flat, (0..rows.len()).collect::<Vec<_>>());
            let size = |r: usize| rows[r].2 + 1 + usize::from(rows[r].1.is_some());
            let key = |r: usize| (rows[r].0, rows[r].1);
            for group in &groups {
                prop_assert!(!group.is_empty());
                prop_assert!(group.clone().all(|r| key(r) == key(group.start)));
                if group.len() > 1 {
                    prop_assert!(group.len() <= max);
                    prop_assert!(group.clone().map(size).sum::<usize>() <= bytes);
                }
            }
            for pair in groups.windows(2) {
                let next = pair[1].start;
                let grown = pair[0].clone().map(size).sum::<usize>() + size(next);
                prop_assert!(key(pair[0].start) != key(next) || pair[0].len() + 1 > max || grown > bytes);
            }
        }
    }
}
