//! Requests in a minute.

use futures_util::future::join_all;
use portcullis_bench::provider::Script;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::scene::{Scene, minute};

/// Makes a key and does this with it, all within one minute; again where one ended meanwhile.
async fn within_a_minute<T>(scene: &Scene, rights: Value, attempt: impl AsyncFn(String) -> T) -> T {
    loop {
        let began = minute();
        let outcome = attempt(scene.gateway.generate_key(&rights).await).await;
        if minute() == began {
            return outcome;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_at_once_exactly_as_many_pass_as_may() {
    let scene = Scene::new().await;
    let passed = within_a_minute(&scene, json!({"rpm_limit": 100}), async |key| {
        scene.provider.clear();
        let answers = join_all((0..1_000).map(|_| scene.chat(&key, "m"))).await;
        let refused = answers.iter().filter(|answer| answer.status == 429).count();
        let passed = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(passed + refused, 1_000);
        assert_eq!(scene.provider.requests().len(), passed, "who is refused reaches nobody");
        passed
    })
    .await;
    assert_eq!(passed, 100);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_says_when_to_come_again_in_the_callers_dialect() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"rpm_limit": 0})).await;
    let answer = scene.chat(&key, "m").await;
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(answer.status == 429 && (1..=60).contains(&wait), "{answer:?}");
    assert_eq!(answer.json()["error"]["type"], "throttling_error");
    // What is answered here is no call.
    let list = scene.gateway.request(http::Method::GET, "/v1/models").bearer_auth(&key);
    assert_eq!(scene.gateway.send(list).await.status, 200);
    scene.gateway.printed("rpm_limit").await;
    scene.gateway.stop().await;
}

#[tokio::test]
async fn each_model_has_its_own_and_each_key() {
    let scene = Scene::new().await;
    let rights = json!({"model_rpm_limit": {"m": 1}, "rpm_limit": 3});
    let statuses = within_a_minute(&scene, rights.clone(), async |key| {
        let mut statuses = Vec::new();
        for model in ["m", "m", "n", "n", "n"] {
            statuses.push(scene.chat(&key, model).await.status);
        }
        let other = scene.gateway.generate_key(&rights).await;
        statuses.push(scene.chat(&other, "m").await.status);
        statuses
    })
    .await;
    // The second is refused for its model, and takes nothing out of the three.
    assert_eq!(statuses, [200, 429, 200, 200, 429, 200]);
    scene.gateway.stop().await;
}

/// What is spent is not recorded yet; but nothing may be, where the budget is nothing, and what was spent elsewhere counts.
#[tokio::test]
async fn a_budget_that_is_spent_is_spent() {
    let scene = Scene::new().await;
    for (rights, status) in [
        (json!({"max_budget": 0}), 429),
        (json!({"max_budget": 10, "spend": 10}), 429),
        (json!({"max_budget": 10, "spend": 9.5}), 200),
        (json!({"max_budget": null, "spend": 10}), 200),
    ] {
        let key = scene.gateway.generate_key(&rights).await;
        let answer = scene.chat(&key, "m").await;
        assert_eq!(answer.status, status, "{rights}");
        if status == 429 {
            assert_eq!(answer.json()["error"]["type"], "budget_exceeded");
            let told =
                scene.manage("/auth/explain", &json!({"key": KeyHash::of(&key).to_string(), "model": "m"})).await;
            assert_eq!(told["decided_by"], "limit: max_budget of the key");
            scene.manage("/key/update", &json!({"key": KeyHash::of(&key).to_string(), "max_budget": 11})).await;
            assert_eq!(scene.chat(&key, "m").await.status, 200);
        }
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_rotated_key_and_its_old_string_share_one() {
    let scene = Scene::new().await;
    let statuses = within_a_minute(&scene, json!({"rpm_limit": 2}), async |old| {
        let rotated = scene.manage("/key/regenerate", &json!({"key": old, "grace_period": "1h"})).await;
        let new = rotated["key"].as_str().unwrap();
        scene.gateway.client_credential(new);
        [scene.chat(&old, "m").await.status, scene.chat(new, "m").await.status, scene.chat(&old, "m").await.status]
    })
    .await;
    assert_eq!(statuses, [200, 200, 429]);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_changed_limit_is_in_force_at_once() {
    let scene = Scene::new().await;
    let statuses = within_a_minute(&scene, json!({"rpm_limit": 1}), async |key| {
        let mut statuses = vec![scene.chat(&key, "m").await.status, scene.chat(&key, "m").await.status];
        for limit in [json!(2), json!(0), Value::Null] {
            let hash = KeyHash::of(&key).to_string();
            scene.manage("/key/update", &json!({"key": hash, "rpm_limit": limit})).await;
            statuses.push(scene.chat(&key, "m").await.status);
        }
        statuses
    })
    .await;
    assert_eq!(statuses, [200, 429, 200, 429, 200]);
    scene.gateway.stop().await;
}

/// By the names that SDKs read; what the provider says of the operator's account goes no further then.
#[tokio::test]
async fn an_answer_says_what_is_left_of_the_minute() {
    let scene = Scene::new().await;
    let body = r#"{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":20}}"#;
    let script = Script::whole(200, body).header("content-type", "application/json");
    scene
        .provider
        .script_all(script.header("x-ratelimit-remaining-tokens", "999999").header("x-ratelimit-limit-requests", "7"));
    let told = within_a_minute(&scene, json!({"rpm_limit": 3, "tpm_limit": 10_000}), async |key| {
        let mut told = Vec::new();
        for _ in 0..4 {
            let answer = scene.chat(&key, "m").await;
            let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert!(header("x-ratelimit-reset-requests").unwrap().ends_with('s'));
            told.push((header("x-ratelimit-limit-requests"), header("x-ratelimit-remaining-requests")));
            if answer.status == 200 {
                let left: u64 = header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
                assert!((8_000..10_000).contains(&left), "{left}");
            }
        }
        told
    })
    .await;
    let said = |limit: &str, left: &str| (Some(limit.to_owned()), Some(left.to_owned()));
    assert_eq!(told, [said("3", "2"), said("3", "1"), said("3", "0"), (None, Some("0".to_owned()))]);
    let free = scene.gateway.generate_key(&json!({})).await;
    assert_eq!(scene.chat(&free, "m").await.headers["x-ratelimit-limit-requests"], "7", "nothing of ours to say");
    scene.gateway.stop().await;
}
