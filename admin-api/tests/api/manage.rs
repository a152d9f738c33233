//! Reading, changing, blocking, deleting and listing keys.

use http::Method;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::harness::{Api, MASTER};

fn not_found() -> (u16, String, Value) {
    (404, "not_found_error".to_owned(), json!("key"))
}

#[tokio::test]
async fn a_key_reads_itself_and_no_other_not_even_an_ownerless_one() {
    let api = Api::new();
    let (own, other) = (api.key(json!({"models": ["mine"]})).await, api.key(json!({})).await);
    let read = async |path: String| api.call(Method::GET, &path, Some(&own), "").await;
    let hash = KeyHash::of(&own);
    for path in ["/key/info".to_owned(), format!("/key/info?key={own}"), format!("/key/info?key={hash}")] {
        assert_eq!(read(path).await.ok()["info"]["models"], json!(["mine"]));
    }
    let foreign = read(format!("/key/info?key={other}")).await;
    let unknown = read("/key/info?key=sk-there-is-no-such-key".to_owned()).await;
    assert_eq!(foreign.refusal().0, 403);
    assert_eq!(foreign.text, unknown.text, "the answer does not tell which keys exist");
    assert_eq!(read("/key/info?key=junk".to_owned()).await.text, unknown.text);
}

#[tokio::test]
async fn the_operator_reads_any_key_deleted_ones_too() {
    let api = Api::new();
    let key = api.key(json!({"key_alias": "a"})).await;
    let by_hash = format!("/key/info?key={}", KeyHash::of(&key));
    let info = api.get(&by_hash).await.ok();
    assert_eq!((&info["key"], &info["info"]["status"]), (&json!(KeyHash::of(&key)), &json!("active")));
    api.post("/key/block", json!({"key": key})).await.ok();
    assert_eq!(api.get(&by_hash).await.ok()["info"]["status"], "revoked");
    api.post("/key/delete", json!({"keys": [key]})).await.ok();
    let info = api.get(&by_hash).await.ok();
    assert_eq!((&info["info"]["status"], &info["info"]["deleted_by"]), (&json!("deleted"), &json!("default_user_id")));
    assert_eq!(api.get("/key/info?key=sk-unknown-0000000").await.refusal(), not_found());
    assert_eq!(api.get("/key/info").await.refusal(), not_found(), "the master key is no row");
    assert_eq!(api.get("/key/info?kee=x").await.mismatch(), ("query.kee".to_owned(), "extra_forbidden".to_owned()));
}

#[tokio::test]
async fn several_keys_are_described_in_one_request() {
    let api = Api::new();
    let key = api.key(json!({"models": ["m"]})).await;
    let infos = api.post("/v2/key/info", json!({"keys": ["sk-unknown-0000000", key]})).await.ok();
    assert_eq!(infos["key"], json!([key]));
    assert_eq!(infos["info"][0]["models"], json!(["m"]));
    assert_eq!(api.post("/v2/key/info", json!({"keys": ["sk-unknown"]})).await.refusal(), not_found());
    assert_eq!(api.post("/v2/key/info", json!({"keys": "x"})).await.mismatch().0, "body.keys");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let api = Api::new();
    let key = api.key(json!({"models": ["a"], "max_budget": 5, "key_alias": "x", "duration": "1d"})).await;
    let before = api.store.row(&key).unwrap();
    let answer = api.post("/key/update", json!({"key": key, "models": ["b"], "metadata": {"k": 1}})).await.ok();
    assert_eq!(answer["token"], json!(KeyHash::of(&key)));
    assert_eq!((&answer["models"], &answer["max_budget"]), (&json!(["b"]), &json!(5)));
    let after = api.store.row(&key).unwrap();
    assert_eq!((after.expires, &after.key_alias, after.spend), (before.expires, &before.key_alias, before.spend));
    let cleared = api.post("/key/update", json!({"key_alias": "x", "duration": null, "max_budget": null})).await.ok();
    assert_eq!((&cleared["expires"], &cleared["max_budget"]), (&Value::Null, &Value::Null));
    assert_eq!(cleared["key_alias"], "x", "an alias that names the key is not a new alias");
}

#[tokio::test]
async fn updates_are_checked_like_new_keys() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    let refused = async |body: Value| api.post("/key/update", body).await.refusal();
    let param = |refusal: (u16, String, Value)| (refusal.0, refusal.2);
    assert_eq!(param(refused(json!({"key": key, "duration": "soon"})).await), (400, json!("duration")));
    assert_eq!(param(refused(json!({"key": key, "max_budget": -1})).await), (400, json!("max_budget")));
    let lone = json!({"key": key, "temp_budget_increase": 5});
    assert_eq!(param(refused(lone).await), (400, json!("temp_budget_expiry")));
    assert_eq!(param(refused(json!({"models": ["a"]})).await), (400, json!("key")));
    assert_eq!(refused(json!({"key": "sk-unknown-0000000"})).await, not_found());
    assert_eq!(refused(json!({"key": "junk"})).await, not_found());
    assert_eq!(refused(json!({"key_alias": "nobody"})).await, not_found());
    assert_eq!(api.post("/key/update", json!({"key": key, "nope": 1})).await.mismatch().0, "body.nope");
}

#[tokio::test]
async fn bulk_updates_report_each_key() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    let body = json!({"keys": [{"key": key, "rpm_limit": 3}, {"key": "sk-unknown-0000000"}, {"key": key, "bad": 1}]});
    let report = api.post("/key/bulk_update", body).await.ok();
    assert_eq!(report["total_requested"], 3);
    assert_eq!(report["successful_updates"][0]["key_info"]["rpm_limit"], 3);
    let reasons: Vec<_> = report["failed_updates"].as_array().unwrap().iter().map(|f| &f["failed_reason"]).collect();
    assert_eq!(reasons, ["Key not found in database", "body.bad: Extra inputs are not permitted"]);
}

#[tokio::test]
async fn a_blocked_key_is_refused_until_it_is_unblocked() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    let health = || api.call(Method::POST, "/key/health", Some(&key), "");
    assert_eq!(health().await.ok(), json!({"key": "healthy", "logging_callbacks": null}));
    assert_eq!(api.post("/key/block", json!({"key": key})).await.ok()["blocked"], true);
    assert_eq!(health().await.refusal(), (401, "auth_error".to_owned(), json!(null)));
    let by_hash = json!({"key": KeyHash::of(&key)});
    assert_eq!(api.post("/key/unblock", by_hash).await.ok()["blocked"], false);
    health().await.ok();
    assert_eq!(api.post("/key/block", json!({"key": "sk-unknown-0000000"})).await.refusal(), not_found());
    assert_eq!(api.post("/key/block", json!({})).await.mismatch().0, "body.key");
    assert_eq!(api.post("/key/block", json!({"key": key, "why": "x"})).await.mismatch().0, "body.why");
}

#[tokio::test]
async fn deleting_says_what_was_deleted_and_what_was_not_there() {
    let api = Api::new();
    let (key, named) = (api.key(json!({})).await, api.key(json!({"key_alias": "named"})).await);
    let report = api.post("/key/delete", json!({"keys": [key, "sk-unknown-0000000", key]})).await.ok();
    assert_eq!(report, json!({"deleted_keys": [key], "unknown_keys": ["sk-unknown-0000000"]}));
    assert_eq!(api.call(Method::GET, "/key/info", Some(&key), "").await.refusal().0, 401);
    let again = api.post("/key/delete", json!({"keys": [key]})).await;
    assert_eq!(again.refusal(), (404, "invalid_request_error".to_owned(), json!(null)));
    assert!(again.text.contains("No keys found"));
    let report = api.post("/key/delete", json!({"key_aliases": ["named"]})).await.ok();
    assert_eq!(report, json!({"deleted_keys": ["named"]}));
    assert!(api.store.row(&named).unwrap().deleted_at.is_some());
    for body in [json!({}), json!({"keys": []}), json!({"keys": [key], "key_aliases": ["a"]})] {
        assert_eq!(api.post("/key/delete", body.clone()).await.refusal().0, 400, "{body}");
    }
    for gone in ["/key/update", "/key/block", "/key/regenerate"] {
        assert_eq!(api.post(gone, json!({"key": key})).await.refusal(), not_found(), "{gone}");
    }
}

#[tokio::test]
async fn listings_come_in_pages_of_hashes_or_of_keys() {
    let api = Api::new();
    for n in 0..12 {
        api.key(json!({"key_alias": format!("k{n:02}"), "team_id": if n < 3 { "t" } else { "u" }})).await;
    }
    let page = api.get("/key/list?page=2&size=5").await.ok();
    assert_eq!(page["keys"].as_array().unwrap().len(), 5);
    assert!(page["keys"][0].as_str().is_some_and(|hash| hash.len() == 64));
    assert_eq!((&page["total_count"], &page["current_page"], &page["total_pages"]), (&json!(12), &json!(2), &json!(3)));
    let full = api.get("/key/list?team_id=t&return_full_object=true").await.ok();
    assert_eq!(full["total_count"], 3);
    assert!(full["keys"][0]["token"].is_string() && full["keys"][0].get("key").is_none());
    let aliases = api.get("/key/aliases?search=k0&size=4&page=3").await.ok();
    assert_eq!(aliases["aliases"], json!(["k08", "k09"]));
    assert_eq!((&aliases["total_count"], &aliases["size"]), (&json!(10), &json!(4)));
}

#[tokio::test]
async fn a_listing_that_cannot_be_given_as_asked_is_refused() {
    let api = Api::new();
    let cases = [
        ("page=0", "greater_than_equal"),
        ("size=101", "less_than_equal"),
        ("size=-1", "int_parsing"),
        ("status=alive", "enum"),
        ("sort_by=secret", "enum"),
        ("return_full_object=perhaps", "bool_parsing"),
        ("team=t", "extra_forbidden"),
    ];
    for (query, kind) in cases {
        assert_eq!(api.get(&format!("/key/list?{query}")).await.mismatch().1, kind, "{query}");
    }
    assert_eq!(api.get("/key/list?project_id=p").await.refusal().0, 400, "not ignored, which would list other keys");
    assert_eq!(api.get("/key/list?key_hash=xyz").await.refusal().2, "key_hash");
    assert_eq!(api.get("/key/list?page=18446744073709551615").await.ok()["keys"], json!([]));
}

#[tokio::test]
async fn a_lost_race_is_run_again_but_not_for_ever() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    api.store.lose_writes(2);
    api.post("/key/update", json!({"key": key, "models": ["a"]})).await.ok();
    assert_eq!(api.store.row(&key).unwrap().models, ["a"]);
    api.store.lose_writes(100);
    let refusal = api.post("/key/update", json!({"key": key, "models": ["b"]})).await.refusal();
    assert_eq!(refusal, (409, "bad_request_error".to_owned(), json!("key")));
}

#[tokio::test]
async fn without_its_store_the_api_says_so() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    api.store.go_away();
    for (path, body) in [
        ("/key/generate", json!({})),
        ("/key/update", json!({"key": key})),
        ("/key/delete", json!({"keys": [key]})),
        ("/key/regenerate", json!({"key": key})),
    ] {
        let answer = api.call(Method::POST, path, Some(MASTER), body.to_string()).await;
        assert_eq!(answer.refusal(), (503, "no_db_connection".to_owned(), json!(null)), "{path}");
        assert!(answer.headers.contains_key("retry-after"));
        assert!(!answer.text.contains("switched off"), "the cause is for the log");
    }
}
