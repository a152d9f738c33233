//! Ids for things that their makers give none.

use crate::keys::material::fill;
use crate::problem::Problem;

/// A random UUID (version 4), as LiteLLM gives to a team or a user.
pub(crate) fn random() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}
