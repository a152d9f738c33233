//! Rotation: settings stay, strings change, grace lasts, and a repeated request does not rotate twice.

use http::Method;
use portcullis_admin_api::keys::rules::KeyRules;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, MASTER, request};

const IDEMPOTENCY_KEY: &str = "2b1f0a3c-9f4e-4b58";

async fn repeatable(api: &Api, path: &str, idempotency_key: &str, body: Value) -> Answer {
    let mut request = request(Method::POST, path, Some(MASTER), body.to_string());
    request.headers_mut().insert("idempotency-key", idempotency_key.parse().unwrap());
    api.send(request).await
}

async fn works(api: &Api, key: &str) -> bool {
    api.call(Method::POST, "/key/health", Some(key), "").await.status == 200
}

#[tokio::test]
async fn a_rotated_key_keeps_everything_but_its_string() {
    let api = Api::new();
    let old = api.key(json!({"models": ["m"], "key_alias": "a", "spend": 2.5, "max_budget": 9})).await;
    let answer = api.post("/key/regenerate", json!({"key": old, "rpm_limit": 4})).await.ok();
    let new = answer["key"].as_str().unwrap();
    assert_ne!(new, old);
    assert_eq!(answer["token_id"], json!(KeyHash::of(new)));
    let kept = ["models", "key_alias", "spend", "max_budget", "rpm_limit", "rotation_count"].map(|n| answer[n].clone());
    assert_eq!(kept, [json!(["m"]), json!("a"), json!(2.5), json!(9), json!(4), json!(1)]);
    assert!(answer["last_rotation_at"].is_string());
    assert!(works(&api, new).await);
    assert!(!works(&api, &old).await, "without a grace period the old string ends at once");
}

#[tokio::test]
async fn the_old_string_works_on_for_its_grace_period() {
    let api = Api::new();
    let old = api.key(json!({"models": ["m"]})).await;
    let path = format!("/key/{}/regenerate", KeyHash::of(&old));
    let new = api.post(&path, json!({"grace_period": "1h"})).await.ok()["key"].as_str().unwrap().to_owned();
    assert!(works(&api, &old).await && works(&api, &new).await);
    let info = api.call(Method::GET, "/key/info", Some(&old), "").await.ok();
    assert_eq!(info["key"], json!(KeyHash::of(&new)), "it is the same key under its old string");
    let configured = KeyRules { grace_period: Some("1d".parse().unwrap()), ..KeyRules::new("d".into()) };
    let api = Api::with_rules(configured);
    let (one, two) = (api.key(json!({})).await, api.key(json!({})).await);
    api.post("/key/regenerate", json!({"key": one})).await.ok();
    api.post("/key/regenerate", json!({"key": two, "grace_period": ""})).await.ok();
    assert_eq!((works(&api, &one).await, works(&api, &two).await), (true, false));
}

#[tokio::test]
async fn a_leaked_old_string_still_names_its_key() {
    let api = Api::new();
    let old = api.key(json!({})).await;
    let new = api.post("/key/regenerate", json!({"key": old, "grace_period": "1h"})).await.ok();
    let new = new["key"].as_str().unwrap();
    api.post("/key/block", json!({"key": old})).await.ok();
    assert!(!works(&api, &old).await && !works(&api, new).await);
    let info = api.call(Method::GET, &format!("/key/info?key={old}"), Some(MASTER), "").await.ok();
    assert_eq!(info["info"]["blocked"], json!(true));
}

#[tokio::test]
async fn a_path_needs_no_body() {
    let api = Api::new();
    let old = api.key(json!({})).await;
    let answer = api.call(Method::POST, &format!("/key/{old}/regenerate"), Some(MASTER), "").await.ok();
    assert!(works(&api, answer["key"].as_str().unwrap()).await);
}

#[tokio::test]
async fn the_same_request_gives_the_same_key_and_rotates_once() {
    let api = Api::new();
    let old = api.key(json!({})).await;
    let send = || repeatable(&api, "/key/regenerate", IDEMPOTENCY_KEY, json!({"key": old, "grace_period": "1h"}));
    let first = send().await.ok();
    let second = send().await.ok();
    assert_eq!((&first["key"], &first["rotation_count"]), (&second["key"], &json!(1)));
    assert_eq!(second["rotation_count"], 1);
    assert!(works(&api, first["key"].as_str().unwrap()).await);
    let other = repeatable(&api, "/key/regenerate", "another-request-01", json!({"key": old})).await;
    assert_eq!(other.refusal().0, 404, "another request finds that the old string is no key any more");
    let next = api.post("/key/regenerate", json!({"key": first["key"]})).await.ok();
    assert_ne!(next["key"], first["key"]);
    assert_eq!(send().await.refusal().0, 409, "a string that was replaced since is not given out as if it worked");
}

#[tokio::test]
async fn a_repeat_that_races_its_first_try_still_rotates_once() {
    let api = Api::new();
    let old = api.key(json!({})).await;
    let send = || repeatable(&api, "/key/regenerate", IDEMPOTENCY_KEY, json!({"key": old}));
    let (one, two) = futures_util::future::join(send(), send()).await;
    assert_eq!(one.ok()["key"], two.ok()["key"]);
    assert_eq!(api.store.audit_rows().iter().filter(|row| row.action == "rotated").count(), 1);
}

#[tokio::test]
async fn an_own_new_key_is_checked_and_may_be_repeated() {
    let api = Api::new();
    let (old, taken) = (api.key(json!({})).await, api.key(json!({})).await);
    let new = "sk-my-rotated-key-01";
    for _ in 0..2 {
        let answer = repeatable(&api, "/key/regenerate", IDEMPOTENCY_KEY, json!({"key": old, "new_key": new})).await;
        assert_eq!(answer.ok()["key"], new);
    }
    let refused = async |body: Value| {
        let (status, _, param) = api.post("/key/regenerate", body).await.refusal();
        (status, param)
    };
    assert_eq!(refused(json!({"key": new, "new_key": taken})).await, (409, json!("new_key")));
    assert_eq!(refused(json!({"key": new, "new_key": new})).await, (409, json!("new_key")));
    assert_eq!(refused(json!({"key": new, "new_key": "sk-short"})).await, (400, json!("new_key")));
    assert_eq!(refused(json!({"key": new, "grace_period": "soon"})).await, (400, json!("grace_period")));
    assert_eq!(refused(json!({"key": new, "new_master_key": "sk-x"})).await, (400, json!("new_master_key")));
    assert_eq!(api.post("/key/regenerate", json!({})).await.mismatch().0, "body.key");
    assert!(works(&api, new).await, "nothing of this touched the key");
}

#[tokio::test]
async fn an_idempotency_key_must_be_long_enough_to_be_no_guess() {
    let api = Api::new();
    let old = api.key(json!({})).await;
    for weak in ["", "1", "123456789012345", &"x".repeat(256)] {
        let refusal = repeatable(&api, "/key/regenerate", weak, json!({"key": old})).await.refusal();
        assert_eq!((refusal.0, refusal.2), (400, json!("Idempotency-Key")), "{weak}");
    }
    assert!(works(&api, &old).await);
}
