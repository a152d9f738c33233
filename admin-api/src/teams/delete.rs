//! `POST /team/delete`: ends teams, their memberships and their keys.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::TeamsRequest;
use crate::keys::{ATTEMPTS, only_texts};
use crate::problem::Problem;
use crate::store::StoreError;
use crate::teams::{find, record};
use crate::timestamp::now;

/// Most teams in one request.
const MAX_TEAMS: usize = 100;

/// Deletes teams and, as LiteLLM does, their keys. If one is not there, none is deleted.
#[utoipa::path(post, path = "/team/delete", tag = "teams", request_body = TeamsRequest, responses(
    (status = 200, description = "`deleted_teams`: the ids"), (status = 404, description = "One of them does not exist")))]
pub(crate) async fn delete_teams(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let ids = only_texts(body, "team_ids", MAX_TEAMS)?;
    for id in &ids {
        find(&state, id).await?;
    }
    for id in &ids {
        delete(&state, &caller, id).await?;
    }
    Ok(Json(json!({ "deleted_teams": ids })))
}

async fn delete(state: &AdminState, caller: &Caller, id: &str) -> Result<(), Problem> {
    for _ in 0..ATTEMPTS {
        let mut row = find(state, id).await?;
        let audit = record(caller, "deleted", Some(&row), None, now());
        row.updated_at = audit.at;
        row.updated_by = Some(caller.user_id());
        match state.store.delete_team(row, audit).await {
            Err(StoreError::Conflict) => {}
            done => return Ok(done?),
        }
    }
    Err(Problem::contended("team_ids"))
}
