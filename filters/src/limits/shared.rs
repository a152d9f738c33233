//! Counts that nodes have in common: somebody counts for all of them.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::authn::virtual_key::KeyHash;

/// Who counts for all nodes.
pub trait SharedCounters: Send + Sync + 'static {
    /// Takes one request out of each, or out of none of them. Bounded in time. What is taken for somebody who has gone away
    /// meanwhile is given back.
    fn take<'a>(&'a self, asked: &'a [SharedLimit]) -> BoxFuture<'a, Result<Verdict, Unreachable>>;

    /// One passed for which nobody could be asked.
    fn adopt(&self, limit: &SharedLimit);

    /// The tokens that one took, in place of those that were held back for it. For limits that count what is
    /// [under way](SharedLimit::is_under_way).
    fn settle(&self, counted_as: KeyHash, held: u64, tokens: u64);

    /// One is no longer under way, and `held` tokens are no longer held back for it; likewise.
    fn release(&self, counted_as: KeyHash, held: u64);
}

/// What of a limit is counted for all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLimit {
    /// Under which name.
    pub counted_as: KeyHash,
    /// Requests in a minute.
    pub rpm: Option<u64>,
    /// Tokens in a minute.
    pub tpm: Option<u64>,
    /// Requests under way at once.
    pub parallel: Option<u64>,
    /// Tokens that are held back for this request.
    pub tokens: u64,
}

impl SharedLimit {
    /// Whether what is under way counts, or only what has passed.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.tpm.is_some() || self.parallel.is_some()
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is counted everywhere.
    Taken,
    /// It is counted nowhere.
    Refused {
        /// Which of those asked for has no room.
        index: usize,
        /// Of what.
        kind: LimitKind,
        /// When another try makes sense.
        retry_after: Duration,
    },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests in a minute.
    Requests,
    /// Tokens in a minute.
    Tokens,
    /// Requests at once.
    Parallel,
}

/// Nobody counts for all nodes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;
