//! `GET /team/info`, `/team/list` and `/v2/team/list`: what teams there are.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::document::{TeamDetails, TeamInfo, TeamPage};
use crate::keys::newest;
use crate::problem::{FieldProblem, Problem};
use crate::query::{Parameters, offset};
use crate::store::{KeyQuery, MemberRole, TeamQuery};
use crate::teams::{find, shown};

/// Most teams that are listed without pages.
const MOST_TEAMS: u64 = 1_000;

/// Most teams on one page.
const MAX_PAGE: u64 = 100;

/// Describes a team, its members and its newest keys, 100 at most.
#[utoipa::path(get, path = "/team/info", tag = "teams", params(("team_id" = String, Query)),
    responses((status = 200, body = TeamInfo), (status = 404, description = "No such team")))]
pub(crate) async fn team_info(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let team_id = query.text("team_id");
    query.finish()?;
    let team_id = team_id.ok_or_else(|| Problem::field(FieldProblem::missing(&["query", "team_id"])))?;
    let role = caller.role_in(&state, &team_id).await?.map(|(role, _)| role);
    if role.is_none() && !caller.sees_all() {
        return Err(Problem::not_yours());
    }
    let row = find(&state, &team_id).await?;
    // Members see their own keys, administrators all.
    let user_id = if role == Some(MemberRole::User) { caller.narrowed(None)? } else { None };
    let asked = KeyQuery { team_id: Some(team_id.clone()), user_id, ..KeyQuery::default() };
    let keys = newest(&*state.store, asked).await?;
    let memberships = row.members.iter().map(|member| {
        json!({ "user_id": member.user_id, "team_id": row.team_id, "spend": member.spend,
            "litellm_budget_table": member.settings })
    });
    Ok(Json(json!({
        "team_id": team_id,
        "team_info": shown(&row),
        "keys": keys,
        "team_memberships": memberships.collect::<Vec<_>>(),
    })))
}

/// Lists teams, the newest first. Where there are more than 1000, they come in pages only.
#[utoipa::path(get, path = "/team/list", tag = "teams", params(
    ("user_id" = Option<String>, Query, description = "Teams to which they belong"),
    ("organization_id" = Option<String>, Query)),
    responses((status = 200, body = Vec<TeamDetails>), (status = 400, description = "Too many for one answer")))]
pub(crate) async fn list_teams(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let asked = TeamQuery { limit: MOST_TEAMS, ..restricted(&mut query) };
    query.finish()?;
    let asked = TeamQuery { user_id: caller.narrowed(asked.user_id.clone())?, ..asked };
    let found = state.store.teams(&asked).await?;
    if found.total > MOST_TEAMS {
        let message = format!("There are more than {MOST_TEAMS} teams; list them by /v2/team/list, which has pages");
        return Err(Problem::invalid("organization_id", message));
    }
    Ok(Json(found.rows.iter().map(|row| Value::from(shown(row))).collect()))
}

/// Lists teams by pages, the newest first.
#[utoipa::path(get, path = "/v2/team/list", tag = "teams", params(
    ("page" = Option<u64>, Query, description = "From 1"),
    ("page_size" = Option<u64>, Query, description = "1 to 100; default 10"),
    ("team_id" = Option<String>, Query), ("team_alias" = Option<String>, Query),
    ("user_id" = Option<String>, Query, description = "Teams to which they belong"),
    ("organization_id" = Option<String>, Query)),
    responses((status = 200, body = TeamPage)))]
pub(crate) async fn list_teams_v2(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("page_size", 10, MAX_PAGE));
    let asked = TeamQuery {
        team_id: query.text("team_id"),
        alias: query.text("team_alias"),
        offset: offset(page, size),
        limit: size,
        ..restricted(&mut query)
    };
    query.finish()?;
    let asked = TeamQuery { user_id: caller.narrowed(asked.user_id.clone())?, ..asked };
    let found = state.store.teams(&asked).await?;
    Ok(Json(json!({
        "teams": found.rows.iter().map(shown).collect::<Vec<_>>(),
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}

fn restricted(query: &mut Parameters) -> TeamQuery {
    TeamQuery { organization_id: query.text("organization_id"), user_id: query.text("user_id"), ..TeamQuery::default() }
}
