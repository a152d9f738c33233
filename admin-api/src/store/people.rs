//! Users, teams and who belongs to which, as they are kept.

use std::time::SystemTime;

use serde_json::{Map, Value};

/// One team as it is kept. A deleted team leaves no row but in the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamRow {
    /// The id: the primary key.
    pub team_id: String,
    /// Counts the writes to this row and to its members; a write must name the version that it read.
    pub version: i64,
    /// The operator's name; several teams may have the same.
    pub team_alias: Option<String>,
    /// Organisation.
    pub organization_id: Option<String>,
    /// Models that keys of the team may use, as given. Empty means all.
    pub models: Vec<String>,
    /// Whether its keys are refused.
    pub blocked: bool,
    /// Money spent in the current budget window, in US dollars.
    pub spend: f64,
    /// Whether a write over this row sets what was spent. Otherwise it stays as calls have made it meanwhile. False in what
    /// is read.
    pub sets_spend: bool,
    /// When `spend` is set to nothing again; `None` without a `budget_duration`.
    pub budget_reset_at: Option<SystemTime>,
    /// Every other field that LiteLLM knows, as given (limits, budgets, metadata, ...).
    pub settings: Map<String, Value>,
    /// Who belongs to it, in the order of their ids.
    pub members: Vec<TeamMember>,
    /// When the row was made.
    pub created_at: SystemTime,
    /// By whom.
    pub created_by: Option<String>,
    /// When the row was written last.
    pub updated_at: SystemTime,
    /// By whom.
    pub updated_by: Option<String>,
}

/// Somebody who belongs to a team.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamMember {
    /// Who; there need not be a row of them.
    pub user_id: String,
    /// Their e-mail address, as given with the membership.
    pub user_email: Option<String>,
    /// What they are in the team.
    pub role: MemberRole,
    /// Budgets and limits within the team, as given.
    pub settings: Map<String, Value>,
    /// Money that they have spent within the team in the current budget window, in US dollars. Given with somebody who is
    /// new; otherwise it stays as calls have made it, unless a write [sets it](TeamMember::sets_spend).
    pub spend: f64,
    /// As [`TeamRow::sets_spend`].
    pub sets_spend: bool,
    /// When `spend` is set to nothing again; `None` without a `budget_duration`.
    pub budget_reset_at: Option<SystemTime>,
}

impl TeamMember {
    /// Somebody without bounds of their own, who has spent nothing yet.
    #[must_use]
    pub fn new(user_id: String, user_email: Option<String>, role: MemberRole) -> Self {
        let (settings, budget_reset_at) = (Map::new(), None);
        Self { user_id, user_email, role, settings, spend: 0.0, sets_spend: false, budget_reset_at }
    }
}

/// What somebody is in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// Manages its keys and members.
    Admin,
    /// Belongs to it.
    User,
}

impl MemberRole {
    /// LiteLLM's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Admin, Self::User].into_iter().find(|role| role.name() == name)
    }
}

/// A change to who belongs to a team.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberChange {
    /// Adds somebody, or writes over what is kept of them.
    Put(TeamMember),
    /// Takes somebody out.
    Remove(String),
    /// Takes somebody out and ends their live keys of the team, which count as deleted at `updated_at` by `updated_by` of its
    /// row; one in a write.
    Expel(String),
}

impl MemberChange {
    /// Whom it is about.
    #[must_use]
    pub fn user_id(&self) -> &String {
        match self {
            Self::Put(member) => &member.user_id,
            Self::Remove(user_id) | Self::Expel(user_id) => user_id,
        }
    }
}

/// Which teams a listing shows, the newest first. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamQuery {
    /// One team.
    pub team_id: Option<String>,
    /// Name, whole.
    pub alias: Option<String>,
    /// Organisation.
    pub organization_id: Option<String>,
    /// Somebody who belongs to it.
    pub user_id: Option<String>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u64,
}

/// One user as it is kept. A deleted user leaves no row but in the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRow {
    /// The id: the primary key.
    pub user_id: String,
    /// Counts the writes to this row; a write must name the version that it read.
    pub version: i64,
    /// E-mail address.
    pub user_email: Option<String>,
    /// The operator's name for them.
    pub user_alias: Option<String>,
    /// Role, in LiteLLM's words.
    pub role: Option<String>,
    /// Models that their own keys may use, as given. Empty means all.
    pub models: Vec<String>,
    /// Money spent in the current budget window, in US dollars.
    pub spend: f64,
    /// Whether a write over this row sets what was spent. Otherwise it stays as calls have made it meanwhile. False in what
    /// is read.
    pub sets_spend: bool,
    /// When `spend` is set to nothing again; `None` without a `budget_duration`.
    pub budget_reset_at: Option<SystemTime>,
    /// Every other field that LiteLLM knows, as given (limits, budgets, metadata, ...).
    pub settings: Map<String, Value>,
    /// When the row was made.
    pub created_at: SystemTime,
    /// By whom.
    pub created_by: Option<String>,
    /// When the row was written last.
    pub updated_at: SystemTime,
    /// By whom.
    pub updated_by: Option<String>,
}

/// Which users a listing shows, the newest first. All conditions must hold; `None` does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserQuery {
    /// E-mail address, whole.
    pub email: Option<String>,
    /// Role.
    pub role: Option<String>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to return at most.
    pub limit: u64,
}
