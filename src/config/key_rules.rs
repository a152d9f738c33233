//! What the admin API holds itself to when it makes virtual keys.

use std::time::Duration;

use serde_json::{Map, Value};

use super::field::Field;
use super::listen::is_true;
use super::reader::{Reader, Section};
use super::scalar;

/// LiteLLM's settings for making and rotating keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyRules {
    /// Fields of `/key/generate` for callers who leave them out; LiteLLM's `default_key_generate_params`.
    pub defaults: Map<String, Value>,
    /// What no key may exceed; LiteLLM's `upperbound_key_generate_params`.
    pub upper_bounds: Map<String, Value>,
    /// Whether a caller may choose the key string; not with LiteLLM's `disable_custom_api_keys`.
    pub allow_custom_keys: bool,
    /// Random bytes in a made key, 16 at least; `LENGTH_OF_LITELLM_GENERATED_KEY`.
    pub generated_bytes: usize,
    /// Characters of a chosen key string at least; `MINIMUM_CUSTOM_KEY_LENGTH`.
    pub min_custom_length: usize,
    /// Whether the last four characters are kept to be shown; not with `DISABLE_KEY_NAME`.
    pub keep_key_name: bool,
    /// How long a replaced key string goes on working unless the request says otherwise;
    /// `LITELLM_KEY_ROTATION_GRACE_PERIOD`.
    pub rotation_grace: Duration,
}

/// What `upperbound_key_generate_params` may bound.
const BOUNDED: &str = "budget_duration duration max_budget max_parallel_requests rpm_limit tpm_limit";

/// What `default_key_generate_params` may preset: the fields of LiteLLM's `/key/generate` that are not about one key.
const PRESET: &str = "access_group_ids agent_id aliases allowed_cache_controls allowed_passthrough_routes allowed_routes \
    auto_rotate blocked budget_duration budget_fallbacks budget_id budget_limits config disabled_callbacks duration \
    enforced_params guardrails key_type max_budget max_parallel_requests metadata model_max_budget model_rpm_limit \
    model_tpm_limit models object_permission organization_id permissions policies project_id prompts rotation_interval \
    router_settings rpm_limit rpm_limit_type soft_budget tags team_id tpd_limit tpm_limit tpm_limit_type user_id";

pub(super) fn read(reader: &Reader<'_>, general: &Section<'_>, litellm: &Section<'_>) -> KeyRules {
    let variable = |name: &str| reader.environment.variable(name);
    let grace = variable("LITELLM_KEY_ROTATION_GRACE_PERIOD").and_then(|text| {
        let grace = scalar::duration(&text);
        if grace.is_none() {
            reader.mistake("LITELLM_KEY_ROTATION_GRACE_PERIOD", None, "expected a time such as 24h");
        }
        grace
    });
    let presets = fields(litellm.field("default_key_generate_params"), PRESET);
    let bounds = fields(litellm.field("upperbound_key_generate_params"), BOUNDED);
    KeyRules {
        defaults: presets.into_iter().map(|(key, field)| (key, field.json())).collect(),
        upper_bounds: bounds.into_iter().filter_map(|(key, field)| Some((key, bound(&field)?))).collect(),
        allow_custom_keys: !general.flag("disable_custom_api_keys", false),
        generated_bytes: length(reader, "LENGTH_OF_LITELLM_GENERATED_KEY", 16..=256).unwrap_or(16),
        min_custom_length: length(reader, "MINIMUM_CUSTOM_KEY_LENGTH", 1..=4096).unwrap_or(16),
        keep_key_name: !variable("DISABLE_KEY_NAME").is_some_and(|word| is_true(&word)),
        rotation_grace: grace.unwrap_or(Duration::ZERO),
    }
}

/// The keys of a mapping of which every key is known: a bound that is mistyped would bound nothing.
fn fields<'r>(field: Option<Field<'r>>, known: &str) -> Vec<(String, Field<'r>)> {
    let mut entries = field.map(|field| field.entries()).unwrap_or_default();
    entries.retain(|(key, field)| {
        let known = known.split_ascii_whitespace().any(|name| name == *key);
        if !known {
            field.mistake("unknown key");
        }
        known && !field.is_null()
    });
    entries.into_iter().map(|(key, field)| (key.to_owned(), field)).collect()
}

/// A bound is a number that is not negative, or a length of time.
fn bound(field: &Field<'_>) -> Option<Value> {
    let value = field.json();
    let bounds = match &value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number >= 0.0),
        Value::String(text) => field.path.ends_with("duration") && scalar::duration(text).is_some(),
        _ => false,
    };
    if !bounds {
        field.mistake("expected a number, or for a duration a time such as 30d");
    }
    bounds.then_some(value)
}

fn length(reader: &Reader<'_>, name: &str, bounds: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let text = reader.environment.variable(name)?;
    let length = text.parse().ok().filter(|length| bounds.contains(length));
    if length.is_none() {
        reader.mistake(name, None, format!("expected a number from {} to {}", bounds.start(), bounds.end()));
    }
    length
}
