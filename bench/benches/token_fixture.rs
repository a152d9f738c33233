//! What the micro-benchmarks of tokens decide about: a gate that takes tokens of one issuer, whose keys are at hand.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_bench::issuer::{self as bench, Algorithm};
use portcullis_filters::authn::failures::FailureThrottle;
use portcullis_filters::authn::jwt::JwtAuthenticator;
use portcullis_filters::authn::jwt::cache::{TokenCacheSettings, VerifiedTokens};
use portcullis_filters::authn::jwt::identity::ClaimRules;
use portcullis_filters::authn::jwt::issuer::Issuer;
use portcullis_filters::authn::jwt::key_source::KeySource;
use portcullis_filters::authn::jwt::keys::KeySet;
use portcullis_filters::authn::virtual_key::StoreUnavailable;
use portcullis_filters::authn::{Authenticator, Authenticators, Gate};
use portcullis_filters::credential::{CredentialSlots, Shapes};
use portcullis_filters::denial::Denial;
use portcullis_filters::directory::{Directory, Enrolment, TeamName, TeamRecord, UserRecord};
use portcullis_filters::endpoint::Endpoint;
use portcullis_filters::policy::{AccessGroups, Permit, authorize};

use crate::fixture::{MODEL, NOW, Request};

/// A gate that takes tokens: keys of an issuer that are at hand, and a cache for so many tokens.
pub(crate) struct TokenDoor {
    gate: Gate,
    groups: AccessGroups,
    issuer: bench::Issuer,
}

impl TokenDoor {
    /// Takes what this algorithm signs.
    pub(crate) fn new(algorithm: Algorithm, cached: u64) -> Self {
        let issuer = bench::Issuer::start().expect("a loopback interface");
        let name = format!("{algorithm:?}");
        let keys = match algorithm {
            Algorithm::HS256 => KeySet::from_secret(&issuer.hs256_secret().into()).expect("a long secret"),
            _ => KeySet::parse(issuer.key_set().as_bytes()).expect("a key set").0,
        };
        let trusted = Issuer {
            name: Some(issuer.url().to_owned()),
            audiences: vec!["litellm".to_owned()],
            algorithms: vec![name.parse().expect("an algorithm")],
            leeway: Duration::ZERO,
            max_age: None,
            required: Vec::new(),
            types: Vec::new(),
            keys: KeySource::fixed(Arc::new(keys)),
            claims: ClaimRules::default(),
        };
        let tokens = JwtAuthenticator::new(
            vec![trusted],
            VerifiedTokens::new(TokenCacheSettings { max_tokens: cached, ttl: Duration::from_secs(300) }),
            Arc::default(),
            Arc::default(),
            Arc::new(Nobody),
            Arc::new(FailureThrottle::new(Default::default())),
        );
        let slots = CredentialSlots { shapes: Shapes { jwt: true, opaque: false }, ..CredentialSlots::default() };
        let gate = Gate { slots, authenticators: Authenticators::new(vec![Authenticator::Jwt(tokens)]) };
        Self { gate, groups: AccessGroups::default(), issuer }
    }

    /// A chat with the `n`-th token, which is as large as those of Keycloak.
    pub(crate) fn request(&self, algorithm: Algorithm, n: usize) -> Request {
        let claims = serde_json::json!({
            "iss": self.issuer.url(), "aud": ["litellm", "account"], "sub": format!("7c1f0b52-e9d8-4a36-9f0e-{n:012}"),
            "iat": 0, "exp": 300, "jti": format!("onrtro:{n:032}"), "typ": "Bearer", "azp": "litellm",
            "sid": format!("b7e6a1d0-55f4-4c7e-8a51-{n:012}"), "acr": "1", "scope": "profile email",
            "realm_access": {"roles": ["default-roles-litellm", "offline_access", "uma_authorization"]},
            "resource_access": {"account": {"roles": ["manage-account", "manage-account-links", "view-profile"]}},
            "email_verified": true, "name": "San Zhang", "preferred_username": "zhangsan",
            "given_name": "San", "family_name": "Zhang", "email": "zhangsan@example.com",
        });
        Request::chat(&self.issuer.mint(algorithm, &claims), MODEL, 1024)
    }

    /// From the fields to the permit.
    pub(crate) fn decide(&self, request: &Request, endpoint: Endpoint) -> Result<Permit, Denial> {
        let answer = self.gate.authenticate(&request.head(), NOW).now_or_never();
        authorize(answer.expect("the keys are at hand")?, request.operation(endpoint)?, &self.groups)
    }
}

/// A directory without users and teams.
struct Nobody;

impl Directory for Nobody {
    fn user<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Arc<UserRecord>>, StoreUnavailable>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn team<'a>(&'a self, _: TeamName<'a>) -> BoxFuture<'a, Result<Option<Arc<TeamRecord>>, StoreUnavailable>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn enrol(&self, _: Enrolment) {}
}
