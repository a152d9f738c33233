//! What a token's bearer may do in the end: through `authorize` for LLM calls, by path for management.

use http::{HeaderMap, Method};

use super::*;
use crate::endpoint::classify;
use crate::head::RequestHead;
use crate::operation::Operation;
use crate::path::CanonicalPath;
use crate::policy::{AccessGroups, Permit, authorize};
use crate::principal::Principal;

fn call(method: &Method, path: &str, model: Option<&str>) -> Operation {
    let path = CanonicalPath::parse(path).unwrap();
    let headers = HeaderMap::new();
    let head =
        RequestHead { method, path: &path, query: None, headers: &headers, source: None, client_certificate: None };
    let body = model.map_or_else(|| "{}".to_owned(), |model| json!({"model": model}).to_string());
    Operation::read(classify(&head).unwrap(), None, None, body.as_bytes()).unwrap()
}

fn chat(model: &str) -> Operation {
    call(&Method::POST, "/v1/chat/completions", Some(model))
}

fn decide(rules: &ClaimRules, given: &Value, operation: Operation) -> Result<Permit, Denial> {
    let principal = principal(rules, given.clone(), &Known::usual())?;
    authorize(Principal::Token(Arc::new(principal)), operation, &AccessGroups::default())
}

fn by_team_or_user() -> ClaimRules {
    rules(|rules| {
        rules.user_id = path("sub");
        rules.team_ids = path("groups");
        rules.roles = Some((path("roles").unwrap(), vec![("root".to_owned(), Role::Admin)]));
    })
}

/// The table of `docs/jwt-claims.md`, cell by cell.
#[test]
fn who_may_do_what_is_as_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/jwt-claims.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (who, given) in [
        ("admin by scope", json!({"sub": "root", "scope": "litellm_proxy_admin"})),
        ("admin by a mapped role", json!({"sub": "root", "roles": ["root"]})),
        ("admin by their row", json!({"sub": "boss"})),
        ("caller for a team", json!({"groups": ["all"]})),
        ("internal user", json!({"sub": "ann"})),
        ("token without a role", json!({})),
    ] {
        let row = page.lines().find(|line| line.starts_with(&format!("| {who} |"))).unwrap();
        let cells: Vec<bool> = row.split('|').skip(2).take(5).map(|cell| cell.trim() == "yes").collect();
        let rules = by_team_or_user();
        let may_call = |operation| decide(&rules, &given, operation).is_ok();
        let bearer = Principal::Token(Arc::new(principal(&rules, given.clone(), &Known::usual()).unwrap()));
        let may_manage = |path| bearer.allows_management_route(path);
        let seen = [
            may_call(chat("gpt-4o")),
            may_call(call(&Method::GET, "/openai/v1/files", None)),
            may_call(call(&Method::GET, "/v1/models", None)),
            may_manage("/key/info") && may_manage("/v1/model/info"),
            may_manage("/key/generate") && may_manage("/audit") && bearer.is_admin(),
        ];
        assert_eq!(cells, seen, "{row}");
        assert_eq!(may_manage("/key/generate"), bearer.is_admin(), "{who}");
    }
}

#[test]
fn an_admin_by_token_calls_models_only_where_that_is_allowed() {
    let admin = json!({"sub": "root", "scope": "litellm_proxy_admin"});
    for (routes, open) in [
        (&["management_routes"][..], false),
        (&["management_routes", "openai_routes"], true),
        (&["management_routes", "llm_api_routes"], true),
        (&["/chat/completions"], true),
        (&["/v1/chat*"], true),
        (&["*"], true),
        (&["/embeddings"], false),
        (&["no_such_routes"], false),
        (&[], false),
    ] {
        let rules = ClaimRules { admin_routes: super::super::rules::routes(routes), ..ClaimRules::default() };
        let expected = if open { None } else { Some(Denial::RouteForbidden) };
        assert_eq!(decide(&rules, &admin, chat("any")).err(), expected, "{routes:?}");
        let bearer = Principal::Token(Arc::new(principal(&rules, admin.clone(), &Known::usual()).unwrap()));
        let manages = routes.contains(&"management_routes") || routes.contains(&"*");
        assert_eq!(bearer.allows_management_route("/key/generate"), manages, "{routes:?}");
    }
}

#[test]
fn the_first_team_that_allows_the_call_is_charged() {
    let rules = by_team_or_user();
    for (groups, model, charged) in [
        (json!(["ops", "eng"]), "gpt-4o", Ok("eng")),
        (json!(["ops", "eng"]), "o3", Ok("ops")),
        (json!(["ops", "all"]), "gpt-4o", Ok("all")),
        (json!(["ops", "eng"]), "claude", Err(Denial::ModelForbidden("claude".to_owned()))),
        (json!(["old", "eng"]), "claude", Err(Denial::ModelForbidden("claude".to_owned()))),
    ] {
        let permit = decide(&rules, &json!({"sub": "ann", "groups": groups}), chat(model));
        let charged = charged.as_ref().copied();
        assert_eq!(permit.as_ref().map(|permit| &*permit.team().unwrap().id), charged, "{groups} {model}");
    }
}

#[test]
fn a_team_calls_its_routes_only() {
    let rules = by_team_or_user();
    let given = json!({"groups": ["all"]});
    for (method, path, open) in [
        (Method::POST, "/v1/chat/completions", true),
        (Method::POST, "/v1/messages", true),
        (Method::GET, "/v1/models", true),
        (Method::POST, "/anthropic/v1/messages", false),
    ] {
        let permit = decide(&rules, &given, call(&method, path, Some("m")));
        assert_eq!(permit.err(), (!open).then_some(Denial::RouteForbidden), "{path}");
    }
    let embeddings = ClaimRules { team_routes: super::super::rules::routes(&["/v1/embeddings"]), ..by_team_or_user() };
    assert_eq!(decide(&embeddings, &given, chat("m")).err(), Some(Denial::RouteForbidden));
    assert!(decide(&embeddings, &given, call(&Method::POST, "/embeddings", Some("m"))).is_ok());
}

/// LiteLLM asks for a user's own models only where no team is charged.
#[test]
fn the_models_of_a_user_are_their_own() {
    let rules = by_team_or_user();
    let alone = decide(&rules, &json!({"sub": "teams-only"}), chat("gpt-4o"));
    assert_eq!(alone.err(), Some(Denial::ModelForbidden("gpt-4o".to_owned())));
    assert!(decide(&rules, &json!({"sub": "teams-only", "groups": ["eng"]}), chat("gpt-4o")).is_ok());
}

fn scoped() -> ClaimRules {
    let lists = |models: &[&str], routes: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Policy::granting(Some(&owned(models)), (!routes.is_empty()).then(|| owned(routes)).as_deref())
    };
    ClaimRules {
        scopes: Some(vec![
            ("llm.small".to_owned(), lists(&["gpt-4o-mini"], &[])),
            ("llm.large".to_owned(), lists(&["gpt-4o", "o*"], &[])),
            ("llm.embed".to_owned(), lists(&["embed"], &["/embeddings"])),
            ("llm.none".to_owned(), lists(&[], &[])),
        ]),
        ..by_team_or_user()
    }
}

#[test]
fn scopes_open_their_models_on_their_routes() {
    let forbidden = |model: &str| Some(Denial::ModelForbidden(model.to_owned()));
    for (scope, operation, refusal) in [
        ("llm.small", chat("gpt-4o-mini"), None),
        ("openid llm.small", chat("gpt-4o"), forbidden("gpt-4o")),
        ("llm.small llm.large", chat("gpt-4o"), None),
        ("llm.small llm.large", chat("o3"), None),
        ("llm.small llm.large", chat("claude"), forbidden("claude")),
        ("llm.embed llm.large", call(&Method::POST, "/v1/embeddings", Some("embed")), None),
        ("llm.embed llm.large", chat("embed"), forbidden("embed")),
        ("llm.embed", chat("embed"), Some(Denial::RouteForbidden)),
        ("llm.small", call(&Method::GET, "/v1/models", None), None),
        ("llm.none", chat("gpt-4o"), forbidden("gpt-4o")),
        ("openid", chat("gpt-4o"), Some(Denial::IdentityForbidden("no scope that opens a model"))),
        ("", chat("gpt-4o"), Some(Denial::IdentityForbidden("no scope that opens a model"))),
    ] {
        let given = json!({"sub": "ann", "scope": scope});
        assert_eq!(decide(&scoped(), &given, operation).err(), refusal, "{scope}");
    }
    // A team does not widen what the scope opens, nor the scope what the team has.
    let given = |scope: &str| json!({"groups": ["eng"], "scope": scope});
    assert!(decide(&scoped(), &given("llm.large"), chat("gpt-4o")).is_ok());
    assert_eq!(decide(&scoped(), &given("llm.large"), chat("o3")).err(), forbidden("o3"));
    assert_eq!(decide(&scoped(), &given("llm.small"), chat("gpt-4o")).err(), forbidden("gpt-4o"));
}

#[test]
fn an_admin_manages_without_a_scope_of_models_but_calls_none() {
    let rules = ClaimRules { admin_routes: super::super::rules::routes(&["*"]), ..scoped() };
    let admin = json!({"sub": "root", "scope": "litellm_proxy_admin"});
    let bearer = Principal::Token(Arc::new(principal(&rules, admin.clone(), &Known::usual()).unwrap()));
    assert!(bearer.is_admin() && bearer.allows_management_route("/key/generate"));
    assert_eq!(decide(&rules, &admin, chat("gpt-4o")).err(), Some(Denial::RouteForbidden));
    let both = json!({"sub": "root", "scope": "litellm_proxy_admin llm.large"});
    assert!(decide(&rules, &both, chat("gpt-4o")).is_ok());
}

#[test]
fn the_permissions_of_a_role_come_on_top_of_the_teams() {
    let members = |models: &[&str], routes: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Policy::granting(Some(&owned(models)), Some(&owned(routes)))
    };
    let rules = rules(|rules| {
        *rules = by_role();
        rules.role_permissions = vec![
            (Role::Team, members(&["gpt-4o", "o3"], &["openai_routes"])),
            (Role::InternalUser, members(&["gpt-4o-mini"], &["/chat/completions"])),
        ];
    });
    let forbidden = |model: &str| Some(Denial::ModelForbidden(model.to_owned()));
    let embeddings = call(&Method::POST, "/embeddings", Some("gpt-4o-mini"));
    for (given, operation, refusal) in [
        (json!({"roles": ["apps"], "oid": "eng"}), chat("gpt-4o"), None),
        (json!({"roles": ["apps"], "oid": "eng"}), chat("o3"), forbidden("o3")),
        (json!({"roles": ["apps"], "oid": "all"}), chat("claude"), forbidden("claude")),
        (json!({"roles": ["staff"], "oid": "ann"}), chat("gpt-4o-mini"), None),
        (json!({"roles": ["staff"], "oid": "ann"}), chat("gpt-4o"), forbidden("gpt-4o")),
        (json!({"roles": ["staff"], "oid": "ann"}), embeddings, Some(Denial::RouteForbidden)),
        (json!({"roles": ["root"], "oid": "ann"}), chat("gpt-4o"), Some(Denial::RouteForbidden)),
    ] {
        assert_eq!(decide(&rules, &given, operation).err(), refusal, "{given}");
    }
}

#[test]
fn who_sees_a_model_may_call_it() {
    let see = |given: Value, model: &str| {
        let bearer = Principal::Token(Arc::new(principal(&scoped(), given, &Known::usual()).unwrap()));
        bearer.allows_model(model, &AccessGroups::default())
    };
    let given = |scope: &str| json!({"groups": ["eng", "ops"], "scope": scope});
    assert!(see(given("llm.large"), "gpt-4o") && see(given("llm.large"), "o3"));
    assert!(!see(given("llm.small"), "gpt-4o") && !see(given("llm.large"), "gpt-4o-mini"));
}
