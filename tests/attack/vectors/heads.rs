//! Host, sizes, disguised fields, upgrades, expectations and methods.

use super::{BODY, LINE, Vector, answered, forwarded, inside, post, refused};

pub(super) fn all() -> Vec<Vector> {
    let mut rows = hosts();
    rows.extend(disguises());
    rows.extend(upgrades());
    rows.extend(methods());
    rows.extend(sizes());
    rows.extend(single_fields());
    rows.extend(connection_options());
    rows
}

fn hosts() -> Vec<Vector> {
    let with = |hosts: &str| format!("{LINE}{hosts}{{key}}{{id}}Content-Length: 18\r\n\r\n{BODY}");
    let mut rows = vec![
        refused("no Host", with("")),
        refused("two Hosts", with("Host: a\r\nHost: b\r\n")),
        refused("the same Host twice", with("Host: a\r\nhost: a\r\n")),
        refused("a space before the colon of Host", with("Host : a\r\n")),
        refused("a disguised Host", with("Host: a\r\nHost_: b\r\n").replace("Host_", "X_Forwarded_Host")),
    ];
    for host in ["user@a", "user:password@a", "a/b", "a b", "a?b", "a#b", "a\\b", "http://a", "a\tb", "a,b"] {
        rows.push(refused(&format!("Host {host:?}"), with(&format!("Host: {host}\r\n"))));
    }
    rows
}

/// Names that CGI-like servers read as the real ones.
fn disguises() -> Vec<Vector> {
    let names = [
        "Authorization_",
        "x_api_key",
        "X-Api_Key",
        "x.api.key",
        "api_key",
        "x_goog_api_key",
        "x_litellm_api_key",
        "Ocp_Apim_Subscription_Key",
        "Proxy_Authorization",
        "Content_Type",
        "X_Forwarded_For",
        "x.forwarded.for",
    ];
    let rows = names.iter().filter(|name| !name.ends_with('_'));
    rows.map(|name| refused(name, post(&format!("{name}: sk-disguised\r\nContent-Length: 18\r\n"), BODY))).collect()
}

fn upgrades() -> Vec<Vector> {
    let get = |path: &str, fields: &str, rest: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{{key}}{{id}}{fields}\r\n{rest}")
    };
    let websocket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    vec![
        refused(
            "upgrade to an unknown protocol",
            get("/v1/models", "Connection: Upgrade\r\nUpgrade: foo\r\n", "{smuggled}"),
        ),
        refused(
            "an unknown upgrade of a call",
            post("Upgrade: foo\r\nContent-Length: 18\r\n", &format!("{BODY}{{smuggled}}")),
        ),
        refused("a WebSocket in place of a call", post(&format!("{websocket}Content-Length: 18\r\n"), BODY)),
        refused("a WebSocket where none is served", get("/v1/models", websocket, "{smuggled}")),
        refused(
            "a WebSocket with a length",
            get("/v1/realtime?model=attack", &format!("{websocket}Content-Length: 18\r\n"), BODY),
        ),
        refused(
            "a WebSocket with chunks",
            get("/v1/realtime?model=attack", &format!("{websocket}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n"),
        ),
        refused(
            "two upgrades",
            get("/v1/realtime?model=attack", &format!("{websocket}Upgrade: foo\r\n"), "{smuggled}"),
        ),
        refused(
            "two protocols in one upgrade",
            get("/v1/realtime?model=attack", "Connection: Upgrade\r\nUpgrade: websocket, foo\r\n", ""),
        ),
        forwarded(
            "h2c offered to a call",
            post(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 18\r\n",
                &format!("{BODY}{{smuggled}}"),
            ),
        ),
    ]
}

fn methods() -> Vec<Vector> {
    let with = |method: &str| post("Content-Length: 18\r\n", BODY).replacen("POST", method, 1);
    let mut rows = Vec::new();
    for method in [
        "TRACE", "TRACK", "HEAD", "PROPFIND", "PURGE", "post", "Post", "POSTX", "CONNECT", "PRI", "GET", "PUT",
        "DELETE",
    ] {
        rows.push(answered(&format!("method {method}"), with(method), 405));
    }
    rows.push(answered(
        "CONNECT with an authority",
        "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n{key}{id}\r\n{smuggled}",
        405,
    ));
    for method in ["PO(ST", "\u{e9}", ""] {
        rows.push(refused(&format!("method {method:?}"), with(method)));
    }
    rows
}

fn sizes() -> Vec<Vector> {
    let large = |bytes: usize| post(&format!("X: {}\r\nContent-Length: 18\r\n", "a".repeat(bytes)), BODY);
    let lines = |count: usize| post(&format!("{}Content-Length: 18\r\n", "X: y\r\n".repeat(count)), BODY);
    let target = |target: String| post("Content-Length: 18\r\n", BODY).replacen("/v1/chat/completions", &target, 1);
    vec![
        forwarded("a head of 20 kB", large(20_000)),
        refused("a head of 40 kB", large(40_000)),
        refused("a head of 900 kB", large(900_000)),
        refused("a head of 1.2 MB", large(1_200_000)),
        refused("101 fields", lines(101)),
        refused("300 fields", lines(300)),
        refused("a path of 9 kB", target(format!("/v1/{}", "a".repeat(9_000)))),
        refused("a target of 100 kB", target(format!("/v1/{}", "a".repeat(100_000)))),
        refused("a query of 40 kB", target(format!("/v1/chat/completions?{}", "a".repeat(40_000)))),
        refused("a name of 40 kB", post(&format!("{}: a\r\nContent-Length: 18\r\n", "a".repeat(40_000)), BODY)),
        refused("a method of 40 kB", post("Content-Length: 18\r\n", BODY).replacen("POST", &"A".repeat(40_000), 1)),
    ]
}

/// Fields that a proxy would take out on the way (RFC 9110, section 7.6.1).
fn connection_options() -> Vec<Vector> {
    let options =
        ["Content-Length", "close, content-length", "Host", "Transfer-Encoding", "X-Forwarded-For", "a b", "\"close\""];
    let row = |option: &&str| {
        refused(
            &format!("Connection: {option}"),
            post(&format!("Connection: {option}\r\nContent-Length: 18\r\n"), BODY),
        )
    };
    let mut rows: Vec<Vector> = options.iter().map(row).collect();
    // Taken out by us anyway, and put in again with the provider's credential.
    let named = post("Connection: Authorization, X-Api-Key, close\r\nContent-Length: 18\r\n", BODY);
    rows.push(forwarded("Connection names a credential", named));
    rows
}

/// Fields of which parsers take different lines.
fn single_fields() -> Vec<Vector> {
    let with = |fields: &str| post(&format!("{fields}Content-Length: 18\r\n"), BODY);
    vec![
        refused("two content types", with("Content-Type: multipart/form-data; boundary=B\r\n")),
        refused("two content encodings", with("Content-Encoding: identity\r\nContent-Encoding: gzip\r\n")),
        refused("an unknown expectation", with("Expect: 200-ok\r\n")),
        refused("two expectations", with("Expect: 100-continue\r\nExpect: 100-continue\r\n")),
        refused("an expectation and more", with("Expect: 100-continue, x\r\n")),
        inside("an encoded body", with("Content-Encoding: gzip\r\n"), 400),
    ]
}
