//! Keeps the key sets of issuers: fetched beside the requests, published for them, and fetched again when it is time.
//!
//! One task for each configured key set, however many issuers and reloads use it; so fetches of one set never overlap.
//! What must stay true: between two fetches lies at least the cool-down, whatever requests ask for; a set that cannot be
//! fetched again is used for `max_stale` beyond its time and not a moment longer; a set that could be fetched counts as
//! it is, so a key that its issuer took out is gone here.

mod fetch;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_filters::authn::jwt::key_source::{KeyPublisher, KeySource, key_source};
use portcullis_filters::authn::jwt::keys::KeySet;
use reqwest::Client;
use tokio::runtime::Handle;
use tokio::time::sleep;

use self::fetch::Fetcher;
use crate::config::KeySetSettings;

/// The sources of all key sets that a configuration in force uses.
pub struct KeySets {
    client: Client,
    control: Handle,
    sources: Mutex<HashMap<KeySetSettings, KeySource>>,
}

impl KeySets {
    /// Nothing is fetched yet. `client` must follow no redirect.
    #[must_use]
    pub fn new(client: Client, control: Handle) -> Self {
        Self { client, control, sources: Mutex::default() }
    }

    /// The source of this key set; begins to fetch it where nobody used it so far.
    pub fn source(&self, settings: &KeySetSettings) -> KeySource {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(settings) {
            return source.clone();
        }
        let (publisher, source) = key_source();
        let fetcher = Fetcher::new(self.client.clone(), settings.clone());
        self.control.spawn(Keeper::new(fetcher, publisher).run());
        sources.insert(settings.clone(), source.clone());
        source
    }

    /// Lets go of every source that the configuration in force does not use. Its task ends with the last request that
    /// still does.
    pub fn retain(&self, used: &[&KeySetSettings]) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|settings, _| used.contains(&settings));
    }
}

/// Fetches one key set until nobody looks at it any longer.
struct Keeper {
    fetcher: Fetcher,
    publisher: KeyPublisher,
    /// What each address of the set gave last.
    parts: Vec<Option<Part>>,
    published: Option<Arc<KeySet>>,
}

/// The keys of one address.
struct Part {
    keys: Arc<KeySet>,
    /// From here on only as a makeshift, while the server is away.
    due: SystemTime,
}

/// Waits between failed fetches: doubled from the first to the cool-down.
const FIRST_RETRY: Duration = Duration::from_millis(500);

impl Keeper {
    fn new(fetcher: Fetcher, publisher: KeyPublisher) -> Self {
        let parts = fetcher.settings().urls.iter().map(|_| None).collect();
        Self { fetcher, publisher, parts, published: None }
    }

    async fn run(mut self) {
        let cooldown = self.fetcher.settings().cooldown;
        let mut retry = FIRST_RETRY;
        loop {
            let lifetime = self.fetch().await;
            let pause = match lifetime {
                Some(lifetime) => lifetime,
                // Servers are not hammered for a hiccup, but whoever waits for the first keys does not wait for long.
                None if self.published.is_some() => cooldown,
                None => retry,
            };
            retry = if lifetime.is_some() { FIRST_RETRY } else { (retry * 2).min(cooldown) };
            let rest = cooldown.min(pause);
            self.publish(SystemTime::now() + rest);
            tokio::select! {
                () = sleep(rest) => {}
                () = self.publisher.abandoned() => return,
            }
            tokio::select! {
                () = sleep(pause.saturating_sub(rest)) => {}
                () = self.publisher.wanted() => {}
                () = self.publisher.abandoned() => return,
            }
        }
    }

    /// Asks every address once. How long the answers count; `None` where one of them failed.
    async fn fetch(&mut self) -> Option<Duration> {
        let mut lifetime = Some(self.fetcher.settings().ttl);
        for (part, url) in self.parts.iter_mut().zip(&self.fetcher.settings().urls) {
            match self.fetcher.fetch(url).await {
                Ok((keys, counts_for)) => {
                    *part = Some(Part { keys: Arc::new(keys), due: SystemTime::now() + counts_for });
                    lifetime = lifetime.map(|lifetime| lifetime.min(counts_for));
                }
                Err(error) => {
                    tracing::warn!(key_set = %url, cause = format!("{error:#}"), "a key set cannot be fetched");
                    let end = SystemTime::now() - self.fetcher.settings().max_stale;
                    if part.take_if(|part| part.due <= end).is_some() {
                        tracing::error!(key_set = %url, "a key set is too old to be used; tokens signed with it are refused");
                    }
                    lifetime = None;
                }
            }
        }
        lifetime
    }

    /// A set that is the same as before stays the same, so that what was verified by it stays known.
    fn publish(&mut self, rests_until: SystemTime) {
        let parts: Vec<_> = self.parts.iter().flatten().map(|part| Arc::clone(&part.keys)).collect();
        let complete = parts.len() == self.parts.len();
        let merged = (!parts.is_empty()).then(|| KeySet::merged(&parts));
        if self.published.as_deref() != merged.as_ref() {
            let keys = merged.as_ref().map_or(0, KeySet::len);
            tracing::info!(key_set = %self.fetcher.name(), keys, complete, "keys of an issuer are in force");
            self.published = merged.map(Arc::new);
        }
        self.publisher.publish(self.published.clone(), complete, rests_until);
    }
}
