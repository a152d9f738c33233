//! The model that is read is the one that a JSON parser finds, and renaming it changes nothing else.

use bytes::Bytes;
use http::{HeaderMap, Method};
use portcullis_filters::client_side::CLIENT_FIELDS;
use portcullis_filters::endpoint::{self, Endpoint};
use portcullis_filters::head::RequestHead;
use portcullis_filters::operation::{ModelNames, Operation};
use portcullis_filters::path::CanonicalPath;
use serde_json::Value;

/// Each kind of call that reads JSON.
const PATHS: &[&str] = &[
    "/v1/chat/completions",
    "/v1/messages",
    "/openai/deployments/m/chat/completions",
    "/v1beta/models/m:generateContent",
    "/v1beta/models/m:batchEmbedContents",
    "/openai/v1/chat/completions",
    "/anthropic/v1/messages",
    "/gemini/v1beta/models/m:generateContent",
    "/azure/openai/deployments/m/chat/completions",
    "/openai/v1/batches",
];

const UPSTREAM_NAME: &str = "vendor/\"name\"\n\u{f6}";

/// The first byte of `data` chooses the call, the rest is the body.
pub(crate) fn check(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let endpoint = endpoint_of(PATHS[usize::from(*choice) % PATHS.len()]);
    check_what_is_brought(endpoint.clone(), body);
    let Ok(operation) = Operation::read(endpoint.clone(), None, Some("application/json"), body) else { return };
    let renamed = operation.names.clone().rename(Bytes::copy_from_slice(body), UPSTREAM_NAME);
    // The reading is lenient in what it skips: numbers out of range and half surrogates are the upstream's to refuse.
    let Ok(before) = serde_json::from_slice::<Value>(body) else { return };
    if endpoint.path_model.is_none()
        && let Some(model) = &operation.model
    {
        assert_eq!(before["model"], Value::from(&**model), "another model was read");
    }
    let after: Value = serde_json::from_slice(&renamed).expect("renaming keeps JSON");
    assert_eq!(after, expected(before, &operation.names));
}

/// What the caller brings is gone from the body, and nothing else is.
fn check_what_is_brought(endpoint: Endpoint, body: &[u8]) {
    let whole = Bytes::copy_from_slice(body);
    let Ok((operation, rest)) = Operation::take(endpoint, None, Some("application/json"), whole) else { return };
    let Ok(mut before) = serde_json::from_slice::<Value>(body) else { return };
    if let (Some(client), Some(members)) = (&operation.client, before.as_object_mut()) {
        CLIENT_FIELDS.iter().for_each(|name| drop(members.shift_remove(*name)));
        if client.api_key.is_some() {
            ["api_version", "organization"].iter().for_each(|name| drop(members.shift_remove(*name)));
        }
    }
    let after: Value = serde_json::from_slice(&rest).expect("cutting keeps JSON");
    assert_eq!(after, before);
}

fn expected(mut body: Value, names: &ModelNames) -> Value {
    let (prefix, count) = match names {
        ModelNames::Absent | ModelNames::Form(_) => return body,
        ModelNames::Missing(_) => ("", 1),
        ModelNames::Json { prefix, ranges } => (*prefix, ranges.len()),
    };
    let name = Value::from(format!("{prefix}{UPSTREAM_NAME}"));
    let missing = matches!(names, ModelNames::Missing(_));
    let mut renamed = 0;
    if missing || body.get("model").is_some() {
        body["model"] = name.clone();
        renamed += 1;
    }
    let nested = body.get_mut("requests").filter(|_| renamed < count).and_then(Value::as_array_mut);
    for element in nested.into_iter().flatten() {
        if let Some(model) = element.get_mut("model") {
            *model = name.clone();
        }
    }
    body
}

fn endpoint_of(path: &str) -> Endpoint {
    let path = CanonicalPath::parse(path).expect("a path of the table");
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &Method::POST,
        path: &path,
        query: None,
        headers: &headers,
        source: None,
        client_certificate: None,
    };
    endpoint::classify(&head).expect("a call of the table")
}
