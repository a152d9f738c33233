//! What a token must say to be believed: one change of a good token, and what becomes of it.

use serde_json::{Map, json};

use super::*;
use crate::authn::jwt::key_source::key_source;

/// An instant at which the good token is good.
const NOW: u64 = 1_700_000_000;
const LEEWAY: u64 = 30;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn issuer() -> Issuer {
    Issuer {
        name: Some("https://issuer.example/realm".into()),
        audiences: vec!["portcullis".into(), "other".into()],
        algorithms: vec![Algorithm::Es256],
        leeway: Duration::from_secs(LEEWAY),
        max_age: None,
        required: Vec::new(),
        types: Vec::new(),
        keys: key_source().1,
        claims: ClaimRules::default(),
    }
}

fn good() -> Value {
    json!({
        "iss": "https://issuer.example/realm", "aud": "portcullis", "sub": "alice",
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 300,
    })
}

/// The good claims with some of them set, or taken out where that is what the change says.
fn changed(changes: Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value == "absent" {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

fn check(issuer: &Issuer, typ: Option<&str>, claims: Value, now: SystemTime) -> Result<SystemTime, Denial> {
    let claims: Map<String, Value> = serde_json::from_value(claims).unwrap();
    let token = Token {
        algorithm: Algorithm::Es256,
        kid: None,
        typ: typ.map(str::to_owned),
        claims: Claims::from_object(claims),
        message: "",
        signature: "",
    };
    issuer.check(&token, now)
}

fn refused(word: &'static str) -> Result<SystemTime, Denial> {
    Err(Denial::InvalidToken(word))
}

const NO_TIME: &str = "a time that is no number of seconds since 1970";

#[test]
fn one_change_of_a_good_token() {
    let good_until = Ok(at(NOW + 300 + LEEWAY));
    for (changes, expected) in [
        (json!({}), good_until.clone()),
        (json!({"iss": "https://issuer.example/realm/"}), refused("of another issuer")),
        (json!({"iss": "https://issuer.example/Realm"}), refused("of another issuer")),
        (json!({"iss": "https://issuer.example"}), refused("of another issuer")),
        (json!({"iss": ["https://issuer.example/realm"]}), refused("of another issuer")),
        (json!({"iss": null}), refused("of another issuer")),
        (json!({"iss": "absent"}), refused("of another issuer")),
        (json!({"aud": "other"}), good_until.clone()),
        (json!({"aud": ["x", "portcullis"]}), good_until.clone()),
        (json!({"aud": ["x", "y"]}), refused("for another audience")),
        (json!({"aud": "Portcullis"}), refused("for another audience")),
        (json!({"aud": "portcullis "}), refused("for another audience")),
        (json!({"aud": []}), refused("for another audience")),
        (json!({"aud": ""}), refused("for another audience")),
        (json!({"aud": {"portcullis": true}}), refused("for another audience")),
        (json!({"aud": null}), refused("for another audience")),
        (json!({"aud": "absent"}), refused("for another audience")),
        (json!({"aud": ["portcullis", 1]}), refused("audiences that are not all text")),
        (json!({"aud": ["portcullis", ["portcullis"]]}), refused("audiences that are not all text")),
        (json!({"exp": "absent"}), refused("without exp")),
        (json!({"exp": null}), refused(NO_TIME)),
        (json!({"exp": "1700000300"}), refused(NO_TIME)),
        (json!({"exp": true}), refused(NO_TIME)),
        (json!({"exp": -1}), refused(NO_TIME)),
        (json!({"exp": [NOW + 300]}), refused(NO_TIME)),
        (json!({"exp": 1e300}), refused(NO_TIME)),
        (json!({"exp": u64::MAX}), refused(NO_TIME)),
        (json!({"exp": 253_402_300_799_u64}), Ok(at(253_402_300_799 + LEEWAY))),
        (json!({"exp": 0}), Err(Denial::ExpiredToken)),
        (json!({"exp": NOW - LEEWAY}), Err(Denial::ExpiredToken)),
        (json!({"exp": NOW - LEEWAY + 1}), Ok(at(NOW + 1))),
        (json!({"nbf": "absent", "iat": "absent"}), good_until.clone()),
        (json!({"nbf": NOW + LEEWAY}), good_until.clone()),
        (json!({"nbf": NOW + LEEWAY + 1}), refused("not good yet")),
        (json!({"nbf": "now"}), refused(NO_TIME)),
        (json!({"nbf": null}), refused(NO_TIME)),
        (json!({"nbf": 1e300}), refused(NO_TIME)),
        (json!({"iat": NOW + LEEWAY}), good_until.clone()),
        (json!({"iat": NOW + LEEWAY + 1}), refused("issued in the future")),
        (json!({"iat": "1700000000"}), refused(NO_TIME)),
        (json!({"iat": {}}), refused(NO_TIME)),
        (json!({"iat": -5}), refused(NO_TIME)),
        (json!({"sub": 7}), refused("a sub, jti or sid that is no text")),
        (json!({"jti": ["a"]}), refused("a sub, jti or sid that is no text")),
        (json!({"sid": null}), refused("a sub, jti or sid that is no text")),
        (json!({"sub": "absent", "jti": "j", "sid": "s"}), good_until.clone()),
    ] {
        assert_eq!(check(&issuer(), None, changed(changes.clone()), at(NOW)), expected, "{changes}");
    }
}

#[test]
fn expired_is_only_said_of_a_token_that_was_good() {
    for changes in [
        json!({"aud": "x"}),
        json!({"iss": "x"}),
        json!({"nbf": NOW + 99}),
        json!({"iat": "x"}),
        json!({"typ": "Refresh"}),
        json!({"sub": 1}),
    ] {
        let mut claims = changed(changes);
        claims["exp"] = json!(NOW - 3600);
        assert!(matches!(check(&issuer(), None, claims.clone(), at(NOW)), Err(Denial::InvalidToken(_))), "{claims}");
    }
}

#[test]
fn types_for_something_else_are_never_shown_here() {
    let never = refused("of a type that is not for a resource server");
    let wrong = refused("of a type that its issuer is not configured for");
    let good = Ok(at(NOW + 300 + LEEWAY));
    let any: &[&str] = &[];
    for (types, typ, expected) in [
        (any, None, &good),
        (any, Some("JWT"), &good),
        (any, Some("at+jwt"), &good),
        (any, Some(""), &good),
        (any, Some("logout+jwt"), &never),
        (any, Some("LOGOUT+JWT"), &never),
        (any, Some("application/logout+jwt"), &never),
        (any, Some("Application/Logout+jwt"), &never),
        (any, Some("oauth-id-jag+jwt"), &never),
        (any, Some("dpop+jwt"), &never),
        (any, Some("secevent+jwt"), &never),
        (any, Some("oauth-authz-req+jwt"), &never),
        (any, Some("client-authentication+jwt"), &never),
        (any, Some("token-introspection+jwt"), &never),
        (&["dpop+jwt"], Some("dpop+jwt"), &never),
        (&["at+jwt", "JWT"], Some("jwt"), &good),
        (&["at+jwt"], Some("AT+JWT"), &good),
        (&["at+jwt"], Some("application/at+jwt"), &good),
        (&["application/at+jwt"], Some("at+jwt"), &good),
        (&["at+jwt"], Some("JWT"), &wrong),
        (&["at+jwt"], Some("application/"), &wrong),
        (&["at+jwt"], Some("éééééé"), &wrong),
        (&["at+jwt"], None, &wrong),
    ] {
        let issuer = Issuer { types: types.iter().map(|typ| (*typ).to_owned()).collect(), ..issuer() };
        assert_eq!(&check(&issuer, typ, changed(json!({})), at(NOW)), expected, "{types:?} {typ:?}");
    }
    for (claims, expected) in [
        (json!({"typ": "Bearer"}), &good),
        (json!({"typ": "ID"}), &good),
        (json!({"typ": 1}), &good),
        (json!({"typ": "Refresh"}), &never),
        (json!({"typ": "REFRESH"}), &never),
        (json!({"typ": "Offline"}), &never),
        (json!({"typ": "Logout"}), &never),
        (json!({"events": {LOGOUT_EVENT: {}}}), &never),
        (json!({"events": ["conference"]}), &good),
    ] {
        assert_eq!(&check(&issuer(), Some("JWT"), changed(claims.clone()), at(NOW)), expected, "{claims}");
    }
}

#[test]
fn age_is_bounded_where_the_configuration_says_so() {
    let issuer = Issuer { max_age: Some(Duration::from_secs(120)), ..issuer() };
    for (changes, expected) in [
        (json!({}), Ok(at(NOW + 60))),
        (json!({"exp": NOW + 10}), Ok(at(NOW + 10 + LEEWAY))),
        (json!({"iat": NOW - 119}), Ok(at(NOW + 1))),
        (json!({"iat": NOW - 120}), Err(Denial::ExpiredToken)),
        (json!({"iat": 0}), Err(Denial::ExpiredToken)),
        (json!({"iat": "absent"}), refused("without iat, which a bound on its age needs")),
    ] {
        assert_eq!(check(&issuer, None, changed(changes.clone()), at(NOW)), expected, "{changes}");
    }
}

#[test]
fn required_claims_are_there_and_not_null() {
    let required = ["azp", "realm_access.roles"].map(|path| path.parse().unwrap()).into();
    let issuer = Issuer { required, ..issuer() };
    let missing = refused("without a claim that must be there");
    for (claims, expected) in [
        (json!({"azp": "app", "realm_access": {"roles": []}}), Ok(at(NOW + 300 + LEEWAY))),
        (json!({"azp": "app"}), missing.clone()),
        (json!({"azp": null, "realm_access": {"roles": []}}), missing.clone()),
        (json!({"azp": "app", "realm_access": {"roles": null}}), missing.clone()),
        (json!({"azp": "app", "realm_access": []}), missing.clone()),
    ] {
        assert_eq!(check(&issuer, None, changed(claims.clone()), at(NOW)), expected, "{claims}");
    }
}

#[test]
fn what_the_configuration_does_not_name_is_not_asked_for() {
    let issuer = Issuer { name: None, audiences: Vec::new(), ..issuer() };
    for claims in [json!({"iss": "absent", "aud": "absent"}), json!({"iss": "x", "aud": ["y"]})] {
        assert_eq!(check(&issuer, None, changed(claims), at(NOW)), Ok(at(NOW + 300 + LEEWAY)));
    }
    let none = json!({"iss": "absent", "aud": "absent", "exp": "absent"});
    assert_eq!(check(&issuer, None, changed(none), at(NOW)), refused("without exp"));
}

#[test]
fn no_duration_or_time_is_too_much() {
    let endless = Issuer { leeway: Duration::MAX, max_age: Some(Duration::MAX), ..issuer() };
    assert_eq!(check(&endless, None, changed(json!({})), at(NOW)), Ok(at(NOW + 300)));
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX >> 1);
    assert_eq!(check(&issuer(), None, changed(json!({})), late), Err(Denial::ExpiredToken));
    assert_eq!(check(&endless, None, changed(json!({})), late), Err(Denial::ExpiredToken));
    let none = Issuer { leeway: Duration::ZERO, max_age: Some(Duration::ZERO), ..issuer() };
    assert_eq!(check(&none, None, changed(json!({"iat": NOW})), at(NOW)), Err(Denial::ExpiredToken));
    let early = SystemTime::UNIX_EPOCH;
    assert_eq!(check(&issuer(), None, changed(json!({})), early), refused("not good yet"));
}
