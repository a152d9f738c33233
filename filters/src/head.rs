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
}
