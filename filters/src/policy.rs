//! `authorize`: the rules of what a principal may do, and the only maker of a [`Permit`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::denial::Denial;
use crate::endpoint::{Call, Endpoint};
use crate::operation::Operation;
use crate::principal::Principal;

/// Proof that policy allowed this operation to this principal. There is no other way to make one than [`authorize`].
#[derive(Clone, Debug)]
pub struct Permit {
    principal: Principal,
    operation: Operation,
    model: Option<Arc<str>>,
}

impl Permit {
    /// Who was allowed.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What was allowed.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The model to route to: the caller's, or what the key's aliases make of it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The names and patterns that the principal's key lists; empty where it may use any model.
    #[must_use]
    pub fn granted_models(&self) -> &[String] {
        self.principal.key().and_then(|key| key.policy.models()).unwrap_or_default()
    }

    /// Whether this principal may also see or use the model of this name. For listings.
    #[must_use]
    pub fn allows_model(&self, name: &str, groups: &AccessGroups) -> bool {
        self.principal.key().is_none_or(|key| key.policy.allows_model(name, groups))
    }
}

/// Decides whether `principal` may do `operation`.
///
/// # Errors
/// [`Denial::RouteForbidden`] or [`Denial::ModelForbidden`].
pub fn authorize(principal: Principal, operation: Operation, groups: &AccessGroups) -> Result<Permit, Denial> {
    let Some(key) = principal.key() else {
        let model = operation.model.clone();
        return Ok(Permit { principal, operation, model });
    };
    if !key.policy.allows_route(&operation.endpoint) {
        return Err(Denial::RouteForbidden);
    }
    let model = operation.model.as_ref().map(|model| key.policy.resolve_alias(model));
    let lists = matches!(operation.endpoint.call, Call::ListModels | Call::RetrieveModel);
    let allowed = match &model {
        Some(model) => key.policy.allows_model(model, groups),
        // A call without a model (a file of a pass-through vendor, say) is open to keys that may use any model.
        None => key.policy.models().is_none(),
    };
    if !allowed && !lists {
        return Err(Denial::ModelForbidden(model.as_deref().unwrap_or_default().to_owned()));
    }
    if let Some(other) = operation.other_models.iter().find(|other| !key.policy.allows_model(other, groups)) {
        return Err(Denial::ModelForbidden(other.clone()));
    }
    Ok(Permit { principal, operation, model })
}

/// Which models belong to which access group (`model_info.access_groups`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessGroups(HashMap<String, Vec<String>>);

impl AccessGroups {
    /// From pairs of a model name and a group that it belongs to.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut groups: HashMap<String, Vec<String>> = HashMap::new();
        for (model, group) in pairs {
            groups.entry(model).or_default().push(group);
        }
        Self(groups)
    }

    /// The groups of a model.
    #[must_use]
    pub fn of(&self, model: &str) -> &[String] {
        self.0.get(model).map_or(&[], Vec::as_slice)
    }
}

/// What a key may do, compiled from the lists that its row holds.
///
/// Most keys have no such rules, and many keys are held in memory: those without pay for a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Option<Box<Rules>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    /// `None` opens every model.
    models: Option<Vec<String>>,
    /// `None` leaves the routes to the role.
    routes: Option<Vec<RouteRule>>,
    aliases: BTreeMap<String, String>,
}

impl Policy {
    /// Compiles the rules as LiteLLM writes them. An empty list, `*` and `all-proxy-models` open every model; an empty
    /// route list leaves the routes to the role. `no-default-models` and `all-team-models` grant nothing by themselves.
    #[must_use]
    pub fn new(models: &[String], routes: &[String], aliases: BTreeMap<String, String>) -> Self {
        let all = models.is_empty() || models.iter().any(|name| name == "*" || name == "all-proxy-models");
        let granted = models.iter().filter(|name| !matches!(name.as_str(), "no-default-models" | "all-team-models"));
        let listed = routes.iter().filter(|rule| !rule.is_empty());
        let rules = Rules {
            models: (!all).then(|| granted.cloned().collect()),
            routes: (!routes.is_empty()).then(|| listed.map(|rule| RouteRule::new(rule)).collect()),
            aliases,
        };
        Self((rules != Rules::default()).then(|| Box::new(rules)))
    }

    /// Whether the model is open: by name, by pattern, or through a group that it belongs to.
    #[must_use]
    pub fn allows_model(&self, model: &str, groups: &AccessGroups) -> bool {
        let Some(granted) = self.models() else { return true };
        let member_of = groups.of(model);
        granted.iter().any(|grant| matches_pattern(grant, model) || member_of.contains(grant))
    }

    /// Whether the LLM call of this endpoint is open.
    #[must_use]
    pub fn allows_route(&self, endpoint: &Endpoint) -> bool {
        self.routes().is_none_or(|rules| rules.iter().any(|rule| rule.allows(endpoint)))
    }

    /// Whether a management route of this path is open as far as the key's own list goes; the role is asked besides.
    #[must_use]
    pub fn allows_management_route(&self, path: &str) -> bool {
        self.routes().is_none_or(|rules| rules.iter().any(|rule| rule.allows_management(path)))
    }

    fn resolve_alias(&self, model: &Arc<str>) -> Arc<str> {
        let alias = self.0.as_ref().and_then(|rules| rules.aliases.get(&**model));
        alias.map_or_else(|| Arc::clone(model), |alias| alias.as_str().into())
    }

    fn models(&self) -> Option<&[String]> {
        self.0.as_ref()?.models.as_deref()
    }

    fn routes(&self) -> Option<&[RouteRule]> {
        self.0.as_ref()?.routes.as_deref()
    }
}

/// `prefix*` matches what begins so, `*` alone everything; a star elsewhere is no wildcard in LiteLLM.
#[must_use]
pub(crate) fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// One entry of a key's `allowed_routes`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RouteRule {
    /// `llm_api_routes`: every call to a model, and the vendors' whole APIs behind their prefixes.
    LlmGroup,
    /// `openai_routes`, `/v1/*`: every call that is known here by itself, but no vendor's prefix.
    OwnGroup,
    /// `anthropic_routes`
    AnthropicGroup,
    /// `info_routes`: what a key may read about itself and the models.
    InfoGroup,
    /// `management_routes`
    ManagementGroup,
    /// This path and what stands below it; `/v1` in front makes no difference.
    Path(String),
}

impl RouteRule {
    fn new(text: &str) -> Self {
        match text {
            "llm_api_routes" => Self::LlmGroup,
            "openai_routes" | "/v1/*" => Self::OwnGroup,
            "anthropic_routes" => Self::AnthropicGroup,
            "info_routes" => Self::InfoGroup,
            "management_routes" | "key_management_routes" => Self::ManagementGroup,
            path => Self::Path(unversioned(path.strip_suffix("/*").unwrap_or(path)).to_owned()),
        }
    }

    fn allows(&self, endpoint: &Endpoint) -> bool {
        let lists = matches!(endpoint.call, Call::ListModels | Call::RetrieveModel);
        match self {
            Self::LlmGroup => true,
            Self::OwnGroup => !matches!(endpoint.call, Call::PassThrough(..)),
            Self::AnthropicGroup => matches!(endpoint.call, Call::Anthropic(_)),
            Self::InfoGroup => lists,
            Self::ManagementGroup => false,
            Self::Path(path) => is_below(&endpoint.route, path),
        }
    }

    fn allows_management(&self, asked: &str) -> bool {
        match self {
            Self::LlmGroup | Self::OwnGroup | Self::AnthropicGroup => false,
            Self::InfoGroup => INFO_ROUTES.contains(&unversioned(asked)),
            Self::ManagementGroup => true,
            Self::Path(path) => is_below(unversioned(asked), path),
        }
    }
}

/// The management routes that only read what the key itself may use.
const INFO_ROUTES: [&str; 4] = ["/key/info", "/v2/key/info", "/model/info", "/model_group/info"];

fn unversioned(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

fn is_below(asked: &str, path: &str) -> bool {
    asked.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
