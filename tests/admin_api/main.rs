//! The management API on a real SQLite store, as its callers see it: through the router, and from the terminal.
//!
//! Shapes and refusals are tested in the `admin-api` crate; here, that what was answered is what was kept, and that the
//! next request with the key is decided by it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod lifecycle;
mod node;
mod notices;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod tokens;
