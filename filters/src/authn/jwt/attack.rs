//! The known ways to have a token believed that its issuer did not sign, each as a token that differs from a good one in
//! that alone, and the word with which it is refused.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::algorithm::{Algorithm, KeyKind};
use super::cache::{TokenCacheSettings, VerifiedTokens};
use super::deny_list::DenyList;
use super::identity::ClaimRules;
use super::issuer::Issuer;
use super::key_source::KeySource;
use super::keys::KeySet;
use super::proof::Proofs;
use super::testing::{SECRET, TestKeys, encode, hmac, name, pem, secret_set, set_of, signed, with};
use super::{JwtAuthenticator, KeyHash};
use crate::authn::failures::{FailureSettings, FailureThrottle};
use crate::authn::virtual_key::StoreUnavailable;
use crate::credential::{Credential, MAX_JWT, SchemeWord};
use crate::denial::Denial;
use crate::directory::{Directory, Enrolment, TeamName, TeamRecord, UserRecord};
use crate::head::RequestHead;
use crate::path::CanonicalPath;
use crate::principal::Principal;

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://issuer.example";

const UNKNOWN_ALGORITHM: &str = "no algorithm that is known here";
const UNUSED_ALGORITHM: &str = "an algorithm that its issuer does not use";
const NO_KEY: &str = "no key of its issuer fits it";
const NOT_SIGNED: &str = "not signed by a key of its issuer";
const NOT_UNDERSTOOD: &str = "a header parameter that is not understood here";
const NO_SIGNATURE: &str = "no signature, or one that is not strict base64url";
const NOT_STRICT: &str = "a part that is not strict base64url";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

fn issuer(keys: KeySet, algorithms: &[Algorithm]) -> Issuer {
    Issuer {
        name: Some(ISSUER.into()),
        audiences: vec!["portcullis".into()],
        algorithms: algorithms.to_vec(),
        leeway: Duration::ZERO,
        max_age: None,
        required: Vec::new(),
        types: Vec::new(),
        keys: KeySource::fixed(Arc::new(keys)),
        claims: ClaimRules::default(),
    }
}

/// An issuer with one key of each kind that may be public.
fn public_issuer() -> Issuer {
    issuer(TestKeys::shared().set(), &Algorithm::ASYMMETRIC)
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "portcullis", "sub": "alice", "iat": NOW - 10, "exp": NOW + 300})
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": name(algorithm.key_kind()), "typ": "JWT"})
}

fn good(algorithm: Algorithm) -> String {
    TestKeys::shared().token(algorithm, &header(algorithm), &claims())
}

/// A good token of this algorithm but for some members of its header, which are signed like the others.
fn with_header(algorithm: Algorithm, members: Value) -> String {
    TestKeys::shared().token(algorithm, &with(header(algorithm), members), &claims())
}

/// A directory that knows nobody.
struct Nobody;

impl Directory for Nobody {
    fn user<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        async { Ok(None) }.boxed()
    }

    fn team<'a>(&'a self, _: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        async { Ok(None) }.boxed()
    }

    fn enrol(&self, _: Enrolment) {}
}

/// What the authenticator says of a token.
fn outcome(issuer: Issuer, text: &str) -> Result<Option<Principal>, Denial> {
    let failures = Arc::new(FailureThrottle::new(FailureSettings::default()));
    let cache = VerifiedTokens::new(TokenCacheSettings::default());
    let (denied, proofs) = (Arc::new(DenyList::default()), Arc::new(Proofs::default()));
    let authenticator = JwtAuthenticator::new(vec![issuer], cache, denied, proofs, Arc::new(Nobody), failures);
    let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
    let headers = HeaderMap::new();
    let (method, query) = (&Method::POST, None);
    let head = RequestHead { method, path: &path, query, headers: &headers, source: None, client_certificate: None };
    let credential = Credential { text, slot: "authorization", scheme: SchemeWord::Bearer };
    let hash = KeyHash::of(text);
    let outcome = authenticator.authenticate(&credential, &hash, &head, now());
    outcome.now_or_never().expect("nothing to wait for: the keys are there")
}

fn refusal(issuer: Issuer, text: &str) -> Denial {
    match outcome(issuer, text) {
        Err(denial) => denial,
        Ok(_) => panic!("not refused: {text}"),
    }
}

fn assert_believed(issuer: Issuer, text: &str) {
    match outcome(issuer, text) {
        Ok(Some(Principal::Token(token))) => assert_eq!(token.expires, now() + Duration::from_secs(300)),
        Ok(_) => panic!("not a token: {text}"),
        Err(denial) => panic!("{denial}: {text}"),
    }
}

fn assert_refused(attacks: impl IntoIterator<Item = (String, &'static str)>) {
    for (text, word) in attacks {
        assert_eq!(refusal(public_issuer(), &text), Denial::InvalidToken(word), "{text}");
    }
}

#[test]
fn what_the_issuer_signed_is_believed_in_each_algorithm() {
    for algorithm in Algorithm::ASYMMETRIC {
        assert_believed(public_issuer(), &good(algorithm));
    }
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        assert_believed(issuer(secret_set(), &[algorithm]), &good(algorithm));
    }
}

#[test]
fn another_text_than_the_signed_one() {
    for algorithm in Algorithm::ASYMMETRIC {
        let text = good(algorithm);
        let parts: Vec<&str> = text.split('.').collect();
        let richer = encode(with(claims(), json!({"sub": "admin"})).to_string());
        let renamed = encode(with(header(algorithm), json!({"typ": "at+jwt"})).to_string());
        let later = TestKeys::shared().token(algorithm, &header(algorithm), &with(claims(), json!({"exp": NOW + 900})));
        assert_refused([
            (format!("{}.{richer}.{}", parts[0], parts[2]), NOT_SIGNED),
            (format!("{renamed}.{}.{}", parts[1], parts[2]), NOT_SIGNED),
            (format!("{}.{}.{}", parts[0], parts[1], later.rsplit('.').next().unwrap()), NOT_SIGNED),
            (format!("{}.{}.{}", parts[0], parts[1], encode([0; 64])), NOT_SIGNED),
            (format!("{}.{}.", parts[0], parts[1]), NO_SIGNATURE),
        ]);
    }
}

#[test]
fn no_signature_at_all() {
    let unsigned = |alg: Value| {
        let message =
            format!("{}.{}", encode(json!({"alg": alg, "kid": "rsa"}).to_string()), encode(claims().to_string()));
        [format!("{message}."), format!("{message}.c2lnbmF0dXJl")]
    };
    for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null", "HS0", "\u{ff4e}one"] {
        assert_refused(unsigned(json!(alg)).map(|text| (text, UNKNOWN_ALGORITHM)));
    }
    for alg in [json!(null), json!(["none"]), json!(false), json!({"name": "none"})] {
        assert_refused(unsigned(alg).map(|text| (text, UNKNOWN_ALGORITHM)));
    }
}

#[test]
fn headers_that_change_what_the_rest_is() {
    for members in [
        json!({"crit": ["exp"], "exp": 0}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"enc": "A256GCM"}),
        json!({"zip": "DEF"}),
    ] {
        assert_refused([(with_header(Algorithm::Es256, members), NOT_UNDERSTOOD)]);
    }
    let five_parts = format!("{}.{}.aXY.dGV4dA.dGFn", encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#), encode("key"));
    assert!(matches!(outcome(public_issuer(), &five_parts), Ok(None)), "an encrypted token is not ours");
}

/// The same signed text in a second spelling, or with something behind it: two tokens of one signature.
#[test]
fn a_second_spelling_of_a_good_token() {
    let text = good(Algorithm::Es256);
    let parts: Vec<&str> = text.split('.').collect();
    let last = text.bytes().last().unwrap();
    let next = char::from(last + 1);
    assert!(matches!(outcome(public_issuer(), &format!("{text}.c2ln")), Ok(None)), "four parts are no token");
    assert_refused([
        (format!("{}{next}", &text[..text.len() - 1]), NO_SIGNATURE),
        (format!("{text}="), NO_SIGNATURE),
        (format!("{text}=="), NO_SIGNATURE),
        (format!("{text}\n"), NO_SIGNATURE),
        (format!("{text} "), NO_SIGNATURE),
        (format!("{text}\0"), NO_SIGNATURE),
        (format!("{text}AA"), NOT_SIGNED),
        (format!("{}.{}=.{}", parts[0], parts[1], parts[2]), NOT_STRICT),
        (format!("{}.{}\n.{}", parts[0], parts[1], parts[2]), NOT_STRICT),
        (format!("{}.{}.{}", parts[0], parts[1], STANDARD.encode([0xff; 64])), NO_SIGNATURE),
    ]);
    let sloppy = format!("{}==.{}.{}", encode(r#"{"alg":"ES256"} "#), parts[1], parts[2]);
    assert_refused([(sloppy, NOT_STRICT)]);
}

#[test]
fn claims_that_two_readers_read_differently() {
    let keys = TestKeys::shared();
    let twice = "claims that are not one JSON object with each name once";
    let text = claims().to_string();
    for other in [
        text.replacen('{', r#"{"sub":"admin","#, 1),
        text.replacen('{', r#"{"\u0073ub":"admin","#, 1),
        text.replacen('{', r#"{"realm_access":{"roles":[],"roles":["admin"]},"#, 1),
        format!("{text}{{}}"),
        format!("[{text}]"),
        text.replace('}', ""),
    ] {
        let message = format!("{}.{}", encode(header(Algorithm::Es256).to_string()), encode(&other));
        let signature = encode(keys.sign(Algorithm::Es256, message.as_bytes()));
        assert_refused([(format!("{message}.{signature}"), twice)]);
    }
}

#[test]
fn good_signatures_under_claims_that_are_not() {
    let keys = TestKeys::shared();
    for (change, denial) in [
        (json!({"exp": NOW}), Denial::ExpiredToken),
        (json!({"exp": NOW, "aud": "other"}), Denial::InvalidToken("for another audience")),
        (json!({"exp": "never"}), Denial::InvalidToken("a time that is no number of seconds since 1970")),
        (json!({"nbf": NOW + 1}), Denial::InvalidToken("not good yet")),
        (json!({"iat": NOW + 1}), Denial::InvalidToken("issued in the future")),
        (json!({"aud": ["portcullis", 1]}), Denial::InvalidToken("audiences that are not all text")),
        (json!({"iss": format!("{ISSUER}/")}), Denial::InvalidToken("of no configured issuer")),
        (json!({"iss": [ISSUER]}), Denial::InvalidToken("of no configured issuer")),
        (json!({"typ": "Refresh"}), Denial::InvalidToken("of a type that is not for a resource server")),
    ] {
        let text = keys.token(Algorithm::Es256, &header(Algorithm::Es256), &with(claims(), change.clone()));
        assert_eq!(refusal(public_issuer(), &text), denial, "{change}");
    }
    // What expired long ago and was signed by somebody else is not said to have been good once.
    let forged =
        TestKeys::generate().token(Algorithm::Es256, &header(Algorithm::Es256), &with(claims(), json!({"exp": 1})));
    assert_refused([(forged, NOT_SIGNED)]);
}

#[test]
fn tokens_at_the_size_bound_and_over_it() {
    let sized = |filler: usize| {
        let claims = with(claims(), json!({"filler": "f".repeat(filler)}));
        TestKeys::shared().token(Algorithm::Es256, &header(Algorithm::Es256), &claims)
    };
    let room = (MAX_JWT - sized(0).len()) / 4 * 3;
    let largest = (room..room + 4).map(sized).rfind(|text| text.len() <= MAX_JWT).unwrap();
    assert!(largest.len() + 2 >= MAX_JWT);
    assert_believed(public_issuer(), &largest);
    let over = (room..room + 6).map(sized).find(|text| text.len() > MAX_JWT).unwrap();
    assert_refused([(over, "too long")]);
}

/// Keys and signatures of somebody else.
mod keys;
