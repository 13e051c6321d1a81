//! Which token a partition key has, and how the ring is cut into intervals and covered by them. Pure arithmetic, the
//! same whatever makes the tokens, which is left to `partitioner`; who asks for which interval is left to the scan.

mod left;
mod murmur3;
mod partitioner;
mod random;

pub use left::{Left, Stretch, Unfit, left};
pub use partitioner::{Partitioner, UnknownPartitioner};

use std::fmt;
use thiserror::Error;

/// A place on the ring, in the order of the server's tokens; where those are wider, neighbours share one. No partition
/// has `i64::MIN`.
pub type Token = i64;

/// The tokens above `start` up to and including `end`. With both equal it holds no whole partition: it stands for a part
/// that was cut inside the partition (or partitions) of that token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// Not in it.
    pub start: Token,
    /// The last one in it; never `Token::MIN`, which servers read as "no bound".
    pub end: Token,
}

impl Interval {
    /// The whole ring.
    pub fn whole() -> Interval {
        Interval { start: Token::MIN, end: Token::MAX }
    }

    /// Whether the token is in it.
    pub fn contains(self, token: Token) -> bool {
        self.start < token && token <= self.end
    }

    /// Number of tokens in it.
    pub fn span(self) -> u64 {
        if self.start < self.end { self.end.abs_diff(self.start) } else { 0 }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}]", self.start, self.end)
    }
}

/// Cuts an interval into `n` of the same span, give or take one token; fewer if it has fewer tokens, so none is empty.
pub fn split(interval: Interval, n: usize) -> Vec<Interval> {
    let span = u128::from(interval.span());
    let n = u128::try_from(n).unwrap_or(u128::MAX).clamp(1, span.max(1));
    let mut start = interval.start;
    (1..=n)
        .filter(|_| span > 0)
        .map(|i| {
            // i ≤ n ≤ span < 2^64: the product fits, the quotient is at most the span.
            let offset = low(span * i / n);
            let end = interval.start.wrapping_add_unsigned(offset);
            let cut = Interval { start, end };
            start = end;
            cut
        })
        .collect()
}

/// The lower half.
fn low(word: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = word.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Where intervals do not cover the ring exactly once.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Gap {
    /// Nobody has these.
    #[error("the tokens {0} are missing")]
    Missing(Interval),
    /// Both have tokens in common, or the second stands inside the first.
    #[error("the intervals {0} and {1} overlap")]
    Overlap(Interval, Interval),
    /// Ends before it begins, or at the token that no partition has.
    #[error("{0} is not an interval")]
    Malformed(Interval),
}

/// Checks that the intervals cover the whole ring exactly once; sorts them. Intervals of no tokens may stand where two
/// others meet, or at the ring's end.
///
/// # Errors
/// The first `Gap` in ring order.
pub fn tiles(intervals: &mut [Interval]) -> Result<(), Gap> {
    intervals.sort_unstable();
    let mut before = None;
    let mut at = Token::MIN;
    for &interval in intervals.iter() {
        let Interval { start, end } = interval;
        if end < start || end == Token::MIN {
            return Err(Gap::Malformed(interval));
        }
        match before {
            _ if at < start => {
                return Err(Gap::Missing(Interval { start: at, end: start }));
            }
            Some(before) if start < at => return Err(Gap::Overlap(before, interval)),
            _ => {}
        }
        at = end;
        before = Some(interval);
    }
    if at < Token::MAX {
        return Err(Gap::Missing(Interval { start: at, end: Token::MAX }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn intervals_are_split_at_the_edges_of_the_ring() {
        assert_eq!(split(Interval::whole(), 0), [Interval::whole()]);
        let halves = split(Interval::whole(), 2);
        assert_eq!(halves.len(), 2);
        assert_eq!(halves[0].end, -1);
        let last = Interval { start: Token::MAX - 2, end: Token::MAX };
        assert_eq!(split(last, usize::MAX).len(), 2);
        assert_eq!(split(Interval { start: 7, end: 7 }, 3), []);
    }

    #[test]
    fn the_first_gap_is_named() {
        let i = |start, end| Interval { start, end };
        let (min, max) = (Token::MIN, Token::MAX);
        let check = |intervals: &[Interval]| tiles(&mut intervals.to_vec());
        assert_eq!(check(&[i(5, max), i(min, 5)]), Ok(()));
        assert_eq!(check(&[i(5, max), i(5, 5), i(min, 5), i(5, 5)]), Ok(()));
        assert_eq!(check(&[i(max, max), i(min, max)]), Ok(()));
        assert_eq!(check(&[]), Err(Gap::Missing(i(min, max))));
        assert_eq!(check(&[i(min, 5), i(6, max)]), Err(Gap::Missing(i(5, 6))));
        assert_eq!(check(&[i(min, 5)]), Err(Gap::Missing(i(5, max))));
        assert_eq!(check(&[i(0, max)]), Err(Gap::Missing(i(min, 0))));
        assert_eq!(check(&[i(min, 5), i(4, max)]), Err(Gap::Overlap(i(min, 5), i(4, max))));
        assert_eq!(check(&[i(min, max), i(min, max)]), Err(Gap::Overlap(i(min, max), i(min, max))));
        assert_eq!(check(&[i(min, 5), i(3, 3), i(5, max)]), Err(Gap::Overlap(i(min, 5), i(3, 3))));
        assert_eq!(check(&[i(min, 5), i(5, max), i(7, 7)]), Err(Gap::Overlap(i(5, max), i(7, 7))));
        assert_eq!(check(&[i(min, min), i(min, max)]), Err(Gap::Malformed(i(min, min))));
        assert_eq!(check(&[i(min, 5), i(5, 4)]), Err(Gap::Malformed(i(5, 4))));
    }

    proptest! {
        #[test]
        fn splits_tile_and_every_token_is_in_exactly_one(
            n in 1usize..300,
            m in 1usize..5,
            which in any::<prop::sample::Index>(),
            tokens in prop::collection::vec((Token::MIN + 1)..=Token::MAX, 20),
        ) {
            let mut all = split(Interval::whole(), n);
            let spans: Vec<u64> = all.iter().map(|i| i.span()).collect();
            prop_assert_eq!(all.len(), n);
            prop_assert!(spans.iter().max().unwrap() - spans.iter().min().unwrap() <= 1);
            let again = all.swap_remove(which.index(n));
            all.extend(split(again, m));
            prop_assert!(all.iter().all(|i| i.span() > 0 && i.end != Token::MIN));
            prop_assert_eq!(tiles(&mut all), Ok(()));
            for token in tokens.into_iter().chain([Token::MIN + 1, -1, 0, Token::MAX]) {
                prop_assert_eq!(all.iter().filter(|i| i.contains(token)).count(), 1);
            }
        }

        #[test]
        fn small_intervals_split_into_at_most_their_tokens(start in any::<i64>(), span in 1i64..50, n in 1usize..60) {
            let start = start.min(Token::MAX - span);
            let cuts = split(Interval { start, end: start + span }, n);
            prop_assert_eq!(cuts.len(), n.min(usize::try_from(span).unwrap()));
            prop_assert_eq!((cuts[0].start, cuts[cuts.len() - 1].end), (start, start + span));
            prop_assert!(cuts.windows(2).all(|w| w[0].end == w[1].start));
            prop_assert!(cuts.iter().all(|i| i.span() > 0));
        }
    }
}
