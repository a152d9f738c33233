//! What a key may call, as tables of its lists against calls.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::authn::virtual_key::{KeyHash, KeyRecord};
use crate::directory::{TeamRecord, UserRecord};
use crate::endpoint::classify;
use crate::head::RequestHead;
use crate::path::CanonicalPath;

const NO_MODEL: &str = "";

fn principal(policy: Policy) -> Principal {
    let key = Arc::new(KeyRecord {
        id: KeyHash::of("sk-test"),
        alias: None,
        user_id: None,
        team_id: None,
        organization_id: None,
        policy,
        expires: Some(SystemTime::UNIX_EPOCH),
        blocked: false,
        limits: None,
    });
    Principal::Key(key.into())
}

fn operation(method: &Method, path: &str, model: &str) -> Operation {
    let path = CanonicalPath::parse(path).unwrap();
    let headers = HeaderMap::new();
    let head =
        RequestHead { method, path: &path, query: None, headers: &headers, source: None, client_certificate: None };
    let body = if model == NO_MODEL { "{}".to_owned() } else { serde_json::json!({"model": model}).to_string() };
    Operation::read(classify(&head).unwrap(), None, None, body.as_bytes()).unwrap()
}

fn chat(model: &str) -> Operation {
    operation(&Method::POST, "/v1/chat/completions", model)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn policy(models: &[&str], routes: &[&str], aliases: &[(&str, &str)]) -> Policy {
    let aliases = aliases.iter().map(|(name, model)| ((*name).to_owned(), (*model).to_owned())).collect();
    Policy::new(&strings(models), &strings(routes), aliases)
}

fn groups() -> AccessGroups {
    let pairs = [("gpt-4o", "frontier"), ("claude-x", "frontier"), ("gpt-4o", "openai-team"), ("openai/*", "wild")];
    AccessGroups::new(pairs.map(|(model, group)| (model.to_owned(), group.to_owned())))
}

#[test]
fn models_are_open_by_name_by_pattern_and_by_group() {
    for (granted, model, open) in [
        (&[][..], "anything", true),
        (&["*"], "anything", true),
        (&["all-proxy-models"], "anything", true),
        (&["gpt-4o"], "gpt-4o", true),
        (&["gpt-4o"], "gpt-4o-mini", false),
        (&["gpt-4o"], "GPT-4o", false),
        (&["gpt-4o"], " gpt-4o", false),
        (&["gpt-*"], "gpt-4o", true),
        (&["gpt-*"], "o3", false),
        (&["openai/*"], "openai/gpt-4o", true),
        (&["openai/*"], "openai", false),
        (&["*-mini"], "gpt-4o-mini", false),
        (&["gpt-4o", "*-mini"], "*-mini", true),
        (&["frontier"], "gpt-4o", true),
        (&["frontier"], "claude-x", true),
        (&["frontier"], "gpt-4o-mini", false),
        (&["other-team"], "gpt-4o", false),
        (&["no-default-models"], "gpt-4o", false),
        (&["all-team-models"], "gpt-4o", false),
        (&["no-default-models", "gpt-4o"], "gpt-4o", true),
    ] {
        let decision = authorize(principal(policy(granted, &[], &[])), chat(model), &groups());
        let expected = if open { Ok(Some(model)) } else { Err(Denial::ModelForbidden(model.to_owned())) };
        assert_eq!(decision.as_ref().map(Permit::model), expected.as_ref().copied(), "{granted:?} {model}");
    }
}

/// A key with these models, of a team and an owner with theirs; `None`: it has none, or they have no row.
fn held(models: &[&str], team: Option<&[&str]>, owner: Option<&[&str]>) -> Principal {
    let Principal::Key(mut holder) = principal(policy(models, &[], &[])) else { panic!("not a key") };
    let lists = |models| policy(models, &[], &[]);
    holder.team = team.map(|models| {
        let (id, policy) = ("t".into(), lists(models));
        Arc::new(TeamRecord {
            id,
            alias: None,
            organization_id: None,
            policy,
            blocked: false,
            version: 1,
            limits: None,
            limits_members: false,
        })
        .into()
    });
    holder.user = owner.map(|models| {
        Arc::new(UserRecord { id: "u".into(), role: Default::default(), policy: lists(models), limits: None })
    });
    let key = Arc::get_mut(&mut holder.key).unwrap();
    (key.team_id, key.user_id) = (team.map(|_| "t".into()), owner.map(|_| "u".into()));
    Principal::Key(holder)
}

#[test]
fn a_key_may_use_what_its_team_may_or_else_its_owner() {
    let by_key = || Err(Denial::ModelForbidden("gpt-4o".to_owned()));
    let by_team = || Err(Denial::TeamModelForbidden("gpt-4o".to_owned()));
    let by_user = || Err(Denial::UserModelForbidden("gpt-4o".to_owned()));
    let none: Option<&[&str]> = None;
    for (models, team, owner, outcome) in [
        (&[][..], Some(&["gpt-4o"][..]), none, Ok(())),
        (&[], Some(&["o3"]), none, by_team()),
        (&[], Some(&[]), none, Ok(())),
        (&["gpt-4o"], Some(&["gpt-*"]), none, Ok(())),
        (&["gpt-4o"], Some(&["frontier"]), none, Ok(())),
        (&["gpt-4o"], Some(&["o3"]), none, by_team()),
        (&["o3"], Some(&["gpt-4o"]), none, by_key()),
        (&["all-team-models"], Some(&["gpt-4o"]), none, Ok(())),
        (&["all-team-models"], Some(&[]), none, Ok(())),
        (&["all-team-models"], Some(&["o3"]), none, by_team()),
        (&["all-team-models"], Some(&["no-default-models"]), none, by_team()),
        (&["all-team-models"], none, none, by_key()),
        (&["all-team-models"], none, Some(&["gpt-4o"]), by_key()),
        (&[], none, Some(&["gpt-4o"]), Ok(())),
        (&[], none, Some(&["o3"]), by_user()),
        (&[], none, Some(&["no-default-models"]), by_user()),
        (&["gpt-4o"], Some(&["gpt-4o"]), Some(&["no-default-models"]), Ok(())),
        (&[], Some(&["o3"]), Some(&["gpt-4o"]), by_team()),
    ] {
        let holder = held(models, team, owner);
        let said = format!("{models:?} {team:?} {owner:?}");
        assert_eq!(holder.allows_model("gpt-4o", &groups()), outcome.is_ok(), "{said}");
        let told = rules(&holder, &chat("gpt-4o"), &groups());
        assert_eq!(told.iter().all(|(_, said)| said.is_ok()), outcome.is_ok(), "{said}: {told:?}");
        assert_eq!(authorize(holder, chat("gpt-4o"), &groups()).map(drop), outcome, "{said}");
    }
}

proptest! {
    #[test]
    fn a_team_adds_nothing_to_what_its_key_or_itself_may(
        models in proptest::collection::vec("a|b|c|\\*|all-team-models|no-default-models", 0..3),
        team in proptest::collection::vec("a|b|c|\\*|no-default-models", 0..3),
        model in "a|b|c",
    ) {
        let lists = |list: &[String]| Policy::new(list, &[], Default::default());
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        let bounds: Vec<&str> = team.iter().map(String::as_str).collect();
        let by_team = lists(&team).allows_model(&model, &groups());
        let by_key = policy(&models, &[], &[]).allows_model(&model, &groups()) || models.contains(&"all-team-models");
        let together = authorize(held(&models, Some(&bounds), None), chat(&model), &groups()).is_ok();
        prop_assert_eq!(together, by_team && by_key);
    }
}

#[test]
fn what_an_alias_stands_for_must_be_open() {
    let aliases = [("fast", "gpt-4o-mini"), ("best", "gpt-4o"), ("chain", "fast")];
    for (granted, asked, outcome) in [
        (&["gpt-4o-mini"][..], "fast", Ok("gpt-4o-mini")),
        (&["fast"], "fast", Err("gpt-4o-mini")),
        (&["gpt-4o-mini"], "best", Err("gpt-4o")),
        (&[], "best", Ok("gpt-4o")),
        (&["fast"], "chain", Ok("fast")),
    ] {
        let decision = authorize(principal(policy(granted, &[], &aliases)), chat(asked), &groups());
        let expected = outcome.map(Some).map_err(|model| Denial::ModelForbidden(model.to_owned()));
        assert_eq!(decision.as_ref().map(Permit::model), expected.as_ref().copied(), "{granted:?} {asked}");
    }
}

#[test]
fn a_restricted_key_makes_no_call_without_a_model() {
    let calls = [chat(NO_MODEL), operation(&Method::GET, "/openai/v1/files", NO_MODEL)];
    for operation in calls {
        let restricted = authorize(principal(policy(&["gpt-4o"], &[], &[])), operation.clone(), &groups());
        assert_eq!(restricted.err(), Some(Denial::ModelForbidden(String::new())));
        assert!(authorize(principal(policy(&[], &[], &[])), operation.clone(), &groups()).is_ok());
        assert!(authorize(Principal::Master, operation, &groups()).is_ok());
    }
    for path in ["/v1/models", "/v1beta/models", "/v1/models/gpt-4o"] {
        let list = operation(&Method::GET, path, NO_MODEL);
        assert!(authorize(principal(policy(&["no-default-models"], &[], &[])), list, &groups()).is_ok(), "{path}");
    }
}

#[test]
fn routes_are_open_by_path_with_or_without_a_version_and_by_group() {
    let (chat, messages) = ("/v1/chat/completions", "/v1/messages");
    for (rules, path, open) in [
        (&[][..], chat, true),
        (&["/chat/completions"], chat, true),
        (&["/v1/chat/completions"], chat, true),
        (&["/v1/chat/completions"], "/chat/completions", true),
        (&["/chat/completions"], "/openai/deployments/d/chat/completions", true),
        (&["/v1/*"], chat, true),
        (&["/v1/chat/*"], chat, true),
        (&["/chat"], chat, true),
        (&["/cha"], chat, false),
        (&["/chat/completion"], chat, false),
        (&["/completions"], chat, false),
        (&["/embeddings"], chat, false),
        (&["/key/info"], chat, false),
        (&["llm_api_routes"], chat, true),
        (&["openai_routes"], messages, true),
        (&["anthropic_routes"], messages, true),
        (&["anthropic_routes"], chat, false),
        (&["info_routes"], chat, false),
        (&["management_routes"], chat, false),
        (&["/messages"], "/v1/messages/count_tokens", true),
        (&["/messages/count_tokens"], messages, false),
        (&["/anthropic/*"], messages, false),
        (&["/embeddings", "/chat/completions"], chat, true),
        (&[""], chat, false),
        (&["*"], chat, true),
        (&["/*"], chat, true),
        (&["/v1/messages*"], messages, true),
        (&["/v1/messages*"], "/v1/messages/count_tokens", true),
        (&["/mess*"], messages, true),
        (&["/v1/messages*"], chat, false),
        (&["/*/completions"], chat, false),
        (&["google_routes"], "/v1beta/models/m:generateContent", true),
        (&["google_routes"], chat, false),
        (&["mapped_pass_through_routes"], "/anthropic/v1/messages", true),
        (&["passthrough_routes_wildcard"], "/anthropic/v1/messages", true),
        (&["mapped_pass_through_routes"], messages, false),
        (&["openai_routes"], "/anthropic/v1/messages", false),
        (&["llm_api_routes_without_mcp"], "/anthropic/v1/messages", true),
        (&["mcp_routes", "spend_tracking_routes", "public_routes"], chat, false),
        (&["model_info_routes"], chat, false),
    ] {
        let operation = operation(&Method::POST, path, "m");
        let decision = authorize(principal(policy(&[], rules, &[])), operation, &groups());
        let expected = if open { None } else { Some(Denial::RouteForbidden) };
        assert_eq!(decision.err(), expected, "{rules:?} {path}");
    }
    let list = operation(&Method::GET, "/v1/models", NO_MODEL);
    for (rule, open) in [("info_routes", true), ("/v1/models", true), ("llm_api_routes", true), ("/embeddings", false)]
    {
        let decision = authorize(principal(policy(&[], &[rule], &[])), list.clone(), &groups());
        assert_eq!(decision.is_ok(), open, "{rule}");
    }
}

#[test]
fn management_routes_follow_the_same_list() {
    for (rules, path, open) in [
        (&[][..], "/key/generate", true),
        (&["llm_api_routes"], "/key/info", false),
        (&["info_routes"], "/key/info", true),
        (&["info_routes"], "/key/generate", false),
        (&["management_routes"], "/key/generate", true),
        (&["/key/*"], "/key/generate", true),
        (&["/key/info"], "/key/generate", false),
        (&["management_routes"], "/audit", true),
        (&["key_management_routes"], "/key/generate", true),
        (&["key_management_routes"], "/v2/key/info", true),
        (&["key_management_routes"], "/audit", false),
        (&["key_management_routes"], "/keys", false),
        (&["model_info_routes"], "/v1/model/info", true),
        (&["model_info_routes"], "/key/info", false),
        (&["ui_routes"], "/key/info", true),
        (&["ui_routes"], "/key/generate", false),
        (&["spend_tracking_routes", "global_spend_tracking_routes", "mcp_routes"], "/key/generate", false),
        (&["*"], "/key/generate", true),
        (&["/key*"], "/key/generate", true),
        (&["/key*"], "/v1/model/info", false),
    ] {
        assert_eq!(policy(&[], rules, &[]).allows_management_route(path), open, "{rules:?} {path}");
    }
}

/// A misspelt group is no path, and no start of one.
#[test]
fn a_word_that_is_no_rule_opens_nothing() {
    for (text, is_rule) in [
        ("llm_api_routes", true),
        ("mcp_routes", true),
        ("/chat/completions", true),
        ("/v1/messages*", true),
        ("*", true),
        ("chat/completions", false),
        ("openai_route", false),
        ("openai_routes ", false),
        ("OPENAI_ROUTES", false),
        ("**", false),
        ("k*", false),
        ("", false),
    ] {
        assert_eq!(is_route_rule(text), is_rule, "{text}");
        let opens = Policy::granting(None, Some(&strings(&[text])));
        let opens_any = opens.allows_route(&chat("m").endpoint) || opens.allows_management_route("/key/generate");
        assert!(is_rule || !opens_any, "{text}");
    }
}

#[test]
fn lists_of_the_configuration_mean_what_they_say() {
    let (named, empty) = (strings(&["gpt-4o"]), strings(&[]));
    let chat_only = strings(&["/chat/completions"]);
    for (models, routes, refusal) in [
        (None, None, None),
        (Some(&named), None, None),
        (Some(&named), Some(&chat_only), None),
        (Some(&empty), None, Some(Denial::ModelForbidden("gpt-4o".to_owned()))),
        (None, Some(&empty), Some(Denial::RouteForbidden)),
    ] {
        let policy = Policy::granting(models.map(Vec::as_slice), routes.map(Vec::as_slice));
        assert_eq!(policy.check(&chat("gpt-4o"), Some("gpt-4o"), &groups()).err(), refusal, "{models:?} {routes:?}");
        assert_eq!(policy.allows_management_route("/key/generate"), routes.is_none(), "{routes:?}");
    }
}

#[test]
fn of_several_policies_one_allows_a_call_as_a_whole() {
    let small = Policy::granting(Some(&strings(&["small"])), Some(&strings(&["/chat/completions"])));
    let embed = Policy::granting(Some(&strings(&["embed"])), Some(&strings(&["/embeddings"])));
    let embeddings = |model| operation(&Method::POST, "/embeddings", model);
    let forbidden = |model: &str| Some(Denial::ModelForbidden(model.to_owned()));
    let open = Policy::default();
    for (policies, operation, refusal) in [
        (vec![&small, &embed], chat("small"), None),
        (vec![&small, &embed], embeddings("embed"), None),
        (vec![&small, &embed], chat("embed"), forbidden("embed")),
        (vec![&small, &embed], embeddings("small"), forbidden("small")),
        (vec![&small, &embed], operation(&Method::POST, "/rerank", "small"), Some(Denial::RouteForbidden)),
        (vec![&small], chat("embed"), forbidden("embed")),
        (vec![], chat("small"), Some(Denial::RouteForbidden)),
        (vec![&small, &open], embeddings("any"), None),
    ] {
        let any = Policy::any_of(policies.clone());
        assert_eq!(any.check(&operation, operation.model.as_deref(), &groups()).err(), refusal, "{policies:?}");
    }
    assert!(!Policy::any_of([]).allows_model("small", &groups()));
    assert!(!Policy::any_of([]).allows_management_route("/key/info"));
}

#[test]
fn the_operator_may_do_everything() {
    assert!(authorize(Principal::Master, chat("any"), &groups()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// A grant never opens a name that it neither is, nor begins, nor groups.
    #[test]
    fn a_grant_opens_nothing_else(grant in "[a-c*]{1,4}", model in "[a-c]{1,4}") {
        let open = policy(&[&grant], &[], &[]).allows_model(&model, &AccessGroups::default());
        let expected = grant.strip_suffix('*').map_or(grant == model, |prefix| model.starts_with(prefix));
        prop_assert_eq!(open, expected);
    }
}

/// A list to fall back on must not open what the key does not list.
#[test]
fn every_model_that_an_upstream_may_take_instead_must_be_open() {
    let asked = |models: &str| {
        let body = format!(r#"{{"model":"gpt-4o","models":{models}}}"#);
        Operation::read(chat("gpt-4o").endpoint, None, None, body.as_bytes()).unwrap()
    };
    for (granted, models, open) in [
        (&["gpt-4o"][..], r#"[]"#, true),
        (&["gpt-4o"], "null", true),
        (&["gpt-4o"], r#"["gpt-4o"]"#, true),
        (&["gpt-4o"], r#"["gpt-4o","o3"]"#, false),
        (&["gpt-4o"], r#"["gpt-4o",1]"#, false),
        (&["gpt-4o"], r#"{"gpt-4o":1}"#, false),
        (&["gpt-4o"], r#"[],"models":["o3"]"#, false),
        (&["gpt-4o", "o*"], r#"["o3"]"#, true),
        (&[], r#"["o3"]"#, true),
    ] {
        let outcome = authorize(principal(policy(granted, &[], &[])), asked(models), &groups());
        assert_eq!(outcome.is_ok(), open, "{granted:?} {models}");
    }
    assert!(authorize(Principal::Master, asked(r#"["o3"]"#), &groups()).is_ok());
}
