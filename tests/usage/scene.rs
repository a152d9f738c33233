//! A gateway before one provider whose models have prices.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::Provider;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

pub(crate) const MASTER: &str = "sk-master-usage-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// What the provider says that each answer took costs: 11 tokens read at a millionth of a dollar, 6 made at two.
pub(crate) const COST: f64 = 0.000_023;

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With more configuration.
    pub(crate) async fn with(more: &str) -> Self {
        let provider = Provider::start().unwrap();
        let gateway = crate::support::gateway(&config(&provider, more)).start().await;
        gateway.watch(&provider);
        Scene { gateway, provider }
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.gateway.send(self.request(path, key, body)).await
    }

    pub(crate) fn request(&self, path: &str, key: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.gateway.request(Method::POST, path).bearer_auth(key).json(body);
        if path.contains("/messages") { request.header("anthropic-version", "2023-06-01") } else { request }
    }

    pub(crate) async fn chat(&self, key: &str) -> Answer {
        self.post(CHAT, key, &json!({"model": "m"})).await
    }

    pub(crate) async fn info(&self, key: &str) -> Value {
        let path = format!("/key/info?key={}", KeyHash::of(key));
        let request = self.gateway.request(Method::GET, &path).bearer_auth(MASTER);
        self.gateway.send(request).await.json()["info"].clone()
    }

    /// Waits until the store says that this was spent, to a billionth of a dollar.
    pub(crate) async fn spent(&self, key: &str, dollars: f64) {
        let mut seen = f64::NAN;
        let spent = async {
            while (seen - dollars).abs() > 1e-9 || seen.is_nan() {
                seen = self.info(key).await["spend"].as_f64().unwrap();
            }
        };
        let in_time = tokio::time::timeout(portcullis_bench::PATIENCE, spent).await;
        assert!(in_time.is_ok(), "{seen} were spent, not {dollars}");
    }

    pub(crate) async fn update(&self, key: &str, change: Value) {
        let mut body = change;
        body["key"] = json!(KeyHash::of(key).to_string());
        let answer = self.post("/key/update", MASTER, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
}

pub(crate) fn config(provider: &Provider, more: &str) -> String {
    let model = |name: &str, vendor: &str, base: &str, info: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: {vendor}/{name}, api_base: '{}{base}', api_key: provider-key-0123}}\n    model_info: {{{info}}}\n",
            provider.url()
        )
    };
    let priced = "input_cost_per_token: 1.0e-6, output_cost_per_token: 2.0e-6";
    let models = [
        model("m", "openai", "/v1", priced),
        model("claude", "anthropic", "", priced),
        model("flash", "gemini", "", priced),
        model("old-azure", "azure", "", "").replace("api_key:", "api_version: 2024-02-01, api_key:"),
        model("azure", "azure", "", "").replace("api_key:", "api_version: 2024-10-21, api_key:"),
        model("free", "openai", "/v1", "input_cost_per_token: 0, output_cost_per_token: 0"),
        model("unpriced", "openai", "/v1", ""),
    ];
    format!("model_list:\n{}general_settings:\n  master_key: {MASTER}\n{more}", models.concat())
}
