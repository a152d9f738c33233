//! The page `docs/credentials.md` is the expectation: its order and its matrix are read here and compared with what the
//! slots do, for every pair of them.

use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;

use super::*;
use crate::path::CanonicalPath;

const PAGE: &str = include_str!("../../../docs/credentials.md");
const ADDITIONAL: &str = "x-team-key";
const REPLACING: &str = "x-company-key";
const VALUES: [(&str, &str); 5] = [
    ("valid", "sk-valid-0123456789"),
    ("unknown", "sk-unknown-0123456789"),
    ("empty", ""),
    ("foreign", "sk-ant-oat01-0123456789"),
    ("placeholder", "not-needed"),
];

/// A request by its parts; the query stands apart from the headers.
#[derive(Default)]
struct Request {
    headers: HeaderMap,
    query: String,
}

impl Request {
    fn with(mut self, slot: &str, value: &str) -> Self {
        match slot {
            "?key" => self.query = format!("alt=sse&key={value}"),
            "sec-websocket-protocol" => self.put(slot, &format!("realtime, {PROTOCOL_KEY}{value}")),
            "authorization" if !value.is_empty() => self.put(slot, &format!("Bearer {value}")),
            _ => self.put(slot, value),
        }
        self
    }

    fn put(&mut self, name: &str, value: &str) {
        self.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }

    /// The slot and the text that count.
    fn extract(&self, slots: &CredentialSlots) -> Result<(String, String), Denial> {
        let path = CanonicalPath::parse("/v1beta/models/m:generateContent").unwrap();
        let query = Some(self.query.as_str());
        let head = RequestHead {
            method: &Method::POST,
            path: &path,
            query,
            headers: &self.headers,
            source: None,
            client_certificate: None,
        };
        slots.extract(&head).map(|found| (found.slot.to_owned(), found.text.to_owned()))
    }
}

fn slots() -> CredentialSlots {
    CredentialSlots { additional: vec![HeaderName::from_static(ADDITIONAL)], ..CredentialSlots::default() }
}

/// The cells of the table on the page whose first heading is this, without that heading line.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = PAGE.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The slots in the order of the page, under the names that a credential carries.
fn order() -> Vec<&'static str> {
    let places = table("place").into_iter().map(|row| row[0].split('`').nth(1).unwrap());
    places
        .map(|place| if place.starts_with("portcullis.") { ADDITIONAL } else { place.trim_end_matches('=') })
        .collect()
}

#[test]
fn every_pair_of_slots_follows_the_page() {
    let (order, matrix) = (order(), table("earlier place"));
    assert_eq!((order.len(), matrix.len()), (9, VALUES.len()));
    let mut compared = 0;
    for (at, earlier) in order.iter().enumerate() {
        for later in &order[at + 1..] {
            for ((first_kind, first), row) in VALUES.iter().zip(&matrix) {
                assert_eq!(row[0], *first_kind);
                for ((second_kind, second), cell) in VALUES.iter().zip(&row[1..]) {
                    let expected = match *cell {
                        "earlier" => Ok(((*earlier).to_owned(), (*first).to_owned())),
                        "later" => Ok(((*later).to_owned(), (*second).to_owned())),
                        "none" => Err(Denial::MissingCredential),
                        other => panic!("{other:?} on the page"),
                    };
                    for request in [
                        Request::default().with(earlier, first).with(later, second),
                        Request::default().with(later, second).with(earlier, first),
                    ] {
                        let found = request.extract(&slots());
                        assert_eq!(found, expected, "{earlier}: {first_kind}, {later}: {second_kind}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 36 * 25 * 2, "pairs, values, orders on the wire");
}

#[test]
fn the_page_names_every_slot_of_the_code() {
    let slots = slots();
    let never_read = ["cookie", "dpop", "litellm-changed-by", "proxy-authorization"];
    let is_read = |name: &&HeaderName| !never_read.contains(&name.as_str());
    let code: Vec<&str> = slots.headers().filter(is_read).map(HeaderName::as_str).collect();
    assert_eq!(order()[..7], code);
}

#[test]
fn a_replacing_header_alone_decides_when_it_is_present() {
    let slots = CredentialSlots { replacing: Some(HeaderName::from_static(REPLACING)), ..slots() };
    let good = || Request::default().with("authorization", "sk-good").with("x-litellm-api-key", "sk-good");
    for (value, expected) in [
        ("Bearer sk-own", Ok("sk-own")),
        ("Bearer not-needed", Ok("not-needed")),
        ("sk-own", Err(())),
        ("", Err(())),
        ("Token sk-own", Err(())),
    ] {
        let found = good().with(REPLACING, value).extract(&slots);
        assert!(matches!(found, Ok(_) | Err(Denial::MalformedCredential(_))));
        assert_eq!(found.map(|(_, text)| text).map_err(|_| ()), expected.map(str::to_owned), "{value:?}");
    }
    assert_eq!(good().extract(&slots).unwrap().0, "x-litellm-api-key");
}

#[test]
fn schemes_are_read_as_the_contract_says() {
    const K: &str = "sk-1234";
    for (value, strict, lenient) in [
        ("Bearer sk-1234", Some(K), K),
        ("bearer sk-1234", Some(K), K),
        ("Basic sk-1234", Some(K), K),
        ("AWS4-HMAC-SHA256 Credential=Bearer sk-1234/20260101/eu/bedrock, SignedHeaders=host", Some(K), K),
        ("AWS4-HMAC-SHA256 Credential=sk-1234,x", Some(K), K),
        ("AWS4-HMAC-SHA256 Credential=sk-1234 x", Some(K), K),
        ("DPoP sk-1234", Some(K), "DPoP sk-1234"),
        ("dpop  sk-1234", Some(K), "dpop  sk-1234"),
        ("DPoP", None, "DPoP"),
        ("DPoP\tsk-1234", None, "DPoP\tsk-1234"),
        ("DPoPsk-1234", None, "DPoPsk-1234"),
        ("AWS4-HMAC-SHA256 SignedHeaders=host", None, "AWS4-HMAC-SHA256 SignedHeaders=host"),
        ("BEARER sk-1234", None, "BEARER sk-1234"),
        ("Token sk-1234", None, "Token sk-1234"),
        ("Bearer\tsk-1234", None, "Bearer\tsk-1234"),
        ("sk-1234", None, K),
        ("Bearer", None, "Bearer"),
        ("Bearer  sk-1234", Some(" sk-1234"), " sk-1234"),
        ("Bearer Bearer sk-1234", Some(K), K),
        ("  Bearer sk-1234  ", Some(K), K),
    ] {
        let mut strict_request = Request::default();
        strict_request.put("authorization", value);
        let found = strict_request.extract(&slots()).map(|(_, text)| text);
        assert_eq!(found.ok().as_deref(), strict, "authorization: {value:?}");
        let found = Request::default().with("x-litellm-api-key", value).extract(&slots()).map(|(_, text)| text);
        assert_eq!(found.as_deref(), Ok(lenient), "x-litellm-api-key: {value:?}");
        let bare = Request::default().with("api-key", value).extract(&slots()).map(|(_, text)| text);
        assert_eq!(bare.as_deref(), Ok(value.trim()), "api-key: {value:?}");
    }
}

#[test]
fn the_scheme_is_told_with_the_credential() {
    let slots = CredentialSlots { replacing: Some(HeaderName::from_static(REPLACING)), ..slots() };
    for (name, value, scheme) in [
        ("authorization", "Bearer sk-1234", Some(SchemeWord::Bearer)),
        ("authorization", "bearer sk-1234", Some(SchemeWord::Bearer)),
        ("authorization", "Basic sk-1234", Some(SchemeWord::Other)),
        ("authorization", "AWS4-HMAC-SHA256 Credential=sk-1234/x", Some(SchemeWord::Other)),
        ("authorization", "DPoP sk-1234", Some(SchemeWord::Dpop)),
        ("authorization", "DPOP sk-1234", Some(SchemeWord::Dpop)),
        ("x-litellm-api-key", "Bearer sk-1234", Some(SchemeWord::Bearer)),
        ("x-litellm-api-key", "Basic sk-1234", Some(SchemeWord::Other)),
        ("x-litellm-api-key", "DPoP sk-1234", Some(SchemeWord::None)),
        (ADDITIONAL, "DPoP sk-1234", Some(SchemeWord::None)),
        ("api-key", "sk-1234", Some(SchemeWord::None)),
        (REPLACING, "Bearer sk-1234", Some(SchemeWord::Bearer)),
        (REPLACING, "DPoP sk-1234", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.append(name, value.parse().unwrap());
        let path = CanonicalPath::parse("/v1/models").unwrap();
        let (method, query) = (&Method::GET, None);
        let head =
            RequestHead { method, path: &path, query, headers: &headers, source: None, client_certificate: None };
        assert_eq!(slots.extract(&head).ok().map(|found| found.scheme), scheme, "{name}: {value}");
    }
}

#[test]
fn what_says_who_the_client_is_is_never_read_and_never_forwarded() {
    let certificate = HeaderName::from_static("client-cert");
    let slots = CredentialSlots { certificate: Some(certificate.clone()), ..slots() };
    let unread = ["client-cert", "cookie", "dpop", "litellm-changed-by", "proxy-authorization"];
    for name in unread {
        assert!(slots.headers().any(|header| header == name), "{name} is forwarded");
        let alone = Request::default().with(name, "Bearer sk-valid").extract(&slots);
        assert_eq!(alone, Err(Denial::MissingCredential), "{name} is read");
    }
    for name in &unread[1..] {
        assert!(PAGE.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

#[test]
fn a_header_of_two_values_is_refused_and_one_said_twice_is_not() {
    let slots = CredentialSlots { replacing: Some(HeaderName::from_static(REPLACING)), ..slots() };
    let all = [REPLACING, "x-litellm-api-key", "authorization", "api-key", "x-api-key", "x-goog-api-key"];
    for name in all.into_iter().chain(["ocp-apim-subscription-key", ADDITIONAL, "proxy-authorization", "dpop"]) {
        let mut request = Request::default();
        request.put(name, "Bearer sk-one");
        request.put(name, "Bearer sk-one");
        assert!(!matches!(request.extract(&slots), Err(Denial::ConflictingCredentials)), "{name}");
        request.put(name, "Bearer sk-two");
        assert_eq!(request.extract(&slots), Err(Denial::ConflictingCredentials), "{name}");
    }
    let cookies = Request::default().with("cookie", "a=1").with("cookie", "b=2").with("api-key", "sk-one");
    assert!(cookies.extract(&slots).is_ok());
}

#[test]
fn the_length_is_bounded_by_shape() {
    let jwt = |length: usize| format!("eyJ.{}.s", "a".repeat(length - 6));
    for (value, admitted) in [
        (format!("sk-{}", "a".repeat(MAX_CREDENTIAL - 3)), true),
        (format!("sk-{}", "a".repeat(MAX_CREDENTIAL - 2)), false),
        (jwt(MAX_JWT), true),
        (jwt(MAX_JWT + 1), false),
    ] {
        let found = Request::default().with("authorization", &value).extract(&slots());
        assert_eq!(found.is_ok(), admitted, "{} bytes", value.len());
        assert!(admitted || found == Err(Denial::MalformedCredential("too long")));
    }
}

#[test]
fn not_every_place_is_a_slot() {
    for request in [
        Request::default().with("cookie", "token=sk-valid"),
        Request::default().with("x-litellm-key", "sk-valid"),
        Request { query: "api_key=sk-valid&xkey=sk-valid&key=".to_owned(), ..Request::default() },
        Request::default().with("proxy-authorization", "Bearer sk-valid"),
    ] {
        assert_eq!(request.extract(&slots()), Err(Denial::MissingCredential));
    }
    let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
    let headers = HeaderMap::new();
    let query = Some("key=sk-valid");
    let head = RequestHead {
        method: &Method::POST,
        path: &path,
        query,
        headers: &headers,
        source: None,
        client_certificate: None,
    };
    assert!(matches!(slots().extract(&head), Err(Denial::MissingCredential)), "?key= counts on Gemini paths only");
}

#[test]
fn whatever_shape_can_be_verified_is_not_passed_over() {
    let jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2ln";
    let request = |first: &str| Request::default().with("authorization", first).with("x-api-key", "sk-later");
    for (shapes, first, counts) in [
        (Shapes { jwt: false, opaque: false }, jwt, "sk-later"),
        (Shapes { jwt: true, opaque: false }, jwt, jwt),
        (Shapes { jwt: false, opaque: false }, "company-token", "sk-later"),
        (Shapes { jwt: false, opaque: true }, "company-token", "company-token"),
        (Shapes { jwt: true, opaque: true }, "ya29.a0", "sk-later"),
    ] {
        let found = request(first).extract(&CredentialSlots { shapes, ..slots() });
        assert_eq!(found.unwrap().1, counts, "{shapes:?} {first}");
    }
}

#[test]
fn what_holds_a_credential_is_taken_out_of_query_and_protocols() {
    for (query, kept) in [
        ("key=k", None),
        ("a=1&key=k&b=2", Some("a=1&b=2")),
        ("KEY=k&Api_Key=k&api-key=k&ACCESS_TOKEN=k&a", Some("a")),
        ("%6bey=k&k%65y=k&api%5fkey=k&keys=1", Some("keys=1")),
        ("a=key=k&&b", Some("a=key=k&b")),
        ("", None),
    ] {
        assert_eq!(strip_query(query).as_deref(), kept, "{query}");
    }
    for (offered, kept) in [
        ("realtime, openai-insecure-api-key.sk-1", Some("realtime")),
        ("openai-insecure-api-key.sk-1,realtime,openai-beta.realtime-v1", Some("realtime, openai-beta.realtime-v1")),
        ("openai-insecure-api-key.sk-1", None),
        ("realtime;openai-insecure-api-key.sk-1, b", Some("realtime, b")),
        ("openai-insecure-api-key.sk-1;realtime", Some("realtime")),
        ("realtime", Some("realtime")),
    ] {
        let offered = offered.split(';').fold(Request::default(), |mut request, line| {
            request.put("sec-websocket-protocol", line);
            request
        });
        assert_eq!(strip_protocols(&offered.headers).as_ref().and_then(|kept| kept.to_str().ok()), kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in the headers, what counts is never empty and never over the bound.
    #[test]
    fn any_values_are_read_without_harm(values in prop::collection::vec(("[ -~]{0,40}", 0usize..7), 0..5), query in "[ -~]{0,40}") {
        let names = order();
        let mut request = Request { query, ..Request::default() };
        for (value, slot) in values {
            request.put(names[slot], &value);
        }
        if let Ok((_, text)) = request.extract(&slots()) {
            prop_assert!((1..=MAX_JWT).contains(&text.len()));
        }
    }
}

const OAT: &str = "sk-ant-oat01-0123456789";
const ANT: &str = "sk-ant-api03-0123456789012345678901234567890123456789";

#[test]
fn a_providers_own_credential_goes_on_only_from_another_slot_than_ours_and_by_its_prefix() {
    let anthropic: &[&str] = &["sk-ant-"];
    let (tokens, all) = (OwnCredential::Tokens, OwnCredential::TokensAndKeys);
    let ours = ("x-litellm-api-key", "sk-valid-0123456789");
    for (fields, prefixes, takes, goes) in [
        (&[ours, ("authorization", OAT)][..], anthropic, tokens, Some(format!("authorization: Bearer {OAT}"))),
        (
            &[("x-api-key", "sk-valid-0123456789"), ("authorization", OAT)],
            anthropic,
            tokens,
            Some(format!("authorization: Bearer {OAT}")),
        ),
        (&[ours, ("x-api-key", ANT)], anthropic, all, Some(format!("x-api-key: {ANT}"))),
        (&[ours, ("x-api-key", ANT)], anthropic, tokens, None),
        (&[ours, ("authorization", OAT)], &["sk-proj-"], all, None),
        (&[ours, ("authorization", OAT)], &[], all, None),
        // It is the only one, so it is what counts here, or fails to.
        (&[("authorization", OAT)], anthropic, all, None),
        (&[("authorization", OAT), ("x-api-key", OAT)], anthropic, all, None),
        // Ours, in the slot of a provider.
        (&[ours, ("authorization", "sk-valid-0123456789")], anthropic, all, None),
        (&[ours, ("authorization", "sk-other-0123456789")], anthropic, all, None),
        // What looks like theirs and is too short to be.
        (&[ours, ("x-api-key", "sk-ant-api-short")], anthropic, all, None),
        // Slots of nobody but us.
        (&[("authorization", "sk-valid-0123456789"), ("x-litellm-api-key", OAT)], anthropic, all, None),
        (&[ours, ("proxy-authorization", OAT)], anthropic, all, None),
        (&[ours, (ADDITIONAL, OAT)], anthropic, all, None),
    ] {
        let request = fields.iter().fold(Request::default(), |request, (slot, value)| request.with(slot, value));
        let path = CanonicalPath::parse("/v1/messages").unwrap();
        let head = RequestHead {
            method: &Method::POST,
            path: &path,
            query: None,
            headers: &request.headers,
            source: None,
            client_certificate: None,
        };
        let found = slots().own_credential(&head, prefixes, takes);
        let shown = found.map(|(name, value)| {
            assert!(value.is_sensitive());
            format!("{name}: {}", value.to_str().unwrap())
        });
        assert_eq!(shown, goes, "{fields:?}");
    }
}
