//! Keys that are about to end, each of which somebody is told of once.

use std::time::SystemTime;

use portcullis_admin_api::store::{KeyRow, StoreError};

use super::{Lane, Store, row, statement};

impl Store {
    /// Live keys that end between these two times and of whose end nobody was told yet, at most so many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn ending_keys(&self, now: SystemTime, until: SystemTime, most: u32) -> Result<Vec<KeyRow>, StoreError> {
        self.0.read(statement::ending_keys(now, until, i64::from(most)), row::key_row, Lane::Admin).await
    }

    /// Notes that somebody is told of this end; whether nobody was before, on any node.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim_notice(&self, key: &KeyRow) -> Result<bool, StoreError> {
        let Some(expires) = key.expires else { return Ok(false) };
        let claimed = self.0.read(statement::claim_notice(key.token, expires), |_| Ok(()), Lane::Admin).await?;
        Ok(!claimed.is_empty())
    }

    /// Takes that back: they could not be told.
    ///
    /// # Errors
    /// The database is away; then nobody is told.
    pub async fn release_notice(&self, key: &KeyRow) -> Result<(), StoreError> {
        let Some(expires) = key.expires else { return Ok(()) };
        self.0.read(statement::release_notice(key.token, expires), |_| Ok(()), Lane::Admin).await.map(drop)
    }

    /// Drops the notes of ends that are long past.
    ///
    /// # Errors
    /// The database is away.
    pub async fn forget_notices(&self, before: SystemTime) -> Result<(), StoreError> {
        self.0.read(statement::forget_notices(before), |_| Ok(()), Lane::Admin).await.map(drop)
    }
}
