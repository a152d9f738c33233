//! Posts what calls took from the journal to the store, in batches, and tells the limits what the store says then.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_filters::limits::Limits;
use tokio::sync::Mutex;
use tokio::time::{interval, sleep, timeout};

use crate::store::Store;
use crate::usage::{Journal, Segment};

/// How long what a call took waits for others at most, while the store answers.
const EVERY: Duration = Duration::from_millis(500);

/// How often files are looked for that a process left behind which has ended.
const SEARCH: Duration = Duration::from_secs(30);

/// How often calls are dropped that were kept long enough.
const SWEEP: Duration = Duration::from_secs(600);

/// How often it is looked whether a budget begins anew.
const RESET: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the store. What is not posted then is posted by the next process.
const LAST: Duration = Duration::from_secs(3);

/// What posting needs.
pub struct Settling {
    /// Where from.
    pub journal: Arc<Journal>,
    /// Where to.
    pub store: Store,
    /// Who is told.
    pub limits: Limits,
    /// For how long each call is kept by itself; `None`: not at all.
    pub keep_calls: Option<Duration>,
    /// Held by whoever posts.
    pub posting: Mutex<()>,
}

impl Settling {
    /// Posts, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = interval(EVERY);
        let (mut searches, mut sweeps, mut resets) = (interval(SEARCH), interval(SWEEP), interval(RESET));
        loop {
            tokio::select! {
                _ = ticks.tick() => self.post_closed().await,
                _ = searches.tick() => self.post_left_behind().await,
                _ = sweeps.tick() => self.sweep().await,
                _ = resets.tick() => self.reset_budgets().await,
            }
        }
    }

    /// Posts what is there now; for the end of the process, when no request is under way any more.
    pub async fn finish(&self) {
        if timeout(LAST, self.post_closed()).await.is_err() {
            tracing::warn!("the store did not take over all usage in time: the next process posts the rest");
        }
    }

    async fn post_closed(&self) {
        let _posting = self.posting.lock().await;
        loop {
            let closed = self.journal.closed();
            if closed.is_empty() || !self.post_all(closed).await {
                return;
            }
        }
    }

    async fn post_left_behind(&self) {
        let _posting = self.posting.lock().await;
        loop {
            match self.journal.left_behind() {
                Ok(segments) if segments.is_empty() => return,
                Ok(segments) => {
                    if !self.post_all(segments).await {
                        return;
                    }
                }
                Err(error) => return tracing::warn!(cause = %error, "the journal of usage cannot be searched"),
            }
        }
    }

    async fn reset_budgets(&self) {
        match self.store.reset_budgets(SystemTime::now()).await {
            Ok(0) => {}
            Ok(budgets) => tracing::info!(budgets, "budgets began anew"),
            Err(error) => tracing::debug!(cause = %error, "budgets cannot be looked at now"),
        }
    }

    async fn sweep(&self) {
        let Some(before) = self.keep_calls.and_then(|keep| SystemTime::now().checked_sub(keep)) else { return };
        if let Err(error) = self.store.forget_calls(before).await {
            tracing::warn!(cause = %error, "calls that were kept long enough cannot be dropped now");
        }
    }

    /// In their order, until one fails. Whether none did.
    async fn post_all(&self, segments: Vec<Segment>) -> bool {
        for segment in segments {
            if !self.post(&segment).await {
                return false;
            }
        }
        true
    }

    async fn post(&self, segment: &Segment) -> bool {
        let records = match segment.records() {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(cause = %error, "a file of the journal of usage cannot be read");
                return false;
            }
        };
        let posted = self.store.post_usage(&segment.journal, segment.number, &records, self.keep_calls.is_some()).await;
        match posted {
            Ok(posted) => {
                self.limits.posted(&posted);
                if let Err(error) = self.journal.posted(segment) {
                    tracing::warn!(cause = %error, "a file of the journal of usage cannot be removed");
                }
                true
            }
            Err(error) => {
                tracing::warn!(cause = %error, calls = records.len(), "usage waits in the journal: the store takes none now");
                sleep(PAUSE).await;
                false
            }
        }
    }
}

/// How long a store that takes nothing is left alone.
const PAUSE: Duration = Duration::from_secs(1);
