//! Tokens that name keys which nobody has: they cost the issuer nothing, and good tokens next to nothing.

use std::time::{Duration, Instant};

use http::Method;
use portcullis_bench::issuer::{Algorithm, Header};
use serde_json::json;
use tokio::time::interval;

use crate::scene::{Lines, MODELS, Scene};

const UNKNOWN: usize = 10_000;
const CLIENTS: usize = 16;
/// Between two requests of one client: together they send 500 a second, which a debug build carries beside other work.
const PACE: Duration = Duration::from_millis(32);

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unknown_keys_cause_at_most_one_fetch_a_cooldown() {
    // Callers are believed when they say where they come from, so that the throttle does not hide the key set.
    let scene = Scene::new(Lines { general: "  trusted_proxy_ranges: [127.0.0.0/8]", ..Lines::default() }).await;
    let good = scene.token(json!({}));
    let alone = good_requests(&scene, &good, 500).await;
    let (claims, header) = (scene.claims(json!({})), scene.issuer.header(Algorithm::ES256));
    let unknown: Vec<String> = (0..UNKNOWN)
        .map(|n| {
            let header = Header { kid: Some(format!("nobody-has-{n}")), ..header.clone() };
            scene.issuer.mint_with(&header, &claims)
        })
        .collect();
    let (started, before) = (Instant::now(), scene.issuer.key_fetches());
    let flood = async {
        let clients = (0..CLIENTS).map(async |client| {
            let mut turns = interval(PACE);
            for n in (client..UNKNOWN).step_by(CLIENTS) {
                turns.tick().await;
                let request = scene.gateway.request(Method::GET, MODELS).bearer_auth(&unknown[n]);
                let from = format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
                let status = scene.gateway.send(request.header("x-forwarded-for", from)).await.status;
                assert_eq!(status, 401);
            }
        });
        futures_util::future::join_all(clients).await
    };
    let (_, beside) = tokio::join!(flood, good_requests(&scene, &good, 2_000));
    let cooldowns = started.elapsed().as_secs() / 10 + 1;
    let fetches = scene.issuer.key_fetches() - before;
    assert!(fetches <= cooldowns, "{fetches} fetches in {cooldowns} cool-downs");
    eprintln!(
        "{UNKNOWN} unknown keys in {:?}: {fetches} fetches; good tokens p50 {:?} -> {:?}, p99 {:?} -> {:?}",
        started.elapsed(),
        alone[alone.len() / 2],
        beside[beside.len() / 2],
        alone[alone.len() * 99 / 100],
        beside[beside.len() * 99 / 100],
    );
    scene.gateway.stop().await;
}

/// So many requests with one token, one after the other; all are let in. How long each took, in order.
async fn good_requests(scene: &Scene, token: &str, count: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let started = Instant::now();
        let request = scene.gateway.request(Method::GET, MODELS).bearer_auth(token);
        assert_eq!(scene.gateway.send(request).await.status, 200);
        times.push(started.elapsed());
    }
    times.sort();
    times
}
