//! A token is read in one way only, and no change of its signature is believed. Key sets and the names of claims are read to
//! an end, whatever they are.

use std::time::{Duration, SystemTime};

use portcullis_filters::authn::jwt::algorithm::Algorithm;
use portcullis_filters::authn::jwt::claims::ClaimPath;
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::authn::jwt::issuer::Issuer;
use portcullis_filters::authn::jwt::key_source::key_source;
use portcullis_filters::authn::jwt::keys::KeySet;
use portcullis_filters::authn::jwt::token::{Token, is_token};
use portcullis_filters::credential::MAX_JWT;
use portcullis_filters::secret::Secret;

/// Signs the tokens of the corpus: with it, the fuzzer gets behind the signature.
const SECRET: &str = "a secret of the corpus, which has as many bytes as HS512 asks for: sixty-four";

/// When the tokens of the corpus are good.
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// `data` is a token, a key set, a PEM text or the name of a claim.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(token) = Token::read(&text) {
        one_reading(&text, &token);
        one_signature(&token);
    }
    if let Ok((keys, left_out)) = KeySet::parse(data) {
        assert!(left_out.len() <= data.len());
        let usable = Algorithm::ASYMMETRIC.into_iter().any(|algorithm| keys.has(None, algorithm));
        assert!(usable, "a set without a key that can be used");
        assert!(!keys.has(None, Algorithm::Hs256), "a secret that was fetched");
    }
    let _ = KeySet::from_pem(&text);
    let _ = text.parse::<ClaimPath>();
}

fn one_reading(text: &str, token: &Token<'_>) {
    assert!(is_token(text) && text.len() <= MAX_JWT && !text.starts_with("sk-"));
    assert_eq!(format!("{}.{}", token.message, token.signature), text);
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text:?}");
    let again = Token::read(text).expect("what is read once is read again");
    assert_eq!(format!("{again:?}"), format!("{token:?}"));
    let issuer = issuer();
    if let Ok(until) = issuer.check(token, SystemTime::UNIX_EPOCH + NOW) {
        assert!(until > SystemTime::UNIX_EPOCH + NOW && issuer.claims_token(token));
        assert_eq!(token.claims.text("iss"), issuer.name.as_deref());
    }
}

fn one_signature(token: &Token<'_>) {
    let keys = KeySet::from_secret(&Secret::from(SECRET)).expect("long enough");
    let kid = token.kid.as_deref();
    let verify = |signature: &str| keys.verify(kid, token.algorithm, token.message, signature);
    if verify(token.signature).is_err() {
        return;
    }
    for (at, letter) in token.signature.char_indices() {
        let other = if letter == 'A' { "B" } else { "A" };
        let (before, after) = (&token.signature[..at], &token.signature[at + 1..]);
        assert!(verify(&format!("{before}{other}{after}")).is_err(), "another signature at {at}");
        assert!(verify(before).is_err(), "a part of the signature, up to {at}");
    }
}

fn issuer() -> Issuer {
    Issuer {
        name: Some("https://issuer.example".into()),
        audiences: vec!["portcullis".into()],
        algorithms: vec![Algorithm::Hs256],
        leeway: Duration::from_secs(30),
        max_age: None,
        required: Vec::new(),
        types: Vec::new(),
        keys: key_source().1,
        claims: ClaimRules::default(),
    }
}
