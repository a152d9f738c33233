//! `POST /key/update` and `POST /key/bulk_update`: changes the fields that are named, leaves the others.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use portcullis_filters::calendar::iso_8601;
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{BulkUpdateRequest, KeyDetails, UpdateKeyRequest};
use crate::keys::fields::{Given, KEY_FIELDS, UPDATE_FIELDS, check};
use crate::keys::{Action, hash_of, rewrite, shown, values};
use crate::problem::{FieldProblem, Problem};
use crate::store::{KeyRow, is_keepable};
use crate::timestamp::now;

/// Most keys in one bulk request.
const MAX_BULK: usize = 500;

/// Changes a key, named by `key` (string or hash) or else by `key_alias`.
#[utoipa::path(post, path = "/key/update", tag = "keys", request_body = UpdateKeyRequest, responses(
    (status = 200, body = KeyDetails, description = "The key as it is now"),
    (status = 404, description = "No such live key")))]
pub(crate) async fn update_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let (echo, row) = update(&state, &caller, body).await?;
    let mut answer = shown(&row);
    answer.insert("key".to_owned(), echo.into());
    Ok(Json(answer))
}

/// Changes several keys, each for itself: one that fails does not stop the others.
#[utoipa::path(post, path = "/key/bulk_update", tag = "keys", request_body = BulkUpdateRequest, responses(
    (status = 200, description = "What became of each")))]
pub(crate) async fn bulk_update_keys(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(mut body): Fields,
) -> Result<Json<Value>, Problem> {
    let Some(Value::Array(updates)) = body.remove("keys") else {
        return Err(Problem::field(FieldProblem::missing(&["body", "keys"])));
    };
    if let Some(other) = body.keys().next() {
        return Err(Problem::field(FieldProblem::unknown(&["body", other])));
    }
    if updates.len() > MAX_BULK {
        return Err(Problem::invalid("keys", format!("At most {MAX_BULK} keys in one request")));
    }
    let (total, mut done, mut failed) = (updates.len(), Vec::new(), Vec::new());
    for one in updates {
        let key = one.get("key").or_else(|| one.get("key_alias")).cloned().unwrap_or(Value::Null);
        let outcome = match one {
            Value::Object(body) => update(&state, &caller, body).await,
            _ => Err(Problem::field(FieldProblem::new("dict_type", &["keys"], "Input should be a valid dictionary"))),
        };
        match outcome {
            Ok((_, row)) => done.push(json!({ "key": key, "key_info": shown(&row) })),
            Err(problem) => failed.push(json!({ "key": key, "key_info": null, "failed_reason": problem.reason() })),
        }
    }
    Ok(Json(json!({ "total_requested": total, "successful_updates": done, "failed_updates": failed })))
}

async fn update(state: &AdminState, caller: &Caller, body: Map<String, Value>) -> Result<(String, KeyRow), Problem> {
    let mut given = check(body, &[KEY_FIELDS, UPDATE_FIELDS]).map_err(Problem::Fields)?;
    let read_at = now();
    values::judge(&given.fields, read_at)?;
    judge_temporary_budget(&given.fields)?;
    caller.may_say(&given.fields, &given.request)?;
    state.rules.load().upper_bounds.hold(&mut given.fields, false, read_at)?;
    let (echo, token) = named(state, caller, &given).await?;
    if given.text("key").is_none() {
        // The alias only said which key is meant.
        given.fields.remove("key_alias");
    }
    const UPDATE: Action = Action { word: "updated", permission: "/key/update" };
    let change = |row: &mut KeyRow, now| {
        let (owner, team_id) = (row.user_id.clone(), row.team_id.clone());
        values::apply(row, &given.fields, now)?;
        match caller.is_operator() || (row.user_id == owner && row.team_id == team_id) {
            true => Ok(()),
            false => Err(Problem::forbidden("Only proxy admin can give a key to somebody else".to_owned())),
        }
    };
    Ok((echo, rewrite(state, caller, token, UPDATE, change).await?))
}

async fn named(
    state: &AdminState,
    caller: &Caller,
    given: &Given,
) -> Result<(String, portcullis_filters::authn::virtual_key::KeyHash), Problem> {
    if let Some(key) = given.text("key") {
        return Ok((key.to_owned(), hash_of(key).ok_or_else(Problem::key_not_found)?));
    }
    let alias =
        given.fields.get("key_alias").and_then(Value::as_str).filter(|alias| !alias.is_empty() && is_keepable(alias));
    let alias = alias.ok_or_else(|| Problem::invalid("key", "Name the key by key or by key_alias"))?;
    let unknown = || if caller.is_operator() { Problem::key_not_found() } else { Problem::not_yours() };
    let row = state.store.key_by_alias(alias).await?.ok_or_else(unknown)?;
    Ok((row.token.to_string(), row.token))
}

fn judge_temporary_budget(given: &Map<String, Value>) -> Result<(), Problem> {
    let set = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
    if set("temp_budget_increase") != set("temp_budget_expiry") {
        let message = "temp_budget_increase and temp_budget_expiry go together";
        return Err(Problem::invalid("temp_budget_expiry", message));
    }
    let expiry = given.get("temp_budget_expiry").and_then(Value::as_str);
    if expiry.is_some_and(|text| iso_8601(text).is_none()) {
        return Err(Problem::invalid(
            "temp_budget_expiry",
            "Invalid temp_budget_expiry: write it as 2026-01-31T09:30:00Z",
        ));
    }
    if given.get("temp_budget_increase").and_then(Value::as_f64).is_some_and(|amount| amount < 0.0) {
        return Err(Problem::Refused(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "temp_budget_increase must not be negative".into(),
            Some("temp_budget_increase"),
        ));
    }
    Ok(())
}
