//! Clients that take their time: each is cut off within its bound, and the others do not notice.
//!
//! Not here: a TLS handshake that is never finished. Pingora ends it after 60 s, which cannot be configured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portcullis_bench::client::RawConnection;
use portcullis_bench::raw::RawProvider;
use portcullis_bench::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use crate::support;

const MASTER: &str = "sk-master-0123456789abcdef";
/// Each bound of the configuration; a loaded machine gets some more time to notice.
const BOUND: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(8);
const PACE: Duration = Duration::from_millis(50);

fn config(provider: &str) -> String {
    format!(
        "model_list:\n  - model_name: attack\n    litellm_params:\n      model: hosted_vllm/attack\n      api_base: \
         {provider}/v1\n      api_key: sk-provider-0123456789\ngeneral_settings:\n  master_key: {MASTER}\nportcullis:\n  \
         http:\n    head_timeout: 1s\n    body_timeout: 1s\n    keep_alive: 1s\n"
    )
}

fn head(length: usize) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Api-Key: {MASTER}\r\nContent-Length: {length}\r\n\r\n")
}

fn good() -> String {
    format!("{}{{\"model\":\"attack\"}}", head(18))
}

/// Sends `first`, then one byte after the other at [`PACE`], until the other side closes: after how long, and what it said.
async fn drip(gateway: SocketAddr, first: &str, byte: u8) -> (Duration, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    let started = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut said = Vec::new();
    let dripping = async {
        let mut tick = interval(PACE);
        while writer.write_all(&[byte]).await.is_ok() {
            tick.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = dripping => {}
        _ = within("the end of a slow connection", reader.read_to_end(&mut said)) => {}
    }
    (started.elapsed(), said)
}

/// Sends this and waits for the end.
async fn silent(gateway: SocketAddr, first: &str) -> Duration {
    let mut connection = RawConnection::open(gateway).await;
    connection.send(first.as_bytes()).await;
    let started = Instant::now();
    connection.read_to_end().await;
    started.elapsed()
}

/// Sends a good request and waits for the end behind its answer.
async fn idle(gateway: SocketAddr) -> Duration {
    let mut connection = RawConnection::open(gateway).await;
    connection.send(good().as_bytes()).await;
    assert_eq!(connection.response().await.status, 200);
    let started = Instant::now();
    assert_eq!(connection.read_to_end().await, b"");
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_connections_are_cut_within_their_bounds() {
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let address = gateway.data_addr();
    let (body, next) = (head(5_000), format!("{}POST /v1/chat", good()));
    let chunked = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let (dripped_head, dripped_body, dripped_next, dripped_chunk, silence, half_open, idle) = tokio::join!(
        drip(address, "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n", b'a'),
        drip(address, &body, b'a'),
        drip(address, &next, b'a'),
        drip(address, &chunked, b'0'),
        silent(address, ""),
        silent(address, "POST /v1/chat"),
        idle(address),
    );
    assert_eq!(dripped_head.1, b"", "there is no request to answer");
    let said = String::from_utf8_lossy(&dripped_body.1);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    for (what, time) in [
        ("a dripped head", dripped_head.0),
        ("a dripped body", dripped_body.0),
        ("a dripped second head", dripped_next.0),
        ("a dripped chunk size", dripped_chunk.0),
        ("a silent connection", silence),
        ("a half-open one", half_open),
        ("an idle one", idle),
    ] {
        println!("{what}: cut after {time:?}");
        assert!(time < BOUND + GRACE, "{what} lasted {time:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_ends_the_upstream_call() {
    let body = vec![b'a'; 32 << 20];
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let provider = RawProvider::answering([answer.into_bytes(), body].concat()).unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let mut connection = RawConnection::open(gateway.data_addr()).await;
    connection.send(good().as_bytes()).await;
    let started = Instant::now();
    provider.captured(|captures| captures.iter().any(|capture| capture.closed)).await;
    println!("a client that does not read: cut after {:?}", started.elapsed());
    drop(connection);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_connections_leave_good_traffic_alone() {
    const SLOW: usize = 200;
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let address = gateway.data_addr();
    let before = latencies(address).await;
    let firsts = ["POST /v1/chat/completions HTTP/1.1\r\nX: ".to_owned(), head(5_000)];
    let slow: Vec<_> = firsts
        .into_iter()
        .cycle()
        .take(SLOW)
        .map(|first| {
            tokio::spawn(async move {
                // Whoever is cut off comes again.
                loop {
                    drip(address, &first, b'a').await;
                }
            })
        })
        .collect();
    let during = latencies(address).await;
    slow.iter().for_each(|task| task.abort());
    println!("good traffic alone: {}", percentiles(before));
    println!("good traffic beside {SLOW} slow connections: {}", percentiles(during));
    gateway.stop().await;
}

/// One good request after the other; each is answered.
async fn latencies(gateway: SocketAddr) -> Vec<Duration> {
    let mut connection = RawConnection::open(gateway).await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let started = Instant::now();
        connection.send(good().as_bytes()).await;
        assert_eq!(connection.response().await.status, 200);
        times.push(started.elapsed());
    }
    times
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?}, p99 {:?} of {}", times[times.len() / 2], times[times.len() * 99 / 100], times.len())
}
