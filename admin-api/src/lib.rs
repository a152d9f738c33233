//! The management API: an axum router that knows neither SQL nor Pingora.
//!
//! Everything is behind [`router`]. The shell serves it on the admin listener and, for LiteLLM's paths, calls it in
//! process from the data listener; [`routes::table`] tells which paths those are. The shell puts [`ClientAddress`] and
//! [`RequestId`] into each request's extensions, and [`Authenticated`] where it knows who is calling. A request meets, in
//! order: the route table with the role that each route needs, authentication by the gate of the configuration in force,
//! then one endpoint.

pub mod duration;
pub mod explain;
pub mod health;
pub mod keys;
pub mod logout;
pub mod models;
pub mod routes;
pub mod spend;
pub mod store;

mod audit;
mod authenticate;
mod body;
mod document;
mod identifier;
mod problem;
mod query;
mod reach;
mod teams;
mod timestamp;
mod tokens;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_filters::authn::Gate;
use portcullis_filters::principal::Principal;

use crate::explain::Explain;
use crate::health::Deployment;
use crate::keys::rules::KeyRules;
use crate::logout::LogoutTokens;
use crate::models::ServedModel;
use crate::spend::Reports;
use crate::store::AdminStore;

pub use routes::router;

/// What the API needs from the process around it. Cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// Where keys and the audit log are kept.
    pub store: Arc<dyn AdminStore>,
    /// What calls took.
    pub reports: Arc<dyn Reports>,
    /// Who is let in: the gate of the configuration in force, replaced when that is loaded again.
    pub gate: Arc<ArcSwap<Gate>>,
    /// What the configuration says about keys; replaced likewise.
    pub rules: Arc<ArcSwap<KeyRules>>,
    /// The deployments as this process sees them now; for `/health`. Must not block.
    pub deployments: Arc<dyn Fn() -> Vec<Deployment> + Send + Sync>,
    /// What the configuration in force serves; for `/model/info`. Must not block.
    pub models: Arc<dyn Fn() -> Arc<[ServedModel]> + Send + Sync>,
    /// Who explains the decision in force.
    pub explainer: Arc<dyn Explain>,
    /// Who verifies the logout tokens of issuers.
    pub logout_tokens: Arc<dyn LogoutTokens>,
}

/// Request extension: where the request comes from. Absent counts as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Request extension: who is calling, where the shell has already asked the gate. Absent: it is asked here. It must not be
/// asked twice, since a proof of possession is good once (RFC 9449).
#[derive(Clone, Debug)]
pub struct Authenticated(pub Principal);

/// Request extension: the id under which the access log knows the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);
