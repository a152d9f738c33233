//! Somebody signs out at Keycloak, and Keycloak says so to the gateway (OpenID Connect Back-Channel Logout 1.0).

use std::time::{Duration, Instant};

use portcullis_bench::gateway::Gateway;

use crate::scene::{Scene, chat, is_refused_within, is_served};

/// From the end of the logout at Keycloak to the refusal here.
const BOUND: Duration = Duration::from_secs(1);

/// With "Backchannel logout session required".
pub(crate) async fn a_logout_ends_the_tokens_of_its_session(scene: &Scene, gateway: &Gateway) {
    let realm = &scene.litellm;
    realm.set_logout_url(&logout_url(gateway), true).await;
    let (leaving, staying) = (realm.sign_in().await, realm.sign_in().await);
    is_served("logout: before", gateway, &leaving.access).await;
    is_served("logout: before, another session", gateway, &staying.access).await;

    realm.sign_out(&leaving.refresh).await;
    is_refused_within("logout: the session's token", gateway, &leaving.access, BOUND, "auth_error").await;
    is_served("logout: another session of the same user", gateway, &staying.access).await;
    is_served("logout: a new session", gateway, &realm.sign_in().await.access).await;
}

/// Without it: when an administrator ends several sessions at once, Keycloak calls a client once, and with a session's name in it
/// that call would be about one of them only.
pub(crate) async fn a_logout_by_an_administrator_ends_every_token(scene: &Scene, gateway: &Gateway) {
    let realm = &scene.litellm;
    realm.set_logout_url(&logout_url(gateway), false).await;
    let sessions = [realm.sign_in().await, realm.sign_in().await];
    for session in &sessions {
        is_served("logout of all: before", gateway, &session.access).await;
    }

    realm.sign_out_everywhere().await;
    for session in &sessions {
        is_refused_within("logout of all", gateway, &session.access, BOUND, "auth_error").await;
    }
    // Tokens count whole seconds: one that is issued in the second of the logout is taken for an older one.
    let begin = Instant::now();
    while chat(gateway, &realm.sign_in().await.access).await.status != 200 {
        assert!(begin.elapsed() < 2 * BOUND, "logout of all: who signed out may sign in again");
    }
}

fn logout_url(gateway: &Gateway) -> String {
    format!("{}/sso/backchannel-logout", gateway.url())
}
