//! The reports in LiteLLM's shapes, over what real calls took.

use http::Method;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::scene::{CHAT, COST, MASTER, Scene};

const KEEPS: &str = "portcullis:\n  usage:\n    keep_calls: 1h\n";

async fn get(scene: &Scene, path: &str) -> Value {
    let answer = scene.gateway.send(scene.gateway.request(Method::GET, path).bearer_auth(MASTER)).await;
    assert_eq!(answer.status, 200, "{path} {}", answer.json());
    answer.json()
}

fn close(found: &Value, dollars: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - dollars).abs() < 1e-9)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_spent_what_on_what_and_when() {
    let scene = Scene::with(KEEPS).await;
    let ann = scene.gateway.generate_key(&json!({"key_alias": "ann's", "user_id": "ann", "team_id": "red"})).await;
    let bob = scene.gateway.generate_key(&json!({"user_id": "bob"})).await;
    let first = scene.chat(&ann).await;
    for _ in 0..2 {
        assert_eq!(scene.chat(&bob).await.status, 200);
    }
    assert_eq!(scene.post("/v1/embeddings", &ann, &json!({"model": "m", "input": "hi"})).await.status, 200);
    scene.spent(&ann, COST + 0.000_011).await;
    scene.spent(&bob, 2.0 * COST).await;
    let (all, of_ann) = (3.0 * COST + 0.000_011, COST + 0.000_011);
    let today = time::OffsetDateTime::now_utc().date();

    assert!(close(&get(&scene, "/global/spend").await["spend"], all));
    let keys = get(&scene, "/global/spend/keys?limit=1").await;
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["api_key"], json!(KeyHash::of(&bob).to_string()), "the dearest");
    let keys = get(&scene, "/global/spend/keys").await;
    assert!(keys[1]["key_alias"] == "ann's" && close(&keys[1]["total_spend"], of_ann), "{keys}");
    let models = get(&scene, "/global/spend/models").await;
    assert!(models[0]["model"] == "m" && close(&models[0]["total_spend"], all), "{models}");
    let teams = get(&scene, "/global/spend/teams").await;
    assert!(
        teams["teams"] == json!(["red"]) && close(&teams["total_spend_per_team"][0]["total_spend"], of_ann),
        "{teams}"
    );
    let logs = get(&scene, &format!("/global/spend/logs?api_key={}", KeyHash::of(&ann))).await;
    assert!(logs[0]["date"] == today.to_string() && close(&logs[0]["spend"], of_ann), "{logs}");

    let days = get(&scene, &format!("/spend/logs?start_date={today}&end_date={today}")).await;
    assert!(
        close(&days[0]["spend"], all) && close(&days[0]["users"]["ann"], of_ann) && close(&days[0]["models"]["m"], all),
        "{days}"
    );
    let calls = get(&scene, &format!("/spend/logs?user_id=ann&api_key={ann}")).await;
    assert_eq!(calls.as_array().unwrap().len(), 2);
    let id = first.headers["x-litellm-call-id"].to_str().unwrap();
    let call = get(&scene, &format!("/spend/logs?request_id={id}")).await;
    assert!(close(&call[0]["spend"], COST), "{call}");
    let shown = ["call_type", "prompt_tokens", "completion_tokens", "model", "user", "team_id", "custom_llm_provider"]
        .map(|name| call[0][name].clone());
    assert_eq!(json!(shown), json!(["/chat/completions", 11, 6, "m", "ann", "red", "openai"]));

    let activity = get(&scene, &format!("/user/daily/activity?start_date={today}&end_date={today}")).await;
    let day = &activity["results"][0];
    assert!(close(&day["metrics"]["spend"], all) && day["metrics"]["api_requests"] == 4, "{activity}");
    let of_key = &day["breakdown"]["api_keys"][KeyHash::of(&ann).to_string()]["metrics"];
    assert!(close(&of_key["spend"], of_ann) && of_key["total_tokens"] == 28, "{of_key}");
    assert!(activity["metadata"]["total_pages"] == 1 && activity["metadata"]["has_more"] == false);
    assert!(close(&activity["metadata"]["total_spend"], all));
    for (path, status) in
        [("/user/daily/activity", 400), ("/spend/logs?start_date=yesterday", 422), ("/global/spend?limit=3", 422)]
    {
        let answer = scene.gateway.send(scene.gateway.request(Method::GET, path).bearer_auth(MASTER)).await;
        assert_eq!(answer.status, status, "{path}");
    }
    scene.gateway.stop().await;
}

/// Single calls are kept only where that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_not_kept_unless_they_shall_be() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({})).await;
    assert_eq!(scene.post(CHAT, &key, &json!({"model": "m"})).await.status, 200);
    scene.spent(&key, COST).await;
    assert_eq!(get(&scene, "/spend/logs").await, json!([]));
    scene.gateway.stop().await;
}
