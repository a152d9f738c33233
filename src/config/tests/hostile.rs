//! Files made to exhaust memory or stack, and the proof that no secret is ever printed.

use super::*;

#[test]
fn hostile_files_are_refused_within_bounds() {
    let aliases = (0..40).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let list = vec![format!("*a{level}"); 10].join(", ");
        format!("{text}a{}: &a{} [{list}]\n", level + 1, level + 1)
    });
    let chain = (0..200).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        format!("{text}a{next}: &a{next} [*a{level}]\n", next = level + 1)
    });
    for (what, text, message) in [
        ("alias bomb", aliases, "aliases make this file too large"),
        ("alias chain", chain, "aliases make this file too large"),
        ("alias to itself", "a: &a [*a]".to_owned(), "an alias to a value that contains it"),
        ("merge of itself", "a: &a {<<: *a}".to_owned(), "an alias to a value that contains it"),
        ("alias to nothing", "a: *b".to_owned(), "not valid YAML"),
        ("deep flow", "[".repeat(200), "nested deeper than 64 levels"),
        ("deeper flow", "[".repeat(100_000), "recursion limit exceeded"),
        ("deep block", "- ".repeat(100_000), "nested deeper than 64 levels"),
        ("deep maps", "? ".repeat(100_000), "nested deeper than 64 levels"),
        ("too large", "#".repeat(document::MAX_BYTES + 1), "larger than 4 MiB"),
        ("many keys", (0..6_000).map(|n| format!("k{n}: 1\n")).collect(), "more than 5000 keys in one mapping"),
        ("keys that are lists", "? [a]\n: b".to_owned(), "a key must be a single word"),
        ("merge of a word", "<<: x".to_owned(), "<< takes a mapping or a list of mappings"),
        ("control characters", "a: \u{1}".to_owned(), ""),
    ] {
        let found = mistakes(&text);
        assert!(found.iter().any(|line| line.contains(message)), "{what}: {:?}", &found[..found.len().min(3)]);
        assert!(found.len() <= 5_001, "{what}: {} messages", found.len());
    }
}

#[test]
fn a_huge_value_is_not_repeated() {
    let found = mistake(&format!("portcullis: {{listen: {{data: {}}}}}", "x".repeat(1 << 20)));
    assert!(found.len() < 200, "{} bytes", found.len());
}

#[test]
fn what_is_not_unicode_is_one_message() {
    let folder = Folder::new();
    fs::write(folder.0.join("config.yaml"), b"a: \xff\xfe").unwrap();
    let found = folder.load(&[]).unwrap_err();
    assert!(found.len() == 1 && found[0].starts_with("config.yaml: cannot be read: "), "{found:?}");
}

/// Secrets at every place that takes one, right and wrong: neither messages, nor `Debug`, nor the summary show one.
#[test]
fn no_secret_is_printed() {
    const SECRET: &str = "sEcReT";
    let sound = "\
environment_variables: {OPENAI_API_KEY: sk-sEcReT-env}
general_settings:
  master_key: sk-sEcReT-master-0123456789
  database_url: postgresql://user:sEcReT@db:5432/keys?application_name=sEcReT
model_list:
- model_name: a
  litellm_params: {model: openai/gpt-4o, api_key: sk-sEcReT, use_in_pass_through: true}
portcullis:
  master_keys: [sEcReT]
";
    let variables = [("LITELLM_MASTER_KEY", "sk-sEcReT"), ("ANTHROPIC_API_KEY", "sk-sEcReT")];
    let loaded = load_with(sound, &variables).unwrap();
    assert_eq!(loaded.settings.master_keys.len(), 2);
    assert_eq!(loaded.settings.pass_through.len(), 2);
    let shown = format!("{loaded:?}\n{}", loaded.settings.summary().join("\n"));
    assert!(shown.contains("db:5432/keys"), "the rest is shown: {shown}");
    assert!(!shown.contains(SECRET), "{shown}");

    let wrong = "\
environment_variables: [sEcReT]
general_settings:
  master_key: ' sEcReT'
  database_url: postgresql://user:sEcReT@db:x/keys
  user_api_key_cache_ttl: sEcReT
  litellm_key_header_name: sEcReT sEcReT
  disable_custom_api_keys: sEcReT
  trusted_proxy_ranges: sEcReT
  custom_auth: sEcReT
  unknown: sEcReT
model_list:
- model_name: a
  litellm_params: {model: openai/a, api_base: 'https://sEcReT@h', azure_ad_token: sEcReT, my_password: sEcReT}
- sEcReT
portcullis:
  master_keys: [file:/nowhere/at/all]
  listen: {data: sEcReT, admin: sEcReT}
  telemetry: {log_level: sEcReT}
litellm_settings: {upperbound_key_generate_params: {max_budget: sEcReT}}
";
    let found = mistakes_with(wrong, &[("LENGTH_OF_LITELLM_GENERATED_KEY", SECRET)]);
    assert!(found.len() >= 18, "{found:#?}");
    assert!(!found.join("\n").contains(SECRET), "{found:#?}");
}

#[test]
fn a_database_password_is_not_shown_for_a_host_or_a_port() {
    for (url, shown) in [
        ("postgresql://u:9876#sEcReT@h/d", "postgresql://h:5432/d"),
        ("postgresql://u:9876@h:1,g:2/d?sslmode=verify-full", "postgresql://h:1,g:2/d"),
        ("sqlite://own.db", "sqlite://own.db"),
    ] {
        assert_eq!(store::shown(&crate::store::StoreUrl::parse(url).unwrap()), shown);
    }
}
