//! A gateway that asks a function, and a provider behind it.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::Provider;
use reqwest::RequestBuilder;

pub(crate) const MASTER: &str = "sk-master-custom-0123456789";
pub(crate) const PROVIDER_KEY: &str = "provider-key-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
}

/// What a configuration says beside what every scene needs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lines<'a> {
    /// In `general_settings`, each with its indent of two.
    pub(crate) general: &'a str,
    /// In `portcullis.custom_auth`, each with its indent of four.
    pub(crate) own: &'a str,
}

impl Scene {
    /// `source` is the file `functions.py`, whose function `decide` is asked.
    pub(crate) async fn new(source: &str, lines: Lines<'_>) -> Self {
        let provider = Provider::start().unwrap();
        let Lines { general, own } = lines;
        let model = |name: &str| {
            format!(
                "  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n      api_base: {}/v1\n      \
                 api_key: {PROVIDER_KEY}\n",
                provider.url()
            )
        };
        let setup = crate::support::gateway(&format!(
            "model_list:\n{}{}general_settings:\n  master_key: {MASTER}\n  custom_auth: functions.decide\n{general}\
             litellm_settings:\n  require_auth_for_metrics_endpoint: false\nportcullis:\n  custom_auth:\n    workers: 2\n{own}",
            model("gpt-4o"),
            model("o3")
        ));
        std::fs::write(setup.directory().join("functions.py"), source).unwrap();
        let gateway = setup.start().await;
        gateway.watch(&provider);
        Self { gateway, provider }
    }

    /// A chat call with this credential.
    pub(crate) fn chat(&self, credential: &str) -> RequestBuilder {
        self.gateway.client_credential(credential);
        let body = r#"{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}"#;
        let request = self.gateway.request(Method::POST, CHAT).bearer_auth(credential);
        request.header("content-type", "application/json").body(body)
    }

    /// Its answer.
    pub(crate) async fn ask(&self, credential: &str) -> Answer {
        self.gateway.send(self.chat(credential)).await
    }

    /// A figure of the metrics page.
    pub(crate) async fn figure(&self, name: &str) -> f64 {
        let page = self.gateway.send(self.gateway.admin_request(Method::GET, "/metrics")).await;
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
        line.parse().unwrap()
    }

    /// Looks at a figure until it is this.
    pub(crate) async fn until(&self, name: &str, wanted: f64) {
        portcullis_bench::within(name, async {
            while (self.figure(name).await - wanted).abs() > f64::EPSILON {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
