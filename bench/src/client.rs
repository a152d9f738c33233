//! Clients for tests that care about bytes: a raw connection for HTTP/1.1, and one for HTTP/2 that chooses its own frames.
//!
//! Everything is bounded by [`crate::PATIENCE`] and fails the test when that is over.

pub mod websocket;

use crate::framing::{find, message_end};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends these bytes on a new connection and returns all that comes back until the other side closes.
///
/// # Panics
///
/// When the connection fails, or is still open after [`crate::PATIENCE`].
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut connection = RawConnection::open(addr).await;
    connection.send(bytes).await;
    connection.read_to_end().await
}

/// The beginning of an ordinary HTTP client, which no proxy setting of the environment leads away from the loopback.
pub fn http() -> reqwest::ClientBuilder {
    // Where the workspace is built as one, the client has TLS and asks for the library's provider even if it never uses it.
    // That another test was first to install it is fine: it is the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy()
}

/// One TCP connection and what came on it.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One HTTP/1.1 response as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawResponse {
    /// The status, 0 when the first line is none.
    pub status: u16,
    /// First line and header fields, as text.
    pub head: String,
    /// The body as on the wire: a chunked one with its chunk lines.
    pub body: Vec<u8>,
}

impl RawResponse {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl RawConnection {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = crate::within("connecting", TcpStream::connect(addr)).await.expect("a listener");
        stream.set_nodelay(true).expect("an open socket");
        RawConnection { stream, unread: Vec::new() }
    }

    /// Sends bytes. That the other side closed already is no failure: its answer tells.
    pub async fn send(&mut self, bytes: &[u8]) {
        crate::within("sending", self.stream.write_all(bytes)).await.ok();
    }

    /// Closes the sending half.
    pub async fn finish_sending(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Reads one response: head, and body by its content-length or chunks. An interim response is one of its own.
    ///
    /// # Panics
    ///
    /// When the connection closes before, with what had come.
    pub async fn response(&mut self) -> RawResponse {
        let end = loop {
            if let Some(end) = message_end(&self.unread) {
                break end;
            }
            let more = self.read_more().await;
            assert!(more, "closed after {:?}", String::from_utf8_lossy(&self.unread));
        };
        let message: Vec<u8> = self.unread.drain(..end).collect();
        let head_end = find(&message, b"\r\n\r\n").expect("a message has a head") + 4;
        let head = String::from_utf8_lossy(&message[..head_end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        RawResponse { status, head, body: message[head_end..].to_vec() }
    }

    /// Reads until these bytes have come, and returns all up to and with them.
    ///
    /// # Panics
    ///
    /// When the connection closes before.
    pub async fn read_until(&mut self, wanted: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.unread, wanted) {
                return self.unread.drain(..at + wanted.len()).collect();
            }
            let more = self.read_more().await;
            assert!(more, "closed after {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// Reads until the other side closes (a reset counts) and returns what was left.
    ///
    /// # Panics
    ///
    /// When it is still open after [`crate::PATIENCE`].
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.read_more().await {}
        std::mem::take(&mut self.unread)
    }

    async fn read_more(&mut self) -> bool {
        matches!(crate::within("reading", self.stream.read_buf(&mut self.unread)).await, Ok(1..))
    }
}

/// Connects over TLS and insists on HTTP/2, for tests that write the frames themselves.
///
/// # Panics
///
/// When the certificate is not trusted by `trust`, or the other side does not choose HTTP/2.
pub async fn tls_stream(
    addr: SocketAddr,
    name: &'static str,
    trust: Arc<rustls::ClientConfig>,
) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
    let stream = TcpStream::connect(addr).await.expect("a listener");
    stream.set_nodelay(true).expect("an open socket");
    let name = ServerName::try_from(name).expect("a host name");
    let connect = tokio_rustls::TlsConnector::from(trust).connect(name, stream);
    let stream = crate::within("the TLS handshake", connect).await.expect("a trusted certificate");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

/// One HTTP/2 connection.
#[derive(Debug)]
pub struct H2Connection {
    sender: h2::client::SendRequest<Bytes>,
}

/// One HTTP/2 response.
#[derive(Debug, Clone)]
pub struct H2Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl H2Connection {
    /// Connects without TLS, with prior knowledge.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn plain(addr: SocketAddr) -> Self {
        H2Connection::over(TcpStream::connect(addr).await.expect("a listener")).await
    }

    /// Connects over TLS and insists on HTTP/2.
    ///
    /// # Panics
    ///
    /// When the certificate is not trusted by `trust`, or the other side does not choose HTTP/2.
    pub async fn tls(addr: SocketAddr, name: &'static str, trust: Arc<rustls::ClientConfig>) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a listener");
        stream.set_nodelay(true).expect("an open socket");
        let name = ServerName::try_from(name).expect("a host name");
        let connect = tokio_rustls::TlsConnector::from(trust).connect(name, stream);
        let stream = crate::within("the TLS handshake", connect).await.expect("a trusted certificate");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        H2Connection::over(stream).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let handshake = crate::within("the HTTP/2 handshake", h2::client::handshake(stream)).await;
        let (sender, connection) = handshake.expect("a peer that speaks HTTP/2");
        tokio::spawn(connection);
        H2Connection { sender }
    }

    /// Sends a request whose body is exactly these DATA frames, the last of which ends it; an empty piece is an empty frame. No
    /// piece at all ends the request with its HEADERS frame. A piece longer than the peer's window is sent as the window opens.
    ///
    /// # Errors
    ///
    /// When the peer resets the stream or closes the connection.
    ///
    /// # Panics
    ///
    /// When there is no answer within [`crate::PATIENCE`].
    pub async fn send(&mut self, request: Request<()>, pieces: &[Bytes]) -> Result<H2Response, h2::Error> {
        crate::within("an HTTP/2 response", self.exchange(request, pieces)).await
    }

    async fn exchange(&mut self, request: Request<()>, pieces: &[Bytes]) -> Result<H2Response, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(request, pieces.is_empty())?;
        for (index, piece) in pieces.iter().enumerate() {
            body.send_data(piece.clone(), index + 1 == pieces.len())?;
        }
        let (parts, mut incoming) = response.await?.into_parts();
        let mut received = Vec::new();
        while let Some(piece) = incoming.data().await {
            let piece = piece?;
            incoming.flow_control().release_capacity(piece.len())?;
            received.extend_from_slice(&piece);
        }
        Ok(H2Response { status: parts.status, headers: parts.headers, body: received.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::{H2Connection, RawConnection, raw, websocket};
    use crate::provider::{FIRST_FRAME, Provider};
    use crate::raw::RawProvider;
    use bytes::Bytes;
    use http::Request;

    #[tokio::test]
    async fn reads_responses_one_by_one_and_keeps_every_byte() {
        let provider = RawProvider::start().unwrap();
        let mut connection = RawConnection::open(provider.addr()).await;
        let smuggled = b"POST / HTTP/1.1\r\nContent-Length : 3\r\ncontent-length: 2\r\n\r\n{}GET /x HTTP/1.1\r\n\r\n";
        connection.send(smuggled).await;
        for _ in 0..2 {
            let response = connection.response().await;
            assert_eq!(
                (response.status, response.header("Content-Length"), &response.body[..]),
                (200, Some("2"), &b"{}"[..])
            );
        }
        drop(connection);
        let captures = provider.captured(|captures| captures.iter().any(|capture| capture.closed)).await;
        assert_eq!((&captures[0].bytes[..], captures[0].messages), (&smuggled[..], 2));
    }

    #[tokio::test]
    async fn reads_until_the_other_side_closes() {
        let provider = Provider::start().unwrap();
        let answer = raw(provider.addr(), b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}"));
    }

    #[tokio::test]
    async fn ends_a_request_with_an_empty_data_frame() {
        let provider = Provider::start().unwrap();
        let mut connection = H2Connection::plain(provider.addr()).await;
        let request = Request::post(provider.url() + "/v1/chat/completions").body(()).unwrap();
        let response = connection.send(request, &[Bytes::from("{}"), Bytes::new()]).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(provider.next_request().await.body.bytes.as_deref(), Some(&b"{}"[..]));
    }

    #[tokio::test]
    async fn talks_over_a_websocket() {
        let provider = Provider::start().unwrap();
        let mut connection = RawConnection::open(provider.addr()).await;
        connection
            .send(&websocket::upgrade("/v1/realtime?model=m", "sec-websocket-protocol: realtime, other\r\n"))
            .await;
        let response = connection.response().await;
        assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, Some("realtime")));
        connection.read_until(&websocket::server_text(FIRST_FRAME)).await;
        connection.send(&websocket::client_text("hello")).await;
        assert_eq!(connection.read_until(b"hello").await, websocket::server_text("hello"));
    }
}
