//! The chain that turns a credential into a principal.
//!
//! Each authenticator has three answers: *not mine* (`Ok(None)`), *proven* (`Ok(Some(_))`) and *failed* (`Err`). A
//! failure stops the chain, so a credential that is wrong for its own kind never falls through to a weaker one. When
//! nobody takes it, it is unrecognised: an empty chain admits nobody. The operator's own code ([`custom`]) comes before the
//! chain, and says whether the chain is asked at all.

use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;

use crate::credential::{Credential, CredentialSlots, SchemeWord};
use crate::denial::Denial;
use crate::head::RequestHead;
use crate::principal::Principal;

pub mod custom;
pub mod failures;
pub mod jwt;
pub mod master;
pub mod opaque;
pub mod virtual_key;

use custom::{CustomChain, Said};
use jwt::JwtAuthenticator;
use jwt::logout::LoggedOut;
use master::MasterKeys;
use opaque::OpaqueAuthenticator;
use virtual_key::{KeyHash, VirtualKeyAuthenticator};

/// One way to prove a credential. The set is closed; the order is that of the chain.
pub enum Authenticator {
    /// Tokens of configured issuers.
    Jwt(JwtAuthenticator),
    /// The operator's keys, compared in constant time.
    Master(MasterKeys),
    /// Keys of the store.
    VirtualKey(VirtualKeyAuthenticator),
    /// Tokens that only their issuer can read, who is asked.
    Opaque(OpaqueAuthenticator),
}

/// The chain. The first to answer wins.
#[derive(Default)]
pub struct Authenticators {
    custom: Option<CustomChain>,
    chain: Vec<Authenticator>,
}

/// What one member of the chain made of a credential; for [`Authenticators::explain`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It knows nothing of it.
    NotMine,
    /// It proves somebody.
    Proven,
    /// It refuses it.
    Failed(Denial),
}

impl Authenticators {
    /// The chain in the order in which its members are asked; but whoever asks somebody outside is asked last, so that no
    /// credential that can be told here, such as a master key, leaves the process.
    #[must_use]
    pub fn new(mut chain: Vec<Authenticator>) -> Self {
        chain.sort_by_key(|authenticator| matches!(authenticator, Authenticator::Opaque(_)));
        Self { custom: None, chain }
    }

    /// The same with the operator's own code before it.
    #[must_use]
    pub fn with_custom(self, custom: CustomChain) -> Self {
        Self { custom: Some(custom), ..self }
    }

    /// Whether the operator's own code is asked before anybody looks at a key.
    #[must_use]
    pub fn asks_custom_first(&self) -> bool {
        self.custom.as_ref().is_some_and(|custom| !custom.asks_keys_first())
    }

    /// Whether the body is to be read before [`Authenticators::authenticate`] is asked.
    #[must_use]
    pub fn read_body(&self) -> bool {
        self.custom.as_ref().is_some_and(CustomChain::reads_body)
    }

    /// Who presents what was extracted from this head. Only the operator's own code is asked where there was nothing.
    ///
    /// # Errors
    /// The denial of the authenticator that recognised the credential and refused it, else
    /// [`Denial::UnrecognizedCredential`]; that of the extraction where nobody makes sense of it.
    pub async fn authenticate(
        &self,
        head: &RequestHead<'_>,
        extracted: Result<Credential<'_>, Denial>,
        body: Option<&Bytes>,
        now: SystemTime,
    ) -> Result<Principal, Denial> {
        self.explain(head, extracted, body, now, &mut |_, _| {}).await
    }

    /// As [`Authenticators::authenticate`], and tells `saw` of each member that is asked, in order: its name and its answer.
    ///
    /// # Errors
    /// As there.
    pub async fn explain(
        &self,
        head: &RequestHead<'_>,
        extracted: Result<Credential<'_>, Denial>,
        body: Option<&Bytes>,
        now: SystemTime,
        saw: &mut (impl FnMut(&'static str, Step) + Send),
    ) -> Result<Principal, Denial> {
        let Some(custom) = &self.custom else { return self.prove(head, &extracted?, now, saw).await };
        if custom.asks_keys_first()
            && let Ok(credential) = &extracted
            && credential.scheme != SchemeWord::Dpop
        {
            match self.prove_key(credential.text, head, now, saw).await {
                Ok(Some(principal)) => return Ok(principal),
                // The store says nothing of it; the operator's code may.
                Ok(None) | Err(Denial::StoreUnavailable(_) | Denial::TooManyFailures { .. }) => {}
                Err(denial) => return Err(denial),
            }
        }
        // On the heap, or each request would carry the room for a question.
        match Box::pin(custom.ask(head, &extracted, body, now, saw)).await? {
            Said::Proven(principal) => Ok(principal),
            Said::Key(key) => {
                let found = self.prove_key(key.expose(), head, now, saw).await?;
                found.ok_or(Denial::UnrecognizedCredential("custom authentication names a key that nobody knows"))
            }
            Said::AskOthers => self.prove(head, &extracted?, now, saw).await,
        }
    }

    /// Who holds the key of this hash, and tells `saw` likewise. For explanations: whoever knows a hash has no key.
    ///
    /// # Errors
    /// As [`Authenticators::authenticate`].
    pub async fn explain_hash(
        &self,
        hash: KeyHash,
        now: SystemTime,
        saw: &mut (impl FnMut(&'static str, Step) + Send),
    ) -> Result<Principal, Denial> {
        for authenticator in &self.chain {
            if let Authenticator::VirtualKey(keys) = authenticator {
                let outcome = keys.holder(hash, None, now).await;
                saw(authenticator.name(), Step::of(&outcome));
                return outcome?.ok_or(Denial::UnrecognizedCredential("no such key"));
            }
        }
        Err(Denial::UnrecognizedCredential("no authenticator knows it"))
    }

    async fn prove(
        &self,
        head: &RequestHead<'_>,
        credential: &Credential<'_>,
        now: SystemTime,
        saw: &mut (impl FnMut(&'static str, Step) + Send),
    ) -> Result<Principal, Denial> {
        let hash = KeyHash::of(credential.text);
        for authenticator in &self.chain {
            let outcome = match authenticator {
                Authenticator::Jwt(tokens) => tokens.authenticate(credential, &hash, head, now).await,
                Authenticator::Opaque(tokens) => tokens.authenticate(credential, &hash, head, now).await,
                Authenticator::Master(keys) => Ok(keys.authenticate(&hash)),
                Authenticator::VirtualKey(keys) => keys.authenticate(credential.text, hash, head.source, now).await,
            };
            saw(authenticator.name(), Step::of(&outcome));
            match outcome? {
                // A key is bound to nothing; tokens see to it themselves.
                Some(Principal::Master | Principal::Key(_)) if credential.scheme == SchemeWord::Dpop => {
                    return Err(Denial::InvalidProof("the DPoP scheme for a key"));
                }
                Some(principal) => return Ok(principal),
                None => {}
            }
        }
        Err(Denial::UnrecognizedCredential("no authenticator knows it"))
    }

    /// Only master and virtual keys: what else could `text` be that stands for a key of ours.
    async fn prove_key(
        &self,
        text: &str,
        head: &RequestHead<'_>,
        now: SystemTime,
        saw: &mut (impl FnMut(&'static str, Step) + Send),
    ) -> Result<Option<Principal>, Denial> {
        let hash = KeyHash::of(text);
        for authenticator in &self.chain {
            let outcome = match authenticator {
                Authenticator::Master(keys) => Ok(keys.authenticate(&hash)),
                Authenticator::VirtualKey(keys) => keys.authenticate(text, hash, head.source, now).await,
                Authenticator::Jwt(_) | Authenticator::Opaque(_) => continue,
            };
            saw(authenticator.name(), Step::of(&outcome));
            if let Some(principal) = outcome? {
                return Ok(Some(principal));
            }
        }
        Ok(None)
    }

    /// Who has signed out, as a logout token of a configured issuer says. It lets nobody in. `source` is where it comes
    /// from, so that guessing is throttled.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`] for whatever is no such token, [`Denial::IssuerUnavailable`], [`Denial::TooManyFailures`].
    pub async fn logout(&self, token: &str, source: Option<IpAddr>, now: SystemTime) -> Result<LoggedOut, Denial> {
        for authenticator in &self.chain {
            if let Authenticator::Jwt(tokens) = authenticator {
                return tokens.logout(token, source, now).await;
            }
        }
        Err(Denial::InvalidToken("no issuer is configured"))
    }
}

impl Authenticator {
    /// Its name in explanations.
    fn name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
            Self::Master(_) => "master_key",
            Self::VirtualKey(_) => "virtual_key",
            Self::Opaque(_) => "oauth2",
        }
    }
}

impl Step {
    fn of(outcome: &Result<Option<Principal>, Denial>) -> Self {
        match outcome {
            Ok(None) => Self::NotMine,
            Ok(Some(_)) => Self::Proven,
            Err(denial) => Self::Failed(denial.clone()),
        }
    }
}

/// Slots and chain of one configuration: everything between a request head and a principal.
#[derive(Default)]
pub struct Gate {
    /// Where the credential is looked for.
    pub slots: CredentialSlots,
    /// Who verifies it.
    pub authenticators: Authenticators,
}

impl Gate {
    /// Extracts and authenticates in one step, for callers that need nothing in between.
    ///
    /// # Errors
    /// As [`CredentialSlots::extract`] and [`Authenticators::authenticate`].
    pub async fn authenticate(&self, head: &RequestHead<'_>, now: SystemTime) -> Result<Principal, Denial> {
        self.authenticators.authenticate(head, self.slots.extract(head), None, now).await
    }
}
