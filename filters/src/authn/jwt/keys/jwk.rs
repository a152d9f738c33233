//! One key of a JWK set (RFC 7517; RFC 7518, section 6; RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::signing_key::SigningKey;
use crate::authn::jwt::algorithm::{Algorithm, KeyKind};
use crate::authn::jwt::token::MAX_NAME;

/// The members that count. `x5c` and the others that describe a certificate say nothing that is not in these.
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    kid: Option<&'a str>,
    r#use: Option<&'a str>,
    #[serde(borrow)]
    key_ops: Option<Vec<&'a str>>,
    alg: Option<&'a str>,
    crv: Option<&'a str>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    d: Option<IgnoredAny>,
}

/// The key, or why it is left out.
pub(super) fn read(jwk: &Value) -> Result<SigningKey, &'static str> {
    let jwk = Jwk::deserialize(jwk).map_err(|_| "not a JWK: a member is missing or not text")?;
    if jwk.kty == "oct" {
        return Err("a secret, which no set that is fetched may bring");
    }
    // Whoever reads the set can sign with it.
    if jwk.d.is_some() {
        return Err("a private key");
    }
    let may_verify = jwk.key_ops.as_ref().is_none_or(|uses| uses.contains(&"verify"));
    if jwk.r#use.is_some_and(|purpose| purpose != "sig") || !may_verify {
        return Err("not for signatures");
    }
    if jwk.kid.is_some_and(|kid| kid.len() > MAX_NAME) {
        return Err("a kid that no token can name");
    }
    let only: Option<Algorithm> = jwk.alg.map(str::parse).transpose().map_err(|_| "for an unknown algorithm")?;
    let mut key = jwk.key()?;
    if only.is_some_and(|only| only.key_kind() != key.kind) {
        return Err("for an algorithm of another kind of key");
    }
    key.kid = jwk.kid.map(str::to_owned);
    key.only = only;
    Ok(key)
}

impl Jwk<'_> {
    fn key(&self) -> Result<SigningKey, &'static str> {
        let ec = |kind| SigningKey::ec(kind, &number(self.x)?, &number(self.y)?);
        match (self.kty, self.crv) {
            ("RSA", _) => SigningKey::rsa(&number(self.n)?, &number(self.e)?),
            ("EC", Some("P-256")) => ec(KeyKind::P256),
            ("EC", Some("P-384")) => ec(KeyKind::P384),
            ("EC", Some("P-521")) => ec(KeyKind::P521),
            ("OKP", Some("Ed25519")) => SigningKey::ed25519(&number(self.x)?),
            _ => Err("of an unknown kind or curve"),
        }
    }
}

/// With padding or without: unlike a part of a token, it is not signed as text, and there are issuers that write it.
fn number(member: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = member.ok_or("a part of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| "a part of the key is not base64url")
}
