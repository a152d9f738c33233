//! `key_unknown_flood`: what good requests feel of a flood of keys that nobody has, and what the database sees of it.
//!
//! The flood comes from many addresses, each below what the gateway's throttle forgives: it is the store's cache that is tested.
//! What the machine feels of as many requests that need no store is measured beside it, as refusals of a known key.

use serde_json::json;

use super::node::Node;
use super::{Outcome, Stage, latencies, node};
use crate::load::{Caller, KeySeries, Limit, Load, LoadPlan, LoadReport};
use crate::result::Measure;
use http::header::AUTHORIZATION;

/// Good requests a second.
const GOOD: f64 = 1000.0;
/// Each sends from an address of its own. The gateway forgives an address fifty unknown keys a second.
const FLOOD_CONNECTIONS: usize = 256;

/// What runs beside the good requests.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    /// A key without the model, so many times a second.
    Refused(f64),
    /// Ever new unknown keys, so many a second.
    Unknown(f64),
    /// Unknown keys, so many a second, of which there are so many.
    Repeated(f64, u64),
}

const CONDITIONS: [(&str, Beside); 5] = [
    ("alone", Beside::Nothing),
    ("2,000/s unknown", Beside::Unknown(2_000.0)),
    ("10,000/s refused", Beside::Refused(10_000.0)),
    ("10,000/s unknown", Beside::Unknown(10_000.0)),
    ("10,000/s of 1,000 unknown", Beside::Repeated(10_000.0, 1_000)),
];

pub(super) fn play(stage: &Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Some(server) = stage.database(outcome) else { return Ok(()) };
    for (name, binary, events) in stage.gateways() {
        let provider = node::provider()?;
        let store = stage.runtime.block_on(server.database());
        let node = stage.runtime.block_on(Node::start(stage, (binary, events), provider.addr(), &store))?;
        let good = stage.runtime.block_on(node.good(stage, GOOD));
        let refused = stage.runtime.block_on(node.key(&json!({"models": ["another-model"]})));
        let mut floods: [LoadReport; CONDITIONS.len()] = Default::default();
        for repetition in 0..stage.repetitions {
            for (number, (condition, beside)) in CONDITIONS.iter().enumerate() {
                let seed = (repetition * CONDITIONS.len() + number) as u64;
                let flood = flood(stage, &node, *beside, &refused, KeySeries { seed: 0xf100_0000 + seed });
                let condition = format!("{name}, {condition}");
                floods[number].add(measure(stage, &node, (good.clone(), flood), &condition, outcome)?);
                node.gateway.cut_log();
            }
        }
        for ((condition, _), flood) in CONDITIONS.iter().zip(&floods).skip(1) {
            outcome.note(format!("{name}, {condition}: {}", carried(flood)));
        }
        if provider.leaks() > 0 {
            outcome.note(format!("{} requests reached the provider with a wrong credential", provider.leaks()));
        }
    }
    outcome.note(format!("the flood comes from {FLOOD_CONNECTIONS} addresses; PostgreSQL runs on the harness' cores"));
    Ok(())
}

/// The flood of one condition: as long as the good load, warm-up included.
fn flood(stage: &Stage<'_>, node: &Node, beside: Beside, refused: &str, keys: KeySeries) -> Option<LoadPlan> {
    let in_turn = |count| Caller::InTurn { header: AUTHORIZATION, keys, count };
    let (caller, per_second, expected) = match beside {
        Beside::Nothing => return None,
        Beside::Refused(per_second) => (Caller::bearer(refused), per_second, 403),
        Beside::Unknown(per_second) => (in_turn(u64::MAX), per_second, 401),
        Beside::Repeated(per_second, count) => (in_turn(count), per_second, 401),
    };
    let plan = node.plan(stage, caller, per_second);
    Some(LoadPlan {
        connections: FLOOD_CONNECTIONS,
        addresses: FLOOD_CONNECTIONS as u32,
        limit: Limit::For(plan.warm_up + stage.measured),
        warm_up: std::time::Duration::ZERO,
        expected,
        ..plan
    })
}

/// Records what the good requests felt; what became of the flood.
fn measure(
    stage: &Stage<'_>,
    node: &Node,
    (good, flood): (LoadPlan, Option<LoadPlan>),
    condition: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<LoadReport> {
    let before = stage.runtime.block_on(node.queries());
    let flood = flood.map(Load::start);
    let good = Load::start(good).finish()?;
    let flood = flood.map(Load::finish).transpose()?;
    let mut sample = latencies(&good);
    sample.insert(Measure::DatabaseQueries, stage.runtime.block_on(node.queries()) - before);
    outcome.record(condition, &node.version, sample);
    outcome.note_wrong(condition, &good);
    Ok(flood.unwrap_or_default())
}

fn carried(flood: &LoadReport) -> String {
    let wrong: String = flood.wrong.iter().map(|(wrong, count)| format!(", {count} were not: {wrong}")).collect();
    format!("{} of the flood were refused, half of them within {:.1} ms{wrong}", flood.answered, flood.latency_ms(0.5))
}
