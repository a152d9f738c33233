//! Any file is read to an end: to settings, or to mistakes that are not empty, and no secret is shown by either.

use std::io::Write;

use portcullis::config::{Overrides, Settings};

/// What stands for a secret in the corpus.
const SECRET: &str = "sEcReT";

/// `data` is a configuration file.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Another file is not part of the input, and may be a device without an end.
    if text.contains("include") || text.contains("file:") {
        return;
    }
    let mut file = tempfile::NamedTempFile::new().expect("a place for temporary files");
    file.write_all(data).expect("room for it");
    let said = match Settings::load(Some(file.path()), &Overrides::default(), &|_| None) {
        Ok(loaded) => format!("{:?}{:?}{:?}", loaded.settings, loaded.warnings, loaded.notices),
        Err(error) => {
            assert!(!error.mistakes.is_empty());
            error.to_string()
        }
    };
    let as_key = [format!("master_key: {SECRET}"), format!("api_key: {SECRET}")];
    if text.matches(SECRET).count() == 1 && as_key.iter().any(|line| text.contains(line.as_str())) {
        assert!(!said.contains(SECRET), "{said}");
    }
}
