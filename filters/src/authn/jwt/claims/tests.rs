//! What claims are read and found, as tables.

use std::str::FromStr;

use serde_json::json;

use super::*;

fn claims(value: &Value) -> Claims {
    Claims::read(value.to_string().as_bytes()).unwrap()
}

#[test]
fn only_an_object_with_each_name_once_is_read() {
    for text in ["", "[]", "1", "\"sub\"", "null", r#"{"sub":"a","sub":"b"}"#, r#"{"a":{"b":1,"b":1}}"#, "{}x", "{}{}"]
    {
        assert!(matches!(Claims::read(text.as_bytes()), Err(Denial::InvalidToken(_))), "{text}");
    }
    assert_eq!(Claims::read(br#"{"sub":"a"}"#).unwrap().text("sub"), Some("a"));
}

#[test]
fn paths_nest_escape_and_prefer_the_whole_name() {
    let claims = claims(&json!({
        "sub": "alice",
        "metadata": {"team": "not here"},
        "team": "red",
        "realm_access": {"roles": ["admin"]},
        "resource_access": {"my.client": {"roles": ["user"]}, "plain": null},
        "https://example.com/roles": ["dotted"],
        "a.b": "whole",
        "a": {"b": "nested", "c.d": "half"},
        "list": [{"x": 1}],
        "text": "no object",
    }));
    for (path, expected) in [
        ("sub", Some(json!("alice"))),
        ("metadata.team", Some(json!("red"))),
        ("metadata", Some(json!({"team": "not here"}))),
        ("realm_access.roles", Some(json!(["admin"]))),
        ("metadata.realm_access.roles", Some(json!(["admin"]))),
        (r"resource_access.my\.client.roles", Some(json!(["user"]))),
        ("resource_access.my.client.roles", None),
        ("resource_access.plain", Some(json!(null))),
        ("resource_access.plain.roles", None),
        ("https://example.com/roles", Some(json!(["dotted"]))),
        (r"https://example\.com/roles", Some(json!(["dotted"]))),
        ("a.b", Some(json!("whole"))),
        (r"a\.b", Some(json!("whole"))),
        (r"a.c\.d", Some(json!("half"))),
        ("list.0", None),
        ("list.x", None),
        ("text.length", None),
        ("absent", None),
        ("absent.deeper", None),
    ] {
        assert_eq!(claims.at(&path.parse().unwrap()), expected.as_ref(), "{path}");
    }
}

#[test]
fn what_names_no_claim_is_no_path() {
    for text in ["", ".", "a.", ".a", "a..b", "metadata.", r"a\", r"a.b\"] {
        assert_eq!(ClaimPath::from_str(text), Err(NotAClaimPath), "{text}");
    }
    for text in ["a", "a.b", r"a\.b", r"a\.", "metadata", r"back\slash", "ünïcode"] {
        assert!(ClaimPath::from_str(text).is_ok(), "{text}");
    }
}

#[test]
fn times_are_numbers_of_seconds_within_reason() {
    let at = |milliseconds: u64| Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)));
    let flaw = Err(Denial::InvalidToken("a time that is no number of seconds since 1970"));
    for (value, expected) in [
        ("0", at(0)),
        ("-0", at(0)),
        ("1700000000", at(1_700_000_000_000)),
        ("1700000000.5", at(1_700_000_000_500)),
        ("1.7e9", at(1_700_000_000_000)),
        ("253402300799", at(253_402_300_799_000)),
        ("253402300800", flaw.clone()),
        ("1700000000000", flaw.clone()),
        ("18446744073709551615", flaw.clone()),
        ("18446744073709551616", flaw.clone()),
        ("1e308", flaw.clone()),
        ("-1", flaw.clone()),
        ("-0.5", flaw.clone()),
        ("-1e308", flaw.clone()),
        ("\"1700000000\"", flaw.clone()),
        ("true", flaw.clone()),
        ("null", flaw.clone()),
        ("[1700000000]", flaw.clone()),
        ("{}", flaw.clone()),
    ] {
        let claims = Claims::read(format!("{{\"exp\":{value}}}").as_bytes()).unwrap();
        assert_eq!(claims.time("exp"), expected, "{value}");
        assert_eq!(claims.time("nbf"), Ok(None));
    }
}
