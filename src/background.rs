//! What runs beside the requests, on the control runtime.

pub mod admin;
pub mod announce;
pub mod reload;
pub mod stop;
