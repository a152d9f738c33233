//! Two nodes on one PostgreSQL: what is written on one is in force on the other within a second.

use std::time::{Duration, Instant};

use portcullis_bench::gateway::Gateway;
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use serde_json::{Value, json};

use crate::caller::{Caller, UNKNOWN, Wanted};
use crate::figures::{Times, say};
use crate::node::{Lines, MODEL, managed, regenerated, start, turn};

/// The bound that the design promises.
const BOUND: Duration = Duration::from_secs(1);

/// Rounds of the five timed writes: 200 trials.
const ROUNDS: usize = 40;

/// Two nodes on one database, and a client of the second.
struct Pair {
    one: Gateway,
    two: Gateway,
    probe: Caller,
    _provider: Provider,
    _server: PostgresServer,
}

impl Pair {
    async fn start() -> Self {
        let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
        let store = server.database().await;
        let lines = Lines { general: "  trusted_proxy_ranges: [127.0.0.0/8]", ..Lines::default() };
        let one = start(&store, &provider, lines).await;
        let two = start(&store, &provider, lines).await;
        let probe = Caller::new(two.data_addr());
        Self { one, two, probe, _provider: provider, _server: server }
    }

    /// Writes on the first node while the second is asked without a pause; how long after the answer to the write the
    /// second node gave its first answer of the new kind. Zero where that came before.
    async fn timed(&mut self, key: &str, (before, after): (Wanted, Wanted), path: &str, body: Value) -> Duration {
        self.probe.until(key, before, before).await;
        let writing = async {
            managed(&self.one, path, body).await;
            Instant::now()
        };
        let (written, changed) = tokio::join!(writing, self.probe.until(key, before, after));
        self.probe.until(key, after, after).await;
        changed.saturating_duration_since(written)
    }

    async fn stop(self) {
        self.one.stop().await;
        self.two.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_a_team_is_in_force_for_its_keys_everywhere_within_a_second() {
    const BLOCKED: Wanted = Wanted::Refused("auth_error");
    const SERVED: Wanted = Wanted::Served;
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let mut times = Times::default();
    for round in 0..5 {
        let team = json!({"team_id": format!("team {round}")});
        managed(&pair.one, "/team/new", team.clone()).await;
        let key = pair.one.generate_key(&json!({"team_id": team["team_id"], "user_id": "nobody"})).await;
        times.push(pair.timed(&key, (SERVED, BLOCKED), "/team/block", team.clone()).await);
        times.push(pair.timed(&key, (BLOCKED, SERVED), "/team/unblock", team.clone()).await);
        let other = json!({"team_id": team["team_id"], "models": ["another"]});
        times.push(pair.timed(&key, (SERVED, Wanted::NotThisModel), "/team/update", other).await);
        let ended = json!({"team_ids": [team["team_id"]]});
        times.push(pair.timed(&key, (Wanted::NotThisModel, UNKNOWN), "/team/delete", ended).await);
    }
    say(&format!("two nodes, a change to a team: {times}"));
    assert!(times.quantile(0.99) <= BOUND, "{times}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_one_node_is_in_force_on_the_other_within_a_second() {
    const BLOCKED: Wanted = Wanted::Refused("auth_error");
    const SERVED: Wanted = Wanted::Served;
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let names = ["block", "unblock", "update models", "regenerate", "delete"];
    let mut times: [Times; 5] = Default::default();
    for _ in 0..ROUNDS {
        let key = pair.one.generate_key(&json!({})).await;
        let named = json!({"key": key});
        times[0].push(pair.timed(&key, (SERVED, BLOCKED), "/key/block", named.clone()).await);
        times[1].push(pair.timed(&key, (BLOCKED, SERVED), "/key/unblock", named.clone()).await);
        let other = json!({"key": key, "models": ["another"]});
        times[2].push(pair.timed(&key, (SERVED, Wanted::NotThisModel), "/key/update", other).await);
        managed(&pair.one, "/key/update", json!({"key": key, "models": [MODEL]})).await;
        pair.probe.until(&key, Wanted::NotThisModel, SERVED).await;
        times[3].push(pair.timed(&key, (SERVED, UNKNOWN), "/key/regenerate", named).await);
        let last = pair.one.generate_key(&json!({})).await;
        times[4].push(pair.timed(&last, (SERVED, UNKNOWN), "/key/delete", json!({"keys": [last]})).await);
    }
    let mut all = Times::default();
    for (name, times) in names.iter().zip(&times) {
        say(&format!("two nodes, {name}: {times}"));
        all.extend(times);
    }
    say(&format!("two nodes, answered write to first changed answer elsewhere: {all}"));
    assert!(all.quantile(0.99) <= BOUND, "{all}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_key_ends_with_its_grace_period_and_an_expired_one_with_its_time() {
    const SECONDS: Duration = Duration::from_secs(2);
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let (mut late, mut early) = (Times::default(), Times::default());
    for _ in 0..2 {
        let old = pair.one.generate_key(&json!({})).await;
        pair.probe.until(&old, Wanted::Served, Wanted::Served).await;
        let asked = Instant::now();
        let new = regenerated(&pair.one, &old, Some("2s")).await;
        let answered = Instant::now();
        assert!(Wanted::Served.fits(&pair.probe.chat(&new).await), "the new string works everywhere at once");
        let ended = pair.probe.until(&old, Wanted::Served, UNKNOWN).await;
        assert!(ended >= asked + SECONDS, "the old string was refused within its grace period");
        late.push(ended.saturating_duration_since(answered + SECONDS));
        assert!(Wanted::Served.fits(&pair.probe.chat(&new).await));

        managed(&pair.one, "/key/update", json!({"key": new, "duration": "2s"})).await;
        let answered = Instant::now();
        let ended = pair.probe.until(&new, Wanted::Served, Wanted::Refused("expired_key")).await;
        early.push(ended.saturating_duration_since(answered + SECONDS));
    }
    say(&format!("two nodes, end of a grace period to first refusal elsewhere: {late}"));
    say(&format!("two nodes, new expiry to first refusal elsewhere: {early}"));
    assert!(late.quantile(1.0) <= BOUND && early.quantile(1.0) <= BOUND);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_node_did_not_know_works_there_once_it_is_made_elsewhere() {
    let _turn = turn().await;
    let mut pair = Pair::start().await;
    let mut times = Times::default();
    for number in 0..20 {
        let key = format!("sk-chosen-by-its-owner-{number}");
        // A client who asks without a pause for what is unknown is soon told to wait, so each is another one.
        pair.probe.come_from(&format!("10.0.0.{number}"));
        pair.one.client_credential(&key);
        let made = json!({"key": key});
        times.push(pair.timed(&key, (UNKNOWN, Wanted::Served), "/key/generate", made).await);
    }
    say(&format!("two nodes, key made to first use where it was unknown: {times}"));
    assert!(times.quantile(1.0) <= BOUND, "{times}");
    pair.stop().await;
}
