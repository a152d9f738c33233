//! Request bodies of every size, framing and protocol reach the provider byte by byte, but for the renamed model; those over
//! a bound are refused before anything of them is forwarded.

use bytes::Bytes;
use http::{Request, Version};
use portcullis_bench::client::{H2Connection, RawConnection, RawResponse};
use portcullis_bench::provider::RecordedBody;
use portcullis_bench::tls::TestCertificate;
use sha2::{Digest, Sha256};

use crate::scene::{CHAT, MASTER, Scene, every_dialect, setup};

const KIB: usize = 1024;
const MB: usize = 1_000_000;
const SIZES: [usize; 5] = [63 * KIB, 64 * KIB, 65 * KIB, 5 * MB, 50 * MB];
const TINY: (&str, &str) = ("/v1beta/models/gemini:generateContent", r#"{"a":true}"#);

/// A chat body of this length in which no two places look alike, so that bytes out of order do not go unseen.
fn body(model: &str, length: usize) -> String {
    let mut text = format!(r#"{{"model":"{model}","stream":false,"pad":""#);
    let mut state = 1u32;
    while text.len() < length - 2 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(char::from(b'a' + (state >> 24) as u8 % 26));
    }
    text + r#""}"#
}

fn renamed(body: &str, from: &str, to: &str) -> String {
    body.replacen(&format!("\"{from}\""), &format!("\"{to}\""), 1)
}

fn assert_arrived(body: &RecordedBody, expected: &str, what: &str) {
    assert!(body.complete, "{what}");
    assert_eq!(body.length, expected.len() as u64, "{what}");
    let digest: String = Sha256::digest(expected).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(body.sha256, digest, "{what}");
}

fn head(target: &str, framing: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {MASTER}\r\n\
         content-type: application/json\r\n{framing}\r\n\r\n"
    )
}

fn chunked(body: &str, piece: usize) -> Vec<u8> {
    let chunks = body.as_bytes().chunks(piece);
    let mut framed: Vec<u8> =
        chunks.flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).collect();
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunked,
    Expect,
}

async fn send(connection: &mut RawConnection, framing: Framing, target: &str, body: &str) -> RawResponse {
    let length = format!("content-length: {}", body.len());
    match framing {
        Framing::Length => connection.send(head(target, &length).as_bytes()).await,
        Framing::Chunked => connection.send(head(target, "transfer-encoding: chunked").as_bytes()).await,
        Framing::Expect => {
            connection.send(head(target, &format!("{length}\r\nexpect: 100-continue")).as_bytes()).await;
            assert_eq!(connection.response().await.status, 100);
        }
    }
    match framing {
        Framing::Chunked => connection.send(&chunked(body, 10_007)).await,
        Framing::Length | Framing::Expect => connection.send(body.as_bytes()).await,
    }
    connection.response().await
}

/// A framing keeps its connection for the next request up to this length of body.
fn keeps_connection(framing: Framing, length: usize) -> bool {
    !matches!(framing, Framing::Chunked) || length <= 64 * KIB
}

#[tokio::test]
async fn http_1_bodies_arrive_byte_by_byte_in_every_framing() {
    let scene = Scene::new("").await;
    for framing in [Framing::Length, Framing::Chunked, Framing::Expect] {
        let mut connection = scene.connection().await;
        assert_eq!(send(&mut connection, framing, TINY.0, TINY.1).await.status, 200, "{framing:?}");
        assert_arrived(&scene.provider.next_request().await.body, TINY.1, "10 bytes");
        for size in SIZES {
            for (name, there) in [("m", "renamed-by-us"), ("openai", "openai")] {
                if size > 5 * MB && name == there {
                    continue;
                }
                let what = format!("{framing:?} {size} {name}");
                let sent = body(name, size);
                let answer = send(&mut connection, framing, CHAT, &sent).await;
                assert_eq!(answer.status, 200, "{what}: {}", answer.head);
                let request = scene.provider.next_request().await;
                assert_arrived(&request.body, &renamed(&sent, name, there), &what);
                assert_eq!(request.header_values("content-length").len(), 1, "{what}");
                assert_eq!(request.header("transfer-encoding"), None, "{what}");
                if !keeps_connection(framing, size) {
                    assert_eq!(answer.header("connection"), Some("close"), "{what}");
                    connection = scene.connection().await;
                }
            }
        }
    }
    scene.gateway.stop().await;
}

async fn over_tls(rest: &str) -> (Scene, H2Connection) {
    let certificate = TestCertificate::new();
    let provider = portcullis_bench::provider::Provider::start().unwrap();
    let tls = format!(
        "{rest}portcullis:\n  listen:\n    data: {{data}}\n    admin: {{admin}}\n    tls:\n      cert: certificate.pem\n      key: key.pem\n"
    );
    let setup = setup(&every_dialect(&provider), &tls);
    certificate.write(setup.directory()).unwrap();
    let gateway = setup.start().await;
    gateway.watch(&provider);
    let connection = H2Connection::tls(gateway.data_addr(), "localhost", certificate.h2_client()).await;
    (Scene { gateway, provider, key: MASTER.to_owned() }, connection)
}

fn request(target: &str, length: Option<usize>) -> Request<()> {
    let request = Request::post(format!("https://localhost{target}")).version(Version::HTTP_2);
    let request =
        request.header("authorization", format!("Bearer {MASTER}")).header("content-type", "application/json");
    let request = length.into_iter().fold(request, |request, length| request.header("content-length", length));
    request.body(()).unwrap()
}

#[tokio::test]
async fn http_2_bodies_arrive_byte_by_byte_with_and_without_a_length() {
    let (scene, mut connection) = over_tls("").await;
    for declared in [true, false] {
        let tiny = request(TINY.0, declared.then_some(TINY.1.len()));
        assert_eq!(connection.send(tiny, &[Bytes::from(TINY.1)]).await.unwrap().status, 200);
        assert_arrived(&scene.provider.next_request().await.body, TINY.1, "10 bytes");
        for size in SIZES {
            let sent = body("m", size);
            let pieces: Vec<Bytes> = sent.as_bytes().chunks(70_001).map(Bytes::copy_from_slice).collect();
            let answer = connection.send(request(CHAT, declared.then_some(size)), &pieces).await.unwrap();
            assert_eq!(answer.status, 200, "{declared} {size}");
            let request = scene.provider.next_request().await;
            assert_arrived(&request.body, &renamed(&sent, "m", "renamed-by-us"), &format!("{declared} {size}"));
        }
    }
}

/// Pingora once passed the empty frame on as a chunk of its own, which ended the provider's message twice: the next request
/// of the pooled connection then met the rest.
#[tokio::test]
async fn an_empty_last_data_frame_does_not_poison_the_pooled_connection() {
    let (scene, mut connection) = over_tls("").await;
    let sent = r#"{"model":"openai","a":1}"#;
    let (whole, empty) = (Bytes::from(sent), Bytes::new());
    let (left, right) = (whole.slice(..7), whole.slice(7..));
    for pieces in [vec![whole.clone(), empty.clone()], vec![empty.clone(), left, empty.clone(), right, empty]] {
        for length in [Some(sent.len()), None] {
            let answer = connection.send(request(CHAT, length), &pieces).await.unwrap();
            assert_eq!(answer.status, 200, "{length:?} {pieces:?}");
            assert_arrived(&scene.provider.next_request().await.body, sent, "with empty frames");
        }
    }
    assert_eq!(scene.provider.connections(), 1, "one connection served them all");
}

const ONE_MIB: &str = "  max_request_size_mb: 1\n";

#[tokio::test]
async fn a_body_over_the_bound_is_refused_at_once_and_not_forwarded() {
    let scene = Scene::new(ONE_MIB).await;
    let over = KIB * KIB + 1;
    for framing in [format!("content-length: {over}"), format!("content-length: {over}\r\nexpect: 100-continue")] {
        let mut connection = scene.connection().await;
        connection.send(head(CHAT, &framing).as_bytes()).await;
        let answer = connection.response().await;
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{framing}");
    }
    let mut connection = scene.connection().await;
    connection.send(head(CHAT, "transfer-encoding: chunked").as_bytes()).await;
    let endless = chunked(&body("m", over), 16 * KIB);
    connection.send(&endless[..endless.len() - 5]).await;
    assert_eq!(connection.response().await.status, 413, "chunked, and not ended");

    let exact = body("m", over - 1);
    let mut connection = scene.connection().await;
    assert_eq!(send(&mut connection, Framing::Length, CHAT, &exact).await.status, 200);
    assert_eq!(scene.provider.requests().len(), 1, "only the one within the bound");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn http_2_bodies_over_the_bound_are_refused_too() {
    let (scene, mut connection) = over_tls(ONE_MIB).await;
    let over = KIB * KIB + 1;
    let sent = Bytes::from(body("m", over));
    for length in [Some(over), None] {
        let answer = connection.send(request(CHAT, length), std::slice::from_ref(&sent)).await.unwrap();
        assert_eq!(answer.status, 413, "{length:?}");
    }
    assert_eq!(scene.provider.requests().len(), 0);
}

#[tokio::test]
async fn the_room_for_all_bodies_is_bounded_and_given_back() {
    let scene = Scene::new(&format!("{ONE_MIB}portcullis:\n  http:\n    max_buffered_size: 1MiB\n")).await;
    let large = body("m", KIB * KIB);
    let mut holder = scene.connection().await;
    holder.send(head(CHAT, &format!("content-length: {}\r\nexpect: 100-continue", large.len())).as_bytes()).await;
    assert_eq!(holder.response().await.status, 100, "its room is taken");

    let refused = scene.gateway.send(scene.chat(body("m", 64 * KIB))).await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(refused.json()["error"]["type"], "internal_server_error");

    holder.send(large.as_bytes()).await;
    assert_eq!(holder.response().await.status, 200);
    assert_eq!(scene.gateway.send(scene.chat(body("m", 64 * KIB))).await.status, 200, "the room is free again");
    assert_eq!(scene.provider.requests().len(), 2);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn large_bodies_in_parallel_take_two_copies_each_at_most() {
    const PARALLEL: usize = 3;
    let scene = Scene::new("").await;
    let sent = body("m", 50 * MB);
    let before = scene.gateway.rss_bytes();
    let calls = (0..PARALLEL).map(|_| async { scene.gateway.send(scene.chat(sent.clone())).await.status });
    assert_eq!(futures_util::future::join_all(calls).await, [200; PARALLEL]);
    let (peak, after) = (scene.gateway.peak_rss_bytes(), scene.gateway.rss_bytes());
    let mib = |bytes: u64| bytes / (KIB * KIB) as u64;
    eprintln!(
        "{PARALLEL} bodies of 50 MB: resident {} MiB before, {} at most, {} after",
        mib(before),
        mib(peak),
        mib(after)
    );
    assert!(peak - before < (PARALLEL * 50 * MB * 5 / 2) as u64, "{peak} bytes");
    scene.gateway.stop().await;
}
