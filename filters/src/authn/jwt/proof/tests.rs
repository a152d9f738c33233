//! Each requirement on a bound token broken by itself, beside a request that meets them all.

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::authn::jwt::algorithm::{Algorithm, KeyKind};
use crate::authn::jwt::testing::{SECRET, TestKeys, encode, hmac, set_of, signed, with};
use crate::path::CanonicalPath;

const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";
const NOW: u64 = 1_750_000_000;
const CERTIFICATE: [u8; 32] = [7; 32];

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn proofs() -> Proofs {
    let urls = ["https://llm.example.com", "http://localhost:4000"];
    let public_urls = urls.map(|url| url.parse().unwrap()).to_vec();
    let used = Arc::new(UsedProofs::new(used::MAX_USED, at(NOW - 3600)));
    Proofs::new(ProofSettings { public_urls, ..ProofSettings::default() }, used)
}

fn binding(confirmation: Value) -> Result<Option<Binding>, Denial> {
    Binding::of(&Claims::read(json!({ "cnf": confirmation }).to_string().as_bytes()).unwrap())
}

/// To the P-256 key of the tests.
fn key_binding() -> Binding {
    binding(json!({"jkt": jkt(KeyKind::P256)})).unwrap().unwrap()
}

/// The thumbprint of a key of the tests. That it is the right one is for the tests of key sets, and for the example of the
/// RFC below.
fn jkt(kind: KeyKind) -> String {
    let (keys, set) = (TestKeys::shared(), set_of(&[TestKeys::shared().jwk(kind)]));
    let algorithm = Algorithm::ASYMMETRIC.into_iter().find(|algorithm| algorithm.key_kind() == kind).unwrap();
    let signature = encode(keys.sign(algorithm, b"a.b"));
    encode(set.verify(None, algorithm, "a.b", &signature).unwrap().0)
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": TestKeys::shared().jwk(KeyKind::P256)})
}

fn claims() -> Value {
    json!({
        "jti": "one",
        "htm": "POST",
        "htu": "https://llm.example.com/v1/chat/completions",
        "iat": NOW,
        "ath": encode(KeyHash::of(TOKEN).as_bytes()),
    })
}

fn es256(header: &Value, claims: &Value) -> String {
    TestKeys::shared().token(Algorithm::Es256, header, claims)
}

/// A request for the path of the tests.
struct Request {
    proofs: Vec<String>,
    scheme: SchemeWord,
    certificate: Option<[u8; 32]>,
    now: SystemTime,
}

impl Request {
    fn with(proof: String) -> Self {
        Self { proofs: vec![proof], scheme: SchemeWord::Dpop, certificate: None, now: at(NOW) }
    }

    fn check(&self, proofs: &Proofs, binding: Option<&Binding>) -> Result<(), Denial> {
        let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
        let mut headers = HeaderMap::new();
        for proof in &self.proofs {
            headers.append("dpop", HeaderValue::from_str(proof).unwrap());
        }
        let head = RequestHead {
            method: &Method::POST,
            path: &path,
            query: Some("a=b"),
            headers: &headers,
            source: None,
            client_certificate: self.certificate,
        };
        let credential = Credential { text: TOKEN, slot: "authorization", scheme: self.scheme };
        proofs.check(binding, &credential, &KeyHash::of(TOKEN), &head, self.now)
    }

    /// With a memory of its own.
    fn outcome(&self) -> Result<(), Denial> {
        self.check(&proofs(), Some(&key_binding()))
    }
}

#[test]
fn a_confirmation_is_understood_as_a_whole_or_the_token_is_refused() {
    let (thumbprint, other) = (encode([1; 32]), encode([2; 32]));
    let unprovable = Err(Denial::InvalidToken("bound to what cannot be proven here"));
    for (confirmation, expected) in [
        (json!({"jkt": thumbprint}), Ok((Some([1; 32]), None))),
        (json!({"x5t#S256": thumbprint}), Ok((None, Some([1; 32])))),
        (json!({"jkt": thumbprint, "x5t#S256": other}), Ok((Some([1; 32]), Some([2; 32])))),
        (json!({}), unprovable.clone()),
        (json!(null), unprovable.clone()),
        (json!("jkt"), unprovable.clone()),
        (json!([{"jkt": thumbprint}]), unprovable.clone()),
        (json!({"jwk": {"kty": "oct"}}), unprovable.clone()),
        (json!({"kid": "a"}), unprovable.clone()),
        (json!({"jkt": thumbprint, "kid": "a"}), unprovable.clone()),
        (json!({"jkt": thumbprint, "x5t#S256": ""}), unprovable.clone()),
        (json!({"JKT": thumbprint}), unprovable.clone()),
        (json!({"jkt": 1}), unprovable.clone()),
        (json!({"jkt": encode([1; 31])}), unprovable.clone()),
        (json!({"jkt": format!("{thumbprint}=")}), unprovable.clone()),
        (json!({"jkt": [thumbprint]}), unprovable),
    ] {
        let found = binding(confirmation.clone());
        let found = found.map(|binding| binding.map(|binding| (binding.key, binding.certificate)));
        assert_eq!(found, expected.map(Some), "{confirmation}");
    }
    assert_eq!(Binding::of(&Claims::default()), Ok(None));
}

#[test]
fn a_good_proof_passes_once() {
    let request = Request::with(es256(&header(), &claims()));
    let proofs = proofs();
    assert_eq!(request.check(&proofs, Some(&key_binding())), Ok(()));
    assert_eq!(request.check(&proofs, Some(&key_binding())), Err(Denial::InvalidProof("used before")));
    let signed_again = Request::with(es256(&header(), &with(claims(), json!({"iat": NOW - 1}))));
    assert_eq!(signed_again.check(&proofs, Some(&key_binding())), Err(Denial::InvalidProof("used before")));
    let next = Request::with(es256(&header(), &with(claims(), json!({"jti": "two"}))));
    assert_eq!(next.check(&proofs, Some(&key_binding())), Ok(()));
}

#[test]
fn every_asymmetric_algorithm_is_good_for_a_proof() {
    for algorithm in Algorithm::ASYMMETRIC {
        let jwk = TestKeys::shared().jwk(algorithm.key_kind());
        let header = json!({"typ": "dpop+jwt", "alg": algorithm.name(), "jwk": jwk});
        let request = Request::with(TestKeys::shared().token(algorithm, &header, &claims()));
        let binding = binding(json!({"jkt": jkt(algorithm.key_kind())})).unwrap();
        assert_eq!(request.check(&proofs(), binding.as_ref()), Ok(()), "{algorithm:?}");
    }
}

#[test]
fn each_claim_of_a_proof_must_fit_the_request() {
    for (change, outcome) in [
        (json!({"extra": {"a": 1}}), None),
        (json!({"htu": "http://localhost:4000/v1/chat/completions?c=d"}), None),
        (json!({"iat": NOW - 60}), None),
        (json!({"iat": NOW + 5}), None),
        (json!({"iat": NOW as f64 - 0.5}), None),
        (json!({"jti": null}), Some("without jti")),
        (json!({"jti": ""}), Some("without jti")),
        (json!({"jti": 7}), Some("without jti")),
        (json!({"htm": null}), Some("for another method")),
        (json!({"htm": "GET"}), Some("for another method")),
        (json!({"htm": "post"}), Some("for another method")),
        (json!({"htu": null}), Some("for another URI")),
        (json!({"htu": "https://evil.example/v1/chat/completions"}), Some("for another URI")),
        (json!({"htu": "https://llm.example.com/v1/models"}), Some("for another URI")),
        (json!({"iat": null}), Some("a claim that is no time")),
        (json!({"iat": "now"}), Some("a claim that is no time")),
        (json!({"iat": NOW - 61}), Some("made at another time")),
        (json!({"iat": NOW + 6}), Some("made at another time")),
        (json!({"ath": null}), Some("for another token")),
        (json!({"ath": encode(KeyHash::of("another").as_bytes())}), Some("for another token")),
    ] {
        let found = Request::with(es256(&header(), &with(claims(), change.clone()))).outcome();
        let accepted = outcome.is_none();
        assert_eq!(found.is_ok(), accepted, "{change}: {found:?}");
        assert!(matches!(found, Ok(()) | Err(Denial::InvalidProof(_))), "{change}: {found:?}");
    }
}

#[test]
fn each_parameter_of_a_proof_must_be_as_it_has_to() {
    let p256 = || TestKeys::shared().jwk(KeyKind::P256);
    for (change, good) in [
        (json!({"kid": "mine"}), true),
        (json!({"jwk": with(p256(), json!({"kid": "mine", "use": "sig", "alg": "ES256"}))}), true),
        (json!({"typ": null}), false),
        (json!({"typ": "JWT"}), false),
        (json!({"typ": "at+jwt"}), false),
        (json!({"typ": "application/dpop+jwt"}), false),
        (json!({"alg": "none"}), false),
        (json!({"alg": "HS256"}), false),
        (json!({"alg": "ES384"}), false),
        (json!({"alg": "RS256"}), false),
        (json!({"crit": ["x"], "x": 1}), false),
        (json!({"b64": false}), false),
        (json!({"jwk": null}), false),
        (json!({"jwk": [p256()]}), false),
        (json!({"jwk": {"keys": [p256()]}}), false),
        (json!({"jwk": with(p256(), json!({"d": encode([1; 32])}))}), false),
        (json!({"jwk": with(p256(), json!({"k": encode([1; 32])}))}), false),
        (json!({"jwk": with(p256(), json!({"use": "enc"}))}), false),
        (json!({"jwk": with(p256(), json!({"alg": "ES384"}))}), false),
        (json!({"jwk": TestKeys::shared().jwk(KeyKind::P384)}), false),
        (json!({"jwk": TestKeys::generate().jwk(KeyKind::P256)}), false),
        (json!({"jwk": TestKeys::shared().jwk(KeyKind::Secret)}), false),
    ] {
        let found = Request::with(es256(&with(header(), change.clone()), &claims())).outcome();
        assert_eq!(found.is_ok(), good, "{change}: {found:?}");
        assert!(matches!(found, Ok(()) | Err(Denial::InvalidProof(_))), "{change}: {found:?}");
    }
}

#[test]
fn only_the_holder_of_the_bound_key_makes_a_proof() {
    let (stranger, holder) = (TestKeys::generate(), TestKeys::shared());
    let own_key = with(header(), json!({"jwk": stranger.jwk(KeyKind::P256)}));
    let secret = json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": holder.jwk(KeyKind::Secret)});
    let good = es256(&header(), &claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    for (name, proof) in [
        ("signed by a stranger", stranger.token(Algorithm::Es256, &header(), &claims())),
        ("with the key of a stranger", stranger.token(Algorithm::Es256, &own_key, &claims())),
        ("with a secret", signed(&secret, &claims(), |message| hmac(Algorithm::Hs256, SECRET.as_bytes(), message))),
        ("without a signature", format!("{message}.")),
        ("with a signature of zeros", format!("{message}.{}", encode([0; 64]))),
        ("the token itself", TOKEN.to_owned()),
    ] {
        let found = Request::with(proof).outcome();
        assert!(matches!(found, Err(Denial::InvalidProof(_))), "{name}: {found:?}");
    }
}

#[test]
fn there_is_exactly_one_proof_and_it_is_a_token_to_the_letter() {
    let good = es256(&header(), &claims());
    let twice = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","alg":"ES256","jwk":{}}}"#, header()["jwk"]);
    let (_, rest) = good.split_once('.').unwrap();
    let long = es256(&header(), &with(claims(), json!({"extra": "a".repeat(4096)})));
    for (name, proofs) in [
        ("none", vec![]),
        ("one twice", vec![good.clone(), good.clone()]),
        ("two in one line", vec![format!("{good}, {good}")]),
        ("blank", vec![String::new()]),
        ("padded", vec![format!("{good}=")]),
        ("four parts", vec![format!("{good}.a")]),
        ("two parts", vec!["a.b".to_owned()]),
        ("a name twice", vec![format!("{}.{rest}", encode(twice))]),
        ("too long", vec![long]),
    ] {
        let found = Request { proofs, ..Request::with(String::new()) }.outcome();
        assert!(matches!(found, Err(Denial::InvalidProof(_))), "{name}: {found:?}");
    }
}

#[test]
fn the_scheme_says_what_the_token_is() {
    let proof = || es256(&header(), &claims());
    let (certificate, key) = (binding(json!({"x5t#S256": encode(CERTIFICATE)})).unwrap(), Some(key_binding()));
    for (scheme, binding, good) in [
        (SchemeWord::Dpop, &key, true),
        (SchemeWord::Bearer, &key, false),
        (SchemeWord::None, &key, false),
        (SchemeWord::Other, &key, false),
        (SchemeWord::Dpop, &None, false),
        (SchemeWord::Bearer, &None, true),
        (SchemeWord::None, &None, true),
        (SchemeWord::Dpop, &certificate, false),
        (SchemeWord::Bearer, &certificate, true),
    ] {
        let request = Request { scheme, certificate: Some(CERTIFICATE), ..Request::with(proof()) };
        let found = request.check(&proofs(), binding.as_ref());
        assert_eq!(found.is_ok(), good, "{scheme:?} {binding:?}: {found:?}");
    }
}

#[test]
fn a_certificate_must_be_the_one_and_does_not_stand_in_for_a_key() {
    let both = json!({"jkt": jkt(KeyKind::P256), "x5t#S256": encode(CERTIFICATE)});
    let (one, both) = (binding(json!({"x5t#S256": encode(CERTIFICATE)})).unwrap(), binding(both).unwrap());
    let (bearer, dpop) = (SchemeWord::Bearer, SchemeWord::Dpop);
    let refused = Err(Denial::InvalidToken("bound to a certificate that the client did not show"));
    let proof = es256(&header(), &claims());
    for (binding, scheme, certificate, proof, outcome) in [
        (&one, bearer, Some(CERTIFICATE), None, Ok(())),
        (&one, bearer, Some([8; 32]), None, refused.clone()),
        (&one, bearer, None, None, refused.clone()),
        (&both, dpop, Some(CERTIFICATE), Some(&proof), Ok(())),
        (&both, dpop, None, Some(&proof), refused.clone()),
        (&both, dpop, Some([8; 32]), Some(&proof), refused),
        (&both, dpop, Some(CERTIFICATE), None, Err(Denial::InvalidProof("missing"))),
    ] {
        let proofs_sent = proof.into_iter().cloned().collect();
        let request = Request { proofs: proofs_sent, scheme, certificate, now: at(NOW) };
        assert_eq!(request.check(&proofs(), binding.as_ref()), outcome, "{scheme:?} {certificate:?} {proof:?}");
    }
}

#[test]
fn without_an_own_address_no_proof_is_good() {
    let request = Request::with(es256(&header(), &claims()));
    let used = Arc::new(UsedProofs::new(used::MAX_USED, at(0)));
    let found = request.check(&Proofs::new(ProofSettings::default(), used), Some(&key_binding()));
    assert_eq!(found, Err(Denial::InvalidProof("no portcullis.public_urls to compare its htu with")));
    assert!(request.check(&Proofs::default(), Some(&key_binding())).is_err());
}

#[test]
fn a_refused_proof_is_not_used_up() {
    let proofs = proofs();
    let good = es256(&header(), &claims());
    let early = Request { now: at(NOW - 10), ..Request::with(good.clone()) };
    assert_eq!(early.check(&proofs, Some(&key_binding())), Err(Denial::InvalidProof("made at another time")));
    let forged = TestKeys::generate().token(Algorithm::Es256, &header(), &claims());
    assert!(Request::with(forged).check(&proofs, Some(&key_binding())).is_err());
    assert_eq!(Request::with(good).check(&proofs, Some(&key_binding())), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// One character of a good proof made another one.
    #[test]
    fn no_other_text_is_a_proof(at in any::<prop::sample::Index>(), other in "[ -~]") {
        let mut proof = es256(&header(), &claims());
        let at = at.index(proof.len());
        prop_assume!(proof[at..=at] != other);
        proof.replace_range(at..=at, &other);
        let found = Request::with(proof).outcome();
        prop_assert!(matches!(found, Err(Denial::InvalidProof(_))), "{found:?}");
    }
}

/// The request of RFC 9449, section 7.1, whose token is bound as section 6.1 shows.
#[test]
fn the_example_of_the_rfc_passes() {
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo\
        UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6\
        IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm\
        90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2\
        oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let now = at(1_562_262_620);
    let settings =
        ProofSettings { public_urls: vec!["https://resource.example.org".parse().unwrap()], ..Default::default() };
    let proofs = Proofs::new(settings, Arc::new(UsedProofs::new(1, at(0))));
    let binding = binding(json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})).unwrap();
    let headers: HeaderMap =
        [(http::HeaderName::from_static("dpop"), HeaderValue::from_static(PROOF))].into_iter().collect();
    let path = CanonicalPath::parse("/protectedresource").unwrap();
    let (method, query) = (&Method::GET, None);
    let head = RequestHead { method, path: &path, query, headers: &headers, source: None, client_certificate: None };
    let credential = Credential { text: TOKEN, slot: "authorization", scheme: SchemeWord::Dpop };
    assert_eq!(proofs.check(binding.as_ref(), &credential, &KeyHash::of(TOKEN), &head, now), Ok(()));
}
