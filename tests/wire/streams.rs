//! Streams: each event as it is sent, an end when the client leaves, and a whole end when the process is told to stop.

use std::time::{Duration, Instant};

use portcullis_bench::gateway::Signal;
use portcullis_bench::provider::{Gate, Outcome, PIECES, Script};
use portcullis_bench::within;
use tokio::net::TcpStream;

use crate::scene::Scene;

/// The usage is asked for, or its event would be hidden (`tests/usage`).
const STREAM: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
/// The events of the provider's stream: its begin, one for each piece, its usage, and two for its end.
const EVENTS: usize = PIECES.len() + 4;

async fn next(response: &mut reqwest::Response) -> Option<String> {
    let chunk = within("an event", response.chunk()).await.unwrap();
    chunk.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap())
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let scene = Scene::new("").await;
    let gate = Gate::closed();
    scene.provider.script(Script::paced(&gate));
    let mut response = scene.chat(STREAM).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert!(response.headers().contains_key("x-litellm-call-id"));
    let mut said = String::new();
    loop {
        gate.admit(1);
        let Some(event) = next(&mut response).await else { break };
        assert_eq!(event.matches("data: ").count(), 1, "one event for one admission: {event}");
        said += &event;
    }
    assert!(said.ends_with("data: [DONE]\n\n") && PIECES.iter().all(|piece| said.contains(piece)), "{said}");
    assert_eq!(scene.provider.requests()[0].outcome, Outcome::Answered);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_at_the_provider() {
    let scene = Scene::new("").await;
    let gate = Gate::closed();
    for begun in [true, false] {
        scene.provider.clear();
        let script = if begun { Script::paced(&gate) } else { Script::usual().hold(&gate) };
        scene.provider.script(script);
        let call = scene.chat(STREAM).send();
        let left = if begun {
            let mut response = call.await.unwrap();
            gate.admit(1);
            next(&mut response).await.unwrap();
            drop(response);
            Instant::now()
        } else {
            // The request has arrived whole and waits for the head of its answer.
            tokio::select! {
                _ = call => panic!("the provider holds its answer back"),
                _ = scene.provider.next_request() => Instant::now(),
            }
        };
        scene.provider.disconnected().await;
        eprintln!("the provider knew {:?} after the client had left", left.elapsed());
        assert!(left.elapsed() < Duration::from_secs(1), "{begun}: {:?}", left.elapsed());
    }
    scene.gateway.stop().await;
}

/// The times that bound a request's body do not bound the silence of a model that thinks.
#[tokio::test]
async fn a_silent_stream_stays_open() {
    let scene =
        Scene::new("portcullis:\n  http:\n    head_timeout: 1s\n    body_timeout: 1s\n    keep_alive: 1s\n").await;
    let gate = Gate::closed();
    for script in [Script::paced(&gate), Script::paced(&gate).hold(&gate)] {
        scene.provider.script(script);
        let whole = async { scene.chat(STREAM).send().await.unwrap().text().await.unwrap() };
        let mut whole = Box::pin(whole);
        let silence = tokio::time::timeout(Duration::from_secs(3), &mut whole).await;
        assert!(silence.is_err(), "it was ended: {silence:?}");
        gate.admit(EVENTS + 1);
        let said = within("the stream", whole).await;
        assert!(said.ends_with("data: [DONE]\n\n"), "{said}");
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_stop_lets_streams_finish_and_takes_nobody_new() {
    let mut scene = Scene::new("").await;
    let gate = Gate::closed();
    scene.provider.script(Script::paced(&gate));
    let mut response = scene.chat(STREAM).send().await.unwrap();
    gate.admit(1);
    let mut said = next(&mut response).await.unwrap();

    scene.gateway.signal(Signal::SIGTERM);
    let refused = async {
        while TcpStream::connect(scene.gateway.data_addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("closed listeners", refused).await;
    let silence = tokio::time::timeout(Duration::from_secs(1), response.chunk()).await;
    assert!(silence.is_err(), "a stream that says nothing is under way too: {silence:?}");
    gate.admit(EVENTS);
    while let Some(event) = next(&mut response).await {
        said += &event;
    }
    assert!(said.ends_with("data: [DONE]\n\n"), "{said}");
    let ended = Instant::now();
    let finished = scene.gateway.wait().await;
    eprintln!("the process ended {:?} after its last stream", ended.elapsed());
    assert!(finished.status.success() && ended.elapsed() < Duration::from_secs(5), "{finished:?}");
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_bound() {
    let mut scene = Scene::new("portcullis:\n  http:\n    stop_timeout: 1s\n").await;
    let gate = Gate::closed();
    scene.provider.script(Script::paced(&gate));
    let response = scene.chat(STREAM).send().await.unwrap();
    let told = Instant::now();
    scene.gateway.signal(Signal::SIGTERM);
    assert!(scene.gateway.wait().await.status.success());
    let took = told.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(8), "{took:?}");
    drop(response);
}
