//! Why a management request was not carried out, and the one table from there to the wire.
//!
//! The bodies are LiteLLM's: the `error` envelope for most, `detail` with one text where FastAPI itself answers, and
//! `detail` with a list for requests whose fields cannot be read. A refused credential is answered by the decision's own
//! table in `filters`, so that it looks the same on every path. No body repeats a credential or names a library.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use portcullis_filters::denial::Denial;
use serde::Serialize;
use serde_json::json;

use crate::authenticate::refuse;
use crate::store::StoreError;

/// A management request that failed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The caller was not recognised, or may not do this.
    Denied(Denial),
    /// LiteLLM's envelope: status, `type`, `message`, `param`.
    Refused(StatusCode, &'static str, Cow<'static, str>, Option<&'static str>),
    /// FastAPI's short form: one text under `detail`.
    Detail(StatusCode, &'static str),
    /// Fields that are missing, unknown or of the wrong type: 422.
    Fields(Vec<FieldProblem>),
    /// The store did not answer; the text is for the log.
    Unavailable(String),
}

/// One entry of a 422's list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FieldProblem {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) loc: Vec<String>,
    pub(crate) msg: Cow<'static, str>,
}

impl FieldProblem {
    pub(crate) fn new(kind: &'static str, loc: &[&str], msg: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, loc: loc.iter().map(|part| (*part).to_owned()).collect(), msg: msg.into() }
    }

    pub(crate) fn missing(loc: &[&str]) -> Self {
        Self::new("missing", loc, "Field required")
    }

    pub(crate) fn unknown(loc: &[&str]) -> Self {
        Self::new("extra_forbidden", loc, "Extra inputs are not permitted")
    }
}

impl Problem {
    /// A value that can be read but cannot be accepted.
    pub(crate) fn invalid(param: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(StatusCode::BAD_REQUEST, "invalid_request_error", message.into(), Some(param))
    }

    /// No such key, as far as this caller may know.
    pub(crate) fn key_not_found() -> Self {
        Self::Refused(StatusCode::NOT_FOUND, "not_found_error", "Key not found in database".into(), Some("key"))
    }

    /// No such team, as far as this caller may know.
    pub(crate) fn team_not_found() -> Self {
        Self::Refused(StatusCode::NOT_FOUND, "not_found_error", "Team not found".into(), Some("team_id"))
    }

    /// No such user, as far as this caller may know.
    pub(crate) fn user_not_found() -> Self {
        Self::Refused(StatusCode::NOT_FOUND, "not_found_error", "User not found".into(), Some("user_id"))
    }

    /// It is somebody else's, or nobody's: the caller is not told which.
    pub(crate) fn not_yours() -> Self {
        Self::forbidden("Not yours to see or to change, or not there".to_owned())
    }

    /// The caller may not do this.
    pub(crate) fn forbidden(message: String) -> Self {
        Self::Refused(StatusCode::FORBIDDEN, "auth_error", message.into(), None)
    }

    /// The request lost against others often enough.
    pub(crate) fn contended(param: &'static str) -> Self {
        let message = "It is being changed by other requests; read it again before changing it";
        Self::Refused(StatusCode::CONFLICT, "bad_request_error", message.into(), Some(param))
    }

    pub(crate) fn field(problem: FieldProblem) -> Self {
        Self::Fields(vec![problem])
    }

    /// The text that a bulk report gives for one failed item.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Denied(_) => "refused".to_owned(),
            Self::Refused(_, _, message, _) => message.clone().into_owned(),
            Self::Detail(_, detail) => (*detail).to_owned(),
            Self::Fields(problems) => {
                let each = problems.iter().map(|problem| format!("{}: {}", problem.loc.join("."), problem.msg));
                each.collect::<Vec<_>>().join("; ")
            }
            Self::Unavailable(_) => STORE_AWAY.to_owned(),
        }
    }
}

const STORE_AWAY: &str = "The key store is not available; try again shortly";

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TokenTaken => Self::Refused(
                StatusCode::CONFLICT,
                "bad_request_error",
                "A key with this value exists already".into(),
                Some("key"),
            ),
            StoreError::AliasTaken => Self::Refused(
                StatusCode::BAD_REQUEST,
                "bad_request_error",
                "A key with this alias exists already; aliases must be unique".into(),
                Some("key_alias"),
            ),
            StoreError::IdTaken => {
                let message = "This id is taken; choose a different one";
                Self::Refused(StatusCode::BAD_REQUEST, "bad_request_error", message.into(), None)
            }
            StoreError::Conflict => Self::contended("key"),
            StoreError::DenyListFull => Self::Refused(
                StatusCode::INSUFFICIENT_STORAGE,
                "bad_request_error",
                "The deny list is full; take denials back or wait until some have ended".into(),
                None,
            ),
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(denial) => refuse(&denial),
            Self::Refused(status, kind, message, param) => envelope(status, kind, &message, param),
            Self::Detail(status, detail) => (status, Json(json!({ "detail": detail }))).into_response(),
            Self::Fields(problems) => {
                (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "detail": problems }))).into_response()
            }
            Self::Unavailable(cause) => {
                tracing::warn!(cause, "management request failed: store unavailable");
                let mut response = envelope(StatusCode::SERVICE_UNAVAILABLE, "no_db_connection", STORE_AWAY, None);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }
}

fn envelope(status: StatusCode, kind: &str, message: &str, param: Option<&str>) -> Response {
    let code = status.as_str();
    let body = json!({ "error": { "message": message, "type": kind, "param": param, "code": code } });
    (status, Json(body)).into_response()
}
