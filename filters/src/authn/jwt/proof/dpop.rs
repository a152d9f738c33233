//! One DPoP proof (RFC 9449): a token of its own, signed for this request alone with the key that it carries.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::ProofSettings;
use super::used::UnusedProof;
use crate::authn::jwt::algorithm::Algorithm;
use crate::authn::jwt::claims::Claims;
use crate::authn::jwt::keys::{KeySet, Thumbprint};
use crate::authn::jwt::token::Jws;
use crate::authn::virtual_key::KeyHash;
use crate::denial::Denial;
use crate::head::RequestHead;

/// Longest proof that is looked at, in bytes. With a key of RSA-8192 it is some 3 KiB long.
const MAX_PROOF: usize = 4 * 1024;

/// The members of a JWK that hold a private key or a secret (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

/// Checks the proof of a request by the points of section 4.3. What costs most comes last, so that only the holder of the
/// key can cause it. `key` is the thumbprint to which the token is bound.
///
/// No nonce is asked for (point 10): what a nonce adds, a bound on proofs made in advance, is `max_age` here.
pub(super) fn verify(
    settings: &ProofSettings,
    key: &[u8; 32],
    token: &KeyHash,
    head: &RequestHead<'_>,
    now: SystemTime,
) -> Result<UnusedProof, Denial> {
    let proof = Proof::read(only_value(head.headers)?)?; // points 1 to 5, and 7
    if !proof.key.holds(&Thumbprint(*key)) {
        return flaw("made with another key than the token's"); // point 12, second half
    }
    let claims = &proof.claims;
    let Some(id) = claims.text("jti").filter(|id| !id.is_empty()) else { return flaw("without jti") };
    if claims.text("htm") != Some(head.method.as_str()) {
        return flaw("for another method"); // point 8
    }
    let names_this = |htu| settings.public_urls.iter().any(|own| own.names(htu, head.path));
    match claims.text("htu") {
        Some(htu) if names_this(htu) => {} // point 9
        _ if settings.public_urls.is_empty() => return flaw("no portcullis.public_urls to compare its htu with"),
        _ => return flaw("for another URI"),
    }
    let Some(issued) = claims.time("iat").map_err(of_proof)? else { return flaw("without iat") };
    if issued + settings.max_age < now || issued > now + settings.leeway {
        return flaw("made at another time"); // point 11
    }
    if claims.text("ath") != Some(&URL_SAFE_NO_PAD.encode(token.as_bytes())) {
        return flaw("for another token"); // point 12, first half
    }
    let signer = proof.key.verify(None, proof.algorithm, proof.message, proof.signature);
    signer.or_else(|_| flaw("not signed with its key"))?; // point 6
    let id = KeyHash::of(&format!("{}.{id}", URL_SAFE_NO_PAD.encode(key)));
    Ok(UnusedProof { id, issued })
}

/// Point 1: exactly one, also where a second says the same.
fn only_value(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all("dpop").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().or_else(|_| flaw("not ASCII")),
        (None, _) => flaw("missing"),
        (Some(_), Some(_)) => flaw("more than one"),
    }
}

/// A proof that is well formed. Nothing of it is believed before its signature is verified.
struct Proof<'a> {
    algorithm: Algorithm,
    /// The one that it carries.
    key: KeySet,
    claims: Claims,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Proof<'a> {
    fn read(text: &'a str) -> Result<Self, Denial> {
        if text.len() > MAX_PROOF {
            return flaw("too long");
        }
        let Jws { header, algorithm, payload, message, signature } = Jws::read(text).map_err(of_proof)?;
        if header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
            return flaw("of another type");
        }
        if !Algorithm::ASYMMETRIC.contains(&algorithm) {
            return flaw("in another algorithm");
        }
        let Some(Value::Object(jwk)) = header.get("jwk") else { return flaw("without a key") };
        let claims = Claims::read(&payload).map_err(of_proof)?;
        Ok(Self { algorithm, key: public_key(jwk)?, claims, message, signature })
    }
}

/// The key as a set of one, which is what verifies signatures.
fn public_key(jwk: &Map<String, Value>) -> Result<KeySet, Denial> {
    if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
        return flaw("with a private key"); // point 7
    }
    let set = json!({"keys": [jwk]}).to_string();
    let (keys, _) = KeySet::parse(set.as_bytes()).or_else(|_| flaw("with a key that cannot be used"))?;
    Ok(keys)
}

fn flaw<T>(word: &'static str) -> Result<T, Denial> {
    Err(Denial::InvalidProof(word))
}

/// What is wrong with a proof is no statement about the token.
fn of_proof(denial: Denial) -> Denial {
    match denial {
        Denial::InvalidToken(word) => Denial::InvalidProof(word),
        other => other,
    }
}
