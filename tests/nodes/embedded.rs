//! The embedded store under several processes, a violent end and a second start.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use portcullis_bench::gateway::{Gateway, Signal};
use portcullis_bench::provider::Provider;
use serde_json::json;
use tokio::sync::watch;

use crate::caller::{Caller, UNKNOWN, Wanted};
use crate::figures::{Times, say};
use crate::node::{Lines, MASTER, SHOWN_ONCE, managed, shown_master_key, start, turn};
use crate::support;

const STORE: &str = "sqlite://{dir}/keys.db";

/// The store of a node that runs or ran, for another one.
fn store_of(node: &Gateway) -> String {
    STORE.replace("{dir}", &node.directory().display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_file_see_each_others_revocations_within_a_second() {
    let _turn = turn().await;
    let provider = Provider::start().unwrap();
    let one = start(STORE, &provider, Lines::default()).await;
    let two = start(&store_of(&one), &provider, Lines::default()).await;
    let mut probe = Caller::new(two.data_addr());
    let mut times = Times::default();
    for number in 0..20 {
        let key = one.generate_key(&json!({})).await;
        probe.until(&key, UNKNOWN, Wanted::Served).await;
        let (path, body, refused) = match number % 2 {
            0 => ("/key/block", json!({"key": key}), Wanted::Refused("auth_error")),
            _ => ("/key/delete", json!({"keys": [key]}), UNKNOWN),
        };
        let writing = async {
            managed(&one, path, body).await;
            Instant::now()
        };
        let (written, changed) = tokio::join!(writing, probe.until(&key, Wanted::Served, refused));
        times.push(changed.saturating_duration_since(written));
    }
    say(&format!("two processes on one SQLite file, answered write to first refusal elsewhere: {times}"));
    assert!(times.quantile(1.0) <= Duration::from_secs(1), "{times}");
    two.stop().await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_a_store_with_every_answered_write() {
    const ROUNDS: usize = 3;
    const WRITES: usize = 30;
    let _turn = turn().await;
    let provider = Provider::start().unwrap();
    let first = start(STORE, &provider, Lines::default()).await;
    let store = store_of(&first);
    let (answered, mut made) = (watch::Sender::new(0), Vec::new());
    for round in 1..=ROUNDS {
        let other;
        let node = if round == 1 {
            &first
        } else {
            other = start(&store, &provider, Lines::default()).await;
            &other
        };
        let writers = join_all((0..4).map(|_| write_until_killed(node, &answered)));
        let mut progress = answered.subscribe();
        let killing = async {
            progress.wait_for(|answered| *answered >= round * WRITES).await.unwrap();
            node.signal(Signal::SIGKILL);
        };
        let (keys, ()) = tokio::join!(writers, killing);
        made.extend(keys.into_iter().flatten());
    }
    assert!(made.len() >= ROUNDS * WRITES);
    let node = start(&store, &provider, Lines::default()).await;
    let mut caller = Caller::new(node.data_addr());
    for key in &made {
        node.client_credential(key);
        assert!(Wanted::Served.fits(&caller.models(key).await), "a key was answered and is gone");
    }
    let file = rusqlite::Connection::open(first.directory().join("keys.db")).unwrap();
    let word: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
    node.stop().await;
}

/// Makes keys until the node is no more; those that it answered with.
async fn write_until_killed(node: &Gateway, answered: &watch::Sender<usize>) -> Vec<String> {
    let made = Mutex::new(Vec::new());
    let writing = async {
        loop {
            let request = node.request(Method::POST, "/key/generate").bearer_auth(MASTER).json(&json!({}));
            let answer: serde_json::Value = request.send().await?.json().await?;
            made.lock().unwrap().push(answer["key"].as_str().unwrap().to_owned());
            answered.send_modify(|answered| *answered += 1);
        }
    };
    let ended: reqwest::Result<()> = writing.await;
    ended.unwrap_err();
    made.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_made_at_the_first_start_goes_on_working_and_is_not_shown_again() {
    let _turn = turn().await;
    let mut first = support::gateway("general_settings:\n  database_url: sqlite://{dir}/keys.db\n").start().await;
    let output = first.output();
    assert_eq!(output.matches(SHOWN_ONCE).count(), 1, "{output}");
    let master = shown_master_key(&output);
    assert!(Wanted::Served.fits(&Caller::new(first.data_addr()).models(&master).await));
    first.signal(Signal::SIGTERM);
    first.wait().await;

    let config = format!("general_settings:\n  database_url: {}\n", store_of(&first));
    let again = support::gateway(&config).start().await;
    // From here on it is searched for in everything that the second process leaves.
    again.client_credential(&master);
    let mut caller = Caller::new(again.data_addr());
    assert!(Wanted::Served.fits(&caller.models(&master).await));
    let made = caller.post("/key/generate", &master, &json!({})).await;
    assert_eq!(made.status, 200, "it is the operator's");
    assert!(!again.output().contains(SHOWN_ONCE));
    again.stop().await;
}
