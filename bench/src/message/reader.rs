//! Reads an answer as it arrives and says at the end whether it was the right one.

use std::fmt;

use memchr::{memchr_iter, memmem};

use super::stamp::{End, Mark, STAMP_BYTES, Stamp, mark, next_mark};

/// What is wrong with an answer, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// Another status than the expected one.
    Status(u16),
    /// The connection ended before the answer began.
    Unanswered,
    /// It began and did not come to its end.
    Cut,
    /// Not within the time that the generator allows.
    Late,
    /// It bears no mark of the provider.
    Unmarked,
    /// It belongs to another request.
    Foreign,
    /// The provider got another number of bytes than were sent, or bytes of its answer are missing or too many.
    Altered,
    /// An event of a stream is missing, comes twice, or comes before its turn.
    Disordered,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Unanswered => f.write_str("no answer"),
            Self::Cut => f.write_str("cut"),
            Self::Late => f.write_str("late"),
            Self::Unmarked => f.write_str("not from the provider"),
            Self::Foreign => f.write_str("of another request"),
            Self::Altered => f.write_str("altered"),
            Self::Disordered => f.write_str("events missing or out of order"),
        }
    }
}

/// The answer to one request, of which some may have come.
#[derive(Debug)]
pub struct AnswerReader {
    terminator: Option<&'static str>,
    nonce: u64,
    sent_bytes: Option<usize>,
    pub(super) unread: Vec<u8>,
    /// Bytes that came before those in `unread`.
    passed: usize,
    stamped: Option<Stamped>,
    ended: bool,
    /// Of a document: it is whole when the first one is closed. No text of the provider contains one.
    open_braces: usize,
    wrong: Option<Wrong>,
}

/// How far the events have come.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    next: u32,
    of: u32,
    /// Where the latest stamp ended, in bytes from the start of the answer.
    end: usize,
}

impl AnswerReader {
    pub(super) fn new(terminator: Option<&'static str>, nonce: u64, sent_bytes: Option<usize>) -> Self {
        let unread = Vec::new();
        Self {
            terminator,
            nonce,
            sent_bytes,
            unread,
            passed: 0,
            stamped: None,
            ended: false,
            open_braces: 0,
            wrong: None,
        }
    }

    /// Takes the next bytes of the body; `on_stamp` sees each stamp that they complete.
    pub fn read(&mut self, piece: &[u8], mut on_stamp: impl FnMut(Stamp)) {
        let count = |brace: u8| memchr_iter(brace, piece).count();
        self.open_braces = (self.open_braces + count(b'{')).saturating_sub(count(b'}'));
        self.unread.extend_from_slice(piece);
        let mut at = 0;
        while let Some(found) = next_mark(&self.unread[at..]) {
            let start = at + found;
            let found = mark(&self.unread[start..]);
            at = start + 1;
            match found {
                Mark::Unfinished => return self.forget(start),
                Mark::Broken => self.blame(Wrong::Unmarked),
                Mark::End(end) => self.end(end, self.passed + start),
                Mark::Stamp(stamp) => {
                    self.stamp(stamp, self.passed + start + STAMP_BYTES);
                    on_stamp(stamp);
                }
            }
        }
        // The last bytes may be half of a mark. Behind the last mark all is kept: it must bring the answer to its end.
        let last = if self.terminator.is_some() { self.all_stamped() } else { self.ended };
        self.forget(if last { at } else { at.max(self.unread.len().saturating_sub(STAMP_BYTES)) });
    }

    /// Says, when no more will come, whether the answer was whole and the right one.
    ///
    /// # Errors
    ///
    /// The first thing that was wrong with it.
    pub fn finish(self) -> Result<(), Wrong> {
        let whole = match self.terminator {
            Some(terminator) => {
                memmem::find(&self.unread, terminator.as_bytes()).is_some() && self.unread.ends_with(b"\n\n")
            }
            None => self.ended && self.open_braces == 0,
        };
        match self.wrong {
            Some(wrong) => Err(wrong),
            None if self.stamped.is_none() => Err(Wrong::Unmarked),
            None if !whole || !self.all_stamped() => Err(Wrong::Cut),
            None => Ok(()),
        }
    }

    fn stamp(&mut self, stamp: Stamp, end: usize) {
        let Stamped { next, of, .. } = self.stamped.unwrap_or(Stamped { next: 0, of: stamp.of, end });
        if stamp.nonce != self.nonce {
            self.blame(Wrong::Foreign);
        } else if self.sent_bytes.is_some_and(|sent| sent != stamp.received as usize) {
            self.blame(Wrong::Altered);
        } else if stamp.sequence != next || stamp.of != of {
            self.blame(Wrong::Disordered);
        }
        self.stamped = Some(Stamped { next: next.saturating_add(1), of, end });
    }

    fn end(&mut self, end: End, start: usize) {
        let filling = self.stamped.map(|stamped| start - stamped.end);
        if end.nonce != self.nonce {
            self.blame(Wrong::Foreign);
        } else if filling != Some(end.filling as usize) {
            self.blame(Wrong::Altered);
        }
        self.ended = true;
    }

    fn blame(&mut self, wrong: Wrong) {
        self.wrong.get_or_insert(wrong);
    }

    fn all_stamped(&self) -> bool {
        self.stamped.is_some_and(|stamped| stamped.next >= stamped.of)
    }

    fn forget(&mut self, bytes: usize) {
        self.unread.drain(..bytes);
        self.passed += bytes;
    }
}
