//! `POST /auth/explain`: what would become of a request, or of a key, and which rule says so.
//!
//! The question is read here; the shell answers it with the steps of the decision itself ([`Explain`]). What is asked about
//! is a credential as a rule, so nothing of the question is repeated in the answer but names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AdminState;
use crate::body::Fields;
use crate::keys::hash_of;
use crate::problem::{FieldProblem, Problem};
use crate::timestamp::now;

/// Answers questions about the decision in force.
#[async_trait]
pub trait Explain: Send + Sync + 'static {
    /// What would become of it now. Takes nothing out of any limit, counts no failure, writes nothing.
    async fn explain(&self, question: Question, now: SystemTime) -> Explanation;
}

/// What is asked about.
pub struct Question {
    /// The request; where only a key is asked about, one that stands for its use.
    pub request: DescribedRequest,
    /// The holder of the key with this hash makes it; `None`: whoever its credential proves.
    pub holder: Option<KeyHash>,
}

/// Body of `/auth/explain`: a request, or a key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    /// The request.
    request: Option<DescribedRequest>,
    /// A key or its hash.
    key: Option<String>,
    /// With `key`: for which model; left out: for listing models.
    model: Option<String>,
}

/// A request, as far as it matters to the decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DescribedRequest {
    /// Left out: `POST` with a body, `GET` without.
    pub method: Option<String>,
    /// Path and query.
    pub path: String,
    /// Header fields; one that is sent repeatedly has a list of values.
    #[serde(default)]
    pub headers: BTreeMap<String, FieldValue>,
    /// The body: JSON, or text that is taken as it is.
    #[schema(value_type = Option<Object>)]
    pub body: Option<Value>,
    /// Where it comes from; left out: unknown.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
}

/// The value of a header field, or its values.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FieldValue {
    /// One.
    One(String),
    /// Several lines.
    Several(Vec<String>),
}

/// What would become of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Explanation {
    /// `allowed` or `refused`; `undecided` where the operator's own code would have to see a key of which only the hash is
    /// given.
    pub outcome: &'static str,
    /// The step, and the rule in it, that refused; null where it is allowed.
    pub decided_by: Option<String>,
    /// The denial, as the log and the metrics call it.
    pub denial: Option<&'static str>,
    /// What the log says about it.
    pub cause: Option<String>,
    /// The status of the answer; null where a provider would give it.
    pub status: Option<u16>,
    /// Who calls, once that is proven.
    pub principal: Option<ExplainedPrincipal>,
    /// What was looked at, in order.
    pub steps: Vec<ExplainedStep>,
}

/// Who calls, by names; never a credential.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedPrincipal {
    /// As the log names them.
    pub id: String,
    /// How that was proven: `master_key`, `virtual_key`, `jwt`, `oauth2`, `custom`.
    pub method: &'static str,
    /// The alias of a key.
    pub key_alias: Option<String>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainedStep {
    /// `path`, `allowed_routes`, `slot`, `authenticator`, `body`, `policy`, `limit`, `deployment`, `outbound`.
    pub step: &'static str,
    /// Which of them.
    pub rule: String,
    /// What came of it, in a word or two.
    pub result: String,
}

/// Says what would become of a request or a key now, and which rule says so. Nothing is used up or written; the operator's
/// own code and issuers of opaque tokens are asked, as they would be.
#[utoipa::path(post, path = "/auth/explain", tag = "auth", request_body = ExplainRequest, responses(
    (status = 200, body = Explanation, description = "Allowed or refused, and why"),
    (status = 400, description = "Neither a request nor a key, or both"),
    (status = 422, description = "An unknown field or a wrong type")))]
pub(crate) async fn explain(
    State(state): State<AdminState>,
    Fields(body): Fields,
) -> Result<Json<Explanation>, Problem> {
    let asked: ExplainRequest = serde_json::from_value(Value::Object(body)).map_err(|_| {
        // The library's message repeats values.
        Problem::field(FieldProblem::new("value_error", &["body"], "Input should be a request or a key to explain"))
    })?;
    let question = match (asked.request, asked.key, asked.model) {
        (Some(request), None, None) => Question { request, holder: None },
        (None, Some(key), model) => {
            let holder = hash_of(&key).ok_or_else(Problem::key_not_found)?;
            let mut request = use_of_key(model);
            let is_key = key.starts_with("sk-");
            if is_key {
                request.headers.insert("x-litellm-api-key".to_owned(), FieldValue::One(key));
            }
            Question { request, holder: (!is_key).then_some(holder) }
        }
        _ => return Err(Problem::invalid("request", "Give either request, or key and perhaps model")),
    };
    Ok(Json(state.explainer.explain(question, now()).await))
}

/// The call that a key is asked about.
fn use_of_key(model: Option<String>) -> DescribedRequest {
    let (path, body) = match model {
        Some(model) => ("/v1/chat/completions", Some(serde_json::json!({ "model": model }))),
        None => ("/v1/models", None),
    };
    DescribedRequest { method: None, path: path.to_owned(), headers: BTreeMap::new(), body, source: None }
}
