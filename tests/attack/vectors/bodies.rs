//! Bodies that two parsers could read as two models, or that would change where the request goes.

use super::{LINE, Vector, inside};

pub(super) fn all() -> Vec<Vector> {
    let mut rows: Vec<Vector> = [
        r#"{"model":"attack","model":"other"}"#,
        r#"{"model":"attack","\u006dodel":"other"}"#,
        r#"{"model":"attack","Model":"other"}"#,
        r#"{"MODEL":"attack"}"#,
        r#"{"model":["attack"]}"#,
        r#"{"model":{"name":"attack"}}"#,
        r#"{"model":1}"#,
        r#"{"model":"attack\u000d\u000aX-Injected: y"}"#,
        r#"{"model":"attack\u0000"}"#,
        r#"{"model":"attack","api_base":"http://127.0.0.1:1"}"#,
        r#"{"model":"attack","base_url":"http://127.0.0.1:1"}"#,
        r#"{"model":"attack","api_key":"x"}"#,
        r#"{"model":"attack","\u0061pi_base":"http://127.0.0.1:1"}"#,
        r#"{"model":"attack"}{"model":"other"}"#,
        r#"{"model":"attack"} x"#,
        r#"[{"model":"attack"}]"#,
        r#"{"model":"attack""#,
        r#"{'model':'attack'}"#,
        r#"{"model":"attack",}"#,
        r#"{"model":"attack","n":NaN}"#,
        r#"{"model":"attack"/* */}"#,
        "\u{feff}{\"model\":\"attack\"}",
        "model=attack",
        "null",
        "",
    ]
    .iter()
    .map(|body| row(&format!("body {body:?}"), "application/json", body))
    .collect();
    rows.push(inside("half a character", bytes(b"{\"model\":\"attack\",\"x\":\"\xff\"}"), 400));
    let long = format!("{{\"model\":\"{}\"}}", "a".repeat(100_000));
    rows.push(row("a model of 100 kB", "application/json", &long));
    let deep = format!("{{\"model\":{}}}", "[".repeat(100_000));
    rows.push(row("brackets 100,000 deep", "application/json", &deep));
    rows
}

fn row(name: &str, kind: &str, body: &str) -> Vector {
    let head = format!("{LINE}Host: a\r\n{{key}}{{id}}Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    inside(name, format!("{head}{body}"), 400)
}

fn bytes(body: &[u8]) -> Vec<u8> {
    let head = format!("{LINE}Host: a\r\n{{key}}{{id}}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
