//! What the steps share: Keycloak with its realm, a provider, and gateways between them and the test.

use std::time::{Duration, Instant};

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::keycloak::Keycloak;
use portcullis_bench::provider::Provider;
use tokio::task::block_in_place;
use tokio::time::interval;

use crate::realm::Realm;
use crate::support::gateway;

/// What every step asks for.
pub(crate) const CHAT: &str = r#"{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}"#;

pub(crate) const MASTER_KEY: &str = "sk-0a1b2c3d4e5f6789";

/// How often a gateway may fetch the realm's keys for a token with an unknown one.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(1);

/// Everything that runs for all steps.
pub(crate) struct Scene {
    pub(crate) keycloak: Keycloak,
    pub(crate) litellm: Realm,
    pub(crate) provider: Provider,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let keycloak = block_in_place(Keycloak::start);
        let litellm = Realm::first(&keycloak);
        Self { keycloak, litellm, provider: Provider::start().unwrap() }
    }

    /// A gateway that takes the realm's tokens for `litellm`, to the second, and fetches its keys as often as this.
    pub(crate) async fn gateway(&self, key_set_ttl: Duration) -> Gateway {
        let config = format!(
            "general_settings:\n  \
               master_key: {MASTER_KEY}\n\
             {}\
             portcullis:\n  \
               jwt:\n    \
                 key_set_ttl: {}\n    \
                 refresh_cooldown: {}\n    \
                 issuers:\n    \
                 - {{issuer: '{}', audience: litellm, key_set_url: '{}', leeway: 0}}\n",
            self.models(),
            key_set_ttl.as_secs(),
            COOLDOWN.as_secs(),
            self.litellm.issuer(),
            self.litellm.key_set_url(),
        );
        let gateway = gateway(&config).start().await;
        gateway.watch(&self.provider);
        gateway
    }

    /// The part of a configuration that puts the provider behind `gpt-4o`.
    pub(crate) fn models(&self) -> String {
        format!(
            "model_list:\n\
             - model_name: gpt-4o\n  \
               litellm_params: {{model: openai/gpt-4o, api_base: '{}/v1', api_key: sk-the-operators-own}}\n",
            self.provider.url()
        )
    }
}

/// One chat call with this token; from here on it is looked for where credentials must not be.
pub(crate) async fn chat(gateway: &Gateway, token: &str) -> Answer {
    gateway.client_credential(token);
    let request = gateway.request(Method::POST, "/chat/completions").bearer_auth(token);
    gateway.send(request.header("content-type", "application/json").body(CHAT)).await
}

/// Fails unless this token is let in.
pub(crate) async fn is_served(step: &str, gateway: &Gateway, token: &str) {
    let answer = chat(gateway, token).await;
    assert_eq!(answer.status, 200, "{step}: {answer:?}\n{}", gateway.output());
}

/// Fails unless this token is refused within this time, with this word. Asking tells: the clocks of both sides and what lies between
/// them are part of what is measured.
pub(crate) async fn is_refused_within(step: &str, gateway: &Gateway, token: &str, bound: Duration, kind: &str) {
    let (begin, mut ticks) = (Instant::now(), interval(Duration::from_millis(20)));
    loop {
        ticks.tick().await;
        let (answer, elapsed) = (chat(gateway, token).await, begin.elapsed());
        if answer.status != 200 {
            assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (401, Some(kind)), "{step}");
            return;
        }
        assert!(elapsed <= bound, "{step}: still served after {elapsed:?}");
    }
}
