//! A gateway with the operator's provider behind it and another that callers may choose.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

pub(crate) const MASTER: &str = "sk-master-client-side-0123456789";
pub(crate) const OPERATORS: &str = "operators-provider-key-0123456789";
pub(crate) const OWN: &str = "callers-own-provider-key-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) operators: Provider,
    pub(crate) chosen: Provider,
    pub(crate) key: String,
}

impl Scene {
    /// The model `m` with these lines of `litellm_params`, and these further sections. `CHOSEN` stands for the address of the
    /// provider that callers choose.
    pub(crate) async fn new(params: &[&str], rest: &str) -> Self {
        let (operators, chosen) = (Provider::start().unwrap(), Provider::start().unwrap());
        let params: String = params.iter().map(|line| format!("      {line}\n")).collect();
        let config = format!(
            "model_list:\n  - model_name: m\n    litellm_params:\n      model: openai/theirs\n      api_base: {}/v1\n      \
             api_key: {OPERATORS}\n      organization: org-operator\n{params}{rest}",
            operators.url()
        );
        let config = config.replace("CHOSEN", &chosen.url()).replace("MASTER", MASTER);
        let gateway = crate::support::gateway(&config).start().await;
        gateway.watch(&operators);
        gateway.watch(&chosen);
        gateway.provider_credential(OWN);
        let key = gateway.generate_key(&json!({})).await;
        Scene { gateway, operators, chosen, key }
    }

    /// A chat call for `m` with these further members; `CHOSEN` as above.
    pub(crate) async fn chat(&self, members: &str) -> Answer {
        let comma = if members.is_empty() { "" } else { "," };
        let body = format!(r#"{{"model":"m"{comma}{members}}}"#).replace("CHOSEN", &self.chosen.url());
        let request = self.gateway.request(Method::POST, CHAT).bearer_auth(&self.key);
        self.gateway.send(request.header("content-type", "application/json").body(body)).await
    }

    /// Who was asked since the last time, and with which credential: `operators: Bearer x`, or nobody.
    pub(crate) fn asked(&self) -> Option<String> {
        let of = |name: &str, provider: &Provider| {
            let requests = provider.requests();
            provider.clear();
            requests
                .iter()
                .map(|request| format!("{name}: {}", request.header("authorization").unwrap_or("-")))
                .collect()
        };
        let mut asked: Vec<String> = of("operators", &self.operators);
        asked.extend::<Vec<String>>(of("chosen", &self.chosen));
        assert!(asked.len() < 2, "{asked:?}");
        asked.pop()
    }
}

/// Status and the member that a refusal names in `param`, if it is that of a body.
pub(crate) fn outcome(answer: &Answer) -> (u16, Value) {
    (answer.status, if answer.status == 200 { Value::Null } else { answer.json()["error"]["param"].clone() })
}

/// The general settings of every scene, and `portcullis.outbound` that opens the loopback interface.
pub(crate) const NEAR: &str =
    "general_settings:\n  master_key: MASTER\nportcullis:\n  outbound:\n    allow: [127.0.0.0/8]\n";
pub(crate) const LISTED: &str = "configurable_clientside_auth_params: [api_key, api_base]";
