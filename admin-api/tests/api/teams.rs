//! Making, reading, changing, blocking and deleting teams.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, MASTER, settled};

#[tokio::test]
async fn a_new_team_is_shown_in_litellms_fields() {
    let api = Api::new();
    let body = json!({"team_id": "t", "team_alias": "one", "models": ["gpt-4o"], "max_budget": "10", "tpm_limit": 5.0,
        "metadata": {"k": 1}, "members_with_roles": [{"role": "admin", "user_id": "ada"}]});
    let team = settled(api.post("/team/new", body).await.ok());
    let given = [
        ("team_id", json!("t")),
        ("team_alias", json!("one")),
        ("models", json!(["gpt-4o"])),
        ("max_budget", json!(10)),
        ("tpm_limit", json!(5)),
        ("metadata", json!({"k": 1})),
        ("members_with_roles", json!([{"user_id": "ada", "user_email": null, "role": "admin"}])),
        ("blocked", json!(false)),
        ("spend", json!(0.0)),
        ("organization_id", Value::Null),
        ("rpm_limit", Value::Null),
        ("admins", json!([])),
    ];
    for (name, value) in given {
        assert_eq!(team[name], value, "{name}");
    }
    let random = api.post("/team/new", json!({})).await.ok();
    assert_eq!(random["team_id"].as_str().map(|id| (id.len(), id.as_bytes()[14])), Some((36, b'4')));
    let taken = api.post("/team/new", json!({"team_id": "t"})).await;
    assert_eq!(taken.refusal(), (400, "bad_request_error".to_owned(), Value::Null));
}

#[tokio::test]
async fn what_a_team_cannot_be_is_refused_by_name() {
    let api = Api::new();
    api.post("/team/new", json!({"team_id": "t"})).await.ok();
    let mismatches = [
        (json!({"modles": []}), "body.modles", "extra_forbidden"),
        (json!({"models": "gpt-4o"}), "body.models", "list_type"),
        (json!({"members_with_roles": [{"user_id": "a"}]}), "body.members_with_roles.0.role", "enum"),
        (json!({"members_with_roles": [{"role": "user"}]}), "body.members_with_roles.0.user_id", "missing"),
        (json!({"members_with_roles": ["a"]}), "body.members_with_roles.0", "dict_type"),
        (
            json!({"members_with_roles": [{"role": "user", "user_id": "a"}, {"role": "admin", "user_id": "a"}]}),
            "body.members_with_roles",
            "value_error",
        ),
    ];
    for (body, loc, kind) in mismatches {
        assert_eq!(api.post("/team/new", body.clone()).await.mismatch(), (loc.to_owned(), kind.to_owned()), "{body}");
    }
    for (body, param) in [
        (json!({"team_id": "t", "max_budget": -1}), "max_budget"),
        (json!({"team_id": "t", "budget_duration": "soon"}), "budget_duration"),
        (json!({"team_id": "t", "team_alias": "a\nb"}), "team_alias"),
    ] {
        assert_eq!(api.post("/team/new", body.clone()).await.refusal().2, param, "{body}");
        assert_eq!(api.post("/team/update", body.clone()).await.refusal().2, param, "{body}");
    }
    assert_eq!(api.post("/team/new", json!({"team_id": "a\nb"})).await.refusal().2, "team_id");
    assert_eq!(api.post("/team/update", json!({})).await.mismatch().0, "body.team_id");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_null_opens_nothing() {
    let api = Api::new();
    api.post("/team/new", json!({"team_id": "t", "models": ["a"], "blocked": true, "max_budget": 5})).await.ok();
    let body = json!({"team_id": "t", "models": null, "blocked": null, "max_budget": null, "rpm_limit": 3});
    let answer = api.post("/team/update", body).await.ok();
    let team = &answer["data"];
    assert_eq!((&answer["team_id"], &team["models"], &team["blocked"]), (&json!("t"), &json!(["a"]), &json!(true)));
    assert_eq!((&team["max_budget"], &team["rpm_limit"]), (&Value::Null, &json!(3)));
    api.store.lose_writes(2);
    assert_eq!(api.post("/team/update", json!({"team_id": "t", "models": []})).await.ok()["data"]["models"], json!([]));
    api.store.lose_writes(100);
    assert_eq!(api.post("/team/update", json!({"team_id": "t"})).await.refusal().0, 409);
}

#[tokio::test]
async fn a_team_is_blocked_and_unblocked_and_each_write_is_recorded() {
    let api = Api::new();
    api.post("/team/new", json!({"team_id": "t", "metadata": {"api_key": "sk-of-somebody"}})).await.ok();
    for (path, blocked) in [("/team/block", true), ("/team/unblock", false)] {
        assert_eq!(api.post(path, json!({"team_id": "t"})).await.ok()["blocked"], blocked);
        assert_eq!(api.get("/team/info?team_id=t").await.ok()["team_info"]["blocked"], blocked);
    }
    api.post("/team/delete", json!({"team_ids": ["t"]})).await.ok();
    let rows = api.store.audit_rows();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), &*row.object_type, &*row.object_id)).collect();
    let expected = ["created", "blocked", "unblocked", "deleted"].map(|action| (action, "team", "t"));
    assert_eq!(told, expected);
    assert_eq!((&rows[1].before["blocked"], &rows[1].after["blocked"]), (&json!(false), &json!(true)));
    assert_eq!((&rows[0].before, &rows[3].after), (&Value::Null, &Value::Null));
    assert!(rows.iter().all(|row| !format!("{row:?}").contains("sk-of-somebody")), "no secret in the log");
}

#[tokio::test]
async fn a_deleted_team_takes_its_keys_with_it() {
    let api = Api::new();
    for id in ["t", "u"] {
        api.post("/team/new", json!({"team_id": id})).await.ok();
    }
    let (of_team, other) = (api.key(json!({"team_id": "t"})).await, api.key(json!({"team_id": "u"})).await);
    let unknown = api.post("/team/delete", json!({"team_ids": ["t", "nobody"]})).await;
    assert_eq!(unknown.refusal(), (404, "not_found_error".to_owned(), json!("team_id")));
    let health = async |key: &str| api.call(Method::POST, "/key/health", Some(key), "").await.status.as_u16();
    assert_eq!(health(&of_team).await, 200, "all or nothing");
    assert_eq!(api.post("/team/delete", json!({"team_ids": ["t"]})).await.ok(), json!({"deleted_teams": ["t"]}));
    assert_eq!((health(&of_team).await, health(&other).await), (401, 200));
    assert_eq!(api.get("/team/info?team_id=t").await.refusal().0, 404);
    for body in [json!({"team_ids": []}), json!({"team_ids": (0..101).map(|n| n.to_string()).collect::<Vec<_>>()})] {
        assert_eq!(api.post("/team/delete", body).await.refusal().2, "team_ids");
    }
    assert_eq!(api.post("/team/delete", json!({"team_ids": "t"})).await.mismatch().0, "body.team_ids");
}

#[tokio::test]
async fn teams_are_described_with_their_keys_and_listed_by_pages() {
    let api = Api::new();
    for n in 0..12 {
        let member = json!([{"role": "user", "user_id": if n < 3 { "ada" } else { "bob" }}]);
        let body = json!({"team_id": format!("t{n:02}"), "team_alias": "same", "members_with_roles": member});
        api.post("/team/new", body).await.ok();
    }
    let key = api.key(json!({"team_id": "t00", "key_alias": "theirs"})).await;
    let info = api.get("/team/info?team_id=t00").await;
    assert_eq!(info.ok()["keys"][0]["key_alias"], "theirs");
    assert_eq!(info.ok()["team_memberships"][0]["user_id"], "ada");
    assert!(!info.text.contains(&key));
    let page = api.get("/v2/team/list?page=2&page_size=5&team_alias=same").await.ok();
    assert_eq!(page["teams"].as_array().map(Vec::len), Some(5));
    assert_eq!((&page["total"], &page["page"], &page["total_pages"]), (&json!(12), &json!(2), &json!(3)));
    let of_ada = api.get("/team/list?user_id=ada").await.ok();
    assert_eq!(of_ada.as_array().map(Vec::len), Some(3));
    assert_eq!(api.get("/team/list?teem=x").await.mismatch().0, "query.teem");
    assert_eq!(api.get("/team/info").await.mismatch().0, "query.team_id");
}

#[tokio::test]
async fn without_its_store_nothing_is_said_of_teams() {
    let api = Api::new();
    api.store.go_away();
    for (path, body) in [
        ("/team/new", json!({})),
        ("/team/update", json!({"team_id": "t"})),
        ("/team/block", json!({"team_id": "t"})),
        ("/team/delete", json!({"team_ids": ["t"]})),
    ] {
        let answer = api.call(Method::POST, path, Some(MASTER), body.to_string()).await;
        assert_eq!(answer.refusal(), (503, "no_db_connection".to_owned(), json!(null)), "{path}");
    }
}
