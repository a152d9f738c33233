//! What the audit log holds, and how it is read.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Api, MASTER, request};

#[tokio::test]
async fn every_write_leaves_a_row_and_no_row_holds_a_key() {
    let api = Api::new();
    let key = api.key(json!({"models": ["a"], "metadata": {"langfuse_secret": "s3cret"}})).await;
    api.post("/key/update", json!({"key": key, "models": ["b"]})).await.ok();
    api.post("/key/block", json!({"key": key})).await.ok();
    api.post("/key/unblock", json!({"key": key})).await.ok();
    let new = api.post("/key/regenerate", json!({"key": key})).await.ok()["key"].as_str().unwrap().to_owned();
    api.post("/key/delete", json!({"keys": [new]})).await.ok();
    let rows = api.store.audit_rows();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["created", "updated", "blocked", "unblocked", "rotated", "deleted"]);
    assert_eq!((&rows[0].before, &rows[1].before["models"]), (&Value::Null, &json!(["a"])));
    assert_eq!((&rows[1].after["models"], &rows[5].after), (&json!(["b"]), &Value::Null));
    let text = format!("{rows:?}");
    for secret in [key.as_str(), new.as_str(), MASTER, "s3cret"] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn a_row_says_who_from_where_and_on_whose_behalf() {
    let api = Api::new();
    let mut create = request(Method::POST, "/key/generate", Some(MASTER), "{}");
    create.headers_mut().insert("litellm-changed-by", "alice@example.com".parse().unwrap());
    let token = api.send(create).await.ok()["token"].clone();
    let mut entry = api.get("/audit/1").await.ok();
    assert_eq!(entry["updated_values"]["token"], token);
    for changing in ["updated_values", "updated_at"] {
        entry.as_object_mut().unwrap().remove(changing);
    }
    let expected = json!({
        "id": "1", "changed_by": "litellm_proxy_master_key", "litellm_changed_by": "alice@example.com",
        "source": "192.0.2.7", "request_id": "request-1", "action": "created",
        "table_name": "LiteLLM_VerificationToken", "object_id": token, "before_value": null,
    });
    assert_eq!(entry, expected);
}

#[tokio::test]
async fn the_log_is_read_in_pages_newest_first() {
    let api = Api::new();
    let key = api.key(json!({})).await;
    for _ in 0..3 {
        api.post("/key/block", json!({"key": key})).await.ok();
    }
    let page = api.get("/audit?page=1&page_size=3").await.ok();
    let ids: Vec<_> = page["audit_logs"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, ["4", "3", "2"]);
    assert_eq!((&page["total"], &page["page_size"], &page["total_pages"]), (&json!(4), &json!(3), &json!(2)));
    assert_eq!(api.get("/audit?action=created").await.ok()["total"], 1);
    assert_eq!(api.get("/audit?changed_by=somebody").await.ok()["total"], 0);
    assert_eq!(api.get("/audit?who=x").await.mismatch().0, "query.who");
    for absent in ["/audit/99", "/audit/x"] {
        assert_eq!(api.get(absent).await.refusal(), (404, "not_found_error".to_owned(), json!("id")));
    }
}

#[tokio::test]
async fn a_refused_request_leaves_no_row() {
    let api = Api::new();
    api.post("/key/generate", json!({"duration": "soon"})).await;
    api.post("/key/block", json!({"key": "sk-unknown-0000000"})).await;
    api.call(Method::POST, "/key/generate", None, "{}").await;
    assert!(api.store.audit_rows().is_empty());
}
