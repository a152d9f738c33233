//! A provider that keeps bytes: for tests that ask what exactly a proxy put on the wire.
//!
//! It understands of HTTP/1.1 only where a request ends (content-length, or the last chunk), and says so about nothing: a message
//! that a real parser would refuse is kept like any other. Each request is answered with the same fixed bytes.

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

/// Where the first message in these bytes ends, if it does.
fn message_end(bytes: &[u8]) -> Option<usize> {
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    let value_of = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let body_length = if value_of("transfer-encoding").is_some() {
        chunked_length(&bytes[head_end..])?
    } else {
        value_of("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    };
    let end = head_end.checked_add(body_length)?;
    (bytes.len() >= end).then_some(end)
}

/// The length of a chunked body with its last line, if it is whole.
fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_end = at + find(&bytes[at..], b"\r\n")?;
        let size_text = std::str::from_utf8(&bytes[at..line_end]).ok()?;
        let size = usize::from_str_radix(size_text.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(line_end + 2 + find(&bytes[line_end + 2..], b"\r\n")? + 2);
        }
        at = line_end.checked_add(2)?.checked_add(size)?.checked_add(2).filter(|next| *next <= bytes.len())?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{chunked_length, message_end};

    #[test]
    fn a_message_ends_where_its_framing_says() {
        let table: [(&[u8], Option<usize>); 6] = [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(27)),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", None),
            (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", Some(41)),
            (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", None),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Some(60)),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", None),
        ];
        for (bytes, end) in table {
            assert_eq!(message_end(bytes), end, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_absurd_chunk_size_is_no_end() {
        assert_eq!(chunked_length(b"ffffffffffffffff\r\nabc\r\n"), None);
    }
}
