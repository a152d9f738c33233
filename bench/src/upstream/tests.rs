use std::time::Duration;

use super::{LoadProvider, UpstreamSettings};
use crate::message::{Dialect, Shape, Stamp, Wrong, now_nanos};

const NONCE: u64 = 0xfeed_0000_0000_beef;

/// Sends one request as a gateway would; status and body of the answer.
async fn ask(provider: &LoadProvider, shape: &Shape, nonce: u64) -> (u16, Vec<u8>) {
    ask_with(provider, shape, nonce, &[key_header(shape.dialect(), "provider-key")]).await
}

async fn ask_with(provider: &LoadProvider, shape: &Shape, nonce: u64, headers: &[(&str, String)]) -> (u16, Vec<u8>) {
    let mut request = crate::client::http().build().unwrap().post(url(provider, shape)).body(shape.body(nonce));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = crate::within("an answer", request.send()).await.unwrap();
    let status = answer.status().as_u16();
    (status, crate::within("its body", answer.bytes()).await.unwrap().to_vec())
}

fn url(provider: &LoadProvider, shape: &Shape) -> String {
    format!("http://{}{}", provider.addr(), shape.path())
}

fn key_header(dialect: Dialect, key: &str) -> (&'static str, String) {
    match dialect {
        Dialect::OpenAiChat | Dialect::OpenAiResponses => ("authorization", format!("Bearer {key}")),
        Dialect::Anthropic => ("x-api-key", key.to_owned()),
        Dialect::Gemini => ("x-goog-api-key", key.to_owned()),
    }
}

fn started(settings: UpstreamSettings) -> LoadProvider {
    LoadProvider::start(settings).unwrap()
}

#[tokio::test]
async fn answers_every_dialect_with_what_its_check_wants_and_with_usage() {
    let provider = started(UpstreamSettings { events: 5, answer_bytes: 2000, ..Default::default() });
    for dialect in Dialect::ALL {
        for (stream, bytes) in [(false, 700), (false, 300_000), (true, 700), (true, 300_000)] {
            let shape = Shape::new(dialect, stream, bytes, "m");
            let (status, body) = ask(&provider, &shape, NONCE).await;
            assert_eq!(shape.check(NONCE, Some(bytes), status, &body), Ok(()), "{dialect:?} {stream}");
            assert_eq!(shape.check(NONCE + 1, Some(bytes), status, &body), Err(Wrong::Foreign));
            assert_eq!(shape.check(NONCE, Some(bytes + 1), status, &body), Err(Wrong::Altered));
            let text = String::from_utf8(body).unwrap();
            let usage = ["\"completion_tokens\":5", "\"output_tokens\":5", "\"candidatesTokenCount\":5"];
            assert!(usage.iter().any(|usage| text.contains(usage)), "{text}");
            if stream {
                let mut data =
                    text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
                assert!(data.all(|data| serde_json::from_str::<serde_json::Value>(data).is_ok()), "{text}");
            } else {
                assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
                assert_eq!(text.len(), 2000);
            }
        }
    }
    assert_eq!((provider.requests(), provider.leaks()), (16, 0));
}

#[tokio::test]
async fn counts_a_credential_that_is_not_the_providers_own() {
    let provider = started(UpstreamSettings::default());
    let shape = Shape::new(Dialect::OpenAiChat, false, 700, "m");
    let own = key_header(shape.dialect(), "provider-key");
    ask_with(&provider, &shape, NONCE, std::slice::from_ref(&own)).await;
    assert_eq!(provider.leaks(), 0);
    let leaking = [
        vec![],
        vec![key_header(Dialect::OpenAiChat, "sk-client")],
        vec![own.clone(), ("x-litellm-api-key", "sk-client".to_owned())],
        vec![own.clone(), own.clone(), key_header(Dialect::OpenAiChat, "sk-client")],
        vec![("x-api-key", "provider-key".to_owned())],
    ];
    for (number, headers) in leaking.iter().enumerate() {
        ask_with(&provider, &shape, NONCE, headers).await;
        assert_eq!(provider.leaks(), number as u64 + 1, "{headers:?}");
    }
    assert_eq!(provider.requests(), 6);
}

#[tokio::test]
async fn fails_and_stalls_in_the_share_that_was_asked() {
    let shape = Shape::new(Dialect::Anthropic, false, 700, "m");
    let provider = started(UpstreamSettings { failing: 0.25, ..Default::default() });
    let mut statuses = Vec::new();
    for nonce in 0..40 {
        statuses.push(ask(&provider, &shape, nonce).await.0);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 10, "{statuses:?}");

    provider.change(UpstreamSettings { stalling: 1.0, ..Default::default() });
    let request = crate::client::http().build().unwrap().post(url(&provider, &shape)).body(shape.body(1));
    let stalled = request.timeout(Duration::from_millis(50)).send().await.unwrap_err();
    assert!(stalled.is_timeout(), "{stalled}");
    provider.change(UpstreamSettings::default());
    assert_eq!(ask(&provider, &shape, 2).await.0, 200);
}

#[tokio::test]
async fn paces_events_and_says_when_each_was_sent() {
    let gap = Duration::from_millis(20);
    let delay = Duration::from_millis(30);
    let provider = started(UpstreamSettings { events: 4, gap, delay, ..Default::default() });
    let shape = Shape::new(Dialect::OpenAiChat, true, 700, "m");
    let before = now_nanos();
    let (_, body) = ask(&provider, &shape, NONCE).await;
    let mut reader = shape.reader(NONCE, Some(700));
    let mut stamps: Vec<Stamp> = Vec::new();
    reader.read(&body, |stamp| stamps.push(stamp));
    assert_eq!((reader.finish(), stamps.len()), (Ok(()), 4));
    let sent: Vec<u64> = stamps.iter().map(|stamp| stamp.sent_nanos).collect();
    // Timers here are never early, and late by as much as the machine is busy.
    assert!(sent[0] - before >= 30_000_000, "{sent:?}");
    assert!(sent[3] - sent[0] >= 59_000_000 && sent.is_sorted(), "{sent:?}");
    assert!(now_nanos() > sent[3]);
}

#[tokio::test]
async fn tells_what_it_counted_and_is_gone_when_dropped() {
    let provider = started(UpstreamSettings::default());
    let addr = provider.addr();
    let client = crate::client::http().build().unwrap();
    let counted = client.get(format!("http://{addr}/")).send().await.unwrap().text().await.unwrap();
    assert_eq!(counted, r#"{"requests":0,"leaks":0}"#);
    drop(provider);
    let gone = async {
        while client.get(format!("http://{addr}/")).send().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    crate::within("the end of the provider", gone).await;
}
