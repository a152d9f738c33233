//! What is refused, and with which words.

use super::*;

#[test]
fn five_different_mistakes_are_five_messages() {
    let text = "\
general_settings:
  master_key: os.environ/NOT_SET
  master_kye: sk-other
  user_api_key_cache_ttl: soon
model_list:
  - model_name: gpt-4o
    litellm_params: {model: opneai/gpt-4o}
portcullis:
  listen:
    data: nowhere
";
    let mistakes = mistakes(text);
    assert_eq!(mistakes[0], "general_settings.master_key (config.yaml:2:15): environment variable NOT_SET is not set");
    assert_eq!(mistakes[1], "general_settings.master_kye (config.yaml:3:3): unknown key; did you mean master_key?");
    assert_eq!(
        mistakes[2],
        "general_settings.user_api_key_cache_ttl (config.yaml:4:27): expected a time from 0 to 86400 seconds, as a number or like 30s, 5m, 1h"
    );
    assert!(
        mistakes[3].starts_with(
            "model_list[0].litellm_params.model (config.yaml:7:29): unknown provider opneai; known are openai, azure,"
        ),
        "{}",
        mistakes[3]
    );
    assert_eq!(mistakes[4], "portcullis.listen.data (config.yaml:10:11): expected host:port, for example 0.0.0.0:4000");
    assert_eq!(mistakes.len(), 5);
}

#[test]
fn each_mistake_is_named_with_its_place() {
    for (text, message) in [
        ("general_setings: {}", "general_setings (config.yaml:1:1): unknown key; did you mean general_settings?"),
        ("- a\n- b", "config.yaml:1:1: the file must hold keys and values"),
        ("a: [1", "config.yaml:2:1: not valid YAML"),
        (
            "litellm_settings: {master_key: sk-x}",
            "litellm_settings.master_key (config.yaml:1:20): unknown key here; it belongs to general_settings",
        ),
        ("threads: 3", "threads (config.yaml:1:1): unknown key here; it belongs to portcullis"),
        ("model_list: {model_name: a}", "model_list (config.yaml:1:13): expected a list, found keys and values"),
        ("general_settings: []", "general_settings (config.yaml:1:19): expected keys and values, found a list"),
        (
            "general_settings: {master_key: [a]}",
            "general_settings.master_key (config.yaml:1:32): expected text, found a list",
        ),
        ("general_settings: {master_key: ''}", "general_settings.master_key (config.yaml:1:32): is empty"),
        ("general_settings:\n  master_key: sk-1\n  master_key: sk-2", "config.yaml:3:3: given twice; first on line 2"),
        ("{}\n---\n{}", "config.yaml:2:1: a second document begins here; a configuration is one"),
        ("general_settings: !secret {}", "config.yaml:1:19: tags like !this are not supported"),
        (
            "general_settings: {disable_custom_api_keys: maybe}",
            "general_settings.disable_custom_api_keys (config.yaml:1:45): expected true or false",
        ),
        (
            "portcullis: {listen: {tls: {cert: a.pem}}}",
            "portcullis.listen.tls.key (config.yaml:1:28): is missing: cert needs its private key",
        ),
        (
            "general_settings: {allowed_routes: []}",
            "general_settings.allowed_routes (config.yaml:1:36): is empty, so nothing would be served; remove it to serve every route",
        ),
        (
            "general_settings: {allowed_routes: [/v1/*]}",
            "general_settings.allowed_routes[0] (config.yaml:1:37): expected one whole path such as /v1/chat/completions",
        ),
        (
            "portcullis: {http: {max_buffered_size: 2MiB}}",
            "portcullis.http.max_buffered_size (config.yaml:1:21): smaller than one body may be",
        ),
        (
            "portcullis: {cache: {max_stale: 90000}}",
            "portcullis.cache.max_stale (config.yaml:1:33): expected a time from 0 to 86400 seconds",
        ),
        (
            "portcullis: {additional_key_headers: [X-A, 'b c']}",
            "portcullis.additional_key_headers[1] (config.yaml:1:44): not a header name",
        ),
        (
            "portcullis: {public_urls: ['https://a.example', a.example]}",
            "portcullis.public_urls[1] (config.yaml:1:49): expected an address such as https://llm.example.com",
        ),
        (
            "general_settings: {litellm_key_header_name: Cookie}",
            "general_settings.litellm_key_header_name (config.yaml:1:45): this header has a meaning of its own",
        ),
        (
            "general_settings: {trusted_proxy_ranges: [10.0.0.0/33]}",
            "general_settings.trusted_proxy_ranges[0] (config.yaml:1:43): expected a range",
        ),
        (
            "general_settings: {database_url: 'mysql://h/d'}",
            "general_settings.database_url (config.yaml:1:34): must begin with postgresql:// or sqlite://",
        ),
        (
            "general_settings: {database_url: 'postgresql://u:p@h:port/d'}",
            "general_settings.database_url (config.yaml:1:34): not a PostgreSQL connection URL",
        ),
        ("general_settings: {database_url: ''}", "general_settings.database_url (config.yaml:1:34): is empty"),
        (
            "model_list: [{model_name: '', litellm_params: {model: mock/a}}]",
            "model_list[0].model_name (config.yaml:1:15): is missing",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: mock/a, api_version: 'a&b'}}]",
            "model_list[0].litellm_params.api_version (config.yaml:1:75): expected a version such as 2024-10-21",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: mock/a, api_key: 'a b'}}]",
            "model_list[0].litellm_params.api_key (config.yaml:1:71): holds white space",
        ),
        (
            "model_list: [{litellm_params: {model: openai/a}}]",
            "model_list[0].model_name (config.yaml:1:14): is missing",
        ),
        ("model_list: [{model_name: a}]", "model_list[0].litellm_params.model (config.yaml:1:14): is missing"),
        (
            "model_list: [{model_name: a, litellm_params: {model: azure/d}}]",
            "model_list[0].litellm_params.api_base (config.yaml:1:46): is missing",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: bedrock/x}}]",
            "model_list[0].litellm_params.model (config.yaml:1:54): provider bedrock is not supported by this version; supported are openai, azure",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: gemini-2.0-flash}}]",
            "model_list[0].litellm_params.model (config.yaml:1:54): bare names of Gemini models mean Vertex AI",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: '*'}}]",
            "model_list[0].litellm_params.model (config.yaml:1:54): which provider's models?",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: 'ftp://h'}}]",
            "model_list[0].litellm_params.api_base (config.yaml:1:74): expected an address that begins with https",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: 'https://u:p@h'}}]",
            "model_list[0].litellm_params.api_base (config.yaml:1:74): holds a user or a password",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_base: os.environ/NOPE}}]",
            "model_list[0].litellm_params.api_base (config.yaml:1:74): environment variable NOPE is not set",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, aws_access_key_id: x}}]",
            "model_list[0].litellm_params.aws_access_key_id (config.yaml:1:64): this way of giving a credential",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a, api_kye: x}}]",
            "model_list[0].litellm_params.api_kye (config.yaml:1:64): unknown key; did you mean api_key?",
        ),
        (
            "model_list: [{model_name: a, litellm_params: {model: openai/a}, model_info: {team_id: t}}]",
            "model_list[0].model_info.team_id (config.yaml:1:78): restricts access",
        ),
        (
            "litellm_settings: {upperbound_key_generate_params: {max_bugdet: 1}}",
            "litellm_settings.upperbound_key_generate_params.max_bugdet (config.yaml:1:65): unknown key",
        ),
        (
            "litellm_settings: {upperbound_key_generate_params: {max_budget: lots}}",
            "litellm_settings.upperbound_key_generate_params.max_budget (config.yaml:1:65): expected a number",
        ),
        (
            "litellm_settings: {callbacks: [langfuse, presidio]}",
            "litellm_settings.callbacks[1] (config.yaml:1:42): this callback checks requests",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(message), "{text}\nexpected {message}\nfound    {found}");
    }
}

#[test]
fn a_restriction_that_is_not_in_force_stops_the_start_unless_it_is_off() {
    for key in [
        "admin_only_routes",
        "custom_key_generate",
        "enable_oauth2_proxy_auth",
        "enforce_user_param",
        "oauth2_config_mappings",
        "max_parallel_requests",
    ] {
        let found = mistake(&format!("general_settings: {{{key}: x.y}}"));
        assert!(found.contains(key) && found.contains("remove it to start without"), "{found}");
        for off in ["false", "off", "null", "''", "[]", "{}"] {
            assert!(load_with(&format!("general_settings: {{{key}: {off}}}"), &[]).is_ok(), "{key}: {off}");
        }
    }
}

#[test]
fn variables_and_options_are_judged_too() {
    for (name, value, message) in [
        ("DATABASE_URL", "oracle:x", "DATABASE_URL: must begin with postgresql:// or sqlite://"),
        ("LENGTH_OF_LITELLM_GENERATED_KEY", "8", "LENGTH_OF_LITELLM_GENERATED_KEY: expected a number from 16 to 256"),
        ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "long", "LITELLM_KEY_ROTATION_GRACE_PERIOD: expected a time such as 24h"),
        ("LITELLM_MASTER_KEY", " sk-x", "LITELLM_MASTER_KEY: begins or ends with white space"),
        ("DISABLE_LLM_API_ENDPOINTS", "true", "DISABLE_LLM_API_ENDPOINTS: a node without the LLM routes"),
    ] {
        let found = mistakes_with("", &[(name, value)]);
        assert!(found.len() == 1 && found[0].starts_with(message), "{found:?}");
    }
    let overrides = Overrides { host: Some("not a host".to_owned()), ..Overrides::default() };
    let error = Settings::load(None, &overrides, &|_| None).unwrap_err();
    assert_eq!(error.to_string(), "--host: expected a name or an address");
}

#[test]
fn a_file_that_is_not_there_is_one_message() {
    let error = Settings::load(Some(Path::new("/nowhere/c.yaml")), &Overrides::default(), &|_| None).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/c.yaml: cannot be read: "), "{error}");
}

#[test]
fn includes_are_joined_and_what_is_given_twice_is_refused() {
    let folder = Folder::new();
    folder.write(
        "config.yaml",
        "include: [models.yaml, keys.yaml, gone.yaml]\ngeneral_settings: {master_key: sk-a}\nmodel_list: []\n",
    );
    folder.write("models.yaml", "include: [x]\nmodel_list:\n- model_name: a\n  litellm_params: {model: mock/a}\n");
    folder.write("keys.yaml", "general_settings:\n  master_key: sk-b\n  nonsense: 1\n");
    let found = folder.load(&[]).unwrap_err();
    assert_eq!(found[0], "include (models.yaml:1:1): an included file cannot include others");
    assert_eq!(found[1], "general_settings.master_key (keys.yaml:2:3): given twice; first at config.yaml:2:20");
    assert!(found[2].starts_with("gone.yaml: cannot be read: "), "{}", found[2]);
    assert_eq!(found[3], "general_settings.nonsense (keys.yaml:3:3): unknown key");
    assert_eq!(found.len(), 4);
}
