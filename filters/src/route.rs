//! From a permit to an upstream: model group, weights, cool-down, and where on the provider's host the call goes.
//!
//! Several deployments may serve one model. One is drawn by weight; when it fails before the first byte, the next is
//! tried, and one that keeps failing rests for a while. Randomness and time are arguments.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use url::Url;

use crate::client_side::{ChosenBy, ClientSide, ClientSideRules};
use crate::denial::Denial;
use crate::endpoint::{Call, Vendor};
use crate::outbound::Outbound;
use crate::policy::{AccessGroups, Permit};
use crate::price::Price;

mod target;
mod upstream;

pub use target::Target;
pub use upstream::{DeploymentSettings, Provider, Upstream};

/// How failures are met. `Default` is LiteLLM's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingSettings {
    /// Further deployments tried after the first (`router_settings.num_retries`).
    pub retries: usize,
    /// How long a failing deployment rests (`router_settings.cooldown_time`).
    pub cooldown: Duration,
    /// Failures in a row that it may have before it rests (`router_settings.allowed_fails`).
    pub allowed_fails: u32,
    /// Other names for model groups (`router_settings.model_group_alias`).
    pub aliases: HashMap<String, String>,
}

impl Default for RoutingSettings {
    fn default() -> Self {
        Self { retries: 2, cooldown: Duration::from_secs(5), allowed_fails: 3, aliases: HashMap::new() }
    }
}

/// Every model that is served here, and by whom.
#[derive(Default)]
pub struct RouteTable {
    settings: RoutingSettings,
    exact: HashMap<String, Vec<Arc<Upstream>>>,
    /// Patterns `prefix*`, longest prefix first.
    patterns: Vec<(String, Vec<Arc<Upstream>>)>,
    pass_through: HashMap<Vendor, Arc<Upstream>>,
    /// Whether a caller brought it.
    of_client: bool,
    /// Names in the order of the configuration, for listings.
    names: Vec<String>,
}

/// One upstream chosen for one request.
#[derive(Clone)]
pub struct Route {
    /// Who serves it.
    pub upstream: Arc<Upstream>,
    /// The upstream's name for the model; empty where the call has none.
    pub model: Arc<str>,
    /// Where on its host, and with which credential.
    pub target: Target,
    /// Who answers for the host.
    pub chosen_by: ChosenBy,
    /// The one address that may be dialled, where a client chose the host: [`Route::pin`] sets it.
    pub pinned: Option<SocketAddr>,
    /// Whether a credential of the caller's is used. Such a request is for this deployment alone, and its failures are
    /// the caller's.
    pub private: bool,
}

impl Route {
    /// Looks the host up if a client chose it, and has the guard judge what is found; what is dialled later is what was
    /// judged.
    ///
    /// # Errors
    /// [`Denial::ForbiddenDestination`], or what the look-up says.
    pub async fn pin<F>(&mut self, outbound: &Outbound, look_up: impl FnOnce(Url) -> F) -> Result<(), Denial>
    where
        F: Future<Output = Result<Arc<[SocketAddr]>, Denial>>,
    {
        if self.chosen_by == ChosenBy::Operator {
            return Ok(());
        }
        let base = &self.upstream.settings().base;
        let found = look_up(base.clone()).await?;
        let addresses: SmallVec<[IpAddr; 4]> = found.iter().map(SocketAddr::ip).collect();
        outbound.check(base, &addresses)?;
        self.pinned = found.first().copied();
        Ok(())
    }

    /// Puts a credential that the caller sent for the provider in the place of the operator's.
    #[must_use]
    pub fn with_own_credential(mut self, (name, value): (HeaderName, HeaderValue)) -> Self {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let client = ClientSide { api_key: Some(text.into()), ..ClientSide::default() };
        self.upstream = Arc::new(self.upstream.for_client(&client));
        self.target.credential = Some((name, value));
        self.private = true;
        self
    }
}

impl RouteTable {
    /// Builds the table. `pass_through` holds the credential of each vendor whose prefix is served.
    #[must_use]
    pub fn new(
        deployments: Vec<DeploymentSettings>,
        pass_through: Vec<(Vendor, DeploymentSettings)>,
        settings: RoutingSettings,
    ) -> Self {
        let mut table = Self { settings, ..Self::default() };
        for deployment in deployments {
            let name = deployment.name.clone();
            let upstream = Arc::new(Upstream::new(deployment));
            if !table.names.contains(&name) {
                table.names.push(name.clone());
            }
            let Some(prefix) = name.strip_suffix('*') else {
                table.exact.entry(name).or_default().push(upstream);
                continue;
            };
            match table.patterns.iter_mut().find(|(known, _)| known == prefix) {
                Some((_, group)) => group.push(upstream),
                None => table.patterns.push((prefix.to_owned(), vec![upstream])),
            }
        }
        table.patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        table.pass_through =
            pass_through.into_iter().map(|(vendor, settings)| (vendor, Arc::new(Upstream::new(settings)))).collect();
        table
    }

    /// The table that a caller brings (`user_config`). Whatever host is in it, the caller chose it.
    #[must_use]
    pub fn of_client(deployments: Vec<DeploymentSettings>) -> Self {
        Self { of_client: true, ..Self::new(deployments, Vec::new(), RoutingSettings::default()) }
    }

    /// How many deployments one request may try.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.settings.retries + 1
    }

    /// Chooses an upstream that is not in `tried`: by weight among those that are not cooling down, else the one that
    /// has rested longest. `random` draws any number; it is asked only where there is a choice.
    ///
    /// What the caller brings of its own takes the place of what the deployment has, where it lists that; a deployment that
    /// does not is passed over.
    ///
    /// # Errors
    /// [`Denial::UnknownModel`], [`Denial::UnsupportedDialect`], [`Denial::ForbiddenField`] when no deployment takes what
    /// the caller brings, or [`Denial::UpstreamUnavailable`] when all were tried.
    pub fn resolve(
        &self,
        permit: &Permit,
        query: Option<&str>,
        tried: &[Arc<Upstream>],
        now: SystemTime,
        random: impl Fn() -> u64,
    ) -> Result<Route, Denial> {
        let endpoint = &permit.operation().endpoint;
        let client = permit.operation().client.as_deref().filter(|_| !self.of_client);
        if let Call::PassThrough(vendor, _) = &endpoint.call {
            client.map_or(Ok(ChosenBy::Operator), |client| ClientSideRules::default().take(client))?;
            let upstream = self.pass_through.get(vendor).filter(|_| tried.is_empty()).ok_or(Denial::UnknownRoute)?;
            let target = upstream.target(endpoint, "", query).ok_or(Denial::UnknownRoute)?;
            let (upstream, model) = (Arc::clone(upstream), Arc::from(""));
            return Ok(Route { upstream, model, target, chosen_by: ChosenBy::Operator, pinned: None, private: false });
        }
        let asked = permit.model().filter(|model| !model.is_empty()).ok_or(Denial::UnknownModel(None))?;
        let (group, matched) = self.group(asked).ok_or_else(|| Denial::UnknownModel(Some(asked.to_owned())))?;
        // The built-in model answers before anything is sent on, so it stands in for nobody.
        let stands_in = |upstream: &Upstream| tried.is_empty() || upstream.settings().provider != Provider::Mock;
        let untried =
            |upstream: &&Arc<Upstream>| stands_in(upstream) && !tried.iter().any(|other| Arc::ptr_eq(other, upstream));
        let mut left: SmallVec<[&Arc<Upstream>; 8]> = group.iter().filter(untried).collect();
        let mut refused = Denial::UnsupportedDialect(asked.to_owned());
        while let Some(drawn) = draw(&left, now, &random) {
            let upstream = left.remove(drawn);
            let (upstream, chosen_by) =
                match client.map(|client| (client, upstream.settings().client_side.take(client))) {
                    None => (Arc::clone(upstream), self.host_chosen_by()),
                    Some((client, Ok(chosen_by))) => (Arc::new(upstream.for_client(client)), chosen_by),
                    Some((_, Err(denial))) => {
                        refused = denial;
                        continue;
                    }
                };
            let model = upstream.model_for(asked, matched);
            if let Some(target) = upstream.target(endpoint, &model, query) {
                let private = client.is_some() || self.of_client;
                return Ok(Route { upstream, model, target, chosen_by, pinned: None, private });
            }
        }
        if tried.is_empty() {
            return Err(refused);
        }
        let cause = "every deployment was tried".to_owned();
        Err(Denial::UpstreamUnavailable { model: asked.to_owned(), cause })
    }

    /// Notes a failure before the first byte; a deployment that has too many in a row rests.
    pub fn failed(&self, upstream: &Upstream, now: SystemTime) {
        upstream.failed(self.settings.allowed_fails, now + self.settings.cooldown);
    }

    /// Every deployment, and whether it is used now rather than resting.
    pub fn deployments(&self, now: SystemTime) -> impl Iterator<Item = (&Upstream, bool)> {
        let patterns = self.patterns.iter().flat_map(|(_, group)| group);
        self.exact.values().flatten().chain(patterns).map(move |upstream| (&**upstream, !upstream.is_cooling(now)))
    }

    /// The deployments of a model of this name, and whether each is used now rather than resting.
    pub fn candidates<'a>(&'a self, model: &'a str, now: SystemTime) -> impl Iterator<Item = (&'a Upstream, bool)> {
        let group = self.group(model).map_or(&[][..], |(group, _)| group);
        group.iter().map(move |upstream| (&**upstream, !upstream.is_cooling(now)))
    }

    /// The price of a permit's call at each deployment that may serve it; `None`: nobody said.
    #[must_use]
    pub fn prices(&self, permit: &Permit) -> SmallVec<[Option<Price>; 4]> {
        let asked = permit.model().unwrap_or_default();
        if let Call::PassThrough(vendor, _) = &permit.operation().endpoint.call {
            return self
                .pass_through
                .get(vendor)
                .map(|upstream| upstream.settings().pricing.of(asked))
                .into_iter()
                .collect();
        }
        let (group, matched) = self.group(asked).unwrap_or_default();
        group.iter().map(|upstream| upstream.settings().pricing.of(&upstream.model_for(asked, matched))).collect()
    }

    /// The names that this principal may use, in the order of the configuration. A key that was granted single names of
    /// a pattern sees those.
    #[must_use]
    pub fn visible_models(&self, permit: &Permit, groups: &AccessGroups) -> Vec<String> {
        let mut visible: Vec<String> =
            self.names.iter().filter(|name| permit.allows_model(name, groups)).cloned().collect();
        for granted in permit.granted_models() {
            let single = !granted.ends_with('*') && !visible.contains(granted);
            if single && permit.allows_model(granted, groups) && self.group(granted).is_some() {
                visible.push(granted.clone());
            }
        }
        visible
    }

    fn host_chosen_by(&self) -> ChosenBy {
        if self.of_client { ChosenBy::Client } else { ChosenBy::Operator }
    }

    /// The deployments of a model, and the part of its name that a pattern's star stands for.
    fn group<'a>(&'a self, asked: &'a str) -> Option<(&'a [Arc<Upstream>], &'a str)> {
        let name = self.settings.aliases.get(asked).map_or(asked, String::as_str);
        if let Some(group) = self.exact.get(name) {
            return Some((group, name));
        }
        self.patterns.iter().find_map(|(prefix, group)| Some((group.as_slice(), name.strip_prefix(prefix.as_str())?)))
    }
}

/// Which of them, by weight; when all rest, the one that has rested longest.
fn draw(upstreams: &[&Arc<Upstream>], now: SystemTime, random: &impl Fn() -> u64) -> Option<usize> {
    if upstreams.len() < 2 {
        return (!upstreams.is_empty()).then_some(0);
    }
    let awake: SmallVec<[(usize, u64); 8]> = (0..)
        .zip(upstreams)
        .filter(|(_, upstream)| !upstream.is_cooling(now))
        .map(|(at, upstream)| (at, u64::from(upstream.weight())))
        .collect();
    let Some((first, _)) = awake.first() else {
        return (0..upstreams.len()).min_by_key(|at| upstreams[*at].cool_until());
    };
    let total: u64 = awake.iter().map(|(_, weight)| weight).sum();
    let mut point = random() % total.max(1);
    let drawn = awake.iter().find(|(_, weight)| {
        let hit = point < *weight;
        point = point.saturating_sub(*weight);
        hit
    });
    Some(drawn.map_or(*first, |(at, _)| *at))
}

#[cfg(test)]
mod tests;
