//! Tokens: each documented key has its effect.

use std::time::Duration;

use portcullis_filters::authn::jwt::algorithm::Algorithm;
use portcullis_filters::authn::jwt::claims::ClaimPath;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::policy::Policy;
use portcullis_filters::principal::Role;

use super::*;

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn jwt_with(text: &str, variables: &[(&str, &str)]) -> JwtSettings {
    settings_with(text, variables).jwt.expect(text)
}

pub(super) fn claim(name: &str) -> Option<ClaimPath> {
    Some(name.parse().unwrap())
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn routes(rules: &[&str]) -> Policy {
    Policy::granting(None, Some(&texts(rules)))
}

pub(super) fn fetched(issuer: &IssuerSettings) -> &KeySetSettings {
    match &issuer.keys {
        KeySettings::Fetched(set) => set,
        KeySettings::Fixed(_) => panic!("{issuer:?}"),
    }
}

pub(super) fn urls(issuer: &IssuerSettings) -> Vec<&str> {
    fetched(issuer).urls.iter().map(url::Url::as_str).collect()
}

const KEYS: (&str, &str) = ("JWT_PUBLIC_KEY_URL", "https://a/keys");
const ISSUER: (&str, &str) = ("JWT_ISSUER", "https://a");
const AUDIENCE: (&str, &str) = ("JWT_AUDIENCE", "gateway");
const ON: &str = "general_settings: {enable_jwt_auth: true}";

#[test]
fn litellms_variables_are_one_issuer() {
    let keys = ("JWT_PUBLIC_KEY_URL", " https://a/keys?p=1 , http://b:8080/.well-known/openid-configuration,");
    let loaded = load_with(ON, &[keys, ISSUER, AUDIENCE]).unwrap();
    assert!(loaded.warnings.is_empty() && loaded.notices.is_empty(), "{loaded:?}");
    let jwt = loaded.settings.jwt.unwrap();
    let [issuer] = jwt.issuers.as_slice() else { panic!("{jwt:?}") };
    assert_eq!((issuer.name.as_deref(), &issuer.audiences), (Some("https://a"), &texts(&["gateway"])));
    assert_eq!(urls(issuer), ["https://a/keys?p=1", "http://b:8080/.well-known/openid-configuration"]);
    assert_eq!(fetched(issuer).issuer.as_deref(), Some("https://a"), "for the discovery document");
    let set = fetched(issuer);
    assert_eq!((set.ttl, set.max_stale, set.cooldown), (seconds(600), seconds(3600), seconds(10)));
    assert_eq!((issuer.leeway, issuer.max_age), (seconds(30), None));
    assert_eq!(issuer.algorithms, Algorithm::ASYMMETRIC, "never HMAC with what is fetched");
    assert!(issuer.required.is_empty() && issuer.types.is_empty());
    assert_eq!(issuer.claims, ClaimRules::default());
    assert!(jwt.opaque.is_empty() && !jwt.deny_list_required);

    let in_file =
        "environment_variables: {JWT_PUBLIC_KEY_URL: 'https://a/keys'}\ngeneral_settings: {enable_jwt_auth: true}";
    assert_eq!(jwt_with(in_file, &[ISSUER, AUDIENCE]), jwt_with(ON, &[KEYS, ISSUER, AUDIENCE]));
}

#[test]
fn what_is_not_checked_is_said_loudly() {
    let own = "portcullis: {jwt: {issuers: [{issuer: 'https://a', disable_audience_validation: true}]}}";
    let theirs = "general_settings: {enable_jwt_auth: true, litellm_jwtauth: {issuers: \
                  [{issuer: 'https://a', disable_audience_validation: true}]}}";
    let userinfo = "general_settings: {enable_jwt_auth: true, litellm_jwtauth: {oidc_userinfo_enabled: true, \
                    oidc_userinfo_endpoint: 'https://a/me'}}";
    let plain = "portcullis: {jwt: {issuers: [{issuer: 'http://idp.example.com', audience: a}]}}";
    let plain_question = "portcullis: {jwt: {introspection: \
                          [{url: 'http://idp.example.com', client_id: a, client_secret: b, audience: x}]}}";
    let stranger = "portcullis: {jwt: {introspection: [{url: 'https://a', client_id: a, client_secret: b}]}}";
    let oauth2 = "general_settings: {enable_oauth2_auth: true}";
    for (text, variables, warning) in [
        (
            ON,
            &[KEYS][..],
            Some("JWT_ISSUER and JWT_AUDIENCE are not set: every token that a key of JWT_PUBLIC_KEY_URL signed"),
        ),
        (ON, &[KEYS, ISSUER], Some("JWT_AUDIENCE is not set: tokens that this issuer made for other applications")),
        (ON, &[KEYS, AUDIENCE], None),
        (
            ON,
            &[("JWT_PUBLIC_KEY_URL", "http://idp.example.com/keys"), AUDIENCE],
            Some("JWT_PUBLIC_KEY_URL: plain http"),
        ),
        (ON, &[("JWT_PUBLIC_KEY_URL", "http://keycloak:8080/keys"), AUDIENCE], None),
        (ON, &[("JWT_PUBLIC_KEY_URL", "http://127.0.0.1/keys"), AUDIENCE], None),
        (
            own,
            &[],
            Some("portcullis.jwt.issuers[0].disable_audience_validation: tokens that this issuer made for other"),
        ),
        (
            theirs,
            &[],
            Some("general_settings.litellm_jwtauth.issuers[0].disable_audience_validation: tokens that this"),
        ),
        (
            userinfo,
            &[],
            Some("general_settings.litellm_jwtauth.oidc_userinfo_endpoint: no audience is asked for: every"),
        ),
        (plain, &[], Some("portcullis.jwt.issuers[0].issuer: plain http to a public host; whoever sits on the way")),
        (plain_question, &[], Some("portcullis.jwt.introspection[0].url: plain http to a public host; every token")),
        (
            stranger,
            &[],
            Some("portcullis.jwt.introspection[0].url: no audience is asked for: every token that is good"),
        ),
        (
            oauth2,
            &[("OAUTH_TOKEN_INFO_ENDPOINT", "https://a/info")],
            Some("OAUTH_TOKEN_INFO_ENDPOINT: no audience is asked for"),
        ),
    ] {
        let warnings = load_with(text, variables).unwrap().warnings;
        match warning {
            Some(warning) => assert!(warnings.len() == 1 && warnings[0].starts_with(warning), "{text}: {warnings:?}"),
            None => assert!(warnings.is_empty(), "{text}: {warnings:?}"),
        }
    }
}

#[test]
fn tokens_are_taken_only_where_the_file_says_so() {
    let off = "not in force while general_settings.enable_jwt_auth is false";
    let unused = "JWT_PUBLIC_KEY_URL is not used: it counts with general_settings.enable_jwt_auth only";
    let own = "portcullis: {jwt: {cache_size: 7, issuers: [{issuer: 'https://o', audience: a}]}}";
    let own_off = format!("general_settings: {{enable_jwt_auth: false}}\n{own}");
    let asked_off =
        "general_settings: {enable_jwt_auth: off}\nportcullis: {jwt: {introspection: [{url: 'https://o'}]}}";
    let block = "general_settings: {litellm_jwtauth: {custom_validate: a.b, typo: 1}}";
    let rbac = "general_settings: {enforce_rbac: true, role_permissions: [{role: team, models: [a]}]}";
    for (text, variables, issuers, notices) in [
        ("", &[KEYS][..], None, vec![unused.to_owned()]),
        ("general_settings: {enable_jwt_auth: false}", &[KEYS], None, vec![unused.to_owned()]),
        (own, &[], Some(vec!["https://o"]), vec![]),
        (own, &[KEYS, ISSUER], Some(vec!["https://o"]), vec![unused.to_owned()]),
        (own_off.as_str(), &[], None, vec![format!("portcullis.jwt.issuers: {off}")]),
        (asked_off, &[], None, vec![format!("portcullis.jwt.introspection: {off}")]),
        (
            block,
            &[],
            None,
            vec!["general_settings.litellm_jwtauth: restricts nobody while enable_jwt_auth is not true".to_owned()],
        ),
        (
            rbac,
            &[],
            None,
            vec![
                "general_settings.enforce_rbac: restricts nobody while enable_jwt_auth is not true".to_owned(),
                "general_settings.role_permissions: restricts nobody while enable_jwt_auth is not true".to_owned(),
            ],
        ),
        (
            "general_settings: {litellm_jwtauth: {}, enforce_rbac: false}\nportcullis: {jwt: {cache_size: 7}}",
            &[],
            None,
            vec![],
        ),
    ] {
        let loaded = load_with(text, variables).unwrap();
        assert_eq!(loaded.notices, notices, "{text}");
        let jwt = loaded.settings.jwt;
        let names = jwt.map(|jwt| jwt.issuers.iter().map(|issuer| issuer.name.clone().unwrap()).collect::<Vec<_>>());
        assert_eq!(names, issuers.map(|names| texts(&names)), "{text}");
    }
}

/// Contract 03, J4: in LiteLLM a token of an issuer that is not listed falls back to the variables.
#[test]
fn beside_listed_issuers_the_variables_count_only_under_a_name() {
    let text = "\
general_settings: {enable_jwt_auth: true, litellm_jwtauth: {issuers: [{issuer: 'https://b', audience: b}]}}
portcullis: {jwt: {issuers: [{issuer: 'https://c', audience: c}]}}
";
    for (variables, issuers, said) in [
        (&[KEYS, AUDIENCE][..], &["https://c", "https://b"][..], "JWT_PUBLIC_KEY_URL is not used: issuers are listed"),
        (&[KEYS, AUDIENCE, ISSUER], &["https://c", "https://b", "https://a"], ""),
        (
            &[KEYS, AUDIENCE, ("JWT_ISSUER", "https://b")],
            &["https://c", "https://b"],
            "JWT_PUBLIC_KEY_URL is not used: the issuer of JWT_ISSUER is listed",
        ),
    ] {
        let loaded = load_with(text, variables).unwrap();
        let jwt = loaded.settings.jwt.unwrap();
        let names: Vec<_> = jwt.issuers.iter().map(|issuer| issuer.name.as_deref().unwrap()).collect();
        assert_eq!(names, issuers);
        assert_eq!(jwt.issuers[1].audiences, ["b"]);
        let heard = [loaded.warnings, loaded.notices].concat();
        assert!(
            heard.len() == usize::from(!said.is_empty()) && heard.iter().all(|line| line.starts_with(said)),
            "{heard:?}"
        );
    }
}

#[test]
fn every_option_of_litellms_block_is_honoured() {
    let text = "\
general_settings:
  enable_jwt_auth: true
  enforce_rbac: true
  role_permissions:
  - {role: internal_user, models: [gpt-4o, claude-*], routes: [openai_routes]}
  - {role: team, routes: []}
  litellm_jwtauth:
    user_id_jwt_field: sub
    user_email_jwt_field: email
    user_allowed_email_domain: example.com
    user_id_upsert: true
    user_roles_jwt_field: realm_access.roles
    user_allowed_roles: [llm]
    team_id_jwt_field: team
    team_ids_jwt_field: groups
    team_alias_jwt_field: team_name
    team_id_default: everybody
    team_id_upsert: yes
    team_allowed_routes: [/v1/chat/completions, info_routes, /v1/messages*]
    enforce_team_based_model_access: true
    org_id_jwt_field: org
    end_user_id_jwt_field: customer
    admin_jwt_scope: gateway-admin
    admin_allowed_routes: [management_routes]
    roles_jwt_field: roles
    role_mappings: [{role: ops, internal_role: proxy_admin}, {role: devs, internal_role: team}]
    object_id_jwt_field: oid
    enforce_scope_based_access: true
    scope_mappings: [{scope: small, models: [gpt-4o-mini]}, {scope: none, routes: [/v1/models]}]
    public_key_ttl: 60
    public_key_stale_ttl: 0
";
    let jwt = jwt_with(text, &[KEYS, ISSUER, AUDIENCE]);
    let role = |name: &str, role| (name.to_owned(), role);
    let expected = ClaimRules {
        user_id: claim("sub"),
        user_email: claim("email"),
        email_domain: Some("example.com".to_owned()),
        enrol_users: true,
        user_roles: Some((claim("realm_access.roles").unwrap(), texts(&["llm"]))),
        team_id: claim("team"),
        team_ids: claim("groups"),
        team_alias: claim("team_name"),
        default_team: Some("everybody".to_owned()),
        enrol_teams: true,
        team_routes: routes(&["/v1/chat/completions", "info_routes", "/v1/messages*"]),
        team_required: true,
        organization_id: claim("org"),
        end_user_id: claim("customer"),
        admin_scope: "gateway-admin".to_owned(),
        admin_routes: routes(&["management_routes"]),
        roles: Some((claim("roles").unwrap(), vec![role("ops", Role::Admin), role("devs", Role::Team)])),
        object_id: claim("oid"),
        enforce_rbac: true,
        role_permissions: vec![
            (
                Role::InternalUser,
                Policy::granting(Some(&texts(&["gpt-4o", "claude-*"])), Some(&texts(&["openai_routes"]))),
            ),
            (Role::Team, routes(&[])),
        ],
        scopes: Some(vec![
            ("small".to_owned(), Policy::granting(Some(&texts(&["gpt-4o-mini"])), None)),
            ("none".to_owned(), Policy::granting(Some(&[]), Some(&texts(&["/v1/models"])))),
        ]),
    };
    assert_eq!(jwt.issuers[0].claims, expected);
    let set = fetched(&jwt.issuers[0]);
    assert_eq!((set.ttl, set.max_stale), (seconds(60), seconds(0)));
}

#[test]
fn an_issuer_says_otherwise_than_the_block() {
    let text = "\
general_settings:
  enable_jwt_auth: true
  litellm_jwtauth:
    user_id_jwt_field: sub
    team_id_jwt_field: team
    user_id_upsert: true
    issuers:
    - {issuer: 'https://a/', audience: [a, b], team_id_jwt_field: t, org_id_jwt_field: o, team_ids_jwt_field: ts}
    - {issuer: accounts.example.com, jwks_url: 'https://b/certs', audience: c, user_id_jwt_field: u, user_email_jwt_field: e, end_user_id_jwt_field: c}
portcullis:
  jwt:
    issuers:
    - {issuer: 'https://c', audience: d, claims: {user_id_upsert: false, admin_jwt_scope: '', enforce_rbac: true}}
";
    let jwt = jwt_with(text, &[]);
    let block =
        ClaimRules { user_id: claim("sub"), team_id: claim("team"), enrol_users: true, ..ClaimRules::default() };
    let [own, first, second] = jwt.issuers.as_slice() else { panic!("{jwt:?}") };
    let no_admin = ClaimRules { enrol_users: false, admin_scope: String::new(), enforce_rbac: true, ..block.clone() };
    assert_eq!(own.claims, no_admin);
    let other_team =
        ClaimRules { team_id: claim("t"), organization_id: claim("o"), team_ids: claim("ts"), ..block.clone() };
    assert_eq!(first.claims, other_team);
    let other_user = ClaimRules { user_id: claim("u"), user_email: claim("e"), end_user_id: claim("c"), ..block };
    assert_eq!(second.claims, other_user);
    assert_eq!(first.audiences, ["a", "b"]);
    assert_eq!(urls(first), ["https://a/.well-known/openid-configuration"]);
    assert_eq!(urls(second), ["https://b/certs"]);
}
