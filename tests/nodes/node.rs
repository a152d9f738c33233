//! Gateways that share a store and a provider, and what their operator does with them.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway, GatewaySetup};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use crate::support;

/// Every node's master key.
pub(crate) const MASTER: &str = "sk-nodes-master-0d4f9a7c1e5b";

/// What a node says when it shows the master key that it made.
pub(crate) const SHOWN_ONCE: &str = "It is shown this once";

/// The model that every node serves from the provider.
pub(crate) const MODEL: &str = "small";

/// Held while a test runs: two that measure at the same time would measure each other.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Settings of one test, as lines of YAML with their indentation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lines {
    /// In `general_settings`.
    pub(crate) general: &'static str,
    /// In `portcullis`.
    pub(crate) own: &'static str,
}

/// A node on this store.
pub(crate) fn setup(store: &str, provider: &Provider, lines: Lines) -> GatewaySetup {
    let Lines { general, own } = lines;
    support::gateway(&format!(
        "model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/gpt-nodes
      api_base: {}/v1
      api_key: sk-provider-nodes-51c7
general_settings:
  master_key: {MASTER}
  database_url: \"{store}\"
{general}
portcullis:
{own}
",
        provider.url()
    ))
}

/// As [`setup`], running.
pub(crate) async fn start(store: &str, provider: &Provider, lines: Lines) -> Gateway {
    setup(store, provider, lines).start().await
}

/// A management request on the data listener.
pub(crate) async fn manage(node: &Gateway, path: &str, body: Value) -> Answer {
    node.send(node.request(Method::POST, path).bearer_auth(MASTER).json(&body)).await
}

/// As [`manage`], and it must be done.
pub(crate) async fn managed(node: &Gateway, path: &str, body: Value) -> Value {
    let answer = answered(node, path, &body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    answer.json()
}

/// The new string of this key.
pub(crate) async fn regenerated(node: &Gateway, key: &str, grace: Option<&str>) -> String {
    let new = managed(node, "/key/regenerate", json!({"key": key, "grace_period": grace})).await["key"].clone();
    let new = new.as_str().unwrap().to_owned();
    node.client_credential(&new);
    new
}

/// `/health/readiness`' word on the database.
pub(crate) async fn database(node: &Gateway) -> String {
    let answer = node.send(node.request(Method::GET, "/health/readiness")).await;
    assert_eq!(answer.status, 200, "without its store a node still serves");
    answer.json()["db"].as_str().unwrap().to_owned()
}

/// The value of a metric without labels.
pub(crate) async fn metric(node: &Gateway, name: &str) -> u64 {
    let page = node.send(node.admin_request(Method::GET, "/metrics").bearer_auth(MASTER)).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
}

/// An answer may hold the new key, which is why it is not searched for credentials.
async fn answered(node: &Gateway, path: &str, body: &Value) -> Answer {
    let response = node.request(Method::POST, path).bearer_auth(MASTER).json(body).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: response.bytes().await.unwrap() }
}

/// The master key in the output of a node that made one.
pub(crate) fn shown_master_key(output: &str) -> String {
    let shown = output.lines().map(str::trim).find(|line| line.starts_with("sk-"));
    shown.unwrap_or_else(|| panic!("no key in {output}")).to_owned()
}
