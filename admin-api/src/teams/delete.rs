//! `POST /team/delete`: ends teams, their memberships and their keys.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::TeamsRequest;
use crate::keys::ATTEMPTS;
use crate::problem::{FieldProblem, Problem};
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
    Fields(mut body): Fields,
) -> Result<Json<Value>, Problem> {
    let ids = body.remove("team_ids").ok_or_else(|| Problem::field(FieldProblem::missing(&["body", "team_ids"])))?;
    let ids: BTreeSet<String> = serde_json::from_value(ids).map_err(|_| {
        Problem::field(FieldProblem::new("list_type", &["body", "team_ids"], "Input should be a valid list of strings"))
    })?;
    if let Some(other) = body.keys().next() {
        return Err(Problem::field(FieldProblem::unknown(&["body", other])));
    }
    if ids.is_empty() || ids.len() > MAX_TEAMS {
        return Err(Problem::invalid("team_ids", format!("Name between 1 and {MAX_TEAMS} teams")));
    }
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
