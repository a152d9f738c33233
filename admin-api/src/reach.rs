//! How far a caller reaches: what they are in management, and which keys and teams are theirs to see and to change.
//!
//! The route table says which standing a route is open to; what is said here is which rows. What must stay true: nobody
//! gets by a key that they make or change what they have not got themselves. That a key never opens more than its owner or
//! its team may is the decision's doing; here it is about the credential that asks, which may have bounds of its own.

use std::collections::BTreeMap;
use std::time::SystemTime;

use portcullis_filters::policy::Policy;
use portcullis_filters::principal::{CustomPrincipal, Principal, Role};
use serde_json::{Map, Value};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::problem::Problem;
use crate::store::{KeyRow, MemberRole, TeamRow, is_keepable};

/// What a caller is in management.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The master key, or LiteLLM's `proxy_admin`.
    Operator,
    /// `proxy_admin_viewer`: sees what the operator sees, changes nothing.
    Viewer,
    /// `internal_user`: manages keys of their own, and the teams that they administer.
    User(String),
    /// `internal_user_viewer`: sees what is their own.
    UserViewer(String),
    /// Whoever has only a credential: a key without an owner or of a team, a token or an identity without a role.
    Holder,
}

impl Standing {
    pub(crate) fn of(principal: &Principal) -> Self {
        let of_user = |role, user_id: Option<&str>| match (role, user_id) {
            (Role::Admin, _) => Self::Operator,
            (Role::AdminViewer, _) => Self::Viewer,
            (Role::InternalUser, Some(id)) => Self::User(id.to_owned()),
            (Role::InternalUserViewer, Some(id)) => Self::UserViewer(id.to_owned()),
            _ => Self::Holder,
        };
        match principal {
            Principal::Master => Self::Operator,
            // A key of a team stands for the team, whoever owns it.
            Principal::Key(holder) if holder.team_id.is_some() => Self::Holder,
            Principal::Key(holder) => match &holder.user {
                Some(user) => of_user(user.role, Some(&user.id)),
                None => Self::Holder,
            },
            Principal::Token(token) => of_user(token.role, token.user_id.as_deref()),
            Principal::Custom(custom) => of_user(custom.role, custom.user_id.as_deref()),
        }
    }

    /// The user whose rows are theirs.
    fn user(&self) -> Option<&str> {
        match self {
            Self::User(id) | Self::UserViewer(id) => Some(id),
            Self::Operator | Self::Viewer | Self::Holder => None,
        }
    }
}

/// What a user may say of a key; all else is the operator's to say.
const FIELDS_OF_USERS: &[&str] = &[
    "aliases",
    "auto_rotate",
    "budget_duration",
    "duration",
    "key_alias",
    "max_budget",
    "max_parallel_requests",
    "metadata",
    "model_rpm_limit",
    "model_tpm_limit",
    "models",
    "rotation_interval",
    "rpm_limit",
    "soft_budget",
    "tags",
    "team_id",
    "tpm_limit",
    "user_id",
];

impl Caller {
    pub(crate) fn is_operator(&self) -> bool {
        self.standing == Standing::Operator
    }

    /// Whether nothing is hidden from them.
    pub(crate) fn sees_all(&self) -> bool {
        matches!(self.standing, Standing::Operator | Standing::Viewer)
    }

    /// The user to whom a listing or a report is narrowed: the caller themselves, whatever was asked for. `None`: nobody.
    pub(crate) fn narrowed(&self, asked: Option<String>) -> Result<Option<String>, Problem> {
        if self.sees_all() {
            return Ok(asked);
        }
        let own = self.standing.user().ok_or_else(Problem::not_yours)?;
        if asked.is_some_and(|asked| asked != own) { Err(Problem::not_yours()) } else { Ok(Some(own.to_owned())) }
    }

    /// What they are in this team, if they belong to it.
    pub(crate) async fn role_in(
        &self,
        state: &AdminState,
        team_id: &str,
    ) -> Result<Option<(MemberRole, TeamRow)>, Problem> {
        let Some(user) = self.standing.user() else { return Ok(None) };
        let team = if is_keepable(team_id) { state.store.team(team_id).await? } else { None };
        Ok(team.and_then(|team| {
            let role = team.members.iter().find(|member| member.user_id == user)?.role;
            Some((role, team))
        }))
    }

    /// # Errors
    /// They neither are the operator nor administer this team.
    pub(crate) async fn administers(&self, state: &AdminState, team_id: &str) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        match (&self.standing, self.role_in(state, team_id).await?) {
            (Standing::User(_), Some((MemberRole::Admin, _))) => Ok(()),
            _ => Err(Problem::not_yours()),
        }
    }

    /// Whether they may read what a key is: the one they come with, those that they own, those of teams that they administer.
    /// Two keys without an owner have nothing in common.
    pub(crate) async fn sees_key(&self, state: &AdminState, row: &KeyRow) -> Result<bool, Problem> {
        let is_own = self.principal.key().is_some_and(|key| key.id == row.token);
        let owns = self.standing.user().is_some_and(|user| row.user_id.as_deref() == Some(user));
        if self.sees_all() || is_own || owns {
            return Ok(true);
        }
        let Some(team_id) = &row.team_id else { return Ok(false) };
        Ok(matches!(self.role_in(state, team_id).await?, Some((MemberRole::Admin, _))))
    }

    /// # Errors
    /// They may not do this (`permission`, a path of the API) to this key.
    pub(crate) async fn manages_key(&self, state: &AdminState, row: &KeyRow, permission: &str) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        let Standing::User(user) = &self.standing else { return Err(Problem::not_yours()) };
        // Whoever was blocked by the operator must not lift that.
        if permission == "/key/unblock" {
            return Err(Problem::not_yours());
        }
        let owns = row.user_id.as_deref() == Some(user);
        let may = match &row.team_id {
            None => owns,
            Some(team_id) => match self.role_in(state, team_id).await? {
                Some((MemberRole::Admin, _)) => true,
                Some((MemberRole::User, team)) => owns && permits(&team, permission),
                None => false,
            },
        };
        if may { Ok(()) } else { Err(Problem::not_yours()) }
    }

    /// Refuses fields that are not a user's to set.
    pub(crate) fn may_say(&self, given: &Map<String, Value>, request: &Map<String, Value>) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        // `key` names the key where one is changed, and would choose the string of a new one.
        let other = given.keys().find(|name| !FIELDS_OF_USERS.contains(&name.as_str()));
        let chosen = ["spend", "new_key", "temp_budget_increase"].into_iter().find(|name| request.contains_key(*name));
        match other.map(String::as_str).or(chosen) {
            Some(name) => Err(Problem::forbidden(format!("Only proxy admin can set {name}"))),
            None => Ok(()),
        }
    }

    /// Makes a new key the caller's, or that of a team in which they may make keys.
    pub(crate) async fn own_new_key(&self, state: &AdminState, given: &mut Map<String, Value>) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        let Standing::User(user) = &self.standing else { return Err(Problem::not_yours()) };
        let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (owner, team_id) = (text("user_id").unwrap_or(user), text("team_id"));
        let may = match team_id {
            None => owner == user,
            Some(team_id) => match self.role_in(state, team_id).await? {
                Some((MemberRole::Admin, team)) => team.members.iter().any(|member| member.user_id == owner),
                Some((MemberRole::User, team)) => owner == user && permits(&team, "/key/generate"),
                None => false,
            },
        };
        if !may {
            return Err(Problem::not_yours());
        }
        let owner = owner.to_owned();
        given.insert("user_id".to_owned(), owner.into());
        Ok(())
    }

    /// Refuses a key that opens more than the key or the identity by which its maker comes. Limits are not compared: two keys
    /// with the same one have twice as much.
    pub(crate) async fn grants(&self, state: &AdminState, row: &KeyRow) -> Result<(), Problem> {
        if self.is_operator() {
            return Ok(());
        }
        let own = match &self.principal {
            Principal::Key(key) => Bounds::of_key(&state.store.key(key.id).await?.ok_or_else(Problem::key_not_found)?),
            Principal::Custom(custom) => Bounds::of_identity(custom),
            // The master key is the operator's, and no token that is not makes keys.
            Principal::Master | Principal::Token(_) => return Err(Problem::not_yours()),
        };
        if own.is_limited || !own.policies.iter().all(Policy::leaves_routes) {
            return Err(Problem::forbidden("A key with limits of its own makes and changes no keys".to_owned()));
        }
        let is_group = groups(state);
        if !own.policies.iter().all(|policy| policy.covers_models(&row.models, &is_group)) {
            return Err(Problem::forbidden("models: at most those of the key in use".to_owned()));
        }
        if own.expires.is_some_and(|end| row.expires.is_none_or(|later| later > end)) {
            return Err(Problem::forbidden("duration: at most as long as the key in use".to_owned()));
        }
        Ok(())
    }
}

/// What bounds the credential by which somebody comes, beside what bounds them or their team.
struct Bounds {
    policies: Vec<Policy>,
    expires: Option<SystemTime>,
    is_limited: bool,
}

impl Bounds {
    fn of_key(key: &KeyRow) -> Self {
        Self {
            policies: vec![Policy::new(&key.models, &key.allowed_routes, BTreeMap::new())],
            expires: key.expires,
            is_limited: key.settings.iter().any(|(name, value)| LIMITS.contains(&name.as_str()) && !value.is_null()),
        }
    }

    /// The team's own bounds count too: what its member makes is perhaps no key of the team.
    fn of_identity(custom: &CustomPrincipal) -> Self {
        let of_team = custom.team.iter().any(|team| team.limits().next().is_some());
        Self { policies: custom.policies.clone(), expires: custom.expires, is_limited: custom.is_limited || of_team }
    }
}

/// Tells the names that stand for several of the models that are served.
fn groups(state: &AdminState) -> impl Fn(&str) -> bool {
    let served = (state.models)();
    move |name| served.iter().flat_map(|model| &model.access_groups).any(|group| group == name)
}

/// What two keys have twice.
const LIMITS: &[&str] = &[
    "budget_limits",
    "max_budget",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "rpm_limit",
    "tpm_limit",
];

/// Whether a team lets its members do this with their own keys of it (LiteLLM: `team_member_permissions`).
fn permits(team: &TeamRow, permission: &str) -> bool {
    let listed = team.settings.get("team_member_permissions").and_then(Value::as_array);
    listed.into_iter().flatten().any(|listed| listed.as_str() == Some(permission))
}
