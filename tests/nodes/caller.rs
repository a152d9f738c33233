//! A client on one connection, which it opens again where the gateway closed it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portcullis_bench::client::{RawConnection, RawResponse};
use serde_json::{Value, json};

use crate::node::MODEL;

/// How long a closed loop may take to see what it waits for. Far above every bound that is asserted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks one request after another.
pub(crate) struct Caller {
    addr: SocketAddr,
    connection: Option<RawConnection>,
    /// Lines added to every request, each with its end.
    headers: String,
}

impl Caller {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, connection: None, headers: String::new() }
    }

    /// From now on every request comes from this address, to a gateway that believes this caller.
    pub(crate) fn come_from(&mut self, source: &str) {
        self.headers = format!("x-forwarded-for: {source}\r\n");
    }

    /// A chat call, which reaches the provider.
    pub(crate) async fn chat(&mut self, key: &str) -> RawResponse {
        let messages = json!([{"role": "user", "content": "hello"}]);
        self.post("/v1/chat/completions", key, &json!({"model": MODEL, "messages": messages})).await
    }

    /// The cheapest call that needs a key; it reaches nobody.
    pub(crate) async fn models(&mut self, key: &str) -> RawResponse {
        self.get("/v1/models", key).await
    }

    pub(crate) async fn get(&mut self, target: &str, key: &str) -> RawResponse {
        self.ask(&format!("GET {target}"), key, "", "").await
    }

    pub(crate) async fn post(&mut self, path: &str, key: &str, body: &Value) -> RawResponse {
        let body = body.to_string();
        let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        self.ask(&format!("POST {path}"), key, &head, &body).await
    }

    /// Opens the connection, if there is none.
    pub(crate) async fn connect(&mut self) {
        if self.connection.is_none() {
            self.connection = Some(RawConnection::open(self.addr).await);
        }
    }

    /// Asks chat calls in a closed loop until one is answered as `wanted`; any answer before must be as `before`. Returns
    /// when that was.
    pub(crate) async fn until(&mut self, key: &str, before: Wanted, wanted: Wanted) -> Instant {
        let asking = async {
            loop {
                let answer = self.chat(key).await;
                if wanted.fits(&answer) {
                    return Instant::now();
                }
                assert!(before.fits(&answer), "neither {before:?} nor {wanted:?}: {}", shown(&answer));
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not {wanted:?} within {PATIENCE:?}"))
    }

    async fn ask(&mut self, line: &str, key: &str, head: &str, body: &str) -> RawResponse {
        self.connect().await;
        let connection = self.connection.as_mut().unwrap();
        let more = &self.headers;
        let request =
            format!("{line} HTTP/1.1\r\nhost: nodes\r\nauthorization: Bearer {key}\r\n{more}{head}\r\n{body}");
        connection.send(request.as_bytes()).await;
        let response = connection.response().await;
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.connection = None;
        }
        response
    }
}

/// For a failed test.
pub(crate) fn shown(answer: &RawResponse) -> String {
    format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body))
}

/// What an answer says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// 200.
    Served,
    /// 401 with this `type`.
    Refused(&'static str),
    /// 403, because of the model.
    NotThisModel,
    /// 503, because the store cannot be asked, in its one shape.
    StoreAway,
}

/// 401 of a key that nobody knows.
pub(crate) const UNKNOWN: Wanted = Wanted::Refused("token_not_found_in_db");

impl Wanted {
    pub(crate) fn fits(self, answer: &RawResponse) -> bool {
        let error = |name: &str| {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body["error"][name].as_str().map(str::to_owned)
        };
        match self {
            Self::Served => answer.status == 200,
            Self::Refused(kind) => answer.status == 401 && error("type").as_deref() == Some(kind),
            Self::NotThisModel => answer.status == 403 && error("param").as_deref() == Some("model"),
            Self::StoreAway => {
                answer.status == 503
                    && answer.header("retry-after") == Some("1")
                    && error("type").as_deref() == Some("no_db_connection")
                    && error("code").as_deref() == Some("503")
                    && error("message").is_some()
            }
        }
    }
}
