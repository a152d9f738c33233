//! The built-in model `mock`: answers in the caller's own dialect, streamed or not, so that a first `curl` needs no
//! provider and no account. It repeats what it was told, word by word.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use pingora::Error;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::Call;
use serde_json::{Value, json};

use super::context::{Admission, RequestContext};
use super::respond;

/// One event of a stream: its name where the dialect names events, and its data.
type Event = (Option<&'static str>, Value);

/// Answers a call to the built-in model.
pub(super) async fn respond(
    session: &mut Session,
    admission: &Admission,
    ctx: &RequestContext,
) -> Result<(), Box<Error>> {
    let operation = admission.permit.operation();
    let model = admission.permit.model().unwrap_or("mock");
    let text = reply(&admission.body.bytes());
    let streamed = operation.stream;
    match (&operation.endpoint.call, streamed) {
        (Call::OpenAi("/chat/completions"), false) => ok(session, ctx, &chat(model, &text)).await,
        (Call::OpenAi("/chat/completions"), true) => stream(session, ctx, chat_events(model, &text), true).await,
        (Call::OpenAi("/responses"), false) => ok(session, ctx, &response(model, &text)).await,
        (Call::OpenAi("/responses"), true) => stream(session, ctx, response_events(model, &text), false).await,
        (Call::OpenAi("/embeddings"), _) => ok(session, ctx, &embedding(model)).await,
        (Call::Anthropic("/messages"), false) => ok(session, ctx, &message(model, &text)).await,
        (Call::Anthropic("/messages"), true) => stream(session, ctx, message_events(model, &text), false).await,
        (Call::Anthropic(_), _) => ok(session, ctx, &json!({"input_tokens": words(&text)})).await,
        (Call::Gemini { action: "generateContent", .. }, _) => ok(session, ctx, &content(&text)).await,
        (Call::Gemini { action: "streamGenerateContent", .. }, _) => {
            let events = pieces(&text).map(|piece| (None, content(piece))).collect();
            stream(session, ctx, events, false).await
        }
        (Call::Gemini { action: "countTokens", .. }, _) => {
            ok(session, ctx, &json!({"totalTokens": words(&text)})).await
        }
        _ => respond::denial(session, &Denial::UnsupportedDialect(model.to_owned()), ctx).await,
    }
}

async fn ok(session: &mut Session, ctx: &RequestContext, value: &Value) -> Result<(), Box<Error>> {
    respond::json(session, ctx, StatusCode::OK, value).await
}

/// Sends each event by itself, as a provider does. OpenAI's chat ends with a line of its own.
async fn stream(
    session: &mut Session,
    ctx: &RequestContext,
    events: Vec<Event>,
    done_line: bool,
) -> Result<(), Box<Error>> {
    let mut answer = ResponseHeader::build(StatusCode::OK, Some(6))?;
    answer.insert_header(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))?;
    answer.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))?;
    respond::mark(session, &mut answer, ctx)?;
    if !session.is_http2() {
        answer.insert_header(http::header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    session.write_response_header(Box::new(answer), false).await?;
    for (name, data) in events {
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        session.write_response_body(Some(Bytes::from(format!("{name}data: {data}\n\n"))), false).await?;
    }
    let last = if done_line { Bytes::from_static(b"data: [DONE]\n\n") } else { Bytes::new() };
    session.write_response_body(Some(last), true).await
}

/// What the last message said, wherever the dialect keeps it.
fn reply(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = ["messages", "contents", "input"].iter().find_map(|field| last_text(&body[*field]));
    format!("You said: {}", said.unwrap_or("nothing that the built-in model can read."))
}

/// The last text in a value: itself, or that of the last element, or of its content, parts or text.
fn last_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(elements) => elements.iter().rev().find_map(last_text),
        Value::Object(fields) => ["content", "parts", "text"].iter().find_map(|name| last_text(fields.get(*name)?)),
        _ => None,
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

fn openai_usage(text: &str) -> Value {
    let tokens = words(text);
    json!({"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens})
}

fn chat(model: &str, text: &str) -> Value {
    json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": openai_usage(text),
    })
}

fn chat_events(model: &str, text: &str) -> Vec<Event> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        (
            None,
            json!({"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]}),
        )
    };
    let first = std::iter::once(chunk(json!({"role": "assistant", "content": ""}), None));
    let spoken = pieces(text).map(|piece| chunk(json!({"content": piece}), None));
    first.chain(spoken).chain([chunk(json!({}), Some("stop"))]).collect()
}

fn response(model: &str, text: &str) -> Value {
    let tokens = words(text);
    json!({
        "id": "resp-mock", "object": "response", "created_at": 0, "status": "completed", "model": model,
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "output": [{"id": "msg-mock", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}],
        "usage": {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
    })
}

fn response_events(model: &str, text: &str) -> Vec<Event> {
    let whole = response(model, text);
    let mut open = whole.clone();
    open["status"] = json!("in_progress");
    open["output"] = json!([]);
    let mut events: Vec<Event> =
        vec![(Some("response.created"), json!({"type": "response.created", "sequence_number": 0, "response": open}))];
    for piece in pieces(text) {
        let delta = json!({"type": "response.output_text.delta", "sequence_number": events.len(), "item_id": "msg-mock",
            "output_index": 0, "content_index": 0, "delta": piece, "logprobs": []});
        events.push((Some("response.output_text.delta"), delta));
    }
    let last = json!({"type": "response.completed", "sequence_number": events.len(), "response": whole});
    events.push((Some("response.completed"), last));
    events
}

/// The same small vector for every input.
fn embedding(model: &str) -> Value {
    json!({
        "object": "list", "model": model,
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    })
}

fn message(model: &str, text: &str) -> Value {
    json!({
        "id": "msg-mock", "type": "message", "role": "assistant", "model": model,
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": words(text), "output_tokens": words(text)},
    })
}

fn message_events(model: &str, text: &str) -> Vec<Event> {
    let mut start = message(model, text);
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    let event = |name: &'static str, mut data: Value| {
        data["type"] = json!(name);
        (Some(name), data)
    };
    let mut events = vec![
        event("message_start", json!({"message": start})),
        event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
    ];
    let delta = |piece| json!({"index": 0, "delta": {"type": "text_delta", "text": piece}});
    events.extend(pieces(text).map(|piece| event("content_block_delta", delta(piece))));
    let end =
        json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": words(text)}});
    events.push(event("content_block_stop", json!({"index": 0})));
    events.push(event("message_delta", end));
    events.push(event("message_stop", json!({})));
    events
}

fn content(text: &str) -> Value {
    let tokens = words(text);
    json!({
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": tokens, "candidatesTokenCount": tokens, "totalTokenCount": 2 * tokens},
    })
}
