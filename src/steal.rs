//! Who scans which token range: a queue of ranges, and from those that are being scanned, the halves that idle workers
//! take over. Pure state behind a lock; who asks, scans and waits is left to the workers.
//!
//! A range is divided only past the last token that its owner has handed on, and the owner learns where its range ends
//! now whenever it hands on a page, in the same moment: what lies beyond it drops, since the thief reads it. So no row is
//! read by both, and none by neither, whatever the interleaving.

use crate::ring::{Interval, Token};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A range is not divided for less than this, bytes as far as can be guessed: a part of its own would cost more.
const LEAST: u64 = 1 << 20;

/// The ranges of a scan.
pub struct Board {
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<Work>,
    /// By worker: what it scans.
    active: Vec<Option<Active>>,
}

/// A range to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Number of its table.
    pub table: usize,
    /// The tokens; where there are none, the rest of what was begun of `range.end`.
    pub range: Interval,
}

/// A range that is being scanned.
struct Active {
    work: Work,
    /// The last token handed on; what lies beyond it may be given away.
    done: Token,
    /// Bytes handed on.
    bytes: u64,
    /// Bytes that it may hold, before any have been handed on: what its share of the range it was taken from promised.
    promised: u64,
}

/// What a worker is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Scan this.
    Scan(Work),
    /// Ask again later: there may be something to take over.
    Wait,
    /// Nothing is left.
    Done,
}

/// The end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Where it ends.
    pub end: Token,
    /// Nothing of its table is left.
    pub table_is_done: bool,
}

impl Board {
    /// A board of this work, in its order, for so many workers.
    pub fn new(work: impl IntoIterator<Item = Work>, workers: usize) -> Board {
        let active = (0..workers).map(|_| None).collect();
        Board { state: Mutex::new(State { queue: work.into_iter().collect(), active }) }
    }

    /// Gives `worker`, who scans nothing, its next range.
    pub fn next(&self, worker: usize) -> Next {
        let mut state = self.lock();
        state.active[worker] = None;
        let (work, promised) = match state.queue.pop_front() {
            Some(work) => (work, 0),
            None => match state.steal() {
                Some(stolen) => stolen,
                None if state.active.iter().any(Option::is_some) => return Next::Wait,
                None => return Next::Done,
            },
        };
        state.active[worker] = Some(Active { work, done: work.range.start, bytes: 0, promised });
        Next::Scan(work)
    }

    /// Tells that `worker` hands on the rows of its range up to `last`, so many bytes; answers where its range ends now.
    /// What it has read beyond that end is another's.
    pub fn advance(&self, worker: usize, last: Token, bytes: u64) -> Token {
        let mut state = self.lock();
        let Some(active) = &mut state.active[worker] else { return last };
        active.done = last.clamp(active.done, active.work.range.end);
        active.bytes = active.bytes.saturating_add(bytes);
        active.work.range.end
    }

    /// Tells that `worker` has read its range to the end. Nothing of it can be given away after this.
    pub fn finish(&self, worker: usize) -> Option<Finished> {
        let mut state = self.lock();
        let Work { table, range } = state.active[worker].take()?.work;
        let left = state.active.iter().flatten().map(|active| &active.work).chain(&state.queue);
        let table_is_done = !left.into_iter().any(|work| work.table == table);
        Some(Finished { end: range.end, table_is_done })
    }

    /// Tells that `worker` cannot read what comes next of its range, up to `end`. What lies beyond goes back to the queue.
    /// Answers where its range ended.
    pub fn give_up(&self, worker: usize, end: Token) -> Option<Token> {
        let mut state = self.lock();
        let Active { work, done, .. } = state.active[worker].take()?;
        let end = end.max(done);
        if end < work.range.end {
            let range = Interval { start: end, ..work.range };
            state.queue.push_front(Work { range, ..work });
        }
        Some(work.range.end)
    }

    /// Takes all that waits of a table off the board.
    pub fn give_up_table(&self, table: usize) {
        self.lock().queue.retain(|work| work.table != table);
    }

    /// How many workers scan something.
    pub fn busy(&self) -> usize {
        self.lock().active.iter().flatten().count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the upper half of what is left of the range that has most left; answers it and the bytes that it promises.
    fn steal(&mut self) -> Option<(Work, u64)> {
        let active = self.active.iter_mut().flatten();
        let (left, victim) = active.map(|active| (active.left(), active)).max_by_key(|(left, _)| *left)?;
        if left < LEAST {
            return None;
        }
        let Interval { end, .. } = victim.work.range;
        let half = Interval { start: victim.done, end }.span() / 2;
        let middle = victim.done.checked_add_unsigned(half)?;
        // An interval of no tokens, or one that leaves its owner none, is not worth a query.
        if middle == victim.done || middle == end {
            return None;
        }
        victim.work.range.end = middle;
        victim.promised /= 2;
        Some((Work { table: victim.work.table, range: Interval { start: middle, end } }, left / 2))
    }
}

impl Active {
    /// Bytes that are left to read, if the rest is as dense as what has been read. A range of which nothing has been read
    /// yet holds what it promises: so those who come at the same time get equal shares.
    fn left(&self) -> u64 {
        let Interval { start, end } = self.work.range;
        let read = Interval { start, end: self.done }.span();
        let rest = Interval { start: self.done, end }.span();
        if rest < 2 {
            return 0;
        }
        if self.bytes == 0 {
            return self.promised;
        }
        let left = u128::from(self.bytes) * u128::from(rest) / u128::from(read.max(1));
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    /// The rows of a table: tokens in order, several rows to some of them.
    fn rows(tokens: &[Token], range: Interval) -> Vec<Token> {
        tokens.iter().copied().filter(|token| range.contains(*token)).collect()
    }

    /// A worker as the dump has them: asks for a page, waits for it, hands on what is its own.
    async fn work(
        board: Arc<Board>,
        worker: usize,
        tokens: Arc<Vec<Token>>,
        page: usize,
        mut seed: u64,
    ) -> (Vec<Interval>, Vec<Token>) {
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 33
        };
        let (mut ranges, mut read) = (Vec::new(), Vec::new());
        loop {
            let work = match board.next(worker) {
                Next::Scan(work) => work,
                Next::Wait => {
                    tokio::time::sleep(Duration::from_millis(1 + random() % 20)).await;
                    continue;
                }
                Next::Done => return (ranges, read),
            };
            // The server goes on reading the range it was asked for, whatever has become of it since.
            for rows in rows(&tokens, work.range).chunks(page) {
                tokio::time::sleep(Duration::from_millis(random() % 50)).await;
                let last = *rows.last().unwrap();
                let end = board.advance(worker, last, rows.len() as u64 * LEAST);
                read.extend(rows.iter().filter(|token| **token <= end));
                if last > end {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(random() % 5)).await;
            ranges.push(Interval { start: work.range.start, end: board.finish(worker).unwrap().end });
        }
    }

    proptest! {
        #[test]
        fn no_row_twice_and_none_lost(
            mut tokens in prop::collection::vec(
                prop_oneof![any::<Token>(), -100..100i64, Just(7), Just(Token::MAX), Just(Token::MIN + 1)],
                0..300,
            ),
            workers in 1usize..9,
            page in 1usize..20,
            cuts in 1usize..5,
            seed in any::<u64>(),
        ) {
            tokens.retain(|token| *token != Token::MIN);
            tokens.sort_unstable();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let (mut ranges, mut read) = (Vec::new(), Vec::new());
            runtime.block_on(async {
                let all = ring::split(Interval::whole(), cuts);
                let work_of = all.into_iter().map(|range| Work { table: 0, range });
                let board = Arc::new(Board::new(work_of, workers));
                let tokens = Arc::new(tokens.clone());
                let tasks = (0..workers).map(|worker| {
                    tokio::spawn(work(board.clone(), worker, tokens.clone(), page, seed ^ worker as u64))
                });
                for task in tasks.collect::<Vec<_>>() {
                    let (some_ranges, some_rows) = task.await.unwrap();
                    ranges.extend(some_ranges);
                    read.extend(some_rows);
                }
            });
            read.sort_unstable();
            prop_assert_eq!(read, tokens);
            prop_assert_eq!(ring::tiles(&mut ranges), Ok(()));
        }
    }

    #[test]
    fn what_lies_in_few_tokens_still_feeds_every_worker() {
        // All rows in a hundredth of the ring, at its end.
        let first = Token::MAX - Token::MAX / 50;
        let tokens: Vec<Token> = (0..4000).map(|i| first + i * (Token::MAX / 50 / 4000)).collect();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let shares: Vec<usize> = runtime.block_on(async {
            let whole = Work { table: 0, range: Interval::whole() };
            let board = Arc::new(Board::new([whole], 8));
            let tokens = Arc::new(tokens);
            let tasks = (0..8).map(|w| tokio::spawn(work(board.clone(), w, tokens.clone(), 10, w as u64)));
            futures::future::join_all(tasks).await.into_iter().map(|task| task.unwrap().1.len()).collect()
        });
        assert!(shares.iter().all(|share| *share > 200), "{shares:?}");
    }

    /// How long eight workers take for a table whose first token has `big` pages and whose others have `small` pages
    /// together, at 10 ms a page, from one that begins with the big partition.
    fn time_of(big: usize, small: usize) -> Duration {
        const PAGE: usize = 10;
        let step = u64::MAX / (small * PAGE + 1) as u64;
        let mut tokens = vec![Token::MIN + 1; big * PAGE];
        tokens.extend((1..=small * PAGE).map(|i| Token::MIN.wrapping_add_unsigned(step * i as u64)));
        let tokens = Arc::new(tokens);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let begun = tokio::time::Instant::now();
            let board = Arc::new(Board::new([Work { table: 0, range: Interval::whole() }], 8));
            let tasks = (0..8).map(|number| {
                let (board, tokens) = (board.clone(), tokens.clone());
                tokio::spawn(async move {
                    let mut read = 0;
                    loop {
                        let work = match board.next(number) {
                            Next::Scan(work) => work,
                            Next::Wait => {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                                continue;
                            }
                            Next::Done => return read,
                        };
                        for rows in rows(&tokens, work.range).chunks(PAGE) {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                            let last = *rows.last().unwrap();
                            let end = board.advance(number, last, rows.len() as u64 * LEAST);
                            read += rows.iter().filter(|token| **token <= end).count();
                            if last > end {
                                break;
                            }
                        }
                        board.finish(number);
                    }
                })
            });
            let read: usize = futures::future::join_all(tasks).await.into_iter().map(Result::unwrap).sum();
            assert_eq!(read, tokens.len());
            begun.elapsed()
        })
    }

    #[test]
    fn a_huge_partition_delays_nobody() {
        for (big, small) in [(5000, 1000), (500, 4000), (800, 6000), (1, 4000)] {
            let alone = Duration::from_millis(10) * u32::try_from(big).unwrap();
            let shared = Duration::from_millis(10) * u32::try_from(big + small).unwrap() / 8;
            let took = time_of(big, small);
            let least = alone.max(shared);
            assert!(took <= least.mul_f64(1.1), "{big} and {small} pages: {took:?}, at best {least:?}");
        }
    }

    #[test]
    fn those_who_come_at_the_same_time_get_equal_shares() {
        let board = Board::new([Work { table: 0, range: Interval::whole() }], 8);
        assert!(matches!(board.next(0), Next::Scan(_)));
        // A page of a hundredth of the ring.
        let first = Interval::whole().start + i64::MAX / 50;
        board.advance(0, first, 4 * LEAST);
        let shares = (1..8).map(|worker| match board.next(worker) {
            Next::Scan(work) => work,
            other => panic!("{other:?}"),
        });
        shares.for_each(drop);
        let state = board.lock();
        let spans: Vec<u64> = state
            .active
            .iter()
            .flatten()
            .map(|active| Interval { start: active.done, end: active.work.range.end }.span())
            .collect();
        let (least, most) = (spans.iter().min().unwrap(), spans.iter().max().unwrap());
        assert!(spans.len() == 8 && *most <= least + 8, "{spans:?}");
    }

    #[test]
    fn what_cannot_be_read_is_given_up_alone() {
        let i = |start, end| Interval { start, end };
        let whole = Work { table: 0, range: i(0, 100) };
        let other = Work { table: 1, range: i(0, 100) };
        let board = Board::new([whole, other, other], 2);
        assert_eq!(board.next(0), Next::Scan(whole));
        board.advance(0, 10, 1);
        assert_eq!(board.busy(), 1);
        assert_eq!(board.give_up(0, 30), Some(100));
        assert_eq!(board.next(0), Next::Scan(Work { table: 0, range: i(30, 100) }));
        board.give_up(0, 100);
        assert_eq!(board.next(0), Next::Scan(other));
        board.give_up_table(1);
        board.give_up(0, 100);
        assert_eq!(board.next(0), Next::Done);
        // The rest of a token has no tokens.
        let rest = Work { table: 0, range: i(7, 7) };
        let board = Board::new([rest], 1);
        assert_eq!(board.next(0), Next::Scan(rest));
        assert_eq!(board.advance(0, 7, LEAST), 7);
        board.give_up(0, 7);
        assert_eq!(board.next(0), Next::Done);
    }

    #[test]
    fn a_range_is_not_divided_before_its_first_page_nor_for_little() {
        let whole = Work { table: 3, range: Interval::whole() };
        let board = Board::new([whole], 2);
        assert_eq!(board.next(0), Next::Scan(whole));
        assert_eq!(board.next(1), Next::Wait);
        board.advance(0, 0, 1000);
        assert_eq!(board.next(1), Next::Wait, "a thousand bytes more are not worth a query");
        board.advance(0, 0, LEAST);
        let half = Interval { start: Token::MAX / 2, end: Token::MAX };
        assert_eq!(board.next(1), Next::Scan(Work { table: 3, range: half }));
        assert_eq!(board.advance(0, 1, 1), Token::MAX / 2);
        assert_eq!(board.finish(0), Some(Finished { end: Token::MAX / 2, table_is_done: false }));
        assert_eq!(board.next(0), Next::Wait);
        assert_eq!(board.finish(1), Some(Finished { end: Token::MAX, table_is_done: true }));
        assert_eq!(board.next(0), Next::Done);
    }
}
