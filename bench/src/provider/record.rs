//! What the fake provider saw: one entry for each request head, completed as its body arrives and its answer leaves.
//!
//! The log is the value of a watch channel, so that a test awaits a state of it instead of sleeping. An entry exists from the
//! moment the head was read: a request that must never reach a provider shows up here even when its body never ends.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Version};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::watch;

/// Bodies up to this many bytes are kept whole; of longer ones only length and digest are.
pub const KEPT_BODY_BYTES: usize = 1 << 20;

/// One request as it reached the provider.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// Its place in the order of arrival, from 0; `clear` does not start it again.
    pub number: usize,
    /// The connection it came on, from 0 in the order of acceptance: equal numbers are a reused connection.
    pub connection: u64,
    /// The protocol it arrived with.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The path as sent, not decoded.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: Option<String>,
    /// All header fields in the order of the wire and, over HTTP/1.1, in the case of the wire.
    pub headers: Vec<(String, Bytes)>,
    /// The body.
    pub body: RecordedBody,
    /// How the exchange ended.
    pub outcome: Outcome,
}

/// The body of a recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBody {
    /// Bytes that arrived.
    pub length: u64,
    /// SHA-256 of them, lower-case hex.
    pub sha256: String,
    /// The bytes, unless there are more than [`KEPT_BODY_BYTES`].
    pub bytes: Option<Bytes>,
    /// Whether the end of the body was seen. False while it arrives, when the sender left, and when a script does not read it.
    pub complete: bool,
}

/// How an exchange ended, seen from the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended yet.
    Open,
    /// The whole answer was handed to the connection.
    Answered,
    /// The other side went away first.
    Left,
    /// The script cut the connection.
    Cut,
}

impl RecordedRequest {
    /// The first value of a header field, matched without regard to case; `None` too when it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_values(name).into_iter().next()
    }

    /// All textual values of a header field, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        let same_name = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        same_name.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    }

    /// Path and query as one request target.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// The body as JSON; `Null` when it is not JSON or was not kept.
    pub fn json(&self) -> serde_json::Value {
        self.body.bytes.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
    }

    /// Whether nothing more of this request can arrive.
    pub fn has_arrived(&self) -> bool {
        self.body.complete || self.outcome != Outcome::Open
    }
}

/// The log and the channel that tells of its changes. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    log: Arc<watch::Sender<Log>>,
}

/// Everything recorded since the start. `clear` hides entries but keeps them: a search for leaked credentials looks at all.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<RecordedRequest>,
    hidden: usize,
}

impl Log {
    pub(super) fn visible(&self) -> &[RecordedRequest] {
        &self.entries[self.hidden..]
    }
}

impl Recorder {
    pub(super) fn new() -> Self {
        Recorder { log: Arc::new(watch::Sender::new(Log::default())) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Log> {
        self.log.subscribe()
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.log.borrow().visible().to_vec()
    }

    /// Also what `clear` has hidden.
    pub(crate) fn history(&self) -> Vec<RecordedRequest> {
        self.log.borrow().entries.clone()
    }

    pub(super) fn total(&self) -> usize {
        self.log.borrow().entries.len()
    }

    pub(super) fn clear(&self) {
        self.log.send_modify(|log| log.hidden = log.entries.len());
    }

    /// Opens an entry and returns what completes it.
    pub(super) fn open(&self, parts: &http::request::Parts, headers: Vec<(String, Bytes)>, connection: u64) -> Entry {
        let mut number = 0;
        self.log.send_modify(|log| {
            number = log.entries.len();
            log.entries.push(RecordedRequest {
                number,
                connection,
                version: parts.version,
                method: parts.method.clone(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().map(str::to_owned),
                headers,
                body: BodyDigest::default().so_far(false),
                outcome: Outcome::Open,
            });
        });
        Entry { recorder: self.clone(), number, body: BodyDigest::default(), body_open: true, ended: false }
    }

    fn update(&self, number: usize, change: impl FnOnce(&mut RecordedRequest)) {
        self.log.send_modify(|log| {
            change(&mut log.entries[number]);
        });
    }
}

/// The open end of one entry. Dropped before [`Entry::end`] it records that the other side left.
#[derive(Debug)]
pub(super) struct Entry {
    recorder: Recorder,
    number: usize,
    body: BodyDigest,
    body_open: bool,
    ended: bool,
}

impl Entry {
    pub(super) fn body_chunk(&mut self, chunk: &[u8]) {
        self.body.push(chunk);
    }

    /// Stores the body as far as it came.
    pub(super) fn body_end(&mut self, complete: bool) {
        self.body_open = false;
        let body = std::mem::take(&mut self.body).so_far(complete);
        self.recorder.update(self.number, |entry| entry.body = body);
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        self.recorder.update(self.number, |entry| entry.outcome = outcome);
    }

    /// [`Entry::end`] for a place that may be reached after it.
    pub(super) fn end_unless_ended(&mut self, outcome: Outcome) {
        if !self.ended {
            self.end(outcome);
        }
    }

    /// The entry as it stands.
    pub(super) fn request(&self) -> RecordedRequest {
        self.recorder.log.borrow().entries[self.number].clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.body_open {
            self.body_end(false);
        }
        if !self.ended {
            self.end(Outcome::Left);
        }
    }
}

#[derive(Debug, Default)]
struct BodyDigest {
    length: u64,
    kept: BytesMut,
    hash: Sha256,
}

impl BodyDigest {
    fn push(&mut self, chunk: &[u8]) {
        self.length += chunk.len() as u64;
        self.hash.update(chunk);
        if self.length <= KEPT_BODY_BYTES as u64 {
            self.kept.extend_from_slice(chunk);
        }
    }

    fn so_far(self, complete: bool) -> RecordedBody {
        RecordedBody {
            length: self.length,
            sha256: self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            bytes: (self.length <= KEPT_BODY_BYTES as u64).then(|| self.kept.freeze()),
            complete,
        }
    }
}

/// Header fields in the map's order, for requests whose bytes were not seen (HTTP/2).
pub(super) fn fields_of(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    headers.iter().map(|(name, value)| (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}
