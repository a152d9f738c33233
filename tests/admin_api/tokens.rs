//! Denied tokens from the request that denies them to the list that every request with a token is compared with, over real
//! sockets and a real store.

use std::time::{Duration, SystemTime};

use portcullis_bench::client::http;
use portcullis_filters::authn::jwt::deny_list::{Deniable, DeniedClaim, entry_name};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{ISSUER, MASTER, Node};

/// The node's API on a socket.
struct Served {
    node: Node,
    url: String,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        let node = Node::start();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = node.router.clone();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { node, url, client: http().build().unwrap(), server }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, path, Some(MASTER), body.to_string()).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn refuses(&self, claim: DeniedClaim, value: &str, issued_at: Option<SystemTime>) -> bool {
        let token = Deniable { names: vec![entry_name(claim, ISSUER, value)], issued_at };
        self.node.store.deny_list().denies(&token, SystemTime::now())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_counts_from_its_answer_until_it_is_taken_back() {
    let served = Served::start().await;
    for claim in DeniedClaim::ALL {
        let named = json!({claim.name(): "it", "issuer": ISSUER});
        let shown = served.post("/token/deny", named.clone()).await;
        assert!(served.refuses(claim, "it", None) && !served.refuses(claim, "another", None));
        let (_, listed) = served.send(Method::GET, "/token/denied?value=it", Some(MASTER), "").await;
        assert_eq!(listed["denied"], json!([shown]), "what is answered is what is kept");
        served.post("/token/allow", named).await;
        assert!(!served.refuses(claim, "it", None));
    }
    let (_, log) = served.send(Method::GET, "/audit?page_size=100", Some(MASTER), "").await;
    let told: Vec<_> = log["audit_logs"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(told, ["allowed", "denied", "allowed", "denied", "allowed", "denied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_counts_from_its_answer() {
    let served = Served::start().await;
    let log_out =
        |token: &str| served.send(Method::POST, "/sso/backchannel-logout", None, format!("logout_token={token}"));
    let before = SystemTime::now() - Duration::from_secs(1);
    let later = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(log_out("sid=s-1").await, (200, Value::Null));
    assert!(served.refuses(DeniedClaim::Sid, "s-1", Some(later)), "the session is over");
    assert_eq!(log_out("sub=alice").await, (200, Value::Null));
    assert!(served.refuses(DeniedClaim::Sub, "alice", Some(before)));
    assert!(!served.refuses(DeniedClaim::Sub, "alice", Some(later)), "whoever signed out may sign in again");
    for forged in ["", "forged"] {
        assert_eq!(log_out(forged).await, (400, json!({"error": "invalid_request"})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deny_list_is_the_operators_and_bodies_are_refused_in_litellms_form() {
    let served = Served::start().await;
    let key = served.post("/key/generate", json!({})).await["key"].as_str().unwrap().to_owned();
    let routes = [(Method::POST, "/token/deny"), (Method::POST, "/token/allow"), (Method::GET, "/token/denied")];
    for (method, path) in routes {
        for (key, status) in [(None, 401), (Some("sk-nobody-knows-this-key"), 401), (Some(key.as_str()), 403)] {
            let (answered, body) = served.send(method.clone(), path, key, r#"{"sub": "a", "issuer": ""}"#).await;
            assert_eq!((answered, &body["error"]["code"]), (status, &json!(status.to_string())), "{path} {body}");
        }
    }
    let bad = [
        ("", 422),
        ("{", 422),
        ("[]", 422),
        (r#"{"sub": "a"}"#, 422),
        (r#"{"sub": "a", "issuer": "", "until": "never"}"#, 422),
        (r#"{"issuer": ""}"#, 400),
        (r#"{"sub": "a", "jti": "b", "issuer": ""}"#, 400),
    ];
    for (body, status) in bad {
        let (answered, answer) = served.send(Method::POST, "/token/deny", Some(MASTER), body).await;
        assert_eq!(answered, status, "{body}: {answer}");
        let told = if status == 400 { &answer["error"]["type"] } else { &answer["detail"][0]["type"] };
        assert!(told.is_string(), "{answer}");
    }
    assert!(served.node.store.deny_list().is_empty());
}
