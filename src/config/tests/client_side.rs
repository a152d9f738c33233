//! What clients may bring of their own, and the exceptions of the outbound guard.

use portcullis_filters::client_side::{BaseRule, ClientSideRules};
use portcullis_filters::credential::OwnCredential;

use super::*;

fn one(params: &str, rest: &str) -> Loaded {
    let text = format!(
        "model_list: [{{model_name: m, litellm_params: {{model: openai/m, api_key: k, \
         configurable_clientside_auth_params: {params}}}}}]\n{rest}"
    );
    load_with(&text, &[]).unwrap()
}

fn rules(loaded: &Loaded) -> (bool, &'static str, &'static str) {
    let word = |rule: &BaseRule| match rule {
        BaseRule::Never => "never",
        BaseRule::Any => "any",
        BaseRule::Matching(_) => "matching",
    };
    let ClientSideRules { api_key, api_base, base_url } = &loaded.settings.models[0].client_side;
    (*api_key, word(api_base), word(base_url))
}

#[test]
fn a_deployment_takes_what_it_or_the_file_lists() {
    let everywhere = "general_settings: {allow_client_side_credentials: true}";
    let keys = "portcullis: {client_side: {api_key: true}}";
    for (params, rest, taken) in [
        ("[]", "", (false, "never", "never")),
        ("[api_key]", "", (true, "never", "never")),
        ("[api_base, base_url]", "", (false, "any", "any")),
        (r"[{api_base: 'https://a\.example'}, {base_url: 'https://b\.example'}]", "", (false, "matching", "matching")),
        (r"[api_base, {api_base: 'https://a\.example'}]", "", (false, "any", "never")),
        ("[]", everywhere, (true, "any", "any")),
        ("[]", keys, (true, "never", "never")),
    ] {
        let loaded = one(params, rest);
        assert_eq!(rules(&loaded), taken, "{params} {rest}");
        assert_eq!((loaded.warnings, loaded.notices), (vec![], vec![]), "{params} {rest}");
    }
}

#[test]
fn what_restricts_nothing_or_does_nothing_is_said() {
    let open = one("[api_key, {api_base: 'https://.*'}]", "");
    assert_eq!(rules(&open), (true, "any", "never"));
    assert!(open.warnings.len() == 1 && open.warnings[0].contains("open to every host"), "{:?}", open.warnings);

    let vertex = one("[api_key, vertex_credentials]", "");
    assert_eq!(rules(&vertex), (true, "never", "never"));
    assert!(vertex.notices.len() == 1 && vertex.notices[0].contains("are refused"), "{:?}", vertex.notices);
}

#[test]
fn mistakes_are_found_at_their_place() {
    for (text, found) in [
        (
            "litellm_params: {model: mock/m, configurable_clientside_auth_params: [{api_base: '('}]}",
            "is no regular expression",
        ),
        (
            "litellm_params: {model: mock/m, configurable_clientside_auth_params: [{api_key: '.*'}]}",
            "only api_base and base_url",
        ),
    ] {
        let mistake = mistake(&format!("model_list:\n- model_name: m\n  {text}\n"));
        assert!(
            mistake.starts_with("model_list[0].litellm_params.configurable_clientside_auth_params[0].")
                && mistake.contains(found),
            "{mistake}"
        );
    }
    let mistake = mistake("portcullis: {outbound: {allow: ['https://a.example']}}");
    assert!(mistake.starts_with("portcullis.outbound.allow[0] (config.yaml:1:33): expected a host"), "{mistake}");
}

#[test]
fn own_credentials_go_on_by_model_or_everywhere() {
    let group = "litellm_settings: {model_group_settings: {forward_client_headers_to_llm_api: [MODEL]}}";
    for (rest, expected) in [
        ("", OwnCredential::Never),
        (&*group.replace("MODEL", "m"), OwnCredential::Tokens),
        (&*group.replace("MODEL", "'*'"), OwnCredential::Tokens),
        (&*group.replace("MODEL", "n"), OwnCredential::Never),
        ("general_settings: {forward_client_headers_to_llm_api: true}", OwnCredential::Tokens),
        ("general_settings: {forward_llm_provider_auth_headers: true}", OwnCredential::TokensAndKeys),
        ("litellm_settings: {forward_llm_provider_auth_headers: true}", OwnCredential::TokensAndKeys),
    ] {
        assert_eq!(one("[]", rest).settings.models[0].own_credential, expected, "{rest}");
    }
}
