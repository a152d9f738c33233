//! Where on the provider's host a call goes, and in which slot the provider's credential stands there.
//!
//! The request line is built here, never copied: from the provider's base, the call's own path and the query without
//! anything that may hold a credential. A provider that does not speak the caller's dialect has no target; nothing is
//! translated.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};

use super::upstream::{Provider, Upstream};
use crate::credential::{parameter_name, strip_query};
use crate::endpoint::{Call, Endpoint};

/// The request line and the credential for one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path and query.
    pub path_and_query: String,
    /// The provider's credential in the provider's own slot; the value is marked sensitive.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// Whether this API reads the model's name in the body; then it must be the provider's name for it.
    pub model_in_body: bool,
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Azure's API version when neither the configuration nor the caller names one (LiteLLM's default).
const AZURE_API_VERSION: &str = "2025-02-01-preview";

/// A provider's slot for its credential.
#[derive(Clone, Copy)]
enum ProviderSlot {
    Bearer,
    ApiKey,
    XApiKey,
    XGoogApiKey,
}

impl Upstream {
    /// `None`: this provider does not speak the dialect of the call.
    pub(super) fn target(&self, endpoint: &Endpoint, model: &str, query: Option<&str>) -> Option<Target> {
        let (path, slot) = match self.settings().provider {
            Provider::Mock => (Cow::Borrowed(""), ProviderSlot::Bearer),
            Provider::OpenAi => (openai_path(&endpoint.call)?, ProviderSlot::Bearer),
            Provider::Compatible => (compatible_path(&endpoint.call)?, ProviderSlot::Bearer),
            Provider::Azure => (self.azure_path(&endpoint.call, model)?, ProviderSlot::ApiKey),
            Provider::Anthropic => anthropic_path(&endpoint.call)?,
            Provider::Gemini => gemini_path(&endpoint.call, model)?,
        };
        let base = self.base_before(&path);
        let query = self.query(endpoint, model, query);
        Some(Target {
            path_and_query: [base, &path, if query.is_empty() { "" } else { "?" }, &query].concat(),
            credential: self.credential(slot),
            model_in_body: !self.names_deployment_in_path(&endpoint.call),
        })
    }

    /// The base's path. People write `https://api.anthropic.com` and `https://api.anthropic.com/v1` alike; where the call
    /// brings its own version, that one counts.
    fn base_before(&self, path: &str) -> &str {
        let base = self.base_path();
        let is_version = |segment: &&str| matches!(*segment, "v1" | "v1beta" | "v1alpha");
        // Most calls bring none, and looking for their segments is what this costs.
        if !path.starts_with("/v1") || path.split('/').nth(1).filter(is_version).is_none() {
            return base;
        }
        let version = base.rsplit('/').next().filter(is_version);
        version.map_or(base, |version| base[..base.len() - version.len()].trim_end_matches('/'))
    }

    /// Azure's v1 API looks like OpenAI's; its older one has the deployment in the path.
    fn is_azure_v1(&self) -> bool {
        self.base_path().ends_with("/openai/v1")
    }

    fn names_deployment_in_path(&self, call: &Call) -> bool {
        let azure = self.settings().provider == Provider::Azure && !self.is_azure_v1();
        azure && matches!(call, Call::OpenAi(path) if *path != "/responses")
    }

    fn azure_path<'a>(&self, call: &'a Call, model: &str) -> Option<Cow<'a, str>> {
        match call {
            Call::PassThrough(_, path) => Some(path.into()),
            _ if self.is_azure_v1() => openai_path(call),
            Call::OpenAi("/responses") => Some("/openai/responses".into()),
            Call::OpenAi(path) => {
                Some(format!("/openai/deployments/{}{path}", path_segments(model)?.replace('/', "%2F")).into())
            }
            Call::Realtime => Some("/openai/realtime".into()),
            _ => None,
        }
    }

    fn query(&self, endpoint: &Endpoint, model: &str, query: Option<&str>) -> String {
        let azure = self.settings().provider == Provider::Azure;
        let realtime = endpoint.call == Call::Realtime;
        if query.is_none() && !azure && !realtime {
            return String::new();
        }
        let query = query.and_then(strip_query).unwrap_or_default();
        let mut asked_version = None;
        let mut pairs: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match &*parameter_name(pair) {
                "api-version" if !matches!(endpoint.call, Call::PassThrough(..)) => asked_version = Some(pair),
                "model" | "deployment" if realtime => {}
                _ => pairs.push(pair.to_owned()),
            }
        }
        if azure && !self.is_azure_v1() && !matches!(endpoint.call, Call::PassThrough(..)) {
            pairs.push(match (&self.settings().api_version, asked_version) {
                (Some(version), _) => format!("api-version={version}"),
                (None, Some(asked)) => asked.to_owned(),
                (None, None) => format!("api-version={AZURE_API_VERSION}"),
            });
        }
        if realtime {
            let name = if azure && !self.is_azure_v1() { "deployment" } else { "model" };
            let value: String = url::form_urlencoded::byte_serialize(model.as_bytes()).collect();
            pairs.push(format!("{name}={value}"));
        }
        pairs.join("&")
    }

    fn credential(&self, slot: ProviderSlot) -> Option<(HeaderName, HeaderValue)> {
        match slot {
            ProviderSlot::Bearer => Some((http::header::AUTHORIZATION, self.bearer()?)),
            ProviderSlot::ApiKey => Some((API_KEY, self.bare()?)),
            ProviderSlot::XApiKey => Some((X_API_KEY, self.bare()?)),
            ProviderSlot::XGoogApiKey => Some((X_GOOG_API_KEY, self.bare()?)),
        }
    }
}

fn openai_path(call: &Call) -> Option<Cow<'_, str>> {
    match call {
        Call::OpenAi(path) => Some((*path).into()),
        Call::Realtime => Some("/realtime".into()),
        Call::PassThrough(_, path) => Some(path.into()),
        _ => None,
    }
}

/// Several servers with OpenAI's API serve Anthropic's Messages API at the same base (vLLM, Ollama, OpenRouter).
fn compatible_path(call: &Call) -> Option<Cow<'_, str>> {
    match call {
        Call::Anthropic(path) => Some((*path).into()),
        _ => openai_path(call),
    }
}

fn anthropic_path(call: &Call) -> Option<(Cow<'_, str>, ProviderSlot)> {
    match call {
        Call::Anthropic(path) => Some((format!("/v1{path}").into(), ProviderSlot::XApiKey)),
        Call::OpenAi(path @ "/chat/completions") => Some((format!("/v1{path}").into(), ProviderSlot::Bearer)),
        Call::PassThrough(_, path) => Some((path.into(), ProviderSlot::XApiKey)),
        _ => None,
    }
}

fn gemini_path<'a>(call: &'a Call, model: &str) -> Option<(Cow<'a, str>, ProviderSlot)> {
    match call {
        Call::Gemini { version, action } => {
            let version = version.unwrap_or("v1beta");
            let path = format!("/{version}/models/{}:{action}", path_segments(model)?);
            Some((path.into(), ProviderSlot::XGoogApiKey))
        }
        Call::OpenAi(path @ ("/chat/completions" | "/embeddings" | "/images/generations")) => {
            Some((format!("/v1beta/openai{path}").into(), ProviderSlot::Bearer))
        }
        Call::PassThrough(_, path) => Some((path.into(), ProviderSlot::XGoogApiKey)),
        _ => None,
    }
}

/// A model's name as a part of a path. Where a pattern lets the caller choose it, it must not be able to leave its place:
/// `None` for what would be a dot segment or an empty one.
fn path_segments(model: &str) -> Option<String> {
    if model.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return None;
    }
    let encoded = |segment: &str| {
        let text: String = url::form_urlencoded::byte_serialize(segment.as_bytes()).collect();
        text.replace('+', "%20")
    };
    Some(model.split('/').map(encoded).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::path_segments;

    #[test]
    fn a_model_cannot_leave_its_place_in_the_path() {
        for (model, part) in [
            ("gpt-4o_mini.1", Some("gpt-4o_mini.1")),
            ("vendor/name", Some("vendor/name")),
            ("a?b=c#d:e f\r\n%2e", Some("a%3Fb%3Dc%23d%3Ae%20f%0D%0A%252e")),
            ("a/../b", None),
            ("..", None),
            ("a//b", None),
            ("", None),
        ] {
            assert_eq!(path_segments(model).as_deref(), part, "{model:?}");
        }
    }
}
