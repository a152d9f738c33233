//! The table of malformed and smuggling requests: a name, the bytes, and what they must come to.
//!
//! In the bytes `{key}` stands for the field with a valid credential (or for nothing), `{id}` for the field by which the
//! provider's captures are told apart, `{smuggled}` for a second request that carries a valid credential of its own: if
//! any parser on the way saw it as a request, it would reach the provider.

mod bodies;
mod credentials;
mod framing;
mod heads;
mod lines;
mod targets;

/// What a vector comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// One answer with this status, nothing at the provider.
    Refused(u16),
    /// The answer of the provider, which got one well-formed request.
    Forwarded,
    /// No answer: the connection ends.
    Dropped,
}

/// One row.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// With a valid credential.
    pub(crate) admitted: Outcome,
    /// Without one.
    pub(crate) anonymous: Outcome,
}

/// All rows.
pub(crate) fn all() -> Vec<Vector> {
    [lines::all(), framing::all(), heads::all(), targets::all(), credentials::all(), bodies::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// The body that is sent where a good one is needed.
pub(crate) const BODY: &str = "{\"model\":\"attack\"}";
const LINE: &str = "POST /v1/chat/completions HTTP/1.1\r\n";

/// Refused by its head, whoever sends it.
fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Vector {
    answered(name, bytes, 400)
}

/// Answered by its head with this status, whoever sends it.
fn answered(name: &str, bytes: impl Into<Vec<u8>>, status: u16) -> Vector {
    let outcome = Outcome::Refused(status);
    Vector { name: name.into(), bytes: bytes.into(), admitted: outcome, anonymous: outcome }
}

/// Refused with this status behind authentication.
fn inside(name: &str, bytes: impl Into<Vec<u8>>, status: u16) -> Vector {
    Vector { anonymous: Outcome::Refused(401), ..answered(name, bytes, status) }
}

/// Ordinary after all: forwarded once for who may.
fn forwarded(name: &str, bytes: impl Into<Vec<u8>>) -> Vector {
    Vector { admitted: Outcome::Forwarded, ..inside(name, bytes, 0) }
}

/// A good head with these further fields and this behind it.
fn post(fields: &str, rest: &str) -> String {
    format!("{LINE}Host: a\r\n{{key}}{{id}}Content-Type: application/json\r\n{fields}\r\n{rest}")
}

/// A good request for this target.
fn target(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{{key}}{{id}}Content-Length: 18\r\n\r\n{BODY}")
}
