//! Which texts are a public key in PEM, and which key they are.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair;
use serde_json::json;

use super::*;
use crate::authn::jwt::algorithm::Algorithm;
use crate::authn::jwt::keys::{KeySet, NotAKeySet};
use crate::authn::jwt::testing::{TestKeys, pem, set_of};

#[test]
fn pem_is_read_in_each_of_its_forms() {
    let keys = TestKeys::shared();
    let info = |der: aws_lc_rs::encoding::PublicKeyX509Der<'_>| pem("PUBLIC KEY", der.as_ref());
    for (kind, text) in [
        (KeyKind::Rsa, info(keys.rsa.public_key().as_der().unwrap())),
        (KeyKind::Rsa, pem("RSA PUBLIC KEY", keys.rsa.public_key().as_ref())),
        (KeyKind::P256, info(keys.p256.public_key().as_der().unwrap())),
        (KeyKind::P384, info(keys.p384.public_key().as_der().unwrap())),
        (KeyKind::P521, info(keys.p521.public_key().as_der().unwrap())),
        (KeyKind::Ed25519, info(keys.ed25519.public_key().as_der().unwrap())),
    ] {
        let expected = set_of(&[keys.jwk(kind)]).keys[0].key.thumbprint;
        let lines: Vec<&str> = text.lines().collect();
        let body = lines[1..lines.len() - 1].concat();
        let one_line = format!("{}\n{body}\n{}", lines[0], lines[lines.len() - 1]);
        for form in [text.clone(), text.replace('\n', "\r\n"), format!("a key:\n{text}\n"), one_line] {
            assert_eq!(KeySet::from_pem(&form).unwrap().keys[0].key.thumbprint, expected, "{form}");
        }
    }
}

/// Made with `openssl x509 -req` and `openssl req -x509` for one key, which was thrown away.
const CERTIFICATES: [&str; 2] = [
    "-----BEGIN CERTIFICATE-----
MIIBKzCB0wIUH78tCQb3WrgEPjDW2EPlvwZXZeowCgYIKoZIzj0EAwIwGTEXMBUG
A1UEAwwOaXNzdWVyLmV4YW1wbGUwHhcNMjYxMTI1MjI1OTEyWhcNMzYxMTIyMjI1
OTEyWjAZMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABLOU25nz5D0rksy5Q8+NirfRLp0xY8L7cBG6kvRYc8C/ZcsrI5x/
lsY2YANUAkaRHx8wgEcQoVONkX901DfVToMwCgYIKoZIzj0EAwIDRwAwRAIgceVG
MfWKDmcu82+2muol3Swpl5r+LtNs5YisugEFsQYCICn4yc6z8ZGk1oXaa97UW2Py
OVYYb/4DzfBxAePE/r8y
-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUN0Bp6owy+WoJC85HZKigBgDcXMYwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOaXNzdWVyLmV4YW1wbGUwHhcNMjYxMTI1MjI1OTEyWhcNMzYx
MTIyMjI1OTEyWjAZMRcwFQYDVQQDDA5pc3N1ZXIuZXhhbXBsZTBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABLOU25nz5D0rksy5Q8+NirfRLp0xY8L7cBG6kvRYc8C/
ZcsrI5x/lsY2YANUAkaRHx8wgEcQoVONkX901DfVToOjUzBRMB0GA1UdDgQWBBS2
ZUR4xvsLjHnANPsAQlJgExHRkTAfBgNVHSMEGDAWgBS2ZUR4xvsLjHnANPsAQlJg
ExHRkTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCnAMOGq0PG
bVzLt2buK4WIcYn95o1XSeXzCbostgDOuQIgXpgyGpBXuXE7YGevHFR7FYCoQPgN
vE5lsMm1WY+9IQI=
-----END CERTIFICATE-----",
];
const THEIR_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEs5TbmfPkPSuSzLlDz42Kt9EunTFj
wvtwEbqS9FhzwL9lyysjnH+WxjZgA1QCRpEfHzCARxChU42Rf3TUN9VOgw==
-----END PUBLIC KEY-----";

#[test]
fn certificates_of_both_versions_are_read() {
    let expected = KeySet::from_pem(THEIR_KEY).unwrap().keys[0].key.thumbprint;
    for certificate in CERTIFICATES {
        assert!(KeySet::from_pem(certificate).unwrap().holds(&expected));
    }
    let document = json!({"a": CERTIFICATES[0], "b": CERTIFICATES[1], "c": "none", "d": 1});
    let (set, left_out) = KeySet::parse(document.to_string().as_bytes()).unwrap();
    assert!(set.has(Some("a"), Algorithm::Es256) && set.has(Some("b"), Algorithm::Es256));
    assert!(!set.has(Some("c"), Algorithm::Es256));
    let expected = ["key 3 (\"c\"): not one block of PEM", "key 4 (\"d\"): neither a JWK set nor a certificate"];
    assert_eq!(left_out, expected);
}

#[test]
fn what_is_not_one_public_key_in_pem_is_refused() {
    let keys = TestKeys::shared();
    let rsa = keys.rsa.public_key().as_ref();
    let der = STANDARD.decode(THEIR_KEY.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let compressed = "-----BEGIN PUBLIC KEY-----\nMDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADs5TbmfPkPSuSzLlDz42Kt9EunTFj\nwvtwEbqS9FhzwL8=\n-----END PUBLIC KEY-----";
    let short = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDUOS1Wh6fvqr5yMgIlSByHAI3H\nz2yCE5MO9v3dJTwMBL/cVs1a29KfzH5d3mr7H+g0wXFmWNJhxXblG1YC7tKLrOFf\nMAR9NUKIc84AvLt41aeeeyF7C42luTgoBdFOxbP/DqVq1yOn+jf8buQXRBcwlW3y\nq3CpnOpzWwThdR8KtwIDAQAB\n-----END PUBLIC KEY-----";
    for (text, why) in [
        (String::new(), "not one block of PEM"),
        ("secret".into(), "not one block of PEM"),
        (THEIR_KEY.replace("END PUBLIC", "END RSA PUBLIC"), "not one block of PEM"),
        (THEIR_KEY.replace("END", "BEGIN"), "not one block of PEM"),
        (THEIR_KEY.replace("==", "=!"), "not one block of PEM"),
        (format!("{THEIR_KEY}\n{THEIR_KEY}"), "not one block of PEM"),
        (THEIR_KEY.replace("PUBLIC KEY", "PRIVATE KEY"), "a private key; the public one is wanted"),
        (THEIR_KEY.replace("PUBLIC KEY", "RSA PRIVATE KEY"), "a private key; the public one is wanted"),
        (THEIR_KEY.replace("PUBLIC KEY", "X509 CRL"), "neither PUBLIC KEY, RSA PUBLIC KEY nor CERTIFICATE"),
        (THEIR_KEY.replace("PUBLIC KEY", "CERTIFICATE"), "not an X.509 certificate"),
        (THEIR_KEY.replace("PUBLIC KEY", "RSA PUBLIC KEY"), "not an RSA public key"),
        (CERTIFICATES[0].replace("CERTIFICATE", "PUBLIC KEY"), "not a public key"),
        (pem("PUBLIC KEY", &[&der[..], &[0]].concat()), "not a public key"),
        (pem("RSA PUBLIC KEY", &[rsa, &[0]].concat()), "not an RSA public key"),
        (pem("PUBLIC KEY", &der[..der.len() - 1]), "not a public key"),
        (pem("PUBLIC KEY", b""), "not a public key"),
        (compressed.into(), "a point that is compressed"),
        (short.into(), "an RSA key that is not of 2048 to 8192 bits"),
    ] {
        assert_eq!(KeySet::from_pem(&text).err(), Some(NotAKeySet(why)), "{text}");
    }
}
