//! The authenticator against servers that answer what the test says, when the test says; who was asked, and how often.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::authn::failures::FailureSettings;
use crate::authn::jwt::deny_list::{Denied, DeniedClaim, entry_name};
use crate::authn::master::MasterKeys;
use crate::authn::virtual_key::StoreUnavailable;
use crate::authn::{Authenticator, Authenticators};
use crate::directory::{Enrolment, TeamName, TeamRecord, UserRecord};
use crate::path::CanonicalPath;

const GOOD: &str = "good-token-0123456789";
const JUNK: &str = "junk-token-0123456789";
const NOW: u64 = 1_750_000_000;

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// A server that knows some tokens.
#[derive(Default)]
struct Scripted {
    answers: Mutex<HashMap<String, Value>>,
    away: Mutex<bool>,
    asked: Mutex<Vec<String>>,
    /// Where set, a question waits for it.
    gate: Mutex<Option<Arc<Notify>>>,
    arrived: Notify,
}

impl Scripted {
    fn knowing(token: &str, answer: Value) -> Arc<Self> {
        let server = Self::default();
        server.answers.lock().unwrap().insert(token.to_owned(), answer);
        Arc::new(server)
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl TokenInfo for Scripted {
    fn ask(&self, token: Secret) -> BoxFuture<'_, Result<Option<Claims>, TokenInfoUnavailable>> {
        async move {
            self.asked.lock().unwrap().push(token.expose().to_owned());
            self.arrived.notify_one();
            let gate = self.gate.lock().unwrap().clone();
            match gate {
                Some(gate) => gate.notified().await,
                None => tokio::task::yield_now().await, // lets the others of a crowd in
            }
            if *self.away.lock().unwrap() {
                return Err(TokenInfoUnavailable("away"));
            }
            let answer = self.answers.lock().unwrap().get(token.expose()).cloned();
            answer::introspection(answer.unwrap_or(json!({"active": false})).to_string().as_bytes())
        }
        .boxed()
    }
}

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

fn active() -> Value {
    json!({"active": true, "sub": "alice", "exp": NOW + 3600})
}

fn server(endpoint: &Arc<Scripted>) -> TokenServer {
    TokenServer {
        endpoint: Arc::clone(endpoint) as _,
        issuer: Some("https://idp.example".to_owned()),
        audiences: Vec::new(),
        leeway: Duration::from_secs(30),
        ttl: Duration::from_secs(60),
        claims: ClaimRules::default(),
    }
}

/// The authenticator and what it shares with others.
struct Bench {
    tokens: OpaqueAuthenticator,
    deny_list: Arc<DenyList>,
}

impl Bench {
    fn new(servers: Vec<TokenServer>, settings: OpaqueSettings) -> Self {
        let failures = Arc::new(FailureThrottle::new(FailureSettings { burst: 5, per_second: 1 }));
        let (deny_list, proofs, directory) = (Arc::<DenyList>::default(), Arc::<Proofs>::default(), Arc::new(Nobody));
        let listed = Arc::clone(&deny_list);
        Self { tokens: OpaqueAuthenticator::new(servers, settings, listed, proofs, directory, failures), deny_list }
    }

    fn asking(endpoint: &Arc<Scripted>) -> Self {
        Self::new(vec![server(endpoint)], OpaqueSettings::default())
    }

    async fn present(&self, text: &str, now: u64) -> Result<Option<Principal>, Denial> {
        self.present_as(text, SchemeWord::Bearer, None, now).await
    }

    async fn present_as(
        &self,
        text: &str,
        scheme: SchemeWord,
        client_certificate: Option<[u8; 32]>,
        now: u64,
    ) -> Result<Option<Principal>, Denial> {
        let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
        let (headers, source) = (HeaderMap::new(), Some(IpAddr::from([192, 0, 2, 1])));
        let head = RequestHead {
            method: &Method::POST,
            path: &path,
            query: None,
            headers: &headers,
            source,
            client_certificate,
        };
        let credential = Credential { text, slot: "authorization", scheme };
        self.tokens.authenticate(&credential, &KeyHash::of(text), &head, at(now)).await
    }

    /// The same as a word, with the denial's reason.
    async fn outcome(&self, text: &str, now: u64) -> &'static str {
        word(self.present(text, now).await)
    }
}

fn word(outcome: Result<Option<Principal>, Denial>) -> &'static str {
    match outcome {
        Ok(Some(_)) => "let in",
        Ok(None) => "not mine",
        Err(denial) => denial.reason(),
    }
}

#[tokio::test]
async fn what_can_be_told_here_is_never_asked_about() {
    const MASTER: &str = "company-master-key-0123456789";
    let endpoint = Scripted::knowing(GOOD, active());
    let long = "a".repeat(MAX_CREDENTIAL + 1);
    let jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";
    for (text, scheme, expected, asked) in [
        (GOOD, SchemeWord::Bearer, "let in", 1),
        (GOOD, SchemeWord::None, "let in", 1),
        ("ya29.a0AfH6SMBx-0123456789", SchemeWord::Bearer, "invalid_token", 1),
        ("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU/+==", SchemeWord::Bearer, "invalid_token", 1),
        (MASTER, SchemeWord::Bearer, "let in", 0),
        (MASTER, SchemeWord::None, "let in", 0),
        (MASTER, SchemeWord::Dpop, "invalid_proof", 0),
        (GOOD, SchemeWord::Other, "unrecognized_credential", 0),
        ("sk-0123456789abcdef0123", SchemeWord::Bearer, "unrecognized_credential", 0),
        (jwt, SchemeWord::Bearer, "unrecognized_credential", 0),
        ("AIzaSyA0123456789012345678901234567890", SchemeWord::None, "unrecognized_credential", 0),
        ("0123456789abcde", SchemeWord::Bearer, "unrecognized_credential", 0),
        ("0123456789abcdef 0123456789", SchemeWord::Bearer, "unrecognized_credential", 0),
        ("0123456789abcdef=0123456789", SchemeWord::Bearer, "unrecognized_credential", 0),
        ("================", SchemeWord::Bearer, "unrecognized_credential", 0),
        ("0123456789abcdef:0123456789", SchemeWord::Bearer, "unrecognized_credential", 0),
        (&long, SchemeWord::Bearer, "unrecognized_credential", 0),
    ] {
        let before = endpoint.asked();
        // The wrong way round, as a careless composition would have it.
        let chain = Authenticators::new(vec![
            Authenticator::Opaque(Bench::asking(&endpoint).tokens),
            Authenticator::Master(MasterKeys::new(&[MASTER.into()])),
        ]);
        let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
        let (headers, method, query) = (HeaderMap::new(), &Method::POST, None);
        let head =
            RequestHead { method, path: &path, query, headers: &headers, source: None, client_certificate: None };
        let credential = Credential { text, slot: "authorization", scheme };
        let found = chain.authenticate(&head, Ok(credential), None, at(NOW)).await;
        assert_eq!((word(found.map(Some)), endpoint.asked() - before), (expected, asked), "{text:.60} {scheme:?}");
    }
}

#[tokio::test]
async fn a_principal_says_how_it_was_proven() {
    let endpoint = Scripted::knowing(GOOD, active());
    let principal = Bench::asking(&endpoint).present(GOOD, NOW).await.unwrap().unwrap();
    assert_eq!((principal.method(), principal.id().as_str()), ("oauth2", "alice"));
    let Principal::Token(token) = principal else { panic!("of a token") };
    assert_eq!(token.expires, at(NOW + 3600));
    assert_eq!(*endpoint.asked.lock().unwrap(), [GOOD]);
}

#[tokio::test]
async fn five_hundred_requests_with_one_token_ask_once() {
    let endpoint = Scripted::knowing(GOOD, active());
    for (text, expected) in [(GOOD, "let in"), (JUNK, "invalid_token")] {
        let bench = Bench::asking(&endpoint);
        let before = endpoint.asked();
        let outcomes = join_all((0..500).map(|_| bench.outcome(text, NOW))).await;
        assert!(outcomes.iter().all(|outcome| *outcome == expected), "{text}: {outcomes:?}");
        assert_eq!(endpoint.asked() - before, 1, "{text}");
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_time() {
    let short = json!({"active": true, "sub": "bob", "exp": NOW + 20});
    let endless = json!({"active": true, "sub": "bob"});
    for (text, answer, steps) in [
        (GOOD, active(), &[(0, "let in", 1), (59, "let in", 1), (60, "let in", 2), (119, "let in", 2)][..]),
        (GOOD, short, &[(0, "let in", 1), (19, "let in", 1), (20, "expired_token", 2), (29, "expired_token", 2)]),
        (GOOD, endless, &[(0, "let in", 1), (59, "let in", 1), (60, "let in", 2)]),
        (JUNK, active(), &[(0, "invalid_token", 1), (9, "invalid_token", 1), (10, "invalid_token", 2)]),
    ] {
        let endpoint = Scripted::knowing(GOOD, answer.clone());
        let bench = Bench::asking(&endpoint);
        for (second, expected, asked) in steps {
            let found = bench.outcome(text, NOW + second).await;
            assert_eq!((found, endpoint.asked()), (*expected, *asked), "{text} {answer} after {second} s");
        }
    }
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_refused_when_its_answer_has_ended() {
    let endpoint = Scripted::knowing(GOOD, active());
    let bench = Bench::asking(&endpoint);
    assert_eq!(bench.outcome(GOOD, NOW).await, "let in");
    endpoint.answers.lock().unwrap().clear();
    assert_eq!(bench.outcome(GOOD, NOW + 59).await, "let in");
    assert_eq!(bench.outcome(GOOD, NOW + 60).await, "invalid_token");
    assert_eq!(bench.outcome(GOOD, NOW + 30).await, "invalid_token", "also for a clock that steps back");
}

#[tokio::test]
async fn an_issuer_that_is_away_lets_nobody_in_and_condemns_nobody() {
    let endpoint = Scripted::knowing(GOOD, active());
    let bench = Bench::asking(&endpoint);
    *endpoint.away.lock().unwrap() = true;
    for second in 0..10 {
        assert_eq!(bench.outcome(GOOD, NOW + second).await, "issuer_unavailable", "nor does it count as a failure");
    }
    *endpoint.away.lock().unwrap() = false;
    assert_eq!(bench.outcome(GOOD, NOW + 10).await, "let in");
    *endpoint.away.lock().unwrap() = true;
    assert_eq!(bench.outcome(GOOD, NOW + 69).await, "let in");
    assert_eq!(bench.outcome(GOOD, NOW + 70).await, "issuer_unavailable");
}

#[tokio::test]
async fn an_answer_is_held_to_the_configuration() {
    let (ours, idp) = ("llm-gateway", "https://idp.example");
    for (change, expected) in [
        (json!({"aud": ours}), "let in"),
        (json!({"aud": ["account", ours]}), "let in"),
        (json!({"aud": ours, "iss": idp}), "let in"),
        (json!({"aud": ours, "nbf": NOW + 30, "iat": NOW + 30}), "let in"),
        (json!({"aud": ours, "token_type": "Bearer"}), "let in"),
        (json!({}), "invalid_token"),
        (json!({"aud": "account"}), "invalid_token"),
        (json!({"aud": ["account"]}), "invalid_token"),
        (json!({"aud": {"0": ours}}), "invalid_token"),
        (json!({"aud": ours, "iss": "https://evil.example"}), "invalid_token"),
        (json!({"aud": ours, "iss": [idp]}), "invalid_token"),
        (json!({"aud": ours, "nbf": NOW + 31}), "invalid_token"),
        (json!({"aud": ours, "exp": NOW}), "expired_token"),
        (json!({"aud": ours, "exp": "soon"}), "invalid_token"),
        (json!({"aud": ours, "iat": -1}), "invalid_token"),
        (json!({"aud": ours, "sub": null}), "invalid_token"),
        (json!({"aud": ours, "jti": 7}), "invalid_token"),
        (json!({"aud": ours, "cnf": {"kid": "a"}}), "invalid_token"),
        (json!({"aud": ours, "token_type": "DPoP"}), "invalid_token"),
        (json!({"aud": ours, "active": "true"}), "issuer_unavailable"),
        (json!({"aud": ours, "error": "server_error"}), "issuer_unavailable"),
    ] {
        let mut answer = active();
        answer.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let endpoint = Scripted::knowing(GOOD, answer);
        let audiences = vec!["other".to_owned(), ours.to_owned()];
        let bench = Bench::new(vec![TokenServer { audiences, ..server(&endpoint) }], OpaqueSettings::default());
        assert_eq!(bench.outcome(GOOD, NOW).await, expected, "{change}");
    }
}

#[tokio::test]
async fn the_deny_list_counts_for_what_was_let_in_before() {
    let answer = json!({"active": true, "sub": "alice", "jti": "j", "sid": "s", "exp": NOW + 3600});
    let named = json!({"iss": "https://idp.example", "active": true, "sub": "alice", "jti": "j", "sid": "s"});
    for answer in [answer, named] {
        for (claim, value, expected) in [
            (DeniedClaim::Sub, "alice", "revoked_token"),
            (DeniedClaim::Jti, "j", "revoked_token"),
            (DeniedClaim::Sid, "s", "revoked_token"),
            (DeniedClaim::Sub, "bob", "let in"),
        ] {
            let bench = Bench::asking(&Scripted::knowing(GOOD, answer.clone()));
            assert_eq!(bench.outcome(GOOD, NOW).await, "let in");
            let denied = Denied { issued_until: None, until: at(NOW + 9999) };
            bench.deny_list.put([(entry_name(claim, "https://idp.example", value), denied)]);
            assert_eq!(bench.outcome(GOOD, NOW).await, expected, "{claim:?} {value}");
        }
    }
}

#[tokio::test]
async fn whoever_guesses_is_slowed_down_and_known_tokens_pass() {
    let endpoint = Scripted::knowing(GOOD, active());
    let bench = Bench::asking(&endpoint);
    assert_eq!(bench.outcome(GOOD, NOW).await, "let in");
    for n in 0..5 {
        assert_eq!(bench.outcome(&format!("{JUNK}-{n}"), NOW).await, "invalid_token");
    }
    let asked = endpoint.asked();
    assert_eq!(bench.outcome(&format!("{JUNK}-5"), NOW).await, "too_many_failures");
    assert_eq!(bench.outcome(GOOD, NOW).await, "let in");
    assert_eq!(bench.outcome(&format!("{JUNK}-0"), NOW).await, "invalid_token", "from memory");
    assert_eq!(endpoint.asked(), asked);
}

#[tokio::test]
async fn no_flood_of_junk_pushes_a_good_token_out() {
    let endpoint = Scripted::knowing(GOOD, active());
    let settings = OpaqueSettings { max_tokens: 8, max_unknown: 8, ..OpaqueSettings::default() };
    let bench = Bench::new(vec![server(&endpoint)], settings);
    assert_eq!(bench.outcome(GOOD, NOW).await, "let in");
    for n in 0..50 {
        // A second each, which is what the throttle forgives.
        assert_eq!(bench.outcome(&format!("{JUNK}-{n}"), NOW + n).await, "invalid_token");
    }
    let asked = endpoint.asked();
    assert_eq!(bench.outcome(GOOD, NOW + 50).await, "let in");
    assert_eq!(endpoint.asked(), asked);
}

#[tokio::test]
async fn questions_under_way_are_bounded() {
    let endpoint = Scripted::knowing(GOOD, active());
    let gate = Arc::new(Notify::new());
    *endpoint.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let settings = OpaqueSettings { max_questions: 1, ..OpaqueSettings::default() };
    let bench = Bench::new(vec![server(&endpoint)], settings);
    let first = bench.outcome(GOOD, NOW);
    let others = async {
        endpoint.arrived.notified().await;
        let other = bench.outcome(JUNK, NOW).await;
        gate.notify_one();
        other
    };
    assert_eq!(join(first, others).await, ("let in", "overloaded"));
    *endpoint.gate.lock().unwrap() = None;
    assert_eq!(bench.outcome(JUNK, NOW).await, "invalid_token", "a refusal for want of room says nothing of the token");
}

#[tokio::test]
async fn several_servers_are_asked_in_their_order() {
    let knows = || Scripted::knowing(GOOD, active());
    let does_not = || Arc::new(Scripted::default());
    let away = || Arc::new(Scripted { away: Mutex::new(true), ..Scripted::default() });
    for (first, second, expected, asked) in [
        (knows(), knows(), "let in", (1, 0)),
        (does_not(), knows(), "let in", (1, 1)),
        (away(), knows(), "let in", (1, 1)),
        (does_not(), does_not(), "invalid_token", (1, 1)),
        (away(), does_not(), "issuer_unavailable", (1, 1)),
        (does_not(), away(), "issuer_unavailable", (1, 1)),
    ] {
        let bench = Bench::new(vec![server(&first), server(&second)], OpaqueSettings::default());
        assert_eq!(bench.outcome(GOOD, NOW).await, expected);
        assert_eq!((first.asked(), second.asked()), asked, "{expected}");
    }
    assert_eq!(Bench::new(Vec::new(), OpaqueSettings::default()).outcome(GOOD, NOW).await, "invalid_token");
}

#[tokio::test]
async fn an_opaque_token_may_be_bound_too() {
    let thumbprint = URL_SAFE_NO_PAD.encode([1; 32]);
    let bound = |confirmation: &str| json!({"active": true, "sub": "alice", "cnf": {confirmation: thumbprint}});
    for (answer, scheme, certificate, expected) in [
        (bound("x5t#S256"), SchemeWord::Bearer, Some([1; 32]), "let in"),
        (bound("x5t#S256"), SchemeWord::Bearer, Some([2; 32]), "invalid_token"),
        (bound("x5t#S256"), SchemeWord::Bearer, None, "invalid_token"),
        (bound("jkt"), SchemeWord::Bearer, Some([1; 32]), "invalid_proof"),
        (bound("jkt"), SchemeWord::Dpop, Some([1; 32]), "invalid_proof"),
        (active(), SchemeWord::Dpop, None, "invalid_proof"),
        (active(), SchemeWord::Bearer, None, "let in"),
    ] {
        let bench = Bench::asking(&Scripted::knowing(GOOD, answer.clone()));
        let found = bench.present_as(GOOD, scheme, certificate, NOW).await;
        assert_eq!(word(found), expected, "{answer} {scheme:?}");
    }
}

#[test]
fn userinfo_is_read_as_a_statement_about_somebody() {
    for (body, expected) in [
        (r#"{"sub":"u"}"#, Ok(true)),
        (r#"{"user":"u"}"#, Ok(true)),
        (r#"{"sub":"u","active":false}"#, Ok(false)),
        (r#"{"sub":"u","error":"invalid_token"}"#, Err(())),
        (r#"{"sub":"u","sub":"v"}"#, Err(())),
        ("\"u\"", Err(())),
        ("", Err(())),
    ] {
        let found = answer::userinfo(body.as_bytes());
        assert_eq!(found.map(|claims| claims.is_some()).map_err(|_| ()), expected, "{body}");
    }
}
