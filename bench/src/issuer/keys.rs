//! Real keys for each algorithm, and their public halves as the key set shows them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

/// Thirty-two bytes or more, as RFC 7518 wants it for HS256.
pub(super) const HS256_SECRET: &str = "a shared secret of the bench: 7c1f0b52e9d84a36";

/// In PKCS #8, version 1, the algorithm and the lengths stand before the RSA key itself, which is what signs. The lengths of a
/// key of 2,048 bits take two bytes each.
const RSA_HEADER_BYTES: usize = 26;

/// One key for each algorithm.
pub(super) struct SigningKeys {
    generation: u32,
    rsa: EncodingKey,
    ec: EncodingKey,
    ed: EncodingKey,
    hmac: EncodingKey,
    published: Vec<Jwk>,
}

/// Those that every issuer of this process begins with.
pub(super) fn first() -> Arc<SigningKeys> {
    static FIRST: OnceLock<Arc<SigningKeys>> = OnceLock::new();
    FIRST.get_or_init(|| Arc::new(SigningKeys::generate(0))).clone()
}

impl SigningKeys {
    /// New ones. An RSA key takes a tenth of a second and at times much more.
    pub(super) fn generate(generation: u32) -> Self {
        let made = "the system has randomness";
        let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect(made);
        let rsa = rsa.as_der().expect(made);
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(made);
        let ed = Ed25519KeyPair::generate().expect(made);
        let mut keys = Self {
            generation,
            rsa: EncodingKey::from_rsa_der(&rsa.as_ref()[RSA_HEADER_BYTES..]),
            ec: EncodingKey::from_ec_der(ec.to_pkcs8v1().expect(made).as_ref()),
            ed: EncodingKey::from_ed_der(ed.to_pkcs8v1().expect(made).as_ref()),
            hmac: EncodingKey::from_secret(HS256_SECRET.as_bytes()),
            published: Vec::new(),
        };
        let public = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
        keys.published = public.map(|algorithm| keys.public_half(algorithm)).into();
        keys
    }

    pub(super) fn header(&self, algorithm: Algorithm) -> Header {
        Header { kid: Some(self.name(algorithm)), ..Header::new(algorithm) }
    }

    pub(super) fn sign(&self, header: &Header, claims: &impl Serialize) -> String {
        jsonwebtoken::encode(header, claims, self.key(header.alg)).expect("claims that are an object")
    }

    /// As in a key set.
    pub(super) fn published(&self) -> &[Jwk] {
        &self.published
    }

    fn name(&self, algorithm: Algorithm) -> String {
        format!("{algorithm:?}-{}", self.generation).to_lowercase()
    }

    fn key(&self, algorithm: Algorithm) -> &EncodingKey {
        match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => &self.rsa,
            Algorithm::ES256 => &self.ec,
            Algorithm::EdDSA => &self.ed,
            Algorithm::HS256 => &self.hmac,
            other => panic!("no key for {other:?}"),
        }
    }

    fn public_half(&self, algorithm: Algorithm) -> Jwk {
        let mut key = Jwk::from_encoding_key(self.key(algorithm), algorithm).expect("a key for this algorithm");
        key.common.key_id = Some(self.name(algorithm));
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        key
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("generation", &self.generation).finish_non_exhaustive()
    }
}
