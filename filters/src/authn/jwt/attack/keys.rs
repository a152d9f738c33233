//! Keys that are not the issuer's, keys of another kind, and signatures that none of its keys made.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

/// The public key as a shared secret, in each form in which anybody can have it.
#[test]
fn the_public_key_as_a_secret() {
    let keys = TestKeys::shared();
    let info = keys.rsa.public_key().as_der().unwrap();
    let pkcs1 = keys.rsa.public_key().as_ref();
    let jwk = keys.jwk(KeyKind::Rsa);
    let modulus = jwk["n"].as_str().unwrap();
    let secrets = [
        pem("PUBLIC KEY", info.as_ref()).into_bytes(),
        pem("PUBLIC KEY", info.as_ref()).trim().to_owned().into_bytes(),
        pem("RSA PUBLIC KEY", pkcs1).into_bytes(),
        info.as_ref().to_vec(),
        pkcs1.to_vec(),
        jwk.to_string().into_bytes(),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        keys.p256.public_key().as_ref().to_vec(),
        keys.ed25519.public_key().as_ref().to_vec(),
        Vec::new(),
    ];
    // An issuer with HMAC beside public keys cannot be configured; this one shows that the key's kind decides too.
    let all = || issuer(keys.set(), &[&Algorithm::ASYMMETRIC[..], &[Algorithm::Hs256, Algorithm::Hs512]].concat());
    for secret in secrets {
        for (algorithm, kind) in [(Algorithm::Hs256, KeyKind::Rsa), (Algorithm::Hs512, KeyKind::P256)] {
            let header = json!({"alg": algorithm.name(), "kid": name(kind)});
            let text = signed(&header, &claims(), |message| hmac(algorithm, &secret, message));
            assert_eq!(refusal(public_issuer(), &text), Denial::InvalidToken(UNUSED_ALGORITHM));
            assert_eq!(refusal(all(), &text), Denial::InvalidToken(NO_KEY));
        }
    }
}

#[test]
fn a_key_that_the_token_brings_or_points_to() {
    let attacker = TestKeys::generate();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let jwk = with(attacker.jwk(algorithm.key_kind()), json!({"kid": "attacker"}));
        for (parameter, value) in [
            ("jwk", jwk.clone()),
            ("jku", json!("https://attacker.example/keys")),
            ("x5u", json!("https://attacker.example/certificate")),
            ("x5c", json!([STANDARD.encode("a certificate")])),
            ("x5t", json!("dGh1bWJwcmludA")),
            ("x5t#S256", json!("dGh1bWJwcmludA")),
        ] {
            let with_kid = |kid: &str| {
                let header = with(header(algorithm), json!({"kid": kid, parameter: value}));
                attacker.token(algorithm, &header, &claims())
            };
            let mut nameless = with(header(algorithm), json!({ parameter: value }));
            nameless.as_object_mut().unwrap().remove("kid");
            assert_refused([
                (with_kid("attacker"), NO_KEY),
                (with_kid(&name(algorithm.key_kind())), NOT_SIGNED),
                (attacker.token(algorithm, &nameless, &claims()), NOT_SIGNED),
            ]);
            assert_believed(public_issuer(), &with_header(algorithm, json!({ parameter: value })));
        }
    }
}

#[test]
fn names_of_keys_that_mean_something_elsewhere() {
    for kid in ["../../dev/null", "' OR 1=1 --", "https://attacker.example", "RSA", "rsa ", "rsa\0", "", "0"] {
        assert_refused([(with_header(Algorithm::Rs256, json!({"kid": kid})), NO_KEY)]);
    }
    for kid in [json!(["rsa"]), json!({"rsa": 1}), json!(0), json!(null), json!("k".repeat(2000))] {
        assert_refused([(
            with_header(Algorithm::Rs256, json!({"kid": kid})),
            "a kid or typ that is no text, or is too long",
        )]);
    }
}

/// The order of P-256, in which r and s are counted.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of the group of Ed25519, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn signatures_that_are_numbers_of_no_signer() {
    let text = good(Algorithm::Es256);
    let (message, signature) = text.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = signature.split_at(32);
    let (zero, one, most) = ([0; 32], [[0; 31].as_slice(), &[1]].concat(), [0xff; 32]);
    let forged = |r: &[u8], s: &[u8]| (format!("{message}.{}", encode([r, s].concat())), NOT_SIGNED);
    let pairs = [
        (&zero[..], &zero[..]),
        (&zero, s),
        (r, &zero),
        (&one, &one),
        (&ORDER, &ORDER),
        (&ORDER, s),
        (r, &ORDER),
        (&most, s),
    ];
    assert_refused(pairs.map(|(r, s)| forged(r, s)));
    let longer = |part: &[u8]| [&[0][..], part].concat();
    assert_refused([forged(&longer(r), &longer(s)), forged(&r[1..], &s[1..])]);
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        TestKeys::shared().p256.to_pkcs8v1().unwrap().as_ref(),
    );
    let der = pair.unwrap().sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    assert_refused([(format!("{message}.{}", encode(der)), NOT_SIGNED)]);
}

#[test]
fn the_second_form_of_an_ed25519_signature() {
    let text = good(Algorithm::EdDsa);
    let (message, signature) = text.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    assert_refused([(format!("{message}.{}", encode(signature)), NOT_SIGNED)]);
}

/// The header names one algorithm and the signature is made with another, or with a key of another kind.
#[test]
fn algorithms_and_keys_that_do_not_belong_together() {
    let keys = TestKeys::shared();
    for (signs, says, kid, word) in [
        (Algorithm::Es384, Algorithm::Es256, KeyKind::P384, NO_KEY),
        (Algorithm::Es256, Algorithm::Es384, KeyKind::P256, NO_KEY),
        (Algorithm::Es256, Algorithm::Es512, KeyKind::P521, NOT_SIGNED),
        (Algorithm::Es384, Algorithm::Es256, KeyKind::P256, NOT_SIGNED),
        (Algorithm::Ps256, Algorithm::Rs256, KeyKind::Rsa, NOT_SIGNED),
        (Algorithm::Rs256, Algorithm::Ps256, KeyKind::Rsa, NOT_SIGNED),
        (Algorithm::Rs512, Algorithm::Rs256, KeyKind::Rsa, NOT_SIGNED),
        (Algorithm::Rs256, Algorithm::Rs256, KeyKind::P256, NO_KEY),
        (Algorithm::Es256, Algorithm::Rs256, KeyKind::P256, NO_KEY),
        (Algorithm::Es256, Algorithm::EdDsa, KeyKind::P256, NO_KEY),
        (Algorithm::EdDsa, Algorithm::Es256, KeyKind::P256, NOT_SIGNED),
    ] {
        let header = json!({"alg": says.name(), "kid": name(kid)});
        assert_refused([(keys.token(signs, &header, &claims()), word)]);
    }
    for (bound, used) in [(Algorithm::Rs256, Algorithm::Rs384), (Algorithm::Rs256, Algorithm::Ps256)] {
        let set = set_of(&[with(keys.jwk(KeyKind::Rsa), json!({"kid": "rsa", "alg": bound.name()}))]);
        let outcome = refusal(issuer(set, &Algorithm::ASYMMETRIC), &good(used));
        assert_eq!(outcome, Denial::InvalidToken(NO_KEY), "{bound:?} {used:?}");
    }
    for (pinned, used) in [(Algorithm::Rs256, Algorithm::Es256), (Algorithm::Rs256, Algorithm::Rs512)] {
        let outcome = refusal(issuer(keys.set(), &[pinned]), &good(used));
        assert_eq!(outcome, Denial::InvalidToken(UNUSED_ALGORITHM), "{pinned:?} {used:?}");
    }
    let outcome = refusal(issuer(secret_set(), &[Algorithm::Hs256]), &good(Algorithm::Rs256));
    assert_eq!(outcome, Denial::InvalidToken(UNUSED_ALGORITHM));
    let outcome = refusal(issuer(secret_set(), &[Algorithm::Hs512]), &good(Algorithm::Hs256));
    assert_eq!(outcome, Denial::InvalidToken(UNUSED_ALGORITHM));
    let other = signed(&header(Algorithm::Hs256), &claims(), |message| {
        hmac(Algorithm::Hs256, &SECRET.as_bytes()[1..], message)
    });
    let outcome = refusal(issuer(secret_set(), &[Algorithm::Hs256]), &other);
    assert_eq!(outcome, Denial::InvalidToken(NOT_SIGNED));
}
