//! What callers bring of their own: a provider's key, an address, deployments, a subscription's token. Two providers stand
//! behind the gateway, the operator's and one that callers choose; who gets which credential is what these tests ask.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod bodies;
mod heads;
mod lists;
mod scene;
#[path = "../support/mod.rs"]
mod support;
