//! Reading single claims: text and lists of text, nothing else.
//!
//! A claim that is absent, null or empty says nothing. One of another type makes the whole token invalid: LiteLLM takes
//! numbers for names and walks texts letter by letter where it expects a list. What comes out as a name is bounded,
//! because it reaches logs and SQL.

use std::sync::Arc;

use serde_json::Value;

use super::super::claims::{ClaimPath, Claims};
use crate::denial::Denial;

/// Longest id, alias or address, in bytes.
const MAX_NAME: usize = 512;

/// The scopes of a token: those of `scope` (RFC 8693, section 4.2) and those of `scp`, as which Entra ID and Okta send
/// them. Both are read as text with spaces or as a list.
pub(super) fn scopes(claims: &Claims) -> Result<Vec<&str>, Denial> {
    let mut scopes = Vec::new();
    for claim in ["scope", "scp"] {
        match claims.named(claim) {
            Some(Value::String(text)) => scopes.extend(text.split_ascii_whitespace()),
            list => scopes.extend(texts(list)?),
        }
    }
    Ok(scopes)
}

/// The name at a path; `None` also where no path is configured.
pub(super) fn name_at(claims: &Claims, path: Option<&ClaimPath>) -> Result<Option<Arc<str>>, Denial> {
    name(path.and_then(|path| claims.at(path)))
}

/// The names at a path: one as text, several as a list.
pub(super) fn names_at(claims: &Claims, path: Option<&ClaimPath>) -> Result<Vec<Arc<str>>, Denial> {
    texts_at(claims, path)?.into_iter().map(bounded).collect()
}

/// The texts at a path, for comparing.
pub(super) fn texts_at<'a>(claims: &'a Claims, path: Option<&ClaimPath>) -> Result<Vec<&'a str>, Denial> {
    texts(path.and_then(|path| claims.at(path)))
}

/// A claim that is a name.
pub(super) fn name(claim: Option<&Value>) -> Result<Option<Arc<str>>, Denial> {
    text(claim)?.map(bounded).transpose()
}

fn bounded(name: &str) -> Result<Arc<str>, Denial> {
    if name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Denial::InvalidToken("a name that is too long or has control characters"));
    }
    Ok(name.into())
}

fn texts(claim: Option<&Value>) -> Result<Vec<&str>, Denial> {
    match claim {
        Some(Value::Array(list)) => list.iter().filter_map(|entry| text(Some(entry)).transpose()).collect(),
        claim => Ok(text(claim)?.into_iter().collect()),
    }
}

fn text(claim: Option<&Value>) -> Result<Option<&str>, Denial> {
    match claim {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Denial::InvalidToken("a claim of another type than text")),
    }
}
