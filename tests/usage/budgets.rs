//! Tokens and money, held against what keys may take.

use futures_util::future::join_all;
use portcullis_bench::provider::{Gate, Script};
use serde_json::json;

use crate::scene::{CHAT, COST, Scene};

/// An answer that cost 0.3 dollars.
fn dear() -> Script {
    let body = r#"{"choices":[],"usage":{"prompt_tokens":100000,"completion_tokens":100000}}"#;
    Script::whole(200, body).header("content-type", "application/json")
}

/// Each costs 0.3 dollars and is expected to cost far less: those that are under way together may all pass, which is the
/// overshoot that the documentation states. Whoever comes after is refused.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_dollar_four_calls_pass_one_after_another_and_none_is_refused_early() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"max_budget": 1})).await;
    scene.provider.script_all(dear());
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(scene.chat(&key).await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);
    scene.spent(&key, 1.2).await;
    let refused = scene.chat(&key).await.json();
    assert_eq!(refused["error"]["type"], "budget_exceeded");
    // A free model is not asked for money, and more budget opens the key at once.
    assert_eq!(scene.post(CHAT, &key, &json!({"model": "free"})).await.status, 200);
    scene.update(&key, json!({"max_budget": 2})).await;
    assert_eq!(scene.chat(&key).await.status, 200);
    scene.spent(&key, 1.5).await; // what is not in the store yet would count anew
    scene.update(&key, json!({"spend": 0, "max_budget": 0.2})).await;
    assert_eq!(scene.chat(&key).await.status, 200);
    assert_eq!(scene.chat(&key).await.status, 429);
    scene.spent(&key, 0.3).await;
    scene.gateway.stop().await;
}

/// With a bound of its own a call is expected to cost as much as it may: 100,000 tokens at 2 millionths.
#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_end_within_one_call_of_the_budget() {
    let scene = Scene::new().await;
    // Held back for each: 4,096 tokens at two millionths, the most that is.
    let key = scene.gateway.generate_key(&json!({"max_budget": 0.03})).await;
    let gate = Gate::closed();
    let body = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":4096}}"#;
    scene.provider.script_all(Script::whole(200, body).header("content-type", "application/json").hold(&gate));
    let asked = json!({"model": "m", "max_tokens": 100_000});
    let calls = join_all((0..40).map(|_| scene.post(CHAT, &key, &asked)));
    let open = async {
        for _ in 0..4 {
            scene.provider.next_request().await;
        }
        gate.open();
    };
    let (answers, ()) = tokio::join!(calls, open);
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!((4..=5).contains(&passed) && passed + refused.len() == 40, "{passed} passed");
    scene.spent(&key, passed as f64 * 0.008_192).await;
    for answer in refused {
        let early = answer.json()["error"]["type"] == "throttling_error";
        assert!(answer.headers.contains_key("retry-after") == early, "{answer:?}");
    }
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_a_minute_are_those_of_the_answers() {
    let scene = Scene::new().await;
    loop {
        let minute = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
        let key = scene.gateway.generate_key(&json!({"tpm_limit": 40})).await;
        let model_key = scene.gateway.generate_key(&json!({"model_tpm_limit": {"m": 1}})).await;
        let mut statuses = Vec::new();
        for key in [&key, &key, &key, &key, &model_key, &model_key] {
            statuses.push(scene.chat(key).await.status); // 17 tokens each
        }
        statuses.push(scene.post(CHAT, &model_key, &json!({"model": "free"})).await.status);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60;
        if now == minute {
            assert_eq!(statuses, [200, 200, 200, 429, 200, 429, 200]);
            break;
        }
    }
    scene.gateway.printed("tpm_limit").await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_goes_on_with_what_it_has_spent() {
    let scene = Scene::new().await;
    let old = scene.gateway.generate_key(&json!({"max_budget": 1})).await;
    assert_eq!(scene.chat(&old).await.status, 200);
    let rotated = scene.post("/key/regenerate", crate::scene::MASTER, &json!({"key": old, "grace_period": "1h"})).await;
    let new = rotated.json()["key"].as_str().unwrap().to_owned();
    scene.gateway.client_credential(&new);
    assert_eq!(scene.chat(&old).await.status, 200);
    assert_eq!(scene.chat(&new).await.status, 200);
    scene.spent(&new, 3.0 * COST).await;
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_a_second_begins_anew_after_it() {
    let scene = Scene::new().await;
    let key = scene.gateway.generate_key(&json!({"max_budget": 0.2, "budget_duration": "1s"})).await;
    assert!(scene.info(&key).await["budget_reset_at"].is_string());
    scene.provider.script_all(dear());
    let refused_then_open = async {
        for wanted in [429, 200, 429, 200] {
            while scene.chat(&key).await.status != wanted {
                tokio::task::yield_now().await;
            }
        }
    };
    portcullis_bench::within("two new budgets", refused_then_open).await;
    scene.update(&key, json!({"budget_duration": null})).await;
    assert!(scene.info(&key).await["budget_reset_at"].is_null());
    scene.gateway.stop().await;
}

/// Two nodes on one store, each with a journal of its own: the second has the key in memory from before the first spent the
/// budget, and learns of it by what it posts itself, long before the minute for which it would trust its memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_spends_closes_the_budget_on_the_other() {
    let directory = tempfile::TempDir::new().unwrap();
    let more = format!("  database_url: sqlite:///{}/store.db\n", directory.path().display());
    let (one, other) = (Scene::with(&more).await, Scene::with(&more).await);
    let key = one.gateway.generate_key(&json!({"max_budget": 1})).await;
    other.gateway.client_credential(&key);
    assert_eq!(other.chat(&key).await.status, 200);
    one.provider.script_all(dear());
    for status in [200, 200, 200, 200, 429] {
        assert_eq!(one.chat(&key).await.status, status);
    }
    one.spent(&key, 1.2 + COST).await;
    let mut passed = 0;
    let refused = async {
        while other.chat(&key).await.status == 200 {
            passed += 1;
        }
    };
    portcullis_bench::within("a refusal on the other node", refused).await;
    one.spent(&key, 1.2 + f64::from(passed + 1) * COST).await;
    one.gateway.stop().await;
    other.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_raised_for_a_while_and_a_soft_one_is_only_told() {
    let scene = Scene::new().await;
    scene.provider.script_all(dear());
    let key = scene.gateway.generate_key(&json!({"max_budget": 0.5, "soft_budget": 0.2})).await;
    assert_eq!(scene.chat(&key).await.status, 200);
    scene.gateway.printed("a soft budget is spent").await;
    assert_eq!([scene.chat(&key).await.status, scene.chat(&key).await.status], [200, 429]);
    for (expiry, status) in [("2020-01-01T00:00:00Z", 429), ("2999-01-01 00:00:00", 200)] {
        scene.update(&key, json!({"temp_budget_increase": 0.2, "temp_budget_expiry": expiry})).await;
        assert_eq!(scene.chat(&key).await.status, status, "{expiry}");
    }
    assert_eq!(scene.chat(&key).await.status, 429, "0.9 of 0.7");
    let body = json!({"key": key, "temp_budget_increase": 1, "temp_budget_expiry": "soon"});
    assert_eq!(scene.post("/key/update", crate::scene::MASTER, &body).await.status, 400);
    // Nobody has set an upper bound: nothing is refused.
    let soft = scene.gateway.generate_key(&json!({"soft_budget": 0.2})).await;
    assert_eq!([scene.chat(&soft).await.status, scene.chat(&soft).await.status], [200, 200]);
    scene.gateway.stop().await;
}
