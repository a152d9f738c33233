//! `Principal`: who is calling, once an authenticator has proven it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use crate::authn::virtual_key::{KeyHash, KeyRecord};
use crate::directory::{Membership, UserRecord};
use crate::policy::{AccessGroups, Policy};
use crate::price::Cost;

/// Who is calling and how that was proven. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Principal {
    /// The operator, by the master key: may do everything.
    Master,
    /// The holder of a virtual key.
    Key(KeyHolder),
    /// The bearer of a token of a configured issuer.
    Token(Arc<TokenPrincipal>),
    /// Whom the operator's own code vouches for.
    Custom(Arc<CustomPrincipal>),
}

/// A virtual key, and what is kept of the team and the user that it names. Most keys name nobody.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    /// The key.
    pub key: Arc<KeyRecord>,
    /// Its team, if that has a row.
    pub team: Option<Membership>,
    /// Its owner, if they have a row.
    pub user: Option<Arc<UserRecord>>,
}

impl KeyHolder {
    /// Whose models bound those of the key: the team's, else the owner's. Who calls for a team has the models of the team,
    /// and those of the owner do not count (LiteLLM: a user's default `no-default-models` leaves them nothing but teams).
    fn bounds(&self) -> Option<&Policy> {
        let user = || self.user.as_deref().map(|user| &user.policy);
        if self.team_id.is_some() { self.team.as_ref().map(|team| &team.policy) } else { user() }
    }
}

impl From<Arc<KeyRecord>> for KeyHolder {
    fn from(key: Arc<KeyRecord>) -> Self {
        Self { key, team: None, user: None }
    }
}

impl Deref for KeyHolder {
    type Target = KeyRecord;

    fn deref(&self) -> &KeyRecord {
        &self.key
    }
}

/// What a user is in this gateway; LiteLLM's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nobody gave a role: may call and list models.
    #[default]
    None,
    /// `internal_user_viewer`
    InternalUserViewer,
    /// `internal_user`
    InternalUser,
    /// `team`: a caller that stands for its team.
    Team,
    /// `proxy_admin_viewer`
    AdminViewer,
    /// `proxy_admin`
    Admin,
}

impl Role {
    const NAMES: [(&str, Self); 5] = [
        ("proxy_admin", Self::Admin),
        ("proxy_admin_viewer", Self::AdminViewer),
        ("internal_user", Self::InternalUser),
        ("internal_user_viewer", Self::InternalUserViewer),
        ("team", Self::Team),
    ];

    /// The role of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role)
    }

    /// Its name; empty for [`Role::None`].
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, role)| *role == self).map_or("", |(name, _)| name)
    }
}

/// Who a token's bearer is and what the token, the user and the teams that it names allow together.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenPrincipal {
    /// The name in logs and audit rows: the user's id, else the token's subject, else the first of its teams.
    pub id: Arc<str>,
    /// The user, if the configuration says which claim names one.
    pub user_id: Option<Arc<str>>,
    /// Their e-mail address.
    pub user_email: Option<Arc<str>>,
    /// The organisation.
    pub organization_id: Option<Arc<str>>,
    /// The customer on whose behalf the call is made.
    pub end_user_id: Option<Arc<str>>,
    /// The role.
    pub role: Role,
    /// What every LLM call must be allowed by: rules of the role, of the scopes, of the user's row.
    pub policies: Vec<Policy>,
    /// The teams that the token names; the first that allows a call is charged with it. Empty: no team has a say.
    pub teams: Vec<Membership>,
    /// What a call for a team must be allowed by besides (`team_allowed_routes`).
    pub team_routes: Policy,
    /// Which management routes the role opens.
    pub management: Policy,
    /// When the token ends.
    pub expires: SystemTime,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// How fast the user may call, and for how much; from their row.
    pub limits: Option<Arc<[Limit]>>,
}

/// Who a custom authenticator says is calling, and what its answer allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomPrincipal {
    /// The name in logs and audit rows: the user's id, else the alias, else the hash of the credential. Never a credential.
    pub id: Arc<str>,
    /// The operator's name for the credential.
    pub key_alias: Option<Arc<str>>,
    /// The user.
    pub user_id: Option<Arc<str>>,
    /// Their e-mail address.
    pub user_email: Option<Arc<str>>,
    /// The team.
    pub team_id: Option<Arc<str>>,
    /// The operator's name for it.
    pub team_alias: Option<Arc<str>>,
    /// The organisation.
    pub organization_id: Option<Arc<str>>,
    /// The customer on whose behalf the call is made.
    pub end_user_id: Option<Arc<str>>,
    /// The role.
    pub role: Role,
    /// What every LLM call must be allowed by.
    pub policies: Vec<Policy>,
    /// Which management routes are open, if the role opens any.
    pub management: Policy,
    /// When it ends.
    pub expires: Option<SystemTime>,
    /// How fast it may be used, as the answer says; every one of them counts.
    pub limits: Vec<Limit>,
    /// Whether the answer names a limit or a budget of any kind, in force or not: nobody like that makes keys without one.
    pub is_limited: bool,
    /// How fast the user may call, and for how much; from their row, where that counts.
    pub limits_of_user: Option<Arc<[Limit]>>,
    /// The team, where what is kept of it counts.
    pub team: Option<Membership>,
}

/// How fast a key or an identity may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whose it is: `key`, `user`, `team`, `team_member` or `end_user`.
    pub scope: &'static str,
    /// Under which name it is counted: no two scopes share one, nor do two models.
    pub counted_as: KeyHash,
    /// For which model it counts; `None`: for every call.
    pub model: Option<Box<str>>,
    /// Requests in a minute.
    pub rpm: Option<u64>,
    /// Tokens in a minute, read and made.
    pub tpm: Option<u64>,
    /// Requests under way at once.
    pub parallel: Option<u64>,
    /// Money.
    pub budget: Option<Budget>,
}

/// A limit that counts for a call.
#[derive(Clone, Copy, Debug)]
pub struct LimitInForce<'a> {
    /// Which.
    pub limit: &'a Limit,
    /// Whether its budget refuses the call once it is spent; otherwise it is only charged.
    pub asks_budget: bool,
}

impl<'a> From<&'a Limit> for LimitInForce<'a> {
    fn from(limit: &'a Limit) -> Self {
        Self { limit, asks_budget: true }
    }
}

/// How much may be spent, and how much was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// As much as this.
    pub most: Cost,
    /// Where the operator wants to be told (`soft_budget`); nothing is refused for it.
    pub soft: Option<Cost>,
    /// How much more may be spent for a while, and until when (`temp_budget_increase`, `temp_budget_expiry`).
    pub raised: Option<(Cost, SystemTime)>,
    /// What the store had when the record was read.
    pub spent: Cost,
    /// Counts the writes to the row, from 1. What was spent is set to less by such a write only.
    pub version: i64,
}

impl Budget {
    /// As much as may be spent now.
    #[must_use]
    pub fn most_at(&self, now: SystemTime) -> Cost {
        let raised = self.raised.filter(|(_, until)| now < *until);
        raised.map_or(self.most, |(more, _)| self.most.plus(more))
    }
}

/// What of a row limits the use of what it stands for, by the names of its fields.
#[derive(Clone, Debug, Default)]
pub struct RowLimits<'a> {
    /// `rpm_limit`
    pub rpm: Option<u64>,
    /// `tpm_limit`
    pub tpm: Option<u64>,
    /// `max_parallel_requests`
    pub parallel: Option<u64>,
    /// `max_budget`, and what was spent of it.
    pub budget: Option<Budget>,
    /// `model_rpm_limit` and `model_tpm_limit` of each model that one of them names.
    pub of_models: BTreeMap<&'a str, (Option<u64>, Option<u64>)>,
}

impl RowLimits<'_> {
    /// The limits of the row of this scope whose spending is counted as `id`; `None`: there are none. The budget is one by
    /// itself, because it does not always count where the others do; a key's always does.
    #[must_use]
    pub fn of(&self, scope: &'static str, id: KeyHash) -> Option<Arc<[Limit]>> {
        let Self { rpm, tpm, parallel, budget, .. } = *self;
        let none = Limit { scope, counted_as: id, model: None, rpm: None, tpm: None, parallel: None, budget: None };
        let is_fast = rpm.is_some() || tpm.is_some() || parallel.is_some();
        let speed = Limit { rpm, tpm, parallel, ..none.clone() };
        let mut limits = Vec::new();
        if scope == "key" {
            limits.extend((is_fast || budget.is_some()).then_some(Limit { budget, ..speed }));
        } else {
            let counted_as = KeyHash::of(&format!("{scope} {id} speed"));
            limits.extend(is_fast.then_some(Limit { counted_as, ..speed }));
            limits.extend(budget.is_some().then_some(Limit { budget, ..none.clone() }));
        }
        limits.extend(self.of_models.iter().map(|(model, (rpm, tpm))| Limit {
            counted_as: KeyHash::of(&format!("{scope} {id} model {model}")),
            model: Some((*model).into()),
            rpm: *rpm,
            tpm: *tpm,
            ..none.clone()
        }));
        (!limits.is_empty()).then(|| limits.into())
    }
}

impl Limit {
    /// LiteLLM's name for its requests in a minute.
    #[must_use]
    pub fn rpm_name(&self) -> &'static str {
        if self.model.is_some() { "model_rpm_limit" } else { "rpm_limit" }
    }

    /// LiteLLM's name for its tokens in a minute.
    #[must_use]
    pub fn tpm_name(&self) -> &'static str {
        if self.model.is_some() { "model_tpm_limit" } else { "tpm_limit" }
    }
}

/// How a token was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenKind {
    /// Here, with the keys of its issuer.
    #[default]
    Jwt,
    /// By its issuer, who was asked.
    Opaque,
}

impl Principal {
    /// The name under which logs and audit rows speak of this principal. Never a credential: a key is named by its
    /// public id, the master key by the fixed word that LiteLLM uses.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Master => "litellm_proxy_master_key".to_owned(),
            Self::Key(key) => key.id.to_string(),
            Self::Token(token) => token.id.to_string(),
            Self::Custom(custom) => custom.id.to_string(),
        }
    }

    /// How the principal was authenticated; the log's `auth.method`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Master => "master_key",
            Self::Key(_) => "virtual_key",
            Self::Token(token) => match token.kind {
                TokenKind::Jwt => "jwt",
                TokenKind::Opaque => "oauth2",
            },
            Self::Custom(_) => "custom",
        }
    }

    /// The virtual key behind this principal, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&KeyRecord> {
        match self {
            Self::Key(key) => Some(key),
            Self::Master | Self::Token(_) | Self::Custom(_) => None,
        }
    }

    /// How fast it may be used and for how much, its team aside. Who calls for a team spends the team's money: their own
    /// budget is charged with it and not asked (LiteLLM asks with personal keys only), how fast they call always counts.
    pub(crate) fn limits(&self) -> impl Iterator<Item = LimitInForce<'_>> {
        let (own, of_user, for_team): (&[Limit], _, _) = match self {
            Self::Master => (&[], None, false),
            Self::Key(holder) => {
                let of_user = holder.user.as_deref().and_then(|user| user.limits.as_deref());
                (holder.limits.as_deref().unwrap_or_default(), of_user, holder.team_id.is_some())
            }
            Self::Token(token) => (&[], token.limits.as_deref(), !token.teams.is_empty()),
            Self::Custom(custom) => (&custom.limits, custom.limits_of_user.as_deref(), custom.team_id.is_some()),
        };
        let of_user = of_user.unwrap_or_default().iter();
        let of_user = of_user.map(move |limit| LimitInForce { limit, asks_budget: !for_team });
        own.iter().map(LimitInForce::from).chain(of_user)
    }

    /// The rules that a call must be allowed by, every one of them; of a token's teams one is enough, see `authorize`.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let policies = match self {
            Self::Master => &[],
            Self::Key(key) => std::slice::from_ref(&key.policy),
            Self::Token(token) => token.policies.as_slice(),
            Self::Custom(custom) => custom.policies.as_slice(),
        };
        policies.iter()
    }

    /// The rules of which one is enough: those of a token's teams, or what bounds a key.
    pub(crate) fn team_policies(&self) -> impl Iterator<Item = &Policy> {
        let (bounds, teams) = match self {
            Self::Master | Self::Custom(_) => (None, None),
            Self::Key(holder) => (holder.bounds(), None),
            Self::Token(token) => (None, Some(token.teams.iter())),
        };
        bounds.into_iter().chain(teams.into_iter().flatten().map(|team| &team.policy))
    }

    /// Whether this principal may use the model of this name.
    #[must_use]
    pub fn allows_model(&self, name: &str, groups: &AccessGroups) -> bool {
        let mut teams = self.team_policies().peekable();
        let by_team = teams.peek().is_none() || teams.any(|policy| policy.allows_model(name, groups));
        let by_own = match self {
            Self::Key(holder) if holder.team.is_some() => holder.policy.allows_model_in_team(name, groups),
            _ => self.policies().all(|policy| policy.allows_model(name, groups)),
        };
        by_team && by_own
    }

    /// Whether a management route of this path is open to this principal, as far as its own rules go; the role that the
    /// route asks for comes on top.
    #[must_use]
    pub fn allows_management_route(&self, path: &str) -> bool {
        match self {
            Self::Master => true,
            Self::Key(key) => key.policy.allows_management_route(path),
            Self::Token(token) => token.management.allows_management_route(path),
            Self::Custom(custom) => custom.management.allows_management_route(path),
        }
    }

    /// Whether this principal is the operator, by the master key or by the role that they have: of their token, or of the owner
    /// of their key.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        match self {
            Self::Master => true,
            // A key of a team stands for the team, whoever owns it.
            Self::Key(holder) => {
                holder.team_id.is_none() && holder.user.as_ref().is_some_and(|user| user.role == Role::Admin)
            }
            Self::Token(token) => token.role == Role::Admin,
            Self::Custom(custom) => custom.role == Role::Admin,
        }
    }
}
