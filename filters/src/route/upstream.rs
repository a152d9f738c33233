//! `Upstream`: one concrete endpoint of a provider with its credential, and how it has been doing.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use url::Url;

use crate::client_side::{ClientSide, ClientSideRules};
use crate::credential::OwnCredential;
use crate::price::Pricing;
use crate::secret::Secret;

/// What kind of API an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenAI itself.
    OpenAi,
    /// Anything with OpenAI's API: vLLM, Ollama, Groq, DeepSeek, Mistral, OpenRouter, ...
    Compatible,
    /// Azure OpenAI: the deployment is in the path.
    Azure,
    /// Anthropic: its Messages API, and its OpenAI-compatible endpoint for chat.
    Anthropic,
    /// Google's Gemini API, and its OpenAI-compatible endpoint.
    Gemini,
    /// The built-in model that answers without any provider.
    Mock,
}

impl Provider {
    /// How the credentials begin that its customers have. Those of compatible providers tell nothing of themselves.
    #[must_use]
    pub fn credential_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["sk-proj-", "sk-svcacct-"],
            Self::Anthropic => &["sk-ant-"],
            Self::Gemini => &["AIza", "ya29.", "auth_tokens/"],
            Self::Compatible | Self::Azure | Self::Mock => &[],
        }
    }
}

/// One entry of `model_list`.
#[derive(Clone, Debug)]
pub struct DeploymentSettings {
    /// The name that callers use, or a pattern `prefix*`.
    pub name: String,
    /// Whose API it speaks.
    pub provider: Provider,
    /// The provider's name for the model; a `*` stands for what the pattern's star matched.
    pub model: String,
    /// Base address, as the provider's SDK takes it.
    pub base: Url,
    /// The provider's key; `None` for an upstream that wants none.
    pub credential: Option<Secret>,
    /// Azure's API version; else the caller's is sent on.
    pub api_version: Option<String>,
    /// `OpenAI-Organization` to send.
    pub organization: Option<String>,
    /// Share of the requests among the deployments of one name; one of 0 only stands in for others.
    pub weight: u32,
    /// What its models cost.
    pub pricing: Pricing,
    /// Longest wait for the next byte of an answer.
    pub timeout: Option<Duration>,
    /// What it takes of a caller in the body.
    pub client_side: ClientSideRules,
    /// Which credential of the caller's own it takes from the head.
    pub own_credential: OwnCredential,
}

/// A deployment at work. Holds the only copy of the provider's credential in the process.
pub struct Upstream {
    settings: DeploymentSettings,
    /// What each request would otherwise make of the settings anew.
    bearer: Option<HeaderValue>,
    bare: Option<HeaderValue>,
    authority: Option<HeaderValue>,
    pool_group: u64,
    model: Arc<str>,
    /// What stands before and behind a star in it.
    model_pattern: Option<(Box<str>, Box<str>)>,
    base_path: Box<str>,
    name: Box<str>,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Milliseconds since the epoch until which it rests.
    cool_until: AtomicU64,
}

impl Upstream {
    /// A key that cannot stand in a header is refused when the configuration is read; here it would just be missing.
    #[must_use]
    pub fn new(settings: DeploymentSettings) -> Self {
        let sensitive = |text: String| {
            let mut value = HeaderValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let secret = settings.credential.as_ref();
        let host = settings.base.host_str().unwrap_or_default();
        let authority = settings.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut group = DefaultHasher::new();
        let scheme = settings.base.scheme();
        (scheme, host, settings.base.port_or_known_default(), secret.map(Secret::expose)).hash(&mut group);
        Self {
            authority: HeaderValue::try_from(authority).ok(),
            pool_group: group.finish(),
            model: settings.model.as_str().into(),
            model_pattern: settings.model.split_once('*').map(|(before, after)| (before.into(), after.into())),
            name: format!("{}/{}", settings.base.host_str().unwrap_or("mock"), settings.model).into(),
            base_path: settings.base.path().trim_end_matches('/').into(),
            bearer: secret.and_then(|secret| sensitive(format!("Bearer {}", secret.expose()))),
            bare: secret.and_then(|secret| sensitive(secret.expose().to_owned())),
            settings,
            failures: AtomicU32::new(0),
            cool_until: AtomicU64::new(0),
        }
    }

    /// The same deployment with what a caller brings in the place of the operator's: nothing that is known of the account,
    /// the credential first of all, stays.
    pub(super) fn for_client(&self, client: &ClientSide) -> Self {
        let own = &self.settings;
        let settings = DeploymentSettings {
            base: client.base.as_ref().map_or_else(|| own.base.clone(), |(_, url)| url.clone()),
            credential: client.api_key.clone(),
            api_version: client.api_version.clone().or_else(|| own.api_version.clone()),
            organization: client.organization.clone(),
            ..own.clone()
        };
        Self::new(settings)
    }

    /// What it was made from.
    #[must_use]
    pub fn settings(&self) -> &DeploymentSettings {
        &self.settings
    }

    /// For logs and metrics: provider host and model, no credential.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The base's host and port as the `Host` field names them.
    #[must_use]
    pub fn authority(&self) -> Option<&HeaderValue> {
        self.authority.as_ref()
    }

    /// Connections may be shared within such a group: same host, port and credential.
    #[must_use]
    pub fn pool_group(&self) -> u64 {
        self.pool_group
    }

    /// The base's path without a slash at its end.
    pub(super) fn base_path(&self) -> &str {
        &self.base_path
    }

    /// Notes that it answered.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, allowed: u32, rest_until: SystemTime) {
        if self.failures.fetch_add(1, Ordering::Relaxed) >= allowed {
            self.cool_until.store(millis(rest_until), Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn is_cooling(&self, now: SystemTime) -> bool {
        self.cool_until() > millis(now)
    }

    pub(super) fn cool_until(&self) -> u64 {
        self.cool_until.load(Ordering::Relaxed)
    }

    pub(super) fn weight(&self) -> u32 {
        self.settings.weight
    }

    /// The provider's name for what the caller asked for. `matched` is what the star of the caller's pattern stood for.
    pub(super) fn model_for(&self, asked: &str, matched: &str) -> Arc<str> {
        match &self.model_pattern {
            None => Arc::clone(&self.model),
            Some(_) if &*self.model == "*" && !self.settings.name.ends_with('*') => asked.into(),
            Some((before, after)) => format!("{before}{matched}{after}").into(),
        }
    }

    pub(super) fn bearer(&self) -> Option<HeaderValue> {
        self.bearer.clone()
    }

    pub(super) fn bare(&self) -> Option<HeaderValue> {
        self.bare.clone()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.name()).finish()
    }
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
