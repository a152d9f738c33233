//! One pass over JSON in pieces: finds the usage object where a provider puts it, and counts the bytes of texts.
//!
//! It does not check that it reads JSON, it only keeps track of where it stands; what it finds is parsed by `serde_json`.
//! A usage inside of what a model wrote (the arguments of a tool call) stands deeper than it looks.

use memchr::memchr2;

/// Where the scan stands.
#[derive(Default)]
pub(super) struct Scan {
    depth: u32,
    string: Option<Str>,
    /// The last whole string: a member's name if a colon comes next.
    last: Option<Word>,
    /// The name of the member whose value is being read.
    key: Word,
    /// What the outermost value is a part of.
    within: Within,
    /// The bytes of the object that is being kept, and the depth at which it ends.
    keeping: Option<(Vec<u8>, u32)>,
    found: Option<Vec<u8>>,
    text: u64,
}

/// A string that is not complete yet.
#[derive(Default)]
struct Str {
    word: Word,
    escaped: bool,
}

/// The first bytes of a string, and how many it has.
#[derive(Clone, Copy, Default)]
struct Word {
    start: [u8; LONGEST],
    length: u64,
}

/// Longer than every name that is looked for.
const LONGEST: usize = 20;

/// What the objects at depth two are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Within {
    /// Nothing to look into.
    #[default]
    Other,
    /// Elements of a list of answers.
    List,
    /// An event's `response` or `message`.
    Envelope,
}

/// No provider's is longer. What is longer is none.
const MOST_KEPT: usize = 16 * 1024;

/// Members whose strings are what people and models say. Base64 stands under other names.
const TEXTS: &[&[u8]] = &[
    b"arguments",
    b"content",
    b"delta",
    b"input",
    b"instructions",
    b"output",
    b"partial_json",
    b"prompt",
    b"query",
    b"reasoning",
    b"reasoning_content",
    b"refusal",
    b"system",
    b"text",
    b"thinking",
];

impl Scan {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match &mut self.string {
                Some(string) => {
                    let (taken, complete) = string.feed(bytes);
                    if complete {
                        self.last = self.string.take().map(|string| string.word);
                    }
                    taken
                }
                None => self.structure(bytes),
            };
            self.keep(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
    }

    /// Everything up to and with the next byte that means something outside of a string.
    fn structure(&mut self, bytes: &[u8]) -> usize {
        let means = |byte: &u8| matches!(byte, b'"' | b':' | b',' | b'{' | b'}' | b'[' | b']');
        let Some(at) = bytes.iter().position(means) else { return bytes.len() };
        match bytes[at] {
            b'"' => self.string = Some(Str::default()),
            b':' => self.name(),
            open @ (b'{' | b'[') => {
                self.value();
                self.open(open);
            }
            b',' => self.value(),
            _ => {
                self.value();
                self.depth = self.depth.saturating_sub(1);
            }
        }
        at + 1
    }

    /// The string was a name.
    fn name(&mut self) {
        self.key = self.last.take().unwrap_or_default();
        let place = match self.depth {
            1 => self.within != Within::List,
            2 => self.within != Within::Other,
            _ => false,
        };
        if place && self.keeping.is_none() && [b"usage".as_slice(), b"usageMetadata"].contains(&self.key.text()) {
            self.keeping = Some((Vec::new(), self.depth));
        }
    }

    /// The string, if there was one, was a value.
    fn value(&mut self) {
        if let Some(value) = self.last.take()
            && TEXTS.contains(&self.key.text())
        {
            self.text = self.text.saturating_add(value.length);
        }
    }

    fn open(&mut self, bracket: u8) {
        self.within = match (self.depth, bracket) {
            (0, b'[') => Within::List,
            (0, _) => Within::Other,
            (1, _) if self.within == Within::List => Within::List,
            (1, b'{') if [b"response".as_slice(), b"message"].contains(&self.key.text()) => Within::Envelope,
            (1, _) => Within::Other,
            _ => self.within,
        };
        self.depth = self.depth.saturating_add(1);
    }

    /// Keeps what was just read if it is of a usage; an object that began must end at the depth where it began.
    fn keep(&mut self, read: &[u8]) {
        let Some((kept, depth)) = &mut self.keeping else { return };
        // The colon before it.
        if kept.is_empty() && read.ends_with(b":") {
            kept.push(b' ');
            return;
        }
        kept.extend_from_slice(read);
        let is_object = kept.trim_ascii_start().first().is_none_or(|first| *first == b'{');
        if !is_object || kept.len() > MOST_KEPT || self.depth < *depth {
            self.keeping = None;
        } else if self.depth == *depth && kept.ends_with(b"}") && self.string.is_none() {
            self.found = self.keeping.take().map(|(kept, _)| kept);
        }
    }

    /// The usage object that was read last, once.
    pub(super) fn take_found(&mut self) -> Option<Vec<u8>> {
        self.found.take()
    }

    /// Bytes of texts so far, as they are written in JSON.
    pub(super) fn text(&self) -> u64 {
        self.text
    }

    /// What comes next is a document of its own.
    pub(super) fn next_document(&mut self) {
        *self = Self { text: self.text, ..Self::default() };
    }
}

impl Str {
    /// How many bytes are the string's, and whether it ends with them.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        if self.escaped {
            self.escaped = false;
            at = 1;
        }
        while let Some(next) = memchr2(b'"', b'\\', &bytes[at..]) {
            at += next + 1;
            if bytes[at - 1] == b'"' {
                self.word.take(&bytes[..at - 1]);
                return (at, true);
            }
            if at == bytes.len() {
                self.escaped = true;
                break;
            }
            at += 1;
        }
        self.word.take(bytes);
        (bytes.len(), false)
    }
}

impl Word {
    fn take(&mut self, bytes: &[u8]) {
        let has = usize::try_from(self.length).unwrap_or(LONGEST).min(LONGEST);
        let takes = bytes.len().min(LONGEST - has);
        self.start[has..has + takes].copy_from_slice(&bytes[..takes]);
        self.length += bytes.len() as u64;
    }

    /// The string, if it is short; else something that no name is.
    fn text(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        self.start.get(..length).unwrap_or_default()
    }
}
