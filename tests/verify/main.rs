//! `/auth/verify`: Portcullis as the decision for another proxy, asked by a real nginx and in the forms of Envoy, Traefik and
//! Caddy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod forms;
mod nginx;
mod scene;
#[path = "../support/mod.rs"]
mod support;
