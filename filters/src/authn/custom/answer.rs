//! The one reader of what a Python worker and a JSON web hook say (`docs/custom-auth-hook.md` describes the form).
//!
//! What must stay true: only what is understood as a whole is an answer. Everything else is no answer, which is 503 and
//! never a pass; and no text for the caller repeats the credential that the caller presented.

use std::time::Duration;

use http::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::identity::NotAnIdentity;
use super::{CustomAnswer, CustomIdentity, CustomRefusal, CustomUnavailable, Facet, Keep, Verdict};
use crate::secret::Secret;

/// For how long an answer is kept at most: until then a credential that was taken back goes on working.
const LONGEST_KEEP: Duration = Duration::from_secs(300);

/// What a caller reads where the operator's code has no words of its own. LiteLLM would show the exception's text, which is
/// for the log (contract 04, C6).
pub const REFUSED: &str = "Authentication Error, Invalid credentials.";

/// Longest sentence that goes to a caller, in characters.
const LONGEST_MESSAGE: usize = 1024;
/// Longest `type` and `param`.
const LONGEST_WORD: usize = 128;

#[derive(Deserialize)]
struct Form<'a> {
    outcome: String,
    #[serde(borrow)]
    identity: Option<&'a RawValue>,
    key: Option<String>,
    status: Option<u16>,
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    param: Option<String>,
    #[serde(default)]
    stands: bool,
    keep: Option<KeepForm>,
}

#[derive(Deserialize)]
struct KeepForm {
    seconds: f64,
    #[serde(default)]
    depends_on: Vec<String>,
}

impl CustomAnswer {
    /// Reads an answer. `credential` is what was presented.
    ///
    /// # Errors
    /// [`CustomUnavailable`] for whatever is no answer.
    pub fn read(json: &[u8], credential: Option<&str>) -> Result<Self, CustomUnavailable> {
        let form: Form<'_> =
            serde_json::from_slice(json).map_err(|_| CustomUnavailable("the answer has no known form"))?;
        let keep = form.keep.as_ref().map(KeepForm::read).transpose()?;
        let verdict = match form.outcome.as_str() {
            "proven" => {
                let identity = form.identity.ok_or(CustomUnavailable("an identity is missing"))?;
                let identity = CustomIdentity::read(identity.get().as_bytes(), credential);
                Verdict::Proven(Box::new(identity.map_err(|NotAnIdentity(word)| CustomUnavailable(word))?))
            }
            "key" => {
                let key = form.key.filter(|key| !key.is_empty());
                Verdict::Key(Secret::from(key.ok_or(CustomUnavailable("a key is missing"))?))
            }
            "not_mine" => Verdict::NotMine,
            "refused" => Verdict::Refused { stands: form.stands, refusal: form.refusal(credential)? },
            _ => return Err(CustomUnavailable("the outcome of the answer is unknown")),
        };
        Ok(Self { verdict, keep })
    }
}

impl Form<'_> {
    fn refusal(&self, credential: Option<&str>) -> Result<CustomRefusal, CustomUnavailable> {
        let status = self.status.unwrap_or(401);
        if !(400..=599).contains(&status) {
            return Err(CustomUnavailable("the status of a refusal is none"));
        }
        if status >= 500 {
            return Err(CustomUnavailable("it says itself that it failed"));
        }
        let word = |text: &Option<String>| text.as_deref().map(|text| for_the_caller(text, credential, LONGEST_WORD));
        let message = self.message.as_deref().map(|text| for_the_caller(text, credential, LONGEST_MESSAGE));
        Ok(CustomRefusal {
            status,
            kind: word(&self.kind).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "auth_error".to_owned()),
            param: word(&self.param),
            message: message.unwrap_or_else(|| REFUSED.to_owned()),
        })
    }
}

impl KeepForm {
    fn read(&self) -> Result<Keep, CustomUnavailable> {
        let ttl =
            Duration::try_from_secs_f64(self.seconds).map_err(|_| CustomUnavailable("keep.seconds is no time"))?;
        let facets =
            self.depends_on.iter().map(|text| Facet::named(text).ok_or(CustomUnavailable("a facet is unknown")));
        Ok(Keep { ttl: ttl.min(LONGEST_KEEP), facets: facets.collect::<Result<_, _>>()? })
    }
}

impl Facet {
    /// The facet of this name: `method`, `path`, `query`, `source` or `header:NAME`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "method" => Self::Method,
            "path" => Self::Path,
            "query" => Self::Query,
            "source" => Self::Source,
            other => Self::Header(other.strip_prefix("header:")?.parse::<HeaderName>().ok()?),
        })
    }
}

/// A text of the operator's code without the credential that it may repeat, without control characters, and not too long.
fn for_the_caller(text: &str, credential: Option<&str>, longest: usize) -> String {
    let hidden = match credential {
        Some(credential) if !credential.is_empty() => text.replace(credential, "***"),
        _ => text.to_owned(),
    };
    hidden.chars().filter(|c| !c.is_control()).take(longest).collect()
}

#[cfg(test)]
mod tests;
