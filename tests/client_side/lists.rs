//! `user_config`: deployments that a body brings for one request. Off unless configured, and then with nothing of the
//! operator's in them.

use serde_json::{Value, json};

use crate::scene::{NEAR, OPERATORS, OWN, Scene, outcome};

/// One deployment of the name `m`.
fn list(params: &Value) -> String {
    let config = json!({"model_list": [{"model_name": "m", "litellm_params": params}], "num_retries": 3});
    format!(r#""user_config":{config}"#)
}

fn usual() -> Value {
    json!({"model": "openai/gpt-own", "api_key": OWN, "api_base": "CHOSEN/v1"})
}

#[tokio::test]
async fn it_is_off_even_where_everything_else_is_on() {
    let rest = NEAR.replace("MASTER\n", "MASTER\n  allow_client_side_credentials: true\n");
    let scene = Scene::new(&[], &rest).await;
    assert_eq!(outcome(&scene.chat(&list(&usual())).await), (400, json!("request_body")));
    assert_eq!(scene.asked(), None);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_list_of_the_callers_stands_in_for_the_operators() {
    let scene = Scene::new(&[], &format!("{NEAR}  client_side:\n    user_config: true\n")).await;
    assert_eq!(scene.chat(&list(&usual())).await.status, 200);
    assert_eq!(scene.chosen.next_request().await.json(), json!({"model": "gpt-own"}));
    assert_eq!(scene.asked(), Some(format!("chosen: Bearer {OWN}")));

    let with = |name: &str, value: Value| {
        let mut params = usual();
        params[name] = value;
        list(&params)
    };
    let without = |name: &str| {
        let mut params = usual();
        params.as_object_mut().unwrap().remove(name);
        list(&params)
    };
    for (members, param) in [
        (without("api_key"), "user_config"),
        (with("api_key", Value::Null), "api_key"),
        (with("api_key", json!("os.environ/OPENAI_API_KEY")), "api_key"),
        (with("api_base", json!("http://[::1]:1/v1")), "api_base"),
        (with("model", json!("mock/mock")), "user_config"),
        (with("model", json!("bedrock/x")), "user_config"),
        (with("model", json!(format!("openai/{}", "x".repeat(600)))), "user_config"),
        (with("model", json!("openai/two\nlines")), "user_config"),
        (with("aws_role_name", json!("x")), "user_config"),
        (r#""user_config":[]"#.to_owned(), "user_config"),
        (format!(r#"{},"api_key":"{OWN}""#, list(&usual())), "user_config"),
    ] {
        let answer = scene.chat(&members).await;
        let (status, named) = outcome(&answer);
        assert_eq!((status, named), (400, json!(param)), "{members} {}", answer.json());
        assert_eq!(scene.asked(), None, "{members}");
    }
    // It may name other models than the operator's; a key's rights are to the names all the same.
    let other = list(&usual()).replace(r#""model_name":"m""#, r#""model_name":"n""#);
    assert_eq!(scene.chat(&other).await.status, 400);
    scene.chat("").await;
    assert_eq!(scene.asked(), Some(format!("operators: Bearer {OPERATORS}")));
    scene.gateway.stop().await;
}

/// Whatever host is in it, also one that only the provider's usual address names.
#[tokio::test]
async fn its_hosts_are_the_guards_to_judge() {
    let rest = "general_settings:\n  master_key: MASTER\nportcullis:\n  client_side:\n    user_config: true\n";
    let scene = Scene::new(&[], rest).await;
    for params in [usual(), json!({"model": "ollama/x", "api_key": OWN})] {
        assert_eq!(outcome(&scene.chat(&list(&params)).await), (400, json!("api_base")), "{params}");
        assert_eq!(scene.asked(), None);
    }
    scene.gateway.stop().await;
}
