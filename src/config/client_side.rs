//! What clients may bring of their own: a provider's key, an address, deployments; and where such an address may be.

use portcullis_filters::client_side::{BasePattern, BaseRule, ClientSideRules};
use portcullis_filters::credential::OwnCredential;
use portcullis_filters::outbound::Outbound;
use portcullis_filters::policy::matches_pattern;

use super::field::Field;
use super::known::Known;
use super::litellm;
use super::reader::{Reader, Section};

/// What is the same for all deployments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientSideSettings {
    /// Exceptions of the outbound guard.
    pub outbound: Outbound,
    /// Whether a body may bring deployments of its own (`user_config`).
    pub user_config: bool,
    /// What every deployment takes.
    pub everywhere: ClientSideRules,
    /// Model names, or patterns of them, whose deployments are sent a caller's own token.
    own_tokens: Vec<String>,
    /// Which credential of the caller's own every deployment is sent.
    own_credential: OwnCredential,
}

impl ClientSideSettings {
    /// Which credential of a caller's own the deployments of this name are sent.
    pub(super) fn own_credential(&self, name: &str) -> OwnCredential {
        let listed = || self.own_tokens.iter().any(|pattern| matches_pattern(pattern, name));
        match self.own_credential {
            OwnCredential::Never if listed() => OwnCredential::Tokens,
            everywhere => everywhere,
        }
    }
}

pub(super) fn read<'r>(general: &Section<'r>, litellm: &Section<'r>, own: &Section<'r>) -> ClientSideSettings {
    let section = own.section("client_side", &Known::NOTHING_ELSE);
    let allow = own.section("outbound", &Known::NOTHING_ELSE).field("allow");
    let allow = allow.iter().flat_map(Field::items).filter_map(|field| field.some_parsed(str::parse)).collect();
    let everything = general.flag("allow_client_side_credentials", false);
    let any = || if everything { BaseRule::Any } else { BaseRule::Never };
    let groups =
        litellm.section("model_group_settings", &litellm::MODEL_GROUPS).field("forward_client_headers_to_llm_api");
    // LiteLLM's documents have the second of these in both sections.
    let tokens = general.flag("forward_client_headers_to_llm_api", false);
    let keys = [general, litellm].map(|section| section.flag("forward_llm_provider_auth_headers", false));
    ClientSideSettings {
        outbound: Outbound { allow },
        user_config: section.flag("user_config", false),
        everywhere: ClientSideRules {
            api_key: section.flag("api_key", false) || everything,
            api_base: any(),
            base_url: any(),
        },
        own_tokens: groups.iter().flat_map(Field::items).filter_map(|name| name.text()).collect(),
        own_credential: match (keys.contains(&true), tokens) {
            (true, _) => OwnCredential::TokensAndKeys,
            (false, true) => OwnCredential::Tokens,
            (false, false) => OwnCredential::Never,
        },
    }
}

/// What one deployment takes: what every one does, and what its `configurable_clientside_auth_params` lists.
pub(super) fn of_deployment(
    reader: &Reader<'_>,
    params: &Section<'_>,
    settings: &ClientSideSettings,
) -> ClientSideRules {
    let mut rules = settings.everywhere.clone();
    let list = params.field("configurable_clientside_auth_params").map(|field| field.items()).unwrap_or_default();
    for item in &list {
        if item.is_map() {
            for (name, pattern) in item.entries() {
                add_pattern(reader, &mut rules, name, &pattern);
            }
            continue;
        }
        match item.text().as_deref() {
            Some("api_key") => rules.api_key = true,
            Some("api_base") => rules.api_base = BaseRule::Any,
            Some("base_url") => rules.base_url = BaseRule::Any,
            Some(_) => reader.notice(
                "model_list[].litellm_params.configurable_clientside_auth_params: api_key, api_base and base_url can be \
                 listed; requests that bring anything else of their own are refused",
            ),
            None => {}
        }
    }
    rules
}

fn add_pattern(reader: &Reader<'_>, rules: &mut ClientSideRules, name: &str, field: &Field<'_>) {
    let rule = match name {
        "api_base" => &mut rules.api_base,
        "base_url" => &mut rules.base_url,
        _ => return field.mistake("only api_base and base_url can have a pattern"),
    };
    let Some(pattern) = field.some_parsed(BasePattern::new) else { return };
    if pattern.is_open() {
        let path = &field.path;
        reader.warn(format!(
            "{path}: the pattern is open to every host; the outbound guard alone says where requests may go"
        ));
        *rule = BaseRule::Any;
    }
    match rule {
        BaseRule::Any => {}
        BaseRule::Never => *rule = BaseRule::Matching(vec![pattern]),
        BaseRule::Matching(patterns) => patterns.push(pattern),
    }
}
