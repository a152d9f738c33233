//! How a measure is named and how its values are written.

use crate::result::{Measure, Run, ScenarioResult};
use std::collections::BTreeSet;

impl Measure {
    /// What it is called in a table or a plot, without its unit.
    #[must_use]
    pub fn label(self) -> &'static str {
        use Measure as M;
        match self {
            M::CpuPerRequest => "CPU per request",
            M::Throughput => "throughput",
            M::ThroughputWithinBound => "throughput within bound",
            M::LatencyP50 => "latency p50",
            M::LatencyP99 => "latency p99",
            M::LatencyP999 => "latency p99.9",
            M::AddedP50 => "added latency p50",
            M::AddedP99 => "added latency p99",
            M::AddedP999 => "added latency p99.9",
            M::FirstTokenP50 => "first token p50",
            M::FirstTokenP99 => "first token p99",
            M::TokenDelayP50 => "token delay p50",
            M::TokenDelayP99 => "token delay p99",
            M::TokenDelayMax => "token delay, longest",
            M::TokenGapP50 => "token gap p50",
            M::TokenGapP99 => "token gap p99",
            M::MemoryIdle => "memory, idle",
            M::MemoryPeak => "memory, peak",
            M::MemorySteady => "memory, under load",
            M::MemoryAfter => "memory, after",
            M::MemoryPerStream => "memory per stream",
            M::Answered => "answered",
            M::Wrong => "wrong",
            M::DatabaseQueries => "database queries",
            M::RevocationP50 => "revocation p50",
            M::RevocationP99 => "revocation p99",
        }
    }

    /// Its name with its unit.
    #[must_use]
    pub fn title(self) -> String {
        match self.unit() {
            "" => self.label().to_owned(),
            unit => format!("{}, {unit}", self.label()),
        }
    }

    /// Whether a ratio against [`BASE`](super::BASE) says something: not of differences, which may be about zero, nor of counts.
    pub(super) fn has_ratio(self) -> bool {
        use Measure as M;
        matches!(self, M::CpuPerRequest | M::Throughput | M::ThroughputWithinBound | M::MemoryPeak | M::MemoryPerStream)
    }
}

/// The measures that any target of the scenario took.
pub(super) fn taken(scenario: &ScenarioResult) -> BTreeSet<Measure> {
    let samples = scenario.targets.iter().flat_map(|target| &target.samples);
    samples.flat_map(|sample| sample.keys().copied()).collect()
}

/// The names of all targets that ran, in the order of their first appearance.
pub(super) fn targets(run: &Run) -> Vec<&str> {
    let mut names = Vec::new();
    for target in run.scenarios.iter().flat_map(|scenario| &scenario.targets) {
        if target.absent.is_none() && !names.contains(&target.target.as_str()) {
            names.push(target.target.as_str());
        }
    }
    names
}

/// Three digits that mean something, and thousands set apart: `0.213`, `41.2`, `11,520`.
pub(super) fn number(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        0.0 => 0,
        size if size < 0.9995 => 3,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    let written = format!("{magnitude:.decimals$}");
    let (whole, fraction) = written.split_at(written.find('.').unwrap_or(written.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if value < 0.0 && written.bytes().any(|byte| matches!(byte, b'1'..=b'9')) { "-" } else { "" };
    // Decimals that are all zeros say nothing about a count.
    let fraction =
        if value.fract() == 0.0 && fraction.bytes().all(|byte| matches!(byte, b'.' | b'0')) { "" } else { fraction };
    format!("{sign}{grouped}{fraction}")
}
