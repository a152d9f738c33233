//! The answers, prepared: what is the same in each is rendered once, and a request costs the copying of it and its stamps.

use std::fmt;
use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use super::UpstreamSettings;
use super::dialect::{self, Steps};
use crate::message::{Dialect, End, MARKS_BYTES, Stamp, now_nanos};

/// Stands in a template where the stamp goes. It needs no escape in JSON.
const HERE: &str = "pcb-here";

/// What the settings say, rendered.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) settings: UpstreamSettings,
    dialects: [Templates; 4],
}

/// The answers in one dialect.
#[derive(Debug)]
struct Templates {
    document: Around,
    /// Brings the document to its size.
    filling: String,
    opening: String,
    event: Around,
    closing: String,
}

/// A text with a place in it.
#[derive(Debug)]
struct Around {
    before: String,
    after: String,
}

impl Answers {
    pub(super) fn new(mut settings: UpstreamSettings) -> Self {
        settings.events = settings.events.max(1);
        let dialects = Dialect::ALL.map(|dialect| Templates::new(dialect, &settings));
        Self { settings, dialects }
    }

    /// The whole answer as one JSON document.
    pub(super) fn document(&self, dialect: Dialect, nonce: u64, received: u32) -> Bytes {
        let Templates { document, filling, .. } = self.templates(dialect);
        let stamp = Stamp { nonce, received, sequence: 0, of: 1, sent_nanos: now_nanos() };
        let end = End { nonce, filling: u32::try_from(filling.len()).unwrap_or(u32::MAX) };
        let Around { before, after } = document;
        let mut answer = Vec::with_capacity(before.len() + filling.len() + after.len() + MARKS_BYTES);
        write(&mut answer, format_args!("{before}{stamp}{filling}{end}{after}"));
        answer.into()
    }

    /// The events with these numbers; the first one with what opens the stream, the last one with what closes it.
    pub(super) fn events(&self, dialect: Dialect, nonce: u64, received: u32, numbers: Range<u32>) -> Bytes {
        let Templates { opening, event: Around { before, after }, closing, .. } = self.templates(dialect);
        let of = self.settings.events;
        let each = before.len() + after.len() + MARKS_BYTES;
        let mut events = Vec::with_capacity(opening.len() + each * numbers.len() + closing.len());
        for sequence in numbers {
            let stamp = Stamp { nonce, received, sequence, of, sent_nanos: now_nanos() };
            let opening = if sequence == 0 { opening } else { "" };
            let closing = if sequence + 1 == of { closing } else { "" };
            write(&mut events, format_args!("{opening}{before}{stamp}{after}{closing}"));
        }
        events.into()
    }

    fn templates(&self, dialect: Dialect) -> &Templates {
        &self.dialects[dialect as usize]
    }
}

impl Templates {
    fn new(dialect: Dialect, settings: &UpstreamSettings) -> Self {
        let document = Around::new(&dialect::document(dialect, HERE, settings.events).to_string());
        let bare = document.before.len() + document.after.len() + MARKS_BYTES;
        let filling = settings.answer_bytes.saturating_sub(bare);
        let Steps { opening, event, closing, done } = dialect::steps(dialect, HERE, settings.events);
        Self {
            document,
            filling: "All is well at the gate. ".chars().cycle().take(filling).collect(),
            opening: events(&opening),
            event: Around::new(&events(&[event])),
            closing: events(&closing) + done,
        }
    }
}

/// As server-sent events, with a name where the API names its events: then their data have it as `type`.
fn events(steps: &[Value]) -> String {
    let event = |data: &Value| match data["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    };
    steps.iter().map(event).collect()
}

impl Around {
    fn new(text: &str) -> Self {
        let (before, after) = text.split_once(HERE).unwrap_or((text, ""));
        Self { before: before.to_owned(), after: after.to_owned() }
    }
}

fn write(into: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    into.write_fmt(text).ok();
}
