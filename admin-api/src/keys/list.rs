//! `GET /key/list` and `GET /key/aliases`: pages of keys and of their names.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::document::{AliasPage, KeyPage};
use crate::keys::{described, hash_of};
use crate::problem::Problem;
use crate::query::{Parameters, offset};
use crate::store::{KeyQuery, KeySort, KeyStatus};
use crate::timestamp::now;

/// Most entries on one page.
const MAX_PAGE: u64 = 100;

const STATUSES: &[(&str, KeyStatus)] = &[
    ("active", KeyStatus::Active),
    ("expired", KeyStatus::Expired),
    ("revoked", KeyStatus::Revoked),
    ("deleted", KeyStatus::Deleted),
];

const SORTS: &[(&str, KeySort)] = &[
    ("created_at", KeySort::CreatedAt),
    ("updated_at", KeySort::UpdatedAt),
    ("expires", KeySort::Expires),
    ("key_alias", KeySort::Alias),
    ("spend", KeySort::Spend),
];

/// Filters of LiteLLM's that no store here answers: refused, because a listing that ignored them would show too much.
const UNSUPPORTED: &[&str] = &["project_id", "agent_id", "access_group_id", "expires"];

/// Lists keys: their hashes, or with `return_full_object` all that may be shown of them.
#[utoipa::path(get, path = "/key/list", tag = "keys", params(
    ("page" = Option<u64>, Query, description = "From 1"),
    ("size" = Option<u64>, Query, description = "1 to 100; default 10"),
    ("user_id" = Option<String>, Query), ("team_id" = Option<String>, Query), ("organization_id" = Option<String>, Query),
    ("key_hash" = Option<String>, Query), ("key_alias" = Option<String>, Query),
    ("search" = Option<String>, Query, description = "A part of the alias"),
    ("substring_matching" = Option<bool>, Query, description = "`key_alias` may match anywhere"),
    ("status" = Option<String>, Query, description = "active, expired, revoked or deleted"),
    ("sort_by" = Option<String>, Query, description = "created_at, updated_at, expires, key_alias or spend"),
    ("sort_order" = Option<String>, Query, description = "asc or desc (default)"),
    ("return_full_object" = Option<bool>, Query)),
    responses((status = 200, body = KeyPage)))]
pub(crate) async fn list_keys(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    for name in UNSUPPORTED {
        if query.text(name).is_some() {
            return Err(Problem::invalid(name, format!("Keys cannot be listed by {name}")));
        }
    }
    // Whoever may see them sees them anyway; users are not expanded.
    for name in ["include_team_keys", "include_created_by_keys"] {
        query.flag(name);
    }
    query.word("expand", &[("user", ())]);
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("size", 10, MAX_PAGE));
    let full = query.flag("return_full_object");
    let now = now();
    let search = query.text("search");
    let token = query.text("key_hash").map(|text| hash_of(&text));
    let asked = KeyQuery {
        user_id: query.text("user_id"),
        team_id: query.text("team_id"),
        organization_id: query.text("organization_id"),
        token: token.flatten(),
        substring: query.flag("substring_matching") || search.is_some(),
        alias: query.text("key_alias").or(search),
        status: query.word("status", STATUSES),
        sort: query.word("sort_by", SORTS).unwrap_or_default(),
        descending: query.word("sort_order", &[("asc", false), ("desc", true)]).unwrap_or(true),
        offset: offset(page, size),
        limit: size,
        now: Some(now),
    };
    query.finish()?;
    if token == Some(None) {
        return Err(Problem::invalid("key_hash", "key_hash is 64 hexadecimal digits"));
    }
    let asked = match &asked.team_id {
        // All keys of a team are its administrators' to see; of other teams and of none, their own.
        Some(team_id) if caller.administers(&state, team_id).await.is_ok() => asked,
        _ => KeyQuery { user_id: caller.narrowed(asked.user_id.clone())?, ..asked },
    };
    let found = state.store.keys(&asked).await?;
    let keys: Vec<Value> = found
        .rows
        .iter()
        .map(|row| {
            if !full {
                return row.token.to_string().into();
            }
            let mut object = described(row, now);
            object.insert("token".to_owned(), row.token.to_string().into());
            object.into()
        })
        .collect();
    Ok(Json(json!({
        "keys": keys,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
    })))
}

/// Lists the aliases of live keys.
#[utoipa::path(get, path = "/key/aliases", tag = "keys", params(
    ("page" = Option<u64>, Query), ("size" = Option<u64>, Query, description = "1 to 100; default 50"),
    ("search" = Option<String>, Query), ("team_id" = Option<String>, Query)),
    responses((status = 200, body = AliasPage)))]
pub(crate) async fn list_aliases(
    State(state): State<AdminState>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let (page, size) = (query.count("page", 1, u64::MAX), query.count("size", 50, MAX_PAGE));
    let (search, team) = (query.text("search"), query.text("team_id"));
    query.finish()?;
    let found = state.store.aliases(search.as_deref(), team.as_deref(), offset(page, size), size).await?;
    Ok(Json(json!({
        "aliases": found.rows,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
        "size": size,
    })))
}
