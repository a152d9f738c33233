//! LiteLLM's management paths on the data listener: the same router that the admin listener serves, called in process.
//!
//! The credential is checked here, before the body: on this listener nobody gets a byte of a body read without one, but for
//! the few bytes that are a credential themselves. What the principal may do there is for the router to say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use pingora::{Error, ErrorType, OrErr};
use pingora_proxy::Session;
use portcullis_admin_api::routes::{Role, Route};
use portcullis_admin_api::{Authenticated, ClientAddress, RequestId};
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::BodyKind;
use portcullis_filters::path::CanonicalPath;

use super::body::{self, BodyMemory, RequestBody};
use super::context::RequestContext;
use super::respond;
use crate::config::HttpSettings;

/// The router, and which paths are its own.
pub struct Management {
    router: Router,
    /// Paths of fixed segments: one look-up tells almost every other request apart.
    fixed: HashMap<String, Route>,
    /// Paths with a segment that stands for others, by their first segment.
    patterns: HashMap<String, Vec<Route>>,
    memory: BodyMemory,
}

impl Management {
    /// `routes` is the router's table.
    #[must_use]
    pub fn new(router: Router, routes: Vec<Route>, memory: BodyMemory) -> Self {
        let mut management = Self { router, fixed: HashMap::new(), patterns: HashMap::new(), memory };
        for route in routes {
            if route.path.contains('{') {
                management.patterns.entry(root(&route.path).to_owned()).or_default().push(route);
            } else {
                management.fixed.entry(route.path.clone()).or_insert(route);
            }
        }
        management
    }

    /// The role that this request's path asks for; `None`: the path is not of the management API, or not served here.
    pub(super) fn role(&self, ctx: &RequestContext) -> Option<Role> {
        let path = ctx.path.as_ref()?.as_str();
        let served = |route: &&Route| ctx.live.management_on_data || route.is_probe();
        let fixed = self.fixed.get(path).filter(served);
        let patterns = || self.patterns.get(root(path))?.iter().filter(served).find(|route| route.matches(path));
        fixed.or_else(patterns).map(|route| route.role)
    }

    /// Hands the request over and writes the answer.
    pub(super) async fn call(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        role: Role,
    ) -> Result<(), Box<Error>> {
        let body = match self.admit(session, ctx, role).await {
            Ok(body) => body,
            Err(denial) => {
                let answered = respond::denial(session, &denial, ctx).await;
                ctx.denial = Some(denial);
                return answered;
            }
        };
        let header = session.req_header();
        let mut request = Request::builder().method(header.method.clone()).uri(target(ctx, session));
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&header.headers);
        }
        let request = request.extension(ClientAddress(ctx.source)).extension(RequestId(ctx.id.clone()));
        let request = match ctx.principal() {
            Some(principal) => request.extension(Authenticated(principal.clone())),
            None => request,
        };
        let request = request.body(Body::from(body.bytes())).or_err(ErrorType::InternalError, "handing over")?;
        let Ok(answer) = tower::ServiceExt::oneshot(self.router.clone(), request).await;
        let (parts, content) = answer.into_parts();
        let content = content.collect().await.or_err(ErrorType::InternalError, "collecting the answer")?.to_bytes();
        let fields = parts.headers.iter().filter(|(name, _)| *name != http::header::CONTENT_LENGTH);
        let fields: Vec<_> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        respond::write(session, ctx, parts.status, &fields, content).await
    }

    async fn admit(&self, session: &mut Session, ctx: &mut RequestContext, role: Role) -> Result<RequestBody, Denial> {
        if role != Role::Open {
            let live = Arc::clone(&ctx.live);
            let head = ctx.head(session)?;
            live.open_paths.check(head.path)?;
            live.open_sources.check(head.source)?;
            if role.needs_credential() {
                let principal = live.gate.authenticate(&head, SystemTime::now()).await?;
                ctx.note_principal(&principal);
            }
        }
        let kind = if role == Role::Open { BodyKind::None } else { BodyKind::Json };
        let http = HttpSettings { max_body_bytes: role.max_body() as u64, ..ctx.live.http.clone() };
        body::read(session, kind, &http, &self.memory).await
    }
}

fn root(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// The router sees the path that the role was decided by, not another spelling of it.
fn target(ctx: &RequestContext, session: &Session) -> String {
    let path = ctx.path.as_ref().map_or("/", CanonicalPath::as_str);
    match ctx.query(session) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
