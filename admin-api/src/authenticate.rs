//! Who is calling, and whether the route is open to them: decided before a byte of the body is read.
//!
//! The decision on the credential is the gate's, the same as on the data listener. What is added here is the role that
//! the route table asks for, and a closed door: a management route that nobody assigned a role does not exist.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use portcullis_filters::answer::{Answer, answer};
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::Dialect;
use portcullis_filters::head::RequestHead;
use portcullis_filters::path::CanonicalPath;
use portcullis_filters::principal::Principal;

use crate::keys::OPERATOR;
use crate::problem::Problem;
use crate::reach::Standing;
use crate::routes::Role;
use crate::{AdminState, Authenticated, ClientAddress, RequestId};

/// Longest `litellm-changed-by` that is kept, in bytes.
const MAX_CHANGED_BY: usize = 256;

/// A caller that was let in, and what the audit log wants to know of the request. A request extension.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) standing: Standing,
    pub(crate) source: Option<IpAddr>,
    pub(crate) request_id: Option<String>,
    pub(crate) changed_by: Option<String>,
}

impl Caller {
    /// The user that rows name as their maker; LiteLLM's word for the operator.
    pub(crate) fn user_id(&self) -> String {
        let user_id = match &self.principal {
            Principal::Master => return OPERATOR.to_owned(),
            Principal::Key(key) => key.user_id.as_deref(),
            Principal::Token(token) => token.user_id.as_deref(),
            Principal::Custom(custom) => custom.user_id.as_deref(),
        };
        user_id.map_or_else(|| self.principal.id(), str::to_owned)
    }
}

/// The layer of every route that is not open.
pub(crate) async fn require(State((state, role)): State<(AdminState, Role)>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admit(&state, role, &parts).await {
        Ok(caller) => {
            parts.extensions.insert(caller);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn admit(state: &AdminState, role: Role, request: &Parts) -> Result<Caller, Problem> {
    let path = CanonicalPath::parse(request.uri.path()).map_err(Problem::Denied)?;
    let source = request.extensions.get::<ClientAddress>().and_then(|address| address.0);
    let head = RequestHead {
        method: &request.method,
        path: &path,
        query: request.uri.query(),
        headers: &request.headers,
        source,
        client_certificate: None,
    };
    let principal = match request.extensions.get() {
        Some(Authenticated(principal)) => principal.clone(),
        None => {
            let gate = Arc::clone(&state.gate.load());
            gate.authenticate(&head, SystemTime::now()).await.map_err(Problem::Denied)?
        }
    };
    let standing = Standing::of(&principal);
    if !role.is_open_to(&standing) {
        return Err(operator_only(path.as_str()));
    }
    if !principal.allows_management_route(path.as_str()) {
        return Err(Problem::Denied(Denial::RouteForbidden));
    }
    Ok(Caller {
        principal,
        standing,
        source,
        request_id: request.extensions.get::<RequestId>().map(|id| id.0.clone()),
        changed_by: changed_by(&request.headers),
    })
}

fn changed_by(headers: &HeaderMap) -> Option<String> {
    let claimed = headers.get("litellm-changed-by")?.to_str().ok()?.trim();
    (!claimed.is_empty() && claimed.len() <= MAX_CHANGED_BY).then(|| claimed.to_owned())
}

/// LiteLLM says 401 here; but the credential is good, and SDKs answer a 401 by asking the user for another one.
fn operator_only(path: &str) -> Problem {
    let message =
        format!("Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route={path}");
    Problem::Refused(StatusCode::FORBIDDEN, "auth_error", message.into(), None)
}

/// A denial as the decision's own table words it.
pub(crate) fn refuse(denial: &Denial) -> Response {
    let Answer { status, headers, body, .. } = answer(denial, Dialect::OpenAi);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}
