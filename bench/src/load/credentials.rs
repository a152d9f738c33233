//! Who sends the n-th request: a fixed credential, one of many keys, always another one, or several kinds by turns.
//!
//! Keys are computed from their number and never stored, so that a million of them take no memory from the cache of the machine
//! that is being measured.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// How the n-th request gets its credential.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Always this header.
    Fixed(HeaderName, HeaderValue),
    /// One of the first `count` keys of a series, each as likely as any other, in an order that is the same in every run.
    Random {
        /// Where the key stands.
        header: HeaderName,
        /// The keys.
        keys: KeySeries,
        /// How many of them are in use.
        count: u64,
    },
    /// The keys of a series one after the other, and from the first again after `count`. With a count larger than any number of
    /// requests each one brings a fresh key.
    InTurn {
        /// Where the key stands.
        header: HeaderName,
        /// The keys.
        keys: KeySeries,
        /// After how many the first comes again.
        count: u64,
    },
    /// These by turns: kinds of credential and headers mixed.
    Mix(Vec<Caller>),
}

impl Caller {
    /// `Authorization: Bearer` with this credential.
    ///
    /// # Panics
    ///
    /// When it holds what a header cannot.
    #[must_use]
    pub fn bearer(credential: &str) -> Self {
        Self::Fixed(
            AUTHORIZATION,
            HeaderValue::try_from(format!("Bearer {credential}")).expect("a printable credential"),
        )
    }

    /// The same keys, but each one in its turn.
    #[must_use]
    pub fn in_turn(self) -> Self {
        match self {
            Self::Random { header, keys, count } => Self::InTurn { header, keys, count },
            other => other,
        }
    }

    /// The header of the n-th request.
    #[must_use]
    pub fn header(&self, n: u64) -> (HeaderName, HeaderValue) {
        match self {
            Self::Fixed(name, value) => (name.clone(), value.clone()),
            Self::Random { header, keys, count } => (header.clone(), keys.value(header, scrambled(n) % count)),
            Self::InTurn { header, keys, count } => (header.clone(), keys.value(header, n % count)),
            Self::Mix(callers) => {
                let turns = callers.len() as u64;
                callers[(n % turns) as usize].header(n / turns)
            }
        }
    }
}

/// An endless series of keys in the form of virtual keys: the same seed gives the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySeries {
    /// Tells this series from others.
    pub seed: u64,
}

impl KeySeries {
    /// The n-th key.
    #[must_use]
    pub fn key(self, n: u64) -> String {
        let first = scrambled(self.seed ^ scrambled(n));
        format!("sk-{first:016x}{:016x}", scrambled(first ^ n))
    }

    fn value(self, header: &HeaderName, n: u64) -> HeaderValue {
        let key = self.key(n);
        let value = if *header == AUTHORIZATION { format!("Bearer {key}") } else { key };
        HeaderValue::try_from(value).expect("hexadecimal digits")
    }
}

/// Spreads consecutive numbers over all 64 bits and maps no two to one: the finalizer of the SplitMix64 generator.
fn scrambled(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Caller, KeySeries};
    use http::HeaderName;
    use http::header::AUTHORIZATION;
    use std::collections::BTreeSet;

    const KEYS: KeySeries = KeySeries { seed: 7 };

    fn header_text(caller: &Caller, n: u64) -> (String, String) {
        let (name, value) = caller.header(n);
        (name.to_string(), value.to_str().unwrap().to_owned())
    }

    #[test]
    fn keys_differ_and_look_like_virtual_keys() {
        let keys: BTreeSet<String> = (0..10_000).map(|n| KEYS.key(n)).collect();
        assert_eq!(keys.len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 35 && key.starts_with("sk-")));
        assert_ne!(KEYS.key(1), KeySeries { seed: 8 }.key(1));
    }

    #[test]
    fn random_keys_are_of_the_first_and_about_equally_often_used() {
        let caller = Caller::Random { header: AUTHORIZATION, keys: KEYS, count: 10 };
        let known: Vec<String> = (0..10).map(|n| format!("Bearer {}", KEYS.key(n))).collect();
        let mut uses = [0_u32; 10];
        for n in 0..10_000 {
            let (_, value) = header_text(&caller, n);
            uses[known.iter().position(|key| *key == value).unwrap()] += 1;
        }
        assert!(uses.iter().all(|uses| (900..1100).contains(uses)), "{uses:?}");
    }

    #[test]
    fn turns_come_round_and_a_mix_gives_each_its_turn() {
        let header = HeaderName::from_static("x-api-key");
        let keys = Caller::InTurn { header, keys: KEYS, count: 3 };
        let mix = Caller::Mix(vec![Caller::bearer("sk-fixed"), keys]);
        let sent: Vec<_> = (0..8).map(|n| header_text(&mix, n)).collect();
        let fixed = ("authorization".to_owned(), "Bearer sk-fixed".to_owned());
        let key = |n| ("x-api-key".to_owned(), KEYS.key(n));
        assert_eq!(sent, [&fixed, &key(0), &fixed, &key(1), &fixed, &key(2), &fixed, &key(0)].map(Clone::clone));
    }
}
