//! The bar that says what is being measured and how long it will take. Silent where nobody looks at a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new(steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}, {eta} left: {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    pub(super) fn says(&self, scenario: &str, what: &str) {
        self.0.set_message(format!("{scenario}, {what}"));
    }

    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}
