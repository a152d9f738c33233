//! A management API over a database file of its own, which is gone with the test.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use portcullis::store::{Store, StoreSettings, StoreUrl};
use portcullis_admin_api::explain::{Explain, Explanation, Question};
use portcullis_admin_api::keys::rules::KeyRules;
use portcullis_admin_api::logout::LogoutTokens;
use portcullis_admin_api::{AdminState, router};
use portcullis_filters::authn::failures::{FailureSettings, FailureThrottle};
use portcullis_filters::authn::jwt::logout::LoggedOut;
use portcullis_filters::authn::master::MasterKeys;
use portcullis_filters::authn::virtual_key::VirtualKeyAuthenticator;
use portcullis_filters::authn::{Authenticator, Authenticators, Gate};
use portcullis_filters::cache::{CacheSettings, KeyCache};
use portcullis_filters::credential::CredentialSlots;
use portcullis_filters::denial::Denial;
use serde_json::Value;
use tokio::runtime::Handle;
use tower::ServiceExt;

pub(crate) const MASTER: &str = "sk-master-0123456789";

pub(crate) struct Node {
    pub(crate) router: Router,
    pub(crate) store: Store,
    file: PathBuf,
}

impl Node {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("portcullis-admin-{}-{count}.db", std::process::id()));
        // The cache keeps keys for a minute: what a test sees at once was pushed, not found by chance.
        let cache = Arc::new(KeyCache::new(CacheSettings::default()));
        let settings = StoreSettings::new(StoreUrl::Sqlite(file.clone()));
        let store = Store::open(settings, cache.clone(), Handle::current()).unwrap();
        let failures = Arc::new(FailureThrottle::new(FailureSettings::default()));
        let keys = VirtualKeyAuthenticator::new(store.keys(), cache, failures).with_directory(store.directory());
        let authenticators = Authenticators::new(vec![
            Authenticator::Master(MasterKeys::new(&[MASTER.into()])),
            Authenticator::VirtualKey(keys),
        ]);
        let state = AdminState {
            store: store.admin(),
            reports: store.reports(),
            gate: Arc::new(ArcSwap::from_pointee(Gate { slots: CredentialSlots::default(), authenticators })),
            rules: Arc::new(ArcSwap::from_pointee(KeyRules::new("derivation".into()))),
            deployments: Arc::new(Vec::new),
            models: Arc::new(|| Arc::new([])),
            explainer: Arc::new(Nothing),
            logout_tokens: Arc::new(Issuer),
        };
        Self { router: router(state), store, file }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header("x-api-key", key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// As the operator; the answer of a request that succeeds.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, MASTER, &[], body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// As the operator; the answer of a request that succeeds.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, MASTER, &[], String::new()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// What a request with this key is told.
    pub(crate) async fn works(&self, key: &str) -> StatusCode {
        self.call(Method::POST, "/key/health", key, &[], String::new()).await.0
    }

    /// Everything that is in the database's files.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = ["", "-wal"].map(|side| std::fs::read(format!("{}{side}", self.file.display())));
        files.into_iter().flatten().flatten().collect()
    }
}

/// An issuer whose logout tokens are `sid=...` or `sub=...`, issued now.
struct Issuer;

pub(crate) const ISSUER: &str = "https://idp.example";

#[async_trait]
impl LogoutTokens for Issuer {
    async fn verify(&self, token: &str, _: Option<IpAddr>, now: SystemTime) -> Result<LoggedOut, Denial> {
        let named = |claim: &str| token.strip_prefix(claim).map(str::to_owned);
        let (sid, sub) = (named("sid="), named("sub="));
        if sid.is_none() && sub.is_none() {
            return Err(Denial::InvalidToken("not one of its words"));
        }
        Ok(LoggedOut { issuer: ISSUER.to_owned(), sub, sid, issued_at: now })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for side in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{side}", self.file.display()));
        }
    }
}

/// Explains nothing: what is asked is the shell's to answer.
struct Nothing;

#[async_trait]
impl Explain for Nothing {
    async fn explain(&self, _: Question, _: SystemTime) -> Explanation {
        Explanation::default()
    }
}
