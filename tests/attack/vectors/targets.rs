//! Request targets: forms, and every spelling in which a path could mean another one.

use super::{Outcome, Vector, answered, forwarded, refused, target};

pub(super) fn all() -> Vec<Vector> {
    let mut rows = spellings();
    rows.extend(forms());
    rows.extend(elsewhere());
    rows
}

fn spellings() -> Vec<Vector> {
    let paths = [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/./v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/../key/info",
        "/../key/info",
        "/v1/%2e%2e/key/info",
        "/v1/%2E%2E/key/info",
        "/v1/.%2e/key/info",
        "/v1/%2e./key/info",
        "/v1/chat/..;/completions",
        "/v1/chat/completions;a=b",
        "/v1/chat%2fcompletions",
        "/v1/chat%2Fcompletions",
        "/v1%2f..%2fkey",
        "/v1\\chat\\completions",
        "/v1%5cchat",
        "/v1/chat%00/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions%0d%0aX:y",
        "/v1/chat/completions%0a",
        "/v1/chat/completions%20",
        "/v1/chat/completions%09",
        "/v1/chat/completions%",
        "/v1/chat/completions%2",
        "/v1/chat/completions%zz",
        "/v1/chat/completions%25",
        "/v1/%252e%252e/key",
        "/v1/chat/completions%3f",
        "/v1/chat/completions%23",
        "/v1/chat/completions%7f",
        "/v1/chat/completions%c0%af",
        "/v1/chat/completions%ff",
        "/v1/chat/completi\u{f6}ns",
        "/v1/chat/completions%3b",
        "/v1/chat|completions",
        "/v1/<chat>",
        "/v1/\"chat\"",
        "/v1/{chat}",
        "/v1/chat^",
        "/v1/`chat`",
        "/health/%2e%2e/key/info",
        "/health/../key/list",
        "/openai/../key/info",
        "/openai//v1/models",
    ];
    let mut rows: Vec<Vector> =
        paths.iter().map(|path| refused(&format!("path {path:?}"), target("POST", path))).collect();
    rows.push(forwarded("an encoded letter", target("POST", "/v1/%63hat/completions")));
    for path in [
        "/V1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions.json",
        "/v1/v1/chat/completions",
        "/v1/chat",
    ] {
        rows.push(answered(&format!("path {path:?}"), target("POST", path), 404));
    }
    rows
}

fn forms() -> Vec<Vector> {
    let absolute = |uri: &str| target("POST", uri);
    let mut rows = vec![forwarded("absolute form", absolute("http://a/v1/chat/completions"))];
    for uri in [
        "http://b/v1/chat/completions",
        "http://user@a/v1/chat/completions",
        "http://a:81/v1/chat/completions",
        "http:///v1/chat/completions",
        "*",
        "v1/chat/completions",
        "?model=attack",
        "",
    ] {
        rows.push(refused(&format!("target {uri:?}"), absolute(uri)));
    }
    rows
}

/// Paths that would be served if something else than the canonical path decided.
fn elsewhere() -> Vec<Vector> {
    let moved = |fields: &str| target("POST", "/nowhere").replacen("{id}", &format!("{{id}}{fields}"), 1);
    let mut rows: Vec<Vector> = ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-HTTP-Method-Override"]
        .iter()
        .map(|name| answered(name, moved(&format!("{name}: /v1/chat/completions\r\n")), 404))
        .collect();
    let injected = target("POST", "/v1/chat/completions?a=%0d%0aX-Injected:%20y%0d%0a%0d%0a");
    rows.push(forwarded("line ends in the query", injected));
    rows.push(forwarded("a fragment", target("POST", "/v1/chat/completions#/key/info")));
    // Chosen by the model's name: it may not leave its place in the provider's path.
    for name in ["azure/..", "azure/../../x", "azure/a/../b", "azure/", "azure//x"] {
        let body = format!("{{\"model\":\"{name}\"}}");
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{{key}}{{id}}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let row = answered(&format!("model {name:?}"), request, 400);
        rows.push(Vector { anonymous: Outcome::Refused(401), ..row });
    }
    rows
}
