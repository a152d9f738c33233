//! A head that passes the strict reading has one reading only, and its canonical path is its own canonical path.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use portcullis_filters::endpoint;
use portcullis_filters::head::RequestHead;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::strict::{HeadBounds, check_headers, check_raw_head};

const BOUNDS: HeadBounds = HeadBounds { bytes: 32 * 1024, lines: 100 };

/// `data` is a request head as it comes from the wire.
pub(crate) fn check(data: &[u8]) {
    if check_raw_head(data, &BOUNDS).is_ok() {
        one_reading(data);
    }
    let text = String::from_utf8_lossy(data);
    let headers = headers(&text);
    if check_headers(&headers, Version::HTTP_11, &BOUNDS).is_ok() {
        one_framing(&headers);
    }
    let line = text.lines().next().unwrap_or_default();
    let target = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Ok(path) = CanonicalPath::parse(path) else { return };
    one_path(&path);
    let head = RequestHead {
        method: &Method::POST,
        path: &path,
        query,
        headers: &headers,
        source: None,
        client_certificate: None,
    };
    let _ = endpoint::classify(&head);
}

fn one_reading(head: &[u8]) {
    let text = String::from_utf8_lossy(head);
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "a bare line end passed");
    let fields: Vec<&str> = lines.iter().copied().skip_while(|line| line.is_empty()).skip(1).collect();
    assert!(fields.iter().all(|line| !line.starts_with([' ', '\t'])), "a folded line passed");
    let has = |name: &str| {
        fields.iter().any(|line| line.split(':').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name)))
    };
    assert!(!(has("content-length") && has("transfer-encoding")), "two framings passed");
}

fn one_framing(headers: &HeaderMap) {
    let count = |name: HeaderName| headers.get_all(name).iter().count();
    assert_eq!(count(HOST), 1);
    assert!(count(CONTENT_LENGTH) <= 1 && count(CONTENT_TYPE) <= 1);
    if let Some(length) = headers.get(CONTENT_LENGTH) {
        length.to_str().expect("digits").parse::<u64>().expect("a length that fits");
    }
    assert!(headers.get(TRANSFER_ENCODING).is_none_or(|coding| coding == "chunked"));
}

fn one_path(path: &CanonicalPath) {
    let text = path.as_str();
    assert_eq!(CanonicalPath::parse(text).as_ref(), Ok(path), "canonical once, canonical always");
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"%\\?#;".contains(&byte)), "{text:?}");
    let mut segments = text[1..].split('/');
    assert!(segments.all(|segment| segment != "." && segment != ".."), "{text:?}");
    assert!(!text.contains("//"), "{text:?}");
    let uri: Uri = text.parse().expect("what goes upstream is a target");
    assert_eq!(uri.path(), text);
}

fn headers(text: &str) -> HeaderMap {
    let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let parsed = fields.filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?))
    });
    parsed.take(200).fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.append(name, value);
        headers
    })
}
