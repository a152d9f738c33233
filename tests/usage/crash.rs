//! A process that is killed at any moment.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_bench::gateway::{Gateway, Signal};
use portcullis_bench::provider::Provider;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::scene::{CHAT, COST, config};

const ROUNDS: usize = 50;

/// Fifty times killed in the middle of a load: whoever had a whole answer is in the store, nobody twice, and the key has
/// spent what its calls cost.
#[tokio::test(flavor = "multi_thread")]
async fn every_answered_request_is_charged_once_whenever_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().display();
    let provider = Provider::start().unwrap();
    let more = format!(
        "  database_url: sqlite:///{path}/store.db\nportcullis:\n  usage:\n    journal: {path}/journal\n    keep_calls: 1h\n"
    );
    let config = config(&provider, &more);
    let start = || async { crate::support::gateway(&config).start().await };
    let first = start().await;
    let key = first.generate_key(&json!({})).await;
    first.stop().await;
    let answered = Arc::new(Mutex::new(HashSet::new()));
    for round in 0..ROUNDS {
        let gateway = start().await;
        gateway.client_credential(&key);
        load_until_killed(gateway, &key, 1 + (round * 37) % 150, &answered).await;
    }
    let last = start().await;
    let journal = directory.path().join("journal");
    let posted = async {
        // A lock and a file of the process that runs are left.
        while std::fs::read_dir(&journal).unwrap().count() > 2 {
            tokio::task::yield_now().await;
        }
    };
    portcullis_bench::within("all of the journals", posted).await;
    last.stop().await;

    let store = Connection::open(directory.path().join("store.db")).unwrap();
    let mut select = store.prepare("SELECT request_id, picodollars FROM usage_log").unwrap();
    let rows: Vec<(String, i64)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let kept: HashSet<&str> = rows.iter().map(|(id, _)| id.as_str()).collect();
    let answered = answered.lock().unwrap();
    let lost: Vec<_> = answered.iter().filter(|id| !kept.contains(id.as_str())).collect();
    assert!(answered.len() > ROUNDS && lost.is_empty(), "{} of {} are lost", lost.len(), answered.len());
    assert!(rows.len() <= provider.requests().len(), "nobody twice");
    let spend: f64 = store.query_row("SELECT spend FROM virtual_keys", [], |row| row.get(0)).unwrap();
    let by_day: (i64, i64) = store
        .query_row("SELECT SUM(requests), SUM(picodollars) FROM usage_by_day", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let total: i64 = rows.iter().map(|(_, cost)| cost).sum();
    assert_eq!(by_day, (rows.len() as i64, total), "each call counts once in its day");
    assert!((spend - total as f64 / 1e12).abs() < 1e-9, "{spend} were spent, not {total}");
    // An answer that was cut by the kill cannot have been noted: all of them are whole.
    assert!((spend - rows.len() as f64 * COST).abs() < 1e-9, "{spend}");
    eprintln!("{} answered, {} charged, in {ROUNDS} rounds", answered.len(), rows.len());
}

/// Eight callers, until so many were answered.
async fn load_until_killed(mut gateway: Gateway, key: &str, enough: usize, answered: &Arc<Mutex<HashSet<String>>>) {
    let count = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let body = json!({"model": "m", "stream": n % 2 == 0});
            let request = gateway.request(http::Method::POST, CHAT).bearer_auth(key).json(&body);
            let (answered, count) = (Arc::clone(answered), Arc::clone(&count));
            tokio::spawn(async move {
                while let Ok(answer) = request.try_clone().unwrap().send().await {
                    assert_eq!(answer.status(), 200);
                    let id = answer.headers()["x-litellm-call-id"].to_str().unwrap().to_owned();
                    if answer.bytes().await.is_err() {
                        return;
                    }
                    answered.lock().unwrap().insert(id);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while count.load(Ordering::Relaxed) < enough {
        tokio::task::yield_now().await;
    }
    gateway.signal(Signal::SIGKILL);
    gateway.wait().await;
    for caller in callers {
        caller.await.unwrap();
    }
}
