//! Custom authentication: what the keys mean, and what stops the start.

use std::time::Duration;

use portcullis_filters::authn::custom::{Facet, Mode};

use super::*;

fn by(text: &str, variables: &[(&str, &str)]) -> CustomAuthSettings {
    load_with(text, variables).unwrap().settings.custom_auth.unwrap()
}

fn python(text: &str, variables: &[(&str, &str)]) -> PythonSettings {
    match by(text, variables).by {
        CustomAuthBy::Python(settings) => settings,
        CustomAuthBy::Hook(_) => panic!("a function"),
    }
}

fn hook(lines: &str) -> HookSettings {
    match by(&format!("portcullis: {{custom_auth: {{hook: {{{lines}}}}}}}"), &[]).by {
        CustomAuthBy::Hook(settings) => settings,
        CustomAuthBy::Python(_) => panic!("a hook"),
    }
}

#[test]
fn a_function_gets_what_the_file_says() {
    let usual = python("general_settings: {custom_auth: custom_auth.user_api_key_auth}", &[]);
    assert_eq!(
        (usual.handler.as_str(), usual.workers, usual.timeout),
        ("custom_auth.user_api_key_auth", 2, Duration::from_secs(5))
    );
    assert!(usual.environment.is_empty() && !usual.body && usual.keep.is_none());
    let text = "\
general_settings: {custom_auth: auth.rules.decide}
portcullis:
  custom_auth: {python: /opt/py/bin/python, workers: 3, timeout: 250ms, memory: 128MiB, environment: [LDAP_URL, GONE],
    body: true, cache_ttl: 30s, depends_on: [path, 'header:X-Tenant']}
";
    let found = python(text, &[("LDAP_URL", "ldap://secret")]);
    assert_eq!((found.python.as_path(), found.workers), (Path::new("/opt/py/bin/python"), 3));
    assert_eq!((found.timeout, found.memory, found.body), (Duration::from_millis(250), 128 << 20, true));
    assert_eq!(found.environment, [("LDAP_URL".to_owned(), Secret::from("ldap://secret"))]);
    let keep = found.keep.unwrap();
    assert_eq!(
        (keep.ttl, keep.facets),
        (Duration::from_secs(30), vec![Facet::Path, Facet::named("header:x-tenant").unwrap()])
    );
    let warnings = load_with(text, &[("LDAP_URL", "x")]).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("GONE is not set"), "{warnings:?}");
}

#[test]
fn the_mode_is_read_as_yaml_and_people_write_it() {
    for (word, mode) in [
        ("on", Some(Mode::On)),
        ("'on'", Some(Mode::On)),
        ("true", Some(Mode::On)),
        ("auto", Some(Mode::Auto)),
        ("off", None),
        ("'off'", None),
        ("false", None),
    ] {
        let text = format!("general_settings: {{custom_auth: a.b, custom_auth_settings: {{mode: {word}}}}}");
        let loaded = load_with(&text, &[]).unwrap();
        assert_eq!(loaded.settings.custom_auth.map(|custom| custom.chain.mode), mode, "{word}");
        let told = loaded.notices.iter().any(|notice| notice.contains("replaces all other methods"));
        assert_eq!(told, mode == Some(Mode::On), "{word}");
    }
}

#[test]
fn a_hook_gets_what_the_file_says() {
    let found = hook("url: 'https://auth.example.com/decide', form: ext_authz, timeout: 1s, headers: {X-Key: a}");
    assert_eq!(found.address, HookAddress::Url("https://auth.example.com/decide".parse().unwrap()));
    assert_eq!((found.form, found.timeout, found.headers.len()), (HookForm::ExtAuthz, Duration::from_secs(1), 1));
    assert_eq!(hook("url: 'unix:/run/auth.sock'").address, HookAddress::Unix("/run/auth.sock".into()));
    let plain = "portcullis: {custom_auth: {hook: {url: 'http://auth.example.com'}}}";
    let warnings = load_with(plain, &[]).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("every credential can be read"), "{warnings:?}");
}

#[test]
fn what_cannot_be_in_force_stops_the_start() {
    // Path and, behind the bar, sentence.
    for (text, message) in [
        (
            "general_settings: {custom_auth: 's3://bucket/auth.py'}",
            "general_settings.custom_auth|names a file elsewhere",
        ),
        ("general_settings: {custom_auth: function}", "general_settings.custom_auth|expected module.function"),
        ("general_settings: {custom_auth: 'a;b.c'}", "general_settings.custom_auth|expected module.function"),
        (
            "general_settings: {custom_auth: a.b, custom_auth_settings: {mode: sometimes}}",
            "general_settings.custom_auth_settings.mode",
        ),
        ("portcullis: {custom_auth: {keys_first: true}}", "portcullis.custom_auth"),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {keys_first: true}}",
            "portcullis.custom_auth.keys_first|has no meaning here",
        ),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {cache_ttl: 5}}",
            "portcullis.custom_auth.depends_on|is missing",
        ),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {cache_ttl: 5, depends_on: [weather]}}",
            "portcullis.custom_auth.depends_on[0]",
        ),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {timeout: 1ms}}",
            "portcullis.custom_auth.timeout|is shorter than 100 ms",
        ),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {mode: auto}, general: 1}",
            "portcullis.general",
        ),
        (
            "general_settings: {custom_auth: a.b, custom_auth_settings: {mode: auto}}\nportcullis: {custom_auth: {mode: 'on'}}",
            "portcullis.custom_auth.mode|general_settings.custom_auth_settings.mode says something else",
        ),
        (
            "general_settings: {custom_auth: a.b}\nportcullis: {custom_auth: {hook: {url: 'https://a'}}}",
            "portcullis.custom_auth.hook|general_settings.custom_auth is there too",
        ),
        (
            "portcullis: {custom_auth: {hook: {url: 'https://u:p@a'}}}",
            "portcullis.custom_auth.hook.url|holds a user or a password",
        ),
        (
            "portcullis: {custom_auth: {hook: {url: 'ftp://a'}}}",
            "portcullis.custom_auth.hook.url|expected an address that begins with",
        ),
        (
            "portcullis: {custom_auth: {hook: {url: 'unix:relative'}}}",
            "portcullis.custom_auth.hook.url|expected unix:/path",
        ),
        (
            "portcullis: {custom_auth: {hook: {url: 'https://a', form: forward_auth, body: true}}}",
            "portcullis.custom_auth.hook.body",
        ),
        ("portcullis: {custom_auth: {hook: {form: json}}}", "portcullis.custom_auth.hook.url|is missing"),
        ("portcullis: {custom_auth: {hook: {url: 'https://a', workers: 2}}}", "portcullis.custom_auth.hook.workers"),
    ] {
        let found = mistakes_with(text, &[]);
        let (path, sentence) = message.split_once('|').unwrap_or((message, ""));
        let said = |found: &String| found.starts_with(path) && found.contains(sentence);
        assert!(found.iter().any(said), "{text}\nexpected {message}\nfound    {found:#?}");
    }
}
