//! `Principal`: who is calling, once an authenticator has proven it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::authn::virtual_key::KeyRecord;
use crate::directory::TeamRecord;
use crate::policy::{AccessGroups, Policy};

/// Who is calling and how that was proven. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Principal {
    /// The operator, by the master key: may do everything.
    Master,
    /// The holder of a virtual key.
    Key(Arc<KeyRecord>),
    /// The bearer of a token of a configured issuer.
    Token(Arc<TokenPrincipal>),
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
    pub teams: Vec<Arc<TeamRecord>>,
    /// What a call for a team must be allowed by besides (`team_allowed_routes`).
    pub team_routes: Policy,
    /// Which management routes the role opens.
    pub management: Policy,
    /// When the token ends.
    pub expires: SystemTime,
    /// What kind of token it is.
    pub kind: TokenKind,
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
        }
    }

    /// The virtual key behind this principal, if there is one.
    #[must_use]
    pub fn key(&self) -> Option<&KeyRecord> {
        match self {
            Self::Key(key) => Some(key),
            Self::Master | Self::Token(_) => None,
        }
    }

    /// The rules that a call must be allowed by, every one of them; of a token's teams one is enough, see `authorize`.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let (key, token) = match self {
            Self::Master => (None, None),
            Self::Key(key) => (Some(&key.policy), None),
            Self::Token(token) => (None, Some(token.policies.iter())),
        };
        key.into_iter().chain(token.into_iter().flatten())
    }

    /// The rules of which one is enough: those of a token's teams.
    pub(crate) fn team_policies(&self) -> impl Iterator<Item = &Policy> {
        let teams = match self {
            Self::Master | Self::Key(_) => None,
            Self::Token(token) => Some(token.teams.iter()),
        };
        teams.into_iter().flatten().map(|team| &team.policy)
    }

    /// Whether this principal may use the model of this name.
    #[must_use]
    pub fn allows_model(&self, name: &str, groups: &AccessGroups) -> bool {
        let mut teams = self.team_policies().peekable();
        let by_team = teams.peek().is_none() || teams.any(|policy| policy.allows_model(name, groups));
        by_team && self.policies().all(|policy| policy.allows_model(name, groups))
    }

    /// Whether a management route of this path is open to this principal, as far as its own rules go; the role that the
    /// route asks for comes on top.
    #[must_use]
    pub fn allows_management_route(&self, path: &str) -> bool {
        match self {
            Self::Master => true,
            Self::Key(key) => key.policy.allows_management_route(path),
            Self::Token(token) => token.management.allows_management_route(path),
        }
    }

    /// Whether this principal is the operator, by the master key or by the role that their token gives them.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        match self {
            Self::Master => true,
            Self::Key(_) => false,
            Self::Token(token) => token.role == Role::Admin,
        }
    }
}
