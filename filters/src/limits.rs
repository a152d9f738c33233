//! Requests per minute and requests at once: what a permit's principal may still do now.
//!
//! Only custom identities carry limits so far. They are counted in this process: each node counts for itself. Requests per
//! minute are counted in windows of the clock's minutes, as LiteLLM counts them by default (contract 07), so that a caller may
//! use two minutes' worth around the change of a minute. What must stay true: under any concurrency no more pass in a window
//! than may, and what was taken is given back however a request ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::authn::virtual_key::KeyHash;
use crate::denial::Denial;
use crate::policy::Permit;
use crate::principal::{Limit, Principal};

/// Counters of every limit in use.
#[derive(Clone, Default)]
pub struct Limits(Arc<Mutex<Counters>>);

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
    counted_as: Vec<KeyHash>,
}

/// A limit as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSeen {
    /// Whose it is: `key`, `user` or `team`.
    pub scope: &'static str,
    /// LiteLLM's name for it.
    pub name: &'static str,
    /// How many requests may be.
    pub most: u64,
    /// How many were, or are under way.
    pub used: u64,
}

/// How many limits may be in use. Beyond it a principal with a limit that is not counted yet is refused.
pub const MAX_COUNTED: usize = 1_000_000;

impl Limits {
    /// Takes one request out of each limit of the permit's principal, or out of none.
    ///
    /// # Errors
    /// [`Denial::RateLimited`]; [`Denial::Overloaded`] when too many limits are in use.
    pub fn reserve(&self, permit: &Permit, now: SystemTime) -> Result<Reservation, Denial> {
        match permit.principal() {
            Principal::Custom(custom) if !custom.limits.is_empty() => self.take(&custom.limits, now),
            Principal::Master | Principal::Key(_) | Principal::Token(_) | Principal::Custom(_) => {
                Ok(Reservation::default())
            }
        }
    }

    /// Whether [`Limits::reserve`] would refuse now; nothing is taken. For explanations.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, permit: &Permit, now: SystemTime) -> Result<(), Denial> {
        let Principal::Custom(custom) = permit.principal() else { return Ok(()) };
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let rest = Duration::from_secs(60 - seconds % 60);
        let counters = self.lock();
        custom.limits.iter().try_for_each(|limit| counters.check(limit, seconds / 60, rest))
    }

    /// The limits of the permit's principal as they stand; nothing is taken. For explanations.
    #[must_use]
    pub fn look(&self, permit: &Permit, now: SystemTime) -> Vec<LimitSeen> {
        let Principal::Custom(custom) = permit.principal() else { return Vec::new() };
        let minute = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 60;
        let counters = self.lock();
        let mut seen = Vec::new();
        for limit in &custom.limits {
            let count = counters.counts.get(&limit.counted_as);
            let in_minute = count.filter(|count| count.minute == minute).map_or(0, |count| count.in_minute);
            let at_once = count.map_or(0, |count| count.at_once);
            for (name, most, used) in
                [("rpm_limit", limit.rpm, in_minute), ("max_parallel_requests", limit.parallel, at_once)]
            {
                seen.extend(most.map(|most| LimitSeen { scope: limit.scope, name, most, used }));
            }
        }
        seen
    }

    fn take(&self, limits: &[Limit], now: SystemTime) -> Result<Reservation, Denial> {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let minute = seconds / 60;
        let mut counters = self.lock();
        counters.sweep(minute);
        for limit in limits {
            counters.check(limit, minute, Duration::from_secs(60 - seconds % 60))?;
        }
        for limit in limits {
            let count = counters.counts.entry(limit.counted_as).or_default();
            count.turn(minute);
            count.in_minute += 1;
            count.at_once += 1;
        }
        let counted_as = limits.iter().map(|limit| limit.counted_as).collect();
        Ok(Reservation(Some(Held { limits: self.clone(), counted_as })))
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn check(&self, limit: &Limit, minute: u64, rest: Duration) -> Result<(), Denial> {
        let Some(count) = self.counts.get(&limit.counted_as) else {
            return match (limit.rpm, limit.parallel) {
                (Some(0), _) => Err(Denial::RateLimited { limit: "rpm_limit", retry_after: rest }),
                (_, Some(0)) => Err(Denial::RateLimited { limit: "max_parallel_requests", retry_after: SOON }),
                _ if self.counts.len() >= MAX_COUNTED => Err(Denial::Overloaded("too many limits are in use")),
                _ => Ok(()),
            };
        };
        let in_minute = if count.minute == minute { count.in_minute } else { 0 };
        if limit.rpm.is_some_and(|most| in_minute >= most) {
            return Err(Denial::RateLimited { limit: "rpm_limit", retry_after: rest });
        }
        if limit.parallel.is_some_and(|most| count.at_once >= most) {
            return Err(Denial::RateLimited { limit: "max_parallel_requests", retry_after: SOON });
        }
        Ok(())
    }

    /// Once a minute, what counts nothing any more goes.
    fn sweep(&mut self, minute: u64) {
        if self.swept != minute {
            self.swept = minute;
            self.counts.retain(|_, count| count.at_once > 0 || count.minute == minute);
        }
    }
}

impl Count {
    fn turn(&mut self, minute: u64) {
        if self.minute != minute {
            self.minute = minute;
            self.in_minute = 0;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(Held { limits, counted_as }) = self.0.take() else { return };
        let mut counters = limits.lock();
        for hash in counted_as {
            if let Some(count) = counters.counts.get_mut(&hash) {
                count.at_once = count.at_once.saturating_sub(1);
            }
        }
    }
}

/// A request under way may end at any time.
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn limit(name: &str, rpm: Option<u64>, parallel: Option<u64>) -> Limit {
        Limit { scope: "key", counted_as: KeyHash::of(name), rpm, parallel }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn exactly_as_many_pass_as_may_whatever_the_concurrency() {
        let limits = Limits::default();
        let passed: usize = thread::scope(|scope| {
            let tries = || (0..125).filter(|_| limits.take(&[limit("a", Some(100), None)], at(0)).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(tries)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn a_sixth_at_once_waits_until_one_ends() {
        let limits = Limits::default();
        let five = [limit("a", None, Some(5))];
        let mut held: Vec<_> = (0..5).map(|_| limits.take(&five, at(0)).ok().unwrap()).collect();
        let refused = Denial::RateLimited { limit: "max_parallel_requests", retry_after: SOON };
        assert_eq!(limits.take(&five, at(0)).err(), Some(refused));
        held.pop();
        let again = limits.take(&five, at(0));
        assert!(again.is_ok() && limits.take(&five, at(0)).is_err());
    }

    #[test]
    fn a_window_ends_with_its_minute() {
        let limits = Limits::default();
        let one = [limit("a", Some(1), None)];
        assert!(limits.take(&one, at(119)).is_ok());
        let refused = Denial::RateLimited { limit: "rpm_limit", retry_after: Duration::from_secs(1) };
        assert_eq!(limits.take(&one, at(119)).err(), Some(refused));
        assert!(limits.take(&one, at(120)).is_ok());
    }

    #[test]
    fn a_refusal_takes_nothing_out_of_the_other_limits() {
        let limits = Limits::default();
        let both = [limit("user", Some(2), None), limit("key", Some(1), None)];
        assert!(limits.take(&both, at(0)).is_ok());
        assert!(limits.take(&both, at(0)).is_err());
        assert!(limits.take(&both[..1], at(0)).is_ok());
        assert!(limits.take(&both[..1], at(0)).is_err());
    }

    #[test]
    fn nothing_is_nothing_and_idle_counters_go() {
        let limits = Limits::default();
        for none in [limit("a", Some(0), None), limit("a", None, Some(0))] {
            assert!(limits.take(&[none], at(0)).is_err());
        }
        for n in 0..10 {
            drop(limits.take(&[limit(&n.to_string(), Some(1), None)], at(0)));
        }
        assert_eq!(limits.lock().counts.len(), 10);
        let kept = limits.take(&[limit("kept", None, Some(1))], at(60));
        assert_eq!(limits.lock().counts.len(), 1);
        drop(limits.take(&[limit("other", None, Some(1))], at(600)));
        assert_eq!(limits.lock().counts.len(), 2, "one that is in use stays");
        drop(kept);
    }
}
