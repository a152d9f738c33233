//! SIGHUP: a bad file changes nothing and says why; a good one counts for every request that begins after it.

use http::Method;
use portcullis_bench::gateway::{Gateway, Signal};
use portcullis_bench::provider::{Gate, Script};
use serde_json::json;

use crate::scene::{MASTER, Scene, chat, model};

const IN_FORCE: &str = "the new configuration is in force";

/// Changes the configuration in place.
fn rewrite(gateway: &Gateway, change: impl FnOnce(String) -> String) {
    let path = gateway.directory().join("config.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(text)).unwrap();
}

async fn status(gateway: &Gateway, key: &str, model: &str) -> u16 {
    gateway.send(chat(gateway, key, json!({"model": model}).to_string())).await.status
}

/// Waits until a line has been printed this often.
async fn printed_times(gateway: &Gateway, line: &str, times: usize) {
    let all = async {
        while gateway.output().matches(line).count() < times {
            tokio::task::yield_now().await;
        }
    };
    portcullis_bench::within(line, all).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let scene = Scene::new("").await;
    rewrite(&scene.gateway, |text| {
        text.replace("general_settings:", "general_setings:").replace("model_name: m\n", "model_name: other\n")
    });
    scene.gateway.signal(Signal::SIGHUP);
    scene.gateway.printed("the new configuration is not used").await;
    scene.gateway.printed("general_setings").await;
    assert_eq!(status(&scene.gateway, &scene.key, "m").await, 200);
    assert_eq!(status(&scene.gateway, MASTER, "m").await, 200);
    assert_eq!(status(&scene.gateway, &scene.key, "other").await, 400);
    assert!(!scene.gateway.output().contains(IN_FORCE));
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_good_file_counts_at_once_and_drops_no_request() {
    let scene = Scene::new("").await;
    let gate = Gate::closed();
    scene.provider.script(Script::paced(&gate));
    let mut stream = scene.chat(r#"{"model":"m","stream":true}"#).send().await.unwrap();
    gate.admit(1);
    stream.chunk().await.unwrap().unwrap();

    let added = model("added", "openai/added", &format!("{}/v1", scene.provider.url()), &[]);
    rewrite(&scene.gateway, |text| {
        text.replace("model_name: m\n", "model_name: moved\n")
            .replace("general_settings:", &format!("{added}general_settings:"))
    });
    scene.gateway.signal(Signal::SIGHUP);
    scene.gateway.printed(IN_FORCE).await;
    for (model, expected) in [("added", 200), ("moved", 200), ("openai", 200), ("m", 400)] {
        assert_eq!(status(&scene.gateway, &scene.key, model).await, expected, "{model}");
    }
    gate.open();
    let mut rest = Vec::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.extend_from_slice(&chunk);
    }
    assert!(rest.ends_with(b"data: [DONE]\n\n"), "the stream that was under way");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_master_key_is_replaced_without_a_gap() {
    const NEXT: &str = "sk-master-next-0123456789";
    let scene = Scene::new("").await;
    scene.gateway.client_credential(NEXT);
    assert_eq!(status(&scene.gateway, NEXT, "m").await, 401);
    // One after the other: the new one beside the old, the new one alone.
    rewrite(&scene.gateway, |text| text.replace("portcullis:\n", &format!("portcullis:\n  master_keys: [{NEXT}]\n")));
    scene.gateway.signal(Signal::SIGHUP);
    printed_times(&scene.gateway, IN_FORCE, 1).await;
    assert_eq!((status(&scene.gateway, MASTER, "m").await, status(&scene.gateway, NEXT, "m").await), (200, 200));

    rewrite(&scene.gateway, |text| {
        text.replace(&format!("  master_keys: [{NEXT}]\n"), "")
            .replace(&format!("master_key: {MASTER}"), &format!("master_key: {NEXT}"))
    });
    scene.gateway.signal(Signal::SIGHUP);
    printed_times(&scene.gateway, IN_FORCE, 2).await;
    assert_eq!((status(&scene.gateway, MASTER, "m").await, status(&scene.gateway, NEXT, "m").await), (401, 200));
    let minted = |key| scene.gateway.admin_request(Method::POST, "/key/generate").bearer_auth(key).json(&json!({}));
    assert_eq!(scene.gateway.send(minted(MASTER)).await.status, 401, "the management listener reloads too");
    assert_eq!(status(&scene.gateway, &scene.key, "m").await, 200, "virtual keys do not depend on it");
}
