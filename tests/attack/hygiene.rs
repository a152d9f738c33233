//! No credential is where it must not be: files of the store, both output streams at the lowest log level, metrics, bodies and
//! headers of answers, and what reached the provider. The harness searches for all of them in each place, at the latest when
//! the gateway ends; this test makes sure that every kind of credential was used in every place that people put them.

use http::Method;
use portcullis_bench::client::raw;
use portcullis_bench::credentials::Credentials;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::Provider;
use portcullis_bench::raw::RawProvider;
use serde_json::{Value, json};

use crate::support;

const MASTER: &str = "sk-master-0123456789abcdef";
const PROVIDER_KEY: &str = "sk-provider-0123456789";
/// What is presented and known to nobody: of each shape, and in no shape at all.
const UNKNOWN: &[&str] = &[
    "sk-unknown-0123456789abcdef",
    "sk-ant-api03-unknown-0123456789-0123456789-0123456789",
    "AIzaSyUnknown-0123456789-0123456789abcdef",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1bmtub3duIn0.c2lnbmF0dXJl",
    "opaque-unknown-0123456789",
    "sk-with \"quotes\" and spaces 0123",
];
const SLOTS: &[&str] = &["x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

fn config(provider: &str, broken: &str) -> String {
    let deployment = |name: &str, model: &str, base: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: {model}\n      api_base: {base}\n      api_key: {PROVIDER_KEY}\n"
        )
    };
    format!(
        "model_list:\n{}{}{}general_settings:\n  master_key: {MASTER}\nportcullis:\n  telemetry:\n    log_level: trace\n",
        deployment("attack", "openai/attack", &format!("{provider}/v1")),
        deployment("on-gemini", "gemini/on-gemini", provider),
        deployment("broken", "openai/broken", &format!("{broken}/v1")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_is_kept_told_or_passed_on() {
    let provider = Provider::start().unwrap();
    // A provider that answers with what it was sent, in a form that cannot be read.
    let broken =
        RawProvider::answering(format!("HTTP/1.1 200 OK\r\nauthorization Bearer {PROVIDER_KEY}\r\n\r\n")).unwrap();
    let gateway = support::gateway(&config(&provider.url(), &broken.url())).start().await;
    gateway.watch(&provider);
    UNKNOWN.iter().for_each(|credential| gateway.client_credential(credential));
    let key = gateway.generate_key(&json!({"key_alias": "hygiene"})).await;

    for credential in [MASTER, &key].into_iter().chain(UNKNOWN.iter().copied()) {
        everywhere(&gateway, credential).await;
    }
    managed(&gateway, &key).await;
    malformed(&gateway, &key).await;
    let rotated = rotated(&gateway, &key).await;
    everywhere(&gateway, &rotated).await;
    everywhere(&gateway, &key).await;
    assert!(provider.requests().len() > 20, "the calls with good credentials have reached the provider");
    gateway.stop().await;
}

/// Each slot, and each place that is none.
async fn everywhere(gateway: &Gateway, credential: &str) {
    let body = json!({"model": "attack", "messages": []});
    let post = |path: &str| gateway.request(Method::POST, path).json(&body);
    for slot in SLOTS {
        gateway.send(post("/v1/chat/completions").header(*slot, credential)).await;
        // A second credential beside the one that counts is not passed on either.
        gateway.send(post("/v1/chat/completions").header("x-litellm-api-key", MASTER).header(*slot, credential)).await;
    }
    for scheme in ["Bearer", "bearer", "Basic", "Digest"] {
        gateway.send(post("/v1/chat/completions").header("authorization", format!("{scheme} {credential}"))).await;
    }
    gateway
        .send(post("/v1/chat/completions").bearer_auth(MASTER).header("cookie", format!("token={credential}")))
        .await;
    let protocol = format!("realtime, openai-insecure-api-key.{credential}");
    gateway.send(post("/v1/chat/completions").header("sec-websocket-protocol", &protocol)).await;
    let protocol = protocol.replace("openai", "OpenAI");
    gateway.send(post("/v1/chat/completions").bearer_auth(MASTER).header("sec-websocket-protocol", protocol)).await;
    for name in ["key", "api_key", "access_token"] {
        let gemini = gateway.request(Method::POST, "/v1beta/models/on-gemini:generateContent").json(&json!({}));
        gateway.send(gemini.query(&[(name, credential)])).await;
        gateway.send(post("/v1/chat/completions").bearer_auth(MASTER).query(&[(name, credential)])).await;
        gateway.send(gateway.request(Method::GET, "/v1/nowhere").query(&[(name, credential)])).await;
    }
    // A provider's own key does not come back out of an answer that cannot be read.
    let broken = gateway.request(Method::POST, "/v1/chat/completions").header("x-api-key", credential);
    gateway.send(broken.json(&json!({"model": "broken"}))).await;
}

/// Keys as arguments of the management API, where they are found and where they are not. A success repeats what it was
/// asked about, as LiteLLM's does; a failure repeats nothing.
async fn managed(gateway: &Gateway, key: &str) {
    let client = reqwest::Client::new();
    for known in [key, UNKNOWN[0], "sk-path-0123456789abcdef"] {
        gateway.client_credential(known);
        let mut credentials = Credentials::default();
        credentials.client(known);
        for (method, path, body) in [
            (Method::GET, format!("/key/info?key={known}"), String::new()),
            (Method::GET, format!("/v1/models/{known}"), String::new()),
            (Method::POST, "/key/block".to_owned(), json!({"key": known}).to_string()),
            (Method::POST, "/key/unblock".to_owned(), json!({"key": known}).to_string()),
            (Method::POST, "/key/update".to_owned(), json!({"key": known, "no_such_field": 1}).to_string()),
            (Method::POST, "/key/update".to_owned(), json!({"key": [known]}).to_string()),
            (Method::POST, "/key/update".to_owned(), json!({"key": known, "max_budget": known}).to_string()),
            (Method::POST, "/key/delete".to_owned(), json!({"keys": known}).to_string()),
            (Method::POST, "/key/generate".to_owned(), format!("{{\"key\": \"{known}\"")),
            (Method::POST, format!("/key/{known}/nothing"), String::new()),
            (Method::POST, format!("/key/{known}/regenerate"), json!({"grace_period": [known]}).to_string()),
        ] {
            let url = format!("{}{path}", gateway.url());
            let request = client.request(method, url).bearer_auth(MASTER).header("content-type", "application/json");
            let answer = request.body(body.clone()).send().await.unwrap();
            let status = answer.status();
            let leaks = credentials.search("an answer", &answer.bytes().await.unwrap());
            assert!(status.is_success() || leaks.is_empty(), "{path} {body}: {status} {leaks:?}");
        }
    }
}

/// Requests that are refused before anybody asks who sent them.
async fn malformed(gateway: &Gateway, key: &str) {
    let mut known = Credentials::default();
    known.client(key);
    for request in [
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nX: {key}\0\r\n\r\n"),
        format!("GET /{key}/../x HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"),
        format!("GET /v1/models?key={key} HTTP/1.1\r\nX-Api-Key: {key}\r\nConnection: close\r\n\r\n"),
        format!("{key} /v1/models HTTP/1.1\r\nHost: {key}\r\nConnection: close\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\nHost: a\r\n{key}: x\r\nConnection: close\r\nX_Api_Key: {key}\r\n\r\n"),
        format!("{key}\r\n\r\n"),
    ] {
        let answer = raw(gateway.data_addr(), request.as_bytes()).await;
        assert_eq!(known.search("an answer", &answer), [], "{request:?}");
    }
}

/// Rotates with a time of grace, so that both strings are good.
async fn rotated(gateway: &Gateway, key: &str) -> String {
    let url = format!("{}/key/{key}/regenerate", gateway.url());
    let request = reqwest::Client::new().post(url).bearer_auth(MASTER).json(&json!({"grace_period": "1h"}));
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let rotated = answer["key"].as_str().unwrap_or_else(|| panic!("no key in {answer}")).to_owned();
    gateway.client_credential(&rotated);
    rotated
}
