//! Clients that are slow, silent or do not read are cut off within the configured times, here one second each.

use std::time::{Duration, Instant};

use portcullis_bench::provider::{Outcome, Script};
use portcullis_bench::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{CHAT, Scene};

const ONE_SECOND: &str = "portcullis:\n  http:\n    head_timeout: 1s\n    body_timeout: 1s\n    keep_alive: 1s\n";
/// A loaded machine is late, but not by this much; without the bounds it would be a minute or for ever.
const LATE: Duration = Duration::from_secs(8);

fn head(scene: &Scene, fields: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {}\r\n{fields}\r\n", scene.key)
}

/// Sends `first`, then one `drop` at each tick, until the other side closes; returns what it said and how long that took.
async fn drip(scene: &Scene, first: &str, drop: &str) -> (String, Duration) {
    let (mut reader, mut writer) = TcpStream::connect(scene.gateway.data_addr()).await.unwrap().into_split();
    let started = Instant::now();
    writer.write_all(first.as_bytes()).await.unwrap();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    let mut said = Vec::new();
    let talk = async {
        loop {
            tokio::select! {
                _ = ticks.tick() => { writer.write_all(drop.as_bytes()).await.ok(); }
                read = reader.read_buf(&mut said) => if !matches!(read, Ok(1..)) { break },
            }
        }
    };
    within("the end of a dripping connection", talk).await;
    (String::from_utf8_lossy(&said).into_owned(), started.elapsed())
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut() {
    let scene = Scene::new(ONE_SECOND).await;
    let half_head = format!("POST {CHAT} HTTP/1.1\r\nhost: gateway\r\n");
    let whole = head(&scene, "content-length: 100000\r\n");
    let chunked = head(&scene, "transfer-encoding: chunked\r\n");
    for (what, first, drop, status) in [
        ("nothing", "", "", ""),
        ("half a head", half_head.as_str(), "", ""),
        ("a dripping head", half_head.as_str(), "x", ""),
        ("no body", whole.as_str(), "", "HTTP/1.1 408"),
        ("a dripping body", whole.as_str(), " ", "HTTP/1.1 408"),
        ("dripping chunks", chunked.as_str(), "1\r\n \r\n", "HTTP/1.1 408"),
    ] {
        let (said, took) = drip(&scene, first, drop).await;
        assert!(said.starts_with(status) && (!status.is_empty() || said.is_empty()), "{what}: {said}");
        assert!(took >= Duration::from_millis(900) && took < LATE, "{what}: {took:?}");
    }
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_keep_alive() {
    let scene = Scene::new(ONE_SECOND).await;
    for (what, begun) in [("idle", ""), ("a second head that does not end", "GET /v1/models HTTP/1.1\r\n")] {
        let mut connection = scene.connection().await;
        let body = r#"{"model":"m"}"#;
        connection.send((head(&scene, &format!("content-length: {}\r\n", body.len())) + body).as_bytes()).await;
        assert_eq!(connection.response().await.status, 200);
        let idle = Instant::now();
        connection.send(begun.as_bytes()).await;
        assert_eq!(connection.read_to_end().await, b"", "{what}");
        let took = idle.elapsed();
        assert!(took >= Duration::from_millis(900) && took < LATE, "{what}: {took:?}");
    }
    scene.gateway.stop().await;
}

/// The answer is larger than all buffers on the way, so a client that does not read stops the gateway's writing.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let scene = Scene::new(ONE_SECOND).await;
    scene.provider.script(Script::steps(200).fill(1 << 30));
    let mut stream = TcpStream::connect(scene.gateway.data_addr()).await.unwrap();
    let body = r#"{"model":"m"}"#;
    let started = Instant::now();
    let request = head(&scene, &format!("content-length: {}\r\n", body.len())) + body;
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(scene.provider.disconnected().await.outcome, Outcome::Left);
    assert!(started.elapsed() < LATE, "{:?}", started.elapsed());
    drop(stream);
    scene.gateway.stop().await;
}
