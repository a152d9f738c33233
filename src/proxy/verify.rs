//! `/auth/verify`: Portcullis as the decision for another proxy, which asks before it forwards.
//!
//! The other proxy says what it was asked, in the form that it has: nginx (`auth_request`) and Traefik or Caddy
//! (`forward_auth`) in header fields, Envoy (HTTP `ext_authz`) in method and path. What must stay true: such a description
//! counts from a trusted proxy only; a trusted proxy that does not give one is not answered with yes; and what is decided
//! here is decided by the steps of `admit`, but for the choice of an upstream.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::Error;
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{self, BodyKind, Endpoint, dialect_of};
use portcullis_filters::head::RequestHead;
use portcullis_filters::operation::{ModelNames, Operation};
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::policy::{self, Permit};
use portcullis_filters::principal::Principal;

use super::context::RequestContext;
use super::usage::estimate;
use super::{Gateway, body, respond};

/// The path, and what Envoy puts the original path behind.
const PATH: &str = "/auth/verify";

/// Whether another proxy asks.
pub(super) fn is_asked(ctx: &RequestContext) -> bool {
    let rest = ctx.path.as_ref().and_then(|path| path.as_str().strip_prefix(PATH));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The request that the other proxy is to forward.
#[derive(Debug, PartialEq, Eq)]
struct Original {
    method: Method,
    path: CanonicalPath,
    query: Option<String>,
    /// nginx takes any status but 2xx, 401 and 403 for a failure of ours.
    by_nginx: bool,
}

/// Who asks, and what was allowed; without a permit only the credential was looked at.
type Verified = (Principal, Option<Permit>);

/// Answers the other proxy.
pub(super) async fn respond(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> Result<(), Box<Error>> {
    match decide(gateway, session, ctx).await {
        Ok(verified) => {
            // A body that nobody wanted must not be taken for the next request.
            if !session.is_body_done() {
                session.set_keepalive(None);
            }
            let written = respond::write(session, ctx, StatusCode::OK, &identity(&verified), Bytes::new()).await;
            body::drain(session).await;
            written
        }
        Err(denial) => gateway.refuse(session, ctx, denial).await,
    }
}

async fn decide(gateway: &Gateway, session: &mut Session, ctx: &mut RequestContext) -> Result<Verified, Denial> {
    let now = SystemTime::now();
    let live = Arc::clone(&ctx.live);
    live.open_sources.check(ctx.source)?;
    let Some(original) = original(session, ctx)? else {
        let principal = live.gate.authenticate(&ctx.head(session)?, now).await?; // nothing but the credential
        ctx.note_principal(&principal);
        return Ok((principal, None));
    };
    ctx.dialect = dialect_of(original.path.as_str(), &session.req_header().headers);
    ctx.path = Some(original.path.clone()); // what the log speaks of
    let endpoint = match endpoint::classify(&head_of(&original, session, ctx)) {
        Err(Denial::UnknownRoute | Denial::MethodNotAllowed) if original.by_nginx => {
            return Err(Denial::RouteForbidden);
        }
        classified => classified?,
    };
    live.open_paths.check(&original.path)?;
    let early = live.gate.authenticators.read_body();
    let mut sent = Bytes::new();
    if early {
        sent = sent_body(gateway, session, &endpoint, ctx).await?;
    }
    let head = head_of(&original, session, ctx);
    let seen = early.then(|| sent.clone());
    let extracted = live.gate.slots.extract(&head);
    let principal = live.gate.authenticators.authenticate(&head, extracted, seen.as_ref(), now).await?;
    ctx.note_principal(&principal);
    if !early {
        sent = sent_body(gateway, session, &endpoint, ctx).await?;
    }
    let operation = operation(endpoint, &original, session, &sent)?;
    ctx.note_operation(&operation);
    let permit = policy::authorize(principal.clone(), operation, &live.groups)?;
    let _counted = gateway.limits.reserve(&permit, || estimate(&live, &permit, &sent), now).await?; // its end is the other proxy's to see
    Ok((principal, Some(permit)))
}

fn head_of<'a>(original: &'a Original, session: &'a Session, ctx: &RequestContext) -> RequestHead<'a> {
    RequestHead {
        method: &original.method,
        path: &original.path,
        query: original.query.as_deref(),
        headers: &session.req_header().headers,
        source: ctx.source,
        client_certificate: ctx.client_certificate,
    }
}

/// The body, where the other proxy sends it along.
async fn sent_body(
    gateway: &Gateway,
    session: &mut Session,
    endpoint: &Endpoint,
    ctx: &RequestContext,
) -> Result<Bytes, Denial> {
    if session.is_upgrade_req() || session.is_body_empty() {
        return Ok(Bytes::new());
    }
    Ok(body::read(session, endpoint.body, &ctx.live.http, &gateway.body_memory).await?.bytes())
}

/// Without the body the model is the path's or unknown; then it is open to those who may use any.
fn operation(endpoint: Endpoint, original: &Original, session: &Session, sent: &Bytes) -> Result<Operation, Denial> {
    if sent.is_empty() && endpoint.body != BodyKind::None {
        let model = endpoint.path_model.clone();
        return Ok(Operation {
            endpoint,
            model,
            stream: false,
            names: ModelNames::Absent,
            stream_usage: Default::default(),
            most_output: None,
            other_models: Vec::new(),
            client: None,
        });
    }
    let content_type = session.req_header().headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Operation::read(endpoint, original.query.as_deref(), content_type, sent)
}

/// `None`: nobody describes a request, and whoever asks is no trusted proxy.
fn original(session: &Session, ctx: &RequestContext) -> Result<Option<Original>, Denial> {
    let header = session.req_header();
    let behind = ctx.path.as_ref().and_then(|path| path.as_str().strip_prefix(PATH)).filter(|rest| !rest.is_empty());
    let given = described(&header.headers, behind.map(|rest| (&header.method, rest, header.uri.query())))?;
    match (given, ctx.by_trusted_proxy) {
        (Some(original), true) => Ok(Some(original)),
        (Some(_), false) => Err(Denial::UntrustedProxy),
        (None, false) => Ok(None),
        (None, true) => Err(Denial::MalformedRequest(
            "no original request: pass X-Original-Method and X-Original-URI, X-Forwarded-Method and X-Forwarded-Uri, or \
             the path behind /auth/verify",
        )),
    }
}

/// The one description that there is. Two are none: one of them may be the client's own.
fn described(headers: &HeaderMap, behind: Option<(&Method, &str, Option<&str>)>) -> Result<Option<Original>, Denial> {
    let nginx = pair(headers, "x-original-method", "x-original-uri")?;
    let forward_auth = pair(headers, "x-forwarded-method", "x-forwarded-uri")?;
    match (nginx, forward_auth, behind) {
        (None, None, None) => Ok(None),
        (Some((method, uri)), None, None) => read(method, uri, true).map(Some),
        (None, Some((method, uri)), None) => read(method, uri, false).map(Some),
        (None, None, Some((method, path, query))) => {
            let path = CanonicalPath::parse(path)?;
            let query = query.map(str::to_owned);
            Ok(Some(Original { method: method.clone(), path, query, by_nginx: false }))
        }
        _ => Err(Denial::MalformedRequest("the original request is described in two ways")),
    }
}

/// Both fields, once each.
fn pair<'a>(headers: &'a HeaderMap, method: &str, uri: &str) -> Result<Option<(&'a str, &'a str)>, Denial> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| INCOMPLETE),
            (Some(_), Some(_)) => Err(INCOMPLETE),
        }
    };
    match (one(method)?, one(uri)?) {
        (None, None) => Ok(None),
        (Some(method), Some(uri)) => Ok(Some((method, uri))),
        _ => Err(INCOMPLETE),
    }
}

const INCOMPLETE: Denial = Denial::MalformedRequest("the original request is described in part, or repeatedly");

fn read(method: &str, uri: &str, by_nginx: bool) -> Result<Original, Denial> {
    let method = method.parse().map_err(|_| INCOMPLETE)?;
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query.to_owned())));
    Ok(Original { method, path: CanonicalPath::parse(path)?, query, by_nginx })
}

/// What the other proxy may tell its upstream of the caller.
fn identity((principal, permit): &Verified) -> Vec<(HeaderName, HeaderValue)> {
    let verified = if permit.is_some() { "request" } else { "credential" };
    let mut fields = vec![
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-portcullis-verified"), HeaderValue::from_static(verified)),
    ];
    let mut add = |name: &'static str, text: Option<&str>| {
        let value = text.filter(|text| !text.is_empty()).and_then(|text| HeaderValue::try_from(visible(text)).ok());
        fields.extend(value.map(|value| (HeaderName::from_static(name), value)));
    };
    add("x-portcullis-principal", Some(&principal.id()));
    add("x-portcullis-auth-method", Some(principal.method()));
    add("x-portcullis-model", permit.as_ref().and_then(Permit::model));
    let who = Who::of(principal);
    add("x-portcullis-user-id", who.user_id);
    add("x-portcullis-user-email", who.user_email);
    add("x-portcullis-team-id", permit.as_ref().and_then(Permit::team).map(|team| &*team.id).or(who.team_id));
    add("x-portcullis-organization-id", who.organization_id);
    add("x-portcullis-end-user-id", who.end_user_id);
    add("x-portcullis-key-alias", who.key_alias);
    add("x-portcullis-role", who.role);
    fields
}

/// The names that a principal goes by.
#[derive(Default)]
struct Who<'a> {
    user_id: Option<&'a str>,
    user_email: Option<&'a str>,
    team_id: Option<&'a str>,
    organization_id: Option<&'a str>,
    end_user_id: Option<&'a str>,
    key_alias: Option<&'a str>,
    role: Option<&'a str>,
}

impl<'a> Who<'a> {
    fn of(principal: &'a Principal) -> Self {
        match principal {
            Principal::Master => Self::default(),
            Principal::Key(key) => Self {
                user_id: key.user_id.as_deref(),
                team_id: key.team_id.as_deref(),
                organization_id: key.organization_id.as_deref(),
                key_alias: key.alias.as_deref(),
                ..Self::default()
            },
            Principal::Token(token) => Self {
                user_id: token.user_id.as_deref(),
                user_email: token.user_email.as_deref(),
                organization_id: token.organization_id.as_deref(),
                end_user_id: token.end_user_id.as_deref(),
                role: Some(token.role.name()),
                ..Self::default()
            },
            Principal::Custom(custom) => Self {
                user_id: custom.user_id.as_deref(),
                user_email: custom.user_email.as_deref(),
                team_id: custom.team_id.as_deref(),
                organization_id: custom.organization_id.as_deref(),
                end_user_id: custom.end_user_id.as_deref(),
                key_alias: custom.key_alias.as_deref(),
                role: Some(custom.role.name()),
            },
        }
    }
}

/// Percent-encoded where it is not visible ASCII, so that it cannot be read in two ways.
fn visible(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(fields: &[(&'static str, &str)], behind: Option<&str>) -> Result<Option<(String, bool)>, Denial> {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value);
        }
        let found = described(&headers, behind.map(|path| (&Method::PUT, path, Some("q=1"))))?;
        Ok(found.map(|found| {
            let query = found.query.unwrap_or_default();
            (format!("{} {} {query}", found.method, found.path.as_str()), found.by_nginx)
        }))
    }

    #[test]
    fn a_description_is_whole_and_the_only_one() {
        let (nginx, traefik) = ("x-original-uri", "x-forwarded-uri");
        let both =
            [("x-original-method", "POST"), (nginx, "/v1/a?b=c"), ("x-forwarded-method", "GET"), (traefik, "/x")];
        assert_eq!(ask(&both[..2], None), Ok(Some(("POST /v1/a b=c".to_owned(), true))));
        assert_eq!(ask(&both[2..], None), Ok(Some(("GET /x ".to_owned(), false))));
        assert_eq!(ask(&[], Some("/v1/a")), Ok(Some(("PUT /v1/a q=1".to_owned(), false))));
        assert_eq!(ask(&[], None), Ok(None));
        for (fields, behind) in [
            (&both[..], None),
            (&both[..2], Some("/v1/a")),
            (&both[1..2], None),
            (&both[..1], None),
            (&[both[0], both[1], both[1]], None),
            (&[("x-original-method", "G T"), both[1]], None),
            (&[both[0], (nginx, "/v1//a")], None),
            (&[both[0], (nginx, "/v1/%2e%2e/a")], None),
            (&[both[0], (nginx, "v1")], None),
        ] {
            assert!(ask(fields, behind).is_err(), "{fields:?} {behind:?}");
        }
    }

    #[test]
    fn names_are_passed_on_as_visible_text() {
        for (text, shown) in
            [("ann@example.com", "ann@example.com"), ("Ännchen 5%", "%C3%84nnchen%205%25"), ("a\nb", "a%0Ab")]
        {
            assert_eq!(visible(text), shown);
        }
    }
}
