//! Reads the JSON object of a management request: bounded in size and time, and only after the caller is known.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::problem::{FieldProblem, Problem};

/// Largest body of a management request, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Largest body that nobody answers for but its own signature, in bytes: a token of 16 KiB and some room.
pub(crate) const MAX_SIGNED_BODY: usize = 20 << 10;

/// How long a body may take to arrive.
const DEADLINE: Duration = Duration::from_secs(30);

/// The fields of a JSON object, unchecked. The content type is not asked: `curl -d` sends a form's.
pub(crate) struct Fields(pub(crate) Map<String, Value>);

/// As [`Fields`], where no body at all means no fields.
pub(crate) struct OptionalFields(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = read(request, state).await.map_err(IntoResponse::into_response)?;
        if bytes.is_empty() {
            return Err(Problem::field(FieldProblem::missing(&["body"])).into_response());
        }
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

impl<S: Send + Sync> FromRequest<S> for OptionalFields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = read(request, state).await.map_err(IntoResponse::into_response)?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

/// A form, read to its bound. `None`: it is longer, did not arrive in time or broke off.
pub(crate) async fn form(body: Body) -> Option<Bytes> {
    tokio::time::timeout(DEADLINE, axum::body::to_bytes(body, MAX_SIGNED_BODY)).await.ok()?.ok()
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    match tokio::time::timeout(DEADLINE, Bytes::from_request(request, state)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("A management request takes at most {MAX_BODY} bytes");
            Err(Problem::Refused(rejection.status(), "invalid_request_error", message.into(), None))
        }
        Ok(Err(_)) => Err(Problem::Detail(StatusCode::BAD_REQUEST, "The body could not be read")),
        Err(_) => Err(Problem::Detail(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time")),
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Problem::field(FieldProblem::new(
            "model_attributes_type",
            &["body"],
            "Input should be a valid dictionary or object to extract fields from",
        ))),
        Err(error) => {
            let place = format!("{}:{}", error.line(), error.column());
            Err(Problem::field(FieldProblem::new("json_invalid", &["body", &place], "JSON decode error")))
        }
    }
}
