//! What runs beside the requests, on the control runtime.

pub mod admin;
pub mod announce;
pub mod custom;
pub mod introspection;
pub mod key_sets;
pub mod nodes;
pub mod notices;
pub mod reload;
pub mod settle;
pub mod stop;
