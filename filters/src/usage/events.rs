//! Server-sent events in pieces (WHATWG HTML, section 9.2): which bytes are data, where an event ends, which is the last.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Where in a stream of events the reading stands.
#[derive(Default)]
pub(super) struct Events {
    place: Place,
    /// The line before ended with CR: an LF that comes next is of the same end.
    after_cr: bool,
    /// Whether anything stands in the line so far.
    line_has_bytes: bool,
    /// The name of the field that is being read, or of the event, as far as anybody looks at it.
    name: Name,
    /// The first bytes of a line's data.
    data: Name,
    /// Whether the event is one of [`LAST`].
    is_last: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    FieldName,
    /// Behind the colon, where one space is left out.
    Space(Field),
    Value(Field),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Other,
}

/// What was read.
pub(super) enum Line<'a> {
    /// Some bytes of an event's data.
    Data(&'a [u8]),
    /// A line of data ends.
    DataEnd,
    /// An event ends; whether it says that it is the stream's last.
    EventEnd { last: bool },
    /// OpenAI's word for the end, which is no event to most clients.
    Done,
}

/// Events after which nothing more comes: Anthropic's, and those of OpenAI's responses.
const LAST: &[&[u8]] = &[b"message_stop", b"response.completed", b"response.failed", b"response.incomplete"];

/// The first bytes of something.
#[derive(Default)]
struct Name {
    bytes: [u8; 20],
    length: usize,
}

impl Name {
    fn take(&mut self, bytes: &[u8]) {
        let has = self.length.min(self.bytes.len());
        let takes = bytes.len().min(self.bytes.len() - has);
        self.bytes[has..has + takes].copy_from_slice(&bytes[..takes]);
        self.length += bytes.len();
    }

    fn is(&self, text: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(text)
    }
}

impl Events {
    pub(super) fn feed<'a>(&mut self, mut bytes: &'a [u8], mut read: impl FnMut(Line<'a>)) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.line_has_bytes |= !line.is_empty();
            self.part(line, &mut read);
            if end.is_some() {
                self.after_cr = rest[0] == b'\r';
                self.line_end(&mut read);
                bytes = &rest[1..];
            } else {
                bytes = rest;
            }
        }
    }

    /// A part of one line.
    fn part<'a>(&mut self, mut part: &'a [u8], read: &mut impl FnMut(Line<'a>)) {
        if self.place == Place::FieldName {
            let colon = part.iter().position(|byte| *byte == b':');
            self.name.take(&part[..colon.unwrap_or(part.len())]);
            let Some(colon) = colon else { return };
            part = &part[colon + 1..];
            let field = match () {
                () if self.name.is(b"data") => Field::Data,
                () if self.name.is(b"event") => Field::Event,
                () => Field::Other,
            };
            self.name = Name::default();
            self.place = Place::Space(field);
        }
        if let (Place::Space(field), Some(first)) = (self.place, part.first()) {
            part = if *first == b' ' { &part[1..] } else { part };
            self.place = Place::Value(field);
        }
        match self.place {
            Place::Value(Field::Data) => {
                self.data.take(part);
                read(Line::Data(part));
            }
            Place::Value(Field::Event) => self.name.take(part),
            _ => {}
        }
    }

    fn line_end<'a>(&mut self, read: &mut impl FnMut(Line<'a>)) {
        match self.place {
            _ if !self.line_has_bytes => {
                read(Line::EventEnd { last: self.is_last });
                self.is_last = false;
            }
            Place::Value(Field::Data) => {
                read(Line::DataEnd);
                if self.data.is(b"[DONE]") {
                    read(Line::Done);
                }
            }
            Place::Value(Field::Event) => self.is_last = LAST.iter().any(|last| self.name.is(last)),
            _ => {}
        }
        (self.name, self.data) = (Name::default(), Name::default());
        (self.place, self.line_has_bytes) = (Place::FieldName, false);
    }
}

/// Takes the event out of a stream that only says the usage: the caller did not ask for it, and programs that expect a
/// choice in every event break by it.
#[derive(Default)]
pub struct HiddenUsage {
    /// An event that is not complete yet.
    held: BytesMut,
}

/// An event that is longer is not one that only says a usage.
const MOST_HELD: usize = 64 * 1024;

impl HiddenUsage {
    /// What of these bytes, and of those that were held back, goes on now. Events go on as they came, each as soon as its
    /// end is there, which is when a client may look at it.
    pub fn pass(&mut self, bytes: &Bytes, is_end: bool) -> Bytes {
        if self.held.is_empty() && end_of_events(bytes) == bytes.len() && !may_say_usage(bytes) {
            return bytes.clone();
        }
        self.held.extend_from_slice(bytes);
        let mut out = BytesMut::with_capacity(self.held.len());
        while let Some(end) = end_of_event(&self.held) {
            let event = self.held.split_to(end);
            if !only_says_usage(&event) {
                out.extend_from_slice(&event);
            }
        }
        if is_end || self.held.len() > MOST_HELD {
            out.extend_from_slice(&self.held.split());
        }
        out.freeze()
    }
}

/// Behind the blank line that ends the first event.
fn end_of_event(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    loop {
        let end = line + memchr::memchr2(b'\n', b'\r', &bytes[line..])?;
        // Whether a CR is half of an end is seen by what follows; until then it is not complete.
        let next = match (bytes[end], bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            (b'\r', None) => return None,
            _ => end + 1,
        };
        if end == line {
            return Some(next);
        }
        line = next;
    }
}

/// Behind the last event that is complete.
fn end_of_events(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\n', b'\n'] | [.., b'\r', b'\n', b'\r', b'\n'] => bytes.len(),
        _ => 0,
    }
}

/// Whether a member `usage` is there that is not null, as it is in every other event of such a stream.
fn may_say_usage(bytes: &[u8]) -> bool {
    let says = |at: usize| {
        let value = bytes[at + USAGE.len()..].trim_ascii_start().strip_prefix(b":").unwrap_or_default();
        !value.trim_ascii_start().starts_with(b"null")
    };
    memchr::memmem::find_iter(bytes, USAGE).any(says)
}

const USAGE: &[u8] = b"\"usage\"";

fn only_says_usage(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk {
        choices: Vec<IgnoredAny>,
        usage: Option<IgnoredAny>,
    }
    if !may_say_usage(event) {
        return false;
    }
    let lines = event.split(|byte| matches!(byte, b'\n' | b'\r'));
    let data: Vec<&[u8]> = lines.filter_map(|line| line.strip_prefix(b"data:")).collect();
    let chunk: Result<Chunk, _> = serde_json::from_slice(&data.join(&b'\n'));
    chunk.is_ok_and(|chunk| chunk.choices.is_empty() && chunk.usage.is_some())
}
