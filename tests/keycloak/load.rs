//! Clients that ask chat calls in the background, each with a token of its own, while something is done to Keycloak.

use std::sync::Arc;
use std::time::Duration;

use portcullis_bench::gateway::Gateway;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::scene::CHAT;

/// Between two calls of one client.
const PACE: Duration = Duration::from_millis(20);

/// Running clients.
pub(crate) struct Load {
    url: String,
    http: reqwest::Client,
    ending: watch::Sender<bool>,
    answered: Arc<watch::Sender<usize>>,
    clients: Vec<JoinHandle<Vec<u16>>>,
}

impl Load {
    /// Nobody asks yet.
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self {
            url: format!("{}/chat/completions", gateway.url()),
            http: portcullis_bench::client::http().build().unwrap(),
            ending: watch::Sender::new(false),
            answered: Arc::default(),
            clients: Vec::new(),
        }
    }

    /// One more client.
    pub(crate) fn add(&mut self, token: &str) {
        let (url, http, token) = (self.url.clone(), self.http.clone(), token.to_owned());
        let (ended, answered) = (self.ending.subscribe(), Arc::clone(&self.answered));
        self.clients.push(tokio::spawn(async move {
            let mut ticks = interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut statuses = Vec::new();
            while !*ended.borrow() {
                ticks.tick().await;
                let asked = http.post(&url).bearer_auth(&token).header("content-type", "application/json").body(CHAT);
                statuses.push(asked.send().await.map_or(0, |answer| answer.status().as_u16()));
                answered.send_modify(|answered| *answered += 1);
            }
            statuses
        }));
    }

    /// Waits until so many more calls were answered.
    pub(crate) async fn more(&self, calls: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + calls;
        let waiting = answered.wait_for(|answered| *answered >= wanted);
        portcullis_bench::within("more answers to the load", waiting).await.unwrap();
    }

    /// The statuses of all calls; 0 where there was no answer.
    pub(crate) async fn stop(self) -> Vec<u16> {
        self.ending.send_replace(true);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        all
    }
}
