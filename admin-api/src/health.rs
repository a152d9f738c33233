//! Health: is the process alive, is its store there, which deployments work.

use axum::extract::State;
use axum::response::Html;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;

/// One deployment of a model, as far as this process has seen it work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The provider's model, such as `openai/gpt-4o`.
    pub model: String,
    /// Tells deployments of one model apart.
    pub id: String,
    /// Whether it is used now, rather than cooling down after failures.
    pub healthy: bool,
}

/// The front page: load balancers probe it where nobody told them better, and people open it first.
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn front_page() -> Html<&'static str> {
    Html(FRONT_PAGE)
}

const FRONT_PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Portcullis</title>\n\
    <h1>Portcullis</h1>\n<p>The gateway is running. <a href=\"/docs/\">Management API</a>, \
    <a href=\"/health/readiness\">readiness</a>.</p>\n</html>\n";

/// LiteLLM's first probe, which old deployments still ask.
#[utoipa::path(get, path = "/test", tag = "health", responses((status = 200)))]
pub(crate) async fn test() -> Json<Value> {
    Json(json!({ "route": "/test" }))
}

/// Answers while the process runs.
#[utoipa::path(get, path = "/health/liveliness", tag = "health", security(()),
    responses((status = 200, body = String)))]
pub(crate) async fn liveliness() -> Json<&'static str> {
    Json("I'm alive!")
}

/// The same under the name that Kubernetes uses.
#[utoipa::path(get, path = "/health/liveness", tag = "health", security(()),
    responses((status = 200, body = String)))]
pub(crate) async fn liveness() -> Json<&'static str> {
    Json("I'm alive!")
}

/// Says whether the store answers. Always 200: known keys, the master key and JWTs work without it.
#[utoipa::path(get, path = "/health/readiness", tag = "health", security(()), responses((status = 200, description =
    "`db` is `connected` or `Not connected`")))]
pub(crate) async fn readiness(State(state): State<AdminState>) -> Json<Value> {
    let db = if state.store.ready().await.is_ok() { "connected" } else { "Not connected" };
    Json(json!({ "status": "healthy", "db": db }))
}

/// Says which deployments are in use. No provider is called for it, and only the operator sees their names.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description =
    "Counts for every key; the lists for the operator only")))]
pub(crate) async fn health(State(state): State<AdminState>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let (healthy, unhealthy): (Vec<_>, Vec<_>) = (state.deployments)().into_iter().partition(|one| one.healthy);
    let list = |deployments: &[Deployment]| -> Vec<Value> {
        let shown = deployments.iter().filter(|_| caller.principal.is_admin());
        shown.map(|one| json!({ "model": one.model, "model_id": one.id })).collect()
    };
    Json(json!({
        "healthy_endpoints": list(&healthy),
        "unhealthy_endpoints": list(&unhealthy),
        "healthy_count": healthy.len(),
        "unhealthy_count": unhealthy.len(),
    }))
}
