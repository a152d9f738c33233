//! Where a body ends: lengths, encodings and chunks.

use super::{BODY, Vector, forwarded, inside, post, refused};

pub(super) fn all() -> Vec<Vector> {
    let mut rows = both();
    rows.extend(lengths());
    rows.extend(encodings());
    rows.extend(chunks());
    rows.extend(endings());
    rows
}

/// Length and encoding together, in each order and case, with a request behind either reading.
fn both() -> Vec<Vector> {
    let mut rows = Vec::new();
    for (length, encoding) in [
        ("Content-Length", "Transfer-Encoding"),
        ("content-length", "transfer-encoding"),
        ("CONTENT-LENGTH", "TRANSFER-ENCODING"),
        ("cOnTeNt-LeNgTh", "tRaNsFeR-eNcOdInG"),
    ] {
        for size in [5, 400] {
            let rest = "0\r\n\r\n{smuggled}";
            let (a, b) = (format!("{length}: {size}\r\n"), format!("{encoding}: chunked\r\n"));
            rows.push(refused(&format!("{length} {size}, {encoding}"), post(&format!("{a}{b}"), rest)));
            rows.push(refused(&format!("{encoding}, {length} {size}"), post(&format!("{b}{a}"), rest)));
        }
    }
    let rest = "0\r\n\r\n{smuggled}";
    rows.push(refused(
        "length, encoding, length",
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", rest),
    ));
    rows.push(refused("length with identity", post("Content-Length: 18\r\nTransfer-Encoding: identity\r\n", BODY)));
    rows.push(refused("length with an empty encoding", post("Content-Length: 18\r\nTransfer-Encoding:\r\n", BODY)));
    rows
}

fn lengths() -> Vec<Vector> {
    let mut rows = Vec::new();
    for value in [
        "18, 18",
        "18,18",
        "18, 3",
        "+18",
        "-1",
        "-18",
        "0x12",
        "18 18",
        "18;",
        "18.0",
        "1e1",
        "\"18\"",
        "",
        " ",
        ",18",
        "18,",
        "99999999999999999999",
        "18446744073709551634",
        "9223372036854775808",
        "1 8",
        "\u{ff11}8",
        "NaN",
    ] {
        rows.push(refused(&format!("length {value:?}"), post(&format!("Content-Length: {value}\r\n"), BODY)));
    }
    for (name, fields) in [
        ("the same length twice", "Content-Length: 18\r\nContent-Length: 18\r\n"),
        ("two lengths", "Content-Length: 18\r\nContent-Length: 3\r\n"),
        ("two lengths, the longer last", "Content-Length: 0\r\ncontent-length: 18\r\n"),
        ("a disguised length", "Content_Length: 18\r\n"),
        ("a disguised length beside one", "Content-Length: 18\r\nContent_Length: 3\r\n"),
        ("a dotted length", "Content.Length: 3\r\nContent-Length: 18\r\n"),
        ("a space before the colon of a length", "Content-Length : 18\r\n"),
        ("a tab before the colon of a length", "Content-Length\t: 18\r\n"),
    ] {
        rows.push(refused(name, post(fields, BODY)));
    }
    rows.push(forwarded("a length with zeros in front", post("Content-Length: 00018\r\n", BODY)));
    rows.push(forwarded("a length with space around", post("Content-Length: \t 18 \t\r\n", BODY)));
    rows.push(forwarded(
        "a second request behind the length",
        post("Content-Length: 18\r\n", &format!("{BODY}{{smuggled}}")),
    ));
    rows.push(inside("a length over the bound", post("Content-Length: 300000000\r\n", ""), 413));
    rows
}

fn encodings() -> Vec<Vector> {
    let body = format!("12\r\n{BODY}\r\n0\r\n\r\n{{smuggled}}");
    let mut rows = Vec::new();
    for value in [
        "gzip, chunked",
        "chunked, gzip",
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "x",
        "identity",
        "gzip",
        "cow",
        "ChUnKeD",
        "CHUNKED",
        "\u{b}chunked",
        "\u{c}chunked",
        "chunked\u{b}",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "chu nked",
        "chunked\0",
        "\u{a0}chunked",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        rows.push(refused(&format!("encoding {value:?}"), post(&fields, &body)));
    }
    for (name, fields) in [
        ("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("an unknown encoding and chunked", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked and an unknown encoding", "Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n"),
        ("chunked and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        ("a vertical tab before the colon", "Transfer-Encoding\u{b}: chunked\r\n"),
        ("a space in front of the name", "X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("a disguised encoding", "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("a dotted encoding", "Transfer.Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("a folded encoding", "Transfer-Encoding:\r\n chunked\r\n"),
        ("an encoding folded to two", "Transfer-Encoding: chunked\r\n , identity\r\n"),
        ("an encoding behind a bare line feed", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("an encoding behind a bare return", "X: y\rTransfer-Encoding: chunked\r\n"),
        ("an encoding behind a NUL", "X: y\0\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        rows.push(refused(&format!("encoding: {name}"), post(fields, &body)));
    }
    for version in ["1.0", "0.9"] {
        let request = post("Transfer-Encoding: chunked\r\n", &body).replacen("HTTP/1.1", &format!("HTTP/{version}"), 1);
        rows.push(refused(&format!("chunked in HTTP/{version}"), request));
    }
    rows
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

fn chunks() -> Vec<Vector> {
    let mut rows = Vec::new();
    for size in [
        "0x12",
        "-12",
        "+12",
        "g",
        "",
        " ",
        "1 2",
        "12_",
        "1_2",
        "12,",
        "0012345678901234567",
        "FFFFFFFFFFFFFFFF",
        "8000000000000000",
        "10000000000000012",
        "\u{ff11}2",
        "12\0",
        ";12",
        "12\u{b}",
        "\"12\"",
    ] {
        let body = format!("{size}\r\n{BODY}\r\n0\r\n\r\n{{smuggled}}");
        rows.push(inside(&format!("chunk size {size:?}"), post(CHUNKED, &body), 400));
    }
    for (name, body) in [
        ("a chunk size that ends in a line feed", format!("12\n{BODY}\r\n0\r\n\r\n")),
        ("a chunk that ends in a line feed", format!("12\r\n{BODY}\n0\r\n\r\n")),
        ("a chunk longer than its size", format!("3\r\n{BODY}\r\n0\r\n\r\n{{smuggled}}")),
        ("a chunk without its end", format!("12\r\n{BODY}0\r\n\r\n")),
        ("a return without its line feed", format!("12\r{BODY}\r\n0\r\n\r\n")),
        ("garbage for the end of a chunk", format!("12\r\n{BODY}xx0\r\n\r\n")),
    ] {
        rows.push(inside(name, post(CHUNKED, &body), 400));
    }
    for (name, body) in [
        ("a chunk size with zeros in front", format!("00012\r\n{BODY}\r\n0\r\n\r\n")),
        ("a chunk extension", format!("12;name=value\r\n{BODY}\r\n0;last\r\n\r\n")),
        ("an extension with a bare line feed", format!("12;a\nb\r\n{BODY}\r\n0\r\n\r\n")),
        ("a chunk extension in quotes", format!("12;a=\";\"\r\n{BODY}\r\n0\r\n\r\n")),
        ("a long last chunk", format!("12\r\n{BODY}\r\n0000\r\n\r\n")),
        ("chunks of one byte", BODY.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>() + "0\r\n\r\n"),
        ("a second request behind the chunks", format!("12\r\n{BODY}\r\n0\r\n\r\n{{smuggled}}")),
        ("a trailer with a credential", format!("12\r\n{BODY}\r\n0\r\nX-Api-Key: {{bare}}\r\n\r\n")),
        ("a trailer with another framing", format!("12\r\n{BODY}\r\n0\r\nContent-Length: 3\r\n\r\n{{smuggled}}")),
        ("a trailer with an encoding", format!("12\r\n{BODY}\r\n0\r\nTransfer-Encoding: x\r\n\r\n{{smuggled}}")),
    ] {
        rows.push(forwarded(name, post(CHUNKED, &body)));
    }
    rows
}

/// Bodies that stop in the middle: the runner closes its half behind each vector.
fn endings() -> Vec<Vector> {
    let rows = [
        ("a body shorter than its length", post("Content-Length: 400\r\n", BODY)),
        ("chunks without a last one", post(CHUNKED, &format!("12\r\n{BODY}\r\n"))),
        ("a chunk that stops", post(CHUNKED, "12\r\n{\"mod")),
        ("a chunk size that stops", post(CHUNKED, "1")),
        ("trailers that stop", post(CHUNKED, &format!("12\r\n{BODY}\r\n0\r\nX: y"))),
    ];
    rows.into_iter().map(|(name, bytes)| inside(name, bytes, 400)).collect()
}
