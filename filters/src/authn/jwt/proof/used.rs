//! The DPoP proofs that were used (RFC 9449, section 11.1): none is good twice, whichever thread it comes to.
//!
//! Memory is bounded, and forgetting never makes a used proof good again: what is forgotten is everything up to some
//! second, and from then on a proof of that time is refused, used or not. Clients make a proof for each request, so what
//! they send is fresh, and a flood shortens the time that a proof may take to arrive, nothing else.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::authn::virtual_key::KeyHash;
use crate::denial::Denial;

/// How many proofs are remembered where the configuration says nothing: 3,000 requests a second for all of their time,
/// in some 15 MB.
pub const MAX_USED: usize = 200_000;

/// A proof that is good unless it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnusedProof {
    /// Of its key and its `jti`: what one client calls its proofs says nothing about those of another.
    pub(super) id: KeyHash,
    /// `iat`
    pub(super) issued: SystemTime,
}

/// The memory of one node. One lock for all: what is done under it takes a hundredth of the signature before it.
pub struct UsedProofs {
    most: usize,
    memory: Mutex<Memory>,
}

struct Memory {
    /// By the second in which they were issued; as many as a proof may be old.
    seconds: BTreeMap<u64, HashSet<KeyHash>>,
    count: usize,
    /// Nothing is known of proofs of this second and those before.
    forgotten: u64,
}

impl UsedProofs {
    /// Remembers so many at most, and nothing of what was used before `since`, the start of the process: such proofs are
    /// refused.
    #[must_use]
    pub fn new(most: usize, since: SystemTime) -> Self {
        let memory = Memory { seconds: BTreeMap::new(), count: 0, forgotten: second(since) };
        Self { most, memory: Mutex::new(memory) }
    }

    /// Uses a proof up. Proofs issued before `oldest` need not be remembered: they are refused for their age.
    ///
    /// # Errors
    /// [`Denial::InvalidProof`]: it was used, or what was used in its time is forgotten.
    pub(super) fn spend(&self, proof: UnusedProof, oldest: SystemTime) -> Result<(), Denial> {
        let UnusedProof { id, issued } = proof;
        let (issued, oldest) = (second(issued), second(oldest));
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        while memory.first().is_some_and(|first| first < oldest) {
            memory.forget_first();
        }
        if memory.seconds.values().any(|used| used.contains(&id)) {
            return Err(Denial::InvalidProof("used before"));
        }
        if memory.count >= self.most && memory.first().is_some_and(|first| first < issued) {
            memory.forget_first();
        }
        if issued <= memory.forgotten || memory.count >= self.most {
            return Err(Denial::InvalidProof("from before what is remembered"));
        }
        memory.seconds.entry(issued).or_default().insert(id);
        memory.count += 1;
        Ok(())
    }
}

impl Memory {
    fn first(&self) -> Option<u64> {
        self.seconds.keys().next().copied()
    }

    fn forget_first(&mut self) {
        if let Some((second, used)) = self.seconds.pop_first() {
            self.count -= used.len();
            self.forgotten = self.forgotten.max(second);
        }
    }
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: u64 = 1_000;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    /// A proof of this name issued in this second, used a moment later where proofs may be 60 s old.
    fn spend(used: &UsedProofs, name: &str, issued: u64, now: u64) -> Result<(), Denial> {
        used.spend(UnusedProof { id: KeyHash::of(name), issued: at(issued) }, at(now - 60))
    }

    const USED: Result<(), Denial> = Err(Denial::InvalidProof("used before"));
    const FORGOTTEN: Result<(), Denial> = Err(Denial::InvalidProof("from before what is remembered"));

    #[test]
    fn a_proof_is_good_once() {
        let used = UsedProofs::new(MAX_USED, at(START));
        for (name, issued, now, outcome) in [
            ("a", 1_001, 1_001, Ok(())),
            ("a", 1_001, 1_001, USED),
            ("b", 1_001, 1_001, Ok(())),
            ("a", 1_002, 1_002, USED),
            ("a", 1_001, 1_061, USED),
            ("a", 1_062, 1_062, Ok(())),
        ] {
            assert_eq!(spend(&used, name, issued, now), outcome, "{name} of {issued} at {now}");
        }
    }

    #[test]
    fn what_was_used_before_the_start_is_not_known_and_not_good() {
        let used = UsedProofs::new(MAX_USED, at(START));
        assert_eq!(spend(&used, "a", START - 1, START), FORGOTTEN);
        assert_eq!(spend(&used, "a", START, START), FORGOTTEN);
        assert_eq!(spend(&used, "a", START + 1, START), Ok(()));
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_and_lets_none_of_their_time_in() {
        let used = UsedProofs::new(3, at(START));
        for (name, issued, outcome) in [
            ("a", 1_001, Ok(())),
            ("b", 1_002, Ok(())),
            ("c", 1_003, Ok(())),
            ("late", 1_001, FORGOTTEN),
            ("a", 1_001, USED),
            ("d", 1_004, Ok(())),
            ("a", 1_001, FORGOTTEN),
            ("b", 1_002, USED),
            ("e", 1_003, Ok(())),
            ("b", 1_002, FORGOTTEN),
            ("c", 1_003, USED),
            ("e", 1_003, USED),
        ] {
            assert_eq!(spend(&used, name, issued, 1_005), outcome, "{name} of {issued}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_brings_no_proof_back() {
        let used = UsedProofs::new(MAX_USED, at(START));
        assert_eq!(spend(&used, "a", 1_010, 1_010), Ok(()));
        assert_eq!(spend(&used, "b", 1_090, 1_090), Ok(()));
        assert_eq!(spend(&used, "a", 1_010, 1_020), FORGOTTEN);
    }

    #[test]
    fn no_thread_uses_what_another_has_used() {
        let used = UsedProofs::new(MAX_USED, at(START));
        let good = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| spend(&used, "a", 1_001, 1_001).is_ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|good| *good).count()
        });
        assert_eq!(good, 1);
    }
}
