//! The chain that turns a credential into a principal.

pub mod virtual_key;
