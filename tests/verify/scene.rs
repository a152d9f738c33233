//! A gateway that is asked, with or without trust in who asks.

use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use serde_json::{Value, json};

pub(crate) const MASTER: &str = "sk-master-verify-0123456789";
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// `trusted`: whether the loopback interface is one of the operator's proxies.
pub(crate) async fn gateway(trusted: bool) -> Gateway {
    let ranges = if trusted { "  trusted_proxy_ranges: [127.0.0.1/32]\n" } else { "" };
    crate::support::gateway(&format!("general_settings:\n  master_key: {MASTER}\n{ranges}")).start().await
}

/// A key with these rights.
pub(crate) async fn key(gateway: &Gateway, rights: Value) -> String {
    gateway.generate_key(&rights).await
}

/// Asks with these fields beside the credential.
pub(crate) async fn verify(
    gateway: &Gateway,
    method: Method,
    path: &str,
    credential: Option<&str>,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = gateway.request(method, path);
    if let Some(credential) = credential {
        request = request.bearer_auth(credential);
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    gateway.send(request).await
}

/// A key that may use one model, with names.
pub(crate) fn limited() -> Value {
    json!({"models": ["gpt-4o"], "user_id": "ann", "team_id": "red", "key_alias": "ann's key"})
}

pub(crate) fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.get(name).map(|value| value.to_str().unwrap())
}
