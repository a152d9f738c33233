//! The way of log lines to standard error: gathered in memory, written by one thread within [`GATHERED_FOR`].
//!
//! A write for each line costs a system call for each request. Whoever logs only copies a line into memory and never
//! waits for the reader of the log; when that one is so slow that [`MOST`] bytes wait, further lines are dropped, counted
//! and owned up to. What waits is written before an orderly end of the process.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, TelemetrySettings};

/// How long a request's line may wait for others.
const GATHERED_FOR: Duration = Duration::from_millis(20);
/// As many bytes are written without waiting for more.
const ENOUGH: usize = 64 * 1024;
/// Most bytes that wait, beside as many that are being written.
const MOST: usize = 1024 * 1024;
/// At the end of the process a reader of the log that has stopped reading is waited for this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines on their way out. Clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    /// Something waits that should be read at once.
    urgent: bool,
    writing: bool,
    lost: u64,
    lost_and_told: u64,
}

impl Log {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self::default();
        let writer = log.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(out))?;
        Ok(log)
    }

    /// Adds whole lines, which will be written within a bound.
    pub fn add(&self, text: &[u8]) {
        self.put(text, false);
    }

    /// How many lines were dropped since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lines().lost
    }

    /// Waits until everything is written, for a bounded time.
    pub fn flush(&self) {
        let mut lines = self.lines();
        lines.urgent = true;
        self.0.changed.notify_all();
        let unwritten = |lines: &mut Lines| !lines.waiting.is_empty() || lines.writing;
        drop(self.0.changed.wait_timeout_while(lines, PATIENCE, unwritten));
    }

    fn put(&self, text: &[u8], urgent: bool) {
        let mut lines = self.lines();
        let before = lines.waiting.len();
        if before + text.len() > MOST {
            lines.lost += 1;
            return;
        }
        lines.waiting.extend_from_slice(text);
        lines.urgent |= urgent;
        let wakes = urgent || before == 0 || (before < ENOUGH && lines.waiting.len() >= ENOUGH);
        drop(lines);
        if wakes {
            self.0.changed.notify_all();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut text = Vec::with_capacity(ENOUGH);
        loop {
            std::mem::swap(&mut text, &mut self.gathered().waiting);
            // Now there is room to say so.
            self.own_up();
            // Nobody reading is no reason to stop serving.
            let _ = out.write_all(&text).and_then(|()| out.flush());
            text.clear();
            text.shrink_to(ENOUGH);
        }
    }

    /// Waits for the first line, then for others to go with it.
    fn gathered(&self) -> MutexGuard<'_, Lines> {
        let changed = &self.0.changed;
        let mut lines = self.lines();
        lines.writing = false;
        changed.notify_all();
        let lines = changed.wait_while(lines, |lines| lines.waiting.is_empty());
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        let few = |lines: &mut Lines| !lines.urgent && lines.waiting.len() < ENOUGH;
        let waited = changed.wait_timeout_while(lines, GATHERED_FOR, few);
        let mut lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        lines.urgent = false;
        lines.writing = true;
        lines
    }

    /// Says how many lines are missing, behind those that are not.
    fn own_up(&self) {
        let mut lines = self.lines();
        let missing = lines.lost - lines.lost_and_told;
        lines.lost_and_told = lines.lost;
        drop(lines);
        if missing > 0 {
            tracing::warn!(missing, "the log was read too slowly; lines are missing");
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts writing events to standard error. Only our own crates speak: libraries repeat request lines and header bytes
/// in their messages, and those hold credentials.
///
/// # Errors
/// As [`Log::start`].
pub fn start(settings: &TelemetrySettings) -> io::Result<Log> {
    let log = Log::start(io::stderr())?;
    let level = settings.log_level;
    let ours = ["portcullis", "portcullis_filters", "portcullis_admin_api"];
    let directives = ours.iter().map(|name| format!("{name}={level}")).collect::<Vec<_>>().join(",");
    let filter = EnvFilter::builder().parse_lossy(directives);
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    // A second start finds the first one in place: tests do that, and it is right as it is.
    let _ = match settings.log_format {
        LogFormat::Json => events.json().flatten_event(true).try_init(),
        LogFormat::Text => events.with_ansi(false).try_init(),
    };
    Ok(log)
}

/// What is said outside of requests is rare, and somebody may be waiting for it: it is written at once.
pub struct Urgent(Log);

impl Write for Urgent {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.put(text, true);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Urgent;

    fn make_writer(&self) -> Urgent {
        Urgent(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only once the other end of the channel is gone.
    struct Stalled(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_added_is_written_in_order_before_the_end() {
        let (reader, gate) = mpsc::channel();
        let written = Arc::default();
        let log = Log::start(Stalled(gate, Arc::clone(&written))).unwrap();
        drop(reader);
        for number in 0..1000 {
            log.add(format!("{number}\n").as_bytes());
        }
        log.make_writer().write_all(b"last\n").unwrap();
        log.flush();
        let expected: String = (0..1000).map(|number| format!("{number}\n")).chain(["last\n".to_owned()]).collect();
        assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), expected);
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_but_neither_time_nor_memory() {
        let (reader, gate) = mpsc::channel();
        let written = Arc::default();
        let log = Log::start(Stalled(gate, Arc::clone(&written))).unwrap();
        // The process's own, because it is the writing thread that speaks.
        let told = tracing_subscriber::fmt().with_env_filter("portcullis::telemetry=warn").with_ansi(false);
        tracing::subscriber::set_global_default(told.with_writer(log.clone()).finish()).unwrap();
        let line = format!("{}\n", "x".repeat(1023));
        let lines = 4 * MOST / line.len();
        for _ in 0..lines {
            log.add(line.as_bytes());
        }
        let lost = usize::try_from(log.lost()).unwrap();
        assert!((lines / 2..=lines * 3 / 4).contains(&lost), "{lost} of {lines} were dropped");
        drop(reader);
        log.flush();
        let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().filter(|line| line.starts_with('x')).count() + lost, lines);
        let numbers = written.lines().filter_map(|line| line.split_once("missing=")?.1.parse::<usize>().ok());
        assert_eq!(numbers.sum::<usize>(), lost);
    }
}
