//! A run as text for a terminal.

use super::grid::{Cell, Grid, circumstances, remarks, scenario_grid, summary_grid};
use crate::result::Run;
use comfy_table::{CellAlignment, Table, presets};

/// The target whose cost the summary at the end shows.
pub(super) const PRODUCT: &str = "portcullis";

/// Every scenario with every target, and at the end what Portcullis costs in each.
#[must_use]
pub fn table(run: &Run) -> String {
    let mut text = circumstances(run).join("\n");
    text.push('\n');
    for scenario in &run.scenarios {
        text += &format!("\n{}: {}\n{}\n", scenario.name, scenario.about, set(&scenario_grid(scenario), ""));
        for remark in remarks(scenario) {
            text += &format!("  {remark}\n");
        }
    }
    let summary = summary_grid(run, PRODUCT);
    if !summary.rows.is_empty() {
        text += &format!("\n{}\n", set(&summary, PRODUCT));
    }
    text
}

/// Rows under a head, numbers to the right: for what is no run.
#[must_use]
pub fn plain_table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    aligned(0, head.map(str::to_owned), rows)
}

/// A grid in lines of characters: the spread stands below its median.
fn set(grid: &Grid, corner: &str) -> String {
    let head = std::iter::once(corner.to_owned()).chain(grid.head.iter().cloned());
    let rows = grid.rows.iter().map(|(name, cells)| {
        std::iter::once(name.clone()).chain(cells.iter().map(|cell| cell.as_ref().map_or_else(String::new, two_lines)))
    });
    aligned(1, head, rows)
}

fn two_lines(cell: &Cell) -> String {
    match &cell.range {
        Some(range) => format!("{}\n{range}", cell.median),
        None => cell.median.clone(),
    }
}

/// A table with a line below its head. Its first `names` columns are set to the left, the others to the right.
pub(super) fn aligned<R>(
    names: usize,
    head: impl IntoIterator<Item = String>,
    rows: impl IntoIterator<Item = R>,
) -> String
where
    R: IntoIterator<Item = String>,
{
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(head).add_rows(rows);
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
