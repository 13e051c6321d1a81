//! The rows of a dumped table in the order of a cluster's tokens that are not the dump's, in bounded memory: each pass over
//! the parts keeps the rows that come next, as many as fit, and those are compared with a scan of the tokens that they
//! fill. So the cluster is scanned once, and the parts are read as often as the table is larger than what is kept.

use super::Findings;
use super::cluster::{Reading, Ready};
use super::merge::{self, DumpPages};
use crate::error::{Context, Result};
use crate::ring::{Interval, Token};
use crate::rows::{BadPage, Page, put_cell};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Bytes that a token takes besides its rows, about.
const TOKEN_BYTES: usize = 128;
/// Bytes at which a page of kept rows is full.
const PAGE_BYTES: usize = 1 << 20;

/// Compares all rows of a table.
///
/// # Errors
/// `Error` if a file or the cluster could not be read.
pub async fn rows(
    reading: &Reading,
    ready: &Arc<Ready>,
    parts: &[usize],
    findings: &mut Findings,
) -> Result<()> {
    let mut after = Token::MIN;
    while after < Token::MAX {
        let (all, numbers, most) = (ready.clone(), parts.to_vec(), reading.kept);
        let pass = tokio::task::spawn_blocking(move || pass(&all, &numbers, (after, most)));
        for share in pass.await.doing(|| "read the dump").and_then(|done| done)? {
            let range = [share.range];
            merge::rows(reading, ready, (share.pages(ready, parts), &range), findings).await?;
            after = range[0].end;
        }
    }
    Ok(())
}

/// Reads all parts; answers the shares that come next after a token, of so many bytes at most.
fn pass(ready: &Ready, parts: &[usize], (after, most): (Token, usize)) -> Result<Vec<Share>> {
    let mut kept = Kept::after(after, most);
    ready.pair.parts.read(parts, &mut |page| {
        for row in 0..page.rows() {
            kept.offer(ready.scan.token(&page, row), &page, row).doing(|| "keep a row of the dump")?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(kept.shares())
}

/// Rows of the dump that are compared as one, in the order of their tokens.
struct Share {
    range: Interval,
    /// None of a token that alone has more rows than are kept: a share of one token is in order as it is in the parts.
    rows: Option<BTreeMap<Token, Rows>>,
}

impl Share {
    fn pages(self, ready: &Arc<Ready>, parts: &[usize]) -> DumpPages {
        let (ready, parts) = (ready.clone(), parts.to_vec());
        merge::ahead(move |take| match self.rows {
            Some(rows) => {
                let width = ready.pair.parts.table.width();
                pages(rows, width, &mut |page| take(page.doing(|| "gather the rows of the dump")?))
            }
            None => ready.pair.parts.read(&parts, &mut |page| {
                for rows in runs(page.rows(), |row| self.range.contains(ready.scan.token(&page, row))) {
                    if take(page.part(rows))?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            }),
        })
    }
}

/// The kept rows as pages, in the order of their tokens.
fn pages(
    rows: BTreeMap<Token, Rows>,
    width: usize,
    take: &mut dyn FnMut(Result<Page, BadPage>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut next = Rows::default();
    for some in rows.into_values() {
        next.count += some.count;
        next.bytes.extend_from_slice(&some.bytes);
        if next.bytes.len() >= PAGE_BYTES && take(std::mem::take(&mut next).page(width))?.is_break() {
            return Ok(());
        }
    }
    if next.count > 0 {
        // The last one, whether or not more were wanted.
        let _ = take(next.page(width))?;
    }
    Ok(())
}

/// Where rows that are wanted stand together, of so many.
fn runs(count: usize, is_wanted: impl Fn(usize) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for row in (0..count).filter(|row| is_wanted(*row)) {
        match runs.last_mut().filter(|run| run.end == row) {
            Some(run) => run.end += 1,
            None => runs.push(row..row + 1),
        }
    }
    runs
}

/// Rows in wire bytes, one after the other.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    count: usize,
}

impl Rows {
    fn page(self, width: usize) -> Result<Page, BadPage> {
        Page::from_wire(Bytes::from(self.bytes), self.count, width)
    }

    /// Bytes that they take in memory.
    fn size(&self) -> usize {
        self.bytes.capacity() + TOKEN_BYTES
    }
}

/// Of the rows that it is offered, those with the least tokens above one, as many as fit.
struct Kept {
    /// The tokens that are kept whole.
    range: Interval,
    /// Whether the token behind the range has more rows than fit.
    is_large: bool,
    rows: BTreeMap<Token, Rows>,
    size: usize,
    most: usize,
    /// A row in the making.
    row: Vec<u8>,
}

impl Kept {
    fn after(token: Token, most: usize) -> Kept {
        Kept {
            range: Interval { start: token, end: Token::MAX },
            is_large: false,
            rows: BTreeMap::new(),
            size: 0,
            most,
            row: Vec::new(),
        }
    }

    fn offer(&mut self, token: Token, page: &Page, row: usize) -> Result<(), BadPage> {
        if !self.range.contains(token) {
            return Ok(());
        }
        self.row.clear();
        for cell in page.row(row) {
            if !put_cell(cell, &mut self.row) {
                return Err(BadPage::TooLarge);
            }
        }
        let rows = self.rows.entry(token).or_default();
        let before = if rows.count == 0 { 0 } else { rows.size() };
        rows.bytes.extend_from_slice(&self.row);
        rows.count += 1;
        self.size += rows.size() - before;
        while self.size > self.most
            && let Some((token, rows)) = self.rows.pop_last()
        {
            self.size -= rows.size();
            // Above the start, so there is one before it.
            self.range.end = token - 1;
            self.is_large = self.rows.is_empty();
        }
        Ok(())
    }

    /// What is kept, and the token behind it if that alone is too large.
    fn shares(self) -> Vec<Share> {
        let Interval { end, .. } = self.range;
        let large = Share { range: Interval { start: end, end: end.saturating_add(1) }, rows: None };
        let mut shares = vec![Share { range: self.range, rows: Some(self.rows) }];
        shares.extend(self.is_large.then_some(large));
        shares.retain(|share| share.range.span() > 0);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;
    use crate::rows::PageBuilder;
    use proptest::prelude::*;

    /// A page of rows of a token, a text and a null.
    fn page(rows: &[(Token, String)]) -> Page {
        let mut page = PageBuilder::new(3);
        for (token, text) in rows {
            page.push(Some(&token.to_be_bytes())).unwrap();
            page.push(Some(text.as_bytes())).unwrap();
            page.push(None).unwrap();
        }
        page.finish()
    }

    fn row(page: &Page, row: usize) -> (Token, String) {
        assert_eq!(page.cell(row, 2), None);
        let token = Token::from_be_bytes(page.cell(row, 0).unwrap().try_into().unwrap());
        (token, String::from_utf8(page.cell(row, 1).unwrap().to_vec()).unwrap())
    }

    fn token() -> impl Strategy<Value = Token> {
        prop_oneof![(Token::MIN + 1)..=Token::MAX, 1..5i64, Just(Token::MIN + 1), Just(Token::MAX)]
    }

    proptest! {
        /// Passes with little room give every row once, in the order of tokens and in one token as they came, the ranges
        /// tile the ring, and no more is kept than there is room for.
        #[test]
        fn passes_bring_rows_into_order(
            rows in prop::collection::vec((token(), "[a-z]{0,40}"), 0..60),
            room in prop_oneof![100..400usize, 400..4000usize],
        ) {
            let source = page(&rows);
            let (mut after, mut found, mut ranges) = (Token::MIN, Vec::new(), Vec::new());
            while after < Token::MAX {
                let mut kept = Kept::after(after, room);
                for (number, (token, _)) in rows.iter().enumerate() {
                    kept.offer(*token, &source, number).unwrap();
                    prop_assert!(kept.size <= room);
                    prop_assert_eq!(kept.size, kept.rows.values().map(Rows::size).sum::<usize>());
                }
                for Share { range, rows: kept } in kept.shares() {
                    match kept {
                        Some(kept) => pages(kept, 3, &mut |page| {
                            let page = page.unwrap();
                            found.extend((0..page.rows()).map(|number| row(&page, number)));
                            Ok(ControlFlow::Continue(()))
                        }).unwrap(),
                        None => for run in runs(rows.len(), |row| range.contains(rows[row].0)) {
                            prop_assert_eq!(range.span(), 1);
                            let page = source.part(run);
                            found.extend((0..page.rows()).map(|number| row(&page, number)));
                        },
                    }
                    prop_assert!(range.end > after);
                    after = range.end;
                    ranges.push(range);
                }
            }
            prop_assert_eq!(ring::tiles(&mut ranges), Ok(()));
            let mut expected = rows;
            expected.sort_by_key(|(token, _)| *token);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn rows_that_fit_take_one_pass() {
        let rows: Vec<(Token, String)> = (0..100).map(|n| (1000 - n, n.to_string())).collect();
        let source = page(&rows);
        let mut kept = Kept::after(Token::MIN, 128 << 20);
        (0..100).for_each(|n| kept.offer(rows[n].0, &source, n).unwrap());
        let shares = kept.shares();
        assert_eq!(shares.len(), 1);
        assert_eq!(shares[0].range, Interval::whole());
    }

    #[test]
    fn runs_are_rows_that_stand_together() {
        assert_eq!(runs(7, |row| [0, 1, 4, 6].contains(&row)), [0..2, 4..5, 6..7]);
        assert!(runs(3, |_| false).is_empty());
    }
}
