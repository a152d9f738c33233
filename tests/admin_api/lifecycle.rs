//! One key from its making to its end, and what happens when several requests change it at once.

use futures_util::future::{join, join_all};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{MASTER, Node};

fn text(answer: &Value, field: &str) -> String {
    answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_counts_from_the_next_request_on() {
    let node = Node::start();
    let made = node.post("/key/generate", json!({"models": ["m"], "metadata": {"a": 1}, "rpm_limit": 3})).await;
    let key = text(&made, "key");
    assert_eq!(node.works(&key).await, 200);
    node.post("/key/block", json!({"key": key})).await;
    assert_eq!(node.works(&key).await, 401);
    node.post("/key/unblock", json!({"key": text(&made, "token")})).await;
    assert_eq!(node.works(&key).await, 200);
    node.post("/key/update", json!({"key": key, "duration": "0s"})).await;
    assert_eq!(node.works(&key).await, 401, "expired");
    node.post("/key/update", json!({"key": key, "duration": "-1"})).await;
    let rotated = node.post("/key/regenerate", json!({"key": key, "grace_period": "1h"})).await;
    let new = text(&rotated, "key");
    assert_eq!((node.works(&key).await, node.works(&new).await), (StatusCode::OK, StatusCode::OK));
    let info = node.get(&format!("/key/info?key={}", text(&rotated, "token"))).await;
    let kept =
        ["models", "metadata", "rpm_limit", "rotation_count", "created_at"].map(|name| info["info"][name].clone());
    assert_eq!(kept, [json!(["m"]), json!({"a": 1}), json!(3), json!(1), made["created_at"].clone()]);
    node.post("/key/delete", json!({"keys": [new]})).await;
    assert_eq!((node.works(&key).await.as_u16(), node.works(&new).await.as_u16()), (401, 401), "both strings end");
    assert_eq!(node.get(&format!("/key/info?key={new}")).await["info"]["status"], "deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_string_is_ever_written_to_the_database() {
    let node = Node::start();
    let key = text(&node.post("/key/generate", json!({"key_alias": "findable-alias"})).await, "key");
    let own = text(&node.post("/key/generate", json!({"key": "sk-my-own-key-000001"})).await, "key");
    let request = json!({"key": key}).to_string();
    let idempotency_key = "an-idempotency-key-of-mine";
    let headers = [("idempotency-key", idempotency_key)];
    let (_, rotated) = node.call(Method::POST, "/key/regenerate", MASTER, &headers, request).await;
    node.post("/key/delete", json!({"keys": [own]})).await;
    let bytes = node.bytes();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("findable-alias"), "the search works");
    for secret in [key.as_str(), &own, &text(&rotated, "key"), idempotency_key, MASTER] {
        assert!(!holds(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_rotation_rotates_once_even_at_the_same_time() {
    let node = Node::start();
    let made = node.post("/key/generate", json!({})).await;
    let path = format!("/key/{}/regenerate", text(&made, "token"));
    let headers = [("idempotency-key", "4a1b6c0e-repeat-me")];
    let send = || node.call(Method::POST, &path, MASTER, &headers, String::new());
    let ((_, first), (_, second)) = join(send(), send()).await;
    let (_, third) = send().await;
    let new = text(&first, "key");
    assert_eq!([text(&second, "key"), text(&third, "key")], [new.clone(), new.clone()]);
    assert_eq!(third["rotation_count"], 1);
    assert_eq!(node.works(&new).await, 200);
    assert_eq!(node.get("/audit?action=rotated").await["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    let node = Node::start();
    let key = text(&node.post("/key/generate", json!({})).await, "key");
    let fields = ["rpm_limit", "tpm_limit", "tpd_limit", "max_parallel_requests"];
    join_all(fields.map(|field| node.post("/key/update", json!({"key": key, field: 7})))).await;
    let info = node.get(&format!("/key/info?key={key}")).await;
    assert_eq!(fields.map(|field| info["info"][field].clone()), [json!(7), json!(7), json!(7), json!(7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_and_the_audit_log_show_what_was_done() {
    let node = Node::start();
    let mut tokens = Vec::new();
    for alias in ["alpha", "beta", "gamma"] {
        tokens.push(text(&node.post("/key/generate", json!({"key_alias": alias, "team_id": "t"})).await, "token"));
    }
    node.post("/key/block", json!({"key": tokens[0]})).await;
    node.post("/key/delete", json!({"key_aliases": ["beta"]})).await;
    let listed = async |query: &str| node.get(&format!("/key/list?{query}")).await["keys"].clone();
    assert_eq!(listed("sort_by=key_alias&sort_order=asc").await, json!([tokens[0], tokens[2]]));
    assert_eq!(listed("status=revoked").await, json!([tokens[0]]));
    assert_eq!(listed("status=deleted").await, json!([tokens[1]]));
    assert_eq!(listed("status=active&team_id=t").await, json!([tokens[2]]));
    assert_eq!(listed("search=AMM").await, json!([tokens[2]]));
    assert_eq!(node.get("/key/aliases").await["aliases"], json!(["alpha", "gamma"]));
    let log = node.get("/audit?page_size=2").await;
    let actions: Vec<_> = log["audit_logs"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!((&log["total"], actions), (&json!(5), vec![json!("deleted"), json!("blocked")]));
    let blocked = &log["audit_logs"][1];
    assert_eq!(node.get(&format!("/audit/{}", text(blocked, "id"))).await, *blocked);
    assert_eq!(blocked["before_value"]["blocked"], Value::Null);
    assert_eq!(blocked["updated_values"]["blocked"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_string_or_alias_is_refused_by_the_store_itself() {
    let node = Node::start();
    let body = json!({"key": "sk-my-own-key-000001", "key_alias": "mine"}).to_string();
    let generate = |body: String| node.call(Method::POST, "/key/generate", MASTER, &[], body);
    assert_eq!(generate(body).await.0, 200);
    let (status, answer) = generate(json!({"key": "sk-my-own-key-000001"}).to_string()).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (409, &json!("409")));
    let (status, answer) = generate(json!({"key_alias": "mine"}).to_string()).await;
    assert_eq!((status.as_u16(), &answer["error"]["param"]), (400, &json!("key_alias")));
    let many = (0..8).map(|_| generate(json!({"key_alias": "contested"}).to_string()));
    let statuses: Vec<u16> = join_all(many).await.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
}
