//! Requests and tokens per minute, requests at once, and money: what a permit's principal may still do now.
//!
//! All is counted in this process. Where somebody counts for all nodes ([`SharedCounters`]) they are asked besides; where
//! nobody does, or cannot be reached, each node enforces its share of what is counted in minutes and at once. Minutes are the clock's, as LiteLLM counts them by default
//! (contract 07), so that a caller may use two minutes' worth around the change of a minute. What must stay true: under any
//! concurrency no more requests pass in a window than may, none is refused while there is room, and what was taken is given
//! back however a request ends.
//!
//! What a request takes of tokens and of money is known at its end only. Until then an estimate is held back, and another
//! request passes while what was used and what is held back together are less than the limit. So a limit is exceeded by one
//! request at most, and by what the estimates of those under way fell short of.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use crate::authn::virtual_key::KeyHash;
use crate::denial::{Denial, LimitName};
use crate::endpoint::Call;
use crate::policy::Permit;
use crate::price::Cost;
use crate::principal::{Limit, LimitInForce};

mod counters;
mod shared;

pub use shared::{LimitKind, SharedCounters, SharedLimit, Unreachable, Verdict};

use counters::{Clock, Count, Counters};

/// Counters of every limit in use.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    parts: Box<[Mutex<Counters>]>,
    /// How many minutes money is remembered that nobody spends: longer than anybody goes by a record that is older.
    keep: u64,
    /// Among how many nodes each limit is shared that nobody counts for all of them.
    nodes: AtomicU64,
    shared: Option<Arc<dyn SharedCounters>>,
}

/// Apart, so that callers with different limits do not wait for each other.
const PARTS: usize = 64;

/// What a request is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens, read and made.
    pub tokens: u64,
    /// What they cost.
    pub cost: Cost,
    /// Whether they cost nothing for certain: then no budget is asked (LiteLLM: contract 02, section 6).
    pub is_free: bool,
}

/// Capacity held while a request runs; given back when it is dropped.
#[must_use]
#[derive(Default)]
pub struct Reservation(Option<Held>);

struct Held {
    limits: Limits,
    counted: SmallVec<[Counted; 2]>,
    estimate: Estimate,
    /// In which it was taken.
    minute: u64,
    left: Left,
}

/// What may still be done in this minute, by the limit that leaves least; as far as this node knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// How many requests may be, and how many are left.
    pub requests: Option<(u64, u64)>,
    /// Likewise of tokens, those aside that are held back for requests under way.
    pub tokens: Option<(u64, u64)>,
    /// Until the minute is over.
    pub reset: Duration,
}

impl Left {
    fn narrow(&mut self, limit: &Limit, count: &Count, minute: u64) {
        let least = |known: Option<(u64, u64)>, most: Option<u64>, used: u64| {
            let of = most.map(|most| (most, most.saturating_sub(used)));
            known.into_iter().chain(of).min_by_key(|(_, left)| *left)
        };
        self.requests = least(self.requests, limit.rpm, count.requests_in(minute));
        self.tokens = least(self.tokens, limit.tpm, count.tokens_in(minute).saturating_add(count.tokens_held));
    }
}

#[derive(Clone, Copy)]
struct Counted {
    scope: &'static str,
    counted_as: KeyHash,
    /// Whether who counts for all nodes is told when it ends.
    is_told: bool,
}

/// Money of one counter that the store has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Under which name it was counted.
    pub counted_as: KeyHash,
    /// Under which name it is counted now: a key gets another by its rotation.
    pub now_as: KeyHash,
    /// How much was taken over.
    pub amount: Cost,
    /// What was spent in all, by the store.
    pub total: Cost,
}

/// A limit as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitSeen {
    /// Which.
    pub name: LimitName,
    /// How many requests or tokens, or how many dollars, may be.
    pub most: f64,
    /// How many were, those of requests under way included.
    pub used: f64,
}

/// How many limits may be in use. Beyond it a principal with a limit that is not counted yet is refused.
pub const MAX_COUNTED: usize = 1 << 20;

impl Limits {
    /// Nothing is counted yet. `record_age`: how old a record of what was spent may be that somebody still goes by.
    /// `shared`: who counts for all nodes.
    #[must_use]
    pub fn new(record_age: Duration, shared: Option<Arc<dyn SharedCounters>>) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        let keep = record_age.as_secs() / 60 + 2;
        Self(Arc::new(Inner { parts, keep, nodes: AtomicU64::new(1), shared }))
    }

    /// Learns among how many nodes limits are shared that nobody counts for all of them.
    pub fn nodes_are(&self, nodes: u64) {
        self.0.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// Takes one request out of each limit of the permit that counts for its model, or out of none. `estimate` is asked only
    /// where a limit needs it.
    ///
    /// # Errors
    /// [`Denial::OverBudget`]; [`Denial::RateLimited`]; [`Denial::Overloaded`] when too many limits are in use.
    pub async fn reserve(
        &self,
        permit: &Permit,
        estimate: impl FnOnce() -> Estimate,
        now: SystemTime,
    ) -> Result<Reservation, Denial> {
        let limits = counted(permit);
        if limits.is_empty() {
            return Ok(Reservation::default());
        }
        let estimate = if needs_estimate(&limits) { estimate() } else { Estimate::default() };
        match &self.0.shared {
            // On the heap, or each request would carry the room for a question that few ask.
            Some(shared) if limits.iter().any(|of| is_shared(of.limit)) => {
                Box::pin(self.take_everywhere(&**shared, &limits, estimate, now)).await
            }
            _ => self.take(&limits, estimate, now, self.nodes()),
        }
    }

    /// Takes here what there is room for here, then asks for all nodes. What this node counts by itself is never more than
    /// all count together, so who is refused here need not ask.
    async fn take_everywhere(
        &self,
        shared: &dyn SharedCounters,
        limits: &[LimitInForce<'_>],
        estimate: Estimate,
        now: SystemTime,
    ) -> Result<Reservation, Denial> {
        let mut reservation = self.take(limits, estimate, now, 1)?;
        let common: SmallVec<[&Limit; 4]> = limits.iter().map(|of| of.limit).filter(|limit| is_shared(limit)).collect();
        let asked: SmallVec<[SharedLimit; 4]> = common.iter().map(|limit| shared_part(limit, &estimate)).collect();
        match shared.take(&asked).await {
            Ok(Verdict::Taken) => {
                reservation.tells_of(&asked);
                Ok(reservation)
            }
            Ok(Verdict::Refused { index, kind, retry_after }) => {
                reservation.undo();
                let limit = common.get(index).ok_or(Denial::Overloaded("a limit that nobody asked for is reached"))?;
                let field = match kind {
                    LimitKind::Requests => limit.rpm_name(),
                    LimitKind::Tokens => limit.tpm_name(),
                    LimitKind::Parallel => PARALLEL,
                };
                Err(Denial::RateLimited { limit: LimitName { scope: limit.scope, field }, retry_after })
            }
            Err(Unreachable) => {
                reservation.undo();
                let mut reservation = self.take(limits, estimate, now, self.nodes())?;
                asked.iter().for_each(|limit| shared.adopt(limit));
                reservation.tells_of(&asked);
                Ok(reservation)
            }
        }
    }

    /// Whether [`Limits::reserve`] would refuse now, as far as this node knows; nothing is taken. For explanations.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, permit: &Permit, estimate: impl FnOnce() -> Estimate, now: SystemTime) -> Result<(), Denial> {
        let clock = Clock::at(now);
        let limits = counted(permit);
        let is_free = needs_estimate(&limits) && estimate().is_free;
        let nodes = if self.0.shared.is_some() { 1 } else { self.nodes() };
        limits.iter().try_for_each(|of| self.part(of.limit.counted_as).check(of, is_free, &clock, nodes))
    }

    /// The limits that count for the permit, as they stand; nothing is taken. For explanations.
    #[must_use]
    pub fn look(&self, permit: &Permit, now: SystemTime) -> Vec<LimitSeen> {
        let minute = Clock::at(now).minute;
        let mut seen = Vec::new();
        for LimitInForce { limit, .. } in counted(permit) {
            let part = self.part(limit.counted_as);
            let none = Count::default();
            let count = part.counts.get(&limit.counted_as).unwrap_or(&none);
            let budget = limit.budget.as_ref();
            let spent = budget.map(|budget| count.money.spent(budget).plus(count.money.held).dollars());
            for (field, most, used) in [
                (limit.rpm_name(), limit.rpm.map(|most| most as f64), Some(count.requests_in(minute) as f64)),
                (
                    limit.tpm_name(),
                    limit.tpm.map(|most| most as f64),
                    Some((count.tokens_in(minute) + count.tokens_held) as f64),
                ),
                (PARALLEL, limit.parallel.map(|most| most as f64), Some(count.at_once as f64)),
                (BUDGET, budget.map(|budget| budget.most_at(now).dollars()), spent),
            ] {
                let name = LimitName { scope: limit.scope, field };
                seen.extend(most.zip(used).map(|(most, used)| LimitSeen { name, most, used }));
            }
        }
        seen
    }

    /// Learns what the store says was spent, once it has taken over what was counted here.
    pub fn posted(&self, posted: &[Posted]) {
        for Posted { counted_as, amount, .. } in posted {
            if let Some(count) = self.part(*counted_as).counts.get_mut(counted_as) {
                count.money.unposted = Cost(count.money.unposted.0.saturating_sub(amount.0));
            }
        }
        for Posted { now_as, total, .. } in posted {
            if let Some(Count { money, .. }) = self.part(*now_as).counts.get_mut(now_as) {
                money.spent = total.plus(money.unposted);
            }
        }
    }

    fn nodes(&self) -> u64 {
        self.0.nodes.load(Ordering::Relaxed)
    }

    fn take(
        &self,
        limits: &[LimitInForce<'_>],
        estimate: Estimate,
        now: SystemTime,
        nodes: u64,
    ) -> Result<Reservation, Denial> {
        let clock = Clock::at(now);
        // In the order of the parts, so that two requests never wait for each other in a circle.
        let mut places: SmallVec<[usize; 4]> = limits.iter().map(|of| place(of.limit.counted_as)).collect();
        places.sort_unstable();
        places.dedup();
        let mut parts: SmallVec<[MutexGuard<'_, Counters>; 4]> =
            places.iter().map(|place| lock(&self.0.parts[*place])).collect();
        parts.iter_mut().for_each(|part| part.sweep(clock.minute, self.0.keep));
        let part_of =
            |limit: &Limit| places.iter().position(|held| *held == place(limit.counted_as)).unwrap_or_default();
        for limit in limits {
            parts[part_of(limit.limit)].check(limit, estimate.is_free, &clock, nodes)?;
        }
        let mut left = Left { reset: clock.rest, ..Left::default() };
        for LimitInForce { limit, .. } in limits {
            let count = parts[part_of(limit)].take(limit, &estimate, clock.minute);
            left.narrow(limit, count, clock.minute);
        }
        let counted =
            limits.iter().map(|of| Counted { scope: of.limit.scope, counted_as: of.limit.counted_as, is_told: false });
        let (counted, minute) = (counted.collect(), clock.minute);
        Ok(Reservation(Some(Held { limits: self.clone(), counted, estimate, minute, left })))
    }

    fn part(&self, counted_as: KeyHash) -> MutexGuard<'_, Counters> {
        lock(&self.0.parts[place(counted_as)])
    }
}

/// Lists of models cost nothing and count as nothing.
fn is_answered_here(permit: &Permit) -> bool {
    matches!(permit.operation().endpoint.call, Call::ListModels | Call::RetrieveModel)
}

/// The limits that count for what is permitted.
fn counted(permit: &Permit) -> SmallVec<[LimitInForce<'_>; 4]> {
    if is_answered_here(permit) {
        return SmallVec::new();
    }
    let counts = |of: &LimitInForce<'_>| of.limit.model.as_deref().is_none_or(|model| permit.model() == Some(model));
    permit.limits().filter(counts).collect()
}

fn needs_estimate(limits: &[LimitInForce<'_>]) -> bool {
    limits.iter().any(|of| of.limit.tpm.is_some() || of.limit.budget.is_some())
}

/// Whether it is counted for all nodes, where somebody does: what is spent is the store's to know.
fn is_shared(limit: &Limit) -> bool {
    limit.rpm.is_some() || limit.tpm.is_some() || limit.parallel.is_some()
}

fn shared_part(limit: &Limit, estimate: &Estimate) -> SharedLimit {
    let Limit { counted_as, rpm, tpm, parallel, .. } = *limit;
    SharedLimit { counted_as, rpm, tpm, parallel, tokens: estimate.tokens }
}

fn place(counted_as: KeyHash) -> usize {
    usize::from(counted_as.as_bytes()[31]) % PARTS
}

fn lock(part: &Mutex<Counters>) -> MutexGuard<'_, Counters> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reservation {
    /// Puts what the request took in the place of the estimate; whose soft budget went over with it. The request is under way
    /// until this is dropped.
    pub fn settle(&mut self, tokens: u64, cost: Cost, now: SystemTime) -> SmallVec<[&'static str; 2]> {
        let Some(held) = &mut self.0 else { return SmallVec::new() };
        let minute = Clock::at(now).minute;
        let estimate = std::mem::take(&mut held.estimate);
        let went_over = held.counted.iter().filter(|of| {
            let settled = held.change(of, |count| {
                count.give_back(&estimate);
                count.settle(tokens, cost, minute)
            });
            if let Some(shared) = held.told(of) {
                shared.settle(of.counted_as, estimate.tokens, tokens);
            }
            settled == Some(true)
        });
        went_over.map(|of| of.scope).collect()
    }

    /// What may still be done in this minute; `None`: nothing limits that.
    #[must_use]
    pub fn left(&self) -> Option<Left> {
        self.0.as_ref().map(|held| held.left).filter(|left| left.requests.is_some() || left.tokens.is_some())
    }

    /// From now on who counts for all nodes is told what becomes of it.
    fn tells_of(&mut self, asked: &[SharedLimit]) {
        for of in self.0.iter_mut().flat_map(|held| &mut held.counted) {
            of.is_told = asked.iter().any(|limit| limit.counted_as == of.counted_as && limit.is_under_way());
        }
    }

    /// As if the request had never come.
    fn undo(self) {
        if let Some(held) = &self.0 {
            for of in &held.counted {
                held.change(of, |count| count.forget_request(held.minute));
            }
        }
    }
}

impl Held {
    fn change<T>(&self, of: &Counted, change: impl FnOnce(&mut Count) -> T) -> Option<T> {
        self.limits.part(of.counted_as).counts.get_mut(&of.counted_as).map(change)
    }

    fn told(&self, of: &Counted) -> Option<&Arc<dyn SharedCounters>> {
        self.limits.0.shared.as_ref().filter(|_| of.is_told)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for of in &self.counted {
            self.change(of, |count| {
                count.at_once = count.at_once.saturating_sub(1);
                count.give_back(&self.estimate);
            });
            if let Some(shared) = self.told(of) {
                shared.release(of.counted_as, self.estimate.tokens);
            }
        }
    }
}

/// A request under way may end at any time.
const SOON: Duration = Duration::from_secs(1);

const PARALLEL: &str = "max_parallel_requests";
const BUDGET: &str = "max_budget";

#[cfg(test)]
mod tests;
