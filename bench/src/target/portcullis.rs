//! The gateway as a target: its configuration, and the keys that a scenario needs in its store.

use super::keys::insert_keys;
use super::{CLIENT_KEY, Ground, MODEL, Running, Target};
use crate::authoriser::Authoriser;
use crate::gateway::{Gateway, GatewaySetup};
use crate::issuer::{Algorithm, Issuer};
use crate::load::{Caller, KeySeries};
use crate::process::ProcessTree;
use crate::scenario::{Steady, Who};
use http::header::AUTHORIZATION;
use serde_json::json;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const AUDIENCE: &str = "litellm";
/// Long enough that nothing expires within a run.
const DAY: u32 = 86_400;
pub(super) const MASTER_KEY: &str = "sk-bench-master-5d1c64a90b7e";
const KEYS: KeySeries = KeySeries { seed: 0x6b65_7973 };

pub(super) async fn start(
    name: &str,
    binary: &Path,
    events: bool,
    ground: &Ground,
    scenario: &Steady,
) -> anyhow::Result<Target> {
    let issuer = matches!(scenario.who, Who::Token(_) | Who::ColdTokens { .. }).then(Issuer::start).transpose()?;
    let authoriser = matches!(scenario.who, Who::Hook { .. }).then(Authoriser::start).transpose()?;
    let configuration = configuration(ground, scenario, events)
        + &trusting(issuer.as_ref(), scenario)
        + &asking(authoriser.as_ref(), scenario);
    let setup = GatewaySetup::new(binary, &configuration).log_to_file().on(ground.cores);
    std::fs::write(setup.directory().join("custom_auth.py"), include_str!("custom_auth.py"))?;
    let gateway = setup.start().await;
    let caller = match &issuer {
        Some(issuer) => bearer(issuer, scenario),
        None => caller(&gateway, scenario).await?,
    };
    Ok(Target {
        name: name.to_owned(),
        version: version(binary).await?,
        addr: gateway.data_addr(),
        process: Some(ProcessTree::of(gateway.pid())),
        caller,
        expected: if matches!(scenario.who, Who::KeyWithoutModel) { 403 } else { 200 },
        rewrites: false,
        running: Running::Gateway(Box::new(gateway), Box::new((issuer, authoriser))),
    })
}

fn configuration(ground: &Ground, scenario: &Steady, events: bool) -> String {
    let Ground { upstream, provider_key, .. } = ground;
    let cached = match scenario.who {
        Who::Keys { count } => 2 * count + 1000,
        // Keys that come by turns have left such a cache long before their next turn.
        Who::ColdKeys { .. } => 10,
        _ => 1000,
    };
    let custom = if matches!(scenario.who, Who::Python { .. }) { "  custom_auth: custom_auth.decide\n" } else { "" };
    let log_level = if events { "info" } else { "warn" };
    format!(
        "model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n      \
         api_key: {provider_key}\n      api_base: http://{upstream}/v1\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  user_api_key_cache_max_size: {cached}\n  \
         user_api_key_cache_ttl: {DAY}\n{custom}\
         portcullis:\n  threads: 1\n  telemetry:\n    log_level: {log_level}\n"
    )
}

/// The part of the configuration that asks the operator's own code; stands at the end of `portcullis:`.
fn asking(authoriser: Option<&Authoriser>, scenario: &Steady) -> String {
    match (scenario.who, authoriser) {
        (Who::Hook { kept }, Some(authoriser)) => {
            format!("  custom_auth:\n    hook:\n      url: {}\n", authoriser.url(kept))
        }
        (Who::Python { kept }, _) => {
            let kept = if kept { "    cache_ttl: 60\n    depends_on: []\n" } else { "" };
            format!("  custom_auth:\n    workers: 1\n{kept}")
        }
        _ => String::new(),
    }
}

/// The part of the configuration that lets an issuer's tokens in; stands at the end of `portcullis:`.
fn trusting(issuer: Option<&Issuer>, scenario: &Steady) -> String {
    let Some(issuer) = issuer else { return String::new() };
    let (algorithm, cached) = match scenario.who {
        Who::ColdTokens { algorithm, .. } => (algorithm, 1),
        Who::Token(algorithm) => (algorithm, 1000),
        _ => return String::new(),
    };
    let keys = match algorithm {
        Algorithm::HS256 => format!("secret: '{}'", issuer.hs256_secret()),
        _ => format!("key_set_url: {}", issuer.key_set_url()),
    };
    format!(
        "  jwt:\n    cache_size: {cached}\n    issuers:\n      - issuer: {}\n        audiences: [{AUDIENCE}]\n        \
         algorithms: [{algorithm:?}]\n        {keys}\n",
        issuer.url()
    )
}

/// Who calls with tokens of this issuer: as large as those of Keycloak.
fn bearer(issuer: &Issuer, scenario: &Steady) -> Caller {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let token = |algorithm, n: u64| {
        Caller::bearer(&issuer.mint(
            algorithm,
            &json!({
                "iss": issuer.url(), "aud": [AUDIENCE, "account"], "sub": format!("7c1f0b52-e9d8-4a36-9f0e-{n:012}"),
                "iat": now, "exp": now + u64::from(DAY), "jti": format!("onrtro:{n:032}"), "typ": "Bearer", "azp": AUDIENCE,
                "sid": format!("b7e6a1d0-55f4-4c7e-8a51-{n:012}"), "acr": "1", "scope": "profile email",
                "realm_access": {"roles": ["default-roles-litellm", "offline_access", "uma_authorization"]},
                "resource_access": {"account": {"roles": ["manage-account", "manage-account-links", "view-profile"]}},
                "email_verified": true, "name": "San Zhang", "preferred_username": "zhangsan",
                "given_name": "San", "family_name": "Zhang", "email": "zhangsan@example.com",
            }),
        ))
    };
    match scenario.who {
        Who::ColdTokens { algorithm, count } => Caller::Mix((0..count).map(|n| token(algorithm, n)).collect()),
        Who::Token(algorithm) => token(algorithm, 0),
        _ => Caller::bearer(MASTER_KEY),
    }
}

/// Makes the keys that the scenario needs and says who calls with them.
async fn caller(gateway: &Gateway, scenario: &Steady) -> anyhow::Result<Caller> {
    let allowed = json!({"models": [MODEL]});
    let most = 1_000_000_000;
    let limited = json!({"models": [MODEL], "rpm_limit": most, "tpm_limit": most, "max_parallel_requests": most, "max_budget": most,
            "model_rpm_limit": {MODEL: most}, "model_tpm_limit": {MODEL: most}});
    Ok(match scenario.who {
        Who::Master | Who::Token(_) | Who::ColdTokens { .. } => Caller::bearer(MASTER_KEY),
        Who::Python { .. } | Who::Hook { .. } => Caller::bearer(CLIENT_KEY),
        Who::Key => Caller::bearer(&gateway.generate_key(&allowed).await),
        Who::KeyWithLimits => Caller::bearer(&gateway.generate_key(&limited).await),
        Who::KeyWithoutModel => Caller::bearer(&gateway.generate_key(&json!({"models": ["another-model"]})).await),
        Who::Keys { count } => {
            insert_keys(gateway, &allowed, KEYS, count).await?;
            Caller::Random { header: AUTHORIZATION, keys: KEYS, count }
        }
        Who::ColdKeys { count } => {
            insert_keys(gateway, &allowed, KEYS, count).await?;
            Caller::InTurn { header: AUTHORIZATION, keys: KEYS, count }
        }
    })
}

/// What this build calls itself.
pub(crate) async fn version(binary: &Path) -> anyhow::Result<String> {
    let output = tokio::process::Command::new(binary).arg("--version").output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
