//! Limits on several nodes: exact where a Redis counts for all of them, in shares where none does or none answers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use portcullis_bench::gateway::{Answer, Gateway};
use portcullis_bench::provider::{Gate, Provider, Script};
use portcullis_bench::redis::RedisServer;
use serde_json::json;
use tempfile::TempDir;

use crate::scene::{MASTER, minute};

/// Two gateways on one store, before one provider.
struct Nodes {
    nodes: [Gateway; 2],
    provider: Provider,
    _store: TempDir,
}

impl Nodes {
    /// `redis`: the settings of one.
    async fn new(redis: Option<String>) -> Self {
        let (provider, store) = (Provider::start().unwrap(), TempDir::new().unwrap());
        let redis = redis.map(|redis| format!("portcullis:\n  redis: {{{redis}}}\n")).unwrap_or_default();
        let config = format!(
            "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/m, api_base: '{}/v1', api_key: provider-key-0123}}\n\
             general_settings:\n  master_key: {MASTER}\n  database_url: sqlite:///{}/store.db\n{redis}",
            provider.url(),
            store.path().display()
        );
        let one = crate::support::gateway(&config).start().await;
        let nodes = [one, crate::support::gateway(&config).start().await];
        for node in &nodes {
            node.watch(&provider);
            node.printed(if redis.is_empty() { "nodes=2" } else { "limits are counted with the other nodes" }).await;
        }
        Self { nodes, provider, _store: store }
    }

    async fn key(&self, rights: serde_json::Value) -> String {
        let key = self.nodes[0].generate_key(&rights).await;
        self.nodes[1].client_credential(&key);
        key
    }

    async fn chat(&self, node: usize, key: &str) -> Answer {
        let request = self.nodes[node].request(Method::POST, "/v1/chat/completions");
        self.nodes[node].send(request.bearer_auth(key).json(&json!({"model": "m"}))).await
    }

    /// So many calls at once, every other at the other node; how many passed and how many were refused.
    async fn calls(&self, key: &str, count: usize) -> (usize, usize) {
        let answers = join_all((0..count).map(|n| self.chat(n % 2, key))).await;
        let of = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!(of(200) + of(429), count, "nothing else comes of it");
        (of(200), of(429))
    }

    /// Does this with a new key, all within one minute; again where one ended meanwhile.
    async fn within_a_minute<T>(&self, rights: serde_json::Value, attempt: impl AsyncFn(String) -> T) -> T {
        loop {
            let began = minute();
            let outcome = attempt(self.key(rights.clone()).await).await;
            if minute() == began {
                return outcome;
            }
        }
    }

    async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

/// Asked for as long as it takes: a machine that is busy with all these tests must not make it look slow.
fn patient(redis: &RedisServer) -> String {
    format!("url: '{}', timeout_ms: 5000", redis.url())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_at_two_nodes_exactly_as_many_pass_as_may() {
    let redis = RedisServer::start();
    let nodes = Nodes::new(Some(patient(&redis))).await;
    let passed = nodes.within_a_minute(json!({"rpm_limit": 100}), async |key| nodes.calls(&key, 1_000).await).await;
    assert_eq!(passed, (100, 900));
    // One node alone may use all of it, and tells who is refused when to come again.
    let (statuses, wait) = nodes
        .within_a_minute(json!({"rpm_limit": 3}), async |key| {
            let mut statuses = Vec::new();
            for node in [0, 0, 0, 0] {
                statuses.push(nodes.chat(node, &key).await.status);
            }
            let refused = nodes.chat(1, &key).await;
            statuses.push(refused.status);
            (statuses, refused.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap())
        })
        .await;
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert!((1..=60).contains(&wait));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sixth_at_two_nodes_never_reaches_the_provider() {
    let redis = RedisServer::start();
    let nodes = Nodes::new(Some(patient(&redis))).await;
    let key = nodes.key(json!({"max_parallel_requests": 5})).await;
    for _ in 0..3 {
        let gate = Gate::closed();
        nodes.provider.clear();
        nodes.provider.script_all(Script::usual().hold(&gate));
        let refused = AtomicUsize::new(0);
        let statuses = join_all((0..40).map(|n| {
            let (nodes, key, gate, refused) = (&nodes, &key, &gate, &refused);
            async move {
                let status = nodes.chat(n % 2, key).await.status;
                // All others are refused before the first of the five is answered.
                if status == 429 && refused.fetch_add(1, Ordering::Relaxed) == 34 {
                    gate.open();
                }
                status
            }
        }))
        .await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
        assert_eq!(nodes.provider.requests().len(), 5);
        // What has ended at one node is told to the other.
        for node in [0, 1] {
            let room = async { while nodes.chat(node, &key).await.status != 200 {} };
            portcullis_bench::within("room again", room).await;
        }
        all_ended(&nodes, &key).await;
    }
    nodes.stop().await;
}

/// Waits until five at once pass again.
async fn all_ended(nodes: &Nodes, key: &str) {
    nodes.provider.script_all(Script::usual());
    let ended = async {
        while join_all((0..5).map(|n| nodes.chat(n % 2, key))).await.iter().any(|answer| answer.status != 200) {}
    };
    portcullis_bench::within("room for five", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_one_node_count_at_the_other() {
    let redis = RedisServer::start();
    let nodes = Nodes::new(Some(patient(&redis))).await;
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":50}}"#;
    nodes.provider.script_all(Script::whole(200, usage).header("content-type", "application/json"));
    let refused = nodes
        .within_a_minute(json!({"tpm_limit": 100}), async |key| {
            assert_eq!(nodes.chat(0, &key).await.status, 200);
            let told = async { while nodes.chat(1, &key).await.status != 429 {} };
            portcullis_bench::within("a refusal at the other node", told).await;
            nodes.chat(1, &key).await.json()["error"]["message"].as_str().unwrap().to_owned()
        })
        .await;
    assert_eq!(refused, "Rate limit exceeded: tpm_limit of the key. Try again later.");
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redis_each_node_enforces_its_share() {
    let nodes = Nodes::new(None).await;
    let passed = nodes
        .within_a_minute(json!({"rpm_limit": 101}), async |key| {
            let (passed, _) = nodes.calls(&key, 1_000).await;
            (passed, nodes.chat(0, &key).await.status, nodes.chat(1, &key).await.status)
        })
        .await;
    assert_eq!(passed, (102, 429, 429), "51 each: one more than there may be, as documented");
    // Who is left alone has all of it again.
    let [one, other] = nodes.nodes;
    other.stop().await;
    one.printed("nodes=1").await;
    one.stop().await;
}

/// A Redis that hangs, dies and comes back empty: requests go on at once, within twice the limit, and the limit holds to the
/// request from the next minute on.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_fails_stops_nobody_and_lifts_no_limit() {
    let redis = RedisServer::start();
    let nodes = Nodes::new(Some(format!("url: '{}'", redis.url()))).await;
    let redis = Mutex::new(redis);
    let server = || redis.lock().unwrap();
    nodes.nodes[0].printed("nodes=2").await;
    nodes.nodes[1].printed("nodes=2").await;
    for (times, fault) in [(2, "hangs"), (3, "dies")] {
        let (passed, slowest) = nodes
            .within_a_minute(json!({"rpm_limit": 100}), async |key| {
                let (before, _) = nodes.calls(&key, 60).await;
                assert_eq!(before, 60);
                match fault {
                    "dies" => server().kill(),
                    _ => server().hang(),
                }
                let timed = async |node| {
                    let sent = Instant::now();
                    (nodes.chat(node, &key).await.status, sent.elapsed())
                };
                let mut slowest = Duration::ZERO;
                let mut passed = before;
                for _ in 0..20 {
                    for (status, took) in join_all((0..20).map(|n| timed(n % 2))).await {
                        passed += usize::from(status == 200);
                        slowest = slowest.max(took);
                    }
                }
                match fault {
                    "dies" => server().launch(),
                    _ => server().go_on(),
                }
                (passed, slowest)
            })
            .await;
        assert!((100..=200).contains(&passed), "{fault}: {passed} passed");
        assert!(slowest < Duration::from_secs(2), "{fault}: {slowest:?}");
        let counted = "limits are counted with the other nodes";
        for node in &nodes.nodes {
            node.printed_times(counted, times, Duration::from_secs(90)).await;
        }
        // One node alone may use all of it.
        let alone = async |key: String| join_all((0..100).map(|_| nodes.chat(0, &key))).await;
        let answers = nodes.within_a_minute(json!({"rpm_limit": 30}), alone).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 30);
        let passed = nodes.within_a_minute(json!({"rpm_limit": 30}), async |key| nodes.calls(&key, 100).await).await;
        assert_eq!(passed, (30, 70));
    }
    nodes.stop().await;
}
