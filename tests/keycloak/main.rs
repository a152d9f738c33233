//! Tokens of a real Keycloak, and tokens in the shapes of the other identity providers that `docs/` tells about.
//!
//! Keycloak is started by the tests (`scripts/keycloak`, some half a minute). A test that needs it has `real_keycloak` in its name:
//! `scripts/test` leaves it out, and says so, where Keycloak cannot be had.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod article;
mod load;
mod logout;
mod outage;
mod realm;
mod refusals;
mod rotation;
mod scene;
mod shapes;
#[path = "../contract/shell.rs"]
mod shell;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use scene::Scene;

/// How often the gateway of most steps fetches the realm's keys.
const KEY_SET_TTL: Duration = Duration::from_secs(2);

/// One test, because its steps change the one Keycloak that all of them use. The messages of each step begin with its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_keycloak_is_served_from_the_first_token_to_the_logout() {
    let scene = Scene::start();
    article::the_session_works_as_it_is_typed(&scene).await;
    article::the_page_works_as_it_is_typed(&scene).await;
    let gateway = scene.gateway(KEY_SET_TTL).await;
    refusals::tokens_for_somebody_else_are_refused(&scene, &gateway).await;
    refusals::a_token_is_refused_when_its_time_is_over(&scene, &gateway).await;
    let rotated = rotation::no_valid_token_is_refused_while_keys_change(&scene).await;
    rotation::a_key_that_is_gone_counts_no_more(&scene, &gateway, KEY_SET_TTL, rotated).await;
    outage::valid_tokens_go_on_without_keycloak(&scene, &gateway, KEY_SET_TTL).await;
    logout::a_logout_ends_the_tokens_of_its_session(&scene, &gateway).await;
    logout::a_logout_by_an_administrator_ends_every_token(&scene, &gateway).await;
    gateway.stop().await;
}
