//! `POST /team/member_add`, `/team/member_update` and `/team/member_delete`: who belongs to a team, and within what bounds.

use std::time::SystemTime;

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{
    AddMemberRequest, DeleteMemberRequest, TeamDetails, TeamWithMembers, UpdateMemberRequest, UpdatedMember,
};
use crate::keys::fields::{Given, check};
use crate::keys::values::{judge_fields, keep, reset_at};
use crate::problem::{FieldProblem, Problem};
use crate::store::{MemberChange, MemberRole, TeamMember, TeamRow, UserQuery};
use crate::teams::fields::{ADD_MEMBER_FIELDS, DELETE_MEMBER_FIELDS, MEMBER_FIELDS, UPDATE_MEMBER_FIELDS};
use crate::teams::{joins, member, rewrite, shown};
use crate::timestamp::now;

/// Most members in one request.
const MOST: usize = 500;

/// Adds members to a team. Somebody who belongs to it already keeps what they have spent.
#[utoipa::path(post, path = "/team/member_add", tag = "teams", request_body = AddMemberRequest, responses(
    (status = 200, body = TeamWithMembers), (status = 403, description = "Another team than one that the caller administers"),
    (status = 404, description = "No such team"), (status = 422, description = "An unknown field or a wrong type")))]
pub(crate) async fn add_member(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let mut given = check(body, &[MEMBER_FIELDS, ADD_MEMBER_FIELDS]).map_err(Problem::Fields)?;
    let now = now();
    judge_fields(MEMBER_FIELDS, &given.fields, now)?;
    let team_id = team_of(&given)?;
    let new = match given.request.remove("member") {
        Some(Value::Array(list)) if list.len() > MOST => {
            return Err(Problem::invalid("member", format!("At most {MOST} members in one request")));
        }
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
        None => return Err(Problem::field(FieldProblem::missing(&["body", "member"]))),
    };
    caller.administers(&state, &team_id).await?;
    let mut members = Vec::new();
    for one in new {
        members.push(bounded(member(&["body", "member"], &identified(&state, one).await?)?, &given.fields, now)?);
    }
    let change = |row: &mut TeamRow| {
        let joined = members.iter().map(|member| joins(member.clone(), &row.settings, now).map(MemberChange::Put));
        joined.collect()
    };
    let row = rewrite(&state, &caller, &team_id, "updated", change).await?;
    let added = |member: &&TeamMember| members.iter().any(|new| new.user_id == member.user_id);
    let memberships = row.members.iter().filter(added).map(|member| {
        json!({ "user_id": member.user_id, "team_id": row.team_id, "spend": member.spend,
            "litellm_budget_table": member.settings })
    });
    let memberships: Vec<_> = memberships.collect();
    let users: Vec<_> = members.iter().map(|member| json!({ "user_id": member.user_id })).collect();
    let mut answer = shown(&row);
    answer.insert("updated_users".to_owned(), users.into());
    answer.insert("updated_team_memberships".to_owned(), memberships.into());
    Ok(Json(answer.into()))
}

/// Changes what a member is in a team, and within what bounds; what is not named stays.
#[utoipa::path(post, path = "/team/member_update", tag = "teams", request_body = UpdateMemberRequest, responses(
    (status = 200, body = UpdatedMember), (status = 403, description = "Another team than one that the caller administers"),
    (status = 404, description = "No such team, or nobody of this id in it")))]
pub(crate) async fn update_member(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let given = check(body, &[MEMBER_FIELDS, UPDATE_MEMBER_FIELDS]).map_err(Problem::Fields)?;
    let now = now();
    judge_fields(MEMBER_FIELDS, &given.fields, now)?;
    let team_id = team_of(&given)?;
    caller.administers(&state, &team_id).await?;
    let role = given.text("role").and_then(MemberRole::named);
    let change = |row: &mut TeamRow| {
        let known = found(row, &given)?.clone();
        let changed = TeamMember { role: role.unwrap_or(known.role), ..known };
        Ok(vec![MemberChange::Put(bounded(changed, &given.fields, now)?)])
    };
    let row = rewrite(&state, &caller, &team_id, "updated", change).await?;
    let member = found(&row, &given)?;
    let mut answer = Map::from_iter([
        ("team_id".to_owned(), team_id.into()),
        ("user_id".to_owned(), member.user_id.clone().into()),
        ("user_email".to_owned(), member.user_email.clone().into()),
        ("role".to_owned(), member.role.name().into()),
    ]);
    for field in MEMBER_FIELDS {
        answer.insert(field.name.to_owned(), member.settings.get(field.name).cloned().unwrap_or_default());
    }
    Ok(Json(answer.into()))
}

/// Takes a member out of a team and, as LiteLLM does, ends their keys of it.
#[utoipa::path(post, path = "/team/member_delete", tag = "teams", request_body = DeleteMemberRequest, responses(
    (status = 200, body = TeamDetails), (status = 403, description = "Another team than one that the caller administers"),
    (status = 404, description = "No such team, or nobody of this id in it")))]
pub(crate) async fn delete_member(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[DELETE_MEMBER_FIELDS]).map_err(Problem::Fields)?;
    let team_id = team_of(&given)?;
    caller.administers(&state, &team_id).await?;
    let change = |row: &mut TeamRow| Ok(vec![MemberChange::Expel(found(row, &given)?.user_id.clone())]);
    Ok(Json(shown(&rewrite(&state, &caller, &team_id, "updated", change).await?)))
}

fn team_of(given: &Given) -> Result<String, Problem> {
    let team_id = given.text("team_id").map(str::to_owned);
    team_id.ok_or_else(|| Problem::field(FieldProblem::missing(&["body", "team_id"])))
}

/// The member whom a request names, by id or else by address.
fn found<'a>(row: &'a TeamRow, given: &Given) -> Result<&'a TeamMember, Problem> {
    let is_named = |member: &&TeamMember| match (given.text("user_id"), given.text("user_email")) {
        (Some(id), _) => member.user_id == id,
        (None, Some(email)) => member.user_email.as_deref() == Some(email),
        (None, None) => false,
    };
    row.members.iter().find(is_named).ok_or_else(Problem::user_not_found)
}

/// Finds out who is meant where only an address is given.
async fn identified(state: &AdminState, mut new: Value) -> Result<Value, Problem> {
    let text = |name: &str| new.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (None, Some(email)) = (text("user_id"), text("user_email")) {
        let asked = UserQuery { email: Some(email.to_owned()), limit: 2, ..UserQuery::default() };
        let [user] = state.store.users(&asked).await?.rows.try_into().map_err(|_| {
            Problem::invalid("user_email", "Not one user has this address: name them by user_id".to_owned())
        })?;
        let user: crate::store::UserRow = user;
        new["user_id"] = user.user_id.into();
    }
    Ok(new)
}

/// Writes what is given of bounds; null clears one.
fn bounded(mut member: TeamMember, given: &Map<String, Value>, now: SystemTime) -> Result<TeamMember, Problem> {
    for (name, value) in given {
        keep(&mut member.settings, name, value);
    }
    if let Some(duration) = given.get("budget_duration") {
        member.budget_reset_at = reset_at(duration, now)?;
    }
    Ok(member)
}
