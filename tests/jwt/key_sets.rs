//! Key sets over time: rotation, withdrawal, an issuer that is away, slow, or says nonsense, and a reload.

use portcullis_bench::gateway::Signal;
use portcullis_bench::issuer::{Algorithm, Header, Issuer, KeySetAnswer};
use portcullis_bench::provider::{Gate, Provider};
use serde_json::json;

use crate::scene::{Lines, Scene, setup};

/// Sets are fetched every second.
const QUICK: Lines<'_> = Lines { general: "", jwt: "    key_set_ttl: 1\n    refresh_cooldown: 1", issuer: "" };

/// Asks until the answer has this status.
async fn becomes(scene: &Scene, token: &str, status: u16) {
    // Not as fast as it goes: whoever fails a thousand times is throttled.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    let asked = async {
        while scene.chat(token).await.status != status {
            ticks.tick().await;
        }
    };
    portcullis_bench::within(&format!("status {status}"), asked).await;
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_a_withdrawn_one_is_refused() {
    let scene = Scene::new(Lines { jwt: "    refresh_cooldown: 1", ..QUICK }).await;
    let old = scene.token(json!({}));
    assert_eq!(scene.chat(&old).await.status, 200);
    scene.issuer.rotate();
    let new = scene.token(json!({}));
    becomes(&scene, &new, 200).await; // long before the set's own time is over
    assert_eq!(scene.issuer.key_fetches(), 2, "the set is fetched for a key that it lacks");
    assert_eq!(scene.chat(&old).await.status, 200, "the old key is published still");
    scene.issuer.withdraw_old_keys();
    let newest = {
        scene.issuer.rotate();
        scene.token(json!({}))
    };
    becomes(&scene, &newest, 200).await;
    assert_eq!(scene.chat(&old).await.status, 401);
    assert_eq!(scene.chat(&new).await.status, 200);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_new_key_is_found_for_a_token_that_names_none() {
    let scene = Scene::new(Lines { jwt: "    refresh_cooldown: 1", ..QUICK }).await;
    let nameless = |scene: &Scene| {
        let header = Header { kid: None, ..scene.issuer.header(Algorithm::RS256) };
        scene.known(scene.issuer.mint_with(&header, &scene.claims(json!({}))))
    };
    assert_eq!(scene.chat(&nameless(&scene)).await.status, 200);
    scene.issuer.rotate();
    becomes(&scene, &nameless(&scene), 200).await;
    assert_eq!(scene.issuer.key_fetches(), 2, "the set is fetched for a signature that no key of it made");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn an_issuer_that_is_away_stops_nobody_whom_it_let_in_for_a_while() {
    for answer in [
        KeySetAnswer::Status(http::StatusCode::INTERNAL_SERVER_ERROR),
        KeySetAnswer::Status(http::StatusCode::FOUND),
        KeySetAnswer::Garbage,
        KeySetAnswer::Huge(2 << 20),
    ] {
        let scene =
            Scene::new(Lines { jwt: "    key_set_ttl: 1\n    refresh_cooldown: 1\n    max_stale: 3600", ..QUICK })
                .await;
        assert_eq!(scene.chat(&scene.token(json!({}))).await.status, 200);
        scene.issuer.answer_with(answer.clone());
        scene.gateway.printed("a key set cannot be fetched").await;
        let fresh = scene.token(json!({"jti": "id-2"}));
        assert_eq!(scene.chat(&fresh).await.status, 200, "{answer:?}");
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn keys_that_are_too_old_are_not_used() {
    let scene =
        Scene::new(Lines { jwt: "    key_set_ttl: 1\n    refresh_cooldown: 1\n    max_stale: 0", ..QUICK }).await;
    let token = scene.token(json!({}));
    assert_eq!(scene.chat(&token).await.status, 200);
    scene.issuer.answer_with(KeySetAnswer::Garbage);
    becomes(&scene, &token, 503).await;
    let answer = scene.chat(&token).await;
    assert_eq!(answer.json()["error"]["type"], "auth_provider_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    scene.issuer.answer_with(KeySetAnswer::Keys);
    becomes(&scene, &token, 200).await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_starts_without_its_issuer_recovers_by_itself() {
    let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
    issuer.answer_with(KeySetAnswer::Status(http::StatusCode::BAD_GATEWAY));
    let gateway = setup(&issuer, &provider, QUICK).start().await;
    let scene = Scene { issuer, gateway, provider };
    let (token, key) = (scene.token(json!({})), scene.gateway.generate_key(&json!({})).await);
    assert_eq!(scene.chat(&token).await.status, 503);
    assert_eq!(scene.chat(&key).await.status, 200, "keys need no issuer");
    scene.issuer.answer_with(KeySetAnswer::Keys);
    becomes(&scene, &token, 200).await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn requests_that_wait_for_one_key_cause_one_fetch() {
    let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
    let gate = Gate::closed();
    issuer.answer_with(KeySetAnswer::Held(gate.clone()));
    let gateway = setup(&issuer, &provider, Lines::default()).start().await;
    let scene = Scene { issuer, gateway, provider };
    let tokens: Vec<_> = (0..50).map(|n| scene.token(json!({"jti": n.to_string()}))).collect();
    let asked = tokens.iter().map(|token| scene.chat(token));
    let opened = async {
        while scene.issuer.key_fetches() == 0 {
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(asked), opened);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 50);
    assert_eq!(scene.issuer.key_fetches(), 1);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_reload_that_leaves_an_issuer_out_ends_its_tokens() {
    let scene = Scene::new(Lines::default()).await;
    let token = scene.token(json!({}));
    assert_eq!(scene.chat(&token).await.status, 200);
    let path = scene.gateway.config_path();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("audiences: [litellm]", "audiences: [another]")).unwrap();
    scene.gateway.signal(Signal::SIGHUP);
    scene.gateway.printed("the new configuration is in force").await;
    assert_eq!(scene.chat(&token).await.status, 401, "what was verified before does not count");
    assert_eq!(scene.issuer.key_fetches(), 1, "the same key set is not fetched again");
    scene.gateway.stop().await;
}
