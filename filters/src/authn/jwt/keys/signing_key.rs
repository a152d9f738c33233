//! One key, and the one thing that is done with it. What a `SigningKey` is made of was checked when it was made.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc;
use sha2::{Digest, Sha256};

use super::{Thumbprint, rsa};
use crate::authn::jwt::algorithm::{Algorithm, KeyKind};

/// One public key, or a secret.
pub(super) struct SigningKey {
    pub(super) kid: Option<String>,
    pub(super) thumbprint: Thumbprint,
    /// The one algorithm that the set allows it for.
    pub(super) only: Option<Algorithm>,
    pub(super) kind: KeyKind,
    material: Material,
}

enum Material {
    JsonWebToken(DecodingKey),
    /// Apart, because jsonwebtoken does not know ES512.
    P521(ParsedPublicKey),
}

/// The least bits, in bytes, that a secret has (RFC 7518, section 3.2): as many as the hash.
const MIN_SECRET: usize = 32;

impl SigningKey {
    /// From modulus and exponent, big-endian.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let (modulus, exponent) = rsa::checked(modulus, exponent)?;
        let members = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(exponent), encode(modulus));
        let material = Material::JsonWebToken(DecodingKey::from_rsa_raw_components(modulus, exponent));
        Ok(Self::new(KeyKind::Rsa, &members, material))
    }

    /// From the coordinates of a point on one of the three curves, each at full length.
    pub(super) fn ec(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, &'static str> {
        let (curve, algorithm, length): (_, &'static dyn VerificationAlgorithm, _) = match kind {
            KeyKind::P256 => ("P-256", &ECDSA_P256_SHA256_FIXED, 32),
            KeyKind::P384 => ("P-384", &ECDSA_P384_SHA384_FIXED, 48),
            KeyKind::P521 => ("P-521", &ECDSA_P521_SHA512_FIXED, 66),
            KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Secret => return Err("of an unknown curve"),
        };
        if (x.len(), y.len()) != (length, length) {
            return Err("coordinates that are not as long as those of its curve");
        }
        let point = [&[UNCOMPRESSED][..], x, y].concat();
        // Also for those that are kept as they are: it finds out whether the point is on the curve.
        let parsed = ParsedPublicKey::new(algorithm, &point).map_err(|_| "a point that is not on its curve")?;
        let members = format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y));
        let material = match kind {
            KeyKind::P521 => Material::P521(parsed),
            _ => Material::JsonWebToken(DecodingKey::from_ec_der(&point)),
        };
        Ok(Self::new(kind, &members, material))
    }

    /// From the 32 bytes of RFC 8032.
    pub(super) fn ed25519(point: &[u8]) -> Result<Self, &'static str> {
        if point.len() != 32 {
            return Err("a point that is not as long as those of its curve");
        }
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(point));
        Ok(Self::new(KeyKind::Ed25519, &members, Material::JsonWebToken(DecodingKey::from_ed_der(point))))
    }

    /// For HMAC.
    pub(super) fn secret(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() < MIN_SECRET {
            return Err("a secret of less than 32 bytes");
        }
        let members = format!(r#"{{"k":"{}","kty":"oct"}}"#, encode(bytes));
        Ok(Self::new(KeyKind::Secret, &members, Material::JsonWebToken(DecodingKey::from_secret(bytes))))
    }

    /// `members` is what RFC 7638, section 3, has hashed.
    fn new(kind: KeyKind, members: &str, material: Material) -> Self {
        Self { kid: None, thumbprint: Thumbprint(Sha256::digest(members).into()), only: None, kind, material }
    }

    /// Whether a token of this algorithm can have been signed with it.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.key_kind()
            && self.only.is_none_or(|only| only == algorithm)
            && self.secret_length().is_none_or(|length| length >= least_secret(algorithm))
    }

    /// Whether the private half of it made this signature. HMAC is compared in constant time by the backend.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        match (&self.material, name_in_jsonwebtoken(algorithm)) {
            (Material::P521(key), None) => key.verify_sig(message, signature).is_ok(),
            (Material::JsonWebToken(key), Some(name)) => {
                // Named here and not left to the process, which has no default where another crate turns on a second backend.
                let verifier = (aws_lc::DEFAULT_PROVIDER.verifier_factory)(&name, key);
                verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
            }
            _ => false,
        }
    }

    fn secret_length(&self) -> Option<usize> {
        match &self.material {
            Material::JsonWebToken(key) if self.kind == KeyKind::Secret => key.try_get_as_bytes().map(<[u8]>::len).ok(),
            _ => None,
        }
    }
}

/// How SEC 1, section 2.3.3, marks a point of which both coordinates are given.
pub(super) const UNCOMPRESSED: u8 = 4;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn least_secret(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs384 => 48,
        Algorithm::Hs512 => 64,
        _ => MIN_SECRET,
    }
}

fn name_in_jsonwebtoken(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    Some(match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::Es512 => return None,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
    })
}

/// The same key for the same tokens.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.kid, self.thumbprint, self.only) == (&other.kid, other.thumbprint, other.only)
    }
}

/// Without the key, and without the thumbprint, which for a secret is a hash of it.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SigningKey");
        shown.field("kid", &self.kid).field("kind", &self.kind).field("only", &self.only).finish_non_exhaustive()
    }
}
