//! From the fields of a request to a row: which values are refused, and where each accepted one goes.

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::duration::Span;
use crate::keys::fields::{Field, KEY_FIELDS, Kind};
use crate::problem::Problem;
use crate::store::{KeyRow, is_keepable};

/// Longest alias, in bytes.
const MAX_ALIAS: usize = 255;

/// What is said of a text that is not [`is_keepable`].
pub(crate) const UNKEEPABLE: &str = "String should have at most 1024 bytes and no control characters";

/// Refuses values that have the right type but no sense: negative limits, durations that cannot be read or end past
/// the calendar, aliases that would break a log line or a path.
pub(crate) fn judge(given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    judge_fields(KEY_FIELDS, given, now)?;
    if let Some(alias) = given.get("key_alias").and_then(Value::as_str) {
        let unsafe_path = alias.split(['/', '\\']).any(|segment| segment == "..");
        if alias.len() > MAX_ALIAS || alias.chars().any(char::is_control) || unsafe_path {
            let message = format!("key_alias: at most {MAX_ALIAS} bytes, no control characters, no '..' segments");
            return Err(Problem::invalid("key_alias", message));
        }
    }
    for name in ["user_id", "team_id", "organization_id"] {
        if given.get(name).and_then(Value::as_str).is_some_and(|text| !is_keepable(text)) {
            return Err(Problem::invalid(name, format!("{name}: {UNKEEPABLE}")));
        }
    }
    let preset = given.get("key_type").and_then(Value::as_str).is_some_and(|kind| kind != "default");
    let routes = given.get("allowed_routes").and_then(Value::as_array).is_some_and(|routes| !routes.is_empty());
    if preset && routes {
        return Err(Problem::invalid("key_type", "Give either key_type or allowed_routes: the one replaces the other"));
    }
    let rotates = given.get("auto_rotate").and_then(Value::as_bool) == Some(true);
    if rotates && given.get("rotation_interval").is_none_or(Value::is_null) {
        return Err(Problem::invalid("rotation_interval", "auto_rotate needs a rotation_interval"));
    }
    Ok(())
}

/// Refuses negative numbers and durations that cannot be read or end past the calendar.
pub(crate) fn judge_fields(fields: &[Field], given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    for field in fields {
        let Some(value) = given.get(field.name).filter(|value| !value.is_null()) else { continue };
        match field.kind {
            Kind::Amount | Kind::Count if value.as_f64().is_some_and(|number| number < 0.0) => {
                return Err(Problem::invalid(field.name, format!("{} must not be negative", field.name)));
            }
            Kind::CountMap if value.as_object().is_some_and(|map| map.values().any(|n| n.as_i64() < Some(0))) => {
                return Err(Problem::invalid(field.name, format!("{} must not hold negative numbers", field.name)));
            }
            Kind::Duration if (field.name, value.as_str()) != ("duration", Some("-1")) => {
                ending(field.name, value, now)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes accepted values into the row. Null clears a field, except that lists and maps which restrict the key, its block
/// and its spend are left as they are: what opens a key has to be said in so many words.
pub(crate) fn apply(row: &mut KeyRow, given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    for (name, value) in given {
        match name.as_str() {
            "key_alias" => row.key_alias = id(value),
            "user_id" => row.user_id = id(value),
            "team_id" => row.team_id = id(value),
            "organization_id" => row.organization_id = id(value),
            "models" => replace(&mut row.models, value),
            "allowed_routes" => replace(&mut row.allowed_routes, value),
            "aliases" => replace(&mut row.aliases, value),
            "spend" => {
                row.spend = value.as_f64().unwrap_or(row.spend);
                row.sets_spend = true;
            }
            "blocked" => row.blocked = value.as_bool().or(row.blocked),
            "duration" if value.is_null() || value == "-1" => row.expires = None,
            "duration" => row.expires = Some(ending("duration", value, now)?),
            // An object stays as it is, or null would take restrictions away.
            _ if value.is_null() && KEY_FIELDS.iter().any(|field| field.name == name && field.kind == Kind::Object) => {
            }
            _ => keep(&mut row.settings, name, value),
        }
    }
    if let Some(value) = given.get("budget_duration") {
        row.budget_reset_at = reset_at(value, now)?;
    }
    match given.get("key_type").and_then(Value::as_str) {
        Some(kind) => preset(row, kind),
        None if given.get("allowed_routes").is_some_and(Value::is_array) => drop(row.settings.remove("key_type")),
        None => {}
    }
    Ok(())
}

/// When a budget of this `budget_duration` begins anew; null: never.
pub(crate) fn reset_at(duration: &Value, now: SystemTime) -> Result<Option<SystemTime>, Problem> {
    let Some(text) = duration.as_str() else { return Ok(None) };
    ending("budget_duration", duration, now)?;
    let start = text.parse().ok().and_then(|span: Span| span.next_start(now));
    let late = || Problem::invalid("budget_duration", "Invalid budget_duration: it ends after the year 9999");
    start.map(Some).ok_or_else(late)
}

fn ending(name: &'static str, value: &Value, now: SystemTime) -> Result<SystemTime, Problem> {
    let span: Span = value
        .as_str()
        .unwrap_or_default()
        .parse()
        .map_err(|error| Problem::invalid(name, format!("Invalid {name}: {error}")))?;
    span.after(now).ok_or_else(|| Problem::invalid(name, format!("Invalid {name}: it ends after the year 9999")))
}

/// Writes a field without a column; null clears it.
pub(crate) fn keep(settings: &mut Map<String, Value>, name: &str, value: &Value) {
    if value.is_null() {
        settings.remove(name);
    } else {
        settings.insert(name.to_owned(), value.clone());
    }
}

/// LiteLLM's presets for the routes of a key.
fn preset(row: &mut KeyRow, kind: &str) {
    let routes = match kind {
        "llm_api" => "llm_api_routes",
        "management" => "management_routes",
        "read_only" => "info_routes",
        _ => return,
    };
    row.allowed_routes = vec![routes.to_owned()];
}

pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The name of something; an empty text names nothing.
pub(crate) fn id(value: &Value) -> Option<String> {
    text(value).filter(|name| !name.is_empty())
}

/// The types were checked, so what does not fit is null, and null leaves the list as it is.
pub(crate) fn replace<T: serde::de::DeserializeOwned>(list: &mut T, value: &Value) {
    if let Ok(given) = T::deserialize(value) {
        *list = given;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use portcullis_filters::authn::virtual_key::KeyHash;
    use serde_json::json;

    use super::*;

    fn judged(given: Value) -> Option<&'static str> {
        match judge(given.as_object().unwrap(), UNIX_EPOCH) {
            Ok(()) => None,
            Err(Problem::Refused(_, _, _, param)) => param,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn refuses_values_without_sense_by_their_name() {
        let cases = [
            (json!({"max_budget": -0.01}), "max_budget"),
            (json!({"tpm_limit": -1}), "tpm_limit"),
            (json!({"user_id": "a\u{0}b"}), "user_id"),
            (json!({"team_id": "t".repeat(1025)}), "team_id"),
            (json!({"model_rpm_limit": {"m": -1}}), "model_rpm_limit"),
            (json!({"duration": "30sec"}), "duration"),
            (json!({"duration": ""}), "duration"),
            (json!({"duration": "99999999d"}), "duration"),
            (json!({"budget_duration": "-1"}), "budget_duration"),
            (json!({"key_alias": "a\nb"}), "key_alias"),
            (json!({"key_alias": "team/../other"}), "key_alias"),
            (json!({"key_type": "read_only", "allowed_routes": ["/chat/completions"]}), "key_type"),
            (json!({"auto_rotate": true}), "rotation_interval"),
        ];
        for (given, param) in cases {
            assert_eq!(judged(given.clone()), Some(param), "{given}");
        }
        let fine = json!({"max_budget": 0, "duration": "0s", "budget_duration": "monthly", "key_alias": "a..b/c",
            "key_type": "default", "allowed_routes": ["/x"], "tpm_limit": null});
        assert_eq!(judged(fine), None);
    }

    #[test]
    fn null_never_opens_a_key() {
        let mut row = KeyRow { models: vec!["a".into()], blocked: Some(true), ..blank() };
        let before = row.clone();
        let nulls = json!({"models": null, "blocked": null, "allowed_routes": null, "metadata": null});
        apply(&mut row, nulls.as_object().unwrap(), UNIX_EPOCH).unwrap();
        assert_eq!(row, before);
        apply(&mut row, json!({"models": []}).as_object().unwrap(), UNIX_EPOCH).unwrap();
        assert!(row.models.is_empty(), "an empty list is said in so many words");
    }

    #[test]
    fn a_duration_sets_and_minus_one_clears_the_end() {
        let mut row = blank();
        apply(&mut row, json!({"duration": "1m"}).as_object().unwrap(), UNIX_EPOCH).unwrap();
        assert_eq!(row.expires, Some(UNIX_EPOCH + Duration::from_secs(60)));
        apply(&mut row, json!({"duration": "-1"}).as_object().unwrap(), UNIX_EPOCH).unwrap();
        assert_eq!(row.expires, None);
        assert!(row.settings.is_empty(), "the duration itself is not kept");
    }

    fn blank() -> KeyRow {
        crate::keys::blank(KeyHash::of("sk-test"), UNIX_EPOCH, "default_user_id")
    }
}
