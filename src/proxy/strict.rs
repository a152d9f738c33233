//! Where a session meets the strict reading of its head ([`portcullis_filters::strict`]), and the time-outs that Pingora
//! leaves unset. What fails here is 400 and close.

use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::strict::{HeadBounds, check_headers, check_raw_head};

use super::upstream::TUNNEL_SILENCE;
use crate::config::HttpSettings;

/// How long what is left of a body is read after its answer, so that the answer is not lost to a reset.
const DRAIN: Duration = Duration::from_secs(2);

/// Sets what Pingora leaves unbounded.
pub(super) fn set_timeouts(session: &mut Session, http: &HttpSettings) {
    // The deadline for the next head bounds the idle time too (see `connection`), and one timer is enough.
    if session.get_keepalive().is_some() && http.keep_alive < http.head_timeout {
        session.set_keepalive(Some(http.keep_alive.as_secs().max(1)));
    }
    session.set_read_timeout(Some(http.body_timeout));
    // For each piece of an answer, at most 64 KiB. Pingora's least sending rate would take its place, and would give a
    // small event one second and a large piece minutes.
    session.set_write_timeout(Some(http.body_timeout));
    session.set_total_drain_timeout(Some(DRAIN));
}

/// Checks the head and computes the canonical path.
pub(super) fn check(session: &mut Session, http: &HttpSettings) -> Result<CanonicalPath, Denial> {
    let bounds = HeadBounds { bytes: http.max_head_bytes, lines: http.max_headers };
    if let Some(h1) = session.as_http1() {
        check_raw_head(&h1.get_headers_raw_bytes(), &bounds)?;
    }
    let header = session.req_header();
    check_headers(&header.headers, header.version, &bounds)?;
    if !METHODS.contains(&header.method) {
        return Err(Denial::MethodNotAllowed);
    }
    let target = std::str::from_utf8(header.raw_path());
    let target = target.map_err(|_| Denial::MalformedRequest("request target is not ASCII"))?;
    // The absolute form must be accepted (RFC 9112, section 3.2.2). Pingora has compared its authority with Host.
    let target = if target.starts_with("http://") { header.uri.path() } else { target };
    let path = CanonicalPath::parse(target.split('?').next().unwrap_or_default())?;
    check_upgrade(session, &path)?;
    Ok(path)
}

const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

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
    if !(websocket && realtime && bodiless) {
        return Err(Denial::MalformedRequest("no such upgrade here"));
    }
    session.set_read_timeout(Some(TUNNEL_SILENCE));
    Ok(())
}
