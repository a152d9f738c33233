//! A gateway of a trial: on PostgreSQL, with keys that never leave its cache by themselves.

use std::net::SocketAddr;
use std::path::Path;

use http::Method;
use http::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};

use super::Stage;
use crate::gateway::{Gateway, GatewaySetup};
use crate::load::{Caller, Limit, LoadPlan, Pace};
use crate::message::{Dialect, Shape};
use crate::target::{self, MODEL};
use crate::upstream::LoadProvider;

const MASTER_KEY: &str = "sk-bench-trial-master-90f27d41";
const PROVIDER_KEY: &str = "sk-provider-trial-4b8810c6";

/// A running one.
pub(super) struct Node {
    pub(super) gateway: Gateway,
    pub(super) version: String,
}

/// A provider that takes the key which every [`Node`] has for it.
pub(super) fn provider() -> std::io::Result<LoadProvider> {
    LoadProvider::start(crate::upstream::UpstreamSettings {
        provider_key: PROVIDER_KEY.to_owned(),
        ..Default::default()
    })
}

impl Node {
    /// Starts one of this build on this database.
    pub(super) async fn start(
        stage: &Stage<'_>,
        (binary, events): (&Path, bool),
        upstream: SocketAddr,
        store: &str,
    ) -> anyhow::Result<Self> {
        let log_level = if events { "info" } else { "warn" };
        let configuration = format!(
            "model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n      \
             api_key: {PROVIDER_KEY}\n      api_base: http://{upstream}/v1\n\
             general_settings:\n  master_key: {MASTER_KEY}\n  database_url: \"{store}\"\n  \
             user_api_key_cache_ttl: 86400\n\
             portcullis:\n  threads: 1\n  telemetry:\n    log_level: {log_level}\n"
        );
        let setup = GatewaySetup::new(binary, &configuration).log_to_file().on(stage.cores);
        Ok(Self { gateway: setup.start().await, version: target::version(binary).await? })
    }

    /// Good requests from 20 keys at a constant rate over 16 connections, the keys known to the cache.
    pub(super) async fn good(&self, stage: &Stage<'_>, per_second: f64) -> LoadPlan {
        let mut keys = Vec::new();
        for _ in 0..20 {
            keys.push(self.key(&json!({"models": [MODEL]})).await);
        }
        let plan = self.plan(stage, Caller::Mix(keys.iter().map(|key| Caller::bearer(key)).collect()), per_second);
        for key in keys {
            self.status(&key).await;
        }
        plan
    }

    /// A load at a constant rate.
    pub(super) fn plan(&self, stage: &Stage<'_>, caller: Caller, per_second: f64) -> LoadPlan {
        LoadPlan {
            connections: 16,
            pace: Pace::Open { per_second },
            warm_up: stage.measured.mul_f64(0.25),
            limit: Limit::For(stage.measured),
            ..LoadPlan::new(self.gateway.data_addr(), Shape::new(Dialect::OpenAiChat, false, 1024, MODEL), caller)
        }
    }

    /// A new key.
    pub(super) async fn key(&self, request: &Value) -> String {
        self.gateway.generate_key(request).await
    }

    /// A management request, which must succeed.
    pub(super) async fn manage(&self, path: &str, body: &Value) {
        let request = self.gateway.request(Method::POST, path).bearer_auth(MASTER_KEY).json(body);
        let answer = self.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    }

    /// The status of one chat request with this key.
    pub(super) async fn status(&self, key: &str) -> u16 {
        let bearer = HeaderValue::try_from(format!("Bearer {key}")).expect("a printable key");
        let body = json!({"messages": [{"role": "user", "content": "hello"}], "model": MODEL});
        let request = self.gateway.request(Method::POST, "/v1/chat/completions").header(AUTHORIZATION, bearer);
        self.gateway.send(request.json(&body)).await.status
    }

    /// Whether it serves this model: whether a configuration with it is in force.
    pub(super) async fn serves(&self, model: &str) -> bool {
        let request = self.gateway.request(Method::GET, "/v1/models").bearer_auth(MASTER_KEY);
        let models = self.gateway.send(request).await.json();
        models["data"].as_array().into_iter().flatten().any(|listed| listed["id"] == model)
    }

    /// Key look-ups that it has put to its database.
    pub(super) async fn queries(&self) -> f64 {
        let request = self.gateway.admin_request(Method::GET, "/metrics").bearer_auth(MASTER_KEY);
        let page = self.gateway.send(request).await.body;
        let page = String::from_utf8_lossy(&page);
        let count = page.lines().find_map(|line| line.strip_prefix("portcullis_store_queries ")?.parse().ok());
        count.unwrap_or_else(|| panic!("no portcullis_store_queries in\n{page}"))
    }
}
