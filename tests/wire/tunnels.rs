//! WebSocket tunnels: who gets one, what a provider sees of it, and how it ends. That both directions work and that a frame sent
//! with the 101 is kept is shown in `tests/credential_swap.rs`.

use std::time::Duration;

use portcullis_bench::client::{RawConnection, websocket};
use portcullis_bench::provider::{FIRST_FRAME, Script};
use serde_json::json;

use crate::scene::{PROVIDER_KEY, Scene};

const TARGET: &str = "/v1/realtime?model=m";

/// Opens a tunnel with these header lines and reads the provider's first frame.
async fn tunnel(scene: &Scene, fields: &str) -> RawConnection {
    let mut connection = scene.connection().await;
    connection.send(&websocket::upgrade(TARGET, fields)).await;
    let answer = connection.response().await;
    assert_eq!(answer.status, 101, "{}", answer.head);
    connection.read_until(&websocket::server_text(FIRST_FRAME)).await;
    connection
}

async fn assert_echoes(connection: &mut RawConnection) {
    connection.send(&websocket::client_text("hello")).await;
    connection.read_until(&websocket::server_text("hello")).await;
}

#[tokio::test]
async fn an_upgrade_is_decided_like_any_request() {
    let scene = Scene::new("").await;
    let restricted = scene.gateway.generate_key(&json!({"models": ["openai"]})).await;
    let key = &scene.key;
    for (target, fields, status) in [
        (TARGET, String::new(), 401),
        (TARGET, "x-api-key: sk-unknown-0123456789\r\n".to_owned(), 401),
        (TARGET, format!("x-api-key: {restricted}\r\n"), 403),
        ("/v1/realtime", format!("x-api-key: {key}\r\n"), 400),
        ("/v1/realtime?model=m&model=n", format!("x-api-key: {key}\r\n"), 400),
        ("/v1/chat/completions", format!("x-api-key: {key}\r\n"), 400),
        (TARGET, format!("x-api-key: {key}\r\ncontent-length: 1\r\n"), 400),
    ] {
        let mut connection = scene.connection().await;
        connection.send(&websocket::upgrade(target, &fields)).await;
        let answer = connection.response().await;
        assert_eq!(answer.status, status, "{target}: {}", answer.head);
    }
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn the_key_in_the_list_of_protocols_is_taken_out_of_it() {
    let scene = Scene::new("").await;
    let key = format!("openai-insecure-api-key.{}", scene.key);
    for fields in [
        format!("sec-websocket-protocol: realtime, {key}\r\n"),
        format!("sec-websocket-protocol: {key},realtime\r\n"),
        format!("sec-websocket-protocol: realtime\r\nsec-websocket-protocol: {key}\r\n"),
    ] {
        let mut connection = tunnel(&scene, &fields).await;
        assert_echoes(&mut connection).await;
        let request = scene.provider.next_request().await;
        assert_eq!(request.header_values("sec-websocket-protocol"), ["realtime"], "{fields}");
        assert_eq!(request.header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
        assert_eq!(request.target(), "/v1/realtime?model=renamed-by-us");
    }
    scene.gateway.stop().await;
}

/// The times that bound a body do not bound a conversation in which nobody has anything to say.
#[tokio::test]
async fn a_silent_tunnel_stays_open() {
    let scene =
        Scene::new("router_settings:\n  timeout: 1\nportcullis:\n  http:\n    head_timeout: 1s\n    body_timeout: 1s\n    keep_alive: 1s\n").await;
    let mut connection = tunnel(&scene, &format!("x-api-key: {}\r\n", scene.key)).await;
    let silence = tokio::time::timeout(Duration::from_secs(3), connection.read_to_end()).await;
    assert!(silence.is_err(), "it was closed: {}", scene.gateway.output());
    assert_echoes(&mut connection).await;
    drop(connection);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_tunnel_ends_at_the_provider_when_the_client_leaves() {
    let scene = Scene::new("").await;
    drop(tunnel(&scene, &format!("x-api-key: {}\r\n", scene.key)).await);
    scene.provider.disconnected().await;
    scene.gateway.stop().await;
}

/// Bytes behind a handshake that the provider does not accept are nobody's request.
#[tokio::test]
async fn nothing_follows_a_handshake_that_was_refused() {
    let scene = Scene::new("").await;
    scene.provider.script(Script::error(403));
    let mut connection = scene.connection().await;
    let smuggled = b"POST /v1/embeddings HTTP/1.1\r\nhost: provider\r\ncontent-length: 2\r\n\r\n{}";
    let handshake = websocket::upgrade(TARGET, &format!("x-api-key: {}\r\n", scene.key));
    connection.send(&[&handshake[..], smuggled].concat()).await;
    assert_eq!(connection.response().await.status, 403);
    connection.read_to_end().await;
    assert_eq!(scene.gateway.send(scene.chat(r#"{"model":"m"}"#)).await.status, 200);
    let paths: Vec<String> = scene.provider.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/v1/realtime", "/v1/chat/completions"]);
    scene.gateway.stop().await;
}

/// The provider's 101 can be there before the end of the handshake has been noted; that once ended every tenth of these.
#[tokio::test]
async fn a_provider_that_answers_at_once_keeps_its_tunnel() {
    let scene = Scene::new("").await;
    for _ in 0..60 {
        assert_echoes(&mut tunnel(&scene, &format!("x-api-key: {}\r\n", scene.key)).await).await;
    }
    assert_eq!(scene.provider.connections(), 60);
    scene.gateway.stop().await;
}
