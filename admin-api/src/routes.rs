//! The one table of the management API: path, required role, endpoint.
//!
//! Method, path and operation id of a row come from the endpoint itself, as does its part of the OpenAPI document, so
//! the four cannot drift apart. A row cannot be written without a role.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::authenticate::require;
use crate::body::{MAX_BODY, MAX_SIGNED_BODY};
use crate::problem::Problem;
use crate::reach::Standing;
use crate::{AdminState, audit, document, explain, health, keys, logout, models, spend, teams, tokens, users};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everybody; the credential is not looked at, and a body is not read.
    Open,
    /// Whoever brings a body that an issuer of tokens signed: the endpoint verifies it.
    Signed,
    /// Every principal; what they see is their own.
    AnyKey,
    /// Whoever has a role; users see what is their own.
    Own,
    /// The operator, and `internal_user` for what is their own or their team's.
    Manage,
    /// The operator, and who sees what the operator sees.
    Read,
    /// The operator.
    Admin,
}

impl Role {
    /// Most bytes of a body that are read for such a caller.
    #[must_use]
    pub fn max_body(self) -> usize {
        match self {
            Self::Open => 0,
            Self::Signed => MAX_SIGNED_BODY,
            Self::AnyKey | Self::Own | Self::Manage | Self::Read | Self::Admin => MAX_BODY,
        }
    }

    /// Whether the credential of the request decides.
    #[must_use]
    pub fn needs_credential(self) -> bool {
        !matches!(self, Self::Open | Self::Signed)
    }

    /// The table of who may call what, but for the rows that they reach there.
    pub(crate) fn is_open_to(self, standing: &Standing) -> bool {
        use Standing::{Holder, Operator, User, UserViewer, Viewer};
        match (self, standing) {
            (Self::Open | Self::Signed | Self::AnyKey, _) | (_, Operator) => true,
            (Self::Own, Viewer | User(_) | UserViewer(_)) | (Self::Read, Viewer) | (Self::Manage, User(_)) => true,
            (Self::Own, Holder)
            | (Self::Read, User(_) | UserViewer(_) | Holder)
            | (Self::Manage, Viewer | UserViewer(_) | Holder)
            | (Self::Admin, Viewer | User(_) | UserViewer(_) | Holder) => false,
        }
    }
}

/// One row of the table, as far as others need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method; `HEAD` is answered wherever `GET` is.
    pub method: Method,
    /// The path; a segment in braces stands for any one segment, `{*rest}` for any number.
    pub path: String,
    /// Who may call it.
    pub role: Role,
    /// Its name in the OpenAPI document.
    pub operation: String,
}

impl Route {
    /// Whether it is for a load balancer: answered on every listener, whatever is switched off.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.role == Role::Open && (self.path.starts_with("/health/") || matches!(self.path.as_str(), "/" | "/test"))
    }

    /// Whether this canonical path is the route's, whatever the method.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        for pattern in self.path.split('/') {
            match segments.next() {
                _ if pattern.starts_with("{*") => return true,
                Some(segment) if segment == pattern => {}
                Some(segment) if pattern.starts_with('{') && !segment.is_empty() => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

/// All routes of the API.
#[must_use]
pub fn table() -> Vec<Route> {
    let mut table: Vec<Route> = rows().iter().flat_map(described).collect();
    let page = |path: &str, operation: &str| Route {
        method: Method::GET,
        path: path.to_owned(),
        role: Role::Open,
        operation: operation.to_owned(),
    };
    table.push(page(DOCUMENT, "openapi_document"));
    table.push(page(PAGES, "interactive_document"));
    table.push(page(&format!("{PAGES}/{{*rest}}"), "interactive_document_file"));
    table
}

/// The management API as one axum router.
pub fn router(state: AdminState) -> Router {
    let mut api = OpenApiRouter::with_openapi(document::open_api());
    for Row { role, mut endpoint } in rows() {
        if role.needs_credential() {
            document::refusals(&mut endpoint.1, role);
            endpoint.2 = endpoint.2.route_layer(from_fn_with_state((state.clone(), role), require));
        }
        api = api.routes(endpoint);
    }
    let (router, document) = api.split_for_parts();
    router
        .merge(interactive(document))
        .fallback(|| async { Problem::Detail(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async { Problem::Detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(never_stored))
        .with_state(state)
}

const DOCUMENT: &str = "/openapi.json";
const PAGES: &str = "/docs";

struct Row {
    role: Role,
    endpoint: UtoipaMethodRouter<AdminState>,
}

fn rows() -> Vec<Row> {
    use Role::{Admin, AnyKey, Manage, Open, Own, Read, Signed};
    let row = |role, endpoint| Row { role, endpoint };
    vec![
        row(Open, routes!(health::front_page)),
        row(Open, routes!(health::test)),
        row(Open, routes!(health::liveliness)),
        row(Open, routes!(health::liveness)),
        row(Open, routes!(health::readiness)),
        row(AnyKey, routes!(health::health)),
        row(AnyKey, routes!(models::model_info)),
        row(AnyKey, routes!(models::model_info_v1)),
        row(AnyKey, routes!(models::model_group_info)),
        row(AnyKey, routes!(keys::info::key_info)),
        row(AnyKey, routes!(keys::info::key_health)),
        row(Own, routes!(keys::info::key_infos)),
        row(Own, routes!(keys::list::list_keys)),
        row(Read, routes!(keys::list::list_aliases)),
        row(Manage, routes!(keys::generate::generate_key)),
        row(Manage, routes!(keys::generate::generate_service_account_key)),
        row(Manage, routes!(keys::update::update_key)),
        row(Manage, routes!(keys::update::bulk_update_keys)),
        row(Manage, routes!(keys::block::block_key)),
        row(Admin, routes!(keys::block::unblock_key)),
        row(Manage, routes!(keys::delete::delete_keys)),
        row(Manage, routes!(keys::rotate::regenerate_key)),
        row(Manage, routes!(keys::rotate::regenerate_key_in_path)),
        row(Admin, routes!(teams::new::new_team)),
        row(Own, routes!(teams::info::team_info)),
        row(Own, routes!(teams::info::list_teams)),
        row(Own, routes!(teams::info::list_teams_v2)),
        row(Admin, routes!(teams::update::update_team)),
        row(Admin, routes!(teams::update::block_team)),
        row(Admin, routes!(teams::update::unblock_team)),
        row(Admin, routes!(teams::delete::delete_teams)),
        row(Manage, routes!(teams::members::add_member)),
        row(Manage, routes!(teams::members::update_member)),
        row(Manage, routes!(teams::members::delete_member)),
        row(Admin, routes!(users::new::new_user)),
        row(Own, routes!(users::info::user_info)),
        row(Read, routes!(users::info::list_users)),
        row(Admin, routes!(users::update::update_user)),
        row(Admin, routes!(users::delete::delete_users)),
        row(Admin, routes!(tokens::deny_token)),
        row(Admin, routes!(tokens::allow_token)),
        row(Read, routes!(tokens::list_denied)),
        row(Signed, routes!(logout::backchannel_logout)),
        row(Own, routes!(spend::spend_logs)),
        row(Read, routes!(spend::global_spend)),
        row(Read, routes!(spend::global_spend_logs)),
        row(Read, routes!(spend::global_spend_keys)),
        row(Read, routes!(spend::global_spend_models)),
        row(Read, routes!(spend::global_spend_teams)),
        row(Own, routes!(spend::daily_activity)),
        row(Admin, routes!(explain::explain)),
        row(Read, routes!(audit::list_audit)),
        row(Read, routes!(audit::show_audit)),
    ]
}

fn described(row: &Row) -> Vec<Route> {
    let role = row.role;
    let each = row.endpoint.1.paths.iter().flat_map(|(path, item)| {
        let operations = [(Method::GET, &item.get), (Method::POST, &item.post)];
        operations.map(|(method, operation)| (path.clone(), method, operation.clone()))
    });
    each.filter_map(|(path, method, operation)| {
        Some(Route { method, path, role, operation: operation?.operation_id.unwrap_or_default() })
    })
    .collect()
}

/// The document and the page that shows it, which runs its own scripts only.
fn interactive(document: OpenApi) -> Router<AdminState> {
    Router::from(SwaggerUi::new(PAGES).url(DOCUMENT, document)).layer(map_response(|mut response: Response| async {
        const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
            object-src 'none'; base-uri 'none'; frame-ancestors 'none'";
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        response
    }))
}

/// Nothing here is for a cache, and nothing is what its bytes may look like to a browser.
async fn never_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
