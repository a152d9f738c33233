//! From a denial to the wire: the one table of statuses, words and bodies.
//!
//! What the caller reads is fixed text: 401 says the same sentence whatever went wrong, and nothing here repeats a
//! credential, a hash or a library's message. The `type` words are LiteLLM's, since its clients match on them.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::authn::custom::CustomRefusal;
use crate::denial::Denial;
use crate::endpoint::Dialect;

/// A refusal as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Header fields, `content-type` included, `content-length` not.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON in the dialect of the caller.
    pub body: Bytes,
    /// Whether the connection must not be used again.
    pub close: bool,
}

/// Tells the OpenAI and Anthropic SDKs whether to try again; they obey it before they look at the status.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The answer to a refused request.
#[must_use]
pub fn answer(denial: &Denial, dialect: Dialect) -> Answer {
    let Wording { status, kind, param, message } = wording(denial);
    let mut headers = vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if status == StatusCode::UNAUTHORIZED {
        headers.push((WWW_AUTHENTICATE, HeaderValue::from_static(challenge(denial))));
    }
    if *denial == Denial::MethodNotAllowed {
        headers.push((ALLOW, HeaderValue::from_static("GET, POST, OPTIONS")));
    }
    match retry_after(denial) {
        Some(seconds) => headers.push((RETRY_AFTER, HeaderValue::from(seconds))),
        None => headers.push((X_SHOULD_RETRY, HeaderValue::from_static("false"))),
    }
    if let Denial::RateLimited { limit, retry_after } = denial
        && let Some((remaining, reset)) = nothing_left(limit.field)
    {
        headers.push((remaining, HeaderValue::from_static("0")));
        let reset_in = HeaderValue::from_str(&format!("{}s", retry_after.as_secs().max(1)));
        headers.extend(reset_in.ok().map(|value| (reset, value)));
    }
    let close =
        matches!(denial, Denial::MalformedRequest(_) | Denial::ConflictingCredentials | Denial::BodyTooLarge(_));
    let mut envelope = envelope(dialect, status, kind, param, &message);
    if says_detail(denial) && dialect == Dialect::OpenAi {
        envelope["detail"] = message.into_owned().into();
    }
    Answer { status, headers, body: envelope.to_string().into(), close }
}

/// OpenAI's names for what is left in this minute, and until when, of what this limit counts.
fn nothing_left(field: &str) -> Option<(HeaderName, HeaderName)> {
    let name = HeaderName::from_static;
    match field {
        "rpm_limit" | "model_rpm_limit" => {
            Some((name("x-ratelimit-remaining-requests"), name("x-ratelimit-reset-requests")))
        }
        "tpm_limit" | "model_tpm_limit" => {
            Some((name("x-ratelimit-remaining-tokens"), name("x-ratelimit-reset-tokens")))
        }
        _ => None,
    }
}

/// What a client is asked for (RFC 6750, section 3; RFC 9449, section 7.1).
fn challenge(denial: &Denial) -> &'static str {
    match denial {
        Denial::InvalidToken(_) | Denial::ExpiredToken | Denial::RevokedToken => {
            "Bearer realm=\"portcullis\", error=\"invalid_token\""
        }
        Denial::InvalidProof(_) => DPOP_CHALLENGE,
        _ => "Bearer realm=\"portcullis\"",
    }
}

/// With the algorithms in which a proof may be signed: `Algorithm::ASYMMETRIC`.
const DPOP_CHALLENGE: &str = "DPoP realm=\"portcullis\", error=\"invalid_dpop_proof\", \
    algs=\"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA\"";

struct Wording<'a> {
    status: StatusCode,
    kind: &'a str,
    param: Option<&'a str>,
    message: Cow<'a, str>,
}

fn wording(denial: &Denial) -> Wording<'_> {
    use StatusCode as S;
    let (status, kind, param, message): (_, _, _, Cow<'static, str>) = match denial {
        Denial::MalformedRequest(why) => (S::BAD_REQUEST, "invalid_request_error", None, format!("Malformed request: {why}.").into()),
        Denial::ConflictingCredentials => (S::BAD_REQUEST, "invalid_request_error", None, "One credential header was sent twice with different values.".into()),
        Denial::MissingCredential => (S::UNAUTHORIZED, "auth_error", None, "Authentication Error, No api key passed in.".into()),
        Denial::MalformedCredential(_) => (S::UNAUTHORIZED, "auth_error", None, "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.".into()),
        Denial::UnrecognizedCredential(_) => (S::UNAUTHORIZED, "token_not_found_in_db", Some("key"), INVALID_KEY.into()),
        Denial::ExpiredKey => (S::UNAUTHORIZED, "expired_key", Some("key"), "Authentication Error, Expired Key.".into()),
        Denial::BlockedKey => (S::UNAUTHORIZED, "auth_error", None, "Authentication Error, Key is blocked.".into()),
        Denial::BlockedTeam => (S::UNAUTHORIZED, "auth_error", None, "Authentication Error, Team is blocked.".into()),
        Denial::InvalidToken(_) | Denial::RevokedToken | Denial::InvalidProof(_) => (S::UNAUTHORIZED, "auth_error", None, INVALID_TOKEN.into()),
        Denial::ExpiredToken => (S::UNAUTHORIZED, "expired_key", None, "Authentication Error, Token Expired.".into()),
        Denial::UnknownIdentity(_) => (S::UNAUTHORIZED, "auth_error", None, "Authentication Error, User or team of this token is not known here.".into()),
        Denial::IdentityForbidden(_) => (S::FORBIDDEN, "auth_error", None, "Authentication Error, This token does not give access.".into()),
        Denial::IssuerUnavailable(_) => (S::SERVICE_UNAVAILABLE, "auth_provider_unavailable", None, "Tokens of this issuer cannot be verified at the moment. Try again.".into()),
        Denial::CustomRefused(refusal) => return custom(refusal),
        Denial::CustomUnavailable(_) => (S::SERVICE_UNAVAILABLE, "auth_provider_unavailable", None, "Credentials cannot be verified at the moment. Try again.".into()),
        Denial::TooManyFailures { .. } => (S::TOO_MANY_REQUESTS, "throttling_error", None, "Too many failed credentials from this address.".into()),
        Denial::UntrustedProxy => (S::FORBIDDEN, "auth_error", None, "Only a trusted proxy may ask for others.".into()),
        Denial::UnknownRoute => (S::NOT_FOUND, "not_found_error", None, "Not Found".into()),
        Denial::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "invalid_request_error", None, "Method Not Allowed".into()),
        Denial::RouteClosed => (S::FORBIDDEN, "auth_error", None, "Access forbidden: this route is not allowed.".into()),
        Denial::SourceForbidden => (S::FORBIDDEN, "auth_error", None, "Access forbidden: this IP address is not allowed.".into()),
        Denial::RouteForbidden => (S::FORBIDDEN, "auth_error", None, "Virtual key is not allowed to call this route.".into()),
        Denial::ModelForbidden(_) => (S::FORBIDDEN, "key_model_access_denied", Some("model"), "key not allowed to access model. The model does not exist or this key may not use it.".into()),
        Denial::TeamModelForbidden(_) => (S::FORBIDDEN, "team_model_access_denied", Some("model"), "team not allowed to access model. The model does not exist or this team may not use it.".into()),
        Denial::UserModelForbidden(_) => (S::FORBIDDEN, "user_model_access_denied", Some("model"), "user not allowed to access model. The model does not exist or this user may not use it.".into()),
        Denial::UnknownModel(_) => (S::BAD_REQUEST, "invalid_request_error", None, "Invalid model name passed in. Call `/v1/models` to view available models for your key.".into()),
        Denial::UnsupportedDialect(_) => (S::BAD_REQUEST, "invalid_request_error", Some("model"), "The provider of this model does not serve this API. Call it through the API of its provider, or through /v1/chat/completions.".into()),
        Denial::UnreadableBody(why) => (S::BAD_REQUEST, "invalid_request_error", Some("request_body"), format!("Unreadable request: {why}.").into()),
        Denial::ForbiddenField(field) => (S::BAD_REQUEST, "invalid_request_error", Some("request_body"), format!("Rejected Request: {field} is not allowed in request body.").into()),
        Denial::InvalidField(field, why) => (S::BAD_REQUEST, "invalid_request_error", Some(*field), format!("Rejected Request: {field} {why}.").into()),
        Denial::ForbiddenDestination(_) => (S::BAD_REQUEST, "invalid_request_error", Some("api_base"), "Rejected Request: the address that it names is not one to which this gateway connects.".into()),
        Denial::OverBudget(budget) => (S::TOO_MANY_REQUESTS, "budget_exceeded", None, format!("Budget has been exceeded! It is {budget}.").into()),
        Denial::RateLimited { limit, .. } => (S::TOO_MANY_REQUESTS, "throttling_error", None, format!("Rate limit exceeded: {limit}. Try again later.").into()),
        Denial::BodyTooLarge(most) => (S::PAYLOAD_TOO_LARGE, "invalid_request_error", Some("request_body"), format!("The request body is larger than {most} bytes.").into()),
        Denial::BodyTimeout => (S::REQUEST_TIMEOUT, "invalid_request_error", Some("request_body"), "The request body did not arrive in time.".into()),
        Denial::Overloaded(_) => (S::SERVICE_UNAVAILABLE, "internal_server_error", None, "The gateway is at its limit. Try again.".into()),
        Denial::StoreUnavailable(_) => (S::SERVICE_UNAVAILABLE, "no_db_connection", None, "Keys cannot be verified at the moment. Try again.".into()),
        Denial::UpstreamUnavailable { .. } => (S::BAD_GATEWAY, "internal_server_error", None, "The provider could not be reached.".into()),
        Denial::UpstreamTimeout => (S::GATEWAY_TIMEOUT, "internal_server_error", None, "The provider did not answer in time.".into()),
    };
    Wording { status, kind, param, message }
}

fn custom(refusal: &CustomRefusal) -> Wording<'_> {
    Wording {
        status: StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN),
        kind: &refusal.kind,
        param: refusal.param.as_deref(),
        message: refusal.message.as_str().into(),
    }
}

/// The constant sentence of every credential that is not known here.
const INVALID_KEY: &str = "Authentication Error, Invalid API key provided.";

/// The constant sentence of every token that is not believed.
const INVALID_TOKEN: &str = "Authentication Error, Invalid token provided.";

/// Seconds after which the same request may succeed; `None` where it cannot.
fn retry_after(denial: &Denial) -> Option<u64> {
    match denial {
        Denial::TooManyFailures { retry_after } | Denial::RateLimited { retry_after, .. } => {
            Some(retry_after.as_secs().max(1))
        }
        Denial::Overloaded(_) | Denial::StoreUnavailable(_) => Some(1),
        Denial::IssuerUnavailable(_) | Denial::CustomUnavailable(_) => Some(1),
        Denial::UpstreamUnavailable { .. } | Denial::UpstreamTimeout | Denial::BodyTimeout => Some(1),
        _ => None,
    }
}

/// Whether LiteLLM answers in FastAPI's short form, `{"detail": ..}`. Its clients find that word here beside the envelope.
fn says_detail(denial: &Denial) -> bool {
    matches!(denial, Denial::UnknownRoute | Denial::MethodNotAllowed | Denial::RouteForbidden)
}

fn envelope(dialect: Dialect, status: StatusCode, kind: &str, param: Option<&str>, message: &str) -> Value {
    match dialect {
        Dialect::OpenAi => {
            json!({"error": {"message": message, "type": kind, "param": param, "code": status.as_str()}})
        }
        Dialect::Anthropic => {
            json!({"type": "error", "error": {"type": anthropic_kind(status), "message": message}})
        }
        Dialect::Gemini => {
            json!({"error": {"code": status.as_u16(), "message": message, "status": gemini_status(status)}})
        }
    }
}

/// Anthropic's error types by status (its API reference, "Errors").
fn anthropic_kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}

/// Google's canonical status words by HTTP status (google.rpc.Code).
fn gemini_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        408 | 504 => "DEADLINE_EXCEEDED",
        413 => "OUT_OF_RANGE",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        502 | 503 => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::jwt::algorithm::Algorithm;

    #[test]
    fn a_refusal_says_what_it_asks_for() {
        let algorithms = Algorithm::ASYMMETRIC.map(Algorithm::name).join(" ");
        let dpop = format!(r#"DPoP realm="portcullis", error="invalid_dpop_proof", algs="{algorithms}""#);
        let bearer = r#"Bearer realm="portcullis""#.to_owned();
        let invalid = format!(r#"{bearer}, error="invalid_token""#);
        for (denial, expected) in [
            (Denial::InvalidProof("x"), Some(dpop)),
            (Denial::InvalidToken("x"), Some(invalid.clone())),
            (Denial::ExpiredToken, Some(invalid.clone())),
            (Denial::RevokedToken, Some(invalid)),
            (Denial::MissingCredential, Some(bearer.clone())),
            (Denial::UnrecognizedCredential("x"), Some(bearer)),
            (Denial::IssuerUnavailable("x"), None),
            (Denial::IdentityForbidden("x"), None),
        ] {
            let headers = answer(&denial, Dialect::OpenAi).headers;
            let challenge = headers.iter().find(|(name, _)| name == WWW_AUTHENTICATE);
            let challenge = challenge.map(|(_, value)| value.to_str().unwrap().to_owned());
            assert_eq!(challenge, expected, "{denial}");
        }
    }
}
