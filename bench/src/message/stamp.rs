//! The marks in requests and answers: plain text of a fixed length inside a JSON string, so that they are found without reading
//! the JSON and survive a target that writes it anew.

use std::fmt;
use std::sync::LazyLock;
use std::time::Instant;

use memchr::memmem::Finder;

/// What every mark begins with. It occurs nowhere else in what is sent.
const MARK: &str = "pcb-";
/// `pcb-ask-`, the nonce, `-s` or `-j`.
pub(crate) const ASK_BYTES: usize = 26;
/// `pcb-say-`, five numbers with something behind each.
pub(super) const STAMP_BYTES: usize = 69;
/// `pcb-end-`, two numbers with something behind each.
const END_BYTES: usize = 34;
/// What the provider adds to an answer that is one JSON document, beside its form and its filling.
pub(crate) const MARKS_BYTES: usize = STAMP_BYTES + END_BYTES;

static ASK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("pcb-ask-"));

/// Nanoseconds since this process first asked. Provider and generator share the process, so their difference is exact.
#[must_use]
pub fn now_nanos() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What a request says to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Tells it from all other requests.
    pub nonce: u64,
    /// Whether the answer is to be a stream of events.
    pub stream: bool,
}

impl Ask {
    /// The first one in these bytes.
    #[must_use]
    pub fn find(body: &[u8]) -> Option<Self> {
        let at = ASK.find(body)?;
        let mark = body.get(at..at + ASK_BYTES)?;
        Some(Self { nonce: number(&mark[8..24])?, stream: mark[25] == b's' })
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcb-ask-{:016x}-{}", self.nonce, if self.stream { 's' } else { 'j' })
    }
}

/// What the provider says in an answer, or in each event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// That of the request.
    pub nonce: u64,
    /// Bytes of the request's body that arrived.
    pub received: u32,
    /// Place of this event among those that carry text, from 0.
    pub sequence: u32,
    /// How many of them there are.
    pub of: u32,
    /// When it was sent, see [`now_nanos`].
    pub sent_nanos: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nonce, received, sequence, of, sent_nanos } = self;
        write!(f, "pcb-say-{nonce:016x}-{received:08x}-{sequence:08x}-{of:08x}-{sent_nanos:016x};")
    }
}

/// What stands behind the filling of an answer that is one JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// That of the request.
    pub(crate) nonce: u64,
    /// Bytes between the stamp and this.
    pub(crate) filling: u32,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcb-end-{:016x}-{:08x};", self.nonce, self.filling)
    }
}

/// A mark in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Stamp(Stamp),
    End(End),
    /// Begins like one, but more bytes are needed to tell.
    Unfinished,
    /// Begins like one and is none.
    Broken,
}

/// Where the next mark begins.
pub(super) fn next_mark(answer: &[u8]) -> Option<usize> {
    static ANY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
    ANY.find(answer)
}

/// The mark at the start of these bytes, which begin like one.
pub(super) fn mark(bytes: &[u8]) -> Mark {
    let Some(kind) = bytes.get(4..8) else { return Mark::Unfinished };
    match kind {
        b"say-" => bytes.get(..STAMP_BYTES).map_or(Mark::Unfinished, |mark| stamp(mark).unwrap_or(Mark::Broken)),
        b"end-" => bytes.get(..END_BYTES).map_or(Mark::Unfinished, |mark| end(mark).unwrap_or(Mark::Broken)),
        _ => Mark::Broken,
    }
}

fn stamp(mark: &[u8]) -> Option<Mark> {
    Some(Mark::Stamp(Stamp {
        nonce: number(&mark[8..24])?,
        received: short_number(&mark[25..33])?,
        sequence: short_number(&mark[34..42])?,
        of: short_number(&mark[43..51])?,
        sent_nanos: number(&mark[52..68])?,
    }))
}

fn end(mark: &[u8]) -> Option<Mark> {
    Some(Mark::End(End { nonce: number(&mark[8..24])?, filling: short_number(&mark[25..33])? }))
}

fn short_number(hex: &[u8]) -> Option<u32> {
    number(hex).and_then(|number| u32::try_from(number).ok())
}

fn number(hex: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}
