//! Clients that ask chat calls in the background while a test does something to the gateway or its store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::caller::Caller;
use crate::figures::Times;

/// How long one answer, or a number of them, may be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Running clients, one for each key.
pub(crate) struct Load {
    ending: watch::Sender<bool>,
    answered: Arc<watch::Sender<usize>>,
    clients: Vec<JoinHandle<Vec<Asked>>>,
}

/// One answered call.
pub(crate) struct Asked {
    at: Instant,
    took: Duration,
    status: u16,
}

/// All that a load was answered.
pub(crate) struct Answers(Vec<Asked>);

impl Load {
    /// Each client asks at this pace at most, one call at a time.
    pub(crate) fn start(addr: SocketAddr, keys: &[String], pace: Duration) -> Self {
        let (ending, ended) = watch::channel(false);
        let answered = Arc::new(watch::Sender::new(0));
        let client = |key: &String| {
            let (key, ended, answered) = (key.clone(), ended.clone(), Arc::clone(&answered));
            tokio::spawn(async move { ask(Caller::new(addr), &key, pace, &ended, &answered).await })
        };
        Self { clients: keys.iter().map(client).collect(), ending, answered }
    }

    /// Waits until so many more calls were answered.
    pub(crate) async fn more(&self, calls: usize) {
        let mut answered = self.answered.subscribe();
        let wanted = *answered.borrow() + calls;
        let waiting = tokio::time::timeout(PATIENCE, answered.wait_for(|answered| *answered >= wanted));
        assert!(waiting.await.is_ok(), "the load is not answered {calls} more calls within {PATIENCE:?}");
    }

    pub(crate) async fn stop(self) -> Answers {
        self.ending.send_replace(true);
        let mut all = Vec::new();
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        Answers(all)
    }
}

impl Answers {
    /// Fails unless every call was answered with 200.
    pub(crate) fn are_all_served(&self) {
        let other: Vec<u16> = self.0.iter().map(|asked| asked.status).filter(|status| *status != 200).collect();
        assert!(other.is_empty(), "{} of {} were not served: {other:?}", other.len(), self.0.len());
    }

    /// What the calls took that began in this time.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Times {
        self.0.iter().filter(|asked| (from..to).contains(&asked.at)).map(|asked| asked.took).collect()
    }
}

async fn ask(
    mut caller: Caller,
    key: &str,
    pace: Duration,
    ended: &watch::Receiver<bool>,
    answered: &watch::Sender<usize>,
) -> Vec<Asked> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all = Vec::new();
    while !*ended.borrow() {
        ticks.tick().await;
        let at = Instant::now();
        let answer = caller.chat(key).await;
        all.push(Asked { at, took: at.elapsed(), status: answer.status });
        answered.send_modify(|answered| *answered += 1);
    }
    all
}
