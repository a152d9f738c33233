//! What Portcullis is tested and measured against: providers that are not there.
//!
//! [`provider`] answers like OpenAI, Azure OpenAI, Anthropic and Gemini and records what reached it; [`raw`] keeps the bytes
//! themselves and understands as little as possible. Both listen on the loopback interface only, each on a runtime of its own,
//! so that a test's runtime can neither starve them nor be starved. [`gateway`] runs the gateway as a child process, never linked;
//! [`client`] and [`tls`] talk to it; [`credentials`] looks for secrets where they must not be;
//! [`postgres`] is a real database server of one's own, [`keycloak`] a real issuer of tokens, [`issuer`] one that is not there, and
//! [`authoriser`] a web hook.
//!
//! Under load [`upstream`] stands where [`provider`] stands in tests: it is fast, keeps nothing, and marks its answers so that
//! [`message`] can tell a right one from any other. [`load`] asks, [`target`] is asked, [`process`] says what that cost, [`run`] does
//! it for each [`scenario`], and [`report`] shows the [`result`].

pub mod authoriser;
pub mod client;
pub mod credentials;
pub mod fanout;
mod framing;
pub mod gateway;
pub mod issuer;
pub mod keycloak;
pub mod load;
pub mod message;
pub mod passthrough;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod raw;
pub mod redis;
pub mod report;
pub mod result;
pub mod run;
pub mod scenario;
pub mod target;
pub mod tls;
pub mod upstream;

use std::time::Duration;

/// How long anything that waits for an event waits before it fails the test. Far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits `event` for at most [`PATIENCE`].
///
/// # Panics
///
/// When the time is over: the message names `what` was awaited.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// A runtime of its own for one fake server: dropped with `shutdown_background` it closes every socket at once.
fn server_runtime(name: &str) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
}
