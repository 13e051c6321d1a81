//! Which token a partition key has, and how the ring is cut into intervals and covered by them. Pure arithmetic for
//! clusters with Murmur3Partitioner; who asks for which interval is left to the scan.

use std::fmt;
use thiserror::Error;

/// A place on the ring. No partition has `i64::MIN`.
pub type Token = i64;

/// The token of a partition key, from the wire bytes of its components in key order.
///
/// No server takes a key component, or a key of one component, of no bytes or of more than 65,535; their tokens mean
/// nothing.
pub fn token(components: &[&[u8]]) -> Token {
    let mut hash = Murmur3::default();
    if let [component] = components {
        hash.write(component);
    } else {
        for component in components {
            let len = u16::try_from(component.len()).unwrap_or(u16::MAX);
            hash.write(&len.to_be_bytes());
            hash.write(component);
            hash.write(&[0]);
        }
    }
    match hash.finish() {
        Token::MIN => Token::MAX,
        token => token,
    }
}

/// The first half of MurmurHash3_x64_128 with seed 0, with Cassandra's peculiarity: the bytes after the last whole block
/// are taken as signed.
#[derive(Default)]
struct Murmur3 {
    h1: u64,
    h2: u64,
    held: [u8; 16],
    len: usize,
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

impl Murmur3 {
    fn write(&mut self, mut bytes: &[u8]) {
        let held = self.len % 16;
        self.len += bytes.len();
        if held > 0 {
            let (head, tail) = bytes.split_at(bytes.len().min(16 - held));
            self.held[held..held + head.len()].copy_from_slice(head);
            if held + head.len() < 16 {
                return;
            }
            self.block(self.held);
            bytes = tail;
        }
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            self.block(*block);
        }
        self.held[..rest.len()].copy_from_slice(rest);
    }

    fn block(&mut self, block: [u8; 16]) {
        let both = u128::from_le_bytes(block);
        self.h1 = (self.h1 ^ mix1(low(both)))
            .rotate_left(27)
            .wrapping_add(self.h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        self.h2 = (self.h2 ^ mix2(low(both >> 64)))
            .rotate_left(31)
            .wrapping_add(self.h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }

    fn finish(mut self) -> i64 {
        let rest = &self.held[..self.len % 16];
        let signed = |bytes: &[u8]| {
            bytes.iter().rev().fold(0u64, |word, byte| {
                // XOR and not OR: a negative byte flips all bits above its own.
                (word << 8) ^ i64::from(byte.cast_signed()).cast_unsigned()
            })
        };
        let (first, second) = rest.split_at(rest.len().min(8));
        if !second.is_empty() {
            self.h2 ^= mix2(signed(second));
        }
        if !first.is_empty() {
            self.h1 ^= mix1(signed(first));
        }
        // A usize is at most 64 bits wherever this runs.
        let len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let h1 = self.h1 ^ len;
        let h2 = self.h2 ^ len;
        let h1 = h1.wrapping_add(h2);
        let h2 = h2.wrapping_add(h1);
        avalanche(h1).wrapping_add(avalanche(h2)).cast_signed()
    }
}

fn low(word: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = word.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn avalanche(mut k: u64) -> u64 {
    k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

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
    use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner};

    #[test]
    fn tokens_are_those_of_real_servers() {
        let raw = |key: u128| token(&[&key.to_be_bytes()]);
        // Raw Murmur3 gives MIN for the first one.
        assert_eq!(raw(0xae472a9ca8a2cf774a51e33cdd968544), Token::MAX);
        assert_eq!(raw(0x3f7b0e0afd7f017ba8381f87e9ea3007), Token::MIN + 1);
        assert_eq!(raw(0xfbae28760fbfb9b9369eb63cbebcd28c), Token::MAX);
        assert_eq!(token(&[b"", b""]), 9_027_482_631_457_916_009);
    }

    #[test]
    fn tokens_of_every_length_are_the_drivers() {
        for len in 0..64u8 {
            let key: Vec<u8> = (0..len).map(|i| i.wrapping_mul(37) ^ 0xa5).collect();
            assert_eq!(token(&[&key]), Murmur3Partitioner.hash_one(&key).value(), "{len}");
        }
    }

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
        fn one_component_hashes_like_the_driver(key in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(token(&[&key]), Murmur3Partitioner.hash_one(&key).value());
        }

        #[test]
        fn components_hash_like_their_joined_bytes(
            key in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2..5),
        ) {
            let mut joined = Vec::new();
            for component in &key {
                joined.extend_from_slice(&u16::try_from(component.len()).unwrap().to_be_bytes());
                joined.extend_from_slice(component);
                joined.push(0);
            }
            let components: Vec<&[u8]> = key.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(token(&components), Murmur3Partitioner.hash_one(&joined).value());
        }

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
