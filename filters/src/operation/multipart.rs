//! The `model` part of a `multipart/form-data` body (RFC 7578): audio and image calls carry files beside it.
//!
//! Nothing that a caller may bring of its own is taken out of a form: it is refused. Only as much is parsed as finding one part takes, and a form that could be read in two ways is refused.

use std::ops::Range;

use memchr::memmem;

use super::{FORBIDDEN_FIELDS, Found, ModelNames, unreadable};
use crate::client_side::CLIENT_FIELDS;
use crate::denial::Denial;

/// No form that these calls take has more parts than this.
const MAX_PARTS: usize = 200;

/// Finds the model in a form.
pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Result<Found, Denial> {
    let boundary = boundary(content_type.unwrap_or_default()).ok_or_else(|| unreadable("the body must be a form"))?;
    let mut model = None;
    for Part { head, content } in parts(body, boundary)? {
        let name = name_of(head)?;
        if FORBIDDEN_FIELDS.contains(&name) || CLIENT_FIELDS.contains(&name) {
            return Err(Denial::ForbiddenField(name.to_owned()));
        }
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
    Ok(Found { model: Some(text.into()), names: ModelNames::Form(range), ..Found::default() })
}

/// The boundary, if the type leaves no doubt about it: one parameter of that name, of characters that end no parameter.
fn boundary(content_type: &str) -> Option<&str> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut named = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = name.trim();
        // `boundary*` and `boundary*0` are the same parameter to parsers that know RFC 2231.
        name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("boundary")).then(|| (name.len(), value.trim()))
    });
    let (Some((8, value)), None) = (named.next(), named.next()) else { return None };
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'+_-./:=".contains(&byte));
    (plain && (1..=70).contains(&value.len())).then_some(value)
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
        let head = at + 2;
        let end = body.get(head..).and_then(|rest| finder.find(rest)).map(|length| head + length);
        let (Some(end), true) = (end, body[at..].starts_with(b"\r\n")) else {
            return Err(unreadable("the form is not well formed"));
        };
        let part = &body[head..end];
        let blank = memmem::find(part, b"\r\n\r\n").ok_or_else(|| unreadable("a part of the form has no head"))?;
        parts.push(Part { head: &part[..blank], content: head + blank + 4..end });
        if parts.len() > MAX_PARTS {
            return Err(unreadable("the form has too many parts"));
        }
        at = end + delimiter.len();
    }
    // A boundary anywhere else, or anything behind the end, is where lenient parsers find further parts.
    let boundaries = memmem::find_iter(body, opening).count();
    if boundaries != parts.len() + 1 || !matches!(&body[at + 2..], b"" | b"\r\n") {
        return Err(unreadable("the form is not well formed"));
    }
    Ok(parts)
}

const FORM_DATA: &str = "form-data";

/// The `name` of a part's `Content-Disposition`. Every head that parsers read in different ways is refused.
fn name_of(head: &[u8]) -> Result<&str, Denial> {
    let refused = || unreadable("a part of the form has an ambiguous head");
    let head = std::str::from_utf8(head).map_err(|_| refused())?;
    let mut disposition = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or_else(refused)?;
        let token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        // An encoding would make another name of what stands there.
        let encoded = name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["binary", "8bit", "7bit"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        if !token || encoded || value.contains(['\r', '\n', '\0']) {
            return Err(refused());
        }
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return Err(refused());
        }
    }
    let (kind, parameters) =
        disposition.unwrap_or_default().trim().split_at_checked(FORM_DATA.len()).ok_or_else(refused)?;
    if !kind.eq_ignore_ascii_case(FORM_DATA) {
        return Err(refused());
    }
    name_among(parameters).ok_or_else(refused)
}

/// Reads `; name="model"; filename="a.wav"` to its end. `None`: it has no name, or cannot be read in one way only.
fn name_among(mut text: &str) -> Option<&str> {
    let mut found = None;
    while !text.trim().is_empty() {
        let (name, rest) = text.trim_start().strip_prefix(';')?.split_once('=')?;
        let (value, rest) = value(rest)?;
        let name = name.trim_start();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-*_".contains(&byte)) {
            return None;
        }
        if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("name")) {
            let plain = name.eq_ignore_ascii_case("name") && !value.contains('\\');
            if !plain || found.replace(value).is_some() {
                return None;
            }
        }
        text = rest;
    }
    found
}

/// A quoted string, or a token up to the next parameter, and what stands behind it.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let token = text[..end].trim_end();
        let plain = !token.is_empty() && !token.contains(['"', ' ', '\t', '\\']);
        return plain.then_some((token, &text[end..]));
    };
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    // Parsers that do not know quotes take what stands behind a semicolon for the next parameter.
    let posing = |piece: &str| {
        let word = |c: &char| c.is_ascii_alphanumeric() || *c == '=';
        let plain: String = piece.chars().filter(word).collect();
        plain.to_ascii_lowercase().starts_with("name=model")
    };
    let poses = quoted[..end].split(';').skip(1).any(posing);
    (!poses).then(|| (&quoted[..end], &quoted[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "multipart/form-data; boundary=AaB03x";

    fn model(content_type: &str, body: &str) -> Option<std::sync::Arc<str>> {
        read(Some(content_type), body.as_bytes()).ok()?.model
    }

    fn part(head: &str, content: &str) -> String {
        format!("--AaB03x\r\n{head}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn forms_of_the_sdks_are_read() {
        let file = part(
            "Content-Disposition: form-data; name=\"file\"; filename=\"a;b.wav\"; filename*=utf-8''a\r\nContent-Type: audio/wav",
            "RIFF",
        );
        let model_part = part("content-disposition: form-data; name=\"model\"", "whisper-1");
        let unquoted = part("Content-Disposition: form-data; name=model", "whisper-1");
        for model_part in [model_part, unquoted] {
            for end in ["--AaB03x--", "--AaB03x--\r\n"] {
                let body = format!("{file}{model_part}{end}");
                assert_eq!(model(FORM, &body).as_deref(), Some("whisper-1"), "{body}");
                assert_eq!(model("multipart/form-data; boundary=\"AaB03x\"", &body).as_deref(), Some("whisper-1"));
            }
        }
    }

    #[test]
    fn a_second_model_cannot_hide_from_us() {
        let good = part("Content-Disposition: form-data; name=\"model\"", "allowed");
        for head in [
            "Content-Disposition: form-data; name=\"model\"",
            "Content-Disposition: form-data; name=\"Model\"",
            "Content-Disposition: form-data; NAME=\"model\"",
            "Content-Disposition: form-data; name=model",
            "Content-Disposition: form-data; name =\"model\"",
            "Content-Disposition: form-data; name= \"model\"",
            "Content-Disposition: form-data; name=\"mod\\el\"",
            "Content-Disposition: form-data; name=\"x\"; name=\"model\"",
            "Content-Disposition: form-data; name=\"x\"; name*=utf-8''model",
            "Content-Disposition: form-data; name*0=\"mo\"; name*1=\"del\"",
            "Content-Disposition: form-data;\r\n name=\"model\"",
            "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
            "X: y\nContent-Disposition: form-data; name=\"model\"",
            "Content-Disposition : form-data; name=\"model\"",
            "Content-Disposition: form-data; name=\"x\"; filename=\"a; name=model\"",
            "Content-Disposition: form-data; filename=\"x\" name=\"model\"",
            "Content-Disposition: form-data; name=\"x\"\r\nContent-Transfer-Encoding: base64",
        ] {
            let body = format!("{good}{}--AaB03x--\r\n", part(head, "secret"));
            assert_eq!(model(FORM, &body), None, "{head}");
        }
    }

    #[test]
    fn parts_outside_the_form_are_refused() {
        let good = part("Content-Disposition: form-data; name=\"model\"", "allowed");
        let hidden = part("Content-Disposition: form-data; name=\"model\"", "secret");
        for body in [
            format!("{good}--AaB03x--\r\n{hidden}--AaB03x--\r\n"),
            format!("{hidden}{good}--AaB03x--"),
            format!("x\r\n{good}--AaB03x--"),
            format!("{good}--AaB03x--\r\nx"),
            format!(
                "{}--AaB03x--",
                part("Content-Disposition: form-data; name=\"model\"", &format!("allowed\n{hidden}"))
            ),
            good.clone(),
            "--AaB03x\r\n--AaB03x--".to_owned(),
            "--AaB03x\r".to_owned(),
            "--AaB03x".to_owned(),
        ] {
            assert_eq!(model(FORM, &body), None, "{body}");
        }
    }

    #[test]
    fn a_boundary_that_parsers_read_differently_is_refused() {
        for parameters in [
            "boundary=A; boundary=B",
            "boundary=A; Boundary=B",
            "boundary=A; boundary*=utf-8''B",
            "boundary*=utf-8''A",
            "boundary=\"A;B\"",
            "boundary=\"A",
            "boundary=A B",
            "boundary=",
            "charset=utf-8",
        ] {
            assert_eq!(boundary(&format!("multipart/form-data; {parameters}")), None, "{parameters}");
        }
    }
}
