//! Requests under way at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use portcullis_bench::client::RawConnection;
use portcullis_bench::provider::{Gate, Script};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_sixth_never_reaches_the_provider_while_five_are_under_way() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"max_parallel_requests": 5})).await;
    let gate = Gate::closed();
    scene.provider.script_all(Script::usual().hold(&gate));
    let refused = AtomicUsize::new(0);
    let statuses = join_all((0..40).map(|_| async {
        let status = scene.chat(&key, "m").await.status;
        // All others are refused before the first of the five is answered.
        if status == 429 && refused.fetch_add(1, Ordering::Relaxed) == 34 {
            gate.open();
        }
        status
    }))
    .await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    assert_eq!(scene.provider.requests().len(), 5);
    assert_eq!(scene.chat(&key, "m").await.status, 200, "room again");
    scene.gateway.stop().await;
}

/// The caller hangs up before the answer, and in the middle of a stream; the provider fails; nothing is kept.
#[tokio::test(flavor = "multi_thread")]
async fn room_is_given_back_however_a_request_ends() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"max_parallel_requests": 1})).await;
    let body = r#"{"model":"m","stream":true}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for answered in [false, true] {
        let gate = Gate::closed();
        let script = Script::steps(200).header("content-type", "text/event-stream").send("data: {}\n\n");
        scene.provider.script(if answered { script.wait(&gate) } else { Script::usual().hold(&gate) });
        let mut connection = RawConnection::open(scene.gateway.data_addr()).await;
        connection.send(request.as_bytes()).await;
        if answered {
            connection.read_until(b"data: {}\n\n").await;
        } else {
            scene.provider.next_request().await;
        }
        assert_eq!(scene.chat(&key, "m").await.status, 429);
        drop(connection);
        scene.provider.disconnected().await;
        scene.provider.clear();
        let freed = async {
            while scene.chat(&key, "m").await.status != 200 {
                tokio::task::yield_now().await;
            }
        };
        portcullis_bench::within("room", freed).await;
        gate.open();
    }
    for status in [500, 401] {
        scene.provider.script_all(Script::error(status));
        assert_eq!(scene.chat(&key, "m").await.status, status);
        assert_eq!(scene.chat(&key, "m").await.status, status, "not 429");
    }
    scene.gateway.stop().await;
}
