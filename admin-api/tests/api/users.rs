//! Making, reading, changing, deleting and listing users.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, MASTER};

#[tokio::test]
async fn a_new_user_gets_a_key_with_the_same_models() {
    let api = Api::new();
    let body = json!({"user_id": "ada", "user_email": "ada@example.com", "user_role": "internal_user", "max_budget": "3",
        "models": ["gpt-4o"], "key_alias": "first", "duration": "1d", "metadata": {"k": 1}});
    let user = api.post("/user/new", body).await.ok();
    let given = [
        ("user_id", json!("ada")),
        ("user_email", json!("ada@example.com")),
        ("user_role", json!("internal_user")),
        ("models", json!(["gpt-4o"])),
        ("max_budget", json!(3)),
        ("spend", json!(0.0)),
        ("key_alias", json!("first")),
        ("teams", json!([])),
        ("tpm_limit", Value::Null),
    ];
    for (name, value) in given {
        assert_eq!(user[name], value, "{name}");
    }
    let key = api.store.row(user["key"].as_str().unwrap()).unwrap();
    assert_eq!((key.user_id.as_deref(), key.models), (Some("ada"), vec!["gpt-4o".to_owned()]));
    assert!(key.expires.is_some() && user["expires"].is_string());
    assert!(!key.settings.contains_key("max_budget"), "what bounds the user is not repeated on the key");

    let none = api.post("/user/new", json!({"auto_create_key": false})).await.ok();
    assert_eq!((none["user_id"].as_str().map(str::len), &none["key"]), (Some(36), &Value::Null));
    let taken = api.post("/user/new", json!({"user_id": "ada"})).await;
    assert_eq!(taken.refusal(), (400, "bad_request_error".to_owned(), Value::Null));
}

#[tokio::test]
async fn a_new_user_joins_the_teams_that_are_named_and_are_there() {
    let api = Api::new();
    api.post("/team/new", json!({"team_id": "t"})).await.ok();
    let unknown = api.post("/user/new", json!({"user_id": "ada", "teams": ["t", "nobody"]})).await;
    assert_eq!(unknown.refusal(), (404, "not_found_error".to_owned(), json!("team_id")));
    assert_eq!(api.get("/user/info?user_id=ada").await.refusal().0, 404, "nothing is half done");
    let user = api.post("/user/new", json!({"user_id": "ada", "teams": ["t"]})).await.ok();
    assert_eq!(user["teams"], json!(["t"]));
    let info = api.get("/user/info?user_id=ada").await.ok();
    assert_eq!((&info["user_info"]["teams"], &info["teams"][0]["team_id"]), (&json!(["t"]), &json!("t")));
    assert_eq!(info["keys"].as_array().map(Vec::len), Some(1));
    let team = api.get("/team/info?team_id=t").await.ok();
    assert_eq!(team["team_info"]["members_with_roles"][0]["user_id"], "ada");
}

#[tokio::test]
async fn what_a_user_cannot_be_is_refused_by_name() {
    let api = Api::new();
    api.post("/user/new", json!({"user_id": "u"})).await.ok();
    for (body, loc, kind) in [
        (json!({"user_id": "u", "user_role": "root"}), "body.user_role", "enum"),
        (json!({"user_id": "u", "user_mail": "a"}), "body.user_mail", "extra_forbidden"),
        (json!({"user_id": "u", "models": 1}), "body.models", "list_type"),
    ] {
        for path in ["/user/new", "/user/update"] {
            let answer = api.post(path, body.clone()).await;
            assert_eq!(answer.mismatch(), (loc.to_owned(), kind.to_owned()), "{path} {body}");
        }
    }
    assert_eq!(api.post("/user/update", json!({"user_id": "u", "max_budget": -1})).await.refusal().2, "max_budget");
    assert_eq!(api.post("/user/update", json!({"user_id": "nobody"})).await.refusal().2, "user_id");
    assert_eq!(api.post("/user/update", json!({})).await.mismatch().0, "body.user_id");
    for (body, param) in [
        (json!({"user_id": "a\nb"}), "user_id"),
        (json!({"user_email": "a\nb"}), "user_email"),
        (json!({"duration": "soon"}), "duration"),
        (json!({"key_alias": "a\nb"}), "key_alias"),
    ] {
        let answer = api.post("/user/new", body.clone()).await;
        assert_eq!((answer.refusal().0, answer.refusal().2), (400, json!(param)), "{body}");
    }
    assert_eq!(api.get("/user/list").await.ok()["total"], 1, "no user is made of a request that is refused");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_is_recorded() {
    let api = Api::new();
    api.post("/user/new", json!({"user_id": "u", "models": ["a"], "rpm_limit": 5, "auto_create_key": false}))
        .await
        .ok();
    let body = json!({"user_id": "u", "models": null, "rpm_limit": null, "user_role": "proxy_admin"});
    let answer = api.post("/user/update", body).await.ok();
    let user = &answer["data"];
    assert_eq!((&user["models"], &user["rpm_limit"]), (&json!(["a"]), &Value::Null));
    let rows = api.store.audit_rows();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), &*row.object_type, &*row.object_id)).collect();
    assert_eq!(told, [("created", "user", "u"), ("updated", "user", "u")]);
    assert_eq!((&rows[1].before["user_role"], &rows[1].after["user_role"]), (&Value::Null, &json!("proxy_admin")));
    api.store.lose_writes(100);
    assert_eq!(api.post("/user/update", json!({"user_id": "u"})).await.refusal().0, 409);
}

#[tokio::test]
async fn a_deleted_user_leaves_no_key_and_no_team() {
    let api = Api::new();
    api.post("/team/new", json!({"team_id": "t"})).await.ok();
    let theirs = api.post("/user/new", json!({"user_id": "u", "teams": ["t"]})).await.ok();
    let other = api.post("/user/new", json!({"user_id": "v"})).await.ok();
    let health =
        async |user: &Value| api.call(Method::POST, "/key/health", user["key"].as_str(), "").await.status.as_u16();
    assert_eq!(api.post("/user/delete", json!({"user_ids": ["u", "nobody"]})).await.refusal().0, 404);
    assert_eq!(health(&theirs).await, 200, "all or none");
    assert_eq!(api.post("/user/delete", json!({"user_ids": ["u"]})).await.ok(), json!(1));
    assert_eq!((health(&theirs).await, health(&other).await), (401, 200));
    assert_eq!(api.get("/team/info?team_id=t").await.ok()["team_info"]["members_with_roles"], json!([]));
    assert_eq!(api.get("/user/info?user_id=u").await.refusal().0, 404);
    assert_eq!(api.post("/user/delete", json!({"user_ids": []})).await.refusal().2, "user_ids");
}

#[tokio::test]
async fn users_are_listed_by_pages() {
    let api = Api::new();
    for n in 0..7 {
        let role = if n < 3 { "internal_user" } else { "internal_user_viewer" };
        let body = json!({"user_id": n.to_string(), "user_role": role, "user_email": format!("{n}@example.com"),
            "auto_create_key": false});
        api.post("/user/new", body).await.ok();
    }
    let page = api.get("/user/list?page=2&page_size=3").await.ok();
    assert_eq!((page["users"].as_array().map(Vec::len), &page["total"]), (Some(3), &json!(7)));
    assert_eq!((&page["page"], &page["page_size"], &page["total_pages"]), (&json!(2), &json!(3), &json!(3)));
    assert_eq!(api.get("/user/list?role=internal_user").await.ok()["total"], 3);
    assert_eq!(api.get("/user/list?user_email=5@example.com").await.ok()["users"][0]["user_id"], "5");
    assert_eq!(api.get("/user/list?team=t").await.mismatch().0, "query.team");
    api.store.go_away();
    assert_eq!(api.call(Method::GET, "/user/list", Some(MASTER), "").await.refusal().0, 503);
}
