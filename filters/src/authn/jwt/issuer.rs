//! One issuer: whose tokens they are, which keys sign them, and what a token of it must say.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::algorithm::Algorithm;
use super::claims::{ClaimPath, Claims};
use super::deny_list::DeniedClaim;
use super::identity::ClaimRules;
use super::key_source::KeySource;
use super::token::Token;
use crate::denial::Denial;

/// An issuer as it is configured.
pub struct Issuer {
    /// What `iss` must be, byte by byte; `None` for a configuration that does not say (LiteLLM without `JWT_ISSUER`).
    pub name: Option<String>,
    /// Of these `aud` must name one; empty for a configuration that does not say.
    pub audiences: Vec<String>,
    /// The algorithms that count; never empty, and never HMAC beside others.
    pub algorithms: Vec<Algorithm>,
    /// How far the clocks may differ. Does not count towards `max_age`.
    pub leeway: Duration,
    /// The age since `iat` from which a token is refused, whatever its `exp`; then `iat` must be there.
    pub max_age: Option<Duration>,
    /// Claims that must be there, beside `exp`.
    pub required: Vec<ClaimPath>,
    /// The types (`typ`) that count, without regard to case and to a leading `application/` (RFC 7515, section 4.1.9);
    /// empty: any but those that are never for a resource server.
    pub types: Vec<String>,
    /// Its keys.
    pub keys: KeySource,
    /// How its claims become a principal.
    pub claims: ClaimRules,
}

/// Types of tokens that are made for something else than to be shown to a resource server (RFC 8725, section 3.11).
const NEVER_SHOWN: [&str; 7] = [
    "oauth-id-jag+jwt",
    "logout+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "oauth-authz-req+jwt",
    "client-authentication+jwt",
    "token-introspection+jwt",
];

/// The same as Keycloak writes them: into the claims, with `JWT` as the type of the header.
const NEVER_SHOWN_BY_KEYCLOAK: [&str; 3] = ["Refresh", "Offline", "Logout"];

/// What makes a token a message of logout, also where its header does not say so (OpenID Connect Back-Channel Logout 1.0,
/// section 2.4).
const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl Issuer {
    /// Whether a token is for this issuer to judge.
    #[must_use]
    pub fn claims_token(&self, token: &Token<'_>) -> bool {
        self.name.as_deref().is_none_or(|name| token.claims.text("iss") == Some(name))
    }

    /// Checks everything about a token whose signature is verified, and says until when it is good.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`], or [`Denial::ExpiredToken`] where its time alone is over.
    pub fn check(&self, token: &Token<'_>, now: SystemTime) -> Result<SystemTime, Denial> {
        if !self.claims_token(token) {
            return Err(Denial::InvalidToken("of another issuer"));
        }
        self.check_type(token)?;
        self.check_audience(&token.claims)?;
        check_names(&token.claims)?;
        if self.required.iter().any(|path| token.claims.at(path).is_none_or(Value::is_null)) {
            return Err(Denial::InvalidToken("without a claim that must be there"));
        }
        let end = self.end(&token.claims, now)?;
        if now < end { Ok(end) } else { Err(Denial::ExpiredToken) }
    }

    fn check_type(&self, token: &Token<'_>) -> Result<(), Denial> {
        let typ = token.typ.as_deref().map(bare_type);
        let is = |other: &str| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(bare_type(other)));
        let keycloak = token.claims.text("typ").unwrap_or_default();
        let logout = token.claims.named("events").is_some_and(|events| events.get(LOGOUT_EVENT).is_some());
        if logout
            || NEVER_SHOWN.into_iter().any(is)
            || NEVER_SHOWN_BY_KEYCLOAK.iter().any(|other| keycloak.eq_ignore_ascii_case(other))
        {
            return Err(Denial::InvalidToken("of a type that is not for a resource server"));
        }
        let wanted = self.types.is_empty() || self.types.iter().any(|other| is(other));
        if wanted { Ok(()) } else { Err(Denial::InvalidToken("of a type that its issuer is not configured for")) }
    }

    pub(super) fn check_audience(&self, claims: &Claims) -> Result<(), Denial> {
        if self.audiences.is_empty() {
            return Ok(());
        }
        let ours = |audience: &str| self.audiences.iter().any(|ours| ours == audience);
        let named = match claims.named("aud") {
            Some(Value::String(audience)) => ours(audience),
            Some(Value::Array(audiences)) => {
                let audiences: Option<Vec<&str>> = audiences.iter().map(Value::as_str).collect();
                audiences.ok_or(Denial::InvalidToken("audiences that are not all text"))?.into_iter().any(ours)
            }
            _ => false,
        };
        if named { Ok(()) } else { Err(Denial::InvalidToken("for another audience")) }
    }

    /// The instant from which on the token is over. Any flaw of another of its times is found here.
    fn end(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, Denial> {
        let expires = claims.time("exp")?.ok_or(Denial::InvalidToken("without exp"))?;
        let issued = claims.time("iat")?;
        // Asked this way round, because a sum of a time and a duration may be out of range.
        let too_early = |time: SystemTime| time.duration_since(now).is_ok_and(|ahead| ahead > self.leeway);
        if claims.time("nbf")?.is_some_and(too_early) {
            return Err(Denial::InvalidToken("not good yet"));
        }
        if issued.is_some_and(too_early) {
            return Err(Denial::InvalidToken("issued in the future"));
        }
        let end = expires.checked_add(self.leeway).unwrap_or(expires);
        let Some(max_age) = self.max_age else { return Ok(end) };
        let issued = issued.ok_or(Denial::InvalidToken("without iat, which a bound on its age needs"))?;
        Ok(issued.checked_add(max_age).map_or(end, |too_old| end.min(too_old)))
    }
}

/// The names by which a token may be denied (`sub`, `jti`, `sid`) are text (RFC 7519, section 4.1): one of another type
/// would not be found in the list of those that were.
fn check_names(claims: &Claims) -> Result<(), Denial> {
    let odd = |claim: DeniedClaim| claims.named(claim.name()).is_some_and(|value| !value.is_string());
    if DeniedClaim::ALL.into_iter().any(odd) {
        return Err(Denial::InvalidToken("a sub, jti or sid that is no text"));
    }
    Ok(())
}

/// A type without the `application/` that may be left out (RFC 7515, section 4.1.9).
fn bare_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

#[cfg(test)]
mod tests;
