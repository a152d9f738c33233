//! What calls took, taken over once.

use std::time::SystemTime;

use portcullis::usage::{Caller, UsageRecord};
use portcullis_admin_api::spend::{By, CallQuery, Sum, SumQuery};
use portcullis_admin_api::store::{KeyRow, MemberChange, MemberRole, Rotation, TeamMember, TeamRow, UserRow};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::directory::TeamName;
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
    a_call_is_charged_to_the_user_the_team_and_the_member,
    a_budget_whose_time_is_over_begins_anew_once,
    budgets_of_users_teams_and_members_begin_anew,
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

/// Ann, in the team `t`, who may spend ten dollars each, and two of it Ann in the team.
async fn people(node: &Node) -> (UserRow, TeamRow) {
    let settings = |json: serde_json::Value| json.as_object().unwrap().clone();
    let ten = settings(serde_json::json!({"max_budget": 10, "budget_duration": "1h"}));
    let two = settings(serde_json::json!({"max_budget_in_team": 2, "budget_duration": "1h"}));
    let user = UserRow { settings: ten.clone(), ..crate::users::user("ann") };
    let member = TeamMember { settings: two, ..TeamMember::new("ann".to_owned(), None, MemberRole::User) };
    let team = TeamRow { settings: ten, members: vec![member], ..crate::teams::team("t") };
    let user = node.admin.insert_user(user, audit("created", &row("any"))).await.unwrap();
    (user, node.admin.insert_team(team, audit("created", &row("any"))).await.unwrap())
}

/// What the decision goes by: what Ann, the team and Ann in the team have spent.
async fn known_spend(node: &Node) -> [Cost; 3] {
    let directory = node.store.directory();
    let of = |limits: &Option<std::sync::Arc<[portcullis_filters::principal::Limit]>>| {
        limits.as_ref().unwrap().iter().find_map(|limit| limit.budget).unwrap().spent
    };
    let team = directory.team(TeamName::Id("t")).await.unwrap().unwrap();
    let member = directory.member(&team, "ann").await.unwrap().unwrap();
    [of(&directory.user("ann").await.unwrap().unwrap().limits), of(&team.limits), of(&member.limits)]
}

async fn stored_spend(node: &Node) -> [f64; 3] {
    let (user, team) = (node.admin.user("ann").await.unwrap().unwrap(), node.admin.team("t").await.unwrap().unwrap());
    [user.spend, team.spend, team.members[0].spend]
}

async fn a_call_is_charged_to_the_user_the_team_and_the_member(place: Place) {
    let node = place.node();
    let (user, team) = people(&node).await;
    let key = node.insert(row("a")).await.unwrap().token;
    let for_team = |id: &str, key| {
        let of = record(id, key);
        UsageRecord { caller: Caller { team_id: Some("t".to_owned()), ..of.caller.clone() }, ..of }
    };
    let records = [for_team("1", Some(key)), record("2", None), for_team("3", None)];
    for _ in 0..2 {
        let posted = post(&node, "journal", 1, &records).await;
        let mut cents: Vec<_> =
            posted.iter().map(|posted| (posted.amount.0 / CENT.0, posted.total.0 / CENT.0)).collect();
        cents.sort_unstable();
        assert_eq!(cents, [(1, 1), (2, 2), (2, 2), (3, 3)], "the key, the team and the member, the user");
        assert!(posted.iter().all(|posted| posted.counted_as == posted.now_as));
        assert_eq!(stored_spend(&node).await, [0.03, 0.02, 0.02]);
    }
    assert_eq!(known_spend(&node).await, [3, 2, 2].map(|cents| Cost(cents * CENT.0)));
    // Each is counted under the name that its limits have.
    let names: Vec<_> = post(&node, "journal", 1, &records).await.iter().map(|posted| posted.counted_as).collect();
    let directory = node.store.directory();
    let team_record = directory.team(TeamName::Id("t")).await.unwrap().unwrap();
    let member = directory.member(&team_record, "ann").await.unwrap().unwrap();
    let user_record = directory.user("ann").await.unwrap().unwrap();
    for limits in [&team_record.limits, &member.limits, &user_record.limits] {
        let limits = limits.as_ref().unwrap();
        assert!(limits.iter().all(|limit| limit.budget.is_none() || names.contains(&limit.counted_as)));
    }
    // A write that read before leaves what was spent meanwhile; one that sets it does.
    node.admin.replace_user(user.clone(), audit("updated", &row("any"))).await.unwrap();
    let member = TeamMember { role: MemberRole::Admin, ..team.members[0].clone() };
    let changes = vec![MemberChange::Put(member)];
    node.admin.replace_team(team.clone(), changes, audit("updated", &row("any"))).await.unwrap();
    assert_eq!(stored_spend(&node).await, [0.03, 0.02, 0.02]);
    let set = UserRow { version: 2, spend: 1.0, sets_spend: true, ..user };
    node.admin.replace_user(set, audit("updated", &row("any"))).await.unwrap();
    assert_eq!(known_spend(&node).await[0], Cost(100 * CENT.0), "and it is known at once");
}

async fn budgets_of_users_teams_and_members_begin_anew(place: Place) {
    let node = place.node();
    let (user, team) = people(&node).await;
    let user = UserRow { spend: 3.0, sets_spend: true, budget_reset_at: Some(at(100)), ..user };
    node.admin.replace_user(user, audit("updated", &row("any"))).await.unwrap();
    let member = TeamMember { spend: 1.0, sets_spend: true, budget_reset_at: Some(at(100)), ..team.members[0].clone() };
    let team = TeamRow { spend: 4.0, sets_spend: true, budget_reset_at: Some(at(200)), ..team };
    let changes = vec![MemberChange::Put(member)];
    node.admin.replace_team(team, changes, audit("updated", &row("any"))).await.unwrap();
    assert_eq!(known_spend(&node).await, [300, 400, 100].map(|cents| Cost(cents * CENT.0)));
    assert_eq!(node.store.reset_budgets(at(99)).await.unwrap(), 0);
    let begun = futures_util::future::join_all((0..4).map(|_| node.store.reset_budgets(at(100)))).await;
    assert_eq!(begun.into_iter().map(Result::unwrap).sum::<usize>(), 2, "the user's and the member's, each once");
    assert_eq!(stored_spend(&node).await, [0.0, 4.0, 0.0]);
    assert_eq!(node.store.reset_budgets(at(200)).await.unwrap(), 1);
    assert_eq!(known_spend(&node).await, [Cost(0); 3]);
    let team = node.admin.team("t").await.unwrap().unwrap();
    let hour = std::time::Duration::from_secs(3_600);
    assert_eq!(team.members[0].budget_reset_at, Some(at(100) + hour));
    assert_eq!(team.budget_reset_at, Some(at(200) + hour));
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
