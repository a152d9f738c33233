//! Tokens over the wire: the built gateway between a client, an issuer that serves real key sets, and a fake provider.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admitted;
mod bound;
mod flood;
mod key_sets;
mod logout;
mod opaque;
mod people;
mod rights;
mod scene;
#[path = "../support/mod.rs"]
mod support;
