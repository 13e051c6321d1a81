//! Going on in the middle of a partition: the rows after a place in it, by one slice per prefix of the clustering key,
//! then the partitions that share its token and come after it, whole. A scan by tokens cannot begin there.

use super::Cluster;
use super::retry::{Verdict, attempts, backoff, remedy, verdict};
use super::route::At;
use super::scan::{Ends, Scan, Sizes, came_before, expiries, fewer, mixed_up, page};
use crate::error::{Context, Error, Result};
use crate::ring::Token;
use crate::rows::Page;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::ExecutionError;
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::prepared::PreparedStatement;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use tokio::time::Instant;

/// Partitions of one token are listed by so many; more than one is rare.
const LISTED: u64 = 1000;

/// Rows after a place in their partition that agree with it in so many clustering columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    /// In how many columns.
    equal: usize,
    /// And stand beyond it in the next one; `None`: all of them, with the place itself before them.
    beyond: Option<Beyond>,
}

/// On which side of a cell those lie that come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    Above,
    Below,
}

/// The slices that make up what comes after a place, in its order; `descending` by clustering column.
///
/// A row of a table WITH COMPACT STORAGE may lack its last clustering columns, and stands before those that have them. One
/// that lacks all of them is not a row but a partition's static cells, and nothing came after it.
fn slices(place: &[Option<Vec<u8>>], descending: &[bool]) -> Vec<Slice> {
    let known = place.iter().take_while(|cell| cell.is_some()).count();
    let longer = (0 < known && known < place.len()).then_some(Slice { equal: known, beyond: None });
    let beyond = |equal: usize| {
        let descends = descending.get(equal).copied().unwrap_or(false);
        Slice { equal, beyond: Some(if descends { Beyond::Below } else { Beyond::Above }) }
    };
    longer.into_iter().chain((0..known).rev().map(beyond)).collect()
}

/// A question of a partition or a part of it, or of which partitions there are.
struct Question {
    /// What it is asked for.
    what: &'static str,
    cql: String,
    /// `cql` once it is prepared.
    statement: Option<PreparedStatement>,
    cells: Vec<Vec<u8>>,
    /// Where the next page begins.
    state: PagingState,
    /// The answer may begin with the place itself.
    with_place: bool,
}

impl Question {
    fn new(what: &'static str, cql: String, cells: Vec<Vec<u8>>) -> Question {
        Question { what, cql, statement: None, cells, state: PagingState::start(), with_place: false }
    }
}

/// A page of an answer.
struct Answer {
    rows: QueryRowsResult,
    /// Whether there is more.
    goes_on: bool,
    /// When it was asked for by the cluster's clock, s since 1970.
    asked: i64,
}

/// Raw cells for all markers of a statement.
struct Cells<'a>(&'a [Vec<u8>]);

impl SerializeRow for Cells<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for cell in self.0 {
            writer.make_cell_writer().set_value(cell).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rest of what was begun of a token.
pub struct RestScan<'a> {
    cluster: &'a Cluster,
    scan: Scan,
    sizes: Sizes,
    token: Token,
    partition: Vec<Vec<u8>>,
    /// The whole key of the place.
    place: Vec<Option<Vec<u8>>>,
    questions: VecDeque<Question>,
    /// Where pages have ended.
    ends: Ends,
    /// Whether the other partitions are among them.
    knows_others: bool,
    /// Attempts that failed so far: each goes to another replica than the one before, and one that answers is kept to.
    turn: usize,
}

impl Scan {
    /// Begins to read what comes, among the partitions of `token`, after the row of these cells.
    pub fn rest<'a>(
        &self,
        cluster: &'a Cluster,
        token: Token,
        partition: Vec<Option<Vec<u8>>>,
        row: Vec<Option<Vec<u8>>>,
    ) -> RestScan<'a> {
        // No cell of a partition key is null.
        let cells: Vec<Vec<u8>> = partition.iter().flatten().cloned().collect();
        let descending: Vec<bool> = self.keys.clustering.iter().map(|(_, descending)| *descending).collect();
        let question = |slice: Slice| self.question(&cells, &row, slice);
        RestScan {
            cluster,
            token,
            questions: slices(&row, &descending).into_iter().map(question).collect(),
            place: partition.into_iter().chain(row).collect(),
            partition: cells,
            scan: self.clone(),
            sizes: self.sizes.own(),
            ends: Ends::default(),
            knows_others: false,
            turn: 0,
        }
    }

    /// `SELECT … WHERE partition key AND slice`.
    fn question(&self, partition: &[Vec<u8>], row: &[Option<Vec<u8>>], slice: Slice) -> Question {
        let clustering = self.keys.clustering.iter().map(|(name, _)| name);
        let equal = self.keys.partition.iter().chain(clustering.clone().take(slice.equal));
        let mut conditions: Vec<String> = equal.map(|name| format!("{name} = ?")).collect();
        let beyond = clustering.skip(slice.equal).zip(slice.beyond).map(|(name, beyond)| match beyond {
            Beyond::Above => format!("{name} > ?"),
            Beyond::Below => format!("{name} < ?"),
        });
        conditions.extend(beyond);
        let bound = slice.equal + usize::from(slice.beyond.is_some());
        let cql = format!("{} WHERE {}", self.select, conditions.join(" AND "));
        let cells = partition.iter().cloned().chain(row.iter().take(bound).flatten().cloned()).collect();
        let with_place = slice.beyond.is_none() && slice.equal > 0;
        Question { with_place, ..Question::new("go on in a partition", cql, cells) }
    }
}

/// Whether a row is of the partition whose key is the first of these cells. Clustering columns are not compared: servers
/// take values for equal whose bytes differ (`decimal` 1.0 and 1.00), but no keys of partitions.
fn is_of(page: &Page, row: usize, key: &[usize], cells: &[Vec<u8>]) -> bool {
    key.len() <= cells.len()
        && key.iter().zip(cells).all(|(column, cell)| page.cell(row, *column) == Some(cell.as_slice()))
}

impl RestScan<'_> {
    /// The token.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Bytes that the next page will take, as far as can be told.
    pub fn page_bytes(&self) -> usize {
        self.sizes.page_bytes()
    }

    /// The next page that holds rows, `None` at the end.
    ///
    /// # Errors
    /// `Error` names the table and the partition once no attempt is left, or if the answer is not to what was asked.
    pub async fn next_page(&mut self) -> Result<Option<Page>> {
        loop {
            let Some(mut question) = self.questions.pop_front() else {
                if self.knows_others {
                    return Ok(None);
                }
                let others = self.others().await?;
                let whole = Slice { equal: 0, beyond: None };
                self.questions = others.iter().map(|other| self.scan.question(other, &[], whole)).collect();
                self.knows_others = true;
                continue;
            };
            let rows = self.sizes.rows();
            let Answer { rows, goes_on, asked } = self.fetch(&mut question, rows).await?;
            let doing = self.doing(&question);
            let mut known = 0;
            let mut found = None;
            if rows.rows_num() > 0 {
                let page = page(&rows, self.scan.width).map_err(|e| e.context(&doing))?;
                if !(0..page.rows()).all(|row| is_of(&page, row, &self.scan.partition, &question.cells)) {
                    return Err(mixed_up(&doing, "partitions"));
                }
                if self.ends.come_again(&self.scan.row_key(&page, page.rows() - 1)) {
                    return Err(came_before(&doing));
                }
                self.sizes.learn(page.rows() as u64, rows.rows_bytes_size() as u64);
                known = usize::from(question.with_place && self.scan.row_key(&page, 0) == self.place);
                found = Some(page).filter(|page| known < page.rows());
            }
            if goes_on {
                self.questions.push_front(question);
            }
            if let Some(page) = found {
                let page = if known == 0 { page } else { page.part(known..page.rows()) };
                return Ok(Some(expiries(page, &self.scan.ttls, asked).doing(|| doing)?));
            }
        }
    }

    /// The partitions of the token that come after the one of the place, in the server's order.
    async fn others(&mut self) -> Result<Vec<Vec<Vec<u8>>>> {
        let partitioner = self.scan.partitioner;
        let key = self.scan.keys.partition.join(", ");
        let cql = format!(
            "SELECT DISTINCT {key} FROM {} WHERE token({key}) > ? AND token({key}) <= ?",
            self.scan.keys.table
        );
        let bounds = [self.token.saturating_sub(1), self.token].map(|token| partitioner.bound(token));
        let mut question = Question::new("list the partitions", cql, bounds.to_vec());
        let mut all: Vec<Vec<Vec<u8>>> = Vec::new();
        loop {
            let Answer { rows, goes_on, .. } = self.fetch(&mut question, LISTED).await?;
            let doing = || self.doing(&question);
            for row in rows.rows::<ColumnIterator>().doing(doing)? {
                let cell = |cell: scylla::deserialize::row::RawColumn<'_, '_>| {
                    cell.slice.map(|slice| slice.as_slice().to_vec()).unwrap_or_default()
                };
                let cells: Result<Vec<Vec<u8>>, _> =
                    row.doing(doing)?.map(|column| column.map(cell)).collect();
                all.push(cells.doing(doing)?);
            }
            if !goes_on {
                break;
            }
        }
        let slices =
            |cells: &Vec<Vec<u8>>| partitioner.token(&cells.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if all.iter().any(|partition| slices(partition) != self.token) {
            return Err(mixed_up(&self.doing(&question), "tokens"));
        }
        Ok(match all.iter().position(|partition| *partition == self.partition) {
            Some(place) => all.split_off(place + 1),
            // It has been deleted meanwhile.
            None => {
                let order = |cells: &Vec<Vec<u8>>| {
                    let cells: Vec<&[u8]> = cells.iter().map(Vec::as_slice).collect();
                    partitioner.order(&cells)
                };
                let place = order(&self.partition);
                all.retain(|partition| order(partition) > place);
                all
            }
        })
    }

    /// The next page of an answer, of so many rows at most.
    async fn fetch(&mut self, question: &mut Question, mut rows: u64) -> Result<Answer> {
        let mut failed = 0;
        let mut statement = match question.statement.take() {
            Some(statement) => statement,
            None => {
                let prepared = self.cluster.prepare(&question.cql).await;
                let mut statement = prepared.doing(|| self.doing(question))?;
                statement.set_execution_profile_handle(Some(self.cluster.data.clone()));
                statement
            }
        };
        loop {
            let error = match self.attempt(&mut statement, question, rows).await {
                Ok((result, next, asked)) => {
                    let rows = result.into_rows_result().doing(|| self.doing(question))?;
                    let mut goes_on = false;
                    if let ControlFlow::Continue(state) = next.into_paging_control_flow() {
                        (question.state, goes_on) = (state, true);
                    }
                    question.statement = Some(statement);
                    return Ok(Answer { rows, goes_on, asked });
                }
                Err(error) => error,
            };
            failed += 1;
            self.turn = self.turn.wrapping_add(1);
            let verdict = verdict(&error);
            tracing::debug!("{}: {error}; attempt {failed} failed", self.doing(question));
            // As for ranges: among fewer rows there are fewer tombstones.
            if verdict.is_of_size() && fewer(&mut rows) {
                failed = 0;
                if verdict == Verdict::Doubtful {
                    tokio::time::sleep(backoff(1)).await;
                }
                continue;
            }
            if !self.cluster.patience.again(verdict, failed) {
                return Err(Error::failed(format!(
                    "{}: {error} ({})",
                    self.doing(question),
                    attempts(failed)
                ))
                .hint(remedy(&error))
                .hint("the partition was not read whole"));
            }
            rows = (rows / 2).max(1);
            tokio::time::sleep(backoff(failed)).await;
            self.scan.tablets.read_again(self.cluster).await;
        }
    }

    /// Asks for a page of so many rows once.
    async fn attempt(
        &self,
        statement: &mut PreparedStatement,
        question: &Question,
        rows: u64,
    ) -> Result<(QueryResult, PagingStateResponse, i64), ExecutionError> {
        let place = At { token: self.token, tablets: self.scan.tablets.tablets() };
        statement.set_page_size(i32::try_from(rows).unwrap_or(i32::MAX));
        statement.set_load_balancing_policy(self.cluster.to_replica(Some(place), self.turn));
        let _pass = self.cluster.reads.enter().await;
        let (sent, asked) = (Instant::now(), self.cluster.now().div_euclid(1_000_000));
        let cells = Cells(&question.cells);
        let answer =
            self.cluster.session.execute_single_page(statement, &cells, question.state.clone()).await;
        self.cluster.reads.told(sent, answer.as_ref().err().map(verdict));
        answer.map(|(result, next)| (result, next, asked))
    }

    fn doing(&self, question: &Question) -> String {
        format!("scan {}, {} of token {}", self.scan.name, question.what, self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::PageBuilder;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    type Key = Vec<Option<Vec<u8>>>;

    /// The order of rows in a partition; what is null comes first, whatever the direction.
    fn order(a: &Key, b: &Key, descending: &[bool]) -> Ordering {
        let column = |column: usize| match (&a[column], &b[column]) {
            (Some(a), Some(b)) if descending[column] => b.cmp(a),
            (a, b) => a.cmp(b),
        };
        (0..descending.len()).map(column).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// What a server answers to a slice.
    fn answer(rows: &[Key], place: &Key, slice: Slice) -> Vec<Key> {
        let is_in = |row: &&Key| {
            let equal = row[..slice.equal] == place[..slice.equal];
            equal
                && match slice.beyond {
                    None => true,
                    Some(Beyond::Above) => {
                        row[slice.equal].is_some() && row[slice.equal] > place[slice.equal]
                    }
                    Some(Beyond::Below) => {
                        row[slice.equal].is_some() && row[slice.equal] < place[slice.equal]
                    }
                }
        };
        rows.iter().filter(is_in).cloned().collect()
    }

    proptest! {
        #[test]
        fn slices_hold_what_comes_after_a_place_in_its_order(
            descending in prop::collection::vec(any::<bool>(), 0..5),
            // Few bytes, so that rows share prefixes; empty cells among them.
            rows in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..3u8, 0..3), 5), 1..40),
            lacking in prop::collection::vec(0..9usize, 40),
            at in any::<prop::sample::Index>(),
        ) {
            let columns = descending.len();
            let mut rows: Vec<Key> = rows.into_iter().zip(lacking).map(|(row, lacking)| {
                // Some rows lack their last columns, none all of them.
                let lacking = if (1..columns).contains(&lacking) { lacking } else { 0 };
                (0..columns).map(|c| (c < columns - lacking).then(|| row[c].clone())).collect()
            }).collect();
            rows.sort_by(|a, b| order(a, b, &descending));
            rows.dedup();
            let at = at.index(rows.len());
            let place = rows[at].clone();
            let slices = slices(&place, &descending);
            let mut read: Vec<Key> =
                slices.iter().flat_map(|slice| answer(&rows, &place, *slice)).collect();
            if slices.first().is_some_and(|slice| slice.beyond.is_none()) {
                prop_assert_eq!(read.remove(0), place);
            }
            prop_assert_eq!(&read[..], &rows[at + 1..]);
            prop_assert!(slices.len() <= columns);
        }
    }

    #[test]
    fn rows_of_other_partitions_are_told_from_those_that_were_asked_for() {
        let mut page = PageBuilder::new(3);
        let cells: [Option<&[u8]>; 9] = [
            Some(b"c"),
            Some(b"a"),
            Some(b"b"), // clustering, then the key (b, a)
            None,
            Some(b"a"),
            Some(b"b"),
            Some(b"c"),
            Some(b""),
            Some(b"b"),
        ];
        cells.into_iter().for_each(|cell| page.push(cell).unwrap());
        let page = page.finish();
        let of = |cells: &[&[u8]]| {
            let cells: Vec<Vec<u8>> = cells.iter().map(|cell| cell.to_vec()).collect();
            (0..3).map(|row| is_of(&page, row, &[2, 1], &cells)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[b"b", b"a"]), [true, true, false]);
        assert_eq!(of(&[b"b", b"a", b"beyond which clustering cell"]), [true, true, false]);
        assert_eq!(of(&[b"b", b""]), [false, false, true]);
        assert_eq!(of(&[b"a", b"b"]), [false; 3]);
        assert_eq!(of(&[b"b"]), [false; 3]);
    }

    #[test]
    fn nothing_comes_after_static_cells() {
        assert_eq!(slices(&[None, None], &[false, true]), []);
    }
}
