//! What a node weighs, idle and with a hundred thousand keys in its cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;

use crate::caller::{Caller, Wanted, shown};
use crate::figures::{mebibytes, say};
use crate::node::{Lines, metric, start, turn};
use crate::scale::{KEYS, fill_sqlite, hot_path, key};

/// What the cached keys may weigh together, as the design has it; a quarter more is a failure, and what is between is for
/// the figures to say.
const BUDGET: u64 = 60 << 20;

/// Connections that the keys come in on.
const CLIENTS: u32 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_cached_keys() {
    let _turn = turn().await;
    let provider = Provider::start().unwrap();
    // Kept beyond the test, however slow the machine: the figure is of keys that are there.
    let lines = Lines { general: "  user_api_key_cache_ttl: 3600", own: "  telemetry:\n    log_level: warn" };
    let node = start("sqlite://{dir}/keys.db", &provider, lines).await;
    say(&format!("memory, idle: {}", mebibytes(node.rss_bytes())));
    fill_sqlite(&node);
    // The same requests for few keys first: what they leave behind in buffers is not the cache's.
    present(&node, |number| 1 + number % 100, 10_000).await;
    hot_path("SQLite", "100 keys cached", &node, &key(1)).await;
    let before = node.rss_bytes();
    let started = Instant::now();
    present(&node, |number| 1 + number, KEYS).await;
    let grown = node.rss_bytes().saturating_sub(before);
    let rate = f64::from(KEYS) / started.elapsed().as_secs_f64();
    let held = cached(&node).await;
    say(&format!("memory, after 10,000 requests of 100 keys: {}", mebibytes(before)));
    say(&format!("memory, after {KEYS} more keys, {rate:.0} a second: {} more, {held} cached", mebibytes(grown)));
    assert!(held >= u64::from(KEYS), "{held} keys are cached");
    assert!(grown <= BUDGET + BUDGET / 4, "{} for {KEYS} keys", mebibytes(grown));
    hot_path("SQLite", "100,000 keys cached", &node, &key(1)).await;
    node.stop().await;
}

/// Asks with so many keys in turn.
async fn present(node: &Gateway, number: fn(u32) -> u32, requests: u32) {
    let next = Arc::new(AtomicU32::new(0));
    let client = |_| {
        let (mut caller, next) = (Caller::new(node.data_addr()), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let request = next.fetch_add(1, Ordering::Relaxed);
                if request >= requests {
                    return;
                }
                let answer = caller.models(&key(number(request))).await;
                assert!(Wanted::Served.fits(&answer), "{}", shown(&answer));
            }
        })
    };
    for client in (0..CLIENTS).map(client).collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

/// How many keys are cached; the cache counts them a moment later.
async fn cached(node: &Gateway) -> u64 {
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut held = 0;
    for _ in 0..50 {
        pace.tick().await;
        held = metric(node, "portcullis_cached_keys").await;
        if held >= u64::from(KEYS) {
            break;
        }
        Caller::new(node.data_addr()).models(&key(1)).await;
    }
    held
}
