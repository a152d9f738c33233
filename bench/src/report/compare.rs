//! Two runs beside each other: what changed, and whether more can be said than that repetitions differ.
//!
//! A change is called one only if the spreads lie apart. The base target is the control: nobody changed it, so if it moved, the
//! machine did.

use super::measure::{number, taken};
use super::spread::{Spread, ran, spread};
use super::table::aligned;
use super::{BASE, CEILING};
use crate::result::{Machine, Measure, Run, ScenarioResult};
use std::fmt;

/// Fewer repetitions than this have no spread to speak of: two lie apart by chance every third time.
const FEWEST: usize = 3;

/// What [`compare`] found.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// One for each measure of each target that ran in both runs, in the order of the later run.
    pub lines: Vec<Line>,
    /// Why the two cannot be compared, or only with care; empty when nothing speaks against it.
    pub warnings: Vec<String>,
}

/// One measure of one target in one scenario, in both runs.
#[derive(Clone, Debug)]
pub struct Line {
    /// The scenario's name.
    pub scenario: String,
    /// The target's name.
    pub target: String,
    /// What was measured.
    pub measure: Measure,
    /// In the first run.
    pub before: Spread,
    /// In the second run.
    pub after: Spread,
    /// What may be said of the two.
    pub verdict: Verdict,
}

/// What may be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The spreads lie apart and the second is the better one.
    Better,
    /// The spreads lie apart and the second is the worse one.
    Worse,
    /// The spreads overlap.
    Same,
    /// Too few repetitions in either run to say.
    Unknown,
}

/// Compares two runs, the earlier one first.
#[must_use]
pub fn compare(before: &Run, after: &Run) -> Comparison {
    let mut lines = Vec::new();
    let mut warnings = machine_warnings(&before.machine, &after.machine);
    for scenario in &after.scenarios {
        let Some(earlier) = before.scenarios.iter().find(|earlier| earlier.name == scenario.name) else {
            warnings.push(format!("{} is in the second run only", scenario.name));
            continue;
        };
        lines.extend(compare_scenario(earlier, scenario));
        warnings.extend(only_in("second", scenario, earlier));
        warnings.extend(only_in("first", earlier, scenario));
    }
    let is_gone = |earlier: &&ScenarioResult| after.scenarios.iter().all(|scenario| scenario.name != earlier.name);
    warnings
        .extend(before.scenarios.iter().filter(is_gone).map(|gone| format!("{} is in the first run only", gone.name)));
    warnings.extend(lines.iter().filter(|line| line.is_moved_control()).map(|line| {
        let change = percent(line.change());
        format!("{}: {} of {} itself changed by {change}", line.scenario, line.measure.label(), line.target)
    }));
    Comparison { lines, warnings }
}

fn compare_scenario(before: &ScenarioResult, after: &ScenarioResult) -> Vec<Line> {
    let mut lines = Vec::new();
    for target in &after.targets {
        let Some(was) = ran(before, &target.target) else { continue };
        // How much was answered in a given time is told by the throughput.
        for measure in taken(after).into_iter().filter(|measure| *measure != Measure::Answered) {
            let (Some(was), Some(is)) = (spread(was, measure), spread(target, measure)) else { continue };
            lines.push(Line {
                scenario: after.name.clone(),
                target: target.target.clone(),
                measure,
                before: was,
                after: is,
                verdict: judge(measure, &was, &is),
            });
        }
    }
    lines
}

/// A warning for each target that ran in the one and not in the other.
fn only_in(which: &str, one: &ScenarioResult, other: &ScenarioResult) -> Vec<String> {
    let alone =
        one.targets.iter().filter(|target| ran(one, &target.target).is_some() && ran(other, &target.target).is_none());
    alone.map(|target| format!("{}: {} ran in the {which} run only", one.name, target.target)).collect()
}

fn machine_warnings(before: &Machine, after: &Machine) -> Vec<String> {
    let mut warnings = Vec::new();
    let cores = (before.cores.to_string(), after.cores.to_string());
    for (what, before, after) in [
        ("processor", &before.processor, &after.processor),
        ("number of cores", &cores.0, &cores.1),
        ("kernel", &before.kernel, &after.kernel),
    ] {
        if before != after {
            warnings.push(format!("another {what}: {before}, then {after}"));
        }
    }
    warnings
}

fn judge(measure: Measure, before: &Spread, after: &Spread) -> Verdict {
    if before.count.min(after.count) < FEWEST {
        Verdict::Unknown
    } else if before.overlaps(after) {
        Verdict::Same
    } else if (after.median > before.median) == measure.larger_is_better() {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

impl Line {
    /// The change of the median as a share of what it was; `None` where it was zero.
    #[must_use]
    pub fn change(&self) -> Option<f64> {
        (self.before.median != 0.0).then(|| (self.after.median - self.before.median) / self.before.median.abs())
    }

    /// The verdict in a word that fits the measure.
    #[must_use]
    pub fn word(&self) -> &'static str {
        use Measure as M;
        let is_size = matches!(
            self.measure,
            M::MemoryIdle | M::MemoryPeak | M::MemorySteady | M::MemoryAfter | M::MemoryPerStream
        );
        let is_count = matches!(self.measure, M::Wrong | M::DatabaseQueries);
        match self.verdict {
            Verdict::Better if is_size => "smaller",
            Verdict::Worse if is_size => "larger",
            Verdict::Better if is_count => "fewer",
            Verdict::Worse if is_count => "more",
            Verdict::Better => "faster",
            Verdict::Worse => "slower",
            Verdict::Same => "same",
            Verdict::Unknown => "too few",
        }
    }

    fn is_moved_control(&self) -> bool {
        let is_control = self.target == BASE || self.target == CEILING;
        is_control && matches!(self.verdict, Verdict::Better | Verdict::Worse)
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:+.1} %", share * 100.0))
}

fn written(spread: &Spread) -> String {
    format!("{} ({}..{})", number(spread.median), number(spread.low), number(spread.high))
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["scenario", "target", "measure", "before", "after", "change", "verdict"].map(str::to_owned);
        let rows = self.lines.iter().map(|line| {
            [
                line.scenario.clone(),
                line.target.clone(),
                line.measure.title(),
                written(&line.before),
                written(&line.after),
                percent(line.change()),
                line.word().to_owned(),
            ]
        });
        writeln!(formatter, "{}", aligned(3, head, rows))?;
        let count = |verdict| self.lines.iter().filter(|line| line.verdict == verdict).count();
        let (better, worse, same) = (count(Verdict::Better), count(Verdict::Worse), count(Verdict::Same));
        let unknown = count(Verdict::Unknown);
        writeln!(formatter, "{better} better, {worse} worse, {same} same, {unknown} with too few repetitions to say")?;
        self.warnings.iter().try_for_each(|warning| writeln!(formatter, "careful: {warning}"))
    }
}
