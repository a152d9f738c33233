//! The provider's listener: numbers connections and taps the bytes of each HTTP/1.1 head.
//!
//! The HTTP library lowers header names and groups equal ones; a test that asks what exactly a proxy sent needs them as they
//! were. The tap collects what is read until the head is taken from it, and starts again when that request's body has been read.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// No head in a test is longer; what exceeds it is not tapped.
const LONGEST_HEAD: usize = 2 << 20;

/// What the listener shares with its provider.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) accepted: AtomicU64,
    pub(super) refusing: AtomicBool,
}

pub(super) struct TappedListener {
    pub(super) listener: TcpListener,
    pub(super) door: Arc<Door>,
}

impl Listener for TappedListener {
    type Io = TappedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TappedStream, SocketAddr) {
        loop {
            let (stream, addr) = Listener::accept(&mut self.listener).await;
            let number = self.door.accepted.fetch_add(1, Ordering::SeqCst);
            if self.door.refusing.load(Ordering::SeqCst) {
                continue;
            }
            // An event must leave when it is written; a failure here only makes it late.
            stream.set_nodelay(true).ok();
            return (TappedStream { stream, tap: Tap::new(number) }, addr);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What a request knows of its connection.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    pub(super) number: u64,
    head: Arc<Mutex<Option<Vec<u8>>>>,
    cut: Arc<AtomicBool>,
}

impl Tap {
    fn new(number: u64) -> Self {
        Tap { number, head: Arc::new(Mutex::new(Some(Vec::new()))), cut: Arc::default() }
    }

    /// Lets nothing more be written: the connection ends with the next attempt.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn observe(&self, bytes: &[u8]) {
        let mut head = self.head.lock().expect("no holder panics");
        if let Some(head) = head.as_mut().filter(|head| head.len() < LONGEST_HEAD) {
            head.extend_from_slice(bytes);
        }
    }

    /// The header fields of the head that was read last, and an end to collecting. `None` when there is no whole head.
    pub(super) fn take_fields(&self) -> Option<Vec<(String, Bytes)>> {
        let head = self.head.lock().expect("no holder panics").take()?;
        let end = head.windows(4).position(|window| window == b"\r\n\r\n")?;
        let lines = head[..end].split(|byte| *byte == b'\n').skip(1);
        lines.map(|line| field_of(line.strip_suffix(b"\r").unwrap_or(line))).collect()
    }

    /// Starts collecting: whatever is read next belongs to the next request.
    pub(super) fn collect(&self) {
        *self.head.lock().expect("no holder panics") = Some(Vec::new());
    }
}

fn field_of(line: &[u8]) -> Option<(String, Bytes)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?;
    Some((name.to_owned(), Bytes::copy_from_slice(line[colon + 1..].trim_ascii())))
}

impl Connected<IncomingStream<'_, TappedListener>> for Tap {
    fn connect_info(stream: IncomingStream<'_, TappedListener>) -> Self {
        stream.io().tap.clone()
    }
}

pub(super) struct TappedStream {
    stream: TcpStream,
    tap: Tap,
}

impl AsyncRead for TappedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.tap.observe(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.tap.cut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
