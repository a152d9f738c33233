//! What stands around Pingora's HTTP proxy on each connection: a deadline for the head, which Pingora lacks, and a bound
//! on connections.
//!
//! Pingora reads a head with a time-out per read and none between keep-alive requests, so a client that sends a byte now
//! and then would hold its connection for ever. Here one request must get its head through in time or is dropped.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::sync::Semaphore;

use super::{Gateway, Live};

tokio::task_local! {
    static HEAD: Arc<AtomicBool>;
}

/// Tells the connection that the head of its request is complete.
pub(super) fn head_is_complete() {
    // An HTTP/2 stream is served outside the scope on purpose: its head was complete before it came here.
    let _ = HEAD.try_with(|complete| complete.store(true, Ordering::Relaxed));
}

/// The proxy with a deadline and a bound around it.
pub struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    live: Arc<ArcSwap<Live>>,
    connections: Arc<Semaphore>,
}

impl Edge {
    /// `max_connections` bounds HTTP/1.1 connections and HTTP/2 streams together.
    #[must_use]
    pub fn new(proxy: HttpProxy<Gateway>, live: Arc<ArcSwap<Live>>, max_connections: usize) -> Self {
        Self { proxy: Arc::new(proxy), live, connections: Arc::new(Semaphore::new(max_connections)) }
    }
}

#[async_trait]
impl HttpServerApp for Edge {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // Over the bound a connection is dropped at once: an answer would cost more than the attack.
        let _place = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        if session.is_http2() {
            return self.proxy.process_new_http(session, shutdown).await;
        }
        // Between two requests of a connection the idle time counts too; Pingora cannot tell where the head begins.
        let reused = session.get_keepalive().is_some();
        let limit = {
            let live = self.live.load();
            if reused { live.http.keep_alive.max(live.http.head_timeout) } else { live.http.head_timeout }
        };
        let complete = Arc::new(AtomicBool::new(false));
        let work = HEAD.scope(Arc::clone(&complete), self.proxy.process_new_http(session, shutdown));
        head_within(limit, &complete, work).await
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.proxy.server_options()
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.proxy.h2_options()
    }
}

/// Runs `work` to its end, but drops it if `complete` is not set within `limit`.
async fn head_within<T>(
    limit: std::time::Duration,
    complete: &AtomicBool,
    work: impl Future<Output = Option<T>>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut late = std::pin::pin!(tokio::time::sleep(limit));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        // The rest of a request has deadlines of its own.
        Poll::Pending if complete.load(Ordering::Relaxed) => Poll::Pending,
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    })
    .await
}
