//! The content of a scenario's table, before it is set for the terminal or as Markdown: a row for each measure, a column for each
//! target that ran, a row of ratios below a measure that has them.

use super::measure::{number, taken};
use super::spread::{Spread, ran, ratio, spread};
use super::{BASE, CEILING};
use crate::result::{Measure, Run, ScenarioResult, TargetResult};

/// A table of text. The first column names the row.
pub(super) struct Grid {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<(String, Vec<Option<Cell>>)>,
}

/// One value: its median and its spread, the latter absent where all repetitions gave the same.
pub(super) struct Cell {
    pub(super) median: String,
    pub(super) range: Option<String>,
}

impl Cell {
    fn of(spread: Spread, text: impl Fn(f64) -> String) -> Self {
        let (low, high) = (text(spread.low), text(spread.high));
        Self { median: text(spread.median), range: (low != high).then(|| format!("{low}..{high}")) }
    }
}

/// The table of one scenario. The provider's column is the last.
pub(super) fn scenario_grid(scenario: &ScenarioResult) -> Grid {
    let mut targets: Vec<&TargetResult> = scenario.targets.iter().filter(|target| target.absent.is_none()).collect();
    targets.sort_by_key(|target| target.target == CEILING);
    let mut rows = Vec::new();
    for measure in taken(scenario) {
        let cells = targets.iter().map(|target| Some(Cell::of(spread(target, measure)?, number)));
        rows.push((measure.title(), cells.collect()));
        let Some(base) = ran(scenario, BASE).filter(|_| measure.has_ratio()) else { continue };
        let cells: Vec<_> = targets.iter().map(|target| ratio_cell(target, base, measure)).collect();
        if cells.iter().any(Option::is_some) {
            rows.push((format!("  over {BASE}"), cells));
        }
    }
    Grid { head: targets.iter().map(|target| column_title(&target.target)).collect(), rows }
}

fn ratio_cell(target: &TargetResult, base: &TargetResult, measure: Measure) -> Option<Cell> {
    (target.target != BASE && target.target != CEILING).then_some(())?;
    Some(Cell::of(ratio(target, base, measure)?, |ratio| format!("×{ratio:.2}")))
}

fn column_title(target: &str) -> String {
    if target == CEILING { format!("{target} (ceiling)") } else { target.to_owned() }
}

/// The short table of a run: what one target costs in each scenario.
pub(super) fn summary_grid(run: &Run, name: &str) -> Grid {
    const COLUMNS: [Measure; 3] = [Measure::CpuPerRequest, Measure::AddedP50, Measure::AddedP99];
    let mut head: Vec<String> = COLUMNS.iter().map(|measure| measure.title()).collect();
    head.insert(1, format!("over {BASE}"));
    head.push("wrong, all".to_owned());
    let mut rows = Vec::new();
    for scenario in &run.scenarios {
        let Some(target) = ran(scenario, name) else { continue };
        let mut cells: Vec<Option<Cell>> =
            COLUMNS.iter().map(|measure| Some(Cell::of(spread(target, *measure)?, number))).collect();
        cells.insert(1, ran(scenario, BASE).and_then(|base| ratio_cell(target, base, Measure::CpuPerRequest)));
        // A median would hide what was wrong in one repetition only.
        let wrong = target.values(Measure::Wrong);
        cells.push((!wrong.is_empty()).then(|| Cell { median: number(wrong.iter().sum()), range: None }));
        rows.push((scenario.name.clone(), cells));
    }
    Grid { head, rows }
}

/// What stands below a scenario's table: who did not run and why, wrong answers, and the scenario's own notes.
pub(super) fn remarks(scenario: &ScenarioResult) -> Vec<String> {
    let mut remarks = Vec::new();
    for target in &scenario.targets {
        let wrong: f64 = target.values(Measure::Wrong).iter().sum();
        match &target.absent {
            Some(reason) => remarks.push(format!("absent: {}: {reason}", target.target)),
            None if target.samples.is_empty() => {
                remarks.push(format!("absent: {}: no repetition ended", target.target))
            }
            None if wrong > 0.0 => remarks.push(format!("WRONG: {}: {} requests", target.target, number(wrong))),
            None => {}
        }
    }
    remarks.extend(scenario.notes.iter().map(|note| format!("note: {note}")));
    remarks
}

/// The machine, the commit, and the version of every target, each in a line.
pub(super) fn circumstances(run: &Run) -> Vec<String> {
    let machine = &run.machine;
    let repetitions = run.scenarios.iter().flat_map(|scenario| &scenario.targets).map(|target| target.samples.len());
    let mut lines = vec![
        format!("{}, {} cores, Linux {}", machine.processor, machine.cores, machine.kernel),
        format!("started {}, commit {}", machine.started, machine.commit),
        format!("set {}, at most {} repetitions; median, lowest..highest", run.set, repetitions.max().unwrap_or(0)),
    ];
    for name in super::measure::targets(run) {
        let version =
            run.scenarios.iter().find_map(|scenario| ran(scenario, name)).map(|target| target.version.as_str());
        lines.push(format!("{name}: {}", version.filter(|version| !version.is_empty()).unwrap_or("no version")));
    }
    lines
}
