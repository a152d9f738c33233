//! The management API: an axum router that knows neither SQL nor Pingora.

pub mod store;
