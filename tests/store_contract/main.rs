//! The contract of the store: one suite, run against SQLite and against a real PostgreSQL, each test on a database of its
//! own that begins with migration 0001.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod denials;
mod directory;
mod listing;
mod nodes;
mod opened;
mod outage;
mod rotation;
mod rows;
mod teams;
mod tls;
mod usage;
mod users;

/// Runs each function once for each kind of store.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::opened::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::opened::Place::postgres().await).await;
            })*
        }
    };
}
use contract;
