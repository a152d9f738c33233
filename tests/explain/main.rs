//! `/auth/explain` and `portcullis explain`: what they say is what a request then meets, they use nothing up, and they
//! repeat no credential.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod nothing_used;
mod questions;
mod scene;
mod situations;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
