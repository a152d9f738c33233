//! A gateway that is asked what it would do, and then made to do it.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

pub(crate) const MASTER: &str = "sk-master-explain-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    provider: Provider,
}

impl Scene {
    /// Two models of one provider, `m` and `open`, which takes a caller's key and address. `rest` goes on in
    /// `general_settings`, indented by two. `files` stand beside the configuration.
    pub(crate) async fn new(rest: &str, files: &[(&str, &str)]) -> Self {
        let provider = Provider::start().unwrap();
        let base = format!("{}/v1", provider.url());
        let model = |name: &str, takes: &str| {
            format!(
                "  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n      api_base: {base}\n      \
                 api_key: provider-key-0123456789\n      configurable_clientside_auth_params: [{takes}]\n"
            )
        };
        let models = [model("m", ""), model("open", "api_key, api_base")].concat();
        let config = format!("model_list:\n{models}general_settings:\n  master_key: {MASTER}\n{rest}");
        let setup = crate::support::gateway(&config);
        for (name, content) in files {
            std::fs::write(setup.directory().join(name), content).unwrap();
        }
        let gateway = setup.start().await;
        gateway.watch(&provider);
        Scene { gateway, provider }
    }

    /// Asks about this.
    pub(crate) async fn explain(&self, question: &Value) -> Value {
        let request = self.gateway.request(Method::POST, "/auth/explain").bearer_auth(MASTER).json(question);
        let answer = self.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{question} {}", answer.json());
        answer.json()
    }

    /// Makes the request that a question describes.
    pub(crate) async fn make(&self, request: &Value) -> Answer {
        let body = match &request["body"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            json => Some(json.to_string()),
        };
        let usual = if body.is_some() { "POST" } else { "GET" };
        let method: Method = request["method"].as_str().unwrap_or(usual).parse().unwrap();
        let mut made = self.gateway.request(method, request["path"].as_str().unwrap());
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            made = values.iter().fold(made, |made, value| made.header(name, value.as_str().unwrap()));
        }
        if let Some(body) = body {
            made = made.header("content-type", "application/json").body(body);
        }
        let answer = self.gateway.send(made).await;
        self.provider.clear();
        answer
    }

    /// Asks about a request, makes it, and holds the two against each other. Returns what was said to decide.
    pub(crate) async fn compare(&self, request: &Value) -> (Value, Value) {
        let told = self.explain(&json!({ "request": request })).await;
        let made = self.make(request).await;
        let expected = if made.status == 200 { Value::Null } else { made.status.into() };
        assert_eq!(told["status"], expected, "{request} {told}");
        assert_eq!(told["outcome"], if made.status == 200 { "allowed" } else { "refused" }, "{request} {told}");
        (told["decided_by"].clone(), told)
    }
}

/// A chat call for this model by this bearer.
pub(crate) fn chat(bearer: &str, model: &str) -> Value {
    json!({"path": CHAT, "headers": {"authorization": format!("Bearer {bearer}")}, "body": {"model": model}})
}

/// A chat call with these headers and this body.
pub(crate) fn call(headers: Value, body: Value) -> Value {
    json!({"path": CHAT, "headers": headers, "body": body})
}
