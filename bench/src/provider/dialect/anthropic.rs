//! Anthropic's answers on its own paths.

use super::{INPUT_TOKENS, OUTPUT_TOKENS, PIECES, SSE, Says, event, ok};
use crate::provider::record::RecordedRequest;
use http::StatusCode;
use serde_json::{Value, json};

pub(in crate::provider) fn answer(request: &RecordedRequest) -> Says {
    let body = request.json();
    let model = body["model"].as_str().unwrap_or("unnamed");
    if request.path.ends_with("/models") {
        let listed = json!({
            "type": "model", "id": "claude-sonnet-4-5", "display_name": "Claude Sonnet 4.5", "created_at": "2025-09-29T00:00:00Z",
        });
        let first = &listed["id"];
        ok(json!({"data": [listed], "has_more": false, "first_id": first, "last_id": first}))
    } else if request.path.ends_with("/count_tokens") {
        ok(json!({"input_tokens": INPUT_TOKENS}))
    } else if body["stream"] == true {
        stream(model)
    } else {
        ok(message(model, json!([{"type": "text", "text": PIECES.concat()}]), json!("end_turn"), OUTPUT_TOKENS))
    }
}

pub(in crate::provider) fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})
}

pub(in crate::provider) fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn message(model: &str, content: Value, stop_reason: Value, output_tokens: u64) -> Value {
    json!({
        "id": "msg_fake", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {
            "input_tokens": INPUT_TOKENS, "output_tokens": output_tokens,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        },
    })
}

fn stream(model: &str) -> Says {
    let mut steps = vec![
        json!({"type": "message_start", "message": message(model, json!([]), Value::Null, 1)}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    steps.extend(PIECES.iter().map(
        |piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}),
    ));
    steps.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": OUTPUT_TOKENS},
        }),
        json!({"type": "message_stop"}),
    ]);
    Says::Stream(SSE, steps.iter().map(|data| event(data["type"].as_str(), data)).collect())
}
