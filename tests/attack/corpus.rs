//! The corpus of the fuzz targets through the same checks, so that what a fuzzer once found stays found.

#[path = "../../fuzz/checks/body.rs"]
mod body;
#[path = "../../fuzz/checks/configuration.rs"]
mod configuration;
#[path = "../../fuzz/checks/credential.rs"]
mod credential;
#[path = "../../fuzz/checks/form.rs"]
mod form;
#[path = "../../fuzz/checks/head.rs"]
mod head;
#[path = "../../fuzz/checks/token.rs"]
mod token;
#[path = "../../fuzz/checks/usage.rs"]
mod usage;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        check(&std::fs::read(file.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "no corpus in {}", corpus.display());
}

#[test]
fn heads() {
    replay("head", head::check);
}

#[test]
fn credentials() {
    replay("credential", credential::check);
}

#[test]
fn bodies() {
    replay("body", body::check);
}

#[test]
fn forms() {
    replay("form", form::check);
}

#[test]
fn configurations() {
    replay("configuration", configuration::check);
}

#[test]
fn tokens() {
    replay("token", token::check);
}

#[test]
fn answers() {
    replay("usage", usage::check);
}
