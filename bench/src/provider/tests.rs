//! The fake provider is what other tests trust, so each thing that it claims to record or to do is shown here once.

use super::{FIRST_FRAME, Gate, Outcome, PIECES, Provider, Script};
use crate::client::http;
use crate::client::websocket::upgrade;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn client() -> reqwest::Client {
    http().build().unwrap()
}

async fn chat(provider: &Provider, body: &Value) -> reqwest::Response {
    let request = client().post(format!("{}/v1/chat/completions", provider.url()));
    request.json(body).send().await.unwrap()
}

/// Sends bytes and reads until the answer's head and `length` bytes of body are there.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed after {answer:?}");
    }
    String::from_utf8(answer).unwrap()
}

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

#[tokio::test]
async fn records_fields_in_the_order_and_case_of_the_wire() {
    let provider = Provider::start().unwrap();
    let mut stream = connect(provider.addr()).await;
    let first = "POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: x\r\nX-B: 1\r\naUTHORIZATION:  Bearer k \r\nx-b: 2\r\nContent-Length: 2\r\n\r\n{}";
    exchange(&mut stream, first.as_bytes()).await;
    exchange(&mut stream, b"GET /v1/models HTTP/1.1\r\nHOST: x\r\n\r\n").await;

    let (first, second) = (provider.next_request().await, provider.next_request().await);
    let fields: Vec<(&str, &[u8])> = first.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    let wire: [(&str, &[u8]); 5] =
        [("Host", b"x"), ("X-B", b"1"), ("aUTHORIZATION", b"Bearer k"), ("x-b", b"2"), ("Content-Length", b"2")];
    assert_eq!(fields, wire);
    assert_eq!(first.target(), "/v1/chat/completions?a=%20b");
    assert_eq!(first.header_values("x-b"), ["1", "2"]);
    assert_eq!(second.headers[0].0, "HOST");
    assert_eq!(first.connection, second.connection);
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn keeps_the_digest_of_a_large_body_and_the_bytes_of_a_small_one() {
    let provider = Provider::start().unwrap();
    let client = client();
    client.post(provider.url()).body("abc").send().await.unwrap();
    client.post(provider.url()).body(vec![b'a'; 3 << 20]).send().await.unwrap();

    let (small, large) = (provider.next_request().await.body, provider.next_request().await.body);
    assert_eq!(small.bytes.as_deref(), Some(&b"abc"[..]));
    assert_eq!(small.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((large.length, large.bytes, large.complete), (3 << 20, None, true));
}

#[tokio::test]
async fn a_gate_lets_events_out_one_by_one() {
    let provider = Provider::start().unwrap();
    let gate = Gate::closed();
    provider.script(Script::paced(&gate));
    let mut response = chat(&provider, &json!({"model": "m", "stream": true})).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");

    let mut text = String::new();
    for _ in 0..2 + PIECES.len() + 1 {
        gate.admit(1);
        let event = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
        assert_eq!(event.matches("data: ").count(), 1, "one event for one admission: {event}");
        if let Ok(chunk) = serde_json::from_str::<Value>(event.trim().trim_start_matches("data: ")) {
            text += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
        }
    }
    assert_eq!(response.chunk().await.unwrap(), None);
    assert_eq!(text, PIECES.concat());
    assert_eq!(provider.requests()[0].outcome, Outcome::Answered);
}

#[tokio::test]
async fn notices_a_reader_that_leaves_a_stream() {
    let provider = Provider::start().unwrap();
    let gate = Gate::closed();
    provider.script(Script::paced(&gate));
    let mut response = chat(&provider, &json!({"model": "m", "stream": true})).await;
    gate.admit(1);
    response.chunk().await.unwrap();
    drop(response);
    assert_eq!(provider.disconnected().await.number, 0);
}

#[tokio::test]
async fn notices_a_sender_that_leaves_in_its_body() {
    let provider = Provider::start().unwrap();
    let mut stream = connect(provider.addr()).await;
    stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{\"a").await.unwrap();
    drop(stream);
    let request = provider.disconnected().await;
    assert_eq!((request.body.length, request.body.complete), (3, false));
}

#[tokio::test]
async fn cuts_where_the_script_says() {
    let provider = Provider::start().unwrap();
    provider.script(Script::cut_before_answer());
    let mut stream = connect(provider.addr()).await;
    stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert_eq!(answer, b"");

    provider.script(Script::steps(200).send("half").cut());
    let mut response = chat(&provider, &json!({})).await;
    let mut pieces = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        pieces.extend_from_slice(&piece);
    }
    assert_eq!(pieces, b"half");
    assert!(provider.requests().iter().all(|request| request.outcome == Outcome::Cut));
}

#[tokio::test]
async fn holds_an_answer_and_fills_it() {
    let provider = Provider::start().unwrap();
    let gate = Gate::closed();
    provider.script(Script::steps(200).fill(3_000_000).send("end").hold(&gate));
    let answer = tokio::spawn(client().get(provider.url()).send());
    assert_eq!(provider.next_request().await.outcome, Outcome::Open);
    gate.open();
    let body = answer.await.unwrap().unwrap().bytes().await.unwrap();
    assert_eq!(body.len(), 3_000_003);
    assert!(body.ends_with(b".end"));
}

#[tokio::test]
async fn refuses_connections_and_takes_them_again() {
    let provider = Provider::start().unwrap();
    provider.refuse_connections(true);
    assert!(client().get(provider.url()).send().await.is_err());
    provider.refuse_connections(false);
    assert!(client().get(provider.url()).send().await.is_ok());
}

#[tokio::test]
async fn answers_before_the_body_when_told_so() {
    let provider = Provider::start().unwrap();
    provider.script(Script::whole(413, "{}").ignore_body());
    let mut stream = connect(provider.addr()).await;
    let answer = exchange(&mut stream, b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(!provider.requests()[0].body.complete);
}

#[tokio::test]
async fn errors_have_the_form_of_the_provider_that_was_asked() {
    let provider = Provider::start().unwrap();
    let table = [
        ("/v1/chat/completions", "/error/code", json!("rate_limit_exceeded")),
        ("/openai/deployments/d/chat/completions?api-version=1", "/error/code", json!("429")),
        ("/v1/messages", "/error/type", json!("rate_limit_error")),
        ("/v1beta/models/m:generateContent", "/error/status", json!("RESOURCE_EXHAUSTED")),
    ];
    for (path, pointer, expected) in table {
        provider.script(Script::error(429).header("retry-after", "7"));
        let response = client().post(provider.url() + path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
        let body: Value = response.json().await.unwrap();
        assert_eq!(body.pointer(pointer), Some(&expected), "{path}: {body}");
    }
}

#[tokio::test]
async fn demands_what_the_real_ones_demand() {
    let provider = Provider::start().unwrap();
    for (path, status) in [("/openai/deployments/d/chat/completions", 404), ("/v1/messages", 400), ("/v1/nothing", 404)]
    {
        let response = client().post(provider.url() + path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn gives_embeddings_in_the_encoding_that_is_asked_for() {
    let provider = Provider::start().unwrap();
    let url = provider.url() + "/v1/embeddings";
    for (encoding, expected) in [("float", json!([0.25, -0.5, 0.75])), ("base64", json!("AACAPgAAAL8AAEA/"))] {
        let request = json!({"model": "m", "input": ["a", "b"], "encoding_format": encoding});
        let response = client().post(&url).json(&request).send().await.unwrap();
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["data"][1]["embedding"], body["data"].as_array().unwrap().len()), (&expected, 2));
    }
}

#[tokio::test]
async fn speaks_http_2() {
    let provider = Provider::start().unwrap();
    let client = http().http2_prior_knowledge().build().unwrap();
    let response = client.get(provider.url() + "/v1/models").header("X-Case", "1").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let request = provider.next_request().await;
    assert_eq!((request.version, request.header("x-case")), (http::Version::HTTP_2, Some("1")));
}

#[tokio::test]
async fn a_realtime_socket_speaks_first() {
    let provider = Provider::start().unwrap();
    let mut stream = connect(provider.addr()).await;
    stream.write_all(&upgrade("/v1/realtime?model=m", "")).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(FIRST_FRAME.as_bytes()) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
    drop(stream);
    assert_eq!(provider.disconnected().await.target(), "/v1/realtime?model=m");
}
