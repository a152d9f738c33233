//! The article's section on Keycloak, typed as it stands: its variable, its configuration, its two commands. Only ports are those in
//! use, the database is a real PostgreSQL at another address, and a provider stands behind `gpt-4o`. Then the same of our own page.

use std::path::Path;

use portcullis_bench::postgres::PostgresServer;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::scene::Scene;
use crate::shell::{Typed, curl, curl_lines};
use crate::support::gateway;

/// Where the article's Keycloak listens.
const THEIR_KEYCLOAK: &str = "http://localhost:9009";
/// The beginning of the token that the article was given.
const THEIR_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5...";

const VARIABLE: &str = "http://localhost:9009/realms/litellm/protocol/openid-connect/certs";

const CONFIGURATION: &str = r#"
general_settings:
  master_key: sk-1234
  database_url: "postgresql://postgres:password@127.0.0.1:5432/litellm"
  enable_jwt_auth: true # 开启 JWT 认证
"#;

const SESSION: &str = r#"
$ curl -X POST \
  http://localhost:9009/realms/litellm/protocol/openid-connect/token \
  -H "Content-Type: application/x-www-form-urlencoded" \
  -d "grant_type=password" \
  -d "client_id=litellm" \
  -d "client_secret=0CtlgEvGHU3XNjDAmwHPn5p8wT78JGEp" \
  -d "username=zhangsan" \
  -d "password=12345678"

$ curl -X POST 'http://127.0.0.1:4000/chat/completions' \
  -H 'Authorization: Bearer eyJhbGciOiJSUzI1NiIsInR5...' \
  -H 'Content-Type: application/json' \
  -d '{
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "你好"}]
  }'
"#;

pub(crate) async fn the_session_works_as_it_is_typed(scene: &Scene) {
    let server = block_in_place(PostgresServer::start);
    let config =
        CONFIGURATION.replace("postgresql://postgres:password@127.0.0.1:5432/litellm", &server.database().await);
    let gateway = gateway(&(config + &scene.models())).env("JWT_PUBLIC_KEY_URL", &here(scene, VARIABLE)).start().await;
    gateway.watch(&scene.provider);
    // The article checks neither who issued a token nor for whom: that works, and is said.
    gateway.printed("JWT_AUDIENCE").await;

    let commands = curl_lines(SESSION);
    let granted = curl(&gateway, &here(scene, &commands[0]), &[]).await;
    let token = has_what_the_article_shows(&granted);
    gateway.client_credential(&token);
    let answered = curl(&gateway, &commands[1].replace(THEIR_TOKEN, &token), &[]).await;
    assert_eq!(
        (answered.status, &answered.json()["object"]),
        (200, &json!("chat.completion")),
        "article: {answered:?}"
    );
    let seen = scene.provider.next_request().await;
    assert_eq!(seen.header("authorization"), Some("Bearer sk-the-operators-own"), "article");
    assert_eq!(seen.json()["messages"][0]["content"], "你好", "article");
    gateway.stop().await;
}

/// Every `curl` line of `docs/jwt-keycloak.md`, in its order: the first gives `$TOKEN`, the others use it.
pub(crate) async fn the_page_works_as_it_is_typed(scene: &Scene) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = here(scene, &std::fs::read_to_string(root.join("config/keycloak.yaml")).unwrap());
    let gateway = gateway(&config).env("PORTCULLIS_MASTER_KEY", "sk-0a1b2c3d4e5f6789").start().await;
    gateway.client_credential("sk-0a1b2c3d4e5f6789");
    let page = std::fs::read_to_string(root.join("docs/jwt-keycloak.md")).unwrap();
    let commands = curl_lines(&page);
    let token = has_what_the_article_shows(&curl(&gateway, &here(scene, &commands[0]), &[]).await);
    gateway.client_credential(&token);
    let called = commands[1..].iter().filter(|command| command.contains("$TOKEN"));
    for command in called.clone() {
        let answered = curl(&gateway, &here(scene, command), &[("TOKEN", &token)]).await;
        assert_eq!(answered.status, 200, "page: {command}\n{answered:?}");
    }
    assert!(called.count() >= 2, "page: calls with the token");
    gateway.stop().await;
}

/// The text with the address at which Keycloak is.
fn here(scene: &Scene, text: &str) -> String {
    text.replace(THEIR_KEYCLOAK, scene.keycloak.url())
}

/// The token, in an answer with every member that the article's has.
fn has_what_the_article_shows(granted: &Typed) -> String {
    assert_eq!(granted.status, 200, "article: {granted:?}");
    let answer = granted.json();
    for (name, value) in [("token_type", json!("Bearer")), ("not-before-policy", json!(0))] {
        assert_eq!(answer[name], value, "article: {name}");
    }
    // What is left of it when Keycloak answers.
    for (name, seconds) in [("expires_in", 300), ("refresh_expires_in", 1800)] {
        let left = answer[name].as_u64().unwrap();
        assert!(left <= seconds && left + 60 > seconds, "article: {name} is {left}");
    }
    let text =
        |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("article: no {name} in {answer}")).to_owned();
    assert!(!text("session_state").is_empty(), "article");
    let scopes: Vec<_> = text("scope").split(' ').map(Value::from).collect();
    assert!(["profile", "email"].iter().all(|scope| scopes.contains(&json!(scope))), "article: {scopes:?}");
    assert!(text("refresh_token").starts_with("eyJ"), "article");
    text("access_token")
}
