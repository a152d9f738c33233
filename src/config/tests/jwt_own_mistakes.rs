//! Tokens: the mistakes of our own keys, and hostile values of them.

use super::jwt_mistakes::only;
use super::*;

/// In one issuer of `portcullis.jwt`, beside a name.
fn of_issuer(keys: &str) -> String {
    only(&format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', {keys}}}]}}}}"), &[])
}

#[test]
fn each_mistake_of_an_issuer_is_named() {
    const SECRET: &str = "secret: 0123456789abcdef0123456789abcdef";
    let secret_with = |algorithms: &str| format!("audience: x, {SECRET}, algorithms: {algorithms}");
    for (keys, message) in [
        ("audiences: x, audience: y", "audience (config.yaml:1:76): beside audiences: keep one of the two"),
        ("audiences: []", "audiences (config.yaml:1:63): is empty"),
        ("key_set_url: 'https://b'", "audience (config.yaml:1:30): is missing: for whom are the tokens?"),
        ("audience: x, key_url: 'https://b'", "key_url (config.yaml:1:65): unknown key"),
        ("audience: x, key_set_url: b", "key_set_url (config.yaml:1:78): expected an address such as"),
        ("audience: x, key_set_url: ''", "key_set_url (config.yaml:1:78): is empty"),
        ("audience: x, key_set_url: []", "key_set_url (config.yaml:1:78): is empty"),
        (
            "audience: x, key_set_url: ['https://b', 'https://u@c']",
            "key_set_url[1] (config.yaml:1:92): holds a user or a",
        ),
        (
            "audience: x, discovery_url: 'https://b/keys'",
            "discovery_url (config.yaml:1:80): expected an address that ends in /.well-known/openid-configuration",
        ),
        (
            "audience: x, key_set_url: 'https://b', pem: c",
            "pem (config.yaml:1:96): a second source of keys: keep key_set_url or pem",
        ),
        (
            "audience: x, secret: a, key_set_file: b",
            "secret (config.yaml:1:73): a second source of keys: keep key_set_file or secret",
        ),
        ("audience: x, key_set: '{'", "key_set (config.yaml:1:74): "),
        ("audience: x, key_set: {keys: []}", "key_set (config.yaml:1:74): "),
        ("audience: x, pem: abc", "pem (config.yaml:1:70): "),
        ("audience: x, pem: ''", "pem (config.yaml:1:70): is empty"),
        ("audience: x, pem_file: gone.pem", "pem_file (config.yaml:1:75): the file cannot be read: "),
        (
            "audience: x, secret: short",
            "secret (config.yaml:1:73): shorter than 32 bytes, the least for these algorithms",
        ),
        ("audience: x, secret: ''", "secret (config.yaml:1:73): is empty"),
        ("audience: x, secret: os.environ/NOPE", "secret (config.yaml:1:73): environment variable NOPE is not set"),
        (
            "audience: x, secret: '-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYI'",
            "secret (config.yaml:1:73): is a key in PEM and no secret: whoever has the public key could sign",
        ),
        (&secret_with("[HS384]"), "secret (config.yaml:1:73): shorter than 48 bytes, the least for these algorithms"),
        (&secret_with("[HS512, HS256]"), "secret (config.yaml:1:73): shorter than 64 bytes"),
        (
            &secret_with("[HS256, RS256]"),
            "algorithms (config.yaml:1:107): with secret only HS256, HS384 and HS512 count",
        ),
        (
            "audience: x, key_set_url: 'https://b', algorithms: [RS256, HS256]",
            "algorithms (config.yaml:1:91): HS256, HS384 and HS512 need a secret: a public key is none",
        ),
        ("audience: x, algorithms: HS512", "algorithms (config.yaml:1:65): HS256, HS384 and HS512 need a secret"),
        ("audience: x, algorithms: []", "algorithms (config.yaml:1:77): is empty"),
        ("audience: x, algorithms: [none]", "algorithms[0] (config.yaml:1:78): not a signature algorithm"),
        ("audience: x, algorithms: [rs256]", "algorithms[0] (config.yaml:1:78): not a signature algorithm"),
        ("audience: x, leeway: 301", "leeway (config.yaml:1:73): expected a time from 0 to 300 seconds"),
        ("audience: x, max_age: 0", "max_age (config.yaml:1:74): expected a time from 1 to 31536000 seconds"),
        ("audience: x, required_claims: [a..b]", "required_claims[0] (config.yaml:1:83): expected the name of a claim"),
        ("audience: x, token_types: []", "token_types (config.yaml:1:78): is empty"),
        (
            "audience: x, claims: {user_allowed_email_domain: b}",
            "claims.user_email_jwt_field (config.yaml:1:73): is missing: user_allowed_email_domain needs it",
        ),
        (
            "audience: x, claims: {object_id_jwt_field: b}",
            "claims.role_mappings (config.yaml:1:73): is missing: object_id_jwt_field needs it, and roles_jwt_field",
        ),
        (
            "audience: x, claims: {custom_validate: a.b}",
            "claims.custom_validate (config.yaml:1:74): decides who is let in",
        ),
        ("audience: x, claims: {issuers: []}", "claims.issuers (config.yaml:1:74): unknown key"),
    ] {
        let (found, message) = (of_issuer(keys), format!("portcullis.jwt.issuers[0].{message}"));
        assert!(found.starts_with(&message), "{keys}\nexpected {message}\nfound    {found}");
    }
}

#[test]
fn each_mistake_of_our_own_keys_is_named() {
    for (keys, message) in [
        ("jwt: {issuer: x}", "jwt.issuer (config.yaml:1:20): unknown key; did you mean issuers?"),
        ("jwt: {issuers: [{audience: x}]}", "jwt.issuers[0].issuer (config.yaml:1:30): is missing"),
        (
            "jwt: {issuers: [{issuer: accounts.example.com, audience: x}]}",
            "jwt.issuers[0].issuer (config.yaml:1:31): is no address at which keys could be found: say where they are",
        ),
        (
            "jwt: {issuers: [{issuer: ' https://a', audience: x}]}",
            "jwt.issuers[0].issuer (config.yaml:1:39): begins or ends with white space or holds a control character",
        ),
        ("jwt: {issuers: 'https://a'}", "jwt.issuers (config.yaml:1:29): expected a list, found a single value"),
        ("jwt: {introspection: [{kind: userinfo}]}", "jwt.introspection[0].url (config.yaml:1:36): is missing"),
        (
            "jwt: {introspection: [{url: 'https://a', client_secret: x}]}",
            "jwt.introspection[0].client_id (config.yaml:1:36): is missing: introspection needs it",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', client_id: x}]}",
            "jwt.introspection[0].client_secret (config.yaml:1:36): is missing: introspection needs it",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', client_id: x, client_secret: os.environ/NOPE}]}",
            "jwt.introspection[0].client_secret (config.yaml:1:84): environment variable NOPE is not set",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', kind: userinfo, client_id: x, client_secret: y}]}",
            "jwt.introspection[0].client_id (config.yaml:1:71): is not used with userinfo",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', kind: userinfo, audience: x}]}",
            "jwt.introspection[0].kind (config.yaml:1:55): userinfo does not say for whom a token is",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', kind: magic, client_id: x, client_secret: y}]}",
            "jwt.introspection[0].kind (config.yaml:1:61): expected one of introspection, userinfo",
        ),
        (
            "jwt: {introspection: [{url: 'https://a', kind: userinfo, cache_ttl: 301}]}",
            "jwt.introspection[0].cache_ttl (config.yaml:1:82): expected a time from 0 to 300 seconds",
        ),
        ("jwt: {cache_size: 0}", "jwt.cache_size (config.yaml:1:32): expected a whole number from 1 to 10000000"),
        ("jwt: {cache_ttl: 3601}", "jwt.cache_ttl (config.yaml:1:31): expected a time from 0 to 3600 seconds"),
        ("jwt: {key_set_ttl: 0}", "jwt.key_set_ttl (config.yaml:1:33): expected a time from 1 to 86400 seconds"),
        ("jwt: {max_stale: 90000}", "jwt.max_stale (config.yaml:1:31): expected a time from 0 to 86400 seconds"),
        ("jwt: {refresh_cooldown: 0}", "jwt.refresh_cooldown (config.yaml:1:38): expected a time from 1 to 3600"),
        ("jwt: {deny_list: maybe}", "jwt.deny_list (config.yaml:1:31): expected one of required, best_effort"),
        ("jwt: {dpop: {max_age: 301}}", "jwt.dpop.max_age (config.yaml:1:36): expected a time from 1 to 300 seconds"),
        ("jwt: {dpop: {age: 1}}", "jwt.dpop.age (config.yaml:1:27): unknown key"),
        ("public_urls: [llm.example.com]", "public_urls[0] (config.yaml:1:28): expected an address such as"),
    ] {
        let (found, message) = (only(&format!("portcullis: {{{keys}}}"), &[]), format!("portcullis.{message}"));
        assert!(found.starts_with(&message), "{keys}\nexpected {message}\nfound    {found}");
    }
}

/// What is wrong at one place must not make right keys beside it unknown ones.
#[test]
fn every_mistake_of_an_entry_is_reported_and_no_other() {
    let text = "\
portcullis:
  jwt:
    issuers:
    - {issuer: '', audience: x, pem: a, algorithms: [x], leeway: x, claims: {user_id_jwt_field: .}}
    introspection:
    - {url: x, kind: x, client_id: '', issuer: ' x', audience: [], cache_ttl: x, claims: {team_id_upsert: x}}
";
    let found = mistakes(text);
    assert!(found.iter().all(|line| !line.contains("unknown key")), "{found:#?}");
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn a_file_of_keys_is_read_within_bounds() {
    let folder = Folder::new();
    folder.write("keys.json", &" ".repeat((1 << 20) + 1));
    fs::write(folder.0.join("key.pem"), b"\xff\xfe").unwrap();
    for (keys, message) in [
        ("key_set_file: keys.json", "the file is larger than 1048576 bytes"),
        ("pem_file: key.pem", "the file cannot be read: "),
        ("pem_file: .", "the file cannot be read: "),
    ] {
        let text = format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, {keys}}}]}}}}");
        folder.write("config.yaml", &text);
        let found = folder.load(&[]).unwrap_err();
        assert!(found.len() == 1 && found[0].contains(message), "{found:?}");
    }
}

#[test]
fn hostile_values_of_tokens_are_refused_within_bounds() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!("portcullis: {{jwt: {{issuers: [{{issuer: '{long}', audience: x}}]}}}}"),
        format!(
            "portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, key_set_url: 'https://{long}'}}]}}}}"
        ),
        format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, key_set: '{long}'}}]}}}}"),
        format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, pem_file: '{long}'}}]}}}}"),
        format!("portcullis: {{jwt: {{issuers: [{{issuer: 'https://a', audience: x, algorithms: ['{long}']}}]}}}}"),
        "portcullis: {jwt: {issuers: [{issuer: \"https://a\\e[2J\", audience: x}]}}".to_owned(),
    ] {
        let found = mistakes(&text).join("\n");
        assert!(found.len() < 500 && !found.contains('\u{1b}'), "{} bytes", found.len());
    }
    let many: String = (0..2_000).map(|n| format!("    - {{issuer: 'https://{n}', audience: x}}\n")).collect();
    let jwt = settings(&format!("portcullis:\n  jwt:\n    issuers:\n{many}")).jwt.unwrap();
    assert_eq!(jwt.issuers.len(), 2_000);
}

/// As `hostile::no_secret_is_printed`, at the places of this part.
#[test]
fn no_secret_of_tokens_is_printed() {
    const SECRET: &str = "sEcReT";
    let sound = "\
general_settings: {enable_oauth2_auth: true}
portcullis:
  jwt:
    issuers: [{issuer: 'https://a', audience: x, secret: sEcReT-0123456789abcdef-0123456789}]
    introspection: [{url: 'https://b', client_id: me, client_secret: sEcReT}]
";
    let variables = [
        ("OAUTH_TOKEN_INFO_ENDPOINT", "https://c/introspect"),
        ("OAUTH_CLIENT_ID", "me"),
        ("OAUTH_CLIENT_SECRET", SECRET),
    ];
    let loaded = load_with(sound, &variables).unwrap();
    let shown = format!("{loaded:?}\n{}", loaded.settings.summary().join("\n"));
    assert!(shown.contains("https://c/introspect") && !shown.contains(SECRET), "{shown}");

    let wrong = "\
general_settings:
  enable_jwt_auth: true
  enable_oauth2_auth: sEcReT
  enforce_rbac: sEcReT
  role_permissions: [{role: sEcReT, models: {a: sEcReT}, routes: [sEcReT]}]
  litellm_jwtauth:
    user_id_jwt_field: 'sEcReT..'
    user_allowed_email_domain: sEcReT@sEcReT
    team_allowed_routes: [sEcReT]
    custom_validate: sEcReT
    unknown: sEcReT
    issuers: [sEcReT, {issuer: sEcReT, jwks_url: 'https://sEcReT@h', audience: {a: sEcReT}}]
portcullis:
  public_urls: ['https://sEcReT@h#?']
  jwt:
    deny_list: sEcReT
    issuers:
    - {issuer: 'https://a', audience: x, secret: sEcReT, algorithms: [sEcReT]}
    - {issuer: 'https://b', audience: x, key_set: sEcReT}
    - {issuer: 'https://c', audience: x, pem: sEcReT}
    - {issuer: 'https://d', audience: x, pem_file: sEcReT}
    introspection: [{url: 'https://u:sEcReT@h', client_id: a, client_secret: [sEcReT]}]
";
    let found = mistakes_with(wrong, &[("JWT_PUBLIC_KEY_URL", "https://sEcReT@h"), ("OAUTH_CLIENT_SECRET", SECRET)]);
    assert!(found.len() >= 20, "{found:#?}");
    assert!(!found.join("\n").contains(SECRET), "{found:#?}");
}
