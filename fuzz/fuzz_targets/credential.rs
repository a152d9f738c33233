//! Runs `checks/credential.rs` on what the fuzzer makes up.

#![no_main]

#[path = "../checks/credential.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
