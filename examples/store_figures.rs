//! Prints what the store's operations cost with 100,000 keys in it, in milliseconds.
//!
//! `cargo run --release --example store_figures -- sqlite:///tmp/figures.db` (or a `postgresql://` URL of an empty
//! database, as often as there are stores to measure). The keys go in through the store's own tables in bulk.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use portcullis::store::{Store, StoreSettings, StoreUrl};
use portcullis_admin_api::store::{AdminStore, AuditRow, KeyQuery, KeyRow, KeySort, KeyStatus};
use portcullis_filters::authn::virtual_key::KeyHash;
use portcullis_filters::cache::{CacheSettings, KeyCache};
use serde_json::Value;

const KEYS: u32 = 100_000;
const ROUNDS: u32 = 200;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    anyhow::ensure!(!urls.is_empty(), "usage: store_figures URL..");
    for url in urls {
        measure(&StoreUrl::parse(&url)?).await?;
    }
    Ok(())
}

async fn measure(url: &StoreUrl) -> anyhow::Result<()> {
    let cache = Arc::new(KeyCache::new(CacheSettings::default()));
    let store = Store::open(StoreSettings::new(url.clone()), Arc::clone(&cache), tokio::runtime::Handle::current())?;
    store.migrate().await.context("migrating")?;
    let (running, shutdown) = tokio::sync::watch::channel(false);
    let (admin, keys) = (store.admin(), store.keys());
    let background = tokio::spawn(async move { store.watch(shutdown).await });
    admin.ready().await?;
    fill(url).await.context("filling")?;
    let kind = if matches!(url, StoreUrl::Sqlite(_)) { "SQLite" } else { "PostgreSQL" };
    let total = admin.keys(&KeyQuery { limit: 1, ..KeyQuery::default() }).await?.total;
    let mut out = std::io::stdout();
    writeln!(out, "{kind}, {total} keys\n| operation | p50 ms | p99 ms |\n| --- | ---: | ---: |")?;
    let page = KeyQuery { limit: 100, now: Some(SystemTime::now()), ..KeyQuery::default() };
    let pages = [
        ("keys(): first page of 100, by creation", page.clone()),
        ("keys(): page in the middle (offset 50,000)", KeyQuery { offset: 50_000, ..page.clone() }),
        ("keys(): by alias", KeyQuery { sort: KeySort::Alias, ..page.clone() }),
        ("keys(): of one user", KeyQuery { user_id: Some("user 7".to_owned()), ..page.clone() }),
        ("keys(): active ones", KeyQuery { status: Some(KeyStatus::Active), ..page.clone() }),
        ("keys(): part of an alias", KeyQuery { alias: Some("77".to_owned()), substring: true, ..page }),
    ];
    for (name, query) in pages {
        report(&mut out, name, async |_| admin.keys(&query).await.map(drop).map_err(Into::into)).await?;
    }
    report(&mut out, "key()", async |n| admin.key(existing(n * 97)).await.map(drop).map_err(Into::into)).await?;
    report(&mut out, "find(), uncached", async |n| {
        anyhow::ensure!(keys.find(existing(n * 89)).await?.is_some(), "a key is missing");
        Ok(())
    })
    .await?;
    report(&mut out, "insert_key()", async |n| insert(admin.as_ref(), n).await).await?;
    drop(running);
    background.await?;
    Ok(())
}

async fn report(
    out: &mut impl Write,
    name: &str,
    operation: impl AsyncFn(u32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let before = Instant::now();
        operation(round).await?;
        times.push(before.elapsed());
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let (middle, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    writeln!(out, "| {name} | {:.2} | {:.2} |", ms(middle), ms(late))?;
    Ok(())
}

fn existing(number: u32) -> KeyHash {
    KeyHash::of(&format!("sk-{}", number % KEYS))
}

async fn insert(admin: &dyn AdminStore, number: u32) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let token = KeyHash::of(&format!("sk-new {number}"));
    let row = KeyRow {
        token,
        version: 1,
        key_name: Some("sk-...abcd".to_owned()),
        key_alias: Some(format!("new {number}")),
        user_id: Some("user 7".to_owned()),
        team_id: None,
        organization_id: None,
        models: vec!["gpt-4o".to_owned()],
        allowed_routes: Vec::new(),
        aliases: Default::default(),
        expires: None,
        blocked: None,
        spend: 0.0,
        sets_spend: true,
        budget_reset_at: None,
        settings: Default::default(),
        rotation_count: 0,
        last_rotation_at: None,
        created_at: now,
        created_by: None,
        updated_at: now,
        updated_by: None,
        deleted_at: None,
        deleted_by: None,
    };
    let audit = AuditRow {
        id: 0,
        at: now,
        actor: "master".to_owned(),
        changed_by: None,
        source: None,
        request_id: None,
        action: "created".to_owned(),
        object_type: "key".to_owned(),
        object_id: token.to_string(),
        before: Value::Null,
        after: Value::Null,
    };
    admin.insert_key(row, audit).await?;
    Ok(())
}

const COLUMNS: &str = "INSERT INTO virtual_keys (token, version, key_alias, alias_folded, user_id, models, allowed_routes, \
     aliases, spend, settings, rotation_count, created_at, updated_at)";

async fn fill(url: &StoreUrl) -> anyhow::Result<()> {
    match url {
        StoreUrl::Sqlite(path) => fill_sqlite(path),
        StoreUrl::Postgres(url) => {
            let (client, connection) = tokio_postgres::connect(url.expose(), tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            let sql = format!(
                "SET search_path TO portcullis;
                 {COLUMNS} SELECT sha256(('sk-' || n)::bytea), 1, 'key ' || n, 'key ' || n, 'user ' || (n % 1000),
                 '[\"gpt-4o\"]', '[]', '{{}}', n * 0.01, '{{}}', 0, to_timestamp(n), to_timestamp(n)
                 FROM generate_series(0, {KEYS} - 1) AS n;
                 ANALYZE virtual_keys"
            );
            client.batch_execute(&sql).await.map_err(Into::into)
        }
    }
}

fn fill_sqlite(path: &std::path::Path) -> anyhow::Result<()> {
    let mut connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let transaction = connection.transaction()?;
    let mut insert = transaction.prepare(&format!(
        "{COLUMNS} VALUES (?1, 1, 'key ' || ?2, 'key ' || ?2, 'user ' || (?2 % 1000), '[\"gpt-4o\"]', '[]', '{{}}',
         ?2 * 0.01, '{{}}', 0, ?2 * 1000000, ?2 * 1000000)"
    ))?;
    for number in 0..KEYS {
        insert.execute((existing(number).as_bytes().as_slice(), number))?;
    }
    drop(insert);
    transaction.commit()?;
    Ok(())
}
