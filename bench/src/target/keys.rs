//! Puts keys into a running gateway's embedded store, faster than the management API would: copies of one key that it made.
//!
//! The rows are copied whole with another hash, so that nothing here knows what a key consists of.

use crate::gateway::Gateway;
use crate::load::KeySeries;
use anyhow::Context;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Inserts the first `count` keys of a series with the rights of a key that `request` makes.
pub(super) async fn insert_keys(gateway: &Gateway, request: &Value, keys: KeySeries, count: u64) -> anyhow::Result<()> {
    let model = hash(&gateway.generate_key(request).await);
    let path = gateway.directory().join("portcullis.db");
    let insert = tokio::task::spawn_blocking(move || copies(&mut Connection::open(path)?, &model, keys, count));
    insert.await?.context("inserting keys into the embedded store")
}

fn copies(store: &mut Connection, model: &[u8], keys: KeySeries, count: u64) -> rusqlite::Result<()> {
    store.busy_timeout(Duration::from_secs(10))?;
    let transaction = store.transaction()?;
    transaction.execute("CREATE TEMP TABLE model AS SELECT * FROM virtual_keys WHERE token = ?", [model])?;
    {
        let mut name = transaction.prepare("UPDATE temp.model SET token = ?")?;
        let mut copy = transaction.prepare("INSERT INTO virtual_keys SELECT * FROM temp.model")?;
        for n in 0..count {
            name.execute([hash(&keys.key(n))])?;
            copy.execute([])?;
        }
    }
    transaction.commit()?;
    store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}
