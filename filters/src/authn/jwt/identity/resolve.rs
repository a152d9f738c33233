//! What is kept of the user and the teams that a token names, added to what the token says. Done for each request.
//!
//! What must stay true: a store that cannot be asked is never a pass, and nobody is enrolled by a token that is refused.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{ClaimRules, Identity, NamedTeams};
use crate::authn::virtual_key::StoreUnavailable;
use crate::denial::Denial;
use crate::directory::{Directory, Enrolment, Membership, TeamName, TeamRecord, UserRecord};
use crate::policy::Policy;
use crate::principal::{Role, TokenPrincipal};

/// Teams of one token that are looked up at a time.
const CONCURRENT_LOOKUPS: usize = 8;

type TeamAnswer = Result<Option<Arc<TeamRecord>>, StoreUnavailable>;

impl ClaimRules {
    /// Adds what is kept of the user and the teams.
    ///
    /// # Errors
    /// [`Denial::UnknownIdentity`], [`Denial::IdentityForbidden`] where every team is blocked,
    /// [`Denial::StoreUnavailable`].
    pub async fn resolve(
        &self,
        identity: &Identity,
        directory: &dyn Directory,
        expires: SystemTime,
    ) -> Result<TokenPrincipal, Denial> {
        if let Some(principal) = identity.settled(expires, self) {
            return Ok(principal);
        }
        let mut principal = identity.principal(expires, self);
        let mut enrolments = Vec::new();
        for team in self.teams_of(identity, directory, &mut enrolments).await? {
            let membership = Membership::of(team, identity.user_id.as_deref(), directory);
            principal.teams.push(membership.await.map_err(unavailable)?);
        }
        if let Some(id) = &identity.user_id {
            match directory.user(id).await.map_err(unavailable)? {
                Some(user) => self.add_user(&mut principal, &user),
                None if self.enrol_users => {
                    principal.role = first_given([identity.role, Role::InternalUser]);
                    let email = identity.user_email.as_deref().map(str::to_owned);
                    enrolments.push(Enrolment::User { id: id.to_string(), email });
                }
                None => return Err(Denial::UnknownIdentity("no such user")),
            }
        }
        for enrolment in enrolments {
            directory.enrol(enrolment);
        }
        Ok(principal)
    }

    /// The role that the operator gave the user counts before that of the token, an admin's too. Which models are theirs
    /// counts for themselves only: who calls for a team has those of the team (LiteLLM: the default
    /// `no-default-models` of a user leaves nothing but the teams).
    fn add_user(&self, principal: &mut TokenPrincipal, user: &UserRecord) {
        principal.role = first_given([user.role, principal.role, Role::InternalUser]);
        if principal.role == Role::Admin {
            principal.management = self.admin_routes.clone();
        }
        if principal.teams.is_empty() && user.policy != Policy::default() {
            principal.policies.push(user.policy.clone());
        }
        principal.limits = user.limits.clone();
    }

    async fn teams_of(
        &self,
        identity: &Identity,
        directory: &dyn Directory,
        enrolments: &mut Vec<Enrolment>,
    ) -> Result<Vec<Arc<TeamRecord>>, Denial> {
        let found = match &identity.teams {
            NamedTeams::None => return Ok(Vec::new()),
            NamedTeams::AnyOf(ids) => {
                let asked: Vec<BoxFuture<'_, TeamAnswer>> =
                    ids.iter().map(|id| directory.team(TeamName::Id(id))).collect();
                stream::iter(asked).buffered(CONCURRENT_LOOKUPS).try_collect().await.map_err(unavailable)?
            }
            NamedTeams::Alias(alias) => {
                vec![directory.team(TeamName::Alias(alias)).await.map_err(unavailable)?]
            }
            NamedTeams::Id(id) => {
                let known = directory.team(TeamName::Id(id)).await.map_err(unavailable)?;
                let enrol = known.is_none() && self.enrol_teams;
                if enrol {
                    enrolments.push(Enrolment::Team { id: id.to_string() });
                }
                vec![known.or_else(|| enrol.then(|| Arc::new(open_team(id))))]
            }
        };
        unblocked(found)
    }
}

fn unblocked(found: Vec<Option<Arc<TeamRecord>>>) -> Result<Vec<Arc<TeamRecord>>, Denial> {
    let mut teams: Vec<Arc<TeamRecord>> = found.into_iter().flatten().collect();
    if teams.is_empty() {
        return Err(Denial::UnknownIdentity("no such team"));
    }
    teams.retain(|team| !team.blocked);
    if teams.is_empty() { Err(Denial::IdentityForbidden("its teams are blocked")) } else { Ok(teams) }
}

/// A team as it is enrolled, until its row can be read.
fn open_team(id: &str) -> TeamRecord {
    TeamRecord {
        id: id.into(),
        alias: None,
        organization_id: None,
        policy: Policy::default(),
        blocked: false,
        version: 0,
        limits: None,
        limits_members: false,
    }
}

fn first_given<const N: usize>(roles: [Role; N]) -> Role {
    roles.into_iter().find(|role| *role != Role::None).unwrap_or_default()
}

fn unavailable(StoreUnavailable(cause): StoreUnavailable) -> Denial {
    Denial::StoreUnavailable(cause)
}
