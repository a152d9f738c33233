//! Users and teams of tokens: enrolled off the request path, and what their rows say counts.

use http::Method;
use serde_json::json;

use crate::scene::{Lines, MASTER, Scene};

const CLAIMS: &str = "        claims:\n          user_id_jwt_field: sub\n          user_email_jwt_field: email\n";

#[tokio::test]
async fn an_unknown_user_is_refused_unless_users_are_enrolled() {
    for (line, status) in [("", 401), ("          user_id_upsert: true", 200)] {
        let issuer = format!("{CLAIMS}{line}");
        let scene = Scene::new(Lines { issuer: &issuer, ..Lines::default() }).await;
        let token = scene.token(json!({"email": "zhangsan@example.com"}));
        let answer = scene.chat(&token).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.json());
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn an_enrolled_user_has_one_row_and_an_audit_row() {
    let issuer = format!("{CLAIMS}          user_id_upsert: true");
    let scene = Scene::new(Lines { issuer: &issuer, ..Lines::default() }).await;
    let tokens: Vec<_> =
        (0..20).map(|n| scene.token(json!({"jti": n.to_string(), "email": "z@example.com"}))).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| scene.chat(token))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let rows = async || {
        let request = scene.gateway.request(Method::GET, "/audit?object_id=zhangsan").bearer_auth(MASTER);
        let answer = scene.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json().to_string().matches("\"zhangsan\"").count()
    };
    let written = async { while rows().await == 0 {} };
    portcullis_bench::within("the row of the user", written).await;
    let first = rows().await;
    assert_eq!(scene.chat(&tokens[0]).await.status, 200);
    assert_eq!(rows().await, first, "nobody is enrolled twice");
    scene.gateway.stop().await;
}

/// A token counts for its user and for the team that it is charged to.
#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_tokens_user_and_team_are_in_force() {
    let issuer = format!("{CLAIMS}          team_id_jwt_field: team\n          user_id_upsert: true");
    let scene = Scene::new(Lines { issuer: &issuer, ..Lines::default() }).await;
    let write = async |path: &str, body: serde_json::Value| {
        let request = scene.gateway.request(Method::POST, path).bearer_auth(MASTER).json(&body);
        let answer = scene.gateway.send(request).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    };
    write("/user/new", json!({"user_id": "zhangsan", "auto_create_key": false, "max_budget": 0})).await;
    write("/team/new", json!({"team_id": "open"})).await;
    write("/team/new", json!({"team_id": "spent", "max_budget": 0})).await;
    write("/team/new", json!({"team_id": "slow", "tpm_limit": 0})).await;
    let members = json!([{"user_id": "zhangsan", "role": "user"}]);
    let bounded = json!({"team_id": "bounded", "team_member_budget": 0, "members_with_roles": members});
    write("/team/new", bounded).await;
    for (team, refused) in [
        ("open", None),
        ("spent", Some("Budget has been exceeded! It is max_budget of the team.")),
        ("slow", Some("Rate limit exceeded: tpm_limit of the team. Try again later.")),
        ("bounded", Some("Budget has been exceeded! It is max_budget of the team member.")),
    ] {
        let answer = scene.chat(&scene.token(json!({"team": team}))).await;
        assert_eq!(answer.json()["error"]["message"].as_str(), refused, "{team}");
    }
    write("/user/update", json!({"user_id": "zhangsan", "max_parallel_requests": 0})).await;
    let answer = scene.chat(&scene.token(json!({"team": "open"}))).await;
    assert!(answer.json().to_string().contains("max_parallel_requests of the user"), "{}", answer.json());
    scene.gateway.stop().await;
}
