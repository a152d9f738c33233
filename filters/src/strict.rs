//! The strict reading of a head: whatever two parsers in a row could read differently is refused before anything is
//! decided. Servers refuse much of it by themselves; this adds what they repair or let through (measured on Pingora
//! 0.9.1: bare LF, content-length beside transfer-encoding, `gzip, chunked`, repeated lengths, a missing Host, large
//! heads). Pure, so that it can be fuzzed and put in front of another server.

use http::{HeaderMap, Version};
use memchr::{memchr, memchr2};

use crate::denial::Denial;
use crate::head::Lengths;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadBounds {
    /// Bytes of request line and fields together.
    pub bytes: usize,
    /// Field lines.
    pub lines: usize,
}

fn malformed(why: &'static str) -> Denial {
    Denial::MalformedRequest(why)
}

/// What can only be seen in the bytes: Pingora has dropped a length that stood beside a transfer-encoding by now.
///
/// # Errors
/// [`Denial::MalformedRequest`].
pub fn check_raw_head(raw: &[u8], bounds: &HeadBounds) -> Result<(), Denial> {
    if raw.len() > bounds.bytes {
        return Err(malformed("head too large"));
    }
    let mut has_length = false;
    let mut has_encoding = false;
    let mut rest = raw;
    let mut in_fields = false;
    while !rest.is_empty() {
        let line = next_line(&mut rest)?;
        if in_fields && !line.is_empty() {
            let name = field_name(line)?;
            has_length |= name.eq_ignore_ascii_case(b"content-length");
            has_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
        }
        // One empty line in front of a request is to be ignored (RFC 9112, section 2.2).
        in_fields |= !line.is_empty();
    }
    if has_length && has_encoding { Err(malformed("content-length beside transfer-encoding")) } else { Ok(()) }
}

/// Takes a line, and gives it without its end; the last may have none.
fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Denial> {
    let (line, end) = rest.split_at(memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()));
    *rest = match end {
        [] => end,
        [b'\r', b'\n', after @ ..] => after,
        [b'\n', ..] => return Err(malformed("bare line feed")),
        _ => return Err(malformed("bare carriage return")),
    };
    Ok(line)
}

/// What stands before the colon, if that is a field name.
fn field_name(line: &[u8]) -> Result<&[u8], Denial> {
    // A colon may not stand in a name, so what ends the name tells whether it is one.
    let (name, end) = line.split_at(line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len()));
    match (name, end) {
        ([_, ..], [b':', ..]) => Ok(name),
        _ if memchr(b':', line).is_none() => Err(malformed("a header line without a colon")),
        ([], [b' ' | b'\t', ..]) => Err(malformed("folded header line")),
        (_, [b' ' | b'\t', ..]) => Err(malformed("white space before a colon")),
        _ => Err(malformed("unusable header name")),
    }
}

/// Whether a byte may stand in a field name (`tchar` of RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'!' | b'#'..=b'\'' | b'*' | b'+'
                | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
            byte += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// What is asked of the parsed fields, in every version of HTTP.
///
/// # Errors
/// [`Denial::MalformedRequest`].
pub fn check_headers(headers: &HeaderMap, version: Version, bounds: &HeadBounds) -> Result<(), Denial> {
    if headers.len() > bounds.lines {
        return Err(malformed("too many header lines"));
    }
    // One pass: a head has some twenty fields, and looking a name up costs more than passing over it.
    let mut bytes = 0;
    let mut seen = [false; SINGLE.len()];
    let mut options = 0;
    for (name, value) in headers {
        let (name, value) = (name.as_str(), value.as_bytes());
        bytes += name.len() + value.len() + 4;
        if SINGLE_LENGTHS.may_hold(name)
            && let Some(at) = SINGLE.iter().position(|(single, _)| *single == name)
        {
            let (_, why) = SINGLE[at];
            if std::mem::replace(&mut seen[at], true) {
                return Err(malformed(why));
            }
            check_value(name, value)?;
        }
        if name == "connection" {
            options = refuse_connection_options(value, options)?;
        }
        refuse_disguise(name)?;
    }
    if bytes > bounds.bytes {
        return Err(malformed("head too large"));
    }
    // The first of those that come once.
    let [has_host, ..] = seen;
    if version == Version::HTTP_11 && !has_host { Err(malformed(ONE_HOST)) } else { Ok(()) }
}

const ONE_HOST: &str = "exactly one Host is needed";
const TWICE: &str = "a field that may come once came twice";

/// Fields of which two parsers may take different lines, or by which a body is read here; and what is said of a second.
const SINGLE: [(&str, &str); 7] = [
    ("host", ONE_HOST),
    ("transfer-encoding", "transfer-encoding other than chunked"),
    ("content-length", "unusable content-length"),
    ("content-type", TWICE),
    ("content-encoding", TWICE),
    ("expect", TWICE),
    ("upgrade", TWICE),
];
const SINGLE_LENGTHS: Lengths = {
    let mut names = [""; SINGLE.len()];
    let mut at = 0;
    while at < SINGLE.len() {
        names[at] = SINGLE[at].0;
        at += 1;
    }
    Lengths::of(&names)
};

fn check_value(name: &str, value: &[u8]) -> Result<(), Denial> {
    let in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    match name {
        "host" if !value.iter().all(in_host) => Err(malformed("unusable Host")),
        "transfer-encoding" if value != b"chunked" => Err(malformed("transfer-encoding other than chunked")),
        "content-length" if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) => {
            Err(malformed("unusable content-length"))
        }
        "expect" if !value.eq_ignore_ascii_case(b"100-continue") => Err(malformed("unknown expectation")),
        _ => Ok(()),
    }
}

/// Pingora gives up without an answer when `Connection` has many options, one of these, or one that is no field name; and
/// a length that is not passed on would leave the body without an end.
/// Counts them, behind as many as other lines had.
fn refuse_connection_options(value: &[u8], others: usize) -> Result<usize, Denial> {
    let options = value.split(|byte| *byte == b',').map(|option| option.trim_ascii());
    let mut count = others;
    for option in options.filter(|option| !option.is_empty()) {
        let is_name = option.iter().all(|byte| is_token(*byte));
        let reserved = UNNAMEABLE.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        if !is_name || reserved || count == MAX_CONNECTION_OPTIONS {
            return Err(malformed("unusable Connection"));
        }
        count += 1;
    }
    Ok(count)
}

const MAX_CONNECTION_OPTIONS: usize = 9;
const UNNAMEABLE: [&str; 6] =
    ["content-length", "host", "transfer-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Headers that decide something here and have a dash in their names. Servers that map `_` or `.` to `-` (CGI's heritage)
/// would read a disguised one as the real thing.
const OURS: [&str; 13] = [
    "api-key",
    "content-length",
    "content-type",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "transfer-encoding",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-goog-api-key",
    "x-litellm-api-key",
    "x-real-ip",
];
const OUR_LENGTHS: Lengths = Lengths::of(&OURS);

fn refuse_disguise(name: &str) -> Result<(), Denial> {
    if !OUR_LENGTHS.may_hold(name) || memchr2(b'_', b'.', name.as_bytes()).is_none() {
        return Ok(());
    }
    let plain = name.replace(['_', '.'], "-");
    if OURS.contains(&plain.as_str()) { Err(malformed("disguised header name")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadBounds = HeadBounds { bytes: 32 * 1024, lines: 100 };

    fn raw(head: &str) -> Result<(), Denial> {
        check_raw_head(head.as_bytes(), &BOUNDS)
    }

    #[test]
    fn an_ordinary_head_passes() {
        assert_eq!(raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), Ok(()));
    }

    #[test]
    fn bytes_that_parsers_read_differently_are_refused() {
        for head in [
            "POST / HTTP/1.1\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost : a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\x0bTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n\r",
            "\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n",
        ] {
            assert!(matches!(raw(head), Err(Denial::MalformedRequest(_))), "{head:?} passed");
        }
    }

    #[test]
    fn a_field_name_is_what_the_parser_takes_for_one() {
        for byte in (0..=u8::MAX).filter(|byte| !b"\r\n:".contains(byte)) {
            let name = [b'x', byte, b'y'];
            let head = [b"GET / HTTP/1.1\r\n", &name[..], b": a\r\n\r\n"].concat();
            let taken = http::HeaderName::from_bytes(&name).is_ok();
            assert_eq!(check_raw_head(&head, &BOUNDS).is_ok(), taken, "{}", byte.escape_ascii());
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> Result<(), Denial> {
        let mut map = HeaderMap::new();
        map.append("host", "a".parse().expect("a header value"));
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a header value"));
        }
        check_headers(&map, Version::HTTP_11, &BOUNDS)
    }

    #[test]
    fn framing_and_disguises_are_refused() {
        for lines in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "ChUnKeD")],
            &[("content-length", "3"), ("content-length", "3")],
            &[("content-length", "3, 3")],
            &[("content-length", "+3")],
            &[("content-length", "")],
            &[("content-type", "multipart/form-data; boundary=a"), ("content-type", "multipart/form-data; boundary=b")],
            &[("content-encoding", "identity"), ("content-encoding", "gzip")],
            &[("upgrade", "websocket"), ("upgrade", "h2c")],
            &[("host", "b")],
            &[("expect", "a miracle")],
            &[("connection", "close, content-length")],
            &[("connection", "Host")],
            &[("connection", "keep-alive, \"x\"")],
            &[("connection", "a,b,c,d,e,f,g,h,i,j")],
            &[("x_api_key", "sk-1")],
            &[("content_length", "3")],
            &[("x.api.key", "sk-1")],
        ] {
            assert!(matches!(headers(lines), Err(Denial::MalformedRequest(_))), "{lines:?} passed");
        }
        assert_eq!(headers(&[("connection", "keep-alive, , Upgrade, x-api-key")]), Ok(()));
        assert_eq!(headers(&[("session_id", "a"), ("transfer-encoding", "chunked")]), Ok(()));
        let missing = check_headers(&HeaderMap::new(), Version::HTTP_11, &BOUNDS);
        assert_eq!(missing, Err(Denial::MalformedRequest("exactly one Host is needed")));
    }
}
