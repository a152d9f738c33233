//! Line ends, white space, control bytes, and what is no HTTP/1.1 at all.

use super::{BODY, LINE, Outcome, Vector, forwarded, post, refused};

pub(super) fn all() -> Vec<Vector> {
    let mut rows = ends();
    rows.extend(controls());
    rows.extend(request_lines());
    rows.extend(other_protocols());
    rows
}

fn ends() -> Vec<Vector> {
    let good = post("Content-Length: 18\r\n", BODY);
    let length = "Content-Length: 18\r\n";
    let mut rows = vec![
        refused("line feeds only", good.replace("\r\n", "\n")),
        refused("a request line that ends in a line feed", good.replacen("\r\n", "\n", 1)),
        refused("a request line that ends in a return", good.replacen("\r\n", "\r", 1)),
        refused("a field that ends in a line feed", post("X: y\nContent-Length: 18\r\n", BODY)),
        refused("a last field that ends in a line feed", post("Content-Length: 18\n", BODY)),
        refused("a blank line of a line feed", good.replacen("\r\n\r\n", "\r\n\n", 1)),
        refused("a blank line of two returns", good.replacen("\r\n\r\n", "\r\n\r\r\n", 1)),
        refused("a field that ends in two returns", post("X: y\r\r\nContent-Length: 18\r\n", BODY)),
        refused("a return in a value", post("X: a\rb\r\nContent-Length: 18\r\n", BODY)),
        refused("a return in a name", post("X\rY: a\r\nContent-Length: 18\r\n", BODY)),
        refused("a return between fields", post("X: a\r\n\rY: b\r\nContent-Length: 18\r\n", BODY)),
        refused("a line feed in a name", post("X\nY: a\r\nContent-Length: 18\r\n", BODY)),
        refused("a line feed in the target", good.replacen("/chat", "/\nchat", 1)),
        refused("a return in the target", good.replacen("/chat", "/\rchat", 1)),
        refused("a line feed in the version", good.replacen("HTTP/1.1", "HTTP/\n1.1", 1)),
        forwarded("an empty line in front", format!("\r\n{good}")),
    ];
    for (name, field) in [
        ("Host", "X: a\r\nHost:\r\n b\r\n"),
        ("a length", "Content-Length:\r\n 18\r\n"),
        ("a plain field", "X: a\r\n b\r\nContent-Length: 18\r\n"),
        ("a plain field by a tab", "X: a\r\n\tb\r\nContent-Length: 18\r\n"),
        ("an empty line", "X: a\r\n \r\nContent-Length: 18\r\n"),
        ("a field in disguise", "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 18\r\n"),
    ] {
        rows.push(refused(&format!("folding of {name}"), post(field, BODY)));
    }
    rows.push(refused("folding of the first field", format!("{LINE} Host: a\r\n{{key}}{{id}}{length}\r\n{BODY}")));
    rows.push(refused("a line without a colon", post("nonsense\r\nContent-Length: 18\r\n", BODY)));
    rows.push(refused("a field without a name", post(": a\r\nContent-Length: 18\r\n", BODY)));
    rows
}

fn controls() -> Vec<Vector> {
    let mut rows = Vec::new();
    for byte in ["\0", "\u{1}", "\u{8}", "\u{b}", "\u{c}", "\u{1b}", "\u{7f}"] {
        rows.push(refused(
            &format!("{byte:?} in a value"),
            post(&format!("X: a{byte}b\r\nContent-Length: 18\r\n"), BODY),
        ));
        rows.push(refused(
            &format!("{byte:?} in a name"),
            post(&format!("X{byte}: a\r\nContent-Length: 18\r\n"), BODY),
        ));
    }
    for name in ["X Y", "X(", "X\"", "X/", "X[", "X{", "X@", "X,", "X=", "X;", "\u{e9}", ""] {
        rows.push(refused(&format!("the name {name:?}"), post(&format!("{name}: a\r\nContent-Length: 18\r\n"), BODY)));
    }
    let good = post("Content-Length: 18\r\n", BODY);
    rows.push(refused("NUL in the target", good.replacen("/chat", "/\0chat", 1)));
    rows.push(refused("NUL in the method", good.replacen("POST", "PO\0ST", 1)));
    rows.push(refused("NUL in front", format!("\0{good}")));
    rows
}

fn request_lines() -> Vec<Vector> {
    let good = post("Content-Length: 18\r\n", BODY);
    let lines = [
        "POST  /v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions  HTTP/1.1",
        " POST /v1/chat/completions HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1 ",
        "POST\t/v1/chat/completions\tHTTP/1.1",
        "POST /v1/chat/completions HTTP/1.1\tX",
        "POST /v1/chat/completions HTTP/1.1 HTTP/1.1",
        "POST /v1/chat/completions http/1.1",
        "POST /v1/chat/completions HTTP/1.2",
        "POST /v1/chat/completions HTTP/2.0",
        "POST /v1/chat/completions HTTP/3",
        "POST /v1/chat/completions HTTP/01.1",
        "POST /v1/chat/completions HTTP/1.1.1",
        "POST /v1/chat/completions XTTP/1.1",
        "POST /v1/chat/completions",
        "POST  HTTP/1.1",
        "POST HTTP/1.1",
        "POST",
        "/v1/chat/completions HTTP/1.1",
    ];
    let line = LINE.trim_end();
    lines.iter().map(|other| refused(&format!("the line {other:?}"), good.replacen(line, other, 1))).collect()
}

fn other_protocols() -> Vec<Vector> {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let dropped = |name: &str, bytes: &[u8]| Vector {
        name: name.into(),
        bytes: bytes.to_vec(),
        admitted: Outcome::Dropped,
        anonymous: Outcome::Dropped,
    };
    vec![
        refused("HTTP/0.9", "GET /v1/models\r\n\r\n"),
        refused("HTTP/2 with prior knowledge", preface),
        refused("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        refused(
            "a PROXY line",
            format!("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n{}", post("Content-Length: 18\r\n", BODY)),
        ),
        refused("bytes", (0..=255).cycle().take(4096).map(|byte: u16| byte as u8).collect::<Vec<_>>()),
        dropped("nothing", b""),
        dropped("an empty line and no more", b"\r\n"),
        dropped("half a head", b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX:"),
    ]
}
