//! What is kept of users and teams, as far as the decision on a token or a key needs it.
//!
//! A token says who its bearer is; what a user or a team of that name may do is kept in the store, like a key's rights,
//! and cached and forgotten like a key. A store that cannot be asked never means that somebody is unknown.

use std::ops::Deref;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::authn::virtual_key::StoreUnavailable;
use crate::policy::Policy;
use crate::principal::{Limit, Role};

/// What is kept of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRecord {
    /// The id: what the configured claim holds.
    pub id: Box<str>,
    /// The role that the operator gave them.
    pub role: Role,
    /// Which models they may use.
    pub policy: Policy,
    /// How fast they may call, and for how much; the budget is for what they call for themselves.
    pub limits: Option<Arc<[Limit]>>,
}

/// What is kept of a team.
#[derive(Clone, Debug, PartialEq)]
pub struct TeamRecord {
    /// The id.
    pub id: Box<str>,
    /// The operator's name for it.
    pub alias: Option<Box<str>>,
    /// The organisation that it belongs to.
    pub organization_id: Option<Box<str>>,
    /// Which models its members may use.
    pub policy: Policy,
    /// Refused until unblocked.
    pub blocked: bool,
    /// Counts the writes to it and to its members.
    pub version: i64,
    /// How fast all together may call for it, and for how much.
    pub limits: Option<Arc<[Limit]>>,
    /// Whether some of its members have limits of their own within it.
    pub limits_members: bool,
}

/// What is kept of somebody within a team.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberRecord {
    /// How fast they may call for the team, and for how much.
    pub limits: Option<Arc<[Limit]>>,
}

/// A team that somebody calls for.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// The team.
    pub team: Arc<TeamRecord>,
    /// What bounds the caller within it, if anything does.
    pub member: Option<Arc<MemberRecord>>,
}

impl Membership {
    /// `user_id`'s calls for `team`.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn of(
        team: Arc<TeamRecord>,
        user_id: Option<&str>,
        directory: &dyn Directory,
    ) -> Result<Self, StoreUnavailable> {
        let member = match user_id {
            Some(user_id) if team.limits_members => directory.member(&team, user_id).await?,
            _ => None,
        };
        Ok(Self { team, member })
    }

    /// The limits of the team, and of the caller within it.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        let of_member = self.member.as_deref().and_then(|member| member.limits.as_deref());
        [self.team.limits.as_deref(), of_member].into_iter().flatten().flatten()
    }
}

impl From<Arc<TeamRecord>> for Membership {
    fn from(team: Arc<TeamRecord>) -> Self {
        Self { team, member: None }
    }
}

impl Deref for Membership {
    type Target = TeamRecord;

    fn deref(&self) -> &TeamRecord {
        &self.team
    }
}

/// How a team is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TeamName<'a> {
    /// By its id.
    Id(&'a str),
    /// By its alias.
    Alias(&'a str),
}

/// A row that is made because a token named it for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// A user (`user_id_upsert`).
    User {
        /// The id.
        id: String,
        /// The e-mail address of the token.
        email: Option<String>,
    },
    /// A team (`team_id_upsert`).
    Team {
        /// The id.
        id: String,
    },
}

/// Where users and teams are looked up.
pub trait Directory: Send + Sync + 'static {
    /// The user of this id. `Ok(None)` means that the store answered and knows no such user.
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>>;

    /// The team of this name.
    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>>;

    /// As [`Self::team`], for a key that names the team by its id. A team without a row bounds no key, so while the store
    /// is away an absence that it confirmed counts for as long as a record would.
    fn team_of_key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        self.team(TeamName::Id(id))
    }

    /// As [`Self::user`], for a key that they own; likewise.
    fn owner_of_key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        self.user(id)
    }

    /// The member of this id of the team, as they are at its version. Asked where the team says that it limits members
    /// ([`TeamRecord::limits_members`]); a directory that knows none must not have such teams.
    fn member<'a>(
        &'a self,
        team: &'a TeamRecord,
        user_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<MemberRecord>>, StoreUnavailable>> {
        let _ = (team, user_id);
        ready(Err(StoreUnavailable("members are not kept".to_owned()))).boxed()
    }

    /// Has a row written soon, off the request path. Asking again for one that is under way or there is harmless; one
    /// that cannot be taken now is asked for again by the next request.
    fn enrol(&self, enrolment: Enrolment);
}
