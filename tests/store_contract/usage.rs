//! What calls took, taken over once.

use std::time::SystemTime;

use portcullis::usage::{Caller, UsageRecord};
use portcullis_admin_api::spend::{By, CallQuery, Sum, SumQuery};
use portcullis_admin_api::store::{KeyRow, Rotation};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::limits::Posted;
use portcullis_filters::price::Cost;
use portcullis_filters::usage::Usage;

use crate::opened::{Node, Place, at, audit, hash, row};

crate::contract!(
    what_is_posted_twice_counts_once,
    a_key_that_was_rotated_meanwhile_is_charged_under_its_new_hash,
    a_write_leaves_what_was_spent_meanwhile_unless_it_sets_it,
    many_processes_post_at_once,
    kept_calls_are_dropped_in_time,
    a_budget_whose_time_is_over_begins_anew_once,
    sums_and_calls_are_told_apart_as_asked,
    a_provider_that_claims_any_number_holds_nobody_up,
);

const CENT: Cost = Cost(10_000_000_000);

fn record(id: &str, key: Option<KeyHash>) -> UsageRecord {
    UsageRecord {
        id: id.to_owned(),
        began: at(1),
        ended: at(2),
        caller: Caller { id: "x".to_owned(), key, user_id: Some("ann".to_owned()), ..Caller::default() },
        call: "/chat/completions".to_owned(),
        model: "m".to_owned(),
        upstream_model: "u".to_owned(),
        provider: "openai".to_owned(),
        usage: Usage { input: 10, cached: 5, cache_written: 0, output: 20, reasoning: 3 },
        cost: CENT,
        is_estimate: false,
    }
}

async fn post(node: &Node, journal: &str, number: u64, records: &[UsageRecord]) -> Vec<Posted> {
    node.store.post_usage(journal, number, records, true).await.unwrap()
}

async fn spend(node: &Node, key: KeyHash) -> f64 {
    node.admin.key(key).await.unwrap().unwrap().spend
}

async fn what_is_posted_twice_counts_once(place: Place) {
    let node = place.node();
    let (a, b) = (node.insert(row("a")).await.unwrap().token, node.insert(row("b")).await.unwrap().token);
    let records = [
        record("1", Some(a)),
        record("2", Some(a)),
        record("3", Some(b)),
        record("4", None),
        record("5", Some(hash("nobody"))),
    ];
    let expected = |key, cents: u64| Posted {
        counted_as: key,
        now_as: key,
        amount: Cost(cents * CENT.0),
        total: Cost(cents * CENT.0),
    };
    for _ in 0..2 {
        let mut posted = post(&node, "journal", 1, &records).await;
        posted.sort_by_key(|posted| posted.amount);
        assert_eq!(posted, [expected(b, 1), expected(a, 2)]);
        assert_eq!((spend(&node, a).await, spend(&node, b).await), (0.02, 0.01));
    }
    // An older number of the same journal was posted before; another journal counts for itself.
    post(&node, "journal", 2, &records[..1]).await;
    post(&node, "journal", 1, &records[..1]).await;
    assert_eq!(spend(&node, a).await, 0.03);
    post(&node, "other", 1, &records[..1]).await;
    assert_eq!(spend(&node, a).await, 0.04);
    post(&node, "other", 2, &[]).await;
}

async fn a_key_that_was_rotated_meanwhile_is_charged_under_its_new_hash(place: Place) {
    let node = place.node();
    let stored = node.insert(row("old")).await.unwrap();
    let rotation = Rotation {
        old: stored.token,
        row: KeyRow { token: hash("new"), ..stored.clone() },
        grace_until: None,
        replay: None,
    };
    node.admin.rotate_key(rotation, audit("rotated", &stored)).await.unwrap();
    let posted = post(&node, "journal", 1, &[record("1", Some(stored.token))]).await;
    let expected = Posted { counted_as: stored.token, now_as: hash("new"), amount: CENT, total: CENT };
    assert_eq!(posted, [expected]);
    assert_eq!(spend(&node, hash("new")).await, 0.01);
}

async fn a_write_leaves_what_was_spent_meanwhile_unless_it_sets_it(place: Place) {
    let node = place.node();
    let read = node.insert(row("a")).await.unwrap();
    post(&node, "journal", 1, &[record("1", Some(read.token))]).await;
    let blocked = node.replace(KeyRow { blocked: Some(true), ..read.clone() }).await.unwrap();
    assert_eq!(spend(&node, read.token).await, 0.01);
    let rotation =
        Rotation { old: read.token, row: KeyRow { token: hash("b"), ..blocked }, grace_until: None, replay: None };
    let rotated = node.admin.rotate_key(rotation, audit("rotated", &read)).await.unwrap();
    assert_eq!(spend(&node, hash("b")).await, 0.01);
    node.replace(KeyRow { spend: 5.0, sets_spend: true, ..rotated }).await.unwrap();
    assert_eq!(spend(&node, hash("b")).await, 5.0);
}

async fn many_processes_post_at_once(place: Place) {
    let node = place.node();
    let keys: Vec<KeyHash> = (0..20).map(|n| hash(&n.to_string())).collect();
    for n in 0..20 {
        node.insert(row(&n.to_string())).await.unwrap();
    }
    let posts = (0..10_usize).map(|process| {
        let (store, mut keys) = (node.store.clone(), keys.clone());
        tokio::spawn(async move {
            keys.rotate_left(process);
            for number in 1..=5 {
                let each = keys.iter().map(|key| record(&format!("{process}-{number}-{key}"), Some(*key)));
                let records: Vec<_> = each.collect();
                store.post_usage(&process.to_string(), number, &records, false).await.unwrap();
            }
        })
    });
    for post in posts.collect::<Vec<_>>() {
        post.await.unwrap();
    }
    for key in keys {
        assert!((spend(&node, key).await - 0.5).abs() < 1e-9);
    }
}

async fn kept_calls_are_dropped_in_time(place: Place) {
    let node = place.node();
    post(&node, "journal", 1, &[record("1", None)]).await;
    node.store.forget_calls(SystemTime::now()).await.unwrap();
    // Dropped: the same call is kept again, as a new one.
    post(&node, "journal", 2, &[record("1", None)]).await;
    node.store.forget_calls(at(0)).await.unwrap();
}

async fn a_budget_whose_time_is_over_begins_anew_once(place: Place) {
    let node = place.node();
    let settings = serde_json::json!({"max_budget": 1, "budget_duration": "1h"}).as_object().unwrap().clone();
    let limited = KeyRow { spend: 3.0, budget_reset_at: Some(at(100)), settings, ..row("a") };
    let key = node.insert(limited).await.unwrap().token;
    node.insert(KeyRow { spend: 3.0, ..row("b") }).await.unwrap();
    assert_eq!(node.store.reset_budgets(at(99)).await.unwrap(), 0);
    let before = node.find(key).await.unwrap().unwrap().limits.clone().unwrap()[0].budget.unwrap();
    let each = (0..4).map(|_| node.store.reset_budgets(at(100)));
    let begun = futures_util::future::join_all(each).await;
    assert_eq!(begun.into_iter().map(Result::unwrap).sum::<usize>(), 1, "whoever comes at once");
    let after = node.find(key).await.unwrap().unwrap().limits.clone().unwrap()[0].budget.unwrap();
    assert_eq!((before.spent, after.spent), (Cost::from_dollars(3.0), Cost(0)));
    assert!(after.version > before.version, "processes that counted along learn of it");
    let stored = node.admin.key(key).await.unwrap().unwrap();
    assert_eq!(stored.budget_reset_at, Some(at(100) + std::time::Duration::from_secs(3_600)));
    assert_eq!(spend(&node, hash("b")).await, 3.0, "a budget without an end");
}

async fn sums_and_calls_are_told_apart_as_asked(place: Place) {
    let node = place.node();
    let day = std::time::Duration::from_secs(86_400);
    let of = |id: &str, caller: &str, model: &str, at: SystemTime, cents: u64| UsageRecord {
        caller: Caller { id: caller.to_owned(), team_id: Some("t".to_owned()), ..Caller::default() },
        model: model.to_owned(),
        began: at,
        ended: at,
        cost: Cost(cents * CENT.0),
        ..record(id, None)
    };
    let records = [
        of("1", "a", "m", at(0), 1),
        of("2", "a", "n", at(0), 2),
        of("3", "b", "m", at(0) + day, 4),
        of("4", "b", "m", at(0) + day, 8),
    ];
    post(&node, "journal", 1, &records).await;
    let reports = node.store.reports();
    let today = 1_780_000_000 / 86_400;
    let sums = async |query: SumQuery| {
        let found = reports.sums(&SumQuery { limit: 10, ..query }).await.unwrap();
        let shown = |sum: Sum| (sum.day, sum.caller, sum.model, sum.requests, sum.usage.input, sum.cost.0 / CENT.0);
        found.into_iter().map(shown).collect::<Vec<_>>()
    };
    let text = str::to_owned;
    assert_eq!(sums(SumQuery::default()).await, [(0, text(""), text(""), 4, 40, 15)]);
    let by = |by: &[By]| SumQuery { by: by.to_vec(), ..SumQuery::default() };
    assert_eq!(
        sums(by(&[By::Day])).await,
        [(today, text(""), text(""), 2, 20, 3), (today + 1, text(""), text(""), 2, 20, 12)]
    );
    let dearest = SumQuery { dearest_first: true, ..by(&[By::Caller]) };
    assert_eq!(sums(dearest).await, [(0, text("b"), text(""), 2, 20, 12), (0, text("a"), text(""), 2, 20, 3)]);
    let narrowed = SumQuery { caller: Some(text("a")), until: Some(today), ..by(&[By::Model]) };
    assert_eq!(sums(narrowed).await, [(0, text(""), text("m"), 1, 10, 1), (0, text(""), text("n"), 1, 10, 2)]);
    assert_eq!(sums(SumQuery { from: Some(today + 2), ..SumQuery::default() }).await, []);

    let calls = async |query: CallQuery| {
        let found = reports.calls(&CallQuery { limit: 10, ..query }).await.unwrap();
        found.into_iter().map(|call| call.request_id).collect::<Vec<_>>()
    };
    assert_eq!(calls(CallQuery::default()).await, ["4", "3", "2", "1"]);
    assert_eq!(calls(CallQuery { caller: Some(text("a")), offset: 1, ..CallQuery::default() }).await, ["1"]);
    assert_eq!(calls(CallQuery { request_id: Some(text("3")), ..CallQuery::default() }).await, ["3"]);
    assert_eq!(calls(CallQuery { before: Some(at(1)), ..CallQuery::default() }).await, ["2", "1"]);
    let call = reports.calls(&CallQuery { limit: 1, ..CallQuery::default() }).await.unwrap().remove(0);
    assert_eq!(
        (call.began, call.usage, call.cost, &*call.team_id),
        (at(0) + day, records[3].usage, Cost(8 * CENT.0), "t")
    );
}

async fn a_provider_that_claims_any_number_holds_nobody_up(place: Place) {
    let node = place.node();
    let key = node.insert(row("a")).await.unwrap().token;
    let most = u64::from(u32::MAX);
    let usage = Usage { input: most, cached: most, cache_written: most, output: most, reasoning: most };
    for number in 1..=3 {
        let claim = UsageRecord { usage, cost: Cost(u64::MAX), ..record(&number.to_string(), Some(key)) };
        post(&node, "journal", number, &[claim.clone(), UsageRecord { model: "n".to_owned(), ..claim }]).await;
    }
    let found = node.store.reports().sums(&SumQuery { limit: 10, ..SumQuery::default() }).await.unwrap();
    assert!(found[0].requests == 6 && found[0].cost >= Cost(18_000_000_000_000_000_000), "{found:?}");
    post(&node, "journal", 4, &[record("4", Some(key))]).await;
}
