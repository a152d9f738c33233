//! `database_stopped`: what those whose keys are known feel when PostgreSQL goes away under load, stays away, and comes back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::node::Node;
use super::{Outcome, Stage, latencies, node};
use crate::load::{KeySeries, Load};
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
        let mut unknown = Unknown::default();
        for _ in 0..stage.repetitions {
            for (condition, event) in CONDITIONS {
                let condition = format!("{name}, {condition}");
                let load = Load::start(good.clone());
                let before = stage.runtime.block_on(node.queries());
                std::thread::sleep(load.measured_from().saturating_duration_since(Instant::now()));
                happen(stage, &server, &node, event, &mut unknown);
                let report = load.finish()?;
                let mut sample = latencies(&report);
                sample.insert(Measure::DatabaseQueries, stage.runtime.block_on(node.queries()) - before);
                outcome.record(&condition, &node.version, sample);
                outcome.note_wrong(&condition, &report);
            }
            node.gateway.cut_log();
        }
        outcome.note(format!(
            "{name}: while the database was gone unknown keys were answered {:?}; at most {:.0} ms after it was back they were \
             looked up again",
            unknown.statuses,
            unknown.back.as_secs_f64() * 1e3
        ));
    }
    Ok(())
}

/// What callers whose keys nobody has were told.
#[derive(Default)]
struct Unknown {
    tried: u64,
    /// While the database was gone.
    statuses: BTreeSet<u16>,
    /// The longest time from its return to the first look-up.
    back: Duration,
}

fn happen(stage: &Stage<'_>, server: &PostgresServer, node: &Node, event: Event, unknown: &mut Unknown) {
    match event {
        Event::Nothing => {}
        Event::Stop => {
            server.stop();
            unknown.tried += 1;
            unknown.statuses.insert(stage.runtime.block_on(node.status(&UNKNOWN.key(unknown.tried))));
        }
        Event::Launch => {
            server.launch();
            let back = stage.runtime.block_on(until_refused(node, &mut unknown.tried));
            unknown.back = unknown.back.max(back);
        }
    }
}

/// How long it takes until an unknown key is refused as such, and not for want of a database.
async fn until_refused(node: &Node, tried: &mut u64) -> Duration {
    let began = Instant::now();
    loop {
        *tried += 1;
        let status = node.status(&UNKNOWN.key(*tried)).await;
        match status {
            401 => return began.elapsed(),
            503 if began.elapsed() < crate::PATIENCE => tokio::time::sleep(TRY).await,
            status => {
                panic!("an unknown key was answered {status}, {:?} after the database came back", began.elapsed())
            }
        }
    }
}
