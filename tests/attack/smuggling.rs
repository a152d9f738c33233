//! Every vector of the table against a gateway with a provider that keeps bytes: nothing is answered 5xx, nothing reaches
//! the provider but what the table says, what reaches it has one reading, and the gateway goes on serving.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_bench::client::RawConnection;
use portcullis_bench::gateway::Gateway;
use portcullis_bench::raw::RawProvider;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support;
use crate::vectors::{self, BODY, Outcome, Vector};

const PROVIDER_KEY: &str = "sk-provider-0123456789";
/// Vectors under way at the same time: each waits for the end of its connection.
const AT_ONCE: usize = 24;

fn config(provider: &str) -> String {
    let deployment = |name: &str, model: &str| {
        format!(
            "  - model_name: '{name}'\n    litellm_params:\n      model: '{model}'\n      api_base: {provider}/v1\n      api_key: {PROVIDER_KEY}\n"
        )
    };
    format!(
        "model_list:\n{}{}general_settings:\n  master_key: sk-master-0123456789abcdef\nportcullis:\n  http:\n    head_timeout: 1s\n    \
         body_timeout: 1s\n    keep_alive: 1s\n",
        deployment("attack", "hosted_vllm/attack"),
        deployment("azure/*", "azure/*"),
    )
}

/// One vector with or without a credential, and its place in the table.
struct Shot {
    id: String,
    bytes: Vec<u8>,
    expected: Outcome,
}

impl Shot {
    fn new(index: usize, vector: &Vector, key: &str, with: bool) -> Self {
        let id = format!("{index}-{}", if with { "admitted" } else { "anonymous" });
        let smuggled = format!(
            "POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nX-Vector: smuggled\r\nX-Api-Key: {key}\r\nContent-Length: 18\r\n\r\n{BODY}"
        );
        let field = if with { format!("Authorization: Bearer {key}\r\n") } else { String::new() };
        let mut bytes = vector.bytes.clone();
        for (name, value) in [
            ("{key}", field),
            ("{id}", format!("X-Vector: {id}\r\n")),
            ("{smuggled}", smuggled),
            ("{bare}", key.to_owned()),
            ("{upper}", key.to_uppercase()),
            ("{hash}", "0".repeat(64)),
        ] {
            bytes = replaced(&bytes, name.as_bytes(), value.as_bytes());
        }
        Shot { id, bytes, expected: if with { vector.admitted } else { vector.anonymous } }
    }

    /// Sends everything, closes the sending half, and reads all answers.
    async fn fire(&self, gateway: SocketAddr) -> Vec<u8> {
        let mut connection = RawConnection::open(gateway).await;
        connection.send(&self.bytes).await;
        if self.expected != Outcome::Forwarded {
            connection.finish_sending().await;
        }
        connection.read_to_end().await
    }
}

fn replaced(bytes: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(name) {
            result.extend_from_slice(value);
            at += name.len();
        } else {
            result.push(bytes[at]);
            at += 1;
        }
    }
    result
}

/// The statuses of all answers in these bytes.
fn statuses(answers: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answers);
    let lines = text.split("HTTP/1.").skip(1);
    lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).filter(|status| *status != 100).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_malformed_and_nobody_unknown_gets_through() {
    let provider = RawProvider::start().unwrap();
    let gateway = support::gateway(&config(&provider.url())).start().await;
    let key = gateway.generate_key(&json!({})).await;
    let table = vectors::all();
    let shots: Vec<Shot> = table
        .iter()
        .enumerate()
        .flat_map(|(index, vector)| [true, false].map(|with| Shot::new(index, vector, &key, with)))
        .collect();
    let answers = fire_all(&gateway, shots).await;
    let mut wrong = Vec::new();
    for (shot, answer) in &answers {
        let expected = match shot.expected {
            Outcome::Refused(status) => vec![status],
            Outcome::Forwarded => vec![200],
            Outcome::Dropped => vec![],
        };
        let found = statuses(answer);
        if found != expected {
            let name = &table[shot.id.split('-').next().unwrap().parse::<usize>().unwrap()].name;
            wrong.push(format!("{} ({}): {found:?}, not {expected:?}", name, shot.id));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
    reached(&provider, &answers, &key);
    println!("{} vectors, each with and without a credential", table.len());
    good_request(&gateway, &key).await;
    gateway.stop().await;
}

async fn fire_all(gateway: &Gateway, shots: Vec<Shot>) -> Vec<(Shot, Vec<u8>)> {
    let (address, places) = (gateway.data_addr(), Arc::new(Semaphore::new(AT_ONCE)));
    let tasks: Vec<_> = shots
        .into_iter()
        .map(|shot| {
            let places = Arc::clone(&places);
            tokio::spawn(async move {
                let _place = places.acquire_owned().await.expect("never closed");
                let answer = shot.fire(address).await;
                (shot, answer)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Every byte at the provider belongs to one well-formed request of a vector that may have got there.
fn reached(provider: &RawProvider, answers: &[(Shot, Vec<u8>)], key: &str) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for capture in provider.captures() {
        let mut rest = &capture.bytes[..];
        let mut messages = 0;
        while !rest.is_empty() {
            let (id, length) = one_reading(rest, key);
            *seen.entry(id).or_default() += 1;
            rest = &rest[length..];
            messages += 1;
        }
        assert_eq!(messages, capture.messages, "two parsers count differently");
    }
    for (shot, _) in answers {
        let expected = usize::from(shot.expected == Outcome::Forwarded);
        assert_eq!(seen.remove(&shot.id).unwrap_or(0), expected, "{} at the provider", shot.id);
    }
    assert!(seen.is_empty(), "smuggled: {seen:?}");
}

/// Reads one request as strictly as can be. Returns its mark and its length.
fn one_reading(bytes: &[u8], key: &str) -> (String, usize) {
    let shown = String::from_utf8_lossy(bytes);
    let end = shown.find("\r\n\r\n").unwrap_or_else(|| panic!("no head in {shown}"));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert!(matches!(line[..], ["POST", path, "HTTP/1.1"] if path.starts_with("/v1/")), "{line:?}");
    let mut fields: HashMap<String, Vec<&str>> = HashMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("the line {line:?}"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{line:?}");
        assert!(value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte > 0x7f), "{line:?}");
        fields.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    let one = |name: &str| match fields.get(name).map(Vec::as_slice) {
        Some([value]) => *value,
        other => panic!("{name}: {other:?} in {head}"),
    };
    assert!(!fields.contains_key("transfer-encoding") && !fields.contains_key("upgrade"), "{head}");
    assert_eq!(one("authorization"), format!("Bearer {PROVIDER_KEY}"));
    assert!(one("host").starts_with("127.0.0.1:"));
    let length: usize = one("content-length").parse().unwrap();
    let total = end + 4 + length;
    assert_eq!(&bytes[end + 4..total], BODY.as_bytes());
    assert!(!String::from_utf8_lossy(&bytes[..total]).contains(key), "the client's credential in {head}");
    (one("x-vector").to_owned(), total)
}

/// The same gateway still serves.
async fn good_request(gateway: &Gateway, key: &str) {
    let request = gateway.request(http::Method::POST, "/v1/chat/completions").bearer_auth(key);
    let answer = gateway.send(request.header("content-type", "application/json").body(BODY)).await;
    assert_eq!(answer.status, 200);
}
