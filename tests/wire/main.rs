//! What goes over the wire, with real sockets: the built gateway as a child process between clients that choose their own
//! bytes and fake providers that record what reaches them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bodies;
mod bounds;
mod denials;
mod failover;
mod reload;
mod reuse;
mod scene;
mod slots;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tunnels;
