//! What a test tells the provider to do with one request: a status, headers, and steps that it takes in order.
//!
//! Order in time is made with a [`Gate`], never with a delay: the provider stops at a closed gate until the test lets it on, so
//! "the first event arrived before the second was sent" is a fact and not a race.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A barrier inside a scripted answer. Clones are the same gate; it starts closed.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A gate that lets nothing pass.
    pub fn closed() -> Self {
        Gate(Arc::new(Semaphore::new(0)))
    }

    /// Lets the next `count` arrivals pass, those that wait already included.
    pub fn admit(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn pass(&self) {
        // A closed semaphore is an open gate: acquiring from it fails at once.
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) answer: Answer,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) hold: Option<Gate>,
    pub(super) reads_body: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// What this provider says to such a request; each event waits at the gate first.
    Usual { pace: Option<Gate> },
    /// An error with the body that this kind of provider gives it.
    Error(StatusCode),
    /// A whole body with its length.
    Whole(StatusCode, Bytes),
    /// A body of unknown length, made by steps.
    Steps(StatusCode, Vec<Step>),
    /// The connection is cut before any answer.
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Send(Bytes),
    Wait(Gate),
    Fill(u64),
    Cut,
}

impl Script {
    /// What this provider would say by itself.
    pub fn usual() -> Self {
        Script::with(Answer::Usual { pace: None })
    }

    /// The usual answer; if it is a stream, the head is sent at once and each event waits at `gate` first.
    pub fn paced(gate: &Gate) -> Self {
        Script::with(Answer::Usual { pace: Some(gate.clone()) })
    }

    /// An error of that status in the form of the provider that was asked.
    ///
    /// # Panics
    ///
    /// When `status` is no status code.
    pub fn error(status: u16) -> Self {
        Script::with(Answer::Error(code(status)))
    }

    /// A whole answer with a content-length.
    ///
    /// # Panics
    ///
    /// When `status` is no status code.
    pub fn whole(status: u16, body: impl Into<Bytes>) -> Self {
        Script::with(Answer::Whole(code(status), body.into()))
    }

    /// An answer whose body is made by the steps that follow: [`Script::send`], [`Script::wait`], [`Script::fill`], [`Script::cut`].
    ///
    /// # Panics
    ///
    /// When `status` is no status code.
    pub fn steps(status: u16) -> Self {
        Script::with(Answer::Steps(code(status), Vec::new()))
    }

    /// No answer: the connection is cut once the request has arrived.
    pub fn cut_before_answer() -> Self {
        Script::with(Answer::Nothing)
    }

    fn with(answer: Answer) -> Self {
        Script { answer, headers: Vec::new(), hold: None, reads_body: true }
    }

    /// Adds a header to the answer, whatever it is.
    ///
    /// # Panics
    ///
    /// When name or value is not valid in HTTP.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.push((name, HeaderValue::from_str(value).expect("a header value")));
        self
    }

    /// Holds even the head of the answer until `gate` lets it pass.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.hold = Some(gate.clone());
        self
    }

    /// Answers on the head alone and never reads the body.
    pub fn ignore_body(mut self) -> Self {
        self.reads_body = false;
        self
    }

    /// Sends these bytes as one piece.
    pub fn send(self, piece: impl Into<Bytes>) -> Self {
        self.step(Step::Send(piece.into()))
    }

    /// Stops until `gate` lets it pass.
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Sends that many bytes of filling, in pieces of 64 KiB.
    pub fn fill(self, bytes: u64) -> Self {
        self.step(Step::Fill(bytes))
    }

    /// Cuts the connection in the middle of the body.
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    fn step(mut self, step: Step) -> Self {
        match &mut self.answer {
            Answer::Steps(_, steps) => steps.push(step),
            other => panic!("only Script::steps takes steps, not {other:?}"),
        }
        self
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status code")
}
