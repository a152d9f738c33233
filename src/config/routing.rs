//! How a model name finds a deployment: aliases, retries, cool-down, patience.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::Field;
use super::known::Known;
use super::reader::Section;

/// LiteLLM's `router_settings`, as far as they concern a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingSettings {
    /// How many further deployments are tried before the first byte of an answer.
    pub num_retries: u32,
    /// Failures in a row that a deployment may have before it is left alone.
    pub allowed_fails: u32,
    /// For how long it is left alone; zero never does.
    pub cooldown: Duration,
    /// How long an answer may take to begin.
    pub timeout: Duration,
    /// Further names for public model names.
    pub aliases: BTreeMap<String, Alias>,
}

/// What a further name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The public model name.
    pub model: String,
    /// Whether the list of models leaves it out.
    pub hidden: bool,
}

/// `router_settings` first, then the same keys of `litellm_settings`, as LiteLLM has it.
pub(super) fn read<'r>(router: &Section<'r>, litellm: &Section<'r>) -> RoutingSettings {
    let either = |key| {
        let general = litellm.field(key);
        router.field(key).or(general)
    };
    let whole = |key, most| either(key).and_then(|field: Field<'_>| field.whole(0..=most)).map(|number| number as u32);
    let time = |field: Option<Field<'_>>, least| field.and_then(|field| field.time(least..=86_400));
    let request_timeout = time(litellm.field("request_timeout"), 1);
    let cooldown = time(either("cooldown_time"), 0).unwrap_or(Duration::from_secs(5));
    let aliases = either("model_group_alias").map(|field| field.entries()).unwrap_or_default();
    RoutingSettings {
        num_retries: whole("num_retries", 100).unwrap_or(2),
        allowed_fails: whole("allowed_fails", 1_000_000).unwrap_or(3),
        cooldown: if router.flag("disable_cooldowns", false) { Duration::ZERO } else { cooldown },
        timeout: time(router.field("timeout"), 1).or(request_timeout).unwrap_or(Duration::from_secs(600)),
        aliases: aliases.iter().filter_map(|(name, field)| Some(((*name).to_owned(), alias(field)?))).collect(),
    }
}

fn alias(field: &Field<'_>) -> Option<Alias> {
    if !field.is_map() {
        return Some(Alias { model: field.text()?, hidden: false });
    }
    let section = field.section(&Known::NOTHING_ELSE);
    let hidden = section.flag("hidden", false);
    Some(Alias { model: section.required("model")?.text()?, hidden })
}
