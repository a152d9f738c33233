//! What a token opens: models, and management only for those whom the operator made administrators.

use http::Method;
use serde_json::{Value, json};

use crate::scene::{Lines, MASTER, Scene};

async fn generate(scene: &Scene, token: &str) -> (u16, Value) {
    let request = scene.gateway.request(Method::POST, "/key/generate").bearer_auth(token).json(&json!({}));
    let answer = scene.gateway.send(request).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_token_without_a_role_calls_models_and_manages_nothing() {
    let scene = Scene::new(Lines::default()).await;
    let token = scene.token(json!({"scope": "profile email"}));
    assert_eq!(scene.chat(&token).await.status, 200);
    for (method, path) in [
        (Method::POST, "/key/generate"),
        (Method::POST, "/key/block"),
        (Method::GET, "/key/list"),
        (Method::GET, "/audit"),
        (Method::POST, "/token/deny"),
    ] {
        for request in [scene.gateway.request(method.clone(), path), scene.gateway.admin_request(method.clone(), path)]
        {
            let answer = scene.gateway.send(request.bearer_auth(&token).json(&json!({}))).await;
            assert_eq!(answer.status, 403, "{path} {}", answer.json());
        }
    }
    scene.gateway.stop().await;
}

#[tokio::test]
async fn the_admin_scope_opens_management_and_is_named_in_the_audit_log() {
    let scene = Scene::new(Lines::default()).await;
    let admin = scene.token(json!({"scope": "openid litellm_proxy_admin", "sub": "the-admin"}));
    let (status, made) = generate(&scene, &admin).await;
    assert_eq!(status, 200, "{made}");
    scene.gateway.client_credential(made["key"].as_str().unwrap());
    let answer = scene.chat(&admin).await;
    assert_eq!(answer.status, 403, "administrators by token call no models unless told so: {}", answer.json());
    let request = scene.gateway.request(Method::GET, "/audit").bearer_auth(MASTER);
    let log = scene.gateway.send(request).await.json().to_string();
    assert!(log.contains("the-admin"), "{log}");
    scene.gateway.stop().await;
}

#[tokio::test]
async fn a_denied_token_is_refused_until_it_is_allowed_again() {
    let scene = Scene::new(Lines::default()).await;
    let (token, other) =
        (scene.token(json!({"jti": "first"})), scene.token(json!({"jti": "second", "sid": "session"})));
    let write = async |path: &str, entry: Value| {
        let request = scene.gateway.request(Method::POST, path).bearer_auth(MASTER).json(&entry);
        let answer = scene.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    let issuer = scene.issuer.url();
    for (token, claim, value) in [(&token, "jti", "first"), (&other, "sid", "session"), (&other, "sub", "zhangsan")] {
        assert_eq!(scene.chat(token).await.status, 200);
        let entry = json!({claim: value, "issuer": issuer});
        write("/token/deny", entry.clone()).await;
        assert_eq!(scene.chat(token).await.status, 401, "{claim}");
        write("/token/allow", entry).await;
        assert_eq!(scene.chat(token).await.status, 200, "{claim}");
    }
    scene.gateway.stop().await;
}
