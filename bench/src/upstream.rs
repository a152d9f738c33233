//! The provider of a load test: answers at once and in every dialect, records nothing, and marks what it says, so that whoever
//! asked can tell the right answer from any other ([`crate::message`]).
//!
//! It counts what it must not be given: a request whose credential is not the provider's own key.

mod answer;
mod connection;
mod dialect;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;

use answer::Answers;

/// How the provider answers. The default: at once, 1 KB or eight events, never failing.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct UpstreamSettings {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The key that every request must carry where its dialect puts one; any other credential is counted as a leak.
    #[arg(long, default_value = "provider-key")]
    pub provider_key: String,
    /// Bytes of an answer that is no stream; at least the few hundred that its form takes.
    #[arg(long, default_value_t = 1024)]
    pub answer_bytes: usize,
    /// Milliseconds between the end of a request and the head of its answer.
    #[arg(long = "delay-ms", default_value = "0", value_parser = milliseconds)]
    pub delay: Duration,
    /// Events with text in a stream, at least one.
    #[arg(long, default_value_t = 8)]
    pub events: u32,
    /// Milliseconds from one event to the next; 0 sends all in one piece.
    #[arg(long = "gap-ms", default_value = "0", value_parser = milliseconds)]
    pub gap: Duration,
    /// Share of requests that are answered 503, from 0 to 1; evenly spread.
    #[arg(long, default_value_t = 0.0)]
    pub failing: f64,
    /// Share of requests that are never answered while their connection stays open, from 0 to 1; evenly spread.
    #[arg(long, default_value_t = 0.0)]
    pub stalling: f64,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            port: 0,
            provider_key: "provider-key".to_owned(),
            answer_bytes: 1024,
            delay: Duration::ZERO,
            events: 8,
            gap: Duration::ZERO,
            failing: 0.0,
            stalling: 0.0,
        }
    }
}

/// A running provider with a thread of its own. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct LoadProvider {
    addr: SocketAddr,
    shared: Arc<Shared>,
    // Dropping it ends the thread.
    _running: tokio::sync::oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    answers: RwLock<Arc<Answers>>,
    requests: AtomicU64,
    leaks: AtomicU64,
}

impl LoadProvider {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn start(settings: UpstreamSettings) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, settings.port))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let answers = RwLock::new(Arc::new(Answers::new(settings)));
        let shared = Arc::new(Shared { answers, requests: AtomicU64::new(0), leaks: AtomicU64::new(0) });
        let (running, stopped) = tokio::sync::oneshot::channel();
        // One thread and no stealing: an answer takes a few microseconds, and a second thread would take them from the target.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = shared.clone();
        std::thread::Builder::new().name("load-provider".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    ended = connection::accept(listener, serving) => ended,
                    _ = stopped => Ok(()),
                }
            })
        })?;
        Ok(Self { addr, shared, _running: running })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers otherwise from the next request on. Its port stays.
    pub fn change(&self, settings: UpstreamSettings) {
        let answers = Arc::new(Answers::new(settings));
        *self.shared.answers.write().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// Requests whose body has arrived whole.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests that came without the provider's key or with another credential beside it.
    #[must_use]
    pub fn leaks(&self) -> u64 {
        self.shared.leaks.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn answers(&self) -> Arc<Answers> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs the provider by hand until a signal ends the process. `GET` anything tells what it has counted.
///
/// # Errors
///
/// When its port cannot be had, or nobody reads what is printed.
pub fn serve(settings: UpstreamSettings) -> anyhow::Result<()> {
    let provider = LoadProvider::start(settings).context("starting the provider")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "portcullis-bench: upstream ready addr={}", provider.addr())?;
    stdout.flush()?;
    loop {
        std::thread::park();
    }
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}
