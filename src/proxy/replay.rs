//! A downstream session in other clothes, for the two places where Pingora's own would go wrong.
//!
//! * A body of unknown length beyond Pingora's 64 KiB replay buffer (HTTP/1.1 chunked, or HTTP/2 without content-length)
//!   was read already; Pingora has no public way to give a session its body back. Here it is played from memory, once
//!   for each upstream. An HTTP/1.1 connection is not reused after it.
//! * An upgrade request has no body, and Pingora 0.9.1 tells the upstream side so with an end-of-body task. When the
//!   101 overtakes that task, the task is taken for the end of the tunnel, which is then closed (`proxy_h1.rs`, the
//!   reset of `request_done`). A session that does not call its body empty sends no such task.
//!
//! The custom-session trait is the one seam that Pingora offers for this.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

/// Replaces the downstream session by one that plays `body`: any bytes, in whose place `request_body_filter` sends the
/// whole body.
pub(super) fn play(session: &mut Session, body: Bytes) {
    session.set_keepalive(None);
    let vacant = Box::new(ServerSession::new_custom(Box::new(())));
    let inner = std::mem::replace(&mut session.downstream_session, vacant);
    *session.downstream_session =
        ServerSession::new_custom(Box::new(Replay { inner, body: Some(body), played: false }));
}

/// Keeps the tunnel of an upgrade request open from its first byte.
pub(super) fn tunnel(session: &mut Session) {
    let vacant = Box::new(ServerSession::new_custom(Box::new(())));
    let inner = std::mem::replace(&mut session.downstream_session, vacant);
    *session.downstream_session = ServerSession::new_custom(Box::new(Replay { inner, body: None, played: true }));
}

struct Replay {
    inner: Box<ServerSession>,
    /// What to play; `None` for a tunnel.
    body: Option<Bytes>,
    played: bool,
}

#[async_trait]
impl CustomSession for Replay {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.body.is_some() { Ok(None) } else { self.inner.read_request_body().await }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(&mut self, answer: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.inner.write_response_header(answer).await
    }

    async fn write_response_header_ref(&mut self, answer: &ResponseHeader, _end: bool) -> Result<()> {
        self.inner.write_response_header_ref(answer).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.inner.response_duplex_vec(tasks).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_some() || self.inner.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.inner.finish_body().await
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.as_ref().is_some_and(Bytes::is_empty)
    }

    /// Plays the body once; afterwards waits for the client to hang up, as the inner session does. A tunnel is read on.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let Some(body) = &self.body else { return self.inner.read_body_or_idle(no_body_expected).await };
        if !self.played && !no_body_expected {
            self.played = true;
            return Ok(Some(body.clone()));
        }
        self.inner.read_body_or_idle(true).await
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {}

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    /// What Pingora sends to each upstream that it tries.
    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.body.clone()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        self.inner.finish_body().await
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Err(Error::explain(ErrorType::InternalError, "a replayed session has no messages"))
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Err(Error::explain(ErrorType::InternalError, "a replayed session has no messages"))
    }
}
