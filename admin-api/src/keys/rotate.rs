//! `POST /key/regenerate` and `POST /key/{key}/regenerate`: a new string for a key that keeps everything else.
//!
//! Rotation is the one write that cannot simply be tried again: if its answer is lost, so is the new string. With an
//! `Idempotency-Key` the string is derived instead of drawn, so the same request finds the rotation that it made and
//! answers with the same string, which was stored nowhere.

use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::OptionalFields;
use crate::document::{NewKey, RegenerateKeyRequest};
use crate::duration::Span;
use crate::keys::fields::{Given, KEY_FIELDS, ROTATE_FIELDS, check};
use crate::keys::generate::issued;
use crate::keys::material::{KeyMaterial, salt};
use crate::keys::rules::KeyRules;
use crate::keys::{ATTEMPTS, hash_of, values};
use crate::problem::{FieldProblem, Problem};
use crate::store::{Replay, Rotation, StoreError};
use crate::timestamp::now;

/// Bounds of an `Idempotency-Key`, in bytes: a UUID fits, a counter does not.
const IDEMPOTENCY_KEY: std::ops::RangeInclusive<usize> = 16..=255;

/// Replaces the string of the key named in the body.
#[utoipa::path(post, path = "/key/regenerate", tag = "keys", request_body = RegenerateKeyRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Repeating a request with the same value (16 to 255
        characters) does not rotate again and gives the same new key")),
    responses((status = 200, body = NewKey), (status = 404, description = "No such live key")))]
pub(crate) async fn regenerate_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    OptionalFields(body): OptionalFields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[KEY_FIELDS, ROTATE_FIELDS]).map_err(Problem::Fields)?;
    let key = given.text("key").ok_or_else(|| Problem::field(FieldProblem::missing(&["body", "key"])))?.to_owned();
    regenerate(&state, &caller, &headers, &key, given).await.map(Json)
}

/// Replaces the string of the key named in the path. Its hash is the better name there: paths end up in logs.
#[utoipa::path(post, path = "/key/{key}/regenerate", tag = "keys", request_body = RegenerateKeyRequest,
    params(("key" = String, Path, description = "The key's hash, or the key itself")),
    responses((status = 200, body = NewKey), (status = 404, description = "No such live key")))]
pub(crate) async fn regenerate_key_in_path(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    headers: HeaderMap,
    OptionalFields(body): OptionalFields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[KEY_FIELDS, ROTATE_FIELDS]).map_err(Problem::Fields)?;
    if given.text("key").is_some_and(|named| named != key) {
        return Err(Problem::invalid("key", "The key in the path and the key in the body differ"));
    }
    regenerate(&state, &caller, &headers, &key, given).await.map(Json)
}

async fn regenerate(
    state: &AdminState,
    caller: &Caller,
    headers: &HeaderMap,
    key: &str,
    mut given: Given,
) -> Result<Map<String, Value>, Problem> {
    let rules = state.rules.load_full();
    let read_at = now();
    if given.request.contains_key("new_master_key") {
        let message = "The master key is changed in the configuration, where several may stand while clients move";
        return Err(Problem::invalid("new_master_key", message));
    }
    values::judge(&given.fields, read_at)?;
    caller.may_say(&given.fields, &given.request)?;
    rules.upper_bounds.hold(&mut given.fields, false, read_at)?;
    grace_until(&given, &rules, read_at)?;
    let request = Request { key: idempotency_key(headers)?, old: hash_of(key).ok_or_else(Problem::key_not_found)? };
    for _ in 0..ATTEMPTS {
        if let Some(answer) = rotate(state, caller, &rules, &request, &given).await? {
            return Ok(answer);
        }
    }
    Err(Problem::contended("key"))
}

/// What a team may permit its members.
const ROTATE: &str = "/key/regenerate";

/// Which rotation is asked for.
struct Request {
    key: Option<String>,
    old: KeyHash,
}

/// The answer to a rotation that this very request made before.
async fn replayed(
    state: &AdminState,
    caller: &Caller,
    rules: &KeyRules,
    request: &Request,
    given: &Given,
) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(key) = &request.key else { return Ok(None) };
    let Some(replay) = state.store.replay(request.old, *KeyHash::of(key).as_bytes()).await? else { return Ok(None) };
    let material = match given.text("new_key") {
        Some(text) => KeyMaterial::custom(text, "new_key", rules)?,
        None => KeyMaterial::derived(rules, key, &replay.salt, request.old),
    };
    let row = state.store.key(replay.new).await?.filter(|row| row.deleted_at.is_none());
    if let Some(row) = &row {
        caller.manages_key(state, row, ROTATE).await?;
    }
    match row {
        Some(row) if material.hash() == replay.new => Ok(Some(issued(&row, &material))),
        _ => Err(Problem::Refused(
            StatusCode::CONFLICT,
            "bad_request_error",
            "This rotation was made before, and its key has since been replaced or cannot be shown again".into(),
            Some("Idempotency-Key"),
        )),
    }
}

/// One try; `None` if somebody else wrote the row first.
async fn rotate(
    state: &AdminState,
    caller: &Caller,
    rules: &KeyRules,
    request: &Request,
    given: &Given,
) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(before) = state.store.key(request.old).await?.filter(|row| row.deleted_at.is_none()) else {
        // A rotation moves the row away from the old hash: only a row that is gone can be this request's own work.
        let unknown = || if caller.is_operator() { Problem::key_not_found() } else { Problem::not_yours() };
        return replayed(state, caller, rules, request, given).await?.map(Some).ok_or_else(unknown);
    };
    caller.manages_key(state, &before, ROTATE).await?;
    let now = now();
    let salt = salt()?;
    let material = match (given.text("new_key"), &request.key) {
        (Some(text), _) => KeyMaterial::custom(text, "new_key", rules)?,
        (None, Some(key)) => KeyMaterial::derived(rules, key, &salt, request.old),
        (None, None) => KeyMaterial::random(rules)?,
    };
    let mut row = before.clone();
    values::apply(&mut row, &given.fields, now)?;
    if !caller.is_operator() && (row.user_id != before.user_id || row.team_id != before.team_id) {
        return Err(Problem::forbidden("Only proxy admin can give a key to somebody else".to_owned()));
    }
    caller.grants(state, &row).await?;
    row.token = material.hash();
    row.key_name = material.name(rules);
    row.rotation_count += 1;
    row.last_rotation_at = Some(now);
    row.updated_at = now;
    row.updated_by = Some(caller.user_id());
    let rotation = Rotation {
        old: request.old,
        grace_until: grace_until(given, rules, now)?,
        replay: request.key.as_ref().map(|key| Replay { request: *KeyHash::of(key).as_bytes(), salt, new: row.token }),
        row,
    };
    let audit = caller.audit("rotated", request.old, Some(&before), Some(&rotation.row), now);
    match state.store.rotate_key(rotation, audit).await {
        Err(StoreError::TokenTaken) => Err(Problem::Refused(
            StatusCode::CONFLICT,
            "bad_request_error",
            "A key with this value exists or existed already".into(),
            Some("new_key"),
        )),
        Err(StoreError::Conflict) => Ok(None),
        done => Ok(Some(issued(&done?, &material))),
    }
}

/// When the old string ends: as the request says, else as the configuration says. An empty text ends it at once.
fn grace_until(given: &Given, rules: &KeyRules, now: SystemTime) -> Result<Option<SystemTime>, Problem> {
    let span = match given.text("grace_period") {
        Some("") => None,
        Some(text) => Some(
            text.parse::<Span>()
                .map_err(|error| Problem::invalid("grace_period", format!("Invalid grace_period: {error}")))?,
        ),
        None => rules.grace_period,
    };
    let Some(span) = span.filter(|span| !matches!(span, Span::Seconds(0) | Span::Months(0))) else { return Ok(None) };
    let end = span.after(now);
    end.map(Some).ok_or_else(|| Problem::invalid("grace_period", "Invalid grace_period: it ends after the year 9999"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() && IDEMPOTENCY_KEY.contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(Problem::invalid("Idempotency-Key", "Idempotency-Key: one value of 16 to 255 visible characters")),
    }
}
