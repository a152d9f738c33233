//! Keycloak gets a new signing key while requests flow, and later loses the old one.

use std::time::{Duration, Instant};

use portcullis_bench::gateway::Gateway;

use crate::load::Load;
use crate::realm::Tokens;
use crate::scene::{COOLDOWN, Scene, is_refused_within, is_served};

/// What a rotation leaves behind.
pub(crate) struct Rotated {
    old_keys: Vec<String>,
    old: Tokens,
    new: Tokens,
}

/// At a gateway that would not look for new keys by itself before all is over.
pub(crate) async fn no_valid_token_is_refused_while_keys_change(scene: &Scene) -> Rotated {
    let realm = &scene.litellm;
    let (gateway, started) = (scene.gateway(Duration::from_secs(3600)).await, Instant::now());
    let old_keys = realm.signing_keys().await;
    let (old, kept_back) = (realm.sign_in().await, realm.sign_in().await);
    let mut load = Load::new(&gateway);
    load.add(&old.access);
    while started.elapsed() <= COOLDOWN {
        load.more(10).await; // keys were fetched at the start, and may be again after this time
    }

    realm.add_signing_key().await;
    let new = realm.sign_in().await;
    assert_ne!(header(&new), header(&old), "rotation: another key signs now");
    load.add(&new.access);
    load.more(100).await;
    is_served("rotation: an old token that was never seen", &gateway, &kept_back.access).await;
    is_served("rotation: a new token", &gateway, &realm.sign_in().await.access).await;
    let statuses = load.stop().await;
    assert!(statuses.iter().all(|status| *status == 200), "rotation: a valid token was refused: {statuses:?}");
    gateway.stop().await;
    Rotated { old_keys, old, new }
}

/// At a gateway that fetches the keys as often as this.
pub(crate) async fn a_key_that_is_gone_counts_no_more(
    scene: &Scene,
    gateway: &Gateway,
    key_set_ttl: Duration,
    Rotated { old_keys, old, new }: Rotated,
) {
    is_served("rotation: a token of the old key", gateway, &old.access).await;
    is_served("rotation: a token of the new key", gateway, &new.access).await;
    for key in &old_keys {
        scene.litellm.remove_key(key).await;
    }
    let bound = key_set_ttl + Duration::from_secs(1);
    is_refused_within("rotation: the old key is gone", gateway, &old.access, bound, "auth_error").await;
    is_served("rotation: the new key stays", gateway, &new.access).await;
}

/// What names the key, in base64url.
fn header(tokens: &Tokens) -> &str {
    tokens.access.split('.').next().unwrap()
}
