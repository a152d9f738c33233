//! One connection of the provider: reads a request without keeping it, counts it, and answers in one write.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, sleep, sleep_until};

use super::Shared;
use super::answer::Answers;
use crate::message::{ASK_BYTES, Ask, Dialect};

/// Every header in which some client or provider puts a credential. A gateway passes on at most the provider's own.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "x-api-key", "x-goog-api-key", "api-key", "x-litellm-api-key", "ocp-apim-subscription-key"];

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves whoever connects, for as long as it is polled.
pub(super) async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        // A connection that was gone before it was taken, or a lack of file descriptors that passes.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        stream.set_nodelay(true)?;
        let shared = shared.clone();
        let service = service_fn(move |request| answer(request, shared.clone()));
        let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        // Its end is the client's affair, however it comes.
        tokio::spawn(async move { serving.await.ok() });
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, hyper::Error> {
    if request.method() == Method::GET {
        return Ok(counted(&shared));
    }
    let answers = shared.answers();
    let settings = &answers.settings;
    let (head, body) = request.into_parts();
    let (dialect, streams) = asked(head.uri.path());
    let (ask, received) = read(body).await?;
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    if leaks(dialect, &head.headers, head.uri.query(), &settings.provider_key) {
        shared.leaks.fetch_add(1, Ordering::Relaxed);
    }
    if !settings.delay.is_zero() {
        sleep(settings.delay).await;
    }
    if falls_on(number, settings.stalling) {
        std::future::pending::<()>().await;
    }
    // One further on, so that of two equal shares neither hides the other.
    if falls_on(number + 1, settings.failing) {
        let body = Bytes::from_static(br#"{"error":{"message":"told to fail","type":"server_error"}}"#);
        return Ok(response(StatusCode::SERVICE_UNAVAILABLE, "application/json", Full::new(body).boxed_unsync()));
    }
    let ask = ask.unwrap_or(Ask { nonce: 0, stream: streams });
    if !(ask.stream || streams) {
        let document = answers.document(dialect, ask.nonce, received);
        return Ok(response(StatusCode::OK, "application/json", Full::new(document).boxed_unsync()));
    }
    let events = if settings.gap.is_zero() {
        let events = answers.events(dialect, ask.nonce, received, 0..settings.events);
        StreamBody::new(stream::iter([Ok(Frame::data(events))])).boxed_unsync()
    } else {
        paced(answers, dialect, ask.nonce, received)
    };
    Ok(response(StatusCode::OK, "text/event-stream", events))
}

/// Whose API is asked, and whether the path alone asks for a stream.
fn asked(path: &str) -> (Dialect, bool) {
    if path.ends_with("/messages") {
        (Dialect::Anthropic, false)
    } else if path.ends_with("/responses") {
        (Dialect::OpenAiResponses, false)
    } else if path.contains("enerateContent") {
        (Dialect::Gemini, path.ends_with(":streamGenerateContent"))
    } else {
        (Dialect::OpenAiChat, false)
    }
}

/// Reads the body to its end: what it asks, and its length.
async fn read(mut body: Incoming) -> Result<(Option<Ask>, u32), hyper::Error> {
    let mut ask = None;
    let mut received = 0;
    let mut seam = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        received += piece.len();
        if ask.is_some() {
            continue;
        }
        // Between two pieces the mark may be cut: the seam is as much of both as it can take.
        seam.extend_from_slice(&piece[..piece.len().min(ASK_BYTES)]);
        ask = Ask::find(&piece).or_else(|| Ask::find(&seam));
        if piece.len() > ASK_BYTES {
            seam.clear();
            seam.extend_from_slice(&piece[piece.len() - ASK_BYTES..]);
        }
        seam.advance(seam.len().saturating_sub(ASK_BYTES));
    }
    Ok((ask, u32::try_from(received).unwrap_or(u32::MAX)))
}

/// Whether the request came without the provider's key where this dialect has it, or with another credential anywhere.
fn leaks(dialect: Dialect, headers: &HeaderMap, query: Option<&str>, provider_key: &str) -> bool {
    let own = match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiResponses => AUTHORIZATION.as_str(),
        Dialect::Anthropic => "x-api-key",
        Dialect::Gemini => "x-goog-api-key",
    };
    let is_key = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.strip_prefix(b"Bearer ").unwrap_or(value) == provider_key.as_bytes()
    };
    let has_own = headers.get(own).is_some_and(is_key);
    let has_other = CREDENTIAL_HEADERS.iter().any(|name| headers.get_all(*name).iter().any(|value| !is_key(value)));
    !has_own || has_other || query.is_some_and(|query| query.contains("key="))
}

/// Whether this share of all requests, evenly spread, has one more with this number than before it.
fn falls_on(number: u64, share: f64) -> bool {
    let upto = |count: u64| (count as f64 * share).floor();
    upto(number + 1) > upto(number)
}

/// Each event at its own time, counted from the first: one that is late does not make the others late.
fn paced(answers: Arc<Answers>, dialect: Dialect, nonce: u64, received: u32) -> Body {
    let first = Instant::now();
    let events = stream::unfold(0, move |sequence| {
        let answers = answers.clone();
        async move {
            if sequence == answers.settings.events {
                return None;
            }
            if sequence > 0 {
                sleep_until(first + answers.settings.gap * sequence).await;
            }
            let event = answers.events(dialect, nonce, received, sequence..sequence + 1);
            Some((Ok(Frame::data(event)), sequence + 1))
        }
    });
    StreamBody::new(events).boxed_unsync()
}

fn counted(shared: &Shared) -> Response<Body> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let text = format!(r#"{{"requests":{},"leaks":{}}}"#, count(&shared.requests), count(&shared.leaks));
    response(StatusCode::OK, "application/json", Full::from(text).boxed_unsync())
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
