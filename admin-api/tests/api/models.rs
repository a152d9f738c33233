//! What is served, as the operator and as keys see it.

use http::Method;
use serde_json::{Value, json};

use crate::harness::Api;

fn names(answer: &Value, name: &str) -> Vec<String> {
    answer["data"].as_array().unwrap().iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_operator_sees_every_deployment_and_its_address() {
    let api = Api::new();
    let all = api.get("/model/info").await.ok();
    assert_eq!(names(&all, "model_name"), ["gpt-4o", "gpt-4o", "o3"]);
    assert_eq!(all["data"][1]["litellm_params"]["model"], "openai/gpt-4o-eu");
    assert_eq!(all["data"][1]["litellm_params"]["api_base"], "http://inside.example/v1");
    assert_eq!(all, api.get("/v1/model/info").await.ok());
    let id = all["data"][1]["model_info"]["id"].as_str().unwrap();
    let one = api.get(&format!("/model/info?litellm_model_id={id}")).await.ok();
    assert_eq!(one["data"], json!([all["data"][1]]), "ids tell deployments of one name apart");
    let groups = json!({"data": [
        {"model_group": "gpt-4o", "providers": ["openai"]},
        {"model_group": "o3", "providers": ["openai"]},
    ]});
    assert_eq!(api.get("/model_group/info").await.ok(), groups);
}

#[tokio::test]
async fn a_key_sees_what_it_may_use_and_no_address() {
    let api = Api::new();
    for (models, seen) in [
        (json!([]), &["gpt-4o", "gpt-4o", "o3"][..]),
        (json!(["beta"]), &["o3"]),
        (json!(["gpt-*"]), &["gpt-4o", "gpt-4o"]),
        (json!(["other"]), &[]),
    ] {
        let key = api.key(json!({ "models": models })).await;
        let answer = api.call(Method::GET, "/v1/model/info", Some(&key), "").await;
        assert_eq!(names(&answer.ok(), "model_name"), seen, "{models}");
        assert!(!answer.text.contains("inside.example"), "{}", answer.text);
        let groups = api.call(Method::GET, "/model_group/info", Some(&key), "").await.ok();
        let mut seen = seen.to_vec();
        seen.dedup();
        assert_eq!(names(&groups, "model_group"), seen, "{models}");
    }
}

#[tokio::test]
async fn a_key_for_calls_only_does_not_read_the_list_and_one_for_reading_does() {
    let api = Api::new();
    let caller = api.key(json!({"key_type": "llm_api"})).await;
    assert_eq!(api.call(Method::GET, "/model/info", Some(&caller), "").await.refusal().0, 403);
    let reader = api.key(json!({"key_type": "read_only"})).await;
    api.call(Method::GET, "/v1/model/info", Some(&reader), "").await.ok();
}
