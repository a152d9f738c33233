//! The chain that turns a credential into a principal.
//!
//! Each authenticator has three answers: *not mine* (`Ok(None)`), *proven* (`Ok(Some(_))`) and *failed* (`Err`). A
//! failure stops the chain, so a credential that is wrong for its own kind never falls through to a weaker one. When
//! nobody takes it, it is unrecognised: an empty chain admits nobody.

use std::time::SystemTime;

use crate::credential::{Credential, CredentialSlots};
use crate::denial::Denial;
use crate::head::RequestHead;
use crate::principal::Principal;

pub mod failures;
pub mod master;
pub mod virtual_key;

use master::MasterKeys;
use virtual_key::{KeyHash, VirtualKeyAuthenticator};

/// One way to prove a credential. The set is closed; the order is that of the chain.
pub enum Authenticator {
    /// The operator's keys, compared in constant time.
    Master(MasterKeys),
    /// Keys of the store.
    VirtualKey(VirtualKeyAuthenticator),
}

/// The chain. The first to answer wins.
#[derive(Default)]
pub struct Authenticators(Vec<Authenticator>);

impl Authenticators {
    /// The chain in the order in which its members are asked.
    #[must_use]
    pub fn new(chain: Vec<Authenticator>) -> Self {
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
                Authenticator::Master(keys) => Ok(keys.authenticate(&hash)),
                Authenticator::VirtualKey(keys) => keys.authenticate(credential.text, hash, head.source, now).await,
            }?;
            if let Some(principal) = outcome {
                return Ok(principal);
            }
        }
        Err(Denial::UnrecognizedCredential("no authenticator knows it"))
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
