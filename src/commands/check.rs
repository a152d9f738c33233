//! `portcullis check FILE`: every mistake on a line of its own, or what the file would put in force.

use std::io::{self, Write};

use crate::cli::CheckArgs;
use crate::config::{Overrides, Settings};

/// The exit status for a configuration that cannot be used: `EX_CONFIG` of sysexits.
pub const EXIT_CONFIG: u8 = 78;

/// Writes the verdict on a configuration and returns the exit status: 0, or [`EXIT_CONFIG`].
///
/// # Errors
/// `out` cannot be written to.
pub fn check(args: &CheckArgs, environment: &dyn Fn(&str) -> Option<String>, out: &mut dyn Write) -> io::Result<u8> {
    let loaded = match Settings::load(Some(&args.file), &Overrides::default(), environment) {
        Ok(loaded) => loaded,
        Err(error) => {
            writeln!(out, "{error}")?;
            return Ok(EXIT_CONFIG);
        }
    };
    for line in loaded.settings.summary() {
        writeln!(out, "{line}")?;
    }
    for warning in &loaded.warnings {
        writeln!(out, "WARNING: {warning}")?;
    }
    for notice in &loaded.notices {
        writeln!(out, "note: {notice}")?;
    }
    Ok(0)
}
