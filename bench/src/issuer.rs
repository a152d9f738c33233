//! An issuer of JWTs that is not there: signs tokens with real keys, serves its key set and its OpenID configuration, and counts
//! who fetched them.
//!
//! Keys are made once for the whole process, because an RSA key takes long; the keys that follow at a rotation are an issuer's own.

mod keys;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
pub use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::provider::Gate;
use keys::SigningKeys;

/// The algorithms that an issuer signs with. All but HS256 have a key in its key set.
pub const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256];

/// A running issuer. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Issuer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// What the key set's address answers.
#[derive(Clone, Debug, Default)]
pub enum KeySetAnswer {
    /// The key set.
    #[default]
    Keys,
    /// The key set, once the gate lets it pass.
    Held(Gate),
    /// An error of this status.
    Status(StatusCode),
    /// This key set: one in the form of another issuer.
    Other(Value),
    /// A body that is no key set.
    Garbage,
    /// A key set with this many bytes of white space before it.
    Huge(usize),
}

#[derive(Debug)]
struct Shared {
    url: String,
    now: Mutex<Now>,
    key_fetches: AtomicU64,
    discoveries: AtomicU64,
}

#[derive(Debug)]
struct Now {
    generation: u32,
    signing: Arc<SigningKeys>,
    /// Published beside those that sign.
    older: Vec<Arc<SigningKeys>>,
    answer: KeySetAnswer,
}

impl Issuer {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = crate::server_runtime("issuer")?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let now = Now { generation: 0, signing: keys::first(), older: vec![], answer: KeySetAnswer::Keys };
        let shared = Arc::new(Shared {
            url: format!("http://{addr}"),
            now: Mutex::new(now),
            key_fetches: AtomicU64::new(0),
            discoveries: AtomicU64::new(0),
        });
        let app = axum::Router::new()
            .route("/jwks", get(key_set))
            .route("/.well-known/openid-configuration", get(discovery))
            .with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { addr, shared, runtime: Some(runtime) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name, the `iss` of its tokens: the URL under which its OpenID configuration is found.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Where its key set is.
    #[must_use]
    pub fn key_set_url(&self) -> String {
        format!("{}/jwks", self.shared.url)
    }

    /// Its key set, as it is served now.
    #[must_use]
    pub fn key_set(&self) -> String {
        self.shared.key_set()
    }

    /// The secret of its HS256 tokens, the same at all times.
    #[must_use]
    pub fn hs256_secret(&self) -> &'static str {
        keys::HS256_SECRET
    }

    /// A token with these claims, signed with the newest key for this algorithm. Nothing is added to the claims.
    ///
    /// # Panics
    ///
    /// When the algorithm is none of [`ALGORITHMS`], or the claims are no JSON object.
    #[must_use]
    pub fn mint(&self, algorithm: Algorithm, claims: &impl Serialize) -> String {
        self.mint_with(&self.header(algorithm), claims)
    }

    /// The header that [`Issuer::mint`] gives a token.
    ///
    /// # Panics
    ///
    /// When the algorithm is none of [`ALGORITHMS`].
    #[must_use]
    pub fn header(&self, algorithm: Algorithm) -> Header {
        self.shared.now().signing.header(algorithm)
    }

    /// As [`Issuer::mint`], with another header: one that names no key, or the wrong one.
    ///
    /// # Panics
    ///
    /// When the header's algorithm is none of [`ALGORITHMS`], or the claims are no JSON object.
    #[must_use]
    pub fn mint_with(&self, header: &Header, claims: &impl Serialize) -> String {
        let signing = self.shared.now().signing.clone();
        signing.sign(header, claims)
    }

    /// Signs with new keys from now on. The key set has them and the old ones.
    pub fn rotate(&self) {
        let generation = self.shared.now().generation + 1;
        let new = Arc::new(SigningKeys::generate(generation));
        let mut now = self.shared.now();
        let old = std::mem::replace(&mut now.signing, new);
        now.older.push(old);
        now.generation = generation;
    }

    /// Takes all keys out of the key set that no longer sign.
    pub fn withdraw_old_keys(&self) {
        self.shared.now().older.clear();
    }

    /// Sets what those who fetch the key set get from now on.
    pub fn answer_with(&self, answer: KeySetAnswer) {
        self.shared.now().answer = answer;
    }

    /// How often the key set was asked for.
    #[must_use]
    pub fn key_fetches(&self) -> u64 {
        self.shared.key_fetches.load(Ordering::Relaxed)
    }

    /// How often the OpenID configuration was asked for.
    #[must_use]
    pub fn discoveries(&self) -> u64 {
        self.shared.discoveries.load(Ordering::Relaxed)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key_set(&self) -> String {
        let now = self.now();
        let published = now.older.iter().chain([&now.signing]).flat_map(|keys| keys.published());
        json!({"keys": published.collect::<Vec<_>>()}).to_string()
    }
}

async fn key_set(State(issuer): State<Arc<Shared>>) -> Response {
    issuer.key_fetches.fetch_add(1, Ordering::Relaxed);
    let answer = issuer.now().answer.clone();
    let body = match answer {
        KeySetAnswer::Keys => issuer.key_set().into(),
        KeySetAnswer::Held(gate) => {
            gate.pass().await;
            issuer.key_set().into()
        }
        KeySetAnswer::Status(status) => return status.into_response(),
        KeySetAnswer::Other(keys) => keys.to_string().into(),
        KeySetAnswer::Garbage => Bytes::from_static(b"<html>Sign in to continue</html>"),
        KeySetAnswer::Huge(bytes) => [vec![b' '; bytes], issuer.key_set().into_bytes()].concat().into(),
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn discovery(State(issuer): State<Arc<Shared>>) -> Response {
    issuer.discoveries.fetch_add(1, Ordering::Relaxed);
    let url = &issuer.url;
    axum::Json(json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"), "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .into_response()
}
