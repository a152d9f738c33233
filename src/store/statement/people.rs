//! The statements of users and teams.

use std::time::SystemTime;

use portcullis_filters::directory::{Enrolment, TeamName};
use serde_json::json;

use super::Statement;
use crate::store::enrolments::ACTOR;
use crate::store::param::Param;

/// What a token's bearer is made who has no row yet; LiteLLM's default.
const NEW_ROLE: &str = "internal_user";

pub(in crate::store) fn user(id: &str) -> Statement {
    Statement::fixed("SELECT user_id, role, models FROM users WHERE user_id = $1", vec![Param::Text(id.to_owned())])
}

/// The team of this name, or two of several with this alias.
pub(in crate::store) fn team(name: TeamName<'_>) -> Statement {
    let (sql, text) = match name {
        TeamName::Id(id) => {
            ("SELECT team_id, team_alias, organization_id, models, blocked FROM teams WHERE team_id = $1", id)
        }
        TeamName::Alias(alias) => (
            "SELECT team_id, team_alias, organization_id, models, blocked FROM teams WHERE team_alias = $1 LIMIT 2",
            alias,
        ),
    };
    Statement::fixed(sql, vec![Param::Text(text.to_owned())])
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
