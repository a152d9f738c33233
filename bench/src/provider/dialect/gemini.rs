//! Gemini's answers on its own paths: the model and the action are in the path, `?alt=sse` chooses the form of a stream.

use super::{INPUT_TOKENS, OUTPUT_TOKENS, PIECES, SSE, Says, event, ok};
use crate::provider::record::RecordedRequest;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

/// Model and action of `.../models/{model}:{action}`.
pub(in crate::provider) fn action_of(path: &str) -> Option<(&str, &str)> {
    let (_, named) = path.rsplit_once("/models/")?;
    named.split_once(':')
}

pub(in crate::provider) fn answer(request: &RecordedRequest) -> Says {
    let Some((model, action)) = action_of(&request.path) else {
        return ok(json!({"models": [{
            "name": "models/gemini-2.5-flash", "version": "001", "displayName": "Gemini 2.5 Flash",
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }]}));
    };
    match action {
        "generateContent" => ok(chunk(model, &PIECES.concat(), true)),
        "streamGenerateContent" => stream(model, request.query.as_deref().unwrap_or_default()),
        "countTokens" => ok(json!({"totalTokens": INPUT_TOKENS})),
        "embedContent" => ok(json!({"embedding": {"values": [0.25, -0.5, 0.75]}})),
        "batchEmbedContents" => {
            let inputs = request.json()["requests"].as_array().map_or(0, Vec::len);
            ok(json!({"embeddings": vec![json!({"values": [0.25, -0.5, 0.75]}); inputs]}))
        }
        _ => Says::Json(StatusCode::NOT_FOUND, error(StatusCode::NOT_FOUND, &format!("no action {action}"))),
    }
}

pub(in crate::provider) fn error(status: StatusCode, message: &str) -> Value {
    let name = match status.as_u16() {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    };
    json!({"error": {"code": status.as_u16(), "message": message, "status": name}})
}

fn chunk(model: &str, text: &str, last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    if last {
        candidate["finishReason"] = json!("STOP");
    }
    json!({
        "candidates": [candidate], "modelVersion": model, "responseId": "fake",
        "usageMetadata": {
            "promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        },
    })
}

fn stream(model: &str, query: &str) -> Says {
    let chunks = PIECES.iter().enumerate().map(|(index, piece)| chunk(model, piece, index + 1 == PIECES.len()));
    if query.split('&').any(|pair| pair == "alt=sse") {
        return Says::Stream(SSE, chunks.map(|data| event(None, &data)).collect());
    }
    let mut pieces: Vec<Bytes> = chunks
        .enumerate()
        .map(|(index, data)| Bytes::from(format!("{}{data}", if index == 0 { "[" } else { ",\r\n" })))
        .collect();
    pieces.push(Bytes::from_static(b"]"));
    Says::Stream("application/json; charset=UTF-8", pieces)
}
