//! What a provider says by itself: the request's path decides who is being asked, the form of the answer follows from that.
//!
//! The shapes are those of the providers' public API references, reduced to what their SDKs read. Requirements that the real
//! ones make of a request are made here too (an `api-version` on Azure's deployment paths, `anthropic-version` on Anthropic's),
//! so that a proxy that loses one is found out.

mod anthropic;
mod gemini;
mod openai;

use super::record::RecordedRequest;
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

/// Tokens that every answer claims for its input.
pub const INPUT_TOKENS: u64 = 11;
/// Tokens that every answer claims for its output.
pub const OUTPUT_TOKENS: u64 = 6;
/// The pieces in which every text answer is streamed; a whole answer is their concatenation.
pub const PIECES: [&str; 3] = ["Hello ", "from ", "upstream."];

/// Whose API a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Azure,
    Anthropic,
    Gemini,
}

/// An answer before it is scripted.
#[derive(Debug, Clone)]
pub(super) enum Says {
    Json(StatusCode, Value),
    Raw(&'static str, Bytes),
    /// Pieces sent one by one under that content type.
    Stream(&'static str, Vec<Bytes>),
}

const SSE: &str = "text/event-stream; charset=utf-8";

/// Whose API this request speaks to.
pub(super) fn dialect_of(request: &RecordedRequest) -> Dialect {
    let path = request.path.as_str();
    let models = path.ends_with("/models");
    let anthropic_path = path.ends_with("/messages") || path.ends_with("/messages/count_tokens");
    let gemini_path = gemini::action_of(path).is_some() || (models && path.contains("/v1beta/"));
    if path.starts_with("/openai/deployments/") || path == "/openai/responses" {
        Dialect::Azure
    } else if anthropic_path || (models && request.header("anthropic-version").is_some()) {
        Dialect::Anthropic
    } else if gemini_path || (models && request.header("x-goog-api-key").is_some()) {
        Dialect::Gemini
    } else {
        Dialect::OpenAi
    }
}

/// The answer that this provider gives to that request.
pub(super) fn usual(request: &RecordedRequest) -> Says {
    let dialect = dialect_of(request);
    match dialect {
        Dialect::OpenAi => openai::answer(request),
        Dialect::Azure if !request.query.as_deref().unwrap_or_default().contains("api-version=") => {
            error(dialect, StatusCode::NOT_FOUND)
        }
        Dialect::Azure => openai::answer(request),
        Dialect::Anthropic if request.header("anthropic-version").is_none() => Says::Json(
            StatusCode::BAD_REQUEST,
            anthropic::error("invalid_request_error", "anthropic-version: header is required"),
        ),
        Dialect::Anthropic => anthropic::answer(request),
        Dialect::Gemini => gemini::answer(request),
    }
}

/// An error in the form of that provider.
pub(super) fn error(dialect: Dialect, status: StatusCode) -> Says {
    let message = format!("the fake provider was told to answer {}", status.as_u16());
    let body = match dialect {
        Dialect::OpenAi => openai::error(status, &message),
        Dialect::Azure => openai::azure_error(status, &message),
        Dialect::Anthropic => anthropic::error(anthropic::error_type(status), &message),
        Dialect::Gemini => gemini::error(status, &message),
    };
    Says::Json(status, body)
}

/// One server-sent event, with a name where the API names its events.
fn event(name: Option<&str>, data: &Value) -> Bytes {
    match name {
        Some(name) => Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        None => Bytes::from(format!("data: {data}\n\n")),
    }
}

fn ok(body: Value) -> Says {
    Says::Json(StatusCode::OK, body)
}
