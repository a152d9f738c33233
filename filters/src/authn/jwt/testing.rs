//! Real keys for the tests of tokens, made anew by each process, and tokens that are signed with them.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::algorithm::{Algorithm, KeyKind};
use super::keys::KeySet;
use crate::secret::Secret;

/// Long enough for each algorithm.
pub(super) const SECRET: &str = "a secret of the tests, which has as many bytes as HS512 asks for: sixty-four.";

/// One key of each kind.
pub(super) struct TestKeys {
    pub(super) rsa: RsaKeyPair,
    pub(super) p256: EcdsaKeyPair,
    pub(super) p384: EcdsaKeyPair,
    pub(super) p521: EcdsaKeyPair,
    pub(super) ed25519: Ed25519KeyPair,
}

impl TestKeys {
    pub(super) fn generate() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            p521: EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap(),
            ed25519: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The keys of this process: an RSA key takes a while.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<TestKeys> = OnceLock::new();
        SHARED.get_or_init(Self::generate)
    }

    /// The public half, as a JWK that says nothing else.
    pub(super) fn jwk(&self, kind: KeyKind) -> Value {
        let ec = |pair: &EcdsaKeyPair, curve: &str| {
            let point = &pair.public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
        };
        match kind {
            KeyKind::Rsa => {
                let key = self.rsa.public_key();
                let number = |number: aws_lc_rs::io::Positive<'_>| encode(number.big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": number(key.modulus()), "e": number(key.exponent())})
            }
            KeyKind::P256 => ec(&self.p256, "P-256"),
            KeyKind::P384 => ec(&self.p384, "P-384"),
            KeyKind::P521 => ec(&self.p521, "P-521"),
            KeyKind::Ed25519 => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(self.ed25519.public_key().as_ref())})
            }
            KeyKind::Secret => json!({"kty": "oct", "k": encode(SECRET)}),
        }
    }

    /// All public halves as the set of an issuer: one key of each kind, named after it.
    pub(super) fn set(&self) -> KeySet {
        let kinds = [KeyKind::Rsa, KeyKind::P256, KeyKind::P384, KeyKind::P521, KeyKind::Ed25519];
        let keys = kinds.map(|kind| with(self.jwk(kind), json!({"kid": name(kind), "use": "sig"})));
        set_of(&keys)
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        let ec = |pair: &EcdsaKeyPair| pair.sign(&random, message).unwrap().as_ref().to_vec();
        match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_SHA512),
            Algorithm::Es256 => ec(&self.p256),
            Algorithm::Es384 => ec(&self.p384),
            Algorithm::Es512 => ec(&self.p521),
            Algorithm::EdDsa => self.ed25519.sign(message).as_ref().to_vec(),
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => hmac(algorithm, SECRET.as_bytes(), message),
        }
    }

    /// A token with this header and these claims, signed as `algorithm`, whatever the header says.
    pub(super) fn token(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        signed(header, claims, |message| self.sign(algorithm, message))
    }
}

/// A token that somebody signed.
pub(super) fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

pub(super) fn hmac(algorithm: Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec()
}

/// The name of a key in [`TestKeys::set`].
pub(super) fn name(kind: KeyKind) -> String {
    format!("{kind:?}").to_lowercase()
}

pub(super) fn secret_set() -> KeySet {
    KeySet::from_secret(&Secret::from(SECRET)).unwrap()
}

pub(super) fn set_of(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap().0
}

/// An object with some members set.
pub(super) fn with(mut object: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A block of PEM, as OpenSSL writes it.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
