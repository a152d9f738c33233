//! `GET /key/info`, `POST /v2/key/info` and `POST /key/health`: what a key is.
//!
//! A key may read itself, and whoever has a role what is theirs. LiteLLM takes two absent owners for the same one; here
//! nobody is nobody's owner, and the refusal does not tell whether another key exists.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{KeyInfo, KeyInfos, KeysRequest};
use crate::keys::{described, find, hash_of};
use crate::problem::{FieldProblem, Problem};
use crate::query::Parameters;
use crate::timestamp::now;

/// Most keys in one request.
const MAX_KEYS: usize = 1_000;

/// Describes the key named by `key` (string or hash), or the caller's own.
#[utoipa::path(get, path = "/key/info", tag = "keys",
    params(("key" = Option<String>, Query, description = "Hash or key; left out: the caller's own")),
    responses((status = 200, body = KeyInfo), (status = 403, description = "Another key than the caller's own"),
        (status = 404, description = "No such key")))]
pub(crate) async fn key_info(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let named = query.text("key");
    query.finish()?;
    let token = match &named {
        Some(text) => hash_of(text),
        None => caller.principal.key().map(|key| key.id),
    };
    let row = match token {
        Some(token) => find(&*state.store, token).await?,
        None => None,
    };
    match row {
        Some(row) if caller.sees_key(&state, &row).await? => {
            let echo = named.unwrap_or_else(|| row.token.to_string());
            Ok(Json(json!({ "key": echo, "info": described(&row, now()) })))
        }
        _ if caller.sees_all() => Err(Problem::key_not_found()),
        _ => Err(Problem::not_yours()),
    }
}

/// Describes several keys; unknown ones are left out.
#[utoipa::path(post, path = "/v2/key/info", tag = "keys", request_body = KeysRequest, responses(
    (status = 200, body = KeyInfos, description = "Both lists in the same order"),
    (status = 404, description = "None of them exists")))]
pub(crate) async fn key_infos(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(mut body): Fields,
) -> Result<Json<Value>, Problem> {
    let keys = body.remove("keys").ok_or_else(|| Problem::field(FieldProblem::missing(&["body", "keys"])))?;
    let keys: Vec<String> = serde_json::from_value(keys).map_err(|_| {
        Problem::field(FieldProblem::new("list_type", &["body", "keys"], "Input should be a valid list of strings"))
    })?;
    if let Some(other) = body.keys().next() {
        return Err(Problem::field(FieldProblem::unknown(&["body", other])));
    }
    if keys.len() > MAX_KEYS {
        return Err(Problem::invalid("keys", format!("At most {MAX_KEYS} keys in one request")));
    }
    let now = now();
    let (mut found, mut infos): (Vec<String>, Vec<Map<String, Value>>) = (Vec::new(), Vec::new());
    for key in keys {
        let Some(token) = hash_of(&key) else { continue };
        if let Some(row) = find(&*state.store, token).await?
            && caller.sees_key(&state, &row).await?
        {
            found.push(key);
            infos.push(described(&row, now));
        }
    }
    if found.is_empty() {
        return Err(Problem::key_not_found());
    }
    Ok(Json(json!({ "key": found, "info": infos })))
}

/// Says that the caller's key works.
#[utoipa::path(post, path = "/key/health", tag = "keys", responses((status = 200, description = "It does")))]
pub(crate) async fn key_health() -> Json<Value> {
    Json(json!({ "key": "healthy", "logging_callbacks": null }))
}
