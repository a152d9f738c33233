//! Teams as the management API sees them: how a team is shown and rewritten.
//!
//! A team's models and its block count for every key and token of it; they are the decision's (`filters::directory`).

pub(crate) mod delete;
pub(crate) mod fields;
pub(crate) mod info;
pub(crate) mod members;
pub(crate) mod new;
pub(crate) mod update;

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::AdminState;
use crate::audit::redacted;
use crate::authenticate::Caller;
use crate::keys::ATTEMPTS;
use crate::keys::fields::Place;
use crate::keys::values::{UNKEEPABLE, id, judge_fields, keep, replace, reset_at};
use crate::problem::{FieldProblem, Problem};
use crate::store::{AuditRow, MemberChange, MemberRole, StoreError, TeamMember, TeamRow, is_keepable};
use crate::teams::fields::TEAM_FIELDS;
use crate::timestamp::{iso8601, now};

/// Changes a team and records it. `change` may run more than once.
pub(crate) async fn rewrite(
    state: &AdminState,
    caller: &Caller,
    team_id: &str,
    action: &'static str,
    change: impl Fn(&mut TeamRow) -> Result<Vec<MemberChange>, Problem>,
) -> Result<TeamRow, Problem> {
    for _ in 0..ATTEMPTS {
        let before = find(state, team_id).await?;
        let now = now();
        let mut after = before.clone();
        let members = change(&mut after)?;
        after.updated_at = now;
        after.updated_by = Some(caller.user_id());
        let audit = record(caller, action, Some(&before), Some(&after), now);
        match state.store.replace_team(after, members, audit).await {
            Err(StoreError::Conflict) => {}
            done => return Ok(done?),
        }
    }
    Err(Problem::contended("team_id"))
}

pub(crate) async fn find(state: &AdminState, team_id: &str) -> Result<TeamRow, Problem> {
    let found = if is_keepable(team_id) { state.store.team(team_id).await? } else { None };
    found.ok_or_else(Problem::team_not_found)
}

/// The audit row of something that is done to a team.
fn record(
    caller: &Caller,
    action: &str,
    before: Option<&TeamRow>,
    after: Option<&TeamRow>,
    now: SystemTime,
) -> AuditRow {
    let id = before.or(after).map(|row| row.team_id.clone()).unwrap_or_default();
    let fields = |row: Option<&TeamRow>| row.map_or(Value::Null, |row| redacted(shown(row).into()));
    caller.author().audit(action, "team", id, (fields(before), fields(after)), now)
}

/// The team as an answer shows it: every field that LiteLLM knows, given or not, and the columns.
pub(crate) fn shown(row: &TeamRow) -> Map<String, Value> {
    let members = row.members.iter().map(
        |member| json!({ "user_id": member.user_id, "user_email": member.user_email, "role": member.role.name() }),
    );
    let columns = json!({
        "team_id": row.team_id,
        "team_alias": row.team_alias,
        "organization_id": row.organization_id,
        "models": row.models,
        "blocked": row.blocked,
        "spend": row.spend,
        "members_with_roles": members.collect::<Vec<_>>(),
        "created_at": iso8601(row.created_at),
        "updated_at": iso8601(row.updated_at),
        "budget_reset_at": row.budget_reset_at.map(iso8601),
        "litellm_model_table": null,
    });
    let Value::Object(mut shown) = columns else { return Map::new() };
    for (name, value) in &row.settings {
        shown.entry(name).or_insert_with(|| value.clone());
    }
    for field in TEAM_FIELDS.iter().filter(|field| field.place == Place::Settings) {
        shown.entry(field.name).or_insert_with(|| field.absent.value());
    }
    shown
}

/// Refuses values that have the right type but no sense.
fn judge(given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    judge_fields(TEAM_FIELDS, given, now)?;
    for name in ["team_alias", "organization_id"] {
        if given.get(name).and_then(Value::as_str).is_some_and(|text| !is_keepable(text)) {
            return Err(Problem::invalid(name, format!("{name}: {UNKEEPABLE}")));
        }
    }
    Ok(())
}

/// Writes accepted values into the row. Null clears a field, but neither the models nor the block: what opens a team has
/// to be said in so many words.
fn apply(row: &mut TeamRow, given: &Map<String, Value>, now: SystemTime) -> Result<(), Problem> {
    for (name, value) in given {
        match name.as_str() {
            "team_alias" => row.team_alias = id(value),
            "organization_id" => row.organization_id = id(value),
            "models" => replace(&mut row.models, value),
            "blocked" => row.blocked = value.as_bool().unwrap_or(row.blocked),
            _ => keep(&mut row.settings, name, value),
        }
    }
    if let Some(value) = given.get("budget_duration") {
        row.budget_reset_at = reset_at(value, now)?;
    }
    Ok(())
}

/// Somebody as they join a team: what it gives each member a budget for counts from now on.
fn joins(mut member: TeamMember, team: &Map<String, Value>, now: SystemTime) -> Result<TeamMember, Problem> {
    if let (None, Some(span)) = (member.budget_reset_at, team.get("team_member_budget_duration"))
        && !member.settings.contains_key("budget_duration")
    {
        member.settings.insert("budget_duration".to_owned(), span.clone());
        member.budget_reset_at = reset_at(span, now)?;
    }
    Ok(member)
}

/// Reads one member, as `members_with_roles` and `member_add` have it.
fn member(loc: &[&str], given: &Value) -> Result<TeamMember, Problem> {
    let Value::Object(given) = given else {
        return Err(Problem::field(FieldProblem::new("dict_type", loc, "Input should be a valid dictionary")));
    };
    let within = |name| loc.iter().copied().chain([name]).collect::<Vec<_>>();
    let text_of = |name| match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_keepable(text) => Ok(Some(text.clone())),
        Some(_) => Err(Problem::field(FieldProblem::new("string_type", &within(name), UNKEEPABLE))),
    };
    if let Some(other) = given.keys().find(|name| !["user_id", "user_email", "role"].contains(&name.as_str())) {
        return Err(Problem::field(FieldProblem::unknown(&within(other))));
    }
    let (user_id, user_email, role) = (text_of("user_id")?, text_of("user_email")?, text_of("role")?);
    let role = role.as_deref().and_then(MemberRole::named);
    let role = role.ok_or_else(|| {
        Problem::field(FieldProblem::new("enum", &within("role"), "Input should be one of: admin, user"))
    })?;
    let user_id = user_id.filter(|id| !id.is_empty());
    let user_id = user_id.ok_or_else(|| Problem::field(FieldProblem::missing(&within("user_id"))))?;
    Ok(TeamMember::new(user_id, user_email, role))
}
