//! The two contracts, in terms of statements: what the hot path reads, and what the management API reads and writes.

use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_admin_api::store::{
    AdminStore, AuditQuery, AuditRow, DenialQuery, DenialRow, KeyQuery, KeyRow, Page, Replay, Rotation, StoreError,
};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyRecord, KeyStore, StoreUnavailable};

use super::change::Change;
use super::listing::{self, Listing};
use super::row::{self, Row, Unreadable};
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

fn first<T>(rows: Vec<T>) -> Option<T> {
    rows.into_iter().next()
}
