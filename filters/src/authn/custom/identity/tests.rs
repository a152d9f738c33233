use crate::denial::LimitName;
use std::time::Duration;

use super::*;

fn read(json: &str) -> Result<CustomIdentity, NotAnIdentity> {
    CustomIdentity::read(json.as_bytes(), Some("my-custom-key-888"))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_field_that_cannot_be_read_makes_it_no_identity() {
    for json in [
        r#"{"models": "gpt-4o"}"#,
        r#"{"models": [1]}"#,
        r#"{"blocked": "yes"}"#,
        r#"{"max_budget": "10"}"#,
        r#"{"rpm_limit": -1}"#,
        r#"{"rpm_limit": 1.5}"#,
        r#"{"expires": "tomorrow"}"#,
        r#"{"expires": true}"#,
        r#"{"expires": "2026-02-30T00:00:00"}"#,
        r#"{"user_role": "superuser"}"#,
        r#"{"user_id": "a\nb"}"#,
        r#"{"user_id": 7}"#,
        r#"{"allowed_routes": {}}"#,
        "[]",
    ] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn restrictions_are_in_force() {
    let spent = |scope| Denial::OverBudget(LimitName { scope, field: "max_budget" });
    for (json, refused) in [
        (r#"{"blocked": true}"#, Some(Denial::BlockedKey)),
        (r#"{"team_blocked": true}"#, Some(Denial::BlockedKey)),
        (r#"{"max_budget": 10, "spend": 10.0}"#, Some(spent("key"))),
        (r#"{"max_budget": 0}"#, Some(spent("key"))),
        (r#"{"user_max_budget": 1, "user_spend": 2}"#, Some(spent("user"))),
        (r#"{"team_max_budget": 1, "team_spend": 2}"#, Some(spent("team"))),
        (r#"{"max_budget": 10, "spend": 9.99}"#, None),
        (r#"{"max_budget": null, "spend": 9.99, "blocked": null, "something_else": {"a": 1}}"#, None),
        (r#"{"expires": "2001-01-01"}"#, Some(Denial::ExpiredKey)),
        (r#"{"expires": 1000}"#, Some(Denial::ExpiredKey)),
        (r#"{"expires": 4000000000}"#, None),
    ] {
        assert_eq!(read(json).unwrap().check(at(1_800_000_000)).err(), refused, "{json}");
    }
}

#[test]
fn times_are_read_as_python_writes_them() {
    for (text, seconds) in [
        ("2026-11-26T14:00:00", 1_795_701_600),
        ("2026-11-26 14:00:00", 1_795_701_600),
        ("2026-11-26T14:00:00.250000", 1_795_701_600),
        ("2026-11-26T14:00:00+00:00", 1_795_701_600),
        ("2026-11-26T15:00:00+01:00", 1_795_701_600),
        ("2026-11-26T14:00:00Z", 1_795_701_600),
        ("2026-11-26", 1_795_651_200),
    ] {
        let read = read(&format!(r#"{{"expires": "{text}"}}"#)).unwrap().expires().unwrap();
        assert_eq!(read.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), seconds, "{text}");
    }
}

#[test]
fn the_credential_is_kept_as_its_hash_only() {
    for json in [r#"{}"#, r#"{"api_key": "my-custom-key-888"}"#, r#"{"token": "my-custom-key-888"}"#] {
        let identity = read(json).unwrap();
        assert_eq!(*identity.principal.id, KeyHash::of("my-custom-key-888").to_string(), "{json}");
        assert!(!format!("{identity:?}").contains("my-custom-key"), "{json}");
    }
    let hexadecimal = "0123456789abcdef".repeat(4);
    for field in ["token", "api_key", "other"] {
        let json = format!(r#"{{"{field}": "{hexadecimal}"}}"#);
        let identity = CustomIdentity::read(json.as_bytes(), Some(&hexadecimal)).unwrap();
        assert_eq!(*identity.principal.id, KeyHash::of(&hexadecimal).to_string(), "{field}");
    }
    let hash = KeyHash::of("sk-1").to_string();
    assert_eq!(*read(&format!(r#"{{"token": "{hash}"}}"#)).unwrap().principal.id, hash);
    assert_eq!(&*read(r#"{"key_alias": "ci"}"#).unwrap().principal.id, "ci");
    assert_eq!(&*read(r#"{"key_alias": "ci", "user_id": "ann"}"#).unwrap().principal.id, "ann");
}

#[test]
fn limits_are_counted_apart_and_what_is_not_enforced_is_named() {
    let identity = read(
        r#"{"rpm_limit": 5, "max_parallel_requests": 2, "user_id": "x", "user_rpm_limit": 7, "team_id": "x",
            "team_rpm_limit": 9, "tpm_limit": 1000, "rpm_limit_per_model": {"m": 1}, "tpm_limit_per_model": {"m": 2, "n": 3},
            "model_max_budget": {"gpt-4o": {}}}"#,
    )
    .unwrap();
    let limits = &identity.principal.limits;
    let shown: Vec<_> = limits.iter().map(|limit| (limit.scope, limit.rpm, limit.tpm, limit.parallel)).collect();
    assert_eq!(
        shown,
        [
            ("key", Some(5), Some(1000), Some(2)),
            ("user", Some(7), None, None),
            ("team", Some(9), None, None),
            ("key", Some(1), Some(2), None),
            ("key", None, Some(3), None),
        ]
    );
    assert!(limits[1].counted_as != limits[2].counted_as, "a user and a team of one name");
    assert_eq!(identity.unenforced, ["model_max_budget"]);
}
