//! `POST /user/new`: a user and, as LiteLLM does it, their first key.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{NewUser, NewUserRequest};
use crate::identifier;
use crate::keys::fields::{Given, check};
use crate::keys::generate::{Owner, create};
use crate::keys::values::{self, UNKEEPABLE};
use crate::problem::Problem;
use crate::store::{MemberChange, MemberRole, TeamMember, UserRow, is_keepable};
use crate::teams;
use crate::timestamp::now;
use crate::users::fields::{NEW_USER_FIELDS, USER_FIELDS};
use crate::users::{apply, judge, record, shown};

/// What the answer says of the first key, beside what it says of the user.
const OF_KEY: &[&str] = &["key", "key_name", "key_alias", "token", "token_id", "expires", "team_id", "created_by"];

/// What the first key is told of the request.
const TOLD_KEY: &[&str] = &["key_alias", "duration", "aliases", "blocked", "team_id", "organization_id"];

/// Makes a user, who joins `teams`, and unless `auto_create_key` is false a key of theirs with the same models.
#[utoipa::path(post, path = "/user/new", tag = "users", request_body = NewUserRequest, responses(
    (status = 200, body = NewUser, description = "The user; the string of their key is in `key` and is never shown again"),
    (status = 400, description = "A value without sense, or an id that is taken"),
    (status = 404, description = "One of the teams does not exist"),
    (status = 422, description = "An unknown field or a wrong type")))]
pub(crate) async fn new_user(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[USER_FIELDS, NEW_USER_FIELDS]).map_err(Problem::Fields)?;
    let now = now();
    judge(&given.fields, now)?;
    let user_id = match given.text("user_id").filter(|id| !id.is_empty()) {
        Some(id) if is_keepable(id) => id.to_owned(),
        Some(_) => return Err(Problem::invalid("user_id", format!("user_id: {UNKEEPABLE}"))),
        None => identifier::random()?,
    };
    let wants_key = given.request.get("auto_create_key").and_then(Value::as_bool).unwrap_or(true);
    let of_key = key_fields(&given, &user_id);
    values::judge(&of_key, now)?;
    let joined: BTreeSet<&str> = listed(&given, "teams").collect();
    for team_id in &joined {
        teams::find(&state, team_id).await?;
    }
    let by = Some(caller.user_id());
    let mut row = UserRow {
        user_id,
        version: 1,
        user_email: None,
        user_alias: None,
        role: None,
        models: Vec::new(),
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Map::new(),
        created_at: now,
        created_by: by.clone(),
        updated_at: now,
        updated_by: by,
    };
    apply(&mut row, &given.fields, now)?;
    let audit = record(&caller, "created", None, Some(&row), now);
    let row = state.store.insert_user(row, audit).await?;
    for team_id in &joined {
        let member = TeamMember::new(row.user_id.clone(), row.user_email.clone(), MemberRole::User);
        let member = MemberChange::Put(member);
        teams::rewrite(&state, &caller, team_id, "updated", |_| Ok(vec![member.clone()])).await?;
    }
    let mut answer = shown(&row);
    answer.insert("teams".to_owned(), joined.into_iter().collect());
    if wants_key {
        let given = Given { fields: of_key, request: Map::new() };
        let key = create(&state, &caller, given, Owner::AsGiven).await?;
        answer.extend(key.into_iter().filter(|(name, _)| OF_KEY.contains(&name.as_str())));
    } else {
        answer.extend(OF_KEY.iter().map(|name| ((*name).to_owned(), Value::Null)));
    }
    Ok(Json(answer))
}

fn key_fields(given: &Given, user_id: &str) -> Map<String, Value> {
    let told = TOLD_KEY.iter().filter_map(|name| Some(((*name).to_owned(), given.request.get(*name)?.clone())));
    let models = given.fields.get("models").map(|models| ("models".to_owned(), models.clone()));
    let owner = ("user_id".to_owned(), user_id.into());
    told.chain(models).chain([owner]).collect()
}

fn listed<'a>(given: &'a Given, name: &str) -> impl Iterator<Item = &'a str> {
    given.request.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
