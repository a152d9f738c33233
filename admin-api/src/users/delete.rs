//! `POST /user/delete`: ends users, their memberships and their keys.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::Value;

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::UsersRequest;
use crate::keys::{ATTEMPTS, only_texts};
use crate::problem::Problem;
use crate::store::StoreError;
use crate::timestamp::now;
use crate::users::{find, record};

/// Most users in one request.
const MAX_USERS: usize = 100;

/// Deletes users and, as LiteLLM does, their keys. If one is not there, none is deleted.
#[utoipa::path(post, path = "/user/delete", tag = "users", request_body = UsersRequest, responses(
    (status = 200, body = u64, description = "How many were deleted"),
    (status = 404, description = "One of them does not exist")))]
pub(crate) async fn delete_users(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let ids = only_texts(body, "user_ids", MAX_USERS)?;
    for id in &ids {
        find(&state, id).await?;
    }
    for id in &ids {
        delete(&state, &caller, id).await?;
    }
    Ok(Json(ids.len().into()))
}

async fn delete(state: &AdminState, caller: &Caller, id: &str) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        let mut row = find(state, id).await?;
        let audit = record(caller, "deleted", Some(&row), None, now());
        row.updated_at = audit.at;
        row.updated_by = Some(caller.user_id());
        match state.store.delete_user(row, audit).await {
            Err(StoreError::Conflict) => {}
            done => return Ok(done?),
        }
    }
    Err(Problem::contended("user_ids"))
}
