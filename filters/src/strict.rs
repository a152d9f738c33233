//! The strict reading of a head: whatever two parsers in a row could read differently is refused before anything is
//! decided. Servers refuse much of it by themselves; this adds what they repair or let through (measured on Pingora
//! 0.9.1: bare LF, content-length beside transfer-encoding, `gzip, chunked`, repeated lengths, a missing Host, large
//! heads). Pure, so that it can be fuzzed and put in front of another server.

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Version};

use crate::denial::Denial;

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
    let mut previous = 0;
    for (at, byte) in raw.iter().enumerate() {
        if *byte == b'\n' && previous != b'\r' {
            return Err(malformed("bare line feed"));
        }
        if *byte == b'\r' && raw.get(at + 1) != Some(&b'\n') {
            return Err(malformed("bare carriage return"));
        }
        previous = *byte;
    }
    let mut has_length = false;
    let mut has_encoding = false;
    let lines = raw.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // One empty line in front of a request is to be ignored (RFC 9112, section 2.2).
    for line in lines.skip_while(|line| line.is_empty()).skip(1).filter(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(malformed("a header line without a colon"));
        };
        let name = &line[..colon];
        if name.starts_with(b" ") || name.starts_with(b"\t") {
            return Err(malformed("folded header line"));
        }
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            return Err(malformed("white space before a colon"));
        }
        if HeaderName::from_bytes(name).is_err() {
            return Err(malformed("unusable header name"));
        }
        has_length |= name.eq_ignore_ascii_case(b"content-length");
        has_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
    }
    if has_length && has_encoding { Err(malformed("content-length beside transfer-encoding")) } else { Ok(()) }
}

/// What is asked of the parsed fields, in every version of HTTP.
///
/// # Errors
/// [`Denial::MalformedRequest`].
pub fn check_headers(headers: &HeaderMap, version: Version, bounds: &HeadBounds) -> Result<(), Denial> {
    if headers.len() > bounds.lines {
        return Err(malformed("too many header lines"));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > bounds.bytes {
        return Err(malformed("head too large"));
    }
    if headers.get_all(HOST).iter().count() > 1 || (version == Version::HTTP_11 && !headers.contains_key(HOST)) {
        return Err(malformed("exactly one Host is needed"));
    }
    let in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(byte);
    if headers.get(HOST).is_some_and(|host| !host.as_bytes().iter().all(in_host)) {
        return Err(malformed("unusable Host"));
    }
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if encodings.next().is_some_and(|encoding| encoding != "chunked") || encodings.next().is_some() {
        return Err(malformed("transfer-encoding other than chunked"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.len() <= 18 && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() {
            return Err(malformed("unusable content-length"));
        }
    }
    if SINGLE.iter().any(|name| headers.get_all(name).iter().nth(1).is_some()) {
        return Err(malformed("a field that may come once came twice"));
    }
    refuse_connection_options(headers)?;
    if headers.get(EXPECT).is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(malformed("unknown expectation"));
    }
    headers.keys().try_for_each(|name| refuse_disguise(name.as_str()))
}

/// Pingora gives up without an answer when `Connection` has many options, one of these, or one that is no field name; and
/// a length that is not passed on would leave the body without an end.
fn refuse_connection_options(headers: &HeaderMap) -> Result<(), Denial> {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let options = options.map(|option| option.trim_ascii()).filter(|option| !option.is_empty());
    for (count, option) in options.enumerate() {
        let is_token = option.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
        let reserved = UNNAMEABLE.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        if !is_token || reserved || count == MAX_CONNECTION_OPTIONS {
            return Err(malformed("unusable Connection"));
        }
    }
    Ok(())
}

const MAX_CONNECTION_OPTIONS: usize = 9;
const UNNAMEABLE: [&str; 6] =
    ["content-length", "host", "transfer-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// Fields of which two parsers may take different lines, and by which a body is read here.
static SINGLE: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_TYPE, EXPECT, UPGRADE];

/// Headers that decide something here. Servers that map `_` or `.` to `-` (CGI's heritage) would read a disguised one as
/// the real thing.
const OURS: &[&str] = &[
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-goog-api-key",
    "x-litellm-api-key",
    "x-real-ip",
];

fn refuse_disguise(name: &str) -> Result<(), Denial> {
    if !name.contains(['_', '.']) {
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
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n",
        ] {
            assert!(matches!(raw(head), Err(Denial::MalformedRequest(_))), "{head:?} passed");
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
