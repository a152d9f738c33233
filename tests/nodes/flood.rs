//! Keys that nobody has cached, or nobody has at all, in numbers: what they cost the store, the memory and the others.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portcullis_bench::gateway::Gateway;
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::{MissedTickBehavior, interval};

use crate::caller::{Caller, UNKNOWN, Wanted, shown};
use crate::figures::{Times, say};
use crate::load::Load;
use crate::node::{Lines, metric, setup, start, turn};

const QUERIES: &str = "portcullis_store_queries";

/// Keys stay cached while a test runs, so that every query counted is one that the test made; callers are believed when
/// they say where they come from, so that the throttle does not hide the store from a flood out of many places.
const LINES: Lines = Lines {
    general: "  user_api_key_cache_ttl: 3600\n  trusted_proxy_ranges: [127.0.0.0/8]",
    own: "  cache:\n    unknown_ttl: 600",
};

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_requests_for_one_cold_key_make_one_query() {
    const REQUESTS: usize = 500;
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let store = server.database().await;
    let own = "  store:\n    lookup_timeout: 20\n  cache:\n    unknown_ttl: 600";
    let node = setup(&store, &provider, Lines { own, ..LINES }).start().await;
    let known = node.generate_key(&json!({})).await;
    let (client, connection) = tokio_postgres::connect(&store, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for (key, wanted) in [(known.as_str(), Wanted::Served), ("sk-nobody-has-this", UNKNOWN)] {
        let before = metric(&node, QUERIES).await;
        // The query waits for this lock, so the requests come while it is under way.
        client.batch_execute("BEGIN; LOCK TABLE portcullis.virtual_keys").await.unwrap();
        let sent = Arc::new(Barrier::new(REQUESTS + 1));
        let requests: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let (mut caller, sent, key) = (Caller::new(node.data_addr()), Arc::clone(&sent), key.to_owned());
                tokio::spawn(async move {
                    caller.connect().await;
                    sent.wait().await;
                    caller.models(&key).await
                })
            })
            .collect();
        sent.wait().await;
        until_the_node_is_idle(&node).await;
        client.batch_execute("COMMIT").await.unwrap();
        for request in requests {
            let answer = request.await.unwrap();
            assert!(wanted.fits(&answer), "{}", shown(&answer));
        }
        assert_eq!(metric(&node, QUERIES).await - before, 1);
    }
    node.stop().await;
}

/// Until what was sent has been read: requests that need no store are answered after those before them in the queues.
async fn until_the_node_is_idle(node: &Gateway) {
    let mut caller = Caller::new(node.data_addr());
    for _ in 0..50 {
        assert_eq!(caller.models("not-a-key").await.status, 401);
    }
}

/// Where a flood comes from and how fast.
struct Flood {
    clients: u32,
    /// Between two requests of one client.
    pace: Duration,
    requests: u32,
}

impl Flood {
    /// Asks for `key(n)` from the n-th address, each number once; returns when all are answered as `wanted`.
    async fn run(&self, node: &Gateway, key: fn(u32) -> String, wanted: Wanted) -> Duration {
        let (next, started) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let client = |_| {
            let (mut caller, next) = (Caller::new(node.data_addr()), Arc::clone(&next));
            let (requests, mut ticks) = (self.requests, interval(self.pace));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    ticks.tick().await;
                    caller.come_from(&Ipv4Addr::from(0x0A00_0000 + number).to_string());
                    let answer = caller.models(&key(number)).await;
                    assert!(wanted.fits(&answer), "{}", shown(&answer));
                }
            })
        };
        for client in (0..self.clients).map(client).collect::<Vec<_>>() {
            client.await.unwrap();
        }
        started.elapsed()
    }
}

fn unknown(number: u32) -> String {
    format!("sk-nobody-has-{number}")
}

/// One key, made by its owner's choice in the test below.
fn known(_: u32) -> String {
    "sk-flood-of-good-requests".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unknown_keys_cost_a_query_each_and_good_requests_nothing() {
    const FLOOD: Flood = Flood { clients: 16, pace: Duration::from_millis(32), requests: 10_000 };
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let node = start(&server.database().await, &provider, LINES).await;
    let mut keys = vec![node.generate_key(&json!({"key": known(0)})).await];
    for _ in 0..3 {
        keys.push(node.generate_key(&json!({})).await);
    }
    let load = Load::start(node.data_addr(), &keys, Duration::from_millis(20));
    load.more(100).await;
    let before = Instant::now();
    load.more(1000).await;
    // The same number of requests a second that need no store: what of the latency is the machine's.
    let equal = Instant::now();
    Flood { requests: 2000, ..FLOOD }.run(&node, known, Wanted::Served).await;
    let queries = metric(&node, QUERIES).await;
    let flooded = Instant::now();
    let took = FLOOD.run(&node, unknown, UNKNOWN).await;
    let over = Instant::now();
    assert_eq!(metric(&node, QUERIES).await - queries, u64::from(FLOOD.requests), "one query for each distinct key");
    Flood { requests: 1000, ..FLOOD }.run(&node, unknown, UNKNOWN).await;
    assert_eq!(metric(&node, QUERIES).await - queries, u64::from(FLOOD.requests), "and none for a repeated one");
    assert!(metric(&node, "portcullis_unknown_keys").await <= u64::from(FLOOD.requests));
    assert!(metric(&node, "portcullis_cached_keys").await <= keys.len() as u64);
    let answers = load.stop().await;
    answers.are_all_served();
    let rate = f64::from(FLOOD.requests) / took.as_secs_f64();
    say(&format!("flood, good requests before: {}", answers.between(before, equal)));
    say(&format!("flood, good requests beside as many requests with a known key: {}", answers.between(equal, flooded)));
    say(&format!("flood, good requests beside {rate:.0} unknown keys a second: {}", answers.between(flooded, over)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_fills_no_more_memory_than_it_may_and_pushes_no_good_key_out() {
    const FLOOD: Flood = Flood { clients: 8, pace: Duration::from_millis(1), requests: 3000 };
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let own = "  cache:\n    unknown_ttl: 600\n    max_unknown: 500";
    let node = start(&server.database().await, &provider, Lines { own, ..LINES }).await;
    let good = node.generate_key(&json!({})).await;
    let mut caller = Caller::new(node.data_addr());
    assert!(Wanted::Served.fits(&caller.models(&good).await));
    FLOOD.run(&node, unknown, UNKNOWN).await;
    let (held, queries) = (metric(&node, "portcullis_unknown_keys").await, metric(&node, QUERIES).await);
    assert!((1..=500).contains(&held), "{held} unknown keys are held");
    assert!(Wanted::Served.fits(&caller.models(&good).await));
    assert_eq!(metric(&node, QUERIES).await, queries, "the good key is still cached");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_told_to_wait_and_nobody_else_is() {
    /// What one source may fail before it is told so: see `FailureSettings`.
    const BURST: usize = 1000;
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let node = start(&server.database().await, &provider, LINES).await;
    let (cached, cold) = (node.generate_key(&json!({})).await, node.generate_key(&json!({})).await);
    let mut neighbour = Caller::new(node.data_addr());
    neighbour.come_from("192.0.2.1");
    assert!(Wanted::Served.fits(&neighbour.models(&cached).await));

    let mut guesser = Caller::new(node.data_addr());
    guesser.come_from("192.0.2.1");
    let mut guesses = 0;
    let refused = loop {
        let answer = guesser.models(&format!("sk-guess-{guesses}")).await;
        if !UNKNOWN.fits(&answer) {
            break answer;
        }
        guesses += 1;
        assert!(guesses < 20 * BURST, "nobody stops the guesser");
    };
    assert!(guesses >= BURST, "told to wait after {guesses}");
    assert_eq!(refused.status, 429, "{}", shown(&refused));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let times: Times = {
        let mut times = Times::default();
        for _ in 0..200 {
            let asked = Instant::now();
            assert!(Wanted::Served.fits(&neighbour.models(&cached).await), "a known key passes from the same address");
            times.push(asked.elapsed());
            guesser.models(&format!("sk-guess-again-{}", times.len())).await;
        }
        times
    };
    say(&format!("throttle, known key from the guesser's own address: {times}; told to wait after {guesses} guesses"));
    let mut stranger = Caller::new(node.data_addr());
    stranger.come_from("198.51.100.7");
    assert!(Wanted::Served.fits(&stranger.models(&cold).await), "a cold key passes from another address");
    let queries = metric(&node, QUERIES).await;
    assert!(queries <= guesses as u64 + 250, "{queries} queries for {guesses} guesses");
    node.stop().await;
}
