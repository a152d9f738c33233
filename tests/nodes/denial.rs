//! A token that is denied on one node is refused on another within a second, and admitted again when that is taken back.
//!
//! The other node is this process: it opens the same store as a gateway does, and looks into the list that every request
//! with a token looks into.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use portcullis::store::{Store, StoreSettings, StoreUrl};
use portcullis_bench::postgres::PostgresServer;
use portcullis_bench::provider::Provider;
use portcullis_filters::authn::jwt::deny_list::{Deniable, DeniedClaim, DenyList, entry_name};
use portcullis_filters::cache::{CacheSettings, KeyCache};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::figures::{Times, say};
use crate::node::{Lines, managed, start, turn};

const BOUND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
const ISSUER: &str = "https://idp.example";

/// When the list first says so of a token with this claim.
async fn until(list: &DenyList, claim: DeniedClaim, value: &str, denied: bool) -> Instant {
    let token = Deniable { names: vec![entry_name(claim, ISSUER, value)], issued_at: None };
    let looking = async {
        while list.denies(&token, SystemTime::now()) != denied {
            tokio::task::yield_now().await;
        }
        Instant::now()
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("not {denied} within {PATIENCE:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_token_is_refused_on_the_other_node_within_a_second() {
    let _turn = turn().await;
    let (server, provider) = (PostgresServer::start(), Provider::start().unwrap());
    let url = server.database().await;
    let one = start(&url, &provider, Lines::default()).await;
    let settings = StoreSettings::new(StoreUrl::parse(&url).unwrap());
    let two = Store::open(settings, Arc::new(KeyCache::new(CacheSettings::default())), Handle::current()).unwrap();
    let (_running, shutdown) = watch::channel(false);
    let watched = two.clone();
    tokio::spawn(async move { watched.watch(shutdown).await });
    two.deny_list_loaded().wait_for(|loaded| *loaded).await.unwrap();
    let list = two.deny_list();

    let mut times: [Times; 2] = Default::default();
    for number in 0..40 {
        let claim = DeniedClaim::ALL[number % 3];
        let value = format!("{number}");
        for (which, path, denied) in [(0, "/token/deny", true), (1, "/token/allow", false)] {
            let writing = async {
                managed(&one, path, json!({claim.name(): value, "issuer": ISSUER})).await;
                Instant::now()
            };
            let (written, changed) = tokio::join!(writing, until(&list, claim, &value, denied));
            times[which].push(changed.saturating_duration_since(written));
        }
    }
    for (name, times) in ["deny", "allow"].iter().zip(&times) {
        say(&format!("two nodes, answered /token/{name} to the other node's list: {times}"));
        assert!(times.quantile(0.99) <= BOUND, "{times}");
    }
    one.stop().await;
}
