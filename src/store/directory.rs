//! Users and teams as the decision on a token or a key asks for them: from memory like keys, else from the store.
//!
//! A record is remembered and forgotten under the hash of its kind and its id. A team that is asked for by its alias is
//! remembered under the alias as well: whoever writes a team touches both names, before and after.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_admin_api::store::is_keepable;
use portcullis_filters::authn::virtual_key::{KeyHash, StoreUnavailable};
use portcullis_filters::directory::{Directory, Enrolment, MemberRecord, TeamName, TeamRecord, UserRecord};

use super::row::{self, Row, Unreadable};
use super::statement::{Statement, people};
use super::{Inner, Lane};

impl Directory for Inner {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        async move {
            if !is_keepable(id) {
                return Ok(None); // no row can have it
            }
            let query = || async move { self.look_up(people::user(id), row::user).await.map(only) };
            self.invalidation.caches.users.find_by(user(id), SystemTime::now(), query).await
        }
        .boxed()
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        async move {
            let (TeamName::Id(text) | TeamName::Alias(text)) = name;
            if !is_keepable(text) {
                return Ok(None);
            }
            let query = || async move { self.look_up(people::team(name), row::team).await.map(only) };
            self.invalidation.caches.teams.find_by(team(name), SystemTime::now(), query).await
        }
        .boxed()
    }

    fn team_of_key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        async move {
            let absent = || self.invalidation.caches.teams.was_absent(&team(TeamName::Id(id)), SystemTime::now());
            self.team(TeamName::Id(id)).await.or_else(|error| if absent() { Ok(None) } else { Err(error) })
        }
        .boxed()
    }

    fn owner_of_key<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        async move {
            let absent = || self.invalidation.caches.users.was_absent(&user(id), SystemTime::now());
            self.user(id).await.or_else(|error| if absent() { Ok(None) } else { Err(error) })
        }
        .boxed()
    }

    fn member<'a>(
        &'a self,
        team: &'a TeamRecord,
        user_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<MemberRecord>>, StoreUnavailable>> {
        async move {
            if !is_keepable(user_id) {
                return Ok(None);
            }
            // A write to the team or to a member of it moves the version: what is remembered of before is not asked for again.
            let name = KeyHash::of(&format!("member:{}:{}:{user_id}", team.version, team.id));
            let query =
                || async move { self.look_up(people::member(&team.id, user_id), row::member_record).await.map(only) };
            let known = self.invalidation.caches.members.find_by(name, SystemTime::now(), query).await;
            let absent = || self.invalidation.caches.members.was_absent(&name, SystemTime::now());
            known.or_else(|error| if absent() { Ok(None) } else { Err(error) })
        }
        .boxed()
    }

    fn enrol(&self, enrolment: Enrolment) {
        self.enrolments.ask(enrolment);
    }
}

impl Inner {
    async fn look_up<T: Send + 'static>(
        &self,
        statement: Statement,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, StoreUnavailable> {
        self.read(statement, decode, Lane::Lookup).await.map_err(|error| StoreUnavailable(error.to_string()))
    }
}

/// The row, if there is one and not several: an alias of several teams names none of them.
fn only<T>(rows: Vec<T>) -> Option<T> {
    let mut rows = rows.into_iter();
    let first = rows.next();
    if rows.next().is_some() {
        tracing::warn!("a token names a team by an alias that several teams have: it counts as unknown");
        return None;
    }
    first
}

/// The name under which what an enrolment makes is remembered, or its absence.
pub(super) fn name_of(enrolment: &Enrolment) -> KeyHash {
    match enrolment {
        Enrolment::User { id, .. } => user(id),
        Enrolment::Team { id } => team(TeamName::Id(id)),
    }
}

pub(super) fn user(id: &str) -> KeyHash {
    KeyHash::of(&format!("user:{id}"))
}

/// Under which name what a member spends within a team is counted.
pub(super) fn member(team_id: &str, user_id: &str) -> KeyHash {
    // The length keeps apart what two pairs of ids would have in common.
    KeyHash::of(&format!("member:{}:{team_id}:{user_id}", team_id.len()))
}

pub(super) fn team(name: TeamName<'_>) -> KeyHash {
    KeyHash::of(&match name {
        TeamName::Id(id) => format!("team:{id}"),
        TeamName::Alias(alias) => format!("team-alias:{alias}"),
    })
}
