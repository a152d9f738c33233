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
        let name = name_of(head)?;
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
    let mut values = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (1..=70).contains(&value.len()).then_some(value)
}

struct Part<'a> {
    head: &'a [u8],
    /// Where its content stands in the body.
    content: Range<usize>,
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Denial> {
    let malformed = || unreadable("the form is not well formed");
    let marker = format!("--{boundary}");
    if !body.starts_with(marker.as_bytes()) {
        return Err(unreadable("the form does not begin with its boundary"));
    }
    let finder = memmem::Finder::new(marker.as_bytes());
    let mut parts = Vec::new();
    let mut at = marker.len();
    while !body[at..].starts_with(b"--") {
        let end = finder.find(&body[at..]).map(|length| at + length).ok_or_else(malformed)?;
        // Some parsers take the boundary behind a bare line feed for a delimiter; a sender chooses one that occurs nowhere.
        let part = body[at..end].strip_prefix(b"\r\n").and_then(|part| part.strip_suffix(b"\r\n"));
        let part = part.ok_or_else(malformed)?;
        let blank = memmem::find(part, b"\r\n\r\n").ok_or_else(|| unreadable("a part of the form has no head"))?;
        parts.push(Part { head: &part[..blank], content: at + 2 + blank + 4..end - 2 });
        if parts.len() > MAX_PARTS {
            return Err(unreadable("the form has too many parts"));
        }
        at = end + marker.len();
    }
    if matches!(&body[at..], b"--" | b"--\r\n") { Ok(parts) } else { Err(malformed()) }
}

/// The name of a part. Heads that parsers read in different ways (folded lines, encoded content, odd parameters) are
/// refused: the name that we miss could be `model`.
fn name_of(head: &[u8]) -> Result<&str, Denial> {
    let head = std::str::from_utf8(head).map_err(|_| unreadable("a part of the form has an unreadable head"))?;
    let mut disposition = None;
    for line in head.split("\r\n") {
        let field = line.split_once(':').filter(|(name, _)| is_token(name) && !line.contains(['\r', '\n', '\0']));
        let (name, value) = field.ok_or_else(|| unreadable("a part of the form has a malformed head"))?;
        let plain = || ["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        if name.eq_ignore_ascii_case("content-transfer-encoding") && !plain() {
            return Err(unreadable("a part of the form is encoded"));
        }
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return Err(unreadable("a part of the form has two names"));
        }
    }
    disposition.and_then(name_parameter).ok_or_else(|| unreadable("a part of the form has no plain name"))
}

/// `form-data; name="..."` with any other parameters. `None`: no such parameter, or one that could be read otherwise.
fn name_parameter(disposition: &str) -> Option<&str> {
    let (kind, mut rest) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut found = None;
    loop {
        let (key, value) = rest.split_once('=')?;
        let key = key.trim_start();
        let (text, after) = match value.strip_prefix('"') {
            Some(inside) => inside.split_once('"')?,
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        let quoted = value.starts_with('"');
        // A backslash before a quote escapes it for some and is a plain character for others (browsers' file names).
        if !is_token(key.trim_end_matches('*')) || text.ends_with('\\') || (!quoted && text.contains(['"', ' ', '\t']))
        {
            return None;
        }
        let is_name = key.trim_end_matches(|c: char| !c.is_ascii_alphabetic()).eq_ignore_ascii_case("name");
        if is_name && (key != "name" || !quoted || text.contains('\\') || found.replace(text).is_some()) {
            return None;
        }
        rest = match after.trim_start() {
            "" => return found,
            more => more.strip_prefix(';')?,
        };
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
