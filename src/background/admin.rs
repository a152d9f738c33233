//! The management listener: the admin API's router and the metrics page, on the control runtime.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use portcullis_admin_api::{ClientAddress, RequestId};
use portcullis_filters::authn::Gate;
use portcullis_filters::denial::Denial;
use portcullis_filters::head::RequestHead;
use portcullis_filters::path::CanonicalPath;
use tokio::sync::watch;

use crate::telemetry::{Telemetry, request_id};

/// What the metrics page needs.
#[derive(Clone)]
pub struct Metrics {
    /// Whose page it is.
    pub telemetry: Arc<Telemetry>,
    /// Who may read it.
    pub gate: Arc<ArcSwap<Gate>>,
    /// Whether a credential is asked for at all (`require_auth_for_metrics_endpoint`).
    pub need_key: bool,
}

/// Takes the address, before anything is served.
///
/// # Errors
/// It is taken, or is none.
pub fn bind(address: &str) -> Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stopped` says so.
pub async fn serve(listener: std::net::TcpListener, api: Router, metrics: Metrics, mut stopped: watch::Receiver<bool>) {
    let served = async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let page = Router::new().route("/metrics", get(page)).with_state(metrics);
        let router = page.merge(api).layer(from_fn(introduce)).into_make_service_with_connect_info::<SocketAddr>();
        let stopped = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        axum::serve(listener, router).with_graceful_shutdown(stopped).await
    };
    if let Err(error) = served.await {
        tracing::error!(cause = %error, "the management listener has ended");
    }
}

/// Tells the router who is asking, and gives the request its id. Forwarded headers decide nothing on this listener.
async fn introduce(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    let id = request_id();
    request.extensions_mut().insert(ClientAddress(Some(peer.ip())));
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-litellm-call-id", id);
    }
    response
}

/// `GET /metrics`. Its refusals are plain text, as scrapers expect.
async fn page(State(metrics): State<Metrics>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Parts) -> Response {
    if metrics.need_key
        && let Err(denial) = authenticate(&metrics.gate, &request, peer.ip()).await
    {
        let unavailable =
            matches!(denial, Denial::StoreUnavailable(_) | Denial::IssuerUnavailable(_) | Denial::CustomUnavailable(_));
        let status = if unavailable { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED };
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"portcullis\"")];
        return (status, challenge, "Unauthorized access to metrics endpoint.\n").into_response();
    }
    match metrics.telemetry.page() {
        Ok(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response(),
        Err(error) => {
            tracing::error!(cause = %error, "the metrics page cannot be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn authenticate(gate: &ArcSwap<Gate>, request: &Parts, source: IpAddr) -> Result<(), Denial> {
    let path = CanonicalPath::parse(request.uri.path())?;
    let head = RequestHead {
        method: &request.method,
        path: &path,
        query: request.uri.query(),
        headers: &request.headers,
        source: Some(source),
        client_certificate: None,
    };
    let gate = gate.load_full();
    gate.authenticate(&head, SystemTime::now()).await.map(|_| ())
}
