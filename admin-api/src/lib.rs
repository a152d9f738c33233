//! The management API: an axum router that knows neither SQL nor Pingora.

pub mod duration;
pub mod store;
