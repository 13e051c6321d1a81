//! The tokens of Murmur3Partitioner: the hash of a key, whatever it is made of.

use super::{Token, low};

/// The first half of MurmurHash3_x64_128 with seed 0, with Cassandra's peculiarity: the bytes after the last whole block
/// are taken as signed.
#[derive(Default)]
pub(super) struct Murmur3 {
    h1: u64,
    h2: u64,
    held: [u8; 16],
    len: usize,
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

impl Murmur3 {
    /// Goes on with these bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
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

    /// The token of what was written.
    pub(super) fn token(self) -> Token {
        match self.finish() {
            // No partition has it.
            Token::MIN => Token::MAX,
            token => token,
        }
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

#[cfg(test)]
mod tests {
    use super::super::Partitioner;
    use super::*;
    use proptest::prelude::*;
    use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner as _};

    fn token(components: &[&[u8]]) -> Token {
        Partitioner::Murmur3.token(components)
    }

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
    }
}
