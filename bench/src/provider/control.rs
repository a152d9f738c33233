//! The record and the scripts over HTTP, for tests in other languages. Requests to these paths are not recorded.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /__provider/requests` | what was recorded, as JSON |
//! | `DELETE /__provider/requests` | forgets it, and the scripts that were not used |
//! | `POST /__provider/script` | `{"status": 429, "headers": {..}, "body": "..", "paced": true}` for the next request; all optional |
//! | `POST /__provider/events` | `{"count": 2}`: lets so many events of the last paced script pass |

use super::record::RecordedRequest;
use super::{Gate, Script, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const PREFIX: &str = "/__provider/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptRequest {
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    paced: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsRequest {
    count: usize,
}

pub(super) async fn answer(shared: &Shared, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches(PREFIX).to_owned();
    let method = request.method().clone();
    let Ok(body) = Bytes::from_request(request, &()).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match (method, path.as_str()) {
        (Method::GET, "requests") => {
            Json(shared.recorder.requests().iter().map(as_json).collect::<Vec<Value>>()).into_response()
        }
        (Method::DELETE, "requests") => {
            shared.recorder.clear();
            shared.scripts().queued.clear();
            StatusCode::NO_CONTENT.into_response()
        }
        (Method::POST, "script") => parsed(&body, |script: ScriptRequest| queue(shared, script)),
        (Method::POST, "events") => parsed(&body, |events: EventsRequest| {
            if let Some(gate) = &shared.scripts().pace {
                gate.admit(events.count);
            }
        }),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(body: &[u8], act: impl FnOnce(T)) -> Response {
    match serde_json::from_slice(body) {
        Ok(request) => {
            act(request);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn queue(shared: &Shared, request: ScriptRequest) {
    let mut script = match (request.status, request.body) {
        (None, None) if request.paced => {
            let gate = Gate::closed();
            shared.scripts().pace = Some(gate.clone());
            Script::paced(&gate)
        }
        (None, None) => Script::usual(),
        (Some(status), None) => Script::error(status),
        (status, Some(body)) => Script::whole(status.unwrap_or(200), body),
    };
    for (name, value) in &request.headers {
        script = script.header(name, value);
    }
    shared.scripts().queued.push_back(script);
}

fn as_json(request: &RecordedRequest) -> Value {
    let fields: Vec<(&str, String)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    let body = request.body.bytes.as_ref().map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes));
    json!({
        "number": request.number,
        "connection": request.connection,
        "version": format!("{:?}", request.version),
        "method": request.method.as_str(),
        "target": request.target(),
        "headers": fields,
        "body_base64": body,
        "body_length": request.body.length,
        "body_sha256": request.body.sha256,
        "complete": request.body.complete,
        "outcome": format!("{:?}", request.outcome),
    })
}
