//! The gateway under attack: everything here is sent by somebody who wants in, through, or the process down.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "figures and counts are part of what the tests report")]

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod http2;
mod hygiene;
mod reach;
mod slow;
mod smuggling;
mod vectors;
