//! Keys and addresses in the body: which are taken, where the request goes then, and what the provider gets to see.

use portcullis_bench::provider::Script;
use serde_json::json;

use crate::scene::{CHAT, LISTED, MASTER, NEAR, OPERATORS, OWN, Scene, outcome};

const KEY: &str = r#""api_key":"callers-own-provider-key-0123456789""#;
const BASE: &str = r#""api_base":"CHOSEN/v1""#;
const URL: &str = r#""base_url":"CHOSEN/v1""#;

/// Each way of allowing it, against each thing that a body may bring.
#[tokio::test]
async fn what_is_allowed_is_used_and_the_rest_is_refused_and_reaches_nobody() {
    let everywhere = "general_settings:\n  master_key: MASTER\n  allow_client_side_credentials: true\nportcullis:\n  \
                      outbound:\n    allow: [127.0.0.0/8]\n";
    let keys = "general_settings:\n  master_key: MASTER\nportcullis:\n  client_side:\n    api_key: true\n";
    let key_only = "configurable_clientside_auth_params: [api_key]";
    let pattern = r#"configurable_clientside_auth_params: [api_key, {api_base: 'http://127\.0\.0\.1:\d+/v1'}]"#;
    let exact = "configurable_clientside_auth_params: [api_key, {api_base: CHOSEN/v1}]";
    let plain = "general_settings:\n  master_key: MASTER\n";
    let (key_base, key_url) = (&*format!("{KEY},{BASE}"), &*format!("{BASE},{KEY}").replace("api_base", "base_url"));
    // K: the caller's key at the operator's provider; C: at the one that it chose; -: 400.
    for (what, params, rest, expected) in [
        ("nothing", None, NEAR, "-----"),
        ("listed", Some(LISTED), NEAR, "K-C--"),
        ("the key only", Some(key_only), NEAR, "K----"),
        ("keys everywhere", None, keys, "K----"),
        ("a pattern", Some(pattern), NEAR, "K-C--"),
        // Written out, it is the operator's choice, and needs no exception of the guard.
        ("an address", Some(exact), plain, "K-C--"),
        ("everywhere", None, everywhere, "K-CC-"),
    ] {
        let scene = Scene::new(&params.into_iter().collect::<Vec<_>>(), rest).await;
        for (members, expected) in [KEY, BASE, key_base, key_url, URL].into_iter().zip(expected.chars()) {
            let answer = scene.chat(members).await;
            let asked = scene.asked();
            let place = match expected {
                'K' => Some(format!("operators: Bearer {OWN}")),
                'C' => Some(format!("chosen: Bearer {OWN}")),
                _ => None,
            };
            let status = if expected == '-' { 400 } else { 200 };
            assert_eq!((answer.status, asked), (status, place), "{what}: {members} {}", answer.json());
        }
        scene.chat("").await;
        assert_eq!(scene.asked(), Some(format!("operators: Bearer {OPERATORS}")), "{what}: without any");
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn the_provider_sees_nothing_of_it_but_the_credential() {
    let scene = Scene::new(&[LISTED], NEAR).await;
    let members = format!(r#""n":[1.0, 2], {KEY} , "organization":"org-own",{BASE}"#);
    assert_eq!(scene.chat(&members).await.status, 200);
    let request = scene.chosen.next_request().await;
    assert_eq!(request.body.bytes.as_deref(), Some(&br#"{"model":"theirs","n":[1.0, 2] }"#[..]));
    assert_eq!(request.target(), CHAT);
    assert_eq!(request.header("openai-organization"), Some("org-own"));
    scene.chosen.clear();

    // The operator's organisation says nothing of the caller's account.
    assert_eq!(scene.chat(KEY).await.status, 200);
    assert_eq!(scene.operators.next_request().await.header("openai-organization"), None);
    scene.operators.clear();
    assert_eq!(scene.chat("").await.status, 200);
    assert_eq!(scene.operators.next_request().await.header("openai-organization"), Some("org-operator"));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_named_and_reaches_nobody() {
    let scene = Scene::new(&[LISTED], NEAR).await;
    for (members, param) in [
        (r#""api_key":"""#, "api_key"),
        (r#""api_key":null"#, "api_key"),
        (r#""api_key":123"#, "api_key"),
        (r#""api_key":{"a":1}"#, "api_key"),
        (r#""api_key":"a\r\nx-admin: 1""#, "api_key"),
        (r#""api_key":"os.environ/PATH""#, "api_key"),
        (BASE, "api_base"),
        (r#""api_key":"own-key-0123","api_base":null"#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"not an address""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"CHOSEN/v1?x=1""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"file:///etc/passwd""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"ftp://127.0.0.1/v1""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"http://user:pass@127.0.0.1/v1""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"http://[fe80::1%25lo]/v1""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"CHOSEN/v1\r\nhost: x""#, "api_base"),
        (r#""api_key":"own-key-0123","api_base":"http://127.0.0.1:1@CHOSEN/v1""#, "api_base"),
        (r#""api_key":"own-key-0123","metadata":{"api_base":"CHOSEN/v1"}"#, "request_body"),
        (r#""extra_body":{"api_key":"own-key-0123"}"#, "request_body"),
        (r#""model_list":[]"#, "request_body"),
        (r#""api_key":"own-key-0123","api\u005fbase":"CHOSEN/v1""#, "request_body"),
        (r#""api_key":"own-key-0123","api_key":"own-key-4567""#, "request_body"),
    ] {
        let answer = scene.chat(members).await;
        assert_eq!(outcome(&answer), (400, json!(param)), "{members} {}", answer.json());
        assert_eq!(scene.asked(), None, "{members}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("own-key"), "{members}");
    }
    scene.gateway.stop().await;
}

/// A caller without a key of ours learns nothing, and one whose key may not use the model is told that first.
#[tokio::test]
async fn it_is_no_way_around_keys_and_models() {
    let scene = Scene::new(&[LISTED], NEAR).await;
    let other = scene.gateway.generate_key(&json!({"models": ["other"]})).await;
    for (credential, status) in [("sk-wrong-0123456789", 401), (&*other, 403)] {
        let request = scene.gateway.request(http::Method::POST, CHAT).bearer_auth(credential);
        let body = format!(r#"{{"model":"m",{KEY},{BASE}}}"#).replace("CHOSEN", &scene.chosen.url());
        let answer = scene.gateway.send(request.header("content-type", "application/json").body(body)).await;
        assert_eq!((answer.status, scene.asked()), (status, None), "{credential}");
    }
    scene.gateway.stop().await;
}

/// The operator's deployments neither stand in for a caller's key, nor rest because of it.
#[tokio::test]
async fn a_failure_with_an_own_key_is_the_callers() {
    let rest = format!(
        "  - model_name: m\n    litellm_params: {{model: openai/second, api_base: CHOSEN/v1, api_key: {OPERATORS}, weight: 0}}\n\
         general_settings:\n  master_key: {MASTER}\nrouter_settings:\n  allowed_fails: 0\n  cooldown_time: 3600\n"
    );
    let scene = Scene::new(&["configurable_clientside_auth_params: [api_key]"], &rest).await;
    for status in [500, 429, 401] {
        scene.operators.script(Script::error(status));
        assert_eq!(scene.chat(KEY).await.status, status);
        assert_eq!(scene.asked(), Some(format!("operators: Bearer {OWN}")), "{status}");
        assert_eq!(scene.chat("").await.status, 200);
        assert_eq!(scene.asked(), Some(format!("operators: Bearer {OPERATORS}")), "after {status}");
    }
    scene.gateway.stop().await;
}

/// Portcullis cannot vouch for a request that another proxy sends on.
#[tokio::test]
async fn another_proxy_is_told_no() {
    let trusting = NEAR.replace("MASTER\n", "MASTER\n  trusted_proxy_ranges: [127.0.0.1/32]\n");
    let scene = Scene::new(&[LISTED], &trusting).await;
    for (members, status) in [("", 200), (KEY, 400)] {
        let comma = if members.is_empty() { "" } else { "," };
        let request = scene.gateway.request(http::Method::POST, &format!("/auth/verify{CHAT}")).bearer_auth(&scene.key);
        let body = format!(r#"{{"model":"m"{comma}{members}}}"#);
        let answer = scene.gateway.send(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(answer.status, status, "{members}");
    }
    scene.gateway.stop().await;
}
