//! The vectors of Wycheproof for signatures (`filters/tests/vectors/wycheproof`), each with the verdict that they give, but for a
//! table of those where ours is another one on purpose.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::authn::jwt::token::Jws;

/// Vectors that they call valid and that are refused here.
const STRICTER: &[(&str, &[u64], &str)] = &[
    (SIGNATURES, &[346, 350], "the key says that it is for PS256, and the token is in PS384"),
    (SIGNATURES, &[347, 351], "the key says that it is for ES521, and RFC 7518 knows no algorithm of this name"),
    (SIGNATURES, &[372, 373], "a question mark within a part, which base64url does not have and readers do not skip"),
    (KEYS, &[2], "a set of several secrets: a secret is configured, by itself, and never fetched"),
];

/// Vectors that they call invalid, and others that they call valid: the two of a pair are the same text under the same key, so
/// what their comments speak of is not in them.
const SAME: [(u64, u64); 2] = [(367, 357), (370, 357)];

const SIGNATURES: &str = "json_web_signature_test.json";
const KEYS: &str = "json_web_key_test.json";

#[test]
fn signatures() {
    compare(SIGNATURES, 401);
}

#[test]
fn keys() {
    compare(KEYS, 26);
}

fn compare(file: &str, count: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wycheproof").join(file);
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |value: &Value, member: &str| value[member].as_array().unwrap().clone();
    let stricter = |id: u64| STRICTER.iter().any(|(of, ids, _)| *of == file && ids.contains(&id));
    let (mut seen, mut refused, mut disagreements) = (0, 0, Vec::new());
    for group in list(&vectors, "testGroups") {
        let key = group.get("public").unwrap_or(&group["private"]);
        for test in list(&group, "tests") {
            let id = test["tcId"].as_u64().unwrap();
            // A JWS in its JSON form is no text at all.
            let accepted = test["jws"].as_str().is_some_and(|jws| accepts(key, jws));
            let (mut valid, stricter) = (test["result"] == "valid", stricter(id));
            if let Some((_, other)) = SAME.into_iter().find(|(of, _)| file == SIGNATURES && *of == id) {
                let other = list(&group, "tests").into_iter().find(|test| test["tcId"] == other).unwrap();
                assert!(!valid && other["result"] == "valid" && other["jws"] == test["jws"], "{id}");
                valid = true;
            }
            // A row that says nothing is a disagreement too.
            if valid != (accepted || stricter) || (accepted && stricter) {
                disagreements.push((id, test["comment"].to_string(), accepted));
            }
            seen += 1;
            refused += usize::from(stricter);
        }
    }
    assert_eq!(disagreements, [], "{file}");
    assert_eq!(seen, count, "vectors of {file}");
    let known: usize = STRICTER.iter().filter(|(of, ..)| *of == file).map(|(_, ids, _)| ids.len()).sum();
    assert_eq!(refused, known, "rows of vectors that are not there");
}

/// Whether a token with this key as the only one of its issuer is believed, its claims aside: they carry none.
fn accepts(key: &Value, text: &str) -> bool {
    let Ok(jws) = Jws::read(text) else { return false };
    let Some((set, pinned)) = configured(key) else { return false };
    let kid = jws.header.get("kid").and_then(Value::as_str);
    pinned.is_none_or(|pinned| pinned == jws.algorithm)
        && set.verify(kid, jws.algorithm, jws.message, jws.signature).is_ok()
}

/// What an operator would make of the key: a set that is fetched, or one secret with the algorithm that is pinned with it.
fn configured(key: &Value) -> Option<(KeySet, Option<Algorithm>)> {
    let key = match key["keys"].as_array().map(Vec::as_slice) {
        Some([only]) if only["kty"] == "oct" => only,
        _ => key,
    };
    if key["kty"] == "oct" {
        let secret = SigningKey::secret(&URL_SAFE_NO_PAD.decode(key["k"].as_str()?).ok()?).ok()?;
        return Some((KeySet::of_one(secret), Some(key["alg"].as_str()?.parse().ok()?)));
    }
    let set = if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) };
    Some((KeySet::parse(set.to_string().as_bytes()).ok()?.0, None))
}
