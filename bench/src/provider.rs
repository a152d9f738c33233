//! A provider that is not there: answers like OpenAI, Azure OpenAI, Anthropic and Gemini, does what a test scripts, and records
//! every request that reached it.
//!
//! One listener serves all four, over HTTP/1.1 and HTTP/2 with prior knowledge; the path tells who is asked. Waiting for what
//! happens here is done with [`Provider::next_request`] and [`Provider::disconnected`], never with a sleep.

mod connection;
mod control;
mod dialect;
mod exchange;
mod realtime;
mod record;
mod script;

pub use dialect::{INPUT_TOKENS, OUTPUT_TOKENS, PIECES};
pub use realtime::FIRST_FRAME;
pub use record::{KEPT_BODY_BYTES, Outcome, RecordedBody, RecordedRequest};
pub use script::{Gate, Script};

use connection::{Door, Tap, TappedListener};
pub(crate) use record::Recorder;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// A running fake provider. Dropping it closes its listener and all its connections.
#[derive(Debug)]
pub struct Provider {
    addr: SocketAddr,
    shared: Arc<Shared>,
    seen: AtomicUsize,
    runtime: Option<Runtime>,
}

/// What the connections share with the [`Provider`] in the test's hands.
#[derive(Debug)]
struct Shared {
    recorder: Recorder,
    scripts: Mutex<Scripts>,
    door: Arc<Door>,
}

#[derive(Debug, Default)]
struct Scripts {
    queued: VecDeque<Script>,
    standing: Option<Script>,
    /// The gate of the script that came over the control endpoint last.
    pace: Option<Gate>,
}

impl Provider {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn start() -> io::Result<Self> {
        Provider::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts on this address.
    ///
    /// # Errors
    ///
    /// When the address is taken, or no socket or thread can be had.
    pub fn start_on(addr: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = crate::server_runtime("fake-provider")?;
        let door = Arc::new(Door::default());
        let shared = Arc::new(Shared { recorder: Recorder::new(), scripts: Mutex::default(), door: door.clone() });
        let listener = {
            let _inside = runtime.enter();
            TappedListener { listener: tokio::net::TcpListener::from_std(listener)?, door }
        };
        let app = axum::Router::new().fallback(exchange::exchange).with_state(shared.clone());
        let server = axum::serve(listener, app.into_make_service_with_connect_info::<Tap>());
        runtime.spawn(async move { server.await });
        Ok(Provider { addr, shared, seen: AtomicUsize::new(0), runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and [`Provider::addr`], without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Adds a script for one request: the first such request gets the first script that is left.
    pub fn script(&self, script: Script) {
        self.shared.scripts().queued.push_back(script);
    }

    /// Sets the script for every request for which none was added. `Script::usual()` is the state at the start.
    pub fn script_all(&self, script: Script) {
        self.shared.scripts().standing = Some(script);
    }

    /// Makes it cut new connections as soon as they are accepted, or stop doing so.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.door.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.door.accepted.load(Ordering::SeqCst)
    }

    /// Everything recorded since the start or the last [`Provider::clear`], in order of arrival; also what is still arriving.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.recorder.requests()
    }

    /// Forgets what was recorded. Scripts stay.
    pub fn clear(&self) {
        self.seen.store(self.shared.recorder.total(), Ordering::SeqCst);
        self.shared.recorder.clear();
    }

    /// The next request that this method has not returned yet, once it has arrived whole or its sender has left.
    ///
    /// # Panics
    ///
    /// When there is none within [`crate::PATIENCE`].
    pub async fn next_request(&self) -> RecordedRequest {
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        self.entry("a request at the provider", |entry| entry.number == number && entry.has_arrived()).await
    }

    /// The first recorded request whose sender left before its answer was complete.
    ///
    /// # Panics
    ///
    /// When there is none within [`crate::PATIENCE`].
    pub async fn disconnected(&self) -> RecordedRequest {
        self.entry("a disconnect at the provider", |entry| entry.outcome == Outcome::Left).await
    }

    /// The record itself, for whoever looks at all of it at the end.
    pub(crate) fn recorder(&self) -> Recorder {
        self.shared.recorder.clone()
    }

    async fn entry(&self, what: &str, wanted: impl Fn(&RecordedRequest) -> bool) -> RecordedRequest {
        let mut log = self.shared.recorder.watch();
        let found = crate::within(what, log.wait_for(|log| log.visible().iter().any(&wanted))).await;
        let log = found.expect("the provider that is asked holds the sender");
        log.visible().iter().find(|entry| wanted(entry)).cloned().expect("just seen in the same snapshot")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn scripts(&self) -> std::sync::MutexGuard<'_, Scripts> {
        self.scripts.lock().expect("no holder panics")
    }

    /// The script for a request that arrives now.
    fn next_script(&self) -> Script {
        let mut scripts = self.scripts();
        let queued = scripts.queued.pop_front();
        queued.or_else(|| scripts.standing.clone()).unwrap_or_else(Script::usual)
    }
}

#[cfg(test)]
mod tests;
