//! What each form of question is answered, and whose description counts.

use http::Method;
use serde_json::json;

use crate::scene::{CHAT, MASTER, field, gateway, key, limited, verify};

const BODY: &str = r#"{"model": "gpt-4o", "messages": []}"#;
const OTHER_BODY: &str = r#"{"model": "o3", "messages": []}"#;

#[tokio::test(flavor = "multi_thread")]
async fn envoys_form_is_decided_like_the_request_itself() {
    let gateway = gateway(true).await;
    let (any, one) = (key(&gateway, json!({})).await, key(&gateway, limited()).await);
    let listing = key(&gateway, json!({"allowed_routes": ["/v1/models"]})).await;
    for (method, path, credential, body, status) in [
        (Method::POST, CHAT, Some(&*any), "", 200),
        (Method::POST, CHAT, Some(&any), BODY, 200),
        (Method::POST, CHAT, Some(&one), BODY, 200),
        (Method::POST, CHAT, Some(&one), OTHER_BODY, 403),
        (Method::POST, CHAT, Some(&one), "", 403),
        (Method::POST, CHAT, Some(&listing), BODY, 403),
        (Method::GET, "/v1/models", Some(&listing), "", 200),
        (Method::POST, "/openai/deployments/gpt-4o/chat/completions", Some(&one), "", 200),
        (Method::POST, "/openai/deployments/o3/chat/completions", Some(&one), "", 403),
        (Method::POST, CHAT, Some("sk-unknown-0123456789"), BODY, 401),
        (Method::POST, CHAT, None, BODY, 401),
        (Method::OPTIONS, CHAT, None, "", 405),
        (Method::GET, "/nowhere", Some(MASTER), "", 404),
        (Method::POST, CHAT, Some(&any), "{bad", 400),
        (Method::POST, CHAT, Some(&any), r#"{"model": "a", "api_base": "https://x"}"#, 400),
    ] {
        let asked = format!("/auth/verify{path}");
        let answer = verify(&gateway, method.clone(), &asked, credential, &[], body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}");
    }
    let answer = verify(&gateway, Method::POST, &format!("/auth/verify{CHAT}"), Some(&one), &[], BODY).await;
    let names = ["verified", "auth-method", "user-id", "team-id", "key-alias", "model"];
    let found = names.map(|name| field(&answer, &format!("x-portcullis-{name}")));
    let expected = ["request", "virtual_key", "ann", "red", "ann's%20key", "gpt-4o"];
    assert_eq!((found, answer.body.len()), (expected.map(Some), 0));
    let anthropic = verify(&gateway, Method::POST, "/auth/verify/v1/messages", None, &[], "").await;
    assert_eq!(anthropic.json()["error"]["type"], "authentication_error", "in the dialect of the original path");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_auths_form_is_decided_by_its_fields() {
    let gateway = gateway(true).await;
    let one = key(&gateway, limited()).await;
    for (method, uri, status) in
        [("GET", "/v1/models", 200), ("POST", CHAT, 403), ("POST", "/engines/gpt-4o/chat/completions?x=1", 200)]
    {
        let fields = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
        let answer = verify(&gateway, Method::GET, "/auth/verify", Some(&one), &fields, "").await;
        assert_eq!(answer.status, status, "{method} {uri}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_counts_from_a_trusted_proxy_only_and_is_asked_of_it() {
    let (trusting, careful) = (gateway(true).await, gateway(false).await);
    let fields = [("x-original-method", "GET"), ("x-original-uri", "/v1/models")];
    let nothing = verify(&trusting, Method::GET, "/auth/verify", Some(MASTER), &[], "").await;
    assert!(nothing.status == 400 && nothing.json()["error"]["message"].as_str().unwrap().contains("X-Original-URI"));
    for (path, fields) in [("/auth/verify", &fields[..]), ("/auth/verify/v1/models", &[])] {
        assert_eq!(verify(&trusting, Method::GET, path, Some(MASTER), fields, "").await.status, 200);
        let refused = verify(&careful, Method::GET, path, Some(MASTER), fields, "").await;
        assert_eq!(refused.status, 403, "{path}");
    }
    careful.printed("trusted_proxy_ranges").await;
    let credential = verify(&careful, Method::GET, "/auth/verify", Some(MASTER), &[], "").await;
    assert_eq!((credential.status, field(&credential, "x-portcullis-verified")), (200, Some("credential")));
    assert_eq!(verify(&careful, Method::GET, "/auth/verify", None, &[], "").await.status, 401);
    trusting.stop().await;
    careful.stop().await;
}
