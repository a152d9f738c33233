//! What is sent under load, and how the answer is known to be the right one.
//!
//! Each request carries a nonce; the answer of [`crate::upstream`] repeats it together with the number of body bytes that arrived
//! there. So an answer that was dropped, cut, altered, kept from before or meant for another request is told from a good one by
//! whoever sent the request, and with no table of what was sent.

mod reader;
mod stamp;
#[cfg(test)]
mod tests;

pub use reader::{AnswerReader, Wrong};
pub(crate) use stamp::{ASK_BYTES, End, MARKS_BYTES};
pub use stamp::{Ask, Stamp, now_nanos};

use bytes::Bytes;
use serde_json::{Value, json};

/// Whose API a request is written in. Each has a path, a body and a form of stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/chat/completions`.
    OpenAiChat,
    /// `POST /v1/responses`.
    OpenAiResponses,
    /// `POST /v1/messages`.
    Anthropic,
    /// `POST /v1beta/models/MODEL:generateContent`.
    Gemini,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic, Self::Gemini];
}

/// One kind of request, of which any number can be made: they differ in their nonce only. Clones share the prepared body.
#[derive(Clone, Debug)]
pub struct Shape {
    dialect: Dialect,
    stream: bool,
    path: String,
    template: Bytes,
    ask_at: usize,
}

impl Shape {
    /// Prepares requests for `model` with a body of `body_bytes` bytes, or of the few hundred that it has at least.
    #[must_use]
    pub fn new(dialect: Dialect, stream: bool, body_bytes: usize, model: &str) -> Self {
        let ask = Ask { nonce: 0, stream }.to_string();
        let bare = body(dialect, stream, model, &ask, "").to_string().len();
        let template = body(dialect, stream, model, &ask, &prompt(body_bytes.saturating_sub(bare))).to_string();
        let ask_at = template.find(&ask).unwrap_or_default();
        Self { dialect, stream, path: path(dialect, stream, model), template: template.into(), ask_at }
    }

    /// Whose API it is written in.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it asks for a stream of events.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.stream
    }

    /// Bytes in the body of each request.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.template.len()
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The body of the request with this nonce: JSON, one copy of what was prepared.
    #[must_use]
    pub fn body(&self, nonce: u64) -> Bytes {
        let mut body = self.template.to_vec();
        let ask = Ask { nonce, stream: self.stream }.to_string();
        body[self.ask_at..self.ask_at + ask.len()].copy_from_slice(ask.as_bytes());
        body.into()
    }

    /// What reads the answer to the request with this nonce piece by piece. `sent_bytes` is the length of the body as it was
    /// sent, `None` where the target writes bodies anew and the provider rightly sees another length.
    #[must_use]
    pub fn reader(&self, nonce: u64, sent_bytes: Option<usize>) -> AnswerReader {
        AnswerReader::new(self.terminator(), nonce, sent_bytes)
    }

    /// Whether `status` and `body` are the whole answer to the request with this nonce. See [`Shape::reader`].
    ///
    /// # Errors
    ///
    /// What is wrong with it; the status comes first.
    pub fn check(&self, nonce: u64, sent_bytes: Option<usize>, status: u16, body: &[u8]) -> Result<(), Wrong> {
        if status != 200 {
            return Err(Wrong::Status(status));
        }
        let mut reader = self.reader(nonce, sent_bytes);
        reader.read(body, |_| {});
        reader.finish()
    }

    /// What stands in the last event of a stream; `None` for an answer that is one JSON document.
    fn terminator(&self) -> Option<&'static str> {
        self.stream.then_some(match self.dialect {
            Dialect::OpenAiChat => "[DONE]",
            Dialect::OpenAiResponses => "response.completed",
            Dialect::Anthropic => "message_stop",
            Dialect::Gemini => "finishReason",
        })
    }
}

fn path(dialect: Dialect, stream: bool, model: &str) -> String {
    match dialect {
        Dialect::OpenAiChat => "/v1/chat/completions".to_owned(),
        Dialect::OpenAiResponses => "/v1/responses".to_owned(),
        Dialect::Anthropic => "/v1/messages".to_owned(),
        Dialect::Gemini if stream => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        Dialect::Gemini => format!("/v1beta/models/{model}:generateContent"),
    }
}

/// The members in the order in which the vendors' Python SDKs write them: what a gateway looks for comes behind the long part.
fn body(dialect: Dialect, stream: bool, model: &str, ask: &str, prompt: &str) -> Value {
    let mut body = match dialect {
        Dialect::OpenAiChat => json!({
            "messages": [
                {"role": "system", "content": "You are a careful assistant."},
                {"role": "user", "content": prompt},
            ],
            "model": model, "max_tokens": 1024, "temperature": 0.2,
        }),
        Dialect::OpenAiResponses => json!({"input": prompt, "model": model, "max_output_tokens": 1024}),
        Dialect::Anthropic => json!({
            "max_tokens": 1024, "messages": [{"role": "user", "content": prompt}], "model": model,
            "metadata": {"user_id": ask},
        }),
        Dialect::Gemini => json!({
            "contents": [{"role": "user", "parts": [{"text": prompt}]}],
            "generationConfig": {"maxOutputTokens": 1024}, "labels": {"request": ask},
        }),
    };
    if stream && dialect != Dialect::Gemini {
        body["stream"] = json!(true);
    }
    if stream && dialect == Dialect::OpenAiChat {
        body["stream_options"] = json!({"include_usage": true});
    }
    if matches!(dialect, Dialect::OpenAiChat | Dialect::OpenAiResponses) {
        body["user"] = json!(ask);
    }
    body
}

/// Prose that takes exactly this many bytes within a JSON string, with what is escaped there.
fn prompt(bytes: usize) -> String {
    const SENTENCE: &str = "A gate has one question, \"who goes there?\", and many ways to ask it.\n";
    const ESCAPES: usize = 3;
    let whole = bytes / (SENTENCE.len() + ESCAPES);
    SENTENCE.repeat(whole) + &".".repeat(bytes - whole * (SENTENCE.len() + ESCAPES))
}
