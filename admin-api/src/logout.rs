//! `POST /sso/backchannel-logout`: an issuer says that somebody signed out there (OpenID Connect Back-Channel Logout 1.0).
//!
//! The logout token is the request's credential, so the route is open to whoever brings one. A session that is named ends
//! with all its tokens; where only a subject is named, the tokens issued until then end, for they may sign in again.
//! Forms and answers are those of sections 2.5 and 2.8, not LiteLLM's: it has no such route.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use portcullis_filters::authn::jwt::deny_list::DeniedClaim;
use portcullis_filters::authn::jwt::logout::LoggedOut;
use portcullis_filters::denial::Denial;
use serde_json::json;
use url::form_urlencoded;

use crate::audit::Author;
use crate::body::form;
use crate::document::LogoutRequest;
use crate::store::{DenialRow, is_keepable};
use crate::timestamp::now;
use crate::tokens::{LIFETIME, deny};
use crate::{AdminState, ClientAddress};

/// Longest logout token, in bytes: the bound on every token.
const MAX_TOKEN: usize = 16 << 10;

/// How far an issuer's clock may be ahead of ours.
const MAX_AHEAD: Duration = Duration::from_secs(300);

/// Verifies logout tokens against the issuers of the configuration in force.
#[async_trait]
pub trait LogoutTokens: Send + Sync + 'static {
    /// Who signed out where, if a configured issuer says so. `source` is where the request comes from, so that guessing can
    /// be throttled.
    async fn verify(&self, token: &str, source: Option<IpAddr>, now: SystemTime) -> Result<LoggedOut, Denial>;
}

/// Takes an identity provider's logout token and refuses the tokens of the session or person that it names.
#[utoipa::path(post, path = "/sso/backchannel-logout", tag = "sso", security(()),
    request_body(content = LogoutRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, description = "They are refused from now on"),
    (status = 400, description = "`invalid_request`: no logout token, or not one of a configured issuer"),
    (status = 429, description = "Too many bad tokens from this address"),
    (status = 503, description = "The token cannot be verified or the denial not stored at the moment")))]
pub(crate) async fn backchannel_logout(State(state): State<AdminState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(token) = form(body).await.and_then(|form| only_token(&form)) else {
        return refusal(StatusCode::BAD_REQUEST, "no logout token");
    };
    let now = now();
    let source = parts.extensions.get::<ClientAddress>().and_then(|address| address.0);
    let logged_out = match state.logout_tokens.verify(&token, source, now).await {
        Ok(logged_out) => logged_out,
        Err(denial) => return refusal(status_of(&denial), &denial.cause()),
    };
    let Some(asked) = denial_of(&logged_out, now) else {
        return refusal(StatusCode::BAD_REQUEST, "names nobody, or by a text that is not kept");
    };
    if asked.until <= now {
        return StatusCode::OK.into_response(); // whatever it speaks of has ended by itself
    }
    let author = Author::proven_otherwise(&logged_out.issuer, &parts);
    match deny(&*state.store, asked, &author, now).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// The form's `logout_token`, if there is just one, and not too long. Other parameters are none of ours (section 2.5).
fn only_token(form: &[u8]) -> Option<String> {
    let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == "logout_token");
    let (_, token) = tokens.next()?;
    let is_only = tokens.next().is_none();
    (is_only && !token.is_empty() && token.len() <= MAX_TOKEN).then(|| token.into_owned())
}

/// What a logout denies. It begins with the logout, not with the request: the same token again says the same.
fn denial_of(logged_out: &LoggedOut, now: SystemTime) -> Option<DenialRow> {
    // Up to the full second: tokens and logouts of one second are not told apart.
    let since = logged_out.issued_at.min(now + MAX_AHEAD).duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = UNIX_EPOCH + Duration::from_secs(since.as_secs() + u64::from(since.subsec_nanos() > 0));
    let (claim, value, issued_until) = match (&logged_out.sid, &logged_out.sub) {
        (Some(sid), _) => (DeniedClaim::Sid, sid, None),
        (None, Some(sub)) => (DeniedClaim::Sub, sub, Some(at)),
        (None, None) => return None,
    };
    if value.is_empty() || !is_keepable(value) || !is_keepable(&logged_out.issuer) {
        return None;
    }
    Some(DenialRow {
        claim,
        issuer: logged_out.issuer.clone(),
        value: value.clone(),
        issued_until,
        until: at + LIFETIME,
        epoch: 0,
        created_at: now,
        created_by: Some(logged_out.issuer.clone()),
        reason: Some("back-channel logout".to_owned()),
        allowed_at: None,
    })
}

/// Section 2.8 knows 400 alone. What may be tried again says so, or a logout would be lost with an outage.
fn status_of(denial: &Denial) -> StatusCode {
    match denial {
        Denial::IssuerUnavailable(_) | Denial::StoreUnavailable(_) | Denial::Overloaded(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Denial::TooManyFailures { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refusal(status: StatusCode, cause: &str) -> Response {
    tracing::info!(cause, status = status.as_u16(), "a back-channel logout was not carried out");
    let error = match status {
        StatusCode::BAD_REQUEST => "invalid_request",
        _ => "temporarily_unavailable",
    };
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_one_token() {
        let long = format!("logout_token={}", "a".repeat(MAX_TOKEN));
        let longer = format!("{long}a");
        let cases = [
            ("logout_token=a.b.c", Some("a.b.c")),
            ("state=1&logout_token=a.b.c&logout=2", Some("a.b.c")),
            ("logout_token=a%2Eb%2ec", Some("a.b.c")),
            ("logout_token=a&logout_token=a", None),
            ("logout_token=", None),
            ("logout_token", None),
            ("token=a.b.c", None),
            ("{\"logout_token\": \"a\"}", None),
            ("", None),
            (long.as_str(), Some(&long[13..])),
            (longer.as_str(), None),
        ];
        for (form, expected) in cases {
            assert_eq!(only_token(form.as_bytes()).as_deref(), expected, "{:.40}", form);
        }
        assert_eq!(only_token(b"\xff\xfe&logout_token=\xff").as_deref(), Some("\u{fffd}"), "and no panic");
    }

    #[test]
    fn a_logout_denies_the_session_or_what_was_issued_until_then() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let after = |seconds: i64| UNIX_EPOCH + Duration::from_secs((1_000_000 + seconds) as u64);
        let logout = |sub: Option<&str>, sid: Option<&str>, issued_at| LoggedOut {
            issuer: "https://idp.example".to_owned(),
            sub: sub.map(str::to_owned),
            sid: sid.map(str::to_owned),
            issued_at,
        };
        let (sid, sub) = (DeniedClaim::Sid, DeniedClaim::Sub);
        let (day, odd) = (86_400, Duration::from_millis(1));
        let long = "x".repeat(1025);
        let cases = [
            (logout(None, Some("s"), after(-5)), Some((sid, "s", None, after(day - 5)))),
            (logout(Some("u"), Some("s"), after(-5)), Some((sid, "s", None, after(day - 5)))),
            (logout(Some("u"), None, after(-5)), Some((sub, "u", Some(after(-5)), after(day - 5)))),
            (logout(Some("u"), None, after(-5) - odd), Some((sub, "u", Some(after(-5)), after(day - 5)))),
            (logout(Some("u"), None, after(2)), Some((sub, "u", Some(after(2)), after(day + 2)))),
            (logout(Some("u"), None, after(1 << 40)), Some((sub, "u", Some(after(300)), after(day + 300)))),
            (logout(None, None, after(0)), None),
            (logout(Some(""), None, after(0)), None),
            (logout(Some("a\u{0}b"), None, after(0)), None),
            (logout(Some(&long), None, after(0)), None),
        ];
        for (logged_out, expected) in cases {
            let denial = denial_of(&logged_out, now);
            let denial = denial.as_ref().map(|row| (row.claim, row.value.as_str(), row.issued_until, row.until));
            assert_eq!(denial, expected, "{logged_out:?}");
        }
    }

    #[test]
    fn what_may_succeed_later_is_not_called_invalid() {
        let cases = [
            (Denial::InvalidToken("signature"), 400),
            (Denial::ExpiredToken, 400),
            (Denial::RevokedToken, 400),
            (Denial::IssuerUnavailable("keys"), 503),
            (Denial::StoreUnavailable("away".to_owned()), 503),
            (Denial::Overloaded("full"), 503),
            (Denial::TooManyFailures { retry_after: Duration::from_secs(1) }, 429),
        ];
        for (denial, status) in cases {
            assert_eq!(status_of(&denial).as_u16(), status, "{denial:?}");
        }
    }
}
