//! Times, put in order and said.

use std::io::Write;
use std::time::Duration;

/// Durations of one kind.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, times: &Self) {
        self.0.extend(&times.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all is not above, from 0 to 1.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [half, most, all] = [0.5, 0.99, 1.0].map(|share| millis(self.quantile(share)));
        write!(f, "p50 {half}, p99 {most}, max {all} of {}", self.len())
    }
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Says a figure, also where the output of passing tests is hidden.
pub(crate) fn say(figure: &str) {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut out = std::io::stdout();
    writeln!(out, "figure ({build}): {figure}").unwrap();
}
