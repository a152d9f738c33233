//! The certificate by which a client is known at the TLS layer (RFC 8705, section 3), as a proxy that ends TLS passes it
//! on: in a header that counts only from a proxy that the operator trusts.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Longest value that is looked at, in bytes. Certificates of clients are some 2 KiB long.
const MAX_VALUE: usize = 32 * 1024;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The SHA-256 thumbprint of the one certificate in a header's value (`x5t#S256`; RFC 8705, section 3.1).
///
/// Understood are DER in base64 between colons, as in `Client-Cert` (RFC 9440, section 2.1), or without them (HAProxy's
/// `%[ssl_c_der,base64]`), and PEM, percent-encoded or not (nginx's `$ssl_client_escaped_cert`). `None`: neither, or not
/// exactly one certificate. That it is good is for the proxy to say, which has verified it.
#[must_use]
pub fn thumbprint_from_header(value: &HeaderValue) -> Option<[u8; 32]> {
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_VALUE)?.trim();
    let text = percent_decoded(text)?;
    let inner = match text.strip_prefix(':') {
        Some(rest) => rest.strip_suffix(':')?,
        None if text.starts_with(BEGIN) => text.trim_end().strip_prefix(BEGIN)?.strip_suffix(END)?,
        None => &text,
    };
    let base64: String = inner.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    is_one_element(&der).then(|| Sha256::digest(&der).into())
}

/// `+` stays as it is: it belongs to base64, and none of these forms writes a space so.
fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let digit = |at| char::from(*part.as_bytes().get(at)?).to_digit(16);
        let byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok().filter(u8::is_ascii)?;
        decoded.push(char::from(byte));
        decoded.push_str(&part[2..]);
    }
    Some(Cow::Owned(decoded))
}

/// Whether these bytes are one SEQUENCE of DER from end to end, as a certificate is: a chain, or anything behind it, would
/// have another thumbprint than the certificate.
fn is_one_element(der: &[u8]) -> bool {
    let (length, content) = match der {
        [0x30, short @ 0..=0x7f, content @ ..] => (usize::from(*short), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
        _ => return false,
    };
    length > 0 && content.len() == length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// SEQUENCE { INTEGER 1 } and SEQUENCE { OCTET STRING of 200 times 0xff }, for certificates of both sizes.
    fn small() -> Vec<u8> {
        vec![0x30, 3, 2, 1, 1]
    }

    fn large() -> Vec<u8> {
        [&[0x30, 0x81, 203, 4, 0x81, 200][..], &[0xff; 200]].concat()
    }

    fn read(text: &str) -> Option<[u8; 32]> {
        thumbprint_from_header(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn every_form_gives_the_thumbprint_of_the_certificate() {
        for der in [small(), large()] {
            let base64 = STANDARD.encode(&der);
            let (first, second) = base64.split_at(base64.len() / 2);
            let escape =
                |text: &str| text.replace('+', "%2B").replace('/', "%2F").replace('=', "%3d").replace('\n', "%0A");
            let pem = format!("{BEGIN}\n{first}\n{second}\n{END}\n");
            for value in [
                format!(":{base64}:"),
                base64.clone(),
                escape(&base64),
                escape(&pem).replace(' ', "%20"),
                pem.replace('\n', "%0D%0A"),
                pem.replace('\n', " "),
                pem.replace('\n', "\t"),
            ] {
                assert_eq!(read(&value), Some(Sha256::digest(&der).into()), "{value}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_value_is_read_without_harm(value in "([%:+/=A-Z0-9a-f -]|-----BEGIN CERTIFICATE-----|%2[0-9A-F]){0,40}") {
            prop_assert!(read(&value).is_none() || value.len() >= 4);
        }
    }

    #[test]
    fn nothing_else_is_a_certificate() {
        let one = STANDARD.encode(small());
        let two = STANDARD.encode([small(), small()].concat());
        for value in [
            String::new(),
            "::".to_owned(),
            format!(":{one}"),
            format!("{one}:"),
            format!(":{one}:, :{one}:"),
            format!("{one},{one}"),
            format!(":{two}:"),
            format!("{BEGIN} {one} {END} {BEGIN} {one} {END}"),
            format!("{BEGIN} {one}"),
            format!("x{BEGIN} {one} {END}"),
            "%3".to_owned(),
            "%zz".to_owned(),
            "%ff".to_owned(),
            "%".to_owned(),
            "%e4%bd%a0".to_owned(),
            "Hash=0123".to_owned(),
            "MAA=".to_owned(),
            STANDARD.encode([0x04, 1, 1]),
            "A".repeat(MAX_VALUE + 4),
        ] {
            assert_eq!(read(&value), None, "{value:.100}");
        }
    }
}
