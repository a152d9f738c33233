//! OpenAI's answers, and Azure OpenAI's, which differ in their errors only. Also what Anthropic and Gemini say on their
//! OpenAI-compatible paths.

use super::{INPUT_TOKENS, OUTPUT_TOKENS, PIECES, SSE, Says, event, ok};
use crate::provider::record::RecordedRequest;
use base64::Engine;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

/// When everything here was created.
const CREATED: u64 = 1_790_000_000;
/// The vector of every embedding.
const VECTOR: [f32; 3] = [0.25, -0.5, 0.75];

pub(in crate::provider) fn answer(request: &RecordedRequest) -> Says {
    let path = request.path.as_str();
    let body = request.json();
    let model = model_of(path, &body);
    let streams = body["stream"] == true;
    if path.ends_with("/chat/completions") {
        if streams { chat_stream(&model, &body) } else { ok(chat(&model)) }
    } else if path.ends_with("/completions") {
        if streams { text_stream(&model) } else { ok(text(&model)) }
    } else if path.ends_with("/responses") {
        if streams { response_stream(&model) } else { ok(response(&model, "completed", &PIECES.concat())) }
    } else if path.ends_with("/embeddings") {
        ok(embeddings(&model, &body))
    } else if path.ends_with("/models") {
        ok(json!({"object": "list", "data": [listed("gpt-4o"), listed("gpt-4o-mini")]}))
    } else if path.ends_with("/audio/transcriptions") || path.ends_with("/audio/translations") {
        ok(json!({"text": PIECES.concat()}))
    } else if path.ends_with("/audio/speech") {
        Says::Raw("audio/mpeg", Bytes::from_static(b"ID3\x04\x00fake audio"))
    } else if path.ends_with("/images/generations") || path.ends_with("/images/edits") {
        ok(json!({"created": CREATED, "data": [{"b64_json": "ZmFrZSBpbWFnZQ=="}]}))
    } else if path.ends_with("/moderations") {
        ok(
            json!({"id": "modr-fake", "model": model, "results": [{"flagged": false, "categories": {}, "category_scores": {}}]}),
        )
    } else {
        Says::Json(
            StatusCode::NOT_FOUND,
            error(StatusCode::NOT_FOUND, &format!("Invalid URL ({} {path})", request.method)),
        )
    }
}

pub(in crate::provider) fn error(status: StatusCode, message: &str) -> Value {
    let (kind, code) = match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("unsupported_country_region_territory")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500.. => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

pub(in crate::provider) fn azure_error(status: StatusCode, message: &str) -> Value {
    json!({"error": {"code": status.as_u16().to_string(), "message": message}})
}

/// The body's model, else the deployment in the path.
fn model_of(path: &str, body: &Value) -> String {
    let deployment = path.strip_prefix("/openai/deployments/").and_then(|rest| rest.split('/').next());
    body["model"].as_str().or(deployment).unwrap_or("unnamed").to_owned()
}

fn listed(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": "fake-provider"})
}

fn usage() -> Value {
    json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS})
}

fn chat(model: &str) -> Value {
    json!({
        "id": "chatcmpl-fake", "object": "chat.completion", "created": CREATED, "model": model,
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": PIECES.concat(), "refusal": null},
        }],
        "usage": usage(),
    })
}

fn chat_stream(model: &str, body: &Value) -> Says {
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED, "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": null}],
        })
    };
    let mut events = vec![event(None, &chunk(json!({"role": "assistant", "content": ""}), Value::Null))];
    events.extend(PIECES.iter().map(|piece| event(None, &chunk(json!({"content": piece}), Value::Null))));
    events.push(event(None, &chunk(json!({}), json!("stop"))));
    if body["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!({}), Value::Null);
        last["choices"] = json!([]);
        last["usage"] = usage();
        events.push(event(None, &last));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Says::Stream(SSE, events)
}

fn text(model: &str) -> Value {
    json!({
        "id": "cmpl-fake", "object": "text_completion", "created": CREATED, "model": model,
        "choices": [{"index": 0, "text": PIECES.concat(), "finish_reason": "stop", "logprobs": null}],
        "usage": usage(),
    })
}

fn text_stream(model: &str) -> Says {
    let chunk = |piece: &&str| {
        let choice = json!({"index": 0, "text": piece, "finish_reason": null, "logprobs": null});
        event(
            None,
            &json!({"id": "cmpl-fake", "object": "text_completion", "created": CREATED, "model": model, "choices": [choice]}),
        )
    };
    let done = Bytes::from_static(b"data: [DONE]\n\n");
    Says::Stream(SSE, PIECES.iter().map(chunk).chain([done]).collect())
}

fn response(model: &str, status: &str, text: &str) -> Value {
    let complete = status == "completed";
    json!({
        "id": "resp_fake", "object": "response", "created_at": CREATED, "status": status, "model": model,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "parallel_tool_calls": true,
        "temperature": 1.0, "top_p": 1.0, "tool_choice": "auto", "tools": [],
        "output": if complete { json!([message(status, text)]) } else { json!([]) },
        "usage": complete.then(|| json!({
            "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        })),
    })
}

fn message(status: &str, text: &str) -> Value {
    let content = if text.is_empty() { json!([]) } else { json!([part(text)]) };
    json!({"id": "msg_fake", "type": "message", "role": "assistant", "status": status, "content": content})
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn response_stream(model: &str) -> Says {
    let whole = PIECES.concat();
    let place = json!({"item_id": "msg_fake", "output_index": 0, "content_index": 0});
    let placed = |mut fields: Value| {
        for (name, value) in place.as_object().into_iter().flatten() {
            fields[name] = value.clone();
        }
        fields
    };
    let mut steps = vec![
        ("response.created", json!({"response": response(model, "in_progress", "")})),
        ("response.in_progress", json!({"response": response(model, "in_progress", "")})),
        ("response.output_item.added", json!({"output_index": 0, "item": message("in_progress", "")})),
        ("response.content_part.added", placed(json!({"part": part("")}))),
    ];
    steps.extend(
        PIECES.iter().map(|piece| ("response.output_text.delta", placed(json!({"delta": piece, "logprobs": []})))),
    );
    steps.extend([
        ("response.output_text.done", placed(json!({"text": whole, "logprobs": []}))),
        ("response.content_part.done", placed(json!({"part": part(&whole)}))),
        ("response.output_item.done", json!({"output_index": 0, "item": message("completed", &whole)})),
        ("response.completed", json!({"response": response(model, "completed", &whole)})),
    ]);
    let numbered = steps.into_iter().enumerate().map(|(number, (name, mut data))| {
        data["type"] = json!(name);
        data["sequence_number"] = json!(number);
        event(Some(name), &data)
    });
    Says::Stream(SSE, numbered.collect())
}

fn embeddings(model: &str, body: &Value) -> Value {
    let inputs = body["input"].as_array().map_or(1, Vec::len);
    let vector = if body["encoding_format"] == "base64" {
        let bytes: Vec<u8> = VECTOR.iter().flat_map(|number| number.to_le_bytes()).collect();
        json!(base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        json!(VECTOR)
    };
    let data: Vec<Value> =
        (0..inputs).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    json!({
        "object": "list", "model": model, "data": data,
        "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS},
    })
}
