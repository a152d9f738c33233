//! Users as the management API sees them: how a user is shown and rewritten.
//!
//! A user's role counts for the tokens that name them, and their models for the keys and tokens that act for no team.

pub(crate) mod delete;
pub(crate) mod fields;
pub(crate) mod info;
pub(crate) mod new;
pub(crate) mod update;

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::audit::redacted;
use crate::authenticate::Caller;
use crate::keys::fields::Place;
use crate::keys::values::{UNKEEPABLE, judge_fields, keep, replace, reset_at, text};
use crate::problem::Problem;
use crate::store::{AuditRow, UserRow, is_keepable};
use crate::timestamp::iso8601;
use crate::users::fields::USER_FIELDS;

async fn find(state: &AdminState, user_id: &str) -> Result<UserRow, Problem> {
    let found = if is_keepable(user_id) { state.store.user(user_id).await? } else { None };
    found.ok_or_else(Problem::user_not_found)
}

/// The audit row of something that is done to a user.
fn record(
    caller: &Caller,
    action: &str,
    before: Option<&UserRow>,
    after: Option<&UserRow>,
    now: SystemTime,
) -> AuditRow {
    let id = before.or(after).map(|row| row.user_id.clone()).unwrap_or_default();
    let fields = |row: Option<&UserRow>| row.map_or(Value::Null, |row| redacted(shown(row).into()));
    caller.author().audit(action, "user", id, (fields(before), fields(after)), now)
}

/// The user as an answer shows them: every field that LiteLLM knows, given or not, and the columns.
fn shown(row: &UserRow) -> Map<String, Value> {
    let columns = json!({
        "user_id": row.user_id,
        "user_email": row.user_email,
        "user_alias": row.user_alias,
        "user_role": row.role,
        "models": row.models,
        "spend": row.spend,
        "created_at": iso8601(row.created_at),
        "updated_at": iso8601(row.updated_at),
        "budget_reset_at": row.budget_reset_at.map(iso8601),
    });
    let Value::Object(mut shown) = columns else { return Map::new() };
    for (name, value) in &row.settings {
        shown.entry(name).or_insert_with(|| value.clone());
    }
    for field in USER_FIELDS.iter().filter(|field| field.place == Place::Settings) {
        shown.entry(field.name).or_insert_with(|| field.absent.value());
    }
    shown
}

/// Refuses values that have the right type but no sense.
fn judge(given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    judge_fields(USER_FIELDS, given, now)?;
    for name in ["user_email", "user_alias"] {
        if given.get(name).and_then(Value::as_str).is_some_and(|text| !is_keepable(text)) {
            return Err(Problem::invalid(name, format!("{name}: {UNKEEPABLE}")));
        }
    }
    Ok(())
}

/// Writes accepted values into the row. Null clears a field, but neither the models nor the spend: what opens a user's keys
/// has to be said in so many words.
fn apply(row: &mut UserRow, given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    for (name, value) in given {
        match name.as_str() {
            "user_email" => row.user_email = text(value),
            "user_alias" => row.user_alias = text(value),
            "user_role" => row.role = text(value),
            "models" => replace(&mut row.models, value),
            "spend" => {
                row.spend = value.as_f64().unwrap_or(row.spend);
                row.sets_spend = true;
            }
            _ => keep(&mut row.settings, name, value),
        }
    }
    if let Some(value) = given.get("budget_duration") {
        row.budget_reset_at = reset_at(value, now)?;
    }
    Ok(())
}
