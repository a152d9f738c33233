//! Shows what a [`Run`] found: as a table in the terminal, as Markdown, as JSON, as plots, and beside another run.
//!
//! A value is the median of the repetitions with the lowest and the highest beside it. A ratio is taken within each repetition,
//! where both targets ran one after the other, and its median is shown: what disturbs the machine for a minute disturbs both.
//! Nothing here drops a value, and what did not run is named with the reason.

mod compare;
mod grid;
mod markdown;
mod measure;
mod plot;
mod spread;
mod table;
#[cfg(test)]
mod tests;

pub use compare::{Comparison, Line, Verdict, compare};
pub use markdown::markdown;
pub use plot::plots;
pub use spread::Spread;
pub use table::{plain_table, table};

use crate::result::Run;
use anyhow::Context;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

/// The target that ratios are taken against: what forwarding alone costs.
pub const BASE: &str = "passthrough";
/// The target that is no proxy: the provider called directly, which is as much as the harness itself can do.
pub const CEILING: &str = "provider";

/// Writes a run for [`read_json`].
///
/// # Errors
///
/// When the file cannot be written; the message names it.
pub fn write_json(run: &Run, path: &Path) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer_pretty(&mut file, run)?;
        writeln!(file)?;
        Ok(file.flush()?)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
///
/// When the file cannot be read or is not a run; the message names it.
pub fn read_json(path: &Path) -> anyhow::Result<Run> {
    let read = || -> anyhow::Result<Run> { Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?) };
    read().with_context(|| format!("reading {}", path.display()))
}
