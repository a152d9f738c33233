//! Reads, keeps and replays the request body. All of Pingora's traps around bodies live here and in [`super::replay`].
//!
//! The model's name stands in the body, so the body is read before an upstream is chosen. Pingora hands a body that was
//! read early to `request_body_filter` only if its own replay buffer (64 KiB, fixed) holds something. Hence two ways:
//!
//! * *Armed tail*: the buffer is switched on for the last 64 KiB only. It then holds the tail, Pingora offers the tail
//!   once for each upstream, and `request_body_filter` sends our whole body in its place.
//! * *Replay*: a longer body of unknown length leaves no tail to arm; the session is replaced by one that offers a tail
//!   of its own ([`super::replay`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{BodyKind, Endpoint};
use portcullis_filters::operation::Operation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::replay;
use crate::config::HttpSettings;

/// A body may be slow, but not slower than this on average after its first `body_timeout`.
pub const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;

/// Pingora's replay buffer (`pingora-core`, `v1/common.rs`).
const REPLAY_BUFFER: usize = 64 * 1024;

/// Room for bodies is counted in units of this many bytes.
const UNIT: usize = 64 * 1024;
/// A body of unknown length reserves room in steps of this many bytes.
const STEP: usize = 1024 * 1024;

/// Bounds the bytes of all request bodies that are held at once.
#[derive(Clone)]
pub struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    /// Room for `bytes` in all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Denial> {
        let steps = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0).try_acquire_many_owned(steps);
        permit.map_err(|_| Denial::Overloaded("request bodies fill the memory that they may"))
    }
}

/// Room for a longer model name, so that a body that gets one need not move.
const LONGER_NAME: usize = 256;

/// A whole request body and the room that it takes.
#[derive(Default)]
pub struct RequestBody {
    bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

impl RequestBody {
    /// The bytes; cloning them copies nothing.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Changes the bytes, which nobody else needs to hold meanwhile.
    pub fn replace(&mut self, change: impl FnOnce(Bytes) -> Bytes) {
        self.bytes = change(std::mem::take(&mut self.bytes));
    }
}

/// Reads the body that an endpoint of this kind takes.
///
/// # Errors
/// [`Denial::BodyTooLarge`] at once where the length is declared, else when it is reached; [`Denial::BodyTimeout`];
/// [`Denial::Overloaded`]; [`Denial::UnreadableBody`] when the client breaks off.
pub async fn read(
    session: &mut Session,
    kind: BodyKind,
    http: &HttpSettings,
    memory: &BodyMemory,
) -> Result<RequestBody, Denial> {
    if session.is_upgrade_req() {
        replay::tunnel(session);
        return Ok(RequestBody::default());
    }
    let bound = if kind == BodyKind::None { 0 } else { http.max_body_bytes };
    let most = usize::try_from(bound).unwrap_or(usize::MAX);
    let declared = declared_length(session);
    if declared.is_some_and(|length| length > most) {
        return Err(Denial::BodyTooLarge(bound));
    }
    let mut room = declared.unwrap_or(0);
    let mut held = memory.reserve(room)?;
    let keep_alive = session.get_keepalive();
    continue_if_expected(session).await?;
    let mut body = BytesMut::new();
    let started = Instant::now();
    let bytes = loop {
        let left = declared.map(|length| length.saturating_sub(body.len()));
        if left.is_none_or(|left| left <= REPLAY_BUFFER) {
            session.enable_retry_buffering();
        }
        let deadline = started + http.body_timeout + Duration::from_secs(body.len() as u64 / MIN_BYTES_PER_SECOND);
        let read = timeout_at(deadline, session.read_request_body()).await.map_err(|_| Denial::BodyTimeout)?;
        let Some(chunk) = read.map_err(|error| broken_off(&error))? else { break body.freeze() };
        if body.len() + chunk.len() > most {
            return Err(Denial::BodyTooLarge(bound));
        }
        if body.len() + chunk.len() > room {
            held.merge(memory.reserve(STEP)?);
            room += STEP;
        }
        if body.is_empty() {
            if session.is_body_done() {
                break chunk;
            }
            body.reserve(declared.map_or(0, |length| length + LONGER_NAME));
        }
        body.extend_from_slice(&chunk);
        if session.is_body_done() {
            break body.freeze();
        }
    };
    // Pingora takes an interim answer for one that came before the end of the body, and would close.
    session.set_keepalive(keep_alive);
    if session.get_retry_buffer().is_none() && !bytes.is_empty() {
        replay::play(session, Bytes::copy_from_slice(&bytes[bytes.len() - 1..]));
    }
    Ok(RequestBody { bytes, _held: Some(held) })
}

/// Reads the operation out of head and body, and takes out of the body what the caller brings of its own.
///
/// # Errors
/// As [`Operation::take`]; an encoded body cannot be read here and is refused.
pub fn operation(session: &Session, endpoint: Endpoint, body: &mut RequestBody) -> Result<Operation, Denial> {
    let header = session.req_header();
    let encoded = header.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if encoded && !body.bytes.is_empty() {
        return Err(Denial::UnreadableBody("content-encoding is not supported".into()));
    }
    let content_type = header.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let whole = std::mem::take(&mut body.bytes);
    let (operation, rest) = Operation::take(endpoint, header.uri.query(), content_type, whole)?;
    body.bytes = rest;
    Ok(operation)
}

/// Reads and drops what is left of a body after its answer, within a bound, so that closing does not reset the
/// connection before the client has read the answer.
pub(super) async fn drain(session: &mut Session) {
    let awaits_go_ahead = session.req_header().headers.contains_key(EXPECT);
    if awaits_go_ahead || session.is_upgrade_req() {
        return;
    }
    let deadline = Instant::now() + DRAIN_TIME;
    let mut left = DRAIN_BYTES;
    while left > 0 && !session.is_body_done() {
        let Ok(Ok(Some(chunk))) = timeout_at(deadline, session.read_request_body()).await else { return };
        left = left.saturating_sub(chunk.len());
    }
}

const DRAIN_TIME: Duration = Duration::from_secs(2);
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

fn declared_length(session: &Session) -> Option<usize> {
    session.req_header().headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn continue_if_expected(session: &mut Session) -> Result<(), Denial> {
    if !session.req_header().headers.contains_key(EXPECT) || session.is_body_empty() {
        return Ok(());
    }
    session.write_continue_response().await.map_err(|error| broken_off(&error))
}

fn broken_off(error: &pingora::Error) -> Denial {
    match error.etype() {
        pingora::ErrorType::ReadTimedout => Denial::BodyTimeout,
        _ => Denial::UnreadableBody("the body is incomplete or badly framed".into()),
    }
}
