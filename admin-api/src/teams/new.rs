//! `POST /team/new`.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{NewTeamRequest, TeamDetails};
use crate::identifier;
use crate::keys::fields::{Given, check};
use crate::keys::values::UNKEEPABLE;
use crate::problem::{FieldProblem, Problem};
use crate::store::{TeamMember, TeamRow, is_keepable};
use crate::teams::fields::{NEW_TEAM_FIELDS, TEAM_FIELDS};
use crate::teams::{apply, joins, judge, member, record, shown};
use crate::timestamp::now;

/// Makes a team. Without `team_id` it gets a random one.
#[utoipa::path(post, path = "/team/new", tag = "teams", request_body = NewTeamRequest, responses(
    (status = 200, body = TeamDetails), (status = 400, description = "A value without sense, or an id that is taken"),
    (status = 422, description = "An unknown field or a wrong type")))]
pub(crate) async fn new_team(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Map<String, Value>>, Problem> {
    let given = check(body, &[TEAM_FIELDS, NEW_TEAM_FIELDS]).map_err(Problem::Fields)?;
    let now = now();
    judge(&given.fields, now)?;
    let team_id = match given.text("team_id").filter(|id| !id.is_empty()) {
        Some(id) if is_keepable(id) => id.to_owned(),
        Some(_) => return Err(Problem::invalid("team_id", format!("team_id: {UNKEEPABLE}"))),
        None => identifier::random()?,
    };
    let by = Some(caller.user_id());
    let mut row = TeamRow {
        team_id,
        version: 1,
        team_alias: None,
        organization_id: None,
        models: Vec::new(),
        blocked: false,
        spend: 0.0,
        sets_spend: false,
        budget_reset_at: None,
        settings: Map::new(),
        members: members(&given)?,
        created_at: now,
        created_by: by.clone(),
        updated_at: now,
        updated_by: by,
    };
    apply(&mut row, &given.fields, now)?;
    for member in &mut row.members {
        *member = joins(member.clone(), &row.settings, now)?;
    }
    let audit = record(&caller, "created", None, Some(&row), now);
    Ok(Json(shown(&state.store.insert_team(row, audit).await?)))
}

fn members(given: &Given) -> Result<Vec<TeamMember>, Problem> {
    let listed = given.request.get("members_with_roles").and_then(Value::as_array);
    let each = listed.into_iter().flatten().enumerate();
    let members = each.map(|(index, one)| member(&["body", "members_with_roles", &index.to_string()], one));
    let mut members = members.collect::<Result<Vec<_>, _>>()?;
    members.sort_by(|one, other| one.user_id.cmp(&other.user_id));
    if members.windows(2).any(|pair| pair[0].user_id == pair[1].user_id) {
        let twice = FieldProblem::new("value_error", &["body", "members_with_roles"], "A member is listed twice");
        return Err(Problem::field(twice));
    }
    Ok(members)
}
