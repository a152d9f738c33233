//! Makes key strings: random ones, the caller's own, and those derived for a repeatable rotation.
//!
//! A [`KeyMaterial`] lives for one request: its text goes into one answer, everything else gets the hash.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::secret::Secret;
use sha2::Sha256;

use crate::keys::rules::KeyRules;
use crate::problem::Problem;

/// Longest own key string, in bytes; a presented credential may have 4 KiB with its scheme.
const MAX_CUSTOM: usize = 1024;

/// A new key string.
#[derive(Clone, Debug)]
pub(crate) struct KeyMaterial(Secret);

impl KeyMaterial {
    /// As many random bytes as the rules say, in URL-safe base64.
    pub(crate) fn random(rules: &KeyRules) -> Result<Self, Problem> {
        let mut bytes = vec![0; rules.generated_bytes.max(KeyRules::FEWEST_BYTES)];
        fill(&mut bytes)?;
        Ok(Self::encode(&bytes))
    }

    /// A string that the caller chose. It must be one that a client can send and nobody can guess by its length.
    pub(crate) fn custom(text: &str, param: &'static str, rules: &KeyRules) -> Result<Self, Problem> {
        if !rules.custom_keys {
            let message = "Custom API keys are disabled on this proxy";
            return Err(Problem::Refused(StatusCode::FORBIDDEN, "auth_error", message.into(), Some(param)));
        }
        if !text.starts_with("sk-") {
            return Err(Problem::invalid(param, "A custom key must start with 'sk-'"));
        }
        let fewest = rules.minimum_custom_length;
        if text.len() < fewest {
            return Err(Problem::invalid(param, format!("A custom key needs at least {fewest} characters")));
        }
        if text.len() > MAX_CUSTOM {
            return Err(Problem::invalid(param, format!("A custom key has at most {MAX_CUSTOM} characters")));
        }
        if text.ends_with(' ') || !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(Problem::invalid(param, "A custom key must be visible ASCII, as an HTTP header carries it"));
        }
        Ok(Self(text.into()))
    }

    /// The string that a rotation with an idempotency key produces, the same each time it is asked for.
    ///
    /// HMAC-SHA256 over the salt and the old hash, keyed by the idempotency key and the proxy's own derivation secret.
    /// The store keeps the salt, the SHA-256 of the idempotency key and the hash of the outcome. From these the string
    /// cannot be had: that takes both keys of the HMAC, and the derivation secret is never in the store, so even a poor
    /// idempotency key that is guessed from its SHA-256 does not give the string away. A caller who knows the
    /// idempotency key still has to be let in to ask for the rotation.
    pub(crate) fn derived(rules: &KeyRules, idempotency_key: &str, salt: &[u8; 32], old: KeyHash) -> Self {
        // Keys of an HMAC are one string: the digest of the first fixes where the second begins.
        let mut key = KeyHash::of(rules.derivation.expose()).as_bytes().to_vec();
        key.extend_from_slice(idempotency_key.as_bytes());
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(b"portcullis key rotation 1");
        mac.update(salt);
        mac.update(old.as_bytes());
        Self::encode(&mac.finalize().into_bytes())
    }

    fn encode(bytes: &[u8]) -> Self {
        Self(format!("sk-{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// The form that is stored.
    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash::of(self.text())
    }

    /// The string itself, for the one answer that shows it.
    pub(crate) fn text(&self) -> &str {
        self.0.expose()
    }

    /// `sk-...` and the last four characters; of a short key not even those.
    pub(crate) fn name(&self, rules: &KeyRules) -> Option<String> {
        if !rules.key_names {
            return None;
        }
        let text = self.text();
        let tail = if text.len() < 16 { "" } else { &text[text.len() - 4..] };
        Some(format!("sk-...{tail}"))
    }
}

/// A random salt for a derivation.
pub(crate) fn salt() -> Result<[u8; 32], Problem> {
    let mut salt = [0; 32];
    fill(&mut salt)?;
    Ok(salt)
}

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes; no key is made");
        Problem::Refused(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Internal server error".into(), None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> KeyRules {
        KeyRules::new("a derivation secret".into())
    }

    #[test]
    fn a_random_key_has_at_least_128_bits() {
        let key = KeyMaterial::random(&rules()).unwrap();
        assert_eq!(key.text().len(), "sk-".len() + 22);
        assert_ne!(key.text(), KeyMaterial::random(&rules()).unwrap().text());
        let weak = KeyRules { generated_bytes: 2, ..rules() };
        assert_eq!(KeyMaterial::random(&weak).unwrap().text().len(), "sk-".len() + 22);
        let long = KeyRules { generated_bytes: 32, ..rules() };
        assert_eq!(KeyMaterial::random(&long).unwrap().text().len(), "sk-".len() + 43);
    }

    #[test]
    fn custom_keys_can_be_sent_and_are_long_enough() {
        let custom = |text: &str| KeyMaterial::custom(text, "key", &rules()).is_ok();
        assert!(custom("sk-1234567890123"));
        assert!(custom("sk-my own long key"));
        for text in ["", "sk-123456789012", "pk-12345678901234", "SK-12345678901234", "sk-12345678901234 "] {
            assert!(!custom(text), "{text:?}");
        }
        assert!(!custom("sk-1234567890\u{e9}123"), "a header cannot carry it safely");
        assert!(!custom("sk-1234567890\n1234"));
        assert!(!custom(&format!("sk-{}", "x".repeat(MAX_CUSTOM))));
        let closed = KeyRules { custom_keys: false, ..rules() };
        assert!(KeyMaterial::custom("sk-1234567890123", "key", &closed).is_err());
    }

    #[test]
    fn a_name_shows_four_characters_of_a_long_key_and_none_of_a_short_one() {
        let name = |text: &str| KeyMaterial(text.into()).name(&rules()).unwrap();
        assert_eq!(name("sk-qC5b02PjnQVdq3FPYY37wQ"), "sk-...37wQ");
        assert_eq!(name("sk-short"), "sk-...");
        let unnamed = KeyRules { key_names: false, ..rules() };
        assert_eq!(KeyMaterial("sk-qC5b02PjnQVdq3FPYY37wQ".into()).name(&unnamed), None);
    }

    #[test]
    fn a_derived_key_depends_on_each_of_its_four_inputs() {
        let old = KeyHash::of("sk-old");
        let derive = |rules: &KeyRules, request: &str, salt: u8, old| {
            KeyMaterial::derived(rules, request, &[salt; 32], old).text().to_owned()
        };
        let key = derive(&rules(), "request-0123456789", 1, old);
        assert_eq!(key, derive(&rules(), "request-0123456789", 1, old));
        assert_ne!(key, derive(&KeyRules::new("another".into()), "request-0123456789", 1, old));
        assert_ne!(key, derive(&rules(), "request-9876543210", 1, old));
        assert_ne!(key, derive(&rules(), "request-0123456789", 2, old));
        assert_ne!(key, derive(&rules(), "request-0123456789", 1, KeyHash::of("sk-other")));
    }
}
