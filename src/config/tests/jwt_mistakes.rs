//! Tokens: each mistake has its path, its place and its words.

use super::*;

/// Under `general_settings.litellm_jwtauth`, beside keys that are right.
fn of_block(options: &str) -> String {
    let text = format!("general_settings: {{enable_jwt_auth: true, litellm_jwtauth: {{{options}}}}}");
    only(&text, &[("JWT_PUBLIC_KEY_URL", "https://a/keys"), ("JWT_AUDIENCE", "x")])
}

pub(super) fn only(text: &str, variables: &[(&str, &str)]) -> String {
    let found = mistakes_with(text, variables);
    let [found] = found.as_slice() else { panic!("{text}\n{found:#?}") };
    found.clone()
}

#[test]
fn tokens_without_keys_stop_the_start() {
    for (text, variables, message) in [
        (
            "general_settings: {enable_jwt_auth: true}",
            &[][..],
            "general_settings.enable_jwt_auth (config.yaml:1:20): Missing JWT Public Key URL: set the variable \
             JWT_PUBLIC_KEY_URL, or list issuers in general_settings.litellm_jwtauth.issuers or portcullis.jwt.issuers",
        ),
        (
            "general_settings: {enable_jwt_auth: yes, litellm_jwtauth: {issuers: []}}",
            &[("JWT_ISSUER", "https://a"), ("JWT_PUBLIC_KEY_URL", "")],
            "general_settings.enable_jwt_auth (config.yaml:1:20): Missing JWT Public Key URL",
        ),
        (
            "general_settings: {enable_oauth2_auth: true}",
            &[],
            "general_settings.enable_oauth2_auth (config.yaml:1:20): needs the variable OAUTH_TOKEN_INFO_ENDPOINT",
        ),
        (
            "general_settings: {enable_jwt_auth: a.b}",
            &[],
            "general_settings.enable_jwt_auth (config.yaml:1:37): expected true or false",
        ),
    ] {
        let found = only(text, variables);
        assert!(found.starts_with(message), "{text}\nexpected {message}\nfound    {found}");
    }
}

#[test]
fn variables_are_judged_too() {
    const JWT: &str = "general_settings: {enable_jwt_auth: true}";
    const OAUTH2: &str = "general_settings: {enable_oauth2_auth: true}";
    const INFO: (&str, &str) = ("OAUTH_TOKEN_INFO_ENDPOINT", "https://a/info");
    for (text, variables, message) in [
        (JWT, &[("JWT_PUBLIC_KEY_URL", "keys.json")][..], "JWT_PUBLIC_KEY_URL: expected an address such as"),
        (
            JWT,
            &[("JWT_PUBLIC_KEY_URL", "https://a/keys,file:///b")],
            "JWT_PUBLIC_KEY_URL: expected an address that begins",
        ),
        (JWT, &[("JWT_PUBLIC_KEY_URL", "https://u:p@a/keys")], "JWT_PUBLIC_KEY_URL: holds a user or a password"),
        (JWT, &[("JWT_PUBLIC_KEY_URL", "https://a/keys#x")], "JWT_PUBLIC_KEY_URL: holds a fragment"),
        (JWT, &[("JWT_PUBLIC_KEY_URL", " , ")], "JWT_PUBLIC_KEY_URL: names no address"),
        (OAUTH2, &[("OAUTH_TOKEN_INFO_ENDPOINT", "x")], "OAUTH_TOKEN_INFO_ENDPOINT: expected an address"),
        (
            OAUTH2,
            &[("OAUTH_TOKEN_INFO_ENDPOINT", "https://a/introspect"), ("OAUTH_CLIENT_ID", "me")],
            "OAUTH_TOKEN_INFO_ENDPOINT: introspection needs OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET",
        ),
        (OAUTH2, &[INFO, ("OAUTH_USER_ID_FIELD_NAME", ".")], "OAUTH_USER_ID_FIELD_NAME: expected the name of a claim"),
        (OAUTH2, &[INFO, ("OAUTH_USER_ROLE_FIELD_NAME", ".")], "OAUTH_USER_ROLE_FIELD_NAME: expected the name"),
        (OAUTH2, &[INFO, ("OAUTH_USER_TEAM_ID_FIELD_NAME", ".")], "OAUTH_USER_TEAM_ID_FIELD_NAME: expected the name"),
    ] {
        let found = only(text, variables);
        assert!(found.starts_with(message), "expected {message}\nfound    {found}");
    }
}

#[test]
fn each_mistake_of_the_block_is_named() {
    for (options, message) in [
        (
            "user_id_jwt_feild: sub",
            "user_id_jwt_feild (config.yaml:1:61): unknown key; did you mean user_id_jwt_field?",
        ),
        ("team_jwt_scope: x", "team_jwt_scope (config.yaml:1:61): unknown key"),
        ("user_id_jwt_field: .a", "user_id_jwt_field (config.yaml:1:80): expected the name of a claim"),
        ("user_id_jwt_field: [a]", "user_id_jwt_field (config.yaml:1:80): expected text, found a list"),
        (
            "user_roles_jwt_field: roles",
            "user_allowed_roles (config.yaml:1:60): is missing: user_roles_jwt_field needs it",
        ),
        ("user_allowed_roles: [a]", "user_roles_jwt_field (config.yaml:1:60): is missing: user_allowed_roles needs it"),
        ("user_roles_jwt_field: r, user_allowed_roles: []", "user_allowed_roles (config.yaml:1:106): is empty"),
        ("roles_jwt_field: r", "role_mappings (config.yaml:1:60): is missing: roles_jwt_field needs it"),
        (
            "role_mappings: [{role: a, internal_role: team}]",
            "roles_jwt_field (config.yaml:1:60): is missing: role_mappings needs it",
        ),
        (
            "roles_jwt_field: r, role_mappings: [{role: a, internal_role: boss}]",
            "role_mappings[0].internal_role (config.yaml:1:122): expected one of proxy_admin, team, internal_user",
        ),
        (
            "roles_jwt_field: r, role_mappings: [{role: a}]",
            "role_mappings[0].internal_role (config.yaml:1:97): is missing",
        ),
        (
            "roles_jwt_field: r, role_mappings: x",
            "role_mappings (config.yaml:1:96): expected a list, found a single value",
        ),
        (
            "object_id_jwt_field: oid",
            "role_mappings (config.yaml:1:60): is missing: object_id_jwt_field needs it, and roles_jwt_field",
        ),
        (
            "scope_mappings: [{scope: a, models: [b]}]",
            "scope_mappings (config.yaml:1:77): restricts nobody without enforce_scope_based_access",
        ),
        (
            "scope_mappings: [{scope: a, models: [b]}], enforce_scope_based_access: false",
            "scope_mappings (config.yaml:1:77): restricts nobody without enforce_scope_based_access",
        ),
        (
            "enforce_scope_based_access: true",
            "scope_mappings (config.yaml:1:60): is missing: enforce_scope_based_access needs it",
        ),
        (
            "enforce_scope_based_access: true, scope_mappings: [{scope: a}]",
            "scope_mappings[0].models (config.yaml:1:112): is missing: give models, routes or both",
        ),
        (
            "enforce_scope_based_access: true, scope_mappings: [{scope: a, models: [b], model: c}]",
            "scope_mappings[0].model (config.yaml:1:136): unknown key; did you mean models?",
        ),
        (
            "user_allowed_email_domain: example.com",
            "user_email_jwt_field (config.yaml:1:60): is missing: user_allowed_email_domain needs it",
        ),
        (
            "user_email_jwt_field: e, user_allowed_email_domain: '@example.com'",
            "user_allowed_email_domain (config.yaml:1:113): expected a domain such as example.com",
        ),
        ("team_allowed_routes: [openai]", "team_allowed_routes[0] (config.yaml:1:83): expected a path such as"),
        ("admin_allowed_routes: [/a*/b]", "admin_allowed_routes[0] (config.yaml:1:84): expected a path such as"),
        ("public_key_ttl: 0", "public_key_ttl (config.yaml:1:77): expected a time from 1 to 86400 seconds"),
        ("oidc_userinfo_enabled: true", "oidc_userinfo_endpoint (config.yaml:1:60): is missing: oidc_userinfo_enabled"),
        (
            "oidc_userinfo_enabled: true, oidc_userinfo_endpoint: 'ftp://a'",
            "oidc_userinfo_endpoint (config.yaml:1:114): expected an address that begins with https:// or http://",
        ),
        ("issuers: {issuer: a}", "issuers (config.yaml:1:70): expected a list, found keys and values"),
        ("issuers: [{audience: x}]", "issuers[0].issuer (config.yaml:1:71): is missing"),
        (
            "issuers: [{issuer: 'https://b'}]",
            "issuers[0].audience (config.yaml:1:71): is missing: for whom are the tokens? Only \
             disable_audience_validation: true lets any in",
        ),
        (
            "issuers: [{issuer: 'https://b', disable_audience_validation: false}]",
            "issuers[0].audience (config.yaml:1:71): is missing: for whom are the tokens?",
        ),
        (
            "issuers: [{issuer: 'https://b', audience: x, disable_audience_validation: true}]",
            "issuers[0].disable_audience_validation (config.yaml:1:106): contradicts the audience that is given",
        ),
        (
            "issuers: [{issuer: b, audience: x}]",
            "issuers[0].issuer (config.yaml:1:72): is no address at which keys could be found",
        ),
        (
            "issuers: [{issuer: b, audience: x, jwks_url: c}]",
            "issuers[0].jwks_url (config.yaml:1:106): expected an address such as",
        ),
        (
            "issuers: [{issuer: 'https://b', audience: x}, {issuer: 'https://b', audience: y}]",
            "issuers[1].issuer (config.yaml:1:108): given twice: an issuer has one entry",
        ),
        (
            "issuers: [{issuer: 'https://b', audience: x, team_alias_jwt_field: t}]",
            "issuers[0].team_alias_jwt_field (config.yaml:1:106): unknown key here; it belongs to general_settings.litellm_jwtauth",
        ),
        (
            "issuers: [{issuer: 'https://b', audience: x, virtual_key_claim_field: t}]",
            "issuers[0].virtual_key_claim_field (config.yaml:1:106): a token is not exchanged for a virtual key",
        ),
    ] {
        let (found, message) = (of_block(options), format!("general_settings.litellm_jwtauth.{message}"));
        assert!(found.starts_with(&message), "{options}\nexpected {message}\nfound    {found}");
    }
}

#[test]
fn options_that_would_restrict_stop_the_start_and_others_are_named() {
    let variables = [("JWT_PUBLIC_KEY_URL", "https://a/keys"), ("JWT_AUDIENCE", "x")];
    let text =
        |key: &str, value| format!("general_settings: {{enable_jwt_auth: true, litellm_jwtauth: {{{key}: {value}}}}}");
    for (key, _) in litellm::JWT.refused {
        let found = only(&text(key, "x"), &variables);
        assert!(found.starts_with(&format!("general_settings.litellm_jwtauth.{key} ")), "{found}");
        for off in ["false", "null", "''", "[]", "{}"] {
            assert!(load_with(&text(key, off), &variables).is_ok(), "{key}: {off}");
        }
    }
    for (key, meaning) in litellm::JWT.unserved {
        let notices = load_with(&text(key, "true"), &variables).unwrap().notices;
        assert_eq!(notices, [format!("general_settings.litellm_jwtauth.{key}: {meaning}")]);
        assert!(load_with(&text(key, "false"), &variables).unwrap().notices.is_empty(), "{key}");
    }
}

/// Without LiteLLM's switch its block is not read, and our own issuers would not be restricted by it.
#[test]
fn what_would_not_count_for_our_own_issuers_stops_the_start() {
    let own = "portcullis: {jwt: {issuers: [{issuer: 'https://a', audience: x}]}}";
    for key in ["litellm_jwtauth", "enforce_rbac", "role_permissions"] {
        let found = only(&format!("general_settings: {{{key}: {{a: b}}}}\n{own}"), &[]);
        let message = "does not count for portcullis.jwt without enable_jwt_auth: set that to true, or remove this";
        let place = 21 + key.len() + 1;
        assert_eq!(found, format!("general_settings.{key} (config.yaml:1:{place}): {message}"));
        assert!(load_with(&format!("general_settings: {{{key}: null}}\n{own}"), &[]).is_ok());
    }
}

#[test]
fn permissions_of_roles_are_enforced_or_refused() {
    for (settings, message) in [
        (
            "role_permissions: [{role: team, models: [a]}]",
            "role_permissions (config.yaml:1:43): restricts nobody without enforce_rbac: set that to true, or remove this",
        ),
        (
            "enforce_rbac: true, role_permissions: [{role: proxy_admin_viewer, models: [a]}]",
            "role_permissions[0].role (config.yaml:1:89): expected one of proxy_admin, team, internal_user",
        ),
        (
            "enforce_rbac: true, role_permissions: [{role: team}]",
            "role_permissions[0].models (config.yaml:1:82): is missing: give models, routes or both",
        ),
        ("enforce_rbac: true, role_permissions: []", "role_permissions (config.yaml:1:81): is empty"),
    ] {
        let text = format!("general_settings: {{enable_jwt_auth: true, {settings}}}");
        let found = only(&text, &[("JWT_PUBLIC_KEY_URL", "https://a/keys")]);
        assert!(
            found.starts_with(&format!("general_settings.{message}")),
            "{settings}\nexpected {message}\nfound    {found}"
        );
    }
}
