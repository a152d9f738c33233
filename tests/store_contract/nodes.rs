//! Two processes on one database: what one changes, the other's cache no longer serves.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use portcullis::store::StoreUrl;
use portcullis_admin_api::store::{KeyRow, Rotation};
use tokio_postgres::AsyncMessage;

use crate::opened::{Place, audit, hash, row};

crate::contract!(
    every_kind_of_change_reaches_the_other_node,
    a_change_that_nobody_announced_is_found,
    revocations_are_timed,
);

async fn every_kind_of_change_reaches_the_other_node(place: Place) {
    let (one, two) = (place.node(), place.node());
    one.admin.ready().await.unwrap();
    two.admin.ready().await.unwrap();
    assert_eq!(two.find(hash("1")).await.unwrap(), None);
    let stored = one.insert(row("1")).await.unwrap();
    two.until(hash("1"), |found| matches!(found, Ok(Some(_)))).await;

    let stored = one.replace(KeyRow { blocked: Some(true), ..stored }).await.unwrap();
    two.until(hash("1"), |found| matches!(found, Ok(Some(record)) if record.blocked)).await;

    let stored = one.replace(KeyRow { blocked: None, user_id: Some("u".to_owned()), ..stored }).await.unwrap();
    two.until(hash("1"), |found| matches!(found, Ok(Some(record)) if record.user_id.is_some() && !record.blocked))
        .await;

    let moved = KeyRow { token: hash("2"), ..stored };
    let audit = audit("rotated", &moved);
    let grace_until = Some(SystemTime::now() + Duration::from_secs(3600));
    let rotation = Rotation { old: hash("1"), row: moved, grace_until, replay: None };
    let moved = one.admin.rotate_key(rotation, audit).await.unwrap();
    two.until(hash("1"), |found| matches!(found, Ok(Some(record)) if record.id == hash("2"))).await;
    two.until(hash("2"), |found| matches!(found, Ok(Some(_)))).await;

    one.replace(KeyRow { deleted_at: Some(SystemTime::now()), ..moved }).await.unwrap();
    two.until(hash("2"), |found| matches!(found, Ok(None))).await;
    two.until(hash("1"), |found| matches!(found, Ok(None))).await;
}

async fn a_change_that_nobody_announced_is_found(place: Place) {
    let node = place.node();
    let stored = node.insert(row("1")).await.unwrap();
    node.until(stored.token, |found| matches!(found, Ok(Some(_)))).await;
    place.execute("UPDATE virtual_keys SET blocked = TRUE; UPDATE change_epoch SET epoch = epoch + 1").await;
    node.until(stored.token, |found| matches!(found, Ok(Some(record)) if record.blocked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_announces_its_epoch_and_its_keys() {
    let place = Place::postgres().await;
    let node = place.node();
    let stored = node.insert(row("1")).await.unwrap();
    let StoreUrl::Postgres(url) = &place.url else { panic!("not a PostgreSQL") };
    let (client, mut connection) = tokio_postgres::connect(url.expose(), tokio_postgres::NoTls).await.unwrap();
    let (heard, mut announced) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message {
                heard.send(notification.payload().to_owned()).unwrap();
            }
        }
    });
    client.batch_execute("LISTEN portcullis_changes").await.unwrap();
    node.replace(KeyRow { blocked: Some(true), ..stored.clone() }).await.unwrap();
    assert_eq!(announced.recv().await.unwrap(), format!("2 {}", stored.token));
    assert!(node.replace(stored).await.is_err());
    node.insert(row("2")).await.unwrap();
    assert_eq!(announced.recv().await.unwrap(), format!("3 {}", hash("2")), "a refused write announces nothing");
}

/// Prints how long a revocation takes to the other node. The bound of a second is for the figures, not for this test,
/// which shares its machine.
async fn revocations_are_timed(place: Place) {
    let trials: u32 = if matches!(place.url, StoreUrl::Sqlite(_)) { 20 } else { 200 };
    let (one, two) = (place.node(), place.node());
    let mut times = Vec::new();
    for trial in 0..trials {
        let name = trial.to_string();
        let stored = one.insert(row(&name)).await.unwrap();
        two.until(stored.token, |found| matches!(found, Ok(Some(_)))).await;
        let before = Instant::now();
        let change = KeyRow { blocked: Some(true), ..stored };
        let committed = async {
            one.replace(change.clone()).await.unwrap();
            Instant::now()
        };
        let refused = async {
            two.until(change.token, |found| matches!(found, Ok(Some(record)) if record.blocked)).await;
            Instant::now()
        };
        let (_, refused) = tokio::join!(committed, refused);
        times.push(refused - before);
    }
    times.sort();
    let (middle, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let kind = if trials == 200 { "PostgreSQL" } else { "SQLite" };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{kind}: block on one node, from call to refusal on the other: p50 {middle:?}, p99 {late:?} of {trials}"
    )
    .unwrap();
}
