//! Limits of keys, as callers meet them: exact on one node under concurrency, given back however a request ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod at_once;
mod nodes;
mod per_minute;
mod scene;
#[path = "../support/mod.rs"]
mod support;
