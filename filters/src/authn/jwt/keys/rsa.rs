//! Which RSA keys are good enough. The backend checks size and form again for each signature; here it is said once, by
//! name, when the set is read.

/// Sizes of a modulus: what RFC 7518, section 3.3, asks for, and what a signature may cost to verify.
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The least exponent: with a small one, and with an even one, signatures can be forged or do not verify at all.
const MIN_EXPONENT: u64 = 65537;
/// The size up to which the backend takes an exponent.
const MAX_EXPONENT_BITS: usize = 33;

/// Modulus and exponent without leading zeros, which RFC 7518, section 6.3.1.1, forbids and some libraries write.
pub(super) fn checked<'a>(modulus: &'a [u8], exponent: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), &'static str> {
    let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
    if !BITS.contains(&bits(modulus)) {
        return Err("an RSA key that is not of 2048 to 8192 bits");
    }
    if bits(exponent) > MAX_EXPONENT_BITS {
        return Err("an RSA exponent of more than 33 bits");
    }
    let value = exponent.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    if value < MIN_EXPONENT || value % 2 == 0 {
        return Err("an RSA exponent that is even or below 65537");
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err("an RSA modulus that is even");
    }
    if is_roca(modulus) {
        return Err("an RSA key that can be factored (CVE-2017-15361)");
    }
    Ok((modulus, exponent))
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Primes that divide what the primes of the affected generator are built around, the two aside.
const MARKING_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus comes from the generator of CVE-2017-15361, whose primes are powers of 65537 modulo each of these
/// small primes; then the modulus is so too, which another is by chance once in some hundred million times.
fn is_roca(modulus: &[u8]) -> bool {
    MARKING_PRIMES.into_iter().all(|prime| {
        let residue = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut powers =
            std::iter::successors(Some(1), |power| Some(power * 65537 % prime).filter(|power| *power != 1));
        powers.any(|power| power == residue)
    })
}
