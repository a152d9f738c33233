//! Stopping: streams in flight may finish within a bound, and nobody waits longer than that takes.
//!
//! Pingora closes its listeners at SIGTERM and then sleeps for a fixed grace period. The process leaves that sleep as
//! soon as the last request has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, UnixShutdownSignalWatch};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use super::nodes::Nodes;
use super::settle::Settling;
use crate::telemetry::Log;

/// Pingora's signals (TERM graceful, QUIT hand-over, INT at once), with word to the control runtime.
pub struct Signals {
    /// Turns true at the first of them.
    pub stopping: watch::Sender<bool>,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let signal = UnixShutdownSignalWatch.recv().await;
        tracing::info!(signal = ?signal, "stopping");
        self.stopping.send_replace(true);
        signal
    }
}

/// Requests that had arrived in a socket buffer when the listeners closed get this long to show up as active.
const SETTLE: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(20);

/// For how long the others are told that this node ends.
const LEAVE: Duration = Duration::from_millis(500);

/// Ends the process once no request is active, or at the bound.
pub async fn when_drained(
    mut stopped: watch::Receiver<bool>,
    active: Arc<AtomicUsize>,
    bound: Duration,
    settling: Arc<Settling>,
    nodes: Arc<Nodes>,
    log: Log,
) {
    if stopped.wait_for(|stopped| *stopped).await.is_err() {
        return;
    }
    let started = Instant::now();
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let waited = started.elapsed();
        let left = active.load(Ordering::Relaxed);
        if (left == 0 && waited > SETTLE) || waited > bound {
            settling.finish().await;
            let _ = timeout(LEAVE, nodes.leave()).await;
            tracing::info!(requests.cut = left, "stopped");
            log.flush();
            std::process::exit(0);
        }
    }
}
