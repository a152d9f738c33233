//! Opaque tokens: what only their issuer can read, so the issuer is asked. [`OpaqueAuthenticator::authenticate`] is the
//! story; what an answer must say is in [`answer`].
//!
//! What must stay true: nothing that can be told here leaves the process, so this is the last of the chain; an issuer that
//! does not answer lets nobody in and says nothing against a token; a token is asked about once, however many requests
//! bring it, and again when its answer has ended; a flood of junk costs a bounded number of questions, one for each text.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::failures::FailureThrottle;
use super::jwt::claims::Claims;
use super::jwt::deny_list::{Deniable, DenyList};
use super::jwt::identity::{ClaimRules, Identity};
use super::jwt::proof::{Binding, Proofs};
use super::jwt::token::is_token;
use super::virtual_key::KeyHash;
use crate::credential::{Credential, MAX_CREDENTIAL, SchemeWord, is_api_key_of_others};
use crate::denial::Denial;
use crate::directory::Directory;
use crate::head::RequestHead;
use crate::principal::{Principal, TokenKind, TokenPrincipal};
use crate::secret::Secret;

pub mod answer;

/// Who can be asked about a token: introspection (RFC 7662) or OpenID Connect's userinfo.
pub trait TokenInfo: Send + Sync + 'static {
    /// What the token says, read by [`answer`]. `Ok(None)`: whoever was asked answered, and the token is not good. Ends
    /// within some seconds, well or badly.
    fn ask(&self, token: Secret) -> BoxFuture<'_, Result<Option<Claims>, TokenInfoUnavailable>>;
}

/// There is no answer that counts. Never a statement about the token; the word is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TokenInfoUnavailable(pub &'static str);

/// One who can be asked, what an answer must say, and how it becomes a principal.
pub struct TokenServer {
    /// Who is asked.
    pub endpoint: Arc<dyn TokenInfo>,
    /// What `iss` must be where an answer has one; also the issuer by whose name the deny list knows its tokens.
    pub issuer: Option<String>,
    /// Of these `aud` must name one. Empty where none is asked for, as for userinfo, which never says whom a token is for.
    pub audiences: Vec<String>,
    /// How far the issuer's clock may run ahead of ours, for `nbf`.
    pub leeway: Duration,
    /// How long an answer counts at most; never beyond its `exp`.
    pub ttl: Duration,
    /// How claims become a principal.
    pub claims: ClaimRules,
}

/// The bounds on what is remembered and asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueSettings {
    /// How many tokens are remembered.
    pub max_tokens: u64,
    /// How long it counts that a token is not good.
    pub unknown_ttl: Duration,
    /// How many such tokens are remembered.
    pub max_unknown: u64,
    /// How many tokens may be asked about at once.
    pub max_questions: usize,
}

impl Default for OpaqueSettings {
    fn default() -> Self {
        Self { max_tokens: 50_000, unknown_ttl: Duration::from_secs(10), max_unknown: 50_000, max_questions: 64 }
    }
}

/// Proves opaque tokens by asking about them.
pub struct OpaqueAuthenticator {
    /// In the order in which they are asked; the first that vouches for a token judges it.
    servers: Vec<TokenServer>,
    settings: OpaqueSettings,
    good: quick_cache::sync::Cache<KeyHash, Arc<GoodToken>>,
    /// Apart from the good ones: no flood of junk can push one of those out.
    refused: quick_cache::sync::Cache<KeyHash, Refused>,
    /// Never holds anything: it lets one request ask while the others wait for the same answer.
    questions: moka::future::Cache<KeyHash, ()>,
    places: Semaphore,
    deny_list: Arc<DenyList>,
    proofs: Arc<Proofs>,
    directory: Arc<dyn Directory>,
    failures: Arc<FailureThrottle>,
}

/// A token that its issuer vouches for.
struct GoodToken {
    /// Position of who vouches for it.
    server: usize,
    identity: Identity,
    /// The principal, where nothing that is kept of users or teams has a say in it.
    principal: Option<Arc<TokenPrincipal>>,
    expires: SystemTime,
    /// From this instant on the issuer is asked again.
    usable_until: SystemTime,
    deniable: Deniable,
    undenied_at: AtomicU64,
    binding: Option<Binding>,
}

#[derive(Clone)]
struct Refused {
    denial: Denial,
    usable_until: SystemTime,
}

type Judgement = Result<Arc<GoodToken>, Denial>;

impl OpaqueAuthenticator {
    /// `deny_list`, `directory` and `failures` outlive a configuration; what is remembered of tokens belongs to this one.
    #[must_use]
    pub fn new(
        servers: Vec<TokenServer>,
        settings: OpaqueSettings,
        deny_list: Arc<DenyList>,
        proofs: Arc<Proofs>,
        directory: Arc<dyn Directory>,
        failures: Arc<FailureThrottle>,
    ) -> Self {
        Self {
            servers,
            good: crate::cache::bounded(settings.max_tokens),
            refused: crate::cache::bounded(settings.max_unknown),
            questions: moka::future::Cache::new(0),
            places: Semaphore::new(settings.max_questions),
            deny_list,
            proofs,
            directory,
            failures,
            settings,
        }
    }

    /// `None`: cannot be an opaque token. `hash` is that of the credential's text.
    pub(super) async fn authenticate(
        &self,
        credential: &Credential<'_>,
        hash: &KeyHash,
        head: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Option<Principal>, Denial> {
        if !may_be_token(credential) {
            return Ok(None);
        }
        let token = match self.recall(hash, now) {
            Some(judgement) => judgement,
            // On the heap, or each request would carry the room for a question that hardly any asks.
            None => Box::pin(self.find_out(credential.text, *hash, head.source, now)).await,
        }?;
        self.deny_list.refuse(&token.deniable, &token.undenied_at, now)?;
        self.proofs.check(token.binding.as_ref(), credential, hash, head, now)?;
        if let Some(principal) = &token.principal {
            return Ok(Some(Principal::Token(Arc::clone(principal))));
        }
        let rules = &self.servers[token.server].claims;
        let principal = Box::pin(rules.resolve(&token.identity, &*self.directory, token.expires)).await?;
        Ok(Some(Principal::Token(Arc::new(opaque(principal)))))
    }

    /// What is known of a token without asking.
    fn recall(&self, hash: &KeyHash, now: SystemTime) -> Option<Judgement> {
        if let Some(token) = self.good.get(hash).filter(|token| now < token.usable_until) {
            return Some(Ok(token));
        }
        let refused = self.refused.get(hash).filter(|refused| now < refused.usable_until)?;
        Some(Err(refused.denial))
    }

    /// Asks, or waits for the answer that another request is asking for.
    async fn find_out(&self, text: &str, hash: KeyHash, source: Option<IpAddr>, now: SystemTime) -> Judgement {
        self.failures.check(source, now)?;
        // moka keeps values and hands errors around, so an answer that must not be kept there is an error to it.
        let question = async { Err::<(), Judgement>(self.ask(text, hash, now).await) };
        let judgement = match self.questions.try_get_with(hash, question).await {
            Err(judgement) => Judgement::clone(&judgement),
            Ok(()) => self.ask(text, hash, now).await,
        };
        if let Err(Denial::InvalidToken(_)) = judgement {
            self.failures.record(source, now);
        }
        judgement
    }

    async fn ask(&self, text: &str, hash: KeyHash, now: SystemTime) -> Judgement {
        if let Some(judgement) = self.recall(&hash, now) {
            return judgement; // answered between this request's look and its turn
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Denial::Overloaded("as many questions about tokens are under way as may be"));
        };
        let judgement = self.ask_each(text, now).await.map(Arc::new);
        if let Err(Denial::IssuerUnavailable(_)) = judgement {
            return judgement; // says nothing about the token
        }
        match &judgement {
            Ok(token) => self.good.insert(hash, Arc::clone(token)),
            Err(denial) => {
                self.good.remove(&hash);
                let usable_until = now + self.settings.unknown_ttl;
                self.refused.insert(hash, Refused { denial: denial.clone(), usable_until });
            }
        }
        judgement
    }

    /// Asks one after the other. One who does not vouch for a token leaves it to the next; one who cannot be asked leaves
    /// it open whether there is such a token, unless another vouches for it.
    async fn ask_each(&self, text: &str, now: SystemTime) -> Result<GoodToken, Denial> {
        let token = Secret::from(text);
        let mut denial = Denial::InvalidToken("nobody who is asked vouches for it");
        for (position, server) in self.servers.iter().enumerate() {
            match server.endpoint.ask(token.clone()).await {
                Ok(Some(claims)) => return server.judge(position, &claims, now),
                Ok(None) => {}
                Err(TokenInfoUnavailable(word)) => denial = Denial::IssuerUnavailable(word),
            }
        }
        Err(denial)
    }
}

impl TokenServer {
    fn judge(&self, position: usize, claims: &Claims, now: SystemTime) -> Result<GoodToken, Denial> {
        let end = answer::check(claims, self, now)?;
        let binding = answer::binding(claims)?;
        let identity = self.claims.identify(claims)?;
        if identity.subject.is_none() && identity.user_id.is_none() {
            return Err(Denial::InvalidToken("nobody's: neither a subject nor the claim of the user"));
        }
        // Where the answer names no end, what is known of the token ends with the answer.
        let expires = end.unwrap_or(now + self.ttl);
        Ok(GoodToken {
            server: position,
            principal: identity.settled(expires, &self.claims).map(opaque).map(Arc::new),
            identity,
            expires,
            usable_until: expires.min(now + self.ttl),
            deniable: Deniable::of(claims, claims.text("iss").or(self.issuer.as_deref()))?,
            undenied_at: AtomicU64::new(u64::MAX),
            binding,
        })
    }
}

fn opaque(principal: TokenPrincipal) -> TokenPrincipal {
    TokenPrincipal { kind: TokenKind::Opaque, ..principal }
}

/// Shorter ones can be guessed, and are no tokens of anybody.
const SHORTEST: usize = 16;

/// Whether a credential is worth a question: of the alphabet of tokens (RFC 6750, section 2.1), and nothing whose kind can
/// be told by its looks. What stands behind `Basic` may be somebody's password.
fn may_be_token(credential: &Credential<'_>) -> bool {
    let text = credential.text;
    credential.scheme != SchemeWord::Other
        && (SHORTEST..=MAX_CREDENTIAL).contains(&text.len())
        && !text.starts_with("sk-")
        && is_b64token(text)
        && !is_api_key_of_others(text)
        && !is_token(text)
}

fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(in_alphabet)
}

#[cfg(test)]
mod tests;
