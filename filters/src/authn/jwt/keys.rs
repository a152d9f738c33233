//! The keys of an issuer: read from a key set (RFC 7517), a PEM text or a secret, and used to verify a signature.
//!
//! A key is bound to its kind and, where the set says so, to one algorithm; a key that must not sign (`use` other than
//! `sig`, `key_ops` without `verify`), of an unknown kind, or too weak is left out and named for the log.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use crate::denial::Denial;
use crate::secret::Secret;

mod jwk;
mod pem;
mod rsa;
mod signing_key;

use signing_key::SigningKey;

/// The keys of one issuer at one time.
#[derive(Debug, Default, PartialEq)]
pub struct KeySet {
    keys: Vec<Held>,
}

/// A key as a set has it.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    key: Arc<SigningKey>,
    /// Whether it counts whatever key a token names: no key of its set has a name, so a token's word says nothing.
    for_any_name: bool,
}

/// Identifies a key by its value (RFC 7638), so that a token verified by it can be told to be good still when the set
/// is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 32]);

/// Why a text holds no keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAKeySet(pub &'static str);

/// The most keys that are taken from one set.
pub const MAX_KEYS: usize = 100;

/// With how many keys a signature is compared at most: a token without a `kid` must not cost as much as a set is long.
const MAX_TRIES: usize = 8;

/// How much of a key's name is repeated in the log.
const SHOWN_NAME: usize = 64;

impl KeySet {
    /// Reads a JWK set (`{"keys": [..]}` or a bare list), or a mapping of `kid` to X.509 PEM certificates as Google and
    /// Firebase publish them. The second part names what was left out and why, for the log.
    ///
    /// Of a certificate the key alone counts: that it comes from the issuer is told by where the text was fetched.
    ///
    /// # Errors
    /// It is none of these, or has no key that can be used.
    pub fn parse(text: &[u8]) -> Result<(Self, Vec<String>), NotAKeySet> {
        let document = json::read(text).ok_or(NotAKeySet("not JSON, or an object of it has a name twice"))?;
        let mut gathered = Gathered::default();
        match &document {
            Value::Array(keys) => gathered.add_jwks(keys),
            Value::Object(members) => match members.get("keys") {
                Some(Value::Array(keys)) => gathered.add_jwks(keys),
                Some(_) => return Err(NotAKeySet("its keys are not a list")),
                None => gathered.add_certificates(members),
            },
            _ => return Err(NotAKeySet("neither a JWK set nor a mapping of names to certificates")),
        }
        gathered.finish()
    }

    /// One public key in PEM: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`. Fits tokens of any `kid`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn from_pem(pem: &str) -> Result<Self, NotAKeySet> {
        pem::read(pem).map(Self::of_one).map_err(NotAKeySet)
    }

    /// A shared secret for HMAC, of at least 32 bytes (RFC 7518, section 3.2). HS384 wants 48 of them, HS512 64.
    ///
    /// # Errors
    /// It is shorter.
    pub fn from_secret(secret: &Secret) -> Result<Self, NotAKeySet> {
        SigningKey::secret(secret.expose().as_bytes()).map(Self::of_one).map_err(NotAKeySet)
    }

    /// The keys of several sets together, each of at most [`MAX_KEYS`].
    #[must_use]
    pub fn merged(sets: &[Arc<Self>]) -> Self {
        Self { keys: sets.iter().flat_map(|set| set.keys.iter().cloned()).collect() }
    }

    /// How many keys there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no set is made without a key, but by merging none")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is a key that this token could have been signed with; if not, a newer set may have it.
    #[must_use]
    pub fn has(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.fitting(kid, algorithm).next().is_some()
    }

    /// Whether the key of this thumbprint is still one of the set.
    #[must_use]
    pub fn holds(&self, key: &Thumbprint) -> bool {
        self.keys.iter().any(|held| held.key.thumbprint == *key)
    }

    /// Verifies a signature, and says by which key.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`]: no key fits, or none of those that fit made this signature.
    pub fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &str,
        signature: &str,
    ) -> Result<Thumbprint, Denial> {
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| Denial::InvalidToken("a signature that is not base64url"))?;
        let mut fitting = self.fitting(kid, algorithm).take(MAX_TRIES).peekable();
        if fitting.peek().is_none() {
            return Err(Denial::InvalidToken("no key of its issuer fits"));
        }
        let signer = fitting.find(|key| key.verifies(algorithm, message.as_bytes(), &signature));
        signer.map(|key| key.thumbprint).ok_or(Denial::InvalidToken("not signed by a key of its issuer"))
    }

    /// Whether a token that names this key is for one key and no other. If not, a signature that no key made may be that of
    /// a newer one.
    #[must_use]
    pub fn tells_apart(&self, kid: Option<&str>) -> bool {
        kid.is_some() && !self.keys.iter().any(|held| held.for_any_name)
    }

    /// Keys without a name are for tokens without one, unless their whole set is nameless.
    fn fitting(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &SigningKey> {
        let named = move |held: &Held| held.for_any_name || kid.is_none_or(|kid| held.key.kid.as_deref() == Some(kid));
        self.keys.iter().filter(move |held| held.key.fits(algorithm) && named(held)).map(|held| &*held.key)
    }

    fn of_one(key: SigningKey) -> Self {
        Self { keys: vec![Held { for_any_name: key.kid.is_none(), key: Arc::new(key) }] }
    }
}

/// A set while it is read.
#[derive(Default)]
struct Gathered {
    keys: Vec<SigningKey>,
    left_out: Vec<String>,
    too_many: usize,
}

impl Gathered {
    fn add_jwks(&mut self, keys: &[Value]) {
        for (at, key) in keys.iter().enumerate() {
            let kid = key.get("kid").and_then(Value::as_str).unwrap_or_default();
            self.add(at, kid, || jwk::read(key));
        }
    }

    fn add_certificates(&mut self, certificates: &Map<String, Value>) {
        for (at, (kid, pem)) in certificates.iter().enumerate() {
            self.add(at, kid, || {
                let mut key = pem::read(pem.as_str().ok_or("neither a JWK set nor a certificate")?)?;
                key.kid = Some(kid.clone());
                Ok(key)
            });
        }
    }

    fn add(&mut self, at: usize, kid: &str, read: impl FnOnce() -> Result<SigningKey, &'static str>) {
        if self.keys.len() >= MAX_KEYS {
            self.too_many += 1;
            return;
        }
        match read() {
            Ok(key) if self.keys.contains(&key) => {}
            Ok(key) => self.keys.push(key),
            Err(why) => {
                let name: String = kid.chars().take(SHOWN_NAME).collect();
                self.left_out.push(format!("key {} ({name:?}): {why}", at + 1));
            }
        }
    }

    fn finish(mut self) -> Result<(KeySet, Vec<String>), NotAKeySet> {
        if self.keys.is_empty() {
            return Err(NotAKeySet("no key in it can be used to verify a token"));
        }
        if self.too_many > 0 {
            self.left_out.push(format!("{} more: a set may have {MAX_KEYS}", self.too_many));
        }
        let for_any_name = self.keys.iter().all(|key| key.kid.is_none());
        let keys = self.keys.into_iter().map(|key| Held { key: Arc::new(key), for_any_name }).collect();
        Ok((KeySet { keys }, self.left_out))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;
