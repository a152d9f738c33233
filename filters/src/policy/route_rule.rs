//! One entry of a list of routes: a group of LiteLLM's, a path, or what begins with a prefix.
//!
//! What must stay true: a word that is neither opens nothing. A misspelt group must not become a path by accident, so
//! whoever reads a configuration asks [`is_route_rule`] and names the mistake.

use crate::endpoint::{Call, Endpoint};

/// Whether an entry of a list of routes is a path, a pattern or a group that LiteLLM knows.
#[must_use]
pub fn is_route_rule(text: &str) -> bool {
    text == "*" || text.starts_with('/') || group(text).is_some()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RouteRule {
    Group(Group),
    /// This path and what stands below it; `/v1` in front makes no difference.
    Path(String),
    /// What begins so, `/v1` in front or not.
    Prefix(String),
    /// Not a rule.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Every call to a model, and the vendors' whole APIs behind their prefixes.
    Llm,
    /// Every call that is known here by itself, but no vendor's prefix.
    Own,
    /// Anthropic's own calls.
    Anthropic,
    /// Gemini's own calls.
    Google,
    /// The vendors' whole APIs behind their prefixes.
    PassThrough,
    /// What a caller may read about itself and the models.
    Info,
    /// What there is to read about the models.
    ModelInfo,
    /// The whole management API.
    Management,
    /// The part of it that is about keys.
    KeyManagement,
    /// A group of LiteLLM's of which nothing is served here.
    NotServed,
}

/// The groups by LiteLLM's names (`LiteLLMRoutes`).
const GROUPS: &[(&str, Group)] = &[
    ("llm_api_routes", Group::Llm),
    ("llm_api_routes_without_mcp", Group::Llm),
    ("openai_routes", Group::Own),
    ("/v1/*", Group::Own),
    ("anthropic_routes", Group::Anthropic),
    ("google_routes", Group::Google),
    ("mapped_pass_through_routes", Group::PassThrough),
    ("passthrough_routes_wildcard", Group::PassThrough),
    ("info_routes", Group::Info),
    ("ui_routes", Group::Info),
    ("model_info_routes", Group::ModelInfo),
    ("management_routes", Group::Management),
    ("key_management_routes", Group::KeyManagement),
    ("admin_viewer_routes", Group::NotServed),
    ("agent_inference_routes", Group::NotServed),
    ("agent_management_routes", Group::NotServed),
    ("agent_routes", Group::NotServed),
    ("apply_guardrail_routes", Group::NotServed),
    ("compliance_check_routes", Group::NotServed),
    ("global_spend_tracking_routes", Group::NotServed),
    ("internal_user_routes", Group::NotServed),
    ("internal_user_view_only_routes", Group::NotServed),
    ("litellm_native_routes", Group::NotServed),
    ("master_key_only_routes", Group::NotServed),
    ("mcp_inference_routes", Group::NotServed),
    ("mcp_management_routes", Group::NotServed),
    ("mcp_routes", Group::NotServed),
    ("openai_route_names", Group::NotServed),
    ("org_admin_only_routes", Group::NotServed),
    ("public_routes", Group::NotServed),
    ("self_managed_routes", Group::NotServed),
    ("spend_tracking_routes", Group::NotServed),
    ("team_service_account_key_routes", Group::NotServed),
    ("trace_telemetry_routes", Group::NotServed),
];

fn group(text: &str) -> Option<Group> {
    GROUPS.iter().find(|(name, _)| *name == text).map(|(_, group)| *group)
}

impl RouteRule {
    pub(super) fn new(text: &str) -> Self {
        if let Some(group) = group(text) {
            return Self::Group(group);
        }
        match (text.strip_suffix("/*"), text.strip_suffix('*')) {
            _ if !is_route_rule(text) => Self::Unknown,
            (Some(path), _) => Self::Path(unversioned(path).to_owned()),
            (None, Some(prefix)) => Self::Prefix(unversioned(prefix).to_owned()),
            (None, None) => Self::Path(unversioned(text).to_owned()),
        }
    }

    /// Whether it opens this LLM call.
    pub(super) fn allows(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Group(group) => group.allows(&endpoint.call),
            Self::Path(path) => is_below(&endpoint.route, path),
            Self::Prefix(prefix) => endpoint.route.starts_with(prefix.as_str()),
            Self::Unknown => false,
        }
    }

    /// Whether it opens the management route of this path.
    pub(super) fn allows_management(&self, asked: &str) -> bool {
        let asked = unversioned(asked);
        match self {
            Self::Group(group) => group.allows_management(asked),
            Self::Path(path) => is_below(asked, path),
            Self::Prefix(prefix) => asked.starts_with(prefix.as_str()),
            Self::Unknown => false,
        }
    }
}

impl Group {
    fn allows(self, call: &Call) -> bool {
        let lists = matches!(call, Call::ListModels | Call::RetrieveModel);
        match self {
            Self::Llm => true,
            Self::Own => !matches!(call, Call::PassThrough(..)),
            Self::Anthropic => matches!(call, Call::Anthropic(_)),
            Self::Google => matches!(call, Call::Gemini { .. }),
            Self::PassThrough => matches!(call, Call::PassThrough(..)),
            Self::Info => lists,
            Self::ModelInfo | Self::Management | Self::KeyManagement | Self::NotServed => false,
        }
    }

    fn allows_management(self, unversioned: &str) -> bool {
        match self {
            Self::Info => INFO_ROUTES.contains(&unversioned) || MODEL_INFO_ROUTES.contains(&unversioned),
            Self::ModelInfo => MODEL_INFO_ROUTES.contains(&unversioned),
            Self::Management => true,
            Self::KeyManagement => is_below(unversioned, "/key") || is_below(unversioned, "/v2/key"),
            Self::Llm | Self::Own | Self::Anthropic | Self::Google | Self::PassThrough | Self::NotServed => false,
        }
    }
}

/// The management routes that only read what is the caller's own.
const INFO_ROUTES: [&str; 8] = [
    "/key/health",
    "/key/info",
    "/key/list",
    "/team/info",
    "/team/list",
    "/user/info",
    "/v2/key/info",
    "/v2/team/list",
];

const MODEL_INFO_ROUTES: [&str; 2] = ["/model/info", "/model_group/info"];

fn unversioned(path: &str) -> &str {
    path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

fn is_below(asked: &str, path: &str) -> bool {
    asked.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
