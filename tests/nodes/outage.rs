//! PostgreSQL is gone, while requests run or from the start: what was confirmed goes on, what cannot be confirmed waits,
//! and nobody has to do anything when it is back.

use std::time::{Duration, Instant};

use http::Method;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use serde_json::json;
use tokio::time::interval;

use crate::caller::{Caller, UNKNOWN, Wanted, shown};
use crate::figures::{millis, say};
use crate::load::Load;
use crate::node::{Lines, MASTER, SHOWN_ONCE, database, manage, managed, metric, setup, shown_master_key, start, turn};
use crate::support;

/// How long anything may take to come back by itself.
const PATIENCE: Duration = Duration::from_secs(30);

const BLOCKED: Wanted = Wanted::Refused("auth_error");

/// Asks with ever new unknown keys until one is answered as `wanted`; until then they must be answered as `before`.
/// Slow enough for the throttle.
async fn until_unknown(node: &Gateway, before: Wanted, wanted: Wanted) -> Instant {
    let mut caller = Caller::new(node.data_addr());
    let asking = async {
        let mut pace = interval(Duration::from_millis(20));
        loop {
            pace.tick().await;
            let answer = caller.chat(&format!("sk-nobody-has-{}", fresh_number())).await;
            if wanted.fits(&answer) {
                break;
            }
            assert!(before.fits(&answer), "neither {before:?} nor {wanted:?}: {}", shown(&answer));
        }
        Instant::now()
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not {wanted:?} within {PATIENCE:?}"))
}

/// A number that no earlier call returned: an unknown key that was asked before may be remembered.
fn fresh_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

async fn until_readiness_says(node: &Gateway, word: &str) {
    let asking = async {
        let mut pace = interval(Duration::from_millis(20));
        while database(node).await != word {
            pace.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("readiness does not say {word:?}"));
}

/// Until so many answers came from memory alone.
async fn until_stale_answers(node: &Gateway, wanted: u64) {
    let asking = async {
        let mut pace = interval(Duration::from_millis(50));
        while metric(node, "portcullis_stale_answers").await < wanted {
            pace.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("keys are served beyond their time");
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_outlive_a_database_that_dies_under_load() {
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let store = server.database().await;
    // So short that the outage outlives it.
    let lines = Lines { general: "  user_api_key_cache_ttl: 1", ..Lines::default() };
    let one = start(&store, &provider, lines).await;
    let two = start(&store, &provider, lines).await;
    two.watch(&provider);
    let mut caller = Caller::new(two.data_addr());
    let mut keys = vec![MASTER.to_owned()];
    for _ in 0..4 {
        keys.push(one.generate_key(&json!({})).await);
    }
    let (revoked, marker) = (one.generate_key(&json!({})).await, one.generate_key(&json!({})).await);
    for key in keys.iter().chain([&revoked, &marker]) {
        two.client_credential(key);
        assert!(Wanted::Served.fits(&caller.chat(key).await));
    }
    // Writes are heard in their order: once the second is in force over there, the first was heard too, though nobody
    // has asked for its key since.
    managed(&one, "/key/block", json!({"key": revoked})).await;
    managed(&one, "/key/block", json!({"key": marker})).await;
    caller.until(&marker, Wanted::Served, BLOCKED).await;

    let started = Instant::now();
    let load = Load::start(two.data_addr(), &keys, Duration::from_millis(5));
    load.more(200).await;
    let stopping = Instant::now();
    server.stop();
    let stopped = Instant::now();
    let away = until_unknown(&two, UNKNOWN, Wanted::StoreAway).await;
    until_readiness_says(&two, "Not connected").await;
    assert!(Wanted::StoreAway.fits(&caller.chat(&revoked).await), "a key that was heard to be revoked is not served");
    assert!(BLOCKED.fits(&caller.chat(&marker).await), "and neither is one that was seen to be blocked");
    management_says_that_the_store_is_away(&two).await;
    until_stale_answers(&two, keys.len() as u64).await;
    load.more(200).await;
    let restarting = Instant::now();

    server.launch();
    let restarted = Instant::now();
    let back = until_unknown(&two, Wanted::StoreAway, UNKNOWN).await;
    until_readiness_says(&two, "connected").await;
    until_readiness_says(&one, "connected").await;
    let fresh = one.generate_key(&json!({})).await;
    two.client_credential(&fresh);
    assert!(Wanted::Served.fits(&caller.chat(&fresh).await), "new keys work");
    for key in [&revoked, &marker] {
        assert!(BLOCKED.fits(&caller.chat(key).await), "what was revoked stays revoked");
    }
    load.more(200).await;
    let answers = load.stop().await;
    answers.are_all_served();
    say(&format!("outage, known keys before: {}", answers.between(started, stopping)));
    say(&format!("outage, known keys while PostgreSQL is away: {}", answers.between(stopping, restarting)));
    say(&format!("outage, known keys from the restart on: {}", answers.between(restarting, Instant::now())));
    let (noticed, recovered) = (away.saturating_duration_since(stopped), back.saturating_duration_since(restarted));
    say(&format!("outage, PostgreSQL gone to first 503 of an unknown key: {}", millis(noticed)));
    say(&format!("outage, PostgreSQL back to first 401 of an unknown key: {}", millis(recovered)));
    one.stop().await;
    two.stop().await;
}

/// No write is taken, and no question answered from thin air.
async fn management_says_that_the_store_is_away(node: &Gateway) {
    let hash = "0".repeat(64);
    for (path, body) in [
        ("/key/generate", json!({})),
        ("/key/block", json!({"key": hash})),
        ("/key/delete", json!({"keys": [hash]})),
        ("/key/update", json!({"key": hash, "models": []})),
        ("/key/regenerate", json!({"key": hash})),
    ] {
        let answer = manage(node, path, body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.json());
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
        assert_eq!(answer.json()["error"]["type"], "no_db_connection", "{path}");
    }
    for path in ["/key/list", &format!("/key/info?key={hash}")] {
        let answer = node.send(node.request(Method::GET, path).bearer_auth(MASTER)).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_its_database_and_uses_it_when_it_appears() {
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let store = server.database().await;
    server.stop();
    let node = start(&store, &provider, Lines::default()).await;
    let mut caller = Caller::new(node.data_addr());
    let served = caller.chat(MASTER).await;
    assert!(Wanted::Served.fits(&served), "the master key needs no store: {}", shown(&served));
    assert!(Wanted::StoreAway.fits(&caller.chat("sk-nobody-has-this").await));
    assert_eq!(database(&node).await, "Not connected");
    management_says_that_the_store_is_away(&node).await;
    server.launch();
    let restarted = Instant::now();
    let back = until_unknown(&node, Wanted::StoreAway, UNKNOWN).await;
    say(&format!(
        "start without PostgreSQL, its appearance to first 401, migrations included: {}",
        millis(back.saturating_duration_since(restarted))
    ));
    until_readiness_says(&node, "connected").await;
    let key = node.generate_key(&json!({})).await;
    assert!(Wanted::Served.fits(&caller.chat(&key).await));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_is_made_as_soon_as_there_is_a_database_to_keep_it() {
    let _turn = turn().await;
    let server = PostgresServer::start();
    let config = format!("general_settings:\n  database_url: \"{}\"\n", server.database().await);
    server.stop();
    let node = support::gateway(&config).start().await;
    assert!(!node.output().contains(SHOWN_ONCE), "a key that nobody can keep is not shown");
    let mut caller = Caller::new(node.data_addr());
    assert!(Wanted::StoreAway.fits(&caller.models("sk-nobody-has-this").await));
    server.launch();
    node.printed("To choose your own").await;
    let master = shown_master_key(&node.output());
    assert_eq!(node.output().matches(SHOWN_ONCE).count(), 1);
    let made = caller.post("/key/generate", &master, &json!({})).await;
    assert_eq!(made.status, 200, "{}", shown(&made));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_key_outlives_the_database_for_max_stale_and_no_longer() {
    const TTL: Duration = Duration::from_secs(1);
    /// For the machine, between a limit and the next answer.
    const SLACK: Duration = Duration::from_secs(2);
    let general = "  user_api_key_cache_ttl: 1";
    let bounds = [("  cache:\n    max_stale: 0", 0), ("  cache:\n    max_stale: 3", 3)];
    let _turn = turn().await;
    for (own, stale) in bounds {
        let stale = Duration::from_secs(stale);
        let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
        let node = setup(&server.database().await, &provider, Lines { general, own }).start().await;
        let key = node.generate_key(&json!({})).await;
        let mut caller = Caller::new(node.data_addr());
        caller.until(&key, Wanted::Served, Wanted::Served).await;
        let stopping = Instant::now();
        server.stop();
        let gone = Instant::now();
        let ended = caller.until(&key, Wanted::Served, Wanted::StoreAway).await;
        assert!(Wanted::StoreAway.fits(&caller.chat(&key).await));
        assert!(Wanted::Served.fits(&caller.chat(MASTER).await));
        assert!(ended >= stopping + stale, "served {:?} of {stale:?}", ended - stopping);
        assert!(ended <= gone + TTL + stale + SLACK, "served {:?} with {stale:?}", ended - gone);
        let served = ended.saturating_duration_since(gone);
        say(&format!("outage, ttl 1 s and max_stale {stale:?}: a known key was served for {}", millis(served)));
        server.launch();
        caller.until(&key, Wanted::StoreAway, Wanted::Served).await;
        node.stop().await;
    }
}
