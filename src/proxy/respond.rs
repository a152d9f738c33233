//! Writes what this proxy itself answers: denials, preflights, JSON. The statuses and words of a denial come from one
//! table, [`portcullis_filters::answer`].

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use portcullis_filters::answer::answer;
use portcullis_filters::denial::Denial;

use super::body;
use super::context::RequestContext;

/// LiteLLM's name for the id of a request.
const CALL_ID: &str = "x-litellm-call-id";
const REQUEST_ID: &str = "x-request-id";

/// Answers a refused request and leaves the connection in a safe state: what is left of its body is dropped within a
/// bound, and a request that broke HTTP ends its connection.
pub(super) async fn denial(session: &mut Session, denial: &Denial, ctx: &RequestContext) -> Result<(), Box<Error>> {
    let answer = answer(denial, ctx.dialect);
    if answer.close || !session.is_body_done() {
        session.set_keepalive(None);
    }
    let written = write(session, ctx, answer.status, &answer.headers, answer.body).await;
    if !answer.close || matches!(denial, Denial::BodyTooLarge(_)) {
        body::drain(session).await;
    }
    written
}

/// Answers with JSON.
pub(super) async fn json(
    session: &mut Session,
    ctx: &RequestContext,
    status: StatusCode,
    value: &serde_json::Value,
) -> Result<(), Box<Error>> {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    write(session, ctx, status, &headers, value.to_string().into()).await
}

/// Answers with these fields and this body.
pub(super) async fn write(
    session: &mut Session,
    ctx: &RequestContext,
    status: StatusCode,
    headers: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<(), Box<Error>> {
    let mut answer = ResponseHeader::build(status, Some(headers.len() + 4))?;
    for (name, value) in headers {
        answer.append_header(name, value)?;
    }
    answer.set_content_length(body.len())?;
    mark(session, &mut answer, ctx)?;
    let empty = body.is_empty();
    session.write_response_header(Box::new(answer), empty).await?;
    if empty { Ok(()) } else { session.write_response_body(Some(body), true).await }
}

/// Puts the request's id on an answer, and opens it to scripts of any origin: credentials travel in headers that a
/// script must set itself, never in cookies, so an open origin lends nobody's rights.
pub(super) fn mark(session: &Session, answer: &mut ResponseHeader, ctx: &RequestContext) -> Result<(), Box<Error>> {
    answer.insert_header(CALL_ID, &ctx.id)?;
    if !answer.headers.contains_key(REQUEST_ID) {
        answer.insert_header(REQUEST_ID, &ctx.id)?;
    }
    if session.req_header().headers.contains_key(ORIGIN) {
        answer.insert_header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))?;
    }
    Ok(())
}

/// Tells the caller what their own limits leave them, by the names that SDKs read, in place of what the provider says of the
/// operator's account.
pub(super) fn tell_limits(answer: &mut ResponseHeader, ctx: &RequestContext) -> Result<(), Box<Error>> {
    let Some(left) = ctx.admission.as_ref().and_then(|admission| admission.reservation.left()) else { return Ok(()) };
    for (of, names) in [(left.requests, REQUESTS), (left.tokens, TOKENS)] {
        let [limit, remaining, reset] = names;
        match of {
            Some((most, rest)) => {
                answer.insert_header(limit, most)?;
                answer.insert_header(remaining, rest)?;
                answer.insert_header(reset, format!("{}s", left.reset.as_secs()))?;
            }
            None => names.into_iter().for_each(|name| drop(answer.remove_header(name))),
        }
    }
    Ok(())
}

/// OpenAI's names (its guide on rate limits).
const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] = ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

/// Answers a browser's question whether it may ask; it carries no credential by design (Fetch standard).
pub(super) async fn preflight(session: &mut Session, ctx: &RequestContext) -> Result<(), Box<Error>> {
    let asked = session.req_header().headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, OPTIONS")),
        (ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static("*"))),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
        (VARY, HeaderValue::from_static("access-control-request-headers")),
    ];
    let written = write(session, ctx, StatusCode::OK, &headers, Bytes::new()).await;
    body::drain(session).await;
    written
}
