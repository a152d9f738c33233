//! The management API as its callers see it: requests go through the whole router, in process.
//!
//! The store is an in-memory double, so these tests speak of routes, roles, validation and shapes; that writes are kept
//! is the business of the store's own contract suite.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod generate;
mod harness;
mod manage;
mod memory;
mod models;
mod reach;
mod roles;
mod rotate;
mod teams;
mod tokens;
mod users;
