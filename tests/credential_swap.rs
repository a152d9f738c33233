//! The shortest way through the whole product: a key is made, a request with it reaches the provider with the provider's key, and
//! the client's is nowhere, which the harness looks for when the gateway ends.

mod support;

use portcullis_bench::client::{RawConnection, websocket};
use portcullis_bench::provider::{FIRST_FRAME, Provider};
use portcullis_bench::raw::RawProvider;
use serde_json::json;

fn config(provider: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n      api_base: {}/v1\n      \
         api_key: sk-provider-0123456789\ngeneral_settings:\n  master_key: sk-master-0123456789abcdef\n",
        provider
    )
}

#[tokio::test]
async fn a_clients_key_is_swapped_for_the_providers() {
    let provider = Provider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    gateway.watch(&provider);
    let key = gateway.generate_key(&json!({})).await;

    let body = r#"{ "model" : "gpt-4o", "messages": [] }"#;
    let request =
        gateway.request(http::Method::POST, "/v1/chat/completions?a=b").header("content-type", "application/json");
    let answer = gateway.send(request.header("x-api-key", &key).body(body)).await;
    assert_eq!((answer.status, &answer.json()["object"]), (200, &json!("chat.completion")));
    let request = provider.next_request().await;
    assert_eq!(request.target(), "/v1/chat/completions?a=b");
    assert_eq!(request.header("authorization"), Some("Bearer sk-provider-0123456789"));
    assert_eq!(request.body.bytes.as_deref(), Some(body.as_bytes()));

    let wrong =
        gateway.request(http::Method::POST, "/v1/chat/completions").bearer_auth("sk-wrong-0123456789").body(body);
    assert_eq!(gateway.send(wrong).await.status, 401);
    assert_eq!(provider.requests().len(), 1, "no provider hears of a wrong key");
    gateway.stop().await;
}

#[tokio::test]
async fn a_browsers_key_in_the_websocket_protocol_is_swapped_too() {
    let provider = Provider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    gateway.watch(&provider);
    let key = gateway.generate_key(&json!({})).await;

    let mut connection = RawConnection::open(gateway.data_addr()).await;
    let fields = format!("sec-websocket-protocol: realtime, openai-insecure-api-key.{key}\r\n");
    connection.send(&websocket::upgrade("/v1/realtime?model=gpt-4o", &fields)).await;
    let response = connection.response().await;
    assert_eq!(
        (response.status, response.header("sec-websocket-protocol")),
        (101, Some("realtime")),
        "{}",
        response.head
    );
    connection.read_until(&websocket::server_text(FIRST_FRAME)).await;
    connection.send(&websocket::client_text("hello")).await;
    assert_eq!(connection.read_until(b"hello").await, websocket::server_text("hello"));

    let request = provider.next_request().await;
    assert_eq!(request.header("authorization"), Some("Bearer sk-provider-0123456789"));
    assert_eq!(request.header("sec-websocket-protocol"), Some("realtime"));
}

/// The provider's first frame in the same bytes as its 101: whoever reads the head has read the frame too.
#[tokio::test]
async fn a_frame_that_comes_with_the_101_is_not_lost() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let provider = RawProvider::answering([head.as_bytes(), &websocket::server_text(FIRST_FRAME)].concat()).unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let key = gateway.generate_key(&json!({})).await;

    let mut connection = RawConnection::open(gateway.data_addr()).await;
    let fields = format!("authorization: Bearer {key}\r\n");
    connection.send(&websocket::upgrade("/v1/realtime?model=gpt-4o", &fields)).await;
    assert_eq!(connection.response().await.status, 101);
    connection.read_until(&websocket::server_text(FIRST_FRAME)).await;
    let frame = websocket::client_text("hello");
    connection.send(&frame).await;
    provider.captured(|captures| captures.iter().any(|capture| capture.bytes.ends_with(&frame))).await;
}
