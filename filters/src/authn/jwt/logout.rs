//! Logout tokens: what an issuer sends when somebody signs out there (OpenID Connect Back-Channel Logout 1.0).
//!
//! A logout token is no credential: it lets nobody in, and no access token passes for one.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::JwtAuthenticator;
use super::issuer::Issuer;
use super::token::Token;
use crate::denial::Denial;

/// Who has signed out, as their issuer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// The issuer (`iss`).
    pub issuer: String,
    /// Whose sessions have ended; all of them where `sid` is absent.
    pub sub: Option<String>,
    /// The session that has ended.
    pub sid: Option<String>,
    /// When the issuer said so.
    pub issued_at: SystemTime,
}

/// The member of `events` that makes a token a logout token (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How old a logout token may be; section 2.6 leaves the bound to the receiver. A replayed one denies nothing new.
const MAX_AGE: Duration = Duration::from_secs(600);

impl JwtAuthenticator {
    /// Verifies a logout token; `source` is where it comes from, so that guessing is throttled.
    ///
    /// # Errors
    /// As for an access token; [`Denial::InvalidToken`] also for a token that is good and no logout token.
    pub(in crate::authn) async fn logout(
        &self,
        presented: &str,
        source: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<LoggedOut, Denial> {
        self.failures.check(source, now)?;
        let logged_out = self.verify_logout(presented, now).await;
        if let Err(Denial::InvalidToken(_)) = logged_out {
            self.failures.record(source, now);
        }
        logged_out
    }

    async fn verify_logout(&self, presented: &str, now: SystemTime) -> Result<LoggedOut, Denial> {
        let token = Token::read(presented)?;
        let proven = self.prove(&token, now).await?;
        check(&token, proven.issuer, now)
    }
}

/// Section 2.6, in its order; signature, issuer and algorithm are done.
fn check(token: &Token<'_>, issuer: &Issuer, now: SystemTime) -> Result<LoggedOut, Denial> {
    let flaw = |word| Err(Denial::InvalidToken(word));
    let claims = &token.claims;
    let Some(name) = claims.text("iss") else { return flaw("a logout token without an issuer") };
    issuer.check_audience(claims)?;
    let Some(issued_at) = claims.time("iat")? else { return flaw("a logout token without a time") };
    if issued_at > now + issuer.leeway || issued_at + MAX_AGE < now {
        return flaw("a logout token of another time");
    }
    if claims.time("exp")?.is_some_and(|end| end + issuer.leeway <= now) {
        return flaw("a logout token whose time is over");
    }
    if !claims.named("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return flaw("no logout token");
    }
    if claims.named("nonce").is_some() {
        return flaw("a logout token with a nonce");
    }
    let (sub, sid) = (claims.text("sub"), claims.text("sid"));
    if sub.is_none() && sid.is_none() {
        return flaw("a logout token of nobody");
    }
    Ok(LoggedOut { issuer: name.to_owned(), sub: sub.map(str::to_owned), sid: sid.map(str::to_owned), issued_at })
}
