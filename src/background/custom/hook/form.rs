//! The three forms in which a hook is asked, and what its answers mean. `docs/custom-auth-hook.md` describes them.
//!
//! *json* is our own. *ext_authz* is what Envoy's HTTP authorization service is sent: the original method and path behind the
//! hook's own path, with the original fields. *forward_auth* is what Traefik and Caddy send: GET with `X-Forwarded-*`.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use portcullis_filters::authn::custom::{
    CustomAnswer, CustomIdentity, CustomRefusal, CustomRequest, CustomUnavailable, Facet, Keep, NotAnIdentity, REFUSED,
    Verdict,
};
use portcullis_filters::head::RequestHead;
use reqwest::{Client, RequestBuilder, Url};
use serde_json::{Map, Value, json};

use super::Parts;
use crate::config::{HookForm, HookSettings};

/// A question as it is sent, once or twice.
pub(super) struct Question {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Question {
    /// `None`: the request has something that cannot be sent on.
    pub(super) fn new(settings: &HookSettings, url: &Url, request: &CustomRequest<'_>) -> Option<Self> {
        let mut question = match settings.form {
            HookForm::Json => json(url, request),
            HookForm::ExtAuthz => ext_authz(url, request.head),
            HookForm::ForwardAuth => forward_auth(url, request.head)?,
        };
        for (name, value) in &settings.headers {
            let mut value = HeaderValue::try_from(value.expose()).ok()?;
            value.set_sensitive(true);
            question.headers.insert(name, value);
        }
        Some(question)
    }

    pub(super) fn request(&self, client: &Client) -> RequestBuilder {
        let request = client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if self.body.is_empty() { request } else { request.body(self.body.clone()) }
    }
}

fn json(url: &Url, request: &CustomRequest<'_>) -> Question {
    let head = request.head;
    let latin_1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| json!([name.as_str(), latin_1(value.as_bytes())])).collect();
    let mut question = json!({
        "credential": request.credential,
        "method": head.method.as_str(),
        "path": head.path.as_str(),
        "query": head.query,
        "headers": headers,
        "source": head.source.map(|source| source.to_string()),
    });
    if let Some(body) = request.body {
        question["body"] = BASE64_STANDARD.encode(body).into();
    }
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Question { method: Method::POST, url: url.clone(), headers, body: question.to_string().into_bytes() }
}

fn ext_authz(url: &Url, head: &RequestHead<'_>) -> Question {
    let mut asked = url.clone();
    asked.set_path(&format!("{}{}", url.path().trim_end_matches('/'), head.path.as_str()));
    asked.set_query(head.query);
    let mut headers = forwarded(head.headers);
    add_source(&mut headers, head);
    Question { method: head.method.clone(), url: asked, headers, body: Vec::new() }
}

fn forward_auth(url: &Url, head: &RequestHead<'_>) -> Option<Question> {
    let mut headers = forwarded(head.headers);
    let uri = match head.query {
        Some(query) => format!("{}?{query}", head.path.as_str()),
        None => head.path.as_str().to_owned(),
    };
    headers.insert("x-forwarded-method", HeaderValue::try_from(head.method.as_str()).ok()?);
    headers.insert("x-forwarded-uri", HeaderValue::try_from(uri).ok()?);
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    if let Some(host) = head.headers.get(http::header::HOST) {
        headers.insert("x-forwarded-host", host.clone());
    }
    add_source(&mut headers, head);
    Some(Question { method: Method::GET, url: url.clone(), headers, body: Vec::new() })
}

/// Fields that are about the connection or the body, or that say who asks; a client's own are not passed on.
const NOT_FORWARDED: [&str; 19] = [
    "connection",
    "content-length",
    "content-encoding",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-url",
    "x-real-ip",
];

fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let goes = |(name, _): &(&HeaderName, &HeaderValue)| {
        // What the hook is asked to say of a caller the caller cannot say.
        !NOT_FORWARDED.contains(&name.as_str()) && FIELDS.iter().all(|(_, names)| !names.contains(&name.as_str()))
    };
    let mut all = HeaderMap::new();
    for (name, value) in headers.iter().filter(goes) {
        all.append(name.clone(), value.clone());
    }
    all
}

fn add_source(headers: &mut HeaderMap, head: &RequestHead<'_>) {
    let source = head.source.and_then(|source| HeaderValue::try_from(source.to_string()).ok());
    if let Some(source) = source {
        headers.insert("x-forwarded-for", source);
    }
}

/// What the answer means.
pub(super) fn answer(
    settings: &HookSettings,
    parts: &Parts,
    body: &[u8],
    credential: Option<&str>,
) -> Result<CustomAnswer, CustomUnavailable> {
    let (status, form) = (parts.status, settings.form);
    match form {
        HookForm::Json if status == StatusCode::OK => CustomAnswer::read(body, credential),
        HookForm::Json => Err(CustomUnavailable("the hook answers with another status than 200")),
        HookForm::ExtAuthz if status == StatusCode::OK => proven(&parts.headers, credential),
        HookForm::ForwardAuth if status.is_success() => proven(&parts.headers, credential),
        _ if status.is_client_error() => Ok(refused(status)),
        _ if status.is_redirection() => Err(CustomUnavailable("the hook answers with a redirect")),
        _ => Err(CustomUnavailable("the hook answers with a status that decides nothing")),
    }
}

/// The body is the authoriser's page for a browser; a caller gets our own sentence.
fn refused(status: StatusCode) -> CustomAnswer {
    let refusal = CustomRefusal {
        status: status.as_u16(),
        kind: "auth_error".to_owned(),
        param: None,
        message: REFUSED.to_owned(),
    };
    CustomAnswer { verdict: Verdict::Refused { refusal, stands: status != StatusCode::UNAUTHORIZED }, keep: None }
}

/// From which fields of an answer an identity is read: ours first, then those of well-known authorisers.
const FIELDS: [(&str, &[&str]); 5] = [
    ("user_id", &["x-portcullis-user-id", "remote-user", "x-auth-request-user"]),
    ("user_email", &["x-portcullis-user-email", "remote-email", "x-auth-request-email"]),
    ("team_id", &["x-portcullis-team-id"]),
    ("user_role", &["x-portcullis-role"]),
    ("models", &["x-portcullis-models"]),
];

/// Built as JSON and read like every other identity.
fn proven(headers: &HeaderMap, credential: Option<&str>) -> Result<CustomAnswer, CustomUnavailable> {
    let mut identity = Map::new();
    for (field, names) in FIELDS {
        let Some(value) = names.iter().find_map(|name| headers.get(*name)) else { continue };
        let text = value.to_str().map_err(|_| CustomUnavailable("a field of the hook's answer is not text"))?;
        let value = match field {
            "models" => text.split(',').map(str::trim).filter(|model| !model.is_empty()).collect::<Vec<_>>().into(),
            _ => Value::from(text),
        };
        identity.insert(field.to_owned(), value);
    }
    let identity = CustomIdentity::read(Value::from(identity).to_string().as_bytes(), credential);
    let identity = identity.map_err(|NotAnIdentity(word)| CustomUnavailable(word))?;
    Ok(CustomAnswer { verdict: Verdict::Proven(Box::new(identity)), keep: keep(headers) })
}

/// Only an explicit `max-age` lets an answer be used again, for requests of the same method, path, query and address, and the
/// same values of the fields that `Vary` names.
fn keep(headers: &HeaderMap) -> Option<Keep> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    let mut seconds = None;
    for directive in directives.by_ref() {
        match directive.split_once('=') {
            Some(("max-age", value)) => seconds = value.trim_matches('"').parse::<u32>().ok(),
            _ if matches!(directive, "no-store" | "no-cache" | "must-understand") => return None,
            _ => {}
        }
    }
    let mut facets = vec![Facet::Method, Facet::Path, Facet::Query, Facet::Source];
    for line in headers.get_all(VARY) {
        for name in line.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "*" {
                return None;
            }
            facets.push(Facet::Header(name.parse().ok()?));
        }
    }
    Some(Keep { ttl: Duration::from_secs(seconds?.into()).min(Duration::from_secs(300)), facets })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(fields: &[(&str, &str)]) -> Option<Keep> {
        let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        keep(&HeaderMap::from_iter::<Vec<(HeaderName, HeaderValue)>>(fields.collect()))
    }

    #[test]
    fn only_an_explicit_age_lets_an_answer_be_used_again() {
        for fields in [
            &[][..],
            &[("cache-control", "private")],
            &[("cache-control", "max-age=60, no-store")],
            &[("cache-control", "max-age=x")],
            &[("cache-control", "max-age=60"), ("vary", "*")],
            &[("cache-control", "max-age=60"), ("vary", "bad name")],
        ] {
            assert_eq!(kept(fields), None, "{fields:?}");
        }
        let keep = kept(&[("cache-control", "private, max-age=6000"), ("vary", "Cookie, X-Tenant")]).unwrap();
        assert_eq!(keep.ttl, Duration::from_secs(300));
        let names = keep.facets.iter().filter_map(|facet| match facet {
            Facet::Header(name) => Some(name.as_str()),
            _ => None,
        });
        assert_eq!(names.collect::<Vec<_>>(), ["cookie", "x-tenant"]);
    }
}
