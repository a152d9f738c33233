//! The operator's own code decides who is calling: Python functions as people write them, in processes beside the built
//! gateway.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod article;
mod functions;
mod hook;
mod isolation;
mod scene;
#[path = "../support/mod.rs"]
mod support;
