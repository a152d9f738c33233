//! Sends one request through the router and reads the answer.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use portcullis_admin_api::explain::{Explain, Explanation, Question};
use portcullis_admin_api::keys::rules::KeyRules;
use portcullis_admin_api::logout::LogoutTokens;
use portcullis_admin_api::models::ServedModel;
use portcullis_admin_api::{AdminState, ClientAddress, RequestId, router};
use portcullis_filters::authn::failures::{FailureSettings, FailureThrottle};
use portcullis_filters::authn::jwt::logout::LoggedOut;
use portcullis_filters::authn::master::MasterKeys;
use portcullis_filters::authn::virtual_key::VirtualKeyAuthenticator;
use portcullis_filters::authn::{Authenticator, Authenticators, Gate};
use portcullis_filters::cache::{CacheSettings, KeyCache};
use portcullis_filters::credential::CredentialSlots;
use portcullis_filters::denial::Denial;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::memory::Memory;

pub(crate) const MASTER: &str = "sk-master-0123456789";

pub(crate) struct Api {
    pub(crate) store: Arc<Memory>,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Status, `type` and `param` of LiteLLM's error envelope.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String, Value) {
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], self.status.as_str(), "the code repeats the status: {body}");
        (self.status.as_u16(), error["type"].as_str().unwrap().to_owned(), error["param"].clone())
    }

    /// Place and type of the first entry of a 422.
    #[track_caller]
    pub(crate) fn mismatch(&self) -> (String, String) {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", self.text);
        let body = self.json();
        let loc: Vec<_> = body["detail"][0]["loc"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
        (loc.join("."), body["detail"][0]["type"].as_str().unwrap().to_owned())
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }
}

impl Api {
    pub(crate) fn new() -> Self {
        Self::with_rules(KeyRules::new("derivation".into()))
    }

    pub(crate) fn with_rules(rules: KeyRules) -> Self {
        let store = Arc::new(Memory::default());
        let settings = CacheSettings { ttl: Duration::ZERO, unknown_ttl: Duration::ZERO, ..CacheSettings::default() };
        let keys = VirtualKeyAuthenticator::new(
            store.clone(),
            Arc::new(KeyCache::new(settings)),
            Arc::new(FailureThrottle::new(FailureSettings::default())),
        )
        .with_directory(store.clone());
        let gate = Gate {
            slots: CredentialSlots::default(),
            authenticators: Authenticators::new(vec![
                Authenticator::Master(MasterKeys::new(&[MASTER.into()])),
                Authenticator::VirtualKey(keys),
            ]),
        };
        let state = AdminState {
            store: store.clone(),
            reports: store.clone(),
            gate: Arc::new(ArcSwap::from_pointee(gate)),
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            deployments: Arc::new(Vec::new),
            models: Arc::new(served),
            explainer: Arc::new(Nothing),
            logout_tokens: Arc::new(Issuer),
        };
        Self { store, router: router(state) }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body is in memory").to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, key: Option<&str>, body: impl Into<Body>) -> Answer {
        self.send(request(method, path, key, body)).await
    }

    /// As the operator.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(MASTER), body.to_string()).await
    }

    /// As the operator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Some(MASTER), "").await
    }

    /// The string of a new key with these fields.
    pub(crate) async fn key(&self, fields: Value) -> String {
        self.post("/key/generate", fields).await.ok()["key"].as_str().unwrap().to_owned()
    }
}

/// An issuer whose logout tokens are words.
struct Issuer;

pub(crate) const ISSUER: &str = "https://idp.example";

/// When the issuer's logout tokens were issued: a whole second, a moment ago.
pub(crate) fn logged_out_at() -> SystemTime {
    static AT: LazyLock<u64> = LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 5);
    UNIX_EPOCH + Duration::from_secs(*AT)
}

/// Explains nothing: what is asked is the shell's to answer.
struct Nothing;

#[async_trait]
impl Explain for Nothing {
    async fn explain(&self, _: Question, _: SystemTime) -> Explanation {
        Explanation::default()
    }
}

#[async_trait]
impl LogoutTokens for Issuer {
    async fn verify(&self, token: &str, source: Option<IpAddr>, _: SystemTime) -> Result<LoggedOut, Denial> {
        assert_eq!(source, Some([192, 0, 2, 7].into()), "the verifier is told who asks");
        let (sub, sid) = match token {
            "of-a-session" => (Some("alice"), Some("session-1")),
            "of-a-subject" => (Some("alice"), None),
            "of-nobody" => (None, None),
            "keys-away" => return Err(Denial::IssuerUnavailable("away")),
            "throttled" => return Err(Denial::TooManyFailures { retry_after: Duration::from_secs(1) }),
            _ => return Err(Denial::InvalidToken("not one of its words")),
        };
        Ok(LoggedOut {
            issuer: ISSUER.to_owned(),
            sub: sub.map(str::to_owned),
            sid: sid.map(str::to_owned),
            issued_at: logged_out_at(),
        })
    }
}

/// Two deployments of one model and one of a group, at an address that only the operator may see.
fn served() -> Arc<[ServedModel]> {
    let model = |name: &str, model: &str, groups: &[&str]| ServedModel {
        name: name.to_owned(),
        provider: "openai".to_owned(),
        model: model.to_owned(),
        api_base: Some("http://inside.example/v1".to_owned()),
        api_version: None,
        access_groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    [model("gpt-4o", "gpt-4o", &[]), model("gpt-4o", "gpt-4o-eu", &[]), model("o3", "o3", &["beta"])].into()
}

pub(crate) fn request(method: Method, path: &str, key: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .extension(ClientAddress(Some([192, 0, 2, 7].into())))
        .extension(RequestId("request-1".to_owned()));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(body.into()).expect("static request")
}

/// The body with its changing parts replaced by what they are, for comparison with an expected one.
pub(crate) fn settled(mut body: Value) -> Value {
    for (name, value) in body.as_object_mut().expect("an object") {
        let known = match name.as_str() {
            "key" => value.as_str().is_some_and(|text| text.starts_with("sk-") && text.len() == 25),
            "key_name" => value.as_str().is_some_and(|text| text.starts_with("sk-...") && text.len() == 10),
            "token" | "token_id" => value.as_str().is_some_and(|text| text.len() == 64),
            "created_at" | "updated_at" => value.as_str().is_some_and(|text| text.ends_with('Z')),
            _ => continue,
        };
        assert!(known, "{name}: {value}");
        *value = json!(format!("<{name}>"));
    }
    body
}
