//! From settings to what a request sees. Used at the start and at every reload, so that both make the same of a file.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use portcullis_admin_api::health::Deployment;
use portcullis_admin_api::keys::rules as admin;
use portcullis_admin_api::models::ServedModel;
use portcullis_filters::authn::failures::{FailureSettings, FailureThrottle};
use portcullis_filters::authn::master::MasterKeys;
use portcullis_filters::authn::virtual_key::{KeyHash, KeyStore, VirtualKeyAuthenticator};
use portcullis_filters::authn::{Authenticator, Authenticators, Gate};
use portcullis_filters::cache::KeyCache;
use portcullis_filters::client_side::ClientSideRules;
use portcullis_filters::credential::{CredentialSlots, OwnCredential, Shapes};
use portcullis_filters::endpoint::Vendor;
use portcullis_filters::policy::AccessGroups;
use portcullis_filters::price::Pricing;
use portcullis_filters::route::{DeploymentSettings, Provider, RouteTable, RoutingSettings};
use portcullis_filters::secret::Secret;
use serde_json::Value;
use url::Url;

use crate::config::{self, KeyRules, ModelSettings, ProviderKind, Settings};
use crate::proxy::Live;

mod client_side;
mod custom;
mod tokens;

pub use custom::CustomMakings;
pub use tokens::{GateLogouts, TokenMakings};

/// What outlives a reload: the store, what is remembered of it, and who failed.
#[derive(Clone)]
pub struct Makings {
    /// Where keys are looked up.
    pub keys: Arc<dyn KeyStore>,
    /// What is remembered of them.
    pub cache: Arc<KeyCache>,
    /// Who presented unknown ones.
    pub failures: Arc<FailureThrottle>,
    /// What custom authentication needs.
    pub custom: CustomMakings,
    /// What tokens need.
    pub tokens: TokenMakings,
    /// Digest of the master key that was made at the first start; counts only while none is configured.
    pub stored_master_key: Arc<ArcSwapOption<KeyHash>>,
}

impl Makings {
    /// What a request decides by under these settings.
    #[must_use]
    pub fn live(&self, settings: &Settings) -> Live {
        let groups = settings
            .models
            .iter()
            .flat_map(|model| model.access_groups.iter().map(|group| (model.name.clone(), group.clone())));
        Live {
            gate: Arc::new(self.gate(settings)),
            explaining: self.for_explanations().gate(settings),
            open_paths: settings.open_paths.clone(),
            open_sources: settings.open_sources.clone(),
            groups: AccessGroups::new(groups),
            routes: routes(settings),
            client_side: settings.client_side.clone(),
            served: settings.models.iter().map(served).collect(),
            http: settings.http.clone(),
            asks_streams: settings.usage.ask_streams,
            management_on_data: settings.listen.admin_on_data,
        }
    }

    /// The same, but that nothing asked of it counts: failures are not, proofs are used up for it alone, and nobody is
    /// enrolled.
    fn for_explanations(&self) -> Self {
        let settings = FailureSettings { burst: 0, ..FailureSettings::default() };
        Self {
            failures: Arc::new(FailureThrottle::new(settings)),
            tokens: self.tokens.for_explanations(),
            ..self.clone()
        }
    }

    /// The admin API's rules. Repeatable rotations derive the new key from a secret that the store does not hold.
    #[must_use]
    pub fn key_rules(&self, rules: &KeyRules, master_keys: &[Secret]) -> admin::KeyRules {
        let derivation = master_keys.first().cloned().unwrap_or_else(|| crate::telemetry::request_id().into());
        admin_rules(rules, derivation)
    }

    fn gate(&self, settings: &Settings) -> Gate {
        let stored = self.stored_master_key.load_full().filter(|_| settings.master_keys.is_empty());
        let master = match stored {
            Some(digest) => MasterKeys::from_digests(vec![*digest]),
            None => MasterKeys::new(&settings.master_keys),
        };
        let keys =
            VirtualKeyAuthenticator::new(Arc::clone(&self.keys), Arc::clone(&self.cache), Arc::clone(&self.failures))
                .with_directory(Arc::clone(&self.tokens.directory));
        let mut chain = settings.jwt.as_ref().map(|jwt| self.tokens.chain(jwt, &self.failures)).unwrap_or_default();
        chain.extend([Authenticator::Master(master), Authenticator::VirtualKey(keys)]);
        let asked_about = settings.jwt.as_ref().is_some_and(|jwt| !jwt.opaque.is_empty());
        let odd_key = settings.master_keys.iter().any(|key| !key.expose().starts_with("sk-"));
        let custom = self.custom.chain(settings.custom_auth.as_ref(), &self.tokens.directory, &self.failures);
        let opaque = asked_about || odd_key || custom.is_some();
        let authenticators = Authenticators::new(chain);
        Gate {
            slots: CredentialSlots {
                replacing: settings.slots.key_header.clone(),
                additional: settings.slots.additional_headers.clone(),
                certificate: settings.slots.certificate_header.clone(),
                shapes: Shapes { jwt: settings.jwt.as_ref().is_some_and(|jwt| !jwt.issuers.is_empty()), opaque },
            },
            authenticators: match custom {
                Some(custom) => authenticators.with_custom(custom),
                None => authenticators,
            },
        }
    }
}

impl Live {
    /// The deployments as they are doing now, for `/health`.
    #[must_use]
    pub fn deployments(&self) -> Vec<Deployment> {
        self.routes
            .deployments(std::time::SystemTime::now())
            .map(|(upstream, healthy)| Deployment {
                model: upstream.settings().model.clone(),
                id: upstream.name().to_owned(),
                healthy,
            })
            .collect()
    }
}

fn served(model: &ModelSettings) -> ServedModel {
    ServedModel {
        name: model.name.clone(),
        provider: model.provider.name.to_owned(),
        model: model.model.clone(),
        api_base: model.api_base.as_ref().map(Url::to_string),
        api_version: model.api_version.clone(),
        access_groups: model.access_groups.clone(),
    }
}

fn routes(settings: &Settings) -> RouteTable {
    let deployments = settings.models.iter().map(|model| deployment(model, settings)).collect();
    let pass_through = settings.pass_through.iter().filter_map(|vendor| {
        let prefix = match vendor.provider.name {
            "openai" => Vendor::OpenAi,
            "azure" => Vendor::Azure,
            "anthropic" => Vendor::Anthropic,
            "gemini" => Vendor::Gemini,
            _ => return None,
        };
        let upstream = DeploymentSettings {
            name: String::new(),
            provider: spoken(vendor.provider),
            model: String::new(),
            base: vendor.api_base.clone(),
            credential: Some(vendor.api_key.clone()),
            api_version: vendor.api_version.clone(),
            organization: None,
            weight: 1,
            timeout: Some(settings.routing.timeout),
            client_side: ClientSideRules::default(),
            own_credential: OwnCredential::Never,
            pricing: Pricing { own: None, list: Arc::clone(&settings.usage.prices), provider: vendor.provider.name },
        };
        Some((prefix, upstream))
    });
    let aliases: HashMap<_, _> =
        settings.routing.aliases.iter().map(|(name, alias)| (name.clone(), alias.model.clone())).collect();
    let routing = RoutingSettings {
        retries: settings.routing.num_retries as usize,
        cooldown: settings.routing.cooldown,
        allowed_fails: settings.routing.allowed_fails,
        aliases,
    };
    RouteTable::new(deployments, pass_through.collect(), routing)
}

fn deployment(model: &ModelSettings, settings: &Settings) -> DeploymentSettings {
    DeploymentSettings {
        name: model.name.clone(),
        provider: spoken(model.provider),
        model: model.model.clone(),
        base: model.api_base.clone().unwrap_or_else(nowhere),
        credential: model.api_key.clone(),
        api_version: model.api_version.clone(),
        organization: model.organization.clone(),
        weight: model.weight,
        timeout: Some(model.timeout.unwrap_or(settings.routing.timeout)),
        client_side: model.client_side.clone(),
        own_credential: model.own_credential,
        pricing: Pricing { own: model.price, list: Arc::clone(&settings.usage.prices), provider: model.provider.name },
    }
}

/// Whose API a provider speaks.
fn spoken(provider: &config::Provider) -> Provider {
    match provider.kind {
        ProviderKind::OpenAi if provider.name == "openai" => Provider::OpenAi,
        ProviderKind::OpenAi => Provider::Compatible,
        ProviderKind::Azure => Provider::Azure,
        ProviderKind::Anthropic => Provider::Anthropic,
        ProviderKind::Gemini => Provider::Gemini,
        ProviderKind::Mock => Provider::Mock,
    }
}

fn admin_rules(rules: &KeyRules, derivation: Secret) -> admin::KeyRules {
    let bound = |name: &str| rules.upper_bounds.get(name);
    let span = |name: &str| bound(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
    let grace = rules.rotation_grace.as_secs();
    admin::KeyRules {
        generated_bytes: rules.generated_bytes,
        minimum_custom_length: rules.min_custom_length,
        custom_keys: rules.allow_custom_keys,
        key_names: rules.keep_key_name,
        grace_period: (grace > 0).then(|| format!("{grace}s").parse().ok()).flatten(),
        defaults: rules.defaults.clone(),
        upper_bounds: admin::UpperBounds {
            max_budget: bound("max_budget").and_then(Value::as_f64),
            budget_duration: span("budget_duration"),
            duration: span("duration"),
            max_parallel_requests: bound("max_parallel_requests").and_then(Value::as_u64),
            tpm_limit: bound("tpm_limit").and_then(Value::as_u64),
            rpm_limit: bound("rpm_limit").and_then(Value::as_u64),
        },
        derivation,
    }
}

/// The base of the built-in model, which is never connected to.
fn nowhere() -> Url {
    Url::parse("mock://built-in").expect("a literal URL")
}
