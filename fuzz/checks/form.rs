//! A form that is accepted names the model once, also to a parser that is far more lenient than ours.

use bytes::Bytes;
use http::{HeaderMap, Method};
use portcullis_filters::endpoint;
use portcullis_filters::head::RequestHead;
use portcullis_filters::operation::Operation;
use portcullis_filters::path::CanonicalPath;

const BOUNDARY: &str = "--B";

/// `data` is the body of a form with the boundary `B`.
pub(crate) fn check(data: &[u8]) {
    let path = CanonicalPath::parse("/v1/audio/transcriptions").expect("a path of the table");
    let headers = HeaderMap::new();
    let head = RequestHead {
        method: &Method::POST,
        path: &path,
        query: None,
        headers: &headers,
        source: None,
        client_certificate: None,
    };
    let endpoint = endpoint::classify(&head).expect("a call of the table");
    let read = |body: &[u8]| Operation::read(endpoint.clone(), None, Some("multipart/form-data; boundary=B"), body);
    let Ok(operation) = read(data) else { return };
    let lenient = lenient_models(data);
    assert!(lenient <= 1, "a lenient parser finds {lenient} models");
    let renamed = operation.names.clone().rename(Bytes::copy_from_slice(data), "upstream-name");
    let model = operation.model.as_deref().expect("a form without a model is refused");
    assert_eq!(renamed.len() + model.len(), data.len() + "upstream-name".len());
    let again = read(&renamed).expect("renaming keeps the form");
    assert_eq!(again.model.as_deref(), Some("upstream-name"));
    assert_eq!(again.names.clone().rename(renamed, model), data, "renaming back restores every byte");
}

/// Parts called `model`, as a parser counts them that takes any line end, any case, any quoting and any place.
fn lenient_models(body: &[u8]) -> usize {
    let text = String::from_utf8_lossy(body);
    let parts = text.split(BOUNDARY).filter(|part| {
        let end = part.find("\r\n\r\n").or_else(|| part.find("\n\n")).unwrap_or(part.len());
        names_model(&part[..end])
    });
    parts.count()
}

fn names_model(head: &str) -> bool {
    let lines = head.replace(['\r', '\n'], "\n").replace("\n ", " ").replace("\n\t", " ").to_ascii_lowercase();
    lines.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        let kept = |c: &char| !c.is_ascii_whitespace() && !matches!(c, '"' | '\\' | '*');
        let plain: String = value.chars().filter(kept).collect();
        // A file may be called anything, our word for the part included.
        let file = plain.contains("filename");
        name.trim() == "content-disposition" && !file && plain.split(';').any(|parameter| parameter == "name=model")
    })
}
