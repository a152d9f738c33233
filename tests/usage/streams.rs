//! Streams that the client or the provider cuts, at each stage.

use portcullis_bench::client::RawConnection;
use portcullis_bench::provider::{Gate, Script};
use serde_json::json;

use crate::scene::{CHAT, Scene};

const HEAD: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":100,\"output_tokens\":1}}}\n\n";
const TEXT: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"12345678\"}}\n\n";
const USAGE: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":50}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// What had passed when the client hung up is what it pays for: counted by the provider as far as it said, else by the
/// length of the texts.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_pays_for_what_it_got() {
    let scene = Scene::new().await;
    let question = "x".repeat(40); // ten tokens
    for (path, model, events, tokens_read, tokens_made) in [
        // Nothing but the head of the answer, then nothing that names a usage: by the texts.
        (CHAT, "m", vec!["data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"], 10, 0),
        (CHAT, "m", vec!["data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}]}\n\n"], 10, 2),
        ("/v1/messages", "claude", vec![HEAD], 100, 1),
        ("/v1/messages", "claude", vec![HEAD, TEXT, TEXT], 100, 4),
        ("/v1/messages", "claude", vec![HEAD, TEXT, USAGE], 100, 50),
        ("/v1/messages", "claude", vec![HEAD, TEXT, USAGE, STOP], 100, 50),
    ] {
        let key = scene.gateway.generate_key(&json!({})).await;
        let gate = Gate::closed();
        let script = events
            .iter()
            .fold(Script::steps(200).header("content-type", "text/event-stream"), |script, event| script.send(*event));
        scene.provider.script(script.wait(&gate));
        let body =
            json!({"model": model, "stream": true, "messages": [{"role": "user", "content": question}]}).to_string();
        let mut connection = RawConnection::open(scene.gateway.data_addr()).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nanthropic-version: 2023-06-01\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(format!("{head}{body}").as_bytes()).await;
        connection.read_until(events.last().unwrap().as_bytes()).await;
        drop(connection);
        scene.provider.disconnected().await;
        scene.spent(&key, f64::from(tokens_read) * 1e-6 + f64::from(tokens_made) * 2e-6).await;
        gate.open();
    }
    scene.gateway.stop().await;
}

/// Before its answer has begun nothing is charged: whether the provider worked at all is not known.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_before_the_answer_pays_nothing() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"max_parallel_requests": 1})).await;
    let gate = Gate::closed();
    scene.provider.script(Script::usual().hold(&gate));
    let mut connection = RawConnection::open(scene.gateway.data_addr()).await;
    let body = r#"{"model":"m"}"#;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request.as_bytes()).await;
    scene.provider.next_request().await;
    drop(connection);
    scene.provider.disconnected().await;
    let freed = async { while scene.chat(&key).await.status != 200 {} };
    portcullis_bench::within("room", freed).await;
    scene.spent(&key, crate::scene::COST).await;
    scene.gateway.stop().await;
}

/// A provider that breaks off in the middle is not the client's doing, but what came was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_breaks_off_is_paid_for_what_came() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({})).await;
    scene.provider.script(Script::steps(200).header("content-type", "text/event-stream").send(HEAD).send(TEXT).cut());
    let mut connection = RawConnection::open(scene.gateway.data_addr()).await;
    let body = r#"{"model":"claude","stream":true}"#;
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\nanthropic-version: 2023-06-01\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.send(request.as_bytes()).await;
    connection.read_until(TEXT.as_bytes()).await;
    scene.spent(&key, 0.000_104).await;
    scene.gateway.stop().await;
}
