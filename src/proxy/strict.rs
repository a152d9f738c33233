//! The strict HTTP layer: whatever two parsers in a row could read differently is 400 and close, before anything is
//! decided. Pingora refuses much of it by itself; this adds what it repairs or lets through (measured on 0.9.1: bare
//! LF, content-length beside transfer-encoding, `gzip, chunked`, repeated lengths, a missing Host, TRACE, large heads).

use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Version};
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::path::CanonicalPath;

use crate::config::HttpSettings;

/// A slow reader is cut off below this pace, in bytes per second.
const MIN_SEND_RATE: usize = 256;
/// How long what is left of a body is read after its answer, so that the answer is not lost to a reset.
const DRAIN: Duration = Duration::from_secs(2);

/// Sets what Pingora leaves unbounded.
pub(super) fn set_timeouts(session: &mut Session, http: &HttpSettings) {
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(http.keep_alive.as_secs().max(1)));
    }
    session.set_read_timeout(Some(http.body_timeout));
    session.set_write_timeout(Some(http.body_timeout));
    session.set_min_send_rate(Some(MIN_SEND_RATE));
    session.set_total_drain_timeout(Some(DRAIN));
}

/// Checks the head and computes the canonical path.
pub(super) fn check(session: &mut Session, http: &HttpSettings) -> Result<CanonicalPath, Denial> {
    if let Some(h1) = session.as_http1() {
        check_raw_head(&h1.get_headers_raw_bytes(), http)?;
    }
    let header = session.req_header();
    check_headers(&header.headers, header.version, http)?;
    if !METHODS.contains(&header.method) {
        return Err(Denial::MethodNotAllowed);
    }
    let target = std::str::from_utf8(header.raw_path()).map_err(|_| malformed("request target is not ASCII"))?;
    let path = CanonicalPath::parse(target.split('?').next().unwrap_or_default())?;
    check_upgrade(session, &path)?;
    Ok(path)
}

const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

fn malformed(why: &'static str) -> Denial {
    Denial::MalformedRequest(why)
}

/// What can only be seen in the bytes: Pingora has dropped a length that stood beside a transfer-encoding by now.
fn check_raw_head(raw: &[u8], http: &HttpSettings) -> Result<(), Denial> {
    if raw.len() > http.max_head_bytes {
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
    for line in raw.split(|byte| *byte == b'\n').skip(1) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.starts_with(b" ") || name.starts_with(b"\t") {
            return Err(malformed("folded header line"));
        }
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            return Err(malformed("white space before a colon"));
        }
        has_length |= name.eq_ignore_ascii_case(b"content-length");
        has_encoding |= name.eq_ignore_ascii_case(b"transfer-encoding");
    }
    if has_length && has_encoding { Err(malformed("content-length beside transfer-encoding")) } else { Ok(()) }
}

fn check_headers(headers: &HeaderMap, version: Version, http: &HttpSettings) -> Result<(), Denial> {
    if headers.len() > http.max_headers {
        return Err(malformed("too many header lines"));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > http.max_head_bytes {
        return Err(malformed("head too large"));
    }
    if headers.get_all(HOST).iter().count() > 1 || (version == Version::HTTP_11 && !headers.contains_key(HOST)) {
        return Err(malformed("exactly one Host is needed"));
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
    if headers.get(EXPECT).is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(malformed("unknown expectation"));
    }
    headers.keys().try_for_each(|name| refuse_disguise(name.as_str()))
}

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

/// An upgrade is served on the realtime path only. `Upgrade: h2c` is the one that ordinary clients offer everywhere
/// (Java's does, on every plain-text connection); RFC 9113, section 3.1 has it ignored, so it is taken out.
fn check_upgrade(session: &mut Session, path: &CanonicalPath) -> Result<(), Denial> {
    let Some(wanted) = session.req_header().headers.get(UPGRADE) else { return Ok(()) };
    if wanted.as_bytes().eq_ignore_ascii_case(b"h2c") {
        let header = session.req_header_mut();
        for name in ["upgrade", "http2-settings"] {
            header.remove_header(name);
        }
        return Ok(());
    }
    let websocket = wanted.as_bytes().eq_ignore_ascii_case(b"websocket");
    let realtime = path.as_str().ends_with("/realtime");
    let bodiless = session.req_header().method == Method::GET
        && !session.req_header().headers.contains_key(CONTENT_LENGTH)
        && !session.req_header().headers.contains_key(TRANSFER_ENCODING);
    if websocket && realtime && bodiless { Ok(()) } else { Err(malformed("no such upgrade here")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(head: &str) -> Result<(), Denial> {
        check_raw_head(head.as_bytes(), &HttpSettings::for_tests())
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
        check_headers(&map, Version::HTTP_11, &HttpSettings::for_tests())
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
            &[("host", "b")],
            &[("expect", "a miracle")],
            &[("x_api_key", "sk-1")],
            &[("content_length", "3")],
            &[("x.api.key", "sk-1")],
        ] {
            assert!(matches!(headers(lines), Err(Denial::MalformedRequest(_))), "{lines:?} passed");
        }
        assert_eq!(headers(&[("session_id", "a"), ("transfer-encoding", "chunked")]), Ok(()));
        let missing = check_headers(&HeaderMap::new(), Version::HTTP_11, &HttpSettings::for_tests());
        assert_eq!(missing, Err(Denial::MalformedRequest("exactly one Host is needed")));
    }
}
