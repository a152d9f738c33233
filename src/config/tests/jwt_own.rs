//! Tokens: our own issuers and their keys, opaque tokens, and what `portcullis check` says of all that.

use portcullis_filters::authn::jwt::algorithm::Algorithm;
use portcullis_filters::authn::jwt::cache::TokenCacheSettings;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::authn::jwt::keys::KeySet;
use portcullis_filters::authn::jwt::proof::ProofSettings;
use portcullis_filters::principal::Role;

use super::jwt::{claim, fetched, jwt_with, seconds, texts, urls};
use super::*;

const PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMF2kIRqv1cujJmihNhZoq0hp0dlH
8bVG2EzQt5M/T8cd528+seSMfjSfW1j7PZSI52HKrRxEOPvFYzErbY9vuw==
-----END PUBLIC KEY-----
";
/// Example of RFC 7517, appendix A.1.
const JWK_SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;

/// The only issuer of `portcullis.jwt.issuers`, with these keys beside name and audience.
fn issuer(keys: &str) -> IssuerSettings {
    let text = format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x{keys}}}]}}}}");
    let mut jwt = jwt_with(&text, &[]);
    assert_eq!(jwt.issuers.len(), 1);
    jwt.issuers.remove(0)
}

#[test]
fn keys_come_from_an_address() {
    for (keys, expected) in [
        ("", &["https://a/.well-known/openid-configuration"][..]),
        (", key_set_url: 'https://b/keys'", &["https://b/keys"]),
        (", key_set_url: ['https://b/keys', 'http://c/keys']", &["https://b/keys", "http://c/keys"]),
        (
            ", discovery_url: 'https://b/x/.well-known/openid-configuration'",
            &["https://b/x/.well-known/openid-configuration"],
        ),
    ] {
        let issuer = issuer(keys);
        assert_eq!(urls(&issuer), expected);
        assert_eq!(fetched(&issuer).issuer.as_deref(), Some("https://a"));
        assert_eq!(issuer.algorithms, Algorithm::ASYMMETRIC);
    }
}

#[test]
fn keys_stand_in_the_file_or_beside_it() {
    let folder = Folder::new();
    folder.write("keys.json", JWK_SET);
    folder.write("key.pem", PEM);
    let block = |text: &str| text.replace('\n', "\n        ");
    let pem = KeySet::from_pem(PEM).unwrap();
    let set = KeySet::parse(JWK_SET.as_bytes()).unwrap().0;
    let secret = KeySet::from_secret(&"0123456789abcdef0123456789abcdef".into()).unwrap();
    for (keys, expected) in [
        (format!("key_set: '{JWK_SET}'"), &set),
        (format!("key_set: {JWK_SET}"), &set),
        ("key_set_file: keys.json".to_owned(), &set),
        (format!("pem: |\n        {}", block(PEM)), &pem),
        ("pem_file: key.pem".to_owned(), &pem),
        ("secret: os.environ/SECRET".to_owned(), &secret),
    ] {
        let text =
            format!("portcullis:\n  jwt:\n    issuers:\n    - issuer: https://a\n      audience: x\n      {keys}\n");
        folder.write("config.yaml", &text);
        let loaded = folder.load(&[("SECRET", "0123456789abcdef0123456789abcdef")]).unwrap();
        let jwt = loaded.settings.jwt.unwrap();
        let KeySettings::Fixed(found) = &jwt.issuers[0].keys else { panic!("{keys}") };
        assert_eq!(**found, *expected, "{keys}");
        assert!(loaded.warnings.is_empty(), "{keys}: {:?}", loaded.warnings);
    }
}

#[test]
fn algorithms_go_with_the_keys() {
    let secret = "secret: 0123456789abcdef0123456789abcdef0123456789abcdef";
    for (keys, expected) in [
        (format!(", {secret}"), &[Algorithm::Hs256][..]),
        (format!(", {secret}, algorithms: [HS384, HS256, HS384]"), &[Algorithm::Hs256, Algorithm::Hs384]),
        (", algorithms: ES256".to_owned(), &[Algorithm::Es256]),
        (format!(", key_set: '{JWK_SET}', algorithms: [RS256, ES256]"), &[Algorithm::Rs256, Algorithm::Es256]),
    ] {
        assert_eq!(issuer(&keys).algorithms, expected, "{keys}");
    }
}

#[test]
fn the_rest_of_an_issuer() {
    let issuer = issuer(
        ", leeway: 0, max_age: 1h, required_claims: [jti, a.b], token_types: [at+jwt], claims: {user_id_jwt_field: sub}",
    );
    assert_eq!((issuer.name.as_deref(), issuer.audiences), (Some("https://a"), texts(&["x"])));
    assert_eq!((issuer.leeway, issuer.max_age), (seconds(0), Some(seconds(3600))));
    assert_eq!(issuer.required, [claim("jti").unwrap(), claim("a.b").unwrap()]);
    assert_eq!(issuer.types, ["at+jwt"]);
    assert_eq!(issuer.claims, ClaimRules { user_id: claim("sub"), ..ClaimRules::default() });
}

#[test]
fn the_rest_of_our_own_keys() {
    let text = "\
general_settings: {enable_jwt_auth: true, litellm_jwtauth: {public_key_ttl: 1, public_key_stale_ttl: 2}}
portcullis:
  public_urls: [https://llm.example.com, https://example.com/llm]
  jwt:
    issuers: [{issuer: 'https://a', audiences: [x, y]}]
    cache_size: 3
    cache_ttl: 0
    key_set_ttl: 5m
    max_stale: 4
    refresh_cooldown: 5
    deny_list: required
    dpop: {max_age: 6, leeway: 7}
";
    let jwt = jwt_with(text, &[]);
    assert_eq!(jwt.cache, TokenCacheSettings { max_tokens: 3, ttl: seconds(0) });
    let set = fetched(&jwt.issuers[0]);
    assert_eq!((set.ttl, set.max_stale, set.cooldown), (seconds(300), seconds(4), seconds(5)));
    assert!(jwt.deny_list_required);
    let public_urls = ["https://llm.example.com", "https://example.com/llm"].map(|url| url.parse().unwrap()).to_vec();
    assert_eq!(jwt.proof, ProofSettings { public_urls, max_age: seconds(6), leeway: seconds(7) });

    let issuers = "portcullis: {jwt: {issuers: [{issuer: 'https://a', audience: x}], deny_list: best_effort}}";
    let jwt = jwt_with(issuers, &[]);
    assert!(!jwt.deny_list_required);
    assert_eq!((jwt.cache, jwt.proof), (TokenCacheSettings::default(), ProofSettings::default()));
}

#[test]
fn a_key_that_is_left_out_is_named() {
    let keys = JWK_SET.replace("[{", r#"[{"kty":"none","kid":"\u001b[2J"},{"#);
    let text = format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, key_set: '{keys}'}}]}}}}");
    let warnings = load_with(&text, &[]).unwrap().warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.starts_with("portcullis.jwt.issuers[0].key_set: a key is left out: "), "{warning}");
    assert!(!warning.contains(char::is_control), "{warning:?}");
}

#[test]
fn check_says_what_is_in_force_and_no_secret() {
    let text = format!(
        "\
general_settings: {{enable_jwt_auth: true}}
portcullis:
  jwt:
    issuers:
    - {{issuer: 'https://a', audience: [x, y], key_set_url: 'https://a/keys?k=sEcReT'}}
    - {{issuer: 'https://b', audience: x, secret: sEcReT-0123456789abcdef-0123456789}}
    - {{issuer: 'https://c', disable_audience_validation: true, key_set: '{JWK_SET}', algorithms: [ES256, RS256]}}
    introspection: [{{url: 'https://d/?k=sEcReT', client_id: me, client_secret: sEcReT}}]
"
    );
    let summary = settings(&text).summary();
    let lines: Vec<_> = summary.iter().filter(|line| line.contains("issuer") || line.contains("tokens")).collect();
    assert_eq!(
        lines,
        [
            "issuer https://a: audience x, y, keys from https://a/keys, every algorithm with a public key",
            "issuer https://b: audience x, keys from the configuration, HS256",
            "issuer https://c: any audience, keys from the configuration, RS256, ES256",
            "opaque tokens: introspection, client secret set, at https://d/, any audience, remembered for 60 s",
            "tokens: 50000 remembered for 300 s; deny list best effort; no DPoP proof is taken without public_urls",
        ]
    );
    let variables = [("JWT_PUBLIC_KEY_URL", "https://a/keys,https://b/keys")];
    let summary = settings_with("general_settings: {enable_jwt_auth: true}", &variables).summary();
    let line = "issuer of any name: any audience, keys from https://a/keys and https://b/keys, every algorithm with a public key";
    assert!(summary.iter().any(|shown| shown == line), "{summary:?}");
    assert!(!settings("").summary().iter().any(|line| line.contains("token")), "nothing is said where none is taken");
}

#[test]
fn who_is_asked_about_opaque_tokens() {
    let text = "\
general_settings:
  enable_jwt_auth: true
  litellm_jwtauth:
    user_id_jwt_field: sub
    oidc_userinfo_enabled: true
    oidc_userinfo_endpoint: https://a/me
    oidc_userinfo_cache_ttl: 3600
portcullis:
  jwt:
    introspection:
    - {url: 'https://b/introspect', client_id: me, client_secret: s, issuer: 'https://b', audiences: [x], cache_ttl: 5, claims: {user_id_jwt_field: u}}
    - {url: 'https://c/me', kind: userinfo}
";
    let loaded = load_with(text, &[]).unwrap();
    let jwt = loaded.settings.jwt.unwrap();
    let rules = |user| ClaimRules { user_id: claim(user), ..ClaimRules::default() };
    let client = OpaqueKind::Introspection { client_id: "me".to_owned(), client_secret: "s".into() };
    let userinfo = |url: &str, cache_ttl| OpaqueSettings {
        url: url.parse().unwrap(),
        kind: OpaqueKind::Userinfo,
        issuer: None,
        audiences: Vec::new(),
        cache_ttl,
        claims: rules("sub"),
    };
    let introspection = OpaqueSettings {
        url: "https://b/introspect".parse().unwrap(),
        kind: client,
        issuer: Some("https://b".to_owned()),
        audiences: texts(&["x"]),
        cache_ttl: seconds(5),
        claims: rules("u"),
    };
    let capped = userinfo("https://a/me", seconds(300));
    assert_eq!(jwt.opaque, [introspection, userinfo("https://c/me", seconds(60)), capped]);
    let [notice] = loaded.notices.as_slice() else { panic!("{:?}", loaded.notices) };
    assert!(notice.contains("oidc_userinfo_cache_ttl: an answer is remembered for 300 s at most"), "{notice}");
}

/// LiteLLM's `enable_oauth2_auth`: by the word in the address, and without management whatever the answer says.
#[test]
fn litellms_oauth2_is_all_in_variables() {
    let text = "general_settings: {enable_oauth2_auth: true}";
    let client = [("OAUTH_CLIENT_ID", "me"), ("OAUTH_CLIENT_SECRET", "s")];
    let endpoint = ("OAUTH_TOKEN_INFO_ENDPOINT", "https://a/Introspect");
    let jwt = jwt_with(text, &[endpoint, client[0], client[1]]);
    let [server] = jwt.opaque.as_slice() else { panic!("{jwt:?}") };
    let asked = OpaqueKind::Introspection { client_id: "me".to_owned(), client_secret: "s".into() };
    assert_eq!((&server.kind, server.cache_ttl), (&asked, seconds(60)));
    let claims = &server.claims;
    assert_eq!((&claims.user_id, &claims.team_ids, &claims.team_id), (&claim("sub"), &claim("team_id"), &None));
    let (role, mapped) = claims.roles.as_ref().unwrap();
    assert_eq!(Some(role), claim("role").as_ref());
    assert!(mapped.iter().all(|(_, role)| *role < Role::AdminViewer), "{mapped:?}");
    assert!(claims.enrol_users && claims.admin_scope.is_empty());
    assert!(!claims.admin_routes.allows_management_route("/key/generate"));

    let fields = [
        ("OAUTH_TOKEN_INFO_ENDPOINT", "https://a/tokeninfo"),
        ("OAUTH_USER_ID_FIELD_NAME", "uid"),
        ("OAUTH_USER_ROLE_FIELD_NAME", "r"),
        ("OAUTH_USER_TEAM_ID_FIELD_NAME", "t"),
        client[0],
    ];
    let loaded = load_with(text, &fields).unwrap();
    assert!(loaded.notices[0].starts_with("OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET are not used"), "{loaded:?}");
    let server = &loaded.settings.jwt.unwrap().opaque[0];
    assert_eq!(server.kind, OpaqueKind::Userinfo);
    assert_eq!((&server.claims.user_id, &server.claims.team_ids), (&claim("uid"), &claim("t")));
}
