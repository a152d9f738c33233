//! The environment, as the configuration sees it: the process's variables below the file's `environment_variables`.
//!
//! The only place that reads `std::env`; everything else gets the variables as an argument.

use std::collections::BTreeMap;

/// The variables of this process. One that is not valid Unicode counts as absent.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Variables by name: those that the file sets come first, as in LiteLLM. An empty one counts as absent.
pub(super) struct Environment<'a> {
    process: &'a dyn Fn(&str) -> Option<String>,
    from_file: BTreeMap<String, String>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(process: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { process, from_file: BTreeMap::new() }
    }

    pub(super) fn with(mut self, from_file: BTreeMap<String, String>) -> Self {
        self.from_file = from_file;
        self
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = self.from_file.get(name).cloned().or_else(|| (self.process)(name));
        value.filter(|value| !value.is_empty())
    }

    /// The first of several names that is set, with its name.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| self.variable(name).map(|value| (*name, value)))
    }
}
