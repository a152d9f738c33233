//! Connections for WebSocket handshakes: they let Pingora finish the request before it sees the answer.
//!
//! Pingora ends a tunnel when the request's end reaches its upstream half, and takes even the end of the handshake for
//! that if the 101 was read first (0.9.1, `proxy_h1.rs`). Both wait in one `select!`, so a provider that answers at once
//! wins every other time. Here the first look at the socket after a write finds nothing, and the end of the handshake,
//! which is waiting already, goes first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::upstream::CONNECT;

/// Connects sockets of this kind. Pingora leaves the time-out to whoever connects.
#[derive(Debug)]
pub(super) struct TunnelConnector;

#[async_trait]
impl Connect for TunnelConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let address = address.as_inet().ok_or_else(|| Error::explain(ErrorType::ConnectError, "no address"))?;
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected.or_err(ErrorType::ConnectTimedout, "for a tunnel")?;
        let stream = stream.or_err(ErrorType::ConnectError, "for a tunnel")?;
        Ok(VirtualSocketStream::new(Box::new(TunnelSocket { stream, wrote: false })).into())
    }
}

/// A socket on which the first look after a write finds nothing.
#[derive(Debug)]
struct TunnelSocket {
    stream: TcpStream,
    wrote: bool,
}

impl VirtualSocket for TunnelSocket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            VirtualSockOpt::KeepAlive(settings) => {
                set_tcp_keepalive(&self.stream, &settings).map_err(|error| io::Error::other(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl AsyncRead for TunnelSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TunnelSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        self.wrote = true;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
