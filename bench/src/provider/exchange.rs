//! One request and its answer: record the head, read the body, then walk through the script.
//!
//! The entry in the log travels with the answer's body. When the connection drops that body before its last piece was taken, the
//! entry is dropped with it and so records that the other side left.

use super::connection::Tap;
use super::dialect::{self, Says};
use super::record::{Entry, Outcome, fields_of};
use super::script::{Answer, Script, Step};
use super::{Shared, control, realtime};
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, StatusCode, Version, header};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// The unit of `Script::fill`.
const FILLING: &[u8] = &[b'.'; 64 * 1024];

pub(super) async fn exchange(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(tap): ConnectInfo<Tap>,
    request: Request,
) -> Response {
    if request.uri().path().starts_with(control::PREFIX) {
        return control::answer(&shared, request).await;
    }
    let (mut parts, body) = request.into_parts();
    let tapped = tap.take_fields().filter(|_| parts.version < Version::HTTP_2);
    let fields =
        tapped.filter(|fields| fields.len() == parts.headers.len()).unwrap_or_else(|| fields_of(&parts.headers));
    let mut entry = shared.recorder.open(&parts, fields, tap.number);
    let script = shared.next_script();
    if realtime::is_asked_for(&parts) && matches!(script.answer, Answer::Usual { .. }) {
        entry.body_end(true);
        return realtime::answer(&mut parts, entry).await;
    }
    if script.reads_body {
        if !read(body, &mut entry).await {
            // The sender is gone: nobody reads this answer, and the entry says so.
            return Response::new(Body::empty());
        }
        tap.collect();
    }
    if let Some(gate) = &script.hold {
        gate.pass().await;
    }
    if matches!(script.answer, Answer::Nothing) {
        entry.end(Outcome::Cut);
        tap.cut();
    }
    answer(script, entry)
}

/// Takes the body into the entry; false when it broke off.
async fn read(body: Body, entry: &mut Entry) -> bool {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => entry.body_chunk(&chunk),
            Err(_) => {
                entry.body_end(false);
                return false;
            }
        }
    }
    entry.body_end(true);
    true
}

fn answer(script: Script, entry: Entry) -> Response {
    let Plan { status, content_type, length, steps } = plan(script.answer, &entry);
    let mut response = Response::new(body(steps, entry));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    for (name, value) in script.headers {
        // A scripted header replaces the usual one of that name, but may itself be repeated only under a name that is not usual.
        if name == header::CONTENT_TYPE || name == header::CONTENT_LENGTH {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    response
}

struct Plan {
    status: StatusCode,
    content_type: Option<&'static str>,
    length: Option<usize>,
    steps: VecDeque<Step>,
}

fn plan(answer: Answer, entry: &Entry) -> Plan {
    let whole = |status, content_type, bytes: Bytes| Plan {
        status,
        content_type,
        length: Some(bytes.len()),
        steps: VecDeque::from([Step::Send(bytes)]),
    };
    let request = entry.request();
    let (says, pace) = match answer {
        Answer::Whole(status, bytes) => return whole(status, Some("application/json"), bytes),
        Answer::Steps(status, steps) => return Plan { status, content_type: None, length: None, steps: steps.into() },
        Answer::Nothing => {
            return Plan { status: StatusCode::OK, content_type: None, length: None, steps: VecDeque::new() };
        }
        Answer::Error(status) => (dialect::error(dialect::dialect_of(&request), status), None),
        Answer::Usual { pace } => (dialect::usual(&request), pace),
    };
    match says {
        Says::Json(status, value) => whole(status, Some("application/json"), Bytes::from(value.to_string())),
        Says::Raw(content_type, bytes) => whole(StatusCode::OK, Some(content_type), bytes),
        Says::Stream(content_type, pieces) => {
            let waits = |piece| pace.clone().map(Step::Wait).into_iter().chain([Step::Send(piece)]);
            let steps = pieces.into_iter().flat_map(waits).collect();
            Plan { status: StatusCode::OK, content_type: Some(content_type), length: None, steps }
        }
    }
}

/// The steps as a body. The entry ends with the last piece, because a reader that knows the length asks for no more.
fn body(steps: VecDeque<Step>, entry: Entry) -> Body {
    let pieces = futures_util::stream::unfold(Some((steps, entry)), async |state| {
        let (mut steps, mut entry) = state?;
        while let Some(step) = steps.pop_front() {
            match step {
                Step::Wait(gate) => gate.pass().await,
                Step::Fill(0) => {}
                Step::Fill(left) => {
                    let now = left.min(FILLING.len() as u64);
                    steps.push_front(Step::Fill(left - now));
                    return Some((Ok(Bytes::from_static(&FILLING[..now as usize])), Some((steps, entry))));
                }
                Step::Cut => {
                    // The connection flushes what it has when it has to wait; an error at once would drop that.
                    tokio::task::yield_now().await;
                    entry.end(Outcome::Cut);
                    return Some((Err(io::Error::other("cut by the script")), None));
                }
                Step::Send(piece) => {
                    if steps.is_empty() {
                        entry.end(Outcome::Answered);
                    }
                    return Some((Ok(piece), Some((steps, entry))));
                }
            }
        }
        entry.end_unless_ended(Outcome::Answered);
        None
    });
    Body::from_stream(pieces)
}
