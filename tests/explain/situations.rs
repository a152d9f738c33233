//! Situations, the rule that decides each, and the request itself, which is answered as was told.

use serde_json::{Value, json};

use crate::scene::{CHAT, MASTER, Scene, call, chat};

const UNKNOWN: &str = "sk-unknown-explain-0123456789";
const OWN: &str = "own-provider-key-0123456789";

#[tokio::test]
async fn the_rule_that_is_named_is_the_one_that_decides() {
    let scene = Scene::new("", &[]).await;
    let gateway = &scene.gateway;
    gateway.client_credential(UNKNOWN);
    gateway.provider_credential(OWN);
    let key = gateway.generate_key(&json!({})).await;
    let limited = gateway.generate_key(&json!({"models": ["m"], "key_alias": "limited"})).await;
    let embedding = gateway.generate_key(&json!({"allowed_routes": ["/embeddings"]})).await;
    let blocked = gateway.generate_key(&json!({})).await;
    let block = gateway.request(http::Method::POST, "/key/block").bearer_auth(MASTER).json(&json!({"key": blocked}));
    assert_eq!(gateway.send(block).await.status, 200);

    let bearer = format!("Bearer {key}");
    let m = || json!({"model": "m"});
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "open"});
        body[name] = value;
        body
    };
    let at = |method: &str, path: &str| json!({"method": method, "path": path, "headers": {"authorization": bearer}, "body": m()});
    for (what, request, decided_by) in [
        ("the master key", chat(MASTER, "m"), None),
        ("a key", chat(&key, "m"), None),
        ("a key in another header", call(json!({"x-api-key": key}), m()), None),
        ("two keys", call(json!({"x-litellm-api-key": key, "authorization": format!("Bearer {UNKNOWN}")}), m()), None),
        ("a placeholder first", call(json!({"authorization": "Bearer not-needed", "x-api-key": key}), m()), None),
        ("a list of models", json!({"path": "/v1/models", "headers": {"authorization": bearer}}), None),
        ("no credential", call(json!({}), m()), Some("slot: none that can be used")),
        ("no scheme", call(json!({"authorization": "Bearer"}), m()), Some("slot: none that can be used")),
        ("two values", call(json!({"x-api-key": [key, UNKNOWN]}), m()), Some("slot: none that can be used")),
        ("an unknown key", chat(UNKNOWN, "m"), Some("authenticator: none of them knows it")),
        ("a blocked key", chat(&blocked, "m"), Some("authenticator: virtual_key")),
        ("another model", chat(&limited, "open"), Some("policy: key")),
        ("another route", chat(&embedding, "m"), Some("policy: key")),
        ("no such model", chat(&key, "nonsense"), Some("deployment: nonsense")),
        (
            "another dialect",
            json!({"path": "/v1beta/models/m:generateContent", "headers": {"x-goog-api-key": key}, "body": {}}),
            Some("deployment: m"),
        ),
        ("no such path", at("POST", "/v1/nonsense"), Some("path: /v1/nonsense")),
        ("another method", at("PUT", CHAT), Some("path: /v1/chat/completions")),
        ("an ambiguous path", at("POST", "/v1//chat/completions"), Some("path: the description")),
        ("no JSON", call(json!({"authorization": bearer}), json!("{")), Some("body: what is asked for")),
        (
            "a forbidden member",
            call(json!({"authorization": bearer}), with("model_list", json!([]))),
            Some("body: what is asked for"),
        ),
        ("an own key", call(json!({"authorization": bearer}), with("api_key", json!(OWN))), None),
        (
            "one for another model",
            call(json!({"authorization": bearer}), json!({"model": "m", "api_key": OWN})),
            Some("deployment: m"),
        ),
        (
            "an inner address",
            call(
                json!({"authorization": bearer}),
                json!({"model": "open", "api_key": OWN, "api_base": "https://127.0.0.1:1/v1"}),
            ),
            Some("outbound: the address that the caller chose"),
        ),
        (
            "an address alone",
            call(json!({"authorization": bearer}), with("api_base", json!("https://127.0.0.1:1"))),
            Some("body: what is asked for"),
        ),
    ] {
        let (named, told) = scene.compare(&request).await;
        assert_eq!(named.as_str(), decided_by, "{what}: {told}");
    }
    let (_, told) = scene.compare(&call(json!({"authorization": "Bearer not-needed", "x-api-key": key}), m())).await;
    let steps = told["steps"].as_array().unwrap();
    let slots: Vec<_> = steps.iter().filter(|step| step["step"] == "slot").collect();
    assert_eq!(
        slots,
        [
            &json!({"step": "slot", "rule": "authorization", "result": "foreign, passed over: nothing here could verify it"}),
            &json!({"step": "slot", "rule": "x-api-key", "result": "virtual_key, counts"}),
        ]
    );
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_key_is_explained_by_itself_or_by_its_hash() {
    let scene = Scene::new("", &[]).await;
    let key = scene.gateway.generate_key(&json!({"models": ["m"], "key_alias": "limited"})).await;
    let list = scene.gateway.request(http::Method::GET, "/key/list").bearer_auth(MASTER);
    let hash = scene.gateway.send(list).await.json()["keys"][0].as_str().unwrap().to_owned();
    for (question, decided_by) in [
        (json!({"key": key}), None),
        (json!({"key": hash}), None),
        (json!({"key": key, "model": "m"}), None),
        (json!({"key": hash, "model": "open"}), Some("policy: key")),
        (json!({"key": "0".repeat(64)}), Some("authenticator: none of them knows it")),
    ] {
        let told = scene.explain(&question).await;
        assert_eq!(told["decided_by"].as_str(), decided_by, "{told}");
        if decided_by != Some("authenticator: none of them knows it") {
            assert_eq!(told["principal"], json!({"id": hash, "method": "virtual_key", "key_alias": "limited"}));
        }
    }
    for (question, status) in [
        (json!({}), 400),
        (json!({"key": key, "request": {"path": CHAT}}), 400),
        (json!({"key": "nonsense"}), 404),
        (json!({"request": {"path": CHAT, "heders": {}}}), 422),
        (json!({"request": {}}), 422),
    ] {
        let request = scene.gateway.request(http::Method::POST, "/auth/explain").bearer_auth(MASTER).json(&question);
        assert_eq!(scene.gateway.send(request).await.status, status, "{question}");
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn only_the_operator_may_ask() {
    let scene = Scene::new("", &[]).await;
    let key = scene.gateway.generate_key(&json!({})).await;
    for (credential, status) in [(None, 401), (Some("sk-wrong-0123456789"), 401), (Some(&*key), 403)] {
        let mut request = scene.gateway.request(http::Method::POST, "/auth/explain");
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        let answer = scene.gateway.send(request.json(&json!({"key": key}))).await;
        assert_eq!(answer.status, status, "{credential:?}");
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn routes_that_are_closed_and_tokens_that_are_bad_are_named() {
    let rest = "  allowed_routes: [/v1/chat/completions, /auth/explain]\nportcullis:\n  jwt:\n    issuers:\n      \
                - {issuer: 'https://id.example', audience: a, key_set_url: 'http://127.0.0.1:9/keys'}\n";
    let scene = Scene::new(rest, &[]).await;
    let closed = json!({"path": "/v1/embeddings", "headers": {"authorization": format!("Bearer {MASTER}")}, "body": {"model": "m"}});
    assert_eq!(scene.compare(&closed).await.0, "allowed_routes: general_settings");
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL290aGVyLmV4YW1wbGUifQ.c2lnbmF0dXJl";
    scene.gateway.client_credential(token);
    let (decided_by, told) = scene.compare(&chat(token, "m")).await;
    assert_eq!((decided_by, &told["denial"]), (json!("authenticator: jwt"), &json!("invalid_token")), "{told}");
    scene.gateway.stop().await;
}
