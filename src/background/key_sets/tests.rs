//! A key set and its server over time; the whole of it over the wire is in `tests/jwt`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use portcullis_filters::authn::jwt::algorithm::Algorithm;
use reqwest::{Url, redirect};

use super::*;

/// A server of one key set. What it answers is decided anew for each request.
struct Server {
    address: SocketAddr,
    state: Arc<Answers>,
}

struct Answers {
    asked: AtomicU32,
    answer: Mutex<fn(&str) -> Response>,
    url: String,
}

/// With the public key of RFC 8037, appendix A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

impl Server {
    async fn start(answer: fn(&str) -> Response) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let state = Arc::new(Answers { asked: AtomicU32::new(0), answer: Mutex::new(answer), url });
        let app = Router::new().fallback(get(answers)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, state }
    }

    fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    fn asked(&self) -> u32 {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn answers(State(state): State<Arc<Answers>>, uri: axum::http::Uri) -> Response {
    state.asked.fetch_add(1, Ordering::SeqCst);
    let answer = *state.answer.lock().unwrap();
    if uri.path().ends_with("openid-configuration") {
        return axum::Json(serde_json::json!({"issuer": state.url, "jwks_uri": format!("{}/keys", state.url)}))
            .into_response();
    }
    answer(uri.path())
}

fn keys(_: &str) -> Response {
    KEYS.into_response()
}

fn fetcher(urls: Vec<Url>, issuer: Option<&str>) -> Fetcher {
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let settings = KeySetSettings {
        urls,
        issuer: issuer.map(str::to_owned),
        ttl: Duration::from_secs(600),
        max_stale: Duration::from_secs(3600),
        cooldown: Duration::from_secs(10),
    };
    Fetcher::new(client, settings)
}

#[tokio::test]
async fn a_set_counts_as_long_as_its_server_says_within_bounds() {
    for (cache_control, seconds) in [
        (None, 600),
        (Some("public, max-age=120, must-revalidate"), 120),
        (Some("MAX-AGE=120"), 120),
        (Some("max-age=1"), 10),
        (Some("max-age=86400"), 600),
        (Some("no-cache"), 60),
        (Some("no-store, max-age=5"), 10),
        (Some("max-age=soon"), 600),
        (Some("max-age=99999999999999999999999"), 600),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(text) = cache_control {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(text));
        }
        let lifetime = fetcher(vec![], None).lifetime(&headers);
        assert_eq!(lifetime, Duration::from_secs(seconds), "{cache_control:?}");
    }
}

#[tokio::test]
async fn what_is_no_key_set_is_an_error_and_a_redirect_is_not_followed() {
    let cases: [fn(&str) -> Response; 5] = [
        |_| StatusCode::NOT_FOUND.into_response(),
        |path| match path {
            "/elsewhere" => KEYS.into_response(),
            _ => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")], KEYS).into_response(),
        },
        |_| "<html>".into_response(),
        |_| r#"{"keys":[]}"#.into_response(),
        |_| format!("{}{KEYS}", " ".repeat(1 << 20)).into_response(),
    ];
    for (number, answer) in cases.into_iter().enumerate() {
        let server = Server::start(answer).await;
        let url = server.url("/keys");
        assert!(fetcher(vec![url.clone()], None).fetch(&url).await.is_err(), "case {number}");
        assert_eq!(server.asked(), 1, "case {number}");
    }
}

#[tokio::test]
async fn discovery_counts_for_its_own_issuer_only() {
    let server = Server::start(keys).await;
    let url = server.url("/.well-known/openid-configuration");
    for (issuer, good) in [(Some(server.state.url.as_str()), true), (None, true), (Some("http://another"), false)] {
        let fetched = fetcher(vec![url.clone()], issuer).fetch(&url).await;
        assert_eq!(fetched.is_ok(), good, "{issuer:?}");
    }
}

/// A set of these addresses, as requests see it.
fn keep(urls: Vec<Url>) -> KeySource {
    let fetcher = fetcher(urls, None);
    let (publisher, source) = key_source();
    tokio::spawn(Keeper::new(fetcher, publisher).run());
    source
}

#[tokio::test]
async fn an_unknown_key_waits_for_the_first_fetch_and_causes_none_in_the_cooldown() {
    let server = Server::start(keys).await;
    let source = keep(vec![server.url("/keys")]);
    let set = source.newer(SystemTime::now()).await.unwrap();
    assert!(set.has(Some("one"), Algorithm::EdDsa) && !set.has(Some("two"), Algorithm::EdDsa));
    for _ in 0..100 {
        assert!(source.newer(SystemTime::now()).await.is_none(), "the cool-down refuses at once");
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn an_address_that_fails_takes_nothing_from_the_others() {
    let (good, bad) = (Server::start(keys).await, Server::start(|_| StatusCode::BAD_GATEWAY.into_response()).await);
    let source = keep(vec![bad.url("/keys"), good.url("/keys")]);
    let set = source.newer(SystemTime::now()).await.unwrap();
    assert!(set.has(Some("one"), Algorithm::EdDsa));
    assert!(source.is_partial(), "a key that is not there may be one of the other address");
}

#[tokio::test]
async fn one_task_fetches_for_all_who_use_a_set_and_ends_with_them() {
    let server = Server::start(keys).await;
    let settings = fetcher(vec![server.url("/keys")], None).settings().clone();
    let key_sets = KeySets::new(Client::builder().build().unwrap(), Handle::current());
    let sources = [key_sets.source(&settings), key_sets.source(&settings)];
    assert!(sources[0].newer(SystemTime::now()).await.is_some());
    assert!(sources[1].current().is_some());
    assert_eq!(server.asked(), 1);
    key_sets.retain(&[]);
    let again = key_sets.source(&settings);
    assert!(again.newer(SystemTime::now()).await.is_some(), "a new task fetches");
    assert_eq!(server.asked(), 2);
}
