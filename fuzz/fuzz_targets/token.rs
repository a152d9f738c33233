//! Runs `checks/token.rs` on what the fuzzer makes up.

#![no_main]

#[path = "../checks/token.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
