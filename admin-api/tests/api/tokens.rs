//! The deny list and back-channel logout: what is taken, what is refused, what the log says of it.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use portcullis_admin_api::{ClientAddress, RequestId};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, ISSUER, logged_out_at, request};

/// An instant as answers write it.
fn iso(at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at);
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

async fn denied(api: &Api, query: &str) -> Vec<(Value, Value)> {
    let page = api.get(&format!("/token/denied?{query}")).await.ok();
    let rows = page["denied"].as_array().unwrap();
    assert_eq!(page["total_count"], rows.len(), "these listings fit on one page");
    rows.iter().map(|row| (row["claim"].clone(), row["value"].clone())).collect()
}

#[tokio::test]
async fn a_denial_is_shown_as_it_counts_and_listed_until_it_is_taken_back() {
    let api = Api::new();
    let before = SystemTime::now();
    let body = json!({"sub": "alice", "issuer": ISSUER, "reason": "left the company", "issued_until": 1_769_851_800,
        "duration": "2h"});
    let mut shown = api.post("/token/deny", body).await.ok();
    let times = ["until", "created_at"].map(|name| shown.as_object_mut().unwrap().shift_remove(name).unwrap());
    let expected = json!({"claim": "sub", "issuer": ISSUER, "value": "alice", "issued_until": "2026-01-31T09:30:00Z",
        "created_by": "default_user_id", "reason": "left the company"});
    assert_eq!(shown, expected);
    let earliest = [before + Duration::from_secs(7_200), before].map(|at| iso(at)[..19].to_owned());
    assert!(times.iter().zip(&earliest).all(|(time, earliest)| &time.as_str().unwrap()[..19] >= earliest.as_str()));

    api.post("/token/deny", json!({"jti": "t-1", "issuer": ISSUER})).await.ok();
    api.post("/token/deny", json!({"sid": "s-1", "issuer": ""})).await.ok();
    let pair = |claim: &str, value: &str| (json!(claim), json!(value));
    assert_eq!(denied(&api, "").await, [pair("sid", "s-1"), pair("jti", "t-1"), pair("sub", "alice")]);
    assert_eq!(denied(&api, "claim=jti").await, [pair("jti", "t-1")]);
    assert_eq!(denied(&api, "value=alice&claim=jti").await, []);
    assert_eq!(denied(&api, "issuer=https%3A%2F%2Fidp.example&value=alice").await, [pair("sub", "alice")]);
    let page = api.get("/token/denied?page=2&size=2").await.ok();
    assert_eq!(
        (&page["denied"][0]["value"], &page["total_count"], &page["total_pages"]),
        (&json!("alice"), &json!(3), &json!(2))
    );

    let allow = json!({"sub": "alice", "issuer": ISSUER});
    assert_eq!(api.post("/token/allow", allow.clone()).await.ok()["value"], "alice");
    assert_eq!(denied(&api, "claim=sub").await, []);
    for absent in [allow, json!({"sub": "s-1", "issuer": ""}), json!({"sid": "s-1", "issuer": ISSUER})] {
        assert_eq!(api.post("/token/allow", absent).await.refusal().0, 404);
    }
}

#[tokio::test]
async fn a_second_denial_adds_to_the_first_and_the_same_again_does_nothing() {
    let api = Api::new();
    let later = logged_out_at() + Duration::from_secs(90_000);
    let first = json!({"sub": "alice", "issuer": ISSUER, "until": iso(later), "issued_until": 5});
    api.post("/token/deny", first.clone()).await.ok();
    api.post("/token/deny", first).await.ok();
    assert_eq!(api.store.audit_rows().len(), 1, "nothing was changed, so there is nothing to tell");
    let all = api.post("/token/deny", json!({"sub": "alice", "issuer": ISSUER, "duration": "1m"})).await.ok();
    assert_eq!((&all["issued_until"], &all["until"]), (&Value::Null, &json!(iso(later))));
    let narrower = json!({"sub": "alice", "issuer": ISSUER, "duration": "1m", "issued_until": 7});
    assert_eq!(api.post("/token/deny", narrower.clone()).await.ok(), all);
    api.post("/token/allow", json!({"sub": "alice", "issuer": ISSUER})).await.ok();
    let again = api.post("/token/deny", narrower).await.ok();
    assert_eq!(again["issued_until"], "1970-01-01T00:00:07Z", "what was taken back does not come back");
}

#[tokio::test]
async fn what_names_no_token_or_no_sensible_time_is_refused() {
    let api = Api::new();
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
    let refused = [
        (json!({"issuer": ISSUER}), "jti"),
        (json!({"issuer": ISSUER, "jti": ""}), "jti"),
        (json!({"issuer": ISSUER, "jti": "a", "sub": "b"}), "jti"),
        (json!({"issuer": ISSUER, "sub": token}), "sub"),
        (json!({"issuer": ISSUER, "sub": "a", "duration": "soon"}), "duration"),
        (json!({"issuer": ISSUER, "sub": "a", "duration": "367d"}), "duration"),
        (json!({"issuer": ISSUER, "sub": "a", "until": 1}), "until"),
        (json!({"issuer": ISSUER, "sub": "a", "until": 99_999_999_999_u64}), "until"),
        (json!({"issuer": ISSUER, "sub": "a", "until": "2026-01-31T09:30:00Z", "duration": "1h"}), "until"),
    ];
    for (body, param) in refused {
        let answer = api.post("/token/deny", body.clone()).await;
        assert_eq!(answer.refusal(), (400, "invalid_request_error".to_owned(), json!(param)), "{body}");
        assert!(!answer.text.contains(token), "{}", answer.text);
    }
    let mistaken = [
        (json!({"sub": "a"}), "body.issuer", "missing"),
        (json!({"sub": "a", "issuer": null}), "body.issuer", "missing"),
        (json!({"sub": 7, "issuer": ISSUER}), "body.sub", "string_type"),
        (json!({"sub": "a\u{0}", "issuer": ISSUER}), "body.sub", "string_pattern_mismatch"),
        (json!({"sub": "a".repeat(1025), "issuer": ISSUER}), "body.sub", "string_pattern_mismatch"),
        (json!({"sub": "a", "issuer": ISSUER, "issued_until": "now"}), "body.issued_until", "datetime_parsing"),
        (json!({"sub": "a", "issuer": ISSUER, "token": token}), "body.token", "extra_forbidden"),
    ];
    for (body, place, kind) in mistaken {
        let answer = api.post("/token/deny", body.clone()).await;
        assert_eq!(answer.mismatch(), (place.to_owned(), kind.to_owned()), "{body}");
        assert!(!answer.text.contains(token), "{}", answer.text);
    }
    assert_eq!(
        api.post("/token/allow", json!({"sub": "a", "issuer": "", "until": 1})).await.mismatch().0,
        "body.until"
    );
    assert_eq!(api.get("/token/denied?claim=iss").await.mismatch().0, "query.claim");
    assert!(api.store.audit_rows().is_empty());
}

#[tokio::test]
async fn every_denial_leaves_a_row_that_says_what_changed() {
    let api = Api::new();
    api.post("/token/deny", json!({"sub": "alice", "issuer": ISSUER, "issued_until": 5})).await.ok();
    api.post("/token/deny", json!({"sub": "alice", "issuer": ISSUER})).await.ok();
    api.post("/token/allow", json!({"sub": "alice", "issuer": ISSUER})).await.ok();
    let rows = api.store.audit_rows();
    let told: Vec<_> =
        rows.iter().map(|row| (row.action.as_str(), row.before.is_null(), row.after.is_null())).collect();
    assert_eq!(told, [("denied", true, false), ("denied", false, false), ("allowed", false, true)]);
    assert_eq!(
        (&rows[1].before["issued_until"], &rows[1].after["issued_until"]),
        (&json!("1970-01-01T00:00:05Z"), &Value::Null)
    );
    let entry = api.get("/audit/3").await.ok();
    let told = ["changed_by", "table_name", "object_id", "source"].map(|name| entry[name].as_str().unwrap());
    assert_eq!(told, ["litellm_proxy_master_key", "token", "sub=alice of https://idp.example", "192.0.2.7"]);
}

#[tokio::test]
async fn a_denial_that_lost_against_another_write_is_decided_again() {
    let api = Api::new();
    api.store.lose_writes(3);
    api.post("/token/deny", json!({"sub": "alice", "issuer": ISSUER})).await.ok();
    api.store.lose_writes(3);
    api.post("/token/allow", json!({"sub": "alice", "issuer": ISSUER})).await.ok();
    api.store.lose_writes(100);
    let answer = api.post("/token/deny", json!({"sub": "alice", "issuer": ISSUER})).await;
    assert_eq!(answer.refusal().0, 409);
    api.store.go_away();
    for path in ["/token/deny", "/token/allow"] {
        let answer = api.post(path, json!({"sub": "alice", "issuer": ISSUER})).await;
        assert_eq!(answer.refusal(), (503, "no_db_connection".to_owned(), json!(null)), "{path}");
    }
}

async fn log_out(api: &Api, form: impl Into<Body>) -> Answer {
    let request = Request::post("/sso/backchannel-logout")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .extension(ClientAddress(Some([192, 0, 2, 7].into())))
        .extension(RequestId("request-1".to_owned()));
    let answer = api.send(request.body(form.into()).unwrap()).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer
}

#[tokio::test]
async fn a_logout_denies_the_session_or_what_the_subject_held_until_then() {
    let api = Api::new();
    let until = iso(logged_out_at() + Duration::from_secs(24 * 3600));
    for (token, expected) in [
        ("of-a-session", json!({"claim": "sid", "value": "session-1", "issued_until": null})),
        ("of-a-subject", json!({"claim": "sub", "value": "alice", "issued_until": iso(logged_out_at())})),
    ] {
        for _ in 0..2 {
            let answer = log_out(&api, format!("logout_token={token}")).await;
            assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""), "{token}");
        }
        let mut row = api.get("/token/denied").await.ok()["denied"][0].take();
        assert_eq!(
            (&row["issuer"], &row["until"], &row["created_by"]),
            (&json!(ISSUER), &json!(until), &json!(ISSUER))
        );
        row.as_object_mut().unwrap().retain(|name, _| expected.get(name).is_some());
        assert_eq!(row, expected);
    }
    let rows = api.store.audit_rows();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.object_id.as_str())).collect();
    assert_eq!(
        told,
        [("denied", "sid=session-1 of https://idp.example"), ("denied", "sub=alice of https://idp.example")]
    );
    let whence = (rows[0].actor.as_str(), rows[0].source.as_deref(), rows[0].request_id.as_deref());
    assert_eq!(whence, (ISSUER, Some("192.0.2.7"), Some("request-1")));
}

#[tokio::test]
async fn what_is_no_logout_of_a_known_issuer_denies_nobody() {
    let api = Api::new();
    let long = format!("logout_token={}", "a".repeat(64 << 10));
    let cases = [
        ("", 400, "invalid_request"),
        ("logout_token=", 400, "invalid_request"),
        ("logout_token=forged", 400, "invalid_request"),
        ("logout_token=of-nobody", 400, "invalid_request"),
        ("logout_token=of-a-session&logout_token=of-a-session", 400, "invalid_request"),
        (long.as_str(), 400, "invalid_request"),
        ("logout_token=keys-away", 503, "temporarily_unavailable"),
        ("logout_token=throttled", 429, "temporarily_unavailable"),
    ];
    for (form, status, error) in cases {
        let answer = log_out(&api, form.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, json!({"error": error})), "{form:.40}");
        assert_eq!(answer.headers.contains_key("retry-after"), status != 400, "{form:.40}");
    }
    assert!(api.store.audit_rows().is_empty());
    api.store.go_away();
    assert_eq!(log_out(&api, "logout_token=of-a-session").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let by_get = request(Method::GET, "/sso/backchannel-logout?logout_token=of-a-session", None, "");
    assert_eq!(Api::new().send(by_get).await.status, StatusCode::METHOD_NOT_ALLOWED);
}
