//! `database_stopped`: what those whose keys are known feel when PostgreSQL goes away under load, stays away, and comes back.

use std::time::{Duration, Instant};

use super::node::Node;
use super::{Outcome, Stage, latencies, node};
use crate::load::{KeySeries, Load, LoadPlan};
use crate::postgres::PostgresServer;
use crate::result::Measure;

const RATE: f64 = 1000.0;
/// Keys that nobody has.
const UNKNOWN: KeySeries = KeySeries { seed: 0x0bad_0bad };
/// How often one of them is tried: slowly enough for the throttle of failed keys.
const TRY: Duration = Duration::from_millis(25);

/// What happens to the database at the start of a condition.
#[derive(Clone, Copy)]
enum Event {
    Nothing,
    Stop,
    Launch,
}

const CONDITIONS: [(&str, Event); 4] = [
    ("database up", Event::Nothing),
    ("database stops", Event::Stop),
    ("database down", Event::Nothing),
    ("database comes back", Event::Launch),
];

pub(super) fn play(stage: &Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Some(server) = stage.database(outcome) else { return Ok(()) };
    for (name, binary, events) in stage.gateways() {
        let provider = node::provider()?;
        let store = stage.runtime.block_on(server.database());
        let node = stage.runtime.block_on(Node::start(stage, (binary, events), provider.addr(), &store))?;
        let good = stage.runtime.block_on(node.good(stage, RATE));
        let mut tried = 0;
        for _ in 0..stage.repetitions {
            for (condition, event) in CONDITIONS {
                let condition = format!("{name}, {condition}");
                measure(stage, &node, &server, (good.clone(), event), &condition, outcome)?;
                let unknown = stage.runtime.block_on(node.status(&UNKNOWN.key(tried)));
                tried += 1;
                if matches!(event, Event::Stop) && unknown != 503 {
                    outcome.note(format!("{condition}: an unknown key was answered {unknown}, not 503"));
                }
            }
            let back = stage.runtime.block_on(until_refused(&node, &mut tried));
            outcome.note(format!(
                "{name}: {back:.0?} after the load beside its return, unknown keys were looked up again"
            ));
            node.gateway.cut_log();
        }
    }
    Ok(())
}

fn measure(
    stage: &Stage<'_>,
    node: &Node,
    server: &PostgresServer,
    (good, event): (LoadPlan, Event),
    condition: &str,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let before = stage.runtime.block_on(node.queries());
    let load = Load::start(good);
    std::thread::sleep(load.measured_from().saturating_duration_since(Instant::now()));
    match event {
        Event::Nothing => {}
        Event::Stop => server.stop(),
        Event::Launch => server.launch(),
    }
    let report = load.finish()?;
    let mut sample = latencies(&report);
    sample.insert(Measure::DatabaseQueries, stage.runtime.block_on(node.queries()) - before);
    outcome.record(condition, &node.version, sample);
    outcome.note_wrong(condition, &report);
    Ok(())
}

/// How long it takes until an unknown key is refused as such, and not for want of a database.
async fn until_refused(node: &Node, tried: &mut u64) -> Duration {
    let began = Instant::now();
    loop {
        let status = node.status(&UNKNOWN.key(*tried)).await;
        *tried += 1;
        match status {
            401 => return began.elapsed(),
            503 if began.elapsed() < crate::PATIENCE => tokio::time::sleep(TRY).await,
            status => {
                panic!("an unknown key was answered {status}, {:?} after the database came back", began.elapsed())
            }
        }
    }
}
