//! `RequestHead`: the part of a request that every decision may look at before a body byte is read.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::path::CanonicalPath;

/// A borrowed view of a request's head. The shell makes it; the stages only read it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method as received.
    pub method: &'a Method,
    /// The one path that routing, authorisation and forwarding all use.
    pub path: &'a CanonicalPath,
    /// The raw query, without the question mark.
    pub query: Option<&'a str>,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// Where the connection comes from. `None` for a Unix socket.
    pub source: Option<IpAddr>,
    /// The SHA-256 thumbprint of the certificate by which the client is known at the TLS layer (RFC 8705, section 3.1).
    pub client_certificate: Option<[u8; 32]>,
}

impl<'a> RequestHead<'a> {
    /// Of a request whose peer is not known.
    #[must_use]
    pub fn new(method: &'a Method, path: &'a CanonicalPath, query: Option<&'a str>, headers: &'a HeaderMap) -> Self {
        Self { method, path, query, headers, source: None, client_certificate: None }
    }
}

/// The lengths of some names, a bit for each: most fields of a request are told apart from those by that alone.
#[derive(Clone, Copy)]
pub(crate) struct Lengths(u64);

impl Lengths {
    pub(crate) const fn of(names: &[&str]) -> Self {
        let mut lengths = 0;
        let mut at = 0;
        while at < names.len() {
            lengths |= Self::bit(names[at]);
            at += 1;
        }
        Self(lengths)
    }

    /// Whether one of the names is as long as this one.
    pub(crate) const fn may_hold(self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }

    /// Names of 63 bytes and more share the last bit.
    const fn bit(name: &str) -> u64 {
        1 << if name.len() < 63 { name.len() } else { 63 }
    }
}
