//! `/key/generate`: the whole answer, and everything that is refused.

use http::{Method, StatusCode};
use portcullis_admin_api::duration::Span;
use portcullis_admin_api::keys::rules::{KeyRules, UpperBounds};
use serde_json::{Value, json};

use crate::harness::{Api, MASTER, settled};

/// What LiteLLM answers for an empty request, field for field.
fn empty_answer() -> Value {
    const TEXT: &str = r#"{
        "key": "<key>", "key_name": "<key_name>", "token": "<token>", "token_id": "<token_id>",
        "models": [], "metadata": {}, "user_id": null, "team_id": null, "model_max_budget": {},
        "model_rpm_limit": null, "model_tpm_limit": null, "max_budget": null, "max_parallel_requests": null,
        "guardrails": null, "allowed_routes": [],
        "key_alias": null, "duration": null, "expires": null, "aliases": {}, "spend": 0.0, "blocked": null,
        "key_type": "default", "permissions": {}, "config": {}, "allowed_cache_controls": [],
        "auto_rotate": false, "rotation_interval": null, "soft_budget": null, "budget_duration": null,
        "budget_limits": null, "budget_fallbacks": null, "budget_id": null, "end_user_budget_id": null,
        "tpm_limit": null, "rpm_limit": null, "tpd_limit": null, "mcp_rpm_limit": null, "tag_rpm_limit": null,
        "rpm_limit_type": null, "tpm_limit_type": null, "organization_id": null, "project_id": null, "agent_id": null,
        "tags": null, "disable_global_guardrails": null, "disabled_callbacks": null, "policies": null, "prompts": null, "enforced_params": null,
        "object_permission": null, "access_group_ids": null, "allowed_passthrough_routes": null,
        "denied_passthrough_routes": null, "allowed_vector_store_indexes": null, "enable_prompt_caching": null,
        "throttle_on_budget_exceeded": null, "default_estimated_output_tokens": null,
        "default_estimated_output_tokens_per_model": null, "litellm_budget_table": null, "budget_reset_at": null,
        "router_settings": {
            "routing_strategy_args": null, "routing_strategy": null, "model_group_retry_policy": null,
            "allowed_fails": null, "cooldown_time": null, "num_retries": null, "timeout": null, "max_retries": null,
            "retry_after": null, "fallbacks": null, "context_window_fallbacks": null, "model_group_alias": null
        },
        "rotation_count": 0, "last_rotation_at": null,
        "created_at": "<created_at>", "created_by": "default_user_id",
        "updated_at": "<updated_at>", "updated_by": "default_user_id"
    }"#;
    serde_json::from_str(TEXT).unwrap()
}

#[tokio::test]
async fn an_empty_request_gets_every_field_with_litellms_defaults() {
    let answer = Api::new().post("/key/generate", json!({})).await.ok();
    assert_eq!(settled(answer), empty_answer());
}

#[tokio::test]
async fn the_articles_request_gets_the_articles_answer() {
    let api = Api::new();
    // `curl -d` without a content type of its own sends a form's.
    let body = r#"{"models": ["gpt-4o"], "metadata": {"user": "zhangsan@example.com"}}"#;
    let answer = api.call(Method::POST, "/key/generate", Some(MASTER), body).await.ok();
    let key = answer["key"].as_str().unwrap().to_owned();
    assert_eq!(answer["key_name"], format!("sk-...{}", &key[key.len() - 4..]));
    assert_eq!(answer["token"], answer["token_id"]);
    let mut expected = empty_answer();
    expected["models"] = json!(["gpt-4o"]);
    expected["metadata"] = json!({"user": "zhangsan@example.com"});
    assert_eq!(settled(answer), expected);
    assert_eq!(api.call(Method::GET, "/key/info", Some(&key), "").await.ok()["info"]["models"], json!(["gpt-4o"]));
}

#[tokio::test]
async fn what_is_given_is_kept_and_shown_again() {
    let api = Api::new();
    let given = json!({
        "key_alias": "team a / ci", "models": ["gpt-4o", "claude-*"], "aliases": {"m": "gpt-4o"}, "max_budget": 12.5,
        "soft_budget": 20, "budget_duration": "30d", "tpm_limit": 100, "rpm_limit": 5, "max_parallel_requests": 0,
        "model_rpm_limit": {"gpt-4o": 2}, "model_max_budget": {"gpt-4o": {"budget_limit": 1, "time_period": "1d"}},
        "user_id": "u", "team_id": "t", "organization_id": "o", "metadata": {"a": {"b": [1]}}, "blocked": false,
        "tags": ["x"], "guardrails": ["g"], "permissions": {"p": true}, "spend": 0.25, "budget_limits": [{"a": 1}],
        "allowed_routes": ["llm_api_routes"], "router_settings": {"num_retries": 2},
    });
    let key = api.key(given.clone()).await;
    let info = api.get(&format!("/key/info?key={key}")).await.ok();
    for (name, value) in given.as_object().unwrap() {
        let (shown, given) = (&info["info"][name], value);
        assert!(shown == given || shown.as_f64().is_some_and(|n| Some(n) == given.as_f64()), "{name}: {shown}");
    }
    assert_eq!(info["info"]["status"], "active");
    assert!(info["info"].get("token").is_none() && info["info"].get("key").is_none());
}

#[tokio::test]
async fn a_duration_sets_the_end_and_is_read_whole() {
    let api = Api::new();
    let answer = api.post("/key/generate", json!({"duration": "30d"})).await.ok();
    assert!(answer["expires"].as_str().is_some_and(|end| end.ends_with('Z')), "{answer}");
    assert_eq!(answer["duration"], Value::Null, "as LiteLLM answers");
    for duration in ["30sec", "1y", "90", "1.5h", "1D", "bogus", "-1d", "", "-1", "999999999d"] {
        let refusal = api.post("/key/generate", json!({"duration": duration})).await.refusal();
        assert_eq!(refusal, (400, "invalid_request_error".to_owned(), json!("duration")), "{duration:?}");
    }
    let over = api.key(json!({"duration": "0s"})).await;
    let answer = api.call(Method::GET, "/key/info", Some(&over), "").await;
    assert_eq!(answer.refusal().1, "expired_key", "0s ends at once");
}

#[tokio::test]
async fn an_own_key_string_is_checked_and_never_taken_twice() {
    let api = Api::new();
    let own = json!({"key": "sk-my-own-key-000001"});
    assert_eq!(api.post("/key/generate", own.clone()).await.ok()["key"], "sk-my-own-key-000001");
    let again = api.post("/key/generate", json!({"key": "sk-my-own-key-000001", "models": ["x"]})).await;
    assert_eq!(again.refusal(), (409, "bad_request_error".to_owned(), json!("key")));
    assert!(!again.text.contains("sk-my-own-key"), "no error repeats a key");
    api.post("/key/delete", json!({"keys": ["sk-my-own-key-000001"]})).await.ok();
    assert_eq!(api.post("/key/generate", own).await.refusal().0, 409, "a deleted key's string is spent");
    for weak in ["sk-short", "my-own-key-without-prefix", "sk-with\tcontrol-characters", "sk-äöüäöüäöüäöü"]
    {
        let refusal = api.post("/key/generate", json!({"key": weak})).await.refusal();
        assert_eq!(refusal, (400, "invalid_request_error".to_owned(), json!("key")), "{weak}");
    }
    let closed = Api::with_rules(KeyRules { custom_keys: false, ..KeyRules::new("d".into()) });
    assert_eq!(closed.post("/key/generate", json!({"key": "sk-my-own-key-000001"})).await.refusal().0, 403);
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_422_with_the_place() {
    let api = Api::new();
    let cases = [
        (r#"{"models": "#, "json_invalid"),
        ("nonsense", "json_invalid"),
        ("[]", "model_attributes_type"),
        ("\"text\"", "model_attributes_type"),
        ("", "missing"),
        (r#"{"max_budget": "lots"}"#, "float_parsing"),
        (r#"{"modles": []}"#, "extra_forbidden"),
    ];
    for (body, kind) in cases {
        let answer = api.call(Method::POST, "/key/generate", Some(MASTER), body).await;
        assert_eq!(answer.mismatch().1, kind, "{body}");
    }
    let unknown = api.post("/key/generate", json!({"modles": []})).await;
    assert_eq!(unknown.mismatch().0, "body.modles");
    let nested = "[".repeat(100_000);
    assert_eq!(api.call(Method::POST, "/key/generate", Some(MASTER), nested).await.mismatch().1, "json_invalid");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let body = format!(r#"{{"metadata": {{"a": "{}"}}}}"#, "x".repeat(1 << 20));
    let answer = Api::new().call(Method::POST, "/key/generate", Some(MASTER), body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.refusal().1, "invalid_request_error");
}

#[tokio::test]
async fn an_alias_is_unique_among_live_keys() {
    let api = Api::new();
    let first = api.key(json!({"key_alias": "one"})).await;
    let again = api.post("/key/generate", json!({"key_alias": "one"})).await;
    assert_eq!(again.refusal(), (400, "bad_request_error".to_owned(), json!("key_alias")));
    api.post("/key/delete", json!({"keys": [first]})).await.ok();
    api.key(json!({"key_alias": "one"})).await;
    for _ in 0..2 {
        assert_eq!(api.post("/key/generate", json!({"key_alias": ""})).await.ok()["key_alias"], Value::Null);
    }
}

#[tokio::test]
async fn configured_defaults_and_upper_bounds_hold() {
    let defaults = json!({"models": ["small"], "max_budget": 5.0});
    let api = Api::with_rules(KeyRules {
        defaults: defaults.as_object().unwrap().clone(),
        upper_bounds: UpperBounds {
            max_budget: Some(10.0),
            duration: Some(Span::Seconds(3_600)),
            ..UpperBounds::default()
        },
        ..KeyRules::new("d".into())
    });
    let answer = api.post("/key/generate", json!({})).await.ok();
    assert_eq!((&answer["models"], &answer["max_budget"]), (&json!(["small"]), &json!(5.0)));
    assert!(answer["expires"].is_string(), "the bound on the life of a key holds for those who do not ask");
    let over = [json!({"max_budget": 10.5}), json!({"duration": "2h"})];
    for body in over {
        assert_eq!(api.post("/key/generate", body.clone()).await.refusal().0, 400, "{body}");
    }
    let key = api.key(json!({"duration": "1m"})).await;
    let forever = api.post("/key/update", json!({"key": key, "duration": "-1"})).await.ok();
    assert!(forever["expires"].is_string(), "nor can the bound be cleared later");
}

#[tokio::test]
async fn a_service_account_key_belongs_to_a_team_and_to_no_user() {
    let defaults = json!({"user_id": "somebody"}).as_object().unwrap().clone();
    let api = Api::with_rules(KeyRules { defaults, ..KeyRules::new("d".into()) });
    let path = "/key/service-account/generate";
    let without = api.post(path, json!({"key_alias": "ci"})).await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    assert!(without.json()["detail"].is_string(), "{}", without.text);
    let answer = api.post(path, json!({"team_id": "t", "user_id": "u", "key_alias": "ci"})).await.ok();
    assert_eq!((&answer["team_id"], &answer["user_id"]), (&json!("t"), &Value::Null));
    assert_eq!(answer["metadata"], json!({"service_account_id": "ci"}));
}
