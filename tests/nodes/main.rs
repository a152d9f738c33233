//! Several gateways on one store, a store that goes away, and stores and floods of a size that hurts: the built gateway as
//! child processes, a real PostgreSQL, a fake provider.
//!
//! The tests print what they measured (`docs/figures.md` keeps one run) and take turns, so that no figure is another
//! test's load. Only bounds that the design promises are asserted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod caller;
mod denial;
mod embedded;
mod figures;
mod flood;
mod load;
mod memory;
mod node;
mod outage;
mod revocation;
mod scale;
#[path = "../support/mod.rs"]
mod support;
