//! What the function prints goes to our log, line by line: cut, not too much of it, and without the credentials that it was
//! given lately.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_filters::secret::Secret;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line that is logged, in bytes.
const LONGEST_LINE: usize = 4096;
/// What is read beyond it, so that a credential at the cut is masked as a whole. Longer ones are rare (`max_head_size` is 32 KiB).
const BEYOND: usize = 64 << 10;
/// Lines in a second; what is more is counted.
const MOST_LINES: u32 = 100;

/// How long a credential is looked for in what is printed: a pipe is read later than it is written.
const REMEMBERED: Duration = Duration::from_secs(30);
const MOST_REMEMBERED: usize = 4096;
/// A shorter text is found everywhere.
const SHORTEST: usize = 4;

/// One of the two streams of a process.
pub(super) type Stream = Box<dyn AsyncRead + Send + Unpin>;

/// The credentials that the function was given lately.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<(Instant, Secret)>>);

impl Recent {
    pub(super) fn add(&self, credential: &Secret, now: Instant) {
        if credential.expose().len() < SHORTEST {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |entry: &(Instant, Secret)| now.duration_since(entry.0) > REMEMBERED;
        while known.len() >= MOST_REMEMBERED || known.front().is_some_and(old) {
            known.pop_front();
        }
        known.push_back((now, credential.clone()));
    }

    /// The text with `***` in the place of each of them.
    pub(super) fn mask(&self, text: &str) -> String {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut masked = text.to_owned();
        for (_, credential) in known.iter().filter(|(_, credential)| text.contains(credential.expose())) {
            masked = masked.replace(credential.expose(), "***");
        }
        masked
    }
}

/// Logs the stream to its end.
pub(super) async fn follow(stream: Stream, pid: u32, recent: Arc<Recent>) {
    let mut lines = BufReader::new(stream);
    let mut pace = Pace { began: Instant::now(), lines: 0, dropped: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut lines, &mut line).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return pace.tell_dropped(pid),
        }
        if pace.allows(pid, Instant::now()) {
            tracing::info!(target: "portcullis::custom_auth", worker = pid, "{}", shown(&line, &recent));
        }
    }
}

/// What of a line is logged. Of one that was not read to its end, the end may be a part of a credential.
fn shown(line: &[u8], recent: &Recent) -> String {
    let mut text = recent.mask(String::from_utf8_lossy(line).trim_end());
    let whole = line.len() < LONGEST_LINE + BEYOND;
    let safe = if whole { text.len() } else { text.len().saturating_sub(BEYOND) };
    text.truncate(text.floor_char_boundary(safe.min(LONGEST_LINE)));
    text
}

/// `false`: there is nothing more. Of a line that is too long the rest is dropped.
async fn read_line(from: &mut BufReader<Stream>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let read = from.fill_buf().await?;
        if read.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(read.len(), |end| end + 1);
        let room = LONGEST_LINE + BEYOND - line.len();
        line.extend_from_slice(&read[..taken.min(room)]);
        from.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

struct Pace {
    began: Instant,
    lines: u32,
    dropped: u64,
}

impl Pace {
    fn allows(&mut self, pid: u32, now: Instant) -> bool {
        if now.duration_since(self.began) >= Duration::from_secs(1) {
            self.tell_dropped(pid);
            *self = Self { began: now, lines: 0, dropped: 0 };
        }
        self.lines += 1;
        let allowed = self.lines <= MOST_LINES;
        self.dropped += u64::from(!allowed);
        allowed
    }

    fn tell_dropped(&self, pid: u32) {
        if self.dropped > 0 {
            tracing::warn!(target: "portcullis::custom_auth", worker = pid, lines = self.dropped, "printed too fast to be logged");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked_as_long_as_they_are_remembered() {
        let recent = Recent::default();
        let start = Instant::now();
        for text in ["sk-first", "abc", "sk-other"] {
            recent.add(&text.into(), start);
        }
        assert_eq!(recent.mask("sk-first and abc, sk-other, sk-first"), "*** and abc, ***, ***");
        recent.add(&"sk-later".into(), start + REMEMBERED + Duration::from_secs(1));
        assert_eq!(recent.mask("sk-first sk-later"), "sk-first ***");
    }

    #[test]
    fn a_credential_at_the_cut_of_a_line_is_masked() {
        let recent = Recent::default();
        recent.add(&"sk-a-long-credential".into(), Instant::now());
        let printed = |before: usize, text: &str| shown(format!("{}{text}", "x".repeat(before)).as_bytes(), &recent);
        assert_eq!(
            printed(LONGEST_LINE - 10, "sk-a-long-credential and more"),
            format!("{}*** and ", "x".repeat(4086)) + "mo"
        );
        assert_eq!(printed(LONGEST_LINE + BEYOND - 10, "sk-a-long-").len(), LONGEST_LINE);
        assert_eq!(shown(&[b'x'; LONGEST_LINE + BEYOND], &recent).len(), LONGEST_LINE);
    }

    #[test]
    fn a_flood_of_lines_is_cut() {
        let start = Instant::now();
        let mut pace = Pace { began: start, lines: 0, dropped: 0 };
        let logged = (0..1000).filter(|_| pace.allows(1, start)).count();
        assert_eq!((logged, pace.dropped), (100, 900));
        assert!(pace.allows(1, start + Duration::from_secs(1)));
    }
}
