//! What is answered about an opaque token: read strictly, and believed within the bounds that the configuration sets.

use std::time::SystemTime;

use serde_json::Value;

use super::{TokenInfoUnavailable, TokenServer};
use crate::authn::jwt::claims::Claims;
use crate::authn::jwt::proof::Binding;
use crate::denial::Denial;

/// Reads the body of an introspection response (RFC 7662, section 2.2): the claims of an active token, or `None`.
///
/// # Errors
/// It is none. `active` is the one word that lets anybody in, so what is neither `true` nor `false` is no answer.
pub fn introspection(body: &[u8]) -> Result<Option<Claims>, TokenInfoUnavailable> {
    let claims = read(body)?;
    match claims.named("active") {
        Some(Value::Bool(true)) => Ok(Some(claims)),
        Some(Value::Bool(false)) => Ok(None),
        _ => Err(TokenInfoUnavailable("the answer does not say whether the token is active")),
    }
}

/// Reads the body of a userinfo response (OpenID Connect Core 1.0, section 5.3.2), or of an address that answers like it.
///
/// # Errors
/// It is none, or a signed one, which is not supported.
pub fn userinfo(body: &[u8]) -> Result<Option<Claims>, TokenInfoUnavailable> {
    let claims = read(body)?;
    // Some token services answer so where others say 401.
    let is_denied = claims.named("active") == Some(&Value::Bool(false));
    Ok((!is_denied).then_some(claims))
}

fn read(body: &[u8]) -> Result<Claims, TokenInfoUnavailable> {
    let claims = Claims::read(body);
    let claims = claims.map_err(|_| TokenInfoUnavailable("the answer is not a JSON object with each name once"))?;
    // Not everybody who fails says so by the status.
    match claims.named("error") {
        None => Ok(claims),
        Some(_) => Err(TokenInfoUnavailable("the answer is an error")),
    }
}

/// Checks who an answer is from, for whom, and its times; gives its `exp`.
///
/// The issuer has judged the token. This holds the answer to the configuration, so that a token of the same issuer that
/// is meant for another service is not good here.
pub(super) fn check(claims: &Claims, server: &TokenServer, now: SystemTime) -> Result<Option<SystemTime>, Denial> {
    let flaw = |word| Err(Denial::InvalidToken(word));
    if let (Some(issuer), Some(named)) = (server.issuer.as_deref(), claims.named("iss"))
        && named.as_str() != Some(issuer)
    {
        return flaw("of another issuer");
    }
    if !server.audiences.is_empty() && !names_one_of(claims.named("aud"), &server.audiences) {
        return flaw("for another audience");
    }
    if claims.time("nbf")?.is_some_and(|begin| begin > now + server.leeway) {
        return flaw("not good yet");
    }
    let end = claims.time("exp")?;
    if end.is_some_and(|end| end <= now) { Err(Denial::ExpiredToken) } else { Ok(end) }
}

/// One audience, or a list of them (RFC 7519, section 4.1.3).
fn names_one_of(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|name| ours.iter().any(|own| own == name));
    match audience {
        Some(Value::Array(list)) => list.iter().any(is_ours),
        Some(value) => is_ours(value),
        None => false,
    }
}

/// What the answer binds the token to. One that is called a DPoP token, without a word on its key, cannot be proven.
pub(super) fn binding(claims: &Claims) -> Result<Option<Binding>, Denial> {
    let binding = Binding::of(claims)?;
    let is_called_bound = claims.text("token_type").is_some_and(|name| name.eq_ignore_ascii_case("DPoP"));
    if is_called_bound && !binding.as_ref().is_some_and(Binding::is_to_key) {
        return Err(Denial::InvalidToken("a DPoP token without the key that it is bound to"));
    }
    Ok(binding)
}
