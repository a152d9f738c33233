//! The gateway as a target: its configuration, and the keys that a scenario needs in its store.

use super::keys::insert_keys;
use super::{Ground, MODEL, Running, Target};
use crate::gateway::{Gateway, GatewaySetup};
use crate::load::{Caller, KeySeries};
use crate::process::ProcessTree;
use crate::scenario::{Steady, Who};
use http::header::AUTHORIZATION;
use serde_json::json;
use std::path::Path;

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
    let setup = GatewaySetup::new(binary, &configuration(ground, scenario, events)).log_to_file();
    let gateway = setup.on(ground.cores).start().await;
    let caller = caller(&gateway, scenario).await?;
    Ok(Target {
        name: name.to_owned(),
        version: version(binary).await?,
        addr: gateway.data_addr(),
        process: Some(ProcessTree::of(gateway.pid())),
        caller,
        expected: if matches!(scenario.who, Who::KeyWithoutModel) { 403 } else { 200 },
        rewrites: false,
        running: Running::Gateway(Box::new(gateway)),
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
    let log_level = if events { "info" } else { "warn" };
    format!(
        "model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n      \
         api_key: {provider_key}\n      api_base: http://{upstream}/v1\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  user_api_key_cache_max_size: {cached}\n  \
         user_api_key_cache_ttl: {DAY}\n\
         portcullis:\n  threads: 1\n  telemetry:\n    log_level: {log_level}\n"
    )
}

/// Makes the keys that the scenario needs and says who calls with them.
async fn caller(gateway: &Gateway, scenario: &Steady) -> anyhow::Result<Caller> {
    let allowed = json!({"models": [MODEL]});
    Ok(match scenario.who {
        Who::Master => Caller::bearer(MASTER_KEY),
        Who::Key => Caller::bearer(&gateway.generate_key(&allowed).await),
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
