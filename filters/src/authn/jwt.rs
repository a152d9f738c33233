//! Tokens of configured issuers: from three dotted parts to a principal. [`JwtAuthenticator::authenticate`] is the story.
//!
//! What must stay true: nothing of a token is believed before its signature is verified with a key of the issuer that it
//! names; no algorithm counts that the issuer's configuration does not list; a token of no configured issuer is refused
//! and never falls through to a weaker scheme; no step waits for the network but for a key set that is being fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

pub mod algorithm;
pub mod cache;
pub mod claims;
pub mod deny_list;
pub mod identity;
pub mod issuer;
mod json;
pub mod key_source;
pub mod keys;
pub mod logout;
pub mod proof;
pub mod token;

#[cfg(test)]
mod attack;
#[cfg(test)]
mod testing;

use cache::{VerifiedToken, VerifiedTokens};
use deny_list::{Deniable, DenyList};
use issuer::Issuer;
use keys::{KeySet, Thumbprint};
use proof::{Binding, Proofs};
use token::Token;

use super::failures::FailureThrottle;
use super::virtual_key::KeyHash;
use crate::credential::Credential;
use crate::denial::Denial;
use crate::directory::Directory;
use crate::head::RequestHead;
use crate::principal::Principal;

/// Proves tokens against the keys of their issuers.
pub struct JwtAuthenticator {
    /// In the order of the configuration; the first that claims a token judges it.
    issuers: Vec<Issuer>,
    cache: VerifiedTokens,
    deny_list: Arc<DenyList>,
    proofs: Arc<Proofs>,
    directory: Arc<dyn Directory>,
    failures: Arc<FailureThrottle>,
}

impl JwtAuthenticator {
    /// `deny_list`, `directory` and `failures` outlive a configuration; `cache` and `proofs` belong to this one.
    #[must_use]
    pub fn new(
        issuers: Vec<Issuer>,
        cache: VerifiedTokens,
        deny_list: Arc<DenyList>,
        proofs: Arc<Proofs>,
        directory: Arc<dyn Directory>,
        failures: Arc<FailureThrottle>,
    ) -> Self {
        Self { issuers, cache, deny_list, proofs, directory, failures }
    }

    /// `None`: not a token. `hash` is that of the credential's text.
    pub(super) async fn authenticate(
        &self,
        credential: &Credential<'_>,
        hash: &KeyHash,
        head: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Option<Principal>, Denial> {
        let presented = credential.text;
        if presented.starts_with("sk-") {
            return Ok(None); // most credentials are keys, and none of them is looked for among the tokens
        }
        let known = match self.recall(hash, now) {
            Some(known) => known,
            None if !token::is_token(presented) => return Ok(None),
            // On the heap, or each request would carry the room for what hardly any needs.
            None => Box::pin(self.verify(presented, *hash, head, now)).await?,
        };
        self.deny_list.refuse(&known.deniable, &known.undenied_at, now)?;
        self.proofs.check(known.binding.as_ref(), credential, hash, head, now)?;
        if let Some(principal) = &known.principal {
            return Ok(Some(Principal::Token(Arc::clone(principal))));
        }
        let rules = &self.issuers[known.issuer].claims;
        let principal = Box::pin(rules.resolve(&known.identity, &*self.directory, known.expires)).await?;
        Ok(Some(Principal::Token(Arc::new(principal))))
    }

    /// A token that was verified before, unless its key is gone since.
    fn recall(&self, hash: &KeyHash, now: SystemTime) -> Option<Arc<VerifiedToken>> {
        let known = self.cache.recall(hash, now)?;
        let keys = &self.issuers[known.issuer].keys;
        let generation = keys.generation();
        if known.key_generation.load(Ordering::Relaxed) != generation {
            if !keys.current().is_some_and(|set| set.holds(&known.key)) {
                self.cache.remove(hash);
                return None;
            }
            known.key_generation.store(generation, Ordering::Relaxed);
        }
        Some(known)
    }

    /// Everything about a token that is done once. The order is the policy: form, issuer, key, signature, claims.
    async fn verify(
        &self,
        presented: &str,
        hash: KeyHash,
        head: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Arc<VerifiedToken>, Denial> {
        self.failures.check(head.source, now)?;
        let verified = self.verify_uncounted(presented, now).await;
        match &verified {
            Ok(token) => self.cache.insert(hash, Arc::clone(token)),
            Err(Denial::InvalidToken(_)) => self.failures.record(head.source, now),
            Err(_) => {}
        }
        verified
    }

    async fn verify_uncounted(&self, presented: &str, now: SystemTime) -> Result<Arc<VerifiedToken>, Denial> {
        let token = Token::read(presented)?;
        let Proven { position, issuer, key, key_generation } = self.prove(&token, now).await?;
        let expires = issuer.check(&token, now)?;
        let binding = Binding::of(&token.claims)?;
        let identity = issuer.claims.identify(&token.claims)?;
        let principal = identity.settled(expires, &issuer.claims).map(Arc::new);
        Ok(Arc::new(VerifiedToken {
            identity,
            principal,
            expires,
            usable_until: self.cache.usable_until(expires, now),
            issuer: position,
            key,
            key_generation: AtomicU64::new(key_generation),
            deniable: Deniable::of(&token.claims, token.claims.text("iss"))?,
            undenied_at: AtomicU64::new(u64::MAX),
            binding,
        }))
    }

    /// That the issuer whom a token names signed it, and nothing about what it says.
    async fn prove(&self, token: &Token<'_>, now: SystemTime) -> Result<Proven<'_>, Denial> {
        let (position, issuer) = self.issuer_of(token)?;
        if !issuer.algorithms.contains(&token.algorithm) {
            return Err(Denial::InvalidToken("an algorithm that its issuer does not use"));
        }
        let key_generation = issuer.keys.generation(); // before the keys: a change in between makes it look old, not new
        let keys = keys_for(issuer, token, now).await?;
        let verify = |keys: &KeySet| keys.verify(token.kid.as_deref(), token.algorithm, token.message, token.signature);
        let key = match verify(&keys) {
            // Nothing says that it is one of these keys: it may be of a newer one.
            Err(denial) if !keys.tells_apart(token.kid.as_deref()) => match issuer.keys.newer(now).await {
                Some(newer) => verify(&newer)?,
                None => return Err(denial),
            },
            verified => verified?,
        };
        Ok(Proven { position, issuer, key, key_generation })
    }

    /// The issuer whose rules count for a token. Where issuers are listed, one that is not is nobody's (LiteLLM lets such
    /// a token fall back to its global settings: contract 03, J4).
    fn issuer_of(&self, token: &Token<'_>) -> Result<(usize, &Issuer), Denial> {
        let mut issuers = self.issuers.iter().enumerate();
        issuers.find(|(_, issuer)| issuer.claims_token(token)).ok_or(Denial::InvalidToken("of no configured issuer"))
    }
}

/// A token whose signature is verified: by whom, and with which key.
struct Proven<'a> {
    position: usize,
    issuer: &'a Issuer,
    key: Thumbprint,
    key_generation: u64,
}

/// The keys of an issuer, fetched once more where the one that the token names is not among them: the issuer may have a
/// new one.
async fn keys_for(issuer: &Issuer, token: &Token<'_>, now: SystemTime) -> Result<Arc<KeySet>, Denial> {
    let has = |keys: &Arc<KeySet>| keys.has(token.kid.as_deref(), token.algorithm);
    let known = issuer.keys.current();
    if let Some(keys) = known.as_ref().filter(|keys| has(keys)) {
        return Ok(Arc::clone(keys));
    }
    match issuer.keys.newer(now).await.or(known).filter(has) {
        Some(keys) => Ok(keys),
        None if issuer.keys.is_partial() => Err(Denial::IssuerUnavailable("the keys of its issuer cannot be had")),
        None => Err(Denial::InvalidToken("no key of its issuer fits it")),
    }
}
