//! `authorize`: the rules of what a principal may do, and the only maker of a [`Permit`].

use std::collections::BTreeMap;

/// What a key may do, compiled from the lists that its row holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    models: Option<Vec<Pattern>>,
    routes: Option<Vec<RouteRule>>,
    aliases: BTreeMap<String, String>,
}

impl Policy {
    /// Compiles the rules as LiteLLM writes them. An empty list, `*` and `all-proxy-models` open every model; an empty
    /// route list leaves the routes to the role. `no-default-models` and `all-team-models` grant nothing by themselves.
    #[must_use]
    pub fn new(models: &[String], routes: &[String], aliases: BTreeMap<String, String>) -> Self {
        let all = models.is_empty() || models.iter().any(|name| name == "*" || name == "all-proxy-models");
        let granted = models.iter().filter(|name| !matches!(name.as_str(), "no-default-models" | "all-team-models"));
        Self {
            models: (!all).then(|| granted.map(|name| Pattern::new(name)).collect()),
            routes: (!routes.is_empty()).then(|| routes.iter().map(|rule| RouteRule::new(rule)).collect()),
            aliases,
        }
    }
}

/// A model name or a `prefix*` pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RouteRule(String);

impl RouteRule {
    fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}
