//! A gateway that trusts one issuer, as each test of this binary sets it up.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway, GatewaySetup};
use portcullis_bench::issuer::{Algorithm, Issuer};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

pub(crate) const MASTER: &str = "sk-master-jwt-0123456789";
pub(crate) const AUDIENCE: &str = "litellm";
pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MODELS: &str = "/v1/models";

/// An issuer, a gateway that lets its tokens in, and a provider with the models `gpt-4o` and `o3`.
pub(crate) struct Scene {
    pub(crate) issuer: Issuer,
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
}

/// What a configuration says beside what every scene needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lines<'a> {
    /// In `general_settings`, indented by two.
    pub(crate) general: &'a str,
    /// In `portcullis.jwt`, indented by four.
    pub(crate) jwt: &'a str,
    /// In the entry of the issuer, indented by eight.
    pub(crate) issuer: &'a str,
}

/// The configuration of a scene.
pub(crate) fn setup(issuer: &Issuer, provider: &Provider, lines: Lines<'_>) -> GatewaySetup {
    let model = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n      api_base: {}/v1\n      \
             api_key: provider-key-0123456789\n",
            provider.url()
        )
    };
    let Lines { general, jwt, issuer: entry } = lines;
    let (models, url, keys) = (model("gpt-4o") + &model("o3"), issuer.url(), issuer.key_set_url());
    crate::support::gateway(&format!(
        "model_list:\n{models}general_settings:\n  master_key: {MASTER}\n{general}\nportcullis:\n  jwt:\n{jwt}\n    \
         issuers:\n      - issuer: {url}\n        audiences: [{AUDIENCE}]\n        key_set_url: {keys}\n{entry}\n"
    ))
}

impl Scene {
    pub(crate) async fn new(lines: Lines<'_>) -> Self {
        let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
        let gateway = setup(&issuer, &provider, lines).start().await;
        gateway.watch(&provider);
        Self { issuer, gateway, provider }
    }

    /// Claims that are good for five minutes, with these beside and in place of them; null takes one away.
    pub(crate) fn claims(&self, other: Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": AUDIENCE, "sub": "zhangsan", "iat": now, "exp": now + 300, "jti": "id-1",
        });
        for (name, value) in other.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    /// A token with these claims. Whatever leaks it fails the test.
    pub(crate) fn token(&self, other: Value) -> String {
        self.known(self.issuer.mint(Algorithm::RS256, &self.claims(other)))
    }

    /// Has a credential searched for in all that the gateway says.
    pub(crate) fn known(&self, token: String) -> String {
        self.gateway.client_credential(&token);
        token
    }

    /// A chat with `gpt-4o`.
    pub(crate) async fn chat(&self, token: &str) -> Answer {
        self.chat_with(token, "gpt-4o").await
    }

    pub(crate) async fn chat_with(&self, token: &str, model: &str) -> Answer {
        chat(&self.gateway, token, model).await
    }
}

pub(crate) async fn chat(gateway: &Gateway, token: &str, model: &str) -> Answer {
    let request = gateway.request(Method::POST, CHAT).bearer_auth(token);
    gateway.send(request.header("content-type", "application/json").body(json!({ "model": model }).to_string())).await
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
