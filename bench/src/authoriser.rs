//! A web hook that decides who is calling and takes no time to do so: what a gateway that asks it costs is the gateway's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// A running hook. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct Authoriser {
    addr: SocketAddr,
    runtime: Option<Runtime>,
}

impl Authoriser {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = crate::server_runtime("authoriser")?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let app = axum::Router::new()
            .route("/each", post(async || Json(proven())))
            .route("/kept", post(async || Json(kept())));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { addr, runtime: Some(runtime) })
    }

    /// Where it is asked. `kept`: its answers may be remembered for a minute, for every request with the same credential.
    #[must_use]
    pub fn url(&self, kept: bool) -> String {
        format!("http://{}/{}", self.addr, if kept { "kept" } else { "each" })
    }
}

impl Drop for Authoriser {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn proven() -> Value {
    json!({"outcome": "proven", "identity": {"user_id": "bench"}})
}

fn kept() -> Value {
    let mut answer = proven();
    answer["keep"] = json!({"seconds": 60, "depends_on": []});
    answer
}
