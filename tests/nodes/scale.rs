//! A hundred thousand keys in each store: management by the page and by the key, and requests that must not notice.

use std::fmt::Write;
use std::time::Instant;

use portcullis_bench::gateway::Gateway;
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use portcullis_filters::authn::virtual_key::KeyHash;
use serde_json::{Value, json};

use crate::caller::{Caller, Wanted, shown};
use crate::figures::{Times, millis, say};
use crate::node::{Lines, MASTER, start, turn};

/// How many keys the stores are filled with.
pub(crate) const KEYS: u32 = 100_000;

/// Of each management request, and its own key or page each time.
const REPEATS: u32 = 20;

/// The n-th of the keys that a store is filled with, from 1.
pub(crate) fn key(number: u32) -> String {
    format!("sk-scale-{number}")
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_with_a_hundred_thousand_keys() {
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let store = server.database().await;
    let node = start(&store, &provider, Lines::default()).await;
    measure("PostgreSQL", &node, fill_postgres(&store)).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_a_hundred_thousand_keys() {
    let _turn = turn().await;
    let provider = Provider::start().unwrap();
    let node = start("sqlite://{dir}/keys.db", &provider, Lines::default()).await;
    measure("SQLite", &node, async { fill_sqlite(&node) }).await;
    node.stop().await;
}

/// The same questions to the store before and after it is filled, and the same requests.
async fn measure(store: &str, node: &Gateway, filling: impl Future<Output = ()>) {
    let hot = node.generate_key(&json!({})).await;
    hot_path(store, "1 key", node, &hot).await;
    let started = Instant::now();
    filling.await;
    say(&format!("scale, {store}: {KEYS} rows put in from outside in {}", millis(started.elapsed())));
    hot_path(store, "100,000 keys", node, &hot).await;
    let mut caller = Caller::new(node.admin_addr());
    let page = "/key/list?size=100&return_full_object=true";
    for (name, target) in [
        ("first page of 100", format!("{page}&page=NUMBER")),
        ("a page 90,000 keys deep", format!("{page}&page=9NUMBER")),
        ("page of a team (10,000 keys) by alias", format!("{page}&team_id=team-3&sort_by=key_alias&page=NUMBER")),
        ("page of a user (100 keys)", format!("{page}&user_id=user-NUMBER")),
        ("page by spend", format!("{page}&sort_by=spend&page=NUMBER")),
        ("page by expiry, backwards", format!("{page}&sort_by=expires&sort_order=desc&page=NUMBER")),
        ("page of a part of the alias", format!("{page}&search=lias-777&page=1")),
        ("/key/info", "/key/info?key=HASH".to_owned()),
    ] {
        let mut times = Times::default();
        for number in 0..REPEATS {
            let hash = KeyHash::of(&key(1 + number * 4999)).to_string();
            let target = target.replace("NUMBER", &format!("{:02}", number + 1)).replace("HASH", &hash);
            let asked = Instant::now();
            let answer = caller.get(&target, MASTER).await;
            times.push(asked.elapsed());
            assert_eq!(answer.status, 200, "{target}: {}", shown(&answer));
            assert!(!entries(&answer.body).is_empty(), "{target} found nothing: {}", shown(&answer));
        }
        say(&format!("scale, {store}, {name}: {times}"));
    }
    let mut times = Times::default();
    for number in 0..REPEATS {
        let asked = Instant::now();
        let answer = caller.post("/key/generate", MASTER, &json!({"key_alias": format!("made-{number}")})).await;
        times.push(asked.elapsed());
        assert_eq!(answer.status, 200);
    }
    say(&format!("scale, {store}, /key/generate: {times}"));
}

/// What a listing lists, or the one key that was asked for.
fn entries(body: &[u8]) -> Vec<Value> {
    // A chunked body is JSON between the lines of its chunks, of which there is one for an answer of this size.
    let begin = body.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let end = body.iter().rposition(|byte| *byte == b'}').map_or(0, |end| end + 1);
    let value: Value = serde_json::from_slice(&body[begin..end]).unwrap_or_default();
    match &value["keys"] {
        Value::Array(keys) => keys.clone(),
        _ => value.get("info").into_iter().cloned().collect(),
    }
}

/// What a request with a cached key costs and takes, one after another.
pub(crate) async fn hot_path(store: &str, filled: &str, node: &Gateway, hot: &str) {
    const REQUESTS: u32 = 1000;
    let mut caller = Caller::new(node.data_addr());
    assert!(Wanted::Served.fits(&caller.chat(hot).await));
    let (mut times, before) = (Times::default(), cpu_millis(node));
    for _ in 0..REQUESTS {
        let asked = Instant::now();
        assert!(Wanted::Served.fits(&caller.chat(hot).await));
        times.push(asked.elapsed());
    }
    let mut figure = format!("scale, {store}, chat with a cached key, {filled}: {times}");
    let cpu = (cpu_millis(node) - before) as f64 / f64::from(REQUESTS);
    write!(figure, ", {cpu:.2} ms of processor time each").unwrap();
    say(&figure);
}

/// Processor time of a node since its start. The kernel counts in hundredths of a second.
fn cpu_millis(node: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

async fn fill_postgres(store: &str) {
    let (client, connection) = tokio_postgres::connect(store, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let insert = format!(
        "INSERT INTO portcullis.virtual_keys (token, version, key_name, key_alias, alias_folded, user_id, team_id, models,
             allowed_routes, aliases, expires, spend, settings, rotation_count, created_at, updated_at)
         SELECT sha256(convert_to('sk-scale-' || n, 'UTF8')), 1, 'sk-...cale', 'alias-' || n, 'alias-' || n,
             'user-' || to_char(n % 1000, 'FM00'), 'team-' || n % 10, '[]', '[]', '{{}}',
             CASE WHEN n % 4 = 0 THEN now() + n * interval '1 minute' END, n % 500, '{{}}', 0,
             now() - n * interval '1 second', now()
         FROM generate_series(1, {KEYS}) n;
         ANALYZE portcullis.virtual_keys"
    );
    client.batch_execute(&insert).await.unwrap();
}

/// The same rows for SQLite, which cannot hash.
pub(crate) fn fill_sqlite(node: &Gateway) {
    let mut connection = rusqlite::Connection::open(node.directory().join("keys.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let transaction = connection.transaction().unwrap();
    let mut insert = transaction
        .prepare(
            "INSERT INTO virtual_keys (token, version, key_name, key_alias, alias_folded, user_id, team_id, models,
                 allowed_routes, aliases, expires, spend, settings, rotation_count, created_at, updated_at)
             SELECT ?1, 1, 'sk-...cale', 'alias-' || ?2, 'alias-' || ?2, 'user-' || printf('%02d', ?2 % 1000),
                 'team-' || (?2 % 10), '[]', '[]', '{}', CASE WHEN ?2 % 4 = 0 THEN (?3 + ?2 * 60) * 1000000 END, ?2 % 500, '{}', 0,
                 (?3 - ?2) * 1000000, ?3 * 1000000",
        )
        .unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    for number in 1..=KEYS {
        insert.execute((KeyHash::of(&key(number)).as_bytes(), number, now)).unwrap();
    }
    drop(insert);
    transaction.commit().unwrap();
}
