//! What people ask support, and the whole answer in the terminal, as it stands in `questions.txt`.

use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::json;

use crate::scene::{CHAT, MASTER, Scene};
use crate::terminal::portcullis;

const TOKEN: &str = "sk-ant-oat01-of-a-subscription-0123456789";
const M: &str = r#"{"model":"m"}"#;

#[tokio::test]
async fn ten_questions_of_support_are_answered_in_one_screen() {
    let scene = Scene::new("", &[]).await;
    let key = scene.gateway.generate_key(&json!({"models": ["m"], "key_alias": "claude-code-of-ann"})).await;
    let limited = scene.gateway.generate_key(&json!({"rpm_limit": 0, "key_alias": "ci"})).await;
    let blocked = scene.gateway.generate_key(&json!({"key_alias": "left-in-a-repo"})).await;
    let block = scene.gateway.request(http::Method::POST, "/key/block").bearer_auth(MASTER);
    assert_eq!(scene.gateway.send(block.json(&json!({"key": blocked}))).await.status, 200);

    let bearer = |key: &str| format!("Authorization: Bearer {key}");
    let (token, key_bearer, blocked) = (bearer(TOKEN), bearer(&key), bearer(&blocked));
    let (unknown, limited, bare) =
        (bearer("sk-of-another-gateway-0123"), bearer(&limited), format!("Authorization: {key}"));
    let own = format!("x-api-key: {key}");
    let mut told = String::new();
    for (question, arguments) in [
        ("why 401 from Claude Code with a subscription?", &["-H", &token, "-d", M, "/v1/messages"][..]),
        ("which one counts when Claude Code sends both?", &["-H", &token, "-H", &own, "-d", M, CHAT]),
        ("why 403 for this model?", &["-H", &key_bearer, "-d", r#"{"model":"open"}"#, CHAT]),
        ("why 404 from my SDK?", &["-H", &key_bearer, "-d", M, "/v1/v1/chat/completions"]),
        ("why is the model invalid?", &["-H", &bearer(MASTER), "-d", r#"{"model":"gpt-5"}"#, CHAT]),
        ("why is my key malformed?", &["-H", &bare, "-d", M, CHAT]),
        ("why is my key unknown?", &["-H", &unknown, "-d", M, CHAT]),
        ("why did my key stop working?", &["-H", &blocked, "-d", M, CHAT]),
        ("why 429?", &["-H", &limited, "-d", M, CHAT]),
        (
            "why may I not use a key of my own?",
            &["-H", &key_bearer, "-d", r#"{"model":"m","api_key":"own-key-0123"}"#, CHAT],
        ),
        (
            "why does the Google SDK get 400?",
            &["-H", &own, "-d", r#"{"model":"m","max_tokens":1}"#, "/v1beta/models/m:generateContent"],
        ),
    ] {
        let output = portcullis(&scene, arguments, "").await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().count() <= 24, "{question}\n{text}");
        told += &format!("# {question}\n{text}\n");
    }
    // What differs from run to run.
    for (name, key) in [("ann's", &key), ("ci's", &limited), ("the repo's", &blocked)] {
        let key = key.trim_start_matches("Authorization: Bearer ");
        told = told.replace(&KeyHash::of(key).to_string(), &format!("<hash of {name} key>"));
    }
    let expected = include_str!("questions.txt");
    assert!(told.trim_end() == expected.trim_end(), "{told}");
    scene.gateway.stop().await;
}
