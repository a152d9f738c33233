//! The commands beside `serve`: each a function from its arguments to an exit status.

pub mod check;
pub mod explain;
pub mod import;
pub mod keys;

mod api;
