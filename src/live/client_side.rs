//! The choice of an upstream, with what a caller brings of its own.

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_filters::client_side::{ClientSide, ClientSideRules};
use portcullis_filters::credential::OwnCredential;
use portcullis_filters::denial::Denial;
use portcullis_filters::head::RequestHead;
use portcullis_filters::policy::Permit;
use portcullis_filters::route::{DeploymentSettings, Route, RouteTable, Upstream};
use portcullis_filters::secret::Secret;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::spoken;
use crate::config::{ProviderKind, provider_of};
use crate::proxy::Live;

/// Most deployments that a body may bring.
const MOST: usize = 32;

/// Longest name of a model in them, in bytes: it comes to stand in paths and in the log.
const MOST_NAME: usize = 512;

impl Live {
    /// The upstream for a permit: as [`RouteTable::resolve`] says, out of the operator's deployments or out of those that
    /// the caller brings; with the caller's own credential where the deployment takes one from the head.
    ///
    /// # Errors
    /// As there; [`Denial::ForbiddenField`] and [`Denial::InvalidField`] for `user_config`.
    pub fn route(
        &self,
        permit: &Permit,
        head: &RequestHead<'_>,
        tried: &[Arc<Upstream>],
        now: SystemTime,
    ) -> Result<Route, Denial> {
        let brought = permit.operation().client.as_ref().and_then(|client| client.user_config.as_ref());
        if let Some(config) = brought.filter(|_| self.client_side.user_config) {
            return table(config)?.resolve(permit, head.query, tried, now, rand::random);
        }
        let route = self.routes.resolve(permit, head.query, tried, now, rand::random)?;
        let settings = route.upstream.settings();
        if settings.own_credential == OwnCredential::Never || route.private {
            return Ok(route);
        }
        let prefixes = settings.provider.credential_prefixes();
        match self.gate.slots.own_credential(head, prefixes, settings.own_credential) {
            Some(credential) => Ok(route.with_own_credential(credential)),
            None => Ok(route),
        }
    }
}

/// LiteLLM's `user_config`. Settings of its router beside the list are not needed for a single request.
#[derive(Deserialize)]
struct UserConfig<'a> {
    #[serde(borrow)]
    model_list: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    model_name: String,
    #[serde(borrow)]
    litellm_params: Params<'a>,
    #[serde(rename = "model_info")]
    _info: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    model: String,
    custom_llm_provider: Option<String>,
    #[serde(borrow)]
    api_key: &'a RawValue,
    #[serde(borrow)]
    api_base: Option<&'a RawValue>,
    #[serde(borrow)]
    base_url: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    organization: Option<&'a RawValue>,
}

/// The deployments that a body brings. Each has a key of the caller's: nothing of the operator's is filled in.
fn table(config: &Secret) -> Result<RouteTable, Denial> {
    let config: UserConfig<'_> = serde_json::from_str(config.expose())
        .map_err(|_| invalid("is no model_list of names, models and own keys, or holds what is not supported"))?;
    if config.model_list.len() > MOST {
        return Err(invalid("holds too many deployments"));
    }
    let deployments = config.model_list.into_iter().map(deployment).collect::<Result<_, _>>()?;
    Ok(RouteTable::of_client(deployments))
}

fn deployment(entry: Entry<'_>) -> Result<DeploymentSettings, Denial> {
    let params = entry.litellm_params;
    let (provider, model) = provider_of(&params.model, params.custom_llm_provider.as_deref())
        .map_err(|_| invalid("names a provider that is not supported"))?;
    if model.len() > MOST_NAME || model.chars().any(char::is_control) {
        return Err(invalid("names a model that is too long or holds control characters"));
    }
    if provider.kind == ProviderKind::Mock {
        return Err(invalid("names a provider that is not supported"));
    }
    let members = [
        ("api_key", Some(params.api_key)),
        ("api_base", params.api_base),
        ("base_url", params.base_url),
        ("api_version", params.api_version),
        ("organization", params.organization),
    ];
    let client = ClientSide::read(members.into_iter().filter_map(|(name, value)| Some((name, value?.get()))))?;
    let base = client.base.map(|(_, base)| base).or_else(|| provider.usual_base());
    Ok(DeploymentSettings {
        name: entry.model_name,
        provider: spoken(provider),
        model,
        base: base.ok_or(invalid("needs an api_base for this provider"))?,
        credential: client.api_key,
        api_version: client.api_version,
        organization: client.organization,
        weight: 1,
        timeout: None,
        client_side: ClientSideRules::default(),
        own_credential: OwnCredential::Never,
        pricing: Default::default(),
    })
}

fn invalid(why: &'static str) -> Denial {
    Denial::InvalidField("user_config", why)
}
