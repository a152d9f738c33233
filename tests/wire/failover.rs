//! Several deployments under one name: which failures send a request on to the next, with the same body, and which do not.
//!
//! The second deployment has weight 0, so it only stands in: who is asked first is no matter of chance.

use portcullis_bench::gateway::Gateway;
use portcullis_bench::provider::{Gate, Provider, Script};
use serde_json::{Value, json};

use crate::scene::{CALLS, MASTER, chat, model, setup};

/// Two providers of the model `m`, under a name of their own for it.
struct Pair {
    gateway: Gateway,
    first: Provider,
    second: Provider,
}

impl Pair {
    async fn new(router: &str) -> Self {
        let (first, second) = (Provider::start().unwrap(), Provider::start().unwrap());
        let base = |provider: &Provider| format!("{}/v1", provider.url());
        let models = [
            model("m", "openai/first", &base(&first), &[]),
            model("m", "openai/second", &base(&second), &["weight: 0"]),
        ];
        let gateway = setup(&models, &format!("router_settings:\n{router}")).start().await;
        gateway.watch(&first);
        gateway.watch(&second);
        Pair { gateway, first, second }
    }

    async fn chat(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let answer = self.gateway.send(chat(&self.gateway, MASTER, body)).await;
        (answer.status, answer.json())
    }

    fn counts(&self) -> (usize, usize) {
        (self.first.requests().len(), self.second.requests().len())
    }
}

const PATIENT: &str = "  allowed_fails: 1000000\n";
const IMPATIENT: &str = "  allowed_fails: 1000000\n  timeout: 1\n";
const BODY: &str = r#"{"model":"m","a":[1.0, 2]}"#;

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_failure_before_the_first_byte_goes_to_the_next_with_the_same_body() {
    let pair = Pair::new(IMPATIENT).await;
    let never = Gate::closed();
    for (what, script) in [
        ("429", Script::error(429)),
        ("408", Script::error(408)),
        ("500", Script::error(500)),
        ("503", Script::error(503)),
        ("a cut", Script::cut_before_answer()),
        ("a time-out", Script::usual().hold(&never)),
    ] {
        pair.first.script(script);
        let (status, answer) = pair.chat(BODY).await;
        assert_eq!((status, &answer["model"]), (200, &json!("second")), "{what}: {answer}");
        let asked = pair.second.next_request().await;
        assert_eq!(asked.body.bytes.as_deref(), Some(BODY.replace("\"m\"", "\"second\"").as_bytes()), "{what}");
        assert_eq!(pair.first.next_request().await.json()["model"], "first", "{what}");
    }
    pair.gateway.stop().await;
}

#[tokio::test]
async fn an_unreachable_deployment_is_passed_over() {
    let second = Provider::start().unwrap();
    let models = [
        model("m", "openai/first", &nowhere(), &[]),
        model("m", "openai/second", &format!("{}/v1", second.url()), &["weight: 0"]),
    ];
    let gateway = setup(&models, "").start().await;
    for _ in 0..6 {
        let answer = gateway.send(chat(&gateway, MASTER, BODY)).await;
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!("second")));
    }
    gateway.stop().await;
}

/// A label of 64 letters is longer than any name has (RFC 1035, section 2.3.4), so it is refused without asking anybody.
#[tokio::test]
async fn a_deployment_whose_name_does_not_resolve_is_passed_over() {
    let second = Provider::start().unwrap();
    let nameless = format!("http://{}.invalid/v1", "a".repeat(64));
    let models = [
        model("m", "openai/first", &nameless, &[]),
        model("m", "openai/second", &format!("{}/v1", second.url()), &["weight: 0"]),
        model("alone", "openai/first", &nameless, &[]),
    ];
    let gateway = setup(&models, "").start().await;
    assert_eq!(gateway.send(chat(&gateway, MASTER, BODY)).await.status, 200);
    assert_eq!(second.requests().len(), 1);
    let alone = gateway.send(chat(&gateway, MASTER, r#"{"model":"alone"}"#)).await;
    assert_eq!((alone.status, &alone.json()["error"]["code"]), (502, &json!("502")));
}

#[tokio::test]
async fn large_and_chunked_bodies_are_sent_again_whole() {
    let pair = Pair::new(PATIENT).await;
    for (length, chunked) in [(5_000_000, false), (200_000, true), (5_000_000, true)] {
        pair.first.script(Script::error(500));
        let text = json!({"model": "m", "pad": "x".repeat(length)}).to_string();
        let body = if chunked {
            let pieces: Vec<_> =
                text.as_bytes().chunks(30_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
            reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
        } else {
            text.clone().into()
        };
        assert_eq!(pair.chat(body).await.0, 200, "{length} {chunked}");
        let (first, second) = (pair.first.next_request().await, pair.second.next_request().await);
        let expected = text.len() as u64 - 1;
        assert_eq!((first.body.length, second.body.length), (expected + 5, expected + 6), "{length} {chunked}");
        assert!(first.body.complete && second.body.complete);
    }
    pair.gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_request_is_the_callers_to_read() {
    let pair = Pair::new(PATIENT).await;
    for status in [400, 401, 403, 404, 409, 422] {
        pair.first.script(Script::error(status));
        assert_eq!(pair.chat(BODY).await.0, status);
    }
    assert_eq!(pair.counts(), (6, 0));
    pair.gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_tried_again_after_the_first_byte() {
    let pair = Pair::new(PATIENT).await;
    pair.first.script(Script::steps(200).send("half").cut());
    let mut response = chat(&pair.gateway, MASTER, BODY).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut said = Vec::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => said.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "a broken answer must not look whole");
    assert_eq!((said.as_slice(), pair.counts()), (&b"half"[..], (1, 0)));
    pair.gateway.stop().await;
}

#[tokio::test]
async fn when_all_fail_the_last_answer_is_passed_on() {
    let pair = Pair::new(IMPATIENT).await;
    pair.first.script(Script::error(500));
    pair.second.script(Script::whole(503, r#"{"own":"words"}"#).header("retry-after", "9"));
    let answer = pair.gateway.send(chat(&pair.gateway, MASTER, BODY)).await;
    assert_eq!(
        (answer.status, &answer.body[..], &answer.headers["retry-after"]),
        (503, &br#"{"own":"words"}"#[..], &"9".parse().unwrap())
    );
    assert_eq!(pair.counts(), (1, 1));

    let never = Gate::closed();
    pair.first.script(Script::error(500));
    pair.second.script(Script::usual().hold(&never));
    let (status, answer) = pair.chat(BODY).await;
    assert_eq!((status, &answer["error"]["code"]), (504, &json!("504")));
    pair.gateway.stop().await;
}

/// A provider may close a pooled connection just when it is used again: that is not its failure.
#[tokio::test]
async fn a_pooled_connection_that_breaks_is_replaced() {
    let provider = Provider::start().unwrap();
    let gateway = setup(&[model("m", "openai/there", &format!("{}/v1", provider.url()), &[])], "").start().await;
    for length in [10, 100_000, 5_000_000] {
        let body = json!({"model": "m", "pad": "x".repeat(length)}).to_string();
        assert_eq!(gateway.send(chat(&gateway, MASTER, "{\"model\":\"m\"}")).await.status, 200);
        let warm = provider.next_request().await;
        provider.script(Script::cut_before_answer());
        assert_eq!(gateway.send(chat(&gateway, MASTER, body)).await.status, 200, "{length}");
        let (cut, again) = (provider.next_request().await, provider.next_request().await);
        assert_eq!(cut.connection, warm.connection, "{length}: the pooled one was used");
        assert_ne!(again.connection, cut.connection, "{length}");
        assert_eq!((again.body.sha256, again.body.complete), (cut.body.sha256, true), "{length}");
    }
    gateway.stop().await;
}

/// Each of these has one deployment, at an address where nobody listens.
#[tokio::test]
async fn an_unreachable_model_is_said_in_the_callers_dialect() {
    let at = nowhere();
    let host = at.trim_end_matches("/v1");
    let models = ["openai", "azure", "anthropic", "gemini"]
        .map(|name| model(name, &format!("{name}/{name}"), if name == "openai" { &at } else { host }, &[]));
    let gateway = setup(&models, "").start().await;
    for ((path, body, _), (pointer, expected)) in CALLS.into_iter().zip([
        ("/error/type", json!("internal_server_error")),
        ("/error/code", json!("502")),
        ("/error/type", json!("api_error")),
        ("/error/status", json!("UNAVAILABLE")),
    ]) {
        let answer = gateway.send(gateway.request(http::Method::POST, path).bearer_auth(MASTER).body(body)).await;
        assert_eq!((answer.status, answer.json().pointer(pointer)), (502, Some(&expected)), "{path}");
        assert_eq!(
            (&answer.headers["retry-after"], &answer.headers["connection"]),
            (&"1".parse().unwrap(), &"close".parse().unwrap()),
            "{path}"
        );
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!shown.contains("127.0.0.1"), "{path} names an address: {shown}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_deployment_that_failed_rests() {
    let pair = Pair::new("  allowed_fails: 0\n  cooldown_time: 600\n").await;
    pair.first.script(Script::error(500));
    for _ in 0..5 {
        assert_eq!(pair.chat(BODY).await.1["model"], "second");
    }
    assert_eq!(pair.counts(), (1, 5), "it is asked once and then left alone");
    let health = pair.gateway.send(pair.gateway.admin_request(http::Method::GET, "/health").bearer_auth(MASTER)).await;
    assert_eq!(
        (&health.json()["healthy_count"], &health.json()["unhealthy_count"]),
        (&json!(1), &json!(1)),
        "{}",
        health.json()
    );
    pair.gateway.stop().await;
}

#[tokio::test]
async fn a_limit_of_the_only_deployment_passes_unchanged() {
    let provider = Provider::start().unwrap();
    let models = [model("m", "openai/m", &format!("{}/v1", provider.url()), &[])];
    let gateway = setup(&models, "").start().await;
    let words = r#"{ "error": {"message":"slow down","type":"requests","code":"rate_limit_exceeded"} }"#;
    for _ in 0..6 {
        provider
            .script(Script::whole(429, words).header("retry-after", "7").header("x-ratelimit-remaining-requests", "0"));
        let answer = gateway.send(chat(&gateway, MASTER, BODY)).await;
        assert_eq!((answer.status, &answer.body[..]), (429, words.as_bytes()));
        assert_eq!(answer.headers["retry-after"], "7");
        assert_eq!(answer.headers["x-ratelimit-remaining-requests"], "0");
        assert!(!answer.headers.contains_key("x-should-retry"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn weights_are_shares() {
    let (heavy, light) = (Provider::start().unwrap(), Provider::start().unwrap());
    let base = |provider: &Provider| format!("{}/v1", provider.url());
    let models =
        [model("m", "openai/m", &base(&heavy), &["weight: 3"]), model("m", "openai/m", &base(&light), &["weight: 1"])];
    let gateway = setup(&models, "").start().await;
    for _ in 0..200 {
        assert_eq!(gateway.send(chat(&gateway, MASTER, BODY)).await.status, 200);
    }
    // 150 expected; five standard deviations are 31.
    let share = heavy.requests().len();
    assert!((119..=181).contains(&share), "{share} of 200");
    assert_eq!(share + light.requests().len(), 200);
    gateway.stop().await;
}
