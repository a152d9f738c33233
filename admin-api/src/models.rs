//! `GET /model/info` and `GET /model_group/info`: what the configuration serves, for clients that ask LiteLLM's way.
//!
//! A key sees the models that it may use; the operator sees besides where they are served. Nobody sees a provider's key.
//! LiteLLM shows every key every model and its address.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use portcullis_filters::policy::AccessGroups;
use portcullis_filters::principal::Principal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::problem::Problem;
use crate::query::Parameters;

/// One entry of `model_list`, without its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedModel {
    /// The name that callers use, or a pattern.
    pub name: String,
    /// Whose model it is: the word in front of LiteLLM's `provider/model`.
    pub provider: String,
    /// The provider's name for it.
    pub model: String,
    /// Where it is served; `None` for the built-in one.
    pub api_base: Option<String>,
    /// Azure's `api-version`.
    pub api_version: Option<String>,
    /// Names that keys may list instead.
    pub access_groups: Vec<String>,
}

/// Describes the deployments of the models that the caller may use.
#[utoipa::path(get, path = "/model/info", tag = "models",
    params(("litellm_model_id" = Option<String>, Query, description = "Only the deployment of this `model_info.id`")),
    responses((status = 200, description = "`data`: one entry a deployment; addresses for the operator only")))]
pub(crate) async fn model_info(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let wanted = query.text("litellm_model_id");
    query.finish()?;
    let all = (state.models)();
    let entries = visible(&all, &caller.principal).map(|(place, model)| entry(place, model, &caller.principal));
    let chosen = entries.filter(|entry| wanted.as_deref().is_none_or(|id| entry["model_info"]["id"] == id));
    Ok(Json(json!({ "data": chosen.collect::<Vec<_>>() })))
}

/// The same under its other path.
#[utoipa::path(get, path = "/v1/model/info", tag = "models", responses((status = 200, description = "As `/model/info`")))]
pub(crate) async fn model_info_v1(
    state: State<AdminState>,
    caller: Extension<Caller>,
    query: Parameters,
) -> Result<Json<Value>, Problem> {
    model_info(state, caller, query).await
}

/// Names the models that the caller may use and who provides them, deployments of one name together.
#[utoipa::path(get, path = "/model_group/info", tag = "models",
    params(("model_group" = Option<String>, Query, description = "Only this model")),
    responses((status = 200, description = "`data`: one entry a model")))]
pub(crate) async fn model_group_info(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    mut query: Parameters,
) -> Result<Json<Value>, Problem> {
    let wanted = query.text("model_group");
    query.finish()?;
    let all = (state.models)();
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (_, model) in visible(&all, &caller.principal) {
        let named = groups.iter().position(|(name, _)| *name == model.name);
        let place = named.unwrap_or_else(|| {
            groups.push((&model.name, Vec::new()));
            groups.len() - 1
        });
        if !groups[place].1.contains(&model.provider.as_str()) {
            groups[place].1.push(&model.provider);
        }
    }
    let chosen = groups.into_iter().filter(|(name, _)| wanted.as_deref().is_none_or(|wanted| wanted == *name));
    let data: Vec<_> = chosen.map(|(name, providers)| json!({ "model_group": name, "providers": providers })).collect();
    Ok(Json(json!({ "data": data })))
}

/// What this principal may use, with its place in the configuration.
fn visible<'a>(
    all: &'a Arc<[ServedModel]>,
    principal: &'a Principal,
) -> impl Iterator<Item = (usize, &'a ServedModel)> {
    let pairs =
        all.iter().flat_map(|model| model.access_groups.iter().map(|group| (model.name.clone(), group.clone())));
    let groups = AccessGroups::new(pairs);
    let allowed = move |model: &ServedModel| principal.allows_model(&model.name, &groups);
    all.iter().enumerate().filter(move |(_, model)| allowed(model))
}

fn entry(place: usize, model: &ServedModel, principal: &Principal) -> Value {
    let mut params = json!({ "model": format!("{}/{}", model.provider, model.model) });
    if principal.is_admin() {
        params["api_base"] = json!(model.api_base);
        params["api_version"] = json!(model.api_version);
    }
    let info = json!({
        "id": id(place, model),
        "db_model": false,
        "key": model.model,
        "litellm_provider": model.provider,
        "access_groups": model.access_groups,
    });
    json!({ "model_name": model.name, "litellm_params": params, "model_info": info })
}

/// Tells deployments apart in LiteLLM's form. The address is not part of it, so that it cannot be guessed from it.
fn id(place: usize, model: &ServedModel) -> String {
    let digest = Sha256::digest(format!("{place}\n{}\n{}\n{}", model.name, model.provider, model.model));
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
