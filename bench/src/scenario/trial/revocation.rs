//! `revoke_under_load`: a key is blocked on one gateway while somebody uses it on another without a pause, and both have work.
//!
//! Counted is the time from the answer to the block to the last answer of the other gateway that still served the key.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use super::node::Node;
use super::{Outcome, Stage, latencies, node};
use crate::load::Load;
use crate::result::Measure;
use crate::target::MODEL;

const RATE: f64 = 500.0;
/// Refusals in a row after which a key is taken to be refused for good.
const REFUSALS: usize = 10;

pub(super) fn play(stage: &Stage<'_>, outcome: &mut Outcome) -> anyhow::Result<()> {
    let Some(server) = stage.database(outcome) else { return Ok(()) };
    for (name, binary, events) in stage.gateways() {
        let provider = node::provider()?;
        let store = stage.runtime.block_on(server.database());
        let start = || stage.runtime.block_on(Node::start(stage, (binary, events), provider.addr(), &store));
        let nodes = [start()?, start()?];
        let plans = nodes.each_ref().map(|node| stage.runtime.block_on(node.good(stage, RATE)));
        let mut all = times();
        for _ in 0..stage.repetitions {
            let loads = plans.clone().map(Load::start);
            let revoked = stage.runtime.block_on(revocations(&nodes, &loads));
            let [_, other] = loads.map(Load::finish);
            let other = other?;
            let mut sample = latencies(&other);
            sample.insert(Measure::RevocationP50, milliseconds(&revoked, 0.5));
            sample.insert(Measure::RevocationP99, milliseconds(&revoked, 0.99));
            outcome.record(name, &nodes[0].version, sample);
            outcome.note_wrong(name, &other);
            all.add(&revoked)?;
            nodes.iter().for_each(|node| node.gateway.cut_log());
        }
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| milliseconds(&all, share));
        outcome
            .note(format!("{name}, all {} revocations: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", all.len()));
    }
    Ok(())
}

/// Revokes one key after the other until the loads are over; how long each went on working.
async fn revocations(nodes: &[Node; 2], loads: &[Load; 2]) -> Histogram<u64> {
    let mut revoked = times();
    while !loads.iter().all(Load::is_finished) {
        revoked.saturating_record(revocation(nodes).await.as_nanos() as u64);
    }
    revoked
}

async fn revocation([one, other]: &[Node; 2]) -> Duration {
    let key = one.key(&json!({"models": [MODEL]})).await;
    let known = other.status(&key).await;
    assert_eq!(known, 200, "a new key works on both");
    let blocking = async {
        one.manage("/key/block", &json!({"key": key})).await;
        Instant::now()
    };
    let (blocked, served) = tokio::join!(blocking, last_served(other, &key));
    served.saturating_duration_since(blocked)
}

/// When this key was served for the last time.
async fn last_served(node: &Node, key: &str) -> Instant {
    let (mut last, mut refusals) = (Instant::now(), 0);
    while refusals < REFUSALS {
        match node.status(key).await {
            200 => (last, refusals) = (Instant::now(), 0),
            _ => refusals += 1,
        }
        assert!(last.elapsed() < crate::PATIENCE, "a blocked key is still served");
    }
    last
}

fn times() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds that are known to be right")
}

fn milliseconds(times: &Histogram<u64>, share: f64) -> f64 {
    times.value_at_quantile(share) as f64 / 1e6
}
