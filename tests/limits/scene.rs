//! A gateway before one provider of two models, and keys with limits.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::Provider;
use serde_json::Value;

pub(crate) const MASTER: &str = "sk-master-limits-0123456789";
const CHAT: &str = "/v1/chat/completions";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let provider = Provider::start().unwrap();
        let model = |name: &str| {
            format!(
                "  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{}/v1', api_key: provider-key-0123}}\n",
                provider.url()
            )
        };
        let models = [model("m"), model("n")].concat();
        let config = format!("model_list:\n{models}general_settings:\n  master_key: {MASTER}\n");
        let gateway = crate::support::gateway(&config).start().await;
        gateway.watch(&provider);
        Scene { gateway, provider }
    }

    pub(crate) fn request(&self, key: &str, model: &str) -> reqwest::RequestBuilder {
        let body = format!(r#"{{"model":"{model}"}}"#);
        self.gateway.request(Method::POST, CHAT).bearer_auth(key).header("content-type", "application/json").body(body)
    }

    pub(crate) async fn chat(&self, key: &str, model: &str) -> Answer {
        self.gateway.send(self.request(key, model)).await
    }

    pub(crate) async fn manage(&self, path: &str, body: &Value) -> Value {
        let request = self.gateway.request(Method::POST, path).bearer_auth(MASTER).json(body);
        let answer = self.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.json());
        answer.json()
    }
}

/// Which of the clock's minutes it is.
pub(crate) fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60
}
