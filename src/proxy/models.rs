//! `GET /v1/models` in the form of the SDK that asks: what this principal may use, and nothing else.

use http::StatusCode;
use pingora::Error;
use pingora_proxy::Session;
use portcullis_filters::denial::Denial;
use portcullis_filters::endpoint::{Call, Dialect};
use portcullis_filters::policy::Permit;
use serde_json::{Value, json};

use super::context::RequestContext;
use super::respond;

/// Answers a listing, or one model of it.
pub(super) async fn respond(session: &mut Session, permit: &Permit, ctx: &RequestContext) -> Result<(), Box<Error>> {
    let visible = ctx.live.routes.visible_models(permit, &ctx.live.groups);
    let endpoint = &permit.operation().endpoint;
    if endpoint.call == Call::ListModels {
        let models = visible.iter().map(|name| model(endpoint.dialect, name)).collect();
        return respond::json(session, ctx, StatusCode::OK, &list(endpoint.dialect, models, &visible)).await;
    }
    match permit.model().filter(|name| visible.iter().any(|known| known == name)) {
        Some(name) => respond::json(session, ctx, StatusCode::OK, &model(endpoint.dialect, name)).await,
        None => respond::denial(session, &Denial::UnknownRoute, ctx).await,
    }
}

/// Models here have no birthday of their own; this is the one that LiteLLM gives them.
const CREATED: u32 = 1_677_610_602;

fn model(dialect: Dialect, name: &str) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"id": name, "object": "model", "created": CREATED, "owned_by": "openai"}),
        Dialect::Anthropic => {
            json!({"type": "model", "id": name, "display_name": name, "created_at": "2023-02-28T18:56:42Z"})
        }
        Dialect::Gemini => json!({
            "name": format!("models/{name}"),
            "displayName": name,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        }),
    }
}

fn list(dialect: Dialect, models: Vec<Value>, names: &[String]) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"object": "list", "data": models}),
        Dialect::Anthropic => {
            json!({"data": models, "has_more": false, "first_id": names.first(), "last_id": names.last()})
        }
        Dialect::Gemini => json!({"models": models}),
    }
}
