//! Query parameters of the listings: each is named once, with its type; an unknown one is refused.
//!
//! A filter that is silently ignored shows more than was asked for, so a misspelt one must not pass.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::keys::values::UNKEEPABLE;
use crate::problem::{FieldProblem, Problem};
use crate::store::is_keepable;

/// The parameters as sent. Each is taken at most once; [`Parameters::finish`] refuses what was not taken.
pub(crate) struct Parameters {
    left: BTreeMap<String, String>,
    problems: Vec<FieldProblem>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let unreadable = || FieldProblem::new("query_invalid", &["query"], "The query could not be read");
        let Query(left) = Query::try_from_uri(&parts.uri).map_err(|_| Problem::field(unreadable()).into_response())?;
        Ok(Self { left, problems: Vec::new() })
    }
}

impl Parameters {
    /// A text; an empty one counts as absent, as the forms of LiteLLM's UI send it.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let text = self.left.remove(name).filter(|text| !text.is_empty())?;
        if !is_keepable(&text) {
            self.problem("string_pattern_mismatch", name, UNKEEPABLE);
            return None;
        }
        Some(text)
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false" | "False" | "0") => false,
            Some("true" | "True" | "1") => true,
            Some(_) => {
                self.problem("bool_parsing", name, "Input should be a valid boolean, unable to interpret input");
                false
            }
        }
    }

    /// A whole number of at least 1 and at most `most`.
    pub(crate) fn count(&mut self, name: &str, default: u64, most: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse::<u64>() {
            Ok(0) => self.problem("greater_than_equal", name, "Input should be greater than or equal to 1"),
            Ok(count) if count > most => {
                self.problem("less_than_equal", name, format!("Input should be less than or equal to {most}"));
            }
            Ok(count) => return count,
            Err(_) => self.problem("int_parsing", name, "Input should be a valid integer"),
        }
        default
    }

    /// One word out of a list, turned into what it means.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.problem("enum", name, format!("Input should be one of: {}", known.join(", ")));
        }
        found
    }

    /// Ends the reading: every mistake at once, unknown parameters among them.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown = self.left.keys().map(|name| FieldProblem::unknown(&["query", name]));
        self.problems.extend(unknown);
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::Fields(self.problems)) }
    }

    pub(crate) fn problem(&mut self, kind: &'static str, name: &str, msg: impl Into<std::borrow::Cow<'static, str>>) {
        self.problems.push(FieldProblem::new(kind, &["query", name], msg));
    }
}

/// Rows to skip before `page`, which counts from 1.
pub(crate) fn offset(page: u64, size: u64) -> u64 {
    (page - 1).saturating_mul(size)
}
