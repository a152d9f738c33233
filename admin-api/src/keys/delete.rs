//! `POST /key/delete`: ends keys for good, and says of each what became of it.
//!
//! LiteLLM lists unknown keys among the deleted ones; a revocation that did nothing must not look like one that did.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::DeleteKeysRequest;
use crate::keys::{Action, hash_of, rewrite};
use crate::problem::{FieldProblem, Problem};
use crate::store::is_keepable;

/// Most keys in one request.
const MAX_KEYS: usize = 1_000;

/// Deletes keys, named by `keys` (strings or hashes) or by `key_aliases`.
#[utoipa::path(post, path = "/key/delete", tag = "keys", request_body = DeleteKeysRequest, responses(
    (status = 200, description = "`deleted_keys` and `unknown_keys`, as they were named"),
    (status = 404, description = "None of them exists")))]
pub(crate) async fn delete_keys(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let (by_alias, names) = named(body)?;
    let (mut deleted, mut unknown, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for name in names.into_iter().filter(|name| seen.insert(name.clone())) {
        let token = match by_alias {
            true if is_keepable(&name) => state.store.key_by_alias(&name).await?.map(|row| row.token),
            true => None,
            false => hash_of(&name),
        };
        match token {
            Some(token) if delete(&state, &caller, token).await? => deleted.push(name),
            _ => unknown.push(name),
        }
    }
    if deleted.is_empty() {
        let message = "{'error': 'No keys found'}";
        return Err(Problem::Refused(StatusCode::NOT_FOUND, "invalid_request_error", message.into(), None));
    }
    let mut report = json!({ "deleted_keys": deleted });
    if !unknown.is_empty() {
        report["unknown_keys"] = json!(unknown);
    }
    Ok(Json(report))
}

/// Whether there was a live key to delete.
async fn delete(state: &AdminState, caller: &Caller, token: KeyHash) -> Result<bool, Problem> {
    let end = |row: &mut crate::store::KeyRow, now| {
        row.deleted_at = Some(now);
        row.deleted_by = Some(caller.user_id());
        Ok(())
    };
    match rewrite(state, caller, token, Action { word: "deleted", permission: "/key/delete" }, end).await {
        Ok(_) => Ok(true),
        // Not there, or not theirs: which of them is not said to whom it does not concern.
        Err(Problem::Refused(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN, ..)) => Ok(false),
        Err(other) => Err(other),
    }
}

fn named(mut body: Map<String, Value>) -> Result<(bool, Vec<String>), Problem> {
    let mut take = |name: &str| match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value::<Vec<String>>(value).map(Some).map_err(|_| {
            Problem::field(FieldProblem::new("list_type", &["body", name], "Input should be a valid list of strings"))
        }),
    };
    let (keys, aliases) = (take("keys")?, take("key_aliases")?);
    if let Some(other) = body.keys().next() {
        return Err(Problem::field(FieldProblem::unknown(&["body", other])));
    }
    let (by_alias, names) = match (keys, aliases) {
        (Some(keys), None) => (false, keys),
        (None, Some(aliases)) => (true, aliases),
        _ => return Err(Problem::invalid("keys", "Give either keys or key_aliases")),
    };
    if names.is_empty() || names.len() > MAX_KEYS {
        return Err(Problem::invalid("keys", format!("Name between 1 and {MAX_KEYS} keys")));
    }
    Ok((by_alias, names))
}
