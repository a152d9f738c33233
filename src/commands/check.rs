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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn run(file: PathBuf) -> (u8, String) {
        let mut out = Vec::new();
        let environment = |name: &str| {
            (name.ends_with("API_KEY") || name.ends_with("MASTER_KEY")).then(|| "sk-0123456789abcdef".to_owned())
        };
        let status = check(&CheckArgs { file }, &environment, &mut out).unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_good_file_is_summed_up_without_its_secrets() {
        let (status, shown) = run(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/quickstart.yaml"));
        assert_eq!(status, 0);
        assert!(shown.contains("model gpt-4o: openai/gpt-4o at https://api.openai.com/v1, key set\n"), "{shown}");
        assert!(shown.contains("master key: configured\n"), "{shown}");
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }

    #[test]
    fn a_bad_file_is_one_line_a_mistake_and_status_78() {
        let (status, shown) = run(PathBuf::from("/nowhere/config.yaml"));
        assert_eq!(status, EXIT_CONFIG);
        assert!(shown.starts_with("/nowhere/config.yaml: cannot be read: ") && shown.lines().count() == 1, "{shown}");
    }
}
