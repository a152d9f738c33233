//! The harness' own check: between generator and provider stands a target that spoils every fifth answer, and each way of
//! spoiling one must be caught, named and counted, no more and no less.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portcullis_bench::load::{Caller, Limit, LoadPlan, LoadReport, Pace, run};
use portcullis_bench::message::{Dialect, Shape, Wrong};
use portcullis_bench::upstream::{LoadProvider, UpstreamSettings};
use tokio::runtime::Runtime;

const REQUESTS: u64 = 40;
/// Every so many requests one is spoilt.
const EVERY: u64 = 5;

/// What is done to an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The connection is closed instead of it.
    Drop,
    /// The connection is closed in the middle of it.
    Cut,
    /// Half of it, ended as if that were all.
    Shorten,
    /// The answer to an earlier request comes once more.
    Repeat,
    Status(StatusCode),
    /// It never comes.
    Stall,
    /// Bytes in its middle are lost.
    Lose,
    /// A byte of the request is lost on the way to the provider.
    LoseOfRequest,
    /// One event of the stream is lost.
    LoseEvent,
    /// Two events of the stream change places.
    SwapEvents,
    /// The last event of the stream is lost, with nothing of the text.
    LoseLastEvent,
}

#[test]
fn every_fault_of_a_target_is_caught_and_counted() {
    let cases = [
        (Fault::None, false, None),
        (Fault::None, true, None),
        (Fault::Drop, false, Some(Wrong::Unanswered)),
        (Fault::Drop, true, Some(Wrong::Unanswered)),
        (Fault::Cut, false, Some(Wrong::Cut)),
        (Fault::Cut, true, Some(Wrong::Cut)),
        (Fault::Shorten, false, Some(Wrong::Cut)),
        (Fault::Shorten, true, Some(Wrong::Cut)),
        (Fault::Repeat, false, Some(Wrong::Foreign)),
        (Fault::Repeat, true, Some(Wrong::Foreign)),
        (Fault::Status(StatusCode::BAD_GATEWAY), false, Some(Wrong::Status(502))),
        (Fault::Status(StatusCode::CREATED), true, Some(Wrong::Status(201))),
        (Fault::Stall, false, Some(Wrong::Late)),
        (Fault::Stall, true, Some(Wrong::Late)),
        (Fault::Lose, false, Some(Wrong::Altered)),
        (Fault::LoseOfRequest, false, Some(Wrong::Altered)),
        (Fault::LoseOfRequest, true, Some(Wrong::Altered)),
        (Fault::LoseEvent, true, Some(Wrong::Disordered)),
        (Fault::SwapEvents, true, Some(Wrong::Disordered)),
        (Fault::LoseLastEvent, true, Some(Wrong::Cut)),
    ];
    for (fault, stream, expected) in cases {
        let report = load(fault, stream, Pace::Closed);
        let expected: Vec<_> = expected.map(|wrong| (wrong, REQUESTS / EVERY)).into_iter().collect();
        assert_eq!(Vec::from_iter(report.wrong), expected, "{fault:?}, stream: {stream}");
        let right = REQUESTS - expected.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!((report.answered, report.latency.len()), (right, right), "{fault:?}, stream: {stream}");
    }
}

#[test]
fn at_a_constant_rate_a_stall_is_counted_and_charged() {
    let pace = Pace::Open { per_second: 50.0 };
    let good = load(Fault::None, false, pace);
    assert_eq!((good.answered, good.wrong.len()), (REQUESTS, 0));
    let stalled = load(Fault::Stall, false, pace);
    assert_eq!(Vec::from_iter(stalled.wrong.clone()), [(Wrong::Late, REQUESTS / EVERY)]);
    // After 400 ms all four connections are stuck for most of a second: what came due meanwhile waited, and was right in the end.
    assert!(stalled.latency_ms(0.75) > 300.0, "p75 {} ms", stalled.latency_ms(0.75));
    assert!(good.latency_ms(0.75) < 300.0, "p75 {} ms", good.latency_ms(0.75));
}

fn load(fault: Fault, stream: bool, pace: Pace) -> LoadReport {
    let provider = LoadProvider::start(UpstreamSettings::default()).unwrap();
    let target = FaultyTarget::start(provider.addr(), fault);
    let plan = LoadPlan {
        connections: 4,
        pace,
        warm_up: Duration::ZERO,
        limit: Limit::Requests(REQUESTS),
        answer_timeout: Duration::from_secs(if fault == Fault::Stall { 1 } else { 20 }),
        ..LoadPlan::new(
            target.addr,
            Shape::new(Dialect::OpenAiChat, stream, 1024, "gpt-4o-mini"),
            Caller::bearer("provider-key"),
        )
    };
    run(plan).unwrap()
}

/// A proxy on a thread of its own.
struct FaultyTarget {
    addr: SocketAddr,
    _runtime: Runtime,
}

struct Forwarding {
    upstream: SocketAddr,
    fault: Fault,
    client: reqwest::Client,
    requests: AtomicU64,
    earlier: Mutex<Option<Bytes>>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl FaultyTarget {
    fn start(upstream: SocketAddr, fault: Fault) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = portcullis_bench::client::http().build().unwrap();
        let (requests, earlier) = (AtomicU64::new(0), Mutex::default());
        let forwarding = Arc::new(Forwarding { upstream, fault, client, requests, earlier });
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let forwarding = forwarding.clone();
                let service = service_fn(move |request| forwarding.clone().forward(request));
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { serving.await.ok() });
            }
        });
        Self { addr, _runtime: runtime }
    }
}

impl Forwarding {
    async fn forward(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = if number % EVERY == EVERY - 1 { self.fault } else { Fault::None };
        let (head, body) = request.into_parts();
        let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if fault == Fault::LoseOfRequest {
            // The first one of the prompt would be part of JSON; this is within the system's text.
            body = [&body[..60], &body[61..]].concat().into();
        }
        let url = format!("http://{}{}", self.upstream, head.uri);
        let answer = self.client.post(url).headers(end_to_end(head.headers)).body(body).send().await;
        let answer = answer.map_err(io::Error::other)?;
        let headers = end_to_end(answer.headers().clone());
        let whole = answer.bytes().await.map_err(io::Error::other)?;
        let earlier = self.earlier.lock().unwrap().replace(whole.clone());
        let mut response = Response::new(match fault {
            Fault::Drop => return Err(io::Error::other("closed instead of an answer")),
            Fault::Stall => std::future::pending().await,
            Fault::Repeat => pieces(vec![Ok(earlier.unwrap())]),
            Fault::Cut => pieces(vec![Ok(half(&whole)), Err(io::Error::other("closed in the middle"))]),
            fault => pieces(vec![Ok(spoilt(&whole, fault))]),
        });
        if let Fault::Status(status) = fault {
            *response.status_mut() = status;
        }
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn spoilt(whole: &Bytes, fault: Fault) -> Bytes {
    let events: Vec<&[u8]> = memchr::memmem::find_iter(whole, b"data: ").map(|at| &whole[at..]).collect();
    let mut events: Vec<&[u8]> = events
        .iter()
        .enumerate()
        .map(|(n, from)| &from[..from.len() - events.get(n + 1).map_or(0, |next| next.len())])
        .collect();
    match fault {
        Fault::Shorten => return half(whole),
        Fault::Lose => return [&whole[..500], &whole[520..]].concat().into(),
        Fault::LoseEvent => drop(events.remove(3)),
        Fault::SwapEvents => events.swap(3, 4),
        Fault::LoseLastEvent => drop(events.pop()),
        _ => return whole.clone(),
    }
    events.concat().into()
}

fn half(whole: &Bytes) -> Bytes {
    whole.slice(..whole.len() / 2)
}

/// A body of unknown length, so that its end says nothing about whether it is whole.
fn pieces(pieces: Vec<io::Result<Bytes>>) -> Body {
    let frames = stream::iter(pieces).then(async |piece| {
        // So that what came before is written before the connection is closed.
        tokio::task::yield_now().await;
        piece.map(Frame::data)
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Without what belongs to one connection or says a length.
fn end_to_end(mut headers: http::HeaderMap) -> http::HeaderMap {
    for name in ["connection", "content-length", "host", "transfer-encoding"] {
        headers.remove(name);
    }
    headers
}
