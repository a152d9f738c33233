//! Keycloak is stopped under the gateway, is not there when another gateway starts, and comes back.

use std::time::{Duration, Instant};

use http::Method;
use portcullis_bench::gateway::Gateway;
use tokio::task::block_in_place;
use tokio::time::interval;

use crate::scene::{MASTER_KEY, Scene, chat, is_served};

/// How long a gateway that has no keys yet may take to find an issuer that is back.
const RECOVERY: Duration = Duration::from_secs(5);

pub(crate) async fn valid_tokens_go_on_without_keycloak(scene: &Scene, gateway: &Gateway, key_set_ttl: Duration) {
    let (known, unseen) = (scene.litellm.sign_in().await.access, scene.litellm.sign_in().await.access);
    is_served("outage: before", gateway, &known).await;
    block_in_place(|| scene.keycloak.stop());
    // From here on the keys are older than they should be.
    gateway.printed("a key set cannot be fetched").await;
    is_served("outage: a token that was seen before", gateway, &known).await;
    is_served("outage: a token that was never seen", gateway, &unseen).await;

    let late = scene.gateway(key_set_ttl).await;
    let answer = chat(&late, &known).await;
    assert_eq!(
        (answer.status, answer.json()["error"]["type"].as_str(), answer.headers.contains_key("retry-after")),
        (503, Some("auth_provider_unavailable"), true),
        "outage: a start without Keycloak: {answer:?}"
    );
    let models = late.request(Method::GET, "/v1/models").bearer_auth(MASTER_KEY);
    assert_eq!(late.send(models).await.status, 200, "outage: the master key needs no Keycloak");

    block_in_place(|| scene.keycloak.launch());
    recovers(&late, &known).await;
    let fresh = scene.litellm.sign_in().await.access;
    assert_eq!(chat(&late, &fresh).await.status, 200, "outage: a new token at the gateway that waited");
    is_served("outage: a new token", gateway, &fresh).await;
    is_served("outage: a restart changes no keys", gateway, &known).await;
    late.stop().await;
}

async fn recovers(late: &Gateway, token: &str) {
    let (begin, mut ticks) = (Instant::now(), interval(Duration::from_millis(50)));
    loop {
        ticks.tick().await;
        match chat(late, token).await.status {
            200 => return,
            503 => assert!(begin.elapsed() < RECOVERY, "outage: no recovery\n{}", late.output()),
            other => panic!("outage: {other} while the keys are not known"),
        }
    }
}
