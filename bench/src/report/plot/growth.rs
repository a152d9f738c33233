//! What a request costs as the number of keys in use grows: the scenarios `keys_1e3`, `keys_1e4` and so on, in one plot.

use super::super::measure::number;
use super::super::spread::{Spread, ran, spread};
use super::axis::Axis;
use super::{Area, FAINT, HEADER, INK, colour, page, words};
use crate::result::{Measure, Run, ScenarioResult};
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// What is drawn, from the top down.
const PANELS: [Measure; 3] = [Measure::CpuPerRequest, Measure::Throughput, Measure::MemorySteady];

/// The scenarios that differ in the number of keys, with that number, fewest first.
pub(super) fn steps(run: &Run) -> Vec<(f64, &ScenarioResult)> {
    let keys = |scenario: &ScenarioResult| scenario.name.strip_prefix("keys_")?.parse::<f64>().ok();
    let mut steps: Vec<_> = run.scenarios.iter().filter_map(|scenario| Some((keys(scenario)?, scenario))).collect();
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    steps
}

pub(super) fn draw(path: &Path, steps: &[(f64, &ScenarioResult)], targets: &[&str]) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, (860, HEADER + 840)).into_drawing_area();
    let ran_with_keys = |name: &&str| steps.iter().any(|(_, step)| ran(step, name).is_some());
    let targets: Vec<&str> = targets.iter().copied().filter(ran_with_keys).collect();
    let areas = page(&root, "Cost by the number of keys in use", &targets)?.split_evenly((PANELS.len(), 1));
    for (area, measure) in areas.iter().zip(PANELS) {
        panel(area, measure, steps, &targets)?;
    }
    Ok(root.present()?)
}

/// A target's line: its value at each number of keys.
type Series<'a> = (&'a str, Vec<(f64, Spread)>);

fn panel(area: &Area<'_>, measure: Measure, steps: &[(f64, &ScenarioResult)], targets: &[&str]) -> anyhow::Result<()> {
    let value = |scenario, name| spread(ran(scenario, name)?, measure);
    let series: Vec<Series<'_>> = targets
        .iter()
        .map(|name| (*name, steps.iter().filter_map(|(keys, step)| Some((*keys, value(*step, *name)?))).collect()))
        .collect();
    let axis = Axis::of(&series.iter().flat_map(|(_, points)| points.iter().map(|point| point.1)).collect::<Vec<_>>());
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return Ok(()) };
    // Room beside the first and the last point.
    let keys = (first.0 / 1.5..last.0 * 1.5).log_scale();
    let mut builder = ChartBuilder::on(area);
    builder.margin_left(16).margin_right(40).margin_top(10).x_label_area_size(46).y_label_area_size(84);
    if axis.logarithmic {
        fill(builder.build_cartesian_2d(keys, (axis.low..axis.high).log_scale())?, measure, &series, targets, axis)
    } else {
        fill(builder.build_cartesian_2d(keys, axis.low..axis.high)?, measure, &series, targets, axis)
    }
}

type Chart<'a, 'b, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<LogCoord<f64>, Y>>;

fn fill<Y>(
    mut chart: Chart<'_, '_, Y>,
    measure: Measure,
    series: &[Series<'_>],
    targets: &[&str],
    axis: Axis,
) -> anyhow::Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let scale = if axis.logarithmic { " (logarithmic)" } else { "" };
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(WHITE).bold_line_style(FAINT).axis_style(INK).y_labels(6).x_labels(5);
    mesh.x_label_formatter(&|keys| number(*keys)).y_label_formatter(&|value| number(*value));
    mesh.label_style(("sans-serif", 12).into_font().color(&INK)).axis_desc_style(words(13, HPos::Center));
    mesh.x_desc("distinct keys in use (logarithmic)").y_desc(format!("{}{scale}", measure.title())).draw()?;
    for (name, points) in series {
        let paint = colour(name, targets);
        let line = points.iter().map(|(keys, spread)| (*keys, axis.clamp(spread.median)));
        chart.draw_series(LineSeries::new(line.clone(), paint.stroke_width(2)))?;
        chart.draw_series(line.map(|point| Circle::new(point, 4, paint.filled())))?;
        chart.draw_series(points.iter().map(|(keys, spread)| {
            let ends = vec![(*keys, axis.clamp(spread.low)), (*keys, axis.clamp(spread.high))];
            PathElement::new(ends, INK.stroke_width(1))
        }))?;
    }
    Ok(())
}
