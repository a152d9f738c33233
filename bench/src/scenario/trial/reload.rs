//! `reload_under_load`: the configuration gets another model, SIGHUP, and as soon as that model is there, the next one.

use super::node::Node;
use super::{Outcome, Stage, latencies, node};
use crate::gateway::Signal;
use crate::load::Load;

const RATE: f64 = 2000.0;

pub(super) fn play(stage: &Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Some(server) = stage.database(outcome) else { return Ok(()) };
    for (name, binary, events) in stage.gateways() {
        let provider = node::provider()?;
        let store = stage.runtime.block_on(server.database());
        let node = stage.runtime.block_on(Node::start(stage, (binary, events), provider.addr(), &store))?;
        let good = stage.runtime.block_on(node.good(stage, RATE));
        let mut reloads = 0;
        for _ in 0..stage.repetitions {
            for reloaded in [false, true] {
                let load = Load::start(good.clone());
                if reloaded {
                    stage.runtime.block_on(reload_while(&node, &load, &mut reloads))?;
                }
                let report = load.finish()?;
                let condition = format!("{name}, {}", if reloaded { "reloading" } else { "left alone" });
                outcome.record(&condition, &node.version, latencies(&report));
                outcome.note_wrong(&condition, &report);
                node.gateway.cut_log();
            }
        }
        outcome.note(format!("{name}, reloading: {reloads} new configurations came into force, none was lost"));
    }
    Ok(())
}

/// Reloads again and again until the load is over.
async fn reload_while(node: &Node, load: &Load, reloads: &mut u32) -> anyhow::Result<()> {
    let path = node.gateway.config_path();
    let first = std::fs::read_to_string(&path)?;
    while !load.is_finished() {
        *reloads += 1;
        let model = format!("reload-{reloads}");
        let added = format!("model_list:\n  - model_name: {model}\n    litellm_params:\n      model: mock\n");
        std::fs::write(&path, first.replacen("model_list:\n", &added, 1))?;
        node.gateway.signal(Signal::SIGHUP);
        let served = async {
            while !node.serves(&model).await {
                tokio::task::yield_now().await;
            }
        };
        crate::within("the new configuration", served).await;
    }
    std::fs::write(&path, first)?;
    Ok(())
}
