//! The generator against providers that answer well, badly, late or not at all, and against one that stalls once.

use super::{Caller, HttpVersion, Limit, LoadPlan, LoadReport, Pace, run};
use crate::message::{Dialect, Shape, Wrong};
use crate::provider::{Provider, Script};
use crate::raw::RawProvider;
use crate::upstream::{LoadProvider, UpstreamSettings};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const KEY: &str = "provider-key-0123456789";

fn provider(settings: UpstreamSettings) -> LoadProvider {
    LoadProvider::start(UpstreamSettings { provider_key: KEY.to_owned(), ..settings }).unwrap()
}

fn shape(stream: bool) -> Shape {
    Shape::new(Dialect::OpenAiChat, stream, 1024, "gpt-4o-mini")
}

/// A number of requests without warm-up, over four connections.
fn plan(target: SocketAddr, requests: u64) -> LoadPlan {
    LoadPlan {
        connections: 4,
        warm_up: Duration::ZERO,
        limit: Limit::Requests(requests),
        ..LoadPlan::new(target, shape(false), Caller::bearer(KEY))
    }
}

fn wrong(report: &LoadReport) -> Vec<(Wrong, u64)> {
    report.wrong.iter().map(|(wrong, count)| (*wrong, *count)).collect()
}

#[test]
fn every_request_of_a_closed_loop_is_answered_and_counted_once() {
    for threads in [1, 2] {
        let provider = provider(UpstreamSettings::default());
        let report = run(LoadPlan { threads, ..plan(provider.addr(), 200) }).unwrap();
        assert_eq!((report.answered, wrong(&report)), (200, vec![]), "{threads} threads");
        assert_eq!((report.latency.len(), provider.requests(), provider.leaks()), (200, 200, 0));
        assert!(report.latency.min() > 1000, "nobody answers within a microsecond");
    }
}

#[test]
fn several_requests_at_a_time_share_a_connection_of_http_2() {
    let provider = Provider::start().unwrap();
    provider.script_all(Script::error(418));
    let version = HttpVersion::Http2 { streams: 3 };
    let report = run(LoadPlan { version, connections: 2, expected: 418, ..plan(provider.addr(), 60) }).unwrap();
    assert_eq!((report.answered, wrong(&report)), (60, vec![]));
    assert_eq!((provider.requests().len(), provider.connections()), (60, 2));
    assert!(provider.requests().iter().all(|request| request.version == http::Version::HTTP_2));
}

#[test]
fn an_open_loop_sends_what_its_rate_says_and_leaves_the_warm_up_out() {
    let provider = provider(UpstreamSettings::default());
    let plan = LoadPlan {
        pace: Pace::Open { per_second: 500.0 },
        warm_up: Duration::from_millis(100),
        limit: Limit::For(Duration::from_millis(300)),
        ..plan(provider.addr(), 0)
    };
    let began = Instant::now();
    let report = run(plan).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400), "sent before they were due: {:?}", began.elapsed());
    assert_eq!(wrong(&report), []);
    // The first of all is due at 0 ms, the first of those measured at 100 ms, the last at 400 ms.
    assert_eq!((provider.requests(), report.answered), (201, 151));
    assert_eq!(report.elapsed, Duration::from_millis(300));
}

#[test]
fn a_stall_is_charged_to_all_requests_that_came_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(200);
    let target = stalls_once(STALL);
    let load = |pace, limit| {
        let load = LoadPlan { connections: 1, expected: 204, pace, limit, ..plan(target, 0) };
        run(load).unwrap()
    };
    // 100 requests in half a second, and from the 20th on nothing is answered for a fifth of a second: 40 of them wait.
    let open = load(Pace::Open { per_second: 200.0 }, Limit::For(Duration::from_millis(495)));
    assert_eq!((open.answered, wrong(&open)), (100, vec![]));
    assert!(open.latency_ms(0.99) > 150.0, "p99 {} ms", open.latency_ms(0.99));
    assert!(open.latency_ms(0.75) > 20.0, "p75 {} ms", open.latency_ms(0.75));
    // A closed loop sees one slow answer in a hundred, which is why its latencies are not reported.
    let closed = { stalls_once(STALL) };
    let closed = run(LoadPlan { connections: 1, expected: 204, ..plan(closed, 100) }).unwrap();
    assert!(closed.latency_ms(0.75) < 20.0, "p75 {} ms", closed.latency_ms(0.75));
    assert!(closed.latency.max() >= STALL.as_nanos() as u64);
}

/// Answers 204 at once, but for the 20th request, which is answered late.
fn stalls_once(stall: Duration) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let length = request_length(&mut stream);
        let mut request = vec![0; length];
        for number in 2.. {
            if number == 20 {
                std::thread::sleep(stall);
            }
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() || stream.read_exact(&mut request).is_err()
            {
                return;
            }
        }
    });
    addr
}

/// Reads the first request: all of them are of one length.
fn request_length(stream: &mut TcpStream) -> usize {
    let body = shape(false).body_bytes();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    stream.read_exact(&mut vec![0; body]).unwrap();
    request.len() + body
}

#[test]
fn a_refusal_is_right_only_where_it_is_expected() {
    let provider = provider(UpstreamSettings { failing: 1.0, ..UpstreamSettings::default() });
    let refused = run(plan(provider.addr(), 20)).unwrap();
    assert_eq!((refused.answered, wrong(&refused)), (0, vec![(Wrong::Status(503), 20)]));
    let expected = run(LoadPlan { expected: 503, ..plan(provider.addr(), 20) }).unwrap();
    assert_eq!((expected.answered, wrong(&expected)), (20, vec![]));
}

#[test]
fn an_answer_that_is_not_the_providers_own_is_wrong() {
    let raw = RawProvider::start().unwrap();
    let report = run(plan(raw.addr(), 20)).unwrap();
    assert_eq!((report.answered, wrong(&report)), (0, vec![(Wrong::Unmarked, 20)]));
}

#[test]
fn an_answer_that_does_not_come_ends_neither_the_load_nor_the_connection_for_good() {
    let provider = provider(UpstreamSettings { stalling: 0.25, ..UpstreamSettings::default() });
    let patience = Duration::from_millis(300);
    let report = run(LoadPlan { answer_timeout: patience, ..plan(provider.addr(), 40) }).unwrap();
    assert_eq!((report.answered, wrong(&report)), (30, vec![(Wrong::Late, 10)]));
}

#[test]
fn what_could_not_even_be_sent_is_counted() {
    let provider = provider(UpstreamSettings { stalling: 1.0, ..UpstreamSettings::default() });
    let load = LoadPlan {
        pace: Pace::Open { per_second: 100.0 },
        limit: Limit::For(Duration::from_millis(195)),
        answer_timeout: Duration::from_millis(300),
        connections: 2,
        ..plan(provider.addr(), 0)
    };
    let report = run(load).unwrap();
    let unsent = report.wrong.get(&Wrong::Unanswered).copied().unwrap_or_default();
    assert_eq!((report.answered, report.wrong_count()), (0, 20), "{:?}", report.wrong);
    assert!(unsent > 0, "{:?}", report.wrong);
}

#[test]
fn nobody_listening_is_an_answer_that_is_late() {
    let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let report = run(LoadPlan { answer_timeout: Duration::from_millis(50), ..plan(addr, 8) }).unwrap();
    assert_eq!(wrong(&report), [(Wrong::Late, 8)]);
}

#[test]
fn the_events_of_a_stream_are_timed_one_by_one() {
    let gap = Duration::from_millis(20);
    let provider = provider(UpstreamSettings { events: 5, gap, ..UpstreamSettings::default() });
    let report = run(LoadPlan { shape: shape(true), ..plan(provider.addr(), 8) }).unwrap();
    assert_eq!((report.answered, wrong(&report)), (8, vec![]));
    assert_eq!((report.first_event.len(), report.event_delay.len(), report.event_gap.len()), (8, 40, 32));
    let gap = super::recorder::quantile_ms(&report.event_gap, 0.5);
    assert!((15.0..80.0).contains(&gap), "{gap} ms between events");
    assert!(report.latency.min() >= 75_000_000, "a stream lasts as long as its events");
}
