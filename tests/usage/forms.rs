//! Every form in which a provider answers.

use portcullis_bench::provider::Script;
use serde_json::{Value, json};

use crate::scene::{CHAT, COST, MASTER, Scene};

const GEMINI: &str = "/v1beta/models/flash";

#[tokio::test]
async fn every_call_is_charged_with_what_its_provider_says() {
    let scene = Scene::new().await;
    scene.gateway.printed("no price is known").await;
    let messages = json!([{"role": "user", "content": "hi"}]);
    let contents = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    for (path, body, cost) in [
        (CHAT, json!({"model": "m", "messages": messages}), COST),
        (CHAT, json!({"model": "m", "messages": messages, "stream": true}), COST),
        (CHAT, json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}}), COST),
        ("/v1/responses", json!({"model": "m", "input": "hi"}), COST),
        ("/v1/responses", json!({"model": "m", "input": "hi", "stream": true}), COST),
        ("/v1/embeddings", json!({"model": "m", "input": "hi"}), 0.000_011),
        ("/v1/messages", json!({"model": "claude", "max_tokens": 5, "messages": messages}), COST),
        ("/v1/messages", json!({"model": "claude", "max_tokens": 5, "messages": messages, "stream": true}), COST),
        (&format!("{GEMINI}:generateContent"), contents.clone(), COST),
        (&format!("{GEMINI}:streamGenerateContent?alt=sse"), contents.clone(), COST),
        (&format!("{GEMINI}:streamGenerateContent"), contents.clone(), COST),
        // Counting is free, and so is what has no price or a price of nothing.
        ("/v1/messages/count_tokens", json!({"model": "claude", "messages": messages}), 0.0),
        (&format!("{GEMINI}:countTokens"), contents.clone(), 0.0),
        (CHAT, json!({"model": "free", "messages": messages}), 0.0),
        (CHAT, json!({"model": "unpriced", "messages": messages}), 0.0),
    ] {
        let key = scene.gateway.generate_key(&json!({"spend": 1})).await;
        let answer = scene.post(path, &key, &body).await;
        assert_eq!(answer.status, 200, "{path} {}", String::from_utf8_lossy(&answer.body));
        scene.spent(&key, 1.0 + cost).await;
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn refused_and_failed_calls_cost_nothing() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({})).await;
    for status in [400, 429, 500] {
        scene.provider.script_all(Script::error(status));
        assert_eq!(scene.chat(&key).await.status, status);
    }
    scene.provider.script_all(Script::usual());
    assert_eq!(scene.post(CHAT, &key, &json!({"model": "nobody"})).await.status, 400);
    assert_eq!(scene.chat(&key).await.status, 200);
    scene.spent(&key, COST).await;
    scene.gateway.stop().await;
}

/// A client that did not ask for a usage sees none, and what it sees is otherwise what the provider sent.
#[tokio::test]
async fn the_usage_of_a_stream_is_asked_for_and_hidden() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({})).await;
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    let plain = scene.post(CHAT, &key, &json!({"model": "m", "stream": true})).await;
    let sent: Value = scene.provider.next_request().await.json();
    assert_eq!(sent["stream_options"], json!({"include_usage": true}));
    assert!(
        !text(&plain.body).contains("usage") && text(&plain.body).ends_with("data: [DONE]\n\n"),
        "{}",
        text(&plain.body)
    );
    let options = json!({"include_usage": true});
    let asked = scene.post(CHAT, &key, &json!({"model": "m", "stream": true, "stream_options": options})).await;
    assert!(text(&asked.body).contains("prompt_tokens"), "{}", text(&asked.body));
    let without: Vec<String> =
        text(&asked.body).split_inclusive("\n\n").filter(|event| !event.contains("usage")).map(str::to_owned).collect();
    assert_eq!(text(&plain.body), without.concat());
    scene.gateway.stop().await;
}

#[tokio::test]
async fn who_would_refuse_to_be_asked_is_not() {
    let scene = Scene::with("portcullis:\n  usage:\n    ask_streams: true\n").await;
    for (model, asked) in [("old-azure", false), ("azure", true), ("m", true)] {
        let body = json!({"model": model, "stream": true});
        assert_eq!(scene.post(CHAT, MASTER, &body).await.status, 200);
        let sent: Value = scene.provider.next_request().await.json();
        assert_eq!(sent["stream_options"]["include_usage"] == true, asked, "{model}");
    }
    scene.gateway.stop().await;
    let scene = Scene::with("portcullis:\n  usage:\n    ask_streams: false\n").await;
    assert_eq!(scene.post(CHAT, MASTER, &json!({"model": "m", "stream": true})).await.status, 200);
    assert_eq!(scene.provider.next_request().await.json()["stream_options"], Value::Null);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn answers_are_asked_for_in_plain() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({})).await;
    let request = scene.request(CHAT, &key, &json!({"model": "m"})).header("accept-encoding", "gzip, br");
    assert_eq!(scene.gateway.send(request).await.status, 200);
    assert_eq!(scene.provider.next_request().await.header("accept-encoding"), Some("identity"));
    // A provider that encodes all the same is charged by an estimate, not with nothing.
    let encoded =
        Script::whole(200, "not really").header("content-type", "application/json").header("content-encoding", "gzip");
    scene.provider.script(encoded);
    let before = scene.gateway.output().matches("\"usage.estimated\":true").count();
    assert_eq!(before, 0);
    let key = scene.gateway.generate_key(&json!({})).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x".repeat(400)}]});
    assert_eq!(scene.post(CHAT, &key, &body).await.status, 200);
    scene.spent(&key, 0.000_1).await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_price_list_in_litellms_form_counts_where_the_entry_says_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("prices.json");
    std::fs::write(
        &path,
        r#"{"openai/unpriced": {"input_cost_per_token": 1e-05}, "openai/m": {"input_cost_per_token": 1}}"#,
    )
    .unwrap();
    let scene = Scene::with(&format!("portcullis:\n  usage:\n    prices: {}\n", path.display())).await;
    let key = scene.gateway.generate_key(&json!({})).await;
    assert_eq!(scene.post(CHAT, &key, &json!({"model": "unpriced"})).await.status, 200);
    assert_eq!(scene.chat(&key).await.status, 200);
    scene.spent(&key, 0.000_11 + COST).await;
    // The operator's own calls are nobody's spend.
    assert_eq!(scene.chat(MASTER).await.status, 200);
    scene.gateway.stop().await;
}
