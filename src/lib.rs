//! Portcullis: an edge authentication proxy for LLM traffic.
//!
//! This crate is the shell: sockets, SQL, HTTP clients, Pingora. It decides nothing; decisions are in
//! `portcullis_filters`, management in `portcullis_admin_api`. A request goes through [`proxy`]; start at
//! `Gateway::admit` there. [`app`] is where everything is constructed.

pub mod cli;
pub mod config;
pub mod explain;

pub mod app;
pub mod live;

pub mod proxy;

pub mod background;
pub mod commands;
pub mod shared_counters;
pub mod store;
pub mod telemetry;
pub mod usage;
