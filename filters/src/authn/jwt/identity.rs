//! From claims to a principal: LiteLLM's `litellm_jwtauth`, as a pure function.
//!
//! Two steps. [`ClaimRules::identify`] reads the claims alone and is done once for a token; [`ClaimRules::resolve`] adds
//! what is kept of the user and the teams, and is done for each request, because that may change while the token lives.
//! What must stay true: a token gives nobody a management route but by the admin scope, a mapped role or a user's row.

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use super::claims::Claims;
use crate::denial::Denial;
use crate::policy::Policy;
use crate::principal::{Role, TokenKind, TokenPrincipal};

mod claimed;
mod resolve;
mod rules;

pub use rules::{ADMIN_ROUTES, ClaimRules, TEAM_ROUTES};

use claimed::{name, name_at, names_at, scopes, texts_at};

/// What the claims say of the bearer.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The token's subject, for logs.
    pub subject: Option<Arc<str>>,
    /// The user's id.
    pub user_id: Option<Arc<str>>,
    /// The user's e-mail address.
    pub user_email: Option<Arc<str>>,
    /// The organisation.
    pub organization_id: Option<Arc<str>>,
    /// The customer on whose behalf the call is made.
    pub end_user_id: Option<Arc<str>>,
    /// The role that the token gives.
    pub role: Role,
    /// The teams that it names.
    pub teams: NamedTeams,
    /// What every LLM call must be allowed by, as far as the token says.
    pub policies: Vec<Policy>,
}

/// The teams that a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedTeams {
    /// None, and none is needed.
    None,
    /// One by its id; it has to be known, or enrolled.
    Id(Arc<str>),
    /// One by its alias; it has to be known.
    Alias(Arc<str>),
    /// Several by their ids, sorted; those that are known count, in this order.
    AnyOf(Vec<Arc<str>>),
}

impl Identity {
    /// The principal, where nothing that is kept of users or teams has a say in it: no user and no team is named, or an
    /// admin, for whom LiteLLM asks for neither.
    #[must_use]
    pub fn settled(&self, expires: SystemTime, rules: &ClaimRules) -> Option<TokenPrincipal> {
        let names_nobody = self.user_id.is_none() && self.teams == NamedTeams::None;
        (names_nobody || self.role == Role::Admin).then(|| self.principal(expires, rules))
    }

    /// The principal as far as the token goes.
    fn principal(&self, expires: SystemTime, rules: &ClaimRules) -> TokenPrincipal {
        let team = match &self.teams {
            NamedTeams::Id(name) | NamedTeams::Alias(name) => Some(name),
            NamedTeams::AnyOf(ids) => ids.first(),
            NamedTeams::None => None,
        };
        let id = self.user_id.as_ref().or(self.subject.as_ref()).or(team);
        TokenPrincipal {
            kind: TokenKind::Jwt,
            id: id.map_or_else(|| "token without a subject".into(), Arc::clone),
            user_id: self.user_id.clone(),
            user_email: self.user_email.clone(),
            organization_id: self.organization_id.clone(),
            end_user_id: self.end_user_id.clone(),
            role: self.role,
            policies: self.policies.clone(),
            teams: Vec::new(),
            limits: None,
            team_routes: rules.team_routes.clone(),
            management: if self.role == Role::Admin { rules.admin_routes.clone() } else { MEMBER_ROUTES.clone() },
            expires,
        }
    }
}

/// The management routes of everybody but an admin.
static MEMBER_ROUTES: LazyLock<Policy> = LazyLock::new(|| rules::routes(&["info_routes"]));

impl ClaimRules {
    /// Reads the claims of a verified token. The order is LiteLLM's: role, scopes, user, teams.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`] where a claim is no text, too long or holds control characters;
    /// [`Denial::IdentityForbidden`] where the bearer may not come in; [`Denial::UnknownIdentity`] where a team has to be
    /// named and none is.
    pub fn identify(&self, claims: &Claims) -> Result<Identity, Denial> {
        let user_claim = name_at(claims, self.user_id.as_ref())?;
        let team_claim = self.team_claim(claims)?;
        let scopes = scopes(claims)?;
        let role = self.role(claims, &scopes, user_claim.is_some(), team_claim.is_some())?;
        let policies = self.policies(role, &scopes)?;

        let user_email = name_at(claims, self.user_email.as_ref())?;
        self.check_domain(user_email.as_deref())?;
        let object_id = name_at(claims, self.object_id.as_ref())?;
        let object_of = |kind| object_id.clone().filter(|_| role == kind);
        let user_id = object_of(Role::InternalUser).or(user_claim).or_else(|| user_email.clone());
        let teams = match role {
            Role::Admin => NamedTeams::None,
            _ => self.teams(claims, object_of(Role::Team).or(team_claim))?,
        };
        let names_nobody = user_id.is_none() && teams == NamedTeams::None;
        if self.enforce_rbac && role != Role::Admin && names_nobody {
            return Err(Denial::IdentityForbidden("it names neither user nor team"));
        }
        Ok(Identity {
            subject: name(claims.named("sub"))?,
            user_id,
            user_email,
            organization_id: name_at(claims, self.organization_id.as_ref())?,
            end_user_id: name_at(claims, self.end_user_id.as_ref())?,
            role,
            teams,
            policies,
        })
    }

    /// The role, in LiteLLM's order: admin, team, user, and only then what the provider's roles are mapped to. There a
    /// mapped admin is one for `role_permissions` only, and only where the token names neither team nor user; here the
    /// mapping makes an admin whatever else it names, or leaving out a claim would give more rights.
    fn role(&self, claims: &Claims, scopes: &[&str], names_user: bool, names_team: bool) -> Result<Role, Denial> {
        let mapped = self.mapped_role(claims)?;
        if mapped == Role::Admin || scopes.contains(&self.admin_scope.as_str()) {
            return Ok(Role::Admin);
        }
        let is_user = match &self.user_roles {
            None => names_user,
            Some((path, allowed)) => {
                if !texts_at(claims, Some(path))?.iter().any(|role| allowed.iter().any(|known| known == role)) {
                    return Err(Denial::IdentityForbidden("none of the roles that users must have"));
                }
                true
            }
        };
        let role = if names_team || self.default_team.is_some() {
            Role::Team
        } else if is_user {
            Role::InternalUser
        } else {
            mapped
        };
        if self.enforce_rbac && role == Role::None {
            return Err(Denial::IdentityForbidden("no role"));
        }
        Ok(role)
    }

    fn mapped_role(&self, claims: &Claims) -> Result<Role, Denial> {
        let Some((path, mappings)) = &self.roles else { return Ok(Role::None) };
        let roles = texts_at(claims, Some(path))?;
        let mapping = mappings.iter().find(|(name, _)| roles.contains(&name.as_str()));
        Ok(mapping.map_or(Role::None, |(_, role)| *role))
    }

    /// What role and scopes demand of every LLM call.
    fn policies(&self, role: Role, scopes: &[&str]) -> Result<Vec<Policy>, Denial> {
        let permissions = self.role_permissions.iter().find(|(of, _)| *of == role);
        let mut policies: Vec<Policy> = permissions.map(|(_, policy)| policy.clone()).into_iter().collect();
        if let Some(mappings) = &self.scopes {
            let held: Vec<&Policy> = mappings
                .iter()
                .filter(|(scope, _)| scopes.contains(&scope.as_str()))
                .map(|(_, policy)| policy)
                .collect();
            // An admin's management routes do not come from a scope of models.
            if held.is_empty() && role != Role::Admin {
                return Err(Denial::IdentityForbidden("no scope that opens a model"));
            }
            policies.push(Policy::any_of(held));
        }
        if role == Role::Admin {
            policies.push(self.admin_routes.clone());
        }
        Ok(policies)
    }

    /// The part after the last `@`, byte by byte.
    fn check_domain(&self, email: Option<&str>) -> Result<(), Denial> {
        let Some(expected) = self.email_domain.as_deref() else { return Ok(()) };
        match email.and_then(|email| email.rsplit_once('@')) {
            Some((local, domain)) if !local.is_empty() && domain == expected => Ok(()),
            _ => Err(Denial::IdentityForbidden("the domain of the e-mail address")),
        }
    }

    /// The team of `team_id_jwt_field`; of a list the first.
    fn team_claim(&self, claims: &Claims) -> Result<Option<Arc<str>>, Denial> {
        let Some(value) = self.team_id.as_ref().and_then(|path| claims.at(path)) else { return Ok(None) };
        name(value.as_array().map_or(Some(value), |list| list.first()))
    }

    /// Which teams count: the one that is named by id, by alias, the list, the default. Where one team has to be named, a
    /// list does not stand in for it, as in LiteLLM.
    fn teams(&self, claims: &Claims, named: Option<Arc<str>>) -> Result<NamedTeams, Denial> {
        if let Some(id) = named {
            return Ok(NamedTeams::Id(id));
        }
        if let Some(alias) = name_at(claims, self.team_alias.as_ref())? {
            return Ok(NamedTeams::Alias(alias));
        }
        let one_is_asked_for = self.team_id.is_some() || self.team_alias.is_some();
        let ids = if one_is_asked_for { Vec::new() } else { self.team_list(claims)? };
        match &self.default_team {
            _ if !ids.is_empty() => Ok(NamedTeams::AnyOf(ids)),
            Some(default) => Ok(NamedTeams::Id(default.as_str().into())),
            None if one_is_asked_for => Err(Denial::UnknownIdentity("no team in the token")),
            None if self.team_required => Err(Denial::IdentityForbidden("no team")),
            None => Ok(NamedTeams::None),
        }
    }

    fn team_list(&self, claims: &Claims) -> Result<Vec<Arc<str>>, Denial> {
        let mut ids = names_at(claims, self.team_ids.as_ref())?;
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > MAX_TEAMS { Err(Denial::IdentityForbidden("too many teams")) } else { Ok(ids) }
    }
}

/// Most teams of one token: each costs a look-up. Entra ID puts at most 200 groups into a token.
const MAX_TEAMS: usize = 256;

#[cfg(test)]
mod tests;
