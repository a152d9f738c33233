//! The gateway under attack: everything here is sent by somebody who wants in, through, or the process down.

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod http2;
mod hygiene;
mod reach;
mod slow;
mod smuggling;
mod vectors;
