//! Tokens that were verified, by the hash of the whole token: what a second request with the same token costs is a look-up.
//!
//! An entry never outlives the token, a bound, or the key that signed it. It says nothing about the deny list, the
//! user or the teams: those are looked at for every request.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use super::deny_list::Deniable;
use super::identity::Identity;
use super::keys::Thumbprint;
use super::proof::Binding;
use crate::authn::virtual_key::KeyHash;
use crate::principal::TokenPrincipal;

/// A token that was verified, and what it says.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What its claims make of its bearer.
    pub identity: Identity,
    /// The principal, where nothing that is kept of users or teams has a say in it.
    pub principal: Option<Arc<TokenPrincipal>>,
    /// From this instant on it is refused.
    pub expires: SystemTime,
    /// From this instant on it is verified again.
    pub usable_until: SystemTime,
    /// Position of its issuer in the configuration.
    pub issuer: usize,
    /// The key that signed it.
    pub key: Thumbprint,
    /// The generation of the issuer's keys in which that was so.
    pub key_generation: AtomicU64,
    /// What the deny list goes by.
    pub deniable: Deniable,
    /// The version of the deny list that does not have it.
    pub undenied_at: AtomicU64,
    /// The key or certificate that its bearer must prove to have.
    pub binding: Option<Binding>,
}

/// Sizes and times of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCacheSettings {
    /// How many tokens are held.
    pub max_tokens: u64,
    /// How long one is held at most.
    pub ttl: Duration,
}

impl Default for TokenCacheSettings {
    fn default() -> Self {
        Self { max_tokens: 50_000, ttl: Duration::from_secs(300) }
    }
}

/// Verified tokens by full hash. One for each configuration in force: a reload starts with none.
pub struct VerifiedTokens {
    settings: TokenCacheSettings,
    tokens: quick_cache::sync::Cache<KeyHash, Arc<VerifiedToken>>,
}

impl VerifiedTokens {
    /// Empty.
    #[must_use]
    pub fn new(settings: TokenCacheSettings) -> Self {
        let tokens = crate::cache::bounded(settings.max_tokens);
        Self { settings, tokens }
    }

    /// The token of this hash, if it was verified and that still counts.
    #[must_use]
    pub fn recall(&self, hash: &KeyHash, now: SystemTime) -> Option<Arc<VerifiedToken>> {
        self.tokens.get(hash).filter(|token| token.usable_until > now)
    }

    /// Remembers a token.
    pub fn insert(&self, hash: KeyHash, token: Arc<VerifiedToken>) {
        self.tokens.insert(hash, token);
    }

    /// Forgets a token.
    pub fn remove(&self, hash: &KeyHash) {
        self.tokens.remove(hash);
    }

    /// Until when a token that was verified at `now` is held.
    #[must_use]
    pub fn usable_until(&self, expires: SystemTime, now: SystemTime) -> SystemTime {
        expires.min(now + self.settings.ttl)
    }
}
