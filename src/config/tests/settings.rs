//! What is read: each documented key has the effect that it is documented to have.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::store::StoreUrl;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nothing_configured_is_the_zero_configuration() {
    for text in ["", "{}", "# nothing\n", "null"] {
        let loaded = load_with(text, &[]).unwrap();
        let settings = loaded.settings;
        assert!(loaded.warnings.is_empty() && loaded.notices.is_empty());
        assert_eq!(settings.listen.data.to_string(), "0.0.0.0:4000");
        assert_eq!(settings.listen.admin.unwrap().to_string(), "127.0.0.1:4001");
        assert!(settings.listen.admin_on_data && settings.listen.tls.is_none());
        assert!(settings.master_keys.is_empty());
        assert_eq!(settings.store, StoreSettings::new(StoreUrl::parse("sqlite://portcullis.db").unwrap()));
        assert_eq!(settings.cache, CacheSettings::default());
        assert_eq!(settings.slots, SlotSettings::default());
        assert_eq!(settings.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["mock"]);
        assert!(settings.pass_through.is_empty());
        assert_eq!(settings.http.head_timeout, seconds(10));
        assert_eq!(settings.http.max_body_bytes, 100 << 20);
        assert!(settings.telemetry.metrics_need_key);
        assert!(settings.keys.allow_custom_keys && settings.keys.generated_bytes == 16);
    }
}

#[test]
fn every_key_of_our_own_is_honoured() {
    let settings = settings(
        "\
general_settings: {trusted_proxy_ranges: [10.0.0.0/8]}
portcullis:
  listen: {data: '[::1]:8443', admin: off, admin_on_data: no, tls: {cert: tls/a.pem, key: /etc/a.key}}
  threads: 3
  master_keys: [sk-one, sk-two, sk-one]
  additional_key_headers: [X-Team-Key, x-other]
  client_certificate_header: Client-Cert
  store: {lookup_timeout: 500ms}
  cache: {unknown_ttl: 1, max_unknown: 2, max_stale: 0}
  http: {head_timeout: 1, max_head_size: 64KiB, max_headers: 50, body_timeout: 2m, max_buffered_size: 1GiB, keep_alive: 5, max_connections: 7, stop_timeout: 1h}
  telemetry: {log_format: json, log_level: warn}
",
    );
    assert_eq!(settings.listen.data.to_string(), "[::1]:8443");
    assert_eq!(settings.listen.admin, None);
    assert!(!settings.listen.admin_on_data);
    let tls = settings.listen.tls.unwrap();
    assert!(tls.cert.ends_with("tls/a.pem") && tls.cert.is_absolute(), "relative to the file: {:?}", tls.cert);
    assert_eq!(tls.key, Path::new("/etc/a.key"));
    assert_eq!(settings.listen.threads, 3);
    assert_eq!(settings.master_keys.iter().map(Secret::expose).collect::<Vec<_>>(), ["sk-one", "sk-two"]);
    assert_eq!(settings.slots.additional_headers, ["x-team-key", "x-other"]);
    assert_eq!(settings.slots.certificate_header.unwrap(), "client-cert");
    assert_eq!(
        (settings.cache.unknown_ttl, settings.cache.max_unknown, settings.cache.max_stale),
        (seconds(1), 2, seconds(0))
    );
    assert_eq!(settings.store.lookup_timeout, Duration::from_millis(500));
    let expected = HttpSettings {
        head_timeout: seconds(1),
        max_head_bytes: 65536,
        max_headers: 50,
        max_body_bytes: 100 << 20,
        body_timeout: seconds(120),
        max_buffered_bytes: 1 << 30,
        keep_alive: seconds(5),
        max_connections: 7,
        stop_timeout: seconds(3600),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
    };
    assert_eq!(settings.http, expected);
    assert_eq!(settings.telemetry.log_format, LogFormat::Json);
    assert_eq!(settings.telemetry.log_level, LevelFilter::WARN);
}

#[test]
fn every_honoured_key_of_litellm_is_honoured() {
    let settings = settings(
        "\
general_settings:
  database_connection_pool_limit: 3
  database_connect_timeout: 5
  database_socket_timeout: 6
  user_api_key_cache_ttl: 7
  user_api_key_cache_max_size: 8
  litellm_key_header_name: X-Litellm-Key
  allowed_routes: [/v1/models]
  disable_custom_api_keys: True
  max_request_size_mb: 9
  trusted_proxy_ranges: [10.0.0.0/8, '::1']
litellm_settings:
  json_logs: true
  require_auth_for_metrics_endpoint: false
  num_retries: 99
  request_timeout: 10
  default_key_generate_params: {models: [a], max_budget: 1.5, duration: null, metadata: {on: yes}}
  upperbound_key_generate_params: {max_budget: 100, duration: 30d}
router_settings:
  num_retries: 0
  allowed_fails: 11
  cooldown_time: 12
  model_group_alias: {gpt-4: gpt-4o, old: {model: gpt-4o, hidden: true}}
",
    );
    let store = settings.store;
    assert_eq!((store.pool_size, store.connect_timeout, store.admin_timeout), (3, seconds(5), seconds(6)));
    assert_eq!((settings.cache.ttl, settings.cache.max_keys), (seconds(7), 8));
    assert_eq!(settings.slots.key_header.unwrap(), "x-litellm-key");
    let models = portcullis_filters::path::CanonicalPath::parse("/v1/models").unwrap();
    assert_eq!(settings.open_paths, OpenPaths::only([models]));
    assert_eq!(settings.http.max_body_bytes, 9 << 20);
    assert_eq!(settings.http.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    assert_eq!(settings.telemetry.log_format, LogFormat::Json);
    assert!(!settings.telemetry.metrics_need_key);
    assert_eq!((settings.routing.num_retries, settings.routing.allowed_fails), (0, 11));
    assert_eq!((settings.routing.cooldown, settings.routing.timeout), (seconds(12), seconds(10)));
    let alias = |model: &str, hidden| Alias { model: model.to_owned(), hidden };
    assert_eq!(settings.routing.aliases["gpt-4"], alias("gpt-4o", false));
    assert_eq!(settings.routing.aliases["old"], alias("gpt-4o", true));
    assert!(!settings.keys.allow_custom_keys);
    let defaults = json!({"models": ["a"], "max_budget": 1.5, "metadata": {"on": true}});
    assert_eq!(json!(settings.keys.defaults), defaults);
    assert_eq!(json!(settings.keys.upper_bounds), json!({"max_budget": 100, "duration": "30d"}));
}

#[test]
fn models_are_split_and_find_their_address_and_key() {
    let variables = [
        ("OPENAI_API_KEY", "sk-o"),
        ("GROQ_API_KEY", "gsk"),
        ("AZURE_API_VERSION", "2024-10-21"),
        ("OLLAMA_API_BASE", "http://ollama:11434/"),
        ("EMPTY", ""),
    ];
    for (params, provider, model, base, key) in [
        ("{model: gpt-4o}", "openai", "gpt-4o", Some("https://api.openai.com/v1"), Some("sk-o")),
        ("{model: openai/gpt-4o, api_key: k}", "openai", "gpt-4o", Some("https://api.openai.com/v1"), Some("k")),
        ("{model: openai/*}", "openai", "*", Some("https://api.openai.com/v1"), Some("sk-o")),
        ("{model: claude-sonnet-4-5}", "anthropic", "claude-sonnet-4-5", Some("https://api.anthropic.com/"), None),
        (
            "{model: azure/d, api_base: 'https://x.openai.azure.com/'}",
            "azure",
            "d",
            Some("https://x.openai.azure.com/"),
            None,
        ),
        ("{model: groq/a/b}", "groq", "a/b", Some("https://api.groq.com/openai/v1"), Some("gsk")),
        ("{model: ollama/llama3}", "ollama", "llama3", Some("http://ollama:11434/v1"), None),
        (
            "{model: hosted_vllm/m, api_base: 'http://10.0.0.1:8000/v1/'}",
            "hosted_vllm",
            "m",
            Some("http://10.0.0.1:8000/v1"),
            None,
        ),
        (
            "{model: meta/llama, custom_llm_provider: openai}",
            "openai",
            "meta/llama",
            Some("https://api.openai.com/v1"),
            Some("sk-o"),
        ),
        ("{model: mock/x}", "mock", "x", None, None),
        (
            "{model: groq/a, api_key: os.environ/EMPTY}",
            "groq",
            "a",
            Some("https://api.groq.com/openai/v1"),
            Some("gsk"),
        ),
    ] {
        let text = format!("model_list: [{{model_name: m, litellm_params: {params}}}]");
        let settings = settings_with(&text, &variables);
        let [found] = settings.models.as_slice() else { panic!("{params}") };
        assert_eq!((found.provider.name, found.model.as_str()), (provider, model), "{params}");
        assert_eq!(found.api_base.as_ref().map(url::Url::as_str), base, "{params}");
        assert_eq!(found.api_key.as_ref().map(Secret::expose), key, "{params}");
        assert_eq!(found.api_version.as_deref(), (provider == "azure").then_some("2024-10-21"), "{params}");
        assert!(found.origin.ends_with("config.yaml:1:14"), "{}", found.origin);
    }
}

#[test]
fn the_rest_of_a_deployment() {
    let settings = settings(
        "\
model_list:
- model_name: m
  litellm_params: {model: openai/a, organization: org, weight: 0, timeout: 5, api_version: 2024-02-01}
  model_info: {id: x, access_groups: [beta, 2], whatever: 1}
",
    );
    let model = &settings.models[0];
    assert_eq!(model.organization.as_deref(), Some("org"));
    assert_eq!((model.weight, model.timeout), (0, Some(seconds(5))));
    assert_eq!(model.api_version.as_deref(), Some("2024-02-01"));
    assert_eq!(model.access_groups, ["beta", "2"]);
}

#[test]
fn without_a_list_the_environment_decides_which_models_there_are() {
    let variables = [
        ("OPENAI_API_KEY", "sk-o"),
        ("OPENAI_BASE_URL", "https://eu.api.openai.com/v1"),
        ("GOOGLE_API_KEY", "g"),
        ("AZURE_API_KEY", "a"),
    ];
    let loaded = load_with("", &variables).unwrap();
    let find = |name: &str| loaded.settings.models.iter().find(|model| model.name == name).unwrap();
    assert_eq!(find("gpt-*").api_base.as_ref().unwrap().as_str(), "https://eu.api.openai.com/v1");
    assert_eq!((find("gpt-*").model.as_str(), find("openai/*").model.as_str()), ("gpt-*", "*"));
    assert_eq!(find("gemini-*").api_key, Some(Secret::from("g")));
    assert_eq!(find("mock").provider.kind, ProviderKind::Mock);
    assert!(loaded.settings.models.iter().all(|model| model.provider.kind != ProviderKind::Azure));
    assert_eq!(loaded.notices, ["AZURE_API_KEY is set, but no address"]);
    let prefixes: Vec<_> =
        loaded.settings.pass_through.iter().map(|p| (p.provider.name, p.api_base.as_str())).collect();
    assert_eq!(
        prefixes,
        [("openai", "https://eu.api.openai.com/v1"), ("gemini", "https://generativelanguage.googleapis.com/")]
    );

    let starred = settings_with("model_list: [{model_name: '*', litellm_params: {model: '*'}}]", &variables);
    assert_eq!(starred.models, loaded.settings.models[1..], "the same without the mock");
    let listed = settings_with("model_list: []", &variables);
    assert!(listed.models.is_empty(), "a list, even an empty one, is the whole list");
}

#[test]
fn values_may_stand_in_the_environment_or_in_a_file() {
    let folder = Folder::new();
    let secret = folder.write("master", "sk-from-file-0123456789\n");
    folder.write(
        "config.yaml",
        &format!(
            "environment_variables: {{DATABASE_URL: 'sqlite://own.db', FLAG: true, CHAIN: os.environ/REAL}}\n\
             general_settings:\n  master_key: file:{}\n  disable_custom_api_keys: os.environ/FLAG\n  \
             user_api_key_cache_ttl: os.environ/TTL\n  litellm_key_header_name: os.environ/CHAIN\n",
            secret.display()
        ),
    );
    let settings =
        folder.load(&[("TTL", "30"), ("DATABASE_URL", "sqlite://other.db"), ("REAL", "X-Real")]).unwrap().settings;
    assert_eq!(settings.master_keys, [Secret::from("sk-from-file-0123456789")]);
    assert_eq!(settings.store.url, StoreUrl::parse("sqlite://own.db").unwrap());
    assert!(!settings.keys.allow_custom_keys);
    assert_eq!(settings.cache.ttl, seconds(30));
    assert_eq!(settings.slots.key_header.unwrap(), "x-real");
}

#[test]
fn variables_have_litellms_effect() {
    let settings = settings_with(
        "",
        &[
            ("LITELLM_MASTER_KEY", "sk-0123456789abcdef"),
            ("DATABASE_HOST", "db:5433"),
            ("DATABASE_USERNAME", "u"),
            ("DATABASE_PASSWORD", "p@/w"),
            ("DATABASE_NAME", "keys"),
            ("DISABLE_ADMIN_ENDPOINTS", "True"),
            ("LITELLM_LOG", "DEBUG"),
            ("LENGTH_OF_LITELLM_GENERATED_KEY", "32"),
            ("MINIMUM_CUSTOM_KEY_LENGTH", "20"),
            ("DISABLE_KEY_NAME", "true"),
            ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "24h"),
        ],
    );
    assert_eq!(settings.master_keys.len(), 1);
    assert_eq!(settings.store.url, StoreUrl::parse("postgresql://u:p%40%2Fw@db:5433/keys").unwrap());
    assert!(!settings.listen.admin_on_data);
    assert_eq!(settings.telemetry.log_level, LevelFilter::DEBUG);
    assert_eq!((settings.keys.generated_bytes, settings.keys.min_custom_length), (32, 20));
    assert!(!settings.keys.keep_key_name);
    assert_eq!(settings.keys.rotation_grace, seconds(86_400));
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        host: Some("::1".to_owned()),
        port: Some(0),
        threads: Some(2),
        log_level: Some(LevelFilter::TRACE),
    };
    let environment = |name: &str| (name == "LITELLM_LOG").then(|| "error".to_owned());
    let settings = Settings::load(None, &overrides, &environment).unwrap().settings;
    assert_eq!(settings.listen.data.to_string(), "[::1]:0");
    assert_eq!(settings.listen.threads, 2);
    assert_eq!(settings.telemetry.log_level, LevelFilter::TRACE);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let folder = Folder::new();
    let path = folder.write("x.yaml", "portcullis: {threads: 5}");
    let environment = |name: &str| (name == "PORTCULLIS_CONFIG").then(|| path.display().to_string());
    let settings = Settings::load(None, &Overrides::default(), &environment).unwrap().settings;
    assert_eq!(settings.listen.threads, 5);
}

#[test]
fn anchors_and_merge_keys_work_as_in_pyyaml() {
    let settings = settings(
        "\
model_list:
- &first
  model_name: a
  litellm_params: &params {model: openai/a, api_key: k, weight: 2}
- model_name: b
  litellm_params: {<<: *params, model: openai/b}
- <<: [{model_name: c}, *first]
",
    );
    let models: Vec<_> = settings.models.iter().map(|m| (m.name.as_str(), m.model.as_str(), m.weight)).collect();
    assert_eq!(models, [("a", "a", 2), ("b", "b", 2), ("c", "a", 2)]);
    assert!(settings.models.iter().all(|model| model.api_key == Some(Secret::from("k"))));
}

#[test]
fn weak_keys_and_plain_http_are_warned_of() {
    for (text, expected) in [
        ("general_settings: {master_key: sk-1234}", Some("general_settings.master_key: this master key is weak")),
        ("general_settings: {master_key: sk-aaaaaaaaaaaaaaaaaaaaaaaa}", Some("general_settings.master_key: ")),
        ("general_settings: {master_key: sk-3f9a8c7e6d5b4a3f}", None),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: 'http://api.example.com/v1'}}]",
            Some("config.yaml:1:14: api_base is plain http"),
        ),
        ("model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: 'http://192.168.1.2/v1'}}]", None),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: 'http://llm.default.svc/v1'}}]",
            None,
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_key: os.environ/GONE}}]",
            Some("environment variable GONE is not set"),
        ),
    ] {
        let warnings = load_with(text, &[]).unwrap().warnings;
        match expected {
            Some(expected) => assert!(warnings.len() == 1 && warnings[0].contains(expected), "{text}: {warnings:?}"),
            None => assert!(warnings.is_empty(), "{text}: {warnings:?}"),
        }
    }
}
