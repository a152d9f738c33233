//! Which keys are taken, which are left out and why, and which of them are tried for a token.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::KeyPair;
use serde_json::json;

use super::*;
use crate::authn::jwt::algorithm::KeyKind;
use crate::authn::jwt::testing::{SECRET, TestKeys, encode, name, pem, secret_set, set_of, with};

const MESSAGE: &str = "header.claims";

fn parse(document: &Value) -> Result<(KeySet, Vec<String>), NotAKeySet> {
    KeySet::parse(document.to_string().as_bytes())
}

/// Why this key is left out, beside one that is taken.
fn left_out(key: &Value) -> String {
    let good = with(TestKeys::shared().jwk(KeyKind::P256), json!({"kid": "good"}));
    let (set, left_out) = parse(&json!({"keys": [good, key]})).unwrap();
    assert_eq!((set.keys.len(), left_out.len()), (1, 1), "{key} {left_out:?}");
    left_out.into_iter().next().unwrap()
}

/// What of the set verifies a token of this algorithm and name that the shared keys signed.
fn verified(set: &KeySet, kid: Option<&str>, algorithm: Algorithm) -> Result<Thumbprint, Denial> {
    let signature = encode(TestKeys::shared().sign(algorithm, MESSAGE.as_bytes()));
    set.verify(kid, algorithm, MESSAGE, &signature)
}

#[test]
fn every_algorithm_is_verified_by_its_key() {
    let (public, secret) = (TestKeys::shared().set(), secret_set());
    for algorithm in Algorithm::ASYMMETRIC.into_iter().chain([Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]) {
        let kind = algorithm.key_kind();
        let set = if kind == KeyKind::Secret { &secret } else { &public };
        let key = verified(set, Some(&name(kind)), algorithm).unwrap();
        assert!(set.holds(&key) && set.has(Some(&name(kind)), algorithm));
        let mut signature = TestKeys::shared().sign(algorithm, MESSAGE.as_bytes());
        for (at, bit) in [(0, 0x80), (signature.len() / 2, 1), (signature.len() - 1, 1)] {
            signature[at] ^= bit;
            let refused = Err(Denial::InvalidToken("not signed by a key of its issuer"));
            assert_eq!(set.verify(None, algorithm, MESSAGE, &encode(&signature)), refused, "{algorithm:?} byte {at}");
            signature[at] ^= bit;
        }
        assert!(set.verify(None, algorithm, MESSAGE, &encode(&signature)).is_ok());
        assert!(set.verify(None, algorithm, "header.other", &encode(&signature)).is_err());
        assert!(set.verify(None, algorithm, MESSAGE, &encode(&signature[1..])).is_err(), "too short");
        signature.push(0);
        assert!(set.verify(None, algorithm, MESSAGE, &encode(&signature)).is_err(), "too long");
    }
}

#[test]
fn a_set_is_read_in_each_of_its_forms() {
    let keys = TestKeys::shared();
    let jwk = with(keys.jwk(KeyKind::P256), json!({"kid": "a"}));
    let pem = pem("PUBLIC KEY", keys.p256.public_key().as_der().unwrap().as_ref());
    for document in [json!({"keys": [jwk]}), json!([jwk]), json!({"keys": [jwk], "extra": 1}), json!({ "a": pem })] {
        let (set, left_out) = parse(&document).unwrap();
        assert_eq!((set.keys.len(), left_out), (1, Vec::new()), "{document}");
        assert!(verified(&set, Some("a"), Algorithm::Es256).is_ok());
        assert!(verified(&set, Some("b"), Algorithm::Es256).is_err());
    }
    for text in ["", "null", "1", "\"x\"", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[1]}", "<html>"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    let twice = json!({"keys": [jwk]}).to_string().replace("\"kid\":", "\"kty\":\"RSA\",\"kid\":");
    assert!(KeySet::parse(twice.as_bytes()).is_err(), "{twice}");
    let error = json!({"error": "not_found", "error_description": "no such realm"});
    assert_eq!(parse(&error).err(), Some(NotAKeySet("no key in it can be used to verify a token")));
}

#[test]
fn keys_that_must_not_or_cannot_verify_are_left_out_and_named() {
    let keys = TestKeys::shared();
    let (rsa, p256) = (keys.jwk(KeyKind::Rsa), keys.jwk(KeyKind::P256));
    let zero = encode([0; 32]);
    for (key, why) in [
        (with(rsa.clone(), json!({"kid": "enc-1", "use": "enc"})), "key 2 (\"enc-1\"): not for signatures"),
        (with(rsa.clone(), json!({"key_ops": ["encrypt", "sign"]})), "key 2 (\"\"): not for signatures"),
        (with(rsa.clone(), json!({"key_ops": []})), "key 2 (\"\"): not for signatures"),
        (with(rsa.clone(), json!({"alg": "RSA-OAEP"})), "key 2 (\"\"): for an unknown algorithm"),
        (with(rsa.clone(), json!({"alg": "none"})), "key 2 (\"\"): for an unknown algorithm"),
        (with(rsa.clone(), json!({"alg": "ES256"})), "key 2 (\"\"): for an algorithm of another kind of key"),
        (with(rsa.clone(), json!({"alg": "HS256"})), "key 2 (\"\"): for an algorithm of another kind of key"),
        (with(p256.clone(), json!({"alg": "ES384"})), "key 2 (\"\"): for an algorithm of another kind of key"),
        (with(rsa.clone(), json!({"d": "AQAB"})), "key 2 (\"\"): a private key"),
        (with(p256.clone(), json!({"d": 1})), "key 2 (\"\"): a private key"),
        (keys.jwk(KeyKind::Secret), "key 2 (\"\"): a secret, which no set that is fetched may bring"),
        (
            with(rsa.clone(), json!({"kty": "oct", "k": "AAAA"})),
            "key 2 (\"\"): a secret, which no set that is fetched may bring",
        ),
        (with(rsa.clone(), json!({"kty": "rsa"})), "key 2 (\"\"): of an unknown kind or curve"),
        (with(p256.clone(), json!({"crv": "secp256k1"})), "key 2 (\"\"): of an unknown kind or curve"),
        (with(p256.clone(), json!({"crv": "P-224"})), "key 2 (\"\"): of an unknown kind or curve"),
        (json!({"kty": "OKP", "crv": "X25519", "x": zero}), "key 2 (\"\"): of an unknown kind or curve"),
        (json!({"kty": "OKP", "crv": "Ed448", "x": zero}), "key 2 (\"\"): of an unknown kind or curve"),
        (json!({"kty": "EC", "x": zero, "y": zero}), "key 2 (\"\"): of an unknown kind or curve"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 31])}),
            "key 2 (\"\"): a point that is not as long as those of its curve",
        ),
        (with(p256.clone(), json!({"y": p256["x"]})), "key 2 (\"\"): a point that is not on its curve"),
        (with(p256.clone(), json!({"x": zero, "y": zero})), "key 2 (\"\"): a point that is not on its curve"),
        (
            with(p256.clone(), json!({"x": encode([1; 31])})),
            "key 2 (\"\"): coordinates that are not as long as those of its curve",
        ),
        (
            with(p256.clone(), json!({"crv": "P-384"})),
            "key 2 (\"\"): coordinates that are not as long as those of its curve",
        ),
        (
            with(keys.jwk(KeyKind::P384), json!({"crv": "P-521"})),
            "key 2 (\"\"): coordinates that are not as long as those of its curve",
        ),
        (with(p256.clone(), json!({"x": "+/+/"})), "key 2 (\"\"): a part of the key is not base64url"),
        (json!({"kty": "RSA", "n": rsa["n"]}), "key 2 (\"\"): a part of the key is missing"),
        (json!({"kty": "RSA", "e": "AQAB"}), "key 2 (\"\"): a part of the key is missing"),
        (with(rsa.clone(), json!({"kid": 7})), "key 2 (\"\"): not a JWK: a member is missing or not text"),
        (with(rsa.clone(), json!({"use": ["sig"]})), "key 2 (\"\"): not a JWK: a member is missing or not text"),
        (json!({"n": rsa["n"], "e": "AQAB"}), "key 2 (\"\"): not a JWK: a member is missing or not text"),
        (json!("key"), "key 2 (\"\"): not a JWK: a member is missing or not text"),
    ] {
        assert_eq!(left_out(&key), why, "{key}");
    }
    let named = left_out(&with(rsa, json!({"use": "enc", "kid": format!("a\n{}", "b".repeat(2000))})));
    assert!(named.len() < 150 && !named.contains('\n'), "{named}");
    let long = left_out(&with(p256, json!({"kid": "b".repeat(2000)})));
    assert!(long.ends_with("a kid that no token can name"), "{long}");
}

#[test]
fn weak_rsa_keys_are_left_out() {
    let n = |bits: usize, last: u8| {
        let mut bytes = vec![0xa5; bits.div_ceil(8)];
        bytes[0] = 0xff >> (bytes.len() * 8 - bits);
        *bytes.last_mut().unwrap() = last;
        encode(bytes)
    };
    let size = "an RSA key that is not of 2048 to 8192 bits";
    let exponent = "an RSA exponent that is even or below 65537";
    for (n, e, why) in [
        (n(1024, 1), encode([1, 0, 1]), size),
        (n(2047, 1), encode([1, 0, 1]), size),
        (n(8193, 1), encode([1, 0, 1]), size),
        (encode([0; 256]), encode([1, 0, 1]), size),
        (String::new(), encode([1, 0, 1]), size),
        (n(2048, 1), encode([1]), exponent),
        (n(2048, 1), encode([3]), exponent),
        (n(2048, 1), encode([17]), exponent),
        (n(2048, 1), encode([0xff, 0xff]), exponent),
        (n(2048, 1), encode([1, 0, 0]), exponent),
        (n(2048, 1), encode([1, 0, 2]), exponent),
        (n(2048, 1), encode([0]), exponent),
        (n(2048, 1), String::new(), exponent),
        (n(2048, 1), encode([2, 0, 0, 0, 1]), "an RSA exponent of more than 33 bits"),
        (n(2048, 1), encode([1; 300]), "an RSA exponent of more than 33 bits"),
        (n(2048, 2), encode([1, 0, 1]), "an RSA modulus that is even"),
    ] {
        let shown = left_out(&json!({"kty": "RSA", "n": n, "e": e}));
        assert_eq!(shown, format!("key 2 (\"\"): {why}"), "{e}");
    }
    for (n, e) in
        [(n(2048, 1), encode([1, 0, 1])), (n(8192, 1), encode([1, 0, 3])), (n(2049, 1), encode([1, 0, 0, 0, 1]))]
    {
        assert!(parse(&json!([{"kty": "RSA", "n": n, "e": e}])).is_ok(), "{e}");
    }
}

/// The example key of the RFC; its names and numbers are data, as are those of RFC 8037.
#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
             oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
             ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
             kEgU8awapJzKnqDKgw";
    let mut zeros = vec![0];
    zeros.extend(URL_SAFE_NO_PAD.decode(n).unwrap());
    let ed = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    for (jwk, expected) in [
        (
            json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
        (json!({"kty": "RSA", "n": encode(zeros), "e": "AAEAAQ"}), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": ed}), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": format!("{ed}=")}), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ] {
        assert_eq!(encode(set_of(&[jwk]).keys[0].key.thumbprint.0), expected);
    }
}

#[test]
fn a_token_is_compared_with_the_keys_that_it_can_come_from() {
    let key = |kid: Option<&str>, members: Value| {
        let named = kid.map_or(json!({}), |kid| json!({ "kid": kid }));
        with(with(TestKeys::shared().jwk(KeyKind::Rsa), members), named)
    };
    let named = set_of(&[key(Some("a"), json!({"alg": "RS256"}))]);
    let mixed = set_of(&[key(Some("a"), json!({"alg": "RS256"})), key(None, json!({"alg": "PS256"}))]);
    let nameless = set_of(&[key(None, json!({}))]);
    let pem = KeySet::from_pem(&pem("RSA PUBLIC KEY", TestKeys::shared().rsa.public_key().as_ref())).unwrap();
    for (set, kid, algorithm, fits) in [
        (&named, Some("a"), Algorithm::Rs256, true),
        (&named, None, Algorithm::Rs256, true),
        (&named, Some("b"), Algorithm::Rs256, false),
        (&named, Some(""), Algorithm::Rs256, false),
        (&named, Some("A"), Algorithm::Rs256, false),
        (&named, Some("../a"), Algorithm::Rs256, false),
        (&named, Some("a\0"), Algorithm::Rs256, false),
        (&named, Some("a"), Algorithm::Rs512, false),
        (&named, Some("a"), Algorithm::Ps256, false),
        (&named, Some("a"), Algorithm::Hs256, false),
        (&mixed, Some("a"), Algorithm::Ps256, false),
        (&mixed, Some("b"), Algorithm::Ps256, false),
        (&mixed, None, Algorithm::Ps256, true),
        (&nameless, Some("anything"), Algorithm::Rs384, true),
        (&nameless, None, Algorithm::Ps512, true),
        (&nameless, None, Algorithm::Es256, false),
        (&pem, Some("anything"), Algorithm::Rs256, true),
        (&pem, Some("anything"), Algorithm::Es256, false),
    ] {
        assert_eq!(set.has(kid, algorithm), fits, "{kid:?} {algorithm:?}");
        assert_eq!(verified(set, kid, algorithm).is_ok(), fits, "{kid:?} {algorithm:?}");
    }
}

#[test]
fn keys_of_one_name_are_all_tried_and_equal_ones_are_one() {
    let keys = TestKeys::shared();
    let other = with(TestKeys::generate().jwk(KeyKind::P256), json!({"kid": "a"}));
    let ours = with(keys.jwk(KeyKind::P256), json!({"kid": "a"}));
    let set = set_of(&[other.clone(), ours.clone(), ours.clone(), other]);
    assert_eq!(set.keys.len(), 2);
    assert_eq!(verified(&set, Some("a"), Algorithm::Es256), Ok(set.keys[1].key.thumbprint));
    assert!(!set_of(&[with(keys.jwk(KeyKind::P384), json!({}))]).holds(&set.keys[1].key.thumbprint));
}

#[test]
fn a_set_and_a_signature_cost_a_bounded_amount() {
    let foreign = |count: usize| -> Vec<Value> {
        let pair = || aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
        let jwk = || json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair().public_key().as_ref())});
        std::iter::repeat_with(jwk).take(count).collect()
    };
    let ours = TestKeys::shared().jwk(KeyKind::Ed25519);
    let within = [foreign(MAX_TRIES - 1), vec![ours.clone()]].concat();
    assert!(verified(&set_of(&within), None, Algorithm::EdDsa).is_ok());
    let behind = [foreign(MAX_TRIES), vec![with(ours, json!({"kid": "ours"}))]].concat();
    assert!(verified(&set_of(&behind), None, Algorithm::EdDsa).is_err());
    assert!(verified(&set_of(&behind), Some("ours"), Algorithm::EdDsa).is_ok());
    let (set, left_out) = parse(&json!({"keys": foreign(MAX_KEYS + 3)})).unwrap();
    assert_eq!((set.keys.len(), left_out), (MAX_KEYS, vec!["3 more: a set may have 100".to_owned()]));
}

#[test]
fn secrets_are_as_long_as_the_hash() {
    for (length, algorithms) in [
        (32, &[Algorithm::Hs256][..]),
        (47, &[Algorithm::Hs256]),
        (48, &[Algorithm::Hs256, Algorithm::Hs384]),
        (63, &[Algorithm::Hs256, Algorithm::Hs384]),
        (64, &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]),
    ] {
        let set = KeySet::from_secret(&Secret::from(&SECRET[..length])).unwrap();
        let fitting = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512].map(|algorithm| set.has(None, algorithm));
        assert_eq!(fitting.iter().filter(|fits| **fits).count(), algorithms.len(), "{length}");
        assert!(algorithms.iter().all(|algorithm| set.has(Some("any"), *algorithm)));
        assert!(!set.has(None, Algorithm::Rs256));
    }
    assert!(KeySet::from_secret(&Secret::from(&SECRET[..31])).is_err());
    assert!(KeySet::from_secret(&Secret::from("")).is_err());
}

#[test]
fn nothing_of_a_key_is_printed() {
    let shown = format!("{:?} {:?}", secret_set(), TestKeys::shared().set());
    let jwk = TestKeys::shared().jwk(KeyKind::P256);
    for secret in [SECRET, &encode(SECRET), jwk["x"].as_str().unwrap(), "thumbprint"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("p256"), "{shown}");
}
