//! A run as SVG plots, dark on light: what a request costs, what it adds to the latency, what goes through, and how these grow
//! with the number of keys.
//!
//! A bar or a point is the median, the thin line across it the spread. A target has one colour in all plots.

mod axis;
mod bars;
mod growth;

use super::measure::{taken, targets};
use super::{BASE, CEILING};
use crate::result::{Measure, Run, ScenarioResult};
use anyhow::Context;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::{Path, PathBuf};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Room above the panels for the title and the legend, pixels.
const HEADER: u32 = 64;
/// How a spread is explained in every title.
const HOW: &str = "median; thin line: lowest to highest repetition";

/// Writes the plots that the run has figures for into `dir`, and returns their paths.
///
/// # Errors
///
/// When a file cannot be written; the message names it.
pub fn plots(run: &Run, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    use Measure as M;
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let mut written = Vec::new();
    for (file, title, measures) in [
        ("cpu.svg", "CPU time of the target per request", &[M::CpuPerRequest][..]),
        ("latency.svg", "Latency added to the provider called directly", &[M::AddedP50, M::AddedP99, M::AddedP999]),
        ("throughput.svg", "Requests per second, closed loop", &[M::Throughput]),
    ] {
        let path = dir.join(file);
        let scenarios: Vec<_> = run.scenarios.iter().filter(|scenario| has_any(scenario, measures)).collect();
        if !scenarios.is_empty() {
            bars::draw(&path, title, &scenarios, measures, &targets(run)).with_context(|| format!("drawing {file}"))?;
            written.push(path);
        }
    }
    let steps = growth::steps(run);
    if steps.len() > 1 {
        let path = dir.join("scaling.svg");
        growth::draw(&path, &steps, &targets(run)).context("drawing scaling.svg")?;
        written.push(path);
    }
    Ok(written)
}

fn has_any(scenario: &ScenarioResult, measures: &[Measure]) -> bool {
    let taken = taken(scenario);
    measures.iter().any(|measure| taken.contains(measure))
}

/// Draws the title and the legend, and returns what is left of the page below them.
fn page<'a>(root: &Area<'a>, title: &str, targets: &[&str]) -> anyhow::Result<Area<'a>> {
    root.fill(&WHITE)?;
    let (top, panels) = root.split_vertically(HEADER);
    top.draw(&Text::new(format!("{title} ({HOW})"), (12, 20), words(16, HPos::Left)))?;
    let mut x = 12;
    for name in targets {
        top.draw(&Rectangle::new([(x, 40), (x + 12, 52)], colour(name, targets).filled()))?;
        top.draw(&Text::new((*name).to_owned(), (x + 18, 46), words(13, HPos::Left)))?;
        // The width of a letter is the renderer's secret; this is ample for the usual sans-serif fonts.
        x += 36 + 9 * i32::try_from(name.len())?;
    }
    Ok(panels)
}

fn words(size: i32, side: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(side, VPos::Center))
}

/// The colour of a target; told apart also by those who cannot tell red from green.
fn colour(target: &str, targets: &[&str]) -> RGBColor {
    const OTHERS: [RGBColor; 5] = [
        RGBColor(0x00, 0x9e, 0x73),
        RGBColor(0xcc, 0x79, 0xa7),
        RGBColor(0xd5, 0x5e, 0x00),
        RGBColor(0x56, 0xb4, 0xe9),
        RGBColor(0x8c, 0x6d, 0x31),
    ];
    match target {
        super::table::PRODUCT => RGBColor(0x00, 0x72, 0xb2),
        BASE => RGBColor(0xe6, 0x9f, 0x00),
        CEILING => RGBColor(0x99, 0x99, 0x99),
        _ => {
            let others = targets.iter().filter(|name| ![super::table::PRODUCT, BASE, CEILING].contains(*name));
            OTHERS[others.take_while(|name| **name != target).count() % OTHERS.len()]
        }
    }
}
