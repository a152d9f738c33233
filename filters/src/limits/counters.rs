//! What is counted under one name, and under many.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{BUDGET, Estimate, MAX_COUNTED, PARALLEL, PARTS, SOON};
use crate::authn::virtual_key::KeyHash;
use crate::denial::{Denial, LimitName};
use crate::price::Cost;
use crate::principal::{Budget, Limit, LimitInForce};

#[derive(Default)]
pub(super) struct Counters {
    pub(super) counts: HashMap<KeyHash, Count>,
    /// In which minute the idle ones were last dropped.
    swept: u64,
}

#[derive(Default)]
pub(super) struct Count {
    /// Of the last request, and of `requests`.
    pub(super) minute: u64,
    pub(super) requests: u64,
    pub(super) at_once: u64,
    /// Tokens of the answers that ended in `token_minute`.
    token_minute: u64,
    tokens: u64,
    /// Of the requests under way.
    pub(super) tokens_held: u64,
    pub(super) money: Money,
}

#[derive(Default)]
pub(super) struct Money {
    /// Of the record that said what was spent before; see [`Budget::version`].
    version: i64,
    /// What was spent, as far as is known here.
    pub(super) spent: Cost,
    /// Of it, what the store does not know yet.
    pub(super) unposted: Cost,
    /// Of the requests under way.
    pub(super) held: Cost,
    /// Where its owner wants to be told.
    soft: Option<Cost>,
    /// Whether they were.
    is_told: bool,
}

/// The time as the windows see it.
pub(super) struct Clock {
    now: SystemTime,
    pub(super) minute: u64,
    /// Until the next minute.
    pub(super) rest: Duration,
}

impl Clock {
    pub(super) fn at(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { now, minute: seconds / 60, rest: Duration::from_secs(60 - seconds % 60) }
    }
}

impl Counters {
    /// Whether one more may be taken; of what is counted for itself by each of so many nodes, this one's share.
    pub(super) fn check(&self, of: &LimitInForce<'_>, is_free: bool, clock: &Clock, nodes: u64) -> Result<(), Denial> {
        let share = |most: u64| most.div_ceil(nodes);
        let LimitInForce { limit, asks_budget } = *of;
        let named = |field| LimitName { scope: limit.scope, field };
        let limited = |field, retry_after| Err(Denial::RateLimited { limit: named(field), retry_after });
        let none = Count::default();
        let known = self.counts.get(&limit.counted_as);
        let count = known.unwrap_or(&none);
        if limit.rpm.map(share).is_some_and(|most| count.requests_in(clock.minute) >= most) {
            return limited(limit.rpm_name(), clock.rest);
        }
        if limit.parallel.map(share).is_some_and(|most| count.at_once >= most) {
            return limited(PARALLEL, SOON);
        }
        if let Some(most) = limit.tpm.map(share) {
            let used = count.tokens_in(clock.minute);
            if used >= most {
                return limited(limit.tpm_name(), clock.rest);
            }
            if used.saturating_add(count.tokens_held) >= most {
                return limited(limit.tpm_name(), SOON);
            }
        }
        if let Some(budget) = limit.budget.as_ref().filter(|_| asks_budget && !is_free) {
            let (spent, most) = (count.money.spent(budget), budget.most_at(clock.now));
            if spent >= most {
                return Err(Denial::OverBudget(named(BUDGET)));
            }
            if spent.plus(count.money.held) >= most {
                return limited(BUDGET, SOON);
            }
        }
        if known.is_none() && self.counts.len() >= MAX_COUNTED / PARTS {
            return Err(Denial::Overloaded("too many limits are in use"));
        }
        Ok(())
    }

    pub(super) fn take(&mut self, limit: &Limit, estimate: &Estimate, minute: u64) -> &Count {
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
            count.money.soft = budget.soft;
            count.money.is_told &= budget.soft.is_some_and(|soft| soft <= count.money.spent);
        }
        count
    }

    /// Once a minute, what counts nothing any more goes.
    pub(super) fn sweep(&mut self, minute: u64, keep: u64) {
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
    pub(super) fn requests_in(&self, minute: u64) -> u64 {
        if self.minute == minute { self.requests } else { 0 }
    }

    pub(super) fn tokens_in(&self, minute: u64) -> u64 {
        if self.token_minute == minute { self.tokens } else { 0 }
    }

    pub(super) fn give_back(&mut self, estimate: &Estimate) {
        self.tokens_held = self.tokens_held.saturating_sub(estimate.tokens);
        self.money.held = Cost(self.money.held.0.saturating_sub(estimate.cost.0));
    }

    /// Whether it is this call that goes over the soft budget.
    pub(super) fn settle(&mut self, tokens: u64, cost: Cost, minute: u64) -> bool {
        if self.token_minute != minute {
            (self.token_minute, self.tokens) = (minute, 0);
        }
        self.tokens = self.tokens.saturating_add(tokens);
        if self.money.version == 0 {
            return false;
        }
        self.money.spent = self.money.spent.plus(cost);
        self.money.unposted = self.money.unposted.plus(cost);
        let is_over = self.money.soft.is_some_and(|soft| soft <= self.money.spent);
        is_over && !std::mem::replace(&mut self.money.is_told, is_over)
    }

    /// Takes back a request of this minute that did not pass after all.
    pub(super) fn forget_request(&mut self, minute: u64) {
        if self.minute == minute {
            self.requests = self.requests.saturating_sub(1);
        }
    }
}

impl Money {
    /// What was spent, by what is known here and by the record. A newer record was written by somebody who may have set it
    /// to less; in one that is as old, other nodes' spending shows.
    pub(super) fn spent(&self, budget: &Budget) -> Cost {
        let of_record = budget.spent.plus(self.unposted);
        match budget.version.cmp(&self.version) {
            Ordering::Greater => of_record,
            Ordering::Equal => self.spent.max(of_record),
            // Somebody still goes by what was written over.
            Ordering::Less => self.spent,
        }
    }
}
