//! A compact JWS (RFC 7515, section 7.1) read strictly: what two readers could understand differently is not a token.
//!
//! Nothing here is proven yet. What [`Token`] holds may be looked at to choose issuer and key, and for nothing else
//! until the signature is verified. Where a token brings or names a key of its own (`jwk`, `x5c`, `jku`, `x5u`, `x5t`),
//! that is not looked at: the keys of an issuer come from its configuration.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::json;
use crate::credential::MAX_JWT;
use crate::denial::Denial;

/// A token that is well formed and not verified.
#[derive(Debug)]
pub struct Token<'a> {
    /// The algorithm that its header names.
    pub algorithm: Algorithm,
    /// The key that its header names.
    pub kid: Option<String>,
    /// `typ`, as written.
    pub typ: Option<String>,
    /// The claims, unverified.
    pub claims: Claims,
    /// What is signed: header and claims as they came, with the dot between them.
    pub message: &'a str,
    /// The signature as it came, in base64url.
    pub signature: &'a str,
}

/// The same without a look at what it carries.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) algorithm: Algorithm,
    pub(super) payload: Vec<u8>,
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
}

/// The longest `kid` and `typ` that is looked at, in bytes.
pub(super) const MAX_NAME: usize = 1024;

/// The longest signature, in bytes: RSA with 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// Header parameters that change what the other parts are. A token with one of these says that whoever does not know it
/// must not go on (`crit`, `b64`: RFC 7515, section 4.1.11, and RFC 7797), or is encrypted or packed (RFC 7516).
const NOT_UNDERSTOOD: [&str; 4] = ["crit", "b64", "enc", "zip"];

/// What is merely written sloppily is still meant as a token, and is refused as one.
const SLOPPY: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether a credential is a token at all: three dotted parts of which the first is a JSON object with an `alg`.
///
/// LiteLLM counts dots only, so that a key such as `sk-a.b.c` is taken for a token (contract 03, J3).
#[must_use]
pub fn is_token(text: &str) -> bool {
    // All that begins with an opening brace begins with this letter. It spares other credentials what follows.
    if !text.starts_with('e') {
        return false;
    }
    let Some((header, _, _)) = three_parts(text) else { return false };
    let Ok(header) = SLOPPY.decode(header) else { return false };
    serde_json::from_slice::<Map<String, Value>>(&header).is_ok_and(|header| header.contains_key("alg"))
}

impl<'a> Token<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`] with what is wrong with it.
    pub fn read(text: &'a str) -> Result<Self, Denial> {
        let Jws { mut header, algorithm, payload, message, signature } = Jws::read(text)?;
        let claims = Claims::read(&payload)?;
        Ok(Self {
            algorithm,
            kid: name(&mut header, "kid")?,
            typ: name(&mut header, "typ")?,
            claims,
            message,
            signature,
        })
    }
}

impl<'a> Jws<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Denial> {
        if text.len() > MAX_JWT {
            return Err(Denial::InvalidToken("too long"));
        }
        let (header, payload, signature) = three_parts(text).ok_or(Denial::InvalidToken("not three parts"))?;
        let message = &text[..header.len() + 1 + payload.len()];
        let header = json::read_object(&decoded(header)?)
            .ok_or(Denial::InvalidToken("a header that is not one JSON object with each name once"))?;
        if NOT_UNDERSTOOD.iter().any(|parameter| header.contains_key(*parameter)) {
            return Err(Denial::InvalidToken("a header parameter that is not understood here"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let algorithm = algorithm.ok_or(Denial::InvalidToken("no algorithm that is known here"))?;
        let payload = decoded(payload)?;
        match URL_SAFE_NO_PAD.decode_slice(signature, &mut [0; MAX_SIGNATURE]) {
            Ok(1..) => Ok(Self { header, algorithm, payload, message, signature }),
            _ => Err(Denial::InvalidToken("no signature, or one that is not strict base64url")),
        }
    }
}

fn three_parts(text: &str) -> Option<(&str, &str, &str)> {
    let (header, rest) = text.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    (!signature.contains('.')).then_some((header, payload, signature))
}

/// One text for one value: no padding, no white space, no bits that say nothing (RFC 7515, section 2).
fn decoded(part: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::InvalidToken("a part that is not strict base64url"))
}

fn name(header: &mut Map<String, Value>, parameter: &str) -> Result<Option<String>, Denial> {
    match header.get_mut(parameter).map(Value::take) {
        None => Ok(None),
        Some(Value::String(name)) if name.len() <= MAX_NAME => Ok(Some(name)),
        Some(_) => Err(Denial::InvalidToken("a kid or typ that is no text, or is too long")),
    }
}

#[cfg(test)]
mod tests;
