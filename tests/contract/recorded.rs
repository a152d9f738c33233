//! What was recorded of LiteLLM 1.109.1: one request a line, and what matters of the answer. See `recorded/README.md`.

use std::fmt;
use std::fmt::Write;

use serde_json::Value;

/// One recorded exchange.
pub(crate) struct Case {
    /// The recording and the case in it: `headers/no_key`.
    pub(crate) id: String,
    /// The request as bytes.
    pub(crate) request: Vec<u8>,
    /// What LiteLLM made of it.
    pub(crate) outcome: Outcome,
}

/// What a client can tell of an answer, texts aside, and what reached the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// `type` (Gemini: `status`) and `param` of the error envelope.
    pub(crate) error: Option<(String, Option<String>)>,
    /// FastAPI's short form.
    pub(crate) detail: Option<String>,
    /// `Authorization` as the provider got it; with `elsewhere`, one that the caller chose.
    pub(crate) upstream: Option<String>,
}

impl Outcome {
    /// Of an answer: status and body.
    pub(crate) fn new(status: u16, body: &Value, upstream: Option<String>) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = body.get("error").filter(|error| error.is_object());
        Self {
            status,
            error: error.map(|error| (text(&error["type"]).or(text(&error["status"])).unwrap(), text(&error["param"]))),
            detail: text(&body["detail"]),
            upstream,
        }
    }

    /// Whether a client of LiteLLM finds here what it found there. Saying more than LiteLLM did is no difference.
    pub(crate) fn keeps(&self, recorded: &Self) -> bool {
        let said = |ours: bool, theirs: bool| ours || !theirs;
        self.status == recorded.status
            && said(self.error == recorded.error, recorded.error.is_some())
            && said(self.detail == recorded.detail, recorded.detail.is_some())
            && said(self.upstream == recorded.upstream, recorded.upstream.is_some())
    }
}

/// `401 auth_error`, `403 key_model_access_denied model`, `404 detail`, `200 to Bearer sk-upstream-secret`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match (&self.error, &self.detail) {
            (Some((kind, param)), _) => {
                let param = param.as_deref().map(|param| format!(" {param}")).unwrap_or_default();
                write!(f, " {kind}{param}")
            }
            (None, Some(_)) => f.write_str(" detail"),
            (None, None) => Ok(()),
        }?;
        self.upstream.as_ref().map_or(Ok(()), |credential| write!(f, " to {credential}"))
    }
}

/// The cases of one recording.
pub(crate) fn cases(recording: &str, lines: &str) -> Vec<Case> {
    lines.lines().map(|line| case(recording, &serde_json::from_str(line).unwrap())).collect()
}

fn case(recording: &str, line: &Value) -> Case {
    let text = |name: &str| line[name].as_str().unwrap();
    Case {
        id: format!("{recording}/{}", text("name")),
        request: request(text("method"), text("path"), line),
        outcome: Outcome::new(
            line["status"].as_u64().unwrap().try_into().unwrap(),
            line,
            line["upstream"].as_str().map(str::to_owned),
        ),
    }
}

/// The request as it was sent: header fields in their order and spelling. A number behind a value stands for as many `a`s.
fn request(method: &str, path: &str, line: &Value) -> Vec<u8> {
    let body = match &line["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        json => json.to_string(),
    };
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n");
    for field in line["headers"].as_array().into_iter().flatten() {
        let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
        let filling = "a".repeat(field[2].as_u64().unwrap_or(0) as usize);
        write!(head, "{name}: {value}{filling}\r\n").unwrap();
    }
    write!(head, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    head.into_bytes()
}
