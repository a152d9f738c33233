//! One fetch of a key set: discovery where it is configured so, bounds on time and size, no redirect.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use portcullis_filters::authn::jwt::keys::KeySet;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::config::KeySetSettings;

/// The bound on one request, body included.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest document that is read. Entra ID's is the largest in use, at some 20 KB.
const MAX_BYTES: usize = 1024 * 1024;
/// A server that wants nothing cached is asked no more often than this.
const SHORTEST: Duration = Duration::from_secs(60);

/// Where the path of a URL ends so, it names an OpenID configuration and not a key set (LiteLLM's rule).
const DISCOVERY: &str = ".well-known/openid-configuration";

/// Fetches one configured key set.
pub(super) struct Fetcher {
    client: Client,
    settings: KeySetSettings,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: Url,
}

impl Fetcher {
    pub(super) fn new(client: Client, settings: KeySetSettings) -> Self {
        Self { client, settings }
    }

    pub(super) fn settings(&self) -> &KeySetSettings {
        &self.settings
    }

    /// How the log speaks of it.
    pub(super) fn name(&self) -> String {
        let names: Vec<_> = self.settings.urls.iter().map(Url::as_str).collect();
        names.join(",")
    }

    /// The keys of one address, and how long they count.
    pub(super) async fn fetch(&self, url: &Url) -> Result<(KeySet, Duration)> {
        let found;
        let url = if url.path().ends_with(DISCOVERY) {
            found = self.discover(url).await.context("asking the OpenID configuration")?;
            &found
        } else {
            url
        };
        let answer = self.get(url).await?;
        let lifetime = self.lifetime(answer.headers());
        let (keys, left_out) = KeySet::parse(&read(answer).await?)?;
        for key in left_out {
            tracing::debug!(key_set = %url, key, "a key is left out");
        }
        Ok((keys, lifetime))
    }

    /// Asks the OpenID configuration where the keys are (OpenID Connect Discovery 1.0, section 4).
    async fn discover(&self, url: &Url) -> Result<Url> {
        let document: Discovery = serde_json::from_slice(&read(self.get(url).await?).await?)?;
        // Section 4.3: another issuer's configuration must not be taken for this one's.
        if let Some(issuer) = &self.settings.issuer {
            ensure!(document.issuer == *issuer, "the OpenID configuration is that of another issuer");
        }
        let as_safe = document.jwks_uri.scheme() == "https" || document.jwks_uri.scheme() == url.scheme();
        ensure!(as_safe, "the OpenID configuration names a key set without https");
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &Url) -> Result<Response> {
        let answer = self.client.get(url.clone()).header(ACCEPT, "application/json").timeout(DEADLINE).send().await;
        let answer = answer.map_err(reqwest::Error::without_url)?;
        if !answer.status().is_success() {
            bail!("status {}", answer.status());
        }
        Ok(answer)
    }

    /// What `Cache-Control` asks for, between the cool-down and the configured time.
    pub(super) fn lifetime(&self, headers: &HeaderMap) -> Duration {
        let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
        let asked = directives.flat_map(|line| line.split(',')).filter_map(|directive| {
            let directive = directive.trim().to_ascii_lowercase();
            match directive.as_str() {
                "no-cache" | "no-store" => Some(SHORTEST),
                _ => directive.strip_prefix("max-age=")?.parse().ok().map(Duration::from_secs),
            }
        });
        let (least, most) = (self.settings.cooldown, self.settings.ttl);
        asked.min().unwrap_or(most).min(most).max(least)
    }
}

/// The body, up to the bound.
async fn read(mut answer: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        ensure!(body.len() + chunk.len() <= MAX_BYTES, "larger than {MAX_BYTES} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
