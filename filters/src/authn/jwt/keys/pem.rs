//! One public key in PEM (RFC 7468).
//!
//! DER is read by x509-cert, which tokio-postgres-rustls has in the graph anyway; jsonwebtoken's own reader of PEM would
//! bring four packages more and does not show the key for its thumbprint. The armour is read here, because x509-cert
//! would bring two packages for it and wants lines of 64 letters: consoles show a key as one line, and people paste that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::referenced::OwnedToRef;
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::signing_key::{SigningKey, UNCOMPRESSED};
use crate::authn::jwt::algorithm::KeyKind;

/// RFC 8017, appendix A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// RFC 5480, section 2.1.1.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// RFC 8410, section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The key, or why there is none.
pub(super) fn read(text: &str) -> Result<SigningKey, &'static str> {
    let (label, der) = unarmoured(text).ok_or("not one block of PEM")?;
    match label {
        "CERTIFICATE" => {
            let certificate = Certificate::from_der(&der).map_err(|_| "not an X.509 certificate")?;
            public_key(certificate.tbs_certificate.subject_public_key_info.owned_to_ref())
        }
        "PUBLIC KEY" => public_key(SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| "not a public key")?),
        "RSA PUBLIC KEY" => rsa(&der),
        label if label.ends_with("PRIVATE KEY") => Err("a private key; the public one is wanted"),
        _ => Err("neither PUBLIC KEY, RSA PUBLIC KEY nor CERTIFICATE"),
    }
}

/// Label and content of the only block. Text around it is allowed (RFC 7468, section 2).
fn unarmoured(text: &str) -> Option<(&str, Vec<u8>)> {
    const BEGIN: &str = "-----BEGIN ";
    let (_, rest) = text.split_once(BEGIN)?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, after) = rest.split_once("-----END ")?;
    let after = after.strip_prefix(label)?.strip_prefix("-----")?;
    if after.contains(BEGIN) {
        return None;
    }
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some((label, STANDARD.decode(body).ok()?))
}

fn public_key(info: SubjectPublicKeyInfoRef<'_>) -> Result<SigningKey, &'static str> {
    let bytes = info.subject_public_key.as_bytes().ok_or("not whole bytes")?;
    match info.algorithm.oid {
        RSA => rsa(bytes),
        ED25519 => SigningKey::ed25519(bytes),
        EC => {
            let curve = info.algorithm.parameters_oid().map_err(|_| "without a named curve")?;
            let kind = match curve {
                P256 => KeyKind::P256,
                P384 => KeyKind::P384,
                P521 => KeyKind::P521,
                _ => return Err("of an unknown kind or curve"),
            };
            let point = bytes.strip_prefix(&[UNCOMPRESSED]).ok_or("a point that is compressed")?;
            let (x, y) = point.split_at(point.len() / 2);
            SigningKey::ec(kind, x, y)
        }
        _ => Err("of an unknown kind or curve"),
    }
}

/// RFC 8017, appendix A.1.1.
fn rsa(der: &[u8]) -> Result<SigningKey, &'static str> {
    let numbers = SliceReader::new(der).and_then(|mut reader| {
        let numbers = reader.sequence(|numbers| Ok((UintRef::decode(numbers)?, UintRef::decode(numbers)?)))?;
        reader.finish(numbers)
    });
    let (modulus, exponent) = numbers.map_err(|_| "not an RSA public key")?;
    SigningKey::rsa(modulus.as_bytes(), exponent.as_bytes())
}

#[cfg(test)]
mod tests;
