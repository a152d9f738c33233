//! The deny list as this process holds it: read at the start, and on whenever a write may have changed it.
//!
//! A row carries the epoch of the write that made it, and writes happen one after another; so what is newer than the newest
//! row that was read is all that was missed, whatever it was that got lost. One reader at a time: an older answer never
//! comes to stand over a newer one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_admin_api::store::{AuditRow, DenialRow, StoreError};
use portcullis_filters::authn::jwt::deny_list::{Denied, DenyList, entry_name};
use portcullis_filters::authn::virtual_key::KeyHash;
use tokio::sync::{Mutex, watch};
use tokio::time::{interval, sleep};

use super::change::Change;
use super::row;
use super::statement::{self, denials};
use super::{Inner, Lane};

/// Denials in force at most: some 100 MB in every process.
const MOST: usize = 1_000_000;

/// Rows that are read at once.
const PAGE: i64 = 5_000;

/// How long after a reading that failed the next one is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// How often what says nothing any longer is dropped from memory.
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is dropped from the database.
const PURGE: Duration = Duration::from_secs(3600);

/// How long after its end a row is kept there: longer than the clocks of two processes are apart.
const KEPT: Duration = Duration::from_secs(3600);

/// Rows that are dropped at once.
const PURGED: i64 = 1_000;

/// The list, and how far it was read.
pub(super) struct Denials {
    pub(super) list: Arc<DenyList>,
    /// The epoch of the newest row that was read.
    newest: Mutex<i64>,
    /// Whether it was read to its end once.
    pub(super) loaded: watch::Sender<bool>,
}

impl Denials {
    pub(super) fn new() -> Self {
        Self { list: Arc::default(), newest: Mutex::new(0), loaded: watch::Sender::new(false) }
    }
}

impl Inner {
    /// Commits a denial; this process knows it when this returns.
    pub(super) async fn deny(&self, row: DenialRow, audit: &AuditRow) -> Result<DenialRow, StoreError> {
        if row.epoch == 0 && self.denials.list.len() >= MOST {
            self.denials.list.expire(SystemTime::now());
            if self.denials.list.len() >= MOST {
                return Err(StoreError::DenyListFull);
            }
        }
        let row = self.write(Change::deny(row, audit)).await?;
        if let Err(error) = self.read_denials().await {
            // The write is to be heard of and read again; until then what is known of it counts.
            tracing::warn!(cause = %error, "a denial is stored and cannot be read back now");
            self.denials.list.put([entry(&row)]);
        }
        Ok(row)
    }

    /// Keeps the list as the database has it, for ever.
    pub(super) async fn follow_denials(&self) {
        let (mut sweeps, mut purges) = (interval(SWEEP), interval(PURGE));
        let mut was_read = true;
        loop {
            match self.read_denials().await {
                Ok(()) => was_read = true,
                Err(error) => {
                    if std::mem::replace(&mut was_read, false) {
                        tracing::warn!(cause = %error, "the deny list cannot be read: what was read before counts");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            }
            tokio::select! {
                () = self.invalidation.denials.notified() => {}
                _ = sweeps.tick() => self.denials.list.expire(SystemTime::now()),
                _ = purges.tick() => self.purge_denials().await,
            }
        }
    }

    /// Reads on to the end of the list.
    async fn read_denials(&self) -> Result<(), StoreError> {
        let mut newest = self.denials.newest.lock().await;
        let epoch = self.read(statement::epoch(), row::number, Lane::Watch).await?;
        if epoch.first().is_some_and(|epoch| epoch < &*newest) {
            *newest = 0; // the database was put back to an earlier state, and counts from there
        }
        loop {
            let rows =
                self.read(denials::since(*newest, SystemTime::now(), PAGE), row::denial_row, Lane::Watch).await?;
            let Some(last) = rows.last() else { break };
            self.denials.list.put(rows.iter().map(entry));
            *newest = last.epoch;
        }
        self.denials.list.mark_known();
        self.denials.loaded.send_replace(true);
        Ok(())
    }

    async fn purge_denials(&self) {
        let then = SystemTime::now() - KEPT;
        loop {
            match self.read(denials::purge(then, PURGED), row::number, Lane::Admin).await {
                Ok(purged) if purged.is_empty() => return,
                Ok(_) => {}
                Err(error) => return tracing::warn!(cause = %error, "old denials cannot be dropped now"),
            }
        }
    }
}

/// A row as the list holds it. One that was taken back stands over what it denied, and says nothing.
fn entry(row: &DenialRow) -> (KeyHash, Denied) {
    let until = if row.allowed_at.is_some() { SystemTime::UNIX_EPOCH } else { row.until };
    (entry_name(row.claim, &row.issuer, &row.value), Denied { issued_until: row.issued_until, until })
}
