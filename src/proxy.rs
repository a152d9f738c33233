//! The request path: Pingora's phases in the order in which they happen. [`Gateway::admit`] is the story; read it first.
//!
//! `request_filter` calls `admit` and keeps the [`Admission`] or answers the denial. Everything after it reads the
//! admission: which upstream, with which credential, with which body. A request that has no admission has no upstream,
//! so nothing that was not decided here can be forwarded.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::{Error, ErrorSource, ErrorType, HttpPeer};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use portcullis_admin_api::models::ServedModel;
use portcullis_filters::authn::Gate;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{self, Call};
use portcullis_filters::limits::Limits;
use portcullis_filters::operation::StreamUsage;
use portcullis_filters::path::OpenPaths;
use portcullis_filters::policy::{self, AccessGroups};
use portcullis_filters::route::{Provider, RouteTable};
use portcullis_filters::source::OpenSources;

use crate::config::{ClientSideSettings, HttpSettings};
use crate::telemetry::Telemetry;
use crate::usage::Journal;

pub mod body;
pub mod bound;
pub mod connection;
mod context;
pub mod management;
mod mock;
mod models;
mod replay;
mod respond;
mod strict;
pub mod upstream;
pub mod usage;
mod verify;

use body::{BodyMemory, RequestBody};
pub use context::{Admission, RequestContext};
use upstream::Resolver;

/// What one configuration decides by. Swapped as a whole at a reload; each request sees one of them from start to end.
pub struct Live {
    /// Which paths are served to anybody at all.
    pub open_paths: OpenPaths,
    /// The addresses to which anything is served.
    pub open_sources: OpenSources,
    /// Slots and authenticators.
    pub gate: Arc<Gate>,
    /// As `gate`, for explanations: nothing that it is asked counts against anybody.
    pub explaining: Gate,
    /// Which models belong to which access group.
    pub groups: AccessGroups,
    /// Every model that is served, and by whom.
    pub routes: RouteTable,
    /// What clients may bring of their own.
    pub client_side: ClientSideSettings,
    /// The same models as the management API shows them.
    pub served: Arc<[ServedModel]>,
    /// Whether streams are asked for their usage.
    pub asks_streams: bool,
    /// Bounds of the HTTP layer.
    pub http: HttpSettings,
    /// Whether LiteLLM's management paths are served on the data listener too.
    pub management_on_data: bool,
}

/// The proxy. One for the process; everything that changes at a reload is behind `live`.
pub struct Gateway {
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
    /// The management API, called in process for its paths on this listener.
    pub management: management::Management,
    /// Where the one event of each request goes.
    pub telemetry: Arc<Telemetry>,
    /// Addresses of upstream hosts.
    pub resolver: Arc<Resolver>,
    /// Bounds the bytes of all bodies held at once.
    pub body_memory: BodyMemory,
    /// What is counted of principals with limits.
    pub limits: Limits,
    /// Where what calls took is noted until the store has it.
    pub journal: Arc<Journal>,
    /// Requests between head and last byte; a graceful stop waits for zero.
    pub active: Arc<AtomicUsize>,
}

impl Gateway {
    /// The whole decision: from the head of a request to an upstream, or why not.
    ///
    /// The order is the policy. The body is read only for a principal, an upstream is chosen only for a permit, and a
    /// step that cannot say yes says no.
    async fn admit(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Admission, Denial> {
        let now = SystemTime::now();
        let live = Arc::clone(&ctx.live);
        let head = ctx.head(session)?; // pingora's header as plain http types
        let endpoint = endpoint::classify(&head)?; // which API call; a path of none is 404
        live.open_paths.check(head.path)?; // the operator may have closed it to everybody
        live.open_sources.check(head.source)?; // or everything to this address
        let early = match live.gate.authenticators.read_body() {
            true => Some(body::read(session, endpoint.body, &live.http, &self.body_memory).await?), // for their own code
            false => None,
        };
        let head = ctx.head(session)?;
        let credential = live.gate.slots.extract(&head); // slots, in priority order and by shape
        let seen = early.as_ref().map(RequestBody::bytes);
        let principal = live.gate.authenticators.authenticate(&head, credential, seen.as_ref(), now).await?;
        ctx.note_principal(&principal);
        let mut body = match early {
            Some(body) => body,
            None => body::read(session, endpoint.body, &live.http, &self.body_memory).await?,
        };
        let operation = body::operation(session, endpoint, &mut body)?; // model, streamed or not
        ctx.note_operation(&operation);
        let permit = policy::authorize(principal, operation, &live.groups)?; // the only maker of a Permit
        let estimate = || usage::estimate(&live, &permit, &body.bytes());
        let reservation = self.limits.reserve(&permit, estimate, now).await?; // given back on drop
        let mut route = match permit.operation().endpoint.call {
            Call::ListModels | Call::RetrieveModel => None, // answered here, from the permit
            _ => Some(live.route(&permit, &ctx.head(session)?, &[], now)?),
        };
        if let Some(route) = &mut route {
            route.pin(&live.client_side.outbound, |base| self.resolver.of_client(base)).await?; // where a client chose the host
        }
        let mut names = permit.operation().names.clone();
        let asks = route.as_ref().is_some_and(|route| usage::must_ask(&live, route));
        let hides_usage = asks && permit.operation().stream_usage != StreamUsage::AsItIs;
        if hides_usage {
            body.replace(|body| permit.operation().stream_usage.ask(body, &mut names));
        }
        Ok(Admission { permit, reservation, route, body, names, hides_usage })
    }

    /// Answers what needs no upstream. `true`: the answer is written.
    async fn answer_here(&self, session: &mut Session, ctx: &RequestContext) -> Result<bool, Box<Error>> {
        let Some(admission) = &ctx.admission else { return Ok(false) };
        match &admission.route {
            None => models::respond(session, &admission.permit, ctx).await.map(|()| true),
            Some(route) if route.upstream.settings().provider == Provider::Mock => {
                mock::respond(session, admission, ctx).await.map(|()| true)
            }
            Some(_) => Ok(false),
        }
    }

    async fn refuse(&self, session: &mut Session, ctx: &mut RequestContext, denial: Denial) -> Result<(), Box<Error>> {
        let answered = respond::denial(session, &denial, ctx).await;
        ctx.denial = Some(denial);
        answered
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it from one future into the next.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Box<RequestContext> {
        Box::new(RequestContext::new(self.live.load_full(), &self.active))
    }

    // The default adds compression, switched off: a step of each request that does nothing.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// The strict HTTP layer: what two parsers could read differently goes no further.
    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<(), Box<Error>> {
        connection::head_is_complete();
        strict::set_timeouts(session, &ctx.live.http);
        match strict::check(session, &ctx.live.http) {
            Ok(path) => ctx.begin(session, path),
            Err(denial) => ctx.malformed = Some(denial),
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool, Box<Error>> {
        if let Some(denial) = ctx.malformed.take() {
            return self.refuse(session, ctx, denial).await.map(|()| true);
        }
        if verify::is_asked(ctx) {
            return verify::respond(self, session, ctx).await.map(|()| true);
        }
        if session.req_header().method == Method::OPTIONS {
            return respond::preflight(session, ctx).await.map(|()| true);
        }
        if let Some(role) = self.management.role(ctx) {
            return self.management.call(session, ctx, role).await.map(|()| true);
        }
        match self.admit(session, ctx).await {
            Ok(admission) => ctx.admission = Some(admission),
            Err(denial) => return self.refuse(session, ctx, denial).await.map(|()| true),
        }
        self.answer_here(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>, Box<Error>> {
        let route = ctx.route().ok_or_else(|| Error::explain(ErrorType::InternalError, "no admission"))?;
        let peer = upstream::peer(route, &self.resolver, ctx.tried.len(), session.is_upgrade_req()).await;
        peer.map_err(|why| {
            // A name that does not resolve is a failure to connect like any other.
            ctx.route_failed();
            let mut error = Error::explain(ErrorType::ConnectError, why);
            error.set_retry(ctx.next_route(session));
            error
        })
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        outgoing: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<(), Box<Error>> {
        let no_admission = || Error::explain(ErrorType::InternalError, "no admission");
        let admission = ctx.admission.as_mut().ok_or_else(no_admission)?;
        let body = admission.outgoing_body();
        let route = admission.route.as_ref().ok_or_else(no_admission)?;
        upstream::rewrite_head(outgoing, route, body.len(), &ctx.live.gate.slots)?;
        if admission.permit.operation().is_json() {
            upstream::never_call_a_form(outgoing)?;
        }
        ctx.outgoing_body = body;
        Ok(())
    }

    /// Pingora offers the tail of the body that was read in `admit`; the whole body goes out in its place, once for each
    /// upstream that is tried.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        chunk: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<(), Box<Error>> {
        if !session.was_upgraded() && !ctx.outgoing_body.is_empty() {
            *chunk = Some(std::mem::take(&mut ctx.outgoing_body));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<(), Box<Error>> {
        ctx.note_upstream_answer(answer.status.as_u16());
        if upstream::is_failure(answer.status) {
            ctx.route_failed();
            if ctx.next_route(session) {
                let mut error =
                    Error::explain(ErrorType::HTTPStatus(answer.status.as_u16()), "another deployment is tried");
                error.set_retry(true);
                return Err(error);
            }
        } else if let Some(route) = ctx.route() {
            route.upstream.succeeded();
        }
        answer.remove_header(&header::SET_COOKIE);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<(), Box<Error>> {
        ctx.note_first_byte();
        usage::begin(session, answer, ctx)?;
        respond::tell_limits(answer, ctx)?;
        respond::mark(session, answer, ctx)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        chunk: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>, Box<Error>> {
        usage::observe(self, chunk, end_of_stream, ctx);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        ctx.route_failed();
        error.set_retry(ctx.next_route(session));
        error
    }

    /// After the connection stood, before the first byte of an answer. A status that sends us to the next deployment keeps
    /// its mark; a pooled connection that the provider had just closed is tried again; a provider that broke off or timed
    /// out is left for the next deployment. Once an answer has begun nothing is tried again.
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        let answered = session.response_written().is_some();
        if answered || session.was_upgraded() {
            error.set_retry(false);
        } else {
            error.retry.decide_reuse(client_reused);
            if !error.retry() && *error.esource() == ErrorSource::Upstream && upstream::may_try_next(&error) {
                ctx.route_failed();
                error.set_retry(ctx.next_route(session));
            }
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        ctx.failure = Some(upstream::words(error));
        let gone = *error.esource() == ErrorSource::Downstream;
        if gone || session.response_written().is_some() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let denial = upstream::denial_of(error, ctx);
        // Pingora closes after a failure whatever is returned here; the answer must say so.
        session.set_keepalive(None);
        let written = self.refuse(session, ctx, denial).await;
        let error_code =
            session.response_written().filter(|_| written.is_ok()).map_or(0, |answer| answer.status.as_u16());
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        usage::settle(self, false, ctx);
        self.telemetry.request(&ctx.event(session, error));
    }

    // Pingora's own log lines repeat request lines, query included; what happened is in our event.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: pingora_proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
