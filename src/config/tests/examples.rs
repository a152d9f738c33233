//! Whole files: the articles' configurations, a large one of LiteLLM's, and every file that operators copy.

use portcullis_filters::authn::custom::Mode;
use portcullis_filters::client_side::BaseRule;
use std::collections::BTreeSet;

use super::*;

fn folder_of_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

#[test]
fn the_articles_first_configuration_starts_with_a_warning() {
    let text = "general_settings:\n  master_key: sk-1234\n  \
                database_url: \"postgresql://postgres:password@127.0.0.1:5432/litellm\"\n";
    let loaded = load_with(text, &[]).unwrap();
    assert_eq!(loaded.settings.master_keys, [Secret::from("sk-1234")]);
    assert_eq!(store::shown(&loaded.settings.store.url), "postgresql://127.0.0.1:5432/litellm");
    assert!(loaded.warnings.len() == 1 && loaded.warnings[0].contains("weak"), "{:?}", loaded.warnings);
    assert!(loaded.notices.is_empty());
}

#[test]
fn the_articles_other_configurations_start_with_a_notice_or_say_what_is_missing() {
    let client_side = "\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      configurable_clientside_auth_params: [\"api_key\", \"api_base\"]
";
    let loaded = load_with(client_side, &[("OPENAI_API_KEY", "k")]).unwrap();
    let rules = &loaded.settings.models[0].client_side;
    assert_eq!((rules.api_key, &rules.api_base, &rules.base_url), (true, &BaseRule::Any, &BaseRule::Never));
    assert_eq!((loaded.notices, loaded.warnings), (vec![], vec![]));

    let sso = "\
model_list:
- model_name: \"openai-model\"
  litellm_params:
    model: \"gpt-3.5-turbo\"
litellm_settings:
  drop_params: True
  set_verbose: True
general_settings:
  custom_sso: custom_sso.custom_sso_handler
";
    let notices = load_with(sso, &[]).unwrap().notices;
    assert_eq!(
        notices,
        [
            "general_settings.custom_sso: sign-in is not part of this version; the handler is not called",
            "not about this product, ignored: litellm_settings.drop_params, litellm_settings.set_verbose",
        ]
    );

    let keycloak = "general_settings:\n  master_key: sk-1234\n  enable_jwt_auth: true\n";
    let keys = ("JWT_PUBLIC_KEY_URL", "http://keycloak:8080/realms/litellm/protocol/openid-connect/certs");
    let warnings = load_with(keycloak, &[keys]).unwrap().warnings;
    assert!(warnings.len() == 2 && warnings[1].contains("JWT_ISSUER and JWT_AUDIENCE are not set"), "{warnings:?}");
    let found = mistake(keycloak);
    assert!(
        found.starts_with("general_settings.enable_jwt_auth (config.yaml:3:3): Missing JWT Public Key URL"),
        "{found}"
    );

    let custom = "general_settings:\n  master_key: sk-1234\n  custom_auth: custom_auth.user_api_key_auth\n";
    let settings = load_with(custom, &[]).unwrap().settings.custom_auth.unwrap();
    assert_eq!(settings.chain.mode, Mode::On);
    let auto = format!("{custom}  custom_auth_settings:\n    mode: \"auto\"\n");
    assert_eq!(load_with(&auto, &[]).unwrap().settings.custom_auth.unwrap().chain.mode, Mode::Auto);
}

#[test]
fn a_large_litellm_configuration_loads_with_one_line_about_the_rest() {
    let text = "\
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://eu.openai.azure.com/
      api_key: os.environ/AZURE_API_KEY
      api_version: \"2024-10-21\"
      rpm: 6
      tpm: 60000
      max_parallel_requests: 10
      stream_timeout: 30
      top_k: 3
    model_info:
      id: azure-eu
      mode: chat
      base_model: azure/gpt-4o
      input_cost_per_token: 0.000005
      supports_vision: true
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, temperature: 0.2, drop_params: true}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY, max_tokens: 4096}

litellm_settings:
  drop_params: True
  num_retries: 3
  request_timeout: 60
  allowed_fails: 3
  callbacks: [\"prometheus\", \"otel\"]
  success_callback: [\"langfuse\"]
  failure_callback: [\"sentry\"]
  cache: True
  cache_params: {type: redis, host: os.environ/REDIS_HOST, port: 6379, namespace: litellm}
  turn_off_message_logging: true
  langfuse_default_tags: [cache_hit]

router_settings:
  routing_strategy: usage-based-routing-v2
  redis_host: localhost
  redis_password: x
  redis_port: 6379
  enable_pre_call_checks: true
  retry_policy: {TimeoutErrorRetries: 2}
  model_group_alias: {gpt-4: gpt-4o}

general_settings:
  master_key: sk-0a1b2c3d4e5f6789
  alerting: [slack]
  background_health_checks: true
  health_check_interval: 300
  proxy_batch_write_at: 60
  disable_spend_logs: False
  store_prompts_in_spend_logs: true

callback_settings: {otel: {message_logging: false}}
mcp_servers: {}
";
    let variables = [("AZURE_API_KEY", "a"), ("OPENAI_API_KEY", "b"), ("ANTHROPIC_API_KEY", "c")];
    let loaded = load_with(text, &variables).unwrap();
    assert_eq!(loaded.settings.models.len(), 3);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let [notice] = loaded.notices.as_slice() else { panic!("{:#?}", loaded.notices) };
    for key in [
        "litellm_settings.callbacks",
        "litellm_settings.drop_params",
        "model_list[].litellm_params.top_k",
        "model_list[].model_info.supports_vision",
        "router_settings.routing_strategy",
        "general_settings.disable_spend_logs",
        "callback_settings",
    ] {
        assert!(notice.contains(key), "{key} is missing in: {notice}");
    }
    assert!(!notice.contains("num_retries"), "honoured: {notice}");
}

#[test]
fn own_callbacks_are_named_because_they_might_refuse_requests() {
    let notices = load_with("litellm_settings: {callbacks: my_hooks.proxy_handler}", &[]).unwrap().notices;
    assert_eq!(
        notices,
        ["litellm_settings.callbacks: own code is not called; if it refuses requests, nobody does now"]
    );
}

/// What operators copy must load. Variables may be missing on this machine: each has a value of the right form here.
#[test]
fn every_file_in_config_loads() {
    let environment = |name: &str| match name {
        "PORTCULLIS_CONFIG" => None,
        "DATABASE_URL" => Some("postgresql://portcullis@db/portcullis".to_owned()),
        name if name.ends_with("_BASE") => Some("https://example.com".to_owned()),
        _ => Some("sk-0123456789abcdef".to_owned()),
    };
    let mut count = 0;
    for entry in fs::read_dir(folder_of_files()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            count += 1;
            let named_variables_only = |name: &str| {
                let text = fs::read_to_string(&path).unwrap();
                text.contains(&format!("os.environ/{name}\n")).then(|| environment(name)).flatten()
            };
            let loaded = Settings::load(Some(&path), &Overrides::default(), &named_variables_only);
            let loaded = loaded.unwrap_or_else(|error| panic!("{}\n{error}", path.display()));
            assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
        }
    }
    assert!(count >= 3, "{count} files");
}

/// The README names every key that is asked for, and no other.
#[test]
fn the_readme_names_every_key_and_no_other() {
    let text = "\
model_list: [{model_name: a, litellm_params: {model: mock/a}, model_info: {}}]
router_settings: {model_group_alias: {a: {model: b}}}
general_settings:
  custom_auth: a.b
  custom_auth_settings: {mode: auto}
  enable_jwt_auth: true
  enforce_rbac: true
  role_permissions: [{role: team, models: [a]}]
  litellm_jwtauth:
    roles_jwt_field: roles
    role_mappings: [{role: a, internal_role: team}]
    enforce_scope_based_access: true
    scope_mappings: [{scope: a, models: [a]}]
    issuers: [{issuer: 'https://a', audience: a}]
portcullis:
  custom_auth: {cache_ttl: 1, depends_on: []}
  jwt:
    issuers: [{issuer: 'https://b', audience: a, claims: {user_id_jwt_field: sub}}]
    introspection: [{url: 'https://a', client_id: a, client_secret: a, claims: {user_id_jwt_field: sub}}]
";
    // A function and a hook stand in different files.
    let hook = "portcullis: {custom_auth: {hook: {url: 'https://a'}}}";
    let mut asked = BTreeSet::new();
    for text in [text, hook] {
        let (root, flaws) = document::parse(&"x".into(), text);
        assert!(flaws.is_empty());
        let (_, findings) = read(root.as_ref(), Path::new(""), &Overrides::default(), &|_| None);
        assert!(findings.mistakes.is_empty(), "{:?}", findings.mistakes);
        asked.extend(findings.asked);
    }
    let sections = [
        "general_settings",
        "litellm_settings",
        "router_settings",
        "portcullis",
        "portcullis.listen",
        "portcullis.listen.tls",
        "portcullis.cache",
        "portcullis.store",
        "portcullis.http",
        "portcullis.telemetry",
        "portcullis.client_side",
        "portcullis.outbound",
        "portcullis.notices",
        "portcullis.redis",
        "portcullis.usage",
        "litellm_settings.model_group_settings",
        "portcullis.jwt",
        "portcullis.jwt.dpop",
        "portcullis.custom_auth",
        "portcullis.custom_auth.hook",
        "general_settings.custom_auth_settings",
        "general_settings.litellm_jwtauth",
        "model_list[].litellm_params",
        "model_list[].model_info",
        // Not a section of fixed keys: the names are the operator's.
        "router_settings.model_group_alias.a.model",
        "router_settings.model_group_alias.a.hidden",
    ];
    // The README names the options of claims once.
    let (options, asked): (BTreeSet<_>, BTreeSet<_>) = asked.into_iter().partition(|key| key.contains("[].claims."));
    for (_, option) in options.iter().filter_map(|key| key.split_once("[].claims.")) {
        let of_block = format!("general_settings.litellm_jwtauth.{option}");
        assert!(option.contains("[]") || asked.contains(&of_block), "{option}");
    }
    let asked: BTreeSet<String> =
        asked.into_iter().filter(|key| !sections.contains(&key.as_str())).chain(["include".to_owned()]).collect();
    let readme = fs::read_to_string(folder_of_files().join("README.md")).unwrap();
    let named: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key.to_owned())
        .filter(|key| key.contains(|c: char| c.is_ascii_lowercase()))
        .collect();
    assert_eq!(asked.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "missing in config/README.md");
    assert_eq!(named.difference(&asked).collect::<Vec<_>>(), Vec::<&String>::new(), "no such key");
}

/// The page for those who come from LiteLLM names every setting that is refused or has no effect, and no other.
#[test]
fn the_migration_page_names_what_is_refused_and_what_has_no_effect() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrate-from-litellm.md")).unwrap();
    let (_, refused) = page.split_once("\n## Refused settings\n").unwrap();
    let (refused, unserved) = refused.split_once("\n## Settings without effect\n").unwrap();
    let known = [
        ("top level", &litellm::ROOT),
        ("general_settings", &litellm::GENERAL),
        ("litellm_jwtauth", &litellm::JWT),
        ("litellm_jwtauth.issuers[]", &litellm::JWT_ISSUER),
        ("litellm_settings", &litellm::LITELLM),
        ("router_settings", &litellm::ROUTER),
        ("model_list[]", &litellm::DEPLOYMENT),
        ("litellm_params", &litellm::PARAMS),
        ("model_info", &litellm::INFO),
    ];
    let all = |of: fn(&Known) -> &'static [(&'static str, &'static str)]| -> BTreeSet<String> {
        let keys = known.iter().flat_map(|(section, known)| of(known).iter().map(move |(key, _)| (section, key)));
        keys.map(|(section, key)| format!("{section}.{key}")).collect()
    };
    assert_eq!(rows(refused), all(|known| known.refused));
    assert_eq!(rows(unserved), all(|known| known.unserved));
}

/// `section.key` of rows such as ``| `section` | `key`, `key` | why |``.
fn rows(text: &str) -> BTreeSet<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let each = cells.flat_map(|(section, keys)| {
        let keys = keys.split_once("` | ").map_or("", |(keys, _)| keys);
        keys.split("`, `").map(move |key| format!("{section}.{key}"))
    });
    each.collect()
}
