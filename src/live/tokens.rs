//! From settings to the authenticators of tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use portcullis_admin_api::logout::LogoutTokens;
use portcullis_filters::authn::failures::FailureThrottle;
use portcullis_filters::authn::jwt::JwtAuthenticator;
use portcullis_filters::authn::jwt::cache::VerifiedTokens;
use portcullis_filters::authn::jwt::deny_list::DenyList;
use portcullis_filters::authn::jwt::issuer::Issuer;
use portcullis_filters::authn::jwt::key_source::KeySource;
use portcullis_filters::authn::jwt::logout::LoggedOut;
use portcullis_filters::authn::jwt::proof::Proofs;
use portcullis_filters::authn::jwt::proof::used::UsedProofs;
use portcullis_filters::authn::opaque::{self, OpaqueAuthenticator, TokenServer};
use portcullis_filters::authn::virtual_key::StoreUnavailable;
use portcullis_filters::authn::{Authenticator, Gate};
use portcullis_filters::denial::Denial;
use portcullis_filters::directory::{Directory, Enrolment, MemberRecord, TeamName, TeamRecord, UserRecord};
use reqwest::Client;
use tokio::runtime::Handle;

use crate::background::introspection::{DEADLINE, Endpoint};
use crate::background::key_sets::KeySets;
use crate::config::{IssuerSettings, JwtSettings, KeySetSettings, KeySettings, OpaqueSettings};

/// Verifies the logout tokens of issuers with the gate in force.
pub struct GateLogouts(pub Arc<ArcSwap<Gate>>);

#[async_trait]
impl LogoutTokens for GateLogouts {
    async fn verify(&self, token: &str, source: Option<IpAddr>, now: SystemTime) -> Result<LoggedOut, Denial> {
        self.0.load_full().authenticators.logout(token, source, now).await
    }
}

/// What of tokens outlives a reload.
#[derive(Clone)]
pub struct TokenMakings {
    /// Who fetches key sets.
    pub key_sets: Arc<KeySets>,
    /// By which issuers are asked about opaque tokens.
    pub client: Client,
    /// Where they are asked.
    pub control: Handle,
    /// Which tokens were taken back.
    pub deny_list: Arc<DenyList>,
    /// Which proofs were used.
    pub used_proofs: Arc<UsedProofs>,
    /// Where users and teams are looked up.
    pub directory: Arc<dyn Directory>,
}

impl TokenMakings {
    /// The same for explanations: proofs are used up for it alone, and nobody is enrolled.
    pub(super) fn for_explanations(&self) -> Self {
        Self {
            used_proofs: Arc::new(UsedProofs::new(MAX_EXPLAINED, SystemTime::now())),
            directory: Arc::new(NeverEnrols(Arc::clone(&self.directory))),
            ..self.clone()
        }
    }

    /// The authenticators of these settings. What was verified under others is not known to them.
    pub(super) fn chain(&self, settings: &JwtSettings, failures: &Arc<FailureThrottle>) -> Vec<Authenticator> {
        self.deny_list.require(settings.deny_list_required);
        let fetched: Vec<_> = settings.issuers.iter().filter_map(key_set).collect();
        self.key_sets.retain(&fetched);
        let proofs = Arc::new(Proofs::new(settings.proof.clone(), Arc::clone(&self.used_proofs)));
        let mut chain = Vec::new();
        if !settings.issuers.is_empty() {
            chain.push(Authenticator::Jwt(JwtAuthenticator::new(
                settings.issuers.iter().map(|issuer| self.issuer(issuer)).collect(),
                VerifiedTokens::new(settings.cache.clone()),
                Arc::clone(&self.deny_list),
                Arc::clone(&proofs),
                Arc::clone(&self.directory),
                Arc::clone(failures),
            )));
        }
        if !settings.opaque.is_empty() {
            chain.push(Authenticator::Opaque(OpaqueAuthenticator::new(
                settings.opaque.iter().map(|server| self.server(server)).collect(),
                opaque::OpaqueSettings { max_tokens: settings.cache.max_tokens, ..Default::default() },
                Arc::clone(&self.deny_list),
                proofs,
                Arc::clone(&self.directory),
                Arc::clone(failures),
            )));
        }
        chain
    }

    fn issuer(&self, settings: &IssuerSettings) -> Issuer {
        Issuer {
            name: settings.name.clone(),
            audiences: settings.audiences.clone(),
            algorithms: settings.algorithms.clone(),
            leeway: settings.leeway,
            max_age: settings.max_age,
            required: settings.required.clone(),
            types: settings.types.clone(),
            keys: match &settings.keys {
                KeySettings::Fetched(key_set) => self.key_sets.source(key_set),
                KeySettings::Fixed(keys) => KeySource::fixed(Arc::clone(keys)),
            },
            claims: settings.claims.clone(),
        }
    }

    fn server(&self, settings: &OpaqueSettings) -> TokenServer {
        TokenServer {
            endpoint: Arc::new(Endpoint::new(
                self.client.clone(),
                settings.url.clone(),
                settings.kind.clone(),
                DEADLINE,
                self.control.clone(),
            )),
            issuer: settings.issuer.clone(),
            audiences: settings.audiences.clone(),
            leeway: CLOCKS,
            ttl: settings.cache_ttl,
            claims: settings.claims.clone(),
        }
    }
}

/// Proofs that explanations remember: people ask, and not often.
const MAX_EXPLAINED: usize = 1_000;

/// A directory that is only looked into.
struct NeverEnrols(Arc<dyn Directory>);

impl Directory for NeverEnrols {
    fn user<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        self.0.user(id)
    }

    fn team<'a>(&'a self, name: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        self.0.team(name)
    }

    fn member<'a>(
        &'a self,
        team: &'a TeamRecord,
        user_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<MemberRecord>>, StoreUnavailable>> {
        self.0.member(team, user_id)
    }

    fn enrol(&self, _: Enrolment) {}
}

/// How far the clock of a server that answers for tokens may run ahead of ours; as far as an issuer's by default.
const CLOCKS: Duration = Duration::from_secs(30);

fn key_set(issuer: &IssuerSettings) -> Option<&KeySetSettings> {
    match &issuer.keys {
        KeySettings::Fetched(key_set) => Some(key_set),
        KeySettings::Fixed(_) => None,
    }
}
