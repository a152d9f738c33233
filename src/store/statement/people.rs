//! The statements of users and teams.

use std::time::SystemTime;

use portcullis_admin_api::store::{TeamMember, TeamRow, UserRow};
use portcullis_filters::directory::{Enrolment, TeamName};
use serde_json::{Value, json};

use super::Statement;
use crate::store::enrolments::ACTOR;
use crate::store::param::Param;

/// What a token's bearer is made who has no row yet; LiteLLM's default.
const NEW_ROLE: &str = "internal_user";

pub(in crate::store) fn user(id: &str) -> Statement {
    Statement::fixed(
        "SELECT user_id, role, models, settings, spend, version FROM users WHERE user_id = $1",
        vec![Param::Text(id.to_owned())],
    )
}

/// The team of this name, or two of several with this alias.
pub(in crate::store) fn team(name: TeamName<'_>) -> Statement {
    let (condition, text) = match name {
        TeamName::Id(id) => ("team_id = $1", id),
        TeamName::Alias(alias) => ("team_alias = $1 LIMIT 2", alias),
    };
    let sql = format!(
        "SELECT team_id, team_alias, organization_id, models, blocked, settings, spend, version, \
         EXISTS (SELECT 1 FROM team_members m WHERE m.team_id = teams.team_id AND CAST(m.settings AS TEXT) <> '{{}}') \
         FROM teams WHERE {condition}"
    );
    Statement::fixed(sql, vec![Param::Text(text.to_owned())])
}

/// What bounds a member: what is kept of them, and of their team.
pub(in crate::store) fn member(team_id: &str, user_id: &str) -> Statement {
    Statement::fixed(
        "SELECT m.team_id, m.user_id, m.settings, m.spend, t.settings, t.version \
         FROM team_members m JOIN teams t ON t.team_id = m.team_id WHERE m.team_id = $1 AND m.user_id = $2",
        [team_id, user_id].map(|text| Param::Text(text.to_owned())).into(),
    )
}

/// Makes a row without any restriction unless there is one of this id; returns no row then.
pub(in crate::store) fn enrol(enrolment: &Enrolment, at: SystemTime) -> Statement {
    let common = [Param::Json(json!([])), Param::Json(json!({})), Param::Time(at), Param::Text(ACTOR.to_owned())];
    match enrolment {
        Enrolment::User { id, email } => {
            let own = [Param::Text(id.clone()), email.into(), Param::Text(NEW_ROLE.to_owned())];
            Statement::fixed(
                "INSERT INTO users (user_id, user_email, role, models, settings, created_at, created_by, updated_at, \
                 updated_by, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $7, 1) \
                 ON CONFLICT (user_id) DO NOTHING RETURNING user_id",
                own.into_iter().chain(common).collect(),
            )
        }
        Enrolment::Team { id } => {
            let own = [Param::Text(id.clone()), Param::Bool(false)];
            Statement::fixed(
                "INSERT INTO teams (team_id, blocked, models, settings, created_at, created_by, updated_at, \
                 updated_by, version) VALUES ($1, $2, $3, $4, $5, $6, $5, $6, 1) \
                 ON CONFLICT (team_id) DO NOTHING RETURNING team_id",
                own.into_iter().chain(common).collect(),
            )
        }
    }
}

/// The columns of a [`TeamRow`] but its members, in the order in which `row::team_row` reads and [`team_params`] binds them.
pub(in crate::store) const TEAM_COLUMNS: &str = "team_id, version, team_alias, organization_id, models, blocked, spend, \
     settings, created_at, created_by, updated_at, updated_by, budget_reset_at";

/// The columns of a member, in the order in which `row::member` reads and [`put_member`] binds them.
const MEMBER_COLUMNS: &str = "team_id, user_id, user_email, role, settings, spend, budget_reset_at";

pub(in crate::store) fn team_row(id: &str) -> Statement {
    let sql = format!("SELECT {TEAM_COLUMNS} FROM teams WHERE team_id = $1");
    Statement::fixed(sql, vec![Param::Text(id.to_owned())])
}

pub(in crate::store) fn members(team_id: &str) -> Statement {
    let sql = format!("SELECT {MEMBER_COLUMNS} FROM team_members WHERE team_id = $1 ORDER BY user_id");
    Statement::fixed(sql, vec![Param::Text(team_id.to_owned())])
}

/// The members of all teams that `page` selects.
pub(in crate::store) fn members_of(page: &Statement) -> Statement {
    let sql = format!(
        "SELECT {MEMBER_COLUMNS} FROM team_members WHERE team_id IN (SELECT team_id FROM ({}) AS page) ORDER BY user_id",
        page.sql
    );
    Statement::composed(sql, page.params.clone())
}

/// Stores a team where there is none of its id; returns no row otherwise.
pub(in crate::store) fn insert_team(row: &TeamRow) -> Statement {
    let sql = format!(
        "INSERT INTO teams ({TEAM_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (team_id) DO NOTHING RETURNING version"
    );
    Statement::fixed(sql, team_params(row))
}

/// Writes `row` over that of its id if that still has the version `read`; returns no row otherwise.
pub(in crate::store) fn update_team(read: i64, row: &TeamRow) -> Statement {
    let mut params = team_params(row);
    params.extend([Param::Integer(read), Param::Bool(row.sets_spend)]);
    Statement::fixed(
        "UPDATE teams SET version = $2, team_alias = $3, organization_id = $4, models = $5, blocked = $6, \
         spend = CASE WHEN $15 THEN $7 ELSE spend END, settings = $8, created_at = $9, created_by = $10, updated_at = $11, \
         updated_by = $12, budget_reset_at = $13 WHERE team_id = $1 AND version = $14 RETURNING version",
        params,
    )
}

fn team_params(row: &TeamRow) -> Vec<Param> {
    vec![
        Param::Text(row.team_id.clone()),
        Param::Integer(row.version),
        (&row.team_alias).into(),
        (&row.organization_id).into(),
        Param::Json(json!(row.models)),
        Param::Bool(row.blocked),
        Param::Real(row.spend),
        Param::Json(Value::Object(row.settings.clone())),
        Param::Time(row.created_at),
        (&row.created_by).into(),
        Param::Time(row.updated_at),
        (&row.updated_by).into(),
        row.budget_reset_at.into(),
    ]
}

/// Ends a team and its memberships if it still has the version `read`; returns no row otherwise.
pub(in crate::store) fn delete_team(id: &str, read: i64) -> Statement {
    Statement::fixed(
        "DELETE FROM teams WHERE team_id = $1 AND version = $2 RETURNING version",
        vec![Param::Text(id.to_owned()), Param::Integer(read)],
    )
}

pub(in crate::store) fn put_member(team_id: &str, member: &TeamMember) -> Statement {
    let sql = format!(
        "INSERT INTO team_members ({MEMBER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (team_id, user_id) DO UPDATE SET user_email = $3, role = $4, settings = $5, \
         spend = CASE WHEN $8 THEN $6 ELSE team_members.spend END, budget_reset_at = $7"
    );
    let params = vec![
        Param::Text(team_id.to_owned()),
        Param::Text(member.user_id.clone()),
        (&member.user_email).into(),
        Param::Text(member.role.name().to_owned()),
        Param::Json(Value::Object(member.settings.clone())),
        Param::Real(member.spend),
        member.budget_reset_at.into(),
        Param::Bool(member.sets_spend),
    ];
    Statement::fixed(sql, params)
}

pub(in crate::store) fn remove_member(team_id: &str, user_id: &str) -> Statement {
    let params = [team_id, user_id].map(|text| Param::Text(text.to_owned())).into();
    Statement::fixed("DELETE FROM team_members WHERE team_id = $1 AND user_id = $2", params)
}

/// Whose keys.
#[derive(Clone, Copy)]
pub(in crate::store) enum KeysOf<'a> {
    Team(&'a str),
    User(&'a str),
    /// A user's keys of a team.
    Member(&'a str, &'a str),
}

impl KeysOf<'_> {
    /// What is true of their live keys, by columns that begin so and values from `$n` on.
    fn condition(self, table: &str, n: usize) -> String {
        let columns: &[&str] = match self {
            Self::Team(_) => &["team_id"],
            Self::User(_) => &["user_id"],
            Self::Member(..) => &["team_id", "user_id"],
        };
        let each = (n..).zip(columns).map(|(n, column)| format!("{table}{column} = ${n} AND "));
        each.chain([format!("{table}deleted_at IS NULL")]).collect()
    }

    fn params(self) -> Vec<Param> {
        let ids = match self {
            Self::Team(id) | Self::User(id) => vec![id],
            Self::Member(team_id, user_id) => vec![team_id, user_id],
        };
        ids.into_iter().map(|id| Param::Text(id.to_owned())).collect()
    }
}

/// Every hash that leads to a live key of theirs.
pub(in crate::store) fn hashes_of(whose: KeysOf<'_>) -> Statement {
    let sql = format!(
        "SELECT token FROM virtual_keys WHERE {} UNION ALL \
         SELECT g.token FROM grace_keys g JOIN virtual_keys k ON k.token = g.active_token WHERE {}",
        whose.condition("", 1),
        whose.condition("k.", 1),
    );
    Statement::fixed(sql, whose.params())
}

pub(in crate::store) fn delete_keys(whose: KeysOf<'_>, at: SystemTime, by: &Option<String>) -> Statement {
    let sql = format!(
        "UPDATE virtual_keys SET deleted_at = $1, deleted_by = $2, updated_at = $1, updated_by = $2, \
         version = version + 1 WHERE {}",
        whose.condition("", 3),
    );
    Statement::fixed(sql, [Param::Time(at), by.into()].into_iter().chain(whose.params()).collect())
}

/// The columns of a [`UserRow`], in the order in which `row::user_row` reads and [`user_params`] binds them.
pub(in crate::store) const USER_COLUMNS: &str = "user_id, version, user_email, user_alias, role, models, spend, settings, \
     created_at, created_by, updated_at, updated_by, budget_reset_at";

pub(in crate::store) fn user_row(id: &str) -> Statement {
    let sql = format!("SELECT {USER_COLUMNS} FROM users WHERE user_id = $1");
    Statement::fixed(sql, vec![Param::Text(id.to_owned())])
}

/// Stores a user where there is none of their id; returns no row otherwise.
pub(in crate::store) fn insert_user(row: &UserRow) -> Statement {
    let sql = format!(
        "INSERT INTO users ({USER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (user_id) DO NOTHING RETURNING version"
    );
    Statement::fixed(sql, user_params(row))
}

/// Writes `row` over that of its id if that still has the version `read`; returns no row otherwise.
pub(in crate::store) fn update_user(read: i64, row: &UserRow) -> Statement {
    let mut params = user_params(row);
    params.extend([Param::Integer(read), Param::Bool(row.sets_spend)]);
    Statement::fixed(
        "UPDATE users SET version = $2, user_email = $3, user_alias = $4, role = $5, models = $6, \
         spend = CASE WHEN $15 THEN $7 ELSE spend END, settings = $8, created_at = $9, created_by = $10, updated_at = $11, \
         updated_by = $12, budget_reset_at = $13 WHERE user_id = $1 AND version = $14 RETURNING version",
        params,
    )
}

fn user_params(row: &UserRow) -> Vec<Param> {
    vec![
        Param::Text(row.user_id.clone()),
        Param::Integer(row.version),
        (&row.user_email).into(),
        (&row.user_alias).into(),
        (&row.role).into(),
        Param::Json(json!(row.models)),
        Param::Real(row.spend),
        Param::Json(Value::Object(row.settings.clone())),
        Param::Time(row.created_at),
        (&row.created_by).into(),
        Param::Time(row.updated_at),
        (&row.updated_by).into(),
        row.budget_reset_at.into(),
    ]
}

/// Ends a user if they still have the version `read`; returns no row otherwise.
pub(in crate::store) fn delete_user(id: &str, read: i64) -> Statement {
    Statement::fixed(
        "DELETE FROM users WHERE user_id = $1 AND version = $2 RETURNING version",
        vec![Param::Text(id.to_owned()), Param::Integer(read)],
    )
}

/// Moves the versions of the teams that a user is about to leave.
pub(in crate::store) fn touch_teams_of(user_id: &str) -> Statement {
    Statement::fixed(
        "UPDATE teams SET version = version + 1 \
         WHERE team_id IN (SELECT team_id FROM team_members WHERE user_id = $1)",
        vec![Param::Text(user_id.to_owned())],
    )
}

/// Users whose budget begins anew by now, at most so many.
pub(in crate::store) fn due_users(now: SystemTime, most: i64) -> Statement {
    let sql = format!(
        "SELECT {USER_COLUMNS} FROM users WHERE budget_reset_at <= $1 ORDER BY budget_reset_at, user_id LIMIT $2"
    );
    Statement::fixed(sql, vec![Param::Time(now), Param::Integer(most)])
}

/// Teams whose budget, or that of one of their members, begins anew by now, at most so many.
pub(in crate::store) fn due_teams(now: SystemTime, most: i64) -> Statement {
    let sql = format!(
        "SELECT {TEAM_COLUMNS} FROM teams WHERE budget_reset_at <= $1 OR team_id IN \
         (SELECT team_id FROM team_members WHERE budget_reset_at <= $1) ORDER BY team_id LIMIT $2"
    );
    Statement::fixed(sql, vec![Param::Time(now), Param::Integer(most)])
}

/// Takes a user out of every team.
pub(in crate::store) fn leave_teams(user_id: &str) -> Statement {
    Statement::fixed("DELETE FROM team_members WHERE user_id = $1", vec![Param::Text(user_id.to_owned())])
}
