//! Back-channel logout: an issuer says that somebody signed out, and the tokens of that session end.

use http::Method;
use portcullis_bench::gateway::Answer;
use portcullis_bench::issuer::{Algorithm, Header, Issuer};
use serde_json::{Value, json};

use crate::scene::{AUDIENCE, Lines, Scene, now};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token of this issuer, with these claims in place of the usual ones; null takes one away.
fn logout_token(issuer: &Issuer, other: &Value) -> String {
    let mut claims = json!({
        "iss": issuer.url(), "aud": AUDIENCE, "iat": now(), "exp": now() + 120, "jti": "logout", "events": {EVENT: {}},
    });
    for (name, value) in other.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    let header = Header { typ: Some("logout+jwt".to_owned()), ..issuer.header(Algorithm::RS256) };
    issuer.mint_with(&header, &claims)
}

async fn log_out(scene: &Scene, token: &str) -> Answer {
    let request = scene.gateway.request(Method::POST, "/sso/backchannel-logout");
    let form = format!("logout_token={token}");
    scene.gateway.send(request.header("content-type", "application/x-www-form-urlencoded").body(form)).await
}

#[tokio::test]
async fn a_session_that_ended_at_the_issuer_ends_here_and_no_other() {
    let scene = Scene::new(Lines::default()).await;
    let ended = scene.token(json!({"sid": "ended", "jti": "a"}));
    let other = scene.token(json!({"sid": "other", "jti": "b"}));
    for token in [&ended, &other] {
        assert_eq!(scene.chat(token).await.status, 200);
    }
    let answer = log_out(&scene, &logout_token(&scene.issuer, &json!({"sid": "ended", "sub": "zhangsan"}))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(scene.chat(&ended).await.status, 401);
    assert_eq!(scene.chat(&other).await.status, 200);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn who_signed_out_everywhere_may_sign_in_again() {
    let scene = Scene::new(Lines::default()).await;
    let before = scene.token(json!({"iat": now() - 10}));
    assert_eq!(scene.chat(&before).await.status, 200);
    let answer = log_out(&scene, &logout_token(&scene.issuer, &json!({"sub": "zhangsan", "iat": now() - 5}))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(scene.chat(&before).await.status, 401);
    assert_eq!(scene.chat(&scene.token(json!({"iat": now() - 1, "jti": "c"}))).await.status, 200);
    scene.gateway.stop().await;
}

#[tokio::test]
async fn what_is_no_logout_token_of_the_issuer_logs_nobody_out() {
    let scene = Scene::new(Lines::default()).await;
    let stranger = Issuer::start().unwrap();
    stranger.rotate();
    let token = scene.token(json!({"sid": "session"}));
    let session = json!({"sid": "session"});
    let with = |name: &str, value: Value| {
        let mut claims = session.clone();
        claims[name] = value;
        logout_token(&scene.issuer, &claims)
    };
    let own_url = scene.issuer.url().to_owned();
    for (what, logout) in [
        ("an access token", token.clone()),
        ("of another issuer", logout_token(&stranger, &session)),
        ("signed by another issuer", logout_token(&stranger, &json!({"sid": "session", "iss": own_url}))),
        ("for another client", with("aud", json!("another"))),
        ("without the event", with("events", json!({"http://schemas.openid.net/event/other": {}}))),
        ("with a nonce", with("nonce", json!("n"))),
        ("old", with("iat", json!(now() - 3600))),
        ("over", with("exp", json!(now() - 3600))),
        ("from the future", with("iat", json!(now() + 3600))),
        ("of nobody", logout_token(&scene.issuer, &json!({}))),
        ("no token", "a.b.c".to_owned()),
    ] {
        let answer = log_out(&scene, &logout).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"error": "invalid_request"})), "{what}");
    }
    assert_eq!(scene.chat(&token).await.status, 200);
    let logout = scene.known(logout_token(&scene.issuer, &session));
    assert_eq!(scene.chat(&logout).await.status, 401, "a logout token lets nobody in");
    scene.gateway.stop().await;
}
