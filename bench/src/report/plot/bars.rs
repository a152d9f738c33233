//! Horizontal bars: a group for each scenario, a bar for each target, a panel for each measure. On a logarithmic axis, where a
//! length means nothing, a point stands in place of the bar.

use super::super::measure::number;
use super::super::spread::{Spread, ran, spread};
use super::axis::Axis;
use super::{Area, FAINT, HEADER, INK, colour, page, words};
use crate::result::{Measure, ScenarioResult, TargetResult};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

/// Height of one bar with the space around it, pixels.
const ROW: usize = 16;
/// Height of everything in a panel but its bars, pixels.
const FRAME: usize = 70;

/// A bar, or with no value the space between two groups.
struct Row<'a> {
    /// The scenario's name at the first bar of its group.
    group: Option<&'a str>,
    bar: Option<(&'a str, Spread)>,
}

pub(super) fn draw(
    path: &Path,
    title: &str,
    scenarios: &[&ScenarioResult],
    measures: &[Measure],
    targets: &[&str],
) -> anyhow::Result<()> {
    let shown = |target: &TargetResult| measures.iter().any(|measure| spread(target, *measure).is_some());
    let targets: Vec<&str> = targets
        .iter()
        .copied()
        .filter(|name| scenarios.iter().any(|scenario| ran(scenario, name).is_some_and(shown)))
        .collect();
    let panels: Vec<Vec<Row<'_>>> = measures.iter().map(|measure| rows(scenarios, *measure, &targets)).collect();
    let longest = panels.iter().map(Vec::len).max().unwrap_or(0);
    let width = if measures.len() == 1 { 960 } else { 500 * u32::try_from(measures.len())? };
    let root = SVGBackend::new(path, (width, HEADER + u32::try_from(FRAME + ROW * longest)?)).into_drawing_area();
    let areas = page(&root, title, &targets)?.split_evenly((1, measures.len()));
    for ((area, measure), rows) in areas.iter().zip(measures).zip(&panels) {
        panel(area, *measure, rows, &targets)?;
    }
    Ok(root.present()?)
}

/// The bars of a measure from the top down. Every scenario keeps its place in all panels.
fn rows<'a>(scenarios: &[&'a ScenarioResult], measure: Measure, targets: &[&'a str]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for scenario in scenarios {
        let mut group = Some(scenario.name.as_str());
        for name in targets {
            let Some(target) = ran(scenario, name) else { continue };
            if target.samples.is_empty() {
                continue;
            }
            rows.push(Row { group: group.take(), bar: spread(target, measure).map(|spread| (*name, spread)) });
        }
        rows.push(Row { group: None, bar: None });
    }
    rows
}

fn panel(area: &Area<'_>, measure: Measure, rows: &[Row<'_>], targets: &[&str]) -> anyhow::Result<()> {
    let spreads: Vec<Spread> = rows.iter().filter_map(|row| row.bar.map(|(_, spread)| spread)).collect();
    let axis = Axis::of(&spreads);
    let mut builder = ChartBuilder::on(area);
    builder.margin_right(24).margin_top(6).x_label_area_size(50).y_label_area_size(140);
    // The first row is the topmost.
    let down = f64::from(u32::try_from(rows.len())?)..0.0;
    if axis.logarithmic {
        fill(builder.build_cartesian_2d((axis.low..axis.high).log_scale(), down)?, area, axis, measure, rows, targets)
    } else {
        fill(builder.build_cartesian_2d(axis.low..axis.high, down)?, area, axis, measure, rows, targets)
    }
}

type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

fn fill<X>(
    mut chart: Chart<'_, '_, X>,
    area: &Area<'_>,
    axis: Axis,
    measure: Measure,
    rows: &[Row<'_>],
    targets: &[&str],
) -> anyhow::Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let scale = if axis.logarithmic { " (logarithmic)" } else { "" };
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh().y_labels(0).x_labels(8).x_label_formatter(&|value| number(*value));
    mesh.light_line_style(WHITE).bold_line_style(FAINT).axis_style(INK).label_style(words(12, HPos::Center));
    mesh.x_desc(format!("{}{scale}", measure.title())).axis_desc_style(words(13, HPos::Center)).draw()?;
    let left = if axis.logarithmic { axis.low } else { 0.0 };
    for (top, row) in (0_u32..).map(f64::from).zip(rows) {
        let (_, y) = chart.backend_coord(&(axis.low, top + 0.5));
        let base = area.get_base_pixel();
        if let Some(group) = row.group {
            area.draw(&Text::new(group.to_owned(), (132, y - base.1), words(13, HPos::Right)))?;
        }
        let Some((target, spread)) = row.bar else { continue };
        let (median, middle) = (axis.clamp(spread.median), top + 0.5);
        let paint = colour(target, targets).filled();
        if axis.logarithmic {
            chart.draw_series([Circle::new((median, middle), 5, paint)])?;
        } else {
            chart.draw_series([Rectangle::new([(left, top + 0.12), (median, top + 0.88)], paint)])?;
        }
        let whisker = vec![(axis.clamp(spread.low), middle), (axis.clamp(spread.high), middle)];
        chart.draw_series([PathElement::new(whisker, INK.stroke_width(1))])?;
        let (x, _) = chart.backend_coord(&(axis.clamp(spread.high).max(median), middle));
        let at = (x - base.0 + 8, y - base.1);
        area.draw(&Text::new(number(spread.median), at, words(12, HPos::Left)))?;
    }
    Ok(())
}
