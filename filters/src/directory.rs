//! What is kept of users and teams, as far as the decision on a token or a key needs it.
//!
//! A token says who its bearer is; what a user or a team of that name may do is kept in the store, like a key's rights,
//! and cached and forgotten like a key. A store that cannot be asked never means that somebody is unknown.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::authn::virtual_key::StoreUnavailable;
use crate::policy::Policy;
use crate::principal::Role;

/// What is kept of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRecord {
    /// The id: what the configured claim holds.
    pub id: Box<str>,
    /// The role that the operator gave them.
    pub role: Role,
    /// Which models they may use.
    pub policy: Policy,
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

    /// Has a row written soon, off the request path. Asking again for one that is under way or there is harmless; one
    /// that cannot be taken now is asked for again by the next request.
    fn enrol(&self, enrolment: Enrolment);
}
