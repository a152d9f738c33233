//! HTTP/2 frames that no library sends, over TLS: fields that HTTP/2 forbids, line ends that would become fields of HTTP/1.1
//! behind the gateway, pseudo-fields that are missing, double or late, and lengths that do not fit.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_bench::client::tls_stream;
use portcullis_bench::raw::RawProvider;
use portcullis_bench::tls::TestCertificate;
use portcullis_bench::within;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support;
use crate::vectors::BODY;

const MASTER: &str = "sk-master-0123456789abcdef";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

fn config(provider: &str) -> String {
    format!(
        "model_list:\n  - model_name: attack\n    litellm_params:\n      model: hosted_vllm/attack\n      api_base: \
         {provider}/v1\n      api_key: sk-provider-0123456789\ngeneral_settings:\n  master_key: {MASTER}\nportcullis:\n  \
         listen:\n    data: {{data}}\n    admin: {{admin}}\n    tls:\n      cert: '{{dir}}/certificate.pem'\n      key: '{{dir}}/key.pem'\n"
    )
}

type Fields = Vec<(String, String)>;

fn good() -> Fields {
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/v1/chat/completions"),
        (":authority", "localhost"),
        ("x-api-key", MASTER),
        ("content-type", "application/json"),
    ];
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn with(name: &str, value: &str) -> Fields {
    let mut fields = good();
    fields.push((name.to_owned(), value.to_owned()));
    fields
}

fn changed(name: &str, value: Option<&str>) -> Fields {
    let mut fields = good();
    fields.retain(|(known, _)| known != name || value.is_some());
    for field in fields.iter_mut().filter(|(known, _)| known == name) {
        field.1 = value.unwrap_or_default().to_owned();
    }
    fields
}

fn late() -> Fields {
    let mut fields = good();
    fields.rotate_left(1);
    fields
}

fn table() -> Vec<(&'static str, Fields)> {
    vec![
        ("connection", with("connection", "close")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("upgrade", with("upgrade", "websocket")),
        ("keep-alive", with("keep-alive", "1")),
        ("proxy-connection", with("proxy-connection", "close")),
        ("te", with("te", "gzip")),
        ("a line end in a value", with("x", "a\r\nx-injected: y")),
        ("a line feed in a value", with("x", "a\ny")),
        ("NUL in a value", with("x", "a\0b")),
        ("a line end in a name", with("x\r\ny", "a")),
        ("a colon in a name", with("x:y", "a")),
        ("a space in a name", with("content-length ", "18")),
        ("an upper-case name", with("X-Upper", "a")),
        ("an empty name", with("", "a")),
        ("an unknown pseudo-field", with(":x", "a")),
        ("a pseudo-field of answers", with(":status", "200")),
        ("two methods", with(":method", "GET")),
        ("two paths", with(":path", "/key/info")),
        ("a late pseudo-field", late()),
        ("no method", changed(":method", None)),
        ("no path", changed(":path", None)),
        ("no scheme", changed(":scheme", None)),
        ("an empty path", changed(":path", Some(""))),
        ("a path without a slash", changed(":path", Some("v1/chat/completions"))),
        ("a star", changed(":path", Some("*"))),
        ("a line end in the path", changed(":path", Some("/v1/chat HTTP/1.1\r\nx: y"))),
        ("a space in the path", changed(":path", Some("/v1/chat completions"))),
        ("an ambiguous path", changed(":path", Some("/v1/../key/info"))),
        ("an absolute path", changed(":path", Some("https://localhost/v1/chat/completions"))),
        ("a line end in the method", changed(":method", Some("POST /x HTTP/1.1\r\nx: y\r\n"))),
        ("CONNECT", changed(":method", Some("CONNECT"))),
        ("TRACE", changed(":method", Some("TRACE"))),
        ("two Hosts", {
            let mut fields = with("host", "a");
            fields.push(("host".into(), "b".into()));
            fields
        }),
        ("a length that is too short", with("content-length", "3")),
        ("a length that is too long", with("content-length", "400")),
        ("a list of lengths", with("content-length", "18, 18")),
        ("two lengths", {
            let mut fields = with("content-length", "18");
            fields.push(("content-length".into(), "3".into()));
            fields
        }),
        ("a disguised length", with("content_length", "3")),
        ("another credential", with("x-api-key", "sk-somebody-elses")),
        ("an expectation", with("expect", "200-ok")),
        ("a large head", with("x", &"a".repeat(40_000))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_malformed_http2_request_reaches_the_provider() {
    let provider = RawProvider::start().unwrap();
    let certificate = TestCertificate::new();
    let setup = support::gateway(&config(&provider.url()));
    certificate.write(setup.directory()).unwrap();
    let gateway = setup.start().await;
    let (address, trust) = (gateway.data_addr(), certificate.h2_client());
    let table = table();
    for (name, fields) in &table {
        let outcome = exchange(address, &trust, fields).await;
        assert_ne!(outcome, Outcome::Served, "{name} was served");
        assert!(provider.captures().is_empty(), "{name} reached the provider");
    }
    println!("{} HTTP/2 vectors", table.len());
    assert_eq!(exchange(address, &trust, &good()).await, Outcome::Served);
    assert_eq!(provider.captures().iter().map(|capture| capture.messages).sum::<usize>(), 1);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Served,
    Refused,
    Reset,
}

/// One request on a connection of its own.
async fn exchange(gateway: SocketAddr, trust: &Arc<ClientConfig>, fields: &Fields) -> Outcome {
    let mut stream = tls_stream(gateway, "localhost", Arc::clone(trust)).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, b""));
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let last = u8::from(index + 1 == pieces.len()) * 4;
        // The first piece is HEADERS, the others CONTINUATION.
        bytes.extend(frame(if index == 0 { HEADERS } else { 9 }, last, 1, piece));
    }
    bytes.extend(frame(0, 1, 1, BODY.as_bytes()));
    stream.write_all(&bytes).await.ok();
    within("an answer to HTTP/2", async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Outcome::Reset;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).await.is_err() {
                return Outcome::Reset;
            }
            match head[3] {
                HEADERS => match status(&payload) {
                    OK => return Outcome::Served,
                    INTERNAL_ERROR => panic!("answered 500"),
                    _ => return Outcome::Refused,
                },
                RST_STREAM | GOAWAY => return Outcome::Reset,
                _ => {}
            }
        }
    })
    .await
}

/// The first field, behind changes of the table's size. Two statuses stand in the static table as one byte.
fn status(block: &[u8]) -> u8 {
    block.iter().copied().find(|byte| byte & 0xe0 != 0x20).unwrap_or_default()
}

const OK: u8 = 0x88;
const INTERNAL_ERROR: u8 = 0x8e;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field that is not indexed and not compressed (RFC 7541, section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(text.len(), &mut bytes);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A length with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(mut value: usize, bytes: &mut Vec<u8>) {
    if value < 127 {
        return bytes.push(value as u8);
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push(value as u8);
}
