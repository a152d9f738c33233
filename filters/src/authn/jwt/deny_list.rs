//! Tokens that are refused before their time is over: by `jti`, `sub` or `sid`, from the management API or from an
//! issuer's back-channel logout.
//!
//! Every node holds the whole list in memory and is told of each change as of a change to a key. A request looks into it
//! only when the list changed since its token was last compared with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use serde_json::Value;

use super::claims::Claims;
use crate::authn::virtual_key::KeyHash;
use crate::denial::Denial;

/// The claim by which tokens are denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeniedClaim {
    /// One token.
    Jti,
    /// All tokens of a subject.
    Sub,
    /// All tokens of a session at the issuer.
    Sid,
}

impl DeniedClaim {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jti, Self::Sub, Self::Sid];

    /// The claim's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Sub => "sub",
            Self::Sid => "sid",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|claim| claim.name() == name)
    }
}

/// How far a denial reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Only tokens issued (`iat`) at or before this instant, or without an `iat`; `None` denies all. A subject that is
    /// logged out may log in again.
    pub issued_until: Option<SystemTime>,
    /// From this instant on the entry says nothing: whatever it denied has expired.
    pub until: SystemTime,
}

/// The list. Empty until somebody fills it.
#[derive(Default)]
pub struct DenyList {
    entries: RwLock<HashMap<KeyHash, Denied>>,
    version: AtomicU64,
    /// Whether all of it was read once.
    known: AtomicBool,
    /// Whether no token counts before that.
    required: AtomicBool,
}

/// What of a token the list goes by; kept with a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deniable {
    /// [`entry_name`] of each claim that the token has.
    pub names: Vec<KeyHash>,
    /// When the token was issued, if it says so.
    pub issued_at: Option<SystemTime>,
}

impl Deniable {
    /// What the list goes by of these claims of an issuer.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`]: `iat` is not a time, or one of the names is no text and would not be found in the list.
    pub fn of(claims: &Claims, issuer: Option<&str>) -> Result<Self, Denial> {
        let issuer = issuer.unwrap_or_default();
        let mut names = Vec::with_capacity(DeniedClaim::ALL.len());
        for claim in DeniedClaim::ALL {
            match claims.named(claim.name()) {
                None => {}
                Some(Value::String(value)) => names.push(entry_name(claim, issuer, value)),
                Some(_) => return Err(Denial::InvalidToken("a sub, jti or sid that is no text")),
            }
        }
        Ok(Self { names, issued_at: claims.time("iat")? })
    }
}

/// The name of an entry: an issuer's claim with a value. An empty issuer stands for tokens that name none.
#[must_use]
pub fn entry_name(claim: DeniedClaim, issuer: &str, value: &str) -> KeyHash {
    // Lengths before the parts, so that no two triples are one text.
    KeyHash::of(&format!("{}:{}:{issuer}:{}:{value}", claim.name(), issuer.len(), value.len()))
}

impl DenyList {
    /// Whether tokens wait until the list was read, instead of counting from the start of a process whose store is away.
    pub fn require(&self, required: bool) {
        self.required.store(required, Ordering::Relaxed);
    }

    /// The list was read to its end. It stays known, whatever becomes of the store.
    pub fn mark_known(&self) {
        self.known.store(true, Ordering::Release);
    }

    /// Adds or replaces entries.
    pub fn put(&self, entries: impl IntoIterator<Item = (KeyHash, Denied)>) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).extend(entries);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Drops what says nothing any longer.
    pub fn expire(&self, now: SystemTime) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).retain(|_, denied| denied.until > now);
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes with every change of the list; take it before [`Self::denies`].
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Refuses a token that is denied. `undenied_at` is kept with the token: the version of the list that does not have it,
    /// so that the list is looked into once for each of its versions.
    ///
    /// # Errors
    /// [`Denial::RevokedToken`]; [`Denial::IssuerUnavailable`] while a list that is required is not known.
    pub fn refuse(&self, token: &Deniable, undenied_at: &AtomicU64, now: SystemTime) -> Result<(), Denial> {
        let version = self.version();
        if undenied_at.load(Ordering::Relaxed) == version {
            return Ok(());
        }
        if self.required.load(Ordering::Relaxed) && !self.known.load(Ordering::Acquire) {
            return Err(Denial::IssuerUnavailable("the deny list was not read yet"));
        }
        if self.denies(token, now) {
            return Err(Denial::RevokedToken);
        }
        undenied_at.store(version, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a token is denied.
    #[must_use]
    pub fn denies(&self, token: &Deniable, now: SystemTime) -> bool {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        token.names.iter().filter_map(|name| entries.get(name)).any(|denied| {
            let issued_later =
                matches!((token.issued_at, denied.issued_until), (Some(issued), Some(until)) if issued > until);
            denied.until > now && !issued_later
        })
    }
}
