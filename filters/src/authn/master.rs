//! The master key: several may be configured, so that one can be rotated without a gap.
//!
//! Only digests are kept, and they are compared in constant time over all of them, so neither the value nor which one
//! matched can be measured.

use subtle::{Choice, ConstantTimeEq};

use super::virtual_key::KeyHash;
use crate::principal::Principal;
use crate::secret::Secret;

/// Digests of the configured master keys.
pub struct MasterKeys(Vec<KeyHash>);

impl MasterKeys {
    /// An empty list admits nobody; an empty key is not a key.
    #[must_use]
    pub fn new(keys: &[Secret]) -> Self {
        Self::from_digests(
            keys.iter().filter(|key| !key.expose().is_empty()).map(|key| KeyHash::of(key.expose())).collect(),
        )
    }

    /// From digests, where the key itself is not kept (the one generated at the first start).
    #[must_use]
    pub fn from_digests(digests: Vec<KeyHash>) -> Self {
        Self(digests)
    }

    /// Compares the digest of what was presented with each configured one.
    pub(super) fn authenticate(&self, presented: &KeyHash) -> Option<Principal> {
        let matched = self.0.iter().fold(Choice::from(0), |matched, known| matched | equal(known, presented));
        bool::from(matched).then_some(Principal::Master)
    }
}

/// Word by word: byte by byte it costs four times as much, and every request pays it.
fn equal(known: &KeyHash, presented: &KeyHash) -> Choice {
    let words = |hash: &KeyHash| -> [u64; 4] {
        let (bytes, _) = hash.as_bytes().as_chunks();
        std::array::from_fn(|at| u64::from_ne_bytes(bytes[at]))
    };
    words(known).ct_eq(&words(presented))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_configured_key_is_the_master_and_nothing_else() {
        let keys = MasterKeys::new(&[Secret::from("sk-old"), Secret::from("sk-new")]);
        for (presented, admitted) in
            [("sk-old", true), ("sk-new", true), ("sk-ol", false), ("sk-newer", false), ("SK-NEW", false), ("", false)]
        {
            assert_eq!(keys.authenticate(&KeyHash::of(presented)).is_some(), admitted, "{presented:?}");
        }
    }

    #[test]
    fn every_byte_of_the_digest_counts() {
        let digest = *KeyHash::of("sk-old").as_bytes();
        let keys = MasterKeys::from_digests(vec![digest.into()]);
        for at in 0..digest.len() {
            let mut other = digest;
            other[at] ^= 1;
            assert!(keys.authenticate(&other.into()).is_none(), "byte {at}");
        }
        assert!(keys.authenticate(&digest.into()).is_some());
    }

    #[test]
    fn no_key_admits_nobody() {
        for keys in [MasterKeys::new(&[]), MasterKeys::new(&[Secret::from("")])] {
            assert!(keys.authenticate(&KeyHash::of("")).is_none());
        }
    }
}
