//! The claims of a token as a JSON object, and the paths by which configurations name one of them.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::json;
use crate::denial::Denial;

/// The claims of a token. Those that [`Claims::read`] makes have no name twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

/// The last second of the year 9999. What lies behind it is milliseconds that somebody took for seconds.
const LATEST: f64 = 253_402_300_799.0;

impl Claims {
    /// Reads a JSON object. A name that occurs twice, at any depth, is a flaw: readers differ in which one counts.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`].
    pub fn read(json: &[u8]) -> Result<Self, Denial> {
        let object = json::read_object(json);
        object.map(Self).ok_or(Denial::InvalidToken("claims that are not one JSON object with each name once"))
    }

    /// From an answer that is no token: introspection (RFC 7662) or userinfo.
    #[must_use]
    pub fn from_object(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// The claim of exactly this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The claim of this name, where it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.named(name).and_then(Value::as_str)
    }

    /// The value at a path. A claim that has the whole path as its name comes before one that is nested: a name such as
    /// `https://example.com/roles` has dots of its own.
    #[must_use]
    pub fn at(&self, path: &ClaimPath) -> Option<&Value> {
        if let Some(value) = self.named(&path.name) {
            return Some(value);
        }
        let (first, rest) = path.steps.split_first()?;
        rest.iter().try_fold(self.named(first)?, |value, step| value.as_object()?.get(step))
    }

    /// A NumericDate (RFC 7519, section 2): seconds since 1970, a fraction allowed. `Ok(None)` where it is absent.
    ///
    /// # Errors
    /// [`Denial::InvalidToken`]: not a number, negative, or later than the year 9999.
    pub fn time(&self, name: &str) -> Result<Option<SystemTime>, Denial> {
        let Some(value) = self.named(name) else { return Ok(None) };
        // A double is good for a part of a millisecond, to the end of this range.
        let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
        let since_1970 = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let time = since_1970.and_then(|since_1970| SystemTime::UNIX_EPOCH.checked_add(since_1970));
        time.map(Some).ok_or(Denial::InvalidToken("a time that is no number of seconds since 1970"))
    }
}

/// How a configuration names a claim: dots nest, `\.` is a dot, a leading `metadata.` is dropped (LiteLLM's rules,
/// contract 03, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    /// All of it, its dots being dots.
    name: String,
    steps: Vec<String>,
}

/// The text names no claim.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a claim, such as sub or realm_access.roles")]
pub struct NotAClaimPath;

impl std::str::FromStr for ClaimPath {
    type Err = NotAClaimPath;

    fn from_str(text: &str) -> Result<Self, NotAClaimPath> {
        let text = text.strip_prefix("metadata.").unwrap_or(text);
        let mut steps: Vec<String> = Vec::new();
        let mut step = String::new();
        for piece in text.split('.') {
            step.push_str(piece);
            if step.ends_with('\\') {
                step.pop();
                step.push('.');
            } else {
                steps.push(std::mem::take(&mut step));
            }
        }
        if !step.is_empty() || steps.iter().any(String::is_empty) {
            return Err(NotAClaimPath);
        }
        Ok(Self { name: steps.join("."), steps })
    }
}

#[cfg(test)]
mod tests;
