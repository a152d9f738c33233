//! The provider pass-through prefixes `/openai`, `/azure`, `/anthropic`, `/gemini`: where they lead, with which key.

use portcullis_filters::secret::Secret;
use url::Url;

use super::models::{self, ModelSettings};
use super::providers::{ANTHROPIC, AZURE, GEMINI, OPENAI, Provider};
use super::reader::Reader;

/// One prefix that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassThroughSettings {
    /// Whose API stands behind the prefix; the prefix is its name.
    pub provider: &'static Provider,
    /// Its address, in the form of [`ModelSettings::api_base`].
    pub api_base: Url,
    /// Its credential.
    pub api_key: Secret,
    /// Azure's `api-version`.
    pub api_version: Option<String>,
}

/// A prefix is served if its key is in the environment, or if a deployment lends its own (`use_in_pass_through`).
pub(super) fn read(reader: &Reader<'_>, models: &[ModelSettings]) -> Vec<PassThroughSettings> {
    let prefixes: [&'static Provider; 4] = [&OPENAI, &AZURE, &ANTHROPIC, &GEMINI];
    prefixes.into_iter().filter_map(|provider| lent(provider, models).or_else(|| usual(reader, provider))).collect()
}

fn lent(provider: &'static Provider, models: &[ModelSettings]) -> Option<PassThroughSettings> {
    let model = models.iter().find(|model| model.pass_through && model.provider == provider)?;
    Some(PassThroughSettings {
        provider,
        api_base: model.api_base.clone()?,
        api_key: model.api_key.clone()?,
        api_version: model.api_version.clone(),
    })
}

fn usual(reader: &Reader<'_>, provider: &'static Provider) -> Option<PassThroughSettings> {
    let api_key = models::key_from(reader, provider)?;
    let mut api_base = models::base_of(reader, provider, || {})?;
    models::finish_base(&mut api_base, provider);
    Some(PassThroughSettings { provider, api_base, api_key, api_version: models::api_version(reader, provider) })
}
