//! The database is away.

use portcullis_bench::postgres::PostgresServer;
use serde_json::json;

use crate::scene::{COST, Scene};

/// What is answered meanwhile waits, the budget goes on counting, and all of it is in the store when that is back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_while_postgresql_is_away_is_charged_when_it_is_back() {
    assert!(PostgresServer::is_installed(), "PostgreSQL is not installed: scripts/install-deps");
    let server = PostgresServer::start();
    let store = server.database().await;
    let scene = Scene::with(&format!("  database_url: \"{store}\"\n")).await;
    let key = scene.gateway.generate_key(&json!({"max_budget": 10.5 * COST})).await;
    assert_eq!(scene.chat(&key).await.status, 200);
    scene.spent(&key, COST).await;
    server.stop();
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(scene.chat(&key).await.status);
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[429; 2]].concat(), "eleven in all are one more than the budget");
    scene.gateway.printed("usage waits in the journal").await;
    server.launch();
    let is_back = async {
        while !scene.info(&key).await.is_object() {
            tokio::task::yield_now().await;
        }
    };
    portcullis_bench::within("the database", is_back).await;
    scene.spent(&key, 11.0 * COST).await;
    scene.gateway.stop().await;
}
