//! PostgreSQL goes away and comes back: known keys go on, unknown ones are refused for the right reason, and nobody has
//! to do anything.

use std::time::Duration;

use portcullis::store::StoreUrl;
use portcullis_admin_api::store::StoreError;
use portcullis_bench::postgres::PostgresServer;

use crate::opened::{Node, Place, hash, row};

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_outlive_the_database_and_unknown_ones_wait_for_it() {
    let server = PostgresServer::start();
    let node = Node::open(&StoreUrl::parse(&server.database().await).unwrap());
    for name in ["known", "cold"] {
        node.insert(row(name)).await.unwrap();
    }
    node.find(hash("known")).await.unwrap().expect("a live key is found");
    server.stop();
    node.until(hash("cold"), |found| found.is_err()).await;
    // With the bound of 1.5 s on each look-up this would take half an hour.
    let asking = async {
        for number in 0..1000 {
            assert!(node.find(hash(&number.to_string())).await.is_err(), "an absent database says nothing about a key");
            assert!(node.find(hash("known")).await.unwrap().is_some());
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("nobody waits for an absent database");
    assert!(matches!(node.insert(row("new")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(node.admin.ready().await, Err(StoreError::Unavailable(_))));
    server.launch();
    node.until(hash("cold"), |found| matches!(found, Ok(Some(_)))).await;
    assert_eq!(node.find(hash("unknown")).await.unwrap(), None);
    node.insert(row("new")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_missed_during_an_outage_is_seen_after_it() {
    let server = PostgresServer::start();
    let url = StoreUrl::parse(&server.database().await).unwrap();
    let (node, other) = (Node::open(&url), Node::open(&url));
    let stored = node.insert(row("1")).await.unwrap();
    other.until(hash("1"), |found| matches!(found, Ok(Some(_)))).await;
    server.stop();
    other.until(hash("cold"), |found| found.is_err()).await;
    assert!(other.find(hash("1")).await.unwrap().is_some());
    server.launch();
    node.until(hash("cold"), |found| found.is_ok()).await;
    let change = portcullis_admin_api::store::KeyRow { blocked: Some(true), ..stored };
    node.replace(change).await.unwrap();
    other.until(hash("1"), |found| matches!(found, Ok(Some(record)) if record.blocked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_are_made_again() {
    let place = Place::postgres().await;
    let node = place.node();
    let stored = node.insert(row("1")).await.unwrap();
    node.until(stored.token, |found| matches!(found, Ok(Some(_)))).await;
    place
        .execute(
            "UPDATE virtual_keys SET blocked = TRUE;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    // The change has no epoch: what is asked for again is asked because the listening connection was lost.
    node.until(stored.token, |found| matches!(found, Ok(Some(record)) if record.blocked)).await;
    node.until(hash("cold"), |found| matches!(found, Ok(None))).await;
    node.insert(row("2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_absent_at_start_is_used_when_it_appears() {
    let server = PostgresServer::start();
    let url = StoreUrl::parse(&server.database().await).unwrap();
    server.stop();
    let node = Node::open(&url);
    assert!(node.find(hash("any")).await.is_err());
    let refused = node.admin.key(hash("any")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    server.launch();
    node.until(hash("any"), |found| matches!(found, Ok(None))).await;
    node.insert(row("any")).await.unwrap();
    assert!(node.find(hash("any")).await.unwrap().is_some());
}
