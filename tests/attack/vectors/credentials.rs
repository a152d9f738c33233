//! Credentials where they do not count, twice, or in no readable form.

use super::{BODY, LINE, Vector, answered, refused};

pub(super) fn all() -> Vec<Vector> {
    let with = |fields: &str| format!("{LINE}Host: a\r\n{{id}}{fields}Content-Length: 18\r\n\r\n{BODY}");
    let mut rows = Vec::new();
    for name in
        ["Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Litellm-Api-Key", "Ocp-Apim-Subscription-Key"]
    {
        let scheme = if name == "Authorization" { "Bearer " } else { "" };
        let (good, other) = (format!("{name}: {scheme}{{bare}}\r\n"), format!("{name}: {scheme}sk-somebody-elses\r\n"));
        rows.push(refused(&format!("{name} twice, the good one first"), with(&format!("{good}{other}"))));
        rows.push(refused(&format!("{name} twice, the good one last"), with(&format!("{other}{good}"))));
        rows.push(answered(&format!("{name} unknown"), with(&other), 401));
        rows.push(answered(&format!("{name} empty"), with(&format!("{name}: {scheme}\r\n")), 401));
    }
    for (name, field) in [
        ("no scheme", "Authorization: {bare}\r\n"),
        ("another scheme", "Authorization: Digest {bare}\r\n"),
        ("a scheme in capitals", "Authorization: BEARER {bare}\r\n"),
        ("a credential in a cookie", "Cookie: key={bare}; authorization={bare}\r\n"),
        ("a credential for proxies", "Proxy-Authorization: Bearer {bare}\r\n"),
        ("half a credential", "X-Api-Key: sk-\r\n"),
        ("two credentials in one field", "X-Api-Key: {bare}, {bare}\r\n"),
        ("a credential and a space inside", "X-Api-Key: {bare} x\r\n"),
        ("a hash for a credential", "X-Api-Key: {hash}\r\n"),
        ("a credential in the wrong case", "X-Api-Key: {upper}\r\n"),
        ("SQL for a credential", "X-Api-Key: sk-' OR '1'='1\r\n"),
    ] {
        rows.push(answered(name, with(field), 401));
    }
    rows.push(answered("a credential of 5 kB", with(&format!("X-Api-Key: sk-{}\r\n", "a".repeat(5_000))), 401));
    let mut bytes = with("X-Api-Key: sk-\u{1}\r\n").into_bytes();
    rows.push(refused("a credential with a control byte", bytes.clone()));
    let at = bytes.iter().position(|byte| *byte == 1).expect("the control byte");
    bytes[at] = 0xff;
    rows.push(answered("a credential that is not UTF-8", bytes, 401));
    for query in ["key={bare}", "api_key={bare}", "access_token={bare}", "%6bey={bare}"] {
        let request = with("").replacen("/v1/chat/completions", &format!("/v1/chat/completions?{query}"), 1);
        rows.push(answered(&format!("the query {query:?}"), request, 401));
    }
    rows
}
