//! From a route to a connection: the peer, its time-outs, and the outgoing head with the provider's credential in it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, StatusCode, Uri};
use pingora::http::RequestHeader;
use pingora::prelude::HttpPeer;
use pingora::protocols::TcpKeepalive;
use pingora::{Error, ErrorType, OkOrErr, OrErr, Result};
use portcullis_filters::client_side::ChosenBy;
use portcullis_filters::credential::{CredentialSlots, strip_protocols};
use portcullis_filters::denial::Denial;
use portcullis_filters::operation::is_form;
use portcullis_filters::route::Route;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::{Host, Position, Url};

use super::context::RequestContext;

/// For a TCP connection.
const CONNECT: Duration = Duration::from_secs(5);
const CONNECT_WITH_TLS: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(60);
/// Reasoning models think for minutes before their first byte (OpenAI's SDK waits 600 s).
const READ: Duration = Duration::from_secs(600);
/// In a tunnel both sides may have nothing to say for a long time; one that is dead on one side ends at last.
pub(super) const TUNNEL_SILENCE: Duration = Duration::from_secs(3600);
/// Addresses of a name are held so long ...
const HELD: Duration = Duration::from_secs(30);
/// ... and a little longer where they were found lately.
const RECENT: Duration = Duration::from_secs(2);
/// Pooled connections are dropped before the providers' own idle limits.
const IDLE: Duration = Duration::from_secs(50);

/// Addresses of upstream hosts, looked up off the critical path of most requests.
pub struct Resolver {
    /// One look-up at a time for each name, whoever waits for it.
    names: moka::future::Cache<String, Arc<[SocketAddr]>>,
    /// What was found lately, by scheme and authority: reading it costs a tenth of reading `names`.
    recent: ArcSwap<HashMap<String, Recent>>,
    /// Room for look-ups of hosts that clients choose: each takes a thread for as long as a slow name server likes.
    for_clients: Arc<Semaphore>,
}

/// Look-ups of hosts that clients choose, at once.
const MOST_FOR_CLIENTS: usize = 64;

#[derive(Clone)]
struct Recent {
    addresses: Arc<[SocketAddr]>,
    until: Instant,
}

impl Resolver {
    /// An empty one; names are held for 30 s.
    #[must_use]
    pub fn new() -> Self {
        let names = moka::future::Cache::builder().max_capacity(10_000).time_to_live(HELD).build();
        Self { names, recent: ArcSwap::default(), for_clients: Arc::new(Semaphore::new(MOST_FOR_CLIENTS)) }
    }

    /// The `attempt`-th address of the base's host, IPv4 first, round and round.
    async fn address(&self, base: &Url, attempt: usize) -> Result<SocketAddr, String> {
        let port = base.port_or_known_default().ok_or("the base has no port")?;
        let host = match base.host().ok_or("the base has no host")? {
            Host::Ipv4(address) => return Ok((address, port).into()),
            Host::Ipv6(address) => return Ok((address, port).into()),
            Host::Domain(host) => host,
        };
        let name = &base[..Position::AfterPort];
        let now = Instant::now();
        let pick = |found: &[SocketAddr]| found.get(attempt % found.len().max(1)).copied();
        if let Some(recent) = self.recent.load().get(name).filter(|recent| recent.until > now) {
            return pick(&recent.addresses).ok_or_else(|| format!("{host} has no address"));
        }
        let found: Result<Arc<[SocketAddr]>, _> = self.names.try_get_with_by_ref(name, look_up_name(host, port)).await;
        let addresses = found.map_err(|error| format!("looking up {host}: {error}"))?;
        let address = pick(&addresses).ok_or_else(|| format!("{host} has no address"));
        self.remember(name, Recent { addresses, until: now + RECENT });
        address
    }

    /// The addresses of a host that a client chose. Not remembered: what is remembered is the operator's.
    ///
    /// # Errors
    /// [`Denial::ForbiddenDestination`] where there is none within 5 s; [`Denial::Overloaded`] while as many look-ups are
    /// under way as may be.
    pub(crate) async fn of_client(&self, base: Url) -> Result<Arc<[SocketAddr]>, Denial> {
        const NOT_FOUND: Denial = Denial::ForbiddenDestination("the host is not found");
        let port = base.port_or_known_default().ok_or(NOT_FOUND)?;
        let host = match base.host().ok_or(NOT_FOUND)? {
            Host::Ipv4(address) => return Ok([(address, port).into()].into()),
            Host::Ipv6(address) => return Ok([(address, port).into()].into()),
            Host::Domain(host) => host.to_owned(),
        };
        let busy = |_| Denial::Overloaded("as many hosts of clients are looked up as may be");
        let place = Arc::clone(&self.for_clients).try_acquire_owned().map_err(busy)?;
        // The place is taken for as long as the system looks, also where nobody waits any more.
        let looking = tokio::spawn(async move {
            let found = look_up_name(&host, port).await;
            drop(place);
            found
        });
        let found = timeout(CONNECT, looking).await;
        found.ok().and_then(Result::ok).and_then(Result::ok).ok_or(NOT_FOUND)
    }

    fn remember(&self, name: &str, recent: Recent) {
        let now = Instant::now();
        self.recent.rcu(|known| {
            let fresh = known.iter().filter(|(_, recent)| recent.until > now);
            let mut known: HashMap<_, _> = fresh.map(|(name, recent)| (name.clone(), recent.clone())).collect();
            known.insert(name.to_owned(), recent.clone());
            known
        });
    }
}

async fn look_up_name(host: &str, port: u16) -> std::io::Result<Arc<[SocketAddr]>> {
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found.into())
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

/// Where to connect on this route. `tunnel`: the request asks for a WebSocket.
pub(super) async fn peer(
    route: &Route,
    resolver: &Resolver,
    attempt: usize,
    tunnel: bool,
) -> Result<Box<HttpPeer>, String> {
    let upstream = &route.upstream;
    let base = &upstream.settings().base;
    let address = match route.chosen_by {
        ChosenBy::Operator => resolver.address(base, attempt).await?,
        ChosenBy::Client => route.pinned.ok_or("a client chose the host, and the guard has not seen it")?,
    };
    let host = base.host_str().unwrap_or_default();
    let mut peer = HttpPeer::new(address, base.scheme() == "https", host.to_owned());
    // Pingora's pool does not tell tenants apart: connections are never shared across hosts or credentials.
    peer.group_key = upstream.pool_group();
    let options = &mut peer.options;
    options.connection_timeout = Some(CONNECT);
    options.total_connection_timeout = Some(CONNECT_WITH_TLS);
    options.read_timeout = Some(if tunnel { TUNNEL_SILENCE } else { upstream.settings().timeout.unwrap_or(READ) });
    options.write_timeout = Some(WRITE);
    options.idle_timeout = Some(IDLE);
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    Ok(Box::new(peer))
}

/// Headers that never go on, beside those that may hold a credential.
const DROPPED: &[&str] = &[
    // Who is calling: what a client claims of itself is not passed on to a provider.
    "forwarded",
    "remote-user",
    "via",
    "x-client-ip",
    "x-forwarded-email",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-user",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    // By these, servers (Google's among them) take another method than the one that was allowed here.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // The framing is ours.
    "expect",
    "transfer-encoding",
    // May hold a credential among other things; what is left of it is put back.
    "sec-websocket-protocol",
];

const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

/// Makes the outgoing head: the request line, the length and the credential are ours, every known slot is emptied, and
/// all other fields stay as the client sent them. Pingora has taken out the hop-by-hop fields before.
pub(super) fn rewrite_head(
    outgoing: &mut RequestHeader,
    route: &Route,
    body_length: usize,
    slots: &CredentialSlots,
) -> Result<()> {
    let uri: Uri = route.target.path_and_query.parse().or_err(ErrorType::InternalError, "building the request line")?;
    outgoing.set_uri(uri);
    let had_length = outgoing.headers.contains_key(CONTENT_LENGTH) || outgoing.headers.contains_key(TRANSFER_ENCODING);
    let protocols = strip_protocols(&outgoing.headers);
    strip(outgoing, slots);
    if let Some(protocols) = protocols {
        outgoing.insert_header(SEC_WEBSOCKET_PROTOCOL, protocols)?;
    }
    // An upgrade request says that it has no body, or Pingora would announce a chunked one (see `replay`).
    if had_length || body_length > 0 || outgoing.headers.contains_key(UPGRADE) {
        set_length(outgoing, body_length)?;
    }
    let authority = route.upstream.authority().or_err(ErrorType::InternalError, "the base has no host")?;
    outgoing.insert_header(HOST, authority)?;
    // What an answer took is read as it passes.
    outgoing.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))?;
    if let Some(organization) = &route.upstream.settings().organization {
        outgoing.insert_header(ORGANIZATION, organization)?;
    }
    if let Some((name, value)) = &route.target.credential {
        outgoing.insert_header(name, value)?;
    }
    Ok(())
}

fn set_length(outgoing: &mut RequestHeader, length: usize) -> Result<()> {
    let length = HeaderValue::from(length);
    // Mostly it is what the client said.
    if !outgoing.headers.get_all(CONTENT_LENGTH).iter().eq([&length]) {
        outgoing.insert_header(CONTENT_LENGTH, length)?;
    }
    Ok(())
}

/// One pass over what was sent: it is far shorter than the list of what may not go on.
fn strip(outgoing: &mut RequestHeader, slots: &CredentialSlots) {
    let goes = |name: &&HeaderName| DROPPED.contains(&name.as_str()) || slots.headers().any(|slot| slot == *name);
    let names: Vec<HeaderName> = outgoing.headers.keys().filter(goes).cloned().collect();
    for name in &names {
        outgoing.remove_header(name);
    }
}

/// What was judged as JSON goes on as JSON, under whatever name it came.
pub(super) fn never_call_a_form(outgoing: &mut RequestHeader) -> Result<()> {
    let form = |value: &HeaderValue| value.to_str().map_or(true, is_form);
    if outgoing.headers.get(CONTENT_TYPE).is_some_and(form) {
        outgoing.insert_header(CONTENT_TYPE, HeaderValue::from_static("application/json"))?;
    }
    Ok(())
}

/// Whether an answer says that this deployment cannot serve just now, so that another may be asked.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// Whether a failure after the connection stood is the deployment's own, so that another may be asked.
pub(super) fn may_try_next(error: &Error) -> bool {
    matches!(
        error.etype(),
        ErrorType::ConnectionClosed | ErrorType::ReadTimedout | ErrorType::ReadError | ErrorType::InvalidHTTPHeader
    )
}

/// What the caller is told when no upstream answered.
pub(super) fn denial_of(error: &Error, ctx: &RequestContext) -> Denial {
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    if timed_out && ctx.route().is_some() {
        return Denial::UpstreamTimeout;
    }
    let model = ctx.admission.as_ref().and_then(|admission| admission.permit.model());
    Denial::UpstreamUnavailable { model: model.unwrap_or_default().to_owned(), cause: words(error) }
}

/// An error for the log. Pingora puts bytes of a head that it cannot read into its messages, and a provider may repeat
/// what it was sent; so only failures to connect, where nothing was sent yet, are told in full.
pub(super) fn words(error: &Error) -> String {
    use ErrorType as E;
    match error.etype() {
        E::ConnectTimedout
        | E::ConnectRefused
        | E::ConnectNoRoute
        | E::ConnectError
        | E::BindError
        | E::SocketError
        | E::TLSHandshakeFailure
        | E::TLSHandshakeTimedout
        | E::InvalidCert => error.to_string(),
        kind => format!("{} {}", error.esource().as_str(), kind.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;
    use portcullis_filters::endpoint::classify;
    use portcullis_filters::head::RequestHead;
    use portcullis_filters::operation::Operation;
    use portcullis_filters::path::CanonicalPath;
    use portcullis_filters::policy::{AccessGroups, authorize};
    use portcullis_filters::principal::Principal;
    use portcullis_filters::route::{DeploymentSettings, Provider, RouteTable};

    use super::*;

    /// A route to this host, which a client chose.
    fn chosen(base: &str) -> Route {
        let path = CanonicalPath::parse("/v1/chat/completions").unwrap();
        let headers = http::HeaderMap::new();
        let head = RequestHead {
            method: &Method::POST,
            path: &path,
            query: None,
            headers: &headers,
            source: None,
            client_certificate: None,
        };
        let body = Bytes::from_static(br#"{"model":"m","user_config":{}}"#);
        let (operation, _) = Operation::take(classify(&head).unwrap(), None, None, body).unwrap();
        let permit = authorize(Principal::Master, operation, &AccessGroups::default()).unwrap();
        let table = RouteTable::of_client(vec![DeploymentSettings {
            name: "m".to_owned(),
            provider: Provider::OpenAi,
            model: "m".to_owned(),
            base: base.parse().unwrap(),
            credential: Some("own".into()),
            api_version: None,
            organization: None,
            weight: 1,
            timeout: None,
            client_side: Default::default(),
            own_credential: Default::default(),
            pricing: Default::default(),
        }]);
        table.resolve(&permit, None, &[], std::time::SystemTime::now(), || 0).unwrap()
    }

    #[tokio::test]
    async fn clients_cannot_have_all_threads_look_up_names() {
        let resolver = Resolver::new();
        let base: Url = "https://localhost:8443/v1".parse().unwrap();
        assert!(resolver.of_client(base.clone()).await.is_ok());
        let all = Arc::clone(&resolver.for_clients).try_acquire_many_owned(MOST_FOR_CLIENTS as u32).unwrap();
        assert_eq!(resolver.of_client(base.clone()).await.unwrap_err().reason(), "overloaded");
        assert!(resolver.of_client("https://1.1.1.1/v1".parse().unwrap()).await.is_ok(), "a number needs no look-up");
        drop(all);
        assert!(resolver.of_client(base).await.is_ok());
    }

    /// The name resolves to the loopback interface by the time of the dial: what was judged is dialled, by the name.
    #[tokio::test]
    async fn what_the_guard_judged_is_dialled_and_nothing_else() {
        let mut route = chosen("https://localhost:8443/v1");
        let refused = peer(&route, &Resolver::new(), 0, false).await;
        assert!(refused.unwrap_err().contains("the guard"), "nothing is dialled before it has seen it");

        let judged: SocketAddr = "1.1.1.1:8443".parse().unwrap();
        let found = route.pin(&Default::default(), |_| std::future::ready(Ok([judged].into()))).await;
        assert_eq!(found, Ok(()));
        for attempt in 0..3 {
            let peer = peer(&route, &Resolver::new(), attempt, false).await.unwrap();
            assert_eq!((peer._address.to_string(), peer.sni.as_str()), (judged.to_string(), "localhost"));
        }
    }
}
