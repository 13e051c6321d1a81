//! The tokens of RandomPartitioner. The server's are the absolute values of MD5 digests as signed numbers, from 0 to
//! 2^127; a `Token` is such a number without its lowest 63 bits, moved into the signed numbers. So it keeps their order,
//! and the server's tokens that share one are neighbours, which no range parts.

use super::Token;
use super::partitioner::serialise;
use md5::{Digest, Md5};
use num_bigint::BigInt;

/// Bits of a server's token that its `Token` leaves out.
const LEFT_OUT: u32 = 63;

/// What turns the order of unsigned numbers into that of signed ones, and back.
const SIGN: u64 = 1 << 63;

/// The token of a partition key.
pub(super) fn token(components: &[&[u8]]) -> Token {
    coarse(exact(components))
}

/// The server's token of a partition key.
pub(super) fn exact(components: &[&[u8]]) -> u128 {
    let mut hash = Md5::new();
    serialise(components, |bytes| hash.update(bytes));
    i128::from_be_bytes(hash.finalize().into()).unsigned_abs()
}

/// The token of a server's token. What would have the least, which no partition may have, has the next; the server's
/// greatest, which would have one too many, that of those before it.
fn coarse(exact: u128) -> Token {
    let upper = u64::try_from(exact >> LEFT_OUT).unwrap_or(u64::MAX).max(1);
    (upper ^ SIGN).cast_signed()
}

/// The last of the server's tokens that have this one, as the bytes of a varint. None has `Token::MIN`: it is −1, which
/// servers take for the least bound there is.
pub(super) fn bound(token: Token) -> Vec<u8> {
    let last = match token.cast_unsigned() ^ SIGN {
        0 => BigInt::from(-1),
        u64::MAX => BigInt::from(1_u128 << 127),
        upper => BigInt::from(((u128::from(upper) + 1) << LEFT_OUT) - 1),
    };
    last.to_signed_bytes_be()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The greatest token of a server.
    const GREATEST: u128 = 1 << 127;

    fn bound_of(token: Token) -> BigInt {
        BigInt::from_signed_bytes_be(&bound(token))
    }

    /// What `SELECT token(…)` shows on Cassandra 5.0.6 with RandomPartitioner.
    #[test]
    fn tokens_are_those_of_real_servers() {
        let int = |n: i32| n.to_be_bytes();
        for (key, expected) in [
            (&[&int(0)[..]][..], 18_837_662_806_270_881_894_834_867_523_173_387_678),
            (&[&int(1)], 19_580_090_105_725_936_846_312_850_328_329_299_579),
            (&[&int(-1)], 120_549_550_962_197_124_826_514_825_591_841_393_591),
            (&[&int(7)], 137_731_376_325_982_006_772_573_399_291_321_493_164),
            (&[b"a"], 16_955_237_001_963_240_173_058_271_559_858_726_497),
            (&[b"hello world"], 125_893_641_179_230_474_042_701_625_388_361_764_291),
            (&["Zürich".as_bytes()], 21_571_439_941_612_705_407_085_021_742_162_426_705),
            (&[&int(1), b"x", &[0x00, 0xff]], 97_440_759_388_556_685_639_536_220_989_048_624_712),
            (&[&int(-5), b"", b""], 79_899_966_801_546_538_344_885_369_126_879_483_751),
        ] {
            assert_eq!(exact(key), expected, "{key:?}");
        }
        assert_eq!(token(&[&int(7)]), 5_709_493_706_350_050_760);
    }

    #[test]
    fn the_ends_of_the_ring() {
        assert_eq!(bound(Token::MIN), [0xff]);
        let greatest: Vec<u8> = [0x00, 0x80].into_iter().chain([0; 15]).collect();
        assert_eq!(bound(Token::MAX), greatest);
        for (exact, expected) in [
            (0, Token::MIN + 1),
            ((1 << 64) - 1, Token::MIN + 1),
            (1 << 64, Token::MIN + 2),
            (1 << 126, 0),
            (GREATEST - 1, Token::MAX),
            (GREATEST, Token::MAX),
        ] {
            assert_eq!(coarse(exact), expected, "{exact}");
        }
    }

    proptest! {
        #[test]
        fn a_bound_is_the_last_of_its_token(token in prop_oneof![any::<Token>(), Just(Token::MIN + 1), Just(0)]) {
            let token = token.clamp(Token::MIN + 1, Token::MAX - 1);
            let last = u128::try_from(bound_of(token)).unwrap();
            prop_assert_eq!(coarse(last), token);
            prop_assert_eq!(coarse(last + 1), token + 1);
        }

        /// Whatever is in an interval of tokens is between its bounds, and nothing else.
        #[test]
        fn bounds_part_servers_tokens_as_intervals_do(
            exact in prop_oneof![0..=GREATEST, 0..=u128::from(u64::MAX), Just(GREATEST)],
            cut in prop_oneof![any::<Token>(), Just(Token::MIN), Just(Token::MIN + 1), Just(Token::MAX)],
            near in any::<bool>(),
        ) {
            let cut = if near { coarse(exact).saturating_sub(cut & 1) } else { cut };
            prop_assert_eq!(BigInt::from(exact) <= bound_of(cut), coarse(exact) <= cut);
            prop_assert!(coarse(exact) > Token::MIN);
        }

        #[test]
        fn order_is_kept(a in 0..=GREATEST, b in 0..=GREATEST) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(coarse(a) <= coarse(b));
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
            prop_assert_eq!(exact(&components), exact(&[&joined]));
        }
    }
}
