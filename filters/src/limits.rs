//! Requests per minute and requests at once: what a permit's principal may still do now.
//!
//! They are counted in this process: each node counts for itself. Requests per minute are counted in windows of the clock's
//! minutes, as LiteLLM counts them by default (contract 07), so that a caller may use two minutes' worth around the change
//! of a minute. What must stay true: under any concurrency no more pass in a window than may, none is refused while there
//! is room, and what was taken is given back however a request ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use crate::authn::virtual_key::KeyHash;
use crate::denial::Denial;
use crate::endpoint::Call;
use crate::policy::Permit;
use crate::principal::Limit;

/// Counters of every limit in use.
#[derive(Clone)]
pub struct Limits(Arc<[Mutex<Counters>]>);

/// Apart, so that callers with different limits do not wait for each other.
const PARTS: usize = 64;

#[derive(Default)]
struct Counters {
    counts: HashMap<KeyHash, Count>,
    /// In which minute the idle ones were last dropped.
    swept: u64,
}

#[derive(Default)]
struct Count {
    minute: u64,
    in_minute: u64,
    at_once: u64,
}

/// Capacity held while a request runs; given back when it is dropped.
#[must_use]
#[derive(Default)]
pub struct Reservation(Option<Held>);

struct Held {
    limits: Limits,
    counted_as: SmallVec<[KeyHash; 2]>,
}

/// A limit as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSeen {
    /// Whose it is: `key`, `user`, `team` or `end_user`.
    pub scope: &'static str,
    /// LiteLLM's name for it.
    pub name: &'static str,
    /// How many requests may be.
    pub most: u64,
    /// How many were, or are under way.
    pub used: u64,
}

/// How many limits may be in use. Beyond it a principal with a limit that is not counted yet is refused.
pub const MAX_COUNTED: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self((0..PARTS).map(|_| Mutex::default()).collect())
    }
}

impl Limits {
    /// Takes one request out of each limit of the permit's principal that counts for its model, or out of none.
    ///
    /// # Errors
    /// [`Denial::OverBudget`]; [`Denial::RateLimited`]; [`Denial::Overloaded`] when too many limits are in use.
    pub fn reserve(&self, permit: &Permit, now: SystemTime) -> Result<Reservation, Denial> {
        budget(permit)?;
        let limits = counted(permit);
        if limits.is_empty() { Ok(Reservation::default()) } else { self.take(&limits, now) }
    }

    /// Whether [`Limits::reserve`] would refuse now; nothing is taken. For explanations.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, permit: &Permit, now: SystemTime) -> Result<(), Denial> {
        budget(permit)?;
        let clock = Clock::at(now);
        let limits = counted(permit);
        limits.iter().try_for_each(|limit| self.part(limit.counted_as).check(limit, &clock))
    }

    /// The limits that count for the permit, as they stand; nothing is taken. For explanations.
    #[must_use]
    pub fn look(&self, permit: &Permit, now: SystemTime) -> Vec<LimitSeen> {
        let minute = Clock::at(now).minute;
        let mut seen = Vec::new();
        for limit in counted(permit) {
            let part = self.part(limit.counted_as);
            let count = part.counts.get(&limit.counted_as);
            let in_minute = count.filter(|count| count.minute == minute).map_or(0, |count| count.in_minute);
            let at_once = count.map_or(0, |count| count.at_once);
            for (name, most, used) in [(limit.rpm_name(), limit.rpm, in_minute), (PARALLEL, limit.parallel, at_once)] {
                seen.extend(most.map(|most| LimitSeen { scope: limit.scope, name, most, used }));
            }
        }
        seen
    }

    fn take(&self, limits: &[&Limit], now: SystemTime) -> Result<Reservation, Denial> {
        let clock = Clock::at(now);
        // In the order of the parts, so that two requests never wait for each other in a circle.
        let mut places: SmallVec<[usize; 4]> = limits.iter().map(|limit| place(limit.counted_as)).collect();
        places.sort_unstable();
        places.dedup();
        let mut parts: SmallVec<[MutexGuard<'_, Counters>; 4]> =
            places.iter().map(|place| lock(&self.0[*place])).collect();
        parts.iter_mut().for_each(|part| part.sweep(clock.minute));
        let part_of =
            |limit: &Limit| places.iter().position(|held| *held == place(limit.counted_as)).unwrap_or_default();
        for limit in limits {
            parts[part_of(limit)].check(limit, &clock)?;
        }
        for limit in limits {
            parts[part_of(limit)].take(limit, clock.minute);
        }
        let counted_as = limits.iter().map(|limit| limit.counted_as).collect();
        Ok(Reservation(Some(Held { limits: self.clone(), counted_as })))
    }

    fn part(&self, counted_as: KeyHash) -> MutexGuard<'_, Counters> {
        lock(&self.0[place(counted_as)])
    }
}

/// What was spent is the store's to say; an identity of the operator's own code was asked about it with the rest.
fn budget(permit: &Permit) -> Result<(), Denial> {
    match permit.principal().key() {
        Some(key) if key.spent && !is_answered_here(permit) => Err(Denial::OverBudget("max_budget")),
        _ => Ok(()),
    }
}

/// Lists of models cost nothing and count as nothing.
fn is_answered_here(permit: &Permit) -> bool {
    matches!(permit.operation().endpoint.call, Call::ListModels | Call::RetrieveModel)
}

/// The limits that count for what is permitted.
fn counted(permit: &Permit) -> SmallVec<[&Limit; 4]> {
    if is_answered_here(permit) {
        return SmallVec::new();
    }
    let counts = |limit: &&Limit| limit.model.as_deref().is_none_or(|model| permit.model() == Some(model));
    permit.principal().limits().iter().filter(counts).collect()
}

fn place(counted_as: KeyHash) -> usize {
    usize::from(counted_as.as_bytes()[31]) % PARTS
}

fn lock(part: &Mutex<Counters>) -> MutexGuard<'_, Counters> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time as the windows see it.
struct Clock {
    minute: u64,
    /// Until the next minute.
    rest: Duration,
}

impl Clock {
    fn at(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { minute: seconds / 60, rest: Duration::from_secs(60 - seconds % 60) }
    }
}

impl Counters {
    fn check(&self, limit: &Limit, clock: &Clock) -> Result<(), Denial> {
        let count = self.counts.get(&limit.counted_as);
        let in_minute = count.filter(|count| count.minute == clock.minute).map_or(0, |count| count.in_minute);
        if limit.rpm.is_some_and(|most| in_minute >= most) {
            return Err(Denial::RateLimited { limit: limit.rpm_name(), retry_after: clock.rest });
        }
        let at_once = count.map_or(0, |count| count.at_once);
        if limit.parallel.is_some_and(|most| at_once >= most) {
            return Err(Denial::RateLimited { limit: PARALLEL, retry_after: SOON });
        }
        if count.is_none() && self.counts.len() >= MAX_COUNTED / PARTS {
            return Err(Denial::Overloaded("too many limits are in use"));
        }
        Ok(())
    }

    fn take(&mut self, limit: &Limit, minute: u64) {
        let count = self.counts.entry(limit.counted_as).or_default();
        if count.minute != minute {
            (count.minute, count.in_minute) = (minute, 0);
        }
        count.in_minute += 1;
        count.at_once += 1;
    }

    /// Once a minute, what counts nothing any more goes.
    fn sweep(&mut self, minute: u64) {
        if self.swept != minute {
            self.swept = minute;
            self.counts.retain(|_, count| count.at_once > 0 || count.minute == minute);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(Held { limits, counted_as }) = self.0.take() else { return };
        for counted_as in counted_as {
            if let Some(count) = limits.part(counted_as).counts.get_mut(&counted_as) {
                count.at_once = count.at_once.saturating_sub(1);
            }
        }
    }
}

/// A request under way may end at any time.
const SOON: Duration = Duration::from_secs(1);

const PARALLEL: &str = "max_parallel_requests";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn limit(name: &str, rpm: Option<u64>, parallel: Option<u64>) -> Limit {
        Limit { scope: "key", counted_as: KeyHash::of(name), model: None, rpm, parallel }
    }

    /// Takes one out of each of these.
    fn take(limits: &Limits, of: &[Limit], seconds: u64) -> Result<Reservation, Denial> {
        limits.take(&of.iter().collect::<Vec<_>>(), at(seconds))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn exactly_as_many_pass_as_may_whatever_the_concurrency() {
        let limits = Limits::default();
        let passed: usize = thread::scope(|scope| {
            let tries = || (0..125).filter(|_| take(&limits, &[limit("a", Some(100), None)], 0).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(tries)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn a_sixth_at_once_waits_until_one_ends() {
        let limits = Limits::default();
        let five = [limit("a", None, Some(5))];
        let mut held: Vec<_> = (0..5).map(|_| take(&limits, &five, 0).ok().unwrap()).collect();
        let refused = Denial::RateLimited { limit: "max_parallel_requests", retry_after: SOON };
        assert_eq!(take(&limits, &five, 0).err(), Some(refused));
        held.pop();
        let again = take(&limits, &five, 0);
        assert!(again.is_ok() && take(&limits, &five, 0).is_err());
    }

    #[test]
    fn a_window_ends_with_its_minute() {
        let limits = Limits::default();
        let one = [limit("a", Some(1), None)];
        assert!(take(&limits, &one, 119).is_ok());
        let refused = Denial::RateLimited { limit: "rpm_limit", retry_after: Duration::from_secs(1) };
        assert_eq!(take(&limits, &one, 119).err(), Some(refused));
        assert!(take(&limits, &one, 120).is_ok());
    }

    #[test]
    fn a_refusal_takes_nothing_out_of_the_other_limits() {
        let limits = Limits::default();
        let both = [limit("user", Some(2), None), limit("key", Some(1), None)];
        assert!(take(&limits, &both, 0).is_ok());
        assert!(take(&limits, &both, 0).is_err());
        assert!(take(&limits, &both[..1], 0).is_ok());
        assert!(take(&limits, &both[..1], 0).is_err());
    }

    #[test]
    fn nothing_is_nothing_and_idle_counters_go() {
        let limits = Limits::default();
        for none in [limit("a", Some(0), None), limit("a", None, Some(0))] {
            assert!(take(&limits, &[none], 0).is_err());
        }
        // All of one part: a part is swept when it is used.
        let of_one_part = |n: u8| Limit {
            counted_as: KeyHash::from([n, 0].repeat(16).try_into().unwrap_or([0; 32])),
            ..limit("", Some(1), None)
        };
        let count = || limits.part(of_one_part(0).counted_as).counts.len();
        for n in 0..10 {
            drop(take(&limits, &[of_one_part(n)], 0));
        }
        assert_eq!(count(), 10);
        let kept = take(&limits, &[Limit { parallel: Some(1), ..of_one_part(50) }], 60);
        assert_eq!(count(), 1);
        drop(take(&limits, &[of_one_part(51)], 600));
        assert_eq!(count(), 2, "one that is in use stays");
        drop(kept);
    }

    #[test]
    fn two_limits_are_taken_together_whatever_the_order_they_come_in() {
        let limits = Limits::default();
        let names: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        let of = |order: &[String]| order.iter().map(|name| limit(name, Some(1_000), None)).collect::<Vec<_>>();
        let (up, down) = (of(&names), of(&names.iter().rev().cloned().collect::<Vec<_>>()));
        let passed: usize = thread::scope(|scope| {
            let tries = |own: &[Limit]| (0..500).filter(|_| take(&limits, own, 0).is_ok()).count();
            let threads: Vec<_> =
                [&up, &down, &up, &down].into_iter().map(|own| scope.spawn(move || tries(own))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
