//! The deny list: what is written, what this process and others then refuse, and what is forgotten.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use portcullis::store::StoreUrl;
use portcullis_admin_api::store::{AuditQuery, AuditRow, DenialQuery, DenialRow, StoreError};
use portcullis_bench::postgres::PostgresServer;
use portcullis_filters::authn::jwt::deny_list::{Deniable, DeniedClaim, entry_name};
use serde_json::{Value, json};

use crate::opened::{Node, Place, at, eventually, row};

crate::contract!(
    a_denial_comes_back_as_it_was_stored,
    one_of_many_writers_wins,
    what_is_in_force_is_listed,
    the_writing_process_refuses_at_once,
    other_processes_refuse_and_admit_in_turn,
    a_process_that_starts_later_reads_the_whole_list,
    a_denial_that_nobody_announced_is_found,
    a_database_put_back_to_an_earlier_state_is_read_again,
    what_has_ended_is_dropped,
    denials_are_timed,
);

const ISSUER: &str = "https://idp.example/realms/it's";

/// For an hour, of all tokens.
fn denial(claim: DeniedClaim, value: &str) -> DenialRow {
    DenialRow {
        claim,
        issuer: ISSUER.to_owned(),
        value: value.to_owned(),
        issued_until: None,
        until: SystemTime::now() + Duration::from_secs(3600),
        epoch: 0,
        created_at: at(0),
        created_by: Some("default_user_id".to_owned()),
        reason: None,
        allowed_at: None,
    }
}

fn audit(action: &str) -> AuditRow {
    AuditRow {
        action: action.to_owned(),
        object_type: "token".to_owned(),
        object_id: "sub=alice".to_owned(),
        before: Value::Null,
        after: json!({"value": "alice"}),
        ..crate::opened::audit(action, &row(""))
    }
}

impl Node {
    async fn deny(&self, row: DenialRow) -> Result<DenialRow, StoreError> {
        self.admin.put_denial(row, audit("denied")).await
    }

    async fn allow(&self, row: DenialRow) -> DenialRow {
        let row = DenialRow { allowed_at: Some(SystemTime::now()), ..row };
        self.admin.put_denial(row, audit("allowed")).await.unwrap()
    }

    /// Whether a token with this claim, issued at this second or at none, would be refused.
    fn refuses(&self, claim: DeniedClaim, value: &str, issued_at: Option<SystemTime>) -> bool {
        let token = Deniable { names: vec![entry_name(claim, ISSUER, value)], issued_at };
        self.store.deny_list().denies(&token, SystemTime::now())
    }

    async fn loaded(&self) {
        self.store.deny_list_loaded().wait_for(|loaded| *loaded).await.unwrap();
    }
}

use DeniedClaim::{Jti, Sid, Sub};

async fn a_denial_comes_back_as_it_was_stored(place: Place) {
    let node = place.node();
    let strange = "it's \"q\"; DROP TABLE token_denials; -- %_\\ $1 ?1 \u{1F512} 平台 \u{202e}";
    // Years ahead: what ended an hour ago is dropped, and the first sweep of a process comes when it likes.
    let until = at(9) + Duration::from_secs(10 * 365 * 86_400);
    let given = DenialRow {
        value: strange.to_owned(),
        issued_until: Some(at(7)),
        until: until + Duration::from_nanos(999),
        reason: Some(strange.to_owned()),
        ..denial(Sub, "")
    };
    let stored = node.deny(given.clone()).await.unwrap();
    assert_eq!(stored, DenialRow { epoch: 1, until, ..given.clone() }, "what is returned is what is kept");
    assert_eq!(node.admin.denial(Sub, ISSUER, strange).await.unwrap(), Some(stored.clone()));
    for (claim, issuer, value) in [(Jti, ISSUER, strange), (Sub, "", strange), (Sub, ISSUER, "")] {
        assert_eq!(node.admin.denial(claim, issuer, value).await.unwrap(), None);
    }
    let allowed = node.allow(stored.clone()).await;
    assert_eq!((allowed.epoch, allowed.allowed_at.is_some()), (2, true));
    assert_eq!(node.admin.denial(Sub, ISSUER, strange).await.unwrap(), Some(allowed));
    for stale in [given, stored] {
        assert_eq!(node.deny(stale).await, Err(StoreError::Conflict));
    }
    let log = node.admin.audit(&AuditQuery { limit: 10, ..AuditQuery::default() }).await.unwrap();
    let actions: Vec<_> = log.rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["allowed", "denied"], "a refused write leaves no audit row");
}

async fn one_of_many_writers_wins(place: Place) {
    let (node, other) = (place.node(), place.node());
    for round in 0..2 {
        let read = node.admin.denial(Sub, ISSUER, "alice").await.unwrap().map_or(0, |row| row.epoch);
        let writes = (0..16).map(|number| {
            let writer = if number % 2 == 0 { &node } else { &other };
            writer.deny(DenialRow { epoch: read, ..denial(Sub, "alice") })
        });
        let done = futures_util::future::join_all(writes).await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "round {round}: {done:?}");
        assert!(done.iter().all(|done| matches!(done, Ok(_) | Err(StoreError::Conflict))), "{done:?}");
    }
}

async fn what_is_in_force_is_listed(place: Place) {
    let node = place.node();
    node.deny(denial(Jti, "a")).await.unwrap();
    node.deny(denial(Sub, "a")).await.unwrap();
    node.deny(DenialRow { issuer: String::new(), ..denial(Sub, "b") }).await.unwrap();
    let ended = SystemTime::now() - Duration::from_secs(60);
    node.deny(DenialRow { until: ended, ..denial(Sub, "ended") }).await.unwrap();
    let back = node.deny(denial(Sid, "taken back")).await.unwrap();
    node.allow(back).await;
    let all = DenialQuery { claim: None, issuer: None, value: None, now: SystemTime::now(), offset: 0, limit: 10 };
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (all.clone(), vec!["b", "a", "a"], 3),
        (DenialQuery { claim: Some(Sub), ..all.clone() }, vec!["b", "a"], 2),
        (DenialQuery { claim: Some(Sid), ..all.clone() }, vec![], 0),
        (DenialQuery { issuer: some(ISSUER), ..all.clone() }, vec!["a", "a"], 2),
        (DenialQuery { value: some("a"), claim: Some(Jti), ..all.clone() }, vec!["a"], 1),
        (DenialQuery { value: some("ended"), ..all.clone() }, vec![], 0),
        (DenialQuery { value: some("ended"), now: ended - Duration::from_secs(1), ..all.clone() }, vec!["ended"], 1),
        (DenialQuery { offset: 1, limit: 1, ..all }, vec!["a"], 3),
    ];
    for (query, values, total) in cases {
        let page = node.admin.denials(&query).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| row.value.as_str()).collect();
        assert_eq!((found, page.total), (values, total), "{query:?}");
    }
}

async fn the_writing_process_refuses_at_once(place: Place) {
    let node = place.node();
    let second = |seconds| Some(at(0) + Duration::from_secs(seconds));
    for number in 0..20 {
        let value = number.to_string();
        let stored = node.deny(DenialRow { issued_until: second(5), ..denial(Sub, &value) }).await.unwrap();
        let refused = [None, second(4), second(5), second(6)].map(|issued| node.refuses(Sub, &value, issued));
        assert_eq!(refused, [true, true, true, false]);
        assert!(!node.refuses(Jti, &value, None) && !node.refuses(Sub, "other", None));
        let wider = node.deny(DenialRow { issued_until: None, ..stored }).await.unwrap();
        assert!(node.refuses(Sub, &value, second(6)));
        node.allow(wider).await;
        assert!(!node.refuses(Sub, &value, None));
    }
}

async fn other_processes_refuse_and_admit_in_turn(place: Place) {
    let (one, two) = (place.node(), place.node());
    two.loaded().await;
    let mut read = 0;
    for _ in 0..5 {
        let stored = one.deny(DenialRow { epoch: read, ..denial(Sid, "s") }).await.unwrap();
        eventually(async || two.refuses(Sid, "s", None)).await;
        read = one.allow(stored).await.epoch;
        eventually(async || !two.refuses(Sid, "s", None)).await;
    }
}

async fn a_process_that_starts_later_reads_the_whole_list(place: Place) {
    let node = place.node();
    for value in ["first", "taken back"] {
        node.deny(denial(Jti, value)).await.unwrap();
    }
    let back = node.admin.denial(Jti, ISSUER, "taken back").await.unwrap().unwrap();
    node.allow(back).await;
    fill(&place, 12_345).await;
    let late = place.node();
    late.loaded().await;
    assert!(late.refuses(Jti, "first", None) && !late.refuses(Jti, "taken back", None));
    assert!((1..=12_345).all(|n| late.refuses(Jti, &format!("filled {n}"), None)), "page after page");
}

/// Denials for ever, past the store and without an announcement.
async fn fill(place: &Place, count: u32) {
    let (series, until) = match place.url {
        StoreUrl::Sqlite(_) => (
            format!(
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s)"
            ),
            "4102444800000000",
        ),
        StoreUrl::Postgres(_) => (format!("generate_series(1, {count}) AS n"), "to_timestamp(4102444800)"),
    };
    let issuer = ISSUER.replace('\'', "''");
    let insert = format!(
        "INSERT INTO token_denials (claim, issuer, value, until, epoch, created_at)
         SELECT 'jti', '{issuer}', 'filled ' || n, {until}, n + (SELECT epoch FROM change_epoch), {until} FROM {series};
         UPDATE change_epoch SET epoch = epoch + {count};"
    );
    place.execute(&insert).await;
}

async fn a_denial_that_nobody_announced_is_found(place: Place) {
    let node = place.node();
    node.loaded().await;
    fill(&place, 3).await;
    eventually(async || node.refuses(Jti, "filled 3", None)).await;
}

async fn a_database_put_back_to_an_earlier_state_is_read_again(place: Place) {
    let node = place.node();
    for number in 0..5 {
        node.deny(denial(Sub, &number.to_string())).await.unwrap();
    }
    place.execute("DELETE FROM token_denials; UPDATE change_epoch SET epoch = 1").await;
    let other = place.node();
    other.deny(denial(Sub, "after")).await.unwrap();
    if matches!(place.url, StoreUrl::Sqlite(_)) {
        // Nobody is told of a write whose number was there before; the next one that this process makes finds it.
        node.deny(denial(Sub, "own")).await.unwrap();
    }
    eventually(async || node.refuses(Sub, "after", None)).await;
}

async fn what_has_ended_is_dropped(place: Place) {
    let node = place.node();
    let hours = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    node.deny(DenialRow { until: hours(2), ..denial(Sub, "long ago") }).await.unwrap();
    node.deny(DenialRow { until: hours(0), ..denial(Sub, "just now") }).await.unwrap();
    node.deny(denial(Sub, "not yet")).await.unwrap();
    assert!(!node.refuses(Sub, "just now", None) && node.refuses(Sub, "not yet", None));
    let late = place.node();
    late.loaded().await;
    assert_eq!(late.store.deny_list().len(), 1, "what says nothing is not read");
    let kept = async |value: &str| node.admin.denial(Sub, ISSUER, value).await.unwrap().is_some();
    eventually(async || !kept("long ago").await).await;
    assert!(kept("just now").await && kept("not yet").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_outlives_the_database_and_is_read_when_it_comes_back() {
    let server = PostgresServer::start();
    let url = StoreUrl::parse(&server.database().await).unwrap();
    let (node, other) = (Node::open(&url), Node::open(&url));
    node.deny(denial(Sub, "before")).await.unwrap();
    eventually(async || other.refuses(Sub, "before", None)).await;
    server.stop();
    eventually(async || node.admin.ready().await.is_err()).await;
    assert!(matches!(node.deny(denial(Sub, "meanwhile")).await, Err(StoreError::Unavailable(_))));
    assert!(node.refuses(Sub, "before", None) && !node.refuses(Sub, "meanwhile", None));
    let late = Node::open(&url);
    assert!(!*late.store.deny_list_loaded().borrow(), "an absent database says nothing of a token");
    server.launch();
    late.loaded().await;
    assert!(late.refuses(Sub, "before", None));
    eventually(async || node.admin.ready().await.is_ok()).await;
    node.deny(denial(Sub, "after")).await.unwrap();
    eventually(async || other.refuses(Sub, "after", None)).await;
}

/// How long a denial takes to the other process; the bound is the one that is promised for every revocation.
async fn denials_are_timed(place: Place) {
    let (one, two) = (place.node(), place.node());
    two.loaded().await;
    let mut times = Vec::new();
    for trial in 0..40 {
        let value = trial.to_string();
        let denied = async {
            one.deny(denial(Jti, &value)).await.unwrap();
            Instant::now()
        };
        let refused = async {
            eventually(async || two.refuses(Jti, &value, None)).await;
            Instant::now()
        };
        let (denied, refused) = tokio::join!(denied, refused);
        times.push(refused.saturating_duration_since(denied));
    }
    times.sort();
    let (middle, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let kind = if matches!(place.url, StoreUrl::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    let mut out = std::io::stdout();
    writeln!(out, "{kind}: answered denial to refusal in the other process: p50 {middle:?}, p99 {late:?} of 40")
        .unwrap();
    assert!(late <= Duration::from_secs(1), "{times:?}");
}
