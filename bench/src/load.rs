//! The load generator: sends requests at a constant rate or as fast as a number of connections carries, and checks every answer.
//!
//! At a constant rate (open loop) a latency is counted from the moment at which the request was *to be* sent. A target that
//! stalls therefore pays for every request that came due meanwhile, also for those that had no free connection to be sent on.
//! As fast as possible (closed loop) each connection sends its next request when it has its answer: that measures processor time
//! and throughput, and its latencies say little.

mod connection;
mod credentials;
mod pace;
mod recorder;
#[cfg(test)]
mod tests;

pub use credentials::{Caller, KeySeries};
pub use recorder::LoadReport;

use crate::message::{Shape, Wrong};
use connection::Lane;
use pace::Tickets;
use recorder::Recorder;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an answer may take in all, where a plan does not say otherwise. Later ones count as [`Wrong::Late`].
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What to send, how, and for how long.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where to.
    pub target: SocketAddr,
    /// In which version of HTTP, without TLS.
    pub version: HttpVersion,
    /// How many connections. On one that ends another is made.
    pub connections: usize,
    /// From how many loopback addresses they come in turn, for a target that counts by source; with 1 all come from the usual one.
    pub addresses: u32,
    /// How the requests follow each other.
    pub pace: Pace,
    /// Requests that are to be sent before this much time has passed are checked but not measured.
    pub warm_up: Duration,
    /// When to stop.
    pub limit: Limit,
    /// What each request is.
    pub shape: Shape,
    /// Who sends it.
    pub caller: Caller,
    /// The status of the right answer. With 200 the answer must be the provider's own to this very request; with another one
    /// nothing but the status counts.
    pub expected: u16,
    /// Whether the target may write the request's body anew, so that the provider gets another number of bytes.
    pub rewrites: bool,
    /// See [`ANSWER_TIMEOUT`].
    pub answer_timeout: Duration,
    /// How many threads send; each has its share of the connections. No more than there are cores for them.
    pub threads: usize,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// One request at a time on a connection.
    Http1,
    /// HTTP/2 with prior knowledge and this many requests at a time on each connection.
    Http2 {
        /// At least one.
        streams: usize,
    },
}

/// How the requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends when it has its last answer.
    Closed,
    /// At a constant rate, whatever the answers do.
    Open {
        /// Requests a second, over all connections.
        per_second: f64,
    },
}

/// When a load ends. What is under way then is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// This long after the warm-up.
    For(Duration),
    /// After this many requests, those of the warm-up included.
    Requests(u64),
}

impl LoadPlan {
    /// A closed loop over 32 connections of HTTP/1.1 with one thread, half a second of warm-up and two of measuring.
    #[must_use]
    pub fn new(target: SocketAddr, shape: Shape, caller: Caller) -> Self {
        Self {
            target,
            version: HttpVersion::Http1,
            connections: 32,
            addresses: 1,
            pace: Pace::Closed,
            warm_up: Duration::from_millis(500),
            limit: Limit::For(Duration::from_secs(2)),
            shape,
            caller,
            expected: 200,
            rewrites: false,
            answer_timeout: ANSWER_TIMEOUT,
            threads: 1,
        }
    }
}

/// A load under way, on threads of its own.
#[derive(Debug)]
pub struct Load {
    tickets: Arc<Tickets>,
    threads: Vec<JoinHandle<std::io::Result<Recorder>>>,
}

impl Load {
    /// Begins. Its threads run where the calling thread may run.
    #[must_use]
    pub fn start(plan: LoadPlan) -> Self {
        let tickets = Arc::new(Tickets::new(&plan));
        let plan = Arc::new(plan);
        let share = |number: usize| {
            let (plan, tickets) = (plan.clone(), tickets.clone());
            std::thread::spawn(move || send_from_one_thread(&plan, &tickets, number))
        };
        Self { threads: (0..plan.threads).map(share).collect(), tickets }
    }

    /// Requests answered so far, rightly or not.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.tickets.answered()
    }

    /// When the measuring begins.
    #[must_use]
    pub fn measured_from(&self) -> Instant {
        self.tickets.measured_from
    }

    /// When it ends; `None` where a number of requests is the limit.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.tickets.ends
    }

    /// Whether every request has been dealt with.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the last answer and says what was found.
    ///
    /// # Errors
    ///
    /// When the system gave no runtime to one of its threads.
    pub fn finish(self) -> anyhow::Result<LoadReport> {
        let mut report = LoadReport::default();
        for thread in self.threads {
            let recorder = thread.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))??;
            report.add(recorder.into_report());
        }
        report.count_wrong(Wrong::Unanswered, self.tickets.never_sent());
        report.elapsed = self.tickets.measured_from.elapsed();
        if let Some(ends) = self.tickets.ends {
            report.elapsed = ends - self.tickets.measured_from;
        }
        Ok(report)
    }
}

/// Carries out a plan and waits for its end.
///
/// # Errors
///
/// As [`Load::finish`].
pub fn run(plan: LoadPlan) -> anyhow::Result<LoadReport> {
    Load::start(plan).finish()
}

fn send_from_one_thread(plan: &Arc<LoadPlan>, tickets: &Arc<Tickets>, number: usize) -> std::io::Result<Recorder> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Arc::new(std::sync::Mutex::new(Recorder::new()));
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in (number..plan.connections).step_by(plan.threads) {
            Lane::spawn_all(&mut tasks, plan, tickets, &recorder);
        }
        if number == 0 {
            let tickets = tickets.clone();
            tasks.spawn(async move { tickets.issue().await });
        }
        // Whoever hangs is ended here: each answer has a time limit, but a connection that is being made has none of its own.
        while tasks.join_next().await.is_some() {}
    });
    drop(runtime);
    let recorder = Arc::into_inner(recorder).ok_or_else(|| std::io::Error::other("a task outlived its runtime"))?;
    recorder.into_inner().map_err(|_| std::io::Error::other("a task panicked"))
}
