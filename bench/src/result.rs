//! What a run of the bench found: the one type that is measured into, printed, drawn, written as JSON and compared.
//!
//! Every measure of every repetition is kept, so that whoever reads a file can see the spread and need not trust a median.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A run: what `results.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The machine and the moment, so that two files that cannot be compared say so themselves.
    pub machine: Machine,
    /// Which choice of scenarios was run: `short`, `full` or a scenario's name.
    pub set: String,
    /// What was run, in its order.
    pub scenarios: Vec<ScenarioResult>,
}

/// Where and when a run took place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor by its own name.
    pub processor: String,
    /// Cores that the run could use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// When the run began, as RFC 3339.
    pub started: String,
    /// The commit that was measured, with `+` behind it if the tree had changes.
    pub commit: String,
}

/// One scenario with all targets that took part in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Its name, as on the command line.
    pub name: String,
    /// What it does, in one sentence.
    pub about: String,
    /// The targets in the order in which a repetition runs them.
    pub targets: Vec<TargetResult>,
    /// What should be said beside the figures: a bound that was watched, a part that was left out.
    pub notes: Vec<String>,
}

/// What one target did in one scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetResult {
    /// Its name: `portcullis`, `passthrough`, `provider` (called directly: the ceiling of the harness), or a manifest's.
    pub target: String,
    /// The version it gave of itself.
    pub version: String,
    /// Why it did not run; then there are no samples.
    pub absent: Option<String>,
    /// One for each repetition, in the order in which they ran. The n-th ones of all targets ran one after the other.
    pub samples: Vec<Sample>,
}

/// The measures of one repetition. A measure that a scenario does not take is not there.
pub type Sample = BTreeMap<Measure, f64>;

/// A thing that is measured. Its unit is part of its meaning and never of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// User and system time of the target's process over the requests of the interval, microseconds.
    CpuPerRequest,
    /// Requests answered each second, as many as the connections could carry (closed loop).
    Throughput,
    /// The highest offered rate at which p99 stayed within the scenario's bound (open loop), requests a second.
    ThroughputWithinBound,
    /// Latency from the intended send time, milliseconds.
    LatencyP50,
    /// See [`Measure::LatencyP50`].
    LatencyP99,
    /// See [`Measure::LatencyP50`].
    LatencyP999,
    /// Latency over that of the provider called directly at the same rate in the same repetition, milliseconds.
    AddedP50,
    /// See [`Measure::AddedP50`].
    AddedP99,
    /// See [`Measure::AddedP50`].
    AddedP999,
    /// From the intended send time of a request to the first event of its stream, milliseconds.
    FirstTokenP50,
    /// See [`Measure::FirstTokenP50`].
    FirstTokenP99,
    /// How much later than the provider sent it an event arrived, milliseconds.
    TokenDelayP50,
    /// See [`Measure::TokenDelayP50`].
    TokenDelayP99,
    /// The latest of all events, milliseconds.
    TokenDelayMax,
    /// Time between two events of a stream, milliseconds.
    TokenGapP50,
    /// See [`Measure::TokenGapP50`].
    TokenGapP99,
    /// Resident memory before the load, MiB.
    MemoryIdle,
    /// Highest resident memory under the load, MiB.
    MemoryPeak,
    /// Resident memory in the last second of the load, MiB.
    MemorySteady,
    /// Resident memory ten seconds after the load ended, MiB.
    MemoryAfter,
    /// Resident memory over idle for each open stream, KiB.
    MemoryPerStream,
    /// Requests that were answered as they should be.
    Answered,
    /// Requests that were not: no answer, a wrong one, one too late, one of another request.
    Wrong,
    /// Key look-ups that reached the database.
    DatabaseQueries,
    /// From the moment a revocation was answered to the last request that still passed, milliseconds.
    RevocationP50,
    /// See [`Measure::RevocationP50`].
    RevocationP99,
}

impl Measure {
    /// The unit, as a table's head shows it.
    #[must_use]
    pub fn unit(self) -> &'static str {
        use Measure as M;
        match self {
            M::CpuPerRequest => "µs",
            M::Throughput | M::ThroughputWithinBound => "/s",
            M::MemoryIdle | M::MemoryPeak | M::MemorySteady | M::MemoryAfter => "MiB",
            M::MemoryPerStream => "KiB",
            M::Answered | M::Wrong | M::DatabaseQueries => "",
            _ => "ms",
        }
    }

    /// Whether a larger value is the better one.
    #[must_use]
    pub fn larger_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::ThroughputWithinBound | Self::Answered)
    }
}

impl TargetResult {
    /// The values of one measure over the repetitions.
    #[must_use]
    pub fn values(&self, measure: Measure) -> Vec<f64> {
        self.samples.iter().filter_map(|sample| sample.get(&measure).copied()).collect()
    }
}
