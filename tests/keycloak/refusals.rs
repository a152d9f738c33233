//! What is refused: tokens of another realm, tokens for another service, tokens that are no access tokens, and old ones.

use std::time::Duration;

use portcullis_bench::gateway::Gateway;

use crate::scene::{Scene, chat, is_refused_within, is_served};

pub(crate) async fn tokens_for_somebody_else_are_refused(scene: &Scene, gateway: &Gateway) {
    let own = scene.litellm.sign_in().await;
    is_served("refusals", gateway, &own.access).await;
    let other = scene.litellm.twin("other").await.sign_in().await;
    let elsewhere = scene.litellm.sign_in_elsewhere().await;
    for (what, token) in [
        ("a token of another realm of the same server", &other.access),
        ("a token for another service of the realm", &elsewhere.access),
        ("a refresh token, which Keycloak signs with a secret", &own.refresh),
        ("a token with another signature", &spliced(&own.access, &other.access)),
    ] {
        let answer = chat(gateway, token).await;
        let challenge = answer.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
        assert_eq!(
            (answer.status, answer.json()["error"]["type"].as_str(), challenge),
            (401, Some("auth_error"), Some("Bearer realm=\"portcullis\", error=\"invalid_token\"")),
            "refusals: {what}: {answer:?}"
        );
    }
    is_served("refusals: the own token still", gateway, &own.access).await;
}

pub(crate) async fn a_token_is_refused_when_its_time_is_over(scene: &Scene, gateway: &Gateway) {
    const LIFESPAN: u32 = 2;
    scene.litellm.set_token_lifespan(LIFESPAN).await;
    let token = scene.litellm.sign_in().await.access;
    scene.litellm.set_token_lifespan(300).await;
    // Keycloak counts whole seconds, so the token may have lived for almost one of them when the clock starts here.
    let bound = Duration::from_secs(u64::from(LIFESPAN) + 1);
    is_refused_within("expiry", gateway, &token, bound, "expired_key").await;
}

/// The first token with the signature of the second.
fn spliced(token: &str, other: &str) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}
