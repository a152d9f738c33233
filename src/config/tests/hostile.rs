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

/// Bytes of real files, mangled: whatever comes out, reading ends with settings or with mistakes.
#[test]
fn mangled_files_never_panic() {
    let seeds: Vec<Vec<u8>> = ["quickstart.yaml", "production.yaml", "litellm-migration.yaml"]
        .map(|name| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap())
        .into();
    let tokens: [&[u8]; 20] = [
        b"&a ",
        b"*a",
        b"<<: ",
        b"- ",
        b"? ",
        b": ",
        b"[",
        b"]",
        b"{",
        b"}",
        b"'",
        b"\"",
        b"|\n",
        b">-\n",
        b"!!str ",
        b"---\n",
        b"\t",
        b"\n",
        b"#",
        b"\xf0\x9f\x98\x80",
    ];
    // xorshift: the same bytes on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for _ in 0..300 {
        let mut bytes = seeds[below(seeds.len())].clone();
        for _ in 0..=below(8) {
            let at = below(bytes.len().max(1)).min(bytes.len());
            match below(4) {
                0 => drop(bytes.splice(at..at, tokens[below(tokens.len())].iter().copied())),
                1 => drop(bytes.drain(at..(at + 1 + below(20)).min(bytes.len()))),
                2 if at < bytes.len() => bytes[at] = b' ' + below(95) as u8,
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let loaded = Settings::from_text("mangled", &text, &Overrides::default(), &|_| Some("x".to_owned()));
        let shown = loaded.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(shown.lines().all(|line| line.len() < 2_000 && !line.contains('\u{1b}')), "{shown}");
    }
}
