use std::time::Duration;

use super::*;

fn read(json: &str) -> Result<CustomAnswer, CustomUnavailable> {
    CustomAnswer::read(json.as_bytes(), Some("tell-nobody"))
}

fn refused(json: &str) -> CustomRefusal {
    match read(json).unwrap().verdict {
        Verdict::Refused { refusal, .. } => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_is_understood_as_a_whole_is_an_answer() {
    for json in [
        "",
        "null",
        "true",
        "[]",
        "{}",
        r#"{"outcome": null}"#,
        r#"{"outcome": "allow"}"#,
        r#"{"outcome": "proven"}"#,
        r#"{"outcome": "proven", "identity": true}"#,
        r#"{"outcome": "proven", "identity": null}"#,
        r#"{"outcome": "proven", "identity": {"models": "gpt-4o"}}"#,
        r#"{"outcome": "proven", "identity": {}, "keep": {"seconds": -1}}"#,
        r#"{"outcome": "proven", "identity": {}, "keep": {"seconds": 1, "depends_on": ["weather"]}}"#,
        r#"{"outcome": "key"}"#,
        r#"{"outcome": "key", "key": ""}"#,
        r#"{"outcome": "refused", "status": 200}"#,
        r#"{"outcome": "refused", "status": 500}"#,
        r#"{"outcome": "refused", "status": "403"}"#,
        r#"{"outcome": "not_mine"} trailing"#,
    ] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn each_outcome_is_read() {
    assert!(matches!(read(r#"{"outcome": "proven", "identity": {}}"#).unwrap().verdict, Verdict::Proven(_)));
    assert!(matches!(read(r#"{"outcome": "not_mine"}"#).unwrap().verdict, Verdict::NotMine));
    let Verdict::Key(key) = read(r#"{"outcome": "key", "key": "sk-1"}"#).unwrap().verdict else { panic!("a key") };
    assert_eq!(key.expose(), "sk-1");
    let said = refused(r#"{"outcome": "refused", "status": 402, "message": "Pay.", "type": "t", "param": "p"}"#);
    let words = ("t".to_owned(), Some("p".to_owned()), "Pay.".to_owned());
    assert_eq!((said.status, (said.kind, said.param, said.message)), (402, words));
    let said = refused(r#"{"outcome": "refused"}"#);
    assert_eq!((said.status, said.kind.as_str(), said.message.as_str()), (401, "auth_error", REFUSED));
}

#[test]
fn a_refusal_does_not_repeat_the_credential_and_has_an_end() {
    let said = refused(r#"{"outcome": "refused", "message": "no tell-nobody\r\nhere", "type": "tell-nobody"}"#);
    assert_eq!((said.message.as_str(), said.kind.as_str()), ("no ***here", "***"));
    let long = format!(r#"{{"outcome": "refused", "message": "{}"}}"#, "ü".repeat(5000));
    assert_eq!(refused(&long).message.chars().count(), LONGEST_MESSAGE);
}

#[test]
fn an_answer_is_kept_as_it_says_but_not_for_ever() {
    let keep = |json| read(json).unwrap().keep.unwrap();
    let long = keep(r#"{"outcome": "not_mine", "keep": {"seconds": 1e9}}"#);
    assert_eq!(long, Keep { ttl: Duration::from_secs(300), facets: vec![] });
    let all = keep(
        r#"{"outcome": "not_mine", "keep": {"seconds": 0.5, "depends_on":
            ["method", "path", "query", "source", "header:X-Tenant"]}}"#,
    );
    let header = Facet::Header(HeaderName::from_static("x-tenant"));
    assert_eq!(all.facets, [Facet::Method, Facet::Path, Facet::Query, Facet::Source, header]);
}
