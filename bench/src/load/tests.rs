//! The generator against providers that answer well, badly, late or not at all.
