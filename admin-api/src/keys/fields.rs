//! Every field that LiteLLM takes for a key, with its type and what stands in an answer where it was not given.
//!
//! One table serves four readers: validation (what is not in it is refused), storage, the answers and the OpenAPI
//! document. A type is checked as leniently as LiteLLM does it (a number may come as text), and no further.

use serde_json::{Map, Number, Value, json};

use crate::problem::FieldProblem;

/// One field of a key.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) absent: Absent,
    pub(crate) place: Place,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number; negative ones are refused as a value, not as a type.
    Count,
    /// A number; negative ones are refused as a value, not as a type.
    Amount,
    Texts,
    List,
    Object,
    /// An object, or a list of objects.
    OneOrMany,
    /// An object of texts.
    TextMap,
    /// An object of whole numbers.
    CountMap,
    /// A text in the grammar of [`Span`](crate::duration::Span).
    Duration,
    Choice(&'static [&'static str]),
}

/// What an answer shows for a field that was not given.
#[derive(Clone, Copy)]
pub(crate) enum Absent {
    Null,
    EmptyList,
    EmptyObject,
    False,
    Default,
    /// LiteLLM writes out its router's settings even where none is set.
    RouterSettings,
}

/// Where a field lives.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Place {
    /// In a column of its own; `duration` in that of the key's end.
    Column,
    /// Among the row's `settings`.
    Settings,
    /// Nowhere: it tells the endpoint what to do.
    Request,
}

pub(crate) const fn field(name: &'static str, kind: Kind, absent: Absent, place: Place) -> Field {
    Field { name, kind, absent, place }
}

pub(crate) const fn setting(name: &'static str, kind: Kind) -> Field {
    field(name, kind, Absent::Null, Place::Settings)
}

/// The fields that generating, updating and rotating a key have in common.
pub(crate) const KEY_FIELDS: &[Field] = &[
    field("key_alias", Kind::Text, Absent::Null, Place::Column),
    field("duration", Kind::Duration, Absent::Null, Place::Column),
    field("models", Kind::Texts, Absent::EmptyList, Place::Column),
    field("aliases", Kind::TextMap, Absent::EmptyObject, Place::Column),
    field("spend", Kind::Amount, Absent::Null, Place::Column),
    field("user_id", Kind::Text, Absent::Null, Place::Column),
    field("team_id", Kind::Text, Absent::Null, Place::Column),
    field("organization_id", Kind::Text, Absent::Null, Place::Column),
    field("allowed_routes", Kind::Texts, Absent::EmptyList, Place::Column),
    field("blocked", Kind::Flag, Absent::Null, Place::Column),
    field(
        "key_type",
        Kind::Choice(&["llm_api", "management", "read_only", "default"]),
        Absent::Default,
        Place::Settings,
    ),
    field("metadata", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("permissions", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("model_max_budget", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("config", Kind::Object, Absent::EmptyObject, Place::Settings),
    field("allowed_cache_controls", Kind::List, Absent::EmptyList, Place::Settings),
    field("router_settings", Kind::Object, Absent::RouterSettings, Place::Settings),
    field("auto_rotate", Kind::Flag, Absent::False, Place::Settings),
    setting("rotation_interval", Kind::Duration),
    setting("max_budget", Kind::Amount),
    setting("soft_budget", Kind::Amount),
    setting("budget_duration", Kind::Duration),
    setting("budget_limits", Kind::List),
    setting("budget_fallbacks", Kind::Object),
    setting("budget_id", Kind::Text),
    setting("end_user_budget_id", Kind::Text),
    setting("tpm_limit", Kind::Count),
    setting("rpm_limit", Kind::Count),
    setting("tpd_limit", Kind::Count),
    setting("max_parallel_requests", Kind::Count),
    setting("model_rpm_limit", Kind::CountMap),
    setting("model_tpm_limit", Kind::CountMap),
    setting("mcp_rpm_limit", Kind::Object),
    setting("tag_rpm_limit", Kind::Object),
    setting("rpm_limit_type", Kind::Text),
    setting("tpm_limit_type", Kind::Text),
    setting("project_id", Kind::Text),
    setting("agent_id", Kind::Text),
    setting("tags", Kind::Texts),
    setting("guardrails", Kind::Texts),
    setting("disable_global_guardrails", Kind::Flag),
    setting("disabled_callbacks", Kind::Texts),
    setting("policies", Kind::Texts),
    setting("prompts", Kind::Texts),
    setting("enforced_params", Kind::Texts),
    setting("object_permission", Kind::Object),
    setting("access_group_ids", Kind::Texts),
    setting("allowed_passthrough_routes", Kind::List),
    setting("denied_passthrough_routes", Kind::List),
    setting("allowed_vector_store_indexes", Kind::List),
    setting("enable_prompt_caching", Kind::Flag),
    setting("throttle_on_budget_exceeded", Kind::Flag),
    setting("default_estimated_output_tokens", Kind::Count),
    setting("default_estimated_output_tokens_per_model", Kind::CountMap),
];

/// What `/key/generate` takes beside [`KEY_FIELDS`].
pub(crate) const GENERATE_FIELDS: &[Field] = &[
    field("key", Kind::Text, Absent::Null, Place::Request),
    field("send_invite_email", Kind::Flag, Absent::Null, Place::Request),
];

/// What `/key/update` takes beside [`KEY_FIELDS`].
pub(crate) const UPDATE_FIELDS: &[Field] = &[
    field("key", Kind::Text, Absent::Null, Place::Request),
    setting("temp_budget_increase", Kind::Amount),
    setting("temp_budget_expiry", Kind::Text),
];

/// What the two regenerate routes take beside [`KEY_FIELDS`].
pub(crate) const ROTATE_FIELDS: &[Field] = &[
    field("key", Kind::Text, Absent::Null, Place::Request),
    field("new_key", Kind::Text, Absent::Null, Place::Request),
    field("new_master_key", Kind::Text, Absent::Null, Place::Request),
    field("grace_period", Kind::Duration, Absent::Null, Place::Request),
];

impl Absent {
    pub(crate) fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::EmptyList => json!([]),
            Self::EmptyObject => json!({}),
            Self::False => json!(false),
            Self::Default => json!("default"),
            Self::RouterSettings => ROUTER_SETTINGS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect(),
        }
    }
}

const ROUTER_SETTINGS: &[&str] = &[
    "routing_strategy_args",
    "routing_strategy",
    "model_group_retry_policy",
    "allowed_fails",
    "cooldown_time",
    "num_retries",
    "timeout",
    "max_retries",
    "retry_after",
    "fallbacks",
    "context_window_fallbacks",
    "model_group_alias",
];

/// A request body whose names and types are right.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// What describes the key. Null is kept: it means "not set" to one endpoint and "clear" to another.
    pub(crate) fields: Map<String, Value>,
    /// What tells the endpoint what to do; without nulls.
    pub(crate) request: Map<String, Value>,
}

impl Given {
    /// A text among the instructions to the endpoint.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.request.get(name).and_then(Value::as_str)
    }
}

/// Checks names and types, and brings numbers that came as text into their own form.
///
/// # Errors
/// Every field that is unknown or of the wrong type.
pub(crate) fn check(body: Map<String, Value>, tables: &[&'static [Field]]) -> Result<Given, Vec<FieldProblem>> {
    let mut given = Given::default();
    let mut problems = Vec::new();
    for (name, value) in body {
        let Some(field) = tables.iter().flat_map(|table| table.iter()).find(|field| field.name == name) else {
            problems.push(FieldProblem::unknown(&["body", &name]));
            continue;
        };
        match read(field.kind, value) {
            Ok(value) if field.place != Place::Request => drop(given.fields.insert(name, value)),
            Ok(Value::Null) => {}
            Ok(value) => drop(given.request.insert(name, value)),
            Err((within, kind, msg)) => {
                let loc: Vec<_> = ["body", &name].into_iter().chain(within.as_deref()).collect();
                problems.push(FieldProblem::new(kind, &loc, msg));
            }
        }
    }
    if problems.is_empty() { Ok(given) } else { Err(problems) }
}

/// Where within the field, which type of problem, and its text.
type Mismatch = (Option<String>, &'static str, String);

fn read(kind: Kind, value: Value) -> Result<Value, Mismatch> {
    let wrong = |kind, expected: &str| Err((None, kind, format!("Input should be {expected}")));
    match (kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Text | Kind::Duration, value @ Value::String(_)) => Ok(value),
        (Kind::Text | Kind::Duration, _) => wrong("string_type", "a valid string"),
        (Kind::Flag, value @ Value::Bool(_)) => Ok(value),
        (Kind::Flag, Value::String(text)) if text == "true" || text == "false" => Ok((text == "true").into()),
        (Kind::Flag, _) => wrong("bool_parsing", "a valid boolean"),
        (Kind::Count, value) => match number(&value).and_then(|number| whole(&number)) {
            Some(count) => Ok(count.into()),
            None => wrong("int_parsing", "a valid integer"),
        },
        (Kind::Amount, value) => match number(&value) {
            Some(amount) => Ok(amount.into()),
            None => wrong("float_parsing", "a valid number"),
        },
        (Kind::List, value @ Value::Array(_)) => Ok(value),
        (Kind::Texts, Value::Array(items)) => {
            let each = items.into_iter().enumerate();
            each.map(|(index, item)| inner(Kind::Text, &index.to_string(), item)).collect()
        }
        (Kind::List | Kind::Texts, _) => wrong("list_type", "a valid list"),
        (Kind::Object | Kind::OneOrMany, value @ Value::Object(_)) => Ok(value),
        (Kind::OneOrMany, Value::Array(items)) => {
            let each = items.into_iter().enumerate();
            each.map(|(index, item)| inner(Kind::Object, &index.to_string(), item)).collect()
        }
        (Kind::TextMap | Kind::CountMap, Value::Object(entries)) => {
            let kind = if kind == Kind::TextMap { Kind::Text } else { Kind::Count };
            let each = entries.into_iter();
            each.map(|(name, item)| inner(kind, &name, item).map(|item| (name, item))).collect()
        }
        (Kind::Object | Kind::OneOrMany | Kind::TextMap | Kind::CountMap, _) => {
            wrong("dict_type", "a valid dictionary")
        }
        (Kind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(word.into()),
        (Kind::Choice(words), _) => wrong("enum", &format!("one of: {}", words.join(", "))),
    }
}

/// One item of a list or an entry of an object; null is no item.
fn inner(kind: Kind, place: &str, value: Value) -> Result<Value, Mismatch> {
    let value = if value.is_null() { json!({}) } else { value };
    read(kind, value).map_err(|(_, kind, msg)| (Some(place.to_owned()), kind, msg))
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => {
            let text = text.trim();
            let parsed = text.parse::<i64>().map(Number::from).ok();
            parsed.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
        }
        _ => None,
    }
}

/// LiteLLM takes `5.0` for a whole number, but not `5.5`.
fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(body: Value) -> Result<Value, Vec<(String, &'static str)>> {
        let Value::Object(body) = body else { panic!("not an object") };
        match check(body, &[KEY_FIELDS, GENERATE_FIELDS]) {
            Ok(given) => Ok(given.fields.into()),
            Err(problems) => Err(problems.into_iter().map(|p| (p.loc.join("."), p.kind)).collect()),
        }
    }

    #[test]
    fn takes_numbers_that_come_as_text_or_as_a_whole_float() {
        let given = checked(json!({"max_budget": "10.5", "tpm_limit": "7", "rpm_limit": 5.0, "blocked": "true"}));
        assert_eq!(given, Ok(json!({"max_budget": 10.5, "tpm_limit": 7, "rpm_limit": 5, "blocked": true})));
    }

    #[test]
    fn names_every_field_that_cannot_be_read() {
        let cases = [
            (json!({"models": "gpt-4o"}), "body.models", "list_type"),
            (json!({"models": ["a", 1]}), "body.models.1", "string_type"),
            (json!({"models": [null]}), "body.models.0", "string_type"),
            (json!({"aliases": {"a": 1}}), "body.aliases.a", "string_type"),
            (json!({"model_rpm_limit": {"a": "x"}}), "body.model_rpm_limit.a", "int_parsing"),
            (json!({"metadata": []}), "body.metadata", "dict_type"),
            (json!({"max_budget": "NaN"}), "body.max_budget", "float_parsing"),
            (json!({"max_budget": true}), "body.max_budget", "float_parsing"),
            (json!({"tpm_limit": 1.5}), "body.tpm_limit", "int_parsing"),
            (json!({"tpm_limit": 1e300}), "body.tpm_limit", "int_parsing"),
            (json!({"duration": 30}), "body.duration", "string_type"),
            (json!({"blocked": "maybe"}), "body.blocked", "bool_parsing"),
            (json!({"key_type": "root"}), "body.key_type", "enum"),
            (json!({"max_bugdet": 1}), "body.max_bugdet", "extra_forbidden"),
        ];
        for (body, loc, kind) in cases {
            assert_eq!(checked(body.clone()), Err(vec![(loc.to_owned(), kind)]), "{body}");
        }
        let both = checked(json!({"models": 1, "nope": 2})).unwrap_err();
        assert_eq!(both.len(), 2, "all mistakes at once: {both:?}");
    }

    #[test]
    fn no_field_stands_twice() {
        for table in [GENERATE_FIELDS, UPDATE_FIELDS, ROTATE_FIELDS] {
            let mut names: Vec<_> = KEY_FIELDS.iter().chain(table).map(|field| field.name).collect();
            names.sort_unstable();
            let before = names.len();
            names.dedup();
            assert_eq!(names.len(), before);
        }
    }
}
