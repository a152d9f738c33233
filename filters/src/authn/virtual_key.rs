//! Virtual keys: parse by shape, hash, look up through the cache, check block and expiry.
//!
//! The key string exists only inside [`VirtualKey`]; everything past it (store, cache, log, admin API) knows the
//! [`KeyHash`], which is LiteLLM's stored form: the SHA-256 of the whole string, `sk-` included.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::failures::FailureThrottle;
use crate::cache::KeyCache;
use crate::denial::Denial;
use crate::directory::{Directory, Membership};
use crate::policy::Policy;
use crate::principal::{KeyHolder, Limit, Principal};

/// A presented string that has the shape of a virtual key: `sk-` and at least one visible character.
#[derive(Clone, Copy)]
pub struct VirtualKey<'a>(&'a str);

impl<'a> VirtualKey<'a> {
    /// Recognises the shape; `None` means that this cannot be a virtual key.
    ///
    /// LiteLLM's rule is the prefix alone, and operators choose own key strings, spaces included, so nothing but control
    /// characters is excluded here. The bound of 4 KiB is held at extraction.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("sk-")?;
        (!rest.is_empty() && !rest.chars().any(char::is_control)).then_some(Self(text))
    }

    /// The form in which the key is stored and looked up.
    #[must_use]
    pub fn hash(self) -> KeyHash {
        KeyHash::of(self.0)
    }
}

/// SHA-256 of a key string: the key's public id and the only form that reaches the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key string (LiteLLM's `hash_token`).
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The raw digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for KeyHash {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl Hash for KeyHash {
    /// A part of a digest tells keys apart as well as the whole. Whoever tries strings until these 64 bits agree gets a
    /// slow look-up for it, nothing else: keys are compared in full.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key hash is 64 hexadecimal digits")]
pub struct NotAKeyHash;

impl FromStr for KeyHash {
    type Err = NotAKeyHash;

    fn from_str(text: &str) -> Result<Self, NotAKeyHash> {
        let hex = text.as_bytes();
        if hex.len() != 64 {
            return Err(NotAKeyHash);
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(NotAKeyHash)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(NotAKeyHash)?;
            *byte = (high * 16 + low) as u8;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for KeyHash {
    /// Lower-case hexadecimal, as LiteLLM stores and shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl Serialize for KeyHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What the decision needs to know of a virtual key. The store makes it from a row; the cache holds it, in such numbers
/// that its size counts.
#[derive(Debug, PartialEq)]
pub struct KeyRecord {
    /// The public id: the hash of the key string now in force, also when the caller still uses the one before a rotation.
    pub id: KeyHash,
    /// The operator's name for the key.
    pub alias: Option<Box<str>>,
    /// Owner, team and organisation, as LiteLLM's ids; kept for logs, enforced with users and teams.
    pub user_id: Option<Box<str>>,
    /// See `user_id`.
    pub team_id: Option<Box<str>>,
    /// See `user_id`.
    pub organization_id: Option<Box<str>>,
    /// Which models and routes are open.
    pub policy: Policy,
    /// From this instant on the key is refused. For a string within its grace period this is the end of the grace
    /// period where that comes first.
    pub expires: Option<SystemTime>,
    /// Refused until unblocked.
    pub blocked: bool,
    /// How fast it may be used, and for how much. Strings within their grace period share them with the key. Most keys have
    /// none, and many are held in memory.
    pub limits: Option<Arc<[Limit]>>,
}

/// Where keys are looked up: the one thing the hot path asks of a store. It has no method that writes.
pub trait KeyStore: Send + Sync + 'static {
    /// Finds the live key of this hash, or the key that this hash was rotated to while its grace period lasts.
    /// `Ok(None)` means that the store answered and knows no such key.
    fn find(&self, hash: KeyHash) -> BoxFuture<'_, Result<Option<KeyRecord>, StoreUnavailable>>;
}

/// The store could not be asked, or did not answer in time. Never a statement about the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreUnavailable(pub String);

/// Proves virtual keys against the store, through the cache.
pub struct VirtualKeyAuthenticator {
    store: Arc<dyn KeyStore>,
    cache: Arc<KeyCache>,
    failures: Arc<FailureThrottle>,
    directory: Option<Arc<dyn Directory>>,
}

impl VirtualKeyAuthenticator {
    /// `cache` is shared with whoever has to make it forget: the admin API's writes and the listener for other nodes.
    /// Keys that name a team or an owner are refused until there is a [directory](Self::with_directory).
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>, cache: Arc<KeyCache>, failures: Arc<FailureThrottle>) -> Self {
        Self { store, cache, failures, directory: None }
    }

    /// The same with a place where the teams and users that keys name are known.
    #[must_use]
    pub fn with_directory(self, directory: Arc<dyn Directory>) -> Self {
        Self { directory: Some(directory), ..self }
    }

    /// `None`: not of the shape of a virtual key, or of no known key. `hash` is that of `presented`.
    pub(super) async fn authenticate(
        &self,
        presented: &str,
        hash: KeyHash,
        source: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<Option<Principal>, Denial> {
        if VirtualKey::parse(presented).is_none() {
            return Ok(None);
        }
        self.holder(hash, source, now).await
    }

    /// Who holds the key of this hash.
    pub(super) async fn holder(
        &self,
        hash: KeyHash,
        source: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<Option<Principal>, Denial> {
        let known = match self.cache.recall(&hash, now) {
            Some(known) => known,
            // On the heap, or each request would carry the room for a query that hardly any makes.
            None => Box::pin(self.ask(hash, source, now)).await?,
        };
        let Some(record) = known else { return Ok(None) };
        if record.blocked {
            return Err(Denial::BlockedKey);
        }
        if record.expires.is_some_and(|end| end <= now) {
            return Err(Denial::ExpiredKey);
        }
        if record.team_id.is_none() && record.user_id.is_none() {
            return Ok(Some(Principal::Key(record.into())));
        }
        // On the heap for the same reason: most keys name nobody.
        Box::pin(self.with_people(record)).await.map(|holder| Some(Principal::Key(holder)))
    }

    /// Adds the team and the owner. They are looked up for each request, in memory where they are known: a change to a team
    /// touches one record, however many keys it has.
    async fn with_people(&self, key: Arc<KeyRecord>) -> Result<KeyHolder, Denial> {
        let away = |StoreUnavailable(cause)| Denial::StoreUnavailable(cause);
        let directory = self.directory.as_ref();
        let directory = directory.ok_or_else(|| Denial::StoreUnavailable("teams and users are not kept".to_owned()))?;
        let team = match &key.team_id {
            Some(id) => directory.team_of_key(id).await.map_err(away)?,
            None => None,
        };
        if team.as_ref().is_some_and(|team| team.blocked) {
            return Err(Denial::BlockedTeam);
        }
        let team = match team {
            Some(team) => Some(Membership::of(team, key.user_id.as_deref(), &**directory).await.map_err(away)?),
            None => None,
        };
        let user = match &key.user_id {
            Some(id) => directory.owner_of_key(id).await.map_err(away)?,
            None => None,
        };
        Ok(KeyHolder { key, team, user })
    }

    /// Looks a key up that is not in memory, or no longer good there.
    async fn ask(
        &self,
        hash: KeyHash,
        source: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<Option<Arc<KeyRecord>>, Denial> {
        let is_new = !self.cache.holds(&hash);
        if is_new {
            self.failures.check(source, now)?;
        }
        let found = self.cache.find(&self.store, hash, now).await;
        let found = found.map_err(|StoreUnavailable(cause)| Denial::StoreUnavailable(cause))?;
        if found.is_none() && is_new {
            self.failures.record(source, now);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
