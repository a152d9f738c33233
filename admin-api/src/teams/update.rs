//! `POST /team/update`, `/team/block` and `/team/unblock`.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{NamedTeam, TeamDetails, UpdateTeamRequest, UpdatedTeam};
use crate::keys::fields::check;
use crate::keys::only_text;
use crate::problem::{FieldProblem, Problem};
use crate::teams::fields::{TEAM_FIELDS, UPDATE_TEAM_FIELDS};
use crate::teams::{apply, judge, rewrite, shown};
use crate::timestamp::now;

/// Changes the fields of a team that are named, and leaves the others.
#[utoipa::path(post, path = "/team/update", tag = "teams", request_body = UpdateTeamRequest, responses(
    (status = 200, body = UpdatedTeam, description = "The team as it is now"),
    (status = 404, description = "No such team")))]
pub(crate) async fn update_team(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let given = check(body, &[TEAM_FIELDS, UPDATE_TEAM_FIELDS]).map_err(Problem::Fields)?;
    judge(&given.fields, now())?;
    let missing = || Problem::field(FieldProblem::missing(&["body", "team_id"]));
    let team_id = given.text("team_id").ok_or_else(missing)?;
    let row = rewrite(&state, &caller, team_id, "updated", |row| {
        apply(row, &given.fields, now())?;
        Ok(Vec::new())
    });
    Ok(Json(json!({ "team_id": team_id, "data": shown(&row.await?) })))
}

/// Refuses the keys and tokens of a team until it is unblocked.
#[utoipa::path(post, path = "/team/block", tag = "teams", request_body = NamedTeam, responses(
    (status = 200, body = TeamDetails), (status = 404, description = "No such team")))]
pub(crate) async fn block_team(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    set_blocked(&state, &caller, body, true).await
}

/// Lets the keys and tokens of a team be used again.
#[utoipa::path(post, path = "/team/unblock", tag = "teams", request_body = NamedTeam, responses(
    (status = 200, body = TeamDetails), (status = 404, description = "No such team")))]
pub(crate) async fn unblock_team(
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
    let team_id = only_text(body, "team_id")?;
    let action = if blocked { "blocked" } else { "unblocked" };
    let row = rewrite(state, caller, &team_id, action, |row| {
        row.blocked = blocked;
        Ok(Vec::new())
    });
    Ok(Json(shown(&row.await?)))
}
