//! What is counted, and what passes.

use std::thread;
use std::time::UNIX_EPOCH;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::*;
use crate::principal::Budget;

fn limit(name: &str, rpm: Option<u64>, parallel: Option<u64>) -> Limit {
    Limit { scope: "key", counted_as: KeyHash::of(name), model: None, rpm, tpm: None, parallel, budget: None }
}

fn limits() -> Limits {
    Limits::new(Duration::from_secs(600), None)
}

/// Takes one out of each of these.
fn take(limits: &Limits, of: &[Limit], seconds: u64) -> Result<Reservation, Denial> {
    estimated(limits, of, Estimate::default(), seconds)
}

fn estimated(limits: &Limits, of: &[Limit], estimate: Estimate, seconds: u64) -> Result<Reservation, Denial> {
    limits.take(&of.iter().map(LimitInForce::from).collect::<Vec<_>>(), estimate, at(seconds), 1)
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
        let threads: Vec<_> = [&up, &down, &up, &down].into_iter().map(|own| scope.spawn(move || tries(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 1_000);
}

#[test]
fn what_is_left_is_told_by_the_limit_that_leaves_least() {
    let limits = limits();
    let of = [limit("key", Some(10), Some(9)), Limit { tpm: Some(100), ..limit("team", Some(3), None) }];
    let ten = Estimate { tokens: 10, ..Estimate::default() };
    let mut first = estimated(&limits, &of, ten, 50).ok().unwrap();
    first.settle(25, Cost(0), at(50));
    let second = estimated(&limits, &of, ten, 50).ok().unwrap();
    let reset = Duration::from_secs(10);
    assert_eq!(second.left(), Some(Left { requests: Some((3, 1)), tokens: Some((100, 65)), reset }));
    assert_eq!(take(&limits, &[limit("at once", None, Some(9))], 0).ok().unwrap().left(), None);
    assert_eq!(Reservation::default().left(), None);
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
    [Limit { budget: Some(Budget { most, soft: None, raised: None, spent, version }), ..limit("a", None, None) }]
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
            if at_once {
                held.push(reservation);
            } else {
                reservation.settle(0, cost(3), at(0));
            }
        }
        let refused = call(&limits, &key).err();
        if at_once {
            assert_eq!(refused, limited("max_budget", 1), "nobody is told that the budget is spent before it is");
            held.into_iter().for_each(|mut held| drop(held.settle(0, cost(1), at(0))));
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

#[test]
fn each_node_enforces_its_share_and_at_least_one() {
    let limits = limits();
    limits.nodes_are(3);
    let passed = |of: &[Limit]| {
        let of: Vec<_> = of.iter().map(LimitInForce::from).collect();
        let held: Vec<_> =
            (0..20).filter_map(|_| limits.take(&of, Estimate::default(), at(0), limits.nodes()).ok()).collect();
        held.len()
    };
    assert_eq!(passed(&[limit("ten", Some(10), None)]), 4, "a third, rounded up");
    assert_eq!(passed(&[limit("two", Some(2), None)]), 1);
    assert_eq!(passed(&[limit("none", Some(0), None)]), 0);
    assert_eq!(passed(&[limit("at once", None, Some(5))]), 2);
    limits.nodes_are(0);
    assert_eq!(limits.nodes(), 1, "this one is always there");
}

#[test]
fn a_budget_is_raised_for_a_while_and_says_when_it_is_soft() {
    let limits = limits();
    let of = |version, raised| {
        let [mut limit] = budget(version, 10, 0);
        limit.budget = limit.budget.map(|budget| Budget { soft: Some(cost(5)), raised, ..budget });
        [limit]
    };
    let mut went_over = Vec::new();
    for _ in 0..4 {
        let mut call = call(&limits, &of(1, None)).ok().unwrap();
        went_over.push(call.settle(0, cost(3), at(0)).len());
    }
    assert_eq!(went_over, [0, 1, 0, 0], "once");
    assert!(call(&limits, &of(1, None)).is_err());
    assert!(call(&limits, &of(1, Some((cost(5), at(1))))).is_ok(), "15 until the first second");
    assert!(call(&limits, &of(1, Some((cost(5), at(0))))).is_err());
}

/// Counts for everybody as long as it has a verdict, and takes down what it is told.
#[derive(Default)]
struct Common {
    verdict: Mutex<Option<Verdict>>,
    asked: Mutex<Vec<SharedLimit>>,
    told: Mutex<Vec<String>>,
}

impl Common {
    fn hears(&self, word: String) {
        self.told.lock().unwrap().push(word);
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl SharedCounters for Common {
    fn take<'a>(&'a self, asked: &'a [SharedLimit]) -> BoxFuture<'a, Result<Verdict, Unreachable>> {
        self.asked.lock().unwrap().extend(asked);
        ready(self.verdict.lock().unwrap().ok_or(Unreachable)).boxed()
    }

    fn adopt(&self, limit: &SharedLimit) {
        self.hears(format!("adopt {}", limit.tokens));
    }

    fn settle(&self, _: KeyHash, held: u64, tokens: u64) {
        self.hears(format!("settle {held} {tokens}"));
    }

    fn release(&self, _: KeyHash, held: u64) {
        self.hears(format!("release {held}"));
    }
}

#[test]
fn who_counts_for_all_has_the_last_word_while_they_can_be_reached() {
    let common = Arc::new(Common::default());
    let limits = Limits::new(Duration::from_secs(600), Some(Arc::clone(&common) as Arc<dyn SharedCounters>));
    limits.nodes_are(2);
    let of = [limit("money only", None, None), Limit { tpm: Some(100), ..limit("a", Some(3), None) }];
    let of: Vec<_> = of.iter().map(LimitInForce::from).collect();
    let ten = Estimate { tokens: 10, ..Estimate::default() };
    let says = |verdict| *common.verdict.lock().unwrap() = verdict;
    let take = || limits.take_everywhere(&*common, &of, ten, at(30)).now_or_never().unwrap();

    says(Some(Verdict::Taken));
    let mut first = take().ok().unwrap();
    let asked = *common.asked.lock().unwrap().last().unwrap();
    assert_eq!((asked.rpm, asked.tpm, asked.parallel, asked.tokens), (Some(3), Some(100), None, 10));
    assert_eq!(common.asked.lock().unwrap().len(), 1, "what only the store knows is not asked for");

    let retry_after = Duration::from_secs(7);
    says(Some(Verdict::Refused { index: 0, kind: LimitKind::Requests, retry_after }));
    for _ in 0..5 {
        assert_eq!(take().err(), limited("rpm_limit", 7), "a refusal takes nothing here, or the limit would be full");
    }
    assert_eq!(common.heard(), [""; 0], "and gives nothing back there");

    // Unreachable: the share of one of two nodes is two, and one of them is taken.
    says(None);
    let second = take().ok().unwrap();
    assert_eq!(take().err(), limited("rpm_limit", 30));
    first.settle(25, Cost(0), at(31));
    drop((first, second));
    assert_eq!(common.heard(), ["adopt 10", "settle 10 25", "release 0", "release 10"]);
}
