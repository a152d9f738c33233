//! What the micro-benchmarks decide about: requests as the OpenAI SDK for Python sends them, and a gate that knows keys.
//!
//! The store answers from memory at once, so what is measured is the decision and never a wait. Time is fixed: nothing
//! expires while it is measured.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_filters::authn::failures::FailureThrottle;
use portcullis_filters::authn::master::MasterKeys;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable, VirtualKeyAuthenticator};
use portcullis_filters::authn::{Authenticator, Authenticators, Gate};
use portcullis_filters::cache::{CacheSettings, KeyCache};
use portcullis_filters::credential::CredentialSlots;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{Endpoint, classify};
use portcullis_filters::head::RequestHead;
use portcullis_filters::operation::Operation;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::policy::{AccessGroups, Permit, Policy, authorize};
use portcullis_filters::principal::Principal;
use portcullis_filters::route::{DeploymentSettings, Provider, RouteTable, RoutingSettings};

/// The clock of every benchmark.
pub(crate) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// The operator's key.
pub(crate) const MASTER_KEY: &str = "sk-the-key-of-the-operator";
/// A key that no store knows.
pub(crate) const UNKNOWN_KEY: &str = "sk-unknownunknownunknow";
/// A model that the keys may use.
pub(crate) const MODEL: &str = "gpt-4o-mini";
/// A model that they may not use.
pub(crate) const DENIED_MODEL: &str = "o3-pro";
/// Where the requests go.
pub(crate) const PATH: &str = "/v1/chat/completions";

/// The `n`-th virtual key: as long as a minted one.
pub(crate) fn key(n: usize) -> String {
    format!("sk-{n:022}")
}

/// A whole request, as it stands when the decision begins.
pub(crate) struct Request {
    method: Method,
    path: CanonicalPath,
    /// All fields.
    pub(crate) headers: HeaderMap,
    /// A chat.
    pub(crate) body: Bytes,
}

/// The fields of the OpenAI SDK for Python, beside those that differ between requests.
const FIELDS: [(&str, &str); 14] = [
    ("host", "127.0.0.1:4000"),
    ("accept-encoding", "gzip, deflate"),
    ("connection", "keep-alive"),
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python 2.8.1"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "2.8.1"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.12.3"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-read-timeout", "600"),
];

impl Request {
    /// A chat of about `body_bytes` bytes.
    pub(crate) fn chat(credential: &str, model: &str, body_bytes: usize) -> Self {
        let text = "word ".repeat(body_bytes.saturating_sub(90) / 5);
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"{text}"}}],"model":"{model}","temperature":0.7,"stream":false}}"#
        );
        let mut headers: HeaderMap = FIELDS
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let value = |text: String| HeaderValue::try_from(text).expect("visible characters");
        headers.insert(http::header::AUTHORIZATION, value(format!("Bearer {credential}")));
        headers.insert(http::header::CONTENT_LENGTH, value(body.len().to_string()));
        let path = CanonicalPath::parse(PATH).expect("a plain path");
        Self { method: Method::POST, path, headers, body: body.into() }
    }

    /// What the stages before the body see.
    pub(crate) fn head(&self) -> RequestHead<'_> {
        let source = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: None,
            headers: &self.headers,
            source,
            client_certificate: None,
        }
    }

    /// The head as it came over the wire.
    pub(crate) fn raw_head(&self) -> Vec<u8> {
        let mut raw = format!("POST {PATH} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &self.headers {
            raw.extend_from_slice(name.as_str().as_bytes());
            raw.extend_from_slice(b": ");
            raw.extend_from_slice(value.as_bytes());
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"\r\n");
        raw
    }

    /// Which call it is.
    pub(crate) fn endpoint(&self) -> Endpoint {
        classify(&self.head()).expect("a known call")
    }

    /// What it wants.
    pub(crate) fn operation(&self, endpoint: Endpoint) -> Result<Operation, Denial> {
        Operation::read(endpoint, None, Some("application/json"), &self.body)
    }
}

/// Everything that decides, with every key in memory already.
pub(crate) struct Door {
    gate: Gate,
    groups: AccessGroups,
}

impl Door {
    /// Knows the keys `0..keys`, the master key, and that [`UNKNOWN_KEY`] is none.
    pub(crate) fn new(keys: usize) -> Self {
        let store: Arc<dyn KeyStore> = Arc::new(Keys((0..keys).map(|n| KeyHash::of(&key(n))).collect()));
        let settings = CacheSettings { max_keys: 2 * keys as u64 + 1000, ..CacheSettings::default() };
        let cache = Arc::new(KeyCache::new(settings));
        let failures = Arc::new(FailureThrottle::new(Default::default()));
        let chain = vec![
            Authenticator::Master(MasterKeys::new(&[MASTER_KEY.into()])),
            Authenticator::VirtualKey(VirtualKeyAuthenticator::new(store, cache, failures)),
        ];
        let gate = Gate { slots: CredentialSlots::default(), authenticators: Authenticators::new(chain) };
        let door = Self { gate, groups: AccessGroups::default() };
        let mut request = Request::chat("", MODEL, 0);
        for credential in (0..keys).map(key).chain([UNKNOWN_KEY.to_owned(), MASTER_KEY.to_owned()]) {
            let value = HeaderValue::try_from(format!("Bearer {credential}")).expect("visible characters");
            request.headers.insert(http::header::AUTHORIZATION, value);
            let found = door.authenticate(&request);
            assert_eq!(found.is_ok(), credential != UNKNOWN_KEY, "{credential}");
        }
        door
    }

    /// Who sends this request. Never waits: the store answers at once.
    pub(crate) fn authenticate(&self, request: &Request) -> Result<Principal, Denial> {
        let answer = self.gate.authenticate(&request.head(), NOW).now_or_never();
        answer.expect("the store answers at once")
    }

    /// From the fields to the permit: what the gateway adds to a request before it chooses an upstream.
    pub(crate) fn decide(&self, request: &Request, endpoint: Endpoint) -> Result<Permit, Denial> {
        let principal = self.authenticate(request)?;
        authorize(principal, request.operation(endpoint)?, &self.groups)
    }
}

/// Keys that may use [`MODEL`] and a family of others.
struct Keys(std::collections::HashSet<KeyHash>);

impl KeyStore for Keys {
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
        let record = |id: &KeyHash| KeyRecord {
            id: *id,
            alias: None,
            user_id: None,
            team_id: None,
            organization_id: None,
            policy: Policy::new(&["claude-*".to_owned(), MODEL.to_owned()], &[], Default::default()),
            expires: None,
            blocked: false,
            limits: None,
        };
        std::future::ready(Ok(self.0.get(&hash).map(record))).boxed()
    }
}

/// A table of ten models with `deployments` deployments each.
pub(crate) fn routes(deployments: usize) -> RouteTable {
    let deployment = |name: String| DeploymentSettings {
        model: format!("{name}-2024-07-18"),
        name,
        provider: Provider::OpenAi,
        base: "https://api.openai.com/v1".parse().expect("an address"),
        credential: Some("sk-the-key-of-the-provider".into()),
        api_version: None,
        organization: None,
        weight: 1,
        timeout: Some(Duration::from_secs(600)),
        client_side: Default::default(),
        own_credential: Default::default(),
        pricing: Default::default(),
    };
    let names = (0..9).map(|n| format!("model-{n}")).chain([MODEL.to_owned()]);
    let entries = names.flat_map(|name| std::iter::repeat_n(name, deployments)).map(deployment).collect();
    RouteTable::new(entries, Vec::new(), RoutingSettings::default())
}

/// A copy of a body that nobody else holds, with room for a longer name: as the gateway reads it.
pub(crate) fn owned(body: &Bytes) -> Bytes {
    let mut copy = Vec::with_capacity(body.len() + 256);
    copy.extend_from_slice(body);
    Bytes::from(copy)
}
