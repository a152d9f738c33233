//! `POST /key/generate` and `POST /key/service-account/generate`: a new key, whose string is shown this once.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{GenerateKeyRequest, NewKey};
use crate::keys::fields::{GENERATE_FIELDS, Given, KEY_FIELDS, check};
use crate::keys::material::KeyMaterial;
use crate::keys::{blank, shown, values};
use crate::problem::Problem;
use crate::store::KeyRow;
use crate::timestamp::now;

/// Creates a virtual key.
#[utoipa::path(post, path = "/key/generate", tag = "keys", request_body = GenerateKeyRequest, responses(
    (status = 200, body = NewKey, description = "The key; its string is in `key` and is never shown again"),
    (status = 400, description = "A value without sense: a duration, a negative limit, a taken alias, a weak key"),
    (status = 409, description = "The key string given in `key` exists or existed"),
    (status = 422, description = "An unknown field or a wrong type")))]
pub(crate) async fn generate_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[KEY_FIELDS, GENERATE_FIELDS]).map_err(Problem::Fields)?;
    create(&state, &caller, given, Owner::AsGiven).await.map(Json)
}

/// Creates a key that belongs to a team and to no user.
#[utoipa::path(post, path = "/key/service-account/generate", tag = "keys", request_body = GenerateKeyRequest, responses(
    (status = 200, body = NewKey), (status = 400, description = "No `team_id`")))]
pub(crate) async fn generate_service_account_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let mut given = check(body, &[KEY_FIELDS, GENERATE_FIELDS]).map_err(Problem::Fields)?;
    if given.fields.get("team_id").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Problem::Detail(StatusCode::BAD_REQUEST, "team_id is required for service account keys"));
    }
    if let Some(alias) = given.fields.get("key_alias").filter(|alias| alias.is_string()).cloned() {
        let metadata = given.fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.entry("service_account_id").or_insert(alias);
        }
    }
    if let Some(team_id) = given.fields.get("team_id").and_then(Value::as_str) {
        caller.administers(&state, team_id).await?;
    }
    create(&state, &caller, given, Owner::Nobody).await.map(Json)
}

/// Whose the new key is.
#[derive(PartialEq)]
pub(crate) enum Owner {
    AsGiven,
    /// Not even the user that the configured defaults name.
    Nobody,
}

/// Makes a key of fields whose types are right.
pub(crate) async fn create(
    state: &AdminState,
    caller: &Caller,
    mut given: Given,
    owner: Owner,
) -> Result<Map<String, Value>, Problem> {
    let rules = state.rules.load_full();
    let now = now();
    caller.may_say(&given.fields, &given.request)?;
    if given.text("key").is_some() && !caller.is_operator() {
        return Err(Problem::forbidden("Only proxy admin can choose the string of a key".to_owned()));
    }
    rules.complete(&mut given.fields);
    caller.own_new_key(state, &mut given.fields).await?;
    values::judge(&given.fields, now)?;
    if given.fields.get("duration").and_then(Value::as_str) == Some("-1") {
        return Err(Problem::invalid("duration", "Invalid duration: leave it out for a key that never expires"));
    }
    rules.upper_bounds.hold(&mut given.fields, true, now)?;
    let material = match given.text("key") {
        Some(text) => KeyMaterial::custom(text, "key", &rules)?,
        None => KeyMaterial::random(&rules)?,
    };
    let mut row = blank(material.hash(), now, &caller.user_id());
    row.key_name = material.name(&rules);
    values::apply(&mut row, &given.fields, now)?;
    if owner == Owner::Nobody {
        row.user_id = None;
    }
    caller.grants(state, &row).await?;
    let audit = caller.audit("created", row.token, None, Some(&row), now);
    let row = state.store.insert_key(row, audit).await?;
    Ok(issued(&row, &material))
}

/// The answer that carries a key string.
pub(crate) fn issued(row: &KeyRow, material: &KeyMaterial) -> Map<String, Value> {
    // First, as in LiteLLM: it is what people look for.
    let mut answer = Map::from_iter([("key".to_owned(), material.text().into())]);
    answer.extend(shown(row));
    answer.insert("token_id".to_owned(), row.token.to_string().into());
    answer.insert("duration".to_owned(), Value::Null);
    answer
}
