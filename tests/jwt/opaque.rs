//! Tokens that only their issuer can read: the gateway asks it, once for all who bring the token, and never about a key.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Json, Router, routing::post};
use portcullis_bench::issuer::Issuer;
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

use crate::scene::{Lines, MASTER, Scene, chat, now, setup};

const GOOD: &str = "an-opaque-token-of-alice";
const OVER: &str = "an-opaque-token-of-yesterday";

/// Which tokens were asked about.
type Asked = Arc<Mutex<Vec<String>>>;

async fn introspect(State(asked): State<Asked>, headers: HeaderMap, form: String) -> Json<Value> {
    assert_eq!(headers["authorization"], "Basic Z2F0ZXdheTpzZWNyZXQ=", "it says who asks");
    let mut fields = url::form_urlencoded::parse(form.as_bytes());
    let token = fields.find(|(name, _)| name == "token").unwrap().1.into_owned();
    asked.lock().unwrap().push(token.clone());
    let active = json!({"active": true, "sub": "alice", "exp": now() + 60, "iss": "https://idp.example"});
    Json(if token == GOOD { active } else { json!({"active": false}) })
}

#[tokio::test]
async fn an_opaque_token_counts_for_as_long_as_its_issuer_says() {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let app = Router::new().route("/introspect", post(introspect)).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let jwt = format!(
        "    introspection:\n      - url: {url}\n        client_id: gateway\n        client_secret: secret\n        \
         issuer: https://idp.example"
    );
    let (issuer, provider) = (Issuer::start().unwrap(), Provider::start().unwrap());
    let gateway = setup(&issuer, &provider, Lines { jwt: &jwt, ..Lines::default() }).start().await;
    gateway.watch(&provider);
    let scene = Scene { issuer, gateway, provider };
    let (key, token) = (scene.gateway.generate_key(&json!({})).await, scene.token(json!({})));
    for (credential, status) in [(GOOD, 200), (GOOD, 200), (OVER, 401), (OVER, 401), (&key, 200), (&token, 200)] {
        scene.gateway.client_credential(credential);
        let answer = chat(&scene.gateway, credential, "gpt-4o").await;
        assert_eq!(answer.status, status, "{credential}: {}", answer.json());
    }
    assert_eq!(chat(&scene.gateway, "sk-nobody-has-this-key", "gpt-4o").await.status, 401);
    assert_eq!(chat(&scene.gateway, MASTER, "gpt-4o").await.status, 200);
    assert_eq!(*asked.lock().unwrap(), [GOOD, OVER], "once each, and about nothing that can be told here");
    scene.gateway.stop().await;
}
