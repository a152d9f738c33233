//! Asking counts against nobody.

use futures_util::future::join_all;
use serde_json::json;

use crate::scene::{MASTER, Scene, chat};

const FUNCTION: &str = "
from litellm.proxy._types import UserAPIKeyAuth

async def decide(request, api_key):
    if api_key.startswith('limited'):
        return UserAPIKeyAuth(api_key=api_key, rpm_limit=1)
    raise Exception('no')
";
const LIMITED: &str = "limited-credential-0123456789";

#[tokio::test]
async fn a_limit_is_looked_at_and_not_used() {
    let rest = "  custom_auth: function.decide\n  custom_auth_settings: {mode: auto}\nlitellm_settings:\n  \
                require_auth_for_metrics_endpoint: false\n";
    let scene = Scene::new(rest, &[("function.py", FUNCTION)]).await;
    scene.gateway.client_credential(LIMITED);
    let request = chat(LIMITED, "m");
    for _ in 0..20 {
        let told = scene.explain(&json!({ "request": request })).await;
        assert_eq!((&told["outcome"], &told["principal"]["method"]), (&json!("allowed"), &json!("custom")), "{told}");
        let limit = told["steps"].as_array().unwrap().iter().find(|step| step["step"] == "limit").unwrap();
        assert_eq!(limit, &json!({"step": "limit", "rule": "rpm_limit of the key", "result": "0 of 1"}));
    }
    let by_hash = scene.explain(&json!({"key": "0".repeat(64)})).await;
    assert_eq!((&by_hash["outcome"], &by_hash["decided_by"]), (&json!("undecided"), &json!("authenticator: custom")));
    // The minute may end between these; then the second passes, and the third does not.
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 3 {
        statuses.push(scene.make(&request).await.status);
    }
    assert_eq!((statuses[0], statuses.last()), (200, Some(&429)));
    let told = scene.explain(&json!({ "request": request })).await;
    assert!(told["decided_by"] == "limit: rpm_limit of the key" || told["outcome"] == "allowed", "{told}");

    // Who is refused by the function and known to nobody else: each is told of, in order.
    let told = scene.explain(&json!({"request": chat("bad-credential-0123456789", "m")})).await;
    let asked: Vec<_> =
        told["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "authenticator").collect();
    let names: Vec<_> = asked.iter().map(|step| step["rule"].as_str().unwrap()).collect();
    assert_eq!(names, ["custom", "master_key", "virtual_key", "none of them knows it"], "{told}");
    scene.gateway.stop().await;
}

/// Some 1,100 guesses close the door to a source; twice as many, asked about, do not.
#[tokio::test]
async fn questions_are_no_guesses() {
    let scene = Scene::new("", &[]).await;
    // At once, or time forgives them as fast as they come.
    for first in (0..2_000).step_by(100) {
        let questions = (first..first + 100).map(|n| {
            let headers = json!({"x-api-key": format!("sk-guess-{n:010}")});
            json!({"request": {"path": "/v1/models", "source": "127.0.0.1", "headers": headers}})
        });
        for told in join_all(questions.map(async |question| scene.explain(&question).await)).await {
            assert_eq!(told["denial"], "unrecognized_credential");
        }
    }
    let key = scene.gateway.generate_key(&json!({})).await;
    assert_eq!(scene.make(&chat(&key, "m")).await.status, 200);
    assert_eq!(scene.make(&chat("sk-one-more-guess-0123", "m")).await.status, 401);
    assert_eq!(scene.make(&chat(MASTER, "m")).await.status, 200);
    scene.gateway.stop().await;
}
