//! What each vendor's answer looks like, with usage, once as a document and once as the steps of a stream.

use serde_json::{Value, json};

use crate::message::Dialect;

/// Given as the tokens of every prompt.
const INPUT_TOKENS: u32 = 256;
const MODEL: &str = "fake-model";
const CREATED: u32 = 1_790_000_000;

/// A stream: what comes before the text, one event with text, what comes after it, and a last line that is no JSON.
pub(super) struct Steps {
    pub(super) opening: Vec<Value>,
    pub(super) event: Value,
    pub(super) closing: Vec<Value>,
    pub(super) done: &'static str,
}

/// An answer with this text that took `tokens` tokens.
pub(super) fn document(dialect: Dialect, text: &str, tokens: u32) -> Value {
    match dialect {
        Dialect::OpenAiChat => json!({
            "id": "chatcmpl-fake", "object": "chat.completion", "created": CREATED, "model": MODEL,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": text}, "logprobs": null, "finish_reason": "stop",
            }],
            "usage": chat_usage(tokens),
        }),
        Dialect::OpenAiResponses => response("completed", text, tokens),
        Dialect::Anthropic => message(json!([{"type": "text", "text": text}]), json!("end_turn"), tokens),
        Dialect::Gemini => gemini(text, Some("STOP"), tokens),
    }
}

/// A stream whose events each carry this text, `tokens` of them.
pub(super) fn steps(dialect: Dialect, text: &str, tokens: u32) -> Steps {
    match dialect {
        Dialect::OpenAiChat => chat_steps(text, tokens),
        Dialect::OpenAiResponses => response_steps(text, tokens),
        Dialect::Anthropic => message_steps(text, tokens),
        Dialect::Gemini => {
            let closing = vec![gemini("", Some("STOP"), tokens)];
            Steps { opening: vec![], event: gemini(text, None, tokens), closing, done: "" }
        }
    }
}

fn chat_steps(text: &str, tokens: u32) -> Steps {
    let chunk = |choices: Value, usage: Value| {
        json!({
            "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL,
            "choices": choices, "usage": usage,
        })
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), Value::Null)
    };
    Steps {
        opening: vec![delta(json!({"role": "assistant", "content": ""}), Value::Null)],
        event: delta(json!({"content": text}), Value::Null),
        closing: vec![delta(json!({}), json!("stop")), chunk(json!([]), chat_usage(tokens))],
        done: "data: [DONE]\n\n",
    }
}

fn chat_usage(tokens: u32) -> Value {
    json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": tokens, "total_tokens": INPUT_TOKENS + tokens})
}

/// The real steps but for their numbers, which are the same in every event with text.
fn response_steps(text: &str, tokens: u32) -> Steps {
    let place = "msg_fake";
    let begun = response("in_progress", "", tokens);
    Steps {
        opening: vec![
            json!({"type": "response.created", "sequence_number": 0, "response": begun}),
            json!({
                "type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                "item": {"id": place, "type": "message", "role": "assistant", "status": "in_progress", "content": []},
            }),
        ],
        event: json!({
            "type": "response.output_text.delta", "sequence_number": 2, "item_id": place, "output_index": 0,
            "content_index": 0, "delta": text, "logprobs": [],
        }),
        closing: vec![json!({
            "type": "response.completed", "sequence_number": 3, "response": response("completed", "", tokens),
        })],
        done: "",
    }
}

fn response(status: &str, text: &str, tokens: u32) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    let usage = json!({
        "input_tokens": INPUT_TOKENS, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": INPUT_TOKENS + tokens,
    });
    json!({
        "id": "resp_fake", "object": "response", "created_at": CREATED, "status": status, "model": MODEL, "error": null,
        "output": [{"id": "msg_fake", "type": "message", "role": "assistant", "status": status, "content": content}],
        "usage": if status == "completed" { usage } else { Value::Null },
    })
}

fn message_steps(text: &str, tokens: u32) -> Steps {
    Steps {
        opening: vec![
            json!({"type": "message_start", "message": message(json!([]), Value::Null, 1)}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        ],
        event: json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        closing: vec![
            json!({"type": "content_block_stop", "index": 0}),
            json!({
                "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": tokens},
            }),
            json!({"type": "message_stop"}),
        ],
        done: "",
    }
}

fn message(content: Value, stop_reason: Value, tokens: u32) -> Value {
    json!({
        "id": "msg_fake", "type": "message", "role": "assistant", "model": MODEL, "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": tokens},
    })
}

fn gemini(text: &str, finish: Option<&str>, tokens: u32) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    json!({
        "candidates": [candidate], "modelVersion": MODEL, "responseId": "fake",
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": tokens, "totalTokenCount": INPUT_TOKENS + tokens,
        },
    })
}
