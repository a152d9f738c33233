//! What is known of one request: Pingora's per-request context, filled in phase by phase and logged at the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use pingora::prelude::Error;
use pingora_proxy::Session;
use portcullis_filters::authn::jwt::proof::certificate::thumbprint_from_header;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{Dialect, dialect_of};
use portcullis_filters::head::RequestHead;
use portcullis_filters::limits::Reservation;
use portcullis_filters::operation::{ModelNames, Operation};
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::policy::Permit;
use portcullis_filters::principal::Principal;
use portcullis_filters::route::{Route, Upstream};

use super::Live;
use super::body::RequestBody;
use super::usage::{Metering, Taken};
use crate::config::HttpSettings;
use crate::telemetry::{RequestEvent, request_id};

/// Everything that was decided before an upstream is contacted. Made by `admit` alone.
pub struct Admission {
    /// Proof that policy allowed it.
    pub permit: Permit,
    /// What was taken out of the principal's limits, until the request ends.
    pub reservation: Reservation,
    /// The upstream in charge; replaced when it fails before the first byte. `None`: answered here.
    pub route: Option<Route>,
    /// The body: as received, or as the last upstream that was tried calls the model.
    pub body: RequestBody,
    /// Where the body names the model.
    pub names: ModelNames,
    /// Whether the stream was asked for a usage that its caller did not ask for.
    pub hides_usage: bool,
}

impl Admission {
    /// The body under the name that the upstream in charge has for the model; the received bytes where the names agree.
    pub(super) fn outgoing_body(&mut self) -> Bytes {
        let route = self.route.as_ref().filter(|route| !route.model.is_empty() && route.target.model_in_body);
        if let Some(route) = route
            && !self.body.is_empty()
        {
            self.body.replace(|body| self.names.rename(body, &route.model));
        }
        self.body.bytes()
    }
}

/// One request. A fresh one admits nobody: without an `admission` there is no upstream.
pub struct RequestContext {
    /// The configuration that this request sees, whatever is reloaded meanwhile.
    pub live: Arc<Live>,
    /// Names the request in our log and in the answer.
    pub id: String,
    pub(super) path: Option<CanonicalPath>,
    pub(super) dialect: Dialect,
    pub(super) source: Option<IpAddr>,
    /// The thumbprint of the client's certificate, as a trusted proxy passed it on.
    pub(super) client_certificate: Option<[u8; 32]>,
    /// Whether the connection is one of the operator's own proxies'.
    pub(super) by_trusted_proxy: bool,
    /// What the strict HTTP layer found; answered in `request_filter`.
    pub(super) malformed: Option<Denial>,
    pub(super) admission: Option<Admission>,
    /// The body for the upstream that is being tried.
    pub(super) outgoing_body: Bytes,
    /// Deployments that failed.
    pub(super) tried: Vec<Arc<Upstream>>,
    pub(super) denial: Option<Denial>,
    /// The reading of the answer, once there is one that takes anything.
    pub(super) metering: Option<Metering>,
    /// What it took, once that is settled.
    pub(super) taken: Option<Taken>,
    /// Pingora's words for what went wrong on the way; for the log.
    pub(super) failure: Option<String>,
    principal: Option<Principal>,
    model: Option<Arc<str>>,
    stream: bool,
    started: Instant,
    first_byte: Option<Instant>,
    upstream_status: Option<u16>,
    _active: Active,
}

impl RequestContext {
    pub(super) fn new(live: Arc<Live>, active: &Arc<AtomicUsize>) -> Self {
        Self {
            live,
            id: request_id(),
            path: None,
            dialect: Dialect::OpenAi,
            source: None,
            client_certificate: None,
            by_trusted_proxy: false,
            malformed: None,
            admission: None,
            outgoing_body: Bytes::new(),
            tried: Vec::new(),
            denial: None,
            metering: None,
            taken: None,
            failure: None,
            principal: None,
            model: None,
            stream: false,
            started: Instant::now(),
            first_byte: None,
            upstream_status: None,
            _active: Active::new(active),
        }
    }

    /// Called once the head has passed the strict layer.
    pub(super) fn begin(&mut self, session: &Session, path: CanonicalPath) {
        let header = session.req_header();
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        self.dialect = dialect_of(path.as_str(), &header.headers);
        self.source = peer.map(|peer| source_of(peer, &header.headers, &self.live.http));
        self.by_trusted_proxy = peer.is_some_and(|peer| is_trusted(peer, &self.live.http));
        let certificate = self.live.gate.slots.certificate.as_ref();
        self.client_certificate =
            certificate.zip(peer).and_then(|(name, peer)| certificate_of(peer, &header.headers, name, &self.live.http));
        self.path = Some(path);
    }

    /// The head as plain `http` types.
    pub(super) fn head<'a>(&'a self, session: &'a Session) -> Result<RequestHead<'a>, Denial> {
        let header = session.req_header();
        let path = self.path.as_ref().ok_or(Denial::UnknownRoute)?;
        Ok(RequestHead {
            method: &header.method,
            path,
            query: header.uri.query(),
            headers: &header.headers,
            source: self.source,
            client_certificate: self.client_certificate,
        })
    }

    pub(super) fn query<'a>(&self, session: &'a Session) -> Option<&'a str> {
        session.req_header().uri.query()
    }

    pub(super) fn route(&self) -> Option<&Route> {
        self.admission.as_ref()?.route.as_ref()
    }

    /// Notes that the upstream in charge failed before the first byte.
    pub(super) fn route_failed(&mut self) {
        let Some(upstream) = self.route().map(|route| Arc::clone(&route.upstream)) else { return };
        self.live.routes.failed(&upstream, SystemTime::now());
        self.tried.push(upstream);
    }

    /// Puts the next deployment in charge. `false`: there is none, or as many were tried as may be.
    pub(super) fn next_route(&mut self, session: &Session) -> bool {
        if self.tried.len() >= self.live.routes.attempts() {
            return false;
        }
        let Some(admission) = &self.admission else { return false };
        if admission.route.as_ref().is_none_or(|route| route.private) {
            return false;
        }
        let next = self
            .head(session)
            .and_then(|head| self.live.route(&admission.permit, &head, &self.tried, SystemTime::now()));
        let (Some(admission), Ok(route)) = (&mut self.admission, next) else { return false };
        admission.route = Some(route);
        true
    }

    pub(super) fn note_principal(&mut self, principal: &Principal) {
        self.principal = Some(principal.clone());
    }

    pub(super) fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    pub(super) fn note_operation(&mut self, operation: &Operation) {
        self.model.clone_from(&operation.model);
        self.stream = operation.stream;
    }

    pub(super) fn note_upstream_answer(&mut self, status: u16) {
        self.upstream_status = Some(status);
    }

    pub(super) fn note_first_byte(&mut self) {
        self.first_byte.get_or_insert_with(Instant::now);
    }

    /// The one event of this request. Holds no credential, no query and no body.
    pub(super) fn event<'a>(&'a self, session: &'a Session, error: Option<&Error>) -> RequestEvent<'a> {
        let principal = self.principal.as_ref();
        RequestEvent {
            id: &self.id,
            method: session.req_header().method.as_str(),
            path: self.path.as_ref().map(CanonicalPath::as_str),
            source: self.source,
            status: session.response_written().map(|answer| answer.status.as_u16()),
            principal: principal.map(Principal::id),
            auth_method: principal.map(Principal::method),
            key_alias: principal.and_then(Principal::key).and_then(|key| key.alias.as_deref()),
            model: self.model.as_deref(),
            stream: self.stream,
            upstream: self.route().map(|route| route.upstream.name()),
            upstream_status: self.upstream_status,
            attempts: self.tried.len() + usize::from(self.upstream_status.is_some()),
            taken: self.taken,
            denial: self.denial.as_ref().map(Denial::reason),
            cause: self.denial.as_ref().map(Denial::cause),
            failure: self.failure.clone().or_else(|| error.map(|error| error.etype().as_str().to_owned())),
            bytes_sent: session.body_bytes_sent(),
            first_byte: self.first_byte.map(|at| at - self.started),
            duration: self.started.elapsed(),
        }
    }
}

/// Counts a request from its head to its last byte, however it ends.
struct Active(Arc<AtomicUsize>);

impl Active {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is calling, seen through the operator's own proxies: the right-most address of `X-Forwarded-For` that is none of
/// them. A peer that is not trusted is itself the source, whatever it claims.
fn source_of(peer: IpAddr, headers: &HeaderMap, http: &HttpSettings) -> IpAddr {
    let trusted = |address| is_trusted(address, http);
    let mut source = peer;
    if !trusted(peer) {
        return peer;
    }
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let mut hops = lines.iter().flat_map(|line| line.split(',')).collect::<Vec<_>>().into_iter().rev();
    while trusted(source) {
        let Some(Ok(hop)) = hops.next().map(|hop| hop.trim().parse::<IpAddr>()) else { break };
        source = hop;
    }
    source
}

/// The certificate that the client showed to the operator's own proxy. Two values are none: one of them may be the
/// client's own word.
fn certificate_of(peer: IpAddr, headers: &HeaderMap, name: &HeaderName, http: &HttpSettings) -> Option<[u8; 32]> {
    let mut values = headers.get_all(name).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    if is_trusted(peer, http) { thumbprint_from_header(value) } else { None }
}

fn is_trusted(address: IpAddr, http: &HttpSettings) -> bool {
    http.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_counts_only_from_a_trusted_proxy_and_only_one() {
        let http = HttpSettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            ..HttpSettings::for_tests()
        };
        let name = HeaderName::from_static("client-cert");
        let (one, other) = (":MAMCAQE=:", ":MAMCAQI=:");
        for (peer, values, counts) in [
            ("10.0.0.1", &[one][..], true),
            ("::ffff:10.0.0.1", &[one], true),
            ("192.0.2.9", &[one], false),
            ("10.0.0.1", &[one, other], false),
            ("10.0.0.1", &[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, value.parse().expect("a header value"));
            }
            let peer = peer.parse().expect("an address");
            assert_eq!(certificate_of(peer, &headers, &name, &http).is_some(), counts, "{peer} {values:?}");
        }
    }

    #[test]
    fn forwarded_addresses_count_only_behind_trusted_proxies() {
        let http = HttpSettings {
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            ..HttpSettings::for_tests()
        };
        for (peer, forwarded, source) in [
            ("192.0.2.9", "198.51.100.1", "192.0.2.9"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.7, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "203.0.113.7, nonsense", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().expect("a header value"));
            let peer = peer.parse().expect("an address");
            assert_eq!(source_of(peer, &headers, &http).to_string(), source, "{peer} {forwarded}");
        }
    }
}
