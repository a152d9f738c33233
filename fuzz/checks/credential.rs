//! What is taken for a credential stood in the request, and after stripping there is none left in it.

use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_filters::credential::{CredentialSlots, MAX_JWT, Shapes, strip_protocols, strip_query};
use portcullis_filters::denial::Denial;
use portcullis_filters::head::RequestHead;
use portcullis_filters::path::CanonicalPath;

/// `data` is a target, and below it one field on each line.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let target = lines.next().unwrap_or_default();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Ok(path) = CanonicalPath::parse(path) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')).take(100) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.trim())) {
            headers.append(name, value);
        }
    }
    for replacing in [None, Some(HeaderName::from_static("x-my-key"))] {
        let slots = CredentialSlots {
            replacing,
            additional: vec![HeaderName::from_static("x-own-key")],
            certificate: Some(HeaderName::from_static("client-cert")),
            shapes: Shapes { jwt: true, opaque: true },
        };
        taken_and_stripped(&slots, &path, query, &headers);
    }
}

fn taken_and_stripped(slots: &CredentialSlots, path: &CanonicalPath, query: Option<&str>, headers: &HeaderMap) {
    let head = RequestHead { method: &Method::POST, path, query, headers, source: None, client_certificate: None };
    if let Ok(credential) = slots.extract(&head) {
        let text = credential.text;
        assert!(!text.is_empty() && text.len() <= MAX_JWT);
        let contains = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let stood = headers.values().any(|value| contains(value.as_bytes()));
        assert!(stood || query.is_some_and(|query| query.contains(text)), "made up");
    }
    let mut kept = headers.clone();
    for name in slots.headers() {
        kept.remove(name);
    }
    let left = strip_protocols(&kept);
    kept.remove(SEC_WEBSOCKET_PROTOCOL);
    kept.extend(left.map(|left| (SEC_WEBSOCKET_PROTOCOL, left)));
    let query = query.and_then(strip_query);
    let head = RequestHead {
        method: &Method::POST,
        path,
        query: query.as_deref(),
        headers: &kept,
        source: None,
        client_certificate: None,
    };
    assert_eq!(slots.extract(&head).err(), Some(Denial::MissingCredential), "a credential is forwarded");
}
