//! Every slot over the wire: what `docs/credentials.md` says of pairs, on real requests. Whatever a request carried, nothing of
//! it reaches the provider; the harness searches for that when the gateway ends.

use http::Method;
use portcullis_bench::client::raw;
use reqwest::RequestBuilder;

use crate::scene::{MASTER, PROVIDER_KEY, Scene};

const ADDITIONAL: &str = "x-team-key";
/// In the order in which they count.
const SLOTS: [&str; 9] = [
    "x-litellm-api-key",
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    ADDITIONAL,
    "?key",
    "sec-websocket-protocol",
];
const UNKNOWN: &str = "sk-unknown-0123456789";
const FOREIGN: &str = "sk-ant-oat01-0123456789";
const CONFIG: &str = "portcullis:\n  additional_key_headers: [X-Team-Key]\n";

/// A Gemini call, the one on which every slot counts, with these values in these slots.
fn call(scene: &Scene, values: &[(&str, &str)]) -> RequestBuilder {
    let mut path = "/v1beta/models/gemini:generateContent?alt=json".to_owned();
    let mut headers = Vec::new();
    for (slot, value) in values {
        match *slot {
            "?key" => path += &format!("&key={value}"),
            "sec-websocket-protocol" => headers.push((*slot, format!("openai-insecure-api-key.{value}"))),
            "authorization" if !value.is_empty() => headers.push((*slot, format!("Bearer {value}"))),
            _ => headers.push((*slot, (*value).to_owned())),
        }
    }
    let request = scene.gateway.request(Method::POST, &path).body("{}");
    headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn status(scene: &Scene, values: &[(&str, &str)]) -> u16 {
    scene.gateway.send(call(scene, values)).await.status
}

#[tokio::test]
async fn each_slot_and_every_pair_of_them() {
    let scene = Scene::new(CONFIG).await;
    for foreign in [UNKNOWN, FOREIGN] {
        scene.gateway.client_credential(foreign);
    }
    let key = scene.key.as_str();
    for slot in SLOTS {
        for (value, expected) in
            [(key, 200), (MASTER, 200), (UNKNOWN, 401), ("", 401), (FOREIGN, 401), ("not-needed", 401)]
        {
            assert_eq!(status(&scene, &[(slot, value)]).await, expected, "{slot}: {value}");
        }
    }
    let alone = scene.provider.requests().len();
    assert_eq!(alone, 2 * SLOTS.len(), "only proven credentials reach a provider");
    for (at, earlier) in SLOTS.into_iter().enumerate() {
        for later in &SLOTS[at + 1..] {
            for (first, second, expected) in [
                (key, UNKNOWN, 200),
                (key, FOREIGN, 200),
                (UNKNOWN, key, 401),
                (FOREIGN, key, 200),
                ("not-needed", key, 200),
                ("", key, 200),
                (FOREIGN, UNKNOWN, 401),
            ] {
                assert_eq!(
                    status(&scene, &[(earlier, first), (later, second)]).await,
                    expected,
                    "{earlier}: {first}, {later}: {second}"
                );
            }
        }
    }
    for request in &scene.provider.requests() {
        assert_eq!(request.header("x-goog-api-key"), Some(PROVIDER_KEY));
        assert_eq!(request.query.as_deref(), Some("alt=json"));
        let others = SLOTS.iter().filter(|slot| **slot != "x-goog-api-key");
        assert!(others.into_iter().all(|slot| request.header(slot).is_none()), "{:?}", request.headers);
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_replacing_header_decides_alone() {
    let scene = Scene::new("  litellm_key_header_name: X-Company-Key\n").await;
    let key = format!("Bearer {}", scene.key);
    for (value, expected) in
        [(key.as_str(), 200), (scene.key.as_str(), 401), ("", 401), ("Bearer sk-unknown-0123456789", 401)]
    {
        let good = call(&scene, &[("authorization", &scene.key), ("x-litellm-api-key", MASTER)]);
        assert_eq!(scene.gateway.send(good.header("x-company-key", value)).await.status, expected, "{value}");
    }
    assert_eq!(status(&scene, &[("x-api-key", &scene.key)]).await, 200, "where it is absent the usual order holds");
    let forwarded = scene.provider.requests();
    assert!(forwarded.iter().all(|request| request.header("x-company-key").is_none()));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn repeated_and_overlong_credentials_are_refused() {
    let scene = Scene::new(CONFIG).await;
    for name in ["authorization", "x-api-key", ADDITIONAL] {
        for (second, status) in
            [(format!("Bearer {}", scene.key), "200"), ("Bearer sk-unknown-0123456789".to_owned(), "400")]
        {
            let lines = format!("{name}: Bearer {}\r\n{name}: {second}\r\n", scene.key)
                .replace("Bearer ", if name == "x-api-key" { "" } else { "Bearer " });
            let request = format!("GET /v1/models HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{lines}\r\n");
            let answer =
                String::from_utf8_lossy(&raw(scene.gateway.data_addr(), request.as_bytes()).await).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
        }
    }
    let long = format!("sk-{}", "a".repeat(4096));
    assert_eq!(status(&scene, &[("authorization", &long)]).await, 401);
    assert_eq!(scene.provider.requests().len(), 0);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_proof_of_possession_stays_here() {
    let scene = Scene::new("").await;
    let good = call(&scene, &[("authorization", &scene.key)]);
    assert_eq!(scene.gateway.send(good.header("dpop", "a.proof.of-something")).await.status, 200);
    let forwarded = scene.provider.requests();
    assert!(forwarded.len() == 1 && forwarded[0].header("dpop").is_none());
    let key = scene.gateway.request(Method::GET, "/v1/models");
    let answer = scene.gateway.send(key.header("authorization", format!("DPoP {}", scene.key))).await;
    assert_eq!(answer.status, 401, "a key is bound to nothing");
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "), "{:?}", answer.headers);
    scene.gateway.stop().await;
}
