//! Connections to providers are kept and shared, and what a client says about its own connection changes nothing there.

use http::Method;
use portcullis_bench::client::raw;

use crate::scene::{CALLS, CHAT, PROVIDER_KEY, Scene};

#[tokio::test]
async fn a_client_that_closes_its_connection_ends_no_other() {
    let scene = Scene::new("").await;
    let body = r#"{"model":"m"}"#;
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: {}\r\ncontent-length: {}\r\n\r\n{body}",
        scene.key,
        body.len()
    );
    for _ in 0..5 {
        let answer = raw(scene.gateway.data_addr(), request.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(scene.provider.next_request().await.header("connection"), None);
    }
    assert_eq!(scene.provider.connections(), 1);
    scene.gateway.stop().await;
}

/// Fields named in `Connection` are taken out before the provider's credential is put in, so naming its slot cannot drop it;
/// naming the client's own slot cannot hide that from us either.
#[tokio::test]
async fn naming_fields_in_connection_drops_nothing_of_ours() {
    let scene = Scene::new("").await;
    let named = "authorization, x-api-key, api-key, x-goog-api-key, x-litellm-api-key, content-type, x-listed";
    for (path, body, needed) in CALLS {
        let request =
            scene.gateway.request(Method::POST, path).header("connection", named).header(needed, "2023-06-01");
        let request = request.header("x-litellm-api-key", &scene.key).header("x-listed", "1").body(body);
        let answer = scene.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        let request = scene.provider.next_request().await;
        let slots = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-litellm-api-key"];
        let sent: Vec<&str> = slots.iter().flat_map(|slot| request.header_values(slot)).collect();
        assert_eq!(sent.len(), 1, "{path}: {sent:?}");
        assert!(sent[0].ends_with(PROVIDER_KEY), "{path}");
        assert_eq!((request.header("x-listed"), request.body.length), (None, body.len() as u64), "{path}");
    }
    scene.gateway.stop().await;
}

/// What the message is made of cannot be named: the request is refused, and said to be.
#[tokio::test]
async fn naming_the_framing_in_connection_is_refused() {
    let scene = Scene::new("").await;
    for named in ["content-length", "host", "transfer-encoding", "close, x-forwarded-for", "a,b,c,d,e,f,g,h,i,j,k"] {
        let answer = scene.gateway.send(scene.chat(r#"{"model":"m"}"#).header("connection", named)).await;
        assert_eq!(answer.status, 400, "{named}");
    }
    assert_eq!(
        scene.gateway.send(scene.chat(r#"{"model":"m"}"#).header("connection", "a, te, keep-alive")).await.status,
        200
    );
    assert_eq!(scene.provider.requests().len(), 1);
    scene.gateway.stop().await;
}
