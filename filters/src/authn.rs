//! The chain that turns a credential into a principal.
//!
//! Each authenticator has three answers: *not mine* (`Ok(None)`), *proven* (`Ok(Some(_))`) and *failed* (`Err`). A
//! failure stops the chain, so a credential that is wrong for its own kind never falls through to a weaker one. When
//! nobody takes it, it is unrecognised: an empty chain admits nobody.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::credential::{Credential, CredentialSlots, SchemeWord};
use crate::denial::Denial;
use crate::head::RequestHead;
use crate::principal::Principal;

pub mod failures;
pub mod jwt;
pub mod master;
pub mod opaque;
pub mod virtual_key;

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
pub struct Authenticators(Vec<Authenticator>);

impl Authenticators {
    /// The chain in the order in which its members are asked; but whoever asks somebody outside is asked last, so that no
    /// credential that can be told here, such as a master key, leaves the process.
    #[must_use]
    pub fn new(mut chain: Vec<Authenticator>) -> Self {
        chain.sort_by_key(|authenticator| matches!(authenticator, Authenticator::Opaque(_)));
        Self(chain)
    }

    /// Who presents this credential.
    ///
    /// # Errors
    /// The denial of the authenticator that recognised the credential and refused it, else
    /// [`Denial::UnrecognizedCredential`].
    pub async fn authenticate(
        &self,
        head: &RequestHead<'_>,
        credential: &Credential<'_>,
        now: SystemTime,
    ) -> Result<Principal, Denial> {
        let hash = KeyHash::of(credential.text);
        for authenticator in &self.0 {
            let outcome = match authenticator {
                Authenticator::Jwt(tokens) => tokens.authenticate(credential, &hash, head, now).await,
                Authenticator::Opaque(tokens) => tokens.authenticate(credential, &hash, head, now).await,
                Authenticator::Master(keys) => Ok(keys.authenticate(&hash)),
                Authenticator::VirtualKey(keys) => keys.authenticate(credential.text, hash, head.source, now).await,
            }?;
            match outcome {
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
}

impl Authenticators {
    /// Who has signed out, as a logout token of a configured issuer says. It lets nobody in. `source` is where it comes
    /// from, so that guessing is throttled.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`] for whatever is no such token, [`Denial::IssuerUnavailable`], [`Denial::TooManyFailures`].
    pub async fn logout(&self, token: &str, source: Option<IpAddr>, now: SystemTime) -> Result<LoggedOut, Denial> {
        for authenticator in &self.0 {
            if let Authenticator::Jwt(tokens) = authenticator {
                return tokens.logout(token, source, now).await;
            }
        }
        Err(Denial::InvalidToken("no issuer is configured"))
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
        let credential = self.slots.extract(head)?;
        self.authenticators.authenticate(head, &credential, now).await
    }
}
