//! `GET /user/info` and `/user/list`: what users there are.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::document::{UserInfo, UserPage};
use crate::keys::newest;
use crate::problem::{FieldProblem, Problem};
use crate::query::{Parameters, offset};
use crate::store::{KeyQuery, TeamQuery, UserQuery};
use crate::teams;
use crate::users::{find, shown};

/// Most teams that are shown with a user; `/v2/team/list` has all of them.
const MOST_TEAMS: u64 = 100;

/// Most users on one page.
const MAX_PAGE: u64 = 100;

/// Describes a user, their newest keys and their newest teams, 100 of each at most.
#[utoipa::path(get, path = "/user/info", tag = "users", params(("user_id" = String, Query)),
    responses((status = 200, body = UserInfo), (status = 404, description = "No such user")))]
pub(crate) async fn user_info(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let user_id = query.text("user_id");
    query.finish()?;
    let user_id =
        caller.narrowed(user_id)?.ok_or_else(|| Problem::field(FieldProblem::missing(&["query", "user_id"])))?;
    let row = find(&state, &user_id).await?;
    let asked = KeyQuery { user_id: Some(user_id.clone()), ..KeyQuery::default() };
    let keys = newest(&*state.store, asked).await?;
    let asked = TeamQuery { user_id: Some(user_id.clone()), limit: MOST_TEAMS, ..TeamQuery::default() };
    let found = state.store.teams(&asked).await?.rows;
    let mut info = shown(&row);
    info.insert("teams".to_owned(), found.iter().map(|team| team.team_id.as_str()).collect());
    Ok(Json(json!({
        "user_id": user_id,
        "user_info": info,
        "keys": keys,
        "teams": found.iter().map(teams::shown).collect::<Vec<_>>(),
    })))
}

/// Lists users by pages, the newest first.
#[utoipa::path(get, path = "/user/list", tag = "users", params(
    ("page" = Option<u64>, Query, description = "From 1"),
    ("page_size" = Option<u64>, Query, description = "1 to 100; default 25"),
    ("role" = Option<String>, Query), ("user_email" = Option<String>, Query, description = "The whole address")),
    responses((status = 200, body = UserPage)))]
pub(crate) async fn list_users(State(state): State<AdminState>, mut query: Parameters) -> Result<Json<Value>, Problem> {
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("page_size", 25, MAX_PAGE));
    let asked = UserQuery {
        email: query.text("user_email"),
        role: query.text("role"),
        offset: offset(page, size),
        limit: size,
    };
    query.finish()?;
    let found = state.store.users(&asked).await?;
    Ok(Json(json!({
        "users": found.rows.iter().map(shown).collect::<Vec<_>>(),
        "total": found.total,
        "page": page,
        "page_size": size,
        "total_pages": found.total.div_ceil(size),
    })))
}
