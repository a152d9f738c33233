//! A gateway with fake providers behind it, as each test of this binary sets it up.

use portcullis_bench::client::RawConnection;
use portcullis_bench::gateway::{Gateway, GatewaySetup};
use portcullis_bench::provider::Provider;
use serde_json::json;

pub(crate) const MASTER: &str = "sk-master-wire-0123456789";
pub(crate) const PROVIDER_KEY: &str = "provider-key-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// One deployment: the callers' name, `provider/model`, its address, and further lines of `litellm_params`.
pub(crate) fn model(name: &str, model: &str, base: &str, params: &[&str]) -> String {
    let further: String = params.iter().map(|line| format!("      {line}\n")).collect();
    format!(
        "  - model_name: {name}\n    litellm_params:\n      model: {model}\n      api_base: {base}\n      \
         api_key: {PROVIDER_KEY}\n{further}"
    )
}

/// A configuration of these deployments; `rest` goes on in `general_settings`, indented by two.
pub(crate) fn config(models: &[String], rest: &str) -> String {
    format!("model_list:\n{}general_settings:\n  master_key: {MASTER}\n{rest}", models.concat())
}

/// The gateway of this configuration.
pub(crate) fn setup(models: &[String], rest: &str) -> GatewaySetup {
    crate::support::gateway(&config(models, rest))
}

/// A gateway before one provider that serves `m` in each dialect, and a key that may call everything.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
    pub(crate) key: String,
}

impl Scene {
    /// `rest` as in [`config`].
    pub(crate) async fn new(rest: &str) -> Self {
        let provider = Provider::start().unwrap();
        let gateway = setup(&every_dialect(&provider), rest).start().await;
        gateway.watch(&provider);
        let key = gateway.generate_key(&json!({})).await;
        Scene { gateway, provider, key }
    }

    /// A chat call with this key.
    pub(crate) fn chat(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        chat(&self.gateway, &self.key, body)
    }

    /// A new connection to the data listener.
    pub(crate) async fn connection(&self) -> RawConnection {
        RawConnection::open(self.gateway.data_addr()).await
    }
}

/// A chat call with this key.
pub(crate) fn chat(gateway: &Gateway, key: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let request = gateway.request(http::Method::POST, CHAT).bearer_auth(key);
    request.header("content-type", "application/json").body(body)
}

/// `openai`, `azure`, `anthropic` and `gemini`, each a model of its own name at this provider; `m` is a name that OpenAI's
/// upstream does not know it by.
pub(crate) fn every_dialect(provider: &Provider) -> [String; 5] {
    let url = provider.url();
    let openai = format!("{url}/v1");
    [
        model("m", "openai/renamed-by-us", &openai, &[]),
        model("openai", "openai/openai", &openai, &[]),
        model("azure", "azure/azure", &url, &[]),
        model("anthropic", "anthropic/anthropic", &url, &[]),
        model("gemini", "gemini/gemini", &url, &[]),
    ]
}

/// The paths by which each dialect is called for the model of its name, with a body for it and a further header.
pub(crate) const CALLS: [(&str, &str, &str); 4] = [
    (CHAT, r#"{"model":"openai"}"#, "x-nothing"),
    ("/openai/deployments/azure/chat/completions?api-version=1", "{}", "x-nothing"),
    ("/v1/messages", r#"{"model":"anthropic"}"#, "anthropic-version"),
    ("/v1beta/models/gemini:generateContent", "{}", "x-nothing"),
];
