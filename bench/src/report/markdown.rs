//! A run as Markdown, for `docs/performance.md`: the same content as the terminal's table.

use super::grid::{Cell, Grid, circumstances, remarks, scenario_grid, summary_grid};
use super::table::PRODUCT;
use crate::result::Run;

/// Every scenario as a section with a table, after the summary.
#[must_use]
pub fn markdown(run: &Run) -> String {
    let mut text = String::new();
    for line in circumstances(run) {
        text += &format!("- {}\n", escaped(&line));
    }
    let summary = summary_grid(run, PRODUCT);
    if !summary.rows.is_empty() {
        text += &format!("\n{}", set(&summary, PRODUCT));
    }
    for scenario in &run.scenarios {
        text += &format!(
            "\n### {}\n\n{}\n\n{}",
            scenario.name,
            escaped(&scenario.about),
            set(&scenario_grid(scenario), "")
        );
        let remarks: Vec<String> = remarks(scenario).iter().map(|remark| format!("- {}\n", escaped(remark))).collect();
        if !remarks.is_empty() {
            text += &format!("\n{}", remarks.concat());
        }
    }
    text
}

fn set(grid: &Grid, corner: &str) -> String {
    let mut text = format!("| {corner} | {} |\n| --- |{}\n", grid.head.join(" | "), " ---: |".repeat(grid.head.len()));
    for (name, cells) in &grid.rows {
        let cells: Vec<String> = cells.iter().map(|cell| cell.as_ref().map_or_else(String::new, one_line)).collect();
        text += &format!("| {} | {} |\n", name.trim(), cells.join(" | "));
    }
    text
}

fn one_line(cell: &Cell) -> String {
    match &cell.range {
        Some(range) => format!("{} ({range})", cell.median),
        None => cell.median.clone(),
    }
}

/// Text that ends no cell and opens no element.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
