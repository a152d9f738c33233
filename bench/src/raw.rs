//! A provider that keeps bytes: for tests that ask what exactly a proxy put on the wire.
//!
//! It understands of HTTP/1.1 only where a request ends (content-length, or the last chunk), and says so about nothing: a message
//! that a real parser would refuse is kept like any other. Each request is answered with the same fixed bytes.

use crate::framing::message_end;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The answer unless another was given.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// A running raw provider. Dropping it closes its listener and all its connections.
#[derive(Debug)]
pub struct RawProvider {
    addr: SocketAddr,
    captures: Arc<watch::Sender<Vec<Capture>>>,
    runtime: Option<Runtime>,
}

/// What one connection carried, in the order of acceptance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// Every byte received.
    pub bytes: Vec<u8>,
    /// Messages that were seen to end, and so were answered.
    pub messages: usize,
    /// Whether the other side has closed its end.
    pub closed: bool,
}

impl RawProvider {
    /// Starts on a free loopback port and answers every message with [`OK`].
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn start() -> io::Result<Self> {
        RawProvider::answering(OK)
    }

    /// Starts on a free loopback port and answers every message with these bytes, in one write.
    ///
    /// # Errors
    ///
    /// When no socket or thread can be had.
    pub fn answering(answer: impl Into<Vec<u8>>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = crate::server_runtime("raw-provider")?;
        let captures = Arc::new(watch::Sender::new(Vec::new()));
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (answer, log): (Arc<[u8]>, _) = (answer.into().into(), captures.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(keep(stream, answer.clone(), log.clone()));
            }
        });
        Ok(RawProvider { addr, captures, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and [`RawProvider::addr`], without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What each connection carried so far.
    pub fn captures(&self) -> Vec<Capture> {
        self.captures.borrow().clone()
    }

    /// Waits until this holds of the captures and returns them.
    ///
    /// # Panics
    ///
    /// When it does not hold within [`crate::PATIENCE`].
    pub async fn captured(&self, holds: impl Fn(&[Capture]) -> bool) -> Vec<Capture> {
        let mut captures = self.captures.subscribe();
        let found = crate::within("the raw provider's captures", captures.wait_for(|captures| holds(captures))).await;
        found.expect("the provider that is asked holds the sender").clone()
    }
}

impl Drop for RawProvider {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn keep(mut stream: TcpStream, answer: Arc<[u8]>, log: Arc<watch::Sender<Vec<Capture>>>) {
    let mut index = 0;
    log.send_modify(|captures| {
        index = captures.len();
        captures.push(Capture::default());
    });
    let mut unanswered = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        unanswered.extend_from_slice(&piece[..length]);
        log.send_modify(|captures| captures[index].bytes.extend_from_slice(&piece[..length]));
        while let Some(end) = message_end(&unanswered) {
            unanswered.drain(..end);
            log.send_modify(|captures| captures[index].messages += 1);
            if stream.write_all(&answer).await.is_err() {
                break;
            }
        }
    }
    log.send_modify(|captures| captures[index].closed = true);
}
