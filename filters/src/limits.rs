//! Requests and tokens per minute, requests at once, and money: what a permit's principal may still do now.
//!
//! All is counted in this process: each node counts for itself. Minutes are the clock's, as LiteLLM counts them by default
//! (contract 07), so that a caller may use two minutes' worth around the change of a minute. What must stay true: under any
//! concurrency no more requests pass in a window than may, none is refused while there is room, and what was taken is given
//! back however a request ends.
//!
//! What a request takes of tokens and of money is known at its end only. Until then an estimate is held back, and another
//! request passes while what was used and what is held back together are less than the limit. So a limit is exceeded by one
//! request at most, and by what the estimates of those under way fell short of.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use crate::authn::virtual_key::KeyHash;
use crate::denial::{Denial, LimitName};
use crate::endpoint::Call;
use crate::policy::Permit;
use crate::price::Cost;
use crate::principal::{Budget, Limit, LimitInForce};

/// Counters of every limit in use.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    parts: Box<[Mutex<Counters>]>,
    /// How many minutes money is remembered that nobody spends: longer than anybody goes by a record that is older.
    keep: u64,
}

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
    /// Of the last request, and of `requests`.
    minute: u64,
    requests: u64,
    at_once: u64,
    /// Tokens of the answers that ended in `token_minute`.
    token_minute: u64,
    tokens: u64,
    /// Of the requests under way.
    tokens_held: u64,
    money: Money,
}

#[derive(Default)]
struct Money {
    /// Of the record that said what was spent before; see [`Budget::version`].
    version: i64,
    /// What was spent, as far as is known here.
    spent: Cost,
    /// Of it, what the store does not know yet.
    unposted: Cost,
    /// Of the requests under way.
    held: Cost,
}

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
    counted_as: SmallVec<[KeyHash; 2]>,
    estimate: Estimate,
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
    #[must_use]
    pub fn new(record_age: Duration) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { parts, keep: record_age.as_secs() / 60 + 2 }))
    }

    /// Takes one request out of each limit of the permit's principal that counts for its model, or out of none. `estimate`
    /// is asked only where a limit needs it.
    ///
    /// # Errors
    /// [`Denial::OverBudget`]; [`Denial::RateLimited`]; [`Denial::Overloaded`] when too many limits are in use.
    pub fn reserve(
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
        self.take(&limits, estimate, now)
    }

    /// Whether [`Limits::reserve`] would refuse now; nothing is taken. For explanations.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, permit: &Permit, estimate: impl FnOnce() -> Estimate, now: SystemTime) -> Result<(), Denial> {
        let clock = Clock::at(now);
        let limits = counted(permit);
        let is_free = needs_estimate(&limits) && estimate().is_free;
        limits.iter().try_for_each(|limit| self.part(limit.limit.counted_as).check(limit, is_free, &clock))
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
                (BUDGET, budget.map(|budget| budget.most.dollars()), spent),
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

    fn take(&self, limits: &[LimitInForce<'_>], estimate: Estimate, now: SystemTime) -> Result<Reservation, Denial> {
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
            parts[part_of(limit.limit)].check(limit, estimate.is_free, &clock)?;
        }
        for LimitInForce { limit, .. } in limits {
            parts[part_of(limit)].take(limit, &estimate, clock.minute);
        }
        let counted_as = limits.iter().map(|of| of.limit.counted_as).collect();
        Ok(Reservation(Some(Held { limits: self.clone(), counted_as, estimate })))
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
    fn check(&self, of: &LimitInForce<'_>, is_free: bool, clock: &Clock) -> Result<(), Denial> {
        let LimitInForce { limit, asks_budget } = *of;
        let named = |field| LimitName { scope: limit.scope, field };
        let limited = |field, retry_after| Err(Denial::RateLimited { limit: named(field), retry_after });
        let none = Count::default();
        let known = self.counts.get(&limit.counted_as);
        let count = known.unwrap_or(&none);
        if limit.rpm.is_some_and(|most| count.requests_in(clock.minute) >= most) {
            return limited(limit.rpm_name(), clock.rest);
        }
        if limit.parallel.is_some_and(|most| count.at_once >= most) {
            return limited(PARALLEL, SOON);
        }
        if let Some(most) = limit.tpm {
            let used = count.tokens_in(clock.minute);
            if used >= most {
                return limited(limit.tpm_name(), clock.rest);
            }
            if used.saturating_add(count.tokens_held) >= most {
                return limited(limit.tpm_name(), SOON);
            }
        }
        if let Some(budget) = limit.budget.as_ref().filter(|_| asks_budget && !is_free) {
            let spent = count.money.spent(budget);
            if spent >= budget.most {
                return Err(Denial::OverBudget(named(BUDGET)));
            }
            if spent.plus(count.money.held) >= budget.most {
                return limited(BUDGET, SOON);
            }
        }
        if known.is_none() && self.counts.len() >= MAX_COUNTED / PARTS {
            return Err(Denial::Overloaded("too many limits are in use"));
        }
        Ok(())
    }

    fn take(&mut self, limit: &Limit, estimate: &Estimate, minute: u64) {
        let count = self.counts.entry(limit.counted_as).or_default();
        if count.minute != minute {
            (count.minute, count.requests) = (minute, 0);
        }
        count.requests += 1;
        count.at_once += 1;
        count.tokens_held += estimate.tokens;
        count.money.held = count.money.held.plus(estimate.cost);
        if let Some(budget) = &limit.budget {
            count.money.spent = count.money.spent(budget);
            count.money.version = count.money.version.max(budget.version);
        }
    }

    /// Once a minute, what counts nothing any more goes.
    fn sweep(&mut self, minute: u64, keep: u64) {
        if self.swept != minute {
            self.swept = minute;
            self.counts.retain(|_, count| {
                let money = count.money.version > 0;
                let recent = count.minute.max(count.token_minute) + if money { keep } else { 0 } >= minute;
                count.at_once > 0 || count.money.unposted > Cost(0) || recent
            });
        }
    }
}

impl Count {
    fn requests_in(&self, minute: u64) -> u64 {
        if self.minute == minute { self.requests } else { 0 }
    }

    fn tokens_in(&self, minute: u64) -> u64 {
        if self.token_minute == minute { self.tokens } else { 0 }
    }

    fn give_back(&mut self, estimate: &Estimate) {
        self.tokens_held = self.tokens_held.saturating_sub(estimate.tokens);
        self.money.held = Cost(self.money.held.0.saturating_sub(estimate.cost.0));
    }

    fn settle(&mut self, tokens: u64, cost: Cost, minute: u64) {
        if self.token_minute != minute {
            (self.token_minute, self.tokens) = (minute, 0);
        }
        self.tokens = self.tokens.saturating_add(tokens);
        if self.money.version > 0 {
            self.money.spent = self.money.spent.plus(cost);
            self.money.unposted = self.money.unposted.plus(cost);
        }
    }
}

impl Money {
    /// What was spent, by what is known here and by the record. A newer record was written by somebody who may have set it
    /// to less; in one that is as old, other nodes' spending shows.
    fn spent(&self, budget: &Budget) -> Cost {
        let of_record = budget.spent.plus(self.unposted);
        match budget.version.cmp(&self.version) {
            Ordering::Greater => of_record,
            Ordering::Equal => self.spent.max(of_record),
            // Somebody still goes by what was written over.
            Ordering::Less => self.spent,
        }
    }
}

impl Reservation {
    /// Puts what the request took in the place of the estimate. The request is under way until this is dropped.
    pub fn settle(&mut self, tokens: u64, cost: Cost, now: SystemTime) {
        let Some(held) = &mut self.0 else { return };
        let minute = Clock::at(now).minute;
        let estimate = std::mem::take(&mut held.estimate);
        for counted_as in &held.counted_as {
            if let Some(count) = held.limits.part(*counted_as).counts.get_mut(counted_as) {
                count.give_back(&estimate);
                count.settle(tokens, cost, minute);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for counted_as in &self.counted_as {
            if let Some(count) = self.limits.part(*counted_as).counts.get_mut(counted_as) {
                count.at_once = count.at_once.saturating_sub(1);
                count.give_back(&self.estimate);
            }
        }
    }
}

/// A request under way may end at any time.
const SOON: Duration = Duration::from_secs(1);

const PARALLEL: &str = "max_parallel_requests";
const BUDGET: &str = "max_budget";

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn limit(name: &str, rpm: Option<u64>, parallel: Option<u64>) -> Limit {
        Limit { scope: "key", counted_as: KeyHash::of(name), model: None, rpm, tpm: None, parallel, budget: None }
    }

    fn limits() -> Limits {
        Limits::new(Duration::from_secs(600))
    }

    /// Takes one out of each of these.
    fn take(limits: &Limits, of: &[Limit], seconds: u64) -> Result<Reservation, Denial> {
        estimated(limits, of, Estimate::default(), seconds)
    }

    fn estimated(limits: &Limits, of: &[Limit], estimate: Estimate, seconds: u64) -> Result<Reservation, Denial> {
        limits.take(&of.iter().map(LimitInForce::from).collect::<Vec<_>>(), estimate, at(seconds))
    }

    fn of_key(field: &'static str) -> LimitName {
        LimitName { scope: "key", field }
    }

    fn limited(field: &'static str, seconds: u64) -> Option<Denial> {
        Some(Denial::RateLimited { limit: of_key(field), retry_after: Duration::from_secs(seconds) })
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn exactly_as_many_pass_as_may_whatever_the_concurrency() {
        let limits = limits();
        let passed: usize = thread::scope(|scope| {
            let tries = || (0..125).filter(|_| take(&limits, &[limit("a", Some(100), None)], 0).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(tries)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn a_sixth_at_once_waits_until_one_ends() {
        let limits = limits();
        let five = [limit("a", None, Some(5))];
        let mut held: Vec<_> = (0..5).map(|_| take(&limits, &five, 0).ok().unwrap()).collect();
        assert_eq!(take(&limits, &five, 0).err(), limited("max_parallel_requests", 1));
        held[0].settle(0, Cost(0), at(0));
        assert!(take(&limits, &five, 0).is_err(), "what is settled is under way until its end");
        held.pop();
        let again = take(&limits, &five, 0);
        assert!(again.is_ok() && take(&limits, &five, 0).is_err());
    }

    #[test]
    fn a_window_ends_with_its_minute() {
        let limits = limits();
        let one = [limit("a", Some(1), None)];
        assert!(take(&limits, &one, 119).is_ok());
        assert_eq!(take(&limits, &one, 119).err(), limited("rpm_limit", 1));
        assert!(take(&limits, &one, 120).is_ok());
    }

    #[test]
    fn a_refusal_takes_nothing_out_of_the_other_limits() {
        let limits = limits();
        let both = [limit("user", Some(2), None), limit("key", Some(1), None)];
        assert!(take(&limits, &both, 0).is_ok());
        assert!(take(&limits, &both, 0).is_err());
        assert!(take(&limits, &both[..1], 0).is_ok());
        assert!(take(&limits, &both[..1], 0).is_err());
    }

    #[test]
    fn nothing_is_nothing_and_idle_counters_go() {
        let limits = limits();
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
        let limits = limits();
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

    #[test]
    fn tokens_count_in_the_minute_in_which_an_answer_ends() {
        let limits = limits();
        let key = [Limit { tpm: Some(100), ..limit("a", None, None) }];
        let ask = |seconds| estimated(&limits, &key, Estimate { tokens: 60, ..Estimate::default() }, seconds);
        let (mut first, second) = (ask(0).ok().unwrap(), ask(0).ok().unwrap());
        assert_eq!(ask(0).err(), limited("tpm_limit", 1), "as much is held back; it may be less in a moment");
        first.settle(10, Cost(0), at(50));
        drop(second);
        assert!(ask(50).is_ok(), "what was held back too much is free again");
        ask(50).ok().unwrap().settle(95, Cost(0), at(119));
        assert!(
            ask(60 + 55).is_ok_and(|held| {
                drop(held);
                true
            }),
            "it is the next minute's: 95 of 100"
        );
        ask(110).ok().unwrap().settle(5, Cost(0), at(119));
        assert_eq!(ask(110).err(), limited("tpm_limit", 10));
        assert!(ask(120).is_ok());
        assert!(take(&limits, &[Limit { tpm: Some(0), ..limit("b", None, None) }], 0).is_err());
    }

    const DOLLAR: Cost = Cost(1_000_000_000_000);

    fn budget(version: i64, most: u64, spent: u64) -> [Limit; 1] {
        let [most, spent] = [most, spent].map(|tenths| Cost(tenths * DOLLAR.0 / 10));
        [Limit { budget: Some(Budget { most, spent, version }), ..limit("a", None, None) }]
    }

    fn cost(tenths: u64) -> Cost {
        Cost(tenths * DOLLAR.0 / 10)
    }

    fn call(limits: &Limits, of: &[Limit]) -> Result<Reservation, Denial> {
        estimated(limits, of, Estimate { cost: cost(3), ..Estimate::default() }, 0)
    }

    #[test]
    fn of_a_dollar_four_calls_at_thirty_cents_pass_at_once_or_one_after_another() {
        for at_once in [false, true] {
            let limits = limits();
            let key = budget(1, 10, 0);
            let mut held = Vec::new();
            for _ in 0..4 {
                let mut reservation = call(&limits, &key).ok().unwrap();
                if at_once { held.push(reservation) } else { reservation.settle(0, cost(3), at(0)) }
            }
            let refused = call(&limits, &key).err();
            if at_once {
                assert_eq!(refused, limited("max_budget", 1), "nobody is told that the budget is spent before it is");
                held.into_iter().for_each(|mut held| held.settle(0, cost(1), at(0)));
                assert!(call(&limits, &key).is_ok(), "they cost less than thought");
            } else {
                assert_eq!(refused, Some(Denial::OverBudget(of_key("max_budget"))));
                assert_eq!(estimated(&limits, &key, Estimate { is_free: true, ..Estimate::default() }, 0).err(), None);
            }
        }
    }

    #[test]
    fn what_the_store_says_counts_and_nothing_is_counted_twice_or_forgotten() {
        let limits = limits();
        let spent = |key: &[Limit]| {
            let part = limits.part(key[0].counted_as);
            part.counts[&key[0].counted_as].money.spent(&key[0].budget.unwrap()).0 * 10 / DOLLAR.0
        };
        let key = budget(1, 100, 5);
        call(&limits, &key).ok().unwrap().settle(0, cost(3), at(0));
        call(&limits, &key).ok().unwrap().settle(0, cost(4), at(0));
        assert_eq!(spent(&key), 12);
        // The store took over the first of them, and knows of another node's 20.
        let name = key[0].counted_as;
        limits.posted(&[Posted { counted_as: name, now_as: name, amount: cost(3), total: cost(28) }]);
        assert_eq!(spent(&key), 32);
        // The record is read again: as it was before that, then with a third node's 10.
        assert_eq!(spent(&budget(1, 100, 8)), 32);
        assert_eq!(spent(&budget(1, 100, 38)), 42);
        // It is set to 1 by somebody; what is under way to the store comes on top. An older record says nothing then.
        drop(call(&limits, &budget(2, 100, 1)));
        assert_eq!(spent(&budget(2, 100, 1)), 5);
        drop(call(&limits, &budget(1, 100, 90)));
        assert_eq!(spent(&budget(2, 100, 1)), 5);
    }

    #[test]
    fn money_is_remembered_for_longer_than_a_record_of_it_is_gone_by() {
        let limits = limits();
        let key = budget(1, 10, 0);
        call(&limits, &key).ok().unwrap().settle(0, cost(10), at(0));
        let name = key[0].counted_as;
        let refused = |seconds| take(&limits, &key, seconds).err();
        assert_eq!(refused(86_400), Some(Denial::OverBudget(of_key("max_budget"))), "the store does not know of it");
        limits.posted(&[Posted { counted_as: name, now_as: name, amount: cost(10), total: cost(10) }]);
        let other = Limit { counted_as: name, ..limit("", Some(1), None) };
        let refused = |seconds| {
            limits.part(other.counted_as).sweep(seconds / 60, limits.0.keep);
            take(&limits, &key, seconds).err()
        };
        assert_eq!(refused(600), Some(Denial::OverBudget(of_key("max_budget"))));
        assert_eq!(refused(1_000), None, "by then every record is younger");
    }
}
