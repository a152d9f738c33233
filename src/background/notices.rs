//! Tells a web hook of keys that are about to end: once for each end, by whichever node comes first, and again where the
//! hook did not take it.
//!
//! What is sent holds no key string. With a secret it is signed, so that a hook knows who asks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use portcullis_admin_api::store::{KeyRow, StoreError};
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::interval;

use crate::config::NoticeSettings;
use crate::store::Store;

/// How often it is looked for keys that end.
const LOOK: Duration = Duration::from_secs(2);

/// How often what was told long ago is forgotten.
const SWEEP: Duration = Duration::from_secs(3_600);

/// How long after an end it is known that somebody was told.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Keys of one look.
const BATCH: u32 = 100;

/// Who is told, and how.
pub struct Notices {
    settings: NoticeSettings,
    store: Store,
    client: Client,
}

impl Notices {
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(settings: NoticeSettings, store: Store) -> Result<Self> {
        // What a hook sends elsewhere is not ours to follow.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(settings.timeout).build();
        Ok(Self { settings, store, client: client.context("the HTTP client for notices")? })
    }

    /// Looks, for ever.
    pub async fn run(self) {
        let (mut looks, mut sweeps) = (interval(LOOK), interval(SWEEP));
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    if let Err(error) = self.look(SystemTime::now()).await {
                        tracing::debug!(cause = %error, "keys that end cannot be looked for now");
                    }
                }
                _ = sweeps.tick() => {
                    if let Some(before) = SystemTime::now().checked_sub(KEPT) {
                        let _ = self.store.forget_notices(before).await;
                    }
                }
            }
        }
    }

    async fn look(&self, now: SystemTime) -> Result<(), StoreError> {
        let ending = self.store.ending_keys(now, now + self.settings.before, BATCH).await?;
        for key in ending {
            if !self.store.claim_notice(&key).await? {
                continue;
            }
            if let Err(error) = self.tell(&expiring(&key)).await {
                self.store.release_notice(&key).await?;
                // The address may hold a secret.
                tracing::warn!(cause = %error, key = %key.token, "nobody could be told that a key ends; it is tried again");
                return Ok(());
            }
        }
        Ok(())
    }

    async fn tell(&self, notice: &Value) -> Result<()> {
        let body = notice.to_string();
        let mut request = self.client.post(self.settings.url.clone()).header("content-type", "application/json");
        if let Some(secret) = &self.settings.secret {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).context("the secret")?;
            mac.update(body.as_bytes());
            let digest: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            request = request.header("x-portcullis-signature", format!("sha256={digest}"));
        }
        let answer = request.body(body).send().await.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!(answer.status().is_success(), "the hook answered {}", answer.status());
        Ok(())
    }
}

fn expiring(key: &KeyRow) -> Value {
    let seconds = key.expires.and_then(|end| end.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    json!({
        "event": "key_expiring",
        "key": {
            "token": key.token,
            "key_name": key.key_name,
            "key_alias": key.key_alias,
            "user_id": key.user_id,
            "team_id": key.team_id,
            "expires": seconds,
        },
    })
}
