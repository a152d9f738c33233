//! Sender-constrained tokens (RFC 7800): a token that is bound to a key or a certificate is refused without its proof.
//!
//! What must stay true: a token that is bound counts for nothing where the proof is missing, not even as a weaker kind of
//! token; one that is bound to two things needs both proofs; one that is bound to anything else is refused; a proof that
//! was used is refused, also by another thread. The page for operators is `docs/tokens-bound-and-opaque.md`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::Claims;
use crate::authn::virtual_key::KeyHash;
use crate::credential::{Credential, SchemeWord};
use crate::denial::Denial;
use crate::head::RequestHead;

pub mod certificate;
mod dpop;
pub mod public_url;
pub mod used;

use public_url::PublicUrl;
use used::UsedProofs;

/// What a token is bound to: a key, a certificate, or both; never nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    key: Option<[u8; 32]>,
    certificate: Option<[u8; 32]>,
}

/// What the proofs of requests are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofSettings {
    /// The addresses under which clients reach this gateway (`portcullis.public_urls`): a DPoP proof must name one of
    /// them. Without any no such proof is good, since `Host`, the other candidate, is the word of whoever sends the
    /// request, a thief of a proof too.
    pub public_urls: Vec<PublicUrl>,
    /// How old a DPoP proof may be.
    pub max_age: Duration,
    /// How far ahead of ours the clock of a client may run.
    pub leeway: Duration,
}

impl Default for ProofSettings {
    fn default() -> Self {
        Self { public_urls: Vec::new(), max_age: Duration::from_secs(60), leeway: Duration::from_secs(5) }
    }
}

/// Checks proofs.
pub struct Proofs {
    settings: ProofSettings,
    used: Arc<UsedProofs>,
}

impl Binding {
    /// What the claims bind a token to. A confirmation of a kind that is not known here binds it to something that
    /// nobody can prove, and such a token is refused (RFC 7800, section 3.1, would have it ignored, and the token with
    /// it be anybody's).
    ///
    /// # Errors
    /// [`Denial::InvalidToken`].
    pub fn of(claims: &Claims) -> Result<Option<Self>, Denial> {
        const UNPROVABLE: Denial = Denial::InvalidToken("bound to what cannot be proven here");
        let Some(confirmation) = claims.named("cnf") else { return Ok(None) };
        let members = confirmation.as_object().filter(|members| !members.is_empty()).ok_or(UNPROVABLE)?;
        let mut binding = Self { key: None, certificate: None };
        for (name, value) in members {
            let thumbprint = value.as_str().and_then(thumbprint).ok_or(UNPROVABLE)?;
            match name.as_str() {
                "jkt" => binding.key = Some(thumbprint),              // RFC 9449, section 6.1
                "x5t#S256" => binding.certificate = Some(thumbprint), // RFC 8705, section 3.1
                _ => return Err(UNPROVABLE),
            }
        }
        Ok(Some(binding))
    }

    /// Whether it is bound to the key that signs the DPoP proof of each request.
    #[must_use]
    pub fn is_to_key(&self) -> bool {
        self.key.is_some()
    }
}

/// A SHA-256 digest in base64url.
fn thumbprint(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl Proofs {
    /// `used` outlives a configuration: what was used before a reload is not good again after it.
    #[must_use]
    pub fn new(settings: ProofSettings, used: Arc<UsedProofs>) -> Self {
        Self { settings, used }
    }

    /// Checks that the request proves what its token is bound to, and that it presents the token accordingly: with the
    /// `DPoP` scheme if it is bound to a key, and only then (RFC 9449, sections 7.1 and 7.2). `hash` is the token's, for
    /// `ath`. A proof that passes is used up.
    ///
    /// # Errors
    /// [`Denial::InvalidProof`]; for a certificate [`Denial::InvalidToken`], the word of RFC 8705, section 3.
    pub fn check(
        &self,
        binding: Option<&Binding>,
        credential: &Credential<'_>,
        hash: &KeyHash,
        head: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<(), Denial> {
        let key = binding.and_then(|binding| binding.key.as_ref());
        match (key.is_some(), credential.scheme == SchemeWord::Dpop) {
            (true, false) => return Err(Denial::InvalidProof("a bound token without the DPoP scheme")),
            (false, true) => return Err(Denial::InvalidProof("the DPoP scheme for a token that is bound to no key")),
            _ => {}
        }
        let certificate = binding.and_then(|binding| binding.certificate.as_ref());
        if certificate.is_some_and(|bound| head.client_certificate.as_ref() != Some(bound)) {
            return Err(Denial::InvalidToken("bound to a certificate that the client did not show"));
        }
        let Some(key) = key else { return Ok(()) };
        let proof = dpop::verify(&self.settings, key, hash, head, now)?;
        self.used.spend(proof, now - self.settings.max_age)
    }
}

impl Default for Proofs {
    /// Takes certificates and no DPoP proof.
    fn default() -> Self {
        Self::new(ProofSettings::default(), Arc::new(UsedProofs::new(0, SystemTime::UNIX_EPOCH)))
    }
}

#[cfg(test)]
mod tests;
