//! The `model` part of a `multipart/form-data` body (RFC 7578): audio and image calls carry files beside it.
//!
//! Only as much is parsed as finding one part takes, and a form that could be read in two ways is refused.

use std::ops::Range;

use memchr::memmem;

use super::{Found, ModelNames, unreadable};
use crate::denial::Denial;

/// No form that these calls take has more parts than this.
const MAX_PARTS: usize = 200;

/// Finds the model in a form.
pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Result<Found, Denial> {
    let boundary = boundary(content_type.unwrap_or_default()).ok_or_else(|| unreadable("the body must be a form"))?;
    let mut model = None;
    for Part { head, content } in parts(body, boundary)? {
        let Some(name) = name_of(head)? else { continue };
        if !name.eq_ignore_ascii_case("model") {
            continue;
        }
        if name != "model" || model.is_some() {
            return Err(unreadable("the form names the model more than once"));
        }
        model = Some(content);
    }
    let Some(range) = model else { return Err(unreadable("the form has no part named model")) };
    let text = std::str::from_utf8(&body[range.clone()]).map_err(|_| unreadable("the model is not UTF-8"))?;
    Ok(Found { model: Some(text.to_owned()), stream: false, names: ModelNames::Form(range) })
}

fn boundary(content_type: &str) -> Option<&str> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (1..=70).contains(&value.len()).then_some(value)
}

struct Part<'a> {
    head: &'a [u8],
    /// Where its content stands in the body.
    content: Range<usize>,
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Denial> {
    let delimiter = format!("\r\n--{boundary}");
    let opening = &delimiter.as_bytes()[2..];
    if !body.starts_with(opening) {
        return Err(unreadable("the form does not begin with its boundary"));
    }
    let finder = memmem::Finder::new(delimiter.as_bytes());
    let mut parts = Vec::new();
    let mut at = opening.len();
    while !body[at..].starts_with(b"--") {
        let end = finder.find(&body[at..]).map(|length| at + length);
        let (Some(end), true) = (end, body[at..].starts_with(b"\r\n")) else {
            return Err(unreadable("the form is not well formed"));
        };
        let part = &body[at + 2..end];
        let blank = memmem::find(part, b"\r\n\r\n").ok_or_else(|| unreadable("a part of the form has no head"))?;
        parts.push(Part { head: &part[..blank], content: at + 2 + blank + 4..end });
        if parts.len() > MAX_PARTS {
            return Err(unreadable("the form has too many parts"));
        }
        at = end + delimiter.len();
    }
    Ok(parts)
}

/// The `name` of a part's `Content-Disposition`, exactly as quoted.
fn name_of(head: &[u8]) -> Result<Option<&str>, Denial> {
    let head = std::str::from_utf8(head).map_err(|_| unreadable("a part of the form has an unreadable head"))?;
    let mut dispositions = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let Some(value) = dispositions.next() else { return Ok(None) };
    let names: Vec<&str> = value.split("name").skip(1).collect();
    let plain = value.split(';').filter_map(|parameter| parameter.trim().strip_prefix("name=\"")).collect::<Vec<_>>();
    match plain.as_slice() {
        [quoted] if dispositions.next().is_none() => Ok(quoted.split('"').next()),
        [] if names.is_empty() => Ok(None),
        _ => Err(unreadable("a part of the form has no plain name")),
    }
}
