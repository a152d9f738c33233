//! The two contracts, in terms of statements: what the hot path reads, and what the management API reads and writes.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_admin_api::store::{
    AdminStore, AuditQuery, AuditRow, DenialQuery, DenialRow, KeyQuery, KeyRow, MemberChange, Page, Replay, Rotation,
    StoreError, TeamMember, TeamQuery, TeamRow, UserQuery, UserRow,
};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};

use super::change::Change;
use super::listing::{self, Listing};
use super::row::{self, Row, Unreadable};
use super::statement::people;
use super::{Inner, Lane, statement};

impl KeyStore for Inner {
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>> {
        let found = self.read(statement::find(hash, SystemTime::now()), row::key_record, Lane::Lookup);
        found.map(|found| found.map(first).map_err(|error| StoreUnavailable(error.to_string()))).boxed()
    }
}

#[async_trait]
impl AdminStore for Inner {
    async fn insert_key(&self, row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(Change::insert(row, &audit)).await
    }

    async fn key(&self, token: KeyHash) -> Result<Option<KeyRow>, StoreError> {
        self.read(statement::key(token), row::key_row, Lane::Admin).await.map(first)
    }

    async fn successor(&self, old: KeyHash) -> Result<Option<KeyHash>, StoreError> {
        self.read(statement::successor(old), |row| row.hash(0), Lane::Admin).await.map(first)
    }

    async fn key_by_alias(&self, alias: &str) -> Result<Option<KeyRow>, StoreError> {
        self.read(statement::key_by_alias(alias), row::key_row, Lane::Admin).await.map(first)
    }

    async fn replace_key(&self, row: KeyRow, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(Change::replace(row, &audit)).await
    }

    async fn rotate_key(&self, rotation: Rotation, audit: AuditRow) -> Result<KeyRow, StoreError> {
        self.write(Change::rotate(rotation, &audit)).await
    }

    async fn replay(&self, old: KeyHash, request: [u8; 32]) -> Result<Option<Replay>, StoreError> {
        self.read(statement::replay(old, request), row::replay, Lane::Admin).await.map(first)
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRow>, StoreError> {
        self.page(listing::keys(query), row::key_row).await
    }

    async fn aliases(
        &self,
        search: Option<&str>,
        team_id: Option<&str>,
        offset: u64,
        limit: u64,
    ) -> Result<Page<String>, StoreError> {
        self.page(listing::aliases(search, team_id, offset, limit), row::alias).await
    }

    async fn insert_team(&self, row: TeamRow, audit: AuditRow) -> Result<TeamRow, StoreError> {
        self.write(Change::insert_team(row, &audit)).await
    }

    async fn team(&self, team_id: &str) -> Result<Option<TeamRow>, StoreError> {
        // The row before its members: a write in between moves the version that the next write has to name.
        let row = self.read(people::team_row(team_id), row::team_row, Lane::Admin).await.map(first)?;
        let Some(row) = row else { return Ok(None) };
        let members = self.read(people::members(team_id), row::member, Lane::Admin).await?;
        Ok(with_members(vec![row], members).pop())
    }

    async fn replace_team(
        &self,
        row: TeamRow,
        changes: Vec<MemberChange>,
        audit: AuditRow,
    ) -> Result<TeamRow, StoreError> {
        let known = self.read(people::team_row(&row.team_id), row::team_row, Lane::Admin).await.map(first)?;
        let known_as = known.and_then(|known| known.team_alias);
        self.write(Change::replace_team(row, &known_as, &changes, &audit)).await
    }

    async fn delete_team(&self, row: TeamRow, audit: AuditRow) -> Result<(), StoreError> {
        self.write(Change::delete_team(&row, &audit)).await
    }

    async fn teams(&self, query: &TeamQuery) -> Result<Page<TeamRow>, StoreError> {
        let listing = listing::teams(query);
        let members = people::members_of(&listing.page);
        let page = self.page(listing, row::team_row).await?;
        let members = self.read(members, row::member, Lane::Admin).await?;
        Ok(Page { rows: with_members(page.rows, members), total: page.total })
    }

    async fn insert_user(&self, row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError> {
        self.write(Change::insert_user(row, &audit)).await
    }

    async fn user(&self, user_id: &str) -> Result<Option<UserRow>, StoreError> {
        self.read(people::user_row(user_id), row::user_row, Lane::Admin).await.map(first)
    }

    async fn replace_user(&self, row: UserRow, audit: AuditRow) -> Result<UserRow, StoreError> {
        self.write(Change::replace_user(row, &audit)).await
    }

    async fn delete_user(&self, row: UserRow, audit: AuditRow) -> Result<(), StoreError> {
        self.write(Change::delete_user(&row, &audit)).await
    }

    async fn users(&self, query: &UserQuery) -> Result<Page<UserRow>, StoreError> {
        self.page(listing::users(query), row::user_row).await
    }

    async fn denial(&self, claim: DeniedClaim, issuer: &str, value: &str) -> Result<Option<DenialRow>, StoreError> {
        self.read(statement::denials::denial(claim, issuer, value), row::denial_row, Lane::Admin).await.map(first)
    }

    async fn put_denial(&self, row: DenialRow, audit: AuditRow) -> Result<DenialRow, StoreError> {
        self.deny(row, &audit).await
    }

    async fn denials(&self, query: &DenialQuery) -> Result<Page<DenialRow>, StoreError> {
        self.page(listing::denials(query), row::denial_row).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditRow>, StoreError> {
        self.page(listing::audit(query), row::audit_row).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(statement::epoch(), row::number, Lane::Lookup).await.map(drop)
    }
}

impl Inner {
    async fn page<T: Send + 'static>(
        &self,
        listing: Listing,
        decode: fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Page<T>, StoreError> {
        let rows = self.read(listing.page, decode, Lane::Admin).await?;
        let total = self.read(listing.total, row::number, Lane::Admin).await?;
        Ok(Page { rows, total: first(total).and_then(|total| u64::try_from(total).ok()).unwrap_or(0) })
    }
}

/// Gives each team its members.
fn with_members(mut teams: Vec<TeamRow>, members: Vec<(String, TeamMember)>) -> Vec<TeamRow> {
    let mut of_team = BTreeMap::<String, Vec<TeamMember>>::new();
    for (team_id, member) in members {
        of_team.entry(team_id).or_default().push(member);
    }
    for team in &mut teams {
        team.members = of_team.remove(&team.team_id).unwrap_or_default();
    }
    teams
}

fn first<T>(rows: Vec<T>) -> Option<T> {
    rows.into_iter().next()
}
