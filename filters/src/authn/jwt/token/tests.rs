//! What is read as a token and what is not, byte by byte.

use serde_json::json;

use super::*;

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(claims))
}

fn with_header(header: &str) -> String {
    token(header, r#"{"sub":"alice"}"#)
}

fn refusal(text: &str) -> &'static str {
    match Token::read(text) {
        Err(Denial::InvalidToken(word)) => word,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_token_is_read() {
    let text = with_header(r#"{"alg":"ES256","kid":"k-1","typ":"at+jwt","cty":"x","unknown":[1]}"#);
    let token = Token::read(&text).unwrap();
    assert_eq!(token.algorithm, Algorithm::Es256);
    assert_eq!((token.kid.as_deref(), token.typ.as_deref()), (Some("k-1"), Some("at+jwt")));
    assert_eq!(token.claims.text("sub"), Some("alice"));
    assert_eq!(format!("{}.{}", token.message, token.signature), text);
    assert!(is_token(&text));
    let text = with_header(r#"{"alg":"HS256"}"#);
    let token = Token::read(&text).unwrap();
    assert_eq!((token.kid, token.typ), (None, None));
}

#[test]
fn what_brings_or_names_a_key_of_its_own_changes_nothing() {
    for parameter in ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"] {
        let value = json!({"alg": "RS256", "kid": "k", parameter: {"url": ["https://attacker.example"]}});
        let text = with_header(&value.to_string());
        let token = Token::read(&text).unwrap();
        assert_eq!((token.algorithm, token.kid.as_deref()), (Algorithm::Rs256, Some("k")), "{parameter}");
    }
}

#[test]
fn a_header_is_refused_that_says_more_than_is_understood() {
    for (header, word) in [
        (r#"{"alg":"RS256","crit":["exp"]}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","crit":[]}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","crit":null}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","b64":false}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","b64":true}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","enc":"A256GCM"}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"RS256","zip":"DEF"}"#, "a header parameter that is not understood here"),
        (r#"{"alg":"none"}"#, "no algorithm that is known here"),
        (r#"{"alg":"None"}"#, "no algorithm that is known here"),
        (r#"{"alg":"NONE"}"#, "no algorithm that is known here"),
        (r#"{"alg":"nOnE"}"#, "no algorithm that is known here"),
        (r#"{"alg":"none "}"#, "no algorithm that is known here"),
        (r#"{"alg":""}"#, "no algorithm that is known here"),
        (r#"{"alg":"rs256"}"#, "no algorithm that is known here"),
        (r#"{"alg":"RS256 "}"#, "no algorithm that is known here"),
        (r#"{"alg":"RS256\u0000"}"#, "no algorithm that is known here"),
        (r#"{"alg":"ES256K"}"#, "no algorithm that is known here"),
        (r#"{"alg":"RS1"}"#, "no algorithm that is known here"),
        (r#"{"alg":"RSA-OAEP"}"#, "no algorithm that is known here"),
        (r#"{"alg":["RS256"]}"#, "no algorithm that is known here"),
        (r#"{"alg":null}"#, "no algorithm that is known here"),
        (r#"{"alg":256}"#, "no algorithm that is known here"),
        (r#"{"kid":"k"}"#, "no algorithm that is known here"),
        (r#"{}"#, "no algorithm that is known here"),
        (r#"{"alg":"RS256","kid":1}"#, "a kid or typ that is no text, or is too long"),
        (r#"{"alg":"RS256","kid":null}"#, "a kid or typ that is no text, or is too long"),
        (r#"{"alg":"RS256","kid":["a"]}"#, "a kid or typ that is no text, or is too long"),
        (r#"{"alg":"RS256","typ":{}}"#, "a kid or typ that is no text, or is too long"),
        (r#"{"alg":"none","alg":"RS256"}"#, "a header that is not one JSON object with each name once"),
        (r#"{"alg":"RS256","\u0061lg":"none"}"#, "a header that is not one JSON object with each name once"),
        (r#"{"alg":"RS256","x":{"a":1,"a":2}}"#, "a header that is not one JSON object with each name once"),
        (r#"{"alg":"RS256"}{}"#, "a header that is not one JSON object with each name once"),
        ("{\"alg\":\"RS256\"}\0", "a header that is not one JSON object with each name once"),
        (r#"["alg"]"#, "a header that is not one JSON object with each name once"),
        (r#""alg""#, "a header that is not one JSON object with each name once"),
        ("", "a header that is not one JSON object with each name once"),
    ] {
        assert_eq!(refusal(&with_header(header)), word, "{header}");
    }
    let long =
        |parameter: &str, length| with_header(&json!({"alg": "RS256", parameter: "k".repeat(length)}).to_string());
    for parameter in ["kid", "typ"] {
        assert!(Token::read(&long(parameter, MAX_NAME)).is_ok());
        assert_eq!(refusal(&long(parameter, MAX_NAME + 1)), "a kid or typ that is no text, or is too long");
    }
}

/// Another spelling of a part.
type Edit = fn(&str) -> String;

#[test]
fn each_part_has_one_spelling() {
    let (header, claims) = (encode(r#"{"alg":"RS256"}"#), encode(r#"{"a":"?>?>"}"#));
    assert!(claims.contains('_'), "a letter that the other alphabet does not have");
    let good = [header.as_str(), claims.as_str(), "c2lnbmE"];
    assert!(Token::read(&good.join(".")).is_ok());
    let edits: [(&str, Edit); 12] = [
        ("padding", |part| format!("{part}=")),
        ("more padding", |part| format!("{part}==")),
        ("a space behind", |part| format!("{part} ")),
        ("a space before", |part| format!(" {part}")),
        ("a line end", |part| format!("{part}\n")),
        ("a space within", |part| format!("{} {}", &part[..2], &part[2..])),
        ("a NUL", |part| format!("{part}\0")),
        ("the other alphabet", |part| part.replacen(&part[1..2], "+", 1)),
        ("its other letter", |part| part.replacen(&part[1..2], "/", 1)),
        ("an incomplete group", |part| format!("{part}{}", &"AAAA"[..(5 - part.len() % 4) % 4])),
        ("not ASCII", |part| format!("{part}é")),
        ("percent", |part| format!("{part}%3D")),
    ];
    for (edit, apply) in edits {
        for at in 0..3 {
            let mut parts = good.map(str::to_owned);
            parts[at] = apply(&parts[at]);
            refusal(&parts.join("."));
            assert!(parts[at] != good[at], "{edit}");
        }
    }
    // The last letter of each has bits that say nothing: those must be zero.
    for (at, part, other) in
        [(0, "eyJhbGciOiJSUzI1NiJ9IA", "eyJhbGciOiJSUzI1NiJ9IB"), (1, "e30gIA", "e30gIB"), (2, "AA", "AB")]
    {
        let mut parts = good.map(str::to_owned);
        part.clone_into(&mut parts[at]);
        assert!(Token::read(&parts.join(".")).is_ok(), "{part}");
        other.clone_into(&mut parts[at]);
        refusal(&parts.join("."));
    }
}

#[test]
fn there_are_three_parts_and_a_signature() {
    let (header, claims) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
    for (text, word) in [
        (String::new(), "not three parts"),
        (".".into(), "not three parts"),
        (format!("{header}.{claims}"), "not three parts"),
        (format!("{header}.{claims}.c2ln."), "not three parts"),
        (format!("{header}.{claims}.c2ln.c2ln"), "not three parts"),
        (format!("{header}.{claims}.iv.text.tag"), "not three parts"),
        (format!("{header}.{claims}."), "no signature, or one that is not strict base64url"),
        (format!("{header}..c2ln"), "claims that are not one JSON object with each name once"),
        (format!(".{claims}.c2ln"), "a header that is not one JSON object with each name once"),
        ("..".into(), "a header that is not one JSON object with each name once"),
    ] {
        assert_eq!(refusal(&text), word, "{text}");
    }
}

#[test]
fn claims_have_one_reading() {
    let header = r#"{"alg":"RS256"}"#;
    for claims in [
        r#"{"sub":"alice","sub":"admin"}"#,
        r#"{"realm_access":{"roles":[],"roles":["admin"]}}"#,
        r#"{"sub":"alice"},"#,
        r#"[{"sub":"alice"}]"#,
        "alice",
        "",
    ] {
        assert_eq!(refusal(&token(header, claims)), "claims that are not one JSON object with each name once");
    }
}

#[test]
fn sizes_are_bounded() {
    let filled = |count| token(r#"{"alg":"RS256"}"#, &format!(r#"{{"f":"{}"}}"#, "f".repeat(count)));
    let over = (MAX_JWT * 3 / 4 - 100..).find(|count| filled(*count).len() > MAX_JWT).unwrap();
    let full = filled(over - 1);
    assert!(full.len() > MAX_JWT - 4 && Token::read(&full).is_ok());
    assert_eq!(refusal(&filled(over)), "too long");
    let long = format!("{}{}", full, "A".repeat(MAX_JWT + 1 - full.len()));
    assert_eq!(refusal(&long), "too long");
    let signed =
        |length: usize| format!("{}.e30.{}", encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode(vec![1; length]));
    assert!(Token::read(&signed(MAX_SIGNATURE)).is_ok());
    assert_eq!(refusal(&signed(MAX_SIGNATURE + 1)), "no signature, or one that is not strict base64url");
}

#[test]
fn a_token_is_told_from_other_credentials() {
    for (text, expected) in [
        (with_header(r#"{"alg":"RS256"}"#), true),
        (with_header(r#"{"typ":"JWT","alg":"none"}"#), true),
        (with_header("{\n  \"alg\": \"RS256\"\n}"), true),
        (with_header(r#"{"alg":"none","alg":"RS256"}"#), true),
        (format!("{}==.e30.c2ln", encode(r#"{"alg":"RS256"} "#)), true),
        ("eyJhbGciOiJSUzI1NiJ9IB.e30.c2ln".into(), true),
        (format!("{}.not base64.", encode(r#"{"alg":"RS256"}"#)), true),
        (with_header(r#"{"typ":"JWT"}"#), false),
        (with_header(r#"["alg"]"#), false),
        (with_header(r#" {"alg":"RS256"}"#), false),
        (format!("{}.e30", encode(r#"{"alg":"RS256"}"#)), false),
        (format!("{}.e30.c2ln.c2ln", encode(r#"{"alg":"RS256"}"#)), false),
        (format!("{}.k.iv.text.tag", encode(r#"{"alg":"dir","enc":"A256GCM"}"#)), false),
        (format!("sk-{}", with_header(r#"{"alg":"RS256"}"#)), false),
        ("sk-a.b.c".into(), false),
        ("eyJ.b.c".into(), false),
        ("e.é.c".into(), false),
        ("..".into(), false),
        ("example.com.".into(), false),
        ("sk-1234".into(), false),
        (String::new(), false),
    ] {
        assert_eq!(is_token(&text), expected, "{text}");
    }
}
