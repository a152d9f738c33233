//! Tests of the whole: a YAML text goes in, settings or messages come out.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

mod client_side;
mod custom_auth;
mod examples;
mod hostile;
mod jwt;
mod jwt_mistakes;
mod jwt_own;
mod jwt_own_mistakes;
mod mistakes;
mod settings;

/// A folder of its own for one test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("portcullis-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Loads `config.yaml` of this folder. Messages name the folder `.`, so that they can be compared.
    fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let folder = format!("{}/", self.0.display());
        Settings::load(Some(&self.0.join("config.yaml")), &Overrides::default(), &environment)
            .map_err(|error| error.to_string().lines().map(|line| line.replace(&folder, "")).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = Folder::new();
    folder.write("config.yaml", text);
    folder.load(variables)
}

fn settings_with(text: &str, variables: &[(&str, &str)]) -> Settings {
    load_with(text, variables).unwrap().settings
}

fn settings(text: &str) -> Settings {
    settings_with(text, &[])
}

/// The messages about a text that must not load.
fn mistakes_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    load_with(text, variables).expect_err(text)
}

fn mistakes(text: &str) -> Vec<String> {
    mistakes_with(text, &[])
}

/// The only message about a text that must not load.
fn mistake(text: &str) -> String {
    let mistakes = mistakes(text);
    assert_eq!(mistakes.len(), 1, "{text}\n{mistakes:#?}");
    mistakes.into_iter().next().unwrap()
}
