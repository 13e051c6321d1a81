//! What is left to read of a ring of which some has been read: the intervals between, and the rests of partitions in the
//! middle of which a stretch ended. What a place inside a partition is, is left to the caller.

use super::{Gap, Interval, Token};
use std::collections::BTreeMap;
use thiserror::Error;

/// Something that has been read: an interval, perhaps without the beginning of what lies at its `start`, or the end of
/// what lies at its `end`. One of no tokens is a piece of the partitions of that token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch<P> {
    /// The tokens.
    pub interval: Interval,
    /// It begins inside a partition whose token is `start`, after this place.
    pub from: Option<P>,
    /// It ends inside a partition whose token is `end`, with this place.
    pub to: Option<P>,
}

/// What has not been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left<P> {
    /// Whole intervals, in ring order.
    pub intervals: Vec<Interval>,
    /// Tokens whose partitions are read up to a place, and not beyond it.
    pub rests: BTreeMap<Token, P>,
}

impl<P> Left<P> {
    /// Whether everything has been read.
    pub fn is_nothing(&self) -> bool {
        self.intervals.is_empty() && self.rests.is_empty()
    }
}

/// Stretches that cannot all be of one reading.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unfit {
    /// Two have something in common, or one is none.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// It begins inside a partition, where no other ends.
    #[error("{0} begins inside a partition, where no other part ends")]
    Adrift(Interval),
}

/// What is left when these have been read.
///
/// # Errors
/// `Unfit` names the first stretch that does not go together with the others.
pub fn left<P: Clone + PartialEq>(mut read: Vec<Stretch<P>>) -> Result<Left<P>, Unfit> {
    read.sort_by_key(|stretch| stretch.interval);
    let mut left = Left { intervals: Vec::new(), rests: BTreeMap::new() };
    let mut before = None;
    let mut at = Token::MIN;
    for Stretch { interval, from, to } in &read {
        let Interval { start, end } = *interval;
        let is_inside = start == end;
        if end < start
            || end == Token::MIN
            || (is_inside || start == Token::MIN) && is_inside != from.is_some()
        {
            return Err(Gap::Malformed(*interval).into());
        }
        if is_inside {
            continue;
        }
        match before {
            Some(before) if start < at => return Err(Gap::Overlap(before, *interval).into()),
            _ if at < start => left.intervals.push(Interval { start: at, end: start }),
            _ => {}
        }
        left.rests.extend(to.clone().map(|to| (end, to)));
        at = end;
        before = Some(*interval);
    }
    if at < Token::MAX {
        left.intervals.push(Interval { start: at, end: Token::MAX });
    }
    follow(&mut left.rests, read)?;
    Ok(left)
}

/// Moves the places where partitions were cut on to where the stretches that begin there end.
fn follow<P: Clone + PartialEq>(rests: &mut BTreeMap<Token, P>, read: Vec<Stretch<P>>) -> Result<(), Unfit> {
    let mut inside: Vec<Stretch<P>> = read.into_iter().filter(|stretch| stretch.from.is_some()).collect();
    let begins = |rests: &BTreeMap<Token, P>, s: &Stretch<P>| rests.get(&s.interval.start) == s.from.as_ref();
    while let Some(next) = inside.iter().position(|stretch| begins(rests, stretch)) {
        let Stretch { interval: Interval { start, end }, to, .. } = inside.swap_remove(next);
        rests.remove(&start);
        if start == end {
            rests.extend(to.map(|to| (start, to)));
        }
    }
    match inside.first() {
        None => Ok(()),
        Some(adrift) => Err(Unfit::Adrift(adrift.interval)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn s(start: Token, from: Option<u32>, end: Token, to: Option<u32>) -> Stretch<u32> {
        Stretch { interval: Interval { start, end }, from, to }
    }

    const MIN: Token = Token::MIN;
    const MAX: Token = Token::MAX;

    #[test]
    fn what_is_left_lies_between_and_inside() {
        let of = |read: &[Stretch<u32>]| {
            let left = left(read.to_vec()).unwrap();
            let intervals: Vec<(Token, Token)> = left.intervals.iter().map(|i| (i.start, i.end)).collect();
            (intervals, left.rests.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), (vec![(MIN, MAX)], vec![]));
        assert_eq!(of(&[s(MIN, None, MAX, None)]), (vec![], vec![]));
        assert_eq!(of(&[s(5, None, 9, None)]), (vec![(MIN, 5), (9, MAX)], vec![]));
        // Cut, and the next tokens read by another.
        assert_eq!(of(&[s(MIN, None, 5, Some(1)), s(5, None, MAX, None)]), (vec![], vec![(5, 1)]));
        // Cut again and again, and left in the middle.
        let pieces = [s(MIN, None, 5, Some(1)), s(5, Some(2), 5, Some(3)), s(5, Some(1), 5, Some(2))];
        assert_eq!(of(&pieces), (vec![(5, MAX)], vec![(5, 3)]));
        // Gone on beyond the partition, and cut in another.
        let beyond = s(5, Some(3), 9, Some(7));
        assert_eq!(of(&[&pieces[..], &[beyond]].concat()), (vec![(9, MAX)], vec![(9, 7)]));
        // The rest alone.
        assert_eq!(of(&[&pieces[..], &[s(5, Some(3), 5, None)]].concat()), (vec![(5, MAX)], vec![]));
        // Inside the last token of the ring.
        assert_eq!(of(&[s(MIN, None, MAX, Some(4))]), (vec![], vec![(MAX, 4)]));
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let i = |start, end| Interval { start, end };
        let of = |read: &[Stretch<u32>]| left(read.to_vec()).unwrap_err();
        let overlap = Unfit::Gap(Gap::Overlap(i(MIN, 5), i(4, MAX)));
        assert_eq!(of(&[s(MIN, None, 5, None), s(4, None, MAX, None)]), overlap);
        for bad in
            [s(5, None, 4, None), s(MIN, None, MIN, None), s(5, None, 5, None), s(MIN, Some(1), 5, None)]
        {
            assert_eq!(of(std::slice::from_ref(&bad)), Unfit::Gap(Gap::Malformed(bad.interval)));
        }
        let begins = s(5, Some(2), 9, None);
        for before in [s(MIN, None, 5, None), s(MIN, None, 5, Some(1)), s(MIN, None, 4, Some(2))] {
            assert_eq!(of(&[before, begins.clone()]), Unfit::Adrift(i(5, 9)));
        }
        let twice = s(5, Some(1), 5, Some(2));
        assert_eq!(of(&[s(MIN, None, 5, Some(1)), twice.clone(), twice]), Unfit::Adrift(i(5, 5)));
    }

    proptest! {
        /// Rows of a few tokens, numbered; each stretch reads those from one number to the next, and some are lost.
        #[test]
        fn every_row_is_read_or_left(
            tokens in prop::collection::vec(-20..20i64, 0..60),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
            lost in any::<u64>(),
        ) {
            let mut tokens = tokens;
            tokens.sort_unstable();
            // A cut after row `n` inside its partition, or at its token.
            let mut places: Vec<(usize, bool)> = match tokens.len() {
                0 => Vec::new(),
                rows => cuts.into_iter().map(|(at, inside)| (at.index(rows), inside)).collect(),
            };
            places.sort_unstable();
            places.dedup_by_key(|(row, _)| *row);
            let (mut start, mut from) = (MIN, None);
            let mut all = Vec::new();
            for (row, inside) in places {
                let to = inside.then_some(row);
                let end = tokens[row];
                if (start, from) < (end, to) && (start < end || from.is_some() && to.is_some()) {
                    all.push(Stretch { interval: Interval { start, end }, from, to });
                    (start, from) = (end, to);
                }
            }
            all.push(Stretch { interval: Interval { start, end: MAX }, from, to: None });
            // Pieces of one token are lost from the end, as a reader writes them one after another.
            let mut kept: Vec<Stretch<usize>> = Vec::new();
            for (number, stretch) in all.iter().enumerate() {
                let follows = stretch.from.is_none() || kept.last().is_some_and(|k| k.to == stretch.from);
                if follows && lost >> number & 1 == 0 {
                    kept.push(stretch.clone());
                }
            }
            let is_read = |read: &[Stretch<usize>], row: usize| read.iter().filter(|s| {
                let token = tokens[row];
                let after = s.from.map_or(s.interval.start < token, |from| (s.interval.start, from) < (token, row));
                let before = s.to.map_or(token <= s.interval.end, |to| (token, row) <= (s.interval.end, to));
                after && before
            }).count();
            let left = left(kept.clone()).unwrap();
            for (row, token) in tokens.iter().enumerate() {
                let in_rest = left.rests.get(token).is_some_and(|place| row > *place);
                let in_interval = left.intervals.iter().filter(|i| i.contains(*token)).count();
                let times = is_read(&kept, row) + in_interval + usize::from(in_rest);
                prop_assert_eq!(times, 1, "row {} of token {}: {:?}, {:?}", row, token, kept, left);
            }
            prop_assert_eq!(left.is_nothing(), kept.len() == all.len());
        }
    }
}
