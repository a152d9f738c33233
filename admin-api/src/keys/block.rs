//! `POST /key/block` and `POST /key/unblock`.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{KeyDetails, NamedKey};
use crate::keys::{Action, hash_of, only_text, rewrite, shown};
use crate::problem::Problem;

/// Refuses a key until it is unblocked.
#[utoipa::path(post, path = "/key/block", tag = "keys", request_body = NamedKey, responses(
    (status = 200, body = KeyDetails), (status = 404, description = "No such live key")))]
pub(crate) async fn block_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    set_blocked(&state, &caller, body, true).await
}

/// Lets a blocked key be used again.
#[utoipa::path(post, path = "/key/unblock", tag = "keys", request_body = NamedKey, responses(
    (status = 200, body = KeyDetails), (status = 404, description = "No such live key")))]
pub(crate) async fn unblock_key(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    set_blocked(&state, &caller, body, false).await
}

async fn set_blocked(
    state: &AdminState,
    caller: &Caller,
    body: Map<String, Value>,
    blocked: bool,
) -> Result<Json<Map<String, Value>>, Problem> {
    let key = only_text(body, "key")?;
    let token = hash_of(&key).ok_or_else(Problem::key_not_found)?;
    let (word, permission) = if blocked { ("blocked", "/key/block") } else { ("unblocked", "/key/unblock") };
    let change = |row: &mut crate::store::KeyRow, _| {
        row.blocked = Some(blocked);
        Ok(())
    };
    Ok(Json(shown(&rewrite(state, caller, token, Action { word, permission }, change).await?)))
}
