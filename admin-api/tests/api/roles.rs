//! Every route, by every kind of caller; and what is answered where there is no route.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, StatusCode};
use portcullis_admin_api::Authenticated;
use portcullis_admin_api::routes::{Role, Route, table};
use portcullis_filters::authn::custom::CustomIdentity;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord};
use portcullis_filters::policy::Policy;
use portcullis_filters::principal::Principal;
use serde_json::json;

use crate::harness::{Api, MASTER, request};

fn concrete(route: &Route) -> String {
    route.path.replace("{key}", &"0".repeat(64)).replace("{id}", "1").replace("{*rest}", "index.html")
}

/// Which routes are open to whom, by the word of the table: the whole of it, so that a new word needs a column here.
fn is_open(role: Role, who: &str) -> bool {
    let open: &[&str] = match role {
        Role::Open | Role::Signed | Role::AnyKey => return true,
        Role::Own => &["proxy_admin_viewer", "internal_user", "internal_user_viewer", "team admin"],
        Role::Manage => &["internal_user", "team admin"],
        Role::Read => &["proxy_admin_viewer"],
        Role::Admin => &[],
    };
    ["master key", "proxy_admin"].contains(&who) || open.contains(&who)
}

/// Who they are, and the key by which they come.
async fn everybody(api: &Api) -> Vec<(&'static str, String)> {
    let mut callers = vec![("master key", MASTER.to_owned())];
    for role in ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"] {
        let user = json!({"user_id": role, "user_role": role});
        callers.push((role, api.post("/user/new", user).await.ok()["key"].as_str().unwrap().to_owned()));
    }
    let user = json!({"user_id": "chief", "user_role": "internal_user"});
    callers.push(("team admin", api.post("/user/new", user).await.ok()["key"].as_str().unwrap().to_owned()));
    let members = json!([{"user_id": "chief", "role": "admin"}, {"user_id": "internal_user", "role": "user"}]);
    api.post("/team/new", json!({"team_id": "t", "members_with_roles": members})).await.ok();
    callers.push(("a user without a role", api.key(json!({"user_id": "nobody"})).await));
    callers.push(("a key without an owner", api.key(json!({})).await));
    // Whoever owns it: it may lie in many hands.
    callers.push(("a key of a team", api.key(json!({"user_id": "proxy_admin", "team_id": "t"})).await));
    callers
}

#[tokio::test]
async fn every_route_is_open_to_whom_the_table_says_and_to_nobody_else() {
    let api = Api::new();
    let callers = everybody(&api).await;
    for route in table() {
        let path = concrete(&route);
        let asked = async |key| api.call(route.method.clone(), &path, key, "{}").await;
        for key in [None, Some("sk-nobody-knows-this-key")] {
            let refused = asked(key).await.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, route.role.needs_credential(), "{} {}", route.method, route.path);
        }
        for (who, key) in &callers {
            let answer = asked(Some(key)).await;
            let refused =
                answer.status == StatusCode::FORBIDDEN && answer.text.contains("Only proxy admin can be used");
            assert_eq!(!refused, is_open(route.role, who), "{who}: {} {}: {}", route.method, route.path, answer.text);
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{who}: {}", route.path);
        }
    }
}

#[test]
fn what_is_open_is_listed_here_and_nowhere_else() {
    let open: Vec<_> = table().into_iter().filter(|route| route.role == Role::Open).map(|route| route.path).collect();
    let probes = ["/", "/test", "/health/liveliness", "/health/liveness", "/health/readiness"];
    assert_eq!(open[..5], probes);
    assert_eq!(open[5..], ["/openapi.json", "/docs", "/docs/{*rest}"]);
    let signed: Vec<_> =
        table().into_iter().filter(|route| route.role == Role::Signed).map(|route| route.path).collect();
    assert_eq!(signed, ["/sso/backchannel-logout"]);
}

#[tokio::test]
async fn refusals_are_in_litellms_envelope() {
    let api = Api::new();
    let plain = api.key(json!({})).await;
    let none = api.call(Method::POST, "/key/generate", None, "{}").await;
    assert_eq!(none.refusal(), (401, "auth_error".to_owned(), json!(null)));
    assert!(none.json()["error"]["message"].as_str().unwrap().contains("No api key passed in"));
    assert!(none.headers.contains_key("www-authenticate"));
    let unknown = api.call(Method::POST, "/key/generate", Some("sk-nobody-knows-this-key"), "{}").await;
    assert_eq!(unknown.refusal(), (401, "token_not_found_in_db".to_owned(), json!("key")));
    let forbidden = api.call(Method::POST, "/key/generate", Some(&plain), "{}").await;
    assert_eq!(forbidden.refusal(), (403, "auth_error".to_owned(), json!(null)));
    assert!(forbidden.text.contains("Only proxy admin can be used to generate, delete, update info"));
}

/// A proof of possession is good once, so the shell that has asked the gate hands on who it is.
#[tokio::test]
async fn who_is_known_already_is_not_asked_again_and_has_the_same_rights() {
    let api = Api::new();
    let key = KeyRecord {
        id: KeyHash::of("sk-known-to-the-shell"),
        alias: None,
        user_id: None,
        team_id: None,
        organization_id: None,
        policy: Policy::new(&[], &[], Default::default()),
        expires: None,
        blocked: false,
        limits: None,
    };
    for (principal, status) in [(Principal::Master, 200), (Principal::Key(Arc::new(key).into()), 403)] {
        let mut request = request(Method::GET, "/key/list", None, "");
        request.extensions_mut().insert(Authenticated(principal.clone()));
        assert_eq!(api.send(request).await.status.as_u16(), status, "{principal:?}");
    }
}

/// Whom the operator's own code vouches for without a role could otherwise make itself a key.
#[tokio::test]
async fn a_custom_identity_has_the_routes_of_its_role_and_without_one_none() {
    let api = Api::new();
    for role in ["", "internal_user_viewer", "internal_user", "proxy_admin_viewer", "proxy_admin"] {
        let said = json!({"user_role": role, "user_id": "somebody"}).to_string();
        let identity = CustomIdentity::read(said.as_bytes(), Some("theirs")).unwrap();
        let principal = Principal::Custom(Arc::clone(&identity.principal));
        for route in table().into_iter().filter(|route| route.role.needs_credential()) {
            let mut request = request(route.method.clone(), &concrete(&route), None, "{}");
            request.extensions_mut().insert(Authenticated(principal.clone()));
            let answer = api.send(request).await;
            let status = answer.status;
            // Without a role not even what any key may read.
            let open = is_open(route.role, role) && !role.is_empty();
            let answer =
                answer.text.contains("Only proxy admin can be used") || answer.text.contains("not allowed to call");
            assert_eq!(!answer, open, "{role} {} {}: {status}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_looked_at() {
    let api = Api::new();
    let huge = "x".repeat(2 << 20);
    for body in ["{not json", "[]", "", &huge] {
        let answer = api.call(Method::POST, "/key/generate", None, body.to_owned()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_key_limited_to_other_routes_may_not_read_itself() {
    let api = Api::new();
    let limited = api.key(json!({"allowed_routes": ["/v1/chat/completions"]})).await;
    let answer = api.call(Method::GET, "/key/info", Some(&limited), "").await;
    assert_eq!(answer.refusal().0, 403);
    let reader = api.key(json!({"key_type": "read_only"})).await;
    api.call(Method::GET, "/key/info", Some(&reader), "").await.ok();
    let manager = api.key(json!({"key_type": "management"})).await;
    let answer = api.call(Method::POST, "/key/generate", Some(&manager), "{}").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "a route list grants no role");
}

#[tokio::test]
async fn every_operation_is_documented_once_under_its_route() {
    let document = Api::new().get("/openapi.json").await.ok();
    let mut names = BTreeSet::new();
    for route in table().into_iter().filter(|route| route.path != "/openapi.json" && !route.path.starts_with("/docs")) {
        let operation = &document["paths"][&route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.operation.as_str(), "{}", route.path);
        assert!(!route.operation.is_empty() && names.insert(route.operation.clone()), "{}", route.operation);
        let guarded = operation["responses"].get("401").is_some() && operation["security"] != json!([{}]);
        assert_eq!(guarded, route.role.needs_credential(), "{}: {operation}", route.path);
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{}", route.path);
    }
    let request = &document["components"]["schemas"]["GenerateKeyRequest"];
    assert_eq!(request["properties"]["tpm_limit"]["type"], "integer");
    assert_eq!(request["additionalProperties"], false);
}

#[tokio::test]
async fn the_interactive_page_runs_its_own_scripts_only() {
    let api = Api::new();
    let page = api.call(Method::GET, "/docs/", None, "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("swagger-ui"), "{}", page.text);
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    let redirect = api.call(Method::GET, "/docs", None, "").await;
    assert_eq!(redirect.headers["location"], "/docs/", "no host in it that a caller could forge");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_fastapis_words_and_never_cached() {
    let api = Api::new();
    let cases =
        [(Method::GET, "/key/nothing", 404, "Not Found"), (Method::PUT, "/key/generate", 405, "Method Not Allowed")];
    for (method, path, status, detail) in cases {
        let answer = api.call(method, path, None, "").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, json!({"detail": detail})));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    assert_eq!(api.get("/key/list").await.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn health_needs_no_store() {
    let api = Api::new();
    for path in ["/health/liveliness", "/health/liveness"] {
        assert_eq!(api.call(Method::GET, path, None, "").await.ok(), "I'm alive!");
    }
    let front = api.call(Method::GET, "/", None, "").await;
    assert!(front.status == StatusCode::OK && front.text.contains("href=\"/docs/\""), "{}", front.text);
    assert_eq!(api.call(Method::GET, "/test", None, "").await.ok(), json!({"route": "/test"}));
    let readiness = || api.call(Method::GET, "/health/readiness", None, "");
    assert_eq!(readiness().await.ok(), json!({"status": "healthy", "db": "connected"}));
    api.store.go_away();
    assert_eq!(readiness().await.ok(), json!({"status": "healthy", "db": "Not connected"}));
    let none = json!({"healthy_endpoints": [], "unhealthy_endpoints": [], "healthy_count": 0, "unhealthy_count": 0});
    assert_eq!(api.get("/health").await.ok(), none);
}
