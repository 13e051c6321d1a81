//! How a cluster places partitions on the ring: the token of a key, and the values that bound a query by tokens.

use super::murmur3::Murmur3;
use super::{Token, random};
use thiserror::Error;

/// What makes tokens of partition keys in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioner {
    /// Tokens are 64 bits wide; a `Token` is the server's.
    Murmur3,
    /// Tokens are from 0 to 2^127; a `Token` is their upper bits.
    Random,
}

/// A partitioner whose tokens are not known here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("its partitioner is {0}; only the tokens of Murmur3Partitioner and RandomPartitioner are known")]
pub struct UnknownPartitioner(String);

/// The package of the server's own partitioners.
const PACKAGE: &str = "org.apache.cassandra.dht.";

impl Partitioner {
    /// The partitioner of a class name, with its package or without.
    ///
    /// # Errors
    /// `UnknownPartitioner` names any other.
    pub fn of_class(name: &str) -> Result<Partitioner, UnknownPartitioner> {
        match name.strip_prefix(PACKAGE).unwrap_or(name) {
            "Murmur3Partitioner" => Ok(Partitioner::Murmur3),
            "RandomPartitioner" => Ok(Partitioner::Random),
            _ => Err(UnknownPartitioner(name.to_owned())),
        }
    }

    /// The token of a partition key, from the wire bytes of its components in key order.
    ///
    /// No server takes a key component, or a key of one component, of no bytes or of more than 65,535; their tokens mean
    /// nothing.
    pub fn token(self, components: &[&[u8]]) -> Token {
        match self {
            Partitioner::Murmur3 => {
                let mut hash = Murmur3::default();
                serialise(components, |bytes| hash.write(bytes));
                hash.token()
            }
            Partitioner::Random => random::token(components),
        }
    }

    /// Where a partition stands among those of its token: servers go by their own tokens, then by the bytes that are hashed.
    pub fn order(self, components: &[&[u8]]) -> impl Ord + use<> {
        let mut bytes = Vec::new();
        serialise(components, |more| bytes.extend_from_slice(more));
        let finer = match self {
            Partitioner::Murmur3 => 0,
            Partitioner::Random => random::exact(components),
        };
        (finer, bytes)
    }

    /// The value, in wire bytes, that `token(key) > ?` and `token(key) <= ?` take for a token: the last one of the
    /// server's tokens that it stands for. For `Token::MIN` it is the one that servers read as "no bound".
    pub fn bound(self, token: Token) -> Vec<u8> {
        match self {
            Partitioner::Murmur3 => token.to_be_bytes().to_vec(),
            Partitioner::Random => random::bound(token),
        }
    }
}

/// Gives `write` the bytes of a key that are hashed: a single component as it is; of several, each behind its length and
/// before a zero.
pub(super) fn serialise(components: &[&[u8]], mut write: impl FnMut(&[u8])) {
    if let [component] = components {
        return write(component);
    }
    for component in components {
        let len = u16::try_from(component.len()).unwrap_or(u16::MAX);
        write(&len.to_be_bytes());
        write(component);
        write(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitioners_are_known_by_their_class() {
        for (name, expected) in [
            ("org.apache.cassandra.dht.Murmur3Partitioner", Some(Partitioner::Murmur3)),
            ("Murmur3Partitioner", Some(Partitioner::Murmur3)),
            ("org.apache.cassandra.dht.RandomPartitioner", Some(Partitioner::Random)),
            ("RandomPartitioner", Some(Partitioner::Random)),
            ("org.apache.cassandra.dht.ByteOrderedPartitioner", None),
            ("org.apache.cassandra.dht.OrderPreservingPartitioner", None),
            ("LocalPartitioner", None),
            ("org.example.Murmur3Partitioner", None),
            ("", None),
        ] {
            let found = Partitioner::of_class(name);
            assert_eq!(found.clone().ok(), expected, "{name}");
            if let Err(error) = found {
                assert!(
                    error.to_string().starts_with(&format!("its partitioner is {name}; only ")),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn a_murmur3_token_bounds_as_a_bigint() {
        assert_eq!(Partitioner::Murmur3.bound(Token::MIN), [0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Partitioner::Murmur3.bound(-2), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(Partitioner::Murmur3.bound(Token::MAX), [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }
}
